//! Receives in flight, and what they bring as batches to the client.
//!
//! ```text
//!   credit ─► share ─► poll ┐
//!   credit ─► share ─► poll ├─► picks, as receives end ─► read from the log ─► numbered ─► outgoing
//!   ...                     ┘   (one poll at a time if the group keeps the order: then in the order of picks)
//! ```
//! Each receive waits for a commit; with several in flight, a backlog does not.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use raft_log::types::UnixMillis;
use tercet_proto::client::v1::{Batch, Delivered, consume_answer::Content};
use tokio::{sync::mpsc, time::Instant};

use super::{
    super::{
        answers::Room,
        delivery::{Sorted, sort},
        receive_items::Gone,
    },
    end,
    flow::Share,
    session::Session,
};
use crate::{
    consume::{Deliverer, PollEnd, Wanted, ack_entry},
    limits::STREAM_BATCH_BYTES,
    state::{AckEntry, Pick},
};

/// Receives in flight of one stream while each brings as much as it may ...
const POLLS_IN_BACKLOG: usize = 4;
/// ... and while they wait for messages: one is under way when the next message comes.
const POLLS_AT_REST: usize = 2;
/// A receive that waits for longer takes its place in line anew, which says that the group is in use.
const POLL_MAX: Duration = Duration::from_secs(60);

/// What was received and not pushed.
#[derive(Debug, Default)]
pub(super) struct Left {
    /// It cannot be read, and is to be set aside.
    pub(super) aside: Vec<AckEntry>,
    /// It is to be given back.
    pub(super) back: Vec<AckEntry>,
}

/// What a receive ended with.
type Received = (Share, Result<Vec<Pick>, PollEnd>);

impl Session {
    /// Pushes until the stream is over. What is left then it hands on: to put that back may take an overloaded log long.
    pub(super) async fn push(&self) -> Left {
        let (picked, picks) = mpsc::channel(1);
        let ((), left) = tokio::join!(self.receive(picked), self.deliver_all(picks));
        left
    }

    /// Keeps receives in flight, and drives them whatever becomes of what they brought: one that waits in line and is woken
    /// must look, or nobody does. They run to their end: a pick that nobody takes would stay hidden for its time.
    async fn receive(&self, picked: mpsc::Sender<Vec<Pick>>) {
        let mut polls = FuturesUnordered::new();
        // What was brought and waits to be pushed. While something does, nothing more is asked for.
        let mut brought = VecDeque::new();
        let mut backlog = false;
        loop {
            let over = self.ending.is_over();
            let polls_max = match (self.wanted.fifo, backlog) {
                (true, _) => 1,
                (false, true) => POLLS_IN_BACKLOG,
                (false, false) => POLLS_AT_REST,
            };
            while brought.is_empty()
                && polls.len() < polls_max
                && !over
                && let Some(share) = self.flow.share()
            {
                polls.push(self.poll(share));
            }
            if polls.is_empty() && brought.is_empty() && over {
                return;
            }
            tokio::select! {
                Some((share, received)) = polls.next(), if !polls.is_empty() => {
                    let picks = self.received(share, received);
                    backlog = is_full(share, &picks);
                    brought.extend(Some(picks).filter(|picks| !picks.is_empty()));
                }
                room = picked.reserve(), if !brought.is_empty() => {
                    let room = room.expect("what was picked is taken until nothing is picked any more");
                    room.send(brought.pop_front().expect("looked at before"));
                }
                () = self.flow.more() => {}
                () = self.ending.over(), if !over => {}
            }
        }
    }

    async fn poll(&self, share: Share) -> Received {
        let wanted = Wanted {
            messages_max: share.messages,
            bytes_max: share.bytes.min(u32::try_from(self.node.options.receive_bytes_max).unwrap_or(u32::MAX)),
            until: Instant::now() + POLL_MAX,
            ..self.wanted.clone()
        };
        (share, self.node.poll.run(&wanted, self.ending.over()).await)
    }

    /// What was picked; nothing may be a reason to end the stream.
    fn received(&self, share: Share, received: Result<Vec<Pick>, PollEnd>) -> Vec<Pick> {
        let picks = match received {
            Ok(picks) => picks,
            Err(why) => {
                match why {
                    // Said at once: from now on each poll ends as soon as it has begun, and nobody else would come to say it.
                    PollEnd::Empty if self.node.stop.is_cancelled() => self.ending.set(end::stopping()),
                    PollEnd::Empty | PollEnd::Gone => {}
                    PollEnd::Full => self.ending.set(end::overloaded("too many receives wait on this node")),
                    PollEnd::LeaderLost => self.ending.set(end::not_leader(&self.node)),
                    PollEnd::Unknown(name) => self.ending.set(end::unknown(name)),
                    PollEnd::Failed(error) => self.ending.set(end::failed(&self.node, &error)),
                }
                Vec::new()
            }
        };
        self.flow.settle(share, picks.len(), bytes_of(&picks));
        picks
    }

    /// Pushes what is picked, until the stream is over.
    async fn deliver_all(&self, mut picks: mpsc::Receiver<Vec<Pick>>) -> Left {
        let mut left = Left::default();
        while let Some(picks) = picks.recv().await {
            self.deliver(&picks, &mut left).await;
        }
        left
    }

