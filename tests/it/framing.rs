//! Message framing: Content-Length, Transfer-Encoding and chunks, well formed, malformed, and smuggled.

use crate::support::{self, Client, Folder, Server, serve};

/// The request after the one under test: a response to it behind a bad body is a smuggled request.
const NEXT: &[u8] = b"GET /next.txt HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn site() -> Folder {
    support::site().file("next.txt", "the next\n")
}

/// Returns a GET with these fields (and content), followed by the next request.
fn with_next(fields: &[u8]) -> Vec<u8> {
    [b"GET /page.txt HTTP/1.1\r\nHost: localhost\r\n", fields, NEXT].concat()
}

/// Asserts that the response has one of these codes and is the last before the close.
#[track_caller]
fn ends_with(client: &mut Client, codes: &[u16]) {
    let response = client.response().has("Connection", "close").never_says("a page");
    assert!(codes.contains(&response.status), "expected one of {codes:?}\n{}", response.exchange);
    client.closed();
}

/// Asserts that a GET with each of these field lines is refused and that the next request gets no response.
#[track_caller]
fn fields_refused(cases: &[(&[u8], &[u16])]) {
    let folder = site();
    let server = serve(&folder).start();
    for (fields, codes) in cases {
        ends_with(server.connect().send(with_next(&[fields, b"\r\n\r\n".as_slice()].concat())), codes);
        ends_with(server.connect().send(with_next(&[fields, b"\r\n\r\n0\r\n\r\n".as_slice()].concat())), codes);
    }
}

/// Asserts that both requests get their response, sent in one segment and as one byte per segment.
#[track_caller]
fn next_is_served(server: &Server, fields: &[u8]) {
    let bytes = with_next(fields);
    let mut at_once = server.connect();
    at_once.send(&bytes);
    let mut slowly = server.connect();
    slowly.send_slowly(&bytes);
    for mut client in [at_once, slowly] {
        client.response().status(200).body("a page\n");
        client.response().status(200).body("the next\n");
        client.still_open();
    }
}

#[test]
fn malformed_content_length_is_refused() {
    fields_refused(&[
        (b"Content-Length:", &[400]),
        (b"Content-Length: ", &[400]),
        (b"Content-Length: +5", &[400]),
        (b"Content-Length: -5", &[400]),
        (b"Content-Length: -0", &[400]),
        (b"Content-Length: 5 5", &[400]),
        (b"Content-Length: 5.0", &[400]),
        (b"Content-Length: 5e0", &[400]),
        (b"Content-Length: 0x5", &[400]),
        (b"Content-Length: a", &[400]),
        (b"Content-Length: 5a", &[400]),
        (b"Content-Length: five", &[400]),
        (b"Content-Length: \"5\"", &[400]),
        (b"Content-Length: 1_0", &[400]),
        (b"Content-Length: 5;", &[400]),
        (b"Content-Length: \xd9\xa5", &[400]),
        (b"Content-Length: 5\x0b", &[400]),
        (b"Content-Length: 5\x00", &[400]),
        (b"Content-Length: \r\n 5", &[400]),
        (b"Content-Length : 5", &[400]),
        (b"Content-Length\t: 5", &[400]),
        (b" Content-Length: 5", &[400]),
        (b"Content-Length 5", &[400]),
    ]);
}

#[test]
fn huge_content_length_is_refused() {
    fields_refused(&[
        (b"Content-Length: 18446744073709551616", &[400]),
        (b"Content-Length: 18446744073709551621", &[400]),
        (b"Content-Length: 340282366920938463463374607431768211461", &[400]),
        (b"Content-Length: 99999999999999999999999999999999999999999999999999", &[400]),
        (b"Content-Length: 18446744073709551615", &[413]),
        (b"Content-Length: 9223372036854775808", &[413]),
        (b"Content-Length: 4294967296", &[413]),
    ]);
}

