//! A server for a package manager: its directory is filled while it runs, since the files have to say where it is, and
//! what it told is read when it has ended.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Folder, Process, binary};

/// A server on a directory that is filled while it runs.
pub struct Site {
    /// What it serves.
    pub root: Folder,
    out: Folder,
    process: Process,
    addr: SocketAddr,
}

impl Site {
    /// Starts it.
    pub fn start() -> Site {
        let (root, out) = (Folder::new(), Folder::new());
        let mut command = binary();
        command.args(["--port", "0", "--bind", "127.0.0.1", "--log", "json", "-vv", "--root"]).arg(root.path());
        let log = File::create(out.at("log")).expect("the file can be made");
        let mut process = Process::start(&mut command, log);
        let addr = process.listening();
        Site { root, out, process, addr }
    }

    /// Where a client finds a target.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.addr)
    }

    /// Makes a file that a program is going to fill.
    pub fn place(&self, name: &str) -> PathBuf {
        self.root.write(name, "");
        self.root.at(name)
    }

    /// Ends the server; returns what it told, none of which may be a failure of its own.
    #[track_caller]
    pub fn ended(mut self) -> Told {
        self.process.signal("TERM");
        let (status, said) = self.process.ended();
        let log = fs::read_to_string(self.out.at("log")).expect("the file can be read");
        let entries = log.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect();
        let told = Told { entries, said };
        assert_eq!(status.code(), Some(0), "{told:?}");
        let failed = told.entries.iter().find(|entry| entry["status"].as_u64().is_none_or(|code| code >= 500));
        assert!(failed.is_none() && !told.entries.is_empty(), "failed: {failed:?}\n{told:?}");
        told
    }
}

/// What a server told while it ran: its access log, and the steps of every exchange.
pub struct Told {
    entries: Vec<Value>,
    said: Vec<String>,
}

impl Told {
    /// How many requests for what ends like this got this status.
    pub fn count(&self, method: &str, target_end: &str, status: u16) -> usize {
        let is_meant = |entry: &Value| {
            let target = entry["target"].as_str().unwrap_or_default();
            entry["method"] == method && target.ends_with(target_end) && entry["status"] == status
        };
        self.entries.iter().filter(|entry| is_meant(entry)).count()
    }

    /// Over how many connections requests for what ends like this came.
    pub fn connections_for(&self, target_end: &str) -> usize {
        let request_line_end = format!("{target_end} HTTP/1.1");
        let lines = self.said.iter().filter(|line| line.contains("[2]") && line.ends_with(&request_line_end));
        lines.filter_map(|line| line.split(' ').find(|word| word.starts_with('#'))).collect::<BTreeSet<_>>().len()
    }
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.entries.iter().try_for_each(|entry| writeln!(f, "{entry}"))
    }
}
