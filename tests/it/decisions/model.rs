//! Model of conditional and range requests, written from RFC 9110 §13 and §14 in their order.
//!
//! It works on the meaning of fields, not on their syntax, and it is slow and plain on purpose: it shares only the RFC
//! with the server. Where the RFC leaves a choice, the comment says "free" and names the sentence.

/// A request without its target.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: Method,
    pub if_match: Tags,
    pub if_unmodified_since: Since,
    pub if_none_match: Tags,
    pub if_modified_since: Since,
    pub if_range: IfRange,
    pub range: Range<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Options,
    Post,
}

/// The value of If-Match or If-None-Match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tags {
    Absent,
    Any,
    List(&'static [Tag]),
    /// It contains no valid entity tag.
    Malformed,
}

/// An entity tag of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    pub is_weak: bool,
    /// Whether the opaque part is that of the selected representation.
    pub is_own: bool,
}

/// The value of If-Modified-Since or If-Unmodified-Since; a date is in seconds from 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    Absent,
    Date(i64),
    /// No single date.
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfRange {
    Absent,
    Tag(Tag),
    Date(i64),
    /// Neither a tag nor a date.
    Malformed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range<'a> {
    Absent,
    /// A value with another unit, or none that the grammar of §14.1.1 allows.
    Unread(&'static str),
    /// Byte ranges.
    Set(&'a [Spec]),
}

/// One range-spec (§14.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spec {
    /// `first-last`
    Closed(usize, usize),
    /// `first-`
    Open(usize),
    /// `-length`
    Suffix(usize),
}

/// The resource that the target identifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    Nothing,
    /// A directory whose slash is missing in the target.
    Elsewhere,
    /// A file with its length in bytes and its modification time in seconds after 1970.
    File {
        len: usize,
        modified: i64,
    },
}

/// The kind of response. A span is its first and its last byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Whole,
    Part((usize, usize)),
    Parts(Vec<(usize, usize)>),
    NotModified,
    PreconditionFailed,
    RangeNotSatisfiable,
    NotFound,
    MovedPermanently,
    /// The response to OPTIONS.
    NoContent,
    MethodNotAllowed,
    /// A response of the server that the model never makes.
    Other(String),
}

/// Decides about a request whose response has the Date `now`.
pub fn decide(request: &Request<'_>, resource: Resource, now: i64) -> Decision {
    // §13.2.1: "A server MUST ignore the conditional request header fields defined by this specification when received
    // with a request method that does not involve the selection or modification of a selected representation, such as
    // CONNECT, OPTIONS, or TRACE."
    if request.method == Method::Options {
        return Decision::NoContent;
    }

    // §13.2.1: "A server MUST ignore all received preconditions if its response to the same request without those
    // conditions, prior to processing the request content, would have been a status code other than a 2xx (Successful)
    // or 412 (Precondition Failed)."
    if request.method == Method::Post {
        return Decision::MethodNotAllowed;
    }
    let (len, modified) = match resource {
        Resource::Nothing => return Decision::NotFound,
        Resource::Elsewhere => return Decision::MovedPermanently,
        Resource::File { len, modified } => (len, modified),
    };

    match precondition(request, modified, now) {
        Some(decision) => decision,
        None => range(request, len, last_modified(modified, now)),
    }
}

/// Evaluates the preconditions of a GET or HEAD in the order of §13.2.2; returns none if all are true.
fn precondition(request: &Request<'_>, modified: i64, now: i64) -> Option<Decision> {
    // 1: "When recipient is the origin server and If-Match is present, evaluate the If-Match precondition".
    if request.if_match != Tags::Absent && !if_match(request.if_match) {
        return Some(Decision::PreconditionFailed);
    }

    // 2: "When recipient is the origin server, If-Match is not present, and If-Unmodified-Since is present".
    let date = (modified >= 0).then_some(modified.min(now));
    if request.if_match == Tags::Absent && !if_unmodified_since(request.if_unmodified_since, date) {
        return Some(Decision::PreconditionFailed);
    }

    // 3: "When If-None-Match is present, evaluate the If-None-Match precondition: … if false for GET/HEAD, respond
    // 304".
    if request.if_none_match != Tags::Absent && !if_none_match(request.if_none_match) {
        return Some(Decision::NotModified);
    }

    // 4: "When the method is GET or HEAD, If-None-Match is not present, and If-Modified-Since is present".
    let date = last_modified(modified, now);
    if request.if_none_match == Tags::Absent && !if_modified_since(request.if_modified_since, date) {
        return Some(Decision::NotModified);
    }

    None
}

