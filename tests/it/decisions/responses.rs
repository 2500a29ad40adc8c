//! Checks of a response against RFC 9110: the decision in it, its fields and its content.

use std::time::UNIX_EPOCH;

use super::model::{Decision, IfRange, Method, Request, Resource, Tags, last_modified};
use super::space::http_date;
use super::{Fields, Target};
use crate::support::Response;

/// Reads the server's decision from a response.
pub fn decision_of(response: &Response) -> Decision {
    match response.status {
        200 => Decision::Whole,
        204 => Decision::NoContent,
        206 if response.all("Content-Range").is_empty() => match parts(response) {
            Some(parts) => Decision::Parts(parts.into_iter().map(|part| part.span).collect()),
            None => Decision::Other("206 without parts".to_owned()),
        },
        206 => match span(response.field("Content-Range")) {
            Some((span, _)) => Decision::Part(span),
            None => Decision::Other("206 without a span".to_owned()),
        },
        301 => Decision::MovedPermanently,
        304 => Decision::NotModified,
        404 => Decision::NotFound,
        405 => Decision::MethodNotAllowed,
        412 => Decision::PreconditionFailed,
        416 => Decision::RangeNotSatisfiable,
        _ => Decision::Other(response.status_line.clone()),
    }
}

/// A response with its request.
pub struct Check<'a> {
    pub target: &'a Target,
    pub request: &'a Request<'a>,
    pub response: &'a Response,
}

/// A description of the first fault, if there is one.
type Fault = Option<String>;

impl Check<'_> {
    /// Checks the fields and the content of a response with the expected decision.
    pub fn fault(&self, decision: &Decision) -> Fault {
        let bytes = self.target.content.as_bytes();
        let len = bytes.len();
        match decision {
            // §14.4: Content-Range has a meaning only in 206 and 416.
            Decision::Whole => {
                let content = if self.request.method == Method::Head { b"" } else { bytes };
                let length = self.is("Content-Length", &len.to_string()).or_else(|| self.content(content));
                length
                    .or_else(|| self.lacks("Content-Range"))
                    .or_else(|| self.modified())
                    .or_else(|| self.same(decision))
            }
            Decision::Part((first, last)) => {
                let length = self.is("Content-Length", &(last + 1 - first).to_string());
                let content = length.or_else(|| self.content(&bytes[*first..=*last]));
                let span = content.or_else(|| self.is("Content-Range", &format!("bytes {first}-{last}/{len}")));
                span.or_else(|| self.of_the_whole(&["Content-Type", "Accept-Ranges"]))
            }
            // §15.3.7.2: "a Content-Range header field MUST NOT be generated in the HTTP header section".
            Decision::Parts(_) => {
                let parts = parts(self.response).unwrap_or_default();
                let part =
                    self.lacks("Content-Range").or_else(|| parts.iter().find_map(|part| part.fault(self.target)));
                part.or_else(|| self.of_the_whole(&["Accept-Ranges"]))
            }
            // §15.4.5: the fields that guide a cache, and none that describe content.
            // A date cannot vouch for an entity tag.
            Decision::NotModified if self.request.if_none_match == Tags::Absent => {
                let needed = self.own("Cache-Control").or_else(|| self.modified()).or_else(|| self.lacks("ETag"));
                let unexpected = || ["Content-Range", "Content-Type"].iter().find_map(|name| self.lacks(name));
                needed.or_else(unexpected)
            }
            Decision::NotModified => {
                let needed = ["ETag", "Cache-Control"].iter().find_map(|name| self.own(name));
                let unexpected = || ["Content-Range", "Content-Type"].iter().find_map(|name| self.lacks(name));
                needed.or_else(unexpected).or_else(|| self.same(decision))
            }
            // §15.5.17: "SHOULD generate a Content-Range header field specifying the current length".
            Decision::RangeNotSatisfiable => self.is("Content-Range", &format!("bytes */{len}")),
            Decision::PreconditionFailed | Decision::NotFound | Decision::MovedPermanently => {
                self.lacks("ETag").or_else(|| self.lacks("Content-Range")).or_else(|| self.same(decision))
            }
            Decision::NoContent | Decision::MethodNotAllowed => {
                let allow = self.is("Allow", "GET, HEAD, OPTIONS");
                allow.or_else(|| self.lacks("ETag")).or_else(|| self.lacks("Content-Range"))
            }
            Decision::Other(_) => None,
        }
    }

    fn is(&self, name: &str, value: &str) -> Fault {
        (self.response.all(name) != [value]).then(|| format!("{name} is not {value}"))
    }

    fn lacks(&self, name: &str) -> Fault {
        (!self.response.all(name).is_empty()).then(|| format!("{name} is unexpected"))
    }

    fn content(&self, expected: &[u8]) -> Fault {
        (self.response.body != expected).then(|| format!("the content is not {}", expected.escape_ascii()))
    }

    /// Requires the value that the field has in the target's 200.
    fn own(&self, name: &str) -> Fault {
        match self.target.whole().iter().find(|(other, _)| other == name) {
            Some((_, value)) => self.is(name, value),
            None => Some(format!("{name} is not even in the 200")),
        }
    }

    /// §15.3.7: some fields of a 200 MUST be in a 206, and all of them if the request had no If-Range.
    fn of_the_whole(&self, others: &[&str]) -> Fault {
        let needed = ["ETag", "Cache-Control"].iter().find_map(|name| self.own(name));
        if self.request.if_range != IfRange::Absent {
            return needed;
        }
        needed.or_else(|| self.modified()).or_else(|| others.iter().find_map(|name| self.own(name)))
    }

    fn modified(&self) -> Fault {
        let Resource::File { modified, .. } = self.target.resource else {
            return None;
        };
        match last_modified(modified, date_of(self.response)) {
            Some(date) => self.is("Last-Modified", &http_date(date)),
            None => self.lacks("Last-Modified"),
        }
    }

    /// A response to HEAD has the fields of the response to GET (§9.3.2), and no condition changes them.
    fn same(&self, decision: &Decision) -> Fault {
        let (_, fields) = self.target.fields.iter().find(|(known, _)| known == decision)?;
        (*fields != timeless(self.response)).then(|| format!("the fields are not {fields:?}"))
    }
}

