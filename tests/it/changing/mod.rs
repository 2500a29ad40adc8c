//! Changing files: a response is never stale, and a complete one never torn.
//!
//! Every version of a file is one number repeated in cells, so that a body shows whether it is of one version only.
//! Here writers race with readers; `under_way` changes a file while a slow client reads it, and `never_stale` has the
//! longest races.

mod never_stale;
mod under_way;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::support::{Folder, Server, serve};

/// The length of a cell: eight digits and a space.
pub const CELL: usize = 9;

/// The content of a version: its number in every cell.
pub fn version(number: u64, cells: usize) -> Vec<u8> {
    format!("{number:08} ").repeat(cells).into_bytes()
}

/// Returns the version of a body, none for an empty one. Panics if it is torn or of no version.
#[track_caller]
pub fn version_of(body: &[u8]) -> Option<u64> {
    let versions = versions_in(body);
    assert!(versions.len() < 2, "torn: versions {versions:?} in {} bytes", body.len());
    versions.first().copied()
}

/// Returns the versions in a body, in their order.
#[track_caller]
fn versions_in(body: &[u8]) -> Vec<u64> {
    let cells = body.chunks_exact(CELL);
    let (last, rest) = (cells.clone().last().unwrap_or_default(), cells.remainder());
    assert!(last.is_empty() || last.starts_with(rest), "of no version: {:?}", String::from_utf8_lossy(rest));
    let number = |cell: &[u8]| std::str::from_utf8(&cell[..CELL - 1]).ok().and_then(|digits| digits.parse().ok());
    let mut versions: Vec<u64> = cells
        .map(|cell| number(cell).unwrap_or_else(|| panic!("of no version: {:?}", String::from_utf8_lossy(cell))))
        .collect();
    versions.dedup();
    versions
}

/// A response, whole or cut off.
pub struct Raw {
    pub status: u16,
    pub tag: String,
    pub body: Vec<u8>,
    /// The value of Content-Length.
    pub length: usize,
}

impl Raw {
    /// Parses a response; none if the connection ended before its head.
    pub fn parse(bytes: &[u8]) -> Option<Raw> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).expect("a head is text");
        let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
        Some(Raw {
            status: head[9..12].parse().expect("a status is a number"),
            tag: field("ETag: "),
            body: bytes[end + 4..].to_vec(),
            length: field("Content-Length: ").parse().expect("a length is a number"),
        })
    }

    /// Reports whether the body has the announced length.
    pub fn is_complete(&self) -> bool {
        assert!(self.body.len() <= self.length, "more than was announced");
        self.body.len() == self.length
    }
}

/// The tags and contents that all readers of a test have seen.
#[derive(Default)]
pub struct Seen {
    tags: Mutex<HashMap<String, (u64, usize)>>,
}

impl Seen {
    /// Notes a response; its tag, if it has one, must belong to no other content.
    #[track_caller]
    pub fn note(&self, tag: &str, version: Option<u64>, length: usize) {
        let content = (version.unwrap_or_default(), length);
        let tag = if tag.is_empty() { format!("none, {content:?}") } else { tag.to_owned() };
        let known = *self.tags.lock().expect("no reader panics here").entry(tag.clone()).or_insert(content);
        assert_eq!(known, content, "one tag for two contents (version, length): {tag}");
    }

    /// Asserts that the readers have seen several versions; otherwise the race proves nothing.
    #[track_caller]
    pub fn assert_race(self) {
        let count = self.tags.into_inner().expect("no reader panics here").len();
        assert!(count > 5, "the readers have seen only {count} versions");
    }
}

/// Sets a flag when dropped, so that a panic of one thread ends the others.
pub struct Raise<'a>(pub &'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Runs a writer and three readers until a reader has read a thousand times or three seconds are over. Each call of
/// `read` is one exchange, with the reader's own state.
fn race<T>(write: impl Fn(u64) + Sync, start: impl Fn() -> T + Sync, read: impl Fn(&mut T, usize) + Sync) {
    let done = AtomicBool::new(false);
    let is_on = || !done.load(Ordering::SeqCst);
    let until = Instant::now() + Duration::from_secs(3);
    thread::scope(|scope| {
        scope.spawn(|| {
            let _raise = Raise(&done);
            (1..).take_while(|_| is_on()).for_each(&write);
        });
        for _ in 0..3 {
            scope.spawn(|| {
                let _raise = Raise(&done);
                let mut things = start();
                (0..1000).take_while(|_| is_on() && Instant::now() < until).for_each(|turn| read(&mut things, turn));
            });
        }
    });
}