#[test]
fn repeated_content_length_is_refused_even_when_equal() {
    fields_refused(&[
        (b"Content-Length: 5\r\nContent-Length: 5", &[400]),
        (b"Content-Length: 5\r\nContent-Length: 6", &[400]),
        (b"Content-Length: 0\r\nContent-Length: 0", &[400]),
        (b"Content-Length: 0\r\nX: y\r\ncontent-length: 5", &[400]),
        (b"Content-Length: 5\r\nContent-Length:", &[400]),
        (b"Content-Length: 5, 5", &[400]),
        (b"Content-Length: 5,5", &[400]),
        (b"Content-Length: 0, 5", &[400]),
        (b"Content-Length: 5,", &[400]),
        (b"Content-Length: ,5", &[400]),
        (b"Content-Length: ,", &[400]),
    ]);
}

#[test]
fn content_length_with_transfer_encoding_is_refused() {
    fields_refused(&[
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked", &[400]),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 5", &[400]),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 0", &[400]),
        (b"transfer-encoding: CHUNKED\r\nX: y\r\ncontent-length: 0", &[400]),
        (b"Content-Length: 5\r\nTransfer-Encoding: identity", &[400, 501]),
        (b"Content-Length: 5\r\nTransfer-Encoding:", &[400, 501]),
    ]);
}

#[test]
fn unknown_transfer_coding_is_not_implemented() {
    fields_refused(&[
        (b"Transfer-Encoding: gzip, chunked", &[501]),
        (b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", &[501]),
        (b"Transfer-Encoding: foo;bar=1, chunked", &[501]),
        (b"Transfer-Encoding: x-chunked, chunked", &[501]),
    ]);
}

/// RFC 9112 has two statuses for a last coding that is not chunked: 400 (§6.3) and, if it is unknown, 501 (§6.1).
#[test]
fn transfer_encoding_must_end_in_one_chunked() {
    fields_refused(&[
        (b"Transfer-Encoding: chunked, chunked", &[400]),
        (b"Transfer-Encoding: chunked,chunked", &[400]),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", &[400]),
        (b"Transfer-Encoding: chunked, gzip", &[400, 501]),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip", &[400, 501]),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", &[400, 501]),
        (b"Transfer-Encoding: gzip", &[400, 501]),
        (b"Transfer-Encoding: identity", &[400, 501]),
        (b"Transfer-Encoding: xchunked", &[400, 501]),
        (b"Transfer-Encoding: chunkedx", &[400, 501]),
        (b"Transfer-Encoding: chunk", &[400, 501]),
        (b"Transfer-Encoding: chunked chunked", &[400, 501]),
        (b"Transfer-Encoding: chunked;q=1", &[400, 501]),
        (b"Transfer-Encoding: \"chunked\"", &[400, 501]),
        (b"Transfer-Encoding: 'chunked'", &[400, 501]),
        (b"Transfer-Encoding: ch\xc5\xbfnked", &[400, 501]),
        (b"Transfer-Encoding:", &[400, 501]),
        (b"Transfer-Encoding: ,", &[400, 501]),
    ]);
}

#[test]
fn obfuscated_transfer_encoding_is_refused() {
    fields_refused(&[
        (b"Transfer-Encoding : chunked", &[400]),
        (b"Transfer-Encoding\t: chunked", &[400]),
        (b" Transfer-Encoding: chunked", &[400]),
        (b"X: y\r\n Transfer-Encoding: chunked", &[400]),
        (b"Transfer-Encoding: \r\n chunked", &[400]),
        (b"Transfer-Encoding\r\n : chunked", &[400]),
        (b"Transfer-Encoding: \x0bchunked", &[400]),
        (b"Transfer-Encoding: chunked\x0c", &[400]),
        (b"Transfer-Encoding: chunked\x00", &[400]),
        (b"Transfer-Encoding: chunked\r", &[400]),
        (b"X: y\rTransfer-Encoding: chunked", &[400]),
        (b"\x00Transfer-Encoding: chunked", &[400]),
        (b"Transfer\xadEncoding: chunked", &[400]),
    ]);
}

