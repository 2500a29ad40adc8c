//! The framing of a request: its body length and the connection's persistence (RFC 9112 §6, §9.3).
//!
//! The defence against request smuggling is here: a head with ambiguous framing is refused.

use super::request::{Head, Method, Version};
use super::syntax::{decimal, list};
use super::why::{Reject, Why};

/// The most content that is read and discarded, in bytes.
pub const CONTENT_MAX: u64 = 1024 * 1024;

/// The length of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// This number of bytes.
    Exactly(u64),
    /// Up to the last chunk.
    Chunked,
}

/// Whether the connection persists after the response, and by which rule (RFC 9112 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// HTTP/1.1 persists.
    Persists,
    /// HTTP/1.0 with keep-alive persists, and the response says so.
    PersistsOnRequest,
    /// The client sent close: it announced this request as its last (RFC 9112 §9.6).
    ClosesOnRequest,
    /// The bytes after a CONNECT are meant for the tunnel, which is refused.
    ClosesAfterConnect,
    /// HTTP/1.0 closes.
    ClosesByVersion,
    /// HTTP/0.9 closes, because its responses have no other end.
    ClosesToEnd,
}

impl Persistence {
    /// Reports whether the connection persists.
    pub fn persists(self) -> bool {
        matches!(self, Persistence::Persists | Persistence::PersistsOnRequest)
    }
}

/// Returns the body length, by the rules of RFC 9112 §6.3 for requests.
pub fn body_length<'b>(head: &Head<'b>) -> Result<BodyLength, Reject<'b>> {
    let coding = head.fields.all("Transfer-Encoding").next();
    let mut lengths = head.fields.all("Content-Length");
    match (coding, lengths.next(), lengths.next()) {
        // Rule 3: both may be an attempt at smuggling.
        (Some(coding), Some(_), _) => Err(Why::LengthAndEncoding.because(coding)),
        (Some(coding), None, _) if head.version < Version::Http11 => Err(Why::TransferEncodingInHttp10.because(coding)),
        // Rule 4.
        (Some(_), None, _) => chunked(head),
        // Rule 5 allows a list of equal values; here it is refused.
        (None, Some(length), None) => content_length(length),
        (None, Some(_), Some(second)) => Err(Why::ContentLengthRepeated.because(second)),
        // Rule 7.
        (None, None, _) => Ok(BodyLength::Exactly(0)),
    }
}

/// Returns whether the connection persists after the response (RFC 9112 §9.3).
pub fn persistence(head: &Head<'_>) -> Persistence {
    let has =
        |option: &[u8]| head.fields.all("Connection").flat_map(list).any(|sent| sent.eq_ignore_ascii_case(option));
    match head.version {
        Version::Http09 => Persistence::ClosesToEnd,
        _ if has(b"close") => Persistence::ClosesOnRequest,
        _ if head.method == Method::Connect => Persistence::ClosesAfterConnect,
        Version::Http11 => Persistence::Persists,
        Version::Http10 if has(b"keep-alive") => Persistence::PersistsOnRequest,
        Version::Http10 => Persistence::ClosesByVersion,
    }
}

/// Reports whether the client waits for 100 (Continue) before it sends its content (RFC 9110 §10.1.1).
pub fn expects_continue<'b>(head: &Head<'b>) -> Result<bool, Reject<'b>> {
    if head.version < Version::Http11 {
        return Ok(false);
    }
    let expected = || head.fields.all("Expect").flat_map(list);
    match expected().find(|expectation| !expectation.eq_ignore_ascii_case(b"100-continue")) {
        Some(unknown) => Err(Why::ExpectationUnknown.because(unknown)),
        None => Ok(expected().next().is_some()),
    }
}

/// Accepts only `chunked`, once (RFC 9112 §6.1).
fn chunked<'b>(head: &Head<'b>) -> Result<BodyLength, Reject<'b>> {
    let codings = || head.fields.all("Transfer-Encoding").flat_map(list);
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let last = codings().last().unwrap_or_default();
    match (codings().filter(is_chunked).count(), codings().find(|coding| !is_chunked(coding))) {
        (1, None) => Ok(BodyLength::Chunked),
        (1, Some(unknown)) if is_chunked(&last) => Err(Why::TransferCodingUnknown.because(unknown)),
        (0, Some(unknown)) => Err(Why::TransferCodingUnknown.because(unknown)),
        _ => Err(Why::TransferCodingOrder.because(last)),
    }
}

