//! Real programs as clients over TLS: curl, openssl and a browser; and keys of every kind that openssl makes.

use std::fs;
use std::process::Command;

use crate::support::{Folder, Server, Starter, output, program, serve, until};
use crate::tls::large;

/// The ways in which openssl writes a key: of which kind, in which form.
const KINDS: [(&str, &str); 5] = [
    ("rsa", "openssl genrsa -traditional -out a.key 2048"),
    ("rsa in PKCS#8", "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out a.key"),
    ("P-256", "openssl ecparam -name prime256v1 -genkey -out a.key"),
    ("P-384 in PKCS#8", "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out a.key"),
    ("Ed25519", "openssl genpkey -algorithm ED25519 -out a.key"),
];

fn site() -> Folder {
    Folder::new().file("a.txt", "0123456789")
}

/// A key made by this command, an authority, and a chain that leads from the one to the other.
fn keys(make: &str) -> Folder {
    let folder = Folder::new();
    let authority = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
        -days 2 -subj /CN=authority";
    let request = "openssl req -new -key a.key -subj /CN=localhost -addext subjectAltName=DNS:localhost -out a.csr";
    let sign = "openssl x509 -req -in a.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -copy_extensions copy \
        -out own.pem";
    for command in [authority, make, request, sign] {
        let mut words = command.split_whitespace();
        let mut program = program(words.next().expect("it names a program"), folder.path());
        output(program.args(words).current_dir(folder.path()));
    }
    let chain = ["own.pem", "ca.pem"].map(|name| fs::read(folder.at(name)).expect("it was made"));
    folder.file("a.pem", chain.concat())
}

fn serve_tls(folder: &Folder, keys: &Folder) -> Starter {
    serve(folder).arg("--tls-cert").arg(keys.at("a.pem")).arg("--tls-key").arg(keys.at("a.key"))
}

#[test]
#[ignore = "needs curl and openssl"]
fn curl_believes_keys_of_every_kind_over_both_versions() {
    let folder = site();
    for (kind, make) in KINDS {
        let keys = keys(make);
        let server = serve_tls(&folder, &keys).start();
        for version in [&["--tlsv1.2", "--tls-max", "1.2"], &["--tlsv1.3", "--tls-max", "1.3"]] {
            let said = output(curl(&server, &keys, "localhost", "/a.txt").args(version).args(["-w", "|%{http_code}"]));
            assert_eq!(said, "0123456789|200", "{kind}");
        }
        let mut old = curl(&server, &keys, "localhost", "/a.txt");
        assert!(!old.args(["--tls-max", "1.1"]).status().expect("curl runs").success(), "TLS 1.1 is spoken");
    }
}

#[test]
#[ignore = "needs curl and openssl"]
fn curl_gets_a_hundred_mebibytes_and_parts_of_them() {
    let bytes = large(100 << 20);
    let folder = Folder::new().file("large.bin", &bytes);
    let keys = keys(KINDS[2].1);
    let here = Folder::new();
    let server = serve_tls(&folder, &keys).start();
    let saved = here.at("saved");
    let to = ["-o", saved.to_str().expect("text")];
    output(curl(&server, &keys, "localhost", "/large.bin").args(to));
    assert!(fs::read(&saved).expect("it was saved") == bytes, "other bytes arrived");
    output(curl(&server, &keys, "localhost", "/large.bin").args(to).args(["-r", "77-50000000"]));
    assert!(fs::read(&saved).expect("it was saved") == bytes[77..=50_000_000], "other bytes arrived");
    // It takes so little at a time that the server has to wait for it.
    let mut slow = curl(&server, &keys, "localhost", "/large.bin");
    output(slow.args(to).args(["-r", "0-2999999", "--limit-rate", "2M"]));
    assert!(fs::read(&saved).expect("it was saved") == bytes[..3_000_000], "other bytes arrived");
}

#[test]
#[ignore = "needs curl and openssl"]
fn curl_sees_that_an_answer_was_broken_off() {
    let folder = Folder::new().file("large.bin", large(64 << 20));
    let keys = keys(KINDS[2].1);
    let server = serve_tls(&folder, &keys).start();
    let mut curl = curl(&server, &keys, "localhost", "/large.bin");
    let mut process = curl.args(["-o", "/dev/null", "--limit-rate", "4M"]).spawn().expect("curl runs");
    server.once_it_sends(|| folder.write("large.bin", "cut"));
    let status = process.wait().expect("it is ours");
    // 18: a part of the file is missing; 56: the connection broke.
    assert!(matches!(status.code(), Some(18 | 56)), "{status}");
}

#[test]
#[ignore = "needs curl and openssl"]
fn curl_uses_one_connection_for_several_requests() {
    let folder = site();
    let keys = keys(KINDS[2].1);
    let server = serve_tls(&folder, &keys).arg("-v").start();
    let mut curl = curl(&server, &keys, "localhost", "/a.txt");
    for _ in 0..2 {
        curl.arg(format!("https://localhost:{}/a.txt", server.addr.port()));
    }
    assert_eq!(output(&mut curl), "0123456789".repeat(3));
    let handshakes = server.diagnostics().iter().filter(|line| line.contains("TLS handshake")).count();
    assert_eq!(handshakes, 1, "{:?}", server.diagnostics());
}