    async fn deliver(&self, picks: &[Pick], left: &mut Left) {
        let (mut blocked, mut rest) = (BTreeSet::new(), picks);
        while !rest.is_empty() && !self.ending.is_over() {
            let (portion, later) = rest.split_at(Deliverer::portion_within(rest, STREAM_BATCH_BYTES));
            let room = tokio::select! {
                biased;
                room = self.node.answers.room(self.connection.as_deref().map(|load| load.answers()), size(portion)) => room,
                () = self.ending.over() => break,
            };
            rest = later;
            let read = self.node.deliverer.read_as_stored(portion).await;
            let sorted = sort(portion, read, self.wanted.fifo, &mut blocked);
            let mut unread = self.unread(&sorted);
            if !sorted.deliver.is_empty() {
                unread.back.extend(self.say_batch(sorted.deliver, room).await);
            }
            let is_put_back = tokio::select! {
                biased;
                () = self.ending.over() => false,
                () = self.put_back(&unread) => true,
            };
            if !is_put_back {
                // Said again, it changes nothing.
                left.aside.extend(unread.aside);
                left.back.extend(unread.back);
            }
        }
        left.back.extend(rest.iter().map(ack_entry));
    }

    /// Sets aside, and gives back.
    pub(super) async fn put_back(&self, left: &Left) {
        let (poll, wanted) = (&self.node.poll, &self.wanted);
        tokio::join!(poll.set_aside(wanted, &left.aside), poll.give_back(wanted, &left.back));
    }

    /// What could not be read, and what is held back because of that.
    fn unread(&self, sorted: &Sorted<Delivered>) -> Left {
        let (topic, group) = (&self.of.topic_name, &self.group);
        for (pick, error) in &sorted.aside {
            tracing::error!(%error, %topic, %group, attempt = pick.attempt, "a message is set aside");
            self.node.options.traffic.unreadable(topic.as_str(), group.as_str(), pick.attempt > 1);
        }
        let aside: Vec<Pick> = sorted.aside.iter().map(|(pick, _)| *pick).collect();
        let bytes = bytes_of(&aside) + bytes_of(&sorted.back);
        self.flow.not_pushed(aside.len() + sorted.back.len(), bytes);
        Left { aside: aside.iter().map(ack_entry).collect(), back: sorted.back.iter().map(ack_entry).collect() }
    }

    /// What is not pushed comes back: the stream is over, or the time of these deliveries.
    async fn say_batch(&self, messages: Vec<(Pick, Delivered)>, room: Room) -> Vec<AckEntry> {
        let place = tokio::select! {
            biased;
            place = self.out.place() => place.map_err(|Gone| self.ending.set(end::gone())).ok(),
            () = self.ending.over() => None,
        };
        let Some(place) = place.filter(|_| !self.is_late(messages[0].0.deadline)) else {
            let picks: Vec<Pick> = messages.iter().map(|(pick, _)| *pick).collect();
            self.flow.not_pushed(picks.len(), bytes_of(&picks));
            return picks.iter().map(ack_entry).collect();
        };
        self.count(&messages);
        let (picks, messages): (Vec<Pick>, Vec<Delivered>) = messages.into_iter().unzip();
        let Pick { nonce, deadline, .. } = picks[0];
        assert!(picks.iter().all(|pick| (pick.nonce, pick.deadline) == (nonce, deadline)), "of one receive");
        let number = self.flow.pushed(picks.iter().map(ack_entry).collect());
        let bytes = bytes_of(&picks);
        let batch = Batch { number, nonce, deadline_unix_ms: deadline.0, bytes, messages };
        // One that is not handed over stays among what was pushed, and is given back with that.
        if place.say(Content::Batch(batch), Some(room)).is_err() {
            self.ending.set(end::gone());
        }
        Vec::new()
    }

    /// Whether deliveries with this deadline have waited until it: they come again, and would come twice. With a lease they may
    /// last longer.
    fn is_late(&self, deadline: UnixMillis) -> bool {
        self.wanted.auto_renew.is_none() && deadline <= self.node.leader_clock.now()
    }

    fn count(&self, messages: &[(Pick, Delivered)]) {
        for redelivered in [false, true] {
            let these = messages.iter().filter(|(pick, _)| (pick.attempt > 1) == redelivered);
            let (count, bytes) =
                these.fold((0, 0), |(count, bytes), (_, message)| (count + 1, bytes + message.body.len() as u64));
            if count > 0 {
                let (topic, group) = (self.of.topic_name.as_str(), self.group.as_str());
                self.node.options.traffic.delivered(topic, group, redelivered, count, bytes);
            }
        }
    }
}

/// Whether a receive brought all that it may: then there is probably more.
fn is_full(share: Share, picks: &[Pick]) -> bool {
    picks.len() == usize::from(share.messages) || bytes_of(picks) > u64::from(share.bytes) / 2
}

fn bytes_of(picks: &[Pick]) -> u64 {
    picks.iter().map(|pick| u64::from(pick.position.length)).sum()
}

fn size(picks: &[Pick]) -> usize {
    picks.iter().map(|pick| pick.position.length as usize).sum()
}
