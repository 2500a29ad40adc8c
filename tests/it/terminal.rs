//! A pseudo-terminal for a program: a test types lines and reads the screen.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::LIMIT;

/// A program on a terminal, killed with its test.
pub struct Terminal {
    keyboard: File,
    /// Held open: Linux reports an error to the other side as soon as no process has the terminal open, and the program's
    /// last output would be lost.
    _slave: File,
    child: Child,
    output: Receiver<Vec<u8>>,
    screen: Vec<u8>,
    seen: usize,
}

impl Terminal {
    /// Starts the command with a new terminal as its input and its outputs.
    pub fn start(mut command: Command) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("the kernel has pseudo-terminals");
        grantpt(&master).expect("the terminal belongs to this process");
        unlockpt(&master).expect("the terminal belongs to this process");
        let name = ptsname(&master, Vec::new()).expect("the terminal has a name").into_string();
        let name = name.expect("a terminal's name is text");
        let no_controlling_terminal = rustix::fs::OFlags::NOCTTY.bits() as i32;
        let mut options = File::options();
        let slave = options.read(true).write(true).custom_flags(no_controlling_terminal).open(name);
        let slave = slave.expect("the terminal can be opened");
        let copy = || Stdio::from(slave.try_clone().expect("a descriptor can be copied"));
        let child = command.stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("the program starts");
        let keyboard = File::from(master);
        let output = follow(keyboard.try_clone().expect("a descriptor can be copied"));
        Terminal { keyboard, _slave: slave, child, output, screen: Vec::new(), seen: 0 }
    }

    /// Types a line and the Enter key.
    pub fn types(&mut self, line: &str) -> &mut Terminal {
        self.keyboard.write_all(format!("{line}\r").as_bytes()).expect("the terminal accepts input");
        self
    }

    /// Waits until the screen shows `text` after the last text waited for; returns the new output up to its end.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> String {
        let since = Instant::now();
        loop {
            let fresh = &self.screen[self.seen..];
            if let Some(at) = fresh.windows(text.len()).position(|w| w == text.as_bytes()) {
                let end = self.seen + at + text.len();
                let shown = String::from_utf8_lossy(&self.screen[self.seen..end]).into_owned();
                self.seen = end;
                return shown;
            }
            let Ok(piece) = self.output.recv_timeout(LIMIT.saturating_sub(since.elapsed())) else {
                let ended = self.child.try_wait();
                panic!("{text:?} does not appear, the program's end: {ended:?}\n{}", self.screen());
            };
            self.screen.extend(piece);
        }
    }

    /// All output so far, for messages.
    pub fn screen(&self) -> String {
        format!("--- screen\n{}", String::from_utf8_lossy(&self.screen))
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the terminal until the error that Linux reports when no process has it open.
fn follow(mut terminal: File) -> Receiver<Vec<u8>> {
    let (sender, output) = mpsc::channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(n @ 1..) = terminal.read(&mut piece) {
            let _ = sender.send(piece[..n].to_vec());
        }
    });
    output
}
