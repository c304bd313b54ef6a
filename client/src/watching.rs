//! A kept stream on which a node that does not lead tells who does.
//!
//! ```text
//!   first request to a leader ─► watch: a node other than the leader ─► news ─► route table, by term
//!                                  ▲                                     │
//!                                  └── the stream broke, or it leads now, or it knows no leader for long
//! ```
//! A leader that is stopped or cut off closes nothing and says nothing; the others elect the next one and say so here. While a
//! stream stands nobody asks who leads, however long a request waits.

use std::{sync::Weak, time::Duration};

use tercet_proto::client::v1::Leadership;
use tokio::time::{Instant, sleep, timeout};
use tonic::Streaming;

use crate::{
    backoff,
    client::{Client, Shared},
    endpoint::Endpoint,
    env,
    transport::open_leader_stream,
};

/// A stream is opened, and says its first word, within this.
const OPEN_TIMEOUT: Duration = Duration::from_secs(1);
/// A node that knows no leader for so long may be cut off: another one may know.
const LEADERLESS_MAX: Duration = Duration::from_secs(1);
/// Nodes that have refused so often are asked less often.
const EAGER_TRIES: u32 = 10;
/// A stream that lasted so long was a good one.
const GOOD_STREAM: Duration = Duration::from_secs(1);

impl Client {
    /// Sees to it that somebody watches who leads.
    pub(crate) fn ensure_watched(&self) {
        self.leader_watch().ensure(|| watch(self.downgrade()));
    }
}

/// While it exists, a stream stands.
struct Stands(Weak<Shared>);

impl Stands {
    fn of(client: &Client) -> Self {
        client.leader_watch().say_stands(true);
        Self(client.downgrade())
    }
}

impl Drop for Stands {
    fn drop(&mut self) {
        if let Some(client) = Client::upgrade(&self.0) {
            client.leader_watch().say_stands(false);
        }
    }
}

/// Holds the client only from one wait to the next.
async fn watch(of: Weak<Shared>) {
    let (mut failures, mut last) = (0, None);
    loop {
        let Some(client) = Client::upgrade(&of) else { return };
        let post = client.watch_post(last.as_ref(), env::random_fraction());
        let opened = match &post {
            Some(node) => timeout(OPEN_TIMEOUT, open(&client, node)).await.ok().flatten(),
            None => None,
        };
        drop(client);
        last = post;
        failures += 1;
        if let (Some(stream), Some(node)) = (opened, &last) {
            let begun = Instant::now();
            hear(&of, node, stream).await;
            if begun.elapsed() >= GOOD_STREAM {
                failures = 1;
            }
        }
        let delay = if failures <= EAGER_TRIES { backoff::delay } else { backoff::delay_overloaded };
        sleep(delay(failures, env::random_fraction())).await;
    }
}

/// The stream, if the node has said its first word in it.
async fn open(client: &Client, node: &Endpoint) -> Option<Streaming<Leadership>> {
    let link = client.connections().get(node).await.ok()?;
    let mut stream = open_leader_stream(link.channel, client.identity()).await.ok()?;
    let first = stream.message().await.ok()??;
    client.hear_of_leader(&first);
    Some(stream)
}

/// Hears until the stream is of no use any more.
async fn hear(of: &Weak<Shared>, node: &Endpoint, mut stream: Streaming<Leadership>) {
    let Some(client) = Client::upgrade(of) else { return };
    if client.has_better_watch_post(node) {
        return;
    }
    let _stands = Stands::of(&client);
    drop(client);
    let mut knows = true;
    loop {
        let patience = if knows { Duration::MAX } else { LEADERLESS_MAX };
        let Ok(Ok(Some(news))) = timeout(patience, stream.message()).await else { return };
        let Some(client) = Client::upgrade(of) else { return };
        client.hear_of_leader(&news);
        knows = !news.leader.is_empty();
        if client.has_better_watch_post(node) {
            return;
        }
    }
}
