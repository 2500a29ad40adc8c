//! Neighbours with the content of a file in a coding, such as `app.js.br` beside `app.js`: which is sent, and that it is a
//! representation of its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::{Folder, Response, Server, serve};

const BROWSER: &str = "Accept-Encoding: gzip, deflate, br, zstd\r\n";

/// What stands in the file and its neighbours; only their length and their being different matter here.
const CONTENTS: [(&str, &str, &str); 3] =
    [("br", ".br", "<brotli>"), ("zstd", ".zst", "<zstandard>"), ("gzip", ".gz", "<gnu zip>")];

fn site() -> (Folder, Server) {
    let folder = CONTENTS.iter().fold(Folder::new().file("app.js", "plain text"), |folder, (_, ending, content)| {
        folder.file(&format!("app.js{ending}"), content)
    });
    let server = serve(&folder).start();
    (folder, server)
}

/// The coding of an answer, and that its content is what belongs to that.
#[track_caller]
fn coding(response: &Response) -> String {
    let coding = response.all("Content-Encoding").first().map_or("identity", |coding| coding).to_owned();
    let content = CONTENTS.iter().find(|(name, ..)| *name == coding).map_or("plain text", |(_, _, content)| content);
    assert_eq!(response.text(), content, "another content\n{}", response.exchange);
    coding
}

#[test]
fn the_weights_of_the_client_choose_the_neighbour() {
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
fn the_best_one_that_is_there_is_sent() {
    let folder = Folder::new().file("a.css", "plain text").file("a.css.gz", "<gnu zip>").file("b.css", "plain text");
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
fn each_representation_has_a_length_and_a_tag_of_its_own_and_the_type_of_the_file() {
    let (_folder, server) = site();
    let mut tags = Vec::new();
    for coding in ["identity", "br", "zstd", "gzip"] {
        let fields = format!("Accept-Encoding: {coding}\r\n");
        let response = server.get_with("/app.js", &fields).status(200);
        assert_eq!(self::coding(&response), coding);
        let tag = response.field("ETag").to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag} is none of its own\n{}", response.exchange);
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
            server.get_with("/app.js", &format!("{fields}Range: bytes=1-2\r\nIf-Range: {other}\r\n")).status(200);
        }
        tags.push(tag);
    }
}

#[test]
fn ranges_are_those_of_the_chosen_representation() {
    let (_folder, server) = site();
    for coding in ["identity", "br", "zstd", "gzip"] {
        let ask = |fields: &str| server.get_with("/app.js", &format!("Accept-Encoding: {coding}\r\n{fields}"));
        let whole = ask("").status(200);
        let (tag, len) = (whole.field("ETag"), whole.body.len());
        let mut joined = Vec::new();
        for start in (0..len).step_by(3) {
            let part = ask(&format!("Range: bytes={start}-{}\r\nIf-Range: {tag}\r\n", start + 2)).status(206);
            let part = part.has("ETag", tag).has("Vary", "Accept-Encoding");
            let part = part.has("Content-Range", &format!("bytes {start}-{}/{len}", (start + 2).min(len - 1)));
            assert_eq!(part.all("Content-Encoding").first().map_or("identity", |name| name), coding);
            joined.extend(part.body);
        }
        assert_eq!(joined, whole.body, "{coding}");
        let several = ask("Range: bytes=0-0,-1\r\n").has("Vary", "Accept-Encoding").has("ETag", tag);
        if coding == "identity" {
            assert!(several.status(206).text().contains("Content-Type: text/javascript"));
        } else {
            // The fields of such an answer would say that all of it is coded, and its parts are not.
            let several = several.status(200).has("Content-Encoding", coding).lacks("Content-Range");
            several.body(&whole.body);
        }
        ask(&format!("Range: bytes={len}-\r\n")).status(416).has("Content-Range", &format!("bytes */{len}"));
    }
}

#[test]
fn a_neighbour_of_its_own_name_is_a_file_like_any_other() {
    let (_folder, server) = site();
    for (_, ending, content) in CONTENTS {
        // In both orders, since the fields of both kinds of answers are remembered.
        for _ in 0..2 {
            let response = server.get_with(&format!("/app.js{ending}"), BROWSER).status(200).body(content);
            let media_type = response.field("Content-Type").to_owned();
            assert!(media_type.starts_with("application/"), "{media_type}");
            response.lacks("Content-Encoding").lacks("Vary");
            server.get_with("/app.js", BROWSER).status(200).has("Content-Encoding", "br");
        }
    }
}

#[test]
fn an_index_file_has_neighbours_too() {
    let folder = Folder::new().file("a/index.html", "plain text").file("a/index.html.gz", "<gnu zip>");
    let server = serve(&folder).start();
    let response = server.get_with("/a/", BROWSER).status(200).has("Content-Type", "text/html; charset=utf-8");
    assert_eq!(coding(&response), "gzip");
}

#[test]
fn what_is_compressed_by_itself_does_not_vary() {
    let folder = Folder::new().file("a.png", "picture").file("a.png.gz", "<gnu zip>").file("a.bin", "plain text");
    let server = serve(&folder).start();
    server.get_with("/a.png", BROWSER).status(200).body("picture").lacks("Vary").lacks("Content-Encoding");
    server.get_with("/a.bin", BROWSER).status(200).body("plain text").has("Vary", "Accept-Encoding");
}

#[test]
fn neighbours_can_be_left_alone() {
    let (folder, _) = site();
    for server in
        [serve(&folder).arg("--no-precompressed").start(), serve(&folder).env("SERVE_NO_PRECOMPRESSED", "1").start()]
    {
        let response = server.get_with("/app.js", BROWSER).status(200).lacks("Content-Encoding");
        assert_eq!(coding(&response), "identity");
    }
}

