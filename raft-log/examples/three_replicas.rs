//! Three replicas in one process: form a group, append, kill the leader, go on, read everything back.
//!
//! `cargo run -p raft-log --example three_replicas`

use std::collections::BTreeMap;
use std::error::Error;
use std::net::TcpListener;
use std::path::Path;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use raft_log::env::Env;
use raft_log::types::{GroupId, LogIndex, NodeId};
use raft_log::{
    AppliedPoint, ApplyEntry, ApplyError, ApplyKind, FinishCheckpoint, FinishFlush, FlushNeed, NodeAddresses,
    PeerListen, RecordKind, Replica, ReplicaOptions, StateMachine,
};

/// A state machine that counts the commands. It keeps nothing on disk, so a restarted node replays its log.
#[derive(Default)]
struct Counter {
    applied: Option<AppliedPoint>,
    commands: u64,
    needed_from: LogIndex,
}

/// What a command begins with that lets go of old entries; retention proposes it.
const TRIM: &str = "trim to ";

impl StateMachine for Counter {
    fn applied(&self) -> Option<AppliedPoint> {
        self.applied.clone()
    }

    fn apply(&mut self, entries: Vec<ApplyEntry>) -> Result<Vec<Bytes>, ApplyError> {
        let mut responses = Vec::with_capacity(entries.len());
        for entry in entries {
            let mut membership = self.applied.take().and_then(|point| point.membership);
            let mut response = Bytes::new();
            match entry.kind {
                ApplyKind::Blank => {}
                ApplyKind::Membership(members) => membership = Some((entry.id, members.encode())),
                ApplyKind::Command(payload) if payload.starts_with(TRIM.as_bytes()) => {
                    let to = str::from_utf8(&payload[TRIM.len()..]).ok().and_then(|to| to.parse().ok());
                    self.needed_from = self.needed_from.max(LogIndex(to.unwrap_or(0)));
                }
                ApplyKind::Command(_) => {
                    self.commands += 1;
                    response = Bytes::from(format!("command number {}", self.commands));
                }
            }
            self.applied = Some(AppliedPoint { id: entry.id, membership });
            responses.push(response);
        }
        Ok(responses)
    }

    fn flush_need(&self) -> FlushNeed {
        FlushNeed::None
    }

    fn begin_flush(&mut self) -> Result<FinishFlush, ApplyError> {
        Ok(Box::new(|| Ok(())))
    }

    fn reset(&mut self) -> Result<(), ApplyError> {
        *self = Counter::default();
        Ok(())
    }

    fn needed_from(&self) -> LogIndex {
        self.needed_from
    }

    fn trim_command(&self, to: LogIndex) -> Option<Bytes> {
        Some(Bytes::from(format!("{TRIM}{to}")))
    }

    fn begin_checkpoint(&mut self) -> Result<FinishCheckpoint, ApplyError> {
        let mut file = BytesMut::new();
        file.put_u64_le(self.commands);
        file.put_u64_le(self.needed_from.0);
        self.applied.as_ref().expect("something was applied").encode_into(&mut file);
        Ok(Box::new(move |dir| {
            std::fs::write(dir.join("counter"), &file).map_err(|error| ApplyError::new(error.to_string()))
        }))
    }

    fn restore(&mut self, dir: &Path) -> Result<(), ApplyError> {
        let file = std::fs::read(dir.join("counter")).map_err(|error| ApplyError::new(error.to_string()))?;
        let cut = |_| ApplyError::new("the counter's file is cut");
        let mut input = &file[..];
        let commands = input.try_get_u64_le().map_err(cut)?;
        let needed_from = LogIndex(input.try_get_u64_le().map_err(cut)?);
        let applied = AppliedPoint::decode_from(&mut input);
        *self = Counter { applied, commands, needed_from };
        Ok(())
    }
}

async fn open(dir: &Path, id: NodeId, listener: TcpListener) -> Result<Replica, Box<dyn Error>> {
    let peer = listener.local_addr()?.to_string();
    let advertised = NodeAddresses { peer, ..NodeAddresses::default() };
    let listen = PeerListen::Bound(listener);
    let mut options = ReplicaOptions::new(id, GroupId(1), dir.join(format!("node-{id}")), listen, advertised);
    options.segment_bytes_max = 16 << 20;
    Ok(Replica::open(options, Env::real(), Counter::default()).await?)
}

/// Waits until one of them leads and has caught up with its own log.
async fn leader(group: &BTreeMap<NodeId, Replica>) -> Result<NodeId, Box<dyn Error>> {
    let watches = group.values().map(|replica| {
        let mut watch = replica.watch();
        Box::pin(async move { watch.wait_for(|status| status.serving).await.map(|status| status.node_id) })
    });
    Ok(futures::future::select_all(watches).await.0?)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut group = BTreeMap::new();
    let mut voters = Vec::new();
    for id in (1..=3).map(NodeId) {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        voters.push((id, listener.local_addr()?.to_string()));
        group.insert(id, open(dir.path(), id, listener).await?);
    }

    // Once in a group's life, on one node: the others are asked over their peer ports.
    let cluster = group[&NodeId(1)].bootstrap(voters).await?;
    let first = leader(&group).await?;
    println!("cluster {cluster}: node {first} leads");

    for word in ["one", "two", "three"] {
        let stored = group[&first].propose(Bytes::from(word), 1).await?;
        println!("{word:6} is entry {}: {}", stored.id, String::from_utf8_lossy(&stored.response));
    }

    // Dropping a replica without shutdown ends it as a crash would.
    let killed = group.remove(&first);
    tokio::task::spawn_blocking(move || drop(killed)).await?;
    let second = leader(&group).await?;
    println!("node {first} is gone: node {second} leads");
    let stored = group[&second].propose(Bytes::from("four"), 1).await?;
    println!("four   is entry {}: {}", stored.id, String::from_utf8_lossy(&stored.response));

    for record in group[&second].read(LogIndex(0), stored.id.index.next(), 1 << 20)? {
        let payload = match record.kind {
            RecordKind::Command => String::from_utf8_lossy(&record.payload).into_owned(),
            RecordKind::Blank => "(a leader's first entry)".to_owned(),
            RecordKind::Membership => "(the members)".to_owned(),
        };
        println!("{:>6} {:?} {payload}", record.id.to_string(), record.kind);
    }
    for replica in group.values() {
        replica.shutdown().await;
    }
    Ok(())
}