/// Decides whether a Range field counts, and which bytes it selects.
fn range(request: &Request<'_>, len: usize, modified: Option<i64>) -> Decision {
    // §14.2: "A server MUST ignore a Range header field received with a request method that is unrecognized or for
    // which range handling is not defined. For this specification, GET is the only method for which range handling is
    // defined."
    if request.method != Method::Get {
        return Decision::Whole;
    }

    // §13.1.5: "A server MUST ignore an If-Range header field received in a request that does not contain a Range
    // header field."
    if request.range == Range::Absent {
        return Decision::Whole;
    }

    // §13.2.2, 5 and §13.1.5: "A recipient of an If-Range header field MUST ignore the Range header field if the
    // If-Range condition evaluates as false. Otherwise, the recipient SHOULD process the Range header field as
    // requested."
    if request.if_range != IfRange::Absent && !if_range(request.if_range, modified) {
        return Decision::Whole;
    }

    // Of a true If-Range and a range that cannot be satisfied, step 5 says "otherwise, ignore the Range header field
    // and respond 200 (OK)", if "applicable" means satisfiable. §14.2 says of the same request: "If all of the
    // preconditions are true, … and … the ranges-specifier is unsatisfiable with respect to the selected
    // representation, the server SHOULD send a 416". Free between the two: as with the SHOULD of §13.1.5 above, the
    // range is processed.
    match request.range {
        Range::Absent => Decision::Whole,
        // §14.2: "An origin server MUST ignore a Range header field that contains a range unit it does not understand."
        // Free: "A server that supports range requests MAY ignore or reject a Range header field that contains an
        // invalid ranges-specifier".
        Range::Unread(_) => Decision::Whole,
        Range::Set(specs) => select(specs, len),
    }
}

/// §8.8.2.1: "An origin server with a clock … MUST NOT generate a Last-Modified date that is later than the server's
/// time of message origination (Date)." Free: it is required only where it "can be reasonably and consistently
/// determined". This server has none before 1970, and none until the date is strong (§8.8.2.2): the "origin server reliably
/// knows that the associated representation did not change twice during the second covered by the presented validator".
pub fn last_modified(modified: i64, now: i64) -> Option<i64> {
    (0..now).contains(&modified).then_some(modified)
}

/// §13.1.1: "If the field value is "*", the condition is true if the origin server has a current representation for the
/// target resource. If the field value is a list of entity tags, the condition is true if any of the listed tags match
/// the entity tag of the selected representation. Otherwise, the condition is false." — "An origin server MUST use the
/// strong comparison function when comparing entity tags for If-Match".
fn if_match(tags: Tags) -> bool {
    match tags {
        Tags::Any => true,
        Tags::List(tags) => tags.iter().any(|tag| strong_comparison(*tag)),
        Tags::Malformed => false,
        Tags::Absent => unreachable!("an absent field is not evaluated"),
    }
}

/// §13.1.2: "If the field value is "*", the condition is false if the origin server has a current representation for
/// the target resource. If the field value is a list of entity tags, the condition is false if one of the listed tags
/// matches the entity tag of the selected representation. Otherwise, the condition is true." — "A recipient MUST use
/// the weak comparison function when comparing entity tags for If-None-Match".
fn if_none_match(tags: Tags) -> bool {
    match tags {
        Tags::Any => false,
        Tags::List(tags) => !tags.iter().any(|tag| weak_comparison(*tag)),
        Tags::Malformed => true,
        Tags::Absent => unreachable!("an absent field is not evaluated"),
    }
}

/// §8.8.3.2: "two entity tags are equivalent if both are not weak and their opaque-tags match character-by-character."
/// The tag of the selected representation is strong.
fn strong_comparison(tag: Tag) -> bool {
    !tag.is_weak && tag.is_own
}

/// §8.8.3.2: "two entity tags are equivalent if their opaque-tags match character-by-character, regardless of either or
/// both being tagged as "weak"."
fn weak_comparison(tag: Tag) -> bool {
    tag.is_own
}

/// §13.1.3: "If the selected representation's last modification date is earlier or equal to the date provided in the
/// field value, the condition is false. Otherwise, the condition is true." It is ignored "if the received field value
/// is not a valid HTTP-date, the field value has more than one member" and "if the resource does not have a
/// modification date available".
fn if_modified_since(since: Since, modified: Option<i64>) -> bool {
    match (since, modified) {
        (Since::Date(date), Some(modified)) => modified > date,
        (Since::Absent | Since::Malformed, _) | (_, None) => true,
    }
}

