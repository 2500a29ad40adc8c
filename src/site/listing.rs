//! Directory listing: read, sorted, and written as HTML or JSON.

use serde::{Serialize, Serializer};

use super::headers::Caching;
use super::refusal::Refusal;
use super::response::{Body, Response};
use super::{Request, SiteSession, link};
use crate::escape;
use crate::files::OpenError;
use crate::files::dir::{Entry, FileType, OpenDir};
use crate::files::root::Node;
use crate::proto::accept::media_weight;
use crate::proto::date::HttpDate;
use crate::proto::status::Status;
use crate::proto::target::{RelPath, Target};
use crate::proto::why::Why;

/// The listing of a directory. JSON has its members in this order.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// The directory's path, with slashes at both ends, as text.
    pub path: String,
    /// The number of entries, which can be more than are shown.
    pub count: usize,
    /// The number of rows.
    pub shown: usize,
    /// The entries shown, sorted.
    #[serde(rename = "entries")]
    pub rows: Vec<Row>,
    /// The order of the rows.
    #[serde(skip)]
    pub sort: Sort,
}

/// An entry of a listing.
#[derive(Debug, Serialize)]
pub struct Row {
    /// The name as text; bytes that are not UTF-8 are replaced.
    pub name: String,
    /// The exact link to it; a directory's ends in a slash.
    pub href: String,
    /// Whether it is a directory.
    #[serde(rename = "type", serialize_with = "file_type")]
    pub is_dir: bool,
    /// The length in bytes; 0 for a directory.
    #[serde(rename = "size")]
    pub len: u64,
    /// The time of modification; none if no date can express it.
    #[serde(serialize_with = "rfc3339")]
    pub modified: Option<HttpDate>,
}

/// An order of rows. Directories always come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The key.
    pub key: Key,
    /// Whether the order is reversed.
    pub descending: bool,
}

/// A sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// The name, ignoring case.
    Name,
    /// The length.
    Size,
    /// The time of modification.
    Date,
}

impl SiteSession<'_> {
    /// Responds with the listing of a directory, as JSON if the client prefers it.
    pub fn list(&self, request: &Request<'_>, target: &Target<'_>, dir: OpenDir) -> Result<Response, Refusal> {
        let permit = self.site.listings.try_acquire().ok_or(Why::OutOfResources)?;
        let listing = self.read(target, &dir)?;
        let weight = |media_type| media_weight(&request.head.fields, media_type);
        let mut page = Vec::new();
        let media_type = if weight("application/json") > weight("text/html") {
            escape::json(&mut page, &listing);
            page.push(b'\n');
            "application/json; charset=utf-8"
        } else {
            page = listing.to_html().into_bytes();
            "text/html; charset=utf-8"
        };
        let head = self.site.headers.cached_head(Status::Ok, Caching::Revalidate);
        let head = head.field("Content-Type", media_type).field("Vary", "Accept");
        Ok(Response { permit: Some(permit), ..Response::new(head, Body::Bytes(page)) })
    }

    fn read(&self, target: &Target<'_>, dir: &OpenDir) -> Result<Listing, Refusal> {
        let is_shown = |name: &[u8]| {
            self.site.hidden || RelPath::new(name).is_some_and(|name| !target.path.join(&name).is_hidden())
        };
        let (entries, mut count) = dir.entries(is_shown)?;
        let mut rows = Vec::with_capacity(entries.len());
        for entry in entries {
            match self.row(&target.path, &entry)? {
                Some(row) => rows.push(row),
                None => count -= 1,
            }
        }
        let sort = Sort::parse(target.query.unwrap_or_default());
        sort.sort(&mut rows);
        let slash = if target.path.as_bytes().is_empty() { "" } else { "/" };
        let path = format!("/{}{slash}", String::from_utf8_lossy(target.path.as_bytes()));
        Ok(Listing { path, count, shown: rows.len(), rows, sort })
    }

    /// Makes the row of an entry. A link is shown as its target, or omitted if it may not be followed. If descriptors or memory
    /// have run out, the listing fails: an incomplete one looks complete.
    fn row(&self, parent: &RelPath, entry: &Entry) -> Result<Option<Row>, Refusal> {
        let mut meta = entry.meta;
        if meta.file_type() == FileType::Symlink {
            let Some(name) = RelPath::new(&entry.name) else { return Ok(None) };
            meta = match self.root()?.open(&parent.join(&name)) {
                Ok(Node::Dir(dir)) => dir.meta,
                Ok(Node::File(file)) => file.meta,
                Err(error @ OpenError::OutOfResources(_)) => return Err(error.into()),
                Err(_) => return Ok(None),
            };
        }
        let is_dir = meta.file_type() == FileType::Directory;
        Ok(Some(Row {
            name: String::from_utf8_lossy(&entry.name).into_owned(),
            href: link::to_name(&entry.name) + if is_dir { "/" } else { "" },
            is_dir,
            len: if is_dir { 0 } else { meta.len },
            modified: meta.modified.to_system_time().and_then(HttpDate::new),
        }))
    }
}

