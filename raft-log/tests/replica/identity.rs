//! Peers know each other: hazards 2 (a wiped voter never returns under its id), 7 (the handshake) and 28 (addresses).

use crate::support::Group;
use crate::support::gate::Gate;
use crate::support::machine::Machine;
use raft_log::env::Env;
use raft_log::types::{GroupId, NodeId};
use raft_log::{BootstrapError, ChangeError, Health, IdentityError, OpenError, PeerSecret, Replica, Role};

// Hazards 2: the folder of a voter is wiped. Under its id it gets nothing, answers nothing, and says why.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_voter_is_refused_and_says_so() {
    let mut group = Group::three().await;
    group.store("before").await;
    let wiped = group.follower().await;
    group.kill(wiped).await;
    std::fs::remove_dir_all(&group.node(wiped).dir).unwrap();
    group.node(wiped).machine.inside().flushed = Default::default();
    group.open(wiped).await.unwrap();

    let told = |status: &raft_log::Status| matches!(&status.health, Health::WipedVoter { .. });
    let status = group.await_status(wiped, "noticing the wipe", told).await;
    assert_eq!((status.role, status.last, status.cluster), (Role::Unformed, None, None));

    // The other two go on; with one of them gone, the wiped one must not make a majority with the last.
    group.store("by two of three").await;
    let leader = group.leader().await;
    let other = group.ids().into_iter().find(|id| *id != wiped && *id != leader).unwrap();
    group.kill(leader).await;
    group.await_status(other, "losing its leader", |status| status.leader.is_none()).await;
    // Absence has no event: long enough for two campaigns.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    assert_eq!(group.replica(other).status().leader, None);
    assert_eq!(group.replica(wiped).status().last, None);
}

// Hazards 2: only the log is deleted and the identity is left; the node does not even start.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_whose_log_was_deleted_does_not_open() {
    let mut group = Group::three().await;
    let last = group.store("x").await.id.index;
    let id = group.follower().await;
    // The other two may have stored it alone: until then this folder may be a new one still.
    group.await_applied(id, last).await;
    group.kill(id).await;
    let dir = group.node(id).dir.clone();
    for name in std::fs::read_dir(&dir).unwrap() {
        let path = name.unwrap().path();
        if path.file_name().unwrap() == "identity" {
            continue;
        }
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    let refused = group.open(id).await.unwrap_err();
    assert!(matches!(refused, OpenError::Identity(IdentityError::LogLost { .. })), "{refused}");
}

// Hazards 7: openraft's requests name no target; behind a swapped address a node would answer for another.
#[tokio::test(flavor = "multi_thread")]
async fn swapped_addresses_are_refused_and_the_right_ones_heal_the_group() {
    let mut group = Group::three().await;
    let first = group.store("before").await.id.index;
    group.await_all_applied(first).await;
    let (one, other) = (NodeId(2), NodeId(3));
    group.kill(one).await;
    group.kill(other).await;
    let (listen_one, listen_other) = (group.node(one).listen, group.node(other).listen);
    group.node_mut(one).listen = listen_other;
    group.node_mut(other).listen = listen_one;
    group.open(one).await.unwrap();
    group.open(other).await.unwrap();

    // Each is reached at the other's address only, so nobody hears anybody: no leader serves.
    group.await_status(NodeId(1), "losing its majority", |status| status.role != Role::Leader || !status.serving).await;
    let tried = group.replica(NodeId(1)).propose("x".into(), 1).await;
    assert!(tried.is_err(), "{tried:?}");

    group.kill(one).await;
    group.kill(other).await;
    group.node_mut(one).listen = listen_one;
    group.node_mut(other).listen = listen_other;
    group.open(one).await.unwrap();
    group.open(other).await.unwrap();
    let last = group.store("after").await.id.index;
    group.await_all_applied(last).await;
    group.assert_equal_entries();
}

// Hazards 28: what a node listens on and what it advertises differ; peers use the latter.
#[tokio::test(flavor = "multi_thread")]
async fn peers_use_the_advertised_address() {
    let mut group = Group::closed(3, |_| {});
    let gate = Gate::before(group.node(NodeId(2)).listen).await;
    group.node_mut(NodeId(2)).advertised = gate.address.to_string();
    group.open_all().await;
    group.bootstrap().await;
    let last = group.store("through the gate").await.id.index;
    group.await_applied(NodeId(2), last).await;
    let member = group.replica(NodeId(1)).status().member(NodeId(2)).unwrap().clone();
    assert_eq!(member.addresses.peer, gate.address.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_another_node_or_group_is_refused_untouched() {
    let mut group = Group::three().await;
    group.store("x").await;
    let id = group.follower().await;
    group.kill(id).await;

    let mut options = group.options(id);
    options.node_id = NodeId(9);
    let refused = Replica::open(options, Env::real(), group.node(id).machine.reopened()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Identity(IdentityError::OtherNode { .. })), "{refused}");

    let mut options = group.options(id);
    options.group = GroupId(8);
    let refused = Replica::open(options, Env::real(), group.node(id).machine.reopened()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Identity(IdentityError::OtherGroup { .. })), "{refused}");

    group.open(id).await.unwrap();
    let last = group.store("y").await.id.index;
    group.await_applied(id, last).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_in_use_and_a_port_in_use_are_named() {
    let mut group = Group::three().await;
    let mut options = group.options(NodeId(1));
    options.peer_listen = raft_log::PeerListen::Bound(crate::support::listener());
    let refused = Replica::open(options, Env::real(), Machine::default()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Storage(raft_log::storage::OpenError::Locked { .. })), "{refused}");

    let mut options = group.options(NodeId(1));
    options.dir = group.folder.path().join("elsewhere");
    let port = group.node(NodeId(1)).listen.to_string();
    let refused = Replica::open(options, Env::real(), Machine::default()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Listen { .. }) && refused.to_string().contains(&port), "{refused}");
    assert!(!group.folder.path().join("elsewhere").exists(), "a refused opening makes no folder");
    group.store("untouched").await;
    group.kill(NodeId(1)).await;
}

// Hazards 7: who does not hold the cluster's secret is nobody, whatever he knows beside it.
#[tokio::test(flavor = "multi_thread")]
async fn nodes_without_the_secret_of_the_others_neither_form_nor_join_a_group() {
    let secret = |byte: char| Some(PeerSecret::parse(&byte.to_string().repeat(64)).unwrap());
    let mut group = Group::closed(3, move |options| {
        options.peer_secret = match options.node_id {
            NodeId(3) => secret('b'),
            _ => secret('a'),
        };
    });
    group.open_all().await;
    let refused = group.replica(NodeId(1)).bootstrap(group.voters()).await.unwrap_err();
    assert!(matches!(refused, BootstrapError::Secret { node: NodeId(3), .. }), "{refused}");
    let two = group.voters().into_iter().filter(|(id, _)| *id != NodeId(3)).collect();
    group.replica(NodeId(1)).bootstrap(two).await.unwrap();
    group.store("x").await;
    let (leader, address) = (group.leader().await, group.node(NodeId(3)).advertised.clone());
    let refused = group.replica(leader).add_learner(NodeId(3), address).await.unwrap_err();
    assert!(matches!(refused, ChangeError::Joiner(BootstrapError::Secret { .. })), "{refused}");

    // A secret that came from a file must be given again.
    let follower = group.ids().into_iter().find(|id| *id != leader && *id != NodeId(3)).unwrap();
    group.kill(follower).await;
    let mut options = group.options(follower);
    options.peer_secret = None;
    let refused = Replica::open(options, Env::real(), group.node(follower).machine.reopened()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Options(_)), "{refused}");
}