/// One part of a `multipart/byteranges` response.
struct Part<'a> {
    span: (usize, usize),
    len: usize,
    media_type: &'a str,
    bytes: &'a str,
}

impl Part<'_> {
    fn read(text: &str) -> Option<Part<'_>> {
        let (head, bytes) = text.split_once("\r\n\r\n")?;
        let (media_type, content_range) = head.split_once("\r\n")?;
        let (span, len) = span(content_range.strip_prefix("Content-Range: ")?)?;
        Some(Part { span, len, media_type: media_type.strip_prefix("Content-Type: ")?, bytes })
    }

    fn fault(&self, target: &Target) -> Option<String> {
        let (first, last) = self.span;
        let is_right = self.len == target.content.len()
            && self.bytes == &target.content[first..=last]
            && target.whole().iter().any(|(name, value)| name == "Content-Type" && value == self.media_type);
        (!is_right).then(|| format!("the part {:?} is wrong", self.span))
    }
}

/// Parses a `multipart/byteranges` response (§14.6).
fn parts(response: &Response) -> Option<Vec<Part<'_>>> {
    let boundary = response.field("Content-Type").strip_prefix("multipart/byteranges; boundary=")?;
    let text = str::from_utf8(&response.body).ok()?;
    let text = text.strip_prefix(&format!("--{boundary}\r\n"))?.strip_suffix(&format!("\r\n--{boundary}--\r\n"))?;
    text.split(&format!("\r\n--{boundary}\r\n")).map(Part::read).collect()
}

/// Parses `bytes first-last/length`.
fn span(content_range: &str) -> Option<((usize, usize), usize)> {
    let (span, len) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = span.split_once('-')?;
    Some(((first.parse().ok()?, last.parse().ok()?), len.parse().ok()?))
}

/// Returns the fields except those that change with the clock.
pub fn timeless(response: &Response) -> Fields {
    let is_kept = |(name, _): &&(String, String)| name != "Date" && name != "Last-Modified";
    response.fields.iter().filter(is_kept).cloned().collect()
}

/// Returns the Date of the response in seconds after 1970 (§6.6.1).
pub fn date_of(response: &Response) -> i64 {
    let date = httpdate::parse_http_date(response.field("Date")).expect("Date is a date");
    date.duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs().cast_signed()
}