#[test]
fn an_older_neighbour_is_not_used_and_one_warning_says_so() {
    let folder = Folder::new().file("a.js", "plain text").file("a.js.br", "old").file("a.js.gz", "<gnu zip>");
    folder.touch("a.js.br", 3601);
    let server = serve(&folder).start();
    // Whatever the answer is that the warning comes with.
    server.get_with("/a.js", &format!("{BROWSER}If-Match: \"x\"\r\n")).status(412);
    for _ in 0..5 {
        assert_eq!(coding(&server.get_with("/a.js", BROWSER).status(200)), "gzip");
    }
    let is_warning = |line: &str| line.contains("WARN") && line.contains("a.js.br is not used: it is older");
    server.said(is_warning);
    // Another old version is worth another warning, and then it is the last line.
    folder.write("a.js.br", "still old");
    folder.touch("a.js.br", 3602);
    assert_eq!(coding(&server.get_with("/a.js", BROWSER).status(200)), "gzip");
    let folder = folder.file("b.js", "plain text").file("b.js.br", "old");
    folder.touch("b.js.br", 4000);
    server.get_with("/b.js", BROWSER).status(200).body("plain text");
    server.said(|line| line.contains("b.js.br is not used"));
    let warnings = server.diagnostics().into_iter().filter(|line| line.contains("is not used")).collect::<Vec<_>>();
    assert_eq!(warnings.iter().filter(|line| is_warning(line)).count(), 2, "{warnings:#?}");
    assert_eq!(warnings.len(), 3, "{warnings:#?}");
}

#[test]
fn what_cannot_be_used_is_passed_over() {
    let outside = Folder::new().file("outside", "secret");
    let folder = Folder::new().file("a.js", "plain text").dir("a.js.br");
    let folder = folder.link("a.js.zst", outside.at("outside")).link("a.js.gz", "nowhere");
    let server = serve(&folder).start();
    let mut client = server.connect();
    let mut ask =
        |target: &str| client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{BROWSER}\r\n")).response().status(200);
    for _ in 0..3 {
        assert_eq!(coding(&ask("/a.js")), "identity");
    }
    // What a link leads to may come without the directory changing.
    folder.write("nowhere", "<gnu zip>");
    assert_eq!(coding(&ask("/a.js")), "gzip");
    fs::set_permissions(folder.at("nowhere"), fs::Permissions::from_mode(0o000)).expect("the mode can be set");
    let response = ask("/a.js");
    assert!(["identity", "gzip"].contains(&coding(&response).as_str()), "root may read it, others may not");
}

#[test]
fn whatever_happens_to_a_neighbour_shows_in_the_next_answer() {
    // One that is kept in memory, and one of which only what is known is kept.
    for content in ["plain text".to_owned(), "plain text ".repeat(10_000)] {
        whatever_happens_to_a_neighbour_of(&content);
    }
}

fn whatever_happens_to_a_neighbour_of(plain: &str) {
    let folder = Folder::new().file("dir/a.js", plain);
    // An old directory is remembered as it is, and so is the one of the root.
    let server = serve(&folder).args(&["--compress", "off"]).start();
    let mut client = server.connect();
    let mut ask =
        |target: &str| client.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n{BROWSER}\r\n")).response().status(200);
    for name in ["dir/a.js", "b.js"] {
        folder.write(name, plain);
        folder.touch(name, 3600);
        let target = format!("/{name}");
        for round in 0..20 {
            ask(&target).lacks("Content-Encoding").body(plain);
            let content = format!("<brotli {round}>");
            folder.replace(&format!("{name}.br"), &content);
            ask(&target).has("Content-Encoding", "br").body(&content);
            let content = format!("<brotli {round} again>");
            folder.replace(&format!("{name}.br"), &content);
            ask(&target).has("Content-Encoding", "br").body(&content);
            let content = format!("<brotli {round} in place>");
            folder.write(&format!("{name}.br"), &content);
            ask(&target).has("Content-Encoding", "br").body(&content);
            folder.replace(&format!("{name}.gz"), "<gnu zip>");
            fs::remove_file(folder.at(&format!("{name}.br"))).expect("the file can be removed");
            assert_eq!(coding(&ask(&target)), "gzip");
            fs::remove_file(folder.at(&format!("{name}.gz"))).expect("the file can be removed");
        }
    }
}

#[test]
fn a_neighbour_in_another_directory_that_took_the_place_is_found() {
    let folder = Folder::new().file("one/a.js", "plain text").file("two/a.js", "plain text");
    let folder = folder.file("two/a.js.gz", "<gnu zip>").link("now", "one");
    // The same file in both, so that nothing tells them apart but the directories.
    fs::remove_file(folder.at("two/a.js")).expect("the file can be removed");
    fs::hard_link(folder.at("one/a.js"), folder.at("two/a.js")).expect("the link can be made");
    let server = serve(&folder).start();
    let mut client = server.connect();
    for round in 0..20 {
        for (place, expected) in [("one", "identity"), ("two", "gzip")] {
            symlink(place, folder.at("next")).expect("the link can be made");
            fs::rename(folder.at("next"), folder.at("now")).expect("the link can be renamed");
            client.send(format!("GET /now/a.js HTTP/1.1\r\nHost: a\r\n{BROWSER}\r\n"));
            assert_eq!(coding(&client.response().status(200)), expected, "round {round}");
        }
    }
}
