//! The only code that opens paths.
//!
//! A path is opened once, below the root's descriptor, by a system call that confines it; from then on only the
//! descriptor is asked. There is no moment between a check and an open in which the path could come to mean something
//! else. Nothing here knows HTTP or logs; what the system said is returned as it is.

pub mod cache;
pub mod digest;
pub mod digests;
pub mod dir;
pub mod file;
pub mod root;

use std::io;

use rustix::io::Errno;

/// Why a path cannot be opened or read.
#[derive(Debug)]
pub enum Denied {
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

impl From<Errno> for Denied {
    fn from(errno: Errno) -> Denied {
        match errno {
            // XDEV: a link that leads out of the root. LOOP: links in a circle, or a link where none is followed.
            // NXIO, NODEV: a socket, or a device that is not there.
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV => Denied::NotFound,
            Errno::NXIO | Errno::NODEV => Denied::NotFound,
            // Names that this file system cannot hold: too long, with characters that it forbids, not in its encoding.
            Errno::NAMETOOLONG | Errno::INVAL | Errno::ILSEQ => Denied::NotFound,
            Errno::ACCESS | Errno::PERM => Denied::Unreadable(errno.into()),
            Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::AGAIN => {
                Denied::OutOfResources(errno.into())
            }
            _ => Denied::Failed(errno.into()),
        }
    }
}

impl From<io::Error> for Denied {
    fn from(error: io::Error) -> Denied {
        Errno::from_io_error(&error).map_or_else(|| Denied::Failed(error), Denied::from)
    }
}
