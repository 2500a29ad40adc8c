//! The pages this server writes itself. The only user of maud, which escapes whatever is put into them.

use maud::{DOCTYPE, Markup, html};

use super::listing::{Key, Listing, Row};
use super::refusal::Refusal;
use crate::escape::is_unprintable;
use crate::proto::date::Rfc3339;

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

/// Explains a refusal as plain text, for a terminal.
pub fn explanation_text(refusal: &Refusal) -> String {
    let (status, said) = (refusal.why.status(), refusal.why.explanation());
    let mut page = format!("{} {}\n\n{}\n\n", status.code(), status.reason(), said.what);
    let mut line = |label: &str, text: &str| page += &format!("  {:<15} {text}\n", format!("{label}:"));
    line("Received", if refusal.received.is_empty() { "(nothing)" } else { &refusal.received });
    line("Rule", said.rule);
    line("Instead", said.instead);
    if let Some((name, value)) = &refusal.field {
        line(name, value);
    }
    page
}

/// Explains a refusal as HTML, for a browser.
pub fn explanation_html(refusal: &Refusal) -> String {
    let (status, said) = (refusal.why.status(), refusal.why.explanation());
    let title = format!("{} {}", status.code(), status.reason());
    let content = html! {
        h1 { (title) }
        p { (said.what) }
        dl {
            dt { "Received" }
            dd { code { (refusal.received) } }
            dt { "Rule" }
            dd { (said.rule) }
            dt { "Instead" }
            dd { (said.instead) }
            @if let Some((name, value)) = &refusal.field {
                dt { (name) }
                dd { @if *name == "Location" { a href=(value) { (value) } } @else { code { (value) } } }
            }
        }
    };
    page(&title, content)
}

/// Shows a directory as HTML, with links to sort it by, and no need for a script.
pub fn listing_html(listing: &Listing) -> String {
    let title = format!("Index of {}", printable(&listing.path));
    let dirs = listing.rows.iter().filter(|row| row.is_dir).count();
    let content = html! {
        h1 { (title) }
        table {
            thead {
                tr {
                    @for key in [Key::Name, Key::Size, Key::Date] { (heading(listing, key)) }
                }
            }
            tbody {
                @if !listing.is_root {
                    tr { td { a href="../" { "../" } } td {} td {} }
                }
                @for row in &listing.rows { (table_row(row)) }
            }
        }
        @if listing.count > listing.rows.len() {
            p { "The first " (listing.rows.len()) " of " (listing.count) " entries by name are shown." }
        } @else {
            p { (plural(dirs as u64, "directory", "directories")) ", " (plural((listing.rows.len() - dirs) as u64, "file", "files")) }
        }
    };
    page(&title, content)
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

/// The head of a column: a link that sorts by it, or turns the order around where it is sorted so already.
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
            td { @if let Some(date) = row.modified { (Rfc3339(date).to_string().replace('T', " ").replace('Z', "")) } }
        }
    }
}

/// Writes a length in the largest unit that leaves one digit or more before the point.
fn human_size(len: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut size = len as f64 / 1024.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    if len < 1024 {
        return format!("{len} B");
    }
    while size >= 1024.0 && units.len() > 0 {
        size /= 1024.0;
        unit = units.next();
    }
    format!("{size:.1} {}", unit.unwrap_or(&"EiB"))
}

/// Makes a name fit for a page: a control character would not be valid there and could reach a terminal, and one that
/// turns the direction of writing could make a name look like another.
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
    fn a_size_is_written_in_a_fitting_unit() {
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
    fn what_was_received_is_escaped() {
        let reject = Why::NotFound.because(b"/<script>alert(1)</script>&amp;");
        let page = explanation_html(&Refusal::from(reject));
        assert!(page.contains("/&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;"), "{page}");
        assert!(!page.contains("<script"), "{page}");
    }
}
