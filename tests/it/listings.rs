//! Directory listings (`--list`): HTML without JavaScript, and JSON.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::names::{ODD, decode, encode, odd_files};
use crate::support::{Folder, Response, Server, serve};

const HTML: &str = "Accept: text/html\r\n";
const JSON: &str = "Accept: application/json\r\n";

fn start(folder: &Folder) -> Server {
    serve(folder).arg("--list").start()
}

/// Returns the links of a page in order, with their character references resolved.
fn links(page: &str) -> Vec<String> {
    let values = page.split("href=\"").skip(1).filter_map(|rest| rest.split_once('"'));
    let resolve = |value: &str| {
        let value = value.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
        value.replace("&#39;", "'").replace("&#x27;", "'").replace("&amp;", "&")
    };
    values.map(|(value, _)| resolve(value)).collect()
}

/// Returns the links to entries, without those to sort orders, to the parent or within the page.
fn entry_links(response: &Response) -> Vec<String> {
    let is_entry = |link: &String| !link.starts_with(['?', '#']) && link != "../" && !link.starts_with("data:");
    links(&response.text()).into_iter().filter(is_entry).collect()
}

#[track_caller]
fn json(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_else(|e| panic!("not JSON: {e}\n{}", response.exchange))
}

/// Returns a text member of every entry.
fn members(listing: &Value, member: &str) -> Vec<String> {
    let entries = listing["entries"].as_array().expect("entries are an array");
    entries.iter().map(|entry| entry[member].as_str().expect("the member is text").to_owned()).collect()
}

/// Resolves a link of the page at `base` as a browser does, as far as these links go (RFC 3986 §5.2).
#[track_caller]
fn resolve(base: &str, link: &str) -> String {
    let first = link.split(['/', '?', '#']).next().unwrap_or_default();
    assert!(!first.contains(':'), "a browser reads {link:?} as another scheme");
    assert!(!link.contains(['?', '#']), "a browser cuts {link:?}");
    assert!(!link.starts_with('/'), "{link:?} is not relative");
    assert!(link.bytes().all(|b| b.is_ascii_graphic()), "{link:?} is not a URI");
    format!("{base}{}", link.strip_prefix("./").unwrap_or(link))
}

#[test]
fn every_listing_link_leads_to_its_file() {
    let folder = odd_files(Folder::new().dir("x"), "x/").dir("x/a dir?").file("x/a dir?/in.txt", "in");
    let server = start(&folder);
    let html = entry_links(&server.get_with("/x/", HTML).status(200));
    let listing = json(&server.get_with("/x/", JSON).status(200));
    for found in [html, members(&listing, "href")] {
        let (dirs, files): (Vec<_>, Vec<_>) = found.iter().partition(|link| link.ends_with('/'));
        assert_eq!(dirs.iter().map(|link| decode(link)).collect::<Vec<_>>(), [b"a dir?/"]);
        server.get_with(&resolve("/x/", dirs[0]), HTML).status(200).says("in.txt");
        let bodies: BTreeSet<_> = files.iter().map(|link| server.get(&resolve("/x/", link)).status(200).body).collect();
        assert_eq!(files.len(), ODD.len(), "{found:?}");
        assert_eq!(bodies, ODD.iter().map(|name| name.to_vec()).collect());
    }
}

#[test]
fn names_are_escaped_in_html() {
    let folder = odd_files(Folder::new().dir("<script>"), "<script>/");
    let response = start(&folder).get_with("/%3Cscript%3E/?sort=%22%3E%3Cscript%3E&x=\"><script>", HTML).status(200);
    let response = response.has("Content-Type", "text/html; charset=utf-8").never_says("<script").never_says("\x1b");
    let response = response.says("&lt;script&gt;alert(1).txt").says("&amp;lt;b&amp;gt;.txt").says("a&amp;amp;b.txt");
    assert!(!response.text().contains("<b>.txt"), "{}", response.exchange);
}

