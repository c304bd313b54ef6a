//! Makes and lists topics and consumer groups, and shows who leads.

use tercet_client::{Client, Error, GroupChange, GroupSettings, TopicType};

#[tokio::main]
async fn main() -> Result<(), Error> {
    let endpoint = std::env::var("TERCET_ENDPOINT").unwrap_or("127.0.0.1:8081".into());
    let admin = Client::connect(&endpoint)?.admin();

    let made = admin.create_topic("shipments", 8, TopicType::Normal).await?;
    println!("{}", if made { "made" } else { "it was there" });
    admin.create_group("warehouse", GroupSettings::new().max_attempts(5)).await?;
    let group = admin.update_group("warehouse", GroupChange::new().max_attempts(7)).await?;
    println!("{} delivers a message {} times", group.name, group.max_attempts);
    for topic in admin.list_topics().await? {
        println!("{} with {} queues", topic.name, topic.queues);
    }

    let status = admin.cluster_status().await?;
    for node in &status.nodes {
        let leads = if Some(node.id) == status.leader { ", leads" } else { "" };
        println!("node {} at {}{leads}", node.id, node.addresses.client);
    }
    admin.delete_group("warehouse", true).await?;
    admin.delete_topic("shipments").await?;
    Ok(())
}
