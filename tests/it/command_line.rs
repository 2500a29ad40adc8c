//! What each flag does, that its variable does the same, and which of the two wins.

use crate::support::{Client, Folder, Process, Server, binary, free_port, run, serve};

#[test]
fn the_index_is_index_html_unless_told_otherwise() {
    let folder = Folder::new().file("index.html", "the index").file("home.html", "another");
    serve(&folder).start().get("/").status(200).body("the index");
}

#[test]
fn index_names_are_tried_in_their_order() {
    let folder = Folder::new().file("a/second.html", "2").file("b/first.html", "1").file("b/second.html", "2");
    let folder = folder.file("c/index.html", "not asked for");
    either(&folder, &["--index", "first.html,second.html"], ("SERVE_INDEX", "first.html,second.html"), |server| {
        server.get("/a/").status(200).body("2");
        server.get("/b/").status(200).body("1");
        server.get("/c/").status(404);
    });
}

#[test]
fn a_directory_is_not_listed_unless_told() {
    let folder = Folder::new().file("docs/a.txt", "a");
    serve(&folder).start().get("/docs/").status(404).says("--list").never_says("a.txt");
}

#[test]
fn list_shows_directories() {
    let folder = Folder::new().file("docs/a.txt", "a");
    either(&folder, &["--list"], ("SERVE_LIST", "true"), |server| {
        server.get("/docs/").status(200).says("a.txt");
    });
}

#[test]
fn a_switch_in_the_environment_can_be_said_in_three_ways() {
    let folder = Folder::new().file("docs/a.txt", "a");
    for (value, status) in [("true", 200), ("1", 200), ("yes", 200), ("false", 404), ("0", 404), ("no", 404)] {
        eprintln!("--- SERVE_LIST={value}");
        serve(&folder).env("SERVE_LIST", value).start().get("/docs/").status(status);
    }
}

#[test]
fn a_switch_on_the_command_line_beats_its_variable() {
    let folder = Folder::new().file("docs/a.txt", "a");
    serve(&folder).arg("--list").env("SERVE_LIST", "false").start().get("/docs/").status(200);
}

#[test]
fn the_page_for_what_is_missing_is_404_html_unless_told_otherwise() {
    let folder = Folder::new().file("404.html", "the usual page").file("oops.html", "another page");
    serve(&folder).start().get("/nowhere").status(404).body("the usual page");
}

#[test]
fn not_found_names_the_page_for_what_is_missing() {
    let folder = Folder::new().file("404.html", "the usual page").file("pages/oops.html", "another page");
    either(&folder, &["--not-found", "pages/oops.html"], ("SERVE_NOT_FOUND", "pages/oops.html"), |server| {
        server.get("/nowhere").status(404).body("another page");
    });
}

#[test]
fn dotfiles_are_not_there_unless_told() {
    let folder = Folder::new().file(".secret", "s").file(".git/config", "c").file(".well-known/x", "x");
    let server = serve(&folder).start();
    server.get("/.secret").status(404);
    server.get("/.git/config").status(404);
    server.get("/.well-known/x").status(200).body("x");
}

#[test]
fn hidden_serves_dotfiles() {
    let folder = Folder::new().file(".secret", "s").file(".git/config", "c");
    either(&folder, &["--hidden"], ("SERVE_HIDDEN", "yes"), |server| {
        server.get("/.secret").status(200).body("s");
        server.get("/.git/config").status(200).body("c");
    });
}

#[test]
fn links_are_followed_inside_the_root_unless_told_otherwise() {
    let (folder, _other) = linked();
    let server = serve(&folder).start();
    server.get("/inside").status(200).body("in");
    server.get("/outside").status(404);
}

#[test]
fn symlinks_inside_refuses_a_way_out() {
    let (folder, _other) = linked();
    either(&folder, &["--symlinks", "inside"], ("SERVE_SYMLINKS", "inside"), |server| {
        server.get("/inside").status(200).body("in");
        server.get("/outside").status(404);
    });
}

#[test]
fn symlinks_none_refuses_every_link() {
    let (folder, _other) = linked();
    either(&folder, &["--symlinks", "none"], ("SERVE_SYMLINKS", "none"), |server| {
        server.get("/inside").status(404);
        server.get("/outside").status(404);
        server.get("/page.txt").status(200).body("in");
    });
}

#[test]
fn symlinks_all_follows_a_link_anywhere() {
    let (folder, _other) = linked();
    either(&folder, &["--symlinks", "all"], ("SERVE_SYMLINKS", "all"), |server| {
        server.get("/inside").status(200).body("in");
        server.get("/outside").status(200).body("out");
    });
}

#[test]
fn text_is_utf_8_unless_told_otherwise() {
    let folder = Folder::new().file("a.html", "a");
    serve(&folder).start().get("/a.html").has("Content-Type", "text/html; charset=utf-8");
}

