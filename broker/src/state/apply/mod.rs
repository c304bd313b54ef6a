//! The core: the working set, and what each command does to it.
//!
//! One file per kind of command. Each decides first, then changes memory and notes the same change for the store; a
//! refusal changes nothing. That time has passed has effects only by a [`Command::Tick`].

mod create;
mod delete;
mod expire;
mod lanes;
mod publish;
mod receive;
mod relocate;
mod settle;
mod subscribe;
mod tails;
mod trim;

pub use delete::IDLE_AT_ONCE_MAX;
#[cfg(test)]
pub(crate) use expire::{DEAD_LETTERS_MAX, EXPIRED_MAX};
#[cfg(test)]
pub(crate) use receive::SCAN_MAX;
pub(crate) use subscribe::first_at;
pub(crate) use tails::{TailReader, UnwrittenTails};
#[cfg(test)]
pub(crate) use trim::LOOKED_AT_MAX;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use raft_log::types::{LogId, UnixMillis};

use super::buried::Buried;
use super::changes::Changes;
use super::command::{Bootstrap, Command, EntryView};
use super::consumption::{LateRecords, Leases, Subscription, Timers};
use super::dead_letter_tally::DeadLettered;
use super::digest::DigestHistory;
use super::erasures::Erasures;
use super::fault::Fault;
use super::groups::Groups;
use super::ids::NextIds;
use super::index::{OpenBlocks, RecentBlocks};
use super::level::Level;
use super::needed::Needed;
use super::outcome::{Outcome, OutcomesBuilder};
use super::producers::Producers;
use super::retained::Retained;
use super::store::Store;
use super::topics::Topics;
use super::views::StateCounters;
use crate::model::{ConsumerGroupId, TopicId};

/// The working set.
#[derive(Debug, Default)]
pub(crate) struct Core {
    pub(crate) cluster: Option<Bootstrap>,
    /// The feature level; the first until the bootstrap says it.
    pub(crate) level: Level,
    /// The greatest stamp applied.
    pub(crate) clock: UnixMillis,
    pub(crate) ids: NextIds,
    pub(crate) topics: Topics,
    pub(crate) groups: Groups,
    pub(crate) buried: Buried,
    pub(crate) erasures: Erasures,
    pub(crate) producers: Producers,
    pub(crate) subscriptions: BTreeMap<(TopicId, ConsumerGroupId), Subscription>,
    /// The keys of the subscriptions, by group.
    pub(crate) topics_of_groups: BTreeSet<(ConsumerGroupId, TopicId)>,
    pub(crate) timers: Timers,
    pub(crate) late: LateRecords,
    pub(crate) leases: Leases,
    pub(crate) needed: Needed,
    pub(crate) recent: RecentBlocks,
    pub(crate) unwritten_tails: UnwrittenTails,
    pub(crate) open_blocks: OpenBlocks,
    pub(crate) retained: Retained,
    pub(crate) history: DigestHistory,
    pub(crate) counters: StateCounters,
}

/// What a command works with beside the core.
pub(crate) struct Applying<'a> {
    pub(crate) store: &'a Store,
    pub(crate) changes: &'a mut Changes,
    /// Topics in which something became available.
    pub(crate) available: &'a mut BTreeSet<TopicId>,
    /// Messages that went to the dead letters.
    pub(crate) dead_lettered: &'a mut DeadLettered,
    /// The entry.
    pub(crate) id: LogId,
    /// The command's place in the entry, from 0.
    pub(crate) command: u32,
}

impl Core {
    /// Drops what memory held until the store had it, which is so when a call of `apply` begins.
    pub(crate) fn forget_what_is_stored(&mut self) {
        self.recent.trim();
        self.unwritten_tails.clear();
    }

    /// Writes records of pending messages that were held back, until there are no more than `left`.
    pub(crate) fn write_late_records(&mut self, left: usize, changes: &mut Changes) {
        while let Some(key) = self.late.pop(left) {
            let subscription = self.subscriptions.get_mut(&(key.topic, key.group));
            if let Some(pending) = subscription.and_then(|of| of.take_late(key.queue, key.offset)) {
                self.late.write(key, &pending, changes);
            }
        }
    }

    /// Applies one entry; answers its response.
    pub(crate) fn apply_entry(&mut self, payload: &[u8], applying: &mut Applying<'_>) -> Result<Bytes, Fault> {
        let mut entry = EntryView::decode(payload)?;
        let before = self.clock;
        self.clock = before.max(entry.stamp);
        self.producers.served.pass(before, self.clock);
        self.counters.clock = self.clock;
        self.needed.begin_entry(applying.id.index, payload.len() as u64);
        let mut outcomes = OutcomesBuilder::new();
        for command in 0..entry.commands {
            applying.command = command;
            applying.changes.begin_command();
            let frame = entry.next_frame()?;
            outcomes.push(&self.apply_command(&Command::decode(&frame)?, applying)?);
        }
        entry.finish()?;
        if self.timers.take_room_again() {
            applying.available.extend(self.subscriptions.keys().map(|(topic, _)| *topic));
        }
        self.close_blocks(applying);
        self.needed.end_entry(applying.changes);
        let response = outcomes.build();
        applying.changes.digest().absorb(&response);
        Ok(response)
    }

    fn apply_command(&mut self, command: &Command<'_>, applying: &mut Applying<'_>) -> Result<Outcome, Fault> {
        match command {
            Command::Publish(publish) => self.publish(publish, applying),
            Command::Bootstrap(bootstrap) => Ok(self.bootstrap(bootstrap, applying)),
            Command::CreateTopic(create) => Ok(self.create_topic(create, applying)),
            Command::CreateGroup(create) => Ok(self.create_group(create, applying)),
            Command::UpdateGroup(update) => Ok(self.update_group(update, applying)),
            Command::Receive(receive) => {
                // It reads the index.
                self.close_blocks(applying);
                self.receive(receive, applying)
            }
            Command::Ack(ack) => self.ack(ack, applying),
            Command::ChangeInvisible(change) => self.change_invisible(change, applying),
            Command::DeadLetter(command) => self.give_up(command, applying),
            Command::RenewLeases(renew) => Ok(self.renew_leases(renew, applying)),
            Command::Tick => self.tick(applying),
            Command::TrimTo(to) => Ok(self.trim(*to, applying)),
            Command::Sweep => {
                self.close_blocks(applying);
                self.sweep(applying)
            }
            Command::Relocate(relocate) => {
                self.close_blocks(applying);
                self.relocate(relocate, applying)
            }
            Command::ReleaseTo(release) => Ok(self.release(*release, applying)),
            // What is in an open block belongs to what is deleted here.
            Command::DeleteTopic(delete) => {
                self.close_blocks(applying);
                Ok(self.delete_topic(delete, applying))
            }
            Command::DeleteGroup(delete) => {
                self.close_blocks(applying);
                Ok(self.delete_group(delete, applying))
            }
            Command::Erase(erase) => self.erase(erase, applying),
            Command::KeepGroups(keep) => Ok(self.keep_groups(keep, applying)),
            Command::RaiseLevel(raise) => Ok(self.raise_level(*raise, applying)),
        }
    }
}
