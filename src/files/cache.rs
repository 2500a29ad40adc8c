//! Small files kept in memory, and believed only after the file system has agreed; and what is known of larger ones. The
//! only user of quick_cache.
//!
//! One `stat` takes the place of open, `stat`, read, `stat` and close: a request costs 7.5 µs of processor time instead
//! of 9.7 (1 KiB, 64 kept connections, medians of 3 rounds). The copy counts only while device, inode, length and both
//! times are those it was read under, and it was read when the last change was older than the clock's grain, so that a
//! later change shows. Who asks after a rename or a write has returned never gets older bytes.
//!
//! Of a larger file its beginning and the fields of its answers are kept. It is opened each time, and if what the file system
//! says of the descriptor is what it said then, nothing has to be read or written anew: 100 KiB cost 28.9 µs instead of 32.8.
//!
//! What was made of a file, its content in a coding, has a room of its own. It is asked for with the open file, and counts
//! only while that is what it was.

use std::hash::Hash;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync;

use super::OpenError;
use super::digests::{Digests, Hashed, Need};
use super::file::{Beside, Memory, Meta, OpenFile, Snapshot};
use super::root::{Node, Root};
use crate::proto::target::RelPath;

/// A file of up to so many bytes is read into memory before anything is sent, and leaves together with the head.
const SMALL: u64 = 64 * 1024;

/// What an entry costs beside its bytes, with fields of usual length.
const OVERHEAD: u64 = 1024;

/// The length of most files, to guess how many fit.
const USUAL: u64 = 4096;

/// What is made of files may take this part of the room.
const MADE_PART: u64 = 4;

/// The length of what is made of a file, as a guess at how many there are, and so into how many parts that room is split,
/// each of which something has to fit into: four of 4 MiB where 64 MiB are given.
const MADE_USUAL: u64 = 128 * 1024;

/// Of a longer file nothing is made to be kept: nobody could be sent anything before all is made.
const MADE_OF_MAX: u64 = 2 << 20;

