//! A temporary directory that a test fills and that is removed when the test ends.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A site with one file, `page.txt`, that contains "a page" and a line feed.
pub fn site() -> Folder {
    Folder::new().file("page.txt", "a page\n")
}

/// A directory of its own for one test.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes an empty directory.
    pub fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let name = format!("serve-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
            let path = std::env::temp_dir().join(name);
            match fs::create_dir(&path) {
                // A run that was killed has left it behind.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                made => {
                    made.expect("the test's directory can be made");
                    return Folder { path };
                }
            }
        }
    }

    /// Writes a file, making the directories above it. Its modification time is an hour ago, so that no rule about
    /// young files applies to it.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Folder {
        self.write(name, content);
        self.touch(name, 3600);
        self
    }

    /// Waits until nothing has changed in a file for so long that its content is handed over by reference.
    pub fn at_rest(self, name: &str) -> Folder {
        let changed = fs::metadata(self.at(name)).expect("the file is there").ctime() as u64;
        let since = Instant::now();
        let now = || SystemTime::UNIX_EPOCH.elapsed().expect("it is after 1970").as_secs();
        while now() < changed + 3 {
            assert!(since.elapsed() < Duration::from_secs(30), "the clock stands still");
            thread::sleep(Duration::from_millis(50));
        }
        self
    }

    /// Writes a file whose name is any bytes.
    pub fn file_bytes(self, name: &[u8], content: impl AsRef<[u8]>) -> Folder {
        fs::write(self.path.join(OsStr::from_bytes(name)), content).expect("the file can be written");
        self
    }

    /// Makes a directory, and those above it.
    pub fn dir(self, name: &str) -> Folder {
        fs::create_dir_all(self.path.join(name)).expect("the directory can be made");
        self
    }

    /// Makes a symbolic link at `name` that points to `target`, taken as it is.
    pub fn link(self, name: &str, target: impl AsRef<Path>) -> Folder {
        symlink(target, self.path.join(name)).expect("the link can be made");
        self
    }

    /// Writes or rewrites a file now, in place; its modification time is now.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("the directory can be made");
        fs::write(path, content).expect("the file can be written");
    }

    /// Puts a new file in the place of `name` by rename, as a careful deploy does.
    pub fn replace(&self, name: &str, content: impl AsRef<[u8]>) {
        let fresh = self.path.join(format!("{name}.new"));
        fs::write(&fresh, content).expect("the file can be written");
        fs::rename(fresh, self.path.join(name)).expect("the file can be renamed");
    }

    /// Sets the modification time of `name` to `age_secs` seconds ago.
    pub fn touch(&self, name: &str, age_secs: u64) {
        self.set_modified(name, SystemTime::now() - Duration::from_secs(age_secs));
    }

    /// Sets the modification time of `name` to so many seconds after 1970; negative for before.
    pub fn set_modified_secs(&self, name: &str, secs: i64) {
        let span = Duration::from_secs(secs.unsigned_abs());
        self.set_modified(name, if secs < 0 { UNIX_EPOCH - span } else { UNIX_EPOCH + span });
    }

    fn set_modified(&self, name: &str, at: SystemTime) {
        let file = fs::File::options().read(true).open(self.path.join(name)).expect("the file can be opened");
        file.set_modified(at).expect("the time can be set");
    }

    /// Where the directory is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where `name` in the directory is.
    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
