//! The conditions of a request, in their order of precedence (RFC 9110 §13.2.2).

use super::date::HttpDate;
use super::etag::{Comparison, ETag};
use super::request::{Fields, Head, Method};

/// What a representation is compared by.
#[derive(Clone, Debug)]
pub struct Validators {
    /// Its entity tag; none where it is not known yet, or the file does not stay what it is.
    pub etag: Option<ETag>,
    /// When it was modified, never in the future; none where no date can express it.
    pub modified: Option<HttpDate>,
    /// Whether `modified` is strong: the second that it names was over when the file was opened, so that the file
    /// cannot change again within it (RFC 9110 §8.8.2.2).
    pub modified_is_strong: bool,
}

/// What the conditions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were no conditions; with the range or without it.
    Proceed {
        /// Whether a Range field counts.
        honor_range: bool,
    },
    /// The client has it already: 304.
    NotModified,
    /// A condition does not hold: 412.
    Failed,
}

impl Validators {
    /// Reports whether the field's values hold the entity tag, or are `*`, which every representation fits.
    fn has_tag_in(&self, fields: &Fields<'_>, name: &str, comparison: Comparison) -> bool {
        match self.etag {
            Some(etag) => etag.is_in(fields.all(name), comparison),
            None => fields.all(name).any(|value| value == b"*"),
        }
    }
}

/// Reports whether an entity tag can make a difference to the answer.
pub fn compares_tags(fields: &Fields<'_>) -> bool {
    let has = |name| fields.all(name).next().is_some();
    has("If-Match") || has("If-None-Match") || fields.all("If-Range").any(|value| HttpDate::parse(value).is_none())
}

/// Evaluates the conditions of a GET or HEAD, step by step as RFC 9110 §13.2.2 numbers them.
pub fn evaluate(head: &Head<'_>, current: &Validators) -> Verdict {
    let fields = &head.fields;
    let has = |name| fields.all(name).next().is_some();

    if has("If-Match") {
        // 1.
        if !current.has_tag_in(fields, "If-Match", Comparison::Strong) {
            return Verdict::Failed;
        }
    } else if not_modified_since(fields, "If-Unmodified-Since", current) == Some(false) {
        // 2.
        return Verdict::Failed;
    }

    if has("If-None-Match") {
        // 3.
        if current.has_tag_in(fields, "If-None-Match", Comparison::Weak) {
            return Verdict::NotModified;
        }
    } else if not_modified_since(fields, "If-Modified-Since", current) == Some(true) {
        // 4.
        return Verdict::NotModified;
    }

    // 5. and 6. A range is for GET alone (RFC 9110 §14.2).
    Verdict::Proceed { honor_range: head.method == Method::Get && if_range_holds(fields, current) }
}

/// Compares a date field with the time of modification; none where there is nothing to compare, and then the field is
/// ignored (RFC 9110 §13.1.3, §13.1.4).
fn not_modified_since(fields: &Fields<'_>, name: &str, current: &Validators) -> Option<bool> {
    let since = HttpDate::parse(fields.single(name)?)?;
    Some(current.modified? <= since)
}

