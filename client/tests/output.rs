//! The command line with outputs that take nothing (hazards 40): it ends, says why, and tells no lies.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fake;

use std::{
    fs::File,
    io::{Write as _, pipe},
    process::{Command, Output, Stdio},
    time::Duration,
};

use fake::{Group, Step};

const PATIENCE: Duration = Duration::from_secs(60);

struct Asked {
    stdout: Stdio,
    stderr: Stdio,
    acks: &'static str,
    lines: usize,
    closes_stdin: bool,
}

impl Default for Asked {
    fn default() -> Asked {
        Asked { stdout: Stdio::piped(), stderr: Stdio::piped(), acks: "/dev/null", lines: 5000, closes_stdin: true }
    }
}

/// Publishes lines; panics if that does not end.
async fn publish(group: &Group, asked: Asked) -> Output {
    let Asked { stdout, stderr, acks, lines, closes_stdin } = asked;
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercet"));
    command.args(["--endpoint", &group.addresses(), "publish", "--topic", "t", "--acks", acks]);
    let mut child = command.stdin(Stdio::piped()).stdout(stdout).stderr(stderr).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let pid = child.id();
    let feeding = std::thread::spawn(move || {
        for line in 0..lines {
            // It may have enough before all is said.
            if writeln!(stdin, "line {line}").is_err() {
                break;
            }
        }
        (!closes_stdin).then_some(stdin)
    });
    let waiting = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let Ok(output) = tokio::time::timeout(PATIENCE, waiting).await else {
        let _ = Command::new("kill").args(["-9", &pid.to_string()]).status();
        panic!("it does not end");
    };
    drop(feeding.join());
    output.unwrap()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acks_file_on_a_full_disk_stops_publishing_and_is_told() {
    let group = Group::start(1, []).await;
    let output = publish(&group, Asked { acks: "/dev/full", ..Asked::default() }).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(told.contains("cannot write the acks file /dev/full") && told.contains("stored messages"), "{told}");
    let summary = String::from_utf8(output.stdout).unwrap();
    let stored = group.lock().kept.len();
    assert!(summary.starts_with(&format!("{stored} stored, 0 refused, 0 unknown")), "{stored}: {summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_also_while_it_waits_for_more_input() {
    let group = Group::start(1, []).await;
    let asked = Asked { acks: "/dev/full", lines: 1, closes_stdin: false, ..Asked::default() };
    assert_eq!(publish(&group, asked).await.status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_that_nobody_takes_hold_up_nothing() {
    let refusals = || [Step::Code(40_003); 100];
    let (_reader, stuck) = pipe().unwrap();
    // As full as it gets, so that the first notice would wait for ever.
    fill(&stuck);
    for stderr in [full(), stuck.into()] {
        let group = Group::start(1, refusals()).await;
        let output = publish(&group, Asked { stderr, ..Asked::default() }).await;
        assert_eq!(output.status.code(), Some(1), "refused messages are still told by the code");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_results_that_has_enough_is_no_failure() {
    let group = Group::start(1, []).await;
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let output = publish(&group, Asked { stdout: writer.into(), ..Asked::default() }).await;
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn results_on_a_full_disk_are_a_failure() {
    let group = Group::start(1, []).await;
    let output = publish(&group, Asked { stdout: full(), ..Asked::default() }).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && told.contains("cannot write to standard output"), "{told}");
}

/// Fills a pipe to its last byte; a pipe holds 64 KiB.
fn fill(pipe: &std::io::PipeWriter) {
    let mut pipe = pipe.try_clone().unwrap();
    pipe.write_all(&vec![b'x'; 64 << 10]).unwrap();
}
