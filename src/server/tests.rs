//! The request loop over a connection in memory: every reason to refuse is reached by what a client sends, or by what
//! the file system does, and is explained. And the scripts of the fuzz target `connection`, which are judged by a second
//! reading.

#[path = "../../tests/fuzz/connection/mod.rs"]
mod fuzz;

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::iter;
use std::mem;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::connection::Connection;
use super::connections::{Clock, Connections};
use super::https_redirect::Redirect;
use super::tls::PlainHttpOnTlsPort;
use super::*;
use crate::files::OpenError;
use crate::files::cache::Cache;
use crate::files::root::{RootPath, Symlinks};
use crate::files::semaphore::Semaphore;
use crate::net::Transport;
use crate::net::trusted_proxies::TrustedProxies;
use crate::proto::request::{FIELDS_MAX, HEAD_MAX, REQUEST_LINE_MAX};
use crate::proto::target::RelPath;
use crate::proto::why::Why;
use crate::site::headers::DefaultHeaders;
use crate::site::refusal::{PageFormat, Refusal};
use crate::site::response::Response;
use crate::site::{Request, Respond, SiteSession};

/// A scripted client.
struct Script<'s> {
    says: VecDeque<Said>,
    hears: Vec<u8>,
    /// Bytes that it reads before it is too slow, once; any number if none.
    takes: Option<usize>,
    /// Pause before each input.
    pause: Duration,
    /// Whether its inputs arrive before each read.
    is_ready: bool,
    /// Blocking reads, and sends.
    waits: usize,
    sends: usize,
    /// Non-blocking reads without bytes since the last bytes.
    looks: usize,
    /// Busy polls: more than one such read in a row.
    awaited: usize,
    end: End,
    connections: &'s Connections,
    micros: &'s AtomicU64,
}

enum Said {
    Bytes(Vec<u8>),
    /// Silence for an hour.
    Nothing,
    /// A reset.
    Reset,
}

impl Script<'_> {
    /// Says as much of this as there is room for.
    fn say(&mut self, mut piece: Vec<u8>, into: &mut [u8]) -> usize {
        let count = piece.len().min(into.len());
        let rest = piece.split_off(count);
        into[..count].copy_from_slice(&piece);
        if !rest.is_empty() {
            self.says.push_front(Said::Bytes(rest));
        }
        count
    }
}

/// How the server ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Open,
    Close,
    Linger,
    Abort,
}

impl Transport for Script<'_> {
    fn read(&mut self, into: &mut [u8], until: Option<Instant>) -> io::Result<usize> {
        self.awaited += usize::from(mem::take(&mut self.looks) > 1);
        self.waits += 1;
        thread::sleep(self.pause);
        let piece = match self.says.pop_front() {
            Some(Said::Bytes(piece)) => piece,
            Some(Said::Reset) => return Err(ErrorKind::ConnectionReset.into()),
            Some(Said::Nothing) if until.is_some() => return Err(ErrorKind::TimedOut.into()),
            Some(Said::Nothing) => {
                self.micros.fetch_add(3_600_000_000, Ordering::Relaxed);
                self.connections.expire();
                return Ok(0);
            }
            None => return Ok(0),
        };
        Ok(self.say(piece, into))
    }

    fn try_read(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        match self.says.pop_front_if(|said| self.is_ready && matches!(said, Said::Bytes(_))) {
            Some(Said::Bytes(piece)) => return Ok(Some(self.say(piece, into))),
            _ => self.looks += 1,
        }
        Ok(None)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sends += 1;
        match self.takes.take() {
            Some(count) if count < bytes.len() => {
                self.hears.extend_from_slice(&bytes[..count]);
                Err(ErrorKind::TimedOut.into())
            }
            _ => {
                self.hears.extend_from_slice(bytes);
                Ok(())
            }
        }
    }

    fn send_more(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.send(bytes)
    }

    fn send_file(&mut self, file: &File, span: &mut Range<u64>) -> io::Result<()> {
        let mut bytes = vec![0; (span.end - span.start) as usize];
        file.read_exact_at(&mut bytes, span.start)?;
        span.start = span.end;
        self.send(&bytes)
    }

    fn send_last(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !bytes.is_empty() {
            self.send(bytes)?;
        }
        assert_eq!(self.end, End::Open, "a connection ends once");
        self.end = End::Close;
        Ok(())
    }

    fn linger(&mut self) {
        assert_eq!(self.end, End::Close, "who is lingered for knows that nothing more comes");
        self.end = End::Linger;
    }

    fn abort(&mut self) {
        self.end = End::Abort;
    }
}

