//! Path lookup races: links and directories are exchanged at full speed during a hundred thousand requests, and no
//! response contains anything outside the root.
//!
//! The exchanges are atomic (`RENAME_EXCHANGE`), so a name leads to one of the two targets at every moment.

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::changing::Raise;
use crate::support::{Client, Folder, Response, Server, full_or_twentieth, serve};

/// Number of responses during the exchanges, or a twentieth of it.
const REQUESTS: usize = 100_000;

/// Time limit for the responses of both kinds for every target.
const LIMIT: Duration = Duration::from_secs(300);

/// Part of every file and name outside the root.
const SECRET: &str = "never-to-be-served";

/// A size in bytes above that of files that the server reads into memory.
const LARGE: usize = 80_000;

/// The releases; the root is a link to one of them.
const RELEASES: [&str; 2] = ["one", "two"];

/// A target with its responses by kind: the complete content inside the root; 404, while the name leads out or to nothing;
/// 503, if renames disturbed every attempt of the server.
struct Target {
    path: &'static str,
    /// The content while the name leads inside.
    inside: Inside,
    /// The time in which the name leads inside.
    stays: Stays,
    /// Number of requests in a batch.
    weight: usize,
    served: AtomicU64,
    missing: AtomicU64,
    unavailable: AtomicU64,
}

/// The content of a target inside the root.
#[derive(Clone, Copy, Debug)]
enum Inside {
    /// A file that contains its name and its release.
    Small(&'static str),
    /// The same, repeated until the server sends it from the file.
    Large(&'static str),
    /// A list of these names.
    List(&'static [&'static str]),
    /// A redirect to the same name with a slash.
    Slash,
}

/// The time in which a name leads inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stays {
    /// At every moment.
    Always,
    /// During some of the exchanges, and after them.
    InTheEnd,
    /// During some of the exchanges, but not after them.
    NotInTheEnd,
}

use Inside::{Large, List, Slash, Small};
use Stays::{Always, InTheEnd, NotInTheEnd};

const fn target(path: &'static str, inside: Inside, stays: Stays, weight: usize) -> Target {
    let [served, missing, unavailable] = [const { AtomicU64::new(0) }; 3];
    Target { path, inside, stays, weight, served, missing, unavailable }
}

/// The server waits while a file counts as just changed, so few requests are for a file that is exchanged.
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
fn lookup_during_renames_never_leaves_the_root() {
    let site = Site::new();
    let servers = [&["--cache-memory", "64"], &["--cache-memory", "0"]]
        .map(|args| serve(&site.root).args(args).args(&["-q", "--list"]).start());
    let targets = targets();
    let (done, responses, exchanges) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let (since, least) = (Instant::now(), full_or_twentieth(REQUESTS));
    let is_on = || !done.load(Ordering::SeqCst);
    let needs_more = || responses.load(Ordering::SeqCst) < least || !targets.iter().all(Target::has_both_kinds);
    thread::scope(|scope| {
        for pairs in site.exchanged() {
            let (is_on, done, exchanges) = (&is_on, &done, &exchanges);
            scope.spawn(move || {
                let _raise = Raise(done);
                while is_on() {
                    pairs.iter().for_each(exchange);
                    // A second exchange restores the first state.
                    pairs.iter().for_each(exchange);
                    exchanges.fetch_add(2 * pairs.len(), Ordering::Relaxed);
                }
            });
        }
        for server in servers.iter().cycle().take(4) {
            let (is_on, needs_more, done, responses, targets) = (&is_on, &needs_more, &done, &responses, &targets);
            scope.spawn(move || {
                let _raise = Raise(done);
                while is_on() && needs_more() && since.elapsed() < LIMIT {
                    responses.fetch_add(request_all(server, targets), Ordering::SeqCst);
                }
            });
        }
    });
    let [responses, exchanges] = [responses, exchanges].map(AtomicUsize::into_inner);
    println!("{responses} requests during {exchanges} exchanges");
    targets.iter().for_each(Target::assert_both_kinds);
    assert!(responses >= least, "only {responses} responses in {LIMIT:?}");
    for server in &servers {
        targets.iter().for_each(|target| target.assert_at_rest(server));
    }
}

