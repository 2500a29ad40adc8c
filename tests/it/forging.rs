//! Log injection: no bytes of a client forge a line of a log, add a second line, or send a terminal an escape sequence.

use std::fs::{self, File};

use serde_json::Value;

use crate::support::{Client, Folder, Process, binary, full_or_twentieth};

/// A line in the common log format, read by a strict parser.
#[derive(Debug, PartialEq)]
pub struct Common {
    /// The client's address.
    pub client: String,
    /// The request line, with its escapes resolved.
    pub request: Vec<u8>,
    /// The status.
    pub status: u16,
    /// The bytes of content.
    pub bytes: u64,
}

impl Common {
    /// Parses a whole line.
    pub fn parse(line: &[u8]) -> Option<Common> {
        let (common, rest) = Common::parse_start(line)?;
        rest.is_empty().then_some(common)
    }

    /// Parses a common line or the start of a combined one; returns the rest of the line too.
    fn parse_start(line: &[u8]) -> Option<(Common, &[u8])> {
        let (client, rest) = split(line, b" - - [")?;
        let (time, rest) = split(rest, b"] ")?;
        let (request, rest) = quoted(rest)?;
        let rest = rest.strip_prefix(b" ")?;
        let (status, rest) = split(rest, b" ")?;
        let end = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        let client = std::str::from_utf8(client).ok()?;
        client.parse::<std::net::IpAddr>().ok()?;
        let common =
            Common { client: client.to_owned(), request, status: number(status)?, bytes: number(&rest[..end])? };
        (is_time(time) && (100..600).contains(&common.status)).then_some((common, &rest[end..]))
    }
}

/// Splits at the first separator.
fn split<'b>(bytes: &'b [u8], separator: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((&bytes[..at], &bytes[at + separator.len()..]))
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    is_number.then(|| std::str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// Reports whether it has the form `21/Nov/2026:03:50:04 +0000`.
fn is_time(bytes: &[u8]) -> bool {
    const FORM: &[u8] = b"00/Aaa/0000:00:00:00 +0000";
    bytes.len() == FORM.len()
        && bytes.iter().zip(FORM).all(|(byte, form)| match form {
            b'0' => byte.is_ascii_digit(),
            b'A' => byte.is_ascii_uppercase(),
            b'a' => byte.is_ascii_lowercase(),
            sign => byte == sign,
        })
}

/// Parses a quoted string of printable ASCII whose only escapes are `\"`, `\\`, `\'`, `\t`, `\r`, `\n` and `\x` with two
/// digits; returns its bytes and the rest of the line.
fn quoted(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = bytes.strip_prefix(b"\"")?;
    let mut out = Vec::new();
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((out, rest)),
            b'\\' => {
                let (&sign, after) = rest.split_first()?;
                rest = after;
                out.push(match sign {
                    b'"' | b'\\' | b'\'' => sign,
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'n' => b'\n',
                    b'x' => {
                        let (digits, after) = rest.split_at_checked(2)?;
                        rest = after;
                        u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?
                    }
                    _ => return None,
                });
            }
            b' '..=b'~' => out.push(byte),
            _ => return None,
        }
    }
}

/// Parses a combined line; returns Referer and User-Agent too.
fn combined(line: &[u8]) -> Option<(Common, [Vec<u8>; 2])> {
    let (common, rest) = Common::parse_start(line)?;
    let (referer, rest) = quoted(rest.strip_prefix(b" ")?)?;
    let (agent, rest) = quoted(rest.strip_prefix(b" ")?)?;
    rest.is_empty().then_some((common, [referer, agent]))
}

