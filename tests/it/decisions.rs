//! The whole space of preconditions, ranges, methods and validators, each answer against a second reading of RFC 9110.
//!
//! The preconditions are combined in every way, and with every If-Range and every Range for a GET of an ordinary file.
//! For HEAD and for the other files a fifth of that is asked: those whose six places in their lists have a sum that five
//! divides. No list is shorter than five, so five of the six fields still meet in every combination. Where there is no
//! file, and for other methods, each combination of preconditions is asked once, with one If-Range and one Range.

mod model;
mod responses;
mod space;
mod wire;

use std::sync::Mutex;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Folder, Server, serve};
use model::{Decision, Method, Range, Request, Resource, decide, last_modified};
use responses::{Look, date_of, decision_of, timeless};
use space::{Share, written};
use wire::Wire;

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// The example date of RFC 9110 §5.6.7.
const LONG_AGO: i64 = 784_111_777;

/// A second that is not over while this test runs: the year 2100.
const FAR_AHEAD: i64 = 4_102_444_800;

/// So many requests are sent before the first answer is read. Together they fit into the sockets' buffers.
const AT_ONCE: usize = 64;

/// Something that can be asked for, and what is known of its answers.
struct Place {
    target: &'static str,
    resource: Resource,
    content: &'static str,
    /// The opaque part of its tag.
    opaque: String,
    /// The fields of a GET's answer for each decision in which no range takes part, without the clock's.
    fields: Vec<(Decision, Fields)>,
}

type Fields = Vec<(String, String)>;

/// One request to a place.
struct Case<'a> {
    place: &'a Place,
    request: Request<'a>,
}

impl Place {
    /// Makes the file if it is one, with its time of modification.
    fn new(folder: &Folder, target: &'static str, content: &'static str, modified: i64) -> Place {
        folder.write(&target[1..], content);
        folder.set_modified_secs(&target[1..], modified);
        Place::of(target, content, Resource::File { len: content.len(), modified })
    }

    fn of(target: &'static str, content: &'static str, resource: Resource) -> Place {
        Place { target, resource, content, opaque: String::new(), fields: Vec::new() }
    }

    /// Learns the tag, and what each decision looks like in the answer to the plainest GET that leads to it.
    fn learn(&mut self, server: &Server) {
        let mut wire = Wire::connect(server.addr);
        for line in ["", "If-None-Match: *\r\n", "If-Match: \"other\"\r\n"] {
            let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n", self.target);
            wire.send(std::slice::from_ref(&request));
            let response = wire.response(&request);
            if response.status == 200 {
                let tag = response.field("ETag");
                let opaque = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
                self.opaque = opaque.unwrap_or_else(|| panic!("no strong tag\n{}", response.exchange)).to_owned();
            }
            self.fields.push((decision_of(&response), timeless(&response)));
        }
    }

    /// The fields of its 200.
    fn whole(&self) -> &Fields {
        &self.fields[0].1
    }
}

#[test]
fn every_combination_of_conditions_and_ranges_is_decided_as_rfc_9110_says() {
    let folder = Folder::new().dir("dir");
    let mut places = [
        Place::new(&folder, "/letters.txt", LETTERS, LONG_AGO),
        Place::new(&folder, "/empty.txt", "", LONG_AGO),
        Place::new(&folder, "/young.txt", LETTERS, FAR_AHEAD),
        Place::new(&folder, "/dateless.txt", LETTERS, -5),
        Place::of("/missing.txt", "", Resource::Nothing),
        Place::of("/dir", "", Resource::Elsewhere),
    ];
    let server = serve(&folder).args(&["--quiet", "--no-precompressed", "--compress", "off"]).start();
    places.iter_mut().for_each(|place| place.learn(&server));
    let [letters, empty, young, dateless, missing, elsewhere] = &places;
    let mut cases = Vec::new();
    let mut add = |place, method, share| {
        let requests = space::requests(method, share);
        cases.extend(requests.map(|request| Case { place, request }));
    };
    add(letters, Method::Get, Share::All);
    add(letters, Method::Head, Share::Fifth);
    for place in [empty, young, dateless] {
        add(place, Method::Get, Share::Fifth);
        add(place, Method::Head, Share::Fifth);
    }
    for place in [missing, elsewhere] {
        add(place, Method::Get, Share::OnePerPreconditions);
        add(place, Method::Head, Share::OnePerPreconditions);
    }
    for method in [Method::Options, Method::Post] {
        add(letters, method, Share::OnePerPreconditions);
        add(missing, method, Share::OnePerPreconditions);
    }
    check(&server, &cases, 240_000);
}

