//! Media type of a file, by the extension of its name. The only user of mime_guess.
//!
//! The table is compiled in, so the type does not depend on the machine.

use std::fmt;

use crate::proto::target::RelPath;

/// The type of files with another extension, or none (RFC 9110 §8.3).
const UNKNOWN: &str = "application/octet-stream";

/// Extensions that the table lacks, or for which browsers need another type.
const OURS: [(&str, &str); 6] = [
    ("deb", DEBIAN_PACKAGE),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("rpm", "application/x-rpm"),
    ("udeb", DEBIAN_PACKAGE),
    ("zst", "application/zstd"),
];

const DEBIAN_PACKAGE: &str = "application/vnd.debian.binary-package";

/// Types beside text that compress to about half.
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

/// Compressed types beside images, audio and video.
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

/// A media type; for text, with the charset.
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

/// Whether content of a type gets shorter by compression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compressibility {
    /// It does.
    Yes,
    /// It depends on the content.
    Unknown,
    /// It is compressed already.
    No,
}

/// Returns the compressibility of a file by its name.
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

/// Returns the part of the name after its last dot, unless the name begins with that dot.
fn extension(path: &[u8]) -> Option<&str> {
    let name = path.rsplit(|&byte| byte == b'/').next()?;
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    if dot == 0 { None } else { str::from_utf8(&name[dot + 1..]).ok() }
}

/// Reports whether a charset applies to the type.
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
    fn extension_decides_media_type() {
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
    fn compressibility_follows_from_extension() {
        let names =
            "html css js mjs json map xml svg txt md csv webmanifest xhtml atom wasm ttf otf eot ico bmp yaml toml";
        let yes = names.split(' ').map(|name| (name, Compressibility::Yes));
        let names =
            "png jpg webp avif gif mp3 mp4 webm pdf zip gz tgz bz2 xz 7z rar jar zst woff woff2 epub apk deb rpm";
        let no = names.split(' ').map(|name| (name, Compressibility::No));
        let unknown = ["bin", "unheard-of", "tar", "glb", "data", "br"].map(|name| (name, Compressibility::Unknown));
        for (name, expected) in yes.chain(no).chain(unknown) {
            let path = RelPath::new(format!("a.{name}").as_bytes()).expect("plain");
            assert_eq!(compressibility(&path), expected, "{name}: {}", of(&path, None));
        }
    }

    #[test]
    fn charset_is_configurable() {
        let path = RelPath::new(b"a.txt").expect("plain");
        assert_eq!(of(&path, Some("iso-8859-1")).to_string(), "text/plain; charset=iso-8859-1");
        assert_eq!(of(&path, None).to_string(), "text/plain");
    }
}
