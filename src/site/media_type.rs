//! From a file's name to its media type. The only user of mime_guess.
//!
//! The table is compiled in: what a file is called decides, not what the system that serves it has installed.

use std::fmt;

use crate::proto::target::RelPath;

/// What is not known: bytes (RFC 9110 §8.3).
const UNKNOWN: &str = "application/octet-stream";

/// Extensions that the table has differently from what a browser needs, or not at all.
const OURS: [(&str, &str); 6] = [
    ("deb", DEBIAN_PACKAGE),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("rpm", "application/x-rpm"),
    ("udeb", DEBIAN_PACKAGE),
    ("zst", "application/zstd"),
];

const DEBIAN_PACKAGE: &str = "application/vnd.debian.binary-package";

/// Types that are no text, and lose about half by being compressed.
const COMPRESSIBLE: [&str; 10] = [
    "application/font-sfnt",
    "application/rtf",
    "application/vnd.apple.mpegurl",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/x-sh",
    "application/x-sql",
    "font/ttf",
    "image/bmp",
    "image/x-icon",
];

/// Types that are compressed by themselves, beside pictures, sounds and films.
const COMPRESSED: [&str; 16] = [
    "application/epub+zip",
    "application/font-woff",
    "application/gzip",
    "application/java-archive",
    "application/pdf",
    "application/vnd.android.package-archive",
    DEBIAN_PACKAGE,
    "application/x-7z-compressed",
    "application/x-bzip2",
    "application/x-compressed",
    "application/x-rar-compressed",
    "application/x-rpm",
    "application/x-xz",
    "application/zip",
    "application/zstd",
    "font/woff2",
];

/// The media type of a file; of a text, with the charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'c> {
    name: &'static str,
    charset: Option<&'c str>,
}

/// Returns the media type of a file by its name.
pub fn of<'c>(path: &RelPath, charset: Option<&'c str>) -> MediaType<'c> {
    let name = extension(path.as_bytes()).map_or(UNKNOWN, known);
    MediaType { name, charset: charset.filter(|_| is_text(name)) }
}

/// How much content of a type might lose by being compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compressibility {
    /// Much.
    Yes,
    /// Nobody knows.
    Unknown,
    /// Nothing: it is compressed by itself.
    No,
}

/// Returns how dense a file is by its name.
pub fn compressibility(path: &RelPath) -> Compressibility {
    let name = extension(path.as_bytes()).map_or(UNKNOWN, known);
    let is_of = |kind: &str| name.split('/').next() == Some(kind);
    if is_text(name) || COMPRESSIBLE.contains(&name) {
        Compressibility::Yes
    } else if is_of("image") || is_of("audio") || is_of("video") || COMPRESSED.contains(&name) {
        Compressibility::No
    } else {
        Compressibility::Unknown
    }
}

impl fmt::Display for MediaType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.charset.map_or(Ok(()), |charset| write!(f, "; charset={charset}"))
    }
}

fn known(extension: &str) -> &'static str {
    let ours = OURS.iter().find(|(name, _)| extension.eq_ignore_ascii_case(name));
    ours.map_or_else(|| mime_guess::from_ext(extension).first_raw().unwrap_or(UNKNOWN), |(_, ours)| ours)
}

/// What follows the last dot of the name, unless the name begins with that dot.
fn extension(path: &[u8]) -> Option<&str> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    if dot == 0 { None } else { str::from_utf8(&name[dot + 1..]).ok() }
}

/// Types whose bytes are characters, so that a charset tells how to read them.
fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || media_type.ends_with("+xml")
        || media_type.ends_with("+json")
        || matches!(media_type, "application/json" | "application/javascript" | "application/xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_told_what_it_needs() {
        for (name, expected) in [
            ("index.html", "text/html; charset=utf-8"),
            ("a.HTM", "text/html; charset=utf-8"),
            ("style.css", "text/css; charset=utf-8"),
            ("a.js", "text/javascript; charset=utf-8"),
            ("a.mjs", "text/javascript; charset=utf-8"),
            ("a.json", "application/json; charset=utf-8"),
            ("a.map", "application/json; charset=utf-8"),
            ("a.webmanifest", "application/manifest+json; charset=utf-8"),
            ("a.svg", "image/svg+xml; charset=utf-8"),
            ("a.xml", "text/xml; charset=utf-8"),
            ("a.txt", "text/plain; charset=utf-8"),
            ("a.md", "text/markdown; charset=utf-8"),
            ("a.csv", "text/csv; charset=utf-8"),
            ("a.wasm", "application/wasm"),
            ("a.png", "image/png"),
            ("a.jpg", "image/jpeg"),
            ("a.webp", "image/webp"),
            ("a.avif", "image/avif"),
            ("a.ico", "image/x-icon"),
            ("a.woff2", "font/woff2"),
            ("a.mp4", "video/mp4"),
            ("a.webm", "video/webm"),
            ("a.pdf", "application/pdf"),
            ("a.tar.gz", "application/gzip"),
            ("a.b/README", UNKNOWN),
            ("a.unheard-of", UNKNOWN),
            (".profile", UNKNOWN),
            ("a.", UNKNOWN),
        ] {
            let path = RelPath::new(name.as_bytes()).expect("plain");
            assert_eq!(of(&path, Some("utf-8")).to_string(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_compressed_by_itself_is_known() {
        let names =
            "html css js mjs json map xml svg txt md csv webmanifest xhtml atom wasm ttf otf eot ico bmp yaml toml";
        let loose = names.split(' ').map(|name| (name, Compressibility::Yes));
        let names =
            "png jpg webp avif gif mp3 mp4 webm pdf zip gz tgz bz2 xz 7z rar jar zst woff woff2 epub apk deb rpm";
        let dense = names.split(' ').map(|name| (name, Compressibility::No));
        let unknown = ["bin", "unheard-of", "tar", "glb", "data", "br"].map(|name| (name, Compressibility::Unknown));
        for (name, expected) in loose.chain(dense).chain(unknown) {
            let path = RelPath::new(format!("a.{name}").as_bytes()).expect("plain");
            assert_eq!(compressibility(&path), expected, "{name}: {}", of(&path, None));
        }
    }

    #[test]
    fn the_charset_can_be_another_or_none() {
        let path = RelPath::new(b"a.txt").expect("plain");
        assert_eq!(of(&path, Some("iso-8859-1")).to_string(), "text/plain; charset=iso-8859-1");
        assert_eq!(of(&path, None).to_string(), "text/plain");
    }
}
