//! A program that ends with the test, for what `serve(&folder)` has no word for: a server with other flags, one that is
//! started through another program, one whose outputs go elsewhere.

use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Where the server's binary is.
pub const BINARY: &str = env!("CARGO_BIN_EXE_serve");

/// No test waits longer than this for an event.
const LIMIT: Duration = Duration::from_secs(30);

/// Returns a command for the binary with no argument.
pub fn binary() -> Command {
    without_settings(Command::new(BINARY))
}

/// Takes away every variable of the caller's environment that would be a setting, but for that of the sandbox: what watches
/// the server under test, such as a sanitizer, may need it to be off.
pub fn without_settings(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        let is_setting = name == "RUST_LOG" || name.to_string_lossy().starts_with("SERVE_");
        if is_setting && name != "SERVE_NO_SANDBOX" {
            command.env_remove(name);
        }
    }
    command
}

/// Finds a port that nothing listens on, outside the range from which the kernel gives ports to others.
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

/// Waits until this is so, looking again and again.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < LIMIT, "after {LIMIT:?} it is still not so: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Reports whether a process has a socket that listens.
pub fn listens(pid: u32) -> bool {
    let of_process = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let sockets: Vec<_> = of_process.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok()).collect();
    let table = std::fs::read_to_string("/proc/net/tcp").expect("there is one");
    let listening = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut inodes =
        listening.filter(|line| line.get(3) == Some(&"0A")).filter_map(|line| Some(line.get(9)?.to_string()));
    inodes.any(|inode| sockets.iter().any(|link| link.as_os_str() == format!("socket:[{inode}]").as_str()))
}

/// A running process whose standard error is read line by line.
pub struct Process {
    command: String,
    child: Child,
    lines: Receiver<String>,
    said: Vec<String>,
}

impl Process {
    /// Starts the command with its standard output going to `stdout`.
    pub fn start(command: &mut Command, stdout: impl Into<Stdio>) -> Process {
        Process::start_on(command.stdin(Stdio::null()).stdout(stdout))
    }

    /// Starts the command with its standard input and output as they are set.
    pub fn start_on(command: &mut Command) -> Process {
        command.stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stderr = BufReader::new(child.stderr.take().expect("the output is a pipe"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Process { command: format!("{command:?}"), child, lines, said: Vec::new() }
    }

    /// Waits for the next line that says where the server listens.
    #[track_caller]
    pub fn listening(&mut self) -> SocketAddr {
        loop {
            let line = self.next_line();
            if let Some(address) = line.strip_prefix("listening on http://") {
                return address.parse().unwrap_or_else(|_| panic!("no address: {line}"));
            }
        }
    }

    /// Waits for the next line on standard error.
    #[track_caller]
    pub fn next_line(&mut self) -> String {
        match self.lines.recv_timeout(LIMIT) {
            Ok(line) => {
                self.said.push(line.clone());
                line
            }
            Err(RecvTimeoutError::Timeout) => panic!("no further line came{}", self.shown()),
            Err(RecvTimeoutError::Disconnected) => panic!("it ended{}", self.shown()),
        }
    }

    /// Waits for the process to end by itself; returns how it did and all that it said on standard error.
    #[track_caller]
    pub fn ended(&mut self) -> (ExitStatus, Vec<String>) {
        let since = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                self.said.extend(self.lines.iter());
                return (status, self.said.clone());
            }
            assert!(since.elapsed() < LIMIT, "it does not end{}", self.shown());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Sends a signal by its name, such as "TERM".
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success(), "the signal was not delivered");
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the reading end of standard output, if that is a pipe.
    pub fn stdout(&mut self) -> ChildStdout {
        self.child.stdout.take().expect("the output is a pipe")
    }

    fn shown(&self) -> String {
        let said: Vec<_> = self.said.iter().cloned().chain(self.lines.try_iter()).collect();
        format!("; it was started by\n{}\nand said\n{}", self.command, said.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
