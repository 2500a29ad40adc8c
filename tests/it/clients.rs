//! Foreign programs as clients: curl, wget, aria2, git and benchmarks.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::{Folder, Server, finish, output, program, serve};

#[test]
#[ignore = "needs curl"]
fn curl_gets_file() {
    let folder = digits();
    let server = serve(&folder).start();
    let response = curl(&server, &["-w", "|%{http_code}|%{http_version}|%{content_type}"], "/digits.txt");
    assert_eq!(response, "0123456789|200|1.1|text/plain; charset=utf-8");
}

#[test]
#[ignore = "needs curl"]
fn curl_gets_head() {
    let folder = digits();
    let server = serve(&folder).start();
    let head = curl(&server, &["-I"], "/digits.txt");
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Length: 10\r\n") && head.ends_with("\r\n\r\n"), "{head}");
}

#[test]
#[ignore = "needs curl"]
fn curl_gets_ranges() {
    let folder = digits();
    let server = serve(&folder).start();
    for (range, expected) in [("0-3", "0123|206"), ("-3", "789|206"), ("7-", "789|206"), ("8-99", "89|206")] {
        assert_eq!(curl(&server, &["-r", range, "-w", "|%{http_code}"], "/digits.txt"), expected, "{range}");
    }
    let parts = curl(&server, &["-r", "0-1,6-7", "-w", "|%{http_code}"], "/digits.txt");
    assert!(parts.contains("\r\n\r\n01\r\n--") && parts.contains("\r\n\r\n67\r\n--"), "{parts}");
    assert!(parts.ends_with("|206"), "{parts}");
}

#[test]
#[ignore = "needs curl"]
fn curl_resumes_download() {
    let folder = Folder::new().file("large.bin", large());
    let here = Folder::new().file("saved", &large()[..1_000_000]);
    let server = serve(&folder).start();
    let code = curl(&server, &["-C", "-", "-o", text(&here.at("saved")), "-w", "%{http_code}"], "/large.bin");
    assert_eq!(code, "206");
    assert!(fs::read(here.at("saved")).expect("the file exists") == large(), "other bytes were saved");
}

#[test]
#[ignore = "needs curl"]
fn curl_gets_response_over_http_1_0() {
    let folder = digits();
    let server = serve(&folder).start();
    assert_eq!(curl(&server, &["--http1.0"], "/digits.txt"), "0123456789");
    server.logged(|line| line.contains("\"GET /digits.txt HTTP/1.0\" 200 10"));
}

#[test]
#[ignore = "needs curl"]
fn curl_revalidates_its_copy_by_date() {
    let folder = digits();
    let here = Folder::new();
    let server = serve(&folder).start();
    let saved = here.at("saved");
    curl(&server, &["-R", "-o", text(&saved)], "/digits.txt");
    assert_eq!(curl(&server, &["-z", text(&saved), "-w", "%{http_code}"], "/digits.txt"), "304");
    folder.touch("digits.txt", 60);
    assert_eq!(curl(&server, &["-z", text(&saved), "-w", "%{http_code}"], "/digits.txt"), "0123456789200");
}

#[test]
#[ignore = "needs curl"]
fn curl_revalidates_its_copy_by_etag() {
    let folder = digits();
    let here = Folder::new();
    let server = serve(&folder).start();
    let tag = here.at("tag");
    curl(&server, &["--etag-save", text(&tag)], "/digits.txt");
    let again = ["--etag-compare", text(&tag), "-w", "%{http_code}"];
    assert_eq!(curl(&server, &again, "/digits.txt"), "304");
    folder.write("digits.txt", "other");
    assert_eq!(curl(&server, &again, "/digits.txt"), "other200");
}

#[test]
#[ignore = "needs curl"]
fn curl_decodes_compressed_response() {
    let folder = digits();
    let server = serve(&folder).start();
    assert_eq!(curl(&server, &["--compressed"], "/digits.txt"), "0123456789");
}

#[test]
#[ignore = "needs curl"]
fn curl_reuses_its_connection() {
    let folder = digits();
    let server = serve(&folder).start();
    let url = url(&server, "/digits.txt");
    let connects = curl(&server, &["-w", "|%{num_connects}\n", &url, &url], "/digits.txt");
    assert_eq!(connects, "0123456789|1\n0123456789|0\n0123456789|0\n");
}

#[test]
#[ignore = "needs curl"]
fn curl_follows_redirect_to_directory() {
    let folder = Folder::new().file("docs/index.html", "the docs");
    let server = serve(&folder).start();
    assert_eq!(curl(&server, &["-L", "-w", "|%{num_redirects}"], "/docs?q=1"), "the docs|1");
    server.logged(|line| line.contains("\"GET /docs/?q=1 HTTP/1.1\" 200 "));
}

#[test]
#[ignore = "needs curl"]
fn curl_reads_refusal_while_it_uploads() {
    let folder = digits();
    let here = Folder::new().file("upload", vec![b'x'; 8 << 20]);
    let server = serve(&folder).start();
    let data = format!("@{}", text(&here.at("upload")));
    for expect in ["Expect:", "Expect: 100-continue"] {
        let args = ["--data-binary", &data, "-H", expect, "-w", "|%{http_code}"];
        let response = curl(&server, &args, "/digits.txt");
        assert!(response.ends_with("|405") || response.ends_with("|413"), "{expect}: {response}");
    }
}

