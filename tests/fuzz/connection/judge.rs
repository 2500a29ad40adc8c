//! Comparison of a client's received bytes with the expected responses.

use std::sync::LazyLock;

use super::fixture::{FILES, Known, MODIFIED, OUTSIDE};
use super::foretell::{Due, foretell};
use super::oracle::RequestHead as Asked;
use super::response::{Response, read_fields};
use super::script::{End, Heard, Script};

/// The fields that this server writes, each at most once.
const FIELDS: [&str; 16] = [
    "Accept-Ranges",
    "Allow",
    "Cache-Control",
    "Connection",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Date",
    "ETag",
    "Last-Modified",
    "Location",
    "Repr-Digest",
    "Retry-After",
    "Server",
    "Vary",
    "X-Content-Type-Options",
];

/// The fields that make a response conditional or partial.
const CONDITIONS: [&str; 6] =
    ["If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since", "If-Range", "Range"];

static CONTENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| FILES.iter().map(Known::content).collect());

static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| FILES.iter().map(Known::etag).collect());

/// The resource of a target without percent-encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resource {
    /// A file, by its index in [`FILES`].
    File(usize),
    Redirect,
    Listing,
    Nothing,
    /// A resource outside the scope of this check.
    Unknown,
}

/// Checks the responses and the end of the connection.
pub fn judge(script: &Script, heard: &Heard) {
    let foretold = foretell(script);
    let mut rest = &heard.bytes[..];
    for due in &foretold.dues {
        if due.refused.is_none() && due.asked.as_ref().is_some_and(|asked| asked.version == 9) {
            judge_bare(script, due, rest, heard.is_broken);
            rest = b"";
            break;
        }
        let Some((response, behind)) = Response::read(rest, due.is_to_head) else {
            assert!(heard.is_broken, "incomplete response: {}\n{due:?}", rest.escape_ascii());
            rest = b"";
            break;
        };
        judge_response(script, due, &response);
        rest = behind;
    }
    assert!(rest.is_empty(), "an unexpected response: {}\n{foretold:?}", rest.escape_ascii());
    assert_ne!(heard.end, End::Open, "the connection was not closed");
    let is_abort = heard.end == End::Abort;
    assert_eq!(is_abort, heard.is_broken || foretold.is_reset, "{:?}\n{foretold:?}", heard.end);
    let holds = |bytes: &[u8]| bytes.windows(OUTSIDE.len()).any(|window| window == OUTSIDE);
    assert!(!holds(&heard.bytes) || holds(&script.says), "a link led out of the root");
}

/// Checks a response of HTTP/0.9, which is the content alone.
fn judge_bare(script: &Script, due: &Due<'_>, bytes: &[u8], is_broken: bool) {
    assert!(!due.keeps);
    let asked = due.asked.as_ref().expect("a served response has a request");
    if let Resource::File(at) = resource(script, asked) {
        let content = &CONTENTS[at];
        assert!(if is_broken { content.starts_with(bytes) } else { content == bytes }, "{due:?}");
    }
}

fn judge_response(script: &Script, due: &Due<'_>, response: &Response<'_>) {
    let (status, field) = (response.status, |name| response.field(name));
    for (name, _) in &response.fields {
        assert!(FIELDS.contains(name) && field(name).is_some(), "an unexpected field: {response:?}");
    }
    assert!(field("Date").is_some_and(is_date), "{response:?}");
    assert_eq!((field("Server"), field("X-Content-Type-Options")), (Some("serve"), Some("nosniff")), "{response:?}");
    let version = due.asked.as_ref().map(|asked| asked.version);
    let connection = match (due.keeps, version) {
        (false, _) => Some("close"),
        (true, Some(10)) => Some("keep-alive"),
        (true, _) => None,
    };
    assert_eq!(field("Connection"), connection, "{response:?}\n{due:?}");
    match (due.refused, &due.asked) {
        (Some(statuses), _) => {
            assert!(statuses.contains(&status), "{response:?}\n{due:?}");
            judge_page(due, response);
        }
        (None, Some(asked)) => {
            let allowed = statuses(script, asked);
            assert!(allowed.contains(&status), "{status} instead of {allowed:?}\n{response:?}\n{asked:?}");
            judge_content(script, due, asked, response);
        }
        (None, None) => unreachable!("bytes that are not a request are refused"),
    }
}

/// Returns the statuses that a response to this request may have.
fn statuses(script: &Script, asked: &Asked<'_>) -> Vec<u16> {
    match is_host(asked) {
        Some(false) => vec![400],
        None => [vec![400], by_method(script, asked)].concat(),
        Some(true) => by_method(script, asked),
    }
}

