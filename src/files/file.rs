//! An open regular file: its length and times, its bytes, and whether it is still what it was.
//!
//! A file can be rewritten while it is read. What is promised to a client was taken from the descriptor at one moment,
//! so everything read later is held against that moment.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Stat, fstat};

use super::hash::{Digest, Hasher};
use crate::proto::response::RepresentationFields;

/// A write call sets the time of change before it copies the bytes, and an old kernel's clock moves in steps of up to
/// 10 ms. A file that was touched within this time may change without showing it, so what is read then is not believed.
const GRAIN: Duration = Duration::from_millis(10);

/// How often a file that was just touched is waited for, and how often one that changes while it is read is read again.
const ATTEMPTS: usize = 4;

/// How much of a file is read to recognise it by, where it is not read whole.
const SAMPLE: u64 = 4096;

/// How much of a file is in memory at once while it is hashed.
const PIECE: u64 = 64 * 1024;

/// A file that was touched within this time counts as being worked on.
const YOUNG: Duration = Duration::from_secs(2);

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// The descriptor; none of a file that is in memory.
    file: Option<File>,
    meta: Meta,
    /// Whether the file was at rest when it was read, so that a later change shows.
    is_at_rest: bool,
    /// What was read while the file was as `meta` says.
    memory: Arc<Memory>,
}

/// What is kept in memory of a file.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What the file system said when it was read.
    pub(super) meta: Meta,
    /// The first bytes, or all of them.
    start: Box<[u8]>,
    /// The digest of these bytes, where they are all.
    digest: Option<Digest>,
    fields: OnceLock<RepresentationFields>,
    /// The same, for answers in which it stands for another file.
    standing_in: OnceLock<RepresentationFields>,
    /// What was found beside it, and what the file system said of the directory then.
    pub(super) beside: Mutex<Option<(Meta, Beside)>>,
}

/// Which entries there are beside a file, of those that were looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beside {
    bits: u8,
}

/// What the file system says of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Meta {
    /// The length in bytes.
    pub len: u64,
    /// When the bytes were modified; before 1970 and after 9999 are possible.
    pub modified: FileTime,
    /// When the bytes or anything else was changed. Nobody can set this one.
    changed: FileTime,
    /// Which file it is: its device and its number there.
    identity: (u64, u64),
}

/// What came of reading a file's beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Snapshot {
    /// The file was at rest.
    AtRest,
    /// The file is being appended to; what was read is a beginning that it had.
    Growing,
    /// The file changes all the time.
    Restless,
}

/// A point in time as the file system counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileTime {
    /// Seconds from 1970, negative before.
    pub secs: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}

impl OpenFile {
    pub(super) fn new(fd: OwnedFd, stat: &Stat) -> OpenFile {
        OpenFile { file: Some(fd.into()), meta: Meta::new(stat), is_at_rest: false, memory: Arc::default() }
    }

    pub(super) fn in_memory(memory: Arc<Memory>) -> OpenFile {
        OpenFile { file: None, meta: memory.meta, is_at_rest: true, memory }
    }

    /// What is in memory: the whole file, or what is known of it.
    pub(super) fn memory(&self) -> &Arc<Memory> {
        &self.memory
    }

    /// Takes what is known of a file that was at rest for this one, which was just opened; false where it is not the same one
    /// any more.
    pub(super) fn recall(&mut self, known: Arc<Memory>) -> bool {
        let is_same = known.meta == self.meta;
        if is_same {
            self.is_at_rest = true;
            self.memory = known;
        }
        is_same
    }

    /// Where the fields of answers with this content are kept by whoever writes them first.
    pub fn fields(&self) -> &OnceLock<RepresentationFields> {
        &self.memory.fields
    }

    /// Where the fields of answers with this content in the place of another file's are kept.
    pub fn fields_standing_in(&self) -> &OnceLock<RepresentationFields> {
        &self.memory.standing_in
    }

    /// What the file system said of this file when it was last asked.
    pub fn meta(&self) -> Meta {
        self.meta
    }

