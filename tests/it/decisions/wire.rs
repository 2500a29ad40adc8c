//! A persistent connection with pipelined requests.
//!
//! [`Client`](crate::support::Client) keeps the whole exchange for its messages, which is too much for 10^5 exchanges.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::support::Response;

pub struct Wire {
    stream: BufReader<TcpStream>,
}

impl Wire {
    pub fn connect(addr: SocketAddr) -> Wire {
        let stream = TcpStream::connect(addr).expect("the server accepts the connection");
        stream.set_nodelay(true).expect("the option can be set");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("the option can be set");
        Wire { stream: BufReader::with_capacity(64 * 1024, stream) }
    }

    /// Sends requests in one write.
    pub fn send(&mut self, requests: &[String]) {
        self.stream.get_mut().write_all(requests.concat().as_bytes()).expect("the server reads on");
    }

    /// Reads the next response, which is the one to this request.
    pub fn response(&mut self, request: &str) -> Response {
        let mut exchange = request.to_owned();
        let status_line = self.line(&mut exchange);
        assert!(status_line.starts_with("HTTP/1.1 "), "not a status line\n{exchange}");
        let status = status_line[9..12].parse().unwrap_or_else(|_| panic!("no status\n{exchange}"));
        let mut response =
            Response { status, status_line, fields: Vec::new(), body: Vec::new(), exchange: String::new() };
        loop {
            let line = self.line(&mut exchange);
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line:?}\n{exchange}"));
            response.fields.push((name.to_owned(), value.to_owned()));
        }
        response.exchange = exchange;
        let has_content = !request.starts_with("HEAD ") && !matches!(status, 204 | 304);
        if has_content {
            let length = response.field("Content-Length").parse().expect("a length");
            response.body.resize(length, 0);
            self.stream.read_exact(&mut response.body).expect("the content has its Content-Length");
        }
        response
    }

    fn line(&mut self, exchange: &mut String) -> String {
        let from = exchange.len();
        let count = self.stream.read_line(exchange).unwrap_or_else(|error| panic!("no line: {error}\n{exchange}"));
        assert!(count > 0, "the server closed\n{exchange}");
        exchange[from..].trim_end_matches("\r\n").to_owned()
    }
}
