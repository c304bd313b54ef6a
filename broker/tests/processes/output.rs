//! hazards 40: output never stops a process.

use std::{
    fs::File,
    io::{Write as _, pipe},
    process::{Command, Stdio},
};

use super::tercetd::{Tercetd, VERBS};

fn full() -> File {
    File::options().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_log_on_a_full_disk_is_lost_and_counted() {
    for verb in VERBS {
        let mut tercetd = Tercetd::start(verb, &[], full());
        assert!(tercetd.metric(&["tercet_log_lines_lost_total", "unwritable"]) > 0.0, "{verb:?}");
        assert_eq!(tercetd.stop(), Some(0), "{verb:?}");
    }
}

#[test]
fn a_log_whose_reader_is_gone_is_lost_and_counted() {
    for verb in VERBS {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut tercetd = Tercetd::start(verb, &[], writer);
        assert!(tercetd.metric(&["tercet_log_lines_lost_total", "unwritable"]) > 0.0, "{verb:?}");
        assert_eq!(tercetd.stop(), Some(0), "{verb:?}");
    }
}

#[test]
fn a_log_whose_reader_has_stopped_holds_up_neither_the_work_nor_the_end() {
    for verb in VERBS {
        let (_reader, mut writer) = pipe().unwrap();
        // As full as a pipe gets: already the first line waits for ever.
        writer.write_all(&vec![b'x'; 64 << 10]).unwrap();
        let mut tercetd = Tercetd::start(verb, &["logging.level=trace"], writer);
        assert!(tercetd.get("/metrics").is_some());
        assert_eq!(tercetd.stop(), Some(0), "{verb:?}");
    }
}

#[test]
fn results_that_nobody_takes_are_no_panic() {
    let sample = |stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tercetd"));
        command.args(["config", "sample"]).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output()
    };
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    let enough = sample(writer.into()).unwrap();
    assert_eq!((enough.status.code(), enough.stderr.len()), (Some(0), 0), "a reader that has enough");
    let unwritable = sample(full().into()).unwrap();
    let told = String::from_utf8(unwritable.stderr).unwrap();
    assert!(unwritable.status.code() == Some(1) && told.contains("cannot write to standard output"), "{told}");
}

#[test]
fn complaints_that_nobody_takes_are_no_panic() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tercetd"));
    let status = command.args(["broker", "--set", "a.b=c"]).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
