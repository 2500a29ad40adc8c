//! Open regular file: metadata, content, and a check that it is still the version that was promised.
//!
//! A response is promised from one `fstat`; everything read later is compared with that.

use std::any::Any;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::fs::{FileType, Stat, fstat};

use super::OpenError;
use super::hash::Digest;
use crate::proto::syntax::SmallVec;

/// Upper bound of the step of file timestamps. A write sets ctime before it copies its bytes, so a file changed within
/// this time can change again under the same ctime (git calls it racy).
const CTIME_GRANULARITY: Duration = Duration::from_millis(10);

/// Attempts to read a file that changes meanwhile.
const ATTEMPTS: usize = 4;

/// Files up to this length are read into memory and sent together with the head.
pub(super) const SMALL: u64 = 64 * 1024;

/// Bytes kept of a large file's beginning, to recognise it by.
const SAMPLE: u64 = 4096;

/// Bytes read at once for hashing.
const PIECE: u64 = 64 * 1024;

/// A file changed within this time may be in the middle of a change.
const RECENT: Duration = Duration::from_secs(2);

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// The descriptor; none if the content is in memory.
    pub file: Option<File>,
    /// The metadata at the time of the snapshot.
    pub meta: Meta,
    /// Whether the file did not change while its beginning was read, so that any change since shows in the metadata.
    pub is_stable: bool,
    pub(super) entry: Arc<CacheEntry>,
}

/// One version of a file: its content in memory, or its beginning, and what was derived from it.
#[derive(Debug, Default)]
pub(super) struct CacheEntry {
    /// The metadata of the file that was read.
    pub(super) source: Meta,
    /// The first bytes of the file, or all of its content or encoding.
    pub(super) start: Box<[u8]>,
    /// The digest of the content, if all of it is in memory.
    pub(super) digest: Option<Digest>,
    annotation: OnceLock<Box<dyn Any + Send + Sync>>,
    /// The siblings found, and their directory's metadata at that time.
    pub(super) siblings: Mutex<Option<(Meta, Siblings)>>,
}

/// Whether there may be a file beside a file, for each of some suffixes to its name.
pub type Siblings = SmallVec<bool, 4>;

/// Metadata of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// The length in bytes.
    pub len: u64,
    /// The time of modification (mtime); before 1970 and after 9999 are possible.
    pub modified: FileTime,
    /// The time of the last change of content or metadata (ctime), which no program can set.
    changed: FileTime,
    device: u64,
    inode: u64,
    mode: u32,
}

/// A timestamp of the file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime {
    /// Seconds from 1970, negative before.
    pub secs: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

impl OpenFile {
    /// Opens an entry that holds all of its content.
    pub(super) fn in_memory(entry: Arc<CacheEntry>) -> OpenFile {
        let meta = Meta { len: entry.start.len() as u64, ..entry.source };
        OpenFile { file: None, meta, is_stable: true, entry }
    }

    /// Returns what callers attach to this version, which is cached with it; none for all types but the first.
    pub fn annotation<T: Any + Default + Send + Sync>(&self) -> Option<&T> {
        self.entry.annotation.get_or_init(|| Box::<T>::default()).downcast_ref()
    }

    /// Keeps the file's beginning or, without the descriptor, all of a small file.
    pub(super) fn snapshot(&mut self) -> Result<(), OpenError> {
        let start = self.read_start()?;
        let is_whole = start.len() as u64 == self.meta.len;
        self.entry = CacheEntry::new(self.meta, start, is_whole);
        if is_whole {
            self.file = None;
        }
        Ok(())
    }

    /// Reads the file's beginning, or all of a small file, so that metadata and bytes belong together. A log, which changes
    /// always but only grows, is taken at a former length, not as stable: its start was the same before and after an `fstat`.
    fn read_start(&mut self) -> Result<Vec<u8>, OpenError> {
        let mut before: Option<(u64, Vec<u8>)> = None;
        for _ in 0..ATTEMPTS {
            let is_stable = self.wait_until_stable()?;
            let wanted = if self.meta.len <= SMALL { self.meta.len } else { SAMPLE };
            let start = self.read_unless_cut(0..wanted)?;
            let now = self.stat()?;
            if let Some(start) = start {
                if is_stable && now == self.meta {
                    self.is_stable = true;
                    return Ok(start);
                }
                if let Some((len, start_before)) = before.take_if(|before| before.0 <= self.meta.len)
                    && start.starts_with(&start_before)
                {
                    self.meta.len = len;
                    return Ok(start_before);
                }
                before = Some((self.meta.len, start));
            }
            self.meta = now;
        }
        Err(OpenError::KeepsChanging)
    }

    /// Returns the whole content if it is in memory.
    pub fn content(&self) -> Option<&[u8]> {
        self.entry.is_whole().then_some(&self.entry.start)
    }

    /// Reads and hashes the content of a stable file; none if it changes meanwhile.
    pub(super) fn hash(&self) -> io::Result<Option<Digest>> {
        let starts = (0..self.meta.len).step_by(PIECE as usize);
        let pieces = starts.map(|start| self.read_unless_cut(start..self.meta.len.min(start + PIECE)));
        let digest = pieces.collect::<io::Result<Option<Digest>>>()?;
        Ok(if self.stat()? == self.meta { digest } else { None })
    }

