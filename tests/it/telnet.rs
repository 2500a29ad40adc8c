//! A person at telnet: the real program on a real terminal, typed into line by line.

use std::process::Command;

use crate::support::{Folder, Server, serve};
use crate::terminal::Terminal;

/// What the page of these tests says.
const PAGE: &str = "<p>A page for a person at telnet</p>\n";

#[test]
#[ignore = "needs telnet"]
fn a_simple_request_shows_the_bare_page_and_ends_the_session() {
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
fn a_simple_request_for_nothing_is_explained_in_words() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("GET /nowhere");
    let shown = telnet.shows("Connection closed by foreign host");
    assert!(shown.contains("404 Not Found"), "the reason is not shown\n{}", telnet.screen());
    assert!(!shown.contains("HTTP/1.1 404"), "a head is shown\n{}", telnet.screen());
}

#[test]
#[ignore = "needs telnet"]
fn an_http_1_0_request_is_answered_after_the_empty_line_and_ends_the_session() {
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
fn a_forgotten_host_is_explained_and_the_same_session_goes_on() {
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
fn two_complete_requests_are_answered_in_one_session() {
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
fn a_method_in_small_letters_is_explained() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("get / HTTP/1.1").types("Host: localhost").types("");
    telnet.shows("HTTP/1.1 501 Not Implemented");
    telnet.shows("GET");
}

#[test]
#[ignore = "needs telnet"]
fn a_word_that_is_no_request_is_explained_at_once() {
    let folder = Folder::new().file("index.html", PAGE);
    let server = serve(&folder).start();
    let mut telnet = session(&server);
    telnet.types("hello");
    telnet.shows("HTTP/1.1 400 Bad Request");
    telnet.shows("GET /");
    telnet.shows("Connection closed by foreign host");
}

/// Opens a telnet session and waits until it takes what is typed.
fn session(server: &Server) -> Terminal {
    let mut command = Command::new("telnet");
    command.env("TERM", "dumb").args([server.addr.ip().to_string(), server.addr.port().to_string()]);
    let mut telnet = Terminal::start(command);
    telnet.shows("Escape character is");
    telnet.shows("\n");
    telnet
}
