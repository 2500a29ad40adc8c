//! Why a request gets no file: one closed list of reasons, each with its status and the sentences that explain it.
//!
//! A new refusal is a new row here; the page, the log and the tests that walk the list follow from it. The sentences
//! are for the person who typed the request: what is wrong with it, which rule says so, what to send instead.

use super::status::Status;

/// The sentences that explain a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What is wrong with the request; unique among all reasons.
    pub what: &'static str,
    /// The rule that is broken, with the section where it stands.
    pub rule: &'static str,
    /// What to send or do instead.
    pub instead: &'static str,
}

/// A request that is refused: the reason, and the bytes that gave it, for the page that explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject<'b> {
    /// The reason.
    pub why: Why,
    /// The part of the request that is at fault, as it was received.
    pub received: &'b [u8],
}

macro_rules! reasons {
    ($($name:ident: $status:ident, $what:literal, $rule:literal, $instead:literal;)*) => {
        /// A reason to answer with something else than what was asked for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Why {
            $(#[doc = $what] $name,)*
        }

        impl Why {
            /// Every reason there is, for the tests that walk them.
            #[cfg(test)]
            pub const ALL: &[Why] = &[$(Why::$name,)*];

            /// The status that says it to a program.
            pub fn status(self) -> Status {
                match self {
                    $(Why::$name => Status::$status,)*
                }
            }

            /// The sentences that say it to a person.
            pub fn explanation(self) -> Explanation {
                match self {
                    $(Why::$name => Explanation { what: $what, rule: $rule, instead: $instead },)*
                }
            }

            /// Refuses the request for this reason because of these bytes.
            pub fn because(self, received: &[u8]) -> Reject<'_> {
                Reject { why: self, received }
            }
        }
    };
}

