//! Enumeration of requests, and their syntax.

use std::fmt::Write;
use std::time::{Duration, UNIX_EPOCH};

use super::model::{IfRange, Method, Range, Request, Since, Spec, Tag, Tags};

const OWN: Tag = Tag { is_weak: false, is_own: true };
const OWN_WEAK: Tag = Tag { is_weak: true, is_own: true };
const OTHER: Tag = Tag { is_weak: false, is_own: false };
const OTHER_WEAK: Tag = Tag { is_weak: true, is_own: false };

const TAGS: [Tags; 7] = [
    Tags::Absent,
    Tags::Any,
    Tags::List(&[OWN]),
    Tags::List(&[OWN_WEAK]),
    Tags::List(&[OTHER]),
    Tags::List(&[OTHER, OTHER_WEAK, OWN]),
    Tags::Malformed,
];

/// Dates in this file count from Last-Modified until [`dated`] makes them absolute.
const SINCE: [Since; 5] = [Since::Absent, Since::Date(-1), Since::Date(0), Since::Date(1000), Since::Malformed];

const IF_RANGE: [IfRange; 8] = [
    IfRange::Absent,
    IfRange::Tag(OWN),
    IfRange::Tag(OWN_WEAK),
    IfRange::Tag(OTHER),
    IfRange::Date(-1),
    IfRange::Date(0),
    IfRange::Date(1000),
    IfRange::Malformed,
];

/// Ranges for a file of 26 bytes.
const RANGES: [Range<'_>; 10] = [
    Range::Absent,
    Range::Set(&[Spec::Closed(0, 4)]),
    Range::Set(&[Spec::Open(7)]),
    Range::Set(&[Spec::Suffix(3)]),
    Range::Set(&[Spec::Closed(20, 99)]),
    Range::Set(&[Spec::Closed(20, 21), Spec::Open(26), Spec::Closed(0, 1)]),
    Range::Set(&[Spec::Open(26), Spec::Closed(99, 100)]),
    Range::Set(&[Spec::Suffix(0)]),
    Range::Unread("bytes=0-4;q=1"),
    Range::Unread("lines=0-4"),
];

/// The share of all combinations that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    All,
    /// Every combination of any five of the six fields.
    Fifth,
    /// Every combination of the four preconditions, each with an If-Range and a Range in turn.
    OnePerPreconditions,
}

/// Enumerates the combinations.
pub fn requests(method: Method, share: Share) -> impl Iterator<Item = Request<'static>> {
    let lengths = [TAGS.len(), SINCE.len(), TAGS.len(), SINCE.len(), IF_RANGE.len(), RANGES.len()];
    let preconditions: usize = lengths[..4].iter().product();
    let pairs: usize = lengths[4..].iter().product();
    (0..preconditions * pairs).filter_map(move |index| {
        let mut rest = index;
        let at = lengths.map(|length| {
            let digit = rest % length;
            rest /= length;
            digit
        });
        let is_sent = match share {
            Share::All => true,
            Share::Fifth => at.iter().sum::<usize>().is_multiple_of(5),
            Share::OnePerPreconditions => index % preconditions % pairs == index / preconditions,
        };
        is_sent.then_some(Request {
            method,
            if_match: TAGS[at[0]],
            if_unmodified_since: SINCE[at[1]],
            if_none_match: TAGS[at[2]],
            if_modified_since: SINCE[at[3]],
            if_range: IF_RANGE[at[4]],
            range: RANGES[at[5]],
        })
    })
}

