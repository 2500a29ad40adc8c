//! Directory entries, for listings. Memory is bounded: the first names in order are kept, the others only counted.

use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;

pub use rustix::fs::FileType;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, statat};

use super::OpenError;
use super::file::Meta;

/// Entries kept of one directory.
pub const ENTRIES_MAX: usize = 10_000;

/// A directory, open for reading.
#[derive(Debug)]
pub struct OpenDir {
    pub(super) fd: OwnedFd,
    /// The metadata at the time of opening.
    pub meta: Meta,
}

/// An entry of a directory: a directory, a regular file, or a symbolic link to anything or nothing.
#[derive(Debug)]
pub struct Entry {
    /// The name: any bytes but zero and the slash.
    pub name: Vec<u8>,
    /// Its metadata; of a link, the link's own.
    pub meta: Meta,
}

impl OpenDir {
    /// Reads the entries whose names `is_shown` accepts and that still exist: the first by name, sorted, and the number of all.
    pub fn entries(&self, is_shown: impl Fn(&[u8]) -> bool) -> Result<(Vec<Entry>, usize), OpenError> {
        let (mut first, mut count) = (BinaryHeap::new(), 0);
        // Opened anew: a directory with execute permission alone was opened with O_PATH.
        let readable = openat(&self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for entry in Dir::new(readable)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let may_be_listed = entry.file_type() == FileType::Unknown || is_listed(entry.file_type());
            if matches!(name, b"." | b"..") || !may_be_listed || !is_shown(name) {
                continue;
            }
            count += 1;
            first.push(name.to_vec());
            if first.len() > ENTRIES_MAX {
                first.pop();
            }
        }
        let kept = first.into_sorted_vec().into_iter().filter_map(|name| self.entry(name)).collect();
        Ok((kept, count))
    }

    fn entry(&self, name: Vec<u8>) -> Option<Entry> {
        let meta = Meta::new(statat(&self.fd, &name[..], AtFlags::SYMLINK_NOFOLLOW).ok()?);
        is_listed(meta.file_type()).then_some(Entry { name, meta })
    }
}

fn is_listed(file_type: FileType) -> bool {
    matches!(file_type, FileType::Directory | FileType::RegularFile | FileType::Symlink)
}
