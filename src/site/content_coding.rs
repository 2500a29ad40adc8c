//! Which representation of a file is sent: the file itself, one of its neighbours with its content in a coding, or its
//! content put into a coding here (RFC 9110 §8.4, §12.1).
//!
//! A neighbour, such as `app.js.br` beside `app.js`, is a file like any other: opened, kept and sent from its own
//! descriptor, with its own length and entity tag. It is looked for only once the file itself has been opened, so that
//! all rules for that hold; and its own name leads to it as what it is, without a coding.
//!
//! Where no neighbour fits, a text is compressed here: once, and what came of it is kept in memory and is then a
//! representation like any other; or, where it is too long for that, each time while it is sent. A few at once do that, so
//! that processors are left for others. Who comes meanwhile gets the file itself.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::compress::encode;
use super::media_type::{self, Compressibility};
use super::semaphore::{Permit, Semaphore};
use super::{Request, SiteSession};
use crate::files::OpenError;
use crate::files::cache::Cache;
use crate::files::file::{FileTime, OpenFile};
use crate::files::root::Node;
use crate::proto::accept::{Coding, codings};
use crate::proto::request::{Head, Version};
use crate::proto::response::RepresentationFields;
use crate::proto::target::RelPath;

/// What the names of neighbours end in, in the order of [`Coding::ALL`].
const SUFFIXES: [&str; Coding::ALL.len()] = [".br", ".zst", ".gz"];

/// Of so many neighbours it is remembered that a warning was given; of others none is given.
const WARNED_MAX: usize = 1000;

/// A representation of a file.
#[derive(Debug)]
pub struct Variant {
    /// What is sent.
    pub file: OpenFile,
    /// The coding that its content is in, if it is in one.
    pub coding: Option<Coding>,
    /// Whether the content is put into that coding while it is sent.
    pub is_streamed: bool,
    /// Why it is not another one, for the log alone.
    pub cause: Option<io::Error>,
}

/// What is compressed here, and how much of it at once.
#[derive(Debug)]
pub struct Compression {
    /// Only what is longer than so many bytes is compressed.
    pub above: u64,
    /// To compress what is kept then.
    pub kept: Semaphore,
    /// To compress what is sent meanwhile, which lasts as long as its client takes. So these are others: such clients must not
    /// keep everything else from being compressed.
    pub streams: Semaphore,
}

impl Compression {
    /// Lets this be done at once: of what is kept, and of what is sent meanwhile.
    pub fn new(above: u64, [kept, streams]: [usize; 2]) -> Compression {
        Compression { above, kept: Semaphore::new(kept), streams: Semaphore::new(streams) }
    }
}

/// Of which neighbours a warning was given that they are too old, and when these were modified.
#[derive(Debug, Default)]
pub struct WarnOnce(Mutex<HashMap<Box<[u8]>, FileTime>>);

impl WarnOnce {
    /// Reports whether to give a warning, and remembers it.
    fn first_time(&self, precompressed: &RelPath, modified: FileTime) -> bool {
        let mut warned = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = warned.len() < WARNED_MAX;
        match warned.get_mut(precompressed.as_bytes()) {
            Some(known) => std::mem::replace(known, modified) != modified,
            None if has_room => warned.insert(precompressed.as_bytes().into(), modified).is_none(),
            None => false,
        }
    }
}

impl Variant {
    /// The file itself.
    pub fn plain(file: OpenFile) -> Variant {
        Variant { file, coding: None, is_streamed: false, cause: None }
    }
}