    /// Reads all of a stable file; none if it changes meanwhile.
    pub fn whole(&self) -> io::Result<Option<Vec<u8>>> {
        if !self.is_stable {
            return Ok(None);
        }
        let content = self.read_unless_cut(0..self.meta.len)?;
        Ok(if self.stat()? == self.meta { content } else { None })
    }

    /// Reports whether the file changed so recently that more changes are likely.
    pub fn recently_changed(&self) -> bool {
        self.meta.changed.age() < RECENT
    }

    /// Reads these bytes; `UnexpectedEof` means that the file is shorter now.
    pub fn read(&self, span: Range<u64>) -> io::Result<Vec<u8>> {
        let len = usize::try_from(span.end - span.start).map_err(|_| ErrorKind::FileTooLarge)?;
        let Some(file) = &self.file else {
            let bytes = self.entry.start.get(span.start as usize..span.end as usize);
            return Ok(bytes.ok_or(ErrorKind::UnexpectedEof)?.to_vec());
        };
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, span.start)?;
        Ok(bytes)
    }

    /// Reads these bytes; none if the file is shorter now.
    fn read_unless_cut(&self, span: Range<u64>) -> io::Result<Option<Vec<u8>>> {
        match self.read(span) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(Some),
        }
    }

    /// Reports whether the file still has the content of the snapshot; `last` was read at `start`, to the span's end. If its
    /// beginning and `last` are the same, a longer file was appended to, and one with only another ctime was renamed.
    pub fn still_holds(&self, start: u64, last: &[u8]) -> io::Result<bool> {
        let mut now = self.stat()?;
        if now == self.meta {
            return Ok(true);
        }
        if now.len == self.meta.len && now.modified != self.meta.modified {
            // An append in progress shows its time before its length.
            thread::sleep(CTIME_GRANULARITY);
            now = self.stat()?;
        }
        let can_be_same = now.len > self.meta.len || (now.len == self.meta.len && now.modified == self.meta.modified);
        let holds = |at: u64, bytes: &[u8]| self.read(at..at + bytes.len() as u64).is_ok_and(|found| found == bytes);
        Ok(can_be_same && holds(0, &self.entry.start) && holds(start, last))
    }

    /// Waits until a write in progress shows in the metadata; false if the file changed meanwhile.
    fn wait_until_stable(&mut self) -> io::Result<bool> {
        let before = self.meta;
        if !before.is_stable() {
            thread::sleep(CTIME_GRANULARITY.saturating_sub(before.changed.age()));
            self.meta = self.stat()?;
        }
        Ok(self.meta == before)
    }

    fn stat(&self) -> io::Result<Meta> {
        self.file.as_ref().map_or(Ok(self.meta), Meta::of)
    }
}

impl CacheEntry {
    /// Keeps bytes of a file in this version: its beginning, or the whole content or encoding.
    pub(super) fn new(source: Meta, start: Vec<u8>, is_whole: bool) -> Arc<CacheEntry> {
        let digest = is_whole.then(|| Digest::of(&start));
        Arc::new(CacheEntry { source, start: start.into(), digest, ..CacheEntry::default() })
    }

    /// Reports whether all of the content is in memory.
    pub(super) fn is_whole(&self) -> bool {
        self.digest.is_some()
    }
}

impl Meta {
    /// Reads the metadata of an open file or directory.
    pub(super) fn of(fd: impl AsFd) -> io::Result<Meta> {
        Ok(Meta::new(fstat(fd)?))
    }

    pub(super) fn new(stat: Stat) -> Meta {
        let time = |secs, nanos| FileTime { secs, nanos };
        Meta {
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time(stat.st_mtime as _, stat.st_mtime_nsec as _),
            changed: time(stat.st_ctime as _, stat.st_ctime_nsec as _),
            device: stat.st_dev as _,
            inode: stat.st_ino as _,
            mode: stat.st_mode as _,
        }
    }

    /// Returns the type of the file.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// Returns numbers that tell the versions of files on this machine apart: length, mtime, ctime and inode.
    pub fn version(&self) -> [u64; 6] {
        let (modified, changed) = (self.modified, self.changed);
        let secs = |time: FileTime| time.secs.cast_unsigned();
        [self.len, secs(modified), modified.nanos.into(), secs(changed), changed.nanos.into(), self.inode]
    }

    /// Reports whether any change after this one has another ctime.
    pub(super) fn is_stable(&self) -> bool {
        self.changed.age() >= CTIME_GRANULARITY
    }
}

impl FileTime {
    /// Converts it; none if `SystemTime` cannot express it.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let secs = Duration::from_secs(self.secs.unsigned_abs());
        let whole = if self.secs < 0 { UNIX_EPOCH.checked_sub(secs) } else { UNIX_EPOCH.checked_add(secs) };
        whole?.checked_add(Duration::from_nanos(self.nanos.into()))
    }

    /// Returns the time since. A time in the future, after the clock was set back, counts as long ago: waiting would not help.
    fn age(self) -> Duration {
        let time = self.to_system_time().unwrap_or(UNIX_EPOCH);
        SystemTime::now().duration_since(time).unwrap_or(Duration::MAX)
    }
}