#[test]
fn bidi_control_characters_are_replaced_in_html() {
    const TURNS: &str = "\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
    let folder = TURNS.chars().fold(Folder::new().dir(&format!("x{TURNS}")), |folder, turn| {
        folder.file(&format!("x{TURNS}/{turn}txt.exe"), "no text")
    });
    let target = format!("/{}/", encode(format!("x{TURNS}").as_bytes()));
    let response = start(&folder).get_with(&target, HTML).status(200).says("\u{fffd}txt.exe");
    assert_eq!(response.text().find(|char| TURNS.contains(char)), None, "{}", response.exchange);
    assert_eq!(entry_links(&response).len(), TURNS.chars().count(), "{}", response.exchange);
}

#[test]
fn names_are_unchanged_in_json() {
    let folder = odd_files(Folder::new(), "");
    let response = start(&folder).get_with("/", JSON).status(200);
    let listing = json(&response);
    let names: BTreeSet<_> = members(&listing, "name").into_iter().collect();
    let expected = ODD.iter().filter_map(|name| std::str::from_utf8(name).ok()).map(str::to_owned);
    for name in expected {
        assert!(names.contains(&name), "{name:?} is not in {names:?}");
    }
}

#[test]
fn json_describes_each_entry() {
    let folder = Folder::new().file("x/a b.txt", "hello").file("x/old.txt", "").file("x/dir/in.txt", "in");
    folder.set_modified_secs("x/a b.txt", 784_111_777);
    folder.set_modified_secs("x/old.txt", -5_000_000_000);
    let response =
        start(&folder).get_with("/x/", JSON).status(200).has("Vary", "Accept").has("Cache-Control", "no-cache");
    assert!(response.field("Content-Type").starts_with("application/json"), "{}", response.exchange);
    let listing = json(&response);
    assert_eq!((&listing["path"], &listing["count"], &listing["shown"]), (&"/x/".into(), &3.into(), &3.into()));
    let entries = listing["entries"].as_array().expect("entries are an array");
    let expected = [("dir", "dir/", "directory"), ("a b.txt", "a%20b.txt", "file"), ("old.txt", "old.txt", "file")];
    assert_eq!(entries.len(), expected.len(), "{}", response.exchange);
    for (entry, (name, href, kind)) in entries.iter().zip(expected) {
        assert_eq!((&entry["name"], &entry["type"]), (&name.into(), &kind.into()), "{}", response.exchange);
        assert_eq!(
            entry["href"].as_str().map(|href| href.trim_start_matches("./")),
            Some(href),
            "{}",
            response.exchange
        );
    }
    assert_eq!((&entries[1]["size"], &entries[2]["size"]), (&5.into(), &0.into()), "{}", response.exchange);
    assert_eq!(entries[1]["modified"], "1994-11-06T08:49:37Z", "{}", response.exchange);
}

#[test]
fn accept_selects_html_or_json() {
    let json = true;
    let table = [
        ("", !json),
        ("Accept: */*\r\n", !json),
        ("Accept: text/html\r\n", !json),
        ("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n", !json),
        ("Accept: application/json;q=0.5, text/html\r\n", !json),
        ("Accept: application/json, text/html\r\n", !json),
        ("Accept: application/json;q=0\r\n", !json),
        ("Accept: image/png\r\n", !json),
        ("Accept: application/json\r\n", json),
        ("accept: Application/JSON\r\n", json),
        ("Accept: application/json, text/html;q=0.9\r\n", json),
        ("Accept: application/json, */*;q=0.5\r\n", json),
        ("Accept: application/json, text/plain, */*;q=0.1\r\n", json),
    ];
    let folder = Folder::new().file("x/a.txt", "a");
    let server = start(&folder);
    for (accept, json) in table {
        let response =
            server.get_with("/x/", accept).status(200).has("Vary", "Accept").has("Cache-Control", "no-cache");
        let expected = if json { "application/json" } else { "text/html" };
        assert!(response.field("Content-Type").starts_with(expected), "{accept:?}\n{}", response.exchange);
    }
}

