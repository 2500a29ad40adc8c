//! Precompressed files, such as `app.js.br` beside `app.js`: which one is sent, and which are trusted.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::thread;

use crate::support::{Client, Folder, Response, Server, serve, until};

const BROWSER: &str = "Accept-Encoding: gzip, deflate, br, zstd\r\n";

/// The content of every original.
const PLAIN: &str = "plain text";

/// The codings and their suffixes.
const CODINGS: [(&str, &str); 3] = [("br", ".br"), ("zstd", ".zst"), ("gzip", ".gz")];

/// Encodes text; brotli's format states nothing, so any bytes will do.
pub fn encode(coding: &str, text: &str) -> Vec<u8> {
    match coding {
        "br" => format!("<brotli of {} bytes>", text.len()).into_bytes(),
        "zstd" => zstd::bulk::compress(text.as_bytes(), 3).expect("the text can be compressed"),
        _ => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(text.as_bytes()).expect("the text can be compressed");
            encoder.finish().expect("the text can be compressed")
        }
    }
}

fn site() -> (Folder, Server) {
    let folder = CODINGS.iter().fold(Folder::new().file("app.js", PLAIN), |folder, (coding, suffix)| {
        folder.file(&format!("app.js{suffix}"), encode(coding, PLAIN))
    });
    let folder = folder.at_rest("app.js.gz");
    let server = serve(&folder).start();
    (folder, server)
}

/// Returns the coding of a response, whose content has to be the one in that coding.
#[track_caller]
fn coding(response: &Response) -> String {
    let coding = response.all("Content-Encoding").first().map_or("identity", |coding| coding).to_owned();
    let content = if coding == "identity" { PLAIN.as_bytes().to_vec() } else { encode(&coding, PLAIN) };
    assert!(response.body == content, "another content\n{}", response.exchange);
    coding
}

#[track_caller]
fn get(client: &mut Client, target: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{BROWSER}\r\n")).response().status(200)
}

#[test]
fn weights_of_client_select_precompressed_file() {
    let (_folder, server) = site();
    for (fields, expected) in [
        ("", "identity"),
        ("Accept-Encoding:", "identity"),
        ("Accept-Encoding: identity", "identity"),
        ("Accept-Encoding: deflate", "identity"),
        ("Accept-Encoding: gzip", "gzip"),
        ("Accept-Encoding: x-gzip", "gzip"),
        ("Accept-Encoding: zstd", "zstd"),
        ("Accept-Encoding: br", "br"),
        ("Accept-Encoding: gzip, deflate, br, zstd", "br"),
        ("Accept-Encoding: gzip, zstd", "zstd"),
        ("Accept-Encoding: gzip;q=1.0, br;q=0.9, zstd;q=0.8", "gzip"),
        ("Accept-Encoding: br;q=0, gzip;q=0.5, zstd;q=0.501", "zstd"),
        ("Accept-Encoding: *", "br"),
        ("Accept-Encoding: br;q=0, *;q=0.1", "zstd"),
        ("Accept-Encoding: *;q=0", "identity"),
        ("Accept-Encoding: identity, gzip;q=0.5", "identity"),
        ("Accept-Encoding: identity;q=0.4, gzip;q=0.5", "gzip"),
        ("Accept-Encoding: identity;q=0, gzip;q=0.001", "gzip"),
        ("Accept-Encoding: identity;q=0", "identity"),
        ("Accept-Encoding: identity;q=0, *;q=0", "identity"),
        ("Accept-Encoding: GZIP;Q=0.3", "gzip"),
        ("Accept-Encoding: gzip;q=x, zstd", "zstd"),
        ("Accept-Encoding: gzip\r\nAccept-Encoding: br", "br"),
    ] {
        let lines = if fields.is_empty() { String::new() } else { format!("{fields}\r\n") };
        let response = server.get_with("/app.js", &lines).status(200).has("Vary", "Accept-Encoding");
        assert_eq!(coding(&response), expected, "{fields}\n{}", response.exchange);
    }
}

#[test]
fn best_existing_precompressed_file_is_sent() {
    let folder = Folder::new().file("a.css", PLAIN).file("a.css.gz", encode("gzip", PLAIN)).file("b.css", PLAIN);
    let folder = folder.at_rest("a.css.gz");
    let server = serve(&folder).start();
    for (fields, expected) in [
        (BROWSER, "gzip"),
        ("Accept-Encoding: br, gzip;q=0.1\r\n", "gzip"),
        ("Accept-Encoding: br, identity;q=0.5, gzip;q=0.1\r\n", "identity"),
        ("Accept-Encoding: br, zstd\r\n", "identity"),
    ] {
        assert_eq!(coding(&server.get_with("/a.css", fields).status(200)), expected, "{fields}");
        assert_eq!(coding(&server.get_with("/b.css", fields).status(200)), "identity", "{fields}");
    }
}

