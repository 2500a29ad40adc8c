//! Starts the real binary on a free port and ends it with the test.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Client, Folder, Response};

/// No test waits longer than this for an event.
const LIMIT: Duration = Duration::from_secs(30);

/// Begins a server on the folder: `serve(&folder).arg("--list").start()`.
pub fn serve(folder: &Folder) -> Starter {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
    command.args(["--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    command.env_remove("RUST_LOG");
    Starter { command }
}

/// Runs the binary to its end with these arguments and returns what it said.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serve"));
    let output = command.args(args).envs(env.iter().copied()).stdin(Stdio::null()).output().expect("the binary runs");
    Output {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// What a run that ended left behind.
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// A server about to be started.
pub struct Starter {
    command: Command,
}

impl Starter {
    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Starter {
        self.command.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(mut self, args: &[&str]) -> Starter {
        self.command.args(args);
        self
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Starter {
        self.command.env(name, value);
        self
    }

    /// Has another program start it, which is given these arguments and then the command line.
    pub fn under(self, program: &str, args: &[&str]) -> Starter {
        let mut command = Command::new(program);
        command.args(args).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Starter { command }
    }

    /// Starts it and waits until it says where it listens.
    pub fn start(mut self) -> Server {
        self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().expect("the binary starts");
        let stdout = Lines::follow(child.stdout.take().expect("the output is a pipe"));
        let stderr = Lines::follow(child.stderr.take().expect("the output is a pipe"));
        let first = stderr.wait_for("the first line", |lines| lines.first().cloned());
        let address = first.strip_prefix("listening on http");
        let address = address.and_then(|rest| rest.trim_start_matches('s').strip_prefix("://"));
        let address = address.unwrap_or_else(|| panic!("not ready: {first}"));
        let addr = address.parse().unwrap_or_else(|_| panic!("no address: {first}"));
        Server { child, addr, stdout, stderr }
    }
}

/// A running server.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    stdout: Lines,
    stderr: Lines,
}

impl Server {
    /// Opens a connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Asks for a target on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.get_with(target, "")
    }

    /// Asks for a target with these header lines, each ending in CRLF.
    #[track_caller]
    pub fn get_with(&self, target: &str, fields: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n"))
    }

    /// Asks for the head of a target's answer.
    #[track_caller]
    pub fn head(&self, target: &str) -> Response {
        let request = format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.connect().send(request).response_to_head()
    }

    /// Sends bytes on a connection of its own and reads one answer.
    #[track_caller]
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> Response {
        self.connect().send(bytes).response()
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until every thread of the process sleeps: what was begun by an answer that a client has read is done.
    #[track_caller]
    pub fn rests(&self) {
        let since = Instant::now();
        let tasks = format!("/proc/{}/task", self.pid());
        let sleeps = |task: PathBuf| match fs::read_to_string(task.join("stat")) {
            Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('S')),
            Err(_) => true,
        };
        while !fs::read_dir(&tasks).expect("the process is there").flatten().all(|task| sleeps(task.path())) {
            assert!(since.elapsed() < LIMIT, "the server does not come to rest\n{}", self.stderr.text());
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends the process a signal by its name, such as "TERM".
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success(), "the signal was not delivered");
    }

    /// Waits for the process to end by itself and returns how it did.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            assert!(since.elapsed() < LIMIT, "the server does not end\n{}", self.stderr.text());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits for a line on standard output (the access log) that `wanted` accepts.
    #[track_caller]
    pub fn logged(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.stdout.wait_for("a line of the access log", |lines| lines.iter().find(|l| wanted(l)).cloned())
    }

    /// Waits for a line on standard error (diagnostics) that `wanted` accepts.
    #[track_caller]
    pub fn said(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.stderr.wait_for("a line of diagnostics", |lines| lines.iter().find(|l| wanted(l)).cloned())
    }

    /// The lines on standard output so far.
    pub fn log(&self) -> Vec<String> {
        self.stdout.lines.lock.lock().expect("no reader panics").clone()
    }

    /// The lines on standard error so far.
    pub fn diagnostics(&self) -> Vec<String> {
        self.stderr.lines.lock.lock().expect("no reader panics").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of one of the child's outputs, gathered by a thread.
struct Lines {
    lines: Arc<Shared>,
}

struct Shared {
    lock: Mutex<Vec<String>>,
    news: Condvar,
}

impl Lines {
    fn follow(output: impl Read + Send + 'static) -> Lines {
        let lines = Arc::new(Shared { lock: Mutex::new(Vec::new()), news: Condvar::new() });
        let shared = Arc::clone(&lines);
        thread::spawn(move || {
            let mut reader = BufReader::new(output);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                shared.lock.lock().expect("no reader panics").push(text);
                shared.news.notify_all();
                line.clear();
            }
        });
        Lines { lines }
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let since = Instant::now();
        let mut lines = self.lines.lock.lock().expect("no reader panics");
        loop {
            if let Some(found) = find(&lines) {
                return found;
            }
            assert!(since.elapsed() < LIMIT, "{what} did not come; there is:\n{}", lines.join("\n"));
            let pause = Duration::from_millis(200);
            lines = self.lines.news.wait_timeout(lines, pause).expect("no reader panics").0;
        }
    }

    fn text(&self) -> String {
        self.lines.lock.lock().expect("no reader panics").join("\n")
    }
}
