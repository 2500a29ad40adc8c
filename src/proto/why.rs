//! The reasons for a response other than the requested one: a closed list, each with its status and explanation.
//!
//! A new refusal is a new row: the page, the log and the tests that iterate over the list follow. The explanation
//! addresses the person behind the request: what is wrong, which rule says so, what to send instead.

use super::status::Status;

/// The sentences that explain a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The fault of the request; unique among all reasons.
    pub what: &'static str,
    /// The rule that was broken, with its section.
    pub rule: &'static str,
    /// The correction.
    pub instead: &'static str,
}

/// A refused request: the reason and the bytes at fault, for the page that explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject<'b> {
    /// The reason.
    pub why: Why,
    /// The part of the request at fault, as received.
    pub received: &'b [u8],
}

macro_rules! reasons {
    ($($name:ident: $status:ident, $what:literal, $rule:literal, $instead:literal;)*) => {
        /// A reason for a response other than the requested one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Why {
            $(#[doc = $what] $name,)*
        }

        impl Why {
            /// Every reason, for the tests that iterate over them.
            #[cfg(test)]
            pub const ALL: &[Why] = &[$(Why::$name,)*];

            /// Returns the status of the response.
            pub fn status(self) -> Status {
                match self {
                    $(Why::$name => Status::$status,)*
                }
            }

            /// Returns the sentences for the page and the log.
            pub fn explanation(self) -> Explanation {
                match self {
                    $(Why::$name => Explanation { what: $what, rule: $rule, instead: $instead },)*
                }
            }

            /// Returns the refusal for this reason, caused by these bytes.
            pub fn because(self, received: &[u8]) -> Reject<'_> {
                Reject { why: self, received }
            }
        }
    };
}

