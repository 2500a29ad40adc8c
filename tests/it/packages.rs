//! Package managers as clients: apt, pip, npm and cargo get what they need from repositories of plain files.
//!
//! Each has a home and settings of its own, nothing of the user's environment, and no other server than ours.

mod site;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::Folder;
use site::Site;

/// How many packages apt is asked for.
const PACKAGES: usize = 30;

#[test]
#[ignore = "needs apt-get and dpkg-deb"]
fn apt_downloads_with_pipelining_over_one_connection() {
    let (here, site) = debian();
    let names: Vec<_> = (0..PACKAGES).map(debian_name).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let said = apt(&here, &[&["download", "-o", "Debug::Acquire::http=true"], &*names].concat());
    for name in names {
        let file = format!("{name}_1.0_all.deb");
        same_file(&here.at(&file), &site.root.at("debian").join(file), &said);
    }
    let is_step = |line: &&str| line.starts_with("GET ") || line.starts_with("Response for: ");
    let steps: Vec<_> = said.lines().filter(is_step).collect();
    // Ten may be under way; how many are depends on how soon apt has them.
    let ahead = steps.windows(2).any(|steps| steps.iter().all(|step| step.starts_with("GET ")));
    assert!(ahead, "every request waited for an response\n{said}");
    let told = site.ended();
    assert_eq!(told.count("GET", ".deb", 200), PACKAGES, "{told:?}");
    assert_eq!(told.connections_for(".deb"), 1, "{told:?}");
}

#[test]
#[ignore = "needs apt-get and dpkg-deb"]
fn apt_gets_304_for_a_fresh_release() {
    let (here, site) = debian();
    let said = apt(&here, &["update"]);
    assert!(said.lines().any(|line| line.starts_with("Hit:")), "{said}");
    let told = site.ended();
    assert_eq!(told.count("GET", "/Release", 304), 1, "{told:?}");
    assert_eq!(told.count("GET", "/Packages.gz", 200), 1, "{told:?}");
}

#[test]
#[ignore = "needs apt-get and dpkg-deb"]
fn apt_resumes_a_download() {
    let (here, site) = debian();
    let name = debian_name(0);
    let (original, copy) = (format!("debian/{name}_1.0_all.deb"), format!("{name}_1.0_all.deb"));
    let whole = fs::read(site.root.at(&original)).expect("the package is there");
    let partial = format!("cache/archives/partial/{copy}");
    here.write(&partial, &whole[..whole.len() / 2]);
    // It asks for the rest of a file that is as old as its part.
    site.root.set_modified_secs(&original, 1_700_000_000);
    here.set_modified_secs(&partial, 1_700_000_000);
    let said = apt(&here, &["install", "--download-only", "-y", &name]);
    same_file(&here.at("cache/archives").join(copy), &site.root.at(&original), &said);
    let told = site.ended();
    assert_eq!(told.count("GET", ".deb", 206), 1, "{told:?}\n{said}");
}

#[test]
#[ignore = "needs pip"]
fn pip_downloads_a_wheel_from_a_simple_index() {
    let (here, site) = (Folder::new(), Site::start());
    let wheel = simple_index(&site);
    let said = pip(&site, &here, &["--no-deps"]);
    same_file(&here.at("saved").join(WHEEL), &wheel, &said);
    let told = site.ended();
    assert_eq!(told.count("GET", "/simple/tiny-wheel/", 200), 1, "{told:?}");
    assert_eq!(told.count("GET", ".whl", 200), 1, "{told:?}");
}

#[test]
#[ignore = "needs pip"]
fn pip_reads_wheel_metadata_by_ranges() {
    let (here, site) = (Folder::new(), Site::start());
    let wheel = simple_index(&site);
    let said = pip(&site, &here, &["--use-feature=fast-deps"]);
    same_file(&here.at("saved").join(WHEEL), &wheel, &said);
    let told = site.ended();
    assert_eq!(told.count("HEAD", ".whl", 200), 1, "{told:?}");
    assert!(told.count("GET", ".whl", 206) > 0, "{told:?}");
}

#[test]
#[ignore = "needs npm"]
fn npm_installs_a_tarball_by_its_url() {
    let (here, site) = (npm_home(), Site::start());
    npm_tarball(&site, "pkg-1.0.0.tgz");
    npm_installs(&site, &here, &site.url("/pkg-1.0.0.tgz"));
    let told = site.ended();
    assert!(told.count("GET", "/pkg-1.0.0.tgz", 200) > 0, "{told:?}");
}