const GET: &str = "GET /file.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// Puts a version in place by rename, each with another mtime.
fn publish(folder: &Folder, started: SystemTime, number: u64, cells: usize) {
    let fresh = folder.at("fresh");
    fs::write(&fresh, version(number, cells)).expect("the file can be written");
    let file = File::open(&fresh).expect("the file can be opened");
    let at = started - Duration::from_secs(36_000) + Duration::from_millis(number);
    file.set_modified(at).expect("the time can be set");
    fs::rename(fresh, folder.at("file.txt")).expect("the file can be renamed");
}

/// Readers on new and on kept connections while versions are renamed into place.
fn renames(cells: impl Fn(u64) -> usize + Sync) {
    let folder = Folder::new();
    let started = SystemTime::now();
    publish(&folder, started, 0, cells(0));
    let server = serve(&folder).arg("-q").start();
    let (published, seen) = (AtomicU64::new(0), Seen::default());
    let write = |number| {
        publish(&folder, started, number, cells(number));
        published.store(number, Ordering::SeqCst);
    };
    let start = || (server.connect(), "\"none\"".to_owned(), 0);
    race(write, start, |(client, tag, newest), turn| {
        if turn % 5 == 0 {
            *client = server.connect();
        }
        let before = published.load(Ordering::SeqCst);
        let condition = if turn % 2 == 0 { String::new() } else { format!("If-None-Match: {tag}\r\n") };
        client.send(format!("GET /file.txt HTTP/1.1\r\nHost: localhost\r\n{condition}\r\n"));
        let response = client.response();
        if response.status == 304 {
            assert!(*newest >= before, "stale: 304 for {newest} after {before} was published");
            return;
        }
        let response = response.status(200);
        let number = version_of(&response.body).expect("no version is empty");
        assert!(number >= before, "stale: {number} after {before} was published");
        assert_eq!(response.body.len(), cells(number) * CELL, "not the whole of {number}");
        // A large file that is replaced while it is hashed has no tag: its ctime changes.
        if response.all("ETag").is_empty() {
            assert!(published.load(Ordering::SeqCst) >= number && cells(number) > 10_000, "no tag of {number}");
            return;
        }
        seen.note(response.field("ETag"), Some(number), response.body.len());
        *tag = response.field("ETag").to_owned();
        *newest = number;
    });
    seen.assert_race();
}

#[test]
fn small_files_replaced_are_never_torn_or_stale() {
    renames(|number| 100 + number as usize % 7 * 300);
}

#[test]
fn files_of_one_size_replaced_are_never_torn_or_stale() {
    renames(|_| 400);
}

#[test]
fn large_files_replaced_are_never_torn_or_stale() {
    renames(|number| 150_000 + number as usize % 5 * 50_000);
}

/// Readers while a file is rewritten in place. A response may be cut off, but not wrong.
///
/// The writer rests after each version. A half-written file looks finished while its writer is not scheduled, so a version
/// that took long to write proves nothing.
fn rewrites(rest: Duration, cells: usize, write: impl Fn(&Folder, u64) + Sync) {
    let folder = Folder::new().file("file.txt", version(0, cells));
    let server = serve(&folder).arg("-q").start();
    let (published, seen, held_up) = (AtomicU64::new(0), Seen::default(), Mutex::new(Vec::new()));
    let write = |number| {
        let began = Instant::now();
        write(&folder, number);
        if began.elapsed() > Duration::from_millis(10) {
            held_up.lock().expect("no writer panics here").push(number);
        }
        published.store(number, Ordering::SeqCst);
        thread::sleep(rest);
    };
    race(
        write,
        || (),
        |(), _| {
            let before = published.load(Ordering::SeqCst);
            let Some(response) = read(&server) else { return };
            let after = published.load(Ordering::SeqCst) + 1;
            while published.load(Ordering::SeqCst) < after.min(newest(&response.body)) {
                thread::yield_now();
            }
            let held_up =
                held_up.lock().expect("no writer panics here").iter().any(|number| (before..=after).contains(number));
            if !held_up {
                let number = version_of(&response.body);
                let stale = number.is_some_and(|number| number < before);
                assert!(!stale, "stale: {number:?} after {before} was published");
                seen.note(&response.tag, number, response.body.len());
            }
        },
    );
    seen.assert_race();
}