#[test]
#[ignore = "needs wget"]
fn wget_mirrors_listing_byte_for_byte() {
    let names = ["a b.txt", "100%.txt", "x#y.txt", "é.txt", "sub/deep.bin", "sub/sub/q&a.txt", "<i>.txt"];
    let folder = names.iter().fold(Folder::new(), |folder, name| folder.file(name, format!("this is {name}")));
    let folder = folder.file("large.bin", large());
    let here = Folder::new();
    let server = serve(&folder).arg("--list").start();
    let mut wget = program("wget", here.path());
    wget.args(["-m", "-nH", "-nv", "--tries=1", "--restrict-file-names=nocontrol", "-P", text(here.path())]);
    // The exit status depends on robots.txt too; only the files matter.
    let said = finish(wget.arg(url(&server, "/"))).stderr;
    for name in names.into_iter().chain(["large.bin"]) {
        let copy = fs::read(here.at(name)).unwrap_or_else(|e| panic!("{name}: {e}\n{said}"));
        assert!(copy == fs::read(folder.at(name)).expect("the original exists"), "{name} is another file\n{said}");
    }
}

#[test]
#[ignore = "needs aria2c"]
fn aria2_gets_file_in_parts_over_several_connections() {
    let folder = Folder::new().file("large.bin", large());
    let here = Folder::new();
    let server = serve(&folder).start();
    let mut aria2 = program("aria2c", here.path());
    aria2.args(["--no-conf", "-q", "-x", "4", "-s", "4", "-k", "1M", "-d", text(here.path()), "-o", "saved"]);
    output(aria2.arg(url(&server, "/large.bin")));
    assert!(fs::read(here.at("saved")).expect("the file exists") == large(), "other bytes were saved");
    assert!(server.log().iter().filter(|line| line.contains("\" 206 ")).count() > 1, "{:?}", server.log());
}

#[test]
#[ignore = "needs git"]
fn git_clones_from_plain_files() {
    let folder = Folder::new().file("work/one.txt", "one").file("work/two.bin", large());
    let here = Folder::new();
    let git = |args: &[&str]| output(git(here.path()).args(args));
    let (work, bare) = (folder.at("work"), folder.at("repo.git"));
    git(&["init", "-q", "-b", "main", text(&work)]);
    git(&["-C", text(&work), "add", "."]);
    git(&["-C", text(&work), "commit", "-q", "-m", "Add two files"]);
    folder.write("work/one.txt", "one, changed");
    git(&["-C", text(&work), "commit", "-q", "-a", "-m", "Change one"]);
    git(&["clone", "-q", "--bare", text(&work), text(&bare)]);
    git(&["-C", text(&bare), "update-server-info"]);
    let server = serve(&folder).start();
    let copy = here.at("copy");
    git(&["clone", "-q", &url(&server, "/repo.git"), text(&copy)]);
    assert_eq!(fs::read(copy.join("one.txt")).expect("the file exists"), b"one, changed");
    assert!(fs::read(copy.join("two.bin")).expect("the file exists") == large(), "other bytes were cloned");
    assert_eq!(git(&["-C", text(&copy), "rev-list", "--count", "HEAD"]).trim(), "2");
}

#[test]
#[ignore = "needs ab"]
fn ab_keeps_connections_without_failed_request() {
    let folder = digits();
    let server = serve(&folder).start();
    let report =
        output(program("ab", folder.path()).args(["-k", "-q", "-n", "2000", "-c", "8", &url(&server, "/digits.txt")]));
    let number = |name: &str| report.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    assert_eq!(number("Complete requests:"), Some("2000"), "{report}");
    assert_eq!(number("Failed requests:"), Some("0"), "{report}");
    assert_eq!(number("Keep-Alive requests:"), Some("2000"), "{report}");
    assert_eq!(number("Non-2xx responses:"), None, "{report}");
}

#[test]
#[ignore = "needs wrk"]
fn wrk_meets_no_error() {
    let folder = digits();
    let server = serve(&folder).start();
    let report =
        output(program("wrk", folder.path()).args(["-t", "1", "-c", "8", "-d", "1s", &url(&server, "/digits.txt")]));
    assert!(report.contains("Requests/sec:"), "{report}");
    assert!(!report.contains("Requests/sec:      0.00"), "{report}");
    assert!(!report.contains("Socket errors") && !report.contains("Non-2xx"), "{report}");
}

#[test]
#[ignore = "needs h2load"]
fn h2load_pipelines_without_error() {
    let folder = digits();
    let server = serve(&folder).start();
    let args = ["--h1", "-n", "2000", "-c", "8", "-m", "10", &url(&server, "/digits.txt")];
    let report = output(program("h2load", folder.path()).args(args));
    assert!(report.contains("2000 done, 2000 succeeded, 0 failed, 0 errored, 0 timeout"), "{report}");
    assert!(report.contains("status codes: 2000 2xx, 0 3xx, 0 4xx, 0 5xx"), "{report}");
}

fn digits() -> Folder {
    Folder::new().file("digits.txt", "0123456789")
}

/// Sixteen mebibytes without repetition.
fn large() -> Vec<u8> {
    (0..4u32 << 20).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the temporary path is text")
}

fn url(server: &Server, target: &str) -> String {
    format!("http://{}{target}", server.addr)
}

/// Runs curl and returns what it wrote.
#[track_caller]
fn curl(server: &Server, args: &[&str], target: &str) -> String {
    let home = Folder::new();
    output(program("curl", home.path()).args(["-q", "-sS"]).args(args).arg(url(server, target)))
}

/// Returns a command for git without the user's settings.
fn git(home: &Path) -> Command {
    let mut git = program("git", home);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_TERMINAL_PROMPT", "0");
    for role in ["AUTHOR", "COMMITTER"] {
        git.env(format!("GIT_{role}_NAME"), "Tester").env(format!("GIT_{role}_EMAIL"), "tester@localhost");
    }
    git
}
