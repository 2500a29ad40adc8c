//! Open regular file: metadata, content, and a check that it is still the version that was promised.
//!
//! A file can be rewritten while it is read. A response is promised from one `fstat`; everything read later is compared
//! with that.

use std::any::Any;
use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rustix::fs::{Stat, fstat};

use super::hash::{Digest, Hasher};

/// Upper bound of the step of file timestamps. A write sets ctime before it copies its bytes, so a file changed within
/// this time can change again under the same ctime (git calls it racy).
const CTIME_GRANULARITY: Duration = Duration::from_millis(10);

/// Attempts to read a file that changes meanwhile.
const ATTEMPTS: usize = 4;

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
    entry: Arc<CacheEntry>,
}

/// One version of a file: its content in memory, or its beginning, and what was derived from it.
#[derive(Debug, Default)]
pub(super) struct CacheEntry {
    /// The metadata of the file that was read.
    pub(super) source: Meta,
    /// The length of the content: the file's, or that of its encoding.
    len: u64,
    /// The first bytes, or all.
    start: Box<[u8]>,
    /// The digest of the content, if all of it is in memory.
    digest: Option<Digest>,
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
}

/// The outcome of reading a file's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// The file did not change.
    Stable,
    /// The file is being appended to; the snapshot is a former state of it.
    Growing,
    /// The file changed in each attempt.
    KeepsChanging,
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
    pub(super) fn new(fd: OwnedFd, stat: &Stat) -> OpenFile {
        OpenFile { file: Some(fd.into()), meta: Meta::new(stat), is_stable: false, entry: Arc::default() }
    }

    pub(super) fn in_memory(entry: Arc<CacheEntry>) -> OpenFile {
        OpenFile { file: None, meta: Meta { len: entry.len, ..entry.source }, is_stable: true, entry }
    }

    pub(super) fn entry(&self) -> &Arc<CacheEntry> {
        &self.entry
    }

    /// Adopts the entry of an earlier request if the file, which was just opened, has not changed since.
    pub(super) fn reuse_if_unchanged(&mut self, entry: Arc<CacheEntry>) -> bool {
        let is_unchanged = entry.source == self.meta;
        if is_unchanged {
            self.is_stable = true;
            self.entry = entry;
        }
        is_unchanged
    }

    /// Returns what the caller attached to this version of the file, made on first use. It is kept as long as the version
    /// is cached. All callers use one type; for any other there is none.
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

    /// Reads the file's beginning, or all of it up to this length, so that metadata and bytes belong together.
    ///
    /// A file that changes all the time but only grows, as a log does, is taken at a former length: its beginning was the
    /// same before and after an `fstat`.
    pub fn snapshot(&mut self, whole_up_to: u64) -> io::Result<Snapshot> {
        let mut before: Option<(u64, Vec<u8>)> = None;
        for _ in 0..ATTEMPTS {
            let is_stable = self.wait_until_stable()?;
            let wanted = if self.meta.len <= whole_up_to { self.meta.len } else { SAMPLE };
            let start = self.read_unless_cut(0..wanted)?;
            let now = self.stat()?;
            if let Some(start) = start {
                if is_stable && now == self.meta {
                    self.is_stable = true;
                    self.hold(start);
                    return Ok(Snapshot::Stable);
                }
                if let Some((len, start_before)) = before.take_if(|before| before.0 <= self.meta.len)
                    && start.starts_with(&start_before)
                {
                    self.meta.len = len;
                    self.hold(start_before);
                    return Ok(Snapshot::Growing);
                }
                before = Some((self.meta.len, start));
            }
            self.meta = now;
        }
        Ok(Snapshot::KeepsChanging)
    }

    /// Keeps what was read, and the descriptor only if that is not everything.
    fn hold(&mut self, start: Vec<u8>) {
        let is_whole = start.len() as u64 == self.meta.len;
        let digest = is_whole.then(|| Digest::of(&start));
        let (source, len) = (self.meta, self.meta.len);
        self.entry = Arc::new(CacheEntry { source, len, start: start.into(), digest, ..CacheEntry::default() });
        if is_whole {
            self.file = None;
        }
    }

    /// Returns the whole content if it is in memory.
    pub fn content(&self) -> Option<&[u8]> {
        (self.entry.start.len() as u64 == self.meta.len).then_some(&self.entry.start)
    }

    /// Returns the digest of the content if that is in memory.
    pub(super) fn digest_in_memory(&self) -> Option<Digest> {
        self.entry.digest
    }

    /// Reports whether the file did not change while its beginning was read.
    pub fn is_stable(&self) -> bool {
        self.is_stable
    }

    /// Reads and hashes the content of a stable file; none if it changes meanwhile.
    pub(super) fn hash(&self) -> io::Result<Option<Digest>> {
        let (mut hasher, mut at) = (Hasher::default(), 0);
        while at < self.meta.len {
            let end = self.meta.len.min(at + PIECE);
            let Some(piece) = self.read_unless_cut(at..end)? else { return Ok(None) };
            hasher.add(&piece);
            at = end;
        }
        Ok((self.stat()? == self.meta).then(|| hasher.finish()))
    }

    /// Reads all of a stable file; none if it changes meanwhile.
    pub fn whole(&self) -> io::Result<Option<Cow<'_, [u8]>>> {
        if !self.is_stable {
            return Ok(None);
        }
        if let Some(content) = self.content() {
            return Ok(Some(content.into()));
        }
        let bytes = self.read_unless_cut(0..self.meta.len)?;
        Ok(bytes.filter(|_| self.stat().is_ok_and(|now| now == self.meta)).map(Cow::from))
    }

    /// Reports whether the file changed so recently that more changes are likely.
    pub fn recently_changed(&self) -> bool {
        self.meta.changed.age() < RECENT
    }

    /// Reads these bytes; `UnexpectedEof` means that the file is shorter now.
    pub fn read(&self, span: Range<u64>) -> io::Result<Vec<u8>> {
        let len = usize::try_from(span.end - span.start).map_err(|_| ErrorKind::FileTooLarge)?;
        let Some(file) = &self.file else {
            let start = usize::try_from(span.start).map_err(|_| ErrorKind::UnexpectedEof)?;
            let bytes = self.entry.start.get(start..).and_then(|rest| rest.get(..len));
            return bytes.map(<[u8]>::to_vec).ok_or(ErrorKind::UnexpectedEof.into());
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
        let age = self.meta.changed.age();
        if age >= CTIME_GRANULARITY {
            return Ok(true);
        }
        thread::sleep(CTIME_GRANULARITY - age);
        let before = self.meta;
        self.meta = self.stat()?;
        Ok(self.meta == before)
    }

    fn stat(&self) -> io::Result<Meta> {
        match &self.file {
            Some(file) => Ok(Meta::new(&fstat(file)?)),
            None => Ok(self.meta),
        }
    }
}

impl CacheEntry {
    /// Keeps a file's encoding, as old as the file; without content if that is not shorter.
    pub(super) fn encoded(source: Meta, bytes: Vec<u8>) -> CacheEntry {
        let len = bytes.len() as u64;
        if len >= source.len {
            return CacheEntry { source, len: source.len, ..CacheEntry::default() };
        }
        CacheEntry { source, len, digest: Some(Digest::of(&bytes)), start: bytes.into(), ..CacheEntry::default() }
    }

    /// The bytes in memory.
    pub(super) fn size(&self) -> u64 {
        self.start.len() as u64
    }

    /// Reports whether all of the content is in memory.
    pub(super) fn is_whole(&self) -> bool {
        self.size() == self.len
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
    pub(super) fn new(stat: &Stat) -> Meta {
        let time = |secs, nanos| FileTime { secs, nanos };
        Meta {
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified: time(stat.st_mtime as _, stat.st_mtime_nsec as _),
            changed: time(stat.st_ctime as _, stat.st_ctime_nsec as _),
            device: stat.st_dev as _,
            inode: stat.st_ino as _,
        }
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
