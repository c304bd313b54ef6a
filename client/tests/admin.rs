//! What administration does when nodes take their time.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fake;

use std::time::Duration;

use fake::Group;
use tercet_client::{Admin, Client, ClientOptions, Endpoint};

/// Far longer than an attempt may take by the options.
const CHANGE: Duration = Duration::from_secs(1);

async fn slow() -> (Group, Admin) {
    let group = Group::start(3, []).await;
    group.admin.takes(CHANGE);
    let endpoints = Endpoint::parse_list(&group.addresses()).unwrap();
    let options = ClientOptions::new(endpoints).attempt_timeout(CHANGE / 10);
    (group, Client::new(options).unwrap().admin())
}

/// Asked again it would be refused as under way, although it succeeds.
#[tokio::test]
async fn a_change_that_the_leader_works_on_is_not_asked_for_again() {
    let (group, admin) = slow().await;
    admin.add_node(4, "node-4:1").await.unwrap();
    admin.promote_node(4).await.unwrap();
    admin.replace_node(3, 4).await.unwrap();
    admin.remove_node(3, false).await.unwrap();
    admin.transfer_leadership(Some(2)).await.unwrap();
    let calls = ["AddNode", "PromoteNode", "ReplaceNode", "RemoveNode", "TransferLeadership"];
    assert_eq!(group.admin.calls(), calls);
}

#[tokio::test]
async fn a_question_that_takes_long_goes_to_the_next_node() {
    let (group, admin) = slow().await;
    let asking = tokio::spawn(async move { admin.list_topics().await });
    group.until("several were asked", |_| group.admin.calls().len() >= 3).await;
    asking.abort();
}
