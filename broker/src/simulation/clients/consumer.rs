//! Receives messages of a group, and acknowledges, extends, gives back, gives up or forgets them.

use crate::model::{AttemptKey, ClientKey, ConsumerGroupId, GroupName, GroupSettings, TagFilter, TopicId};
use crate::simulation::dice::Dice;
use crate::simulation::order::Order;
use crate::state::{
    Ack, AckEntry, ChangeInvisible, CreateGroup, DeadLetter, Outcome, Pick, Receive, RenewLeases, StateReader,
};

/// What a consumer says that wants few bytes at once, and one that takes any.
const BYTES_MAX: [u32; 4] = [100, 250, 1 << 20, 1 << 20];

/// Handles that it remembers after it is done with them, to use them again.
const OLD_MAX: usize = 8;

/// How a consumer behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) struct Habit {
    /// Whether its deliveries are on a lease.
    pub(in crate::simulation) renewed: bool,
    /// Whether it asks for one tag sometimes.
    pub(in crate::simulation) filters: bool,
    /// Whether it says by which attempt a repeated receive is known.
    pub(in crate::simulation) attempts: bool,
    /// Takes and never acknowledges.
    pub(in crate::simulation) absent: bool,
    /// Its first receive makes the group.
    pub(in crate::simulation) makes_group: bool,
    /// Asks for few bytes sometimes.
    pub(in crate::simulation) few_bytes: bool,
    /// Reads the dead letters of the group of this name instead of a topic.
    pub(in crate::simulation) letters: bool,
}

impl Habit {
    pub(in crate::simulation) const PLAIN: Habit = Habit {
        renewed: false,
        filters: false,
        attempts: false,
        absent: false,
        makes_group: false,
        few_bytes: false,
        letters: false,
    };
}

/// What a receive asks for.
struct Asked {
    filter: TagFilter,
    messages_max: u16,
    bytes_max: u32,
    invisible_ms: u64,
    renewed: bool,
}

/// A delivery that it knows of.
#[derive(Clone, Copy, Debug)]
struct Held {
    topic: TopicId,
    group: ConsumerGroupId,
    entry: AckEntry,
}

/// See the module.
#[derive(Debug)]
pub(in crate::simulation) struct Consumer {
    pub(in crate::simulation) group: &'static str,
    source: &'static str,
    pub(in crate::simulation) habit: Habit,
    pub(in crate::simulation) client: ClientKey,
    /// Whether its heartbeats come.
    pub(in crate::simulation) lives: bool,
    attempt: u64,
    held: Vec<Held>,
    old: Vec<Held>,
    waits: Option<Order>,
}

impl Consumer {
    pub(in crate::simulation) fn new(number: u64, group: &'static str, source: &'static str, habit: Habit) -> Consumer {
        let client = ClientKey(number + 1);
        Consumer {
            group,
            source,
            habit,
            client,
            lives: true,
            attempt: 1,
            held: Vec::new(),
            old: Vec::new(),
            waits: None,
        }
    }

    /// The name of the topic that it receives from.
    pub(in crate::simulation) fn topic(&self) -> String {
        if self.habit.letters { format!("%DLQ%{}", self.source) } else { self.source.to_owned() }
    }

    /// What it asks for now. `draining`: it takes what there is and acknowledges all of it.
    pub(in crate::simulation) fn turn(
        &mut self,
        dice: &mut Dice,
        reader: &StateReader,
        draining: bool,
    ) -> Option<Order> {
        if self.waits.is_some() {
            return None;
        }
        let order = if draining { self.drain(reader) } else { self.act(dice, reader) };
        self.waits.clone_from(&order);
        order
    }

    fn drain(&mut self, reader: &StateReader) -> Option<Order> {
        match self.held.last().copied() {
            Some(last) => self.ack(|held| (held.topic, held.group) == (last.topic, last.group)),
            // As a poll that is parked until there is something.
            None if self.is_ready(reader) => {
                let filter = TagFilter::All;
                let (messages_max, bytes_max, invisible_ms, renewed) = (32, 1 << 20, 10_000, false);
                self.receive(reader, Asked { filter, messages_max, bytes_max, invisible_ms, renewed })
            }
            None => None,
        }
    }

    fn is_ready(&self, reader: &StateReader) -> bool {
        let ids = reader.group(self.group).zip(reader.topic(&self.topic()));
        ids.is_none_or(|(group, topic)| reader.ready(group.id, topic.id).any())
    }

