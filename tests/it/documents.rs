//! References in the documents to tests and files.

use std::fs;
use std::path::Path;

#[test]
fn security_policy_names_existing_tests_and_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let policy = fs::read_to_string(root.join(".github/SECURITY.md")).expect("the policy is committed");
    let mut code = String::new();
    for folder in ["src", "tests"] {
        gather(&root.join(folder), &mut code);
    }
    let quoted = policy.split('`').skip(1).step_by(2);
    let (mut tests, mut files) = (0, 0);
    for name in quoted {
        if ["src/", "tests/", ".ci/"].iter().any(|folder| name.starts_with(folder)) {
            files += 1;
            assert!(root.join(name).exists(), "there is no {name}");
        } else if name.matches('_').count() > 2 && !name.contains(['(', '/', '.']) {
            tests += 1;
            assert!(code.contains(&format!("fn {name}()")), "there is no test {name}");
        }
    }
    assert!(tests > 20 && files > 20, "{tests} tests, {files} files");
}

/// Adds the text of all Rust files below.
fn gather(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("the folder exists").flatten() {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(path).expect("Rust files are text"));
        }
    }
}
