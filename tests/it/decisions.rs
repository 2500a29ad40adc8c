//! Conditional and range requests: every combination of preconditions, ranges, methods and validators, each response
//! compared with a model of RFC 9110.
//!
//! A GET of an ordinary file is sent with every combination. HEAD and the other files get a fifth of them: those whose
//! six list indices have a sum divisible by five. Every list has at least five members, so five of the six fields still
//! meet in every combination. Missing files and other methods get each combination of preconditions once, with one
//! If-Range and one Range. Unless SERVE_FULL_RACES is set, each nineteenth request of all these is sent.

mod model;
mod responses;
mod space;
mod wire;

use std::sync::Mutex;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::support::{Folder, Server, full_or_twentieth, serve};
use model::{Decision, Method, Range, Request, Resource, decide, last_modified};
use responses::{Check, date_of, decision_of, timeless};
use space::{Share, written};
use wire::Wire;

const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz";

/// The example date of RFC 9110 §5.6.7.
const LONG_AGO: i64 = 784_111_777;

/// A second that lies ahead of this test: the year 2100.
const FAR_AHEAD: i64 = 4_102_444_800;

/// Number of pipelined requests, which together fit into the socket buffers.
const PIPELINED: usize = 64;

/// A request target and its expected responses.
struct Target {
    path: &'static str,
    resource: Resource,
    content: &'static str,
    /// The opaque part of its entity tag.
    opaque: String,
    /// The fields of the response to a GET for each decision without a range, except the dates.
    fields: Vec<(Decision, Fields)>,
}

type Fields = Vec<(String, String)>;

/// One request for a target.
struct Case<'a> {
    target: &'a Target,
    request: Request<'a>,
}

impl Target {
    /// Writes the file with its modification time.
    fn file(folder: &Folder, path: &'static str, content: &'static str, modified: i64) -> Target {
        folder.write(&path[1..], content);
        folder.set_modified_secs(&path[1..], modified);
        Target::new(path, content, Resource::File { len: content.len(), modified })
    }

    fn new(path: &'static str, content: &'static str, resource: Resource) -> Target {
        Target { path, resource, content, opaque: String::new(), fields: Vec::new() }
    }

