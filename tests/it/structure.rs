//! The structure of the source: layers import downwards, and inside a folder each file imports only from those that its
//! `mod.rs` lists above it. So there is no import circle between files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The layers that each layer may import.
const LAYERS: [(&str, &[&str]); 5] = [
    ("proto", &[]),
    ("files", &["proto"]),
    ("site", &["files", "proto"]),
    ("net", &["proto"]),
    ("server", &["net", "site", "files", "proto"]),
];

/// A source file: its path below `src` as modules, and what it imports of the crate.
struct Source {
    module: Vec<String>,
    imports: Vec<Vec<String>>,
}

#[test]
fn files_import_only_from_lower_files() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut orders = BTreeMap::new();
    let mut sources = Vec::new();
    gather(&root, &mut Vec::new(), &mut orders, &mut sources);
    let rank = |folder: &[String], name: &str| {
        orders.get(folder).and_then(|order: &Vec<String>| order.iter().position(|file| file == name))
    };
    let (mut checked, mut wrong) = (0, Vec::new());
    for source in &sources {
        for import in &source.imports {
            let shared = source.module.iter().zip(import).take_while(|(a, b)| a == b).count();
            if shared == source.module.len() || shared == import.len() {
                continue;
            }
            let (folder, from, to) = (&source.module[..shared], &source.module[shared], &import[shared]);
            let is_allowed = match (shared, LAYERS.iter().find(|(layer, _)| layer == from)) {
                (0, Some((_, lower))) => lower.contains(&to.as_str()) || !LAYERS.iter().any(|(layer, _)| layer == to),
                (0, None) => true,
                _ => match (rank(folder, from), rank(folder, to)) {
                    (Some(from), Some(to)) => to < from,
                    // An item of the folder's mod.rs.
                    _ => true,
                },
            };
            checked += 1;
            if !is_allowed {
                wrong.push(format!("{} imports {}", source.module.join("::"), import.join("::")));
            }
        }
    }
    assert!(checked > 200, "only {checked} imports were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Reads the files below a folder, and the order in which its `mod.rs` lists them.
fn gather(
    dir: &Path,
    module: &mut Vec<String>,
    orders: &mut BTreeMap<Vec<String>, Vec<String>>,
    sources: &mut Vec<Source>,
) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir).expect("the folder is there").flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().and_then(|name| name.to_str()).expect("plain names").to_owned();
        if path.is_dir() {
            module.push(name);
            gather(&path, module, orders, sources);
            module.pop();
            continue;
        }
        let text = fs::read_to_string(&path).expect("text");
        let code = text.split("#[cfg(test)]\nmod tests {").next().expect("there is a first part");
        if name == "mod" {
            let names = code
                .lines()
                .filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
            orders.insert(module.clone(), names.map(str::to_owned).collect());
        } else if name != "tests" {
            module.push(name);
            sources.push(Source { module: module.clone(), imports: imports(code, module) });
            module.pop();
        }
    }
}

/// The paths into the crate that code names, by `use` or in place; those of `super` are made absolute.
fn imports(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for (start, prefix) in code.match_indices("crate::").chain(code.match_indices("super::")) {
        let is_path_start = !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        if is_path_start {
            let base = if prefix == "crate::" { Vec::new() } else { module[..module.len() - 1].to_vec() };
            expand(&code[start + prefix.len()..], base, &mut found);
        }
    }
    found
}

/// Adds each path that begins here: `a::b` is one, `a::{b, c::d}` is two.
fn expand(rest: &str, mut base: Vec<String>, found: &mut Vec<Vec<String>>) {
    if let Some(group) = rest.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' | ',' if depth == 0 => {
                    expand(group[start..at].trim(), base.clone(), found);
                    start = at + 1;
                    if c == '}' {
                        return;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    match &rest[..end] {
        "" | "self" => {}
        "super" => drop(base.pop()),
        name => base.push(name.to_owned()),
    }
    match rest[end..].strip_prefix("::") {
        Some(deeper) => expand(deeper, base, found),
        None => found.push(base),
    }
}
