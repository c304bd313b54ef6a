//! The leader's answer to a receive, passed on to the client of another node.
//!
//! The leader counts as delivered what left it. So what has arrived here and not left for the client when that one goes, or
//! stops reading, is given back from here, by its handles; else it would stay hidden for its time.

use std::{future::Future, sync::Arc, time::Duration};

use prost::Message as _;
use tercet_proto::rocketmq::v2::{
    ChangeInvisibleDurationRequest, Code, ReceiveMessageRequest, ReceiveMessageResponse, Status,
    receive_message_response::Content,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout, timeout_at},
};
use tonic::{Request, Streaming, metadata::MetadataValue};

use super::{
    change,
    delivery::{Unsent, end, hand_over, room_while_read},
    node::Node,
    receive_items::Sender,
};
use crate::{
    consume::{GIVE_BACK_FOR, over, retried},
    forward::RECEIVE_WINDOW,
};

/// How long the rest of an answer is waited for that nobody reads any more.
const REST_WITHIN: Duration = Duration::from_secs(2);
/// Between two attempts to give something back.
const GIVE_BACK_BACKOFF: Duration = Duration::from_millis(200);
/// How passing on the leader's stream ended.
pub(super) enum Passed {
    /// With this code.
    Done(i32),
    /// The client went away, or was cut off. What these handles are of is to be given back.
    Gone(Vec<String>),
    /// This node stops, and nothing was passed on.
    Stopped(Sender),
    /// Before anything was passed on; another leader may answer.
    Broken(Sender),
}

/// What the leader has picked is passed on whole, also by a node that stops.
pub(super) async fn pass_on(
    node: &Node,
    mut stream: Streaming<ReceiveMessageResponse>,
    until: Instant,
    sender: Sender,
) -> Passed {
    let (mut code, mut complete, mut handles) = (None, false, Vec::new());
    loop {
        let next = tokio::select! {
            biased;
            next = stream.message() => next,
            // Without a message, the leader notices and gives all of it back.
            () = sender.closed(), if !complete && handles.is_empty() => return Passed::Gone(Vec::new()),
            () = sender.closed(), if !complete => {
                let taken = sender.messages_taken();
                return Passed::Gone(not_taken((handles, taken), stream).await);
            }
            () = node.stop.cancelled(), if code.is_none() => return Passed::Stopped(sender),
            () = tokio::time::sleep_until(until), if code.is_none() => return Passed::Broken(sender),
        };
        let item = match (next, code) {
            (Ok(Some(item)), _) => item,
            (Ok(None) | Err(_), None) => return Passed::Broken(sender),
            (Ok(None), Some(code)) => return Passed::Done(code),
            (Err(status), Some(code)) => {
                let _ = sender.send(Err(status), None).await;
                return Passed::Done(code);
            }
        };
        let bytes = match &item.content {
            Some(Content::Message(message)) => {
                handles.push(message.system_properties.as_ref().and_then(|system| system.receipt_handle.clone()));
                Some(item.encoded_len())
            }
            Some(Content::Status(status)) if status.code == Code::HaNotAvailable as i32 => {
                return Passed::Broken(sender);
            }
            Some(Content::Status(status)) => {
                code = Some(status.code);
                None
            }
            Some(Content::DeliveryTimestamp(_)) => {
                complete = true;
                None
            }
            None => None,
        };
        let sent = async {
            let room = match bytes {
                Some(bytes) => Some(room_while_read(node, &sender, bytes).await?),
                None => None,
            };
            // While it waits to be taken, what is behind it waits in the window of the stream.
            let _window = if sender.is_full() { node.answers.try_room(RECEIVE_WINDOW as usize) } else { None };
            hand_over(node, &sender, item, room).await
        };
        let sent = sent.await;
        if let Err(why) = sent {
            let taken = end(node, sender, &why);
            return Passed::Gone(match why {
                Unsent::Gone => not_taken((handles, taken), stream).await,
                // The leader sees the stream end, and gives back what it still has.
                Unsent::Unread => handles.into_iter().skip(taken).flatten().collect(),
            });
        }
    }
}

