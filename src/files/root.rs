//! The document root: a directory descriptor below which everything is opened.
//!
//! What keeps a request inside:
//! 1. Only a [`RelPath`] can be opened: it is relative and has no `..`.
//! 2. `openat2` with `RESOLVE_BENEATH` makes the kernel refuse every step that would leave the root, links included.
//! 3. `RESOLVE_NO_MAGICLINKS` closes the way through `/proc`; `RESOLVE_NO_SYMLINKS` closes all links when asked to.
//! 4. `O_NONBLOCK`, then a look at the open descriptor: a FIFO cannot hang us, and only regular files and directories
//!    exist.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2, statat};
use rustix::io::Errno;

use super::Denied;
use super::dir::OpenDir;
use super::file::{Meta, OpenFile};
use crate::proto::target::RelPath;

/// How often a lookup is tried that a rename elsewhere in the tree disturbed.
const ATTEMPTS: usize = 16;

/// Which symbolic links are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Symlinks {
    /// Relative ones that stay below the root.
    Inside,
    /// None.
    None,
    /// All, wherever they lead.
    All,
}

/// The document root, held open: whatever happens to the path that led here, this stays the same directory.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    symlinks: Symlinks,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Node {
    /// A regular file.
    File(OpenFile),
    /// A directory.
    Dir(OpenDir),
}

impl Root {
    /// Opens the directory at `path`, following any links in it.
    pub fn resolve(path: &Path, symlinks: Symlinks) -> io::Result<Root> {
        let dir = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Root { dir, symlinks })
    }

    /// Reports what keeps this system from opening files as it is done here, such as a kernel without `openat2`.
    pub fn probe(&self) -> io::Result<()> {
        openat2(&self.dir, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), self.resolve_flags())?;
        Ok(())
    }

    /// Opens what the path leads to.
    pub fn open(&self, path: &RelPath) -> Result<Node, Denied> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let opened = match self.open_fd(path, flags) {
            // A directory that may be entered but not read can still have an index file.
            Err(Errno::ACCESS) => self
                .open_fd(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC)
                .map_err(|errno| if errno == Errno::NOTDIR { Errno::ACCESS } else { errno }),
            opened => opened,
        };
        let fd = opened?;
        let stat = fstat(&fd)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Node::File(OpenFile::new(fd, &stat))),
            FileType::Directory => Ok(Node::Dir(OpenDir::new(fd, &stat))),
            _ => Err(Denied::NotFound),
        }
    }

    /// Asks the file system about a path, to compare the answer with one that an open file gave. Nothing may be
    /// concluded from it but that they are the same.
    pub fn stat(&self, path: &RelPath) -> Option<Meta> {
        let flags = if self.symlinks == Symlinks::None { AtFlags::SYMLINK_NOFOLLOW } else { AtFlags::empty() };
        statat(&self.dir, path.as_bytes(), flags).ok().map(|stat| Meta::new(&stat))
    }

    fn open_fd(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_bytes().is_empty() { b".".as_slice() } else { path.as_bytes() };
        let resolve = self.resolve_flags();
        let mut opened = Err(Errno::AGAIN);
        for _ in 0..ATTEMPTS {
            opened = openat2(self.dir.as_fd(), path, flags, Mode::empty(), resolve);
            // The kernel could not rule out an escape because something was renamed meanwhile.
            if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        opened
    }

    fn resolve_flags(&self) -> ResolveFlags {
        let links = match self.symlinks {
            Symlinks::Inside => ResolveFlags::BENEATH,
            Symlinks::None => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Symlinks::All => ResolveFlags::empty(),
        };
        links | ResolveFlags::NO_MAGICLINKS
    }
}