#[test]
fn query_selects_the_sort_order_after_directories() {
    let folder =
        Folder::new().file("x/a.txt", "x".repeat(30)).file("x/b.txt", "x".repeat(10)).file("x/c.txt", "x".repeat(20));
    let folder = folder.dir("x/z").dir("x/y");
    for (name, secs) in [("x/a.txt", 1000), ("x/c.txt", 2000), ("x/b.txt", 3000), ("x/y", 1500), ("x/z", 2500)] {
        folder.set_modified_secs(name, secs);
    }
    let server = start(&folder);
    let table = [
        ("", Some("y/ z/"), "a.txt b.txt c.txt"),
        ("?sort=name", Some("y/ z/"), "a.txt b.txt c.txt"),
        ("?sort=name&order=asc", Some("y/ z/"), "a.txt b.txt c.txt"),
        ("?sort=name&order=desc", Some("z/ y/"), "c.txt b.txt a.txt"),
        ("?order=desc&sort=name", Some("z/ y/"), "c.txt b.txt a.txt"),
        ("?sort=size&order=asc", None, "b.txt c.txt a.txt"),
        ("?sort=size&order=desc", None, "a.txt c.txt b.txt"),
        ("?sort=date&order=asc", Some("y/ z/"), "a.txt c.txt b.txt"),
        ("?sort=date&order=desc", Some("z/ y/"), "b.txt c.txt a.txt"),
        ("?sort=nonsense&order=nonsense", Some("y/ z/"), "a.txt b.txt c.txt"),
        ("?other=1", Some("y/ z/"), "a.txt b.txt c.txt"),
        ("?sort=%zz&&=&order", Some("y/ z/"), "a.txt b.txt c.txt"),
    ];
    for (query, dirs, files) in table {
        let html = entry_links(&server.get_with(&format!("/x/{query}"), HTML).status(200));
        let listing = json(&server.get_with(&format!("/x/{query}"), JSON).status(200));
        for found in [html, members(&listing, "href")] {
            assert_eq!(found.len(), 5, "{query}: {found:?}");
            assert_eq!(found[2..].join(" "), files, "{query}: {found:?}");
            assert!(dirs.is_none_or(|dirs| found[..2].join(" ") == dirs), "{query}: {found:?}");
        }
    }
}

#[test]
fn html_links_to_every_sort_order() {
    let folder = Folder::new().file("x/a.txt", "a").file("x/b.txt", "b");
    let server = start(&folder);
    let page = server.get_with("/x/", HTML).status(200).text();
    let orders: Vec<_> = links(&page).into_iter().filter(|link| link.starts_with('?')).collect();
    for sort in ["name", "size", "date"] {
        let query = format!("sort={sort}");
        let link = orders.iter().find(|link| link.contains(&query)).unwrap_or_else(|| panic!("no {query}: {orders:?}"));
        server.get_with(&format!("/x/{link}"), HTML).status(200).says("a.txt");
    }
    let back = server.get_with("/x/?sort=name&order=desc", HTML).status(200).text();
    let turns = links(&back).iter().any(|link| link.contains("sort=name") && !link.contains("desc"));
    assert!(turns, "no link to the first order\n{back}");
}

#[test]
fn every_directory_but_the_root_links_to_its_parent() {
    let folder = Folder::new().file("x/y/a.txt", "a");
    let server = start(&folder);
    for (target, parent) in [("/", false), ("/x/", true), ("/x/y/", true)] {
        let page = server.get_with(target, HTML).status(200).text();
        assert_eq!(links(&page).iter().any(|link| link == "../"), parent, "{target}\n{page}");
    }
}

#[test]
fn html_has_no_javascript_and_a_dark_mode() {
    let folder = Folder::new().file("a.txt", "a");
    let response = start(&folder).get_with("/", HTML).status(200).never_says("<script").says("<title>").says("lang=");
    let response = response.says("prefers-color-scheme").says("a.txt");
    assert!(response.text().to_ascii_lowercase().starts_with("<!doctype html>"), "{}", response.exchange);
}

#[test]
fn entries_are_counted() {
    let folder = Folder::new().file("x/a", "a").file("x/b", "b").file("x/c", "c").dir("x/d").dir("x/e").dir("empty");
    let server = start(&folder);
    server.get_with("/x/", HTML).status(200).says("3 files").says("2 directories");
    server.get_with("/empty/", HTML).status(200).says("0 files");
    let listing = json(&server.get_with("/empty/", JSON).status(200));
    assert_eq!((&listing["count"], &listing["shown"]), (&0.into(), &0.into()));
    assert_eq!(listing["entries"], Value::Array(Vec::new()));
}

