//! Acknowledgements travel together: what comes while requests are in flight goes into the next ones.

use futures::{StreamExt as _, stream::FuturesUnordered};
use tercet_proto::rocketmq::v2::{self as pb, messaging_service_client::MessagingServiceClient};
use tokio::sync::{mpsc, oneshot};

use crate::{
    client::{Client, resource},
    code::Code,
    error::Error,
};

/// Requests in flight of one consumer.
const REQUESTS_IN_FLIGHT_MAX: usize = 4;

/// One acknowledgement on its way.
pub(super) struct Ack {
    pub(super) topic: String,
    pub(super) entry: pb::AckMessageEntry,
    pub(super) done: oneshot::Sender<Result<(), Error>>,
}

/// Runs until the consumer is gone and everything is answered.
pub(super) async fn run(client: Client, group: String, batch_max: usize, mut acks: mpsc::Receiver<Ack>) {
    let mut in_flight = FuturesUnordered::new();
    let mut waiting: Vec<Ack> = Vec::with_capacity(batch_max);
    let mut open = true;
    while open || !in_flight.is_empty() {
        tokio::select! {
            Some(()) = in_flight.next(), if !in_flight.is_empty() => {}
            count = acks.recv_many(&mut waiting, batch_max), if open && in_flight.len() < REQUESTS_IN_FLIGHT_MAX => {
                open = count > 0;
                // A request has one topic; within it, order does not matter.
                while let Some(topic) = waiting.first().map(|ack| ack.topic.clone()) {
                    let batch = waiting.extract_if(.., |ack| ack.topic == topic).collect();
                    in_flight.push(send(&client, &group, topic, batch));
                }
            }
        }
    }
}

async fn send(client: &Client, group: &str, topic: String, batch: Vec<Ack>) {
    let (entries, waiters): (Vec<_>, Vec<_>) = batch.into_iter().map(|ack| (ack.entry, ack.done)).unzip();
    let request = pb::AckMessageRequest { group: Some(resource(group)), topic: Some(resource(&topic)), entries };
    let timeout = client.options().attempt_timeout;
    let attempt = async |channel| {
        let mut request = client.identity().request(request.clone());
        request.set_timeout(timeout);
        MessagingServiceClient::new(channel).ack_message(request).await.map(tonic::Response::into_inner)
    };
    let answer = client.call("ack", Some(&topic), timeout, attempt).await;
    let whole = |answer: &Result<_, Error>| answer.as_ref().map(drop).map_err(Error::clone);
    for (at, waiter) in waiters.into_iter().enumerate() {
        let result = match &answer {
            Ok(pb::AckMessageResponse { entries, .. }) if at < entries.len() => result_of(&entries[at]),
            answer => whole(answer),
        };
        // Whoever gave up waiting needs no answer.
        drop(waiter.send(result));
    }
}

fn result_of(entry: &pb::AckMessageResultEntry) -> Result<(), Error> {
    let status = entry.status.clone().unwrap_or_default();
    let code = if entry.status.is_none() { Code::OK } else { Code(status.code) };
    if code == Code::OK { Ok(()) } else { Err(Error::Refused { call: "ack", code, message: status.message }) }
}
