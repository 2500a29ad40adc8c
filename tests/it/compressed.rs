//! Compression: for the cache, or while sending if a text is too long for that.

use std::fs;
use std::io::{ErrorKind, Read};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::precompressed::encode;
use crate::support::{Client, Folder, Response, Server, full_or_twentieth, serve, until};

const CODINGS: [&str; 3] = ["br", "zstd", "gzip"];

/// Longer than texts compressed for the cache.
const LARGE: usize = 5_000_000;

/// The limit for events that wait for compression, which is slow on a busy machine.
const LIMIT: Duration = Duration::from_secs(180);

/// The texts that concurrent clients request.
const TEXTS: usize = 20;

/// Longer than the buffers of a connection.
const NOISE: usize = 10_000_000;

/// Text with some repetition, different for each seed.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let word = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("<li>item {seed} {}</li>\n", (state >> 33) % 5000).into_bytes()
    };
    std::iter::repeat_with(word).flatten().take(len).collect()
}

/// Incompressible bytes.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    };
    std::iter::repeat_with(byte).take(len).collect()
}

/// Decodes the content of a response.
#[track_caller]
fn decoded(response: &Response) -> Vec<u8> {
    let (bytes, mut content) = (&response.body[..], Vec::new());
    let read = match response.all("Content-Encoding")[..] {
        [] => return response.body.clone(),
        ["br"] => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut content),
        ["zstd"] => zstd::Decoder::new(bytes).and_then(|mut decoder| decoder.read_to_end(&mut content)),
        ["gzip"] => flate2::read::GzDecoder::new(bytes).read_to_end(&mut content),
        ref other => panic!("codings: {other:?}\n{}", response.exchange),
    };
    read.unwrap_or_else(|error| panic!("the content cannot be decoded: {error}\n{}", response.exchange));
    content
}

#[track_caller]
fn get(client: &mut Client, target: &str, fields: &str) -> Response {
    client.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")).response()
}

/// Requests until the response is in the coding: all permits may be taken.
#[track_caller]
fn coded(server: &Server, target: &str, coding: &str) -> Response {
    let (mut client, since) = (server.connect(), Instant::now());
    loop {
        let response = get(&mut client, target, &format!("Accept-Encoding: {coding}\r\n")).status(200);
        if !response.all("Content-Encoding").is_empty() {
            return response.has("Content-Encoding", coding);
        }
        assert!(since.elapsed() < LIMIT, "never compressed\n{}", response.exchange);
    }
}

#[test]
fn text_is_compressed_once_for_the_cache() {
    for len in [1025, 20_000, 300_000] {
        let content = text(1, len);
        let folder = Folder::new().file("a.html", &content);
        let server = serve(&folder).start();
        let plain = server.get("/a.html").status(200).body(&content).has("Vary", "Accept-Encoding");
        let mut tags = vec![plain.field("ETag").to_owned()];
        for coding in CODINGS {
            let first = coded(&server, "/a.html", coding);
            assert_eq!(decoded(&first), content, "{coding}");
            assert!(first.body.len() < len, "{coding}: {}", first.body.len());
            let length = first.body.len().to_string();
            let first =
                first.has("Content-Length", &length).has("Vary", "Accept-Encoding").has("Accept-Ranges", "bytes");
            let first = first
                .has("Content-Type", "text/html; charset=utf-8")
                .has("Last-Modified", plain.field("Last-Modified"));
            let tag = first.field("ETag").to_owned();
            assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag} is the tag of another");

            let fields = format!("Accept-Encoding: {coding}\r\n");
            let again = server.get_with("/a.html", &fields).status(200).has("ETag", &tag);
            assert_eq!(again.body, first.body, "{coding}");
            let head = format!("HEAD /a.html HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
            let head = server.connect().send(head).response_to_head().status(200).has("ETag", &tag);
            head.has("Content-Length", &length).has("Content-Encoding", coding);
            let unchanged = server.get_with("/a.html", &format!("{fields}If-None-Match: {tag}\r\n")).status(304);
            unchanged.has("ETag", &tag).has("Vary", "Accept-Encoding");
            let mut joined = Vec::new();
            for start in (0..first.body.len()).step_by(first.body.len() / 3 + 1) {
                let range =
                    format!("{fields}If-Range: {tag}\r\nRange: bytes={start}-{}\r\n", start + first.body.len() / 3);
                let part =
                    server.get_with("/a.html", &range).status(206).has("Content-Encoding", coding).has("ETag", &tag);
                joined.extend(part.body);
            }
            assert_eq!(joined, first.body, "{coding}");
            tags.push(tag);
        }
    }
}