/// What was not taken of an answer, and the rest of it, which is on its way.
async fn not_taken(
    (handles, taken): (Vec<Option<String>>, usize),
    mut stream: Streaming<ReceiveMessageResponse>,
) -> Vec<String> {
    let mut rest: Vec<String> = handles.into_iter().skip(taken).flatten().collect();
    let end = Instant::now() + REST_WITHIN;
    while let Ok(Ok(Some(item))) = tokio::time::timeout_at(end, stream.message()).await {
        if let Some(Content::Message(message)) = item.content {
            rest.extend(message.system_properties.and_then(|system| system.receipt_handle));
        }
    }
    rest
}

/// Available at once, and the delivery does not count. Said again for a while to a leader that has too much to do, or that is not
/// there: what comes back late holds up what is behind it.
pub(super) async fn give_back(node: &Arc<Node>, request: &ReceiveMessageRequest, handles: Vec<String>) {
    let until = Instant::now() + GIVE_BACK_FOR;
    let change = |handle: String| async move {
        let change = change::change_invisible_duration(node, change_of(request, handle));
        let answered = timeout(REST_WITHIN, change).await;
        answered.ok().and_then(Result::ok).map(|answer| code(answer.get_ref().status.as_ref()))
    };
    let given_back = handles.into_iter().map(|handle| {
        let attempt = move || in_turn(&node.giving_back, until, change(handle.clone()));
        retried(over(until, &node.stop), GIVE_BACK_BACKOFF, |code| may_go_better(*code), attempt)
    });
    for code in futures::future::join_all(given_back).await {
        if code != Some(Code::Ok as i32) {
            tracing::debug!(code, "an undelivered message was not given back; it returns after its time");
        }
    }
}

/// Makes a call as soon as one of the places for those is free; makes none if none is by then.
async fn in_turn<T>(places: &Semaphore, until: Instant, call: impl Future<Output = Option<T>>) -> Option<T> {
    let _place = timeout_at(until, places.acquire()).await.ok()?.expect("nobody closes it");
    call.await
}

fn change_of(request: &ReceiveMessageRequest, receipt_handle: String) -> Request<ChangeInvisibleDurationRequest> {
    let mut change = Request::new(ChangeInvisibleDurationRequest {
        group: request.group.clone(),
        topic: request.message_queue.as_ref().and_then(|queue| queue.topic.clone()),
        receipt_handle,
        invisible_duration: Some(prost_types::Duration::default()),
        suspend: Some(true),
        ..Default::default()
    });
    change.metadata_mut().insert("x-mq-client-id", MetadataValue::from_static("tercet"));
    change
}

fn code(status: Option<&Status>) -> i32 {
    status.map_or(Code::Unspecified as i32, |status| status.code)
}

/// Whether the same change, said again, may be answered otherwise; without a code there was no answer.
fn may_go_better(code: Option<i32>) -> bool {
    code.is_none_or(|code| code == Code::TooManyRequests as i32 || code == Code::HaNotAvailable as i32)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Thousands of receives may have their answers cut short together, each of them with many messages.
    #[tokio::test(start_paused = true)]
    async fn what_is_given_back_at_once_is_bounded_and_what_has_no_turn_in_time_is_not_sent() {
        let (places, until) = (Semaphore::new(2), Instant::now() + Duration::from_secs(10));
        let (under_way, most) = (Cell::new(0), Cell::new(0));
        let call = || async {
            under_way.set(under_way.get() + 1);
            most.set(most.get().max(under_way.get()));
            tokio::time::sleep(Duration::from_secs(3)).await;
            under_way.set(under_way.get() - 1);
            Some(())
        };
        let came = futures::future::join_all((0..10).map(|_| in_turn(&places, until, call()))).await;
        assert_eq!((most.get(), came.iter().flatten().count()), (2, 8), "four times two began in time");
    }

    #[test]
    fn giving_back_is_tried_again_where_that_may_help() {
        let again = |code: Code| may_go_better(Some(code as i32));
        assert!(may_go_better(None) && again(Code::TooManyRequests) && again(Code::HaNotAvailable));
        assert!(!again(Code::Ok) && !again(Code::InvalidReceiptHandle) && !again(Code::TopicNotFound));
    }
}