/// A server on a directory of its own, which is removed with it.
struct Fixture {
    server: Server,
    /// The clock of the connection table.
    micros: Arc<AtomicU64>,
    root: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Fixture {
        Fixture::with_max_connections(name, 10)
    }

    fn with_max_connections(name: &str, max_connections: usize) -> Fixture {
        let root = std::env::temp_dir().join(format!("serve-unit-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("dir")).expect("the directory can be made");
        fs::write(root.join("a.txt"), "hello").expect("the file can be written");
        let site = Site {
            root: RootPath::new(root.clone(), Symlinks::Inside),
            index: Vec::new(),
            list: false,
            listings: Semaphore::new(1),
            not_found: RelPath::new(b"404.html").expect("plain"),
            hidden: false,
            charset: None,
            files: Cache::new(1 << 20),
            headers: DefaultHeaders::new(0, &[]),
            precompressed: None,
            compression: None,
        };
        let long = Duration::from_secs(60);
        let [header_timeout, idle_timeout, write_timeout] = [long; 3];
        let limits = Limits { connections: max_connections, per_ip: None, header_timeout, idle_timeout, write_timeout };
        let trusted = TrustedProxies(vec!["127.0.0.1".parse().expect("an address")]);
        let options = Options { limits, proxy_protocol: true, drain_delay: Duration::ZERO, grace: long };
        let diagnostics = LogWriter::to_stderr().expect("a thread can be started");
        let micros = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&micros);
        let clock: Clock = Box::new(move || Duration::from_micros(shared.load(Ordering::Relaxed)));
        let connections = Connections::new(limits, trusted, clock);
        let server = Server::new(options, site, TrustedProxies::default(), diagnostics);
        Fixture { server: Server { connections, ..server }, micros, root }
    }

    /// The bytes that a client receives from another responder.
    fn hears_behind(&self, responder: &dyn Respond, request: &str) -> String {
        self.converse_with(responder, vec![Said::Bytes(request.into())], None).0
    }

    /// The bytes that a client with these inputs receives.
    fn hears(&self, says: Vec<Said>) -> String {
        self.converse(says, None).0
    }

    /// The bytes that a client with these inputs receives, reading this many of them in time, and the end of its connection.
    fn converse(&self, says: Vec<Said>, takes: Option<usize>) -> (String, End) {
        self.converse_with(&SiteSession::new(&self.server.site), says, takes)
    }

    fn converse_with(&self, responder: &dyn Respond, says: Vec<Said>, takes: Option<usize>) -> (String, End) {
        let script = self.play(responder, Script { takes, ..self.script(says) });
        (String::from_utf8(script.hears).expect("the responses are text"), script.end)
    }

    fn script(&self, says: Vec<Said>) -> Script<'_> {
        let (says, connections) = (says.into(), &*self.server.connections);
        Script {
            says,
            hears: Vec::new(),
            takes: None,
            pause: Duration::ZERO,
            is_ready: false,
            waits: 0,
            sends: 0,
            looks: 0,
            awaited: 0,
            end: End::Open,
            connections,
            micros: &self.micros,
        }
    }

