//! Request targets (RFC 9112 §3.2): every form and spelling of a path, and none that leaves the root.

use std::fs;
use std::path::Path;

use crate::support::{Client, Folder, Server, serve};

fn site() -> Folder {
    let names = Folder::new()
        .file("page.txt", "a page\n")
        .file("index.html", "the start\n")
        .file("dir/page.txt", "a page in a directory\n")
        .file("dir/index.html", "the directory\n")
        .file("dir/sub/page.txt", "deep\n")
        .file("a b.txt", "space")
        .file("a+b.txt", "plus")
        .file("100%.txt", "percent")
        .file("%70age.txt", "percent seventy")
        .file("%2570age.txt", "percent twenty-five seventy")
        .file("what?.txt", "question mark")
        .file("c#.txt", "number sign")
        .file("a\"b'c.txt", "quotes")
        .file("<script>.txt", "angles")
        .file("a\nb.txt", "newline")
        .file("a\\b.txt", "backslash")
        .file("a:b;c=d@e!.txt", "punctuation")
        .file("x/y..", "two dots at the end");
    names.file_bytes(b"\xff\xfe.txt", "not UTF-8").file_bytes(b"\xc0\xae.txt", "overlong")
}

/// Sends a GET whose target is any bytes.
fn ask(server: &Server, target: &[u8]) -> Client {
    let mut client = server.connect();
    client.send([b"GET ", target, b" HTTP/1.1\r\nHost: localhost\r\n\r\n"].concat());
    client
}

/// Asserts that the response to every target is a 200 with that content.
#[track_caller]
fn found(cases: &[(&[u8], &str)]) {
    let folder = site();
    let server = serve(&folder).start();
    for (target, content) in cases {
        ask(&server, target).response().status(200).body(content);
    }
}

/// Asserts that every target is refused with that status on a connection that stays open.
#[track_caller]
fn refused(cases: &[(&[u8], u16)]) {
    let folder = site();
    let server = serve(&folder).start();
    for (target, status) in cases {
        let mut client = ask(&server, target);
        client.response().status(*status);
        client.still_open();
    }
}

#[test]
fn path_names_a_file() {
    found(&[
        (b"/page.txt", "a page\n"),
        (b"/", "the start\n"),
        (b"/dir/page.txt", "a page in a directory\n"),
        (b"/dir/", "the directory\n"),
        (b"/dir/sub/page.txt", "deep\n"),
    ]);
}

#[test]
fn query_does_not_change_the_file() {
    found(&[
        (b"/page.txt?", "a page\n"),
        (b"/page.txt?x", "a page\n"),
        (b"/page.txt?x=1&y=%2F%2e%2e", "a page\n"),
        (b"/page.txt?/../../x", "a page\n"),
        (b"/page.txt?a?b", "a page\n"),
        (b"/?page.txt", "the start\n"),
        (b"/dir/?/", "the directory\n"),
    ]);
}

#[test]
fn path_is_percent_decoded_once() {
    found(&[
        (b"/%70age.txt", "a page\n"),
        (b"/%70%61%67%65%2E%74%78%74", "a page\n"),
        (b"/%70%61%67%65%2e%74%78%74", "a page\n"),
        (b"/%2570age.txt", "percent seventy"),
        (b"/%252570age.txt", "percent twenty-five seventy"),
        (b"/100%25.txt", "percent"),
        (b"/a%20b.txt", "space"),
        (b"/a+b.txt", "plus"),
        (b"/a%2Bb.txt", "plus"),
        (b"/a%2bb.txt", "plus"),
        (b"/what%3F.txt", "question mark"),
        (b"/c%23.txt", "number sign"),
        (b"/a%22b%27c.txt", "quotes"),
        (b"/a\"b'c.txt", "quotes"),
        (b"/%3Cscript%3E.txt", "angles"),
        (b"/a%0Ab.txt", "newline"),
        (b"/a:b;c=d@e!.txt", "punctuation"),
        (b"/a%3Ab%3Bc%3Dd%40e%21.txt", "punctuation"),
    ]);
    refused(&[(b"/a%2520b.txt", 404), (b"/a%2B%20b.txt", 404), (b"/%2525", 404), (b"/%252e%252e/page.txt", 404)]);
}

#[test]
fn overlong_utf8_dot_or_slash_is_an_ordinary_byte() {
    found(&[(b"/%C0%AE.txt", "overlong"), (b"/\xc0\xae.txt", "overlong")]);
    refused(&[
        (b"/%c0%ae%c0%ae/page.txt", 404),
        (b"/dir/%C0%AE%C0%AE/page.txt", 404),
        (b"/dir/%E0%80%AE%E0%80%AE/page.txt", 404),
        (b"/dir/\xc0\xae\xc0\xae/page.txt", 404),
        (b"/dir%C0%AFpage.txt", 404),
        (b"/dir\xc0\xafpage.txt", 404),
    ]);
}

