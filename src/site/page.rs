//! Pages written by the server: refusals and listings. The only user of maud, which escapes every value.

use maud::{DOCTYPE, Markup, html};

use super::SiteSession;
use super::headers::Caching;
use super::listing::{Key, Listing, Row};
use super::refusal::{PageFormat, Refusal};
use super::response::{Body, Response};
use crate::escape::is_unprintable;
use crate::proto::status::Status;

/// Retry-After of a 503, in seconds (RFC 9110 §10.2.3).
const RETRY_AFTER_SECS: u64 = 1;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#ddd;--soft:#555}\
@media(prefers-color-scheme:dark){:root{--line:#444;--soft:#aaa}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.5rem;overflow-wrap:anywhere}\
pre,code{font-family:ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}\
dt{color:var(--soft)}dd{margin:0 0 .75rem}\
table{border-collapse:collapse;width:100%}\
th,td{padding:.3rem .5rem;border-bottom:1px solid var(--line);text-align:left}\
td:first-child{overflow-wrap:anywhere}\
th:nth-child(n+2),td:nth-child(n+2){text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
p{color:var(--soft)}";

impl SiteSession<'_> {
    /// Responds with the page for a refusal in this format.
    pub fn page(&self, refusal: Refusal, format: PageFormat) -> Response {
        let (media_type, page) = match format {
            PageFormat::Text => ("text/plain; charset=utf-8", refusal.to_text()),
            PageFormat::Html => ("text/html; charset=utf-8", refusal.to_html()),
        };
        let status = refusal.why.status();
        let is_redirect = matches!(status, Status::MovedPermanently | Status::PermanentRedirect);
        let caching = if is_redirect { Caching::Revalidate } else { Caching::Never };
        let head = self.site.headers.cached_head(status, caching).field("Content-Type", media_type);
        let head = head.field("Vary", "Accept");
        let head = head.maybe("Retry-After", (status == Status::ServiceUnavailable).then_some(RETRY_AFTER_SECS));
        let head = refusal.field.into_iter().fold(head, |head, (name, value)| head.field(name, value));
        let body = Body::Bytes(page.into_bytes());
        Response { why: Some(refusal.why), cause: refusal.cause, ..Response::new(head, body) }
    }
}

impl Refusal {
    fn to_text(&self) -> String {
        let (status, explanation) = (self.why.status(), self.why.explanation());
        let mut page = format!("{}\n\n{}\n\n", status.line(), explanation.what);
        let mut line = |label: &str, text: &str| page += &format!("  {:<15} {text}\n", format!("{label}:"));
        line("Received", if self.received.is_empty() { "(nothing)" } else { &self.received });
        line("Rule", explanation.rule);
        line("Instead", explanation.instead);
        if let Some((name, value)) = &self.field {
            line(name, value);
        }
        page
    }

    fn to_html(&self) -> String {
        let (status, explanation) = (self.why.status(), self.why.explanation());
        let title = status.line();
        let content = html! {
            h1 { (title) }
            p { (explanation.what) }
            dl {
                dt { "Received" }
                dd { code { (self.received) } }
                dt { "Rule" }
                dd { (explanation.rule) }
                dt { "Instead" }
                dd { (explanation.instead) }
                @if let Some((name, value)) = &self.field {
                    dt { (name) }
                    dd { @if *name == "Location" { a href=(value) { (value) } } @else { code { (value) } } }
                }
            }
        };
        page(title, content)
    }
}

impl Listing {
    /// Renders the listing as HTML, sortable by links without a script.
    pub fn to_html(&self) -> String {
        let title = format!("Index of {}", printable(&self.path));
        let dirs = self.rows.iter().filter(|row| row.is_dir).count();
        let content = html! {
            h1 { (title) }
            table {
                thead {
                    tr {
                        @for key in [Key::Name, Key::Size, Key::Date] { (heading(self, key)) }
                    }
                }
                tbody {
                    @if self.path != "/" {
                        tr { td { a href="../" { "../" } } td {} td {} }
                    }
                    @for row in &self.rows { (table_row(row)) }
                }
            }
            @if self.count > self.rows.len() {
                p { "The first " (self.rows.len()) " of " (self.count) " entries by name are shown." }
            } @else {
                p { (plural(dirs as u64, "directory", "directories")) ", " (plural((self.rows.len() - dirs) as u64, "file", "files")) }
            }
        };
        page(&title, content)
    }
}

fn page(title: &str, content: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (maud::PreEscaped(STYLE)) }
            }
            body { main { (content) } }
        }
    };
    page.into_string()
}

/// Renders a column's heading: a link that sorts by it, or reverses the order.
fn heading(listing: &Listing, key: Key) -> Markup {
    let is_sorted = listing.sort.key == key;
    let descending = is_sorted && !listing.sort.descending;
    let order = if descending { "desc" } else { "asc" };
    let label = match key {
        Key::Name => "Name",
        Key::Size => "Size",
        Key::Date => "Modified (UTC)",
    };
    let sorted = is_sorted.then_some(if listing.sort.descending { "descending" } else { "ascending" });
    html! {
        th scope="col" aria-sort=[sorted] {
            a href={ "?sort=" (key.as_str()) "&order=" (order) } { (label) }
            @if is_sorted { span aria-hidden="true" { @if listing.sort.descending { " ▼" } @else { " ▲" } } }
        }
    }
}

fn table_row(row: &Row) -> Markup {
    let slash = if row.is_dir { "/" } else { "" };
    html! {
        tr {
            td { a href=(row.href) { bdi { (printable(&row.name)) (slash) } } }
            td { @if !row.is_dir { span title=(plural(row.len, "byte", "bytes")) { (human_size(row.len)) } } }
            td { @if let Some(date) = row.modified { (date.rfc3339().replace('T', " ").replace('Z', "")) } }
        }
    }
}

/// Formats a length in the largest unit of which it has one.
fn human_size(len: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let power = len.checked_ilog2().unwrap_or(0) / 10;
    let decimals = usize::from(power > 0);
    format!("{:.decimals$} {}", len as f64 / 1024f64.powi(power as i32), UNITS[power as usize])
}

/// Replaces the characters of a name that are not valid in HTML, reach a terminal, or change the direction of text.
fn printable(name: &str) -> String {
    name.replace(is_unprintable, "\u{fffd}")
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::why::Why;

    #[test]
    fn size_is_formatted_in_a_fitting_unit() {
        for (len, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(human_size(len), expected);
        }
    }

    #[test]
    fn received_bytes_are_escaped_in_html() {
        let reject = Why::NotFound.because(b"/<script>alert(1)</script>&amp;");
        let page = Refusal::from(reject).to_html();
        assert!(page.contains("/&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
}
