//! Whoever asks after a change is done gets what is there since, and never what was there before: in a hundred thousand
//! exchanges, over four ways to change a file, of files that are small enough to be kept in memory; and in ten
//! thousand, of larger ones, of which only what is known is kept.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::changing::{Raise, Seen, version, version_of};
use crate::support::{Folder, serve};

/// How long a file rests after a change. The server waits 10 ms after one before it believes what it reads.
const REST: Duration = Duration::from_millis(40);

/// The cells of a small file, and of one that is longer than the 64 KiB up to which files are kept in memory.
const SMALL: usize = 100;
const LARGE: usize = 8_000;

/// A file and how it comes to its next version.
struct Changing {
    name: &'static str,
    change: fn(&Folder, u64),
    /// The newest version whose change is done.
    published: AtomicU64,
    seen: Seen,
}

fn changing(name: &'static str, change: fn(&Folder, u64)) -> Changing {
    Changing { name, change, published: AtomicU64::new(0), seen: Seen::default() }
}

#[test]
fn who_asks_after_a_change_never_gets_what_was_before() {
    let folder = Folder::new().file("overwritten.txt", version(0, SMALL));
    let files = [
        changing("renamed.txt", rename::<SMALL>),
        changing("linked.txt", link::<SMALL>),
        changing("overwritten.txt", |folder, number| {
            let file = fs::File::options().write(true).open(folder.at("overwritten.txt")).expect("the file is there");
            file.write_all_at(&version(number, SMALL), 0).expect("the file can be written");
        }),
        changing("emptied.txt", |folder, number| {
            fs::write(folder.at("emptied.txt"), version(number, SMALL)).expect("the file can be written");
        }),
    ];
    race(&folder, files, 100_000);
}

#[test]
fn who_asks_for_a_larger_file_after_a_change_does_not_either() {
    let files = [changing("renamed.txt", rename::<LARGE>), changing("linked.txt", link::<LARGE>)];
    race(&Folder::new(), files, 10_000);
}

fn rename<const CELLS: usize>(folder: &Folder, number: u64) {
    fs::write(folder.at("fresh"), version(number, CELLS)).expect("the file can be written");
    fs::rename(folder.at("fresh"), folder.at("renamed.txt")).expect("the file can be renamed");
}

fn link<const CELLS: usize>(folder: &Folder, number: u64) {
    let (target, link) = (format!("target-{number}"), folder.at("link"));
    fs::write(folder.at(&target), version(number, CELLS)).expect("the file can be written");
    symlink(target, &link).expect("the link can be made");
    fs::rename(link, folder.at("linked.txt")).expect("the link can be renamed");
}

/// Changes the files while others ask for them, so many times in all.
fn race<const N: usize>(folder: &Folder, files: [Changing; N], in_all: u64) {
    files.iter().for_each(|file| (file.change)(folder, 0));
    let server = serve(folder).arg("-q").start();
    let (done, exchanges) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for file in &files {
            scope.spawn(|| {
                let _raise = Raise(&done);
                for number in (1..).take_while(|_| !done.load(Ordering::SeqCst)) {
                    (file.change)(folder, number);
                    file.published.store(number, Ordering::SeqCst);
                    thread::sleep(REST);
                }
            });
        }
        for reader in 0..files.len() {
            let (files, done, exchanges, server) = (&files, &done, &exchanges, &server);
            scope.spawn(move || {
                let _raise = Raise(done);
                let mut client = server.connect();
                for file in files.iter().cycle().skip(reader) {
                    if done.load(Ordering::SeqCst) || exchanges.fetch_add(1, Ordering::SeqCst) >= in_all {
                        return;
                    }
                    let before = file.published.load(Ordering::SeqCst);
                    client.send(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", file.name));
                    let response = client.response();
                    // A file that is changed again while the server waits for it to rest.
                    if response.status == 503 {
                        continue;
                    }
                    let response = response.status(200);
                    let number = version_of(&response.body);
                    let is_empty = number.is_none() && file.name == "emptied.txt";
                    assert!(is_empty || number >= Some(before), "{}: {number:?} after {before}", file.name);
                    file.seen.note(response.field("ETag"), number, response.body.len());
                }
            });
        }
    });
    files.into_iter().for_each(|file| file.seen.assert_race());
}
