//! Everything of a run, and its steps.

use std::path::Path;

use super::checkers::Violation;
use super::clients::{
    ABSENT, Consumer, Habit, KEEPERS, LINE, May, Numbers, Operator, PLAIN, Producer, REVIEWERS, VISITORS, WORKERS,
};
use super::dice::Dice;
use super::group::Group;
use super::leader::Seen;
use super::log::{Asker, Work};
use super::node::Node;
use super::order::Order;
use super::settings::Settings;
use crate::model::{ClientKey, ConsumerGroupId};

/// All loops of a leader.
pub(super) const WORKS: [Work; 7] =
    [Work::Tick, Work::Renew, Work::Keep, Work::Erase, Work::Idle, Work::Retain, Work::Release];

/// Entry from which those come who come late.
const LATE_FROM: u64 = 150;

/// Everything of a run.
pub(super) struct Run {
    pub(super) dice: Dice,
    pub(super) settings: Settings,
    pub(super) group: Group,
    pub(super) producers: Vec<Producer>,
    pub(super) consumers: Vec<Consumer>,
    pub(super) operator: Operator,
    /// Nothing new is published and no fault comes.
    pub(super) ending: bool,
}

fn consumers() -> Vec<Consumer> {
    let plain = Habit::PLAIN;
    let letters = Habit { letters: true, ..plain };
    let of = [
        (WORKERS, PLAIN, Habit { few_bytes: true, ..plain }),
        (WORKERS, PLAIN, Habit { renewed: true, ..plain }),
        (KEEPERS, LINE, Habit { attempts: true, ..plain }),
        (KEEPERS, LINE, Habit { attempts: true, renewed: true, ..plain }),
        (ABSENT, PLAIN, Habit { absent: true, ..plain }),
        (ABSENT, LINE, Habit { absent: true, ..plain }),
        (VISITORS, PLAIN, Habit { makes_group: true, filters: true, ..plain }),
        (REVIEWERS, WORKERS, letters),
        (REVIEWERS, KEEPERS, letters),
        (REVIEWERS, ABSENT, letters),
        (REVIEWERS, VISITORS, letters),
    ];
    (0..).zip(of).map(|(number, (group, source, habit))| Consumer::new(number, group, source, habit)).collect()
}

fn producers() -> Vec<Producer> {
    let of = [
        (PLAIN, Numbers::None),
        (PLAIN, Numbers::Plain),
        (PLAIN, Numbers::WithDoubts),
        (LINE, Numbers::Plain),
        (LINE, Numbers::WithDoubts),
    ];
    (1..).zip(of).map(|(id, (topic, numbers))| Producer::new(id, topic, numbers)).collect()
}

impl Run {
    pub(super) fn new(seed: u64, folder: &Path) -> Run {
        let mut dice = Dice::new(seed);
        let settings = Settings::of(&mut dice);
        let nodes = (0..settings.replicas).map(|node| Node::new(&folder.join(node.to_string()))).collect();
        let group = Group::new(nodes, settings.log_bytes_max);
        Run {
            dice,
            settings,
            group,
            producers: producers(),
            consumers: consumers(),
            operator: Operator::default(),
            ending: false,
        }
    }

    pub(super) fn step(&mut self) -> Result<(), Violation> {
        if self.group.leader.is_none() && self.dice.percent(30) {
            let ahead = self.dice.of(&[0, 0, 0, 700, 20_000]);
            self.group.elect(&mut self.dice, ahead);
        }
        let node = self.dice.below(self.settings.replicas);
        match self.dice.below(100) {
            0..30 => self.client(),
            30..42 => {
                let work = self.dice.of(&WORKS);
                self.work(work)?;
            }
            42..52 => self.group.propose(),
            52..72 => {
                // The last replica gets next to nothing for a while.
                let lags = self.settings.lags && node + 1 == self.settings.replicas && self.dice.percent(95);
                if !lags {
                    let (count, interrupted) = (self.dice.between(1, 8), self.dice.percent(30));
                    self.group.replicate(node, count, interrupted && !self.ending);
                }
            }
            // Whom everybody waits for, as often as all others together.
            72..82 => self.apply(self.group.leader.as_ref().map_or(node, |leader| leader.node))?,
            82..92 => self.apply(node)?,
            92..96 => self.group.now += self.dice.of(&[1, 50, 400, 400, 2000, 2000, 10_000, 40_000]),
            _ => self.persist(node),
        }
        self.deliver_answers();
        Ok(())
    }

