//! Child processes: commands for the server and for foreign programs, and the running process, killed with its test.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::process::{Pid, Signal, kill_process};

use super::Proc;

/// The limit for every event that a test waits for. Only a failing test reaches it.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The path of the server's binary.
pub const BINARY: &str = env!("CARGO_BIN_EXE_serve");

/// Returns a command for the binary with no argument.
pub fn binary() -> Command {
    without_settings(Command::new(BINARY))
}

/// Removes every variable of the caller's environment that is a setting, except the sandbox's: a sanitizer needs it off.
pub fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let is_setting = name == "RUST_LOG" || name.to_string_lossy().starts_with("SERVE_");
        if is_setting && name != "SERVE_NO_SANDBOX" {
            command.env_remove(name);
        }
    }
    command
}

/// Returns a command for a foreign program that has a minute, no proxy, and no settings of the user.
pub fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["60", name]).env("HOME", home).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command
}

/// Exit status and outputs of a program that has ended.
pub struct Output {
    /// Its exit status.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs the command to its end, whatever its exit status.
#[track_caller]
pub fn finish(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Output { status: output.status, stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Runs the command, which has to succeed; returns its standard output.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}

/// Runs the server's binary to its end with these arguments and variables.
#[track_caller]
pub fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    finish(binary().args(args).envs(env.iter().copied()))
}

/// Finds a port that nothing listens on, outside the kernel's range of ephemeral ports.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 10_000 + (std::process::id() % 20_000) as u16;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}

/// Waits until the condition holds.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < LIMIT, "after {LIMIT:?} this does not hold: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A running process whose standard error is read line by line.
pub struct Process {
    command: String,
    child: Child,
    stderr: Lines,
    next: usize,
}

impl Process {
    /// Starts the command with its standard output going to `stdout`.
    pub fn start(command: &mut Command, stdout: impl Into<Stdio>) -> Process {
        Process::start_on(command.stdin(Stdio::null()).stdout(stdout))
    }

    /// Starts the command with its standard input and output as they are set.
    pub fn start_on(command: &mut Command) -> Process {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("the program starts");
        let stderr = Lines::follow(child.stderr.take().expect("the output is a pipe"));
        Process { command: format!("{command:?}"), child, stderr, next: 0 }
    }

    /// Waits for the next line that says where the server listens.
    #[track_caller]
    pub fn listening(&mut self) -> SocketAddr {
        loop {
            let line = self.next_line();
            if let Some(rest) = line.strip_prefix("listening on http") {
                let address = rest.trim_start_matches('s').trim_start_matches("://");
                return address.parse().unwrap_or_else(|_| panic!("no address: {line}"));
            }
        }
    }

    /// Waits for the next line on standard error.
    #[track_caller]
    pub fn next_line(&mut self) -> String {
        let next = self.next;
        self.next += 1;
        self.stderr.wait_for(&self.command, |gathered| gathered.lines.get(next).cloned())
    }

    /// Waits for a line on standard error that `wanted` accepts, among all lines.
    #[track_caller]
    pub fn said(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.stderr.find(&self.command, wanted)
    }

    /// The lines on standard error so far.
    pub fn diagnostics(&self) -> Vec<String> {
        self.stderr.lock().lines.clone()
    }

    /// Waits for the process to end; returns its exit status and all lines on standard error.
    #[track_caller]
    pub fn ended(&mut self) -> (ExitStatus, Vec<String>) {
        let status = self.exit_status();
        let lines = self.stderr.wait_for(&self.command, |gathered| gathered.is_all.then(|| gathered.lines.clone()));
        (status, lines)
    }

    /// Waits for the process to end; returns its exit status.
    #[track_caller]
    pub fn exit_status(&mut self) -> ExitStatus {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is a child") {
                return status;
            }
            assert!(since.elapsed() < LIMIT, "{} does not end:\n{}", self.command, self.diagnostics().join("\n"));
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal by its name, such as "TERM".
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let signals = [
            ("ABRT", Signal::ABORT),
            ("CONT", Signal::CONT),
            ("HUP", Signal::HUP),
            ("INT", Signal::INT),
            ("KILL", Signal::KILL),
            ("QUIT", Signal::QUIT),
            ("STOP", Signal::STOP),
            ("TERM", Signal::TERM),
            ("TSTP", Signal::TSTP),
            ("USR1", Signal::USR1),
            ("USR2", Signal::USR2),
        ];
        let (_, signal) = signals.into_iter().find(|(known, _)| *known == name).expect("a signal of this list");
        let pid = Pid::from_raw(self.pid().cast_signed()).expect("the process has an id");
        kill_process(pid, signal).expect("the signal is delivered");
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The kernel's view of the process.
    pub fn proc(&self) -> Proc {
        Proc(self.pid())
    }

    /// Waits until every thread sleeps: the work that follows the last byte of a response is done then.
    #[track_caller]
    pub fn rests(&self) {
        until("every thread sleeps", || self.proc().is_all('S'));
    }

    /// Takes the reading end of standard output, if that is a pipe.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("the output is a pipe")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of one of a process's outputs, gathered by a thread.
pub struct Lines(Arc<(Mutex<Gathered>, Condvar)>);

/// The lines so far.
#[derive(Default)]
pub struct Gathered {
    lines: Vec<String>,
    is_all: bool,
}

impl Lines {
    /// Gathers the lines of an output.
    pub fn follow(output: impl Read + Send + 'static) -> Lines {
        let lines = Lines(Arc::default());
        let shared = Lines(Arc::clone(&lines.0));
        thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                shared.lock().lines.push(String::from_utf8_lossy(&line).into_owned());
                shared.0.1.notify_all();
            }
            shared.lock().is_all = true;
            shared.0.1.notify_all();
        });
        lines
    }

    /// Waits for a line that `wanted` accepts.
    #[track_caller]
    pub fn find(&self, of: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.wait_for(of, |gathered| gathered.lines.iter().find(|line| wanted(line)).cloned())
    }

    /// The lines so far.
    pub fn so_far(&self) -> Vec<String> {
        self.lock().lines.clone()
    }

    #[track_caller]
    fn wait_for<T>(&self, of: &str, find: impl Fn(&Gathered) -> Option<T>) -> T {
        let since = Instant::now();
        let mut gathered = self.lock();
        loop {
            if let Some(found) = find(&gathered) {
                return found;
            }
            let is_over = gathered.is_all || since.elapsed() >= LIMIT;
            assert!(!is_over, "the expected line is missing; {of} wrote\n{}", gathered.lines.join("\n"));
            self.0.1.wait_for(&mut gathered, LIMIT);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Gathered> {
        self.0.0.lock()
    }
}
