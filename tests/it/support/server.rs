//! A running server on a free port, killed with its test.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::process::{Command, ExitStatus, Stdio};

use super::process::{Lines, Process, binary};
use super::{Client, Folder, Response};

/// Begins a server on the folder: `serve(&folder).arg("--list").start()`.
pub fn serve(folder: &Folder) -> Starter {
    let mut command = binary();
    command.args(["--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    Starter { command }
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

    /// Starts the server through another program, which gets these arguments and then the command line.
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

    /// Starts the server and waits for the line with its address, the first one.
    #[track_caller]
    pub fn start(mut self) -> Server {
        let mut process = Process::start(&mut self.command, Stdio::piped());
        let stdout = Lines::follow(process.stdout());
        let addr = process.listening();
        assert!(process.diagnostics()[0].starts_with("listening on http"), "{:?}", process.diagnostics());
        Server { process, addr, stdout }
    }
}

/// A running server.
pub struct Server {
    process: Process,
    /// The address of the site.
    pub addr: SocketAddr,
    stdout: Lines,
}

impl Server {
    /// Opens a connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.addr)
    }

    /// Requests a target on a connection of its own.
    #[track_caller]
    pub fn get(&self, target: &str) -> Response {
        self.get_with(target, "")
    }

    /// Requests a target with these header lines, each ending in CRLF.
    #[track_caller]
    pub fn get_with(&self, target: &str, fields: &str) -> Response {
        self.ask(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}Connection: close\r\n\r\n"))
    }

    /// Requests the head of a target's response.
    #[track_caller]
    pub fn head(&self, target: &str) -> Response {
        let request = format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        self.connect().send(request).response_to_head()
    }

    /// Sends bytes on a connection of its own and reads one response.
    #[track_caller]
    pub fn ask(&self, bytes: impl AsRef<[u8]>) -> Response {
        self.connect().send(bytes).response()
    }

    /// Waits for the process to end; returns its exit status.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        self.exit_status()
    }

    /// Waits for a line of the access log that `wanted` accepts.
    #[track_caller]
    pub fn logged(&self, wanted: impl Fn(&str) -> bool) -> String {
        self.stdout.find("the access log", wanted)
    }

    /// The lines of the access log so far.
    pub fn log(&self) -> Vec<String> {
        self.stdout.so_far()
    }
}

impl Deref for Server {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Server {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}
