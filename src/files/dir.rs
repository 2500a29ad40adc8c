//! Directory entries, for listings.
//!
//! Memory is bounded: the first names in order are kept, the others only counted.

use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};

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

/// Some of a directory's entries.
#[derive(Debug)]
pub struct Entries {
    /// The first ones by name, sorted.
    pub kept: Vec<Entry>,
    /// The number of all entries.
    pub count: usize,
}

/// An entry of a directory.
#[derive(Debug)]
pub struct Entry {
    /// The name: any bytes but zero and the slash.
    pub name: Vec<u8>,
    /// Its type.
    pub kind: Kind,
    /// Its metadata; of a link, the link's own.
    pub meta: Meta,
}

/// The type of an entry; others are not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link, to either of them or to nothing.
    Link,
}

impl OpenDir {
    /// Reads the entries whose names `is_shown` accepts. Entries removed meanwhile are left out.
    pub fn entries(&self, is_shown: impl Fn(&[u8]) -> bool) -> Result<Entries, OpenError> {
        let (mut first, mut count) = (BinaryHeap::new(), 0);
        // Opened anew: a directory with execute permission alone was opened with O_PATH.
        let readable = openat(&self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for entry in Dir::new(readable)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let is_listed = entry.file_type() == FileType::Unknown || kind(entry.file_type()).is_some();
            if matches!(name, b"." | b"..") || !is_listed || !is_shown(name) {
                continue;
            }
            count += 1;
            first.push(name.to_vec());
            if first.len() > ENTRIES_MAX {
                first.pop();
            }
        }
        let kept = first.into_sorted_vec().into_iter().filter_map(|name| self.entry(name)).collect();
        Ok(Entries { kept, count })
    }

    fn entry(&self, name: Vec<u8>) -> Option<Entry> {
        let stat = statat(&self.fd, &name[..], AtFlags::SYMLINK_NOFOLLOW).ok()?;
        let kind = kind(FileType::from_raw_mode(stat.st_mode))?;
        Some(Entry { name, kind, meta: Meta::new(&stat) })
    }
}

fn kind(file_type: FileType) -> Option<Kind> {
    match file_type {
        FileType::Directory => Some(Kind::Dir),
        FileType::RegularFile => Some(Kind::File),
        FileType::Symlink => Some(Kind::Link),
        _ => None,
    }
}