/// Requests every target on one connection, whose root is one release; returns the number of responses.
#[track_caller]
fn request_all(server: &Server, targets: &[Target; 17]) -> usize {
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
    /// Reads a response: complete content inside the root, or a refusal. All content is of one release.
    #[track_caller]
    fn check(&self, client: &mut Client, release: &mut Option<&'static str>) {
        let response = client.response().never_says(SECRET);
        let count = match response.status {
            // The name leads to nothing, or out of the root.
            404 if self.stays != Always => &self.missing,
            // Renames disturbed every attempt to look the name up or to read the file.
            503 => &self.unavailable,
            _ => {
                let from = RELEASES.into_iter().find(|release| self.inside.is_in(&response, self.path, release));
                let from = from.unwrap_or_else(|| {
                    panic!("{}: neither content of the root nor a refusal\n{}", self.path, response.exchange)
                });
                if matches!(self.inside, Small(_) | Large(_)) {
                    let first = *release.get_or_insert(from);
                    assert_eq!(from, first, "{} is of another release\n{}", self.path, response.exchange);
                }
                &self.served
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports whether the target was served and, unless the name always leads inside, missing too.
    fn has_both_kinds(&self) -> bool {
        let [served, missing] = [&self.served, &self.missing].map(|count| count.load(Ordering::Relaxed));
        served > 0 && (missing > 0 || self.stays == Always)
    }

    /// A race whose responses are all of one kind proves nothing.
    #[track_caller]
    fn assert_both_kinds(&self) {
        let counts = [&self.served, &self.missing, &self.unavailable].map(|count| count.load(Ordering::Relaxed));
        println!("{}: [200, 404, 503] = {counts:?}", self.path);
        assert!(self.has_both_kinds(), "{}: one kind of response alone: {counts:?}", self.path);
    }

    #[track_caller]
    fn assert_at_rest(&self, server: &Server) {
        let response = server.get(self.path).never_says(SECRET);
        if self.stays == NotInTheEnd {
            response.status(404);
        } else {
            let is_right = self.inside.is_in(&response, self.path, RELEASES[0]);
            assert!(is_right, "{}: wrong content\n{}", self.path, response.exchange);
        }
    }
}

impl Inside {
    /// Reports whether the response is the complete content of the release.
    fn is_in(self, response: &Response, path: &str, release: &str) -> bool {
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

/// Two releases, files outside of them, and the root, a link to the first.
struct Site {
    base: Folder,
    root: Folder,
}

impl Site {
    fn new() -> Site {
        let (mut base, root) = (Folder::new(), Folder::new());
        for release in RELEASES {
            base = Site::release(base, release);
            base = Site::outside(base, release);
        }
        std::fs::remove_dir(root.path()).expect("the new folder is empty");
        symlink(base.at("one"), root.path()).expect("the link can be made");
        let two = base.at("two");
        let base = base.link("root", two);
        Site { base, root }
    }

    /// Writes the files of a release. A link with `..` leads inside only while its directory has its first name.
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

    /// Writes files of the same names outside the root, so that a lookup that leaves the root finds a file.
    fn outside(base: Folder, release: &str) -> Folder {
        let at = |name: &str| format!("outside-{release}/{name}");
        ["steady/page.txt", "steady/large.bin", "page.txt", "file.txt"]
            .iter()
            .fold(base, |base, name| base.file(&at(name), SECRET))
            .file(&at(&format!("steady/{SECRET}")), SECRET)
            .dir(&at("moving"))
    }

    /// Returns the pairs of names that are exchanged, by the thread that exchanges them.
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

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(self.root.path());
    }
}