#[test]
#[ignore = "needs npm"]
fn npm_installs_a_package_by_its_name() {
    // The description of a package has the name of the package: a file in one registry, a directory in another.
    for description in ["pkg", "pkg/index.html"] {
        let (here, site) = (npm_home(), Site::start());
        let tarball = npm_tarball(&site, "tarballs/pkg-1.0.0.tgz");
        let dist = json!({ "tarball": site.url("/tarballs/pkg-1.0.0.tgz"), "shasum": sum("sha1sum", &tarball) });
        let version = json!({ "name": "pkg", "version": "1.0.0", "dist": dist });
        let versions = json!({ "1.0.0": version });
        let whole = json!({ "name": "pkg", "dist-tags": { "latest": "1.0.0" }, "versions": versions });
        site.root.write(description, whole.to_string());
        npm_installs(&site, &here, "pkg");
        let told = site.ended();
        assert_eq!(told.count("GET", "/pkg", 301), usize::from(description != "pkg"), "{told:?}");
        assert_eq!(told.count("GET", "/tarballs/pkg-1.0.0.tgz", 200), 1, "{told:?}");
    }
}

#[test]
#[ignore = "needs npm"]
fn npm_reports_a_missing_package() {
    let (here, site) = (npm_home(), Site::start());
    let output = npm(&site, &here, "pkg").output().expect("npm runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("E404"), "{}\n{stderr}", output.status);
    let told = site.ended();
    assert_eq!(told.count("GET", "/pkg", 404), 1, "{told:?}");
}

/// The crates of the registry, each with its place in the index.
const CRATES: [(&str, &str); 6] = [
    ("a", "1/a"),
    ("ab", "2/ab"),
    ("abc", "3/a/abc"),
    ("abcd", "ab/cd/abcd"),
    ("with-dash", "wi/th/with-dash"),
    ("with_line", "wi/th/with_line"),
];

#[test]
#[ignore = "needs cargo"]
fn cargo_builds_from_a_sparse_registry() {
    let (here, site) = (Folder::new(), Site::start());
    sparse_registry(&site);
    cargo_project(&here, &site);
    let expected: String = CRATES.iter().map(|(name, _)| format!("this is {name}\n")).collect();
    assert_eq!(output(&mut cargo(&here, &["run", "-q"])), expected);
    let told = site.ended();
    assert_eq!(told.count("GET", "/index/config.json", 200), 1, "{told:?}");
    assert_eq!(told.count("GET", ".crate", 200), CRATES.len(), "{told:?}");
}

#[test]
#[ignore = "needs cargo"]
fn cargo_keeps_an_unchanged_index() {
    let (here, site) = (Folder::new(), Site::start());
    sparse_registry(&site);
    cargo_project(&here, &site);
    output(&mut cargo(&here, &["fetch"]));
    output(&mut cargo(&here, &["update"]));
    let told = site.ended();
    for (name, place) in CRATES {
        assert_eq!(told.count("GET", &format!("/index/{place}"), 200), 1, "{name}: {told:?}");
        assert_eq!(told.count("GET", &format!("/index/{place}"), 304), 1, "{name}: {told:?}");
    }
}

/// Makes a repository, and a home for an apt whose settings lead nowhere else and that has read its index.
fn debian() -> (Folder, Site) {
    let (here, site) = (Folder::new().dir("state/lists/partial").dir("cache/archives/partial"), Site::start());
    let here = here.dir("etc/apt.conf.d").dir("etc/preferences.d").file("state/status", "");
    debian_repository(&site);
    here.write("etc/sources.list", format!("deb [trusted=yes] {} ./\n", site.url("/debian")));
    let settings = [
        ("Dir", text(here.path())),
        ("Dir::State", "state"),
        ("Dir::State::status", "status"),
        ("Dir::Cache", "cache"),
        ("Dir::Etc", "etc"),
        ("APT::Sandbox::User", ""),
        ("Acquire::Languages", "none"),
        ("Acquire::Retries", "0"),
        ("Acquire::http::Proxy", "false"),
        ("Acquire::http::Pipeline-Depth", "10"),
    ];
    here.write("apt.conf", settings.map(|(name, value)| format!("{name} \"{value}\";\n")).concat());
    apt(&here, &["update"]);
    (here, site)
}

/// Runs apt-get in its home; returns all that it said.
#[track_caller]
fn apt(here: &Folder, args: &[&str]) -> String {
    output(program("apt-get", here).env("APT_CONFIG", here.at("apt.conf")).args(args))
}

/// Fills `debian` with packages, their index and the release that names it.
fn debian_repository(site: &Site) {
    let here = Folder::new();
    let mut index = String::new();
    for n in 0..PACKAGES {
        let name = debian_name(n);
        let about = "Version: 1.0\nArchitecture: all\nMaintainer: Tester <tester@localhost>\nDescription: a test\n";
        let control = format!("Package: {name}\n{about}");
        here.write(&format!("{name}/DEBIAN/control"), &control);
        here.write(&format!("{name}/usr/share/{name}"), bytes(n * 1000));
        let file = site.place(&format!("debian/{name}_1.0_all.deb"));
        output(program("dpkg-deb", &here).args(["--root-owner-group", "-Znone", "--build", &name, text(&file)]));
        let size = fs::metadata(&file).expect("the package was built").len();
        let sha256 = sum("sha256sum", &file);
        index += &format!("{control}Filename: ./{name}_1.0_all.deb\nSize: {size}\nSHA256: {sha256}\n\n");
    }
    site.root.write("debian/Packages", index);
    output(program("gzip", &here).args(["-nk", text(&site.root.at("debian/Packages"))]));
    let indexes = ["Packages", "Packages.gz"].map(|name| {
        let file = site.root.at("debian").join(name);
        let size = fs::metadata(&file).expect("the index was written").len();
        format!(" {} {size} {name}\n", sum("sha256sum", &file))
    });
    site.root.write("debian/Release", format!("Suite: test\nArchitectures: all\nSHA256:\n{}", indexes.concat()));
    site.root.touch("debian/Release", 3600);
}

fn debian_name(n: usize) -> String {
    format!("serve-test-{n:02}")
}

const WHEEL: &str = "tiny_wheel-1.0-py3-none-any.whl";

/// Makes an index with a wheel, whose larger part is data that nobody needs for knowing it; returns where the wheel is.
fn simple_index(site: &Site) -> PathBuf {
    const BUILD: &str = "
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], 'w') as wheel:
    wheel.writestr('tiny_wheel.py', open(sys.argv[2], 'rb').read())
    info = 'tiny_wheel-1.0.dist-info/'
    wheel.writestr(info + 'METADATA', 'Metadata-Version: 2.1\\nName: tiny-wheel\\nVersion: 1.0\\n')
    wheel.writestr(info + 'WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr(info + 'RECORD', '')
";
    let here = Folder::new().file("data", bytes(300_000));
    site.root.write("simple/index.html", "<!DOCTYPE html><a href='tiny-wheel/'>tiny-wheel</a>");
    let wheel = site.place(&format!("simple/tiny-wheel/{WHEEL}"));
    output(program("python3", &here).args(["-c", BUILD, text(&wheel), "data"]));
    let link = format!("<!DOCTYPE html><a href='{WHEEL}#sha256={}'>{WHEEL}</a>", sum("sha256sum", &wheel));
    site.root.write("simple/tiny-wheel/index.html", link);
    wheel
}