#[test]
fn incompressible_content_is_sent_as_identity() {
    let long = text(1, 30_000);
    let zipped = encode("gzip", &String::from_utf8_lossy(&long));
    let folder = Folder::new().file("short.html", &long[..1024]).file("a.png", &long).file("a.bin", &long);
    let folder = folder.file("noise.txt", noise(30_000)).file("a.txt", &long).file("a.txt.gz", &zipped);
    let folder = folder.at_rest("a.txt.gz");
    let server = serve(&folder).start();
    let mut client = server.connect();
    for _ in 0..2 {
        for (target, content) in
            [("/short.html", &long[..1024]), ("/a.png", &long), ("/a.bin", &long), ("/noise.txt", &noise(30_000))]
        {
            let response = get(&mut client, target, "Accept-Encoding: gzip, br\r\n").status(200).body(content);
            assert_eq!(response.all("Vary").len(), usize::from(target != "/a.png"), "{}", response.exchange);
            response.lacks("Content-Encoding");
        }
        // A precompressed file goes before compression in a preferred coding.
        get(&mut client, "/a.txt", "Accept-Encoding: gzip, br\r\n").has("Content-Encoding", "gzip").body(&zipped);
    }
    coded(&server, "/a.txt", "br");
}

#[test]
fn length_to_compress_above_is_configurable() {
    let folder = Folder::new().file("a.css", text(1, 5000)).file("b.css", text(1, 5001));
    let server = serve(&folder).args(&["--compress", "5000"]).start();
    server.get_with("/a.css", "Accept-Encoding: gzip\r\n").status(200).lacks("Content-Encoding");
    coded(&server, "/b.css", "gzip");
    let off = serve(&folder).args(&["--compress", "off"]).start();
    off.get_with("/b.css", "Accept-Encoding: gzip\r\n")
        .status(200)
        .lacks("Content-Encoding")
        .has("Vary", "Accept-Encoding");
    let neither = serve(&folder).args(&["--compress", "off", "--no-precompressed"]).start();
    neither.get_with("/b.css", "Accept-Encoding: gzip\r\n").status(200).lacks("Content-Encoding").lacks("Vary");
    coded(&serve(&folder).env("SERVE_COMPRESS", "0").arg("--no-precompressed").start(), "/a.css", "gzip");
}

#[test]
fn change_shows_in_next_response_of_each_coding() {
    for len in [2000, 100_000] {
        let folder = Folder::new();
        folder.write("a.js", text(0, len));
        let server = serve(&folder).start();
        for number in 1..20 {
            let content = text(number, len);
            match number % 2 {
                0 => folder.replace("a.js", &content),
                _ => folder.write("a.js", &content),
            }
            for coding in CODINGS {
                let fields = format!("Accept-Encoding: {coding}\r\n");
                assert_eq!(decoded(&server.get_with("/a.js", &fields).status(200)), content, "{number} {coding}");
                assert_eq!(decoded(&coded(&server, "/a.js", coding)), content, "{number} {coding}");
            }
        }
    }
}

