//! Benchmark of `serve` against other file servers, on one machine in one run.
//!
//! `cargo bench --bench server`, or with `-- --workloads small,close --rounds 5 --seconds 2`. It needs wrk and runs every
//! installed peer. All servers run at once and take turns, so background load affects them alike. Each figure is a median
//! over the rounds. Processor time is that of all the server's processes, so it does not depend on wrk's share of the
//! cores.

mod handshakes;
mod load;
mod servers;

use std::io::{self, Write};
use std::process::ExitCode;
use std::{env, fs};

use load::{Figures, WORKLOADS, Workload, median};
use servers::{BenchSite, PEERS, Peer, Server, TLS_PEERS};

/// The command-line options.
struct Options {
    workloads: Vec<&'static Workload>,
    rounds: usize,
    seconds: usize,
}

fn main() -> ExitCode {
    match options().and_then(|options| run(&options).map_err(|error| error.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn options() -> Result<Options, String> {
    let mut options = Options { workloads: WORKLOADS.iter().collect(), rounds: 5, seconds: 1 };
    // Cargo adds `--bench`.
    let mut args = env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(flag) = args.next() {
        let value = args.next().ok_or(format!("{flag} needs a value"))?;
        let number = || {
            value
                .parse()
                .ok()
                .filter(|&number| number > 0)
                .ok_or(format!("{flag}: expected a positive number, got {value:?}"))
        };
        match flag.as_str() {
            "--rounds" => options.rounds = number()?,
            "--seconds" => options.seconds = number()?,
            "--workloads" => options.workloads = value.split(',').map(workload).collect::<Result<_, _>>()?,
            _ => return Err(format!("expected --workloads, --rounds or --seconds, got {flag:?}")),
        }
    }
    Ok(options)
}

fn workload(name: &str) -> Result<&'static Workload, String> {
    let names = || WORKLOADS.iter().map(|workload| workload.name).collect::<Vec<_>>().join(", ");
    WORKLOADS
        .iter()
        .find(|workload| workload.name == name)
        .ok_or_else(|| format!("expected one of {}, got {name:?}", names()))
}

fn run(options: &Options) -> io::Result<()> {
    let site = BenchSite::create()?;
    let (installed, missing): (Vec<_>, Vec<_>) = PEERS.iter().partition(|peer| peer.is_installed());
    let start = |peers: Vec<&'static Peer>| -> io::Result<Vec<Server>> {
        peers.into_iter().map(|peer| Server::start(peer, &site)).collect()
    };
    let plain = start(installed)?;
    let over_tls = start(TLS_PEERS.iter().filter(|peer| peer.is_installed()).collect())?;
    let base = plain.iter().position(|server| server.name() == "nginx").unwrap_or(0);
    let mut out = io::stdout();
    describe(&mut out, options, missing.iter().map(|peer| peer.name))?;

    let base_name = plain[base].name();
    writeln!(
        out,
        "| workload | server | requests/s | x {base_name} | us/request | failed |\n|---|---|---|---|---|---|"
    )?;
    for workload in &options.workloads {
        // nginx is the second in both lists.
        let servers = if workload.is_tls { &over_tls } else { &plain };
        let base = base.min(servers.len() - 1);
        let mut rounds = vec![Vec::new(); servers.len()];
        // The first round is a warm-up.
        for round in 0..=options.rounds {
            for (server, figures) in servers.iter().zip(&mut rounds) {
                let measured = workload.run(server, &site, options.seconds)?;
                if round > 0 {
                    figures.push(measured);
                }
            }
        }
        for (server, figures) in servers.iter().zip(&rounds) {
            writeln!(out, "| {} | {} |{}", workload.name, server.name(), row(figures, &rounds[base]))?;
        }
    }
    writeln!(out, "\n| server | start to first response, ms | memory per idle connection, KiB |\n|---|---|---|")?;
    for server in &plain {
        let start = median((0..options.rounds).map(|_| server.time_to_start(&site)).collect::<io::Result<_>>()?);
        writeln!(out, "| {} | {:.1} | {:.1} |", server.name(), start * 1e3, server.idle_memory()? / 1024.0)?;
    }
    Ok(())
}

fn row(figures: &[Figures], base: &[Figures]) -> String {
    let ratios = figures.iter().zip(base).map(|(ours, theirs)| ours.per_second / theirs.per_second).collect();
    let middle = |which: fn(&Figures) -> f64| median(figures.iter().map(which).collect());
    let failed: u64 = figures.iter().map(|figures| figures.failed).sum();
    let (per_second, micros) = (middle(|figures| figures.per_second), middle(|figures| figures.cpu_micros));
    format!(" {per_second:.0} | {:.2} | {micros:.1} | {failed} |", median(ratios))
}

/// Describes the machine and the method, and lists the missing peers.
fn describe(out: &mut impl Write, options: &Options, missing: impl Iterator<Item = &'static str>) -> io::Result<()> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name\t: ")).unwrap_or("an unknown processor");
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism()?;
    writeln!(out, "{cores} x {model}, Linux {}", kernel.trim())?;
    writeln!(
        out,
        "medians of {} rounds of {} s; wrk with 1 thread; no access logs\n",
        options.rounds, options.seconds
    )?;
    for name in missing {
        writeln!(out, "not installed: {name}")?;
    }
    writeln!(out)
}