    pub(super) fn apply(&mut self, node: usize) -> Result<(), Violation> {
        if self.group.nodes[node].is_up() {
            let count = self.dice.between(1, 6);
            self.group.apply(node, count)?;
        }
        Ok(())
    }

    pub(super) fn persist(&mut self, node: usize) {
        let choice = self.dice.below(4);
        let node = &mut self.group.nodes[node];
        if !node.is_up() {
            return;
        }
        match choice {
            0 => node.finish(),
            1 => node.purge(),
            2 if !node.wants_checkpoint() => node.persist(false),
            _ => {
                if node.wants_checkpoint() {
                    node.persist(true);
                }
            }
        }
    }

    pub(super) fn work(&mut self, work: Work) -> Result<(), Violation> {
        let Some(reader) = self.group.reader() else { return Ok(()) };
        // A group that goes has its part in ticks until it is erased, of which the ledger knows nothing.
        if work == Work::Idle && self.settings.small_ticks {
            return Ok(());
        }
        let polls = |consumer: &&Consumer| consumer.lives;
        let groups = self.consumers.iter().filter(polls).filter_map(|consumer| reader.group(consumer.group));
        let polled: Vec<ConsumerGroupId> = groups.map(|group| group.id).collect();
        let lives = |client: ClientKey| self.consumers.iter().any(|of| of.client == client && of.lives && !self.ending);
        let Settings { log_bytes_max, disk_is_full, .. } = self.settings;
        let seen = Seen { log_bytes_max, disk_is_full, polled: &polled, lives: &lives };
        self.group.work(work, &seen)
    }

    fn client(&mut self) {
        let Some(reader) = self.group.reader() else { return };
        let (order, asker) = match self.dice.below(100) {
            chosen if chosen < 3 => {
                let deletes = self.settings.deletes && self.dice.percent(30);
                let may = match self.settings.reorders {
                    _ if deletes => May::Delete,
                    true => May::Reorder,
                    false => May::Nothing,
                };
                (self.operator.turn(&mut self.dice, &reader, may), Asker::Operator)
            }
            chosen if (chosen as u64) < 3 + self.settings.publishing => {
                let at = self.dice.below(self.producers.len());
                (self.producers[at].turn(&mut self.dice, &reader, false), Asker::Producer(at))
            }
            _ => {
                let at = self.dice.below(self.consumers.len());
                // Where a disk is full, a group comes when much was read by the others, and let go.
                let comes_late = self.settings.disk_is_full && self.consumers[at].group == ABSENT;
                if comes_late && self.group.log.end() < LATE_FROM {
                    return;
                }
                (self.consumers[at].turn(&mut self.dice, &reader, false), Asker::Consumer(at))
            }
        };
        self.submit(order, asker);
    }

    pub(super) fn submit(&mut self, order: Option<Order>, asker: Asker) {
        if let Some(order) = order {
            self.group.submit(order, asker);
        }
    }

    pub(super) fn deliver_answers(&mut self) {
        for (asker, outcome) in std::mem::take(&mut self.group.answers) {
            match (asker, outcome) {
                (Asker::Producer(at), Some(outcome)) => self.producers[at].answered(&outcome),
                (Asker::Producer(at), None) => self.producers[at].lost(),
                (Asker::Consumer(at), Some(outcome)) => self.consumers[at].answered(&outcome),
                (Asker::Consumer(at), None) => self.consumers[at].lost(),
                (Asker::Operator, _) => self.operator.waits = false,
                (Asker::Leader(_) | Asker::Nobody, _) => {}
            }
        }
    }
}