/// Values that are sent, besides every single byte.
const SEQUENCES: [&[u8]; 31] = [
    b"\r\n127.0.0.1 - - [21/Nov/2026:03:50:04 +0000] \"GET /forged HTTP/1.1\" 200 1",
    b"\n127.0.0.1 - - [21/Nov/2026:03:50:04 +0000] \"GET /forged HTTP/1.1\" 200 1\n",
    b"\n{\"time\":\"2026-11-21T03:50:04Z\",\"client\":\"127.0.0.1\",\"status\":200}\n",
    b"\n2026-11-21T03:50:04Z WARN forged\n",
    b"\rGET /forged",
    b"\r\n\r\nGET /forged HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"\" 200 1 \"-\" \"-\"",
    b"\\\" 200 1",
    b"\\",
    b"\\\\\"",
    b"\\x0a\\u000a\\n",
    b"\",\"status\":200,\"x\":\"",
    b"\"}\n{\"a\":\"",
    b"%0d%0a%1b%22%00",
    b"\x1b[2J\x1b[H",
    b"\x1b]0;title\x07",
    b"\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\",
    b"\x1bP1;1|17/ab\x1b\\",
    "\u{9b}31m".as_bytes(),
    "\u{85}\u{2028}next\u{2029}".as_bytes(),
    "\u{202e}gnp.exe\u{202c}".as_bytes(),
    "\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}\u{202a}\u{202b}\u{202d}".as_bytes(),
    "\u{feff}\u{200b}\u{ad}\u{fffd}\u{10ffff}\u{1f600}".as_bytes(),
    b"\xc0\x8a\xe0\x80\x8a\xf0\x80\x80\x8a\xc0\xa2",
    b"\xed\xa0\x80\xed\xb0\x80",
    b"\xf4\x90\x80\x80\xf8\x88\x80\x80\x80\xfe\xff",
    b"\xe2\x80",
    b"\0\0\n\0",
    b"\t \x0b\x0c\x08\x08\x08",
    b"<script>alert(1)</script>$(id)`id`%n%s",
    b"-",
];

/// Long values; a line is up to 8 KiB long, a head up to 32.
const LONG: [(&[u8], usize); 5] =
    [(b"\x1b", 7000), (b"\"", 8100), (b"\xff", 30_000), ("\u{202e}".as_bytes(), 10_000), (b"\\\"", 40_000)];

/// Returns all values.
fn values() -> Vec<Vec<u8>> {
    let bytes = (0..=255).flat_map(|byte| [vec![b'a', byte, b'z'], vec![byte]]);
    let sequences = SEQUENCES.into_iter().map(<[u8]>::to_vec);
    bytes.chain(sequences).chain(LONG.into_iter().map(|(bytes, count)| bytes.repeat(count))).collect()
}

/// Requests with `#` for the value. Each gets one response and closes the connection, whatever the value is.
const TEMPLATES: [&str; 17] = [
    "GET /# HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET /?# HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    // The response is a redirect whose Location has the query.
    "GET /d?# HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET /d/..;/#/../%2e/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET http://#/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "G#T / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "# / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET / HTTP/#\r\nHost: a\r\nConnection: close\r\n\r\n",
    "GET /#\r\n",
    // A head without an end.
    "GET /#",
    "GET / HTTP/1.1\r\nConnection: close\r\nHost: #\r\n\r\n",
    "GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\nReferer: #\r\n\r\n",
    "GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\nUser-Agent: #\r\n\r\n",
    "GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\nAuthorization: Basic #\r\nX-Forwarded-For: #\r\n\r\n",
    "GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\n#: a\r\n\r\n",
    "GET / HTTP/1.1\r\nConnection: close\r\nHost: a\r\nRange: #\r\nIf-None-Match: #\r\nExpect: #\r\n\r\n",
    "POST / HTTP/1.1\r\nConnection: close\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1;#\r\n#\r\n0\r\n#\r\n\r\n",
];

/// A request with its parts that appear in the log.
struct Sent {
    bytes: Vec<u8>,
    /// The request line.
    line: Vec<u8>,
    /// Referer and User-Agent.
    fields: [Option<Vec<u8>>; 2],
}

impl Sent {
    fn new(template: &str, value: &[u8]) -> Sent {
        let parts: Vec<_> = template.split('#').map(str::as_bytes).collect();
        let bytes = parts.join(value);
        let begin = bytes.iter().position(|byte| !b"\r\n".contains(byte)).unwrap_or(bytes.len());
        // A CR without an LF belongs to the request line.
        let begin = if bytes[..begin].ends_with(b"\r") { begin - 1 } else { begin };
        let field = |name: &str| template.contains(name).then(|| line_of(value).trim_ascii().to_vec());
        let fields = ["Referer: #", "User-Agent: #"].map(field);
        Sent { line: line_of(&bytes[begin..]).to_vec(), bytes, fields }
    }

