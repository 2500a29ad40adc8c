//! Precompressed files, such as `app.js.br` beside `app.js`.
//!
//! Each is opened and cached like any other file, and is used only if it can be trusted to hold the original's content. The
//! original is opened first, so all rules for it apply.

use std::collections::HashMap;
use std::io;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::SiteSession;
use super::compress::DeclaredLen;
use super::headers::FileHeaders;
use crate::files::OpenError;
use crate::files::file::{FileTime, OpenFile};
use crate::proto::accept::Coding;
use crate::proto::target::RelPath;

/// The suffixes of precompressed files, in the order of [`Coding::ALL`].
pub const SUFFIXES: [&str; Coding::ALL.len()] = [".br", ".zst", ".gz"];

/// Files remembered as warned about; for others there is no warning.
const WARNED_MAX: usize = 1000;

/// The unused precompressed files that a warning was logged for, by the time of their modification.
#[derive(Debug, Default)]
pub struct WarnOnce(Mutex<HashMap<Box<[u8]>, FileTime>>);

impl WarnOnce {
    /// Reports whether this version was not warned about yet, and remembers it.
    fn first_time(&self, path: &RelPath, modified: FileTime) -> bool {
        let mut warned = self.0.lock();
        let can_remember = warned.len() < WARNED_MAX || warned.contains_key(path.as_bytes());
        can_remember && warned.insert(path.as_bytes().into(), modified) != Some(modified)
    }
}

impl SiteSession<'_> {
    /// Opens the first precompressed file of these codings that can be used. Errors are only logged.
    pub fn precompressed(
        &self,
        path: &RelPath,
        original: &OpenFile,
        wanted: impl Iterator<Item = Coding>,
    ) -> Option<(OpenFile, Coding)> {
        self.site.precompressed.as_ref()?;
        let siblings = self.site.files.siblings(self.root().ok()?, path, original, &SUFFIXES);
        for coding in wanted.filter(|coding| siblings.as_ref().is_none_or(|siblings| siblings[*coding as usize])) {
            let path = path.extended(SUFFIXES[coding as usize]);
            match self.open_usable(&path, coding, original) {
                Ok(Some(found)) => return Some((found, coding)),
                Ok(None) | Err(OpenError::NotFound | OpenError::KeepsChanging) => {}
                Err(OpenError::Unreadable(error) | OpenError::OutOfResources(error) | OpenError::Failed(error)) => {
                    let what = format!("{} is not used: {error}", path.as_bytes().escape_ascii());
                    self.encoding_error.set(Some(io::Error::new(error.kind(), what)));
                }
            }
        }
        None
    }

    /// Opens a precompressed file if it can be used. The reason why it cannot is an error once for each version.
    fn open_usable(&self, path: &RelPath, coding: Coding, original: &OpenFile) -> Result<Option<OpenFile>, OpenError> {
        let Ok(root) = self.root() else { return Ok(None) };
        let Some(found) = self.site.files.open_file(root, path)? else { return Ok(None) };
        let flaw = if !found.is_stable || found.recently_changed() {
            // A writer may not be done yet.
            return Ok(None);
        } else if is_older(found.meta.modified, original.meta.modified) {
            "it is older than the original"
        } else if declared_len(&found, coding)?.is_none_or(|declared| !declared.fits(original.meta.len)) {
            "it has another length or format than expected"
        } else {
            return Ok(Some(found));
        };
        let warned = self.site.precompressed.as_ref();
        let is_news = warned.is_some_and(|warned| warned.first_time(path, found.meta.modified));
        if is_news { Err(io::Error::other(flaw).into()) } else { Ok(None) }
    }
}

/// Returns the length of content that the file declares, which is read once for each version.
fn declared_len(file: &OpenFile, coding: Coding) -> io::Result<Option<DeclaredLen>> {
    let known = file.annotation::<FileHeaders>().map(|headers| &headers.declared);
    if let Some(declared) = known.and_then(OnceLock::get) {
        return Ok(*declared);
    }
    let (len, (start, end)) = (file.meta.len, DeclaredLen::NEEDED);
    let (start, end) = (file.read(0..len.min(start))?, file.read(len.saturating_sub(end)..len)?);
    let declared = DeclaredLen::parse(coding, &start, &end);
    Ok(known.map_or(declared, |known| *known.get_or_init(|| declared)))
}

/// Reports whether a precompressed file is older than its original. A time without a fraction comes from a program such as
/// brotli or tar, and may be of the same second.
fn is_older(precompressed: FileTime, original: FileTime) -> bool {
    precompressed.secs < original.secs
        || precompressed.secs == original.secs && (1..original.nanos).contains(&precompressed.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precompressed_file_of_same_time_is_not_older() {
        let at = |(secs, nanos)| FileTime { secs, nanos };
        for (precompressed, original, expected) in [
            ((5, 5), (5, 5), false),
            ((5, 4), (5, 5), true),
            ((5, 6), (5, 5), false),
            ((5, 0), (5, 5), false),
            ((5, 0), (5, 0), false),
            ((4, 9), (5, 0), true),
            ((4, 0), (5, 0), true),
            ((6, 0), (5, 9), false),
            ((-1, 9), (0, 0), true),
        ] {
            assert_eq!(is_older(at(precompressed), at(original)), expected, "{precompressed:?} {original:?}");
        }
    }

    #[test]
    fn warning_is_given_once_a_version_for_limited_files() {
        let (warned, at) = (WarnOnce::default(), |secs| FileTime { secs, nanos: 0 });
        let path = |number: usize| RelPath::new(format!("{number}.br").as_bytes()).expect("plain");
        let first_time = |number, secs| warned.first_time(&path(number), at(secs));
        let repeated = [first_time(0, 1), first_time(0, 1), first_time(0, 2), first_time(0, 2)];
        assert_eq!(repeated, [true, false, true, false]);
        assert!((1..WARNED_MAX).all(|number| first_time(number, 1)));
        let others = [first_time(WARNED_MAX, 1), first_time(WARNED_MAX, 1), first_time(0, 3)];
        assert_eq!(others, [false, false, true]);
    }
}