    fn play<'s>(&self, responder: &dyn Respond, mut script: Script<'s>) -> Script<'s> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let peer = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(peer).expect("listening");
        let conn = self.server.connections.register(stream, peer).expect("the fixture is open");
        Connection::new(&mut script, &self.server, responder, &conn).run();
        script
    }

    fn hears_after(&self, bytes: impl AsRef<[u8]>) -> String {
        self.hears(vec![Said::Bytes(bytes.as_ref().to_vec())])
    }

    /// The bytes that a client receives through a proxy.
    fn hears_through_proxy(&self, bytes: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("listening");
        client.write_all(bytes.as_bytes()).expect("connected");
        client.shutdown(Shutdown::Write).expect("connected");
        let (stream, peer) = listener.accept().expect("connected");
        let conn = self.server.connections.register(stream, peer).expect("the fixture is open");
        assert!(proxy_protocol::receive_header(&self.server, conn, Service::Site).is_none(), "this is no header");
        io::read_to_string(client).expect("the responses are text")
    }

    fn path(&self) -> &Path {
        &self.root
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn request(line: &str, fields: &str) -> String {
    format!("{line}\r\nHost: localhost\r\n{fields}\r\n")
}

/// The answer for each reason. A reason that is added has to be reached here before this compiles.
fn answer_for(why: Why, fixture: &Fixture) -> String {
    let get = |fields: &str| fixture.hears_after(request("GET /a.txt HTTP/1.1", fields));
    let line = |line: &str| fixture.hears_after(request(line, ""));
    let raw = |bytes: &str| fixture.hears_after(bytes);
    let silence = |bytes: &str| fixture.hears(vec![Said::Bytes(bytes.into()), Said::Nothing]);
    match why {
        Why::ProxyHeaderMissing => fixture.hears_through_proxy("GET / HTTP/1.1\r\n\r\n"),
        Why::ProxyHeaderSyntax => fixture.hears_through_proxy("PROXY TCP4\r\n"),
        Why::ProxyHeaderUnwanted => line("PROXY UNKNOWN"),
        Why::NotHttp => fixture.hears_after(b"\x16\x03\x01\x02\x00"),
        Why::RequestLine => line("GET  / HTTP/1.1"),
        Why::VersionSyntax => line("GET / HTTP/1,1"),
        Why::VersionNotSupported => line("GET / HTTP/3.0"),
        Why::RequestLineTooLong => line(&format!("GET /{} HTTP/1.1", "a".repeat(REQUEST_LINE_MAX))),
        Why::BareCr => get("A: b\rc\r\n"),
        Why::MissingColon => get("A b\r\n"),
        Why::SpaceBeforeColon => get("A : b\r\n"),
        Why::FieldName => get("A(b): c\r\n"),
        Why::FieldValue => get("A: b\x01\r\n"),
        Why::LineFolding => get("A: b\r\n c\r\n"),
        Why::HeadTooLarge => get(&format!("A: {}\r\n", "b".repeat(HEAD_MAX))),
        Why::TooManyFields => get(&"A: b\r\n".repeat(FIELDS_MAX)),
        Why::HeadIncomplete => raw("GET / HTTP/1.1\r\n"),
        Why::HeadTimeout => silence("GET / HTTP/1.1\r\nHost: loc"),
        Why::ContentLengthSyntax => get("Content-Length: five\r\n"),
        Why::ContentLengthRepeated => get("Content-Length: 5\r\nContent-Length: 5\r\n"),
        Why::LengthAndEncoding => get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
        Why::TransferEncodingInHttp10 => raw("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Why::TransferCodingUnknown => get("Transfer-Encoding: gzip\r\n"),
        Why::TransferCodingOrder => get("Transfer-Encoding: chunked, chunked\r\n"),
        Why::ChunkSyntax => raw(&(request("GET / HTTP/1.1", "Transfer-Encoding: chunked\r\n") + "x\r\n")),
        Why::ContentTooLarge => get("Content-Length: 9999999\r\n"),
        Why::ContentIncomplete => get("Content-Length: 5\r\n"),
        Why::ContentTimeout => silence(&request("GET / HTTP/1.1", "Content-Length: 5\r\n")),
        Why::ExpectationUnknown => get("Expect: a-miracle\r\n"),
        Why::HostMissing => raw("GET / HTTP/1.1\r\n\r\n"),
        Why::HostRepeated => get("Host: localhost\r\n"),
        Why::HostInvalid => raw("GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
        Why::PlainHttpOnTlsPort => {
            let site = SiteSession::new(&fixture.server.site);
            fixture.hears_behind(&PlainHttpOnTlsPort(&site), &request("GET /a.txt HTTP/1.1", ""))
        }
        Why::RedirectToHttps => redirected(fixture, &request("PUT /a.txt?b HTTP/1.1", "")),
        Why::RedirectWithoutHost => redirected(fixture, "GET / HTTP/1.0\r\n\r\n"),
        Why::MethodUnknown => line("BREW / HTTP/1.1"),
        Why::MethodNotAllowed => line("DELETE / HTTP/1.1"),
        Why::TargetForm => line("GET a.txt HTTP/1.1"),
        Why::TargetScheme => line("GET ftp://localhost/ HTTP/1.1"),
        Why::TargetAuthority => line("GET http://user@localhost/ HTTP/1.1"),
        Why::TargetByte => line("GET /a#b HTTP/1.1"),
        Why::PercentEncoding => line("GET /%4 HTTP/1.1"),
        Why::NulInPath => line("GET /%00 HTTP/1.1"),
        Why::AboveRoot => line("GET /../etc/passwd HTTP/1.1"),
        Why::EncodedSlash => line("GET /a%2Fb HTTP/1.1"),
        Why::NotFound => line("GET /nothing HTTP/1.1"),
        Why::ListingOff => line("GET /dir/ HTTP/1.1"),
        Why::DirectoryWithoutSlash => line("GET /dir HTTP/1.1"),
        Why::PreconditionFailed => get("If-Match: \"x\"\r\n"),
        Why::RangeUnsatisfiable => get("Range: bytes=99-\r\n"),
        Why::KeepsChanging => answer_while_rewritten(fixture),
        Why::FileSystem => answer_without_root(fixture),
        Why::NoThread | Why::PerIpLimit => {
            String::from_utf8(overload::response(why, &fixture.server.site)).expect("text")
        }
        // The kernel alone causes these two. The real binary meets them in the tests
        // `a_file_that_may_not_be_read_is_forbidden_without_a_reason_of_the_system` and
        // `without_a_free_descriptor_a_file_is_refused_and_the_connection_goes_on`.
        Why::Unreadable => explained(fixture, OpenError::Unreadable(ErrorKind::PermissionDenied.into())),
        Why::OutOfResources => explained(fixture, OpenError::OutOfResources(ErrorKind::OutOfMemory.into())),
    }
}

/// The answer where the site is served over TLS.
fn redirected(fixture: &Fixture, request: &str) -> String {
    let site = SiteSession::new(&fixture.server.site);
    fixture.hears_behind(&Redirect { site: &site, port: 8443 }, request)
}

/// The answer of a file that is rewritten without a pause.
fn answer_while_rewritten(fixture: &Fixture) -> String {
    let is_over = AtomicBool::new(false);
    let path = fixture.path().join("b.txt");
    fs::write(&path, "0").expect("the file can be written");
    thread::scope(|scope| {
        scope.spawn(|| {
            let file = File::options().write(true).open(path).expect("the file is there");
            for at in (0..u64::MAX).take_while(|_| !is_over.load(Ordering::Relaxed)) {
                file.write_all_at(at.to_string().as_bytes(), 0).expect("the file can be written");
            }
        });
        let ask = || fixture.hears_after(request("GET /b.txt HTTP/1.1", ""));
        let since = Instant::now();
        let mut responses = std::iter::repeat_with(ask).take_while(|_| since.elapsed() < Duration::from_secs(20));
        let response = responses.find(|response| response.contains(" 503 "));
        is_over.store(true, Ordering::Relaxed);
        response.expect("a file that never comes to rest is refused in the end")
    })
}

/// The answer when the root is gone.
fn answer_without_root(fixture: &Fixture) -> String {
    let elsewhere = fixture.path().with_extension("moved");
    fs::rename(fixture.path(), &elsewhere).expect("the root can be moved");
    let response = fixture.hears_after(request("GET / HTTP/1.1", ""));
    fs::rename(elsewhere, fixture.path()).expect("the root can be moved back");
    response
}

fn explained(fixture: &Fixture, error: OpenError) -> String {
    let response = SiteSession::new(&fixture.server.site).page(Refusal::from(error), PageFormat::Text);
    let crate::site::response::Body::Bytes(page) = response.body else { panic!("a page is in memory") };
    let mut said = Vec::new();
    response.head.write_status_line(&mut said);
    said.extend_from_slice(&page);
    String::from_utf8(said).expect("text")
}

#[test]
fn every_reason_is_reached_and_explained() {
    let fixture = Fixture::new("reasons");
    for &why in Why::ALL {
        let response = answer_for(why, &fixture);
        let said = why.explanation();
        assert!(response.starts_with(&format!("HTTP/1.1 {} ", why.status().code())), "{why:?}\n{response}");
        for part in [said.what, said.rule, said.instead] {
            assert!(response.contains(part), "{why:?} does not say {part:?}\n{response}");
        }
        assert!(!response.contains(fixture.path().to_str().expect("text")), "{why:?} tells a path\n{response}");
    }
}

#[test]
fn the_limits_that_are_told_are_those_that_hold() {
    for (why, limit) in
        [(Why::RequestLineTooLong, REQUEST_LINE_MAX), (Why::HeadTooLarge, HEAD_MAX), (Why::TooManyFields, FIELDS_MAX)]
    {
        assert!(why.explanation().instead.contains(&format!(" {limit} ")), "{why:?}");
    }
}

const CLOSE: &str = "Connection: close\r\n";

#[test]
fn what_a_slow_client_did_not_take_is_never_sent_again() {
    let fixture = Fixture::new("slow");
    for fields in ["", CLOSE, "Content-Length: five\r\n"] {
        let says = || vec![Said::Bytes(request("GET /a.txt HTTP/1.1", fields).into())];
        let whole = fixture.hears(says());
        let (part, end) = fixture.converse(says(), Some(20));
        assert_eq!((part.as_str(), end), (&whole[..20], End::Abort), "{fields:?}");
    }
}

#[test]
fn a_refusal_that_cannot_be_sent_breaks_the_connection_off() {
    let fixture = Fixture::new("slow-refusal");
    // With the refusal behind it, this is more than waits to leave together.
    fs::write(fixture.path().join("near"), [b'a'; 65_000]).expect("the file can be written");
    let says = request("GET /near HTTP/1.1", "") + "GET / HTTP/1,1\r\n\r\n";
    let (part, end) = fixture.converse(vec![Said::Bytes(says.into())], Some(20));
    assert_eq!((part.len(), end), (20, End::Abort));
}

#[test]
fn close_lingers_where_more_may_arrive() {
    let fixture = Fixture::new("end");
    for (name, len) in [("kept", 40_000), ("large", 70_000)] {
        fs::write(fixture.path().join(name), vec![b'a'; len]).expect("the file can be written");
    }
    let get = |fields: &str| Said::Bytes(request("GET /a.txt HTTP/1.1", fields).into());
    let large = |fields| request("GET /large HTTP/1.1", fields);
    let last = || request("GET /a.txt HTTP/1.1", CLOSE);
    let expects = format!("{CLOSE}Expect: 100-continue\r\nContent-Length: 5\r\n");
    for (says, expected) in [
        (vec![get("")], End::Close),
        (vec![get(CLOSE)], End::Close),
        // Little is left to be sent, but much may be in flight.
        (vec![Said::Bytes(large(CLOSE).into())], End::Linger),
        (vec![Said::Bytes((large("") + &last()).into())], End::Linger),
        (vec![Said::Bytes(large("").into()), Said::Bytes(last().into())], End::Linger),
        (vec![get(""), Said::Bytes(last().into())], End::Close),
        (vec![Said::Bytes(request("GET /kept HTTP/1.1", "").into()), Said::Bytes(last().into())], End::Linger),
        (vec![Said::Bytes((request("GET /kept HTTP/1.1", "").repeat(2) + &last()).into())], End::Linger),
        (vec![Said::Bytes((last() + "more").into())], End::Linger),
        (vec![get(&expects)], End::Linger),
        (vec![get("Content-Length: 5\r\n"), Said::Nothing], End::Linger),
        (vec![Said::Bytes(b"GET / HTTP/1.1\r\n".to_vec()), Said::Nothing], End::Linger),
        (vec![get(""), Said::Nothing], End::Linger),
    ] {
        let (heard, end) = fixture.converse(says, None);
        assert_eq!(end, expected, "{heard}");
    }
}

/// Answers as the site does, after something has happened.
struct After<'s> {
    site: SiteSession<'s>,
    happens: &'s dyn Fn(),
}

impl Respond for After<'_> {
    fn respond(&self, request: &Request<'_>) -> Response {
        (self.happens)();
        self.site.respond(request)
    }
}

#[test]
fn pipelining_connection_closes_for_a_waiting_one() {
    let fixture = Fixture::with_max_connections("besieged", 1);
    let connections = &fixture.server.connections;
    let stream = || TcpListener::bind("127.0.0.1:0").and_then(|endpoint| TcpStream::connect(endpoint.local_addr()?));
    let [mine, another] = [stream(), stream()].map(|stream| stream.expect("a free port"));
    let peer = mine.local_addr().expect("connected");
    let conn = connections.register(mine, peer).expect("the fixture is open");
    let is_asked = AtomicBool::new(false);
    let mut script = fixture.script(vec![Said::Bytes(request("GET /a.txt HTTP/1.1", "").repeat(2).into())]);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_asked.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            connections.register(another, peer).expect("there is room in the end")
        });
        let happens = || {
            is_asked.store(true, Ordering::Relaxed);
            while !connections.is_starved() {
                thread::yield_now();
            }
        };
        let responder = After { site: SiteSession::new(&fixture.server.site), happens: &happens };
        Connection::new(&mut script, &fixture.server, &responder, &conn).run();
        drop(conn);
    });
    let heard = String::from_utf8(script.hears).expect("the responses are text");
    assert_eq!(heard.matches("HTTP/1.1 200 OK\r\n").count(), 1, "{heard}");
    assert!(heard.contains(CLOSE) && script.end == End::Linger, "{heard}");
}

