//! Error and redirect pages: plain text or HTML, the custom 404 page, escaping, and secrets that no page contains.

use crate::support::{Folder, Response, serve};

/// One request for each refusal or redirect, with the status and the text that the page must contain.
const REASONS: &[(u16, &str, &str)] = &[
    (301, "GET /dir HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "/dir/"),
    (400, "GET / HTTP/1.1\r\nACCEPT\r\n", "Host: localhost"),
    (400, "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nACCEPT\r\n", "Host"),
    (400, "GET / HTTP/1.1\r\nHost: a b<\r\nACCEPT\r\n", "Host"),
    (400, "GET /%zz HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "%zz"),
    (400, "GET /../x HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "/../x"),
    (400, "GET * HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "*"),
    (404, "GET /missing HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "/missing"),
    (404, "GET /empty/ HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "--list"),
    (405, "POST /a.txt HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "POST"),
    (412, "GET /a.txt HTTP/1.1\r\nHost: localhost\r\nIf-Match: \"mine\"\r\nACCEPT\r\n", "If-Match"),
    (416, "GET /a.txt HTTP/1.1\r\nHost: localhost\r\nRange: bytes=77-\r\nACCEPT\r\n", "77"),
    (417, "GET /a.txt HTTP/1.1\r\nHost: localhost\r\nExpect: a-miracle\r\nACCEPT\r\n", "a-miracle"),
    (501, "BREW /a.txt HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "BREW"),
    (501, "get /a.txt HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", "GET"),
];

/// Requests whose head cannot be parsed.
const BROKEN: &[(u16, &str)] = &[
    (400, "GET / HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: localhost\r\nspace : x\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n"),
    (400, "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: x\r\n\r\n"),
    (400, "GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (400, "GET / HTTP/1.x\r\nHost: localhost\r\n\r\n"),
    (400, "<script> / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    (505, "GET / HTTP/2.0\r\nHost: localhost\r\n\r\n"),
    (501, "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n"),
];

fn site() -> Folder {
    Folder::new().file("a.txt", "hello").file("dir/index.html", "index").dir("empty")
}

fn request(template: &str, accept: &str) -> String {
    template.replace("ACCEPT\r\n", &if accept.is_empty() { "\r\n".to_owned() } else { format!("{accept}\r\n\r\n") })
}

#[test]
fn text_page_names_the_status_cause_and_rule() {
    let folder = site();
    let server = serve(&folder).start();
    for (status, template, cause) in REASONS {
        let response = server.ask(request(template, "")).status(*status).says(cause);
        let response =
            response.has("Content-Type", "text/plain; charset=utf-8").has("X-Content-Type-Options", "nosniff");
        first_line_is_the_status(&response);
        assert!(names_a_rule(&response.text()), "no rule is named\n{}", response.exchange);
    }
    for (status, broken) in BROKEN {
        let response = server.ask(broken).status(*status).has("Connection", "close").has("Cache-Control", "no-store");
        first_line_is_the_status(&response);
        assert!(names_a_rule(&response.text()), "no rule is named\n{}", response.exchange);
    }
}

#[test]
fn html_page_names_the_status_cause_and_rule() {
    let folder = site();
    let server = serve(&folder).start();
    for (status, template, cause) in REASONS {
        let response = server.ask(request(template, "Accept: text/html")).status(*status);
        let response = response.has("Content-Type", "text/html; charset=utf-8");
        let text = response.text();
        assert!(text.to_ascii_lowercase().starts_with("<!doctype html>"), "no HTML\n{}", response.exchange);
        assert!(text.contains("lang=") && text.contains("<title>"), "poor HTML\n{}", response.exchange);
        assert!(names_a_rule(&text), "no rule is named\n{}", response.exchange);
        response.says(cause).says(&status.to_string());
    }
}

#[track_caller]
fn first_line_is_the_status(response: &Response) {
    let text = response.text();
    let line = text.lines().next().unwrap_or_default();
    assert_eq!(format!("HTTP/1.1 {line}"), response.status_line, "{}", response.exchange);
    assert!(text.lines().count() > 1, "no text after the status\n{}", response.exchange);
}

fn names_a_rule(text: &str) -> bool {
    ["RFC 9110 §", "RFC 9112 §", "RFC 3986 §"].iter().any(|rule| text.contains(rule))
}

#[test]
fn accept_selects_text_or_html_page() {
    let html = true;
    let table = [
        ("", !html),
        ("Accept: */*", !html),
        ("Accept: text/*", !html),
        ("Accept: text/plain", !html),
        ("Accept: application/json", !html),
        ("Accept: text/html, text/plain", !html),
        ("Accept: text/html;q=0.5, text/plain", !html),
        ("Accept: text/html;q=0.5, */*", !html),
        ("Accept: text/html;q=0", !html),
        ("Accept: text/html;q=0.0, */*;q=0.1", !html),
        ("Accept: text/html5", !html),
        ("Accept:", !html),
        ("Accept: nonsense;;;,,,/", !html),
        ("Accept: text/html", html),
        ("accept: TEXT/HTML", html),
        ("Accept: text/html, */*;q=0.1", html),
        ("Accept: */*;q=0.5, text/html", html),
        ("Accept: text/plain;q=0.5 , text/html ; q=0.6", html),
        ("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8", html),
        ("Accept: text/plain;q=0.9\r\nAccept: text/html", html),
        ("Accept: text/html;q=0.001, text/plain;q=0", html),
    ];
    let folder = site();
    let server = serve(&folder).start();
    for (accept, html) in table {
        let response =
            server.ask(request("GET /missing HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n", accept)).status(404);
        let expected = if html { "text/html; charset=utf-8" } else { "text/plain; charset=utf-8" };
        response.has("Content-Type", expected);
    }
}

#[test]
fn page_selected_by_accept_has_vary() {
    for folder in [site(), site().file("404.html", "lost")] {
        let server = serve(&folder).start();
        for (status, template, _) in REASONS {
            for accept in ["", "Accept: text/html", "Accept: text/plain"] {
                server.ask(request(template, accept)).status(*status).has("Vary", "Accept");
            }
        }
    }
}

#[test]
fn client_bytes_in_pages_are_escaped() {
    const SCRIPT: &str = "<script>alert(1)</script>";
    let folder = site().file("<b>/index.html", "index");
    let server = serve(&folder).start();
    let accept = "Accept: text/html\r\n";
    let requests = [
        format!("GET /{SCRIPT} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET /%3Cscript%3Ealert(1)%3C/script%3E HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET /missing?{SCRIPT} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET /dir?{SCRIPT} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET /dir?\"onload='x'{SCRIPT} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET /%3Cb%3E?{SCRIPT} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET /empty/?{SCRIPT} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET /%zz{SCRIPT} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET / HTTP/1.1\r\n{accept}Host: {SCRIPT}\r\n\r\n"),
        format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n{accept}Expect: {SCRIPT}\r\n\r\n"),
        format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n{accept}If-Match: \"{SCRIPT}\"\r\n\r\n"),
        format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n{accept}Range: bytes=99-\r\nX: {SCRIPT}\r\n\r\n"),
        format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n{accept}Transfer-Encoding: {SCRIPT}\r\n\r\n"),
        format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n{accept}Content-Length: {SCRIPT}\r\n\r\n"),
        format!("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n{accept}{SCRIPT}\r\n\r\n"),
        format!("GET {SCRIPT} HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
        format!("GET / HTTP/{SCRIPT}\r\nHost: localhost\r\n{accept}\r\n"),
        format!("{SCRIPT} / HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n"),
    ];
    for request in requests {
        let response = server.ask(request);
        assert!(response.status >= 300, "the request is not refused\n{}", response.exchange);
        if response.field("Content-Type").starts_with("text/html") {
            response.never_says("<script").never_says("\"onload");
        } else {
            response.has("Content-Type", "text/plain; charset=utf-8").has("X-Content-Type-Options", "nosniff");
        }
    }
}

#[test]
fn pages_and_fields_contain_no_control_character() {
    let folder = site();
    let server = serve(&folder).start();
    let requests: &[&[u8]] = &[
        b"GET /%1B[31mred%07%08 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%0D%0Aline HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\x1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xc2\x9b31m HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%C2%9B31m HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: \x1b[31m\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\x1b[31m: x\r\n\r\n",
        b"GET /\x7f HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x1b[31m / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET / HTTP/\x1b[31m\r\nHost: localhost\r\n\r\n",
    ];
    for request in requests {
        for accept in [&b"\r\n\r\n"[..], b"\r\nAccept: text/html\r\n\r\n"] {
            let head = request.strip_suffix(b"\r\n\r\n").expect("every request ends in an empty line");
            let response = server.ask([head, accept].concat());
            assert!(response.status >= 400, "the request is not refused\n{}", response.exchange);
            let text = std::str::from_utf8(&response.body).expect("a page is UTF-8");
            let control = text.chars().find(|char| char.is_control() && *char != '\n' && *char != '\r');
            assert_eq!(control, None, "a control character in the page\n{:?}", text);
            for (name, value) in &response.fields {
                assert!(!value.chars().any(char::is_control), "a control character in {name}\n{}", response.exchange);
            }
        }
    }
}

#[test]
fn no_response_contains_a_file_system_path() {
    let outside = Folder::new().file("secret.txt", "secret");
    let folder = site().link("out", outside.at("secret.txt")).link("loop", "loop").link("dir-out", outside.path());
    let name = |folder: &Folder| folder.path().file_name().expect("it has a name").to_string_lossy().into_owned();
    let names = [name(&folder), name(&outside), std::env::temp_dir().to_string_lossy().into_owned()];
    for args in [&[][..], &["--list"], &["--list", "--symlinks", "all", "--hidden"]] {
        let server = serve(&folder).args(args).start();
        let own =
            ["/out", "/loop", "/dir-out/", "/dir-out", "/", "/empty/", "/a.txt/", "/%00", "/..", "/dir", "/a.txt"];
        let requests = own.map(|target| format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n"));
        let templates = requests.iter().map(String::as_str).chain(REASONS.iter().map(|(_, template, _)| *template));
        for template in templates.chain(BROKEN.iter().map(|(_, broken)| *broken)) {
            for accept in ["", "Accept: text/html", "Accept: application/json"] {
                let mut client = server.connect();
                let response = client.send(request(template, accept)).finish().rest();
                let text = String::from_utf8_lossy(&response);
                let leaked = names.iter().find(|name| text.contains(*name));
                assert_eq!(leaked, None, "a path in the response\n{template}\n{text}");
                assert!(!text.contains("os error"), "the kernel's error belongs in the log\n{template}\n{text}");
            }
        }
    }
}

#[test]
fn custom_404_page_is_sent_if_html_is_accepted() {
    let folder = site().file("404.html", "<h1>lost</h1>");
    let server = serve(&folder).start();
    let own = true;
    let table = [
        ("", own),
        ("Accept: */*", own),
        ("Accept: text/*", own),
        ("Accept: text/html", own),
        ("Accept: text/html;q=0.1", own),
        ("Accept: text/html,application/xhtml+xml,*/*;q=0.8", own),
        ("Accept: text/plain", !own),
        ("Accept: application/json", !own),
        ("Accept: text/html;q=0, */*", !own),
        ("Accept: image/*", !own),
    ];
    for target in ["/missing", "/missing/", "/dir/missing.js", "/.env", "/a%2Fb", "/missing?q"] {
        for (accept, own) in table {
            let template = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nACCEPT\r\n");
            let response = server.ask(request(&template, accept)).status(404).has("Cache-Control", "no-store");
            if own {
                response.has("Content-Type", "text/html; charset=utf-8").body("<h1>lost</h1>");
            } else {
                response.has("Content-Type", "text/plain; charset=utf-8").says("404 Not Found").never_says("lost");
            }
        }
    }
    server.get("/404.html").status(200).body("<h1>lost</h1>");
    server.head("/missing").status(404).has("Content-Length", "13");
    server.get("/%zz").status(400).never_says("lost");
}

#[test]
fn changed_custom_404_page_is_sent_at_once() {
    let folder = site();
    let server = serve(&folder).start();
    let mut client = server.connect();
    let mut ask = || client.send("GET /missing HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(404);
    ask().says("RFC 9110 §");
    folder.write("404.html", "one");
    ask().body("one");
    folder.replace("404.html", "other");
    ask().body("other");
    std::fs::remove_file(folder.at("404.html")).expect("the file can be removed");
    ask().says("RFC 9110 §");
    let _folder = folder.dir("404.html");
    ask().says("RFC 9110 §");
}

#[test]
fn not_found_flag_selects_the_404_page() {
    let folder = site().file("404.html", "not this one").file("errors/lost.html", "lost");
    let server = serve(&folder).args(&["--not-found", "errors/lost.html"]).start();
    server.get("/missing").status(404).body("lost").has("Cache-Control", "no-store");
    server.get("/errors/lost.html").status(200).body("lost");
}

#[test]
fn custom_404_page_ignores_preconditions_and_ranges() {
    let folder = site().file("404.html", "lost");
    let server = serve(&folder).start();
    let tag = server.get("/404.html").status(200).field("ETag").to_owned();
    let fields = ["If-None-Match: TAG\r\n", "If-None-Match: *\r\n", "If-Match: \"x\"\r\n", "Range: bytes=0-1\r\n"];
    for fields in fields {
        server.get_with("/missing", &fields.replace("TAG", &tag)).status(404).body("lost");
    }
    server.get_with("/missing", "If-Modified-Since: Fri, 31 Dec 9999 23:59:59 GMT\r\n").status(404).body("lost");
}
