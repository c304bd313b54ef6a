//! Outputs that take nothing, take it slowly, or take half of it.

use std::{
    fs::File,
    io::{Read as _, pipe},
    os::fd::OwnedFd,
};

use super::*;

/// Generous: only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

fn lines_to(output: impl Into<OwnedFd>) -> Lines {
    Lines::to("test-output", File::from(output.into())).unwrap()
}

#[test]
fn lines_arrive_whole_and_in_order() {
    let (mut reader, writer) = pipe().unwrap();
    let lines = lines_to(writer);
    for number in 0..100 {
        lines.say(format!("line {number}"));
    }
    assert!(lines.flush(PATIENCE));
    let mut bytes = vec![0; (0..100).map(|number| format!("line {number}\n").len()).sum()];
    reader.read_exact(&mut bytes).unwrap();
    let found: Vec<_> = std::str::from_utf8(&bytes).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(found, (0..100).map(|number| format!("line {number}")).collect::<Vec<_>>());
    assert_eq!(lines.lost(), Lost::default());
}

#[test]
fn a_reader_that_stands_still_costs_lines_and_nobodys_time() {
    let (mut reader, writer) = pipe().unwrap();
    let lines = lines_to(writer);
    // Far more than the pipe and the queue hold. Would one of these wait, this would never end.
    let line = vec![b'x'; 1 << 10];
    for _ in 0..8 << 10 {
        lines.push(line.clone());
    }
    let lost = lines.lost();
    assert!(lost.full > 4 << 10 && lost.failed == 0, "{lost:?}");
    assert!(!lines.flush(Duration::from_millis(20)), "the end of the process does not wait for it either");
    let (ended, end) = std::sync::mpsc::channel();
    let taken = (8 << 10) - lost.full;
    std::thread::spawn(move || {
        let mut bytes = vec![0; usize::try_from(taken).unwrap() << 10];
        reader.read_exact(&mut bytes).unwrap();
        ended.send(()).unwrap();
    });
    end.recv_timeout(PATIENCE).expect("what was not lost arrives once it is read");
}

#[test]
fn a_reader_that_is_gone_costs_lines_and_nothing_else() {
    let (reader, writer) = pipe().unwrap();
    let lines = lines_to(writer);
    drop(reader);
    lines.say("a");
    lines.say("b");
    assert!(lines.flush(PATIENCE));
    assert_eq!(lines.lost(), Lost { full: 0, failed: 2 });
}

#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    let lines = lines_to(File::options().write(true).open("/dev/full").unwrap());
    lines.say("a");
    assert!(lines.flush(PATIENCE));
    assert_eq!(lines.lost(), Lost { full: 0, failed: 1 });
}

#[test]
fn an_output_that_another_process_made_non_blocking_is_waited_for() {
    let (mut reader, writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    let lines = lines_to(writer);
    let line = vec![b'x'; 256 << 10];
    lines.push(line.clone());
    let mut bytes = vec![0; line.len()];
    reader.read_exact(&mut bytes).unwrap();
    assert!(lines.flush(PATIENCE));
    assert_eq!((bytes == line, lines.lost()), (true, Lost::default()));
}
