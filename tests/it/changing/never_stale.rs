//! Longest races: a request after a change never gets older content, over four ways to change a file, for files that are
//! cached in memory and for larger ones.

use std::fs;
use std::os::unix::fs::{FileExt, symlink};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::{Raise, Seen, version, version_of};
use crate::support::{Folder, full_or_twentieth, serve};

/// The rest after a change. The server waits until a change is 10 ms old before it reads.
const REST: Duration = Duration::from_millis(40);

/// The cells of a file that is cached in memory, and of a longer one.
const SMALL: usize = 100;
const LARGE: usize = 8_000;

/// A file and the way to write its next version.
struct Changing {
    name: &'static str,
    change: fn(&Folder, u64),
    /// The newest version in place.
    published: AtomicU64,
    seen: Seen,
}

fn changing(name: &'static str, change: fn(&Folder, u64)) -> Changing {
    Changing { name, change, published: AtomicU64::new(0), seen: Seen::default() }
}

#[test]
fn request_after_change_never_gets_older_content() {
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
    race(&folder, files, full_or_twentieth(100_000));
}

#[test]
fn request_after_change_never_gets_older_large_file() {
    let files = [changing("renamed.txt", rename::<LARGE>), changing("linked.txt", link::<LARGE>)];
    race(&Folder::new(), files, full_or_twentieth(10_000));
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

/// Changes the files while clients request them, `in_all` times together.
fn race<const N: usize>(folder: &Folder, files: [Changing; N], in_all: usize) {
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
                    if done.load(Ordering::SeqCst) || exchanges.fetch_add(1, Ordering::SeqCst) >= in_all as u64 {
                        return;
                    }
                    let before = file.published.load(Ordering::SeqCst);
                    client.send(format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", file.name));
                    let response = client.response();
                    // The file changed in each attempt to read it.
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
