//! Document root: a directory descriptor below which every path is opened.
//!
//! What confines a request:
//! 1. Only a [`RelPath`] can be opened: it is relative and has no `..`.
//! 2. `openat2` with `RESOLVE_BENEATH` makes the kernel refuse every step that would leave the root, links included.
//! 3. `RESOLVE_NO_MAGICLINKS` closes the way through `/proc`; `RESOLVE_NO_SYMLINKS` closes all links if configured.
//! 4. `O_NONBLOCK`, then `fstat`: opening a FIFO cannot block, and only regular files and directories are served.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use parking_lot::Mutex;
use rustix::fs::{
    Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags, accessat, open, openat, openat2, statat,
    statx,
};
use rustix::io::Errno;

use super::OpenError;
use super::dir::OpenDir;
use super::file::{Meta, OpenFile, Siblings};
use crate::proto::syntax::find_all;
use crate::proto::target::RelPath;

/// Attempts at a lookup that a rename elsewhere in the tree disturbs.
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

/// The document root, held open: it stays the same directory if its path is changed.
#[derive(Debug)]
pub struct Root {
    dir: OwnedFd,
    identity: Identity,
    symlinks: Symlinks,
}

/// Device (major, minor), inode and mount. A directory seen through another mount can have other file systems below it.
type Identity = (u32, u32, u64, u64);

/// The path of the document root. Connections share one descriptor while the path leads to the same directory.
#[derive(Debug)]
pub struct RootPath {
    path: PathBuf,
    symlinks: Symlinks,
    /// The root opened last.
    last: Mutex<Weak<Root>>,
    /// The root opened first, for which the sandbox was set up.
    first: OnceLock<Identity>,
}

/// An open file or directory.
#[derive(Debug)]
pub enum Node {
    /// A regular file.
    File(OpenFile),
    /// A directory.
    Dir(OpenDir),
}

impl RootPath {
    /// Takes the path without opening it.
    pub fn new(path: PathBuf, symlinks: Symlinks) -> RootPath {
        RootPath { path, symlinks, last: Mutex::default(), first: OnceLock::new() }
    }

    /// Returns the directories that the sandbox has to leave readable: `/` if links are followed anywhere, or the root, and
    /// for each link in its path the parent of the link's target, so that a deploy can change the link.
    pub fn places(&self) -> io::Result<Vec<PathBuf>> {
        let all = Path::new("/");
        if self.symlinks == Symlinks::All {
            return Ok(vec![all.to_owned()]);
        }
        let mut places = vec![fs::canonicalize(&self.path)?];
        // Links of the kernel are never changed by a deploy.
        let is_changeable = |link: &&Path| !link.starts_with("/proc") && !link.starts_with("/dev");
        for link in self.path.ancestors().filter(|part| part.is_symlink()).filter(is_changeable) {
            let target = fs::canonicalize(link)?;
            places.extend(target.parent().filter(|parent| *parent != all).map(Path::to_owned));
        }
        Ok(places)
    }

    /// Opens the directory that the path leads to now, following any links in it.
    pub fn open(&self) -> io::Result<Arc<Root>> {
        // The lock is not held during system calls, which can take long.
        let last = self.last.lock().upgrade();
        if let Some(root) = last
            && root.identity == identity(CWD, &self.path)?
        {
            return Ok(root);
        }
        let dir = open(&self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let identity = identity(dir.as_fd(), Path::new(""))?;
        let root = Arc::new(Root { dir, identity, symlinks: self.symlinks });
        if *self.first.get_or_init(|| identity) != identity {
            root.check_sandbox()?;
        }
        let mut last = self.last.lock();
        // Another thread may have been faster.
        if let Some(same) = last.upgrade().filter(|other| other.identity == identity) {
            return Ok(same);
        }
        *last = Arc::downgrade(&root);
        Ok(root)
    }
}

fn identity(dir: BorrowedFd<'_>, path: &Path) -> io::Result<Identity> {
    let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let found = statx(dir, path, AtFlags::EMPTY_PATH, flags)?;
    Ok((found.stx_dev_major, found.stx_dev_minor, found.stx_ino, found.stx_mnt_id))
}

impl Root {
    /// Reports why files cannot be opened here, such as a kernel without `openat2`.
    pub fn probe(&self) -> io::Result<()> {
        Ok(self.open_fd(&RelPath::default(), OFlags::PATH).map(drop)?)
    }