#[test]
fn long_text_is_compressed_while_sent() {
    let content = text(1, LARGE);
    let folder = Folder::new().file("a.json", &content);
    let server = serve(&folder).start();
    let plain = server.get("/a.json").status(200).body(&content).has("Vary", "Accept-Encoding");
    for coding in CODINGS {
        let response = coded(&server, "/a.json", coding);
        assert_eq!(decoded(&response), content, "{coding}");
        assert!(response.body.len() < LARGE / 2);
        let response =
            response.has("Transfer-Encoding", "chunked").has("Vary", "Accept-Encoding").lacks("Accept-Ranges");
        let tag = response.lacks("Content-Length").field("ETag").to_owned();
        assert!(tag.starts_with("W/\"") && !tag.ends_with(plain.field("ETag")), "{tag}");

        let mut client = server.connect();
        let fields = format!("Accept-Encoding: {coding}\r\n");
        let head = format!("HEAD /a.json HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let head = client.send(head).response_to_head().status(200).has("ETag", &tag).has("Content-Encoding", coding);
        head.has("Transfer-Encoding", "chunked").lacks("Content-Length");
        let unchanged = get(&mut client, "/a.json", &format!("{fields}If-None-Match: {tag}\r\n")).status(304);
        unchanged.has("ETag", &tag).has("Vary", "Accept-Encoding").lacks("Transfer-Encoding");
        get(&mut client, "/a.json", &format!("{fields}If-Match: {tag}\r\n")).status(412);
        let part = get(&mut client, "/a.json", &format!("{fields}Range: bytes=5-9\r\n")).status(206);
        part.lacks("Content-Encoding").body(&content[5..10]);
        client.send(format!("GET /a.json HTTP/1.0\r\nConnection: keep-alive\r\n{fields}\r\n"));
        let old = client.response().status(200).body(&content).lacks("Content-Encoding").lacks("Transfer-Encoding");
        old.has("Vary", "Accept-Encoding").has("ETag", plain.field("ETag"));
        client.still_open();
    }
}

/// Even if length and mtime are the same.
#[test]
fn replaced_text_has_another_weak_tag() {
    for (len, args) in [(LARGE, &[][..]), (3000, &["--cache-memory", "0"])] {
        let folder = Folder::new();
        let replace = |seed| {
            folder.write("new", text(seed, len));
            folder.set_modified_secs("new", 1_000_000_000);
            fs::rename(folder.at("new"), folder.at("a.txt")).expect("the file can be renamed");
        };
        replace(1);
        let server = serve(&folder).args(args).start();
        let fields = |tag: &str| format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n");
        let first = server.get_with("/a.txt", &fields("\"none\"")).status(200).has("Transfer-Encoding", "chunked");
        server.get_with("/a.txt", &fields(first.field("ETag"))).status(304);
        replace(2);
        let second = server.get_with("/a.txt", &fields(first.field("ETag"))).status(200);
        assert_eq!(decoded(&second), text(2, len));
    }
}

#[test]
fn without_cache_text_is_compressed_while_sent() {
    let content = text(1, 3000);
    let folder = Folder::new().file("a.html", &content);
    let server = serve(&folder).args(&["--cache-memory", "0"]).start();
    for coding in CODINGS {
        let response = coded(&server, "/a.html", coding).has("Transfer-Encoding", "chunked");
        assert_eq!(decoded(&response), content);
    }
}

/// Begins to read a response slowly; returns its first bytes.
fn begun(server: &Server, fields: &str) -> (Client, Vec<u8>) {
    let mut client = server.connect();
    set_socket_recv_buffer_size(client.stream(), 65_536).expect("the option can be set");
    client.send(format!("GET /noise.txt HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
    let mut bytes = vec![0; 2000];
    client.stream().read_exact(&mut bytes).expect("the response begins");
    (client, bytes)
}

#[test]
fn stream_of_changing_file_is_cut_off() {
    for change in ["nothing", "rename", "rewrite", "cut"] {
        let folder = Folder::new().file("noise.txt", noise(NOISE));
        let server = serve(&folder).start();
        let (client, bytes) = begun(&server, "Accept-Encoding: gzip\r\nConnection: close\r\n");
        assert!(String::from_utf8_lossy(&bytes).contains("Transfer-Encoding: chunked"));
        match change {
            "rename" => folder.replace("noise.txt", "other"),
            "rewrite" => folder.write("noise.txt", &noise(NOISE + 1)[1..]),
            "cut" => folder.write("noise.txt", "other"),
            _ => {}
        }
        let mut end = Vec::new();
        if let Err(error) = client.stream().read_to_end(&mut end) {
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        }
        let is_whole = end.ends_with(b"\r\n0\r\n\r\n");
        assert_eq!(is_whole, ["nothing", "rename"].contains(&change), "{change}: {} bytes", end.len());
    }
}

#[test]
fn streams_beyond_permits_are_sent_as_identity() {
    let content = noise(NOISE);
    let folder = Folder::new().file("noise.txt", &content).file("a.html", text(1, 100_000));
    let server = serve(&folder).start();
    let most = thread::available_parallelism().expect("there are processors").get().div_ceil(2);
    let is_coded = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains("Content-Encoding: gzip");
    let clients: Vec<_> = (0..most).map(|_| begun(&server, "Accept-Encoding: gzip\r\n")).collect();
    assert!(clients.iter().all(|(_, bytes)| is_coded(bytes)), "{most} streams are not too many");
    // A 304 needs no permit.
    let (_, bytes) = &clients[0];
    let head = String::from_utf8_lossy(bytes).into_owned();
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).expect("a stream has a weak tag");
    let fields = format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n");
    server.get_with("/noise.txt", &fields).status(304).has("ETag", tag).has("Vary", "Accept-Encoding");
    let (last, bytes) = begun(&server, "Accept-Encoding: gzip\r\nConnection: close\r\n");
    let head = String::from_utf8_lossy(&bytes).into_owned();
    assert!(head.contains(&format!("Content-Length: {NOISE}")) && head.contains("Vary: Accept-Encoding"), "{head}");
    let mut rest = Vec::new();
    last.stream().take(2 * NOISE as u64).read_to_end(&mut rest).expect("the response is complete");
    assert!(content.ends_with(&rest));
    // Slow readers of long texts do not keep others from being compressed for the cache.
    coded(&server, "/a.html", "gzip");
    drop(clients);
    coded(&server, "/noise.txt", "zstd");
}

#[test]
fn concurrent_compression_corrupts_nothing() {
    let texts: Vec<_> = (0..TEXTS).map(|number| text(number as u64, 50_000)).collect();
    let folder = Folder::new();
    texts.iter().enumerate().for_each(|(number, text)| folder.write(&format!("{number}.css"), text));
    let server = serve(&folder).start();
    let (coded, since, wanted) = (AtomicUsize::new(0), Instant::now(), full_or_twentieth(300));
    thread::scope(|scope| {
        for first in 0..8 {
            let (texts, server, coded) = (&texts, &server, &coded);
            scope.spawn(move || {
                let mut client = server.connect();
                for round in (0..).take_while(|_| coded.load(Ordering::Relaxed) < wanted) {
                    assert!(since.elapsed() < LIMIT, "too few responses are compressed: {coded:?}");
                    let (at, coding) = ((first + round) % TEXTS, CODINGS[(first + round) % 3]);
                    let response = get(&mut client, &format!("/{at}.css"), &format!("Accept-Encoding: {coding}\r\n"));
                    let response = response.status(200).has("Vary", "Accept-Encoding");
                    assert_eq!(decoded(&response), texts[at], "{}", response.exchange);
                    coded.fetch_add(response.all("Content-Encoding").len(), Ordering::Relaxed);
                }
            });
        }
    });
}

#[test]
#[ignore = "needs curl"]
fn curl_decodes_every_coding() {
    let (long, large) = (text(1, 30_000), text(2, LARGE));
    let folder = Folder::new().file("a.js", &long).file("large.js", &large);
    let server = serve(&folder).start();
    for coding in ["", "br", "zstd", "gzip"] {
        for (name, content) in [("a.js", &long), ("large.js", &large)] {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "--fail", "--compressed", &format!("http://{}/{name}", server.addr)]);
            if !coding.is_empty() {
                curl.args(["-H", &format!("Accept-Encoding: {coding}")]);
            }
            let output = curl.output().expect("curl runs");
            assert!(output.status.success() && output.stdout == *content, "{coding} {name}: {:?}", output.stderr);
        }
    }
    server.logged(|line| line.contains("GET /a.js") && !line.ends_with(" 30000"));
}

