//! Date formats of HTTP and of the logs (RFC 9110 §5.6.7). The only user of httpdate.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The year 10000 in seconds since 1970, the first second beyond HTTP dates.
const YEAR_10000: u64 = 253_402_300_800;

/// A time with an HTTP date: whole seconds from 1970 to the end of 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HttpDate {
    secs: u64,
}

/// The formatted texts of a date, cached while the second is the same.
#[derive(Debug, Default)]
pub struct Stamp {
    date: Option<HttpDate>,
    /// The IMF-fixdate of RFC 9110.
    pub http: String,
    /// The Common Log Format.
    pub common_log: String,
    /// The format of RFC 3339.
    pub rfc3339: String,
}

impl Stamp {
    /// Sets the date.
    pub fn set(&mut self, date: HttpDate) {
        if self.date != Some(date) {
            let (http, common_log, rfc3339) = (date.to_string(), date.common_log(), date.rfc3339());
            *self = Stamp { date: Some(date), http, common_log, rfc3339 };
        }
    }
}

impl HttpDate {
    /// Returns the second of `time`; none before 1970 and after 9999, where httpdate panics.
    pub fn new(time: SystemTime) -> Option<HttpDate> {
        let secs = time.duration_since(UNIX_EPOCH).ok()?.as_secs();
        (secs < YEAR_10000).then_some(HttpDate { secs })
    }

    /// Returns the second of `time`, clamped to the range of HTTP dates.
    pub fn clamped(time: SystemTime) -> HttpDate {
        let secs = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        HttpDate { secs: secs.min(YEAR_10000 - 1) }
    }

    /// Parses a date in any of the three formats that recipients must accept.
    pub fn parse(value: &[u8]) -> Option<HttpDate> {
        HttpDate::new(httpdate::parse_http_date(str::from_utf8(value).ok()?).ok()?)
    }

    /// Formats it by RFC 3339, in UTC: `1994-11-06T08:49:37Z`.
    pub fn rfc3339(self) -> String {
        let date = self.to_string();
        let names = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let month = names.iter().position(|name| *name == &date[8..11]).map_or(0, |at| at + 1);
        format!("{}-{month:02}-{}T{}Z", &date[12..16], &date[5..7], &date[17..25])
    }

    /// Formats it in the Common Log Format: `06/Nov/1994:08:49:37 +0000`.
    pub fn common_log(self) -> String {
        let date = self.to_string();
        format!("{}/{}/{}:{} +0000", &date[5..7], &date[8..11], &date[12..16], &date[17..25])
    }
}

/// Displays the IMF-fixdate, 29 bytes: `Sun, 06 Nov 1994 08:49:37 GMT`.
impl fmt::Display for HttpDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        httpdate::HttpDate::from(UNIX_EPOCH + Duration::from_secs(self.secs)).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: HttpDate = HttpDate { secs: 784_111_777 };

    #[test]
    fn all_three_date_formats_are_parsed() {
        for text in ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"] {
            assert_eq!(HttpDate::parse(text.as_bytes()), Some(EXAMPLE), "{text}");
        }
        for text in ["", "0", "Sun, 06 Nov 1994", "1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 CET", "\u{e9}"] {
            assert_eq!(HttpDate::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn dates_are_formatted_by_their_specifications() {
        assert_eq!(EXAMPLE.to_string(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(EXAMPLE.rfc3339(), "1994-11-06T08:49:37Z");
        assert_eq!(EXAMPLE.common_log(), "06/Nov/1994:08:49:37 +0000");
    }

    #[test]
    fn times_outside_the_range_are_rejected_or_clamped() {
        let year_10000 = UNIX_EPOCH + Duration::from_secs(YEAR_10000);
        let year_1969 = UNIX_EPOCH - Duration::from_nanos(1);
        assert_eq!(HttpDate::new(year_10000), None);
        assert_eq!(HttpDate::new(year_1969), None);
        assert_eq!(HttpDate::clamped(year_10000).to_string(), "Fri, 31 Dec 9999 23:59:59 GMT");
        assert_eq!(HttpDate::clamped(year_1969).to_string(), "Thu, 01 Jan 1970 00:00:00 GMT");
    }
}