/// Requests the file on a connection of its own; none without a complete response.
fn read(server: &Server) -> Option<Raw> {
    let raw = Raw::parse(&server.connect().send(GET).rest())?;
    assert!(matches!(raw.status, 200 | 503), "status {}", raw.status);
    (raw.status == 200 && raw.is_complete()).then_some(raw)
}

fn newest(body: &[u8]) -> u64 {
    versions_in(body).into_iter().max().unwrap_or_default()
}

/// Long enough for a file to be stable: the step of its timestamps is 4 to 10 ms on older kernels.
const REST: Duration = Duration::from_millis(30);

#[test]
fn small_file_rewritten_in_place_is_never_torn_or_stale() {
    rewrites(REST, 400, |folder, number| overwrite(folder, &version(number, 400), usize::MAX));
}

#[test]
fn large_file_rewritten_in_place_is_never_torn_or_stale() {
    rewrites(REST * 3, 100_000, |folder, number| overwrite(folder, &version(number, 100_000), 65_536));
}

#[test]
fn small_file_truncated_first_is_never_torn_or_stale() {
    rewrites(REST, 400, |folder, number| folder.write("file.txt", version(number, 400)));
}

#[test]
fn small_file_rewritten_longer_is_never_torn_or_stale() {
    rewrites(REST, 400, |folder, number| overwrite(folder, &version(number, 400 + number as usize), usize::MAX));
}

#[test]
fn small_file_rewritten_shorter_is_never_torn_or_stale() {
    rewrites(REST, 400, |folder, number| {
        let cells = 400 - number as usize;
        let file = File::options().write(true).open(folder.at("file.txt")).expect("the file can be opened");
        file.set_len((cells * CELL) as u64).expect("the file can be cut");
        overwrite(folder, &version(number, cells), usize::MAX);
    });
}

/// Overwrites a file from its beginning, in pieces, without truncating it.
pub fn overwrite(folder: &Folder, content: &[u8], piece: usize) {
    let file = File::options().write(true).open(folder.at("file.txt")).expect("the file can be opened");
    let mut at = 0;
    for piece in content.chunks(piece.min(content.len())) {
        file.write_all_at(piece, at).expect("the file can be written");
        at += piece.len() as u64;
    }
}

#[test]
fn growing_log_is_sent_up_to_a_former_length() {
    let folder = Folder::new().file("file.txt", version(0, 1));
    let server = serve(&folder).arg("-q").start();
    let (written, seen) = (AtomicU64::new(1), Seen::default());
    let write = |number| {
        let file = File::options().append(true).open(folder.at("file.txt"));
        file.and_then(|mut file| file.write_all(&version(number, 1))).expect("the file can be written");
        written.store(number + 1, Ordering::SeqCst);
        thread::yield_now();
    };
    race(
        write,
        || (),
        |(), _| {
            let before = written.load(Ordering::SeqCst) as usize * CELL;
            let raw = Raw::parse(&server.connect().send(GET).rest()).expect("an append harms no response");
            assert!(raw.status == 200 && raw.is_complete(), "an append harms no response");
            assert!(raw.body.len() >= before, "stale: {} bytes after {before} were written", raw.body.len());
            // The kernel shows an append page by page, so a length at the end of a page may cut the last line.
            let lines = versions_in(&raw.body[..raw.body.len() / CELL * CELL]);
            assert!(lines.iter().copied().eq(0..lines.len() as u64), "not a beginning of the log");
            assert!(!raw.tag.contains('-'), "a tag of metadata, which may stay the same: {}", raw.tag);
            seen.note(&raw.tag, None, raw.body.len());
        },
    );
    seen.assert_race();
}

#[test]
fn created_and_removed_file_shows_in_next_response() {
    let folder = Folder::new();
    let server = serve(&folder).arg("-q").start();
    let mut client = server.connect();
    let mut get = || client.send("GET /file.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response();
    for number in 0..50 {
        get().status(404);
        folder.write("file.txt", version(number, 10));
        get().status(200).body(version(number, 10));
        fs::remove_file(folder.at("file.txt")).expect("the file can be removed");
    }
}