/// §13.1.4: "If the selected representation's last modification date is earlier than or equal to the date provided in
/// the field value, the condition is true. Otherwise, the condition is false." It is ignored "if the received field
/// value is not a valid HTTP-date (including when the field value appears to be a list of dates)" and "if the resource
/// does not have a modification date available".
fn if_unmodified_since(since: Since, modified: Option<i64>) -> bool {
    match (since, modified) {
        (Since::Date(date), Some(modified)) => modified <= date,
        (Since::Absent | Since::Malformed, _) | (_, None) => true,
    }
}

/// §13.1.5: "If the HTTP-date validator provided is not a strong validator in the sense defined by Section 8.8.2.2, the
/// condition is false. If the HTTP-date validator provided exactly matches the Last-Modified field value for the
/// selected representation, the condition is true. Otherwise, the condition is false." — "If the entity-tag validator
/// provided exactly matches the ETag field value for the selected representation using the strong comparison function
/// …, the condition is true. Otherwise, the condition is false."
fn if_range(validator: IfRange, modified: Option<i64>) -> bool {
    match validator {
        IfRange::Tag(tag) => strong_comparison(tag),
        IfRange::Date(date) => modified == Some(date),
        IfRange::Malformed => false,
        IfRange::Absent => unreachable!("an absent field is not evaluated"),
    }
}

/// Returns the bytes of `len` that a set of ranges selects, found by painting them one by one.
fn select(specs: &[Spec], len: usize) -> Decision {
    // §14.1.1: "An int-range is invalid if the last-pos value is present and less than first-pos." — "A
    // ranges-specifier is invalid if it contains any range-spec that is invalid or undefined for the indicated
    // range-unit." Free, as above.
    if specs.iter().any(|spec| matches!(spec, Spec::Closed(first, last) if last < first)) {
        return Decision::Whole;
    }

    // §14.1.2: "the byte positions specified are inclusive", a last-pos beyond the end is "the remainder of the
    // representation", and "If the selected representation is shorter than the specified suffix-length, the entire
    // representation is used." The first range with a byte is its painter.
    let has = |spec: &Spec, at: usize| match *spec {
        Spec::Closed(first, last) => first <= at && at <= last,
        Spec::Open(first) => first <= at,
        Spec::Suffix(length) => len - at <= length,
    };
    let painters: Vec<_> = (0..len).map(|at| specs.iter().position(|spec| has(spec, at))).collect();

    // Free: "A server MAY ignore the Range header field" (§14.2). This one does if the ranges together exceed the file.
    let asked: usize = (0..len).map(|at| specs.iter().filter(|spec| has(spec, at)).count()).sum();
    if asked > len {
        return Decision::Whole;
    }

    // §15.3.7.2: "a server MAY coalesce any of the ranges that overlap" (free: it does, those that touch too), and it
    // "SHOULD send the parts in the same order that the corresponding range-spec appeared in the received Range header
    // field, excluding those ranges that were deemed unsatisfiable or that were coalesced into other ranges".
    let mut spans: Vec<(usize, (usize, usize))> = Vec::new();
    for (at, painter) in painters.iter().enumerate() {
        let Some(painter) = *painter else { continue };
        match spans.last_mut() {
            Some((first_painter, (_, last))) if *last + 1 == at => {
                *last = at;
                *first_painter = painter.min(*first_painter);
            }
            _ => spans.push((painter, (at, at))),
        }
    }
    spans.sort_unstable();
    let spans: Vec<_> = spans.into_iter().map(|(_, span)| span).collect();

    match spans[..] {
        // §14.1.2: "When a selected representation has zero length, the only satisfiable form of range-spec in a GET
        // request is a suffix-range with a non-zero suffix-length." But a Content-Range always has at least one byte (§14.4).
        // Free: "A server MAY ignore the Range header field".
        [] if specs.iter().any(|spec| matches!(spec, Spec::Suffix(1..))) => Decision::Whole,
        // §14.2, §15.5.17.
        [] => Decision::RangeNotSatisfiable,
        // §15.3.7.2: "A server MUST NOT generate a multipart response to a request for a single range". With one left of
        // several it is free: "MAY generate a multipart/byteranges response with only a single body part".
        [span] => Decision::Part(span),
        _ => Decision::Parts(spans),
    }
}
