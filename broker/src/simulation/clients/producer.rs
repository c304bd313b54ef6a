//! Publishes messages, most of them numbered, and sends what is in doubt again.

use bytes::Bytes;

use crate::model::{ProducerId, QueueId, TopicId};
use crate::simulation::dice::Dice;
use crate::simulation::order::{Message, Order};
use crate::state::{Outcome, ProducerStamp, PublishRefusal, StateReader, Unsettled};

use super::QUEUES;

const TAGS: [&str; 3] = ["", "red", "blue"];
const KEYS: [&str; 4] = ["", "a", "b", "c"];
/// Bytes of a body beyond its number.
const PADDING_MAX: usize = 120;

/// How a producer numbers its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum Numbers {
    None,
    /// And says nothing of what it has in doubt.
    Plain,
    WithDoubts,
}

/// See the module.
#[derive(Debug)]
pub(in crate::simulation) struct Producer {
    id: u64,
    topic: &'static str,
    numbers: Numbers,
    epoch: u64,
    next: u64,
    bodies: u64,
    /// The topic that its numbers are of.
    of: Option<TopicId>,
    /// What is not settled: the messages, their first number, and whether they were sent before.
    open: Option<(u64, Vec<Message>, bool)>,
    waits: bool,
}

impl Producer {
    pub(in crate::simulation) fn new(id: u64, topic: &'static str, numbers: Numbers) -> Producer {
        Producer { id, topic, numbers, epoch: 0, next: 0, bodies: 0, of: None, open: None, waits: false }
    }

    /// What it sends now. `settling`: nothing new.
    pub(in crate::simulation) fn turn(
        &mut self,
        dice: &mut Dice,
        reader: &StateReader,
        settling: bool,
    ) -> Option<Order> {
        if self.waits {
            return None;
        }
        let topic = reader.topic(self.topic)?.id;
        if self.of != Some(topic) {
            // A topic of this name that is another one knows nothing of its numbers.
            (self.of, self.next, self.open) = (Some(topic), 0, None);
        }
        if self.open.is_none() && !settling {
            self.open = Some((self.next, self.new_messages(dice), false));
        }
        let (first, messages, again) = self.open.clone()?;
        self.waits = true;
        let unsettled = (self.numbers == Numbers::WithDoubts).then_some(Unsettled { lowest: first, again });
        let id = ProducerId(u128::from(self.id));
        let stamp = ProducerStamp { id, epoch: self.epoch, base_sequence: first, unsettled };
        Some(Order::Publish { topic, producer: (self.numbers != Numbers::None).then_some(stamp), messages })
    }

    fn new_messages(&mut self, dice: &mut Dice) -> Vec<Message> {
        let count = dice.between(1, 4);
        (0..count).map(|_| self.new_message(dice)).collect()
    }

    fn new_message(&mut self, dice: &mut Dice) -> Message {
        self.bodies += 1;
        let mut body = format!("{}/{}/", self.id, self.bodies).into_bytes();
        body.resize(body.len() + dice.below(PADDING_MAX), b'.');
        let (tag, key) = (dice.of(&TAGS), dice.of(&KEYS));
        // A message group stays in its queue.
        let queue = if key.is_empty() { dice.below(QUEUES as usize) } else { key.len() + usize::from(key == "b") };
        let queue = QueueId(u32::try_from(queue).expect("few queues") % QUEUES);
        Message { queue, tag, key, body: Bytes::from(body) }
    }

    /// Nothing is heard of what it sent.
    pub(in crate::simulation) fn lost(&mut self) {
        self.waits = false;
        match (&mut self.open, self.numbers) {
            (Some((_, _, again)), Numbers::Plain | Numbers::WithDoubts) => *again = true,
            // It could be stored twice.
            (open, _) => *open = None,
        }
    }

    pub(in crate::simulation) fn answered(&mut self, outcome: &Outcome) {
        self.waits = false;
        let Some((first, messages, _)) = &self.open else { return };
        let end = first + messages.len() as u64;
        match outcome {
            Outcome::Stored(_) => (self.next, self.open) = (end, None),
            Outcome::PublishRefused(
                PublishRefusal::TooManyInDoubt { .. } | PublishRefusal::TooManyProducers { .. },
            ) => {}
            Outcome::PublishRefused(PublishRefusal::UnknownTopic) => self.open = None,
            // It was forgotten, and gives up what is in doubt. Who says so goes on behind it; who does not, begins anew.
            Outcome::PublishRefused(_) if self.numbers == Numbers::WithDoubts => (self.next, self.open) = (end, None),
            Outcome::PublishRefused(_) => (self.epoch, self.next, self.open) = (self.epoch + 1, 0, None),
            other => panic!("a publish is answered by {other:?}"),
        }
    }

    pub(in crate::simulation) fn is_settled(&self) -> bool {
        self.open.is_none()
    }
}
