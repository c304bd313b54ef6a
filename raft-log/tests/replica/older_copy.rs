//! A data folder that is an older copy of itself: a snapshot of the machine, a restored backup (hazards 34). It brings
//! everything back, the incarnation included, and has forgotten votes and entries.

use std::time::{Duration, Instant};

use crate::members::caught_up;
use crate::support::machine::State;
use crate::support::{Group, PATIENCE};
use raft_log::env::Env;
use raft_log::env::sim::{SimDisk, SimEnv};
use raft_log::types::{LogIndex, NodeId};
use raft_log::{ChangeError, GateReason, Health, Role, Status, TransferError};

/// Three nodes on simulated machines.
struct Machines {
    group: Group,
    machines: [SimEnv; 3],
}

/// What a snapshot of a machine holds: its disk, and what the state machine has persisted.
struct Snapshot(SimDisk, State);

impl Machines {
    async fn three() -> Machines {
        let machines = [1, 2, 3].map(SimEnv::new);
        let group = Group::three_in(machines.each_ref().map(SimEnv::env), |_| {}).await;
        let first = group.store("first").await.id.index;
        group.await_all_applied(first).await;
        Machines { group, machines }
    }

    fn machine(&self, id: NodeId) -> &SimEnv {
        &self.machines[usize::try_from(id.0).unwrap() - 1]
    }

    /// What a node remembers of the others' folders.
    fn sightings_of(&self, id: NodeId) -> Vec<u8> {
        self.machine(id).disk.content(&self.group.node(id).dir.join("sightings"))
    }

    fn snapshot(&self, id: NodeId) -> Snapshot {
        Snapshot(self.machine(id).disk.fork(), self.group.node(id).machine.inside().flushed.clone())
    }

    /// The machine goes down, and comes back as it was.
    async fn restore(&mut self, id: NodeId, Snapshot(disk, flushed): &Snapshot) {
        self.group.kill(id).await;
        self.machine(id).disk.restore(disk);
        self.group.node(id).machine.inside().flushed = flushed.clone();
        self.open(id).await;
    }

    async fn open(&mut self, id: NodeId) {
        // A process of its own: what the last one still does fails.
        let machine = self.machine(id);
        self.group.node_mut(id).env = Env { disk: machine.disk.session(), ..machine.env() };
        self.group.open(id).await.unwrap();
    }

    /// A leader and its two followers.
    async fn roles(&self) -> [NodeId; 3] {
        let leader = self.group.leader().await;
        let others: Vec<NodeId> = self.group.ids().into_iter().filter(|id| *id != leader).collect();
        [leader, others[0], others[1]]
    }

    async fn store_some(&self) -> LogIndex {
        for number in 0..5 {
            self.group.store(format!("message {number}")).await;
        }
        self.group.store("the last one").await.id.index
    }
}

fn is_told(status: &Status) -> bool {
    let told = matches!(&status.health, Health::WipedVoter { reason } if reason.contains("tercet cluster replace"));
    told && status.gate.contains(&GateReason::OlderCopy)
}

/// It is told what it is, loses its vote, catches up as a learner, and never gets the vote back.
async fn assert_is_a_learner_for_good(group: &Group, id: NodeId, last: LogIndex) {
    group.await_status(id, "being told", is_told).await;
    group.await_applied(id, last).await;
    let leader = group.leader().await;
    let without_vote = |status: &Status| status.member(id).is_some_and(|member| !member.voter);
    group.await_status(leader, "taking its vote", without_vote).await;
    let refused = group.replica(leader).transfer_leadership(Some(id)).await.unwrap_err();
    assert_eq!(refused, TransferError::NotAVoter(id));
    assert_eq!(group.replica(leader).promote(id).await.unwrap_err(), ChangeError::OlderCopy(id));
}

/// A follower that was put back to a snapshot of its running machine, once that is known and its vote is taken; and the last
/// entry.
async fn three_with_an_older_copy() -> (Machines, NodeId, LogIndex) {
    let mut three = Machines::three().await;
    let [_, old, _] = three.roles().await;
    let snapshot = three.snapshot(old);
    let last = three.store_some().await;
    three.group.await_applied(old, last).await;
    three.restore(old, &snapshot).await;
    assert_is_a_learner_for_good(&three.group, old, last).await;
    (three, old, last)
}

// A backup from before the last opening: whoever has seen that opening knows.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_loses_its_vote_and_follows() {
    let mut three = Machines::three().await;
    let [_, old, _] = three.roles().await;
    three.group.kill(old).await;
    let backup = three.snapshot(old);
    three.open(old).await;
    let last = three.store_some().await;
    three.group.await_applied(old, last).await;

    three.restore(old, &backup).await;
    assert_is_a_learner_for_good(&three.group, old, last).await;
    // What it was told it knows by itself after a restart.
    three.group.kill(old).await;
    three.open(old).await;
    assert!(three.group.replica(old).status().gate.contains(&GateReason::OlderCopy));
    three.group.await_status(old, "saying so by itself", is_told).await;
    let last = three.group.store("by the others").await.id.index;
    three.group.await_all_applied(last).await;
    three.group.assert_equal_entries();
}

// A snapshot of the running machine, after which nobody saw another opening: the leader knows what was confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_running_node_is_known_by_what_it_confirmed() {
    three_with_an_older_copy().await;
}

// Two of three stored it; one of them goes back in time, the other is down. The third must not lead with the vote of one
// that has forgotten.
#[tokio::test(flavor = "multi_thread")]
async fn the_vote_of_an_older_copy_elects_nobody() {
    let mut three = Machines::three().await;
    let [leader, old, behind] = three.roles().await;
    three.group.kill(old).await;
    let backup = three.snapshot(old);
    let seen_before = three.sightings_of(behind);
    three.open(old).await;
    let all = three.group.store("by all").await.id.index;
    three.group.await_all_applied(all).await;
    // Two followers: they meet without a word of it in any status.
    let deadline = Instant::now() + PATIENCE;
    while three.sightings_of(behind) == seen_before {
        assert!(Instant::now() < deadline, "node {behind} has not seen the new opening");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    three.group.kill(behind).await;
    let last = three.store_some().await;
    three.group.await_applied(old, last).await;
    three.group.kill(leader).await;
    three.restore(old, &backup).await;
    three.open(behind).await;

    three.group.await_status(old, "being told", is_told).await;
    // Absence has no event: long enough for several campaigns of either.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for id in [old, behind] {
        let status = three.group.replica(id).status();
        assert!(status.role != Role::Leader && !status.serving, "{status:?}");
    }
    three.open(leader).await;
    three.group.await_all_applied(last).await;
    assert_is_a_learner_for_good(&three.group, old, last).await;
}

// The operator's way out: a fresh node takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_copy_is_replaced() {
    let (mut three, old, last) = three_with_an_older_copy().await;
    let new = three.group.add_closed();
    three.group.open(new).await.unwrap();
    let leader = three.group.leader().await;
    let address = three.group.node(new).advertised.clone();
    three.group.replica(leader).add_learner(new, address).await.unwrap();
    three.group.await_applied(new, last).await;
    caught_up(&three.group, leader, new).await;
    three.group.replica(leader).swap(old, new).await.unwrap();
    let status = three.group.replica(leader).status();
    assert!(status.member(old).is_none() && status.member(new).is_some_and(|member| member.voter), "{status:?}");
}