#[test]
#[ignore = "needs openssl"]
fn openssl_agrees_on_http_1_1_and_resumes_in_both_versions() {
    let folder = site();
    let keys = keys(KINDS[2].1);
    let server = serve_tls(&folder, &keys).start();
    let here = Folder::new();
    let session = here.at("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let said = s_client(&server, &[version, "-alpn", "h2,http/1.1", "-sess_out", &session]);
        assert!(said.contains("New, TLS") && said.contains("ALPN protocol: http/1.1"), "{said}");
        assert!(said.contains("0123456789"), "{said}");
        assert!(said.contains("ticket lifetime hint: 43200"), "there is no ticket of ours\n{said}");
        let said = s_client(&server, &[version, "-sess_in", &session]);
        assert!(said.contains("Reused, TLS"), "{said}");
    }
    // Without tickets, by the server's memory.
    let said = s_client(&server, &["-tls1_2", "-no_ticket", "-sess_out", &session]);
    assert!(said.contains("New, TLS"), "{said}");
    assert!(s_client(&server, &["-tls1_2", "-no_ticket", "-sess_in", &session]).contains("Reused, TLS"));
}

#[test]
#[ignore = "needs openssl"]
fn an_expired_certificate_is_told_of_at_the_start() {
    let folder = site();
    let keys = keys(KINDS[2].1);
    let expire =
        "x509 -req -in a.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -copy_extensions copy -out a.pem";
    output(program("openssl", keys.path()).args(expire.split_whitespace()).current_dir(keys.path()));
    let server = serve_tls(&folder, &keys).start();
    server.said(|line| line.starts_with("warning: ") && line.contains("a.pem has expired"));
}

#[test]
#[ignore = "needs openssl"]
fn openssl_shows_the_fingerprint_that_was_told() {
    let folder = site();
    let server = serve(&folder).arg("--tls-self-signed").start();
    let told = server.said(|line| line.contains("fingerprint"));
    let here = Folder::new().file("cert", s_client(&server, &["-showcerts"]));
    let mut x509 = program("openssl", here.path());
    let shown = output(x509.args(["x509", "-noout", "-fingerprint", "-sha256", "-in"]).arg(here.at("cert")));
    let shown = shown.trim().split_once('=').expect("a name and a value").1;
    assert!(told.ends_with(shown), "{told}\n{shown}");
}

#[test]
#[ignore = "needs chromium and openssl"]
fn chromium_loads_a_page_over_tls() {
    let folder = Folder::new().file("index.html", "<!doctype html><title>t</title><p>over TLS</p>");
    let keys = keys(KINDS[2].1);
    let server = serve_tls(&folder, &keys).start();
    let key = "openssl pkey -in a.key -pubout -outform der | openssl dgst -sha256 -binary | openssl base64";
    let key = output(program("sh", keys.path()).args(["-c", key]).current_dir(keys.path()));
    let home = Folder::new();
    let mut chromium = program("chromium", home.path());
    chromium.args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
    chromium.args(["--disable-background-networking", "--no-proxy-server", "--disable-dev-shm-usage"]);
    chromium.arg(format!("--user-data-dir={}", home.at("profile").display()));
    chromium.arg(format!("--ignore-certificate-errors-spki-list={}", key.trim()));
    let page = output(chromium.args(["--dump-dom", &format!("https://{}/", server.addr)]));
    assert!(page.contains("over TLS"), "{page}");
    server.logged(|line| line.contains("\"GET / HTTP/1.1\" 200 "));
}

impl Server {
    /// Does something once an answer is under way.
    fn once_it_sends(&self, act: impl FnOnce()) {
        until("the file is open", || self.proc().open_files().iter().any(|file| file.ends_with("large.bin")));
        act();
    }
}

/// What openssl shows of a connection on which it asks for a file.
#[track_caller]
fn s_client(server: &Server, args: &[&str]) -> String {
    let here = Folder::new().file("request", "GET /a.txt HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let mut openssl = program("openssl", here.path());
    openssl.args(["s_client", "-ign_eof", "-servername", "localhost", "-connect", &server.addr.to_string()]).args(args);
    output(openssl.stdin(fs::File::open(here.at("request")).expect("it was made")))
}

fn curl(server: &Server, keys: &Folder, name: &str, target: &str) -> Command {
    let port = server.addr.port();
    let mut curl = program("curl", keys.path());
    curl.args(["-q", "-sS", "--cacert"]).arg(keys.at("ca.pem"));
    curl.args(["--resolve", &format!("{name}:{port}:127.0.0.1"), &format!("https://{name}:{port}{target}")]);
    curl
}
