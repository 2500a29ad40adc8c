//! Expected responses to a client's bytes, by the oracle's parse of them.

use super::oracle::{Asked, Content, Length, Read, begin, read_chunked, read_head};
use super::script::{Mark, Script};

/// The expected outcome of a script.
#[derive(Debug, Default)]
pub struct Foretold<'s> {
    /// The responses, in order.
    pub dues: Vec<Due<'s>>,
    /// Whether the client resets the connection while the server waits for it.
    pub is_reset: bool,
}

/// An expected response.
#[derive(Debug)]
pub struct Due<'s> {
    /// The request; none if the bytes are not a request.
    pub asked: Option<Asked<'s>>,
    /// The statuses that a refusal may have; none if the request is served.
    pub refused: Option<&'static [u16]>,
    /// Whether the response has no content because the method is HEAD.
    pub is_to_head: bool,
    /// Whether the connection is kept open.
    pub keeps: bool,
}

/// The outcome of a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Arrived,
    /// The end of the stream, after this number of bytes.
    End(usize),
    /// A timeout, after this number of bytes.
    Timeout(usize),
    /// No further response is expected.
    Gone,
    Reset,
}

struct Forecast<'s> {
    script: &'s Script,
    passed: usize,
    is_stopping: bool,
    is_evicted: bool,
    is_reset: bool,
}

/// Returns the expected responses.
pub fn foretell(script: &Script) -> Foretold<'_> {
    let mut forecast = Forecast { script, passed: 0, is_stopping: false, is_evicted: false, is_reset: false };
    let mut dues = Vec::new();
    let mut at = 0;
    while let Some((due, end)) = forecast.next(at) {
        at = end;
        let keeps = due.keeps;
        dues.push(due);
        if !keeps {
            break;
        }
    }
    Foretold { dues, is_reset: forecast.is_reset }
}

impl<'s> Forecast<'s> {
    /// Returns the expected response to the bytes from `start`, and the start of the next request.
    fn next(&mut self, start: usize) -> Option<(Due<'s>, usize)> {
        let bytes = &self.script.says[start..];
        let refuse = |asked, statuses| Some((refusal(bytes, asked, statuses), 0));
        let (asked, need) = match read_head(bytes) {
            Read::Head(asked) => (Some(asked.len), asked.len),
            Read::Bad(need) => (None, need),
            Read::Partial => (None, usize::MAX),
        };
        let has_begun = |at: usize| !is_empty(&bytes[..at - start]);
        match self.wait(start, need, has_begun) {
            Wait::Arrived if asked.is_none() => return refuse(None, &[400, 414, 431, 505]),
            Wait::Arrived => {}
            Wait::Timeout(at) => return Some((refusal(&bytes[..at - start], None, &[408]), 0)),
            Wait::End(at) if has_begun(at) && !self.is_stopping => {
                return Some((refusal(&bytes[..at - start], None, &[400]), 0));
            }
            Wait::End(_) | Wait::Gone | Wait::Reset => return None,
        }
        let Read::Head(asked) = read_head(bytes) else { unreachable!("the same bytes parsed as a head before") };
        let length = asked.length();
        if length == Length::Refused {
            return refuse(Some(asked), &[400, 413, 501]);
        }
        let Some(expects) = asked.expects_continue() else { return refuse(Some(asked), &[417]) };
        if expects {
            return Some((self.response(asked, false), 0));
        }
        let content = match length {
            Length::Exactly(length) => Content::Ends(length as usize),
            _ => read_chunked(&bytes[asked.len..]),
        };
        let need = match content {
            Content::Ends(length) | Content::Bad(length) => asked.len + length,
            Content::Partial => usize::MAX,
        };
        match (self.wait(start, need, |_| true), content) {
            (Wait::Arrived, Content::Ends(_)) => Some((self.response(asked, true), start + need)),
            (Wait::Arrived, _) => refuse(Some(asked), &[400, 413]),
            (Wait::Timeout(_), _) => refuse(Some(asked), &[408]),
            (Wait::End(_), _) => refuse(Some(asked), &[400]),
            (Wait::Gone | Wait::Reset, _) => None,
        }
    }

    /// Waits for `need` bytes after `start`.
    fn wait(&mut self, start: usize, need: usize, has_begun: impl Fn(usize) -> bool) -> Wait {
        let end = start.saturating_add(need);
        while let Some((at, mark)) = self.script.marks.get(self.passed).filter(|(at, _)| *at < end) {
            let has_begun = has_begun(*at);
            let is_over = self.is_evicted || self.is_stopping && !has_begun;
            match mark {
                Mark::Late | Mark::Silence if is_over => return self.end(*at),
                Mark::Silence if has_begun => return Wait::Timeout(*at),
                Mark::Silence => return Wait::Gone,
                Mark::Reset => {
                    self.is_reset = true;
                    return Wait::Reset;
                }
                Mark::Stop => self.is_stopping = true,
                Mark::Evict => self.is_evicted = true,
                Mark::Late | Mark::Piece | Mark::Takes(..) | Mark::Fault(_) => {}
            }
            self.passed += 1;
        }
        if end > self.script.says.len() { self.end(self.script.says.len()) } else { Wait::Arrived }
    }

    fn end(&self, at: usize) -> Wait {
        if self.is_evicted { Wait::Gone } else { Wait::End(at) }
    }

    fn response(&self, asked: Asked<'s>, may_keep: bool) -> Due<'s> {
        let keeps = may_keep && asked.persists() && !self.is_stopping && !self.is_evicted;
        Due { refused: None, is_to_head: asked.method == b"HEAD", keeps, asked: Some(asked) }
    }
}

fn refusal<'s>(bytes: &[u8], asked: Option<Asked<'s>>, statuses: &'static [u16]) -> Due<'s> {
    let is_to_head = bytes[begin(bytes)..].starts_with(b"HEAD ");
    Due { asked, refused: Some(statuses), is_to_head, keeps: false }
}

/// Reports whether the bytes are empty lines alone, of which the last may be incomplete.
fn is_empty(bytes: &[u8]) -> bool {
    matches!(bytes[begin(bytes)..], [] | [b'\r'])
}
