//! `tercetd dev` as a process: it comes up, says so, is taken up again, and leaves nothing behind.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its own functions too")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

const PATIENCE: Duration = Duration::from_secs(60);

/// A base from which all ports of a one-node group are free now. Tests that run at once pass different `turn`s.
fn free_base(turn: u16) -> u16 {
    (0..1000)
        .map(|step| turn * 5 + 20_000 + u16::try_from((std::process::id() * 37 + step * 41) % 12_000).unwrap())
        .find(|base| [0, 10, 20, 30, 31].iter().all(|offset| TcpListener::bind(("127.0.0.1", base + offset)).is_ok()))
        .expect("some ports are free")
}

struct Dev(Child);

impl Dev {
    fn start(dir: &Path, base: u16) -> Dev {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tercetd"));
        command.args(["dev", "--nodes", "1", "--port-base", &base.to_string(), "--data-dir"]).arg(dir);
        Dev(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Its first line.
    fn ready(&mut self) -> String {
        let mut line = String::new();
        BufReader::new(self.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
        line
    }

    fn signal(&self, signal: Signal) {
        kill_process(pid(self.0.id()), signal).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Only what a failed test left over; its children die with it.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pid(raw: u32) -> Pid {
    Pid::from_raw(raw.cast_signed()).unwrap()
}

fn pids(dir: &Path) -> Vec<u32> {
    let text = fs::read_to_string(dir.join("cluster.json")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&text).unwrap();
    let processes = description["processes"].as_array().unwrap();
    processes.iter().map(|process| u32::try_from(process["pid"].as_u64().unwrap()).unwrap()).collect()
}

/// Not there, or dead and waiting to be reaped by whoever inherited it.
fn is_dead(raw: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{raw}/stat")).unwrap_or_default();
    test_kill_process(pid(raw)).is_err() || stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn it_comes_up_is_taken_up_again_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let base = free_base(0);

    let mut first = Dev::start(dir.path(), base);
    let line = first.ready();
    assert!(line.contains(&format!("connect to 127.0.0.1:{base} ")), "{line}");
    let text = fs::read_to_string(dir.path().join("cluster.json")).unwrap();
    let description: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(description["endpoint"], format!("127.0.0.1:{base}"));
    let broker = &description["processes"][0];
    assert_eq!((broker["role"].as_str(), broker["id"].as_u64()), (Some("broker"), Some(1)));
    assert_eq!(broker["peer"], format!("127.0.0.1:{}", base + 10));
    assert_eq!(broker["http"], format!("127.0.0.1:{}", base + 20));
    assert_eq!(description["processes"][1]["role"], "nameserver");

    let mut second = Dev::start(dir.path(), base);
    assert_eq!(second.0.wait().unwrap().code(), Some(1), "one folder is run by one");

    let children = pids(dir.path());
    first.signal(Signal::KILL);
    until("the children of a killed parent are dead", || children.iter().all(|child| is_dead(*child)));

    let mut again = Dev::start(dir.path(), base);
    assert!(again.ready().starts_with("ready: "), "a group is taken up again without another bootstrap");
    let children = pids(dir.path());
    again.signal(Signal::TERM);
    assert_eq!(again.0.wait().unwrap().code(), Some(0));
    assert!(children.iter().all(|child| is_dead(*child)), "its children stopped before it");
    assert!(!dir.path().join("cluster.json").exists(), "nothing says that it still runs");
}

#[test]
fn a_port_in_use_ends_it_with_the_nodes_own_words() {
    let dir = tempfile::tempdir().unwrap();
    let base = free_base(1);
    let _taken = TcpListener::bind(("127.0.0.1", base + 10)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercetd"));
    command.args(["dev", "--nodes", "1", "--port-base", &base.to_string(), "--data-dir"]).arg(dir.path());
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    let wanted = format!("cannot listen on 127.0.0.1:{} (setting listen.peer)", base + 10);
    assert!(told.contains("node 1 ended with exit status: 1") && told.contains(&wanted), "{told}");
}
