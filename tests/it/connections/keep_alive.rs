//! Persistent connections: versions, the Connection field, and errors that keep the connection.

use crate::support::{GET, serve, site};

#[test]
fn http_1_1_persists_until_connection_close() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        "",
        "Connection: keep-alive\r\n",
        "Connection:\r\n",
        "Connection: closed\r\n",
        "Connection: not-close\r\n",
        "Connection: \"close\"\r\n",
        "Connection: te, upgrade\r\n",
        "X-Connection: close\r\n",
        "Proxy-Connection: close\r\n",
        "Keep-Alive: timeout=0\r\n",
    ] {
        let mut client = server.connect();
        client.send(format!("GET /page.txt HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        let response = client.response().status(200).body("a page\n");
        assert!(!response.all("Connection").contains(&"close"), "{}", response.exchange);
        client.still_open();
    }
}

#[test]
fn close_option_is_found_in_any_connection_list() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        "Connection: close\r\n",
        "connection:close\r\n",
        "Connection: Close\r\n",
        "CONNECTION: CLOSE\r\n",
        "Connection: \tclose \t\r\n",
        "Connection: keep-alive, close\r\n",
        "Connection: close, keep-alive\r\n",
        "Connection: te,close\r\n",
        "Connection: te \t,\t close\r\n",
        "Connection: ,,close,\r\n",
        "Connection: te\r\nX: y\r\nConnection: close\r\n",
        "Connection: close\r\nConnection: keep-alive\r\n",
    ] {
        for version in ["1.0", "1.1"] {
            let mut client = server.connect();
            client.send(format!("GET /page.txt HTTP/{version}\r\nHost: localhost\r\n{fields}\r\n{GET}"));
            client.response().status(200).has("Connection", "close").body("a page\n");
            client.closed();
        }
    }
}

#[test]
fn http_1_0_closes_after_one_response() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in
        ["", "Host: localhost\r\n", "Connection: te\r\n", "Connection: keep-alives\r\n", "Keep-Alive: 300\r\n"]
    {
        let mut client = server.connect();
        client.send(format!("GET /page.txt HTTP/1.0\r\n{fields}\r\n{GET}"));
        client.response().status(200).has("Connection", "close").body("a page\n");
        client.closed();
    }
}

#[test]
fn http_1_0_persists_with_keep_alive_option() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        "Connection: keep-alive\r\n",
        "Connection: Keep-Alive\r\n",
        "connection:KEEP-ALIVE\r\n",
        "Connection: te, keep-alive\r\n",
        "Connection: te\r\nConnection: keep-alive\r\n",
    ] {
        let mut client = server.connect();
        for (target, status) in [("/page.txt", 200), ("/missing", 404), ("/page.txt", 200)] {
            client.send(format!("GET {target} HTTP/1.0\r\n{fields}\r\n"));
            client.response().status(status).has("Connection", "keep-alive");
        }
        client.send("GET /page.txt HTTP/1.0\r\n\r\n");
        client.response().status(200).has("Connection", "close");
        client.closed();
    }
}

#[test]
fn error_response_keeps_connection() {
    let folder = site().dir("dir");
    let server = serve(&folder).start();
    let mut client = server.connect();
    for (target, fields, status) in [
        ("/missing", "", 404),
        ("/dir", "", 301),
        ("/dir/", "", 404),
        ("/page.txt", "If-None-Match: *\r\n", 304),
        ("/page.txt", "If-Match: \"other\"\r\n", 412),
        ("/page.txt", "Range: bytes=100-\r\n", 416),
        ("/%00", "", 400),
        ("/page.txt", "", 200),
    ] {
        client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n"));
        client.response().status(status);
    }
    client.still_open();
}
