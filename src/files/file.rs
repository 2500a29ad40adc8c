//! Open regular file: metadata, content, and a check that it is still the version that was promised.
//!
//! A file can be rewritten while it is read. A response is promised from one `fstat`; everything read later is compared
//! with that.

use std::any::Any;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::fs::{FileType, Stat, fstat};

use super::OpenError;
use super::hash::Digest;

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
    file: Option<File>,
    meta: Meta,
    /// Whether any change since the snapshot shows in the metadata.
    is_stable: bool,
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

/// The files beside a file that have its name and one of some suffixes; a set bit means "may exist".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Siblings(u8);

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
    pub(super) fn new(fd: OwnedFd, meta: Meta) -> OpenFile {
        OpenFile { file: Some(fd.into()), meta, is_stable: false, entry: Arc::default() }
    }

    /// Opens an entry that holds all of its content.
    pub(super) fn in_memory(entry: Arc<CacheEntry>) -> OpenFile {
        let meta = Meta { len: entry.start.len() as u64, ..entry.source };
        OpenFile { file: None, meta, is_stable: true, entry }
    }

    /// Adopts the entry of an earlier request if the file, which was just opened, has not changed since.
    pub(super) fn reuse_if_unchanged(&mut self, entry: Arc<CacheEntry>) -> bool {
        self.is_stable = entry.source == self.meta;
        if self.is_stable {
            self.entry = entry;
        }
        self.is_stable
    }

    /// Returns what the caller attached to this version of the file, made on first use and kept while that is cached.
    ///
    /// All callers use one type; for any other there is none.
    pub fn annotation<T: Any + Default + Send + Sync>(&self) -> Option<&T> {
        self.entry.annotation.get_or_init(|| Box::<T>::default()).downcast_ref()
    }

    /// Returns the metadata at the time of the snapshot.
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// Returns the descriptor for sendfile, unless the content is in memory.
    pub fn as_file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Reads the file's beginning, or all of a small file, so that metadata and bytes belong together.
    ///
    /// A file that always changes but only grows, as a log does, is taken at a former length, and is not stable: its
    /// beginning was the same before and after an `fstat`.
    pub(super) fn snapshot(&mut self) -> Result<(), OpenError> {
        let mut before: Option<(u64, Vec<u8>)> = None;
        for _ in 0..ATTEMPTS {
            let is_stable = self.wait_until_stable()?;
            let wanted = if self.meta.len <= SMALL { self.meta.len } else { SAMPLE };
            let start = self.read_unless_cut(0..wanted)?;
            let now = self.stat()?;
            if let Some(start) = start {
                if is_stable && now == self.meta {
                    self.is_stable = true;
                    self.hold(start);
                    return Ok(());
                }
                if let Some((len, start_before)) = before.take_if(|before| before.0 <= self.meta.len)
                    && start.starts_with(&start_before)
                {
                    self.meta.len = len;
                    self.hold(start_before);
                    return Ok(());
                }
                before = Some((self.meta.len, start));
            }
            self.meta = now;
        }
        Err(OpenError::KeepsChanging)
    }

    /// Keeps what was read, and the descriptor only if that is not everything.
    fn hold(&mut self, start: Vec<u8>) {
        let is_whole = start.len() as u64 == self.meta.len;
        self.entry = CacheEntry::new(self.meta, start, is_whole);
        if is_whole {
            self.file = None;
        }
    }

    /// Returns the whole content if it is in memory.
    pub fn content(&self) -> Option<&[u8]> {
        self.entry.is_whole().then_some(&self.entry.start)
    }

    /// Reports whether the file did not change while its beginning was read.
    pub fn is_stable(&self) -> bool {
        self.is_stable
    }

    /// Reads and hashes the content of a stable file; none if it changes meanwhile.
    pub(super) fn hash(&self) -> io::Result<Option<Digest>> {
        let starts = (0..self.meta.len).step_by(PIECE as usize);
        let pieces = starts.map(|start| self.read_unless_cut(start..self.meta.len.min(start + PIECE)));
        let digest = pieces.collect::<io::Result<Option<Digest>>>()?;
        let is_unchanged = self.stat()? == self.meta;
        Ok(digest.filter(|_| is_unchanged))
    }

    /// Reads all of a stable file; none if it changes meanwhile.
    pub fn whole(&self) -> io::Result<Option<Vec<u8>>> {
        if !self.is_stable {
            return Ok(None);
        }
        let content = self.read_unless_cut(0..self.meta.len)?;
        let is_unchanged = self.stat()? == self.meta;
        Ok(content.filter(|_| is_unchanged))
    }

    /// Reports whether the file changed so recently that more changes are likely.
    pub fn recently_changed(&self) -> bool {
        self.meta.changed.age() < RECENT
    }

    /// Reads these bytes; `UnexpectedEof` means that the file is shorter now.
    pub fn read(&self, span: Range<u64>) -> io::Result<Vec<u8>> {
        let len = usize::try_from(span.end - span.start).map_err(|_| ErrorKind::FileTooLarge)?;
        let Some(file) = &self.file else {
            let rest = usize::try_from(span.start).ok().and_then(|start| self.entry.start.get(start..));
            let bytes = rest.and_then(|rest| rest.get(..len)).ok_or(ErrorKind::UnexpectedEof)?;
            return Ok(bytes.to_vec());
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

    /// Reports whether the file still has the content of the snapshot; `last` is what was read at `start`, to the end of
    /// the span.
    ///
    /// A file that has grown was appended to, and one with another ctime alone was renamed or got another mode, if its
    /// beginning and its last bytes are the same.
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

impl Siblings {
    /// Every sibling may exist.
    pub(super) const UNKNOWN: Siblings = Siblings(u8::MAX);

    pub(super) fn add(&mut self, at: usize) {
        self.0 |= 1 << at;
    }

    /// Reports whether the sibling with the suffix at this place may exist.
    pub fn may_have(self, at: usize) -> bool {
        self.0 & 1 << at != 0
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