    /// Fails if a directory that replaced the root is readable by its permissions, but not in the sandbox.
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
        let fd = match self.open_fd(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
            // A directory that may be entered but not read can still have an index file.
            Err(Errno::ACCESS) => self
                .open_fd(path, OFlags::PATH | OFlags::DIRECTORY)
                .map_err(|errno| if errno == Errno::NOTDIR { Errno::ACCESS } else { errno }),
            opened => opened,
        }?;
        let meta = Meta::of(&fd)?;
        match meta.file_type() {
            FileType::RegularFile => {
                Ok(Node::File(OpenFile { file: Some(fd.into()), meta, is_stable: false, entry: Arc::default() }))
            }
            FileType::Directory => Ok(Node::Dir(OpenDir { fd, meta })),
            _ => Err(OpenError::NotFound),
        }
    }

    /// Returns the metadata of a path. Only one conclusion is safe: equal to an open file's, it means the same file, reached
    /// without leaving the root. Each step is checked for a link, which `fstatat` would follow anywhere: less work than opening.
    pub fn stat(&self, path: &RelPath) -> Option<Meta> {
        let bytes = path.as_bytes();
        let stat = |path, flags| statat(&self.dir, path, flags | AtFlags::EMPTY_PATH).map(Meta::new).ok();
        if self.symlinks == Symlinks::All {
            return stat(bytes, AtFlags::empty());
        }
        let mut found = None;
        for end in find_all(b'/', bytes).chain([bytes.len()]) {
            let meta = stat(&bytes[..end], AtFlags::SYMLINK_NOFOLLOW)?;
            if meta.file_type() == FileType::Symlink {
                // The link is resolved as by `open`.
                return Meta::of(self.open_fd(path, OFlags::PATH).ok()?).ok();
            }
            found = Some(meta);
        }
        found
    }

    /// Finds the siblings of a file with these suffixes, and the metadata of their directory, which differs once an entry has
    /// come or gone; none if the directory changes meanwhile or changed so recently that a change might not show.
    pub(super) fn siblings(&self, path: &RelPath, suffixes: &[&str]) -> Option<(Meta, Siblings)> {
        let (dir, name) = path.split();
        let dir = self.open_fd(&dir, OFlags::PATH | OFlags::DIRECTORY).ok()?;
        let before = Meta::of(&dir).ok()?;
        let may_exist = |suffix: &&str| {
            let name = [name, suffix.as_bytes()].concat();
            // Opening it later decides what it is and whether it can be read.
            statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW).err() != Some(Errno::NOENT)
        };
        let siblings = suffixes.iter().map(may_exist).collect();
        let after = Meta::of(&dir).ok()?;
        (before == after && after.is_stable()).then_some((after, siblings))
    }

    fn open_fd(&self, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_bytes().is_empty() { b".".as_slice() } else { path.as_bytes() };
        let links = match self.symlinks {
            Symlinks::Inside => ResolveFlags::BENEATH,
            Symlinks::None => ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS,
            Symlinks::All => ResolveFlags::empty(),
        };
        let (flags, resolve) = (flags | OFlags::CLOEXEC, links | ResolveFlags::NO_MAGICLINKS);
        let mut opened = Err(Errno::AGAIN);
        for _ in 0..ATTEMPTS {
            opened = openat2(&self.dir, path, flags, Mode::empty(), resolve);
            // A rename meanwhile kept the kernel from ruling out an escape.
            if !matches!(opened, Err(Errno::AGAIN | Errno::INTR)) {
                break;
            }
        }
        opened
    }
}