    fn act(&mut self, dice: &mut Dice, reader: &StateReader) -> Option<Order> {
        if !self.lives {
            if dice.percent(4) {
                self.restart();
            }
            return None;
        }
        if self.habit.renewed && !self.held.is_empty() {
            match dice.below(30) {
                0 => {
                    self.lives = false;
                    return None;
                }
                1 => return Some(self.say_goodbye()),
                _ => {}
            }
        }
        if self.held.is_empty() || dice.percent(35) {
            if let (false, true) = (self.old.is_empty(), dice.percent(10)) {
                let old = dice.of(&self.old);
                return Some(Order::Ack(Ack { group: old.group, topic: old.topic, entries: vec![old.entry] }));
            }
            let filter = if self.habit.filters && dice.percent(30) { red() } else { TagFilter::All };
            let invisible_ms = dice.of(&[500, 5000, 30_000]);
            let messages_max = u16::try_from(dice.between(1, 6)).expect("few");
            let bytes_max = if self.habit.few_bytes { dice.of(&BYTES_MAX) } else { 1 << 20 };
            let of = Asked { filter, messages_max, bytes_max, invisible_ms, renewed: self.habit.renewed };
            return self.receive(reader, of);
        }
        let at = dice.below(self.held.len());
        let Held { topic, group, entry } = self.held[at];
        if self.habit.absent {
            self.held.clear();
            return None;
        }
        match dice.below(20) {
            0 => self.forget(at),
            1 | 2 => {
                let (invisible_ms, suspend) = (dice.of(&[0, 0, 300, 20_000, 300_000]), dice.percent(30));
                if invisible_ms == 0 {
                    self.put_away(at);
                }
                Some(Order::Change(ChangeInvisible { group, topic, entry, invisible_ms, suspend }))
            }
            3 => {
                self.put_away(at);
                Some(Order::GiveUp(DeadLetter { group, topic, entry }))
            }
            4..12 => {
                self.put_away(at);
                Some(Order::Ack(Ack { group, topic, entries: vec![entry] }))
            }
            _ => self.ack(|held| (held.topic, held.group) == (topic, group)),
        }
    }

    /// What it holds is not hidden for long any more.
    fn say_goodbye(&mut self) -> Order {
        self.held.clear();
        let (clients, invisible_ms) = (vec![self.client], crate::consume::millis(crate::consume::GOODBYE_FOR));
        Order::Renew(RenewLeases { clients, invisible_ms, shorten: true })
    }

    fn forget(&mut self, at: usize) -> Option<Order> {
        self.put_away(at);
        None
    }

    fn put_away(&mut self, at: usize) {
        self.old.push(self.held.swap_remove(at));
        if self.old.len() > OLD_MAX {
            self.old.remove(0);
        }
    }

    fn ack(&mut self, which: impl Fn(&Held) -> bool) -> Option<Order> {
        let acked: Vec<Held> = self.held.extract_if(.., |held| which(held)).collect();
        let Held { topic, group, .. } = *acked.first()?;
        Some(Order::Ack(Ack { group, topic, entries: acked.into_iter().map(|held| held.entry).collect() }))
    }

    fn receive(&self, reader: &StateReader, asked: Asked) -> Option<Order> {
        let Asked { filter, messages_max, bytes_max, invisible_ms, renewed } = asked;
        let topic = reader.topic(&self.topic())?.id;
        let Some(group) = reader.group(self.group) else { return self.make_group() };
        let fifo = group.settings.fifo && self.habit.attempts;
        Some(Order::Receive(Receive {
            group: group.id,
            topic,
            queue: None,
            filter,
            messages_max,
            bytes_max,
            invisible_ms: if renewed { crate::consume::millis(crate::consume::RENEWED_FOR) } else { invisible_ms },
            auto_renew: if renewed { self.client } else { ClientKey::NONE },
            attempt: if fifo { AttemptKey(self.client.0 << 32 | self.attempt) } else { AttemptKey::NONE },
        }))
    }

    fn make_group(&self) -> Option<Order> {
        let name = GroupName::parse(self.group).expect("a name");
        let settings = GroupSettings { max_attempts: 4, ..GroupSettings::default() };
        self.habit.makes_group.then_some(Order::CreateGroup(CreateGroup { name, settings, automatic: true }))
    }

    /// Nothing is heard of what it asked for: a receive is repeated as the same attempt.
    pub(in crate::simulation) fn lost(&mut self) {
        self.waits = None;
    }

    pub(in crate::simulation) fn answered(&mut self, outcome: &Outcome) {
        let (Some(Order::Receive(receive)), Outcome::Received(received)) = (self.waits.take(), outcome) else { return };
        let handle = |pick: &Pick| AckEntry {
            queue: pick.queue,
            offset: pick.offset,
            nonce: pick.nonce,
            deadline: pick.deadline,
        };
        let held = |pick| Held { topic: receive.topic, group: receive.group, entry: handle(pick) };
        self.held.extend(received.picks.iter().map(held));
        // Else the next receive is the same attempt, as where the answer was lost on its way.
        if !(receive.invisible_ms + received.picks.len() as u64).is_multiple_of(4) {
            self.attempt += 1;
        }
    }

    /// It ends, and another takes its place that knows nothing.
    pub(in crate::simulation) fn restart(&mut self) {
        (self.lives, self.attempt, self.held, self.old) = (true, self.attempt + 1, Vec::new(), Vec::new());
    }
}

fn red() -> TagFilter {
    TagFilter::Tags([String::from("red")].into())
}
