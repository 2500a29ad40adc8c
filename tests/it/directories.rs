//! Directories: the redirect that adds a slash and stays on this host, and index files.

use crate::names::{decode, encode};
use crate::support::{Folder, Response, serve};

#[test]
fn directory_without_slash_redirects_and_keeps_the_query() {
    let folder = Folder::new().file("dir/index.html", "dir").file("dir/sub/index.html", "sub");
    let server = serve(&folder).start();
    let table = [
        ("/dir", "/dir/"),
        ("/dir?a=b&c=%20d", "/dir/?a=b&c=%20d"),
        ("/dir?next=//evil.example/", "/dir/?next=//evil.example/"),
        ("/dir?a?b/c/../d", "/dir/?a?b/c/../d"),
        ("/dir/sub?q", "/dir/sub/?q"),
        ("//dir", "/dir/"),
        ("///dir//sub?q", "/dir/sub/?q"),
        ("/x/../dir", "/dir/"),
        ("/%64ir", "/dir/"),
        ("http://localhost/dir?q", "/dir/?q"),
        ("http://evil.example/dir", "/dir/"),
        ("http://evil.example//dir", "/dir/"),
    ];
    for (target, location) in table {
        server.get(target).status(301).has("Location", location);
        let head = format!("HEAD {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        server.connect().send(head).response_to_head().status(301).has("Location", location);
    }
}

#[test]
fn redirect_never_names_another_host() {
    let names: &[&[u8]] =
        &[b"evil.example", b"\\evil", b"\\\\evil", b"%5cevil", b"http:", b"@evil", b":80", b"\tevil", b" evil"];
    let folder = names.iter().fold(Folder::new(), |folder, name| {
        folder.file(&format!("{}/index.html", String::from_utf8_lossy(name)), "index")
    });
    let server = serve(&folder).start();
    for name in names {
        let encoded = encode(name);
        for before in ["/", "//", "///", "/x/..//", "//x/../", "/./", "/.//", "//.//", "/%2e//"] {
            let response = server.get(&format!("{before}{encoded}?q")).status(301);
            assert_local(&response);
            let expected = [b"/", *name, b"/?q"].concat();
            assert_eq!(decode(response.field("Location")), expected, "{}", response.exchange);
        }
    }
    for target in
        ["//evil.example/%2e%2e", "//evil.example/..", "//evil.example/%2e%2e/", "/\\evil/..", "//evil.example/."]
    {
        let response = server.get(target);
        match response.status {
            301 => assert_local(&response),
            200 | 404 => assert!(response.all("Location").is_empty(), "{target}\n{}", response.exchange),
            _ => panic!("{target}\n{}", response.exchange),
        }
    }
}

#[test]
fn redirect_encodes_the_directory_name() {
    let names: &[&str] =
        &["a b", "żółć", "100%", "%41", "what?", "a#b", "\"q\"", "<script>", "line\r\nSet-Cookie: x", "a;b&c"];
    let folder = names.iter().fold(Folder::new(), |folder, name| folder.file(&format!("{name}/index.html"), name));
    let server = serve(&folder).start();
    for name in names {
        let response = server.get(&format!("/{}?q", encode(name.as_bytes()))).status(301).lacks("Set-Cookie");
        assert_local(&response);
        let location = response.field("Location").to_owned();
        assert!(location.ends_with("/?q"), "the query is lost\n{}", response.exchange);
        server.get(&location).status(200).body(name);
    }
}

#[test]
fn raw_byte_in_the_target_is_encoded_in_the_location() {
    let folder = Folder::new().file("żó/index.html", "index").file("a\\b/index.html", "index");
    let server = serve(&folder).start();
    let raw = "GET /żó HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    server.ask(raw).status(301).has("Location", "/%C5%BC%C3%B3/");
    server.get("/a\\b").status(301).has("Location", "/a%5Cb/");
}

#[test]
fn index_files_are_tried_in_order() {
    let folder = Folder::new()
        .file("both/first.html", "both first")
        .file("both/second.txt", "both second")
        .file("one/second.txt", "one second")
        .file("default/index.html", "not an index here")
        .file("trap/second.txt", "behind a directory")
        .dir("trap/first.html")
        .file("linked/second.txt", "behind a link")
        .link("linked/first.html", "/etc/passwd");
    let server = serve(&folder).args(&["--index", "first.html,second.txt"]).start();
    server.get("/both/").status(200).body("both first").has("Content-Type", "text/html; charset=utf-8");
    server.get("/one/").status(200).body("one second").has("Content-Type", "text/plain; charset=utf-8");
    server.get("/trap/").status(200).body("behind a directory");
    server.get("/linked/").status(200).body("behind a link");
    server.get("/default/").status(404);
    server.get("/default/index.html").status(200).body("not an index here");
}

#[test]
fn new_or_removed_index_takes_effect_at_once() {
    let folder = Folder::new().file("second.html", "second");
    let server = serve(&folder).args(&["--index", "first.html,second.html"]).start();
    let mut client = server.connect();
    let mut root = || client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").response();
    root().status(200).body("second");
    folder.write("first.html", "first");
    root().status(200).body("first");
    folder.replace("first.html", "first again");
    root().status(200).body("first again");
    std::fs::remove_file(folder.at("first.html")).expect("the file can be removed");
    root().status(200).body("second");
    std::fs::remove_file(folder.at("second.html")).expect("the file can be removed");
    root().status(404);
}

#[test]
fn index_has_the_same_validators_under_its_own_name() {
    let folder = Folder::new().file("dir/index.html", "index");
    let server = serve(&folder).start();
    let (short, long) = (server.get("/dir/").status(200), server.get("/dir/index.html").status(200));
    for name in ["ETag", "Last-Modified", "Content-Type", "Content-Length"] {
        assert_eq!(short.field(name), long.field(name), "{name}");
    }
    let tag = format!("If-None-Match: {}\r\n", short.field("ETag"));
    server.get_with("/dir/", &tag).status(304);
    server.get_with("/dir/", "Range: bytes=1-2\r\n").status(206).body("nd");
}

#[test]
fn html_file_is_never_redirected_to_a_shorter_name() {
    let folder = Folder::new().file("index.html", "root").file("page.html", "page").file("dir/index.html", "dir");
    let server = serve(&folder).start();
    for (target, body) in [("/", "root"), ("/index.html", "root"), ("/page.html", "page"), ("/dir/index.html", "dir")] {
        server.get(target).status(200).body(body).lacks("Location");
    }
    server.get("/page").status(404);
}

/// Asserts that the Location is one absolute path of this host, in visible ASCII.
#[track_caller]
fn assert_local(response: &Response) {
    let location = response.field("Location");
    let rest = location.strip_prefix('/').unwrap_or_else(|| panic!("not a path: {location}\n{}", response.exchange));
    assert!(!rest.starts_with(['/', '\\']), "another host: {location}\n{}", response.exchange);
    assert!(location.bytes().all(|b| b.is_ascii_graphic()), "not a URI: {location:?}\n{}", response.exchange);
}
