//! Media type of a file, by the extension of its name. The only user of mime_guess.
//!
//! The table is compiled in, so the type does not depend on the machine.

use std::fmt;

use crate::proto::target::RelPath;

/// The type of files with another extension, or none (RFC 9110 §8.3).
const UNKNOWN: &str = "application/octet-stream";

/// Extensions that the table lacks, or for which browsers need another type.
const OURS: [(&str, &str); 6] = [
    ("deb", "application/vnd.debian.binary-package"),
    ("map", "application/json"),
    ("mjs", "text/javascript"),
    ("rpm", "application/x-rpm"),
    ("udeb", "application/vnd.debian.binary-package"),
    ("zst", "application/zstd"),
];

/// A media type; for text, with the charset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'c> {
    name: &'static str,
    charset: Option<&'c str>,
}

/// Returns the media type of a file by its name.
pub fn of<'c>(path: &RelPath, charset: Option<&'c str>) -> MediaType<'c> {
    let name = name_of(path);
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
    let name = name_of(path);
    match name.split_once('/').unwrap_or_default() {
        _ if is_text(name) => Compressibility::Yes,
        ("application", "font-sfnt" | "rtf" | "vnd.apple.mpegurl" | "vnd.ms-fontobject") => Compressibility::Yes,
        ("application", "wasm" | "x-sh" | "x-sql") => Compressibility::Yes,
        ("font", "ttf") | ("image", "bmp" | "x-icon") => Compressibility::Yes,
        ("image" | "audio" | "video", _) | ("font", "woff2") => Compressibility::No,
        ("application", "epub+zip" | "font-woff" | "gzip" | "java-archive" | "pdf" | "zip") => Compressibility::No,
        ("application", "vnd.android.package-archive" | "vnd.debian.binary-package") => Compressibility::No,
        ("application", "x-7z-compressed" | "x-bzip2" | "x-compressed" | "x-rar-compressed") => Compressibility::No,
        ("application", "x-rpm" | "x-xz" | "zstd") => Compressibility::No,
        _ => Compressibility::Unknown,
    }
}

impl fmt::Display for MediaType<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.charset.map_or(Ok(()), |charset| write!(f, "; charset={charset}"))
    }
}

fn name_of(path: &RelPath) -> &'static str {
    let Some(extension) = extension(path.as_bytes()) else { return UNKNOWN };
    let ours = OURS.iter().find(|(ours, _)| extension.eq_ignore_ascii_case(ours)).map(|(_, name)| *name);
    ours.or_else(|| mime_guess::from_ext(extension).first_raw()).unwrap_or(UNKNOWN)
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