    /// Reports whether the log may show the request line like this. A line that is refused while it arrives is logged as far
    /// as it has arrived.
    fn is_line(&self, logged: &[u8], status: u16) -> bool {
        may_log(logged, &self.line)
            || (self.line.len() > 1000 && [400, 414].contains(&status) && self.line.starts_with(logged))
    }

    /// Reports whether the log may show the fields like this, with a dash for an absent field. Of a refused head no field is
    /// logged.
    fn are_fields(&self, logged: &[Vec<u8>; 2], status: u16) -> bool {
        let dash = || b"-".to_vec();
        let matches = |(logged, sent): (&Vec<u8>, &Option<Vec<u8>>)| may_log(logged, sent.as_ref().unwrap_or(&dash()));
        logged.iter().zip(&self.fields).all(matches) || ([400, 431].contains(&status) && *logged == [dash(), dash()])
    }

    /// Returns the same with invalid UTF-8 replaced.
    fn to_text(&self) -> Sent {
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned().into_bytes();
        let fields = self.fields.clone().map(|field| field.as_ref().map(text));
        Sent { bytes: self.bytes.clone(), line: text(&self.line), fields }
    }
}

/// Reports whether the log may show the sent bytes like this: unchanged, or cut to a beginning, three dots and an end if
/// they are long.
fn may_log(logged: &[u8], sent: &[u8]) -> bool {
    let cut = || logged.windows(3).rposition(|dots| dots == b"...");
    let is_cut = |at: usize| at >= 2000 && sent.starts_with(&logged[..at]) && sent.ends_with(&logged[at + 3..]);
    logged == sent || (sent.len() > 2048 && cut().is_some_and(is_cut))
}