#[test]
fn connection_that_the_client_resets_is_aborted() {
    let fixture = Fixture::new("reset");
    let says = vec![Said::Bytes(request("GET /a.txt HTTP/1.1", "").into()), Said::Reset];
    let (heard, end) = fixture.converse(says, None);
    assert!(heard.starts_with("HTTP/1.1 200 OK\r\n") && end == End::Abort, "{heard}");
}

#[test]
fn only_a_quick_client_is_busy_polled() {
    const REQUESTS: usize = 50;
    let fixture = Fixture::new("quick");
    let awaited = |pause, pieces: &[&str]| {
        let says = (0..REQUESTS).flat_map(|_| pieces.iter().map(|piece| Said::Bytes((*piece).into())));
        let script =
            fixture.play(&SiteSession::new(&fixture.server.site), Script { pause, ..fixture.script(says.collect()) });
        let heard = String::from_utf8(script.hears).expect("the responses are text");
        assert_eq!(heard.matches("HTTP/1.1 200 OK\r\n").count(), REQUESTS);
        script.awaited
    };
    let whole = request("GET /a.txt HTTP/1.1", "");
    let (begin, rest) = whole.split_at(20);
    assert_eq!(awaited(Duration::from_millis(1), &[&whole]), 0);
    assert_eq!(awaited(Duration::ZERO, &[begin, rest]), 0, "only between requests");
    // On a busy machine no request may come quickly enough, so this is repeated until some do.
    let mut polled = iter::repeat_with(|| awaited(Duration::ZERO, &[&whole]));
    let quick = polled.find(|count| *count > 0).expect("it is endless");
    assert!(quick <= REQUESTS / 2, "a busy poll that found nothing disables the next one: {quick}");
}

#[test]
fn corpus_scripts_get_the_foreseen_responses() {
    let fixture =
        fuzz::fixture::Fixture::at(std::env::temp_dir().join(format!("serve-unit-{}-corpus", std::process::id())));
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus/connection");
    for script in fs::read_dir(corpus).expect("the corpus is committed") {
        let path = script.expect("the corpus can be read").path();
        println!("{}", path.display());
        fuzz::check(&fixture, &fs::read(path).expect("the corpus can be read"));
    }
    fs::remove_dir_all(fixture.root()).expect("the fixture can be removed");
}