/// A GET without conditions.
pub fn get(range: Range<'_>) -> Request<'_> {
    let (no_tags, no_date) = (Tags::Absent, Since::Absent);
    Request {
        method: Method::Get,
        if_match: no_tags,
        if_unmodified_since: no_date,
        if_none_match: no_tags,
        if_modified_since: no_date,
        if_range: IfRange::Absent,
        range,
    }
}

/// Returns every set of one, two or three ranges whose numbers are at most the length of the file. A file of five bytes
/// gets a seventh of the sets of three, in which every two ranges still meet.
pub fn range_sets(len: usize) -> Vec<Vec<Spec>> {
    let numbers = || 0..=len;
    let closed = numbers().flat_map(|first| numbers().map(move |last| Spec::Closed(first, last)));
    let specs: Vec<_> = closed.chain(numbers().map(Spec::Open)).chain(numbers().map(Spec::Suffix)).collect();
    let mut sets = Vec::new();
    for (i, &one) in specs.iter().enumerate() {
        sets.push(vec![one]);
        for (j, &two) in specs.iter().enumerate() {
            sets.push(vec![one, two]);
            let is_sent = |k: usize| len < 5 || (i + j + k).is_multiple_of(7);
            sets.extend(specs.iter().enumerate().filter(|(k, _)| is_sent(*k)).map(|(_, &three)| vec![one, two, three]));
        }
    }
    sets
}

/// Makes the dates absolute; without a Last-Modified, any date will do.
pub fn dated<'a>(request: &Request<'a>, last_modified: Option<i64>) -> Request<'a> {
    let origin = last_modified.unwrap_or(1_000_000_000);
    let since = |since| match since {
        Since::Date(after) => Since::Date(origin + after),
        other => other,
    };
    Request {
        if_unmodified_since: since(request.if_unmodified_since),
        if_modified_since: since(request.if_modified_since),
        if_range: match request.if_range {
            IfRange::Date(after) => IfRange::Date(origin + after),
            other => other,
        },
        ..*request
    }
}

/// Writes a request whose dates are absolute.
pub fn written(request: &Request<'_>, target: &str, opaque: &str) -> String {
    let method = match request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Options => "OPTIONS",
        Method::Post => "POST",
    };
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: localhost\r\n");
    let mut line = |name: &str, value: &str| write!(text, "{name}: {value}\r\n").expect("memory can be written to");
    // Reverse order: the order of the fields has no meaning.
    match request.range {
        Range::Absent => {}
        Range::Unread(value) => line("Range", value),
        Range::Set(specs) => line("Range", &format!("bytes={}", join(specs, spec))),
    }
    match request.if_range {
        IfRange::Absent => {}
        IfRange::Tag(one) => line("If-Range", &tag(one, opaque)),
        IfRange::Date(date) => line("If-Range", &http_date(date)),
        IfRange::Malformed => line("If-Range", opaque),
    }
    // A list of dates whose first or last member, if it counted, would change the decision.
    let mut since = |name, value, malformed| match value {
        Since::Absent => {}
        Since::Date(date) => line(name, &http_date(date)),
        Since::Malformed => line(name, &format!("{0}, {0}", http_date(malformed))),
    };
    since("If-Modified-Since", request.if_modified_since, 5_000_000_000);
    since("If-Unmodified-Since", request.if_unmodified_since, 0);
    let mut tags = |name, value| match value {
        Tags::Absent => {}
        Tags::Any => line(name, "*"),
        Tags::List(tags) => line(name, &join(tags, |one| tag(one, opaque))),
        Tags::Malformed => line(name, opaque),
    };
    tags("If-None-Match", request.if_none_match);
    tags("If-Match", request.if_match);
    text + "\r\n"
}

fn join<T: Copy>(items: &[T], text: impl Fn(T) -> String) -> String {
    items.iter().map(|&item| text(item)).collect::<Vec<_>>().join(", ")
}

fn spec(spec: Spec) -> String {
    match spec {
        Spec::Closed(first, last) => format!("{first}-{last}"),
        Spec::Open(first) => format!("{first}-"),
        Spec::Suffix(length) => format!("-{length}"),
    }
}

fn tag(tag: Tag, opaque: &str) -> String {
    let weak = if tag.is_weak { "W/" } else { "" };
    let opaque = if tag.is_own { opaque } else { "other" };
    format!("{weak}\"{opaque}\"")
}

/// Writes a date as §5.6.7 prefers it.
pub fn http_date(secs: i64) -> String {
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(secs.cast_unsigned()))
}
