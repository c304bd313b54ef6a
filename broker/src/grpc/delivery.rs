//! One answer's messages: from what was picked to what the connection has taken.
//!
//! ```text
//!   picks ─► read, a portion at a time ─┬─► handed over, in order
//!                                       ├─► cannot be read: set aside, with its attempt counted
//!                                       └─► behind one that cannot be read, in a group that keeps the order: given back
//!   what the connection has not taken when the client goes or stops reading: given back
//! ```

use std::{collections::BTreeSet, future::Future, time::Duration};

use tercet_proto::rocketmq::v2::{Message, ReceiveMessageResponse, receive_message_response::Content};

use super::{
    answers::Room,
    groups::delivery_status,
    node::Node,
    receive_items::{Gone, Sender},
};
use crate::{
    consume::{DeliverError, Delivered, Deliverer, timestamp},
    model::{GroupName, QueueId},
    state::Pick,
};

/// While room for answers is scarce, one of which nothing is taken for this long is cut short.
pub(super) const STALL_MAX: Duration = Duration::from_secs(1);

/// How an answer ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// How many messages were handed over.
    pub(super) handed_over: usize,
    /// Why the first one could not be read, if one could not.
    pub(super) unreadable: Option<String>,
    /// What is to be set aside.
    pub(super) aside: Vec<Pick>,
    /// What is to be given back.
    pub(super) back: Vec<Pick>,
    /// Whether the client has gone or does not read: there is nothing more to say to it.
    pub(super) over: bool,
}

/// Why an item did not reach the connection.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The client went away.
    Gone,
    /// It takes nothing, and others need the room.
    Unread,
}

/// Hands an item over, unless its client takes nothing and others need the room.
pub(super) async fn hand_over(
    node: &Node,
    sender: &Sender,
    item: ReceiveMessageResponse,
    room: Option<Room>,
) -> Result<(), Unsent> {
    while_read(node, sender.send(Ok(item), room)).await
}

/// Waits for something that the client's reading brings about.
pub(super) async fn while_read(node: &Node, taking: impl Future<Output = Result<(), Gone>>) -> Result<(), Unsent> {
    let mut taking = std::pin::pin!(taking);
    loop {
        match tokio::time::timeout(STALL_MAX, &mut taking).await {
            Ok(taken) => return taken.map_err(|Gone| Unsent::Gone),
            Err(_) if node.answers.is_scarce() => return Err(Unsent::Unread),
            Err(_) => {}
        }
    }
}

/// Waits for room for so many bytes. Meanwhile what was handed over before takes room as well, so one whose client takes
/// nothing of it for a moment does not wait on: two of them would wait for each other.
pub(super) async fn room_while_read(node: &Node, sender: &Sender, bytes: usize) -> Result<Room, Unsent> {
    let mut room = std::pin::pin!(node.answers.room(sender.connection().map(|load| load.answers()), bytes));
    let mut waiting = sender.waiting();
    loop {
        tokio::select! {
            biased;
            room = &mut room => return Ok(room),
            () = sender.closed() => return Err(Unsent::Gone),
            () = tokio::time::sleep(STALL_MAX) => {
                let before = std::mem::replace(&mut waiting, sender.waiting());
                if waiting > 0 && waiting == before && node.answers.is_scarce() {
                    return Err(Unsent::Unread);
                }
            }
        }
    }
}

/// How many messages the connection has taken of an answer that ends here.
pub(super) fn end(node: &Node, sender: Sender, why: &Unsent) -> usize {
    match why {
        Unsent::Gone => sender.messages_taken(),
        Unsent::Unread => sender.cut(Content::DeliveryTimestamp(timestamp(node.leader_clock.now()))),
    }
}

/// What a portion of the picks is to become.
#[derive(Debug)]
pub(super) struct Sorted<M> {
    pub(super) deliver: Vec<(Pick, M)>,
    pub(super) aside: Vec<(Pick, DeliverError)>,
    pub(super) back: Vec<Pick>,
}

/// Behind a message that cannot be read nothing of its queue is delivered, if the group keeps the order: it could be of the
/// same message group. `blocked` are the queues of which one could not be read before.
pub(super) fn sort<M>(
    picks: &[Pick],
    read: Vec<Result<M, DeliverError>>,
    fifo: bool,
    blocked: &mut BTreeSet<QueueId>,
) -> Sorted<M> {
    assert_eq!(picks.len(), read.len(), "each pick is read or not");
    let mut sorted = Sorted { deliver: Vec::new(), aside: Vec::new(), back: Vec::new() };
    for (pick, read) in picks.iter().zip(read) {
        match read {
            _ if fifo && blocked.contains(&pick.queue) => sorted.back.push(*pick),
            Ok(message) => sorted.deliver.push((*pick, message)),
            Err(error) => {
                blocked.insert(pick.queue);
                sorted.aside.push((*pick, error));
            }
        }
    }
    sorted
}

