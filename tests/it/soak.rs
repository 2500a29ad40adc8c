//! Everything that clients do, all at once and for long: afterwards the server is as it was after the first of them, and
//! nobody got a wrong answer.
//!
//! `SERVE_SOAK_SECONDS=600 cargo test --release soak -- --nocapture` is the long one; without the variable it is short.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::process::{ChildStdout, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::changing::Raise;
use crate::connections::vanish;
use crate::forging::Common;
use crate::support::{Client, Folder, Process, Response, binary};

/// How many clients there are at once. They are often slow on purpose, so that there are more than processors.
const CLIENTS: usize = 8;

/// Twice as much as the server keeps in memory, so that what it keeps changes all the time.
const FILES: usize = 600;

/// Longer than what the server reads into memory before it sends.
const MIDDLE: usize = 200_000;

const LARGE: usize = 6 << 20;

/// How much more memory there may be at the end than after the warm-up, for each processor: what the allocator keeps of
/// what was freed, in up to 8 arenas for each. With 2 processors that grew by 5.0 and 6.3 MiB from the first to the tenth
/// minute, in 4,200,000 exchanges, of which the last 800,000 added 8 KiB to the most there was. So 4 bytes that are lost
/// with each exchange are found in 600 s, and 1 KiB in 6 s.
const TOLERANCE_KIB: u64 = 6 * 1024;

/// The end is compared with how it was after so long, or after a third of a short soak.
const WARM_UP: Duration = Duration::from_secs(60);

/// A thread of the server waits 10 s for another connection, and a connection 3 s for its client to close.
const REST_LIMIT: Duration = Duration::from_secs(30);

/// What clients do. Each takes the number of its turn, so that a further turn goes on where the last one was.
const KINDS: [fn(&Soak, usize); 13] = [
    keeps_its_connection,
    connects_each_time,
    stops_within_its_request,
    stops_within_an_answer,
    stops_within_a_large_answer,
    half_closes,
    sends_slowly,
    reads_slowly,
    asks_in_batches,
    asks_for_ranges,
    asks_on_conditions,
    is_refused,
    lists,
];

#[test]
fn after_all_sorts_of_clients_the_server_is_what_it_was_after_the_first_of_them() {
    let seconds = std::env::var("SERVE_SOAK_SECONDS").map_or(6, |text| text.parse().expect("a number of seconds"));
    let length = Duration::from_secs(seconds);
    let warm_up = (length / 3).min(WARM_UP);
    let folder = site();
    let mut server = start(&folder);
    let soak = Soak::new(server.listening());
    let log = follow(&soak.ledger, server.stdout());
    lists(&soak, 0);
    let process = format!("/proc/{}", server.pid());
    let process = Path::new(&process);
    let idle_threads = threads(process).iter().filter(|name| *name != "connection").count();

    let mut peak = load(&soak, process, warm_up);
    let warm = rest(process, idle_threads);
    peak = peak.max(load(&soak, process, length.saturating_sub(warm_up)));
    let end = rest(process, idle_threads);

    server.signal("TERM");
    let (status, diagnostics) = server.ended();
    log.join().expect("the log is right");
    let [exchanges, aborts] = [&soak.exchanges, &soak.aborts].map(|count| count.load(Ordering::Relaxed));
    println!("soak of {length:?}: {exchanges} exchanges, {aborts} aborts, {} log lines", soak.ledger().lines);
    println!("under load at most: {peak:?}\nafter the warm-up: {warm:?}\nat the end: {end:?}");
    assert_eq!(status.code(), Some(0));
    assert_eq!(
        diagnostics.iter().find(|line| line.contains(" WARN ") || line.contains(" ERROR ")),
        None,
        "the server complains"
    );
    soak.ledger().balances(aborts);
    assert_eq!(end.descriptors, warm.descriptors, "descriptors are left open, or closed that were needed");
    assert_eq!(end.threads, idle_threads, "threads are left");
    let processors = thread::available_parallelism().map_or(1, usize::from) as u64;
    let most = warm.anonymous_kib + TOLERANCE_KIB * processors;
    assert!(end.anonymous_kib <= most, "memory has grown from {} to {} KiB", warm.anonymous_kib, end.anonymous_kib);
}