#[test]
#[ignore = "needs curl, gzip, zstd and brotli"]
fn programs_of_each_coding_are_interoperable() {
    let content = text(1, 100_000);
    let folder = Folder::new().file("a.js", &content);
    let server = serve(&folder).start();
    for (coding, program, suffix) in [("gzip", "gzip", "gz"), ("zstd", "zstd", "zst"), ("br", "brotli", "br")] {
        let name = format!("got.{suffix}");
        fs::write(folder.at(&name), coded(&server, "/a.js", coding).body).expect("the file can be written");
        let output = Command::new(program).arg("-dc").arg(folder.at(&name)).output().expect("the program runs");
        assert!(output.status.success() && output.stdout == content, "{program}: {output:?}");
        let made = Command::new(program).arg("-k").arg(folder.at("a.js")).output().expect("the program runs");
        assert!(made.status.success(), "{program}: {made:?}");
        let precompressed = fs::read(folder.at(&format!("a.js.{suffix}"))).expect("the file exists");
        until("the precompressed file is at rest", || {
            let response = server.get_with("/a.js", &format!("Accept-Encoding: {coding}\r\n")).status(200);
            assert_eq!(decoded(&response), content, "{program}");
            response.body == precompressed
        });
    }
    assert!(!server.diagnostics().iter().any(|line| line.contains("is not used")), "each can be trusted");
}
