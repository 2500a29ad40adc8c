//! The request-target as a path below the root (RFC 9112 §3.2, RFC 3986 §3.3, §5.2.4).
//!
//! This is the only place that decodes percent-encoding and decides about `.`, `..`, empty segments and encoded slashes.
//! The result is a [`RelPath`], the only type that opens files.

use super::host::split_authority;
use super::syntax::{SmallVec, find, hex_pair};
use super::why::{Reject, Why};

/// The parts of a request-target.
#[derive(Debug, PartialEq, Eq)]
pub struct Target<'b> {
    /// The path below the root, decoded.
    pub path: RelPath,
    /// Whether the path ends in a slash, like the address of a directory.
    pub ends_in_slash: bool,
    /// The part after the first question mark, as received.
    pub query: Option<&'b [u8]>,
}

/// A path below the root, which itself is empty: names joined by single slashes, none empty, `.` or `..`, none with a zero
/// byte. Its bytes are those of the file system, not necessarily UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RelPath(Bytes);

/// The inline capacity fits most paths.
type Bytes = SmallVec<u8, 64>;

impl<'b> Target<'b> {
    /// Parses the target of a file: only the origin-form `/path?query` or the absolute-form `http://host/path?query`.
    pub fn parse(raw: &'b [u8]) -> Result<Target<'b>, Reject<'b>> {
        if raw.contains(&b'#') {
            return Err(Why::TargetByte.because(raw));
        }
        let (_, local) = split_authority(raw)?;
        let mark = find(b'?', local).unwrap_or(local.len());
        let (path, ends_in_slash) = resolve(&local[..mark]).map_err(|why| why.because(raw))?;
        Ok(Target { path, ends_in_slash, query: local.get(mark + 1..) })
    }
}

impl RelPath {
    /// Parses a path of an option, such as `errors/404.html`; none if it is not in canonical form.
    pub fn new(path: &[u8]) -> Option<RelPath> {
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        path.split(|&byte| byte == b'/').all(is_name).then(|| RelPath(path.into()))
    }

    /// Returns the path of `name` in this directory.
    pub fn join(&self, name: &RelPath) -> RelPath {
        let mut joined = self.clone();
        joined.push(&name.0);
        joined
    }

    /// Returns this path with a suffix, which has no slash, appended to its name.
    pub fn extended(&self, suffix: &str) -> RelPath {
        let mut extended = self.clone();
        extended.0.extend_from_slice(suffix.as_bytes());
        extended
    }

    /// Returns the parent directory and the name in it.
    pub fn split(&self) -> (RelPath, &[u8]) {
        let mut dir = self.clone();
        dir.pop();
        let start = dir.0.len() + usize::from(!dir.0.is_empty());
        (dir, &self.0[start..])
    }

    /// The path's bytes; empty for the root.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reports whether a name in the path begins with a dot, other than `.well-known` at the root (RFC 8615 §3).
    pub fn is_hidden(&self) -> bool {
        let mut names = self.0.split(|&byte| byte == b'/').enumerate();
        names.any(|(depth, name)| name.starts_with(b".") && !(depth == 0 && name == b".well-known"))
    }

    /// Moves down one level.
    fn push(&mut self, name: &[u8]) {
        if !self.0.is_empty() {
            self.0.push(b'/');
        }
        self.0.extend_from_slice(name);
    }

    /// Moves up one level; false at the root.
    fn pop(&mut self) -> bool {
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        let was_root = self.0.is_empty();
        self.0.truncate(end);
        !was_root
    }
}

/// Decodes a path once and removes its dot segments (RFC 3986 §5.2.4); encoded dots are dots (RFC 3986 §6.2.2.2).
///
/// Empty segments are removed before `..` is applied, as in the usual reverse proxies, so that both resolve the same path.
fn resolve(path: &[u8]) -> Result<(RelPath, bool), Why> {
    let mut resolved = RelPath(Bytes::with_capacity(path.len()));
    let mut names_directory = true;
    let mut name = Bytes::new();
    for segment in path.split(|&byte| byte == b'/') {
        name.clear();
        decode(segment, &mut name)?;
        names_directory = matches!(&name[..], b"" | b"." | b"..");
        if !names_directory {
            resolved.push(&name);
        } else if &name[..] == b".." && !resolved.pop() {
            return Err(Why::AboveRoot);
        }
    }
    Ok((resolved, names_directory))
}

