//! Callers of the peer port that never say who they are (hazards 39).

use std::time::{Duration, Instant};

use crate::support::{Group, PATIENCE};
use raft_log::types::NodeId;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

/// How many may be about to introduce themselves at once, and how long each may take.
const PLACES: usize = 128;
const DEADLINE: Duration = Duration::from_secs(2);

async fn closed(stream: &mut TcpStream) {
    // Reset or ended, it is closed.
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    drop(ended.expect("the connection is closed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_makes_way_for_others_and_ends_by_a_deadline() {
    let mut group = Group::closed(1, |_| {});
    group.open_all().await;
    let port = group.node(NodeId(1)).listen;
    let begun = Instant::now();
    let mut silent = Vec::new();
    for _ in 0..=PLACES {
        silent.push(TcpStream::connect(port).await.unwrap());
    }
    closed(&mut silent[0]).await;
    assert!(begun.elapsed() < DEADLINE, "the first makes way for the last: {:?}", begun.elapsed());
    for stream in &mut silent[1..] {
        closed(stream).await;
    }
    assert!(begun.elapsed() >= DEADLINE, "the others had their time");
}
