//! The only code that opens paths.
//!
//! A path is opened once, below the root's descriptor, by a system call that confines it; from then on only the
//! descriptor is asked. There is no moment between a check and an open in which the path could come to mean something
//! else. Nothing here knows HTTP or logs; what the system said is returned as it is.

pub mod cache;
pub mod digests;
pub mod dir;
pub mod file;
pub mod hash;
pub mod root;

use std::io;

use rustix::io::Errno;

/// Why a path cannot be opened or read.
#[derive(Debug)]
pub enum OpenError {
    /// There is nothing that may be known: no file, a link that leads out, a special file.
    NotFound,
    /// The system does not let us.
    Unreadable(io::Error),
    /// Descriptors or memory have run out.
    OutOfResources(io::Error),
    /// The file changes all the time.
    Restless,
    /// The file system failed.
    Failed(io::Error),
}

impl From<Errno> for OpenError {
    fn from(errno: Errno) -> OpenError {
        match errno {
            // XDEV: a link that leads out of the root. LOOP: links in a circle, or a link where none is followed.
            // NXIO, NODEV: a socket, or a device that is not there.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => OpenError::NotFound,
            Errno::NXIO | Errno::NODEV => OpenError::NotFound,
            // Names that this file system cannot hold: too long, with characters that it forbids, not in its encoding.
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => OpenError::NotFound,
            Errno::ACCESS | Errno::PERM => OpenError::Unreadable(errno.into()),
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN => {
                OpenError::OutOfResources(errno.into())
            }
            _ => OpenError::Failed(errno.into()),
        }
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        Errno::from_io_error(&error).map_or_else(|| OpenError::Failed(error), OpenError::from)
    }
}
