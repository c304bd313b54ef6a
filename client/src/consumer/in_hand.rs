//! The messages that handlers have or are to have, without the handlers: which may begin, which delivery is to be renewed, and what
//! is to be said of those that are done.
//!
//! ```text
//!   admit ─► waiting ─► start ─► running ─► finish ─► Settlement
//!               │ behind another of its message group     ▲
//!               └──────────── renew_due ─► renewed ───────┘ whoever is done meanwhile is settled then
//! ```
//! A renewal gives the delivery another reference. So nothing is said of a message while it is being renewed: by its old reference
//! the broker would not know it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{
    received::{ReceivedMessage, Reference},
    settling::Fate,
};

/// Messages that wait behind others of their message group, beyond which no more are taken.
const WAITING_MAX: usize = 256;
/// A renewal of which nothing is known is tried again after this.
const RENEW_AGAIN: Duration = Duration::from_secs(1);

/// Names a message in hand.
pub(super) type Id = u64;

/// What is to be said of a message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Settlement {
    pub(super) topic: Arc<str>,
    pub(super) reference: Reference,
    pub(super) fate: Fate,
}

/// Not handled, and again at once.
const GIVE_BACK: Fate = Fate::Hidden { invisible_ms: 0, uncounted: true };

/// See the module. Invariants: of a message group one message runs or may run, and the others wait in order; nothing runs that is
/// over.
#[derive(Debug)]
pub(super) struct InHand {
    invisible: Duration,
    last: Id,
    messages: BTreeMap<Id, InHandMessage>,
    /// May begin, in order.
    ready: VecDeque<Id>,
    /// Of each message group that has one running or ready, those behind it.
    behind: HashMap<MessageGroup, VecDeque<Id>>,
    running: usize,
}

#[derive(Debug)]
struct InHandMessage {
    topic: Arc<str>,
    group: Option<MessageGroup>,
    reference: Reference,
    renew_at: Instant,
    renewing: bool,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    Waiting(Box<ReceivedMessage>),
    Running,
    /// To be settled as soon as it is renewed.
    Handled(Fate),
    /// The delivery is over: nothing can be said of it.
    Over,
}

/// Its topic and its name.
type MessageGroup = (Arc<str>, Arc<str>);

impl InHand {
    /// Deliveries are hidden for `invisible`.
    pub(super) fn new(invisible: Duration) -> Self {
        Self {
            invisible,
            last: 0,
            messages: BTreeMap::new(),
            ready: VecDeque::new(),
            behind: HashMap::new(),
            running: 0,
        }
    }

    /// How many more may be taken, so that `limit` run.
    pub(super) fn room(&self, limit: usize) -> usize {
        let behind: usize = self.behind.values().map(VecDeque::len).sum();
        if behind >= WAITING_MAX { 0 } else { limit.saturating_sub(self.running + self.ready.len()) }
    }

    /// Whether nothing is in hand.
    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Messages have been received.
    pub(super) fn admit(&mut self, messages: Vec<ReceivedMessage>, now: Instant) {
        for message in messages {
            self.last += 1;
            let topic: Arc<str> = message.shared_topic();
            let group = message.message_group().map(|group| (Arc::clone(&topic), Arc::from(group)));
            match group.as_ref().and_then(|group| self.behind.get_mut(group)) {
                Some(behind) => behind.push_back(self.last),
                None => self.ready.push_back(self.last),
            }
            if let Some(group) = &group {
                self.behind.entry(group.clone()).or_default();
            }
            let reference = message.reference;
            // It may have waited for half of its time before.
            let renew_at = now + self.invisible / 4;
            let phase = Phase::Waiting(Box::new(message));
            self.messages
                .insert(self.last, InHandMessage { topic, group, reference, renew_at, renewing: false, phase });
        }
    }

    /// The next message to be handled, if not `limit` are.
    pub(super) fn start(&mut self, limit: usize) -> Option<(Id, ReceivedMessage)> {
        if self.running >= limit {
            return None;
        }
        let id = self.ready.pop_front()?;
        let message = self.messages.get_mut(&id).expect("what is ready is in hand");
        let Phase::Waiting(taken) = std::mem::replace(&mut message.phase, Phase::Running) else {
            unreachable!("what is ready has not begun")
        };
        self.running += 1;
        Some((id, *taken))
    }