/// Delivers what was picked.
pub(super) async fn deliver(
    node: &Node,
    (of, group, fifo): (&Delivered, &GroupName, bool),
    picks: &[Pick],
    sender: Sender,
) -> (Outcome, Option<Sender>) {
    let mut outcome = Outcome::default();
    let (mut handed_over, mut blocked, mut rest) = (Vec::new(), BTreeSet::new(), picks);
    while !rest.is_empty() {
        let (portion, later) = rest.split_at(Deliverer::portion(rest));
        rest = later;
        let bytes = portion.iter().map(|pick| pick.position.length as usize).sum();
        let mut room = match room_while_read(node, &sender, bytes).await {
            Ok(room) => room,
            Err(why) => {
                let taken = end(node, sender, &why);
                outcome.back.extend(handed_over[taken..].iter().chain(portion).chain(later));
                return (Outcome { handed_over: taken, over: true, ..outcome }, None);
            }
        };
        let sorted = sort(portion, node.deliverer.read(of, portion).await, fifo, &mut blocked);
        for (pick, error) in &sorted.aside {
            tracing::error!(%error, topic = %of.topic_name, group = %group, attempt = pick.attempt, "a message is set aside");
            node.options.traffic.unreadable(of.topic_name.as_str(), group.as_str(), pick.attempt > 1);
            outcome.unreadable.get_or_insert_with(|| error.to_string());
        }
        outcome.aside.extend(sorted.aside.iter().map(|(pick, _)| *pick));
        outcome.back.extend(sorted.back);
        count(node, of, group, &sorted.deliver);
        let mut deliver = sorted.deliver.into_iter();
        while let Some((pick, message)) = deliver.next() {
            let part = room.part(pick.position.length as usize);
            let sent = async {
                if handed_over.is_empty() {
                    let status = delivery_status(node, of.topic, group, fifo);
                    hand_over(node, &sender, item(Content::Status(status)), None).await?;
                }
                hand_over(node, &sender, item(Content::Message(message)), Some(part)).await
            };
            let sent = sent.await;
            handed_over.push(pick);
            if let Err(why) = sent {
                let taken = end(node, sender, &why);
                outcome.back.extend(&handed_over[taken..]);
                outcome.back.extend(deliver.map(|(pick, _)| pick).chain(later.iter().copied()));
                return (Outcome { handed_over: taken, over: true, ..outcome }, None);
            }
        }
    }
    outcome.handed_over = handed_over.len();
    if handed_over.is_empty() {
        return (outcome, Some(sender));
    }
    let last = item(Content::DeliveryTimestamp(timestamp(node.leader_clock.now())));
    let drained = match hand_over(node, &sender, last, None).await {
        // What the connection has taken is on its way; a client that leaves then has it or asks again.
        Ok(()) => while_read(node, sender.drained(handed_over.len())).await,
        Err(why) => Err(why),
    };
    if let Err(why) = drained {
        let taken = end(node, sender, &why);
        outcome.back.extend(&handed_over[taken..]);
        return (Outcome { handed_over: taken, over: true, ..outcome }, None);
    }
    (outcome, None)
}

pub(super) fn item(content: Content) -> ReceiveMessageResponse {
    ReceiveMessageResponse { content: Some(content) }
}

fn count(node: &Node, of: &Delivered, group: &GroupName, messages: &[(Pick, Message)]) {
    for redelivered in [false, true] {
        let these = messages.iter().filter(|(pick, _)| (pick.attempt > 1) == redelivered);
        let (count, bytes) = these.fold((0, 0), |(count, bytes), (_, message)| (count + 1, bytes + message.body.len()));
        if count > 0 {
            let topic = of.topic_name.as_str();
            node.options.traffic.delivered(topic, group.as_str(), redelivered, count, bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::{LogIndex, UnixMillis};

    use super::*;
    use crate::model::{Position, QueueOffset};

    fn pick(queue: u32, offset: u64) -> Pick {
        Pick {
            queue: QueueId(queue),
            offset: QueueOffset(offset),
            attempt: 1,
            position: Position { index: LogIndex(1), offset: 0, length: 1 },
            nonce: 0,
            deadline: UnixMillis(0),
            origin: None,
        }
    }

    /// Of four picks the second cannot be read; what is delivered, set aside and given back, as (queue, offset).
    fn sorted(fifo: bool) -> [Vec<(u32, u64)>; 3] {
        let picks = [pick(0, 0), pick(0, 1), pick(0, 2), pick(1, 0)];
        let read = |pick: &Pick| match (pick.queue.0, pick.offset.0) {
            (queue @ 0, offset @ 1) => Err(DeliverError { queue, offset, reason: String::from("a bad sector") }),
            _ => Ok(Message::default()),
        };
        let mut blocked = BTreeSet::new();
        let Sorted { deliver, aside, back } = sort(&picks, picks.iter().map(read).collect(), fifo, &mut blocked);
        assert_eq!(blocked, [QueueId(0)].into());
        let place = |pick: &Pick| (pick.queue.0, pick.offset.0);
        [
            deliver.iter().map(|(pick, _)| place(pick)).collect(),
            aside.iter().map(|(pick, _)| place(pick)).collect(),
            back.iter().map(place).collect(),
        ]
    }

    #[test]
    fn the_neighbours_of_a_message_that_cannot_be_read_are_delivered() {
        assert_eq!(sorted(false), [vec![(0, 0), (0, 2), (1, 0)], vec![(0, 1)], vec![]]);
    }

    #[test]
    fn a_group_that_keeps_the_order_gets_nothing_of_the_queue_behind_it() {
        assert_eq!(sorted(true), [vec![(0, 0), (1, 0)], vec![(0, 1)], vec![(0, 2)]]);
    }
}
