//! Representation of an open file: its ETag and Last-Modified, and the choice of 200, 206, 304, 412 or 416 by the request's
//! conditions and ranges (RFC 9110 §8, §13, §14). An ETag comes from the file's fingerprint (`files::cache`).

use std::borrow::Cow;
use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use super::content_coding::{Encoding, Variant};
use super::headers::{Caching, FileHeaders, RepresentationFields};
use super::media_type::{self, MediaType};
use super::refusal::Refusal;
use super::response::{Body, Response};
use super::{Request, SiteSession};
use crate::files::OpenError;
use crate::files::file::{FileTime, OpenFile};
use crate::proto::accept::Coding;
use crate::proto::conditional::{Validators, Verdict, evaluate};
use crate::proto::date::HttpDate;
use crate::proto::etag::{ETag, Fingerprint};
use crate::proto::multipart::{self, Multipart, content_range};
use crate::proto::range::{Selection, select};
use crate::proto::repr_digest;
use crate::proto::request::Method;
use crate::proto::response::ResponseHead;
use crate::proto::status::Status;
use crate::proto::target::RelPath;
use crate::proto::why::Why;

/// A file must be this old for its date to be strong (RFC 9110 §8.8.2.2): the second is over.
const STRONG_AGE: Duration = Duration::from_secs(1);

/// 1970-01-01 and 1980-01-01, the dates of files in reproducible builds, in days from 1970: each version has the same.
const REPRODUCIBLE_DAYS: [i64; 2] = [0, 3652];

const DAY_SECS: i64 = 24 * 60 * 60;

/// A representation with its metadata.
struct Representation<'r> {
    file: OpenFile,
    /// The path of the file, whose name decides the media type.
    path: &'r RelPath,
    encoding: Encoding,
    validators: Validators,
    /// Whether the next response has the same fields.
    is_settled: bool,
    /// The value of Repr-Digest, if it is requested.
    repr_digest: Option<String>,
}

impl SiteSession<'_> {
    /// Responds with a variant of the file at this path, subject to the request's conditions and ranges.
    pub fn represent(&self, request: &Request<'_>, path: &RelPath, variant: Variant) -> Result<Response, Refusal> {
        let Variant { file, encoding, is_negotiable } = variant;
        let fingerprint = self.site.files.fingerprint(&file).map_err(OpenError::from)?;
        let etag = fingerprint.map(|fingerprint| encoding.etag(fingerprint));
        let (mut validators, is_settled) = validators(etag, file.meta.modified, request.now);
        validators.modified_is_strong &= !is_negotiable;
        let repr_digest = match fingerprint {
            Some(Fingerprint::Content(digest)) if repr_digest::is_requested(&request.head.fields) => {
                Some(repr_digest::value(&digest))
            }
            _ => None,
        };
        let representation = Representation { file, path, encoding, validators, is_settled, repr_digest };
        let fields = match evaluate(request.head, &representation.validators) {
            Verdict::Failed => return Err(Why::PreconditionFailed.into()),
            Verdict::NotModified => self.fields(&representation).not_modified.clone(),
            Verdict::NotModifiedSince => self.fields(&representation).not_modified_since.clone(),
            Verdict::Proceed { .. } if let Encoding::Streamed(coding) = encoding => {
                return self.stream(request, coding, representation);
            }
            Verdict::Proceed { honor_range } => {
                let range = request.head.fields.single("Range").filter(|_| honor_range);
                return self.select(range, representation);
            }
        };
        Ok(Response::new(ResponseHead::with(Status::NotModified, fields), Body::Empty))
    }

    /// Responds with content that is compressed while it is sent, or as it is if all permits are in use.
    fn stream(&self, request: &Request<'_>, coding: Coding, content: Representation<'_>) -> Result<Response, Refusal> {
        let is_get = request.head.method == Method::Get;
        let compression = self.site.compression.as_ref().filter(|_| is_get);
        let permit = compression.and_then(|compression| compression.streams.try_acquire());
        if is_get && permit.is_none() {
            let identity = Variant { file: content.file, encoding: Encoding::Identity, is_negotiable: true };
            return self.represent(request, content.path, identity);
        }
        let head = ResponseHead::with(Status::Ok, self.fields(&content).with_content.clone());
        Ok(Response { permit, ..Response::new(head, Body::Coded(content.file, coding)) })
    }

    /// Responds with the part of a representation that this range selects, or with all of it.
    fn select(&self, range: Option<&[u8]>, representation: Representation<'_>) -> Result<Response, Refusal> {
        let repr_digest = representation.repr_digest.as_deref();
        let head = |status| {
            let fields = self.fields(&representation).with_content.clone();
            ResponseHead::with(status, fields).maybe("Repr-Digest", repr_digest)
        };
        let len = representation.file.meta.len;
        let (head, span) = match range.map_or(Selection::Whole, |value| select(value, len)) {
            Selection::Unsatisfiable => {
                let refusal = Refusal::from(Why::RangeUnsatisfiable.because(range.unwrap_or_default()));
                return Err(refusal.with("Content-Range", format!("bytes */{len}")));
            }
            Selection::Spans(spans) if spans.len() == 1 => {
                let span = spans[0].clone();
                (head(Status::PartialContent).field("Content-Range", content_range(&span, len)), span)
            }
            // Content-Encoding would apply to the multipart framing too. A server may ignore Range (RFC 9110 §14.2).
            Selection::Spans(spans) if representation.encoding == Encoding::Identity => {
                let boundary = RandomState::new().hash_one(len);
                let head = self.head(Status::PartialContent, &multipart::content_type(boundary), &representation);
                let head = head.maybe("Repr-Digest", repr_digest);
                let multipart = Multipart::new(boundary, spans, len, self.media_type(representation.path));
                return Ok(Response::new(head, Body::Parts(representation.file, Box::new(multipart))));
            }
            Selection::Whole | Selection::Spans(_) => (head(Status::Ok), 0..len),
        };
        Ok(Response::new(head, Body::Span(representation.file, span)))
    }

    /// Returns the fields of the responses with this file, prewritten if they stay the same.
    fn fields<'f>(&self, representation: &'f Representation<'_>) -> Cow<'f, RepresentationFields> {
        let write = || self.write_fields(representation);
        let headers = representation.file.annotation::<FileHeaders>().filter(|_| representation.is_settled);
        let prewritten = match (headers, representation.encoding) {
            (Some(headers), Encoding::Identity) => &headers.identity_headers,
            (Some(headers), Encoding::Coded(_)) => &headers.encoded_headers,
            _ => return Cow::Owned(write()),
        };
        Cow::Borrowed(prewritten.get_or_init(write))
    }

    fn write_fields(&self, representation: &Representation<'_>) -> RepresentationFields {
        let Representation { path, validators, .. } = representation;
        let not_modified = || {
            let head = self.site.headers.cached_head(Status::NotModified, Caching::File);
            head.maybe("Vary", self.vary(path))
        };
        RepresentationFields {
            with_content: self.head(Status::Ok, &self.media_type(path), representation).into(),
            // A 304 gets the validator that decided (RFC 9110 §15.4.5): a date cannot vouch for a tag.
            not_modified: not_modified().maybe("ETag", validators.etag).into(),
            not_modified_since: not_modified().maybe("Last-Modified", validators.last_modified()).into(),
            varies: self.varies(path),
        }
    }

    fn head(&self, status: Status, media_type: &dyn Display, representation: &Representation<'_>) -> ResponseHead {
        let Representation { path, encoding, validators, .. } = representation;
        let head = self.site.headers.cached_head(status, Caching::File);
        head.field("Content-Type", media_type)
            .maybe("Content-Encoding", encoding.coding().map(Coding::name))
            .maybe("ETag", validators.etag)
            .maybe("Last-Modified", validators.last_modified())
            .maybe("Vary", self.vary(path))
            .maybe("Accept-Ranges", (!matches!(encoding, Encoding::Streamed(_))).then_some("bytes"))
    }

    /// Returns the request fields that select among representations (RFC 9110 §12.5.5).
    fn vary(&self, path: &RelPath) -> Option<&'static str> {
        self.varies(path).then_some("Accept-Encoding")
    }

    fn media_type(&self, path: &RelPath) -> MediaType<'_> {
        media_type::of(path, self.site.charset.as_deref())
    }
}

