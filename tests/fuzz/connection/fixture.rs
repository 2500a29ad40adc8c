//! A server, and a directory with a file of each kind.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use super::script::Script;
use crate::files::cache::Cache;
use crate::files::hash::Digest;
use crate::files::root::{RootPath, Symlinks};
use crate::files::semaphore::Semaphore;
use crate::net::trusted_proxies::TrustedProxies;
use crate::proto::target::RelPath;
use crate::server::connections::{Clock, Connections, Limits};
use crate::server::log_writer::LogWriter;
use crate::server::{Options, Server};
use crate::site::Site;
use crate::site::headers::DefaultHeaders;
use crate::site::precompressed::WarnOnce;

/// When all files were modified.
pub const MODIFIED: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const MODIFIED_SECS: u64 = 784_111_777;

/// What stands in a file that no link may lead to.
pub const OUTSIDE: &[u8] = b"outside of the root";

/// A file, and how a target names it that needs no decoding.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    pub name: &'static str,
    pub len: usize,
    pub media_type: &'static str,
    pub is_hidden: bool,
}

/// The files of the root. Each has another content, so each has another entity tag.
pub const FILES: [Known; 9] = [
    file("index.html", 40, "text/html; charset=utf-8"),
    file("404.html", 50, "text/html; charset=utf-8"),
    file("empty", 0, "application/octet-stream"),
    file("a.txt", 5, "text/plain; charset=utf-8"),
    // With the page of a refusal behind it, this is more than waits to leave together.
    file("near", 65_000, "application/octet-stream"),
    // This is more than is read into memory.
    file("big", 70_000, "application/octet-stream"),
    file("dir/b.txt", 7, "text/plain; charset=utf-8"),
    file("dir/sub/index.html", 41, "text/html; charset=utf-8"),
    Known { is_hidden: true, ..file(".dot", 9, "application/octet-stream") },
];

const fn file(name: &'static str, len: usize, media_type: &'static str) -> Known {
    Known { name, len, media_type, is_hidden: false }
}

impl Known {
    /// The bytes of the file: which they are depends on where they stand, so that no part can be taken for another.
    pub fn content(&self) -> Vec<u8> {
        let mark = self.len % 251;
        (0..self.len).map(|at| b'!' + ((at * 7 + at / 89 * 13 + mark) % 89) as u8).collect()
    }

    /// The entity tag, as the server makes it of the content.
    pub fn etag(&self) -> String {
        let digest = Digest::of(&self.content());
        let digits: String = digest.0[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("\"{digits}\"")
    }
}

/// A directory, and a server for it.
pub struct Fixture {
    /// The server, which serves one connection at a time.
    pub server: TestServer,
    /// The address of the peer.
    pub peer: SocketAddr,
    stream: TcpStream,
    /// As the script's options select: listings in every second one, hidden names in the last two.
    sites: [Site; 4],
    root: PathBuf,
}

/// A server whose clock stands still until it is advanced.
pub struct TestServer {
    pub server: Server,
    micros: Arc<AtomicU64>,
}

impl TestServer {
    /// Advances the clock of the connection table past every timeout, and ends what is past its deadline.
    pub fn expire(&self) {
        self.micros.fetch_add(3_600_000_000, Ordering::Relaxed);
        self.server.connections.expire();
    }
}

impl Fixture {
    /// Opens the fixture in this folder, and builds the folder if it is missing.
    pub fn at(root: PathBuf) -> Fixture {
        if !root.exists() {
            let new = root.with_extension(process::id().to_string());
            build(&new);
            // Another process may have been faster.
            if fs::rename(&new, &root).is_err() {
                fs::remove_dir_all(&new).expect("the directory can be removed");
            }
        }
        Fixture::open(root)
    }

    fn open(root: PathBuf) -> Fixture {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let peer = listener.local_addr().expect("bound");
        let stream = TcpStream::connect(peer).expect("listening");
        let lines = LogWriter::to_stderr().expect("a thread can be started");
        let sites = [(false, false), (true, false), (false, true), (true, true)];
        let sites = sites.map(|(list, hidden)| site(&root, list, hidden));
        Fixture { server: server(&root, lines), peer, stream, sites, root }
    }

    /// A server for one connection alone, which may stop it.
    pub fn new_server(&self) -> TestServer {
        server(&self.root, self.server.server.diagnostics.clone())
    }

    /// The site with the options that the script asks for.
    pub fn site(&self, script: &Script) -> &Site {
        &self.sites[usize::from(script.list) + 2 * usize::from(script.hidden)]
    }

    /// A socket for the connection table. No bytes go through it.
    pub fn stream(&self) -> TcpStream {
        self.stream.try_clone().expect("there are descriptors")
    }

    /// Where the files are.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Makes a server. Its site only explains refusals.
fn server(root: &Path, diagnostics: LogWriter) -> TestServer {
    let long = Duration::from_secs(60);
    let [header_timeout, idle_timeout, write_timeout] = [long; 3];
    let limits = Limits { connections: 1000, per_ip: None, header_timeout, idle_timeout, write_timeout };
    let options = Options { limits, proxy_protocol: false, drain_delay: Duration::ZERO, grace: long };
    let site = site(root, false, false);
    let server = Server::new(options, site, TrustedProxies::default(), diagnostics);
    let micros = Arc::new(AtomicU64::new(3_600_000_000));
    let shared = Arc::clone(&micros);
    let clock: Clock = Box::new(move || Duration::from_micros(shared.load(Ordering::Relaxed)));
    let connections = Connections::new(limits, TrustedProxies::default(), clock);
    TestServer { server: Server { connections, ..server }, micros }
}

fn site(root: &Path, list: bool, hidden: bool) -> Site {
    let plain = |path: &[u8]| RelPath::new(path).expect("plain");
    Site {
        root: RootPath::new(root.join("root"), Symlinks::Inside),
        index: vec![plain(b"index.html")],
        list,
        listings: Semaphore::new(4),
        not_found: plain(b"404.html"),
        hidden,
        charset: Some("utf-8".to_owned()),
        // Where listings are on, nothing is kept in memory.
        files: Cache::new(if list { 0 } else { 1 << 20 }),
        headers: DefaultHeaders::new(0, &[]),
        // Nor are there precompressed files.
        precompressed: Some(WarnOnce::default()),
        compression: None,
    }
}

/// Builds the directory.
fn build(fixture: &Path) {
    const CAN: &str = "the fixture can be built";
    let root = fixture.join("root");
    fs::create_dir_all(root.join("dir/sub")).expect(CAN);
    fs::create_dir_all(root.join("bare")).expect(CAN);
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(MODIFIED_SECS);
    for known in FILES {
        let path = root.join(known.name);
        fs::write(&path, known.content()).expect(CAN);
        File::options().write(true).open(&path).expect(CAN).set_modified(modified).expect(CAN);
    }
    fs::write(fixture.join("outside"), OUTSIDE).expect(CAN);
    symlink("a.txt", root.join("link")).expect(CAN);
    symlink("../outside", root.join("out")).expect(CAN);
    symlink("/etc", root.join("etc")).expect(CAN);
    fs::write(root.join("bare/\u{e9} <b>.txt"), "odd").expect(CAN);
}