#[test]
fn encoded_slash_never_separates_segments() {
    refused(&[
        (b"/dir%2Fpage.txt", 404),
        (b"/dir%2fpage.txt", 404),
        (b"/%2Fpage.txt", 404),
        (b"/dir/%2Fpage.txt", 404),
        (b"/dir%2F/page.txt", 404),
        (b"/..%2Fpage.txt", 404),
        (b"/page.txt%2F", 404),
        (b"/dir/..%2Fpage.txt", 404),
        (b"/dir%252Fpage.txt", 404),
    ]);
}

#[test]
fn backslash_is_an_ordinary_byte() {
    found(&[(b"/a%5Cb.txt", "backslash"), (b"/a%5cb.txt", "backslash"), (b"/a\\b.txt", "backslash")]);
    refused(&[(b"/dir\\page.txt", 404), (b"/dir%5Cpage.txt", 404), (b"/dir\\..\\page.txt", 404)]);
    refused(&[(b"/..\\dir\\page.txt", 404), (b"/..%5Cdir%5Cpage.txt", 404)]);
}

#[test]
fn percent_sign_without_two_hex_digits_is_refused() {
    refused(&[
        (b"/%", 400),
        (b"/%4", 400),
        (b"/page.txt%", 400),
        (b"/%zz", 400),
        (b"/%4g", 400),
        (b"/%g4", 400),
        (b"/%%41", 400),
        (b"/%+1", 400),
        (b"/%-1", 400),
        (b"/%0x41", 400),
        (b"/%u0041", 400),
    ]);
}

#[test]
fn encoded_nul_is_refused() {
    refused(&[(b"/%00", 400), (b"/page.txt%00", 400), (b"/page.txt%00.html", 400), (b"/dir/%00/page.txt", 400)]);
}

#[test]
fn fragment_or_control_byte_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    let targets: [&[u8]; 9] = [
        b"/page.txt#",
        b"/page.txt#top",
        b"/#",
        b"/page.txt?x#y",
        b"/page\x01.txt",
        b"/page.txt\x00",
        b"/page.txt?\x00",
        b"/page\x7f.txt",
        b"/page.txt?\x1b[31m",
    ];
    for target in targets {
        ask(&server, target).response().status(400);
    }
}

#[test]
fn dot_segments_are_resolved_before_the_lookup() {
    found(&[
        (b"/./page.txt", "a page\n"),
        (b"/././page.txt", "a page\n"),
        (b"/dir/./page.txt", "a page in a directory\n"),
        (b"/dir/../page.txt", "a page\n"),
        (b"/dir/sub/../../page.txt", "a page\n"),
        (b"/dir/sub/../page.txt", "a page in a directory\n"),
        (b"/missing/../page.txt", "a page\n"),
        (b"/page.txt/../page.txt", "a page\n"),
        (b"/dir/.", "the directory\n"),
        (b"/dir/./", "the directory\n"),
        (b"/dir/sub/..", "the directory\n"),
        (b"/dir/sub/../", "the directory\n"),
        (b"/dir/..", "the start\n"),
        (b"/.", "the start\n"),
        (b"/dir/%2e%2e/page.txt", "a page\n"),
        (b"/dir/%2E%2E/page.txt", "a page\n"),
        (b"/dir/.%2e/page.txt", "a page\n"),
        (b"/dir/%2e./page.txt", "a page\n"),
        (b"/%2e/page.txt", "a page\n"),
        (b"/x/y..", "two dots at the end"),
    ]);
}

#[test]
fn dot_segments_above_the_root_are_refused() {
    refused(&[
        (b"/..", 400),
        (b"/../", 400),
        (b"/../page.txt", 400),
        (b"/./../page.txt", 400),
        (b"/dir/../../page.txt", 400),
        (b"/dir/../../dir/page.txt", 400),
        (b"/missing/../../page.txt", 400),
        (b"/%2e%2e/page.txt", 400),
        (b"/.%2E/page.txt", 400),
        (b"//../page.txt", 400),
        (b"/..?x", 400),
    ]);
}

#[test]
fn empty_segments_collapse() {
    found(&[
        (b"//page.txt", "a page\n"),
        (b"///page.txt", "a page\n"),
        (b"//dir///page.txt", "a page in a directory\n"),
        (b"/page.txt/..//dir/page.txt", "a page in a directory\n"),
        (b"//", "the start\n"),
        (b"/dir//", "the directory\n"),
    ]);
    refused(&[(b"//localhost/page.txt", 404)]);
}

#[test]
fn file_has_nothing_below_it() {
    refused(&[
        (b"/page.txt/", 404),
        (b"/page.txt//", 404),
        (b"/page.txt/.", 404),
        (b"/page.txt/x", 404),
        (b"/index.html/", 404),
        (b"/page.txt/index.html", 404),
        (b"/missing", 404),
        (b"/missing/", 404),
        (b"/missing/x", 404),
    ]);
}