fn by_method(script: &Script, asked: &Asked<'_>) -> Vec<u16> {
    let resource = resource(script, asked);
    match asked.method {
        b"GET" | b"HEAD" => {}
        b"OPTIONS" if asked.target == b"*" || resource != Resource::Unknown => return vec![204],
        b"OPTIONS" => return vec![204, 400, 404],
        b"POST" | b"PUT" | b"DELETE" | b"TRACE" | b"PATCH" | b"CONNECT" => return vec![405],
        _ => return vec![501],
    }
    let has_any = |names: &[&str]| names.iter().any(|name| asked.has(name));
    let mut file = vec![200];
    if has_any(&["If-Match", "If-Unmodified-Since"]) {
        file.push(412);
    }
    if has_any(&["If-None-Match", "If-Modified-Since"]) {
        file.push(304);
    }
    if asked.method == b"GET" && asked.has("Range") {
        file.extend([206, 416]);
    }
    match resource {
        Resource::File(at) => match simple_range(asked) {
            Some((first, last)) if first > last => vec![200],
            Some((first, _)) if first >= FILES[at].len => vec![416],
            Some(_) => vec![206],
            None => file,
        },
        Resource::Redirect => vec![301],
        Resource::Listing if script.list => vec![200],
        Resource::Listing | Resource::Nothing => vec![404],
        Resource::Unknown => [file, vec![301, 400, 404]].concat(),
    }
}

/// Reports whether the Host field is valid; none if this simple check cannot decide.
fn is_host(asked: &Asked<'_>) -> Option<bool> {
    let hosts: Vec<_> = asked.all("Host").collect();
    match hosts[..] {
        [] => Some(asked.version < 11),
        [host] => {
            let (name, port) = host.split_at(host.iter().position(|byte| *byte == b':').unwrap_or(host.len()));
            let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
            let is_port = port.is_empty() || port[1..].iter().all(u8::is_ascii_digit);
            if host.is_empty() || !name.is_empty() && name.iter().all(is_plain) && is_port {
                return Some(true);
            }
            let is_wrong = |byte: &u8| !byte.is_ascii_graphic() || b"/?#@\\<>\"^`{|}".contains(byte);
            if host.iter().any(is_wrong) { Some(false) } else { None }
        }
        _ => Some(false),
    }
}

/// Returns the resource of the target.
fn resource(script: &Script, asked: &Asked<'_>) -> Resource {
    let Ok(target) = str::from_utf8(asked.target) else { return Resource::Unknown };
    let path = if target.contains('#') { target } else { target.split('?').next().unwrap_or_default() };
    let name = match path {
        "/" => "index.html",
        "/link" => "a.txt",
        "/dir/sub/" => "dir/sub/index.html",
        "/dir" | "/dir/sub" | "/bare" => return Resource::Redirect,
        "/dir/" | "/bare/" => return Resource::Listing,
        "/out" | "/etc/passwd" | "/a.txt/" | "/nothing" => return Resource::Nothing,
        path => path.strip_prefix('/').unwrap_or_default(),
    };
    match FILES.iter().position(|known| known.name == name) {
        Some(at) if FILES[at].is_hidden && !script.hidden => Resource::Nothing,
        Some(at) => Resource::File(at),
        None => Resource::Unknown,
    }
}

/// Returns the first and last byte that a GET requests, if it has one plain range and no condition.
fn simple_range(asked: &Asked<'_>) -> Option<(usize, usize)> {
    let has_other = CONDITIONS[..5].iter().any(|name| asked.has(name));
    let values: Vec<_> = asked.all("Range").collect();
    let [value] = values[..] else { return None };
    let (first, last) = str::from_utf8(value.strip_prefix(b"bytes=")?).ok()?.split_once('-')?;
    let number = |text: &str| {
        let is_short = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_short)
    };
    (asked.method == b"GET" && !has_other).then_some((number(first)?, number(last)?))
}

/// Checks the fields and the content of the response to a complete request.
fn judge_content(script: &Script, due: &Due<'_>, asked: &Asked<'_>, response: &Response<'_>) {
    let field = |name| response.field(name);
    let etag = field("ETag");
    let at = etag.map(|etag| TAGS.iter().position(|tag| tag == etag));
    let at = at.map(|at| at.unwrap_or_else(|| panic!("no file has this tag: {response:?}")));
    if let (Some(at), Resource::File(expected)) = (at, resource(script, asked)) {
        assert_eq!(at, expected, "another file: {response:?}");
    }
    match (response.status, at) {
        (200 | 206, Some(at)) => {
            assert!(script.hidden || !FILES[at].is_hidden, "a hidden file: {response:?}");
            assert_eq!(field("Last-Modified"), Some(MODIFIED), "{response:?}");
            assert_eq!(field("Accept-Ranges"), Some("bytes"), "{response:?}");
            judge_representation(due, asked, response, at);
        }
        (200, None) => {
            assert!(script.list, "a listing: {response:?}");
            let is_html = field("Content-Type") == Some("text/html; charset=utf-8");
            let start: &[u8] = if is_html { b"<!DOCTYPE html>" } else { b"{\"path\":\"/" };
            assert!(due.is_to_head || response.content.starts_with(start), "{response:?}");
        }
        (304, at) => {
            // By the tag or by the date, and with that alone.
            let is_dated = field("Last-Modified") == Some(MODIFIED) && asked.has("If-Modified-Since");
            assert!(at.is_some() != is_dated && field("Content-Type").is_none(), "{response:?}");
        }
        (204, None) => assert_eq!(field("Allow"), Some("GET, HEAD, OPTIONS"), "{response:?}"),
        (404, None) if !due.is_to_head && response.content == CONTENTS[1] => {}
        (400.., None) | (301, None) => {
            assert_eq!(field("Location").is_some(), response.status == 301, "{response:?}");
            assert_eq!(field("Allow").is_some(), response.status == 405, "{response:?}");
            judge_page(due, response);
        }
        _ => panic!("the fields do not fit the status: {response:?}"),
    }
}

