//! Metrics as their collector reads them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use crate::admin::admin_of;
use crate::support::{Client, Folder, Server, Trust, Version, serve};
use crate::tls;

const GET: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";

/// The present value of each series, by its name and labels.
fn metrics(server: &Server) -> BTreeMap<String, f64> {
    let text = text(server);
    let mut lines = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text}")).lines();
    let mut series = BTreeMap::new();
    let mut family = "";
    while let Some(line) = lines.next() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split(' ').next().expect("a name");
            let kind = lines.next().unwrap_or_default();
            assert!(kind.starts_with(&format!("# TYPE {family} ")), "{kind:?} after {line:?}");
        } else if !line.starts_with("# UNIT ") {
            let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no series: {line:?}"));
            assert!(name.starts_with("serve_") && name.starts_with(family), "{line:?} in {family}");
            let value = value.parse().unwrap_or_else(|_| panic!("no number: {line:?}"));
            assert!(series.insert(name.to_owned(), value).is_none(), "twice: {line:?}");
        }
    }
    series
}

fn text(server: &Server) -> String {
    let response = Client::connect(admin_of(server)).send(GET).response().status(200);
    let response = response.has("Content-Type", "application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.has("Cache-Control", "no-store").text()
}

fn counted(folder: &Folder) -> Server {
    serve(folder).args(&["--admin", "127.0.0.1:0", "--max-connections", "3", "--max-per-ip", "3"]).start()
}

#[test]
fn known_requests_give_known_counts() {
    let folder = Folder::new().file("a.txt", "hello").file("large.bin", vec![b'x'; 100_000]);
    let server = counted(&folder);
    let mut client = server.connect();
    for _ in 0..3 {
        client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("hello");
    }
    client.send("HEAD /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response_to_head().status(200);
    client.send("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200);
    let page = client.send("GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(404).body.len();
    let brewed = client.send("BREW /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(501).body.len();
    let refused = server.ask("\"} 1\n / HTTP/1.1\r\n\r\n").status(400).body.len();
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").response().status(200);
    client.closed();
    drop(client);
    server.rests();
    let now = metrics(&server);
    let is = |name: &str, value: f64| assert_eq!(now.get(name), Some(&value), "{name} in {now:#?}");
    is("serve_requests_total{method=\"GET\",status=\"200\"}", 5.0);
    is("serve_requests_total{method=\"HEAD\",status=\"200\"}", 1.0);
    is("serve_requests_total{method=\"GET\",status=\"404\"}", 1.0);
    is("serve_requests_total{method=\"other\",status=\"501\"}", 1.0);
    is("serve_requests_total{method=\"other\",status=\"400\"}", 1.0);
    assert_eq!(now.keys().filter(|name| name.starts_with("serve_requests_total")).count(), 5, "{now:#?}");
    is("serve_response_body_bytes_total", (4 * 5 + 100_000 + page + brewed + refused) as f64);
    is("serve_request_duration_seconds_count", 9.0);
    is("serve_request_duration_seconds_bucket{le=\"60.0\"}", 9.0);
    is("serve_request_duration_seconds_bucket{le=\"+Inf\"}", 9.0);
    assert!(now["serve_request_duration_seconds_sum"] > 0.0);
    is("serve_connections_total", 2.0);
    is("serve_connections_open", 0.0);
    is("serve_connections_max", 3.0);
    is("serve_connections_closed_total{reason=\"last_answer\"}", 1.0);
    is("serve_connections_closed_total{reason=\"refused\"}", 1.0);
    is("serve_connections_evicted_total{reason=\"waiting\"}", 0.0);
    is("serve_cache_hits_total", 4.0);
    is("serve_cache_misses_total", 2.0);
    is("serve_log_lines_dropped_total{log=\"access\"}", 0.0);
    is("serve_log_lines_dropped_total{log=\"diagnostics\"}", 0.0);
    is("serve_panics_total", 0.0);
    is(&format!("serve_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")), 1.0);
}

#[test]
fn evicted_and_shed_connections_are_counted() {
    let folder = Folder::new();
    let server = counted(&folder);
    let mut clients: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.still_open();
        server.rests();
    }
    assert_eq!(metrics(&server)["serve_connections_open"], 3.0);
    server.get("/").status(503);
    clients[0].closed();
    server.rests();
    let now = metrics(&server);
    assert_eq!(now["serve_connections_turned_away_total{reason=\"too_many_from_address\"}"], 1.0);
    assert_eq!(now["serve_connections_evicted_total{reason=\"waiting\"}"], 1.0);
    assert_eq!(now["serve_connections_closed_total{reason=\"evicted\"}"], 1.0);
    assert_eq!(now["serve_connections_open"], 2.0);
}

#[test]
fn admin_requests_are_neither_counted_nor_logged() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).args(&["-v", "--admin", "127.0.0.1:0"]).start();
    for _ in 0..3 {
        Client::connect(admin_of(&server))
            .send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .response()
            .status(200);
        Client::connect(admin_of(&server)).send("no request\r\n\r\n").response().status(400);
    }
    let before = metrics(&server);
    assert_eq!(before["serve_connections_total"], 0.0);
    assert!(!before.keys().any(|name| name.starts_with("serve_requests_total")), "{before:#?}");
    server.said(|line| line.contains("admin request: GET /health HTTP/1.1 200"));
    // A line that is due would come before this one.
    server.get("/a.txt").status(200);
    server.logged(|line| line.contains("/a.txt"));
    assert_eq!(server.log().len(), 1, "{:?}", server.log());
}

#[test]
fn metrics_need_an_admin_address() {
    let folder = Folder::new();
    serve(&folder).start().get("/metrics").status(404);
}

#[test]
#[ignore = "needs python3-prometheus-client"]
fn prometheus_client_parses_the_metrics() {
    let folder = Folder::new().file("a.txt", "a");
    let server = counted(&folder);
    for target in ["/a.txt", "/none", "/a.txt?x"] {
        server.get(target);
    }
    let script = "import sys; from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse; \
                  print(sum(len(family.samples) for family in parse(sys.stdin.read())))";
    let mut python = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Debian has python3 there");
    python.stdin.take().expect("a pipe").write_all(text(&server).as_bytes()).expect("it reads");
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "it is not what OpenMetrics asks for");
    let samples: usize = String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number");
    assert_eq!(samples, metrics(&server).len());
}

#[test]
fn tls_handshakes_are_counted() {
    let (folder, keys) = (Folder::new().file("a.txt", "hello"), tls::keys());
    let server = tls::serve_tls(&folder, &keys).args(&["--admin", "127.0.0.1:0"]).start();
    let trust = Trust::of(Version::V13);
    for _ in 0..3 {
        let mut client = trust.connect(server.addr, "localhost");
        client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("hello");
    }
    server.get("/a.txt").status(400);
    let now = metrics(&server);
    for (result, count) in [("full", 1.0), ("resumed", 2.0), ("failed", 1.0)] {
        let name = format!("serve_tls_handshakes_total{{result=\"{result}\"}}");
        assert_eq!(now.get(&name), Some(&count), "{name} in {now:#?}");
    }
}
