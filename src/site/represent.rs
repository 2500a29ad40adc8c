//! Representation of an open file: validators, conditions, ranges (RFC 9110 §8, §13, §14).

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

use super::content_coding::{Encoding, Variant};
use super::headers::{Caching, FileHeaders, RepresentationFields};
use super::media_type::{self, MediaType};
use super::refusal::Refusal;
use super::response::{Body, Response};
use super::{Request, SiteSession};
use crate::files::cache::Fingerprint;
use crate::files::file::{FileTime, OpenFile};
use crate::proto::accept::Coding;
use crate::proto::conditional::{Validators, Verdict, evaluate};
use crate::proto::date::HttpDate;
use crate::proto::etag::ETag;
use crate::proto::multipart::{self, Multipart, content_range};
use crate::proto::range::{Selection, select};
use crate::proto::repr_digest;
use crate::proto::request::Method;
use crate::proto::response::{ResponseFields, ResponseHead};
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
    /// The path of the file, whose name decides the media type.
    path: &'r RelPath,
    encoding: Encoding,
    validators: Validators,
    /// Whether the next response has the same fields.
    is_settled: bool,
}

impl SiteSession<'_> {
    /// Responds with a variant of the file at this path, subject to the request's conditions and ranges.
    pub fn represent(&self, request: &Request<'_>, path: &RelPath, variant: Variant) -> Result<Response, Refusal> {
        let Variant { file, encoding, is_negotiable, cause } = variant;
        let fingerprint = self.site.files.fingerprint(&file)?;
        let etag = fingerprint.map(|fingerprint| encoding.etag(fingerprint));
        let (mut validators, is_settled) = validators(etag, file.meta().modified, request.now);
        validators.modified_is_strong &= !is_negotiable;
        let representation = Representation { path, encoding, validators, is_settled };
        let not_modified = |which: fn(&RepresentationFields) -> &ResponseFields| {
            let head = ResponseHead::with(Status::NotModified, self.fields(&file, &representation, which));
            Response::new(head, Body::Empty)
        };
        let honor_range = match evaluate(request.head, &representation.validators) {
            Verdict::Failed => return Err(Refusal::from(Why::PreconditionFailed).caused_by(cause)),
            Verdict::NotModified => return Ok(Response { cause, ..not_modified(|fields| &fields.not_modified) }),
            Verdict::NotModifiedSince => {
                return Ok(Response { cause, ..not_modified(|fields| &fields.not_modified_since) });
            }
            Verdict::Proceed { honor_range } => honor_range,
        };
        let is_streamed = matches!(encoding, Encoding::Streamed(_));
        let needs_permit = is_streamed && request.head.method == Method::Get;
        let permit = if needs_permit { self.begin_stream() } else { None };
        if needs_permit && permit.is_none() {
            return self.represent(request, path, Variant { is_negotiable, cause, ..Variant::identity(file) });
        }
        let repr_digest = match fingerprint {
            Some(Fingerprint::Content(digest)) if !is_streamed && repr_digest::is_requested(&request.head.fields) => {
                Some(repr_digest::value(digest.as_bytes()))
            }
            _ => None,
        };
        let range = request.head.fields.single("Range").filter(|_| honor_range);
        match self.select(range, file, &representation, repr_digest.as_deref()) {
            Ok((head, body)) => Ok(Response { cause, permit, ..Response::new(head, body) }),
            Err(refusal) => Err(refusal.caused_by(cause)),
        }
    }

    /// Responds with the part of a representation that this range selects, or with all of it.
    fn select(
        &self,
        range: Option<&[u8]>,
        file: OpenFile,
        representation: &Representation<'_>,
        repr_digest: Option<&str>,
    ) -> Result<(ResponseHead, Body), Refusal> {
        let head = |status| {
            let fields = self.fields(&file, representation, |fields| &fields.with_content);
            ResponseHead::with(status, fields).maybe("Repr-Digest", repr_digest)
        };
        let (len, encoding) = (file.meta().len, representation.encoding);
        Ok(match range.map_or(Selection::Whole, |value| select(value, len)) {
            _ if let Encoding::Streamed(coding) = encoding => (head(Status::Ok), Body::Coded(file, coding)),
            Selection::Whole => (head(Status::Ok), Body::Span(file, 0..len)),
            // Content-Encoding would apply to the multipart framing too. A server may ignore Range (RFC 9110 §14.2).
            Selection::Spans(spans) if spans.len() > 1 && encoding != Encoding::Identity => {
                (head(Status::Ok), Body::Span(file, 0..len))
            }
            Selection::Unsatisfiable => {
                let refusal = Refusal::from(Why::RangeUnsatisfiable.because(range.unwrap_or_default()));
                return Err(refusal.with("Content-Range", format!("bytes */{len}")));
            }
            Selection::Spans(spans) => match <[_; 1]>::try_from(spans) {
                Ok([span]) => {
                    let head = head(Status::PartialContent).field("Content-Range", content_range(&span, len));
                    (head, Body::Span(file, span))
                }
                Err(spans) => {
                    let boundary = RandomState::new().hash_one(len);
                    let head = self.head(Status::PartialContent, &multipart::content_type(boundary), representation);
                    let head = head.maybe("Repr-Digest", repr_digest);
                    let media_type = self.media_type(representation.path);
                    let multipart = Multipart::new(boundary, spans, len, media_type);
                    (head, Body::Parts(file, Box::new(multipart)))
                }
            },
        })
    }

    /// Returns the fields of one kind of response with this file, prewritten if they stay the same.
    fn fields(
        &self,
        file: &OpenFile,
        representation: &Representation<'_>,
        which: impl Fn(&RepresentationFields) -> &ResponseFields,
    ) -> ResponseFields {
        let write = || RepresentationFields {
            with_content: self.head(Status::Ok, &self.media_type(representation.path), representation).into(),
            not_modified: self.not_modified(representation).maybe("ETag", representation.validators.etag).into(),
            not_modified_since: self
                .not_modified(representation)
                .maybe("Last-Modified", representation.validators.last_modified())
                .into(),
            varies: self.varies(representation.path, None),
        };
        let headers = file.annotation::<FileHeaders>().filter(|_| representation.is_settled);
        let prewritten = headers.and_then(|headers| match representation.encoding {
            Encoding::Identity => Some(&headers.identity_headers),
            Encoding::Coded(_) => Some(&headers.encoded_headers),
            Encoding::Streamed(_) => None,
        });
        match prewritten {
            Some(prewritten) => which(prewritten.get_or_init(write)).clone(),
            None => which(&write()).clone(),
        }
    }

    fn head(&self, status: Status, media_type: &dyn Display, representation: &Representation<'_>) -> ResponseHead {
        let head = self.site.headers.cached_head(status, Caching::File);
        head.field("Content-Type", media_type)
            .maybe("Content-Encoding", representation.encoding.coding().map(Coding::name))
            .maybe("ETag", representation.validators.etag)
            .maybe("Last-Modified", representation.validators.last_modified())
            .maybe("Vary", self.vary(representation.path))
            .maybe("Accept-Ranges", (!matches!(representation.encoding, Encoding::Streamed(_))).then_some("bytes"))
    }

    /// Begins a 304 (RFC 9110 §15.4.5). It gets the validator that decided: a date cannot vouch for a tag.
    fn not_modified(&self, representation: &Representation<'_>) -> ResponseHead {
        let head = self.site.headers.cached_head(Status::NotModified, Caching::File);
        head.maybe("Vary", self.vary(representation.path))
    }

    /// Returns the request fields that select among representations (RFC 9110 §12.5.5).
    fn vary(&self, path: &RelPath) -> Option<&'static str> {
        self.varies(path, None).then_some("Accept-Encoding")
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
            let found = validators(Some(ETag::of_metadata([1; 6])), FileTime { secs, nanos: 0 }, now);
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
