//! Real programs as clients.

use std::path::Path;
use std::process::{Command, Stdio};

/// A program that has a minute, no proxy, and no settings of the user.
pub fn program(name: &str, home: &Path) -> Command {
    let mut command = Command::new("timeout");
    command.args(["60", name]).env("HOME", home).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    for proxy in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env_remove(proxy);
    }
    command
}

/// Runs the program; returns its output.
#[track_caller]
pub fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed: {}\n{stdout}\n{stderr}", output.status);
    stdout.into_owned()
}