    /// The descriptor, for a system call that sends from it, where the file is not in memory.
    pub fn as_file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Reads the file's beginning, or all of it up to so many bytes, such that what the file system says of the file
    /// belongs to these bytes. A file that was read whole is in memory then, and what happens to it is of no concern.
    ///
    /// A file that is touched all the time but only grows, as a log does, is taken at a length that it had: what it then
    /// held was read before and after the file system was asked, and was the same.
    pub fn snapshot(&mut self, whole_up_to: u64) -> io::Result<Snapshot> {
        let mut before: Option<(u64, Vec<u8>)> = None;
        for _ in 0..ATTEMPTS {
            let is_settled = self.settle()?;
            let wanted = if self.meta.len <= whole_up_to { self.meta.len } else { SAMPLE };
            let start = match self.read(0..wanted) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => None,
                read => Some(read?),
            };
            let now = self.stat()?;
            if let Some(start) = start {
                if is_settled && now == self.meta {
                    self.is_at_rest = true;
                    self.hold(start);
                    return Ok(Snapshot::AtRest);
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
        Ok(Snapshot::Restless)
    }

    /// Keeps what was read; the descriptor is of no more use where that is everything.
    fn hold(&mut self, start: Vec<u8>) {
        let is_whole = start.len() as u64 == self.meta.len;
        let digest = is_whole.then(|| Digest::of(&start));
        self.memory = Arc::new(Memory { meta: self.meta, start: start.into(), digest, ..Memory::default() });
        if is_whole {
            self.file = None;
        }
    }

    /// The whole content, where it is in memory.
    pub fn content(&self) -> Option<&[u8]> {
        (self.memory.start.len() as u64 == self.meta.len).then_some(&self.memory.start)
    }

    /// The digest of the content, where that is in memory.
    pub(super) fn digest_in_memory(&self) -> Option<Digest> {
        self.memory.digest
    }

    /// Reports whether the file was at rest when it was read.
    pub(super) fn is_at_rest(&self) -> bool {
        self.is_at_rest
    }

    /// Another descriptor of the same file, with what is known of it.
    pub(super) fn try_clone(&self) -> io::Result<OpenFile> {
        let file = self.file.as_ref().map(File::try_clone).transpose()?;
        Ok(OpenFile { file, meta: self.meta, is_at_rest: self.is_at_rest, memory: Arc::clone(&self.memory) })
    }

    /// Reads and hashes the content of a file that was at rest; none where it changes meanwhile.
    pub(super) fn hash(&self) -> io::Result<Option<Digest>> {
        let (mut hasher, mut at) = (Hasher::default(), 0);
        while at < self.meta.len {
            let end = self.meta.len.min(at + PIECE);
            match self.read(at..end) {
                Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
                piece => hasher.add(&piece?),
            }
            at = end;
        }
        Ok((self.stat()? == self.meta).then(|| hasher.finish()))
    }

    /// Reads all of a file that was at rest; nothing where it changes meanwhile, or changed before.
    pub fn whole(&self) -> io::Result<Option<Cow<'_, [u8]>>> {
        if !self.is_at_rest {
            return Ok(None);
        }
        if let Some(content) = self.content() {
            return Ok(Some(content.into()));
        }
        match self.read(0..self.meta.len) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|bytes| (self.stat().is_ok_and(|now| now == self.meta)).then(|| bytes.into())),
        }
    }

    /// Reports whether the file is being worked on, so that bytes handed over by reference might still change.
    pub fn is_young(&self) -> bool {
        self.meta.changed.age() < YOUNG
    }

    /// Reads these bytes. An error of kind `UnexpectedEof` says that the file is shorter now.
    pub fn read(&self, span: Range<u64>) -> io::Result<Vec<u8>> {
        let len = usize::try_from(span.end - span.start).map_err(|_| ErrorKind::FileTooLarge)?;
        let Some(file) = &self.file else {
            let start = usize::try_from(span.start).map_err(|_| ErrorKind::UnexpectedEof)?;
            let bytes = self.memory.start.get(start..).and_then(|rest| rest.get(..len));
            return bytes.map(<[u8]>::to_vec).ok_or(ErrorKind::UnexpectedEof.into());
        };
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, span.start)?;
        Ok(bytes)
    }

    /// Reports whether the file still has the content that it had when the snapshot was taken; `last` is what was read
    /// of it at `start`, to the end of what is wanted.
    ///
    /// A file that has grown is taken for one that was appended to, as a log is, and one of which only the time of
    /// change differs for one that got another name or mode, if its beginning and its last bytes are there still.
    pub fn still_holds(&self, start: u64, last: &[u8]) -> io::Result<bool> {
        let mut now = self.stat()?;
        if now == self.meta {
            return Ok(true);
        }
        if now.len == self.meta.len && now.modified != self.meta.modified {
            // An append in progress shows its time before its length.
            thread::sleep(GRAIN);
            now = self.stat()?;
        }
        let can_be_same = now.len > self.meta.len || (now.len == self.meta.len && now.modified == self.meta.modified);
        let holds = |at: u64, bytes: &[u8]| self.read(at..at + bytes.len() as u64).is_ok_and(|found| found == bytes);
        Ok(can_be_same && holds(0, &self.memory.start) && holds(start, last))
    }

    /// Waits a moment where the file was touched a moment ago, so that the write that did it is over. False where it
    /// was touched again meanwhile.
    fn settle(&mut self) -> io::Result<bool> {
        let age = self.meta.changed.age();
        if age >= GRAIN {
            return Ok(true);
        }
        thread::sleep(GRAIN - age);
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

impl Memory {
    /// Keeps what was made of a file. It is as old as that.
    pub(super) fn made(of: Meta, bytes: Vec<u8>) -> Memory {
        let meta = Meta { len: bytes.len() as u64, ..of };
        Memory { meta, digest: Some(Digest::of(&bytes)), start: bytes.into(), ..Memory::default() }
    }

    /// The number of bytes.
    pub(super) fn len(&self) -> usize {
        self.start.len()
    }

    /// Reports whether these are all the bytes of the file.
    pub(super) fn is_whole(&self) -> bool {
        self.len() as u64 == self.meta.len
    }
}

impl Beside {
    /// All that were looked for might be there.
    pub(super) const UNKNOWN: Beside = Beside { bits: u8::MAX };

    pub(super) fn add(&mut self, at: usize) {
        self.bits |= 1 << at;
    }

    /// Reports whether the one at this place among those that were looked for might be there.
    pub fn has(self, at: usize) -> bool {
        self.bits & 1 << at != 0
    }
}

impl Meta {
    pub(super) fn new(stat: &Stat) -> Meta {
        let instant = |secs, nanos| FileTime { secs, nanos };
        Meta {
            len: u64::try_from(stat.st_size).unwrap_or(0),
            modified: instant(stat.st_mtime as _, stat.st_mtime_nsec as _),
            changed: instant(stat.st_ctime as _, stat.st_ctime_nsec as _),
            identity: (stat.st_dev as _, stat.st_ino as _),
        }
    }

    /// Reports whether the last change was so long ago that any later one shows.
    pub(super) fn is_old(&self) -> bool {
        self.changed.age() >= GRAIN
    }
}

impl FileTime {
    /// The same point as the system's clock has it; none where the clock cannot express it.
    pub fn to_system_time(self) -> Option<SystemTime> {
        let secs = Duration::from_secs(self.secs.unsigned_abs());
        let whole = if self.secs < 0 { UNIX_EPOCH.checked_sub(secs) } else { UNIX_EPOCH.checked_add(secs) };
        whole?.checked_add(Duration::from_nanos(self.nanos.into()))
    }

    /// How long ago it was. A point in the future, after the clock was set back, is long ago: waiting would not help.
    fn age(self) -> Duration {
        let time = self.to_system_time().unwrap_or(UNIX_EPOCH);
        SystemTime::now().duration_since(time).unwrap_or(Duration::MAX)
    }
}
