//! Certificates and their keys: which one is shown to whom, and what happens when they change.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustls::HandshakeKind;

use crate::support::{Client, Folder, Server, Trust, Version, certificate, run, serve};
use crate::tls::serve_tls;

const GET: &str = "GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn site() -> Folder {
    Folder::new().file("a.txt", "0123456789")
}

/// The certificate that a client who asks for this name is shown.
fn shown_to(server: &Server, name: &str) -> Vec<u8> {
    shown_by(&mut Trust::of(Version::V13).connect(server.addr, name))
}

fn shown_by(client: &mut Client) -> Vec<u8> {
    client.send(GET).response().status(200).body("0123456789");
    client.session().peer_certificates().expect("there is one")[0].to_vec()
}

/// Waits until who comes is shown another certificate than this.
#[track_caller]
fn until_another_is_shown(server: &Server, old: &[u8]) -> Vec<u8> {
    let since = Instant::now();
    loop {
        let shown = shown_to(server, "localhost");
        if shown != old {
            return shown;
        }
        let said = server.diagnostics().join("\n");
        assert!(since.elapsed() < Duration::from_secs(30), "the new certificate is not used\n{said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sni_selects_the_certificate() {
    let folder = site();
    let names = [["a.example", "localhost"], ["b.example", "*.b.example"], ["c.example", "c.test"]];
    let keys = Folder::new().pair("a", &names[0]).pair("b", &names[1]).pair("c", &names[2]);
    let mut start = serve(&folder);
    for name in ["a", "b", "c"] {
        start = start.arg("--tls-cert").arg(keys.at(&format!("{name}.pem")));
        start = start.arg("--tls-key").arg(keys.at(&format!("{name}.key")));
    }
    let list =
        |end: &str| ["a", "b", "c"].map(|name| keys.at(&format!("{name}.{end}")).display().to_string()).join("\n");
    let by_variable = serve(&folder).env("SERVE_TLS_CERT", &list("pem")).env("SERVE_TLS_KEY", &list("key"));
    for server in [start.start(), by_variable.start()] {
        let [a, b, c] = ["a.example", "b.example", "c.example"].map(|name| shown_to(&server, name));
        assert!(a != b && b != c && a != c);
        for (name, expected) in [
            ("localhost", &a),
            ("x.b.example", &b),
            ("B.Example", &b),
            ("c.test", &c),
            ("x.y.b.example", &a),
            ("unknown.example", &a),
            // A client that connects to an address sends no server name.
            ("127.0.0.1", &a),
        ] {
            assert!(shown_to(&server, name) == *expected, "{name} is shown another certificate");
        }
    }
}

#[test]
fn replaced_certificates_are_reloaded_without_closing() {
    let (folder, keys) = (site(), Folder::new().pair("a", &["localhost"]));
    let server = serve_tls(&folder, &keys).env("RUST_LOG", "info").start();
    let trust = Trust::of(Version::V13);
    let mut kept = trust.connect(server.addr, "localhost");
    let first = shown_by(&mut kept);
    let (cert, key) = certificate(&["localhost"]);
    // The one is there before the other.
    keys.replace("a.pem", cert);
    server.rests();
    keys.replace("a.key", key);
    let second = until_another_is_shown(&server, &first);
    assert!(shown_by(&mut kept) == first);
    // Earlier tickets are still valid.
    let mut again = trust.connect(server.addr, "localhost");
    again.send(GET).response().status(200);
    assert_eq!(again.session().handshake_kind(), Some(HandshakeKind::Resumed));

    // Written in place.
    let (cert, key) = certificate(&["localhost"]);
    keys.write("a.key", key);
    keys.write("a.pem", cert);
    until_another_is_shown(&server, &second);
    kept.still_open();
}

#[test]
fn sighup_reloads_certificates_at_once() {
    let (folder, keys) = (site(), Folder::new().pair("a", &["localhost"]));
    let server = serve_tls(&folder, &keys).env("RUST_LOG", "info").start();
    let first = shown_to(&server, "localhost");
    // Nothing has changed, so they are read for no other reason.
    server.signal("HUP");
    server.said(|line| line.contains("certificates reloaded"));
    assert!(shown_to(&server, "localhost") == first);
    let (cert, key) = certificate(&["localhost"]);
    keys.replace("a.key", key);
    keys.replace("a.pem", cert);
    server.signal("HUP");
    until_another_is_shown(&server, &first);
}

#[test]
fn unusable_certificates_keep_the_old_and_warn_once() {
    let (folder, keys) = (site(), Folder::new().pair("a", &["localhost"]));
    let server = serve_tls(&folder, &keys).start();
    let first = shown_to(&server, "localhost");
    keys.replace("a.pem", certificate(&["localhost"]).0);
    let line = server.said(|line| line.contains("the old certificates stay in use"));
    assert!(line.contains("WARN") && line.contains("a.key") && line.contains("does not belong"), "{line}");
    assert!(shown_to(&server, "localhost") == first);
    keys.replace("a.key", "no key");
    server.said(|line| line.contains("expected an unencrypted PEM key"));
    fs::remove_file(keys.at("a.pem")).expect("it is there");
    server.said(|line| line.contains("a.pem: No such file"));
    assert!(shown_to(&server, "localhost") == first);
    let told = || server.diagnostics().iter().filter(|line| line.contains("stay in use")).count();
    let before = told();
    server.signal("HUP");
    let since = Instant::now();
    while told() == before {
        assert!(since.elapsed() < Duration::from_secs(30), "nothing is said of a hangup in vain");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(shown_to(&server, "localhost") == first);
    assert_eq!(before, 3, "{:?}", server.diagnostics());

    let (cert, key) = certificate(&["localhost"]);
    keys.replace("a.key", key);
    keys.replace("a.pem", cert);
    until_another_is_shown(&server, &first);
}

/// As certbot leaves them: `live` has links into `archive`, and a renewal puts new links in their place.
#[test]
fn retargeted_links_reload_certificates() {
    let folder = site();
    let keys = Folder::new().dir("live/a").dir("archive/a").pair("archive/a/1", &["localhost"]);
    let point_to = |number: &str| {
        for end in ["pem", "key"] {
            symlink(format!("../../archive/a/{number}.{end}"), keys.at("new")).expect("the link can be made");
            fs::rename(keys.at("new"), keys.at(&format!("live/a/a.{end}"))).expect("the link can be replaced");
        }
    };
    point_to("1");
    let start = serve(&folder).arg("--tls-cert").arg(keys.at("live/a/a.pem"));
    let server = start.arg("--tls-key").arg(keys.at("live/a/a.key")).start();
    let first = shown_to(&server, "localhost");
    let keys = &keys;
    let (cert, key) = certificate(&["localhost"]);
    keys.write("archive/a/2.pem", cert);
    keys.write("archive/a/2.key", key);
    point_to("2");
    until_another_is_shown(&server, &first);
}

#[test]
fn unusable_files_end_the_start() {
    let folder = Folder::new();
    let keys = Folder::new().pair("a", &["localhost"]).pair("b", &["localhost"]).file("text", "a text");
    let file = |name: &str| keys.at(name).display().to_string();
    let [a, b, a_key, b_key, text] = ["a.pem", "b.pem", "a.key", "b.key", "text"].map(file);
    let none = file("none");
    let root = folder.path().display().to_string();
    for (cert, key, expected) in [
        (&a, &b_key, format!("--tls-key: {b_key}: the key does not belong to the certificate {a}")),
        (&b, &a, format!("--tls-key: {a}: expected an unencrypted PEM key")),
        (&a_key, &a_key, format!("--tls-cert: {a_key}: expected a PEM certificate")),
        (&text, &a_key, format!("--tls-cert: {text}: expected a PEM certificate")),
        (&a, &text, format!("--tls-key: {text}: expected an unencrypted PEM key")),
        (&none, &a_key, format!("--tls-cert: {none}: No such file")),
        (&a, &none, format!("--tls-key: {none}: No such file")),
    ] {
        let output = run(&["--port", "0", &root, "--tls-cert", cert, "--tls-key", key], &[]);
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        assert!(output.stderr.starts_with(&format!("serve: {expected}")), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
}

#[test]
fn conflicting_flags_are_refused() {
    let folder = Folder::new().pair("served", &["localhost"]);
    let keys = Folder::new().pair("a", &["localhost"]);
    let (cert, key) = (keys.at("a.pem").display().to_string(), keys.at("a.key").display().to_string());
    let (root, served) = (folder.path().display().to_string(), folder.at("served.key").display().to_string());
    let pair = ["--tls-cert", &cert, "--tls-key", &key];
    for (args, expected) in [
        (vec!["--tls-cert", &cert], "--tls-key: expected one for each --tls-cert, got 0 for 1"),
        (vec!["--tls-key", &key], "--tls-key: expected one for each --tls-cert, got 1 for 0"),
        ([&pair[..], &["--tls-cert", &cert]].concat(), "--tls-key: expected one for each --tls-cert, got 1 for 2"),
        ([&pair[..], &["--tls-self-signed"]].concat(), "--tls-self-signed: excludes --tls-cert"),
        (vec!["--https-redirect", "80"], "--https-redirect: needs --tls-cert"),
        (vec!["--hsts", "80"], "--hsts: needs --tls-cert"),
        (vec!["--tls-self-signed", "--https-redirect", "x"], "--https-redirect: expected a port from 0 to 65535"),
        (vec!["--tls-self-signed", "--hsts", "-1"], "--hsts: expected seconds from 0 to 4294967295"),
        (vec!["--tls-self-signed", "--header", "strict-transport-security: x"], "--header: Strict-Transport-Security"),
        (vec!["--tls-cert", &cert, "--tls-key", &served], &format!("--tls-key: {served} lies below the root")),
    ] {
        let output = run(&[&["--port", "0", &root], &args[..]].concat(), &[]);
        assert_eq!(output.status.code(), Some(2), "{}", output.stderr);
        assert!(output.stderr.starts_with(&format!("serve: {expected}")), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    }
}

#[test]
fn keys_unreadable_after_user_switch_are_reported() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("only root can become another user");
        return;
    }
    let (folder, keys) = (site(), Folder::new().pair("a", &["localhost"]));
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(keys.at("a.key"), private).expect("it is ours");
    let server = serve_tls(&folder, &keys).args(&["--user", "nobody"]).start();
    let line = server.said(|line| line.contains("may not read"));
    assert!(line.contains("nobody may not read") && line.contains("a.key"), "{line}");
    shown_to(&server, "localhost");
}
