//! Starts that are refused: one line that says what is wrong and what to type instead, and the right exit code.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Stdio};

use crate::support::{BINARY, Folder, Process, binary, without_settings};

#[test]
fn a_wrong_value_is_one_line_that_names_its_flag() {
    for (flag, value) in [
        ("--port", "abc"),
        ("--port", "65536"),
        ("--port", "-1"),
        ("--port", ""),
        ("--bind", "nonsense"),
        ("--bind", "300.1.1.1"),
        ("--symlinks", "maybe"),
        ("--log", "xml"),
        ("--charset", "two words"),
        ("--charset", "utf-8\r\nX: y"),
        ("--cache", "-1"),
        ("--compress", "-1"),
        ("--compress", "on"),
        ("--compress", "1 KiB"),
        ("--compress", "18446744073709551616"),
        ("--cache", "soon"),
        ("--cache", "1.5"),
        ("--max-connections", "0"),
        ("--max-connections", "many"),
        ("--trusted-proxy", "nonsense"),
        ("--trusted-proxy", ""),
        ("--trusted-proxy", "10.0.0.0/33"),
        ("--trusted-proxy", "10.0.0.1/8"),
        ("--trusted-proxy", "10.0.0.0/8,localhost"),
        ("--header-timeout", "0"),
        ("--header-timeout", "1.5"),
        ("--idle-timeout", "0"),
        ("--idle-timeout", "x"),
        ("--write-timeout", "0"),
        ("--write-timeout", "99999999999999999999999"),
        ("--grace", "0"),
        ("--grace", "-5"),
    ] {
        let line = refused(&mut command([format!("{flag}={value}")]), 2);
        assert!(line.starts_with(&format!("serve: {flag}: ")), "{flag}={value}: {line}");
    }
}

#[test]
fn proxy_headers_are_asked_only_from_somebody() {
    for mut command in [command(["--proxy-protocol"]), command([""; 0])] {
        let line = refused(command.env("SERVE_PROXY_PROTOCOL", "true"), 2);
        assert!(line.starts_with("serve: --proxy-protocol: ") && line.contains("--trusted-proxy"), "{line}");
    }
}

#[test]
fn an_address_in_a_network_is_refused_with_what_to_type() {
    let line = refused(&mut command(["--trusted-proxy", "10.1.2.3/8"]), 2);
    assert!(line.contains("type 10.0.0.0/8 ") && line.contains("or 10.1.2.3 "), "{line}");
}

#[test]
fn a_header_that_cannot_be_sent_is_refused() {
    for header in
        ["X-A: b\r\nX-B: c", "X-A: b\nX-B: c", "X-A: b\rX-B: c", "no colon", ": no name", "a b: c", "X\u{e9}: c"]
    {
        let line = refused(&mut command(["--header", header]), 2);
        assert!(line.starts_with("serve: --header: "), "{header:?}: {line}");
    }
}

#[test]
fn a_header_that_the_server_writes_itself_is_refused() {
    for name in [
        "Connection",
        "Content-Length",
        "Transfer-Encoding",
        "Content-Range",
        "Content-Type",
        "Date",
        "ETag",
        "Last-Modified",
        "Location",
        "Repr-Digest",
        "Allow",
        "Accept-Ranges",
        "content-length",
    ] {
        let line = refused(&mut command(["--header", &format!("{name}: 1")]), 2);
        assert!(line.starts_with("serve: --header: ") && line.contains(name), "{name}: {line}");
    }
}

#[test]
fn a_wrong_value_in_the_environment_is_one_line_that_names_its_place() {
    for (variable, flag, value) in [
        ("SERVE_PORT", "--port", "abc"),
        ("SERVE_BIND", "--bind", "127.0.0.1,nonsense"),
        ("SERVE_LIST", "--list", "maybe"),
        ("SERVE_HIDDEN", "--hidden", "maybe"),
        ("SERVE_SYMLINKS", "--symlinks", "maybe"),
        ("SERVE_HEADER", "--header", "X-A: b\nno colon"),
        ("SERVE_CACHE", "--cache", "soon"),
        ("SERVE_GRACE", "--grace", "0"),
        ("SERVE_LOG", "--log", "xml"),
        ("SERVE_QUIET", "--quiet", "maybe"),
        ("SERVE_VERBOSE", "--verbose", "maybe"),
    ] {
        let folder = Folder::new();
        let mut command = binary();
        command.arg("--root").arg(folder.path()).env(variable, value);
        if variable != "SERVE_PORT" {
            command.args(["--port", "0"]);
        }
        let line = refused(&mut command, 2);
        assert!(line.contains(flag) || line.contains(variable), "{variable}={value}: {line}");
    }
}

