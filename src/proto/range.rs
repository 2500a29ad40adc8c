//! Byte ranges of a representation, selected by a Range field (RFC 9110 §14.1, §14.2).

use std::ops::Range;

use super::syntax::{decimal_saturating, find, list};

/// The most ranges in one request; a request with more gets the whole representation.
const SPANS_MAX: usize = 16;

/// The selection of a Range field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// Everything: the field is ignored, as RFC 9110 §14.2 requires for an unknown unit and allows otherwise.
    Whole,
    /// One span or more, none empty, none adjacent to another, in the order requested.
    Spans(Vec<Range<u64>>),
    /// Nothing: no range has a byte in the representation.
    Unsatisfiable,
}

/// Evaluates the value of a Range field for a representation of `len` bytes.
pub fn select(value: &[u8], len: u64) -> Selection {
    let parse = |set| list(set).map(|spec| span(spec, len)).take(SPANS_MAX + 1).collect();
    let requested: Vec<Range<u64>> = range_set(value).and_then(parse).unwrap_or_default();
    let bytes = requested.iter().fold(0u64, |bytes, span| bytes.saturating_add(span.end - span.start));
    if requested.is_empty() || requested.len() > SPANS_MAX || bytes > len {
        return Selection::Whole;
    }
    let mut spans = Vec::new();
    for span in requested.into_iter().filter(|span| !span.is_empty()) {
        add(&mut spans, span);
    }
    if spans.is_empty() { Selection::Unsatisfiable } else { Selection::Spans(spans) }
}

/// Returns the set after `bytes=`, the only supported unit; units are case-insensitive.
fn range_set(value: &[u8]) -> Option<&[u8]> {
    let (unit, set) = value.split_at_checked(6)?;
    unit.eq_ignore_ascii_case(b"bytes=").then_some(set)
}

/// Parses `first-last`, `first-` or `-suffix` (RFC 9110 §14.1.1), clamped: empty if outside, none if malformed.
fn span(spec: &[u8], len: u64) -> Option<Range<u64>> {
    let dash = find(b'-', spec)?;
    let (first, last) = (&spec[..dash], &spec[dash + 1..]);
    if first.is_empty() {
        let suffix = decimal_saturating(last)?;
        // A suffix of nothing is satisfiable (§14.1.2), but no Content-Range can express it.
        return (len > 0 || suffix == 0).then(|| len.saturating_sub(suffix)..len);
    }
    let first = decimal_saturating(first)?;
    let last = if last.is_empty() { u64::MAX } else { decimal_saturating(last)? };
    (first <= last).then(|| first.min(len)..last.saturating_add(1).min(len))
}

/// Adds a span, merged with those it overlaps or touches.
fn add(spans: &mut Vec<Range<u64>>, mut span: Range<u64>) {
    let mut at = spans.len();
    while let Some(found) = spans.iter().position(|other| other.start <= span.end && span.start <= other.end) {
        let other = spans.remove(found);
        span = span.start.min(other.start)..span.end.max(other.end);
        at = at.min(found);
    }
    spans.insert(at.min(spans.len()), span);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(spans: &[(u64, u64)]) -> Selection {
        Selection::Spans(spans.iter().map(|&(start, end)| start..end).collect())
    }

    #[test]
    fn ranges_match_the_examples_of_rfc_9110_14_1_2() {
        for (value, first, last) in [
            ("bytes=0-499", 0, 499),
            ("bytes=500-999", 500, 999),
            ("bytes=-500", 9500, 9999),
            ("bytes=9500-", 9500, 9999),
            ("bytes=500-600,601-999", 500, 999),
            ("bytes=500-700,601-999", 500, 999),
        ] {
            assert_eq!(select(value.as_bytes(), 10000), spans(&[(first, last + 1)]), "{value}");
        }
        assert_eq!(select(b"bytes= 0-0, -1", 10000), spans(&[(0, 1), (9999, 10000)]));
    }

    #[test]
    fn range_is_clamped_and_malformed_one_ignored() {
        use Selection::{Unsatisfiable, Whole};
        for (value, expected) in [
            ("bytes=0-", spans(&[(0, 10)])),
            ("bytes=9-", spans(&[(9, 10)])),
            ("bytes=5-99", spans(&[(5, 10)])),
            ("bytes=-99", spans(&[(0, 10)])),
            ("BYTES=0-0", spans(&[(0, 1)])),
            ("bytes=0-99999999999999999999999", spans(&[(0, 10)])),
            ("bytes=-99999999999999999999999", spans(&[(0, 10)])),
            ("bytes=0-18446744073709551615", spans(&[(0, 10)])),
            ("bytes=7-8,0-1,4-4", spans(&[(7, 9), (0, 2), (4, 5)])),
            ("bytes=0-1,99-", spans(&[(0, 2)])),
            ("bytes=,0-1,,", spans(&[(0, 2)])),
            ("bytes=10-", Unsatisfiable),
            ("bytes=10-20,99-", Unsatisfiable),
            ("bytes=-0", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=", Whole),
            ("bytes=,", Whole),
            ("bytes", Whole),
            ("bytes=-", Whole),
            ("bytes=a-b", Whole),
            ("bytes=1", Whole),
            ("bytes=5-4", Whole),
            ("bytes=0-1,5-4", Whole),
            ("bytes=0-1,x", Whole),
            ("bytes=+0-1", Whole),
            ("bytes=0 - 1", Whole),
            ("bytes =0-1", Whole),
            ("bytes=--1", Whole),
            ("bytes=0-1-2", Whole),
            ("lines=0-1", Whole),
            ("", Whole),
        ] {
            assert_eq!(select(value.as_bytes(), 10), expected, "{value:?}");
        }
    }

    #[test]
    fn empty_representation_has_no_satisfiable_range() {
        assert_eq!(select(b"bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select(b"bytes=0-0", 0), Selection::Unsatisfiable);
        assert_eq!(select(b"bytes=-0", 0), Selection::Unsatisfiable);
        assert_eq!(select(b"bytes=-5", 0), Selection::Whole);
    }

    #[test]
    fn ranges_never_exceed_the_representation() {
        assert_eq!(select(b"bytes=0-,0-", 10), Selection::Whole);
        assert_eq!(select(b"bytes=0-6,3-9", 10), Selection::Whole);
        assert_eq!(select(b"bytes=0-3,2-5", 10), spans(&[(0, 6)]));
        assert_eq!(select(b"bytes=8-8,0-2,4-5,2-4", 10), spans(&[(8, 9), (0, 6)]));
        let many = |count: u64| {
            let specs: Vec<_> = (0..count).map(|at| format!("{0}-{0}", at * 2)).collect();
            select(format!("bytes={}", specs.join(",")).as_bytes(), 1000)
        };
        assert!(matches!(many(16), Selection::Spans(spans) if spans.len() == 16));
        assert_eq!(many(17), Selection::Whole);
    }
}