#[test]
fn representations_share_type_but_no_length_or_tag() {
    let (_folder, server) = site();
    let mut tags = Vec::new();
    for coding in ["identity", "br", "zstd", "gzip"] {
        let fields = format!("Accept-Encoding: {coding}\r\n");
        let response = server.get_with("/app.js", &fields).status(200);
        assert_eq!(self::coding(&response), coding);
        let tag = response.field("ETag").to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag} is the tag of another\n{}", response.exchange);
        let length = response.body.len().to_string();
        response.has("Content-Type", "text/javascript; charset=utf-8").has("Content-Length", &length);

        let request = format!("HEAD /app.js HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let head = server.connect().send(request).response_to_head().status(200);
        let head = head.has("ETag", &tag).has("Content-Length", &length).has("Vary", "Accept-Encoding");
        assert_eq!(head.all("Content-Encoding").first().map_or("identity", |name| name), coding);

        let unchanged = server.get_with("/app.js", &format!("{fields}If-None-Match: {tag}\r\n")).status(304);
        unchanged.has("ETag", &tag).has("Vary", "Accept-Encoding").lacks("Content-Encoding");
        server.get_with("/app.js", &format!("{fields}If-Match: {tag}\r\n")).status(200).has("ETag", &tag);
        for other in &tags {
            server.get_with("/app.js", &format!("{fields}If-None-Match: {other}\r\n")).status(200);
            server.get_with("/app.js", &format!("{fields}If-Match: {other}\r\n")).status(412);
        }
        tags.push(tag);
    }
}

#[test]
fn ranges_of_precompressed_file_need_its_tag() {
    let (_folder, server) = site();
    for coding in ["identity", "br", "zstd", "gzip"] {
        let get = |fields: &str| server.get_with("/app.js", &format!("Accept-Encoding: {coding}\r\n{fields}"));
        let whole = get("").status(200);
        let (tag, len) = (whole.field("ETag"), whole.body.len());
        let mut joined = Vec::new();
        for start in (0..len).step_by(3) {
            let part = get(&format!("Range: bytes={start}-{}\r\nIf-Range: {tag}\r\n", start + 2)).status(206);
            let part = part.has("ETag", tag).has("Vary", "Accept-Encoding");
            let part = part.has("Content-Range", &format!("bytes {start}-{}/{len}", (start + 2).min(len - 1)));
            assert_eq!(part.all("Content-Encoding").first().map_or("identity", |name| name), coding);
            joined.extend(part.body);
        }
        assert_eq!(joined, whole.body, "{coding}");
        get("Range: bytes=0-1\r\n").status(206).lacks("Content-Encoding").body(&PLAIN[..2]);
        let several = get(&format!("Range: bytes=0-0,-1\r\nIf-Range: {tag}\r\n"));
        let several = several.has("Vary", "Accept-Encoding").has("ETag", tag);
        if coding == "identity" {
            assert!(several.status(206).text().contains("Content-Type: text/javascript"));
        } else {
            // The coding would apply to the multipart framing, and the parts are not encoded.
            several.status(200).has("Content-Encoding", coding).lacks("Content-Range").body(&whole.body);
        }
        let none = get(&format!("Range: bytes={len}-\r\nIf-Range: {tag}\r\n")).status(416);
        none.has("Content-Range", &format!("bytes */{len}"));
    }
}

#[test]
fn precompressed_file_is_served_by_its_own_name() {
    let (_folder, server) = site();
    for (coding, suffix) in CODINGS {
        // In both orders: the fields of both roles are prewritten.
        for _ in 0..2 {
            let response = server.get_with(&format!("/app.js{suffix}"), BROWSER).status(200);
            let response = response.body(encode(coding, PLAIN));
            let media_type = response.field("Content-Type").to_owned();
            assert!(media_type.starts_with("application/"), "{media_type}");
            response.lacks("Content-Encoding").lacks("Vary");
            server.get_with("/app.js", BROWSER).status(200).has("Content-Encoding", "br");
        }
    }
}

