//! What a leader does by itself: the decisions are those of the broker's own loops; only when they look is decided here.

use std::collections::BTreeSet;

use raft_log::StateMachine;
use raft_log::types::{LogIndex, Term, UnixMillis};

use super::log::{Log, Work};
use super::node::Node;
use super::order::Order;
use crate::consume::keep::{Round, Step, next_step};
use crate::consume::millis;
use crate::consume::timers::{OVERDUE_GRACE, is_due, to_renew};
use crate::model::{ClientKey, ConsumerGroupId};
use crate::state::{Erase, KeepGroups, Looked, ReleaseTo, StateReader, UnreadLook};

/// Records that one step of an erasure takes.
const ERASED_AT_ONCE: u32 = 5;
/// Idle time after which automatic groups go, and how often the leader says who is polled for.
const IDLE_GROUP_MS: u64 = 240_000;
const IDLE_EVERY_MS: u64 = 60_000;

/// A replica that leads.
#[derive(Debug)]
pub(super) struct Leader {
    pub(super) node: usize,
    pub(super) term: Term,
    /// How far its clock is ahead.
    ahead: u64,
    /// When it began to serve; nothing before its first entry is applied.
    serves_from: Option<u64>,
    /// Whether deliveries were due when it began.
    overdue: bool,
    idle_at: u64,
    round: Round,
    unread: Option<UnreadLook>,
    /// What has a command under way.
    pub(super) busy: BTreeSet<Work>,
    /// Behind the last entry that it has applied while it leads.
    pub(super) applied: u64,
}

impl Leader {
    pub(super) fn new(node: usize, term: Term, ahead: u64) -> Leader {
        let (serves_from, overdue, idle_at, busy, applied) = (None, false, 0, BTreeSet::new(), 0);
        let (round, unread) = (Round::default(), None);
        Leader { node, term, ahead, serves_from, overdue, idle_at, round, unread, busy, applied }
    }

    /// What it proposed last may still come, and it proposes again.
    pub(super) fn give_up_waiting(&mut self) {
        self.busy.clear();
        self.round = Round::default();
    }

    /// The time that it stamps (hazards 19).
    pub(super) fn stamp(&self, now: u64, reader: &StateReader) -> UnixMillis {
        UnixMillis(now + self.ahead).max(reader.clock())
    }

    /// Its first entry is applied.
    pub(super) fn serve(&mut self, now: u64, reader: &StateReader) {
        if self.serves_from.is_none() {
            (self.serves_from, self.idle_at) = (Some(now), now + IDLE_EVERY_MS);
            self.overdue = is_due(reader, self.stamp(now, reader));
        }
    }

    pub(super) fn serves(&self) -> bool {
        self.serves_from.is_some()
    }

    /// What there is to do of one kind. An error says that what is needed cannot be read.
    pub(super) fn work(&mut self, work: Work, at: &At<'_>, seen: &Seen<'_>) -> Result<Vec<Order>, String> {
        let At { now, node, log } = *at;
        let Some(since) = self.serves_from else { return Ok(Vec::new()) };
        if self.busy.contains(&work) {
            return Ok(Vec::new());
        }
        let reader = node.reader();
        let stamp = self.stamp(now, &reader);
        let one = |order: Option<Order>| order.into_iter().collect();
        Ok(match work {
            Work::Tick => {
                let waits = self.overdue && now < since + millis(OVERDUE_GRACE);
                one((!waits && is_due(&reader, stamp)).then_some(Order::Tick))
            }
            Work::Renew => {
                let renew = to_renew(&reader, stamp, seen.lives);
                let alone = |renew: crate::state::RenewLeases| {
                    let each = renew.clients.clone().into_iter();
                    each.map(|client| {
                        Order::Renew(crate::state::RenewLeases { clients: vec![client], ..renew.clone() })
                    })
                    .collect()
                };
                renew.map_or(Vec::new(), alone)
            }
            Work::Keep => one(match next_step(&reader, &mut self.round, |index| node.read(log, index))? {
                Some(Step::Sweep) => Some(Order::Sweep),
                Some(Step::Move(_, bodies)) => Some(Order::Relocate(bodies)),
                Some(Step::Trim(to)) => Some(Order::Trim(to)),
                Some(Step::Missing { held, news: true }) => return Err(format!("nobody needs {held:?}")),
                Some(Step::LookOn | Step::Missing { .. }) | None => None,
            }),
            Work::Erase => one(reader.erasing().then_some(Order::Erase(Erase { records: ERASED_AT_ONCE }))),
            Work::Idle if now < self.idle_at => Vec::new(),
            Work::Idle => {
                self.idle_at = now + IDLE_EVERY_MS;
                let (polled, unused_ms, idle_ms) = (seen.polled.to_vec(), IDLE_GROUP_MS / 2, IDLE_GROUP_MS);
                one(reader.has_automatic_groups().then_some(Order::Keep(KeepGroups { polled, unused_ms, idle_ms })))
            }
            Work::Retain => one(over(node, log, seen.log_bytes_max).map(Order::Trim)),
            Work::Release if seen.disk_is_full => one(self.release(&reader, at, seen)?.map(Order::Release)),
            Work::Release => Vec::new(),
        })
    }
}

impl Leader {
    /// Looks on for what everybody has read, one slice in a turn, or begins to; so the state changes in between.
    fn release(&mut self, reader: &StateReader, at: &At<'_>, seen: &Seen<'_>) -> Result<Option<ReleaseTo>, String> {
        let begun = self.unread.take();
        let begin = || reader.look_for_unread(over(at.node, at.log, seen.log_bytes_max / 4)?);
        let Some(look) = begun.or_else(begin) else { return Ok(None) };
        match reader.look_on(look).map_err(|error| error.to_string())? {
            Looked::Further(look) => self.unread = Some(look),
            Looked::Done(release) => return Ok(Some(release)),
            Looked::Nothing => {}
        }
        Ok(None)
    }
}

/// What a leader looks at.
#[derive(Clone, Copy)]
pub(super) struct At<'a> {
    pub(super) now: u64,
    pub(super) node: &'a Node,
    pub(super) log: &'a Log,
}

/// What it is set to, and what its doors have seen.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) log_bytes_max: u64,
    pub(super) disk_is_full: bool,
    /// Groups that are polled for.
    pub(super) polled: &'a [ConsumerGroupId],
    /// Whether a client's heartbeats come.
    pub(super) lives: &'a dyn Fn(ClientKey) -> bool,
}

/// The first entry that retention leaves, if that is further than it has asked for.
fn over(node: &Node, log: &Log, log_bytes_max: u64) -> Option<LogIndex> {
    let end = node.next();
    let (mut first, mut bytes) = (end, 0);
    while first > node.first {
        bytes += log.entry(first - 1).payload().len() as u64;
        if bytes > log_bytes_max {
            break;
        }
        first -= 1;
    }
    let asked = node.reader().held_back().map_or(node.state().needed_from(), |held| held.to);
    (LogIndex(first) > asked).then_some(LogIndex(first))
}