impl Sort {
    /// Parses `sort=name|size|date` and `order=asc|desc` in a query; other parameters are ignored.
    fn parse(query: &[u8]) -> Sort {
        let mut sort = Sort { key: Key::Name, descending: false };
        for pair in query.split(|&byte| byte == b'&') {
            match pair {
                b"sort=name" => sort.key = Key::Name,
                b"sort=size" => sort.key = Key::Size,
                b"sort=date" => sort.key = Key::Date,
                b"order=asc" => sort.descending = false,
                b"order=desc" => sort.descending = true,
                _ => {}
            }
        }
        sort
    }

    fn sort(self, rows: &mut [Row]) {
        rows.sort_by_cached_key(|row| (row.name.to_lowercase(), row.href.clone()));
        match self.key {
            Key::Name => {}
            Key::Size => rows.sort_by_key(|row| row.len),
            Key::Date => rows.sort_by_key(|row| row.modified),
        }
        if self.descending {
            rows.reverse();
        }
        rows.sort_by_key(|row| !row.is_dir);
    }
}

impl Key {
    /// Returns its name in a query.
    pub fn as_str(self) -> &'static str {
        match self {
            Key::Name => "name",
            Key::Size => "size",
            Key::Date => "date",
        }
    }
}

fn file_type<S: Serializer>(is_dir: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(if *is_dir { "directory" } else { "file" })
}

fn rfc3339<S: Serializer>(date: &Option<HttpDate>, serializer: S) -> Result<S::Ok, S::Error> {
    date.map(HttpDate::rfc3339).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, is_dir: bool, len: u64, secs: u64) -> Row {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs);
        Row { name: name.to_owned(), href: link::to_name(name.as_bytes()), is_dir, len, modified: HttpDate::new(time) }
    }

    #[test]
    fn rows_are_sorted_by_query_with_directories_first() {
        for (query, expected) in [
            ("", ["y", "Z", "a", "B", "c"]),
            ("order=desc", ["Z", "y", "c", "B", "a"]),
            ("sort=size", ["y", "Z", "c", "a", "B"]),
            ("sort=size&order=desc", ["Z", "y", "B", "a", "c"]),
            ("x=y&sort=date", ["y", "Z", "B", "c", "a"]),
            ("sort=unheard-of&order=x", ["y", "Z", "a", "B", "c"]),
        ] {
            let mut rows = [
                row("B", false, 9, 1),
                row("Z", true, 0, 9),
                row("a", false, 5, 3),
                row("y", true, 0, 8),
                row("c", false, 1, 2),
            ];
            let sort = Sort::parse(query.as_bytes());
            sort.sort(&mut rows);
            let names: Vec<_> = rows.iter().map(|row| row.name.as_str()).collect();
            assert_eq!(names, expected, "{query}");
        }
    }
}
