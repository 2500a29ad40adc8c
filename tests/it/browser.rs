//! A real browser loads the project's own site.

use std::path::Path;
use std::process::Command;

use crate::support::{Folder, Process, binary};

#[test]
#[ignore = "needs chromium"]
fn chromium_loads_our_own_site_without_a_complaint() {
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("www");
    let home = Folder::new();
    let log = std::fs::File::create(home.at("log")).expect("the file can be made");
    let mut command = binary();
    command.args(["--port", "0", "--bind", "127.0.0.1", "--list", "--root"]).arg(&site);
    let mut server = Process::start(&mut command, log);
    let url = format!("http://{}/", server.listening());
    let (page, complaints) = load(&url, &home);
    server.signal("TERM");
    server.ended();
    let log = std::fs::read_to_string(home.at("log")).expect("the file can be read");

    assert!(page.contains("Hello, World!"), "the page does not greet\n{page}\n{complaints}");
    let console: Vec<_> = complaints.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "the console says\n{}", console.join("\n"));
    assert!(log.lines().any(|line| line.contains("\"GET / HTTP/1.1\" 200 ")), "the page was not asked for\n{log}");
    assert!(log.lines().count() > 3, "the page's style, pictures and module were not asked for\n{log}");
    // Some come compressed, and the page is none the worse for it: nothing was said above. But not all do at once.
    let compressed = ["style.css", "exchange.js", "index.html"].map(|name| {
        let len = std::fs::metadata(site.join(name)).expect("it is there").len();
        let target = if name == "index.html" { "" } else { name };
        let line = log.lines().find(|line| line.contains(&format!("\"GET /{target} "))).unwrap_or_default();
        line.rsplit(' ').next().and_then(|bytes| bytes.parse().ok()).is_some_and(|sent: u64| sent < len / 2)
    });
    assert!(compressed.iter().filter(|is| **is).count() >= 2, "{compressed:?}\n{log}");
    let failed: Vec<_> = log.lines().filter(|line| !is_good(line)).collect();
    assert!(failed.is_empty(), "there are failed requests\n{}", failed.join("\n"));
}

/// Loads the page as a person would see it; returns its document after its scripts ran, and the browser's messages.
#[track_caller]
fn load(url: &str, home: &Folder) -> (String, String) {
    let mut chromium = Command::new("timeout");
    chromium.args(["120", "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]);
    chromium.args(["--no-first-run", "--disable-background-networking", "--disable-component-update"]);
    chromium.args(["--disable-sync", "--no-proxy-server", "--disable-dev-shm-usage"]);
    chromium.arg(format!("--user-data-dir={}", home.at("profile").display())).env("HOME", home.path());
    chromium.args(["--enable-logging=stderr", "--v=0", "--virtual-time-budget=10000", "--dump-dom", url]);
    let output = chromium.output().expect("chromium runs");
    let (page, complaints) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "chromium failed: {}\n{page}\n{complaints}", output.status);
    (page.into_owned(), complaints.into_owned())
}

/// Whether a line of the common log is about a request that was answered well.
fn is_good(line: &str) -> bool {
    let status = line.rsplit("\" ").next().and_then(|outcome| outcome.split(' ').next());
    matches!(status, Some("200" | "204" | "206" | "304"))
}