impl SiteSession<'_> {
    /// The right to put content into a coding while it is sent, if not too many have it. Whether that is to be done at all is
    /// known before, from the conditions of the request, and without this.
    pub fn begin_stream(&self) -> Option<Permit> {
        self.site.compression.as_ref()?.streams.try_acquire()
    }

    /// Chooses what is sent of the file at this path, by what the client accepts.
    pub fn choose(&self, request: &Request<'_>, path: &RelPath, file: OpenFile) -> Variant {
        let plain = Variant::plain(file);
        let mut wanted = codings(&request.head.fields).peekable();
        let is_other = |_: &Coding| self.varies(path, Some(plain.file.fields()));
        let Some(best) = wanted.peek().copied().filter(is_other) else { return plain };
        let mut cause = None;
        if let Some((precompressed, coding)) = self.precompressed(path, &plain.file, wanted, &mut cause) {
            return Variant { file: precompressed, coding: Some(coding), cause, ..plain };
        }
        let plain = Variant { cause, ..plain };
        match self.compression(path, &plain.file) {
            Some(compression) => compress(compression, &self.site.files, request.head, path, best, plain),
            None => plain,
        }
    }

    /// What is to be compressed of the file at this path, if it is.
    fn compression(&self, path: &RelPath, file: &OpenFile) -> Option<&Compression> {
        let compression = self.site.compression.as_ref()?;
        let is_worth_it =
            file.meta().len > compression.above && media_type::compressibility(path) == Compressibility::Yes;
        is_worth_it.then_some(compression)
    }

    /// Reports whether Accept-Encoding can decide what is sent of the file at this path, if not now then once it has a
    /// neighbour or is longer. What is dense by itself is not looked for in another coding.
    ///
    /// Where the fields of answers with it are `kept`, they tell. To ask the table of media types takes 0.1 µs.
    pub fn varies(&self, path: &RelPath, kept: Option<&OnceLock<RepresentationFields>>) -> bool {
        if let Some(fields) = kept.and_then(OnceLock::get) {
            return fields.varies;
        }
        let is_precompressed = SUFFIXES.iter().any(|ending| path.as_bytes().ends_with(ending.as_bytes()));
        match media_type::compressibility(path) {
            Compressibility::Yes => self.site.precompressed.is_some() || self.site.compression.is_some(),
            Compressibility::Unknown => self.site.precompressed.is_some() && !is_precompressed,
            Compressibility::No => false,
        }
    }

    /// Opens the best neighbour that is there. If one cannot be used, the file itself always can.
    fn precompressed(
        &self,
        path: &RelPath,
        file: &OpenFile,
        wanted: impl Iterator<Item = Coding>,
        cause: &mut Option<io::Error>,
    ) -> Option<(OpenFile, Coding)> {
        let (warned, root) = (self.site.precompressed.as_ref()?, self.root().ok()?);
        let beside = self.site.files.beside(root, path, file, &SUFFIXES);
        for coding in wanted {
            let at = coding as usize;
            if !beside.has(at) {
                continue;
            }
            let precompressed = path.extended(SUFFIXES[at]);
            let because = |kind, what: &dyn std::fmt::Display| {
                io::Error::new(kind, format!("{} is not used: {what}", precompressed.as_bytes().escape_ascii()))
            };
            match self.site.files.open(root, &precompressed) {
                Ok(Node::File(found)) if !is_older(found.meta().modified, file.meta().modified) => {
                    return Some((found, coding));
                }
                Ok(Node::File(found)) if warned.first_time(&precompressed, found.meta().modified) => {
                    *cause = Some(because(io::ErrorKind::Other, &"it is older than what it stands for"));
                }
                Ok(_) | Err(OpenError::NotFound | OpenError::Restless) => {}
                Err(OpenError::Unreadable(error) | OpenError::OutOfResources(error) | OpenError::Failed(error)) => {
                    *cause = Some(because(error.kind(), &error));
                }
            }
        }
        None
    }
}

/// Reports whether a neighbour is older than its file. One without a fraction of a second got its time from a program that
/// knows none, such as brotli or tar, and may be of the same second.
fn is_older(precompressed: FileTime, file: FileTime) -> bool {
    precompressed.secs < file.secs || precompressed.secs == file.secs && (1..file.nanos).contains(&precompressed.nanos)
}

/// Puts a file into a coding, or begins to, or leaves it as it is where that cannot be done now.
///
/// A range is not worth the work of the whole, nor can it be sent of what is not kept: who asks for one gets it of the file
/// itself, unless the other is there.
#[inline(never)]
fn compress(
    compression: &Compression,
    files: &Cache,
    head: &Head<'_>,
    path: &RelPath,
    coding: Coding,
    plain: Variant,
) -> Variant {
    let name = path.extended(SUFFIXES[coding as usize]);
    let made = |file| Variant { coding: Some(coding), ..Variant::plain(file) };
    match files.made(&name, &plain.file) {
        Some(Some(file)) => return made(file),
        Some(None) => return plain,
        None if head.fields.all("Range").next().is_some() => return plain,
        None => {}
    }
    if !files.can_keep_made(plain.file.meta().len) {
        // HTTP/1.0 has no chunks, and a length cannot be said before.
        let is_streamed = head.version >= Version::Http11;
        return Variant { coding: is_streamed.then_some(coding), is_streamed, ..plain };
    }
    let Some(_pass) = compression.kept.try_acquire() else { return plain };
    let encoded = || {
        let Some(content) = plain.file.whole()? else { return Ok(None) };
        encode(coding, &content).map(Some)
    };
    match encoded() {
        Ok(Some(bytes)) => files.keep_made(&name, &plain.file, bytes).map_or(plain, made),
        Ok(None) => plain,
        Err(error) => Variant { cause: Some(error), ..plain },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_neighbour_of_the_same_time_is_not_older() {
        let at = |(secs, nanos)| FileTime { secs, nanos };
        for (precompressed, file, expected) in [
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
            assert_eq!(is_older(at(precompressed), at(file)), expected, "{precompressed:?} {file:?}");
        }
    }

    #[test]
    fn a_warning_is_given_once_for_each_version_and_not_for_any_number_of_files() {
        let (warned, at) = (WarnOnce::default(), |secs| FileTime { secs, nanos: 0 });
        let path = |number: usize| RelPath::new(format!("{number}.br").as_bytes()).expect("plain");
        let news = |number, secs| warned.first_time(&path(number), at(secs));
        assert_eq!([news(0, 1), news(0, 1), news(0, 2), news(0, 2)], [true, false, true, false]);
        assert!((1..WARNED_MAX).all(|number| news(number, 1)));
        assert_eq!([news(WARNED_MAX, 1), news(WARNED_MAX, 1), news(0, 3)], [false, false, true]);
    }
}
