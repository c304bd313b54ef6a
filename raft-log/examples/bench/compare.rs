//! The append path against a yardstick: a program that shows what a replicated log can reach on this machine at best.
//!
//! Each load is run by both, one after the other, several times, each in a process and on files of its own; medians count,
//! because a shared disk changes from minute to minute. The yardstick is called as
//! `PROGRAM raft --conc N --size BYTES --secs S --dir FOLDER --port P` and prints a line that begins with `RESULT` and
//! holds `msg/s=`, `MB/s=` and `p50=…us`. Its path is in the environment variable `CEILING`; without one, this log alone
//! is measured.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::arguments::Arguments;

/// One load, and what is wanted of it.
struct Load {
    in_flight: usize,
    size: usize,
    wanted: Wanted,
}

enum Wanted {
    /// At least this part of the yardstick's rate.
    Rate(f64),
    /// At most this many times its median latency.
    Latency(f64),
}

const LOADS: [Load; 5] = [
    Load { in_flight: 256, size: 1 << 10, wanted: Wanted::Rate(0.7) },
    Load { in_flight: 1024, size: 1 << 10, wanted: Wanted::Rate(0.7) },
    Load { in_flight: 8, size: 64 << 10, wanted: Wanted::Rate(0.7) },
    Load { in_flight: 8, size: 1 << 20, wanted: Wanted::Rate(0.7) },
    Load { in_flight: 1, size: 1 << 10, wanted: Wanted::Latency(1.3) },
];

/// What one run reached.
#[derive(Clone, Copy)]
struct Reached {
    rate: f64,
    p50_us: f64,
}

pub(crate) fn run(arguments: &Arguments) {
    let rounds: usize = arguments.get("rounds", 5);
    let secs: f64 = arguments.get("secs", 4.0);
    let only: Option<usize> = arguments.get("load", String::new()).parse().ok();
    let ceiling = std::env::var_os("CEILING").map(PathBuf::from);
    println!("medians of {rounds} runs of {secs} s; rates in entries a second, latencies in us");
    println!("in flight     size        rate       p50   yardstick's rate       p50      ratio   wanted");
    for (_, load) in LOADS.iter().enumerate().filter(|(at, _)| only.is_none_or(|only| only == *at)) {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(own(arguments, load, secs));
            theirs.extend(ceiling.as_deref().map(|program| yardstick(program, load, secs)));
        }
        print(load, median(&ours), (!theirs.is_empty()).then(|| median(&theirs)));
    }
}

fn print(load: &Load, ours: Reached, theirs: Option<Reached>) {
    let own = format!("{:9} {:8} {:11.0} {:9.0}", load.in_flight, load.size, ours.rate, ours.p50_us);
    let Some(theirs) = theirs else { return println!("{own}") };
    let (ratio, wanted, met) = match load.wanted {
        Wanted::Rate(part) => (ours.rate / theirs.rate, format!(">= {part}"), ours.rate >= part * theirs.rate),
        Wanted::Latency(times) => {
            (ours.p50_us / theirs.p50_us, format!("<= {times}"), ours.p50_us <= times * theirs.p50_us)
        }
    };
    let met = if met { "" } else { "   MISSED" };
    println!("{own} {:18.0} {:9.0} {ratio:10.2}   {wanted}{met}", theirs.rate, theirs.p50_us);
}

fn median(runs: &[Reached]) -> Reached {
    let middle = |mut numbers: Vec<f64>| {
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    Reached {
        rate: middle(runs.iter().map(|run| run.rate).collect()),
        p50_us: middle(runs.iter().map(|run| run.p50_us).collect()),
    }
}

fn own(arguments: &Arguments, load: &Load, secs: f64) -> Reached {
    let program = std::env::current_exe().expect("this program has a path");
    let segment_mb = arguments.get::<u64>("segment-mb", 1024).to_string();
    let text = output(
        Command::new(program)
            .args(["write", "--conc", &load.in_flight.to_string(), "--size", &load.size.to_string()])
            .args(["--secs", &secs.to_string(), "--segment-mb", &segment_mb, "--dir"]),
    );
    let json: serde_json::Value = serde_json::from_str(text.trim()).expect("one line of JSON");
    let number = |name: &str| json[name].as_f64().expect("a number");
    Reached { rate: number("rate"), p50_us: number("p50_us") }
}

fn yardstick(program: &Path, load: &Load, secs: f64) -> Reached {
    let text = output(
        Command::new(program)
            .args(["raft", "--conc", &load.in_flight.to_string(), "--size", &load.size.to_string()])
            .args(["--msg", &load.size.to_string(), "--secs", &secs.to_string()])
            .args(["--port", &free_ports().to_string(), "--dir"]),
    );
    let line = text.lines().find(|line| line.starts_with("RESULT")).expect("a result");
    let field = |name: &str| {
        let word = line.split(' ').find_map(|word| word.strip_prefix(name)).expect("a field");
        word.trim_end_matches("us").parse::<f64>().expect("a number")
    };
    Reached { rate: field("msg/s="), p50_us: field("p50=") }
}

/// The port before three free ones in a row, below those that the system hands out by itself.
fn free_ports() -> u16 {
    let free = |base: u16| (1..=3).all(|one| TcpListener::bind(("127.0.0.1", base + one)).is_ok());
    let first = 20_000 + u16::try_from(std::process::id() % 8_000).expect("below 8,000");
    (first..first + 4_000).step_by(4).find(|base| free(*base)).expect("three free ports in a row")
}

/// What a program prints that is called with a folder of its own as its last argument.
fn output(command: &mut Command) -> String {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = command.arg(folder.path().join("data")).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "it failed: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
