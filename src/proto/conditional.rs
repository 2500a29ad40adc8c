//! Conditional requests: 304, 412, or whether Range counts, by the preconditions in their order (RFC 9110 §13.2.2).

use super::date::HttpDate;
use super::etag::{Comparison, ETag};
use super::request::{Fields, Head, Method};

/// The validators of a representation.
#[derive(Clone, Debug)]
pub struct Validators {
    /// Its entity tag; none if the file keeps changing.
    pub etag: Option<ETag>,
    /// The time of modification, never in the future; none if no date can express it.
    pub modified: Option<HttpDate>,
    /// Whether `modified` tells versions apart, so that it may be sent and can decide for a 304.
    pub modified_is_reliable: bool,
    /// Whether `modified` is a strong validator too: it tells the representations of the file apart (RFC 9110 §8.8.2.2).
    pub modified_is_strong: bool,
}

/// The outcome of the preconditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Respond as to a request without conditions.
    Proceed {
        /// Whether the Range field counts.
        honor_range: bool,
    },
    /// 304, as the client has the version with the current entity tag.
    NotModified,
    /// 304, as the client's date is not before the time of modification.
    NotModifiedSince,
    /// 412.
    Failed,
}

impl Validators {
    /// Returns the value of Last-Modified.
    pub fn last_modified(&self) -> Option<HttpDate> {
        self.modified.filter(|_| self.modified_is_reliable)
    }

    /// Reports whether the field's values hold the entity tag, or are `*`, which matches every representation.
    fn has_tag_in(&self, fields: &Fields<'_>, name: &str, comparison: Comparison) -> bool {
        let has_any = || fields.all(name).any(|value| value == b"*");
        self.etag.map_or_else(has_any, |etag| etag.is_in(fields.all(name), comparison))
    }
}

