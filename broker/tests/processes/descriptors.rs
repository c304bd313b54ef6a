//! Few descriptors: bounds that fit into them, or a plain refusal.

use std::{io::Read as _, net::TcpStream, process::Stdio};

use super::tercetd::{Tercetd, Verb};

#[test]
fn too_few_descriptors_are_refused_with_what_to_do() {
    let mut tercetd = Tercetd::spawn(Verb::Broker, &[], Stdio::piped(), "ulimit -n 100;");
    assert_eq!(tercetd.ended().code(), Some(1));
    let mut told = String::new();
    tercetd.child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("may have 100 files open") && told.contains("ulimit -n"), "{told}");
}

#[test]
fn a_soft_limit_is_raised_as_far_as_it_goes() {
    let mut tercetd = Tercetd::spawn(Verb::Broker, &[], Stdio::null(), "ulimit -Sn 100;");
    tercetd.wait_until_alive();
    assert_eq!(tercetd.stop(), Some(0));
}

#[test]
fn more_connections_than_descriptors_leave_the_probes_their_port() {
    let mut tercetd = Tercetd::spawn(Verb::Broker, &[], Stdio::null(), "ulimit -n 200;");
    tercetd.wait_until_alive();
    let clients: Vec<_> = (0..300).filter_map(|_| TcpStream::connect(tercetd.grpc).ok()).collect();
    let strangers: Vec<_> = (0..300).filter_map(|_| TcpStream::connect(tercetd.http).ok()).collect();
    for _ in 0..20 {
        assert!(tercetd.get("/healthz").is_some_and(|answer| answer.starts_with("HTTP/1.1 200")));
    }
    assert!(tercetd.metric(&["tercet_connections{", "client"]) < 200.0);
    drop((clients, strangers));
    assert_eq!(tercetd.stop(), Some(0));
}
