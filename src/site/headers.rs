//! The fields that answers carry because the operator or good sense wants them, whatever the file is.

use crate::proto::response::{ResponseFields, ResponseHead};
use crate::proto::status::Status;

/// The fields that this server writes from what it sends; an operator's field of the same name would be a lie.
pub const OWN_FIELDS: [&str; 17] = [
    "Accept-Ranges",
    "Allow",
    "Connection",
    "Content-Encoding",
    "Content-Length",
    "Content-Range",
    "Content-Type",
    "Date",
    "ETag",
    "Keep-Alive",
    "Last-Modified",
    "Location",
    "Repr-Digest",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
];

/// How an answer may be kept by a cache (RFC 9111 §5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// As the operator wants it for files.
    File,
    /// Kept, but asked for again each time.
    Revalidate,
    /// Never kept.
    Never,
}

/// The fields of every answer, written once, and how long files may be kept.
#[derive(Debug)]
pub struct HeaderPolicy {
    /// Without Cache-Control.
    common: ResponseFields,
    /// The operator's own Cache-Control, for all that may be kept.
    own_caching: Option<String>,
    /// The value of Cache-Control for files, where there is no own one.
    file_caching: String,
}

impl HeaderPolicy {
    /// Takes the operator's fields, and for how many seconds a file may be kept without asking again.
    ///
    /// By default a file may be kept but is asked for again each time: with its validators that costs a 304, and
    /// nobody sees an old page.
    pub fn new(cache_secs: u64, custom: &[(String, String)]) -> HeaderPolicy {
        let is_caching = |name: &str| name.eq_ignore_ascii_case("Cache-Control");
        let is_custom = |name: &str| custom.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let ours = [("Server", "serve"), ("X-Content-Type-Options", "nosniff")];
        let ours = ours.into_iter().filter(|(name, _)| !is_custom(name));
        let theirs = custom.iter().filter(|(name, _)| !is_caching(name));
        let theirs = theirs.map(|(name, value)| (name.as_str(), value.as_str()));
        let begun = ResponseHead::new(Status::Ok);
        let common = ours.chain(theirs).fold(begun, |head, (name, value)| head.field(name, value));
        let own_caching: Vec<_> =
            custom.iter().filter(|(name, _)| is_caching(name)).map(|(_, value)| value.as_str()).collect();
        let file_caching = match cache_secs {
            0 => "no-cache".to_owned(),
            secs => format!("max-age={secs}"),
        };
        HeaderPolicy {
            common: common.into(),
            own_caching: (!own_caching.is_empty()).then(|| own_caching.join(", ")),
            file_caching,
        }
    }

    /// Begins the head of an answer that says nothing of caching.
    pub fn head(&self, status: Status) -> ResponseHead {
        ResponseHead::with(status, self.common.clone())
    }

    /// Begins the head of an answer that may be cached so.
    pub fn cached_head(&self, status: Status, caching: Caching) -> ResponseHead {
        let value = match (caching, &self.own_caching) {
            (Caching::Never, _) => "no-store",
            (_, Some(own)) => own,
            (Caching::File, None) => &self.file_caching,
            (Caching::Revalidate, None) => "no-cache",
        };
        self.head(status).field("Cache-Control", value)
    }
}
