//! The measured servers, each configured to serve the same files at its best, and their resource use.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::param::clock_ticks_per_second;
use rustix::process::{Pid, Signal, kill_process_group};

/// The number of idle connections in the memory measurement.
const IDLE_CONNECTIONS: usize = 500;

/// A server to measure.
pub struct Peer {
    /// Its name.
    pub name: &'static str,
    /// Whether its clients use TLS.
    pub is_tls: bool,
    command: fn(&Path, &Path, u16) -> io::Result<Command>,
}

/// `serve` and its peers.
pub const PEERS: [Peer; 5] = [
    plain("serve", serve),
    plain("nginx", nginx),
    plain("h2o", h2o),
    plain("lighttpd", lighttpd),
    plain("caddy", caddy),
];

/// The servers measured over TLS, with the same certificate.
pub const TLS_PEERS: [Peer; 2] =
    [Peer { is_tls: true, ..plain("serve", serve_tls) }, Peer { is_tls: true, ..plain("nginx", nginx_tls) }];

const fn plain(name: &'static str, command: fn(&Path, &Path, u16) -> io::Result<Command>) -> Peer {
    Peer { name, is_tls: false, command }
}

impl Peer {
    /// Reports whether the program is installed.
    pub fn is_installed(&self) -> bool {
        let runs = |program: &str| Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status();
        self.name == "serve" || runs(self.name).is_ok()
    }
}

fn serve(_: &Path, root: &Path, port: u16) -> io::Result<Command> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
    command.args(["--bind", "127.0.0.1", "--log", "off", "--max-connections", "4000"]);
    command.arg("--port").arg(port.to_string()).arg("--root").arg(root);
    Ok(command)
}

fn serve_tls(dir: &Path, root: &Path, port: u16) -> io::Result<Command> {
    let mut command = serve(dir, root, port)?;
    command.arg("--tls-cert").arg(beside(root, "cert.pem")).arg("--tls-key").arg(beside(root, "key.pem"));
    Ok(command)
}

fn beside(root: &Path, name: &str) -> PathBuf {
    root.with_file_name(name)
}

fn nginx(dir: &Path, root: &Path, port: u16) -> io::Result<Command> {
    nginx_with(dir, root, port, "", "")
}

fn nginx_tls(dir: &Path, root: &Path, port: u16) -> io::Result<Command> {
    let (cert, key) = (beside(root, "cert.pem"), beside(root, "key.pem"));
    let settings = format!(
        "ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:TLS:10m;\n",
        cert.display(),
        key.display(),
    );
    nginx_with(dir, root, port, "ssl ", &settings)
}

fn nginx_with(dir: &Path, root: &Path, port: u16, wire: &str, settings: &str) -> io::Result<Command> {
    let (dir, root) = (dir.display(), root.display());
    let bodies =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|kind| format!("{kind}_temp_path {dir}/{kind};"));
    let conf = format!(
        "worker_processes 2; daemon off; pid {dir}/pid; error_log {dir}/log crit; worker_rlimit_nofile 16384;\n\
         events {{ worker_connections 8000; multi_accept on; }}\n\
         http {{ include /etc/nginx/mime.types; access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;\n\
         keepalive_timeout 300; keepalive_requests 1000000000; {}\n\
         open_file_cache max=20000 inactive=60s; open_file_cache_valid 60s; open_file_cache_min_uses 1;\n\
         {settings}server {{ listen 127.0.0.1:{port} {wire}reuseport backlog=4096; root {root}; }} }}\n",
        bodies.concat(),
    );
    let file = format!("{dir}/conf");
    fs::write(&file, conf)?;
    Ok(with_args("nginx", &["-p", &dir.to_string(), "-c", &file]))
}

fn h2o(dir: &Path, root: &Path, port: u16) -> io::Result<Command> {
    let conf = format!(
        "num-threads: 2\nhttp1-request-timeout: 300\nmax-connections: 8000\nhosts:\n  default:\n    \
         listen: {{host: 127.0.0.1, port: {port}}}\n    paths:\n      /:\n        file.dir: {}\n",
        root.display(),
    );
    let file = dir.join("conf");
    fs::write(&file, conf)?;
    Ok(with_args("h2o", &["-m", "worker", "-c", &file.display().to_string()]))
}

fn lighttpd(dir: &Path, root: &Path, port: u16) -> io::Result<Command> {
    let conf = format!(
        "server.document-root = \"{}\"\nserver.port = {port}\nserver.bind = \"127.0.0.1\"\nserver.max-worker = 2\n\
         server.max-keep-alive-requests = 0\nserver.max-keep-alive-idle = 300\nserver.max-connections = 8000\n\
         server.max-fds = 16000\nserver.listen-backlog = 4096\n\
         mimetype.assign = (\".html\" => \"text/html\", \".bin\" => \"application/octet-stream\")\n",
        root.display(),
    );
    let file = dir.join("conf");
    fs::write(&file, conf)?;
    Ok(with_args("lighttpd", &["-D", "-f", &file.display().to_string()]))
}

fn caddy(dir: &Path, root: &Path, port: u16) -> io::Result<Command> {
    let conf = format!(
        "{{\n admin off\n auto_https off\n log {{\n level ERROR\n }}\n}}\n\
         http://127.0.0.1:{port} {{\n root * {}\n file_server\n}}\n",
        root.display(),
    );
    let file = dir.join("conf");
    fs::write(&file, conf)?;
    Ok(with_args("caddy", &["run", "--config", &file.display().to_string(), "--adapter", "caddyfile"]))
}

fn with_args(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args);
    command
}

/// The served files, in a directory that is removed on drop.
pub struct BenchSite {
    dir: PathBuf,
    /// The root directory.
    pub path: PathBuf,
}