#[test]
fn an_unknown_flag_is_named() {
    let line = refused(&mut command(["--no-such-flag"]), 2);
    assert!(line.contains("--no-such-flag"), "{line}");
}

#[test]
fn a_flag_without_its_value_is_named() {
    let line = refused(&mut command(["--port"]), 2);
    assert!(line.contains("--port"), "{line}");
}

#[test]
fn a_second_root_is_refused() {
    refused(&mut command(["one", "two"]), 2);
}

#[test]
fn a_missing_root_is_named() {
    let folder = Folder::new();
    let mut command = binary();
    command.args(["--port", "0", "--root", "./no-such-place"]).current_dir(folder.path());
    assert_eq!(refused(&mut command, 2), "serve: --root: no such directory: ./no-such-place");
}

#[test]
fn a_missing_root_is_named_however_it_was_given() {
    let folder = Folder::new();
    let mut positional = binary();
    positional.args(["--port", "0", "./no-such-place"]).current_dir(folder.path());
    let mut variable = binary();
    variable.args(["--port", "0"]).env("SERVE_ROOT", "./no-such-place").current_dir(folder.path());
    for command in [&mut positional, &mut variable] {
        let line = refused(command, 2);
        assert!(line.contains("no such directory: ./no-such-place"), "{line}");
    }
}

#[test]
fn a_root_that_is_a_file_is_refused() {
    let folder = Folder::new().file("page.txt", "a");
    let mut command = binary();
    command.args(["--port", "0", "--root"]).arg(folder.at("page.txt"));
    let line = refused(&mut command, 2);
    assert!(line.starts_with("serve: --root: ") && line.contains("page.txt"), "{line}");
}

#[test]
fn a_port_in_use_is_named_with_what_to_type_instead() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let mut command = command(["--port", &port, "--bind", "127.0.0.1"]);
    let line = refused(&mut command, 1);
    assert!(line.starts_with("serve: ") && line.contains(&port), "{line}");
    let advice = line.split("--port").last().unwrap_or_default();
    assert!(line.contains("--port ") && advice.chars().any(|c| c.is_ascii_digit()), "what to type? {line}");
}

#[test]
fn a_port_in_use_on_one_of_the_addresses_ends_the_start() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = taken.local_addr().expect("it is bound").port().to_string();
    let line = refused(&mut command(["--port", &port, "--bind", "127.0.0.2", "--bind", "127.0.0.1"]), 1);
    assert!(line.contains(&port), "{line}");
    let line = refused(&mut command(["--port", &port]), 1);
    assert!(line.contains(&port), "{line}");
}

#[test]
fn an_address_of_another_machine_is_named() {
    let line = refused(&mut command(["--port", "0", "--bind", "192.0.2.1"]), 1);
    assert!(line.starts_with("serve: ") && line.contains("192.0.2.1"), "{line}");
}

#[test]
#[ignore = "needs setpriv"]
fn a_low_port_without_the_right_is_named_with_what_to_type_instead() {
    let first_free = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or("1024".to_owned());
    if first_free.trim().parse::<u16>().is_ok_and(|port| port <= 80) {
        eprintln!("on this machine everyone may use port 80");
        return;
    }
    let folder = Folder::new();
    // Who is not root loses no right by this; who is root loses this one only.
    let mut command = without_settings(Command::new("setpriv"));
    if rustix::process::geteuid().is_root() {
        command.args(["--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"]);
    }
    command.args([BINARY, "--port", "80", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    let line = refused(&mut command, 1);
    assert!(line.starts_with("serve: ") && line.contains("80") && line.contains("--port 8080"), "{line}");
}

/// The binary with these arguments, for a root that is there and a port that is free unless they say otherwise.
fn command(args: impl IntoIterator<Item = impl AsRef<std::ffi::OsStr>>) -> Command {
    let mut command = binary();
    command.env("SERVE_PORT", "0").env("SERVE_ROOT", std::env::temp_dir()).args(args);
    command
}

/// Asserts that the command ends by itself with this code, having said one line, and returns the line.
#[track_caller]
fn refused(command: &mut Command, code: i32) -> String {
    let mut process = Process::start(command, Stdio::piped());
    let (status, lines) = process.ended();
    let output = std::io::read_to_string(process.stdout()).expect("the output is text");
    let shown = format!("{command:?}\n{}", lines.join("\n"));
    assert_eq!(status.code(), Some(code), "wrong exit code\n{shown}");
    assert_eq!(lines.len(), 1, "not one line\n{shown}");
    assert!(lines[0].starts_with("serve: "), "not in our form\n{shown}");
    assert!(!lines[0].contains("panicked"), "{shown}");
    assert!(output.is_empty(), "standard output is not empty: {output}\n{shown}");
    lines[0].clone()
}