#[test]
fn charset_is_named_with_text_types_only() {
    let folder = Folder::new().file("a.html", "a").file("a.png", "a");
    either(&folder, &["--charset", "iso-8859-15"], ("SERVE_CHARSET", "iso-8859-15"), |server| {
        server.get("/a.html").has("Content-Type", "text/html; charset=iso-8859-15");
        server.get("/a.png").has("Content-Type", "image/png");
    });
}

#[test]
fn charset_off_names_none() {
    let folder = Folder::new().file("a.html", "a");
    either(&folder, &["--charset", "off"], ("SERVE_CHARSET", "off"), |server| {
        server.get("/a.html").has("Content-Type", "text/html");
    });
}

#[test]
fn every_header_given_is_in_every_answer() {
    let folder = Folder::new().file("a.txt", "a");
    let flags = ["--header", "X-One: 1", "--header", "X-Two: a: b"];
    either(&folder, &flags, ("SERVE_HEADER", "X-One: 1\nX-Two: a: b"), |server| {
        server.get("/a.txt").status(200).has("X-One", "1").has("X-Two", "a: b");
        server.get("/nowhere").status(404).has("X-One", "1").has("X-Two", "a: b");
        server.ask("BAD\r\n\r\n").status(400).has("X-One", "1").has("X-Two", "a: b");
    });
}

#[test]
fn a_server_or_cache_header_given_takes_the_place_of_ours() {
    let folder = Folder::new().file("a.txt", "a");
    let flags = ["--header", "Server: mine", "--header", "cache-control: public"];
    let server = serve(&folder).args(&flags).start();
    server.get("/a.txt").status(200).has("Server", "mine").has("Cache-Control", "public");
}

#[test]
fn an_answer_is_checked_every_time_unless_told_otherwise() {
    let folder = Folder::new().file("a.txt", "a");
    serve(&folder).start().get("/a.txt").has("Cache-Control", "no-cache");
}

#[test]
fn cache_says_how_long_a_file_may_be_kept_and_an_error_never() {
    let folder = Folder::new().file("a.txt", "a");
    either(&folder, &["--cache", "77"], ("SERVE_CACHE", "77"), |server| {
        server.get("/a.txt").has("Cache-Control", "max-age=77");
        server.get("/nowhere").status(404).has("Cache-Control", "no-store");
    });
}

#[test]
fn a_cache_of_no_seconds_means_to_check_every_time() {
    let folder = Folder::new().file("a.txt", "a");
    either(&folder, &["--cache", "0"], ("SERVE_CACHE", "0"), |server| {
        server.get("/a.txt").has("Cache-Control", "no-cache");
    });
}

#[test]
fn the_access_log_is_common_unless_told_otherwise() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).start();
    server.get("/a.txt");
    let line = server.logged(|_| true);
    assert!(line.starts_with("127.0.0.1 - - [") && line.ends_with("\"GET /a.txt HTTP/1.1\" 200 1"), "{line}");
}

#[test]
fn log_chooses_the_form_of_the_access_log() {
    let folder = Folder::new().file("a.txt", "a");
    either(&folder, &["--log", "json"], ("SERVE_LOG", "json"), |server| {
        server.get("/a.txt");
        let line = server.logged(|_| true);
        assert!(line.starts_with('{'), "{line}");
    });
}

#[test]
fn verbose_twice_tells_the_exchange() {
    let folder = Folder::new().file("a.txt", "a");
    either(&folder, &["-vv"], ("SERVE_VERBOSE", "2"), |server| {
        server.get("/a.txt");
        server.said(|line| line.contains("[7]"));
    });
}

#[test]
fn a_switch_in_the_environment_is_in_no_other_ones_way() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).arg("-vv").env("SERVE_QUIET", "false").start();
    server.get("/a.txt").status(200);
    server.said(|line| line.contains("[7]"));
    serve(&folder).arg("-q").env("SERVE_VERBOSE", "2").start().get("/a.txt").status(200);
}

#[test]
fn a_flag_beats_its_variable() {
    let folder = Folder::new().file("a.html", "a");
    for (flag, variable, (field, value)) in [
        (["--cache", "5"], ("SERVE_CACHE", "6"), ("Cache-Control", "max-age=5")),
        (["--charset", "koi8-r"], ("SERVE_CHARSET", "latin1"), ("Content-Type", "text/html; charset=koi8-r")),
        (["--header", "X-From: flag"], ("SERVE_HEADER", "X-From: variable"), ("X-From", "flag")),
    ] {
        eprintln!("--- {flag:?} over {variable:?}");
        let server = serve(&folder).args(&flag).env(variable.0, variable.1).start();
        server.get("/a.html").status(200).has(field, value);
    }
}

#[test]
fn a_headers_flag_replaces_every_header_of_the_variable() {
    let folder = Folder::new().file("a.txt", "a");
    let server = serve(&folder).args(&["--header", "X-Flag: 1"]).env("SERVE_HEADER", "X-Variable: 1").start();
    server.get("/a.txt").has("X-Flag", "1").lacks("X-Variable");
}

