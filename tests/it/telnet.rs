//! The program telnet on a pseudo-terminal, typed into line by line.

use std::process::Command;

use crate::support::{Folder, Server, serve};
use crate::terminal::Terminal;

/// The index page of these tests.
const PAGE: &str = "<p>A page for a person at telnet</p>\n";

#[test]
#[ignore = "needs telnet"]
fn simple_request_shows_bare_page_and_closes() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("GET /");
    let shown = telnet.shows("Connection closed by foreign host");
    assert!(shown.contains(PAGE.trim_end()), "the page is not shown\n{}", telnet.screen());
    assert!(!shown.contains("HTTP/1"), "a head is shown\n{}", telnet.screen());
}

#[test]
#[ignore = "needs telnet"]
fn simple_request_for_missing_file_shows_error_page() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("GET /nowhere");
    let shown = telnet.shows("Connection closed by foreign host");
    assert!(shown.contains("404 Not Found"), "the error page is not shown\n{}", telnet.screen());
    assert!(!shown.contains("HTTP/1.1 404"), "a head is shown\n{}", telnet.screen());
}

#[test]
#[ignore = "needs telnet"]
fn http_1_0_request_gets_response_and_close() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("GET / HTTP/1.0").types("");
    telnet.shows("HTTP/1.1 200 OK");
    telnet.shows("Connection: close");
    telnet.shows(PAGE.trim_end());
    telnet.shows("Connection closed by foreign host");
}

#[test]
#[ignore = "needs telnet"]
fn missing_host_is_explained_and_session_persists() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("GET / HTTP/1.1").types("");
    telnet.shows("HTTP/1.1 400 Bad Request");
    telnet.shows("Host: localhost");
    telnet.types("GET / HTTP/1.1").types("Host: localhost").types("");
    let shown = telnet.shows("HTTP/1.1 200 OK");
    assert!(!shown.contains("closed"), "another session\n{}", telnet.screen());
    telnet.shows(PAGE.trim_end());
}

#[test]
#[ignore = "needs telnet"]
fn one_session_serves_two_requests() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    for _ in 0..2 {
        telnet.types("GET / HTTP/1.1").types("Host: localhost").types("");
        telnet.shows("HTTP/1.1 200 OK");
        telnet.shows(PAGE.trim_end());
    }
    telnet.types("GET / HTTP/1.1").types("Host: localhost").types("Connection: close").types("");
    telnet.shows("HTTP/1.1 200 OK");
    telnet.shows("Connection closed by foreign host");
}

#[test]
#[ignore = "needs telnet"]
fn lowercase_method_is_explained() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("get / HTTP/1.1").types("Host: localhost").types("");
    telnet.shows("HTTP/1.1 501 Not Implemented");
    telnet.shows("GET");
}

#[test]
#[ignore = "needs telnet"]
fn malformed_request_line_is_explained_at_once() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("hello");
    telnet.shows("HTTP/1.1 400 Bad Request");
    telnet.shows("GET /");
    telnet.shows("Connection closed by foreign host");
}

/// Opens a telnet session and waits for its prompt.
fn session(server: &Server) -> Terminal {
    let mut command = Command::new("telnet");
    command.env("TERM", "dumb").args([server.addr.ip().to_string(), server.addr.port().to_string()]);
    let mut telnet = Terminal::start(command);
    telnet.shows("Escape character is");
    telnet.shows("\n");
    telnet
}
