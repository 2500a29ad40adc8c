//! The entries of an open directory.
//!
//! Bounded, whatever the directory holds: the first names in order are kept while the rest is only counted.

use std::collections::BinaryHeap;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};

use super::OpenError;
use super::file::Meta;

/// The most entries that are kept of one directory.
pub const ENTRIES_MAX: usize = 10_000;

/// A directory, open for reading.
#[derive(Debug)]
pub struct OpenDir {
    fd: OwnedFd,
    meta: Meta,
}

/// Some of a directory's entries.
#[derive(Debug)]
pub struct Entries {
    /// The first ones by name, sorted.
    pub kept: Vec<Entry>,
    /// How many there are in all.
    pub count: usize,
}

/// An entry of a directory.
#[derive(Debug)]
pub struct Entry {
    /// The name: any bytes but zero and the slash.
    pub name: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// What the file system says of it; of a link: of the link itself.
    pub meta: Meta,
}

/// What an entry is. Nothing else is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link, which may lead to either, or nowhere.
    Link,
}

impl OpenDir {
    pub(super) fn new(fd: OwnedFd, stat: &Stat) -> OpenDir {
        OpenDir { fd, meta: Meta::new(stat) }
    }

    /// What the file system said of this directory when it was opened.
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// Reads the entries whose names are `wanted`. Those that vanish meanwhile are left out.
    pub fn entries(&self, wanted: impl Fn(&[u8]) -> bool) -> Result<Entries, OpenError> {
        let mut first = BinaryHeap::new();
        let mut count = 0;
        // Opened anew, because a directory that may only be entered was opened without the right to read it.
        let readable = openat(&self.fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for entry in Dir::new(readable)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let is_listed = entry.file_type() == FileType::Unknown || kind(entry.file_type()).is_some();
            if matches!(name, b"." | b"..") || !is_listed || !wanted(name) {
                continue;
            }
            count += 1;
            first.push(name.to_vec());
            if first.len() > ENTRIES_MAX {
                first.pop();
            }
        }
        let names = first.into_sorted_vec();
        let kept = names.into_iter().filter_map(|name| self.entry(name)).collect();
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