#[test]
fn index_file_can_be_precompressed() {
    let folder = Folder::new().file("a/index.html", PLAIN).file("a/index.html.gz", encode("gzip", PLAIN));
    let folder = folder.at_rest("a/index.html.gz");
    let server = serve(&folder).start();
    let response = server.get_with("/a/", BROWSER).status(200).has("Content-Type", "text/html; charset=utf-8");
    assert_eq!(coding(&response), "gzip");
}

#[test]
fn compressed_media_type_does_not_vary() {
    let folder = Folder::new().file("a.png", PLAIN).file("a.png.gz", encode("gzip", PLAIN)).file("a.bin", PLAIN);
    let folder = folder.at_rest("a.png.gz");
    let server = serve(&folder).start();
    server.get_with("/a.png", BROWSER).status(200).body(PLAIN).lacks("Vary").lacks("Content-Encoding");
    server.get_with("/a.bin", BROWSER).status(200).body(PLAIN).has("Vary", "Accept-Encoding");
}

#[test]
fn precompressed_files_can_be_disabled() {
    let (folder, _) = site();
    for server in
        [serve(&folder).arg("--no-precompressed").start(), serve(&folder).env("SERVE_NO_PRECOMPRESSED", "1").start()]
    {
        let response = server.get_with("/app.js", BROWSER).status(200).lacks("Content-Encoding");
        assert_eq!(coding(&response), "identity");
    }
}

#[test]
fn precompressed_file_is_used_once_at_rest() {
    let folder = Folder::new().file("a.js", PLAIN);
    let server = serve(&folder).args(&["--compress", "off"]).start();
    let mut client = server.connect();
    for suffix in [".gz", ".br"] {
        let (name, expected) = (format!("a.js{suffix}"), if suffix == ".gz" { "gzip" } else { "br" });
        let before = coding(&get(&mut client, "/a.js"));
        folder.write(&name, encode(expected, PLAIN));
        // Two seconds have not passed, unless the machine stood still.
        let first = coding(&get(&mut client, "/a.js"));
        let changed = fs::metadata(folder.at(&name)).and_then(|meta| meta.modified()).expect("the file exists");
        assert!(first == before || changed.elapsed().is_ok_and(|age| age.as_secs() >= 2), "{first} after {before}");
        until("the precompressed file is at rest", || coding(&get(&mut client, "/a.js")) == expected);
    }
    assert!(!server.diagnostics().iter().any(|line| line.contains("is not used")), "waiting is not worth a warning");
}

#[test]
fn older_precompressed_file_is_unused_with_one_warning() {
    let folder = Folder::new().file("a.js", PLAIN).file("a.js.br", "old").file("a.js.gz", encode("gzip", PLAIN));
    let folder = folder.file("b.js", PLAIN).file("b.js.br", "old");
    folder.touch("a.js.br", 3601);
    folder.touch("b.js.br", 4000);
    let folder = folder.at_rest("b.js.br");
    let server = serve(&folder).args(&["--compress", "off"]).start();
    // The warning comes with the first response, whatever its status.
    server.get_with("/a.js", &format!("{BROWSER}If-Match: \"x\"\r\n")).status(412);
    for _ in 0..5 {
        assert_eq!(coding(&server.get_with("/a.js", BROWSER).status(200)), "gzip");
    }
    let is_warning = |line: &str| line.contains("WARN") && line.contains("a.js.br is not used: it is older");
    server.said(is_warning);
    // Another old version gets another warning.
    folder.write("a.js.br", "still old");
    folder.touch("a.js.br", 7200);
    let folder = folder.at_rest("a.js.br");
    assert_eq!(coding(&server.get_with("/a.js", BROWSER).status(200)), "gzip");
    server.get_with("/b.js", BROWSER).status(200).body(PLAIN);
    server.said(|line| line.contains("b.js.br is not used"));
    let warnings = server.diagnostics().into_iter().filter(|line| line.contains("is not used")).collect::<Vec<_>>();
    assert_eq!(warnings.iter().filter(|line| is_warning(line)).count(), 2, "{warnings:#?}");
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
    drop(folder);
}