/// Evaluates the preconditions of a GET or HEAD in the numbered steps of RFC 9110 §13.2.2.
pub fn evaluate(head: &Head<'_>, current: &Validators) -> Verdict {
    let fields = &head.fields;
    let has = |name| fields.all(name).next().is_some();
    // 1. and 2.
    if has("If-Match") {
        if !current.has_tag_in(fields, "If-Match", Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if not_modified_since(fields, "If-Unmodified-Since", current) == Some(false) {
        return Verdict::Failed;
    }
    // 3. and 4.
    if has("If-None-Match") {
        if current.has_tag_in(fields, "If-None-Match", Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if current.modified_is_reliable && not_modified_since(fields, "If-Modified-Since", current) == Some(true) {
        return Verdict::NotModifiedSince;
    }
    // 5. and 6. Range is defined for GET alone (RFC 9110 §14.2).
    Verdict::Proceed { honor_range: head.method == Method::Get && if_range_holds(fields, current) }
}

/// Compares a date field with the time of modification; none if the field is to be ignored (RFC 9110 §13.1.3, §13.1.4).
fn not_modified_since(fields: &Fields<'_>, name: &str, current: &Validators) -> Option<bool> {
    let since = HttpDate::parse(fields.single(name)?)?;
    Some(current.modified? <= since)
}

/// Reports whether the client's part is of this representation (RFC 9110 §13.1.5).
fn if_range_holds(fields: &Fields<'_>, current: &Validators) -> bool {
    let Some(value) = fields.single("If-Range") else {
        return fields.all("If-Range").next().is_none();
    };
    match HttpDate::parse(value) {
        Some(date) => current.modified_is_strong && current.modified == Some(date),
        None => current.etag.is_some_and(|etag| etag.is_exactly(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::etag::Fingerprint;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const RANGED: Verdict = Verdict::Proceed { honor_range: true };
    const WHOLE: Verdict = Verdict::Proceed { honor_range: false };

    fn current() -> Validators {
        let etag = Some(ETag { fingerprint: Fingerprint::Metadata([1; 6]), coding: None, is_weak: false });
        let modified = HttpDate::parse(AT.as_bytes());
        Validators { etag, modified, modified_is_reliable: true, modified_is_strong: true }
    }

    fn verdict(method: &str, fields: &[(&str, &str)], current: &Validators) -> Verdict {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let bytes = format!("{method} / HTTP/1.1\r\n{lines}\r\n");
        evaluate(&Head::parse(bytes.as_bytes()).expect("valid"), current)
    }

    #[test]
    fn condition_alone_decides_as_its_section_says() {
        use Verdict::{Failed, NotModified, NotModifiedSince};
        for (name, value, expected) in [
            ("X", "", RANGED),
            ("If-Match", "\"1-1-1-1-1-1\"", RANGED),
            ("If-Match", "\"x\", \"1-1-1-1-1-1\"", RANGED),
            ("If-Match", "*", RANGED),
            ("If-Match", "W/\"1-1-1-1-1-1\"", Failed),
            ("If-Match", "\"x\"", Failed),
            ("If-Match", "", Failed),
            ("If-Unmodified-Since", BEFORE, Failed),
            ("If-Unmodified-Since", AT, RANGED),
            ("If-Unmodified-Since", AFTER, RANGED),
            ("If-Unmodified-Since", "yesterday", RANGED),
            ("If-None-Match", "\"1-1-1-1-1-1\"", NotModified),
            ("If-None-Match", "W/\"1-1-1-1-1-1\"", NotModified),
            ("If-None-Match", "*", NotModified),
            ("If-None-Match", "\"x\"", RANGED),
            ("If-Modified-Since", BEFORE, RANGED),
            ("If-Modified-Since", AT, NotModifiedSince),
            ("If-Modified-Since", AFTER, NotModifiedSince),
            ("If-Modified-Since", "0", RANGED),
            ("If-Range", "\"1-1-1-1-1-1\"", RANGED),
            ("If-Range", "W/\"1-1-1-1-1-1\"", WHOLE),
            ("If-Range", "\"x\"", WHOLE),
            ("If-Range", "\"1-1-1-1-1-1\", \"x\"", WHOLE),
            ("If-Range", "\"1-1-1-1-1-1\" x", WHOLE),
            ("If-Range", "1-1-1-1-1-1", WHOLE),
            ("If-Range", AT, RANGED),
            ("If-Range", AFTER, WHOLE),
            ("If-Range", BEFORE, WHOLE),
            ("If-Range", "*", WHOLE),
        ] {
            assert_eq!(verdict("GET", &[(name, value)], &current()), expected, "{name}: {value}");
        }
    }

    #[test]
    fn conditions_decide_in_order_of_precedence() {
        use Verdict::{Failed, NotModified};
        for (fields, expected) in [
            (vec![("If-Match", "\"1-1-1-1-1-1\""), ("If-Unmodified-Since", BEFORE)], RANGED),
            (vec![("If-None-Match", "\"x\""), ("If-Modified-Since", AFTER)], RANGED),
            (vec![("If-Modified-Since", BEFORE), ("If-None-Match", "\"1-1-1-1-1-1\"")], NotModified),
            (vec![("If-None-Match", "\"1-1-1-1-1-1\""), ("If-Match", "\"x\"")], Failed),
            (vec![("If-Modified-Since", AFTER), ("If-Unmodified-Since", BEFORE)], Failed),
            (vec![("If-Match", "\"x\""), ("If-Match", "\"1-1-1-1-1-1\"")], RANGED),
            (vec![("If-None-Match", "\"x\""), ("If-Range", "\"y\"")], WHOLE),
            (vec![("If-Modified-Since", AFTER), ("If-Modified-Since", AFTER)], RANGED),
            (vec![("If-Range", "\"1-1-1-1-1-1\""), ("If-Range", "\"1-1-1-1-1-1\"")], WHOLE),
        ] {
            assert_eq!(verdict("GET", &fields, &current()), expected, "{fields:?}");
        }
    }

    #[test]
    fn representation_without_tag_matches_any_alone() {
        let tagless = Validators { etag: None, ..current() };
        for (name, value, expected) in [
            ("If-Match", "*", RANGED),
            ("If-Match", "\"1-1-1-1-1-1\"", Verdict::Failed),
            ("If-None-Match", "*", Verdict::NotModified),
            ("If-None-Match", "\"1-1-1-1-1-1\"", RANGED),
            ("If-Range", "\"1-1-1-1-1-1\"", WHOLE),
            ("If-Range", AT, RANGED),
        ] {
            assert_eq!(verdict("GET", &[(name, value)], &tagless), expected, "{name}: {value}");
        }
    }

    #[test]
    fn range_counts_for_get_alone() {
        assert_eq!(verdict("HEAD", &[], &current()), WHOLE);
    }

    #[test]
    fn date_conditions_are_ignored_without_date() {
        let dateless = Validators { modified: None, ..current() };
        assert_eq!(verdict("GET", &[("If-Modified-Since", AFTER)], &dateless), RANGED);
        assert_eq!(verdict("GET", &[("If-Unmodified-Since", BEFORE)], &dateless), RANGED);
    }

    #[test]
    fn weak_or_unreliable_date_keeps_nothing_back() {
        let weak = Validators { modified_is_strong: false, ..current() };
        assert_eq!(verdict("GET", &[("If-Range", AT)], &weak), WHOLE);
        assert_eq!(verdict("GET", &[("If-Modified-Since", AT)], &weak), Verdict::NotModifiedSince);
        let unreliable = Validators { modified_is_reliable: false, ..weak };
        assert_eq!(verdict("GET", &[("If-Range", AT)], &unreliable), WHOLE);
        assert_eq!(verdict("GET", &[("If-Modified-Since", AFTER)], &unreliable), RANGED);
        assert_eq!(verdict("GET", &[("If-Unmodified-Since", BEFORE)], &unreliable), Verdict::Failed);
    }
}