/// Returns the first line without its end.
fn line_of(bytes: &[u8]) -> &[u8] {
    let line = bytes.split(|&byte| byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Sends every value in every template, or each nineteenth of these requests; returns them with the access log and the
/// diagnostics.
fn logs(flags: &[&str]) -> (Vec<Sent>, Vec<u8>, Vec<String>) {
    let folder = Folder::new().file("d/a.txt", "a");
    let out = folder.at("out");
    let mut command = binary();
    command.args(flags).args(["--port", "0", "--bind", "127.0.0.1", "--root"]).arg(folder.path());
    let mut server = Process::start(&mut command, File::create(&out).expect("the file can be made"));
    let addr = server.listening();
    let values = values();
    let all = TEMPLATES.iter().flat_map(|template| values.iter().map(move |value| (template, value)));
    let count = TEMPLATES.len() * values.len();
    // A prime stride gives each template other values.
    let stride = (count / full_or_twentieth(count)).min(19);
    let sent: Vec<_> = all.step_by(stride).map(|(template, value)| Sent::new(template, value)).collect();
    for request in &sent {
        // The server closes a connection after its line is in the log.
        Client::connect(addr).send(&request.bytes).finish().rest();
    }
    server.signal("TERM");
    let (_, diagnostics) = server.ended();
    (sent, fs::read(out).expect("the file can be read"), diagnostics)
}

/// Asserts that each request has one line and that `is_about` accepts the pair; returns the requests and the diagnostics.
#[track_caller]
fn one_line_each(flags: &[&str], is_about: fn(&[u8], &Sent) -> bool) -> (Vec<Sent>, Vec<String>) {
    let (sent, log, diagnostics) = logs(flags);
    assert_eq!(log.last(), Some(&b'\n'));
    let lines: Vec<_> = log[..log.len() - 1].split(|&byte| byte == b'\n').collect();
    for (line, request) in lines.iter().zip(&sent) {
        let shown = |bytes: &[u8]| bytes[..bytes.len().min(2000)].escape_ascii().to_string();
        assert!(is_about(line, request), "{}\nis not about\n{}", shown(line), shown(&request.bytes));
        assert!(line.len() < LINE_MAX, "a line of {} bytes", line.len());
    }
    assert_eq!(lines.len(), sent.len());
    (sent, diagnostics)
}

/// Three parts of a request with 2 KiB each, at most six bytes for each of their bytes.
const LINE_MAX: usize = 6 * 3 * 2051 + 400;

/// Parses a JSON line; joins the words of the request line with spaces and gives an absent field as a dash.
fn json(line: &[u8]) -> Option<(u16, Vec<u8>, [Vec<u8>; 2])> {
    const MEMBERS: [&str; 12] = [
        "time",
        "client",
        "method",
        "target",
        "version",
        "status",
        "bytes",
        "duration_us",
        "referer",
        "user_agent",
        "reason",
        "broken_off",
    ];
    let value: Value = serde_json::from_slice(line).ok()?;
    let members = value.as_object()?;
    let is_complete = members.len() == MEMBERS.len() && MEMBERS.iter().all(|name| members.contains_key(*name));
    let is_harmless = |char: char| !char.is_control() && !is_separator_or_bidi(char);
    if !is_complete || value["client"] != "127.0.0.1" || !std::str::from_utf8(line).ok()?.chars().all(is_harmless) {
        return None;
    }
    let words = ["method", "target", "version"].map(|name| value[name].as_str());
    let request = words.into_iter().flatten().collect::<Vec<_>>().join(" ");
    let fields = ["referer", "user_agent"].map(|name| value[name].as_str().unwrap_or("-").as_bytes().to_vec());
    Some((value["status"].as_u64()?.try_into().ok()?, request.into_bytes(), fields))
}

/// Reports whether the character is a line separator or a bidi control, which are not control characters.
fn is_separator_or_bidi(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn common_log_line_cannot_be_forged() {
    one_line_each(&["--log", "common"], |line, sent| {
        Common::parse(line).is_some_and(|line| line.client == "127.0.0.1" && sent.is_line(&line.request, line.status))
    });
}

#[test]
fn combined_log_line_cannot_be_forged() {
    one_line_each(&["--log", "combined"], |line, sent| {
        combined(line).is_some_and(|(line, fields)| {
            sent.is_line(&line.request, line.status) && sent.are_fields(&fields, line.status)
        })
    });
}

#[test]
fn json_log_line_cannot_be_forged() {
    one_line_each(&["--log", "json"], |line, sent| {
        let Some((status, request, fields)) = json(line) else { return false };
        let sent = sent.to_text();
        // A character whose last bytes have not arrived is replaced.
        let known = String::from_utf8_lossy(&request).trim_end_matches('\u{fffd}').len();
        let words = sent.line.splitn(3, |&byte| byte == b' ').filter(|word| !word.is_empty());
        let sent = Sent { line: words.collect::<Vec<_>>().join(&b' '), ..sent };
        let is_line = sent.is_line(&request, status) || (status >= 400 && sent.is_line(&request[..known], status));
        is_line && sent.are_fields(&fields, status)
    });
}

#[test]
fn diagnostic_line_cannot_be_forged() {
    for setting in ["-v", "-vv"] {
        let (sent, diagnostics) = one_line_each(&[setting], |_, _| true);
        let is_of_server = |line: &str| {
            let notes = ["warning: serve runs as root", "confined to reading ", "not confined by Landlock"];
            let end = " INFO shutting down; a second signal ends the process at once";
            notes.iter().any(|note| line.starts_with(note)) || line.contains("http://127.0.0.1:") || line.ends_with(end)
        };
        let diagnostics: Vec<_> = diagnostics.iter().filter(|line| !is_of_server(line)).collect();
        assert!(diagnostics.len() >= sent.len(), "there are only {} lines", diagnostics.len());
        for line in diagnostics {
            assert!(is_diagnosis(line), "forged: {}", line.escape_debug());
        }
    }
}

/// Reports whether these requests can cause the line: a step of a connection, or an error of the file system.
fn is_diagnosis(line: &str) -> bool {
    const TIME: &str = "2026-11-21T03:50:04Z";
    let words: Vec<_> = line.splitn(4, ' ').collect();
    let [time, level, subject, rest] = words[..] else { return false };
    let is_time = time.len() == TIME.len()
        && time
            .bytes()
            .zip(TIME.bytes())
            .all(|(byte, form)| byte == form || (byte.is_ascii_digit() && form.is_ascii_digit()));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_step =
        subject.strip_prefix('#').is_some_and(is_number) && rest.starts_with('[') && rest[2..].starts_with("] ");
    let is_cause = is_number(subject) && rest.starts_with("for ");
    let is_plain = line.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_time && ["DEBUG", "TRACE"].contains(&level) && (is_step || is_cause) && is_plain
}
