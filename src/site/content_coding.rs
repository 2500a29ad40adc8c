//! Content negotiation: a file as it is, precompressed, or compressed here (RFC 9110 §8.4, §12.1).
//!
//! A precompressed file goes first. Otherwise a text is compressed, once if the result can be cached, or else while it is
//! sent. A limited number of threads compresses; meanwhile others send the file as it is. A request with Range gets the
//! identity, so that all parts are of one representation, unless If-Range has the tag of an encoding.

use std::io;
use std::iter::Peekable;

use super::compress::encode;
use super::headers::FileHeaders;
use super::media_type::{self, Compressibility};
use super::precompressed::SUFFIXES;
use super::{Request, SiteSession};
use crate::files::file::OpenFile;
use crate::files::semaphore::Semaphore;
use crate::proto::accept::{Coding, codings};
use crate::proto::etag::{ETag, Fingerprint, names_coding};
use crate::proto::request::{Head, Method, Version};
use crate::proto::target::RelPath;

/// The selected representation of a file.
#[derive(Debug)]
pub struct Variant {
    /// The file to send, or to compress while sending.
    pub file: OpenFile,
    /// Its encoding.
    pub encoding: Encoding,
    /// Whether the client accepts another encoding, so that a date does not identify this one.
    pub is_negotiable: bool,
}

/// The encoding of a representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The content as it is.
    Identity,
    /// In a content coding.
    Coded(Coding),
    /// In a content coding, compressed while it is sent. It has no ranges.
    Streamed(Coding),
}

/// The settings and limits of compression.
#[derive(Debug)]
pub struct Compression {
    /// Only longer files are compressed, in bytes.
    pub above: u64,
    /// The permits to compress for the cache.
    pub cached: Semaphore,
    /// The permits to compress while sending. Slow clients hold them, so they are separate.
    pub streams: Semaphore,
}

impl Encoding {
    /// Returns its content coding.
    pub fn coding(self) -> Option<Coding> {
        match self {
            Encoding::Identity => None,
            Encoding::Coded(coding) | Encoding::Streamed(coding) => Some(coding),
        }
    }

    /// Makes the entity tag of a file, identified so, in this encoding.
    pub fn etag(self, fingerprint: Fingerprint) -> ETag {
        // The bytes of a stream do not exist yet.
        let is_weak = matches!(self, Encoding::Streamed(_));
        ETag { fingerprint, coding: self.coding().map(Coding::name), is_weak }
    }
}

impl SiteSession<'_> {
    /// Selects the representation of the file at this path.
    pub fn choose(&self, request: &Request<'_>, path: &RelPath, file: OpenFile) -> Variant {
        let fields = &request.head.fields;
        let mut wanted = codings(fields).peekable();
        // The prewritten fields hold the result, as a lookup of the media type takes 0.1 µs.
        let prewritten = file.annotation::<FileHeaders>().and_then(|headers| headers.identity_headers.get());
        let varies = || prewritten.map_or_else(|| self.varies(path), |fields| fields.varies);
        if wanted.peek().is_none() || !varies() {
            return Variant { file, encoding: Encoding::Identity, is_negotiable: false };
        }
        // With Range, only an encoding with the tag in If-Range counts.
        let has_range = request.head.method == Method::Get && fields.all("Range").next().is_some();
        let if_range = has_range.then(|| fields.single("If-Range").unwrap_or_default());
        let wanted = wanted.filter(|coding| if_range.is_none_or(|tag| names_coding(tag, coding.name())));
        let (encoded, encoding) = self
            .encode(request.head, path, &file, wanted.peekable())
            .filter(|(encoded, encoding)| if_range.is_none_or(|tag| self.has_tag(encoded.as_ref(), *encoding, tag)))
            .unwrap_or((None, Encoding::Identity));
        Variant { file: encoded.unwrap_or(file), encoding, is_negotiable: true }
    }

    /// Reports whether a file in this encoding has the client's tag.
    fn has_tag(&self, encoded: Option<&OpenFile>, encoding: Encoding, tag: &[u8]) -> bool {
        let fingerprint = encoded.and_then(|encoded| self.site.files.fingerprint(encoded).ok()?);
        fingerprint.is_some_and(|fingerprint| encoding.etag(fingerprint).is_exactly(tag))
    }

    /// Selects an encoding: a precompressed file, or compression into the first coding, where no file means while sending.
    fn encode(
        &self,
        head: &Head<'_>,
        path: &RelPath,
        file: &OpenFile,
        mut wanted: Peekable<impl Iterator<Item = Coding>>,
    ) -> Option<(Option<OpenFile>, Encoding)> {
        let best = *wanted.peek()?;
        if let Some((found, coding)) = self.precompressed(path, file, wanted) {
            return Some((Some(found), Encoding::Coded(coding)));
        }
        let (above, len) = (self.site.compression.as_ref()?.above, file.meta.len);
        if len <= above || media_type::compressibility(path) != Compressibility::Yes {
            return None;
        }
        if !self.site.files.can_hold_encoded(len) {
            // HTTP/1.0 has no chunks, and the length is not known before.
            return (head.version >= Version::Http11).then_some((None, Encoding::Streamed(best)));
        }
        let compressed = self.compress(path, file, best).map_err(|error| self.encoding_error.set(Some(error)));
        Some((Some(compressed.ok()??), Encoding::Coded(best)))
    }

    /// Returns the cached encoding of a file, compressing it if need be; none if that is not possible now or not worth it.
    #[inline(never)]
    fn compress(&self, path: &RelPath, file: &OpenFile, coding: Coding) -> io::Result<Option<OpenFile>> {
        let (files, name) = (&self.site.files, path.extended(SUFFIXES[coding as usize]));
        if let Some(cached) = files.encoded(&name, file) {
            return Ok(cached);
        }
        let permit = self.site.compression.as_ref().and_then(|compression| compression.cached.try_acquire());
        let Some(_permit) = permit else { return Ok(None) };
        let Some(content) = file.whole()? else { return Ok(None) };
        Ok(files.insert_encoded(&name, file, encode(coding, &content)?))
    }

    /// Reports whether Accept-Encoding can select among representations of this file, now or later.
    pub fn varies(&self, path: &RelPath) -> bool {
        let is_precompressed = SUFFIXES.iter().any(|suffix| path.as_bytes().ends_with(suffix.as_bytes()));
        match media_type::compressibility(path) {
            Compressibility::Yes => self.site.precompressed.is_some() || self.site.compression.is_some(),
            Compressibility::Unknown => self.site.precompressed.is_some() && !is_precompressed,
            Compressibility::No => false,
        }
    }
}