#[test]
fn large_directory_is_counted_and_truncated() {
    let folder = Folder::new().dir("many");
    for number in (0..12_000).rev() {
        folder.write(&format!("many/f{number:05}"), "");
    }
    let server = start(&folder);
    let listing = json(&server.get_with("/many/", JSON).status(200));
    assert_eq!((&listing["count"], &listing["shown"]), (&12_000.into(), &10_000.into()));
    let expected: Vec<_> = (0..10_000).map(|number| format!("f{number:05}")).collect();
    assert!(members(&listing, "name") == expected, "not the first 10,000 by name");
    let response = server.get_with("/many/", HTML).status(200);
    assert!(entry_links(&response) == expected, "not the first 10,000 by name");
    let text = response.text().replace([',', '\u{202f}', '\u{a0}'], "");
    assert!(text.contains("12000") && text.contains("10000"), "a count is missing");
}

#[test]
fn dotfiles_are_listed_only_if_served() {
    let folder = Folder::new().file("a.txt", "a").file(".env", "x").file(".git/config", "x");
    let shown = |server: Server| members(&json(&server.get_with("/", JSON).status(200)), "name");
    assert_eq!(shown(start(&folder)), ["a.txt"]);
    assert_eq!(shown(serve(&folder).args(&["--list", "--hidden"]).start()), [".git", ".env", "a.txt"]);
    let listing = json(&start(&folder).get_with("/", JSON).status(200));
    assert_eq!(listing["count"], 1);
}

#[test]
fn listing_shows_nothing_behind_unfollowed_links() {
    let outside = Folder::new().file("secret.txt", "a secret of 21 bytes.").file("dir/secret.txt", "a secret");
    let folder = Folder::new().file("x/a.txt", "inside").file("x/dir/b.txt", "b");
    let folder = folder.link("x/in", "a.txt").link("x/dir-in", "dir").link("x/out", outside.at("secret.txt"));
    let folder = folder.link("x/dir-out", outside.at("dir")).link("x/dangling", "nowhere").link("x/loop", "loop");
    for (policy, followed) in [("none", &[][..]), ("inside", &["in", "dir-in/"]), ("all", &["in", "dir-in/", "out"])] {
        let server = serve(&folder).args(&["--list", "--symlinks", policy]).start();
        let response = server.get_with("/x/", JSON).status(200).never_says("secret");
        let found = members(&json(&response), "href");
        for link in ["a.txt", "dir/"].iter().chain(followed) {
            assert!(found.contains(&(*link).to_owned()), "{policy}: {link} is not in {found:?}");
        }
        for link in &found {
            let response = server.get_with(&format!("/x/{link}"), JSON);
            assert!(matches!(response.status, 200 | 404), "{policy}: {link}\n{}", response.exchange);
            assert!(policy == "all" || !response.text().contains("secret"), "{policy}: {link}\n{}", response.exchange);
        }
        let listing = json(&response);
        let entries = listing["entries"].as_array().expect("entries are an array");
        let has_size = entries.iter().any(|entry| entry["size"] == 21);
        assert_eq!(has_size, policy == "all", "{policy}: the size of a file outside\n{}", response.exchange);
    }
}

#[test]
fn index_file_takes_precedence_over_the_listing() {
    let folder = Folder::new().file("x/index.html", "index").file("x/a.txt", "a");
    let server = start(&folder);
    server.get("/x/").status(200).body("index");
    server.get_with("/x/", JSON).status(200).body("index");
    server.get("/x").status(301).has("Location", "/x/");
}

#[test]
fn listing_shows_new_entries_at_once() {
    let folder = Folder::new().dir("x");
    let server = start(&folder);
    let mut client = server.connect();
    for number in 0..20 {
        client.send(format!("GET /x/ HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\n"));
        assert_eq!(json(&client.response().status(200))["count"], number);
        folder.write(&format!("x/{number}"), "");
    }
}

#[test]
fn directory_without_list_flag_names_the_flag() {
    let folder = Folder::new().file("x/a.txt", "a");
    let server = serve(&folder).start();
    for accept in ["", HTML, JSON] {
        server.get_with("/x/", accept).status(404).says("--list").never_says("a.txt");
    }
}