reasons! {
    // The PROXY header, before the first request.
    ProxyHeaderMissing: BadRequest, "There is no PROXY header at the start of this connection.",
        "This server requires one from its trusted proxies (PROXY protocol §2; RFC 9110 §15.5.1).",
        "Make the proxy send it, or start the server without --proxy-protocol.";
    ProxyHeaderSyntax: BadRequest, "The PROXY header is malformed.",
        "It is a line of at most 107 bytes, or a block of at most 4096 (PROXY protocol §2.1, §2.2; RFC 9110 §15.5.1).",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 80";
    ProxyHeaderUnwanted: BadRequest, "A PROXY header is not accepted here.",
        "Only a trusted proxy may send one, and only once (PROXY protocol §2; RFC 9110 §15.5.1).",
        "Begin with the request; or start the server with --proxy-protocol and --trusted-proxy for your address.";

    // The request line.
    NotHttp: BadRequest, "The first byte cannot begin an HTTP request.",
        "A request begins with its method, without a space before it (RFC 9112 §3, RFC 9110 §9.1).",
        "GET / HTTP/1.1  (and if you used https:// with this port, use http://)";
    RequestLine: BadRequest, "The request line does not have three parts.",
        "It consists of a method, one space, a target, one space and a version (RFC 9112 §3).",
        "GET / HTTP/1.1";
    VersionSyntax: BadRequest, "The version at the end of the request line is malformed.",
        "It is HTTP in capitals, a slash, a digit, a dot and a digit (RFC 9112 §2.3).",
        "GET / HTTP/1.1";
    VersionNotSupported: HttpVersionNotSupported, "This version of HTTP is not supported.",
        "A server may refuse a major version that it does not implement (RFC 9110 §15.6.6).",
        "Use HTTP/1.1 or HTTP/1.0.";
    RequestLineTooLong: UriTooLong, "The request line is longer than this server accepts.",
        "A server may set a limit and refuse longer request lines with 414 (RFC 9112 §3, RFC 9110 §15.5.15).",
        "Send a request line of at most 8192 bytes.";

    // The header fields.
    BareCr: BadRequest, "A line contains a carriage return that does not end it.",
        "A carriage return may only appear before a line feed (RFC 9112 §2.2).",
        "End each line with CR LF, or with LF alone.";
    MissingColon: BadRequest, "A header line has no colon.",
        "A field is a name, a colon and a value (RFC 9112 §5).",
        "Write each field like this:  Host: localhost";
    SpaceBeforeColon: BadRequest, "There is a space between a field's name and its colon.",
        "No space is allowed there: servers that disagree about it can be attacked (RFC 9112 §5.1).",
        "Write each field like this:  Host: localhost";
    FieldName: BadRequest, "A field's name is empty or contains an invalid byte.",
        "A name is a token: letters, digits and some punctuation such as the hyphen (RFC 9110 §5.1).",
        "Write each field like this:  Host: localhost";
    FieldValue: BadRequest, "A field's value contains a control byte.",
        "The only control byte allowed in a value is the tab (RFC 9110 §5.5).",
        "Remove the control byte.";
    LineFolding: BadRequest, "A header line begins with a space or a tab.",
        "A value may not be continued on the next line (RFC 9112 §5.2).",
        "Put the whole field on one line.";
    HeadTooLarge: RequestHeaderFieldsTooLarge, "The header fields are larger than this server accepts.",
        "A server may set a limit and refuse larger fields with 431 (RFC 6585 §5).",
        "Send a head of at most 32768 bytes.";
    TooManyFields: RequestHeaderFieldsTooLarge, "There are more header fields than this server accepts.",
        "A server may set a limit and refuse more fields with 431 (RFC 9110 §5.4, RFC 6585 §5).",
        "Send at most 100 header fields.";
    HeadIncomplete: BadRequest, "The connection ended before the request was complete.",
        "The head of a request ends with an empty line (RFC 9112 §2.1, §8).",
        "Send an empty line after the header fields.";
    HeadTimeout: RequestTimeout, "The request took too long to arrive.",
        "A server limits the time for a whole request head to arrive (RFC 9110 §15.5.9).",
        "Connect again, and end the request with an empty line: press Enter twice.";

    // The framing of the content.
    ContentLengthSyntax: BadRequest, "The Content-Length is not a valid number.",
        "It is one decimal number that fits in 64 bits (RFC 9110 §8.6, RFC 9112 §6.3).",
        "Content-Length: 0";
    ContentLengthRepeated: BadRequest, "There is more than one Content-Length.",
        "Two lengths are ambiguous, so the request is refused (RFC 9112 §6.3).",
        "Send one Content-Length field with one number.";
    LengthAndEncoding: BadRequest, "The request has both Content-Length and Transfer-Encoding.",
        "A request with both may be an attempt to smuggle another request (RFC 9112 §6.1).",
        "Send only one of the two.";
    TransferEncodingInHttp10: BadRequest, "Transfer-Encoding is used in HTTP/1.0.",
        "It was introduced in HTTP/1.1; in an older version the framing is faulty (RFC 9112 §6.1).",
        "Use HTTP/1.1, or a Content-Length.";
    TransferCodingUnknown: NotImplemented, "The transfer coding is not supported.",
        "A server responds with 501 to a transfer coding that it does not understand (RFC 9112 §6.1).",
        "Leave out the Transfer-Encoding field.";
    TransferCodingOrder: BadRequest, "The chunked transfer coding is not applied exactly once and last.",
        "In a request, chunked is the final coding and appears once (RFC 9112 §6.1, §6.3).",
        "Leave out the Transfer-Encoding field.";
    ChunkSyntax: BadRequest, "The chunked content is malformed.",
        "A chunk is its size in hexadecimal, CR LF, the bytes, CR LF; a chunk of size 0 is the last (RFC 9112 §7.1).",
        "Frame the content as described in RFC 9112 §7.1, or send none.";
    ContentTooLarge: ContentTooLarge, "The request body is larger than this server will discard.",
        "A server may refuse content that is larger than it will process (RFC 9110 §15.5.14).",
        "Send no content; no file here needs any.";
    ContentIncomplete: BadRequest, "The connection ended before the content was complete.",
        "The content must be as long as its framing says (RFC 9112 §6.3, §8).",
        "Send the announced number of bytes, or announce none.";
    ContentTimeout: RequestTimeout, "The content took too long to arrive.",
        "A server limits the time for the announced content to arrive (RFC 9110 §15.5.9).",
        "Send no content; no file here needs any.";
    ExpectationUnknown: ExpectationFailed, "The expectation cannot be met.",
        "The only defined expectation is 100-continue (RFC 9110 §10.1.1).",
        "Leave out the Expect field.";

    // The host.
    HostMissing: BadRequest, "There is no Host field.",
        "Every HTTP/1.1 request names its host (RFC 9112 §3.2).",
        "Add this line below the request line, then an empty line:  Host: localhost";
    HostRepeated: BadRequest, "There is more than one Host field.",
        "A request names exactly one host (RFC 9112 §3.2).",
        "Send one line:  Host: localhost";
    HostInvalid: BadRequest, "The Host field is not a valid host.",
        "It is a name or an address, optionally followed by a colon and a port (RFC 9110 §7.2, RFC 3986 §3.2.2).",
        "Send one line:  Host: localhost";

    // TLS.
    PlainHttpOnTlsPort: BadRequest, "This port is for https, and the request came as plain http.",
        "A URL that begins with https is requested over TLS (RFC 9110 §4.2.2).",
        "Write https:// instead of http:// in front of the address.";
    RedirectToHttps: PermanentRedirect, "This site is served over https.",
        "Send the same request to its https address, now and in the future (RFC 9110 §15.4.9).",
        "Request the address in the Location field.";
    RedirectWithoutHost: BadRequest, "This site is served over https, and the request does not name a host.",
        "The https address is built from the Host field (RFC 9110 §7.2, §15.4.9).",
        "Write https:// in front of the address, or add a line such as:  Host: localhost";

    // The method.
    MethodUnknown: NotImplemented, "This method is unknown.",
        "Methods are case-sensitive, and the standard ones are in capitals (RFC 9110 §9.1, §15.6.2).",
        "GET / HTTP/1.1";
    MethodNotAllowed: MethodNotAllowed, "This method is not allowed here.",
        "A file server supports GET and HEAD; the Allow field lists the methods (RFC 9110 §15.5.6).",
        "Use GET; this server is not a proxy, and its files cannot be changed.";

    // The target.
    TargetForm: BadRequest, "The target has a form that this method does not accept.",
        "It is a path that begins with a slash, a whole URL, or * for OPTIONS (RFC 9112 §3.2).",
        "GET /index.html HTTP/1.1";
    TargetScheme: BadRequest, "The scheme of the URL in the target is not http or https.",
        "A server responds only for the schemes that it serves (RFC 9110 §4.2, RFC 9112 §3.2.2).",
        "GET http://localhost/ HTTP/1.1";
    TargetAuthority: BadRequest, "The URL in the target has no valid host.",
        "A host follows the two slashes, without a user name (RFC 9110 §4.2.1, §4.2.4).",
        "GET http://localhost/ HTTP/1.1";
    TargetByte: BadRequest, "The target contains an invalid byte.",
        "Control bytes and # are not allowed; a browser does not send # and what follows (RFC 3986 §3, RFC 9112 §3.2).",
        "Percent-encode the byte, such as %23 for #.";
    PercentEncoding: BadRequest, "A percent sign in the target is not followed by two hexadecimal digits.",
        "A percent sign begins an encoded byte (RFC 3986 §2.1).",
        "Write the percent sign itself as %25.";
    NulInPath: BadRequest, "The path contains a zero byte.",
        "No file name can contain the byte %00; it is used only in attacks (RFC 3986 §7.3).",
        "Remove %00.";
    AboveRoot: BadRequest, "The path leads above the root.",
        "Such a .. could be dropped (RFC 3986 §5.2.4), but it is refused: no legitimate client sends it.",
        "Begin at the root:  GET / HTTP/1.1";
    EncodedSlash: NotFound, "The path contains an encoded slash.",
        "A slash written as %2F is part of a name, and no file name can contain one (RFC 3986 §2.2).",
        "Write / between the names of directories.";

    // The file.
    NotFound: NotFound, "There is nothing here.",
        "No file matches this target, or none that may be disclosed (RFC 9110 §15.5.5).",
        "Check the spelling; upper and lower case are different.";
    ListingOff: NotFound, "This directory has no index file, and directories are not listed.",
        "A directory is served as its index file, or as a listing if listings are enabled (RFC 9110 §15.5.5).",
        "Put an index.html into the directory, or start the server with --list.";
    Unreadable: Forbidden, "The server is not allowed to read this file.",
        "The kernel does not let the server open it (RFC 9110 §15.5.4).",
        "The owner can make it readable, for example with chmod a+r.";
    DirectoryWithoutSlash: MovedPermanently, "The address of this directory ends with a slash.",
        "With the slash, relative links on its page resolve correctly (RFC 9110 §15.4.2, RFC 3986 §5.2).",
        "Request the address in the Location field.";
    PreconditionFailed: PreconditionFailed, "A precondition of the request is false.",
        "If-Match or If-Unmodified-Since refers to another version of this file (RFC 9110 §13.1, §15.5.13).",
        "Get the file again and use the ETag and Last-Modified of that response.";
    RangeUnsatisfiable: RangeNotSatisfiable, "The requested range contains no byte of the file.",
        "The Content-Range field states the length of the file (RFC 9110 §14.4, §15.5.17).",
        "Request a range that begins inside the file, such as:  Range: bytes=0-";
    KeepsChanging: ServiceUnavailable, "The file is being rewritten at this moment.",
        "A response that mixes two versions would be wrong, so none is sent (RFC 9110 §15.6.4).",
        "Try again in a second.";
    OutOfResources: ServiceUnavailable, "The server has run out of descriptors or memory.",
        "The condition is temporary (RFC 9110 §15.6.4).",
        "Try again in a few seconds.";
    NoThread: ServiceUnavailable, "The server cannot start a thread for this connection.",
        "Each connection needs one; the condition is temporary (RFC 9110 §15.6.4).",
        "Try again in a few seconds.";
    PerIpLimit: ServiceUnavailable, "There are too many connections from this address.",
        "The operator limits the connections of one address (RFC 9110 §15.6.4).",
        "Try again in a second, or close another connection first.";
    FileSystem: InternalServerError, "The file system reported an error.",
        "The server's log has the details for its operator (RFC 9110 §15.6.1).",
        "Try again; if the error persists, contact the operator.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_unique_text_section_and_remedy() {
        for (at, why) in Why::ALL.iter().enumerate() {
            let explanation = why.explanation();
            assert!(explanation.what.ends_with('.'), "{why:?}");
            assert!(explanation.rule.contains("RFC ") && explanation.rule.contains('§'), "{why:?}");
            assert!(!explanation.instead.is_empty(), "{why:?}");
            let twin = Why::ALL[..at].iter().find(|other| other.explanation().what == explanation.what);
            assert_eq!(twin, None, "{why:?}");
        }
    }
}
