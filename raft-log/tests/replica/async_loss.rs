//! `async` durability: what a node that lost power may have forgotten must not decide elections (hazards 10).

use std::time::Duration;

use crate::support::Group;
use raft_log::env::Env;
use raft_log::env::sim::{Crash, SimEnv};
use raft_log::types::{LogIndex, NodeId};
use raft_log::{Durability, GateReason, Status};

/// Three nodes on simulated machines.
async fn three_async() -> (Group, [SimEnv; 3]) {
    let machines = [1, 2, 3].map(SimEnv::new);
    let envs = machines.each_ref().map(SimEnv::env);
    let group = Group::three_in(envs, |options| options.durability = Durability::Async).await;
    group.store("before").await;
    (group, machines)
}

/// The node's machine loses power.
async fn cut_power(group: &mut Group, machines: &[SimEnv], id: NodeId) {
    group.kill(id).await;
    machines[usize::try_from(id.0).expect("three nodes") - 1].disk.crash(Crash::LoseUnsynced);
}

fn in_doubt(status: &Status) -> bool {
    status.gate.contains(&GateReason::AsyncUnclean)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_lost_power_votes_again_once_it_holds_what_the_leader_committed() {
    let (mut group, machines) = three_async().await;
    let (leader, cut) = (group.leader().await, group.follower().await);
    cut_power(&mut group, &machines, cut).await;
    let last = group.store("while it is away").await.id.index;
    group.open(cut).await.unwrap();
    let early = group.replica(cut).status();
    assert!(in_doubt(&early) || early.last.is_some_and(|held| held.index >= last), "{early:?}");
    let settled = group.await_status(cut, "the end of the doubt", |status| !in_doubt(status)).await;
    assert!(settled.durable >= Some(last), "not before it held everything");

    // Its vote counts again: the other two cannot go on without it once one of them is gone.
    group.kill(leader).await;
    group.store("by the two that are left").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_leader_the_doubt_stays_until_the_operator_accepts_the_loss() {
    let (mut group, machines) = three_async().await;
    let (leader, cut) = (group.leader().await, group.follower().await);
    cut_power(&mut group, &machines, cut).await;
    group.store("acknowledged by the other two").await;
    group.kill(leader).await;
    group.open(cut).await.unwrap();
    // Absence has no event: long enough for several campaigns of the third node.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(in_doubt(&group.replica(cut).status()));
    assert!(group.ids().into_iter().filter(|id| *id != leader).all(|id| !group.replica(id).status().serving));

    group.kill(cut).await;
    let mut options = group.options(cut);
    options.accept_async_loss = true;
    let (env, machine) = (group.node(cut).env.clone(), group.node(cut).machine.reopened());
    let accepting = raft_log::Replica::open(options, env, machine.clone()).await.unwrap();
    group.node_mut(cut).machine = machine;
    group.node_mut(cut).replica = Some(accepting);
    group.store("on what is left").await;
}

/// How often the power of a busy follower is cut until it has lost something that it had acknowledged.
const CUTS_MAX: usize = 40;

// B5: the leader asked such a follower for ever for what follows the lost entries, as fast as it could connect. The power
// goes off under the running node: one that is closed in order writes what it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_lost_what_it_acknowledged_catches_up_under_the_same_leader() {
    let (mut group, machines) = three_async().await;
    let (leader, cut) = (group.leader().await, group.follower().await);
    let machine = &machines[usize::try_from(cut.0).expect("three nodes") - 1];
    let (mut has_lost, mut cuts) = (false, 0);
    while !has_lost {
        cuts += 1;
        assert!(cuts <= CUTS_MAX, "the power was cut {CUTS_MAX} times, and nothing was lost");
        group.kill(cut).await;
        group.node_mut(cut).env = Env { disk: machine.disk.session(), ..machine.env() };
        group.open(cut).await.unwrap();
        let last = group.store("before the load").await.id.index;
        group.await_applied(cut, last).await;
        let leading = group.replica(leader).clone();
        let load = tokio::spawn(async move { while leading.propose("load".into(), 1).await.is_ok() {} });
        group.await_applied(cut, LogIndex(last.0 + 20)).await;
        let status = group.replica(leader).status();
        machine.disk.crash(Crash::LoseUnsynced);
        load.abort();
        let acknowledged = status.member(cut).unwrap().matched;

        group.kill(cut).await;
        group.node_mut(cut).env = Env { disk: machine.disk.session(), ..machine.env() };
        group.open(cut).await.unwrap();
        has_lost = group.replica(cut).status().last.map(|last| last.index) < acknowledged;
        let last = group.store("after the cut").await.id.index;
        group.await_applied(cut, last).await;
        group.await_status(cut, "the end of the doubt", |status| !in_doubt(status)).await;
    }
    let status = group.replica(leader).status();
    assert!(status.serving && status.member(cut).unwrap().voter, "{status:?}");
    group.assert_equal_entries();
}

// A process that dies takes nothing with it, and a machine that stops in order has written everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_and_a_clean_stop_leave_no_doubt() {
    let (mut group, machines) = three_async().await;
    let id = group.follower().await;
    group.kill(id).await;
    group.open(id).await.unwrap();
    assert!(!in_doubt(&group.replica(id).status()));
    group.shut_down(id).await;
    machines[usize::try_from(id.0).expect("three nodes") - 1].disk.crash(Crash::LoseUnsynced);
    group.open(id).await.unwrap();
    assert!(!in_doubt(&group.replica(id).status()));
}