    /// Records the entity tag, and the fields of each decision in the response to the plainest GET that leads to it.
    fn record(&mut self, server: &Server) {
        let mut wire = Wire::connect(server.addr);
        for line in ["", "If-None-Match: *\r\n", "If-Match: \"other\"\r\n"] {
            let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n{line}\r\n", self.path);
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

    /// Returns the fields of its 200.
    fn whole(&self) -> &Fields {
        &self.fields[0].1
    }
}

#[test]
fn conditional_requests_match_the_rfc_9110_model() {
    let folder = Folder::new().dir("dir");
    let mut targets = [
        Target::file(&folder, "/letters.txt", LETTERS, LONG_AGO),
        Target::file(&folder, "/empty.txt", "", LONG_AGO),
        Target::file(&folder, "/young.txt", LETTERS, FAR_AHEAD),
        Target::file(&folder, "/dateless.txt", LETTERS, -5),
        Target::new("/missing.txt", "", Resource::Nothing),
        Target::new("/dir", "", Resource::Elsewhere),
    ];
    let server = serve(&folder).args(&["--quiet", "--no-precompressed", "--compress", "off"]).start();
    targets.iter_mut().for_each(|target| target.record(&server));
    let [letters, empty, young, dateless, missing, elsewhere] = &targets;
    let mut cases = Vec::new();
    let mut add = |target, method, share| {
        let requests = space::requests(method, share);
        cases.extend(requests.map(|request| Case { target, request }));
    };
    add(letters, Method::Get, Share::All);
    add(letters, Method::Head, Share::Fifth);
    for target in [empty, young, dateless] {
        add(target, Method::Get, Share::Fifth);
        add(target, Method::Head, Share::Fifth);
    }
    for target in [missing, elsewhere] {
        add(target, Method::Get, Share::OnePerPreconditions);
        add(target, Method::Head, Share::OnePerPreconditions);
    }
    for method in [Method::Options, Method::Post] {
        add(letters, method, Share::OnePerPreconditions);
        add(missing, method, Share::OnePerPreconditions);
    }
    check(&server, &cases, 240_000);
}

#[test]
fn range_sets_match_the_rfc_9110_model() {
    let folder = Folder::new();
    let mut targets = ["", "a", "abc", "abcde"].map(|content| {
        let path = ["/0", "/1", "", "/3", "", "/5"][content.len()];
        Target::file(&folder, path, content, LONG_AGO)
    });
    let server = serve(&folder).args(&["--quiet", "--no-precompressed", "--compress", "off"]).start();
    targets.iter_mut().for_each(|target| target.record(&server));
    let sets = targets.each_ref().map(|target| space::range_sets(target.content.len()));
    let case = |target, specs| Case { target, request: space::get(Range::Set(specs)) };
    let cases: Vec<_> = targets
        .iter()
        .zip(&sets)
        .flat_map(|(target, sets)| sets.iter().map(move |specs| case(target, specs)))
        .collect();
    check(&server, &cases, 30_000);
}

/// Sends the requests on two connections and shows the first cases in which the server differs from the model.
fn check(server: &Server, cases: &[Case<'_>], least: usize) {
    assert!(cases.len() >= least, "there are only {} combinations", cases.len());
    // A prime stride, unlike a twentieth itself, steps through every list.
    let stride = (cases.len() / full_or_twentieth(cases.len())).min(19);
    let cases: Vec<_> = cases.iter().step_by(stride).collect();
    println!("{} combinations", cases.len());
    let found = Mutex::new(Vec::new());
    let (left, right) = cases.split_at(cases.len() / 2);
    thread::scope(|scope| {
        for half in [left, right] {
            let found = &found;
            scope.spawn(move || {
                let mut wire = Wire::connect(server.addr);
                let faults = half.chunks(PIPELINED).flat_map(|batch| exchange(&mut wire, batch)).collect::<Vec<_>>();
                found.lock().expect("no thread panics with the lock").extend(faults);
            });
        }
    });
    let found = found.into_inner().expect("no thread panics with the lock");
    let shown = found.iter().take(3).cloned().collect::<Vec<_>>().join("\n");
    assert!(found.is_empty(), "{} of {} responses are wrong; the first:\n{shown}", found.len(), cases.len());
}

/// Sends a batch of requests and returns the faults of the responses.
fn exchange(wire: &mut Wire, batch: &[&Case<'_>]) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs().cast_signed();
    // Dates relative to Last-Modified become absolute here. Last-Modified of a file from the future is the Date.
    let requests: Vec<_> = batch
        .iter()
        .map(|case| match case.target.resource {
            Resource::File { modified, .. } => space::dated(&case.request, last_modified(modified, now)),
            Resource::Nothing | Resource::Elsewhere => space::dated(&case.request, None),
        })
        .collect();
    let texts: Vec<_> = batch
        .iter()
        .zip(&requests)
        .map(|(case, request)| written(request, case.target.path, &case.target.opaque))
        .collect();
    wire.send(&texts);
    let mut faults = Vec::new();
    for ((case, request), text) in batch.iter().zip(&requests).zip(&texts) {
        let response = wire.response(text);
        let expected = decide(request, case.target.resource, date_of(&response));
        let decided = decision_of(&response);
        let fault = if decided == expected {
            Check { target: case.target, request, response: &response }.fault(&expected)
        } else {
            Some("the decisions differ".to_owned())
        };
        if let Some(fault) = fault {
            let exchange = format!("{}{}", response.exchange, response.text()).replace('\r', "");
            faults.push(format!("{fault}\nmodel: {expected:?}\nserver: {decided:?}\n{request:?}\n{exchange}\n"));
        }
    }
    faults
}
