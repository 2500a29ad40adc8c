//! Makes system calls of a running server fail, and stops it between two of them, with strace.

use std::process::{Command, Stdio};

use crate::support::{Process, Server};

/// A strace that holds a server. What it does to the server's threads it counts for each from the moment of attaching.
pub struct Strace {
    process: Process,
}

impl Strace {
    /// Attaches to every thread the server has or will have, with these injections, such as
    /// `sendfile:error=EIO:when=2`. Of calls that take a path only those are touched that are given `path`, unless that
    /// is empty.
    #[track_caller]
    pub fn attach(server: &Server, injections: &[&str], path: &str) -> Strace {
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &server.pid().to_string()]);
        let calls: Vec<_> = injections.iter().filter_map(|injection| injection.split(':').next()).collect();
        command.arg(format!("--trace={}", calls.join(",")));
        command.args(injections.iter().map(|injection| format!("--inject={injection}")));
        if !path.is_empty() {
            command.arg(format!("--trace-path={path}"));
        }
        let mut process = Process::start(&mut command, Stdio::null());
        while !process.next_line().contains(" attached") {}
        Strace { process }
    }

    /// Waits until the server has been stopped by an injected `signal=SIGSTOP`.
    #[track_caller]
    pub fn stopped(&mut self) {
        while !self.process.next_line().ends_with("--- stopped by SIGSTOP ---") {}
    }

    /// Lets go of the server, asserts that there was a fault at all, and says how many there were.
    #[track_caller]
    pub fn detach(mut self) -> usize {
        self.process.signal("TERM");
        let (_, lines) = self.process.ended();
        let signs = ["(INJECTED", "(DELAYED", "stopped by SIGSTOP"];
        let is_injected = |line: &&String| signs.iter().any(|sign| line.contains(sign));
        let injected = lines.iter().filter(is_injected).count();
        assert!(injected > 0, "nothing was injected\n{}", lines.join("\n"));
        injected
    }
}
