//! A consumer group that reads a topic from its first message to its last and acknowledges everything.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tercet_client::{Client, Consumer, ConsumerOptions};
use tercet_proto::admin::v1::DescribeTopicRequest;
use tokio::task::JoinSet;

use crate::{
    admin,
    cluster::Cluster,
    failure::{Doing, Failure},
    history::{Recorder, What},
    setup,
};

/// Receives that run side by side; one waits for the group's disk while others are answered.
const RECEIVERS: usize = 8;

/// A receiver looks this often whether the others have got the rest.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What has not come yet, by (queue, offset).
type Missing = Arc<Mutex<BTreeSet<(u32, u64)>>>;

/// Reads everything that `topic` holds with a new group named `group`, until the last offset of each queue has come.
///
/// # Errors
/// If not everything has come within `limit`.
///
/// # Panics
/// If a receiver panicked.
pub async fn drain(
    cluster: &Cluster,
    topic: &str,
    group: &str,
    recorder: &Arc<Recorder>,
    limit: Duration,
) -> Result<(), Failure> {
    let missing: Missing = Arc::new(Mutex::new(places(cluster, topic).await?));
    setup::create_group(cluster, group).await?;
    let client = Client::connect(&cluster.endpoints()).doing(|| "client".to_owned())?;
    let deadline = Instant::now() + limit;
    let mut receivers = JoinSet::new();
    for _ in 0..RECEIVERS {
        let consumer = client.consumer(group, [topic], ConsumerOptions::default()).doing(|| "consumer".to_owned())?;
        receivers.spawn(receive(consumer, Arc::clone(&missing), Arc::clone(recorder), deadline));
    }
    // The first one to see that nothing is missing is enough; the others may wait for more.
    receivers.join_next().await.expect("there are receivers").doing(|| "receiver".to_owned())?;
    receivers.shutdown().await;
    let missing = missing.lock().expect("no receiver panics while it holds the lock");
    if missing.is_empty() {
        return Ok(());
    }
    let some: Vec<_> = missing.iter().take(10).collect();
    Err(Failure(format!("{} messages did not come within {limit:?}, such as (queue, offset) {some:?}", missing.len())))
}

/// Every (queue, offset) that the topic has given out.
async fn places(cluster: &Cluster, topic: &str) -> Result<BTreeSet<(u32, u64)>, Failure> {
    let leader = cluster.leader().await?;
    let mut client = admin::connect(cluster.node(leader).client()).await?;
    let answer = client.describe_topic(DescribeTopicRequest { name: topic.to_owned() }).await;
    let described = answer.doing(|| format!("describe topic {topic}"))?.into_inner();
    Ok(described
        .queues
        .iter()
        .flat_map(|queue| (queue.first_offset..queue.next_offset).map(|offset| (queue.queue, offset)))
        .collect())
}

async fn receive(consumer: Consumer, missing: Missing, recorder: Arc<Recorder>, deadline: Instant) {
    let is_done = || missing.lock().expect("no receiver panics while it holds the lock").is_empty();
    while Instant::now() < deadline && !is_done() {
        // A failed receive is worth another try until the deadline; what is missing then is named.
        let received = tokio::time::timeout(LOOK_EVERY, consumer.receive()).await;
        let Ok(Ok(messages)) = received else { continue };
        for message in &messages {
            let (queue, offset) = (message.queue(), message.offset());
            recorder.record(What::Read {
                body: String::from_utf8_lossy(message.body()).into_owned(),
                queue,
                offset,
                attempt: message.attempt(),
            });
            missing.lock().expect("no receiver panics while it holds the lock").remove(&(queue, offset));
        }
        // Not acknowledged means delivered again, which a proof of publishing does not mind.
        let _ = consumer.ack_all(&messages).await;
    }
}
