//! The document root: a directory descriptor below which everything is opened.
//!
//! What keeps a request inside:
//! 1. Only a [`RelPath`] can be opened: it is relative and has no `..`.
//! 2. `openat2` with `RESOLVE_BENEATH` makes the kernel refuse every step that would leave the root, links included.
//! 3. `RESOLVE_NO_MAGICLINKS` closes the way through `/proc`; `RESOLVE_NO_SYMLINKS` closes all links when asked to.
//! 4. `O_NONBLOCK`, then a look at the open descriptor: a FIFO cannot hang us, and only regular files and directories
//!    exist.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags, accessat, fstat, open, openat,
    openat2, statat, statx,
};
use rustix::io::Errno;

use super::OpenError;
use super::dir::OpenDir;
use super::file::{Beside, Meta, OpenFile};
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
    identity: Identity,
    symlinks: Symlinks,
}

type Identity = (u32, u32, u64, u64);

/// The path of the document root, and the directory it led to last, for as long as a connection uses that: while the
/// path leads there, those that come share it, so that a connection that idles holds one descriptor and not two.
#[derive(Debug)]
pub struct RootPath {
    path: PathBuf,
    symlinks: Symlinks,
    last: Mutex<Weak<Root>>,
    /// What it led to first.
    first: OnceLock<Identity>,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Node {
    /// A regular file.
    File(OpenFile),
    /// A directory.
    Dir(OpenDir),
}

impl RootPath {
    /// Remembers the path. Nothing is opened yet.
    pub fn new(path: PathBuf, symlinks: Symlinks) -> RootPath {
        RootPath { path, symlinks, last: Mutex::default(), first: OnceLock::new() }
    }

    /// The directories below which everything is that can be served: the root, and where its path has a link, what holds the
    /// directory that it leads to, because tomorrow it may lead to another one there. All, where links are followed anywhere.
    pub fn places(&self) -> io::Result<Vec<PathBuf>> {
        let all = Path::new("/");
        if self.symlinks == Symlinks::All {
            return Ok(vec![all.to_owned()]);
        }
        let mut places = vec![fs::canonicalize(&self.path)?];
        for link in self.path.ancestors().filter(|part| part.is_symlink()) {
            // What the system names of a process is never pointed to somewhere else, and its neighbours are none.
            if link.starts_with("/proc") || link.starts_with("/dev") {
                continue;
            }
            let holder = fs::canonicalize(link)?.parent().map(Path::to_owned);
            places.extend(holder.filter(|holder| holder != all));
        }
        Ok(places)
    }

    /// Opens the directory that the path leads to now, following any links in it.
    pub fn open(&self) -> io::Result<Arc<Root>> {
        // Nobody keeps the lock while the system is asked, which can take long.
        let last = self.last().upgrade();
        if let Some(root) = last
            && root.identity == identity(CWD, &self.path)?
        {
            return Ok(root);
        }
        let root = Arc::new(Root::resolve(&self.path, self.symlinks)?);
        if *self.first.get_or_init(|| root.identity) != root.identity {
            root.check_sandbox()?;
        }
        let mut last = self.last();
        // Somebody else may have been faster.
        if let Some(same) = last.upgrade().filter(|other| other.identity == root.identity) {
            return Ok(same);
        }
        *last = Arc::downgrade(&root);
        Ok(root)
    }

    fn last(&self) -> MutexGuard<'_, Weak<Root>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which directory the path leads to: its device, its number there, and the mount it is seen through, because the same
/// directory may have other file systems below it elsewhere.
fn identity(dir: BorrowedFd<'_>, path: &Path) -> io::Result<Identity> {
    let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let found = statx(dir, path, AtFlags::EMPTY_PATH, flags)?;
    Ok((found.stx_dev_major, found.stx_dev_minor, found.stx_ino, found.stx_mnt_id))
}

impl Root {
    /// Opens the directory at `path`, following any links in it.
    fn resolve(path: &Path, symlinks: Symlinks) -> io::Result<Root> {
        let dir = open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Root { identity: identity(dir.as_fd(), Path::new(""))?, dir, symlinks })
    }

    /// Reports what keeps this system from opening files as it is done here, such as a kernel without `openat2`.
    pub fn probe(&self) -> io::Result<()> {
        openat2(&self.dir, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), self.resolve_flags())?;
        Ok(())
    }

    /// Finds out whether a directory that took the root's place may be read by its own permissions, and not by those that
    /// this process has given up.
    fn check_sandbox(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let is_refused = openat(&self.dir, ".", flags, Mode::empty()).err() == Some(Errno::ACCESS);
        if is_refused && accessat(&self.dir, ".", Access::READ_OK, AtFlags::empty()).is_ok() {
            let what = "another directory took its place, which the sandbox does not let be read; start serve again";
            return Err(io::Error::new(ErrorKind::PermissionDenied, what));
        }
        Ok(())
    }

    /// Opens what the path leads to.
    pub fn open(&self, path: &RelPath) -> Result<Node, OpenError> {
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
            _ => Err(OpenError::NotFound),
        }
    }

    /// Asks the file system about a path, to compare the answer with one that an open file gave. Nothing may be
    /// concluded from it but that they are the same, and that the path still leads there without leaving the root.
    ///
    /// To ask about a path follows links wherever they lead. So where they may not, each step is looked at: as long as
    /// none is a link, that is less work than to open the file.
    pub fn stat(&self, path: &RelPath) -> Option<Meta> {
        let bytes = path.as_bytes();
        if bytes.is_empty() {
            return fstat(&self.dir).ok().map(|stat| Meta::new(&stat));
        }
        if self.symlinks == Symlinks::All {
            return statat(&self.dir, bytes, AtFlags::empty()).ok().map(|stat| Meta::new(&stat));
        }
        let look = |path: &[u8]| statat(&self.dir, path, AtFlags::SYMLINK_NOFOLLOW).ok();
        let is_link = |stat: &Stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            if is_link(&look(&bytes[..at])?) {
                return self.stat_beneath(path);
            }
        }
        let stat = look(bytes)?;
        if is_link(&stat) { self.stat_beneath(path) } else { Some(Meta::new(&stat)) }
    }

    /// Looks which of these endings, put behind the name of this path, make the name of another entry beside it. With that
    /// comes what the file system says of their directory; while it says the same, no entry has come or gone there. Nothing
    /// where the directory changes meanwhile or changed a moment ago, so that a change might not show.
    pub fn beside(&self, path: &RelPath, endings: &[&str]) -> Option<(Meta, Beside)> {
        let (dir, name) = path.split();
        let opened = self.open_fd(&dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC).ok()?;
        let before = Meta::new(&fstat(&opened).ok()?);
        let mut beside = Beside::default();
        for (at, ending) in endings.iter().enumerate() {
            let name = [name, ending.as_bytes()].concat();
            // Whatever it is, and whether it can be read, opening it will tell.
            if statat(&opened, name, AtFlags::SYMLINK_NOFOLLOW).err() != Some(Errno::NOENT) {
                beside.add(at);
            }
        }
        let after = Meta::new(&fstat(&opened).ok()?);
        (before == after && after.is_old()).then_some((after, beside))
    }

    /// Asks about a path with links in it, which is followed as to open it.
    fn stat_beneath(&self, path: &RelPath) -> Option<Meta> {
        let opened = self.open_fd(path, OFlags::PATH | OFlags::CLOEXEC).ok()?;
        fstat(&opened).ok().map(|stat| Meta::new(&stat))
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