/// Lets pip download the wheel to `saved`; returns what it said.
#[track_caller]
fn pip(site: &Site, here: &Folder, args: &[&str]) -> String {
    let mut pip = program("python3", here);
    pip.env("PIP_CONFIG_FILE", "/dev/null").args(["-m", "pip", "--isolated", "download", "--no-cache-dir"]);
    pip.args(["--disable-pip-version-check", "--retries", "0", "--trusted-host", "127.0.0.1", "--dest", "saved"]);
    output(pip.args(["--index-url", &site.url("/simple/")]).args(args).arg("tiny-wheel"))
}

/// A project that needs nothing yet.
fn npm_home() -> Folder {
    Folder::new().file("package.json", r#"{ "name": "project", "version": "1.0.0", "private": true }"#)
}

/// Packs a package whose code is some bytes; returns where the tarball is.
fn npm_tarball(site: &Site, name: &str) -> PathBuf {
    let here = Folder::new()
        .file("package/package.json", r#"{ "name": "pkg", "version": "1.0.0", "main": "index.js" }"#)
        .file("package/index.js", bytes(100_000));
    let tarball = site.place(name);
    output(program("tar", &here).args(["-czf", text(&tarball), "package"]));
    tarball
}

fn npm(site: &Site, here: &Folder, what: &str) -> Command {
    let mut npm = program("npm", here);
    npm.env("npm_config_globalconfig", here.at("npmrc")).env("npm_config_cache", here.at("cache"));
    npm.env("npm_config_prefix", here.at("prefix")).args(["install", what, "--registry", &site.url("/")]);
    npm.args(["--ignore-scripts", "--no-audit", "--no-fund", "--offline=false", "--fetch-retries=0"]);
    npm.arg("--update-notifier=false");
    npm
}

#[track_caller]
fn npm_installs(site: &Site, here: &Folder, what: &str) {
    let said = output(&mut npm(site, here, what));
    let installed = fs::read(here.at("node_modules/pkg/index.js")).expect("the package is installed");
    assert!(installed == bytes(100_000), "other bytes were installed\n{said}");
}

/// Fills `index` and `crates` with crates that say their names.
fn sparse_registry(site: &Site) {
    let here = Folder::new();
    site.root.write("index/config.json", json!({ "dl": site.url("/crates/{crate}-{version}.crate") }).to_string());
    for (name, place) in CRATES {
        let source = format!("{name}-1.0.0");
        here.write(&format!("{source}/Cargo.toml"), manifest(name, ""));
        here.write(&format!("{source}/src/lib.rs"), format!("pub const NAME: &str = \"{name}\";\n"));
        let file = site.place(&format!("crates/{source}.crate"));
        output(program("tar", &here).args(["-czf", text(&file), &source]));
        let cksum = sum("sha256sum", &file);
        let line =
            json!({ "name": name, "vers": "1.0.0", "deps": [], "features": {}, "cksum": cksum, "yanked": false });
        site.root.write(&format!("index/{place}"), format!("{line}\n"));
        site.root.touch(&format!("index/{place}"), 3600);
    }
}

/// Makes a program that prints the name of every crate.
fn cargo_project(here: &Folder, site: &Site) {
    let registry = format!("[registries.local]\nindex = \"sparse+{}\"\n", site.url("/index/"));
    here.write(".cargo/config.toml", registry);
    let needed = |(name, _)| format!("{name} = {{ version = \"1\", registry = \"local\" }}\n");
    here.write("Cargo.toml", manifest("project", &CRATES.map(needed).concat()));
    let print =
        |(name, _): (&str, &str)| format!("    println!(\"this is {{}}\", {}::NAME);\n", name.replace('-', "_"));
    here.write("src/main.rs", format!("fn main() {{\n{}}}\n", CRATES.map(print).concat()));
}

fn manifest(name: &str, dependencies: &str) -> String {
    format!("[package]\nname = \"{name}\"\nversion = \"1.0.0\"\nedition = \"2021\"\n\n[dependencies]\n{dependencies}")
}

fn cargo(here: &Folder, args: &[&str]) -> Command {
    let mut cargo = program("cargo", here);
    cargo.env("CARGO_HOME", here.at("home")).env("CARGO_TARGET_DIR", here.at("target")).env("CARGO_NET_RETRY", "0");
    // The toolchains stay where the user has them.
    let toolchains = env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let toolchains = toolchains.or_else(|| Some(env::home_dir()?.join(".rustup")));
    cargo.envs(toolchains.map(|dir| ("RUSTUP_HOME", dir))).args(args);
    cargo
}

/// Bytes of which no two parts are the same, and which do not compress.
fn bytes(length: usize) -> Vec<u8> {
    (1..).flat_map(|n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()).take(length).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the temporary path is text")
}

/// The checksum of a file, as a program of the coreutils says it.
fn sum(name: &str, file: &Path) -> String {
    let said = output(Command::new(name).arg(file));
    said.split(' ').next().expect("the sum comes first").to_owned()
}

#[track_caller]
fn same_file(copy: &Path, original: &Path, said: &str) {
    let saved = fs::read(copy).unwrap_or_else(|e| panic!("{}: {e}\n{said}", copy.display()));
    let same = saved == fs::read(original).expect("the original is there");
    assert!(same, "{} has other bytes\n{said}", copy.display());
}

/// A program that works in its home, has two minutes, and knows of the environment only where programs are.
fn program(name: &str, home: &Folder) -> Command {
    let mut command = Command::new("timeout");
    command.args(["120", name]).current_dir(home.path()).stdin(Stdio::null());
    command.env_clear().env("HOME", home.path()).env("LC_ALL", "C.UTF-8");
    for kept in ["PATH", "RUSTUP_TOOLCHAIN"] {
        command.envs(env::var_os(kept).map(|value| (kept, value)));
    }
    command
}

/// Runs the program; returns all that it wrote.
#[track_caller]
fn output(command: &mut Command) -> String {
    let output = command.output().expect("the program runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed: {}\n{stdout}\n{stderr}", output.status);
    format!("{stdout}{stderr}")
}