/// What the server takes of its system.
#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    descriptors: usize,
    threads: usize,
    resident_kib: u64,
    /// Of that, what is not of a file: the part that a leak makes grow.
    anonymous_kib: u64,
}

impl Taken {
    fn now(process: &Path) -> Taken {
        let status = fs::read_to_string(process.join("status")).expect("the server is there");
        let number = |name: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).expect("the system tells it");
            value.trim().trim_end_matches(" kB").parse().expect("it is a number")
        };
        Taken {
            descriptors: fs::read_dir(process.join("fd")).expect("the server is there").count(),
            threads: number("Threads:") as usize,
            resident_kib: number("VmRSS:"),
            anonymous_kib: number("RssAnon:"),
        }
    }

    fn max(self, other: Taken) -> Taken {
        Taken {
            descriptors: self.descriptors.max(other.descriptors),
            threads: self.threads.max(other.threads),
            resident_kib: self.resident_kib.max(other.resident_kib),
            anonymous_kib: self.anonymous_kib.max(other.anonymous_kib),
        }
    }
}

/// The names of the server's threads.
fn threads(process: &Path) -> Vec<String> {
    let tasks = fs::read_dir(process.join("task")).expect("the server is there").flatten();
    tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok()).map(|name| name.trim().into()).collect()
}

/// Waits until every connection's thread has ended, and with it all that it held.
#[track_caller]
fn rest(process: &Path, idle_threads: usize) -> Taken {
    let since = Instant::now();
    loop {
        let taken = Taken::now(process);
        if taken.threads == idle_threads {
            return taken;
        }
        assert!(since.elapsed() < REST_LIMIT, "{taken:?} are not {idle_threads} threads: {:?}", threads(process));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Lets all clients loose for so long, and returns the most that the server took.
fn load(soak: &Soak, process: &Path, time: Duration) -> Taken {
    let (done, until) = (AtomicBool::new(false), Instant::now() + time);
    let mut peak = Taken::default();
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let _raise = Raise(&done);
                while !done.load(Ordering::SeqCst) && Instant::now() < until {
                    let turn = soak.turns.fetch_add(1, Ordering::Relaxed);
                    KINDS[turn % KINDS.len()](soak, turn / KINDS.len());
                }
            });
        }
        while !done.load(Ordering::SeqCst) {
            peak = peak.max(Taken::now(process));
            thread::sleep(Duration::from_millis(50));
        }
    });
    peak
}

/// A text that tells of each place which file it is of.
fn content(file: usize) -> Vec<u8> {
    let length = match file {
        0 => 0,
        1 => MIDDLE,
        _ => file * 37 % 8000,
    };
    cells(file, length)
}

fn cells(file: usize, length: usize) -> Vec<u8> {
    let cells: String = (0..=length / 12).map(|cell| format!("{file:04} {cell:06}\n")).collect();
    cells.as_bytes()[..length].to_vec()
}

fn site() -> Folder {
    let folder = Folder::new().file("large.txt", cells(9999, LARGE));
    let folder = (0..40).fold(folder, |folder, n| folder.file(&format!("d/entry-{n}.txt"), "entry"));
    (0..FILES).fold(folder, |folder, n| folder.file(&format!("f/{n}.txt"), content(n)))
}