impl BenchSite {
    /// Creates the files.
    pub fn create() -> io::Result<BenchSite> {
        let dir = std::env::temp_dir().join(format!("serve-bench-{}", std::process::id()));
        let path = dir.join("www");
        fs::create_dir_all(path.join("many"))?;
        let text =
            |length: usize| b"<p>The same line again.</p>\n".iter().copied().cycle().take(length).collect::<Vec<_>>();
        for (name, length) in
            [("k1.html", 1 << 10), ("k100.bin", 100 << 10), ("m1.bin", 1 << 20), ("m100.bin", 100 << 20)]
        {
            fs::write(path.join(name), text(length))?;
        }
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).map_err(io::Error::other)?;
        fs::write(dir.join("cert.pem"), made.cert.pem())?;
        fs::write(dir.join("key.pem"), made.signing_key.serialize_pem())?;
        for number in 0..10_000 {
            fs::write(path.join(format!("many/{number}.html")), text(1 << 10))?;
        }
        Ok(BenchSite { dir, path })
    }
}

impl Drop for BenchSite {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// A running server, stopped on drop.
pub struct Server {
    peer: &'static Peer,
    process: Child,
    /// Its address.
    pub addr: SocketAddr,
}

impl Server {
    /// Starts a server and waits for its first response.
    pub fn start(peer: &'static Peer, site: &BenchSite) -> io::Result<Server> {
        let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let dir = site.dir.join(format!("{}-{}", peer.name, addr.port()));
        fs::create_dir_all(&dir)?;
        // Some servers drop privileges and then write into it.
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o777))?;
        let mut command = (peer.command)(&dir, &site.path, addr.port())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        let server = Server { peer, process: command.spawn()?, addr };
        let end = Instant::now() + Duration::from_secs(20);
        let responds = || if peer.is_tls { TcpStream::connect(addr).map(drop) } else { server.request("").map(drop) };
        while responds().is_err() {
            if Instant::now() > end {
                return Err(io::Error::other(format!("{} does not respond", peer.name)));
            }
            thread::sleep(Duration::from_micros(100));
        }
        Ok(server)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.peer.name
    }

    /// The seconds from the start of another such server to its first response.
    pub fn time_to_start(&self, site: &BenchSite) -> io::Result<f64> {
        let began = Instant::now();
        let _other = Server::start(self.peer, site)?;
        Ok(began.elapsed().as_secs_f64())
    }

    /// The conditional field for the current representation; none if the server sends no validator.
    pub fn condition(&self, path: &str) -> io::Result<Option<String>> {
        let response = self.request_path(path, "Connection: close\r\n")?.1;
        let fields = || response.lines().filter_map(|line| line.split_once(':'));
        let field = |wanted: &str| fields().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
        let etag = field("ETag").map(|tag| format!("If-None-Match:{tag}"));
        let date = || field("Last-Modified").map(|date| format!("If-Modified-Since:{date}"));
        Ok(etag.or_else(date))
    }

    /// The memory for each idle connection, in bytes.
    pub fn idle_memory(&self) -> io::Result<f64> {
        let before = self.memory()?;
        let connections: Vec<_> = (0..IDLE_CONNECTIONS).map(|_| self.request("")).collect::<io::Result<_>>()?;
        let added = self.memory()? - before;
        drop(connections);
        Ok(added / IDLE_CONNECTIONS as f64)
    }

    /// The processor time of all its processes, in microseconds.
    pub fn cpu_micros(&self) -> io::Result<f64> {
        // Fields 14 and 15 of proc_pid_stat(5); the first two are cut off.
        let ticks = |stat: &str| -> f64 {
            let numbers = stat.split(' ').skip(11).take(2);
            numbers.filter_map(|number| number.parse::<f64>().ok()).sum()
        };
        let sum: f64 = self.processes()?.iter().map(|(_, stat)| ticks(stat)).sum();
        Ok(sum * 1e6 / clock_ticks_per_second() as f64)
    }

    /// The memory of all its processes in bytes, with a proportional share of shared pages.
    fn memory(&self) -> io::Result<f64> {
        let kib = |pid: &str| {
            let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).map(str::to_owned);
            line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok()).unwrap_or(0.0)
        };
        Ok(self.processes()?.iter().map(|(pid, _)| kib(pid)).sum::<f64>() * 1024.0)
    }

    /// The process ids of the server, each with the rest of its /proc stat line.
    fn processes(&self) -> io::Result<Vec<(String, String)>> {
        let group = self.process.id().to_string();
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_string_lossy().into_owned();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // The name of the program may contain anything, even parentheses.
            let Some((_, rest)) = stat.rsplit_once(") ") else { continue };
            if rest.split(' ').nth(2) == Some(&group) {
                processes.push((pid, rest.to_owned()));
            }
        }
        Ok(processes)
    }

    /// Requests a small file and leaves the connection open.
    fn request(&self, fields: &str) -> io::Result<TcpStream> {
        Ok(self.request_path("/k1.html", fields)?.0)
    }

    fn request_path(&self, path: &str, fields: &str) -> io::Result<(TcpStream, String)> {
        let mut stream = TcpStream::connect(self.addr)?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")?;
        let mut response = String::new();
        while !response.contains("\r\n\r\n") {
            let mut piece = [0; 1024];
            let count = stream.read(&mut piece)?;
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            response += &String::from_utf8_lossy(&piece[..count]);
        }
        if response.starts_with("HTTP/1.1 200") { Ok((stream, response)) } else { Err(ErrorKind::InvalidData.into()) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let group = Pid::from_child(&self.process);
        let _ = kill_process_group(group, Signal::TERM);
        let end = Instant::now() + Duration::from_secs(5);
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        // The leader or a worker may still run.
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.process.wait();
    }
}