/// Checks a response with a file or a part of it.
fn judge_representation(due: &Due<'_>, asked: &Asked<'_>, response: &Response<'_>, at: usize) {
    let (known, content) = (&FILES[at], &CONTENTS[at]);
    let media_type = response.field("Content-Type").expect("a file has a type");
    let range = response.field("Content-Range");
    if response.status == 200 {
        assert_eq!(response.field("Content-Length"), Some(known.len.to_string().as_str()), "{response:?}");
        assert!(due.is_to_head || response.content == *content, "other content: {response:?}");
        assert!(range.is_none(), "{response:?}");
    } else if let Some(range) = range {
        let (first, last) = span(range, known);
        assert_eq!(response.content, &content[first..=last], "other content: {response:?}");
        if let Some((asked_first, asked_last)) = simple_range(asked) {
            assert_eq!((first, last), (asked_first, asked_last.min(known.len - 1)), "{response:?}");
        }
    } else {
        let boundary = media_type
            .strip_prefix("multipart/byteranges; boundary=")
            .expect("a 206 without Content-Range is multipart");
        return judge_parts(response, boundary, at);
    }
    assert!(is_type_of(known, media_type), "another type: {response:?}");
}

/// Reports whether the file can have this type, which follows from the name; a link may have another name.
fn is_type_of(known: &Known, media_type: &str) -> bool {
    media_type == known.media_type || known.name == "a.txt" && media_type == "application/octet-stream"
}

/// Checks the parts of a response with several ranges (RFC 9110 §14.6).
fn judge_parts(response: &Response<'_>, boundary: &str, at: usize) {
    let (known, content) = (&FILES[at], &CONTENTS[at]);
    let mut rest = response.content;
    let start = format!("--{boundary}\r\n");
    let end = format!("\r\n--{boundary}--\r\n");
    let mut count = 0;
    while rest != end.as_bytes() {
        let between = if count == 0 { "" } else { "\r\n" };
        let part = rest.strip_prefix(between.as_bytes()).and_then(|rest| rest.strip_prefix(start.as_bytes()));
        rest = part.unwrap_or_else(|| panic!("not a part: {}", rest.escape_ascii()));
        let fields = read_fields(&mut rest).expect("a part has fields");
        let [("Content-Type", media_type), ("Content-Range", range)] = fields[..] else { panic!("{fields:?}") };
        let (first, last) = span(range, known);
        assert!(is_type_of(known, media_type), "another type: {fields:?}");
        let bytes = &content[first..=last];
        rest = rest.strip_prefix(bytes).unwrap_or_else(|| panic!("other content: {}", rest.escape_ascii()));
        count += 1;
    }
    assert!((2..=16).contains(&count), "{count} parts");
}

/// Parses `bytes first-last/length`.
fn span(range: &str, known: &Known) -> (usize, usize) {
    let read = || {
        let (span, len) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        Some((first.parse().ok()?, last.parse().ok()?, len.parse().ok()?))
    };
    let (first, last, len): (usize, usize, usize) = read().unwrap_or_else(|| panic!("not a span: {range:?}"));
    assert!(first <= last && last < len && len == known.len, "{range:?} of {known:?}");
    (first, last)
}

/// Checks that a page begins with its status, in text and in HTML.
fn judge_page(due: &Due<'_>, response: &Response<'_>) {
    let is_html = match response.field("Content-Type") {
        Some("text/html; charset=utf-8") => true,
        Some("text/plain; charset=utf-8") => false,
        _ => panic!("not a page: {response:?}"),
    };
    let page = str::from_utf8(response.content).expect("a page is text");
    let title = format!("{} {}", response.status, response.reason);
    let is_titled = if is_html {
        page.starts_with("<!DOCTYPE html>") && page.contains(&format!("<h1>{title}</h1>"))
    } else {
        page.starts_with(&format!("{title}\n\n"))
    };
    assert!(due.is_to_head || is_titled, "{response:?}\n{page}");
}

/// Reports whether the text is a date in the preferred format: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn is_date(text: &str) -> bool {
    let form = "Aaa, 00 Aaa 0000 00:00:00 GMT";
    let fits = |(byte, form): (u8, u8)| match form {
        b'0' => byte.is_ascii_digit(),
        b'a' => byte.is_ascii_lowercase(),
        b'A' => byte.is_ascii_uppercase(),
        form => byte == form,
    };
    text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
}