fn start(folder: &Folder) -> Process {
    let mut command = binary();
    command.args(["--list", "--cache-memory", "1", "--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    Process::start(&mut command, Stdio::piped())
}

/// What all clients have in common.
struct Soak {
    addr: SocketAddr,
    files: Vec<Vec<u8>>,
    large: Vec<u8>,
    /// What the first one who asked for each form of a listing got.
    listings: [OnceLock<Vec<u8>>; 2],
    turns: AtomicUsize,
    last_id: AtomicU64,
    exchanges: AtomicU64,
    aborts: AtomicU64,
    ledger: Arc<Mutex<Ledger>>,
}

impl Soak {
    fn new(addr: SocketAddr) -> Soak {
        Soak {
            addr,
            files: (0..FILES).map(content).collect(),
            large: cells(9999, LARGE),
            listings: Default::default(),
            turns: AtomicUsize::new(0),
            last_id: AtomicU64::new(0),
            exchanges: AtomicU64::new(0),
            aborts: AtomicU64::new(0),
            ledger: Arc::default(),
        }
    }

    fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("the log is right")
    }

    /// Writes a number of its own into the request where it has a `#`, by which its line in the log is known.
    fn number(&self, request: &str) -> (u64, String) {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        (id, request.replacen('#', &format!("n={id:012}."), 1))
    }

    /// Sends a request, and returns its number.
    fn send(&self, client: &mut Client, request: &str) -> u64 {
        let (id, request) = self.number(request);
        client.send(request);
        id
    }

    /// Notes that the answer to this request came whole.
    fn got(&self, id: u64, status: u16, length: usize) {
        self.exchanges.fetch_add(1, Ordering::Relaxed);
        self.ledger().note_answer(id, (status, length as u64));
    }

    /// Reads the answer to a GET.
    #[track_caller]
    fn response(&self, client: &mut Client, id: u64, status: u16) -> Response {
        let response = client.response().status(status);
        self.got(id, status, response.body.len());
        response
    }

    /// Asks, and reads the answer.
    #[track_caller]
    fn ask(&self, client: &mut Client, request: &str, status: u16) -> Response {
        let id = self.send(client, request);
        self.response(client, id, status)
    }

    /// Ends the connection before its time, by a reset or in order.
    fn abort(&self, client: Client, by_reset: bool) {
        self.aborts.fetch_add(1, Ordering::Relaxed);
        if by_reset {
            vanish(client);
        }
    }
}

fn get(file: usize) -> String {
    format!("GET /f/{}.txt?# HTTP/1.1\r\nHost: localhost\r\n\r\n", file % FILES)
}

fn get_with(target: &str, fields: &str) -> String {
    format!("GET {target}?# HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

fn keeps_its_connection(soak: &Soak, turn: usize) {
    let mut client = soak.connect();
    for file in (0..60).map(|at| (turn * 61 + at * 7) % FILES) {
        let content = &soak.files[file];
        soak.ask(&mut client, &get(file), 200).body(content);
        if file % 8 == 0 {
            let id = soak.send(&mut client, &get(file).replace("GET", "HEAD"));
            let response = client.response_to_head().status(200);
            response.has("Content-Length", &content.len().to_string());
            soak.got(id, 200, 0);
        }
    }
}

fn connects_each_time(soak: &Soak, turn: usize) {
    for at in 0..12 {
        let file = (turn * 13 + at) % FILES;
        let content = &soak.files[file];
        let mut client = soak.connect();
        match at % 4 {
            0 => {
                let id = soak.send(&mut client, &format!("GET /f/{file}.txt?#\r\n"));
                assert!(client.rest() == *content, "the simple response with file {file} is wrong");
                soak.got(id, 200, content.len());
            }
            1 => drop(soak.ask(&mut client, &format!("GET /f/{file}.txt?# HTTP/1.0\r\n\r\n"), 200).body(content)),
            2 => drop(soak.ask(&mut client, &get(file), 200).body(content)),
            _ => {
                let request = get_with(&format!("/f/{file}.txt"), "Connection: close\r\n");
                soak.ask(&mut client, &request, 200).body(content);
                client.closed();
            }
        }
    }
}

/// Every byte offset of every one of these, by an orderly end and by a reset.
fn stops_within_its_request(soak: &Soak, turn: usize) {
    let requests = [
        "GET /f/7.txt?# HTTP/1.1\r\nHost: localhost\r\nAccept: text/html\r\n\r\n",
        "GET /f/1.txt?# HTTP/1.0\r\n\r\n",
        "GET /large.txt?# HTTP/1.1\r\nHost: localhost\r\nRange: bytes=5-\r\n\r\n",
        "GET /f/9.txt?#\r\n",
        "POST /?# HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
        "POST /?# HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for at in turn * 24..(turn + 1) * 24 {
        let by_reset = at % 2 == 0;
        let (_, request) = soak.number(requests[at / 2 % requests.len()]);
        let offset = at / 2 / requests.len() % (request.len() + 1);
        let mut client = soak.connect();
        client.send(&request[..offset]);
        soak.abort(client, by_reset);
    }
}

/// Reads no more than so many bytes of an answer.
fn stops_behind(soak: &Soak, request: &str, count: usize) {
    let mut client = soak.connect();
    soak.send(&mut client, request);
    let read = client.stream().take(count as u64).read_to_end(&mut Vec::new()).expect("the response comes");
    assert_eq!(read, count, "the response ends before its time");
    soak.abort(client, true);
}

fn stops_within_an_answer(soak: &Soak, turn: usize) {
    // No head is shorter than this.
    let length = 200 + soak.files[11].len();
    (turn * 16..(turn + 1) * 16).for_each(|at| stops_behind(soak, &get(11), at % length));
}

fn stops_within_a_large_answer(soak: &Soak, turn: usize) {
    stops_behind(soak, &get_with("/large.txt", ""), turn * 100_003 % LARGE);
    stops_behind(soak, &get(1), turn * 1009 % MIDDLE);
}

fn half_closes(soak: &Soak, turn: usize) {
    let mut client = soak.connect();
    let files = [turn % FILES, (turn * 7 + 3) % FILES, 1];
    let ids = files.map(|file| soak.send(&mut client, &get(file)));
    let large = soak.send(&mut client, &get_with("/large.txt", ""));
    client.finish();
    for (file, id) in files.into_iter().zip(ids) {
        soak.response(&mut client, id, 200).body(&soak.files[file]);
    }
    soak.response(&mut client, large, 200).body(&soak.large);
    client.closed();
}

fn sends_slowly(soak: &Soak, turn: usize) {
    let file = turn % FILES;
    let mut client = soak.connect();
    let (id, request) = soak.number(&get(file));
    for (at, byte) in request.bytes().enumerate() {
        client.send([byte]);
        if at % 4 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
    soak.response(&mut client, id, 200).body(&soak.files[file]);
}

fn reads_slowly(soak: &Soak, _: usize) {
    let mut client = soak.connect();
    set_socket_recv_buffer_size(client.stream(), 32 * 1024).expect("the option can be set");
    let id = soak.send(&mut client, &get_with("/large.txt", "Connection: close\r\n"));
    let mut response = Vec::new();
    while client.stream().take(65536).read_to_end(&mut response).expect("the response comes") > 0 {
        thread::sleep(Duration::from_millis(2));
    }
    assert!(response.starts_with(b"HTTP/1.1 200 ") && response.ends_with(&soak.large), "the large file is wrong");
    let head = response.len() - LARGE;
    assert!(response[..head].ends_with(b"\r\n\r\n") && head < 1000, "there is more than the large file");
    soak.got(id, 200, LARGE);
}

fn asks_in_batches(soak: &Soak, turn: usize) {
    let mut client = soak.connect();
    for batch in 0..3 {
        let files: Vec<usize> = (0..50).map(|at| (turn * 50 + batch * 17 + at * 3) % FILES).collect();
        let (ids, requests): (Vec<_>, Vec<_>) = files.iter().map(|&file| soak.number(&get(file))).unzip();
        client.send(requests.concat());
        for (file, id) in files.into_iter().zip(ids) {
            soak.response(&mut client, id, 200).body(&soak.files[file]);
        }
    }
}

fn asks_for_ranges(soak: &Soak, turn: usize) {
    let mut client = soak.connect();
    let some = [11, 61, 111, 161].map(|file| file + turn % 50);
    let files = some.into_iter().chain([1]).map(|file| (format!("/f/{file}.txt"), &soak.files[file]));
    for (target, content) in files.chain([("/large.txt".to_owned(), &soak.large)]) {
        let length = content.len();
        let first = turn * 7919 % (length - 1);
        let some = length.min(100_000);
        for (asked, span) in [
            (format!("{first}-"), first..length),
            (format!("{first}-{first}"), first..first + 1),
            (format!("{first}-{}", first + some), first..length.min(first + some + 1)),
            (format!("-{}", first + 1), length - first - 1..length),
        ] {
            let request = get_with(&target, &format!("Range: bytes={asked}\r\n"));
            let expected = format!("bytes {}-{}/{length}", span.start, span.end - 1);
            soak.ask(&mut client, &request, 206).has("Content-Range", &expected).body(&content[span]);
        }
        let middle = length / 4 + first / 4;
        let spans = [0..length / 8, middle..length / 2 + 1, length - 5..length];
        let asked = format!("Range: bytes=0-{},{middle}-{},-5\r\n", length / 8 - 1, length / 2);
        let response = soak.ask(&mut client, &get_with(&target, &asked), 206);
        let expected = in_parts(response.field("Content-Type"), content, &spans);
        response.body(expected);
        let beyond = format!("Range: bytes={length}-\r\n");
        soak.ask(&mut client, &get_with(&target, &beyond), 416).has("Content-Range", &format!("bytes */{length}"));
    }
}

/// The whole of an answer with several ranges (RFC 9110 §14.6).
fn in_parts(media_type: &str, content: &[u8], spans: &[Range<usize>]) -> Vec<u8> {
    let boundary = media_type.strip_prefix("multipart/byteranges; boundary=").expect("there are several ranges");
    let mut whole = Vec::new();
    for span in spans {
        let range = format!("Content-Range: bytes {}-{}/{}", span.start, span.end - 1, content.len());
        let head = format!("\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n{range}\r\n\r\n");
        whole.extend(head.bytes());
        whole.extend(&content[span.clone()]);
    }
    whole.extend(format!("\r\n--{boundary}--\r\n").bytes());
    whole.split_off(2)
}

fn asks_on_conditions(soak: &Soak, turn: usize) {
    let mut client = soak.connect();
    for file in [turn % FILES, (turn * 31 + 5) % FILES, 1] {
        let (target, content) = (format!("/f/{file}.txt"), &soak.files[file]);
        let response = soak.ask(&mut client, &get(file), 200).body(content);
        let [tag, date] = ["ETag", "Last-Modified"].map(|name| response.field(name).to_owned());
        for (fields, status) in [
            (format!("If-None-Match: {tag}\r\n"), 304),
            (format!("If-Modified-Since: {date}\r\n"), 304),
            ("If-None-Match: \"other\"\r\n".to_owned(), 200),
            ("If-Match: \"other\"\r\n".to_owned(), 412),
            (format!("If-Match: {tag}\r\n"), 200),
            ("If-Range: \"other\"\r\nRange: bytes=0-0\r\n".to_owned(), 200),
        ] {
            let response = soak.ask(&mut client, &get_with(&target, &fields), status);
            match status {
                200 => drop(response.body(content)),
                304 => drop(response.body("")),
                _ => {}
            }
        }
    }
}

fn is_refused(soak: &Soak, _: usize) {
    let host = "HTTP/1.1\r\nHost: localhost\r\n";
    for (request, status) in [
        ("GET /f/1.txt?# HTTP/1.1\r\n\r\n".to_owned(), 400),
        (format!("GET /?# {host}no colon\r\n\r\n"), 400),
        (format!("GET /?# {host}Range : bytes=0-\r\n\r\n"), 400),
        ("GET /?# HTTP/2.0\r\n\r\n".to_owned(), 505),
        ("\x16\x03?#\r\n".to_owned(), 400),
        ("nonsense?#\r\n".to_owned(), 400),
        (format!("GET /?#{} {host}\r\n", "x".repeat(20_000)), 414),
        (format!("GET /?# {host}{}\r\n", "a: b\r\n".repeat(200)), 431),
        (format!("GET /?# {host}a: {}\r\n\r\n", "x".repeat(40_000)), 431),
        (format!("BREW /?# {host}\r\n"), 501),
        (format!("POST /?# {host}Content-Length: 5\r\n\r\nhello"), 405),
        (format!("POST /?# {host}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"), 405),
        (format!("POST /?# {host}Transfer-Encoding: chunked\r\n\r\nno size\r\n"), 400),
        (format!("GET /?# {host}Content-Length: 99999999\r\n\r\n"), 413),
        (format!("GET /?# {host}Transfer-Encoding: gzip\r\n\r\n"), 501),
        (format!("GET /?# {host}Expect: tea\r\n\r\n"), 417),
        (format!("POST /?# {host}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n"), 405),
        (format!("GET /%00?# {host}\r\n"), 400),
        (format!("GET /missing?# {host}\r\n"), 404),
        (format!("GET /d?# {host}\r\n"), 301),
    ] {
        soak.ask(&mut soak.connect(), &request, status);
    }
}

fn lists(soak: &Soak, _: usize) {
    let mut client = soak.connect();
    for (form, first) in ["text/html", "application/json"].into_iter().zip(&soak.listings) {
        let response = soak.ask(&mut client, &get_with("/d/", &format!("Accept: {form}\r\n")), 200);
        let whole = (0..40).fold(response, |response, n| response.says(&format!("entry-{n}.txt")));
        let expected = first.get_or_init(|| whole.body.clone());
        whole.body(expected);
    }
}

/// What clients saw and what the access log says, held against each other.
#[derive(Default)]
struct Ledger {
    lines: u64,
    /// The lines of requests of which not even the number came.
    without_number: u64,
    /// Which requests have their line.
    has_line: Vec<bool>,
    /// The answers whose line has not come yet.
    only_seen: HashMap<u64, Outcome>,
    /// The lines of answers that nobody has read to the end.
    only_logged: HashMap<u64, Outcome>,
}

/// The status and the length of the content.
type Outcome = (u16, u64);

impl Ledger {
    #[track_caller]
    fn note_answer(&mut self, id: u64, seen: Outcome) {
        match self.only_logged.remove(&id) {
            Some(logged) => assert_eq!(logged, seen, "the log is wrong about request {id}"),
            None => drop(self.only_seen.insert(id, seen)),
        }
    }

    #[track_caller]
    fn note_line(&mut self, line: &[u8]) {
        let line = Common::parse(line).unwrap_or_else(|| panic!("no line: {}", line.escape_ascii()));
        self.lines += 1;
        let request = String::from_utf8_lossy(&line.request);
        let number = request.split_once("n=").and_then(|(_, rest)| rest.split_once('.')?.0.parse::<usize>().ok());
        let Some(id) = number else {
            self.without_number += 1;
            return;
        };
        self.has_line.resize(self.has_line.len().max(id + 1), false);
        assert!(!std::mem::replace(&mut self.has_line[id], true), "a second line for request {id}: {request}");
        let (id, logged) = (id as u64, (line.status, line.bytes));
        match self.only_seen.remove(&id) {
            Some(seen) => assert_eq!(logged, seen, "the log is wrong about request {id}"),
            None => drop(self.only_logged.insert(id, logged)),
        }
    }

    /// Asserts that every answer has its line, and that there is no other line but about aborts.
    #[track_caller]
    fn balances(&self, aborts: u64) {
        assert!(self.only_seen.is_empty(), "not in the log: {:?}", self.only_seen);
        let others = self.only_logged.len() as u64 + self.without_number;
        assert!(others <= aborts, "{others} lines about {aborts} aborts");
    }
}

/// Reads the access log to its end. A wrong line ends the clients too, since the ledger is broken then.
fn follow(ledger: &Arc<Mutex<Ledger>>, output: ChildStdout) -> thread::JoinHandle<()> {
    let ledger = Arc::clone(ledger);
    thread::spawn(move || {
        let lines = BufReader::new(output).split(b'\n').map(|line| line.expect("the log can be read"));
        lines.for_each(|line| ledger.lock().expect("no client fails in it").note_line(&line));
    })
}
