//! Links and directories are exchanged at full speed while a hundred thousand requests go through them: whatever is
//! hit by a lookup half way, nothing that is outside the root is ever served.
//!
//! The exchanges are atomic (`RENAME_EXCHANGE`), so at every moment a name leads to the one thing or to the other.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::changing::Raise;
use crate::support::{Client, Folder, Response, Server, serve};

/// How many requests are answered while everything is exchanged.
const REQUESTS: u64 = 100_000;

/// Stands in every file and in every name that is outside.
const SECRET: &str = "never-to-be-served";

/// Longer than what the server reads into memory before it sends.
const LARGE: usize = 80_000;

/// Which releases there are; the root is a link to one of them.
const RELEASES: [&str; 2] = ["one", "two"];

/// A target, and what became of the requests for it. The answer is what is inside, whole; or 404, where the name leads
/// out or to nothing at that moment; or 503, where the server gave up because it was disturbed all the time.
struct Target {
    path: &'static str,
    /// What comes where the name leads to what is inside.
    inside: Inside,
    /// When the name leads there.
    stays: Stays,
    /// How many requests of a batch are for it.
    weight: usize,
    served: AtomicU64,
    missing: AtomicU64,
    later: AtomicU64,
}

/// What is inside.
#[derive(Clone, Copy, Debug)]
enum Inside {
    /// A file that says where it is and in which release.
    Small(&'static str),
    /// The same, so often that it is sent from the file.
    Large(&'static str),
    /// A list of these names.
    List(&'static [&'static str]),
    /// Directions to the same name with a slash.
    Slash,
}

/// When a name leads inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    /// At every moment.
    Always,
    /// Now and then, and once everything is still again.
    InTheEnd,
    /// Now and then, but not once everything is still again.
    NotInTheEnd,
}

use Inside::{Large, List, Slash, Small};
use Stays::{Always, InTheEnd, NotInTheEnd};

const fn target(path: &'static str, inside: Inside, stays: Stays, weight: usize) -> Target {
    let [served, missing, later] = [const { AtomicU64::new(0) }; 3];
    Target { path, inside, stays, weight, served, missing, later }
}

/// A file that is itself exchanged counts as just changed for a moment, which the server waits for. So few ask for one.
fn targets() -> [Target; 17] {
    [
        target("/steady/page.txt", Small("steady"), Always, 4),
        target("/up-and-down", Small("steady"), Always, 8),
        target("/either/page.txt", Small("steady"), Always, 8),
        target("/dir/page.txt", Small("dir"), InTheEnd, 16),
        target("/dir/large.bin", Large("dir"), InTheEnd, 2),
        target("/dir", Slash, InTheEnd, 4),
        target("/dir/", List(&["large.bin", "page.txt"]), InTheEnd, 4),
        target("/dir-link", Slash, NotInTheEnd, 4),
        target("/dir-link/page.txt", Small("dir"), NotInTheEnd, 16),
        target("/dir-link/", List(&["large.bin", "page.txt"]), NotInTheEnd, 4),
        target("/link", Small("steady"), InTheEnd, 16),
        target("/link-out", Small("steady"), NotInTheEnd, 16),
        target("/file.txt", Small("file"), InTheEnd, 1),
        target("/moving/deep/page.txt", Small("deep"), InTheEnd, 8),
        target("/moving/deep/to-root", Small("steady"), InTheEnd, 16),
        target("/moving/deep/to-itself", Small("deep"), InTheEnd, 16),
        target("/moving/deep/to-dir/page.txt", Small("steady"), InTheEnd, 16),
    ]
}

#[test]
fn whatever_is_exchanged_while_it_is_looked_up_nothing_outside_is_served() {
    let world = World::new();
    let servers = [&["--cache-memory", "64"], &["--cache-memory", "0"]]
        .map(|args| serve(&world.root).args(args).args(&["-q", "--list"]).start());
    let targets = targets();
    let (done, asked, exchanges) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let is_on = || !done.load(Ordering::SeqCst);
    thread::scope(|scope| {
        for pairs in world.exchanged() {
            let (is_on, done, exchanges) = (&is_on, &done, &exchanges);
            scope.spawn(move || {
                let _raise = Raise(done);
                while is_on() {
                    pairs.iter().for_each(exchange);
                    // And back, so that in the end everything is where it was.
                    pairs.iter().for_each(exchange);
                    exchanges.fetch_add(2 * pairs.len() as u64, Ordering::Relaxed);
                }
            });
        }
        for server in servers.iter().cycle().take(4) {
            let (is_on, done, asked, targets) = (&is_on, &done, &asked, &targets);
            scope.spawn(move || {
                let _raise = Raise(done);
                while is_on() && asked.load(Ordering::SeqCst) < REQUESTS {
                    asked.fetch_add(ask_for_all(server, targets), Ordering::SeqCst);
                }
            });
        }
    });
    let [asked, exchanges] = [asked, exchanges].map(AtomicU64::into_inner);
    println!("{asked} requests during {exchanges} exchanges");
    targets.iter().for_each(Target::assert_both_sides);
    assert!(asked >= REQUESTS);
    for server in &servers {
        targets.iter().for_each(|target| target.assert_at_rest(server));
    }
}

/// Asks for everything on one connection, whose root is one release, and returns how many answers came.
#[track_caller]
fn ask_for_all(server: &Server, targets: &[Target; 17]) -> u64 {
    let most = targets.iter().map(|target| target.weight).max().expect("there are targets");
    let all = (0..most).flat_map(|round| targets.iter().filter(move |target| round < target.weight));
    let request = |target: &Target| format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", target.path);
    let mut client = server.connect();
    client.send(all.clone().map(request).collect::<String>());
    let mut release = None;
    let mut count = 0;
    for target in all {
        target.check(&mut client, &mut release);
        count += 1;
    }
    count
}

