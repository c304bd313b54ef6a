//! One topic's stream, and the next one when it ends: at the leader, wherever that is.

use std::time::Duration;

use tercet_proto::client::v1::{End, EndReason, Open};
use tokio::time::{Instant, sleep};

use super::{buffer::Amount, conversation::Ended, worker::Worker};
use crate::{
    backoff,
    client::Attempt,
    code::Code,
    endpoint::Endpoint,
    env,
    error::Error,
    rpc_code::RpcCode,
    transport::{AttemptError, Begun, ConsumeStream, open_consume_stream},
};

/// A topic that is not there, or a request at fault, is tried again after this: what is missing may be made.
const FAULT_RETRY: Duration = Duration::from_secs(1);
/// A stream that lasted so long was a good one.
const GOOD_STREAM: Duration = Duration::from_secs(1);
/// A consumer that is closed while no node can be reached does not wait longer for one.
const CLOSING_MAX: Duration = Duration::from_secs(3);

/// Why there is no stream now.
enum Trouble {
    /// Another node may do, or the same one soon.
    Later(String),
    /// The same request fails for as long as nothing changes.
    Fault(Error),
}

impl Worker {
    pub(super) async fn run(mut self) {
        let mut failures = 0;
        let mut since: Option<(Instant, Option<Endpoint>)> = None;
        let mut closing: Option<Instant> = None;
        loop {
            let (node, opened) = self.open().await;
            let trouble = match opened {
                Ok((node, stream)) => {
                    since = None;
                    let begun = Instant::now();
                    let ended = self.converse(stream, &node).await;
                    if begun.elapsed() >= GOOD_STREAM {
                        failures = 0;
                    }
                    match ended {
                        Ended::Closed => return,
                        Ended::By(end) => self.trouble_of(end, Some(&node)),
                        Ended::Broken(why) => {
                            self.dialogue.broke();
                            tracing::debug!(%node, why, topic = %self.topic, "a consume stream broke");
                            self.client.unready(Some(&node));
                            self.client.relearn_soon(&self.topic);
                            Trouble::Later(why)
                        }
                    }
                }
                Err(trouble) => trouble,
            };
            failures += 1;
            let (begun, tried) = since.get_or_insert_with(|| (Instant::now(), None));
            *tried = node.or(tried.take());
            let waited = begun.elapsed();
            // There is no stream that would take them: whoever ordered hears of the trouble like everybody.
            while let Ok(order) = self.orders.try_recv() {
                self.dialogue.order([order]);
            }
            self.dialogue.give_back_stale();
            if self.orders.is_closed() {
                let closing = *closing.get_or_insert_with(Instant::now);
                if self.dialogue.is_idle() || closing.elapsed() > CLOSING_MAX {
                    return;
                }
            }
            let wait = match trouble {
                Trouble::Fault(error) => {
                    self.dialogue.fail(error);
                    FAULT_RETRY
                }
                Trouble::Later(last) => {
                    if waited > self.client.options().call_timeout {
                        let tried = tried.as_ref().map_or_else(|| "no node".to_owned(), Endpoint::to_string);
                        let error = Error::Unavailable { call: "consume", waited, tried, last };
                        self.dialogue.fail(error);
                        since = None;
                    }
                    backoff::delay(failures, env::random_fraction())
                }
            };
            sleep(wait).await;
        }
    }

    /// A stream at the node that is believed to lead.
    async fn open(&self) -> (Option<Endpoint>, Result<(Endpoint, ConsumeStream), Trouble>) {
        self.client.learn_first_node(Some(&self.topic)).await;
        self.client.fresh_route(&self.topic).await;
        let window = Amount { messages: self.options.prefetch_messages, bytes: self.options.prefetch_bytes };
        let open = Open {
            topic: self.topic.as_ref().to_owned(),
            group: self.group.clone(),
            filter: self.options.filter.clone(),
            invisible_ms: u64::try_from(self.options.invisible_duration.as_millis()).expect("12 hours at most"),
            auto_renew: false,
            session: String::new(),
            credit: Some(self.dialogue.room(window)),
        };
        let timeout = self.client.options().attempt_timeout;
        let attempt = |link: crate::transport::Link| open_consume_stream(link.channel, &self.identity, open);
        let Attempt { endpoint, result } = self.client.attempt_at_leader(&self.topic, timeout, attempt).await;
        let opened = match (result, &endpoint) {
            (Ok(Begun::Opened(stream)), Some(node)) => {
                self.client.served(Some(node));
                self.client.prefer(node);
                Ok((node.clone(), stream))
            }
            (Ok(Begun::Opened(_)), None) => unreachable!("a stream is to a node"),
            (Ok(Begun::Ended(end)), node) => Err(self.trouble_of(end, node.as_ref())),
            (Err(error), node) => {
                self.client.relearn_soon(&self.topic);
                self.client.unready(node.as_ref());
                Err(trouble_of_error(error))
            }
        };
        (endpoint, opened)
    }

    /// What is to be done about an end; learns from it who leads.
    fn trouble_of(&self, end: End, node: Option<&Endpoint>) -> Trouble {
        let reason = end.reason();
        tracing::debug!(?node, ?reason, leader = end.leader, topic = %self.topic, "a consume stream ended");
        let refused = |code| Trouble::Fault(Error::Refused { call: "consume", code, message: end.text.clone() });
        match reason {
            EndReason::TopicNotFound => refused(Code::TOPIC_NOT_FOUND),
            EndReason::GroupNotFound => refused(Code::CONSUMER_GROUP_NOT_FOUND),
            EndReason::BadRequest => refused(Code::BAD_REQUEST),
            EndReason::NotLeader | EndReason::Stopping | EndReason::Overloaded => {
                self.client.unready(node);
                match end.leader.parse::<Endpoint>() {
                    Ok(leader) => self.client.prefer(&leader),
                    Err(_) => self.client.relearn_soon(&self.topic),
                }
                Trouble::Later(end.text)
            }
            EndReason::GroupChanged | EndReason::Finished | EndReason::Unspecified => Trouble::Later(end.text),
        }
    }
}

fn trouble_of_error(error: AttemptError) -> Trouble {
    match error {
        AttemptError::Failed(status)
            if !RpcCode::of(status.code()).can_retry() && std::error::Error::source(&status).is_none() =>
        {
            let code = RpcCode::of(status.code());
            Trouble::Fault(Error::Rpc { call: "consume", code, message: status.message().to_owned() })
        }
        error => Trouble::Later(error.words()),
    }
}
