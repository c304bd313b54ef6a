//! Signals do what those who send them expect.

use std::{
    io::{Read as _, pipe},
    process::Stdio,
};

use rustix::process::Signal;

use super::tercetd::{Tercetd, VERBS, Verb};

#[test]
fn signals_that_mean_nothing_end_nothing() {
    for verb in VERBS {
        let mut tercetd = Tercetd::start(verb, &[], Stdio::null());
        for signal in [Signal::HUP, Signal::USR1, Signal::USR2, Signal::XFSZ, Signal::PIPE] {
            tercetd.signal(signal);
        }
        assert!(tercetd.get("/healthz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")), "{verb:?}");
        assert_eq!(tercetd.stop(), Some(0), "{verb:?}");
    }
}

#[test]
fn sigint_stops_in_order_as_sigterm_does() {
    let mut tercetd = Tercetd::start(Verb::Broker, &[], Stdio::null());
    tercetd.signal(Signal::INT);
    assert_eq!(tercetd.ended().code(), Some(0));
}

#[test]
fn sigquit_ends_at_once() {
    let mut tercetd = Tercetd::start(Verb::Broker, &[], Stdio::null());
    tercetd.signal(Signal::QUIT);
    assert_eq!(tercetd.ended().code(), None, "ended by the signal");
}

#[test]
fn sighup_reads_the_certificate_again_and_says_so() {
    let (mut reader, writer) = pipe().unwrap();
    let mut tercetd = Tercetd::start(Verb::Broker, &[], writer);
    tercetd.signal(Signal::HUP);
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains("the certificate is read again") {
        let mut some = [0; 4096];
        let count = reader.read(&mut some).unwrap();
        assert!(count > 0, "it ended");
        told.extend_from_slice(&some[..count]);
    }
    assert_eq!(tercetd.stop(), Some(0));
}