fn decode(mut segment: &[u8], name: &mut Bytes) -> Result<(), Why> {
    loop {
        let (plain, encoded) = segment.split_at(find(b'%', segment).unwrap_or(segment.len()));
        if plain.contains(&0) {
            return Err(Why::NulInPath);
        }
        name.extend_from_slice(plain);
        let (byte, rest) = match encoded {
            [] => return Ok(()),
            [b'%', high, low, rest @ ..] => (hex_pair(*high, *low).ok_or(Why::PercentEncoding)?, rest),
            _ => return Err(Why::PercentEncoding),
        };
        match byte {
            0 => return Err(Why::NulInPath),
            b'/' => return Err(Why::EncodedSlash),
            _ => name.push(byte),
        }
        segment = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Result<(String, bool, Option<&str>), Why> {
        let target = Target::parse(raw.as_bytes()).map_err(|reject| reject.why)?;
        let path = target.path.as_bytes().escape_ascii().to_string();
        Ok((path, target.ends_in_slash, target.query.map(|query| str::from_utf8(query).expect("text"))))
    }

    #[test]
    fn path_is_decoded_once_and_dot_segments_are_removed() {
        for (raw, path, slash, query) in [
            ("/", "", true, None),
            ("/a", "a", false, None),
            ("/a/", "a", true, None),
            ("/a?", "a", false, Some("")),
            ("/a?b?c/../d", "a", false, Some("b?c/../d")),
            ("//a///b", "a/b", false, None),
            ("/a/./b/../c", "a/c", false, None),
            ("/a//../b", "b", false, None),
            ("/a/.", "a", true, None),
            ("/a/b/..", "a", true, None),
            ("/a/%2e%2E/b", "b", false, None),
            ("/a%20b%25%3F%23", "a b%?#", false, None),
            ("/%2525", "%25", false, None),
            ("/a%5Cb\\c", r"a\\b\\c", false, None),
            ("/%c0%ae%c0%ae/a", r"\xc0\xae\xc0\xae/a", false, None),
            ("/\u{e9}", r"\xc3\xa9", false, None),
            ("/...", "...", false, None),
            ("/a:b;c=d", "a:b;c=d", false, None),
            ("http://localhost/a?b", "a", false, Some("b")),
            ("HTTPS://[::1]:8080", "", true, None),
            ("http://a?b", "", true, Some("b")),
            ("http://a//b", "b", false, None),
        ] {
            assert_eq!(parse(raw), Ok((path.to_owned(), slash, query)), "{raw}");
        }
    }

    #[test]
    fn target_that_is_no_path_is_refused() {
        for (raw, why) in [
            ("*", Why::TargetForm),
            ("a", Why::TargetForm),
            ("localhost:80", Why::TargetForm),
            ("?a", Why::TargetForm),
            ("http:/a", Why::TargetForm),
            ("ftp://a/", Why::TargetScheme),
            ("://a/", Why::TargetScheme),
            ("http:///a", Why::TargetAuthority),
            ("http://user@a/", Why::TargetAuthority),
            ("http://a b/", Why::TargetAuthority),
            ("/a#b", Why::TargetByte),
            ("/%", Why::PercentEncoding),
            ("/%4", Why::PercentEncoding),
            ("/%zz", Why::PercentEncoding),
            ("/%%41", Why::PercentEncoding),
            ("/a%00b", Why::NulInPath),
            ("/a%2Fb", Why::EncodedSlash),
            ("/..%2f..%2fetc", Why::EncodedSlash),
            ("/..", Why::AboveRoot),
            ("/a/../../b", Why::AboveRoot),
            ("/%2e%2e/", Why::AboveRoot),
            ("//..", Why::AboveRoot),
        ] {
            assert_eq!(parse(raw), Err(why), "{raw}");
        }
    }

    #[test]
    fn dot_segments_match_the_examples_of_rfc_3986_5_2_4() {
        assert_eq!(parse("/a/b/c/./../../g"), Ok(("a/g".to_owned(), false, None)));
        assert_eq!(parse("/mid/content=5/../6"), Ok(("mid/6".to_owned(), false, None)));
    }

    #[test]
    fn dot_name_is_hidden_except_well_known() {
        for (path, hidden) in [
            ("a/b.c", false),
            (".well-known/acme", false),
            (".well-known/.x", true),
            ("a/.well-known", true),
            (".git/config", true),
            ("a/.b/c", true),
            ("...", true),
        ] {
            assert_eq!(RelPath::new(path.as_bytes()).expect("plain").is_hidden(), hidden, "{path}");
        }
        assert!(!RelPath::default().is_hidden());
    }

    #[test]
    fn path_option_must_be_plain_and_relative() {
        for bad in ["", "/a", "a/", "a//b", "../a", "a/./b", "a\0"] {
            assert_eq!(RelPath::new(bad.as_bytes()), None, "{bad:?}");
        }
        let index = RelPath::new(b"index.html").expect("plain");
        assert_eq!(RelPath::default().join(&index).as_bytes(), b"index.html");
        assert_eq!(RelPath::new(b"a/b").expect("plain").join(&index).as_bytes(), b"a/b/index.html");
    }
}