#[test]
fn transfer_encoding_in_http_1_0_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    for coding in ["chunked", "gzip, chunked", "identity"] {
        let head = format!("GET /page.txt HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: {coding}\r\n\r\n");
        ends_with(server.connect().send([head.as_bytes(), b"0\r\n\r\n", NEXT].concat()), &[400]);
    }
}

#[test]
fn request_after_a_content_length_body_is_served() {
    let folder = site();
    let server = serve(&folder).start();
    let cases: [&[u8]; 9] = [
        b"Content-Length: 0\r\n\r\n",
        b"Content-Length: 1\r\n\r\n\n",
        b"Content-Length: 5\r\n\r\nhello",
        b"Content-Length: 005\r\n\r\nhello",
        b"content-length:\t5 \t\r\n\r\nhello",
        b"Content-Length: 4\r\n\r\n\r\n\r\n",
        b"Content-Length: 5\r\n\r\n\x00\xff\r\n\x16",
        b"Content-Length: 51\r\n\r\nGET /smuggled.txt HTTP/1.1\r\nHost: localhost\r\nX: y\r\n",
        b"Content-Length: 13\nX: y\n\nGET /page\r\n\r\n",
    ];
    for case in cases {
        next_is_served(&server, case);
    }
}

#[test]
fn body_of_the_maximum_size_is_discarded() {
    let folder = site();
    let server = serve(&folder).start();
    let body = vec![b'x'; 1 << 20];
    let mut client = server.connect();
    client.send(with_next(&[b"Content-Length: 1048576\r\n\r\n", body.as_slice()].concat()));
    client.response().status(200).body("a page\n");
    client.response().status(200).body("the next\n");
}

#[test]
fn request_after_a_chunked_body_is_served() {
    let folder = site();
    let server = serve(&folder).start();
    let cases: [&[u8]; 17] = [
        b"0\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"1\r\nh\r\n4\r\nello\r\n0\r\n\r\n",
        b"a\r\n0123456789\r\n0\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"0000000005\r\nhello\r\n000\r\n\r\n",
        b"7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
        b"19\r\nGET /smuggled HTTP/1.1\r\n\n\r\n0\r\n\r\n",
        b"5;name\r\nhello\r\n0\r\n\r\n",
        b"5;name=value\r\nhello\r\n0;last\r\n\r\n",
        b"5;a=b;c=d;e\r\nhello\r\n0\r\n\r\n",
        b"5;a=\"a value; with \\\" and \\\\\"\r\nhello\r\n0\r\n\r\n",
        b"5 ; a\t= b\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX: a trailer\r\n\r\n",
        b"5\r\nhello\r\n0\r\nX: a trailer\r\nY: another\r\n\r\n",
        b"5\r\nhello\r\n0\r\nContent-Length: 100\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"5\r\nhello\r\n0\r\nHost: elsewhere\r\nConnection: close\r\n\r\n",
    ];
    for case in cases {
        next_is_served(&server, &[b"Transfer-Encoding: chunked\r\n\r\n", case].concat());
    }
}

#[test]
fn chunked_coding_name_is_case_insensitive() {
    let folder = site();
    let server = serve(&folder).start();
    for line in ["Transfer-Encoding: CHUNKED", "transfer-encoding:Chunked", "TRANSFER-ENCODING: \tchunKed \t"] {
        next_is_served(&server, format!("{line}\r\n\r\n5\r\nhello\r\n0\r\n\r\n").as_bytes());
    }
}