#[test]
fn absolute_form_names_the_same_file() {
    found(&[
        (b"http://localhost/page.txt", "a page\n"),
        (b"HTTP://LOCALHOST/page.txt", "a page\n"),
        (b"https://localhost/page.txt", "a page\n"),
        (b"http://localhost:8080/page.txt?x", "a page\n"),
        (b"http://other.example/dir/../page.txt", "a page\n"),
        (b"http://127.0.0.1:/page.txt", "a page\n"),
        (b"http://[::1]:80/page.txt", "a page\n"),
        (b"http://localhost//page.txt", "a page\n"),
        (b"http://localhost", "the start\n"),
        (b"http://localhost/", "the start\n"),
        (b"http://localhost?page.txt", "the start\n"),
        (b"http://localhost:8080?/page.txt", "the start\n"),
    ]);
}

#[test]
fn invalid_absolute_form_is_refused() {
    refused(&[
        (b"ftp://localhost/page.txt", 400),
        (b"file:///page.txt", 400),
        (b"ws://localhost/page.txt", 400),
        (b"httpx://localhost/page.txt", 400),
        (b"http:/page.txt", 400),
        (b"http:page.txt", 400),
        (b"http://", 400),
        (b"http:///page.txt", 400),
        (b"http://user@localhost/page.txt", 400),
        (b"http://user:password@localhost/page.txt", 400),
        (b"http://@localhost/page.txt", 400),
        (b"http://local<host/page.txt", 400),
        (b"http://localhost:80x/page.txt", 400),
        (b"http://[::1/page.txt", 400),
        (b"http://localhost\\page.txt", 400),
        (b"http://localhost/../page.txt", 400),
        (b"http://localhost/%zz", 400),
    ]);
}

#[test]
fn target_without_a_leading_slash_is_refused() {
    refused(&[
        (b"*", 400),
        (b"**", 400),
        (b"*/page.txt", 400),
        (b"page.txt", 400),
        (b"?x", 400),
        (b"localhost:80", 400),
        (b"localhost/page.txt", 400),
        (b"../page.txt", 400),
        (b"./page.txt", 400),
        (b"%2Fpage.txt", 400),
        (b"\\page.txt", 400),
        (b":80", 400),
    ]);
}

#[test]
fn options_for_an_authority_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    for target in ["localhost:80", "page.txt", "**"] {
        let mut client = server.connect();
        client.send(format!("OPTIONS {target} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        client.response().status(400);
        client.still_open();
    }
}

#[test]
fn no_target_reaches_a_file_beside_the_root() {
    let beside = Folder::new().file("secret.txt", "the secret\n");
    let folder = site().link("out", beside.path()).link("secret.txt", beside.at("secret.txt"));
    let server = serve(&folder).start();
    let path = beside.path().to_str().expect("a temporary directory has a plain path").to_owned();
    let name = path.rsplit('/').next().expect("a path has a last segment");
    let ups =
        ["..", "%2e%2e", ".%2E", "..%2f", "..%5c", "..\\", "%c0%ae%c0%ae", "%252e%252e", "..;", "..%00", "...", ". ."];
    let ups = ups.map(|up| up.replace(' ', "%20"));
    let mut targets: Vec<String> = Vec::new();
    for up in &ups {
        targets.push(format!("/{up}/{name}/secret.txt"));
        targets.push(format!("//{up}/{name}/secret.txt"));
        targets.push(format!("/dir/{up}/{up}/{name}/secret.txt"));
        targets.push(format!("/dir/sub/{up}/{up}/{up}/{name}/secret.txt"));
        targets.push(format!("/dir/./{up}//{up}/{name}/secret.txt"));
        targets.push(format!("http://localhost/{up}/{name}/secret.txt"));
        targets.push(format!("/{}{path}/secret.txt", format!("{up}/").repeat(20)));
        targets.push(format!("{up}/{name}/secret.txt"));
    }
    targets.extend([
        format!("{path}/secret.txt"),
        format!("/{path}/secret.txt"),
        format!("/%2F{path}/secret.txt"),
        format!("{}/secret.txt", path.replace('/', "%2F")),
        format!("file://{path}/secret.txt"),
        format!("/proc/self/root{path}/secret.txt"),
        format!("/..%2F{name}%2Fsecret.txt"),
        format!("/..%5C{name}%5Csecret.txt"),
        "/out/secret.txt".to_owned(),
        "/out/../out/secret.txt".to_owned(),
        "/secret.txt".to_owned(),
    ]);
    for target in targets {
        let response = ask(&server, target.as_bytes()).response().never_says("the secret");
        assert!(matches!(response.status, 400 | 404), "{}", response.exchange);
    }
}

#[test]
fn sibling_with_the_root_as_prefix_is_outside() {
    let folder = site();
    let mut beside = folder.path().as_os_str().to_owned();
    beside.push("-more");
    fs::create_dir(&beside).expect("a directory can be made beside the root");
    fs::write(Path::new(&beside).join("page.txt"), "the secret\n").expect("the file can be written");
    let folder = folder.link("out", &beside);
    let server = serve(&folder).start();
    let response = server.get("/out/page.txt");
    fs::remove_dir_all(&beside).expect("the directory can be removed");
    response.status(404).never_says("the secret");
}