#[test]
fn port_is_the_port_that_is_listened_on() {
    let folder = Folder::new().file("a.txt", "a");
    for flag in ["--port", "-p"] {
        let port = free_port();
        let mut command = binary();
        command.args([flag, &port.to_string(), "--bind", "127.0.0.1", "--root"]).arg(folder.path());
        let addr = Process::start(&mut command, std::process::Stdio::null()).listening();
        assert_eq!(addr.port(), port, "{flag}");
    }
}

#[test]
fn the_port_comes_from_its_variable_and_a_flag_beats_it() {
    let folder = Folder::new().file("a.txt", "a");
    let (wanted, other) = (free_port(), free_port());
    let mut command = binary();
    command.args(["--bind", "127.0.0.1", "--root"]).arg(folder.path()).env("SERVE_PORT", wanted.to_string());
    let mut from_variable = Process::start(&mut command, std::process::Stdio::null());
    assert_eq!(from_variable.listening().port(), wanted);
    command.args(["--port", &other.to_string()]);
    assert_eq!(Process::start(&mut command, std::process::Stdio::null()).listening().port(), other);
}

#[test]
fn the_root_can_be_given_in_four_ways() {
    let folder = Folder::new().file("a.txt", "the root");
    let path = folder.path().to_str().expect("the temporary path is text");
    for (args, variable) in [(vec!["--root", path], ""), (vec!["-r", path], ""), (vec![path], ""), (Vec::new(), path)] {
        let mut command = binary();
        command.args(["--port", "0", "--bind", "127.0.0.1"]).args(&args).current_dir("/");
        if !variable.is_empty() {
            command.env("SERVE_ROOT", variable);
        }
        eprintln!("--- {args:?}, SERVE_ROOT={variable:?}");
        serves_the_root(&mut Process::start(&mut command, std::process::Stdio::null()));
    }
}

#[test]
fn the_root_is_where_the_server_is_started_unless_told_otherwise() {
    let folder = Folder::new().file("a.txt", "the root");
    let mut command = binary();
    command.args(["--port", "0", "--bind", "127.0.0.1"]).current_dir(folder.path());
    serves_the_root(&mut Process::start(&mut command, std::process::Stdio::null()));
}

#[test]
fn a_root_on_the_command_line_beats_its_variable() {
    let folder = Folder::new().file("a.txt", "the root");
    let other = Folder::new().file("a.txt", "another");
    for flag in [&["--root"] as &[&str], &[]] {
        let mut command = binary();
        command.args(["--port", "0", "--bind", "127.0.0.1"]).args(flag).arg(folder.path());
        command.env("SERVE_ROOT", other.path());
        serves_the_root(&mut Process::start(&mut command, std::process::Stdio::null()));
    }
}

#[test]
fn help_names_every_flag_and_its_variable() {
    let help = run(&["--help"], &[]);
    assert_eq!(help.status.code(), Some(0), "{}", help.stderr);
    for flag in [
        "port",
        "root",
        "bind",
        "index",
        "cache-memory",
        "compress",
        "no-precompressed",
        "list",
        "not-found",
        "hidden",
        "symlinks",
        "charset",
        "header",
        "cache",
        "max-connections",
        "header-timeout",
        "idle-timeout",
        "write-timeout",
        "grace",
        "log",
        "quiet",
        "verbose",
    ] {
        let variable = format!("SERVE_{}", flag.to_uppercase().replace('-', "_"));
        assert!(help.stdout.contains(&format!("--{flag}")), "no --{flag} in\n{}", help.stdout);
        assert!(help.stdout.contains(&variable), "no {variable} in\n{}", help.stdout);
    }
}

#[test]
fn version_is_that_of_the_package() {
    let version = run(&["--version"], &[]);
    assert_eq!(version.status.code(), Some(0), "{}", version.stderr);
    assert_eq!(version.stdout, concat!("serve ", env!("CARGO_PKG_VERSION"), "\n"));
}

/// Starts the server with the flag, then with the variable alone, and lets `check` look at each.
fn either(folder: &Folder, flag: &[&str], variable: (&str, &str), check: impl Fn(&Server)) {
    eprintln!("--- with {flag:?}");
    check(&serve(folder).args(flag).start());
    eprintln!("--- with {variable:?}");
    check(&serve(folder).env(variable.0, variable.1).start());
}

/// A root with a link to a file in it and one to a file in another directory.
fn linked() -> (Folder, Folder) {
    let other = Folder::new().file("page.txt", "out");
    let folder = Folder::new().file("page.txt", "in").link("inside", "page.txt").link("outside", other.at("page.txt"));
    (folder, other)
}

#[track_caller]
fn serves_the_root(process: &mut Process) {
    let mut client = Client::connect(process.listening());
    client.send("GET /a.txt HTTP/1.1\r\nHost: localhost\r\n\r\n").response().status(200).body("the root");
}