impl Target {
    /// Reads an answer. It is whole and of what is inside, or a refusal; all that is served is of one release.
    #[track_caller]
    fn check(&self, client: &mut Client, release: &mut Option<&'static str>) {
        let response = client.response().never_says(SECRET);
        let count = match response.status {
            // Nothing is there, or what leads out.
            404 if self.stays != Always => &self.missing,
            // Renames disturbed every attempt to look it up, or the file itself was touched again and again.
            503 => &self.later,
            _ => {
                let from = RELEASES.into_iter().find(|release| self.inside.is_told_by(&response, self.path, release));
                let from =
                    from.unwrap_or_else(|| panic!("{}: neither inside nor refused\n{}", self.path, response.exchange));
                if matches!(self.inside, Small(_) | Large(_)) {
                    let first = *release.get_or_insert(from);
                    assert_eq!(from, first, "{} is of another release\n{}", self.path, response.exchange);
                }
                &self.served
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A race in which the requests have seen one side alone proves nothing.
    #[track_caller]
    fn assert_both_sides(&self) {
        let [served, missing, later] =
            [&self.served, &self.missing, &self.later].map(|count| count.load(Ordering::Relaxed));
        println!("{}: {served} served, {missing} not there, {later} to come again", self.path);
        assert!(served > 0, "{} was never served", self.path);
        assert!(missing > 0 || self.stays == Always, "{} was always served", self.path);
    }

    #[track_caller]
    fn assert_at_rest(&self, server: &Server) {
        let response = server.get(self.path).never_says(SECRET);
        if self.stays == NotInTheEnd {
            response.status(404);
        } else {
            let is_right = self.inside.is_told_by(&response, self.path, RELEASES[0]);
            assert!(is_right, "{}: not what is there\n{}", self.path, response.exchange);
        }
    }
}

impl Inside {
    /// Reports whether this is a whole answer of what is inside a release.
    fn is_told_by(self, response: &Response, path: &str, release: &str) -> bool {
        match self {
            Small(place) => response.status == 200 && response.body == small(place, release).as_bytes(),
            Large(place) => response.status == 200 && response.body == large(place, release).as_bytes(),
            List(names) => response.status == 200 && names.iter().all(|name| response.text().contains(name)),
            Slash => response.status == 301 && response.all("Location") == [format!("{path}/")],
        }
    }
}

fn small(place: &str, release: &str) -> String {
    format!("{place} in release {release}\n")
}

fn large(place: &str, release: &str) -> String {
    small(place, release).repeat(LARGE / 20)
}

/// Two releases, what is outside of them, and the root, a link to the first.
struct World {
    base: Folder,
    root: Folder,
}

impl World {
    fn new() -> World {
        let (mut base, root) = (Folder::new(), Folder::new());
        for release in RELEASES {
            base = World::release(base, release);
            base = World::outside(base, release);
        }
        std::fs::remove_dir(root.path()).expect("the new folder is empty");
        symlink(base.at("one"), root.path()).expect("the link can be made");
        let two = base.at("two");
        let base = base.link("root", two);
        World { base, root }
    }

    /// What may be served. With `..` a link leads to what is inside only while its directory is where it was.
    fn release(base: Folder, release: &str) -> Folder {
        let at = |name: &str| format!("{release}/{name}");
        let out = |name: &str| base.at(&format!("outside-{release}/{name}"));
        let [dir, page, file] = ["steady", "page.txt", "file.txt"].map(out);
        base.file(&at("steady/page.txt"), small("steady", release))
            .file(&at("dir/page.txt"), small("dir", release))
            .file(&at("dir/large.bin"), large("dir", release))
            .file(&at("file.txt"), small("file", release))
            .file(&at("moving/deep/page.txt"), small("deep", release))
            .link(&at("up-and-down"), "steady/../steady/../steady/page.txt")
            .link(&at("either"), "steady")
            .link(&at("or"), "steady/.")
            .link(&at("dir-link"), dir)
            .link(&at("link"), "steady/page.txt")
            .link(&at("link-out"), page)
            .link(&at("file-link"), file)
            .link(&at("moving/deep/to-root"), "../../steady/page.txt")
            .link(&at("moving/deep/to-itself"), "../../moving/deep/page.txt")
            .link(&at("moving/deep/to-dir"), "../../steady")
    }

    /// What may not be served: the same names, so that each step that leaves the root finds something.
    fn outside(base: Folder, release: &str) -> Folder {
        let at = |name: &str| format!("outside-{release}/{name}");
        ["steady/page.txt", "steady/large.bin", "page.txt", "file.txt"]
            .iter()
            .fold(base, |base, name| base.file(&at(name), SECRET))
            .file(&at(&format!("steady/{SECRET}")), SECRET)
            .dir(&at("moving"))
    }

    /// The names that are exchanged for each other, by those that do it at once.
    fn exchanged(&self) -> [Vec<(PathBuf, PathBuf)>; 4] {
        let of_each = |pairs: &[(&str, &str)]| {
            let at = |release: &str, name: &str| self.base.at(&name.replace('*', release));
            let of = |release| pairs.iter().map(move |(one, other)| (at(release, one), at(release, other)));
            RELEASES.into_iter().flat_map(of).collect()
        };
        [
            of_each(&[("*/dir", "*/dir-link"), ("*/either", "*/or")]),
            of_each(&[("*/link", "*/link-out"), ("*/file.txt", "*/file-link")]),
            of_each(&[("*/moving", "outside-*/moving")]),
            vec![(self.root.path().to_owned(), self.base.at("root"))],
        ]
    }
}

fn exchange((one, other): &(PathBuf, PathBuf)) {
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).expect("the file system can exchange names");
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.root.path());
    }
}
