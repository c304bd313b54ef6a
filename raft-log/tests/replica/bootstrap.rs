//! A group is formed once, by all of its voters (hazards 27).

use crate::support::Group;
use raft_log::types::NodeId;
use raft_log::{BootstrapError, PeerSecret, ReplicaOptions, Role};

async fn open_three() -> Group {
    let mut group = Group::closed(3, |_| {});
    group.open_all().await;
    group
}

#[tokio::test(flavor = "multi_thread")]
async fn all_voters_take_the_cluster_id_and_a_second_bootstrap_is_refused() {
    let group = open_three().await;
    assert!(group.ids().iter().all(|id| group.replica(*id).status().role == Role::Unformed));
    let cluster = group.replica(NodeId(1)).bootstrap(group.voters()).await.unwrap();
    for id in group.ids() {
        group.await_status(id, "joining the cluster", |status| status.cluster == Some(cluster)).await;
    }
    group.store("x").await;
    for id in group.ids() {
        let refused = group.replica(id).bootstrap(group.voters()).await.unwrap_err();
        assert!(matches!(refused, BootstrapError::NotEmpty { cluster: Some(c), .. } if c == cluster), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_refused_while_one_voter_is_unreachable_and_nothing_is_claimed() {
    let mut group = open_three().await;
    group.kill(NodeId(3)).await;
    let refused = group.replica(NodeId(1)).bootstrap(group.voters()).await.unwrap_err();
    assert!(matches!(refused, BootstrapError::Unreachable { node: NodeId(3), .. }), "{refused}");
    assert!([1, 2].iter().all(|id| group.replica(NodeId(*id)).status().cluster.is_none()));
    group.open(NodeId(3)).await.unwrap();
    group.bootstrap().await;
    group.store("x").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voter_of_another_cluster_is_not_taken_over() {
    let group = Group::three().await;
    group.store("x").await;
    let mut second = Group::closed(2, |_| {});
    second.open_all().await;
    // Node 3 of the first group is listed beside two empty nodes.
    let mut voters = second.voters();
    voters.push((NodeId(3), group.node(NodeId(3)).advertised.clone()));
    let refused = second.replica(NodeId(1)).bootstrap(voters).await.unwrap_err();
    // It belongs to a cluster, and says nothing to who does not hold that one's secret.
    assert!(matches!(refused, BootstrapError::Secret { node: NodeId(3), .. }), "{refused}");
    assert!(second.ids().iter().all(|id| second.replica(*id).status().cluster.is_none()));
}

// All hold the same secret, so nothing but its own answer tells that it is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_is_not_empty_is_named() {
    fn with_secret(options: &mut ReplicaOptions) {
        options.peer_secret = Some(PeerSecret::parse(&"a1".repeat(32)).unwrap());
    }
    let group = Group::three_with(with_secret).await;
    let last = group.store("x").await.id.index;
    group.await_all_applied(last).await;
    let formed = group.replica(NodeId(3)).status().cluster;
    let mut second = Group::closed(2, with_secret);
    second.open_all().await;
    let mut voters = second.voters();
    voters.push((NodeId(3), group.node(NodeId(3)).advertised.clone()));
    let refused = second.replica(NodeId(1)).bootstrap(voters).await.unwrap_err();
    assert!(matches!(refused, BootstrapError::NotEmpty { node: NodeId(3), cluster } if cluster == formed), "{refused}");
    assert!(second.ids().iter().all(|id| second.replica(*id).status().cluster.is_none()));
}

fn voters_of(group: &Group, ids: &[u64]) -> Vec<(NodeId, String)> {
    group.voters().into_iter().filter(|(id, _)| ids.contains(&id.0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bootstraps_at_once_make_one_history() {
    for _ in 0..5 {
        let group = open_three().await;
        let (one, two) = tokio::join!(
            group.replica(NodeId(1)).bootstrap(group.voters()),
            group.replica(NodeId(2)).bootstrap(group.voters()),
        );
        let formed: Vec<_> = [&one, &two].into_iter().filter_map(|result| result.as_ref().ok()).collect();
        assert!(!formed.is_empty() && formed.windows(2).all(|pair| pair[0] == pair[1]), "{one:?} {two:?}");
        let last = group.store("x").await.id.index;
        group.await_all_applied(last).await;
        group.assert_equal_entries();
        assert!(group.ids().iter().all(|id| group.replica(*id).status().cluster == Some(*formed[0])));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn impossible_lists_are_refused() {
    let group = open_three().await;
    let replica = group.replica(NodeId(1));
    let refused = |voters| async { replica.bootstrap(voters).await.unwrap_err() };
    assert!(matches!(refused(voters_of(&group, &[2, 3])).await, BootstrapError::Voters(_)));
    assert!(matches!(refused(vec![]).await, BootstrapError::Voters(_)));
    let mut doubled = group.voters();
    doubled.push(doubled[0].clone());
    assert!(matches!(refused(doubled).await, BootstrapError::Voters(_)));
    let mut swapped = group.voters();
    let address = swapped[1].1.clone();
    swapped[1].1 = std::mem::replace(&mut swapped[2].1, address);
    assert!(matches!(refused(swapped).await, BootstrapError::WrongPeer { .. }));
}

// Trials, "addresses and names": the group was formed for ever with an address at which nobody listened.
#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_is_not_where_it_advertises_is_named_and_nothing_is_claimed() {
    let mut group = Group::closed(3, |_| {});
    let right = group.node(NodeId(2)).advertised.clone();
    let voters = group.voters();
    group.node_mut(NodeId(2)).advertised = crate::support::listener().local_addr().unwrap().to_string();
    group.open_all().await;
    let refused = group.replica(NodeId(1)).bootstrap(voters.clone()).await.unwrap_err();
    assert!(matches!(refused, BootstrapError::Advertised { node: NodeId(2), port: "peer", .. }), "{refused}");
    assert!(refused.to_string().contains("advertise.peer"), "{refused}");

    // Corrected and started again, the same call forms the group.
    group.kill(NodeId(2)).await;
    group.node_mut(NodeId(2)).advertised = right;
    group.open(NodeId(2)).await.unwrap();
    group.replica(NodeId(1)).bootstrap(voters).await.unwrap();
    group.store("x").await;
}

// And where another node answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_voter_that_advertises_the_address_of_another_is_named() {
    let mut group = Group::closed(3, |_| {});
    let voters = group.voters();
    group.node_mut(NodeId(2)).advertised = group.node(NodeId(3)).advertised.clone();
    group.open_all().await;
    let refused = group.replica(NodeId(1)).bootstrap(voters).await.unwrap_err();
    assert!(matches!(refused, BootstrapError::Advertised { node: NodeId(2), .. }), "{refused}");
    assert!(group.ids().into_iter().all(|id| group.replica(id).status().cluster.is_none()));
}

// Nodes pass requests on to each other's client addresses, so those count as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_address_where_nobody_listens_or_that_another_has_is_named() {
    let mut group = Group::closed(3, |_| {});
    let right = group.node(NodeId(2)).advertised_client.clone();
    let nobodys = crate::support::listener().local_addr().unwrap().to_string();
    for wrong in [nobodys, group.node(NodeId(1)).advertised_client.clone()] {
        group.node_mut(NodeId(2)).advertised_client = wrong;
        group.open_all().await;
        let refused = group.replica(NodeId(1)).bootstrap(group.voters()).await.unwrap_err();
        assert!(matches!(refused, BootstrapError::Advertised { node: NodeId(2), port: "client", .. }), "{refused}");
        assert!(group.ids().into_iter().all(|id| group.replica(id).status().cluster.is_none()));
        for id in group.ids() {
            group.kill(id).await;
        }
    }
    group.node_mut(NodeId(2)).advertised_client = right;
    group.open_all().await;
    group.bootstrap().await;
    group.store("x").await;
}

// Each is reached by all, and has few places for those who do.
#[tokio::test(flavor = "multi_thread")]
async fn seven_voters_reach_each_other_and_form_a_group() {
    let mut group = Group::closed(7, |_| {});
    group.open_all().await;
    group.bootstrap().await;
    group.store("x").await;
}