#[test]
fn every_set_of_ranges_selects_the_bytes_that_rfc_9110_says() {
    let folder = Folder::new();
    let mut places = ["", "a", "abc", "abcde"].map(|content| {
        let target = ["/0", "/1", "", "/3", "", "/5"][content.len()];
        Place::new(&folder, target, content, LONG_AGO)
    });
    let server = serve(&folder).args(&["--quiet", "--no-precompressed", "--compress", "off"]).start();
    places.iter_mut().for_each(|place| place.learn(&server));
    let sets = places.each_ref().map(|place| space::range_sets(place.content.len()));
    let case = |place, specs| Case { place, request: space::get(Range::Set(specs)) };
    let cases: Vec<_> =
        places.iter().zip(&sets).flat_map(|(place, sets)| sets.iter().map(move |specs| case(place, specs))).collect();
    check(&server, &cases, 30_000);
}

/// Asks everything, on two connections, and tells of the first cases in which server and model are not of one mind.
fn check(server: &Server, cases: &[Case<'_>], least: usize) {
    assert!(cases.len() >= least, "the space has shrunk to {} combinations", cases.len());
    println!("{} combinations", cases.len());
    let found = Mutex::new(Vec::new());
    let (left, right) = cases.split_at(cases.len() / 2);
    thread::scope(|scope| {
        for half in [left, right] {
            let found = &found;
            scope.spawn(move || {
                let mut wire = Wire::connect(server.addr);
                let faults = half.chunks(AT_ONCE).flat_map(|batch| ask(&mut wire, batch)).collect::<Vec<_>>();
                found.lock().expect("nobody panics with it").extend(faults);
            });
        }
    });
    let found = found.into_inner().expect("nobody panics with it");
    let shown = found.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{} of {} responses are wrong; the first:\n{shown}", found.len(), cases.len());
}

/// Asks some together and returns what is wrong with the answers.
fn ask(wire: &mut Wire, batch: &[Case<'_>]) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs().cast_signed();
    // A date that is relative to Last-Modified becomes absolute here. That of a young file is the second of the answer.
    let requests: Vec<_> = batch
        .iter()
        .map(|case| match case.place.resource {
            Resource::File { modified, .. } => space::dated(&case.request, last_modified(modified, now)),
            Resource::Nothing | Resource::Elsewhere => space::dated(&case.request, None),
        })
        .collect();
    let texts: Vec<_> = batch
        .iter()
        .zip(&requests)
        .map(|(case, request)| written(request, case.place.target, &case.place.opaque))
        .collect();
    wire.send(&texts);
    let mut faults = Vec::new();
    for ((case, request), text) in batch.iter().zip(&requests).zip(&texts) {
        let response = wire.response(text);
        let expected = decide(request, case.place.resource, date_of(&response));
        let decided = decision_of(&response);
        let fault = if decided == expected {
            Look { place: case.place, request, response: &response }.fault(&expected)
        } else {
            Some("another decision".to_owned())
        };
        if let Some(fault) = fault {
            let exchange = format!("{}{}", response.exchange, response.text()).replace('\r', "");
            faults.push(format!("{fault}\nmodel: {expected:?}\nserver: {decided:?}\n{request:?}\n{exchange}\n"));
        }
    }
    faults
}