fn content_length(value: &[u8]) -> Result<BodyLength, Reject<'_>> {
    if value.contains(&b',') {
        return Err(Why::ContentLengthRepeated.because(value));
    }
    match decimal(value) {
        None => Err(Why::ContentLengthSyntax.because(value)),
        Some(length) if length > CONTENT_MAX => Err(Why::ContentTooLarge.because(value)),
        Some(length) => Ok(BodyLength::Exactly(length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_head<T>(version: &str, fields: &str, read: impl Fn(&Head<'_>) -> T) -> T {
        let bytes = format!("GET / {version}\r\n{fields}\r\n\r\n");
        read(&Head::parse(bytes.as_bytes()).expect("valid"))
    }

    #[test]
    fn ambiguous_body_length_is_refused() {
        use BodyLength::{Chunked, Exactly};
        for (fields, expected) in [
            ("", Ok(Exactly(0))),
            ("Content-Length: 5", Ok(Exactly(5))),
            ("Content-Length: 0005", Ok(Exactly(5))),
            ("Content-Length: 1048576", Ok(Exactly(CONTENT_MAX))),
            ("Content-Length: 1048577", Err(Why::ContentTooLarge)),
            ("Content-Length:", Err(Why::ContentLengthSyntax)),
            ("Content-Length: +5", Err(Why::ContentLengthSyntax)),
            ("Content-Length: -5", Err(Why::ContentLengthSyntax)),
            ("Content-Length: 0x5", Err(Why::ContentLengthSyntax)),
            ("Content-Length: 5 5", Err(Why::ContentLengthSyntax)),
            ("Content-Length: 5.", Err(Why::ContentLengthSyntax)),
            ("Content-Length: 18446744073709551616", Err(Why::ContentLengthSyntax)),
            ("Content-Length: 5, 5", Err(Why::ContentLengthRepeated)),
            ("Content-Length: 5\r\nContent-Length: 5", Err(Why::ContentLengthRepeated)),
            ("Transfer-Encoding: chunked", Ok(Chunked)),
            ("Transfer-Encoding: , CHUNKED ,", Ok(Chunked)),
            ("Transfer-Encoding: chunked, chunked", Err(Why::TransferCodingOrder)),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Err(Why::TransferCodingOrder)),
            ("Transfer-Encoding:", Err(Why::TransferCodingOrder)),
            ("Transfer-Encoding: gzip, chunked", Err(Why::TransferCodingUnknown)),
            ("Transfer-Encoding: chunked, identity", Err(Why::TransferCodingOrder)),
            ("Transfer-Encoding: xchunked", Err(Why::TransferCodingUnknown)),
            ("Transfer-Encoding: \"chunked\"", Err(Why::TransferCodingUnknown)),
            ("Transfer-Encoding: chunked;q=1", Err(Why::TransferCodingUnknown)),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", Err(Why::LengthAndEncoding)),
            ("Content-Length: 5\r\nTransfer-Encoding: x", Err(Why::LengthAndEncoding)),
        ] {
            let found = with_head("HTTP/1.1", fields, |head| body_length(head).map_err(|reject| reject.why));
            assert_eq!(found, expected, "{fields:?}");
        }
    }

    #[test]
    fn http_1_0_with_transfer_encoding_is_refused() {
        let found = with_head("HTTP/1.0", "Transfer-Encoding: chunked", |head| body_length(head).map_err(|r| r.why));
        assert_eq!(found, Err(Why::TransferEncodingInHttp10));
    }

    #[test]
    fn persistence_follows_the_version_and_connection_field() {
        use Persistence::{ClosesByVersion, ClosesOnRequest, Persists, PersistsOnRequest};
        for (version, fields, expected) in [
            ("HTTP/1.1", "", Persists),
            ("HTTP/1.1", "Connection: Keep-Alive", Persists),
            ("HTTP/1.1", "Connection: TE , CLOSE", ClosesOnRequest),
            ("HTTP/1.1", "Connection: te\r\nconnection: close", ClosesOnRequest),
            ("HTTP/1.1", "Connection: closed", Persists),
            ("HTTP/1.1", "X: close", Persists),
            ("HTTP/1.0", "", ClosesByVersion),
            ("HTTP/1.0", "Connection: KEEP-ALIVE", PersistsOnRequest),
            ("HTTP/1.0", "Connection: keep-alive, close", ClosesOnRequest),
        ] {
            assert_eq!(with_head(version, fields, persistence), expected, "{version} {fields:?}");
        }
    }

    #[test]
    fn only_100_continue_in_http_1_1_is_expected() {
        for (version, fields, expected) in [
            ("HTTP/1.1", "", Ok(false)),
            ("HTTP/1.1", "Expect:", Ok(false)),
            ("HTTP/1.1", "Expect: 100-Continue", Ok(true)),
            ("HTTP/1.1", "Expect: 100-continue, x", Err(Why::ExpectationUnknown)),
            ("HTTP/1.1", "Expect: 200-ok", Err(Why::ExpectationUnknown)),
            ("HTTP/1.0", "Expect: 100-continue", Ok(false)),
            ("HTTP/1.0", "Expect: x", Ok(false)),
        ] {
            let found = with_head(version, fields, |head| expects_continue(head).map_err(|reject| reject.why));
            assert_eq!(found, expected, "{version} {fields:?}");
        }
    }
}