/// The files that are kept, by their paths.
#[derive(Debug)]
pub struct Cache {
    kept: Option<sync::Cache<Box<[u8]>, Arc<Memory>, ByBytes>>,
    /// What was made of files, by the path that it would have as a file.
    made: Option<sync::Cache<Box<[u8]>, Arc<Made>, ByBytes>>,
    digests: Arc<Digests>,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// What was made of a file.
#[derive(Debug)]
struct Made {
    /// The file as it was then.
    of: Meta,
    /// What came of it; nothing where it would not have been shorter than the file.
    memory: Option<Arc<Memory>>,
}

/// So many values, those that are used most, whatever their keys are.
#[derive(Debug)]
pub(super) struct Kept<K, V>(sync::Cache<K, V>);

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<Box<[u8]>, Arc<Memory>> for ByBytes {
    fn weight(&self, path: &Box<[u8]>, memory: &Arc<Memory>) -> u64 {
        path.len() as u64 + memory.len() as u64 + OVERHEAD
    }
}

impl Weighter<Box<[u8]>, Arc<Made>> for ByBytes {
    fn weight(&self, path: &Box<[u8]>, made: &Arc<Made>) -> u64 {
        path.len() as u64 + made.memory.as_ref().map_or(0, |memory| memory.len() as u64) + OVERHEAD
    }
}

impl Cache {
    /// Makes room for so many bytes; 0 keeps nothing.
    pub fn new(bytes: u64) -> Cache {
        let for_made = bytes / MADE_PART;
        let usual = |room: u64, len: u64| (room / len) as usize;
        let kept = |room| sync::Cache::with_weighter(usual(room, USUAL), room, ByBytes);
        let made = |room| sync::Cache::with_weighter(usual(room, MADE_USUAL), room, ByBytes);
        let is_any = bytes > 0;
        Cache {
            kept: is_any.then(|| kept(bytes - for_made)),
            made: is_any.then(|| made(for_made)),
            digests: Arc::new(Digests::new()),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }

    /// Reports whether what is made of a file of this length can be kept.
    pub fn can_keep_made(&self, len: u64) -> bool {
        self.made.as_ref().is_some_and(|made| len <= MADE_OF_MAX && len < made.shard_capacity() / 2)
    }

    /// Returns what was made of a file as it is, under the path that it would have as a file. The inner nothing says that it
    /// would not be shorter.
    pub fn made(&self, path: &RelPath, of: &OpenFile) -> Option<Option<OpenFile>> {
        let made = self.made.as_ref()?.get(path.as_bytes()).filter(|made| made.of == of.meta())?;
        Some(made.memory.clone().map(OpenFile::in_memory))
    }

    /// Keeps what was made of a file that was at rest, where it is shorter than that.
    pub fn keep_made(&self, path: &RelPath, of: &OpenFile, bytes: Vec<u8>) -> Option<OpenFile> {
        let is_shorter = (bytes.len() as u64) < of.meta().len;
        let memory = is_shorter.then(|| Arc::new(Memory::made(of.meta(), bytes)));
        if let Some(room) = &self.made {
            room.insert(path.as_bytes().into(), Arc::new(Made { of: of.meta(), memory: memory.clone() }));
        }
        memory.map(OpenFile::in_memory)
    }

    /// Opens what the path leads to; a small file is in memory then.
    pub fn open(&self, root: &Root, path: &RelPath) -> Result<Node, OpenError> {
        match self.kept.as_ref().and_then(|kept| kept.get(path.as_bytes())) {
            Some(kept) if kept.is_whole() && root.stat(path) == Some(kept.meta) => {
                self.hits.fetch_add(1, Ordering::Relaxed);
                Ok(Node::File(OpenFile::in_memory(kept)))
            }
            kept => self.open_anew(root, path, kept),
        }
    }

    /// Returns the digest of a file's content, as far as the answer needs it.
    pub fn digest(&self, file: &OpenFile, need: Need) -> io::Result<Hashed> {
        self.digests.get(file, need)
    }

    /// Finds out which entries are beside a file whose names are its own and one of these endings. That one is said to be
    /// there means only that opening it is worth a try.
    ///
    /// With what is known of the file it is remembered what was found, and one `stat` of the directory tells whether that still
    /// holds. For a browser's request for a page without neighbours that is 0.4 µs of processor time, where to try to open
    /// each would be 3.4 (1 KiB, 64 kept connections, medians of 7 rounds).
    pub fn beside(&self, root: &Root, path: &RelPath, file: &OpenFile, endings: &[&str]) -> Beside {
        if self.kept.is_none() || !file.is_at_rest() {
            return Beside::UNKNOWN;
        }
        let memory = file.memory();
        let known = *memory.beside.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((dir, beside)) = known
            && root.stat(&path.split().0) == Some(dir)
        {
            return beside;
        }
        let found = root.beside(path, endings);
        *memory.beside.lock().unwrap_or_else(PoisonError::into_inner) = found;
        found.map_or(Beside::UNKNOWN, |(_, beside)| beside)
    }

    /// Opens what is not in memory as it is now.
    #[inline(never)]
    fn open_anew(&self, root: &Root, path: &RelPath, known: Option<Arc<Memory>>) -> Result<Node, OpenError> {
        let mut node = root.open(path)?;
        if let Node::File(file) = &mut node {
            self.misses.fetch_add(1, Ordering::Relaxed);
            if known.is_some_and(|known| file.recall(known)) {
                return Ok(node);
            }
            match file.snapshot(SMALL)? {
                Snapshot::AtRest => self.keep(path, file.memory()),
                Snapshot::Growing => {}
                Snapshot::Restless => return Err(OpenError::Restless),
            }
        }
        Ok(node)
    }

    /// How many files were in memory.
    pub fn hits(&self) -> u64 {
        self.hits.load(Ordering::Relaxed)
    }

    /// How many files were not, and had to be opened.
    pub fn misses(&self) -> u64 {
        self.misses.load(Ordering::Relaxed)
    }

    fn keep(&self, path: &RelPath, memory: &Arc<Memory>) {
        if let Some(kept) = &self.kept {
            kept.insert(path.as_bytes().into(), Arc::clone(memory));
        }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Kept<K, V> {
    /// Makes room for so many.
    pub(super) fn new(count: usize) -> Kept<K, V> {
        Kept(sync::Cache::new(count))
    }

    /// Returns a value that is there.
    pub(super) fn get(&self, key: &K) -> Option<V> {
        self.0.get(key)
    }

    /// Keeps a value.
    pub(super) fn put(&self, key: K, value: V) {
        self.0.insert(key, value);
    }

    /// Returns a value, made now if it is not there. Who wants the same one meanwhile waits for it; where none can be made,
    /// the next one tries.
    pub(super) fn get_or(&self, key: &K, make: impl FnOnce() -> io::Result<Option<V>>) -> io::Result<Option<V>> {
        match self.0.get_or_insert_with(key, || make().map_err(Some)?.ok_or(None)) {
            Ok(value) => Ok(Some(value)),
            Err(None) => Ok(None),
            Err(Some(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::root::{RootPath, Symlinks};
    use super::*;
    use std::os::unix::fs::FileExt;
    use std::{env, fs, process};

    #[test]
    fn what_is_known_of_a_large_file_counts_while_it_is_what_it_was() {
        let dir = env::temp_dir().join(format!("serve-unit-{}-known", process::id()));
        fs::create_dir_all(&dir).expect("the directory can be made");
        let [large, other] = ["large", "other"].map(|name| dir.join(name));
        let path = RelPath::new(b"large").expect("plain");
        let content = |byte| vec![byte; 2 * SMALL as usize];
        fs::write(&large, content(b'a')).expect("the file can be written");

        let root = RootPath::new(dir.clone(), Symlinks::Inside).open().expect("it is there");
        let cache = Cache::new(1 << 20);
        let open = || match cache.open(&root, &path) {
            Ok(Node::File(file)) if file.is_at_rest() && file.content().is_none() => file,
            other => panic!("not a large file at rest: {other:?}"),
        };
        let is_known = |first: &OpenFile, second: &OpenFile| Arc::ptr_eq(first.memory(), second.memory());

        let first = open();
        assert!(is_known(&first, &open()));
        let file = fs::File::options().write(true).open(&large).expect("it is there");
        file.write_all_at(b"b", 0).expect("the file can be written");
        let overwritten = open();
        assert!(!is_known(&first, &overwritten) && is_known(&overwritten, &open()));
        fs::write(&other, content(b'c')).expect("the file can be written");
        fs::rename(&other, &large).expect("the file can be renamed");
        assert!(!is_known(&overwritten, &open()));
        assert!(overwritten.still_holds(0, b"b").expect("it can be read"), "it is still open");
        fs::remove_dir_all(dir).expect("the directory can be removed");
    }
}
