//! Learning in time that a request waits for a node that does not lead any longer.
//!
//! A leader that is killed closes its connections. One that is stopped, or whose machine is cut off, closes nothing, and a
//! request to it would stay unanswered until its attempt's time is up. So after a short while the other nodes are asked who
//! leads; as soon as one of them names another leader than the request was sent under, the attempt is given up. Whether it
//! got through is not known then: it is judged like any attempt without an answer (see `producer::verdict`).

use std::time::Duration;

use tercet_proto::rocketmq::v2::{QueryRouteRequest, messaging_service_client::MessagingServiceClient};

use crate::{
    client::{Client, resource},
    endpoint::Endpoint,
    route::route_of,
};

/// A request that is not answered by then makes its sender ask around. A healthy group answers far sooner.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two rounds of questions, at first ...
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// ... for this many rounds, and later: a receive that waits for messages waits long in a healthy group too.
const ROUNDS_EARLY: usize = 20;
const ASK_INTERVAL_LATE: Duration = Duration::from_secs(1);
/// How long a node has to say who leads.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);

impl Client {
    /// Returns once another node than `asked` says that the leader has changed since now; `leader` is the one that was
    /// believed in when the request was sent.
    pub(crate) async fn superseded(&self, topic: &str, asked: &Endpoint, leader: Option<&Endpoint>) {
        tokio::time::sleep(PATIENCE).await;
        let mut round = 0;
        loop {
            if self.preferred().as_ref() != leader {
                return;
            }
            // One of all the requests that wait asks for all of them.
            if let Ok(_turn) = self.asking().try_lock() {
                self.ask_another(topic, asked, round).await;
            }
            round += 1;
            tokio::time::sleep(if round <= ROUNDS_EARLY { ASK_INTERVAL } else { ASK_INTERVAL_LATE }).await;
        }
    }

    /// Asks one of the others, another one in each round: one that is cut off as well goes on naming the old leader.
    async fn ask_another(&self, topic: &str, except: &Endpoint, round: usize) {
        let others: Vec<Endpoint> = self.endpoints().into_iter().filter(|endpoint| endpoint != except).collect();
        let Some(other) = others.get(round % others.len().max(1)) else { return };
        let request = QueryRouteRequest { topic: Some(resource(topic)), endpoints: None };
        let request = self.identity().request(request);
        let answer = async {
            let link = self.connections().get(other).await.ok()?;
            MessagingServiceClient::new(link.channel).query_route(request).await.ok()
        };
        // Without an answer the next round asks the next one.
        if let Ok(Some(answer)) = tokio::time::timeout(ANSWER_LIMIT, answer).await {
            self.learn(route_of(&answer));
        }
    }
}
