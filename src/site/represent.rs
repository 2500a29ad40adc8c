//! From an open file to an answer: validators, conditions, ranges (RFC 9110 §8, §13, §14).

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::errors::Refusal;
use super::policy::Caching;
use super::response::{Body, Response};
use super::{Request, Site, media_type};
use crate::files::file::{Instant, OpenFile};
use crate::proto::conditional::{Validators, Verdict, evaluate};
use crate::proto::date::HttpDate;
use crate::proto::etag::ETag;
use crate::proto::multipart::{self, Multipart, content_range};
use crate::proto::range::{Selection, select};
use crate::proto::response::ResponseHead;
use crate::proto::status::Status;
use crate::proto::target::RelPath;
use crate::proto::why::Why;

const SECOND: Duration = Duration::from_secs(1);

impl Site<'_> {
    /// Answers with a file, or with what the conditions and ranges of the request make of it.
    pub fn represent(&self, request: &Request<'_>, path: &RelPath, file: OpenFile) -> Result<Response, Refusal> {
        let len = file.meta().len;
        let validators = validators(len, file.meta().modified, request.now);
        let honor_range = match evaluate(request.head, &validators) {
            Verdict::NotModified => return Ok(self.not_modified(&validators)),
            Verdict::Failed => return Err(Why::PreconditionFailed.into()),
            Verdict::Proceed { honor_range } => honor_range,
        };
        let range = request.head.fields.single("Range").filter(|_| honor_range);
        let media_type = media_type::of(path, self.options.charset.as_deref());
        let head = |status, media_type: &dyn Display| self.representation_head(status, media_type, &validators);
        let (head, body) = match range.map_or(Selection::Whole, |value| select(value, len)) {
            Selection::Whole => (head(Status::Ok, &media_type), body(file, 0..len)),
            Selection::Unsatisfiable => {
                let refusal = Refusal::from(Why::RangeUnsatisfiable.because(range.unwrap_or_default()));
                return Err(refusal.with("Content-Range", format!("bytes */{len}")));
            }
            Selection::Spans(spans) => match <[_; 1]>::try_from(spans) {
                Ok([span]) => {
                    let head = head(Status::PartialContent, &media_type);
                    (head.field("Content-Range", content_range(&span, len)), body(file, span))
                }
                Err(spans) => {
                    let boundary = RandomState::new().hash_one(len);
                    let head = head(Status::PartialContent, &multipart::content_type(boundary));
                    (head, Body::Parts(file, Multipart::new(boundary, spans, len, media_type)))
                }
            },
        };
        Ok(Response::new(head, body))
    }

    /// The fields of RFC 9110 §15.4.5. Last-Modified is left out, since there is an ETag to guide the cache.
    fn not_modified(&self, validators: &Validators) -> Response {
        let head = self.options.policy.cached_head(Status::NotModified, Caching::File);
        Response::new(head.field("ETag", validators.etag), Body::Empty)
    }

    fn representation_head(&self, status: Status, media_type: &dyn Display, validators: &Validators) -> ResponseHead {
        let head = self.options.policy.cached_head(status, Caching::File);
        head.field("Content-Type", media_type)
            .field("ETag", validators.etag)
            .maybe("Last-Modified", validators.modified)
            .field("Accept-Ranges", "bytes")
    }
}

/// Puts some bytes of a file into an answer.
pub fn body(file: OpenFile, span: Range<u64>) -> Body {
    match file.content() {
        Some(content) => Body::Shared(Arc::clone(content), span.start as usize..span.end as usize),
        None => Body::Span(file, span),
    }
}

fn validators(len: u64, modified: Instant, now: SystemTime) -> Validators {
    let etag = ETag::new(len, modified.secs, modified.nanos);
    let modified = modified.to_system_time();
    Validators {
        etag,
        // No date in the future is sent (RFC 9110 §8.8.2.1).
        modified: modified.and_then(|time| HttpDate::new(time.min(now))),
        modified_is_strong: modified.is_some_and(|time| now.duration_since(time).is_ok_and(|age| age >= SECOND)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn no_time_of_modification_is_too_far_away() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        for (secs, modified, is_strong) in [
            (0, Some("Thu, 01 Jan 1970 00:00:00 GMT"), true),
            (999, Some("Thu, 01 Jan 1970 00:16:39 GMT"), true),
            (1000, Some("Thu, 01 Jan 1970 00:16:40 GMT"), false),
            (2000, Some("Thu, 01 Jan 1970 00:16:40 GMT"), false),
            (i64::MAX, Some("Thu, 01 Jan 1970 00:16:40 GMT"), false),
            (-1, None, true),
        ] {
            let found = validators(5, Instant { secs, nanos: 0 }, now);
            assert_eq!(found.modified.map(|date| date.to_string()).as_deref(), modified, "{secs}");
            assert_eq!(found.modified_is_strong, is_strong, "{secs}");
        }
    }
}