/// Reports whether the client's part is of this very representation (RFC 9110 §13.1.5).
fn if_range_holds(fields: &Fields<'_>, current: &Validators) -> bool {
    let mut values = fields.all("If-Range");
    match (values.next(), values.next()) {
        (None, _) => true,
        (Some(value), None) => match HttpDate::parse(value) {
            Some(date) => current.modified_is_strong && current.modified == Some(date),
            None => current.etag.is_some_and(|etag| etag.is_exactly(value)),
        },
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const AFTER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
    const RANGED: Verdict = Verdict::Proceed { honor_range: true };
    const WHOLE: Verdict = Verdict::Proceed { honor_range: false };

    fn current() -> Validators {
        // The tag is "1-1-1".
        let etag = Some(ETag::of_size_and_time(1, 1, 1));
        Validators { etag, modified: HttpDate::parse(AT.as_bytes()), modified_is_strong: true }
    }

    fn verdict(method: &str, fields: &[(&str, &str)], current: &Validators) -> Verdict {
        let lines: String = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let bytes = format!("{method} / HTTP/1.1\r\n{lines}\r\n");
        evaluate(&Head::parse(bytes.as_bytes()).expect("valid"), current)
    }

    #[test]
    fn each_condition_alone_decides_as_its_section_says() {
        use Verdict::{Failed, NotModified};
        for (name, value, expected) in [
            ("X", "", RANGED),
            ("If-Match", "\"1-1-1\"", RANGED),
            ("If-Match", "\"x\", \"1-1-1\"", RANGED),
            ("If-Match", "*", RANGED),
            ("If-Match", "W/\"1-1-1\"", Failed),
            ("If-Match", "\"x\"", Failed),
            ("If-Match", "", Failed),
            ("If-Unmodified-Since", BEFORE, Failed),
            ("If-Unmodified-Since", AT, RANGED),
            ("If-Unmodified-Since", AFTER, RANGED),
            ("If-Unmodified-Since", "yesterday", RANGED),
            ("If-None-Match", "\"1-1-1\"", NotModified),
            ("If-None-Match", "W/\"1-1-1\"", NotModified),
            ("If-None-Match", "*", NotModified),
            ("If-None-Match", "\"x\"", RANGED),
            ("If-Modified-Since", BEFORE, RANGED),
            ("If-Modified-Since", AT, NotModified),
            ("If-Modified-Since", AFTER, NotModified),
            ("If-Modified-Since", "0", RANGED),
            ("If-Range", "\"1-1-1\"", RANGED),
            ("If-Range", "W/\"1-1-1\"", WHOLE),
            ("If-Range", "\"x\"", WHOLE),
            ("If-Range", "\"1-1-1\", \"x\"", WHOLE),
            ("If-Range", "\"1-1-1\" x", WHOLE),
            ("If-Range", "1-1-1", WHOLE),
            ("If-Range", AT, RANGED),
            ("If-Range", AFTER, WHOLE),
            ("If-Range", BEFORE, WHOLE),
            ("If-Range", "*", WHOLE),
        ] {
            assert_eq!(verdict("GET", &[(name, value)], &current()), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_tag_takes_precedence_over_a_date_and_a_precondition_over_the_cache() {
        use Verdict::{Failed, NotModified};
        for (fields, expected) in [
            (vec![("If-Match", "\"1-1-1\""), ("If-Unmodified-Since", BEFORE)], RANGED),
            (vec![("If-None-Match", "\"x\""), ("If-Modified-Since", AFTER)], RANGED),
            (vec![("If-Modified-Since", BEFORE), ("If-None-Match", "\"1-1-1\"")], NotModified),
            (vec![("If-None-Match", "\"1-1-1\""), ("If-Match", "\"x\"")], Failed),
            (vec![("If-Modified-Since", AFTER), ("If-Unmodified-Since", BEFORE)], Failed),
            (vec![("If-Match", "\"x\""), ("If-Match", "\"1-1-1\"")], RANGED),
            (vec![("If-None-Match", "\"x\""), ("If-Range", "\"y\"")], WHOLE),
            (vec![("If-Modified-Since", AFTER), ("If-Modified-Since", AFTER)], RANGED),
            (vec![("If-Range", "\"1-1-1\""), ("If-Range", "\"1-1-1\"")], WHOLE),
        ] {
            assert_eq!(verdict("GET", &fields, &current()), expected, "{fields:?}");
        }
    }

    #[test]
    fn without_a_tag_no_tag_is_the_same_but_any_will_do() {
        let tagless = Validators { etag: None, ..current() };
        for (name, value, expected) in [
            ("If-Match", "*", RANGED),
            ("If-Match", "\"1-1-1\"", Verdict::Failed),
            ("If-None-Match", "*", Verdict::NotModified),
            ("If-None-Match", "\"1-1-1\"", RANGED),
            ("If-Range", "\"1-1-1\"", WHOLE),
            ("If-Range", AT, RANGED),
        ] {
            assert_eq!(verdict("GET", &[(name, value)], &tagless), expected, "{name}: {value}");
        }
    }

    #[test]
    fn what_compares_tags_is_known_before() {
        for (line, expected) in [
            ("If-Match: *", true),
            ("If-None-Match: \"x\"", true),
            ("If-Range: \"x\"", true),
            ("If-Range: x", true),
            ("If-Range: Sun, 06 Nov 1994 08:49:37 GMT", false),
            ("If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT", false),
            ("Range: bytes=0-1", false),
        ] {
            let bytes = format!("GET / HTTP/1.1\r\n{line}\r\n\r\n");
            assert_eq!(compares_tags(&Head::parse(bytes.as_bytes()).expect("valid").fields), expected, "{line}");
        }
    }

    #[test]
    fn a_range_is_for_get_alone() {
        assert_eq!(verdict("HEAD", &[], &current()), WHOLE);
    }

    #[test]
    fn without_a_date_the_date_fields_are_ignored_and_a_young_date_is_weak() {
        let dateless = Validators { modified: None, ..current() };
        assert_eq!(verdict("GET", &[("If-Modified-Since", AFTER)], &dateless), RANGED);
        assert_eq!(verdict("GET", &[("If-Unmodified-Since", BEFORE)], &dateless), RANGED);
        let young = Validators { modified_is_strong: false, ..current() };
        assert_eq!(verdict("GET", &[("If-Range", AT)], &young), WHOLE);
    }
}
