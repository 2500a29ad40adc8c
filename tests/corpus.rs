//! The fuzz targets' checks on the committed corpus, in every `cargo test`.
#![allow(dead_code, reason = "the checks use only some of the parsers")]

#[path = "fuzz/checks.rs"]
mod checks;
#[path = "../src/proto/mod.rs"]
mod proto;

use std::fs;
use std::path::Path;

fn check_all(target: &str, check: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(target);
    let files = fs::read_dir(&corpus).expect("the corpus is committed");
    let mut count = 0;
    for file in files {
        let path = file.expect("the corpus can be read").path();
        println!("{}", path.display());
        check(&fs::read(path).expect("the corpus can be read"));
        count += 1;
    }
    assert!(count > 5, "the corpus is almost empty");
}

#[test]
fn head_corpus_passes() {
    check_all("head", checks::head);
}

#[test]
fn target_corpus_passes() {
    check_all("target", checks::target);
}

#[test]
fn range_corpus_passes() {
    check_all("range", checks::range);
}

#[test]
fn conditional_corpus_passes() {
    check_all("conditional", checks::conditional);
}

#[test]
fn chunked_corpus_passes() {
    check_all("chunked", checks::chunked);
}

#[test]
fn proxy_corpus_passes() {
    check_all("proxy", checks::proxy);
}

#[test]
fn fields_corpus_passes() {
    check_all("fields", checks::fields);
}