/// Makes the validators of a representation with this tag and time, and reports whether they stay the same.
///
/// A file without a tag keeps changing, so its date is not reliable either.
fn validators(etag: Option<ETag>, modified: FileTime, now: SystemTime) -> (Validators, bool) {
    let time = modified.to_system_time();
    let is_old = time.is_some_and(|time| now.duration_since(time).is_ok_and(|age| age >= STRONG_AGE));
    let is_settled = is_old && etag.is_some();
    let is_reliable = is_settled && !REPRODUCIBLE_DAYS.contains(&modified.secs.div_euclid(DAY_SECS));
    // No date is in the future (RFC 9110 §8.8.2.1).
    let modified = time.and_then(|time| HttpDate::new(time.min(now)));
    (Validators { etag, modified, modified_is_reliable: is_reliable, modified_is_strong: is_reliable }, is_settled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn date_is_sent_once_it_is_reliable() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let etag = ETag { fingerprint: Fingerprint::Metadata([1; 6]), coding: None, is_weak: false };
        for (secs, last_modified, is_settled) in [
            (999_999_999, Some("Sun, 09 Sep 2001 01:46:39 GMT"), true),
            (1_000_000_000, None, false),
            (1_000_001_000, None, false),
            (i64::MAX, None, false),
            // Reproducible builds.
            (0, None, true),
            (86_399, None, true),
            (86_400, Some("Fri, 02 Jan 1970 00:00:00 GMT"), true),
            (315_532_799, Some("Mon, 31 Dec 1979 23:59:59 GMT"), true),
            (315_532_800, None, true),
            (315_619_199, None, true),
            (315_619_200, Some("Wed, 02 Jan 1980 00:00:00 GMT"), true),
            // No HTTP date is before 1970.
            (-1, None, true),
        ] {
            let found = validators(Some(etag), FileTime { secs, nanos: 0 }, now);
            let date = found.0.last_modified().map(|date| date.to_string());
            assert_eq!((date.as_deref(), found.1), (last_modified, is_settled), "{secs}");
        }
    }

    #[test]
    fn file_that_keeps_changing_has_no_validator() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let (found, is_settled) = validators(None, FileTime { secs: 500_000_000, nanos: 0 }, now);
        assert!(found.etag.is_none() && found.last_modified().is_none() && !found.modified_is_strong && !is_settled);
    }
}