#[test]
fn precompressed_file_of_other_length_or_format_is_unused() {
    let other = "another text";
    let cases = [
        ("a.js.gz", encode("gzip", other), "gzip"),
        ("b.js.zst", encode("zstd", other), "zstd"),
        ("c.js.gz", encode("zstd", PLAIN), "gzip"),
        ("d.js.zst", encode("gzip", PLAIN), "zstd"),
        ("e.js.gz", PLAIN.as_bytes().to_vec(), "gzip"),
        ("f.js.gz", Vec::new(), "gzip"),
        ("g.js.zst", vec![0x28, 0xb5, 0x2f, 0xfd], "zstd"),
        // Longer than what is read into memory.
        ("h.js.gz", encode("gzip", PLAIN).into_iter().chain(vec![0; 100_000]).collect(), "gzip"),
    ];
    let folder = cases
        .iter()
        .fold(Folder::new(), |folder, (name, content, _)| folder.file(&name[..4], PLAIN).file(name, content));
    let folder = folder.at_rest("h.js.gz");
    let server = serve(&folder).args(&["--compress", "off"]).start();
    for (name, _, accepted) in &cases {
        for _ in 0..2 {
            let response = server.get_with(&format!("/{}", &name[..4]), &format!("Accept-Encoding: {accepted}\r\n"));
            response.status(200).body(PLAIN).lacks("Content-Encoding").has("Vary", "Accept-Encoding");
        }
        server.said(|line| line.contains(&format!("{name} is not used: it has another length or format")));
    }
}

#[test]
fn unusable_sibling_is_passed_over() {
    let outside = Folder::new().file("outside", "secret");
    let folder = Folder::new().file("a.js", PLAIN).dir("a.js.br");
    let folder = folder.link("a.js.zst", outside.at("outside")).link("a.js.gz", "nowhere");
    let server = serve(&folder).args(&["--compress", "off"]).start();
    let mut client = server.connect();
    for _ in 0..3 {
        assert_eq!(coding(&get(&mut client, "/a.js")), "identity");
    }
    // A link's target can appear without a change of the directory.
    folder.write("nowhere", encode("gzip", PLAIN));
    until("the link's target is at rest", || coding(&get(&mut client, "/a.js")) == "gzip");
    fs::set_permissions(folder.at("nowhere"), fs::Permissions::from_mode(0o000)).expect("the mode can be set");
    let response = get(&mut client, "/a.js");
    assert!(["identity", "gzip"].contains(&coding(&response).as_str()), "root may read it, others may not");
}

#[test]
fn change_of_precompressed_file_shows_in_next_response() {
    thread::scope(|scope| {
        // One that is cached in memory, and one of which only metadata is cached.
        for plain in [PLAIN.to_owned(), PLAIN.repeat(10_000)] {
            for name in ["dir/a.js", "b.js"] {
                let plain = plain.clone();
                scope.spawn(move || change_precompressed(&plain, name));
            }
        }
    });
}

fn change_precompressed(plain: &str, name: &str) {
    let folder = Folder::new().file(name, plain);
    let server = serve(&folder).args(&["--compress", "off"]).start();
    let mut client = server.connect();
    let (target, br, gz) = (format!("/{name}"), format!("{name}.br"), format!("{name}.gz"));
    get(&mut client, &target).lacks("Content-Encoding").body(plain);
    folder.write(&gz, encode("gzip", plain));
    folder.replace(&br, "<one>");
    for (content, next) in [("<one>", Some("<two>")), ("<two>", None)] {
        // Until it is at rest another one is sent, and never its former content.
        until("the brotli file is used", || {
            let response = get(&mut client, &target);
            let is_used = response.all("Content-Encoding") == ["br"];
            assert!(!is_used || response.body == content.as_bytes(), "stale\n{}", response.exchange);
            is_used
        });
        next.inspect(|next| folder.write(&br, next));
    }
    fs::remove_file(folder.at(&br)).expect("the file can be removed");
    get(&mut client, &target).has("Content-Encoding", "gzip");
    fs::remove_file(folder.at(&gz)).expect("the file can be removed");
    get(&mut client, &target).lacks("Content-Encoding").body(plain);
}

#[test]
fn precompressed_file_in_replaced_directory_is_found() {
    let folder = Folder::new().file("one/a.js", PLAIN).file("two/a.js", PLAIN);
    let folder = folder.file("two/a.js.gz", encode("gzip", PLAIN)).link("now", "one");
    // The same file in both, so that only the directories differ.
    fs::remove_file(folder.at("two/a.js")).expect("the file can be removed");
    fs::hard_link(folder.at("one/a.js"), folder.at("two/a.js")).expect("the link can be made");
    let folder = folder.at_rest("two/a.js.gz");
    let server = serve(&folder).start();
    let mut client = server.connect();
    for round in 0..20 {
        for (place, expected) in [("one", "identity"), ("two", "gzip")] {
            symlink(place, folder.at("next")).expect("the link can be made");
            fs::rename(folder.at("next"), folder.at("now")).expect("the link can be renamed");
            assert_eq!(coding(&get(&mut client, "/now/a.js")), expected, "round {round}");
        }
    }
}