#[test]
fn malformed_chunk_is_refused_and_closes_the_connection() {
    let folder = site();
    let server = serve(&folder).start();
    let cases: [&[u8]; 40] = [
        b"\r\n0\r\n\r\n",
        b"g\r\nhello\r\n0\r\n\r\n",
        b"0x5\r\nhello\r\n0\r\n\r\n",
        b"+5\r\nhello\r\n0\r\n\r\n",
        b"-5\r\nhello\r\n0\r\n\r\n",
        b"-0\r\n\r\n",
        b" 5\r\nhello\r\n0\r\n\r\n",
        b"5 \r\nhello\r\n0\r\n\r\n",
        b"5 5\r\nhello\r\n0\r\n\r\n",
        b"5.0\r\nhello\r\n0\r\n\r\n",
        b"5h\r\nhello\r\n0\r\n\r\n",
        b"5,5\r\nhello\r\n0\r\n\r\n",
        b"\"5\"\r\nhello\r\n0\r\n\r\n",
        b"5_0\r\nhello\r\n0\r\n\r\n",
        b"5\x00\r\nhello\r\n0\r\n\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\rhello\r\n0\r\n\r\n",
        b"5\r\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello\r0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello!\r\n0\r\n\r\n",
        b"5\r\nhell\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"5\r\nhello\r\n0\n\r\n",
        b"5\r\nhello\r\n\r\n0\r\n\r\n",
        b"5;\nhello\r\n0\r\n\r\n",
        b"5;a\nhello\r\n0\r\n\r\n",
        b"5;a=b\nGET / HTTP/1.1\r\nhello\r\n0\r\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
        b"5;a\x00\r\nhello\r\n0\r\n\r\n",
        b"5;a=\"b\x01\"\r\nhello\r\n0\r\n\r\n",
        b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\nX : space before the colon\r\n\r\n",
        b"0\r\n: no name\r\n\r\n",
        b"0\r\nX: y\r\n folded\r\n\r\n",
        b"0\r\nX: a bare \r CR\r\n\r\n",
        b"0\r\nX: \x00\r\n\r\n",
        b"0\r\nGET /next.txt HTTP/1.1\r\n\r\n",
    ];
    for case in cases {
        ends_with(server.connect().send(with_next(&[b"Transfer-Encoding: chunked\r\n\r\n", case].concat())), &[400]);
    }
}

#[test]
fn malformed_chunk_extension_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    for extension in [";", ";;a", ";=b", ";a=", ";a=\"b", ";a=\"b\"c", ";a b", ";a=b c", ";a,b", ";(a)"] {
        let body = format!("Transfer-Encoding: chunked\r\n\r\n5{extension}\r\nhello\r\n0\r\n\r\n");
        ends_with(server.connect().send(with_next(body.as_bytes())), &[400]);
    }
}

#[test]
fn huge_chunk_size_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    for size in ["10000000000000000", "10000000000000005", "fffffffffffffffff", "ffffffffffffffff", "8000000000000000"]
    {
        let body = format!("Transfer-Encoding: chunked\r\n\r\n{size}\r\nhello\r\n0\r\n\r\n");
        ends_with(server.connect().send(with_next(body.as_bytes())), &[400, 413]);
    }
}

#[test]
fn chunk_size_that_wraps_to_zero_is_refused() {
    let folder = site();
    let server = serve(&folder).start();
    for size in ["10000000000000000", "100000000000000000000000000000000", "fffffffffffffffff"] {
        let body = format!("Transfer-Encoding: chunked\r\n\r\n{size}\r\n\r\n");
        ends_with(server.connect().send(with_next(body.as_bytes())), &[400, 413]);
    }
}

#[test]
fn fields_resembling_framing_do_not_frame() {
    let folder = site();
    let server = serve(&folder).start();
    for fields in [
        "Transfer_Encoding: chunked",
        "X-Transfer-Encoding: chunked",
        "Content_Length: 5",
        "Content-Lengths: 5",
        "TE: chunked",
        "Trailer: Content-Length",
        "X: Content-Length: 5",
        "Connection: Content-Length",
    ] {
        next_is_served(&server, format!("{fields}\r\n\r\n").as_bytes());
    }
}