reasons! {
    // What a proxy says of a connection, before the first request.
    ProxyHeaderMissing: BadRequest, "There is no PROXY header, with which a connection from here has to begin.",
        "The operator asks the proxies that are trusted for one (PROXY protocol §2; RFC 9110 §15.5.1).",
        "Make the proxy send it, or start the server without --proxy-protocol.";
    ProxyHeaderSyntax: BadRequest, "The PROXY header is malformed.",
        "It is a line of at most 107 bytes, or a block of at most 4096 (PROXY protocol §2.1, §2.2; RFC 9110 §15.5.1).",
        "PROXY TCP4 192.0.2.1 198.51.100.1 56324 80";
    ProxyHeaderUnwanted: BadRequest, "A PROXY header is not taken here.",
        "Who is not trusted could forge one, and nobody sends two (PROXY protocol §2; RFC 9110 §15.5.1).",
        "Begin with the request; or start the server with --proxy-protocol and --trusted-proxy for your address.";

    // The request line.
    NotHttp: BadRequest, "The first byte cannot begin an HTTP request.",
        "A request begins with its method, without a space before it (RFC 9112 §3, RFC 9110 §9.1).",
        "GET / HTTP/1.1  (and if you used https:// with this port, use http://)";
    RequestLine: BadRequest, "The request line is not made of its three parts.",
        "It is: a method, one space, a target, one space, a version (RFC 9112 §3).",
        "GET / HTTP/1.1";
    VersionSyntax: BadRequest, "The version at the end of the request line is misspelt.",
        "It is HTTP in capitals, a slash, a digit, a dot and a digit (RFC 9112 §2.3).",
        "GET / HTTP/1.1";
    VersionNotSupported: HttpVersionNotSupported, "This version of HTTP is not spoken here.",
        "A server may refuse a major version that it does not implement (RFC 9110 §15.6.6).",
        "Use HTTP/1.1 or HTTP/1.0.";
    RequestLineTooLong: UriTooLong, "The request line is longer than this server reads.",
        "A server sets a limit and says so with 414 (RFC 9112 §3, RFC 9110 §15.5.15).",
        "Send a request line of at most 8192 bytes.";

    // The header fields.
    BareCr: BadRequest, "A line holds a carriage return that does not end it.",
        "A carriage return stands only before a line feed (RFC 9112 §2.2).",
        "End each line with CR LF, or with LF alone.";
    MissingColon: BadRequest, "A header line has no colon.",
        "A field is a name, a colon and a value (RFC 9112 §5).",
        "Write each field as in:  Host: localhost";
    SpaceBeforeColon: BadRequest, "There is a space between a field's name and its colon.",
        "No space is allowed there, because servers that read it in different ways can be tricked (RFC 9112 §5.1).",
        "Write each field as in:  Host: localhost";
    FieldName: BadRequest, "A field's name is empty or holds a byte that no name may hold.",
        "A name is a token: letters, digits, and some signs such as the hyphen (RFC 9110 §5.1).",
        "Write each field as in:  Host: localhost";
    FieldValue: BadRequest, "A field's value holds a control byte.",
        "Control bytes other than the tab are not valid in a value (RFC 9110 §5.5).",
        "Remove the control byte.";
    LineFolding: BadRequest, "A header line begins with a space or a tab.",
        "A value may not be continued on the next line (RFC 9112 §5.2).",
        "Put the whole field on one line.";
    HeadTooLarge: RequestHeaderFieldsTooLarge, "The header fields are larger than this server reads.",
        "A server sets a limit and says so with 431 (RFC 6585 §5).",
        "Send a head of at most 32768 bytes.";
    TooManyFields: RequestHeaderFieldsTooLarge, "There are more header fields than this server reads.",
        "A server sets a limit and may say so with 431 (RFC 9110 §5.4, RFC 6585 §5).",
        "Send at most 100 header fields.";
    HeadIncomplete: BadRequest, "The connection ended before the request was whole.",
        "The head of a request ends with an empty line (RFC 9112 §2.1, §8).",
        "Send an empty line after the header fields.";
    HeadTimeout: RequestTimeout, "The request took too long to arrive.",
        "A server waits only so long for the empty line that ends the head (RFC 9110 §15.5.9).",
        "Connect again, and end the request with an empty line: press Enter twice.";

    // The framing of the content.
    ContentLengthSyntax: BadRequest, "The Content-Length is not a number that can be used.",
        "It is one number of decimal digits that fits in 64 bits (RFC 9110 §8.6, RFC 9112 §6.3).",
        "Content-Length: 0";
    ContentLengthRepeated: BadRequest, "There is more than one Content-Length.",
        "Two lengths can be read in two ways, so the request is refused (RFC 9112 §6.3).",
        "Send one Content-Length field with one number.";
    LengthAndEncoding: BadRequest, "There is a Content-Length and a Transfer-Encoding.",
        "A request with both may be an attempt to hide another request in it (RFC 9112 §6.1).",
        "Send only one of the two.";
    EncodingInOldVersion: BadRequest, "Transfer-Encoding is used in HTTP/1.0.",
        "It came with HTTP/1.1; before that, the framing counts as faulty (RFC 9112 §6.1).",
        "Use HTTP/1.1, or a Content-Length.";
    TransferCodingUnknown: NotImplemented, "The transfer coding is not implemented here.",
        "A server answers 501 to a transfer coding that it does not understand (RFC 9112 §6.1).",
        "Leave the Transfer-Encoding field out.";
    TransferCodingOrder: BadRequest, "The chunked transfer coding is not applied once and last.",
        "In a request, chunked is the final coding and stands once (RFC 9112 §6.1, §6.3).",
        "Leave the Transfer-Encoding field out.";
    ChunkSyntax: BadRequest, "The chunked content is malformed.",
        "A chunk is its size in hexadecimal, CR LF, the bytes, CR LF; a chunk of size 0 ends it (RFC 9112 §7.1).",
        "Frame the content as RFC 9112 §7.1 says, or send none.";
    ContentTooLarge: ContentTooLarge, "The content, or its framing, is larger than this server throws away.",
        "A server may refuse content that is larger than it will process (RFC 9110 §15.5.14).",
        "Send no content; no file here needs any.";
    ContentIncomplete: BadRequest, "The connection ended before the content was whole.",
        "The content is as long as the framing says (RFC 9112 §6.3, §8).",
        "Send the announced number of bytes, or announce none.";
    ContentTimeout: RequestTimeout, "The content took too long to arrive.",
        "A server waits only so long for the content that was announced (RFC 9110 §15.5.9).",
        "Send no content; no file here needs any.";
    ExpectationUnknown: ExpectationFailed, "The expectation cannot be met.",
        "The only expectation there is, is 100-continue (RFC 9110 §10.1.1).",
        "Leave the Expect field out.";

    // The host.
    HostMissing: BadRequest, "There is no Host field.",
        "Every HTTP/1.1 request names the host it wants (RFC 9112 §3.2).",
        "Add this line below the request line, then an empty line:  Host: localhost";
    HostRepeated: BadRequest, "There is more than one Host field.",
        "A request names exactly one host (RFC 9112 §3.2).",
        "Send one line:  Host: localhost";
    HostInvalid: BadRequest, "The Host field is not a host.",
        "It is a name or an address, and then a colon and a port where there is one (RFC 9110 §7.2, RFC 3986 §3.2.2).",
        "Send one line:  Host: localhost";

    // TLS.
    PlainToTls: BadRequest, "This port is for https, and the request came as plain http.",
        "A URL that begins with https is asked for over TLS (RFC 9110 §4.2.2).",
        "Write https:// instead of http:// in front of the address.";
    ToTls: PermanentRedirect, "This site is served over https.",
        "The same request is to be sent to its address there, now and later (RFC 9110 §15.4.9).",
        "Ask for the address in the Location field.";
    NoHostForTls: BadRequest, "This site is served over https, and the request does not say on which host.",
        "The address to go to is made of the Host field (RFC 9110 §7.2, §15.4.9).",
        "Write https:// in front of the address, or add a line such as:  Host: localhost";

    // The method.
    MethodUnknown: NotImplemented, "This method is not known here.",
        "Capital and small letters differ in a method, and the standard ones are in capitals (RFC 9110 §9.1, §15.6.2).",
        "GET / HTTP/1.1";
    MethodNotAllowed: MethodNotAllowed, "This method is known but not served here.",
        "A server of files gives them to GET and HEAD; the Allow field lists its methods (RFC 9110 §15.5.6).",
        "Use GET; this is no proxy, and nothing can be changed here.";

    // The target.
    TargetForm: BadRequest, "The target has a form that this method does not take.",
        "A path begins with a slash; a whole URL, or * for OPTIONS, is taken too (RFC 9112 §3.2).",
        "GET /index.html HTTP/1.1";
    TargetScheme: BadRequest, "The URL in the target is not of http or https.",
        "A server answers for the schemes that it serves (RFC 9110 §4.2, RFC 9112 §3.2.2).",
        "GET http://localhost/ HTTP/1.1";
    TargetAuthority: BadRequest, "The URL in the target names no valid host.",
        "After the two slashes comes a host, without a user's name (RFC 9110 §4.2.1, §4.2.4).",
        "GET http://localhost/ HTTP/1.1";
    TargetByte: BadRequest, "The target holds a byte that no target may hold.",
        "Control bytes and # do not stand in a target; a browser keeps what follows # (RFC 3986 §3, RFC 9112 §3.2).",
        "Write the byte percent-encoded, such as %23 for #.";
    PercentEncoding: BadRequest, "A percent sign in the target is not followed by two hexadecimal digits.",
        "A percent sign begins an encoded byte (RFC 3986 §2.1).",
        "Write the percent sign itself as %25.";
    NulInPath: BadRequest, "The path holds a zero byte.",
        "No name can hold the byte %00; it has only been used to deceive (RFC 3986 §7.3).",
        "Remove %00.";
    AboveRoot: BadRequest, "The path leads above the root.",
        "Such a .. could be dropped (RFC 3986 §5.2.4); it is refused, because only who wants to break out sends it.",
        "Begin at the root:  GET / HTTP/1.1";
    EncodedSlash: NotFound, "The path holds an encoded slash.",
        "A slash written as %2F belongs to a name, and no file's name can hold one (RFC 3986 §2.2).",
        "Write / between the names of directories.";

    // The file.
    NotFound: NotFound, "There is nothing here.",
        "No file answers to this target, or none that may be known (RFC 9110 §15.5.5).",
        "Check the spelling; capital and small letters differ.";
    ListingOff: NotFound, "This directory has no index file, and directories are not listed.",
        "A directory is answered with its index file, or with a listing where that is turned on (RFC 9110 §15.5.5).",
        "Put an index.html into the directory, or start the server with --list.";
    Unreadable: Forbidden, "This file may not be read by the server.",
        "The system does not let the server open it (RFC 9110 §15.5.4).",
        "Its owner can make it readable, for example with chmod a+r.";
    DirectoryWithoutSlash: MovedPermanently, "This directory's address ends with a slash.",
        "With the slash, the relative links of its page lead to the right place (RFC 9110 §15.4.2, RFC 3986 §5.2).",
        "Ask for the address in the Location field.";
    PreconditionFailed: PreconditionFailed, "A condition of the request does not hold.",
        "If-Match or If-Unmodified-Since names a version that this file no longer has (RFC 9110 §13.1, §15.5.13).",
        "Get the file again and use the ETag and Last-Modified of that answer.";
    RangeUnsatisfiable: RangeNotSatisfiable, "No byte of the file lies in the range that was asked for.",
        "The Content-Range field tells how long the file is (RFC 9110 §14.4, §15.5.17).",
        "Ask for a range that begins inside the file, such as:  Range: bytes=0-";
    KeepsChanging: ServiceUnavailable, "The file is being rewritten at this moment.",
        "An answer that mixes two versions would be wrong, so none is sent (RFC 9110 §15.6.4).",
        "Ask again in a second.";
    OutOfResources: ServiceUnavailable, "The server has run out of descriptors or memory.",
        "The condition is temporary (RFC 9110 §15.6.4).",
        "Ask again in a few seconds.";
    NoThread: ServiceUnavailable, "The server cannot start a thread for this connection.",
        "It needs one for each; the condition is temporary (RFC 9110 §15.6.4).",
        "Ask again in a few seconds.";
    TooManyFromAddress: ServiceUnavailable, "There are as many connections from this address as there may be.",
        "The operator set how many there may be (RFC 9110 §15.6.4).",
        "Ask again in a second, or end another connection before.";
    FileSystem: InternalServerError, "The file system reported an error.",
        "The server's log tells its operator which one (RFC 9110 §15.6.1).",
        "Ask again; if it stays so, tell the operator.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_unique_text_section_and_remedy() {
        for (at, why) in Why::ALL.iter().enumerate() {
            let said = why.explanation();
            assert!(said.what.ends_with('.'), "{why:?}");
            assert!(said.rule.contains("RFC ") && said.rule.contains('§'), "{why:?}");
            assert!(!said.instead.is_empty(), "{why:?}");
            let twin = Why::ALL[..at].iter().find(|other| other.explanation().what == said.what);
            assert_eq!(twin, None, "{why:?}");
        }
    }
}