    /// The handler of a message is done. If the message was not, what is behind it in its message group must not come before it.
    pub(super) fn finish(&mut self, id: Id, fate: Fate) -> Vec<Settlement> {
        self.running -= 1;
        let group = self.messages.get(&id).expect("what runs is in hand").group.clone();
        let mut settlements = Vec::from_iter(self.handled(id, fate));
        if fate == Fate::Done {
            self.go_on(group.as_ref());
        } else if let Some(behind) = group.and_then(|group| self.behind.remove(&group)) {
            settlements.extend(behind.into_iter().filter_map(|id| self.handled(id, GIVE_BACK)));
        }
        settlements
    }

    /// The next of a message group may begin.
    fn go_on(&mut self, group: Option<&MessageGroup>) {
        let Some(group) = group else { return };
        match self.behind.get_mut(group).and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back(next),
            None => drop(self.behind.remove(group)),
        }
    }

    fn handled(&mut self, id: Id, fate: Fate) -> Option<Settlement> {
        let message = self.messages.get_mut(&id).expect("it is in hand");
        if message.renewing {
            message.phase = Phase::Handled(fate);
            return None;
        }
        let InHandMessage { topic, reference, phase, .. } = self.messages.remove(&id).expect("it is in hand");
        (!matches!(phase, Phase::Over)).then_some(Settlement { topic, reference, fate })
    }

    /// Nothing more begins: what has not goes back.
    pub(super) fn stop(&mut self) -> Vec<Settlement> {
        let waiting = self.ready.drain(..).chain(self.behind.drain().flat_map(|(_, behind)| behind));
        let waiting: Vec<Id> = waiting.collect();
        waiting.into_iter().filter_map(|id| self.handled(id, GIVE_BACK)).collect()
    }

    /// When the next delivery is to be renewed.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        self.messages.values().filter(|message| message.is_renewable()).map(|message| message.renew_at).min()
    }

    /// The deliveries that are to be renewed now, by topic; the caller does it and says what came of it.
    pub(super) fn renew_due(&mut self, now: Instant) -> BTreeMap<Arc<str>, Vec<(Id, Reference)>> {
        let mut due: BTreeMap<Arc<str>, Vec<(Id, Reference)>> = BTreeMap::new();
        // Those that are due soon come along.
        let until = now + self.invisible / 8;
        for (id, message) in &mut self.messages {
            if message.is_renewable() && message.renew_at <= until {
                message.renewing = true;
                due.entry(Arc::clone(&message.topic)).or_default().push((*id, message.reference));
            }
        }
        due
    }

    /// What came of a renewal: the deadline that the broker answered, 0 if the delivery is over; nothing if that is not known.
    pub(super) fn renewed(&mut self, id: Id, deadline_unix_ms: Option<u64>, now: Instant) -> Option<Settlement> {
        let message = self.messages.get_mut(&id).expect("what is renewed is in hand");
        message.renewing = false;
        match deadline_unix_ms {
            None => message.renew_at = now + RENEW_AGAIN,
            Some(0) => return self.end(id),
            Some(deadline_unix_ms) => {
                message.reference.deadline_unix_ms = deadline_unix_ms;
                message.renew_at = now + self.invisible / 2;
            }
        }
        match message.phase {
            Phase::Handled(fate) => self.handled(id, fate),
            Phase::Waiting(_) | Phase::Running | Phase::Over => None,
        }
    }

    /// The delivery is over: whoever is to handle it comes too late, and it comes again.
    fn end(&mut self, id: Id) -> Option<Settlement> {
        let message = self.messages.get_mut(&id).expect("it is in hand");
        match std::mem::replace(&mut message.phase, Phase::Over) {
            Phase::Running | Phase::Over => {}
            Phase::Handled(_) => drop(self.messages.remove(&id)),
            Phase::Waiting(_) => {
                let group = self.messages.remove(&id).and_then(|message| message.group);
                let was_ready = self.ready.iter().position(|ready| *ready == id).and_then(|at| self.ready.remove(at));
                if was_ready.is_some() {
                    self.go_on(group.as_ref());
                } else if let Some(behind) = group.and_then(|group| self.behind.get_mut(&group)) {
                    behind.retain(|waiting| *waiting != id);
                }
            }
        }
        None
    }
}

impl InHandMessage {
    fn is_renewable(&self) -> bool {
        !self.renewing && matches!(self.phase, Phase::Waiting(_) | Phase::Running)
    }
}

#[cfg(test)]
#[path = "in_hand_tests.rs"]
mod tests;
