//! The examples for deployment: each is what its own program takes, and asks of the server what that can do.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::admin::admin_of;
use crate::support::{Folder, Server, run, serve};

/// Where the examples are.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deploy").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(file(name)).expect("the example is there")
}

/// The words of a text that begin so, as far as they are made of letters and hyphens or underscores.
fn words(text: &str, start: &str) -> HashSet<String> {
    let ends = |c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let found = text.match_indices(start).map(|(at, _)| {
        let word = &text[at..];
        word[..word.find(ends).unwrap_or(word.len())].to_owned()
    });
    found.filter(|word| word.len() > start.len()).collect()
}

#[track_caller]
fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{command:?}\n{output:?}");
    output
}

#[test]
fn examples_use_existing_flags_and_variables() {
    let help = run(&["--help"], &[]).stdout;
    let known = |start| words(&help, start);
    let (flags, variables) = (known("--"), known("SERVE_"));
    let (haproxy, service, kubernetes) = (text("haproxy.cfg"), text("serve.service"), text("kubernetes.yaml"));
    let commands = [&haproxy, &service].map(|text| text.lines().filter(|line| line.contains("serve --")));
    let commands: String = commands.into_iter().flatten().chain(kubernetes.lines()).collect::<Vec<_>>().join("\n");
    // Those of other programs.
    let used: HashSet<_> = words(&commands, "--").into_iter().filter(|flag| flag != "---").collect();
    assert!(used.len() >= 6, "{used:?}");
    assert!(used.is_subset(&flags), "{:?} do not exist", used.difference(&flags));
    let used = words(&text("Dockerfile"), "SERVE_");
    assert!(used.len() >= 3, "{used:?}");
    assert!(used.is_subset(&variables), "{:?} do not exist", used.difference(&variables));
}

/// Starts the server with these arguments of an example, on a folder and ports of the test.
fn start(args: &[&str]) -> Server {
    let folder = Folder::new().file("index.html", "hello");
    let mut starter = serve(&folder).args(&["--admin", "127.0.0.1:0"]);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match *arg {
            "--root" | "--admin" | "--port" => drop(args.next()),
            arg => starter = starter.arg(arg),
        }
    }
    let server = starter.start();
    server.get("/").status(200).body("hello");
    server
}

#[test]
fn service_command_starts_a_server() {
    let service = text("serve.service");
    let command = service.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/serve ")).expect("it is");
    start(&command.split(' ').collect::<Vec<_>>());
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_accepts_the_units() {
    // It looks for the program too.
    let folder = Folder::new();
    let units = ["serve.service", "serve.socket"].map(|unit| {
        folder.write(unit, text(unit).replace("/usr/local/bin/serve", env!("CARGO_BIN_EXE_serve")));
        folder.at(unit)
    });
    let output = succeeds(Command::new("systemd-analyze").arg("verify").args(&units));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let mut security = Command::new("systemd-analyze");
    succeeds(security.args(["security", "--offline=yes", "--threshold=20"]).arg(&units[0]));
}

#[test]
#[ignore = "needs haproxy"]
fn haproxy_accepts_its_configuration() {
    succeeds(Command::new("haproxy").args(["-c", "-f"]).arg(file("haproxy.cfg")));
}

#[test]
#[ignore = "needs bash"]
fn container_is_healthy_while_the_server_responds() {
    let dockerfile = text("Dockerfile");
    for line in dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with('-')) {
        let mut words: Vec<_> = line.split(' ').collect();
        words.pop();
        words.iter().for_each(|name| assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(), "{name}"));
    }
    let check = dockerfile.lines().find_map(|line| line.trim().strip_prefix("CMD ")).expect("it has a health check");
    let mut server = start(&[]);
    let check = check.replace("127.0.0.1/9100", &format!("127.0.0.1/{}", admin_of(&server).port()));
    let words: Vec<String> = serde_json::from_str(&check).expect("a list of words");
    let check = || Command::new(&words[0]).args(&words[1..]).output().expect("bash runs").status.success();
    assert!(check());
    server.signal("TERM");
    server.ended();
    assert!(!check());
}

#[test]
#[ignore = "needs python3 with yaml"]
fn kubernetes_manifests_are_consistent() {
    let script = "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let output = succeeds(Command::new("/usr/bin/python3").args(["-c", script]).arg(file("kubernetes.yaml")));
    let objects: Vec<Value> = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let of_kind = |kind: &str| objects.iter().find(|object| object["kind"] == kind).expect("it is there");
    let deployment = of_kind("Deployment");
    let pod = &deployment["spec"]["template"];
    let container = &pod["spec"]["containers"][0];

    for labels in
        [&of_kind("Service")["spec"]["selector"], &of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    {
        assert_eq!(*labels, pod["metadata"]["labels"]);
    }
    assert_eq!(deployment["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"]);
    assert_eq!(of_kind("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"], deployment["metadata"]["name"]);
    let ports: Vec<&Value> = container["ports"].as_array().expect("a list").iter().map(|port| &port["name"]).collect();
    assert!(ports.contains(&&of_kind("Service")["spec"]["ports"][0]["targetPort"]));
    for (probe, how) in [("startupProbe", "httpGet"), ("readinessProbe", "httpGet"), ("livenessProbe", "tcpSocket")] {
        assert!(ports.contains(&&container[probe][how]["port"]), "{probe}");
    }

    let args: Vec<&str> = container["args"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    let seconds = |flag: &str| -> u64 {
        let value = args.iter().find_map(|arg| arg.strip_prefix(flag)).expect("it is given");
        value.parse().expect("seconds")
    };
    let to_end = pod["spec"]["terminationGracePeriodSeconds"].as_u64().expect("seconds");
    assert!(to_end > seconds("--drain-delay=") + seconds("--grace="));
    start(&args);
}
