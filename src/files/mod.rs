//! File access: the only code that opens paths.
//!
//! A path is opened once, below the root's descriptor, by a system call that confines it. Everything later uses the
//! descriptor, so nothing can change between a check and an open. Nothing here logs, or knows more of HTTP than two types, a
//! path and a fingerprint. The files are listed from low to high: each imports only from those above it.

pub mod hash;
pub mod semaphore;

pub mod file;

pub mod dir;
pub mod root;

pub mod cache;

use std::io;

use rustix::io::Errno;

/// The reason why a path cannot be opened or read.
#[derive(Debug)]
pub enum OpenError {
    /// No file, a link that leads out of the root, or a special file.
    NotFound,
    /// Permission denied.
    Unreadable(io::Error),
    /// Descriptors or memory have run out.
    OutOfResources(io::Error),
    /// The file changed during every attempt to read it.
    KeepsChanging,
    /// The file system failed.
    Failed(io::Error),
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> OpenError {
        match errno {
            // XDEV: a link that leads out of the root. LOOP: links in a circle, or a link where none is followed.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Self::NotFound,
            // Sockets and missing devices.
            Errno::NXIO | Errno::NODEV => Self::NotFound,
            // Names that this file system cannot hold: too long, with forbidden characters, not in its encoding.
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => Self::NotFound,
            Errno::ACCESS | Errno::PERM => Self::Unreadable(errno.into()),
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN => {
                Self::OutOfResources(errno.into())
            }
            _ => Self::Failed(errno.into()),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        Errno::from_io_error(&error).map_or_else(|| OpenError::Failed(error), OpenError::from)
    }
}
