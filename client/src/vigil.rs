//! Learning in time that a request waits for a node that does not lead any longer.
//!
//! A leader that is killed closes its connections. One that is stopped, or whose machine is cut off, closes nothing, and a
//! request to it would stay unanswered until its attempt's time is up. Another node tells who leads ([`crate::leader_watch`]); while
//! none does, and the leader has answered nobody for a short while, the others are asked. As soon as another leader is known than
//! the request was sent under, the attempt is given up. Whether it got through is not known then: it is judged like any attempt
//! without an answer (see `producer::verdict`).

use std::{convert::Infallible, time::Duration};

use tercet_proto::rocketmq::v2::{QueryRouteRequest, messaging_service_client::MessagingServiceClient};
use tokio::time::{Instant, sleep};

use crate::{
    client::{Client, resource},
    endpoint::Endpoint,
    route::route_of,
};

/// Whoever waits so long while nobody is answered asks around. A healthy group answers somebody far sooner.
const PATIENCE: Duration = Duration::from_millis(200);
/// Between two rounds of questions, at first ...
const ASK_INTERVAL: Duration = Duration::from_millis(100);
/// ... for this many rounds, and later: a receive that waits for messages waits long in a healthy group too.
const ROUNDS_EARLY: usize = 20;
const ASK_INTERVAL_LATE: Duration = Duration::from_secs(1);
/// What was sent to a leader that leads no longer is given up after this.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a node has to say who leads.
const ANSWER_LIMIT: Duration = Duration::from_millis(300);

impl Client {
    /// Returns once another node than `asked` says that the leader has changed since now; `leader` is the one that was
    /// believed in when the request was sent.
    pub(crate) async fn superseded(&self, topic: &str, asked: &Endpoint, leader: Option<&Endpoint>) {
        let changed = async {
            let mut preferred = self.watch_preferred();
            // An error: the client is gone, and whoever waits with it.
            let _ = preferred.wait_for(|now| now.as_ref() != leader).await;
        };
        tokio::select! {
            // A leader that has handed over, or has lost its place and lives, answers what it has.
            () = changed => sleep(LAST_WORDS).await,
            never = self.ask_around(topic, asked) => match never {},
        }
    }

    /// Asks the others while no node tells by itself.
    async fn ask_around(&self, topic: &str, asked: &Endpoint) -> Infallible {
        let begun = Instant::now();
        let mut told = self.leader_watch().stands();
        let mut rounds = 0;
        let mut wait = PATIENCE;
        loop {
            sleep(wait).await;
            if told.wait_for(|stands| !stands).await.is_err() {
                std::future::pending::<()>().await;
            }
            let silent_since = self.last_served(asked).map_or(begun, |served| served.max(begun));
            let silent = silent_since.elapsed();
            if silent < PATIENCE {
                wait = PATIENCE - silent;
                continue;
            }
            let interval = if rounds < ROUNDS_EARLY { ASK_INTERVAL } else { ASK_INTERVAL_LATE };
            let round = self.asking().round(Instant::now(), interval);
            if let Some(round) = round {
                self.ask_another(topic, asked, round).await;
            }
            rounds += 1;
            wait = interval;
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
