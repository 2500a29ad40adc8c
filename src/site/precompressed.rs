//! Precompressed files, such as `app.js.br` beside `app.js`.
//!
//! Each is opened and cached like any other file, and is used only if it can be trusted to hold the original's content. The
//! original is opened first, so all rules for it apply.

use std::collections::HashMap;
use std::{fmt, io, mem};

use parking_lot::Mutex;

use super::SiteSession;
use super::compress::DeclaredContent;
use super::headers::FileHeaders;
use crate::files::OpenError;
use crate::files::file::{FileTime, OpenFile};
use crate::files::root::Node;
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
        let has_room = warned.len() < WARNED_MAX;
        match warned.get_mut(path.as_bytes()) {
            Some(known) => mem::replace(known, modified) != modified,
            None if has_room => warned.insert(path.as_bytes().into(), modified).is_none(),
            None => false,
        }
    }
}

impl SiteSession<'_> {
    /// Opens the first precompressed file of these codings that can be used. Errors are only logged, as `cause`.
    pub fn precompressed(
        &self,
        path: &RelPath,
        original: &OpenFile,
        wanted: impl Iterator<Item = Coding>,
        cause: &mut Option<io::Error>,
    ) -> Option<(OpenFile, Coding)> {
        let (warned, root) = (self.site.precompressed.as_ref()?, self.root().ok()?);
        let siblings = self.site.files.siblings(root, path, original, &SUFFIXES);
        for coding in wanted.filter(|coding| siblings.may_have(*coding as usize)) {
            let path = path.extended(SUFFIXES[coding as usize]);
            let unused = |kind, why: &dyn fmt::Display| {
                Some(io::Error::new(kind, format!("{} is not used: {why}", path.as_bytes().escape_ascii())))
            };
            let found = match self.site.files.open(root, &path) {
                Ok(Node::File(found)) => found,
                Ok(Node::Dir(_)) | Err(OpenError::NotFound | OpenError::KeepsChanging) => continue,
                Err(OpenError::Unreadable(error) | OpenError::OutOfResources(error) | OpenError::Failed(error)) => {
                    *cause = unused(error.kind(), &error);
                    continue;
                }
            };
            match flaw(&found, coding, original) {
                // A writer may not be done yet.
                _ if !found.is_stable() || found.recently_changed() => {}
                Ok(None) => return Some((found, coding)),
                Ok(Some(flaw)) if warned.first_time(&path, found.meta().modified) => {
                    *cause = unused(io::ErrorKind::Other, &flaw);
                }
                Ok(Some(_)) => {}
                Err(error) => *cause = unused(error.kind(), &error),
            }
        }
        None
    }
}

/// Returns the reason not to use a precompressed file, if there is one.
fn flaw(found: &OpenFile, coding: Coding, original: &OpenFile) -> io::Result<Option<&'static str>> {
    if is_older(found.meta().modified, original.meta().modified) {
        return Ok(Some("it is older than the original"));
    }
    let fits = declared_content(found, coding)?.fits(original.meta().len);
    Ok((!fits).then_some("it has another length or format than expected"))
}

/// Returns what the file declares of its content, which is read once for each version.
fn declared_content(file: &OpenFile, coding: Coding) -> io::Result<DeclaredContent> {
    let known = file.annotation::<FileHeaders>().map(|headers| &headers.declared);
    if let Some(declared) = known.and_then(|known| known.get()) {
        return Ok(*declared);
    }
    let (len, (start, end)) = (file.meta().len, DeclaredContent::NEEDED);
    let (start, end) = (file.read(0..len.min(start))?, file.read(len.saturating_sub(end)..len)?);
    let declared = DeclaredContent::parse(coding, &start, &end);
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
