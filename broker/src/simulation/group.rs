//! A broker group: its log, its replicas, whoever leads, and what is known of all of them.

use raft_log::StateMachine;
use raft_log::types::{ClusterId, GroupId, LogIndex, Term};

use super::checkers::held_log::HeldLog;
use super::checkers::replicas_agree::ReplicasAgree;
use super::checkers::{Violation, check, pending_kept};
use super::dice::Dice;
use super::leader::{At, Leader, Seen};
use super::ledger::{Applied, Ledger, TopicLine};
use super::log::{Asker, Log, Work};
use super::node::{AppliedEntry, Node};
use super::order::Order;
use super::report::Figures;
use crate::state::{Bootstrap, Level, Outcome, StateReader, entry_stamp, outcomes};

/// See the module.
pub(super) struct Group {
    pub(super) log: Log,
    pub(super) nodes: Vec<Node>,
    pub(super) leader: Option<Leader>,
    pub(super) ledger: Ledger,
    pub(super) now: u64,
    /// What was answered, and what was lost.
    pub(super) answers: Vec<(Asker, Option<Outcome>)>,
    pub(super) held: HeldLog,
    pub(super) figures: Figures,
    term: Term,
    agree: ReplicasAgree,
    /// What waits for the next entry.
    waiting: Vec<(Order, Asker)>,
}

impl Group {
    pub(super) fn new(nodes: Vec<Node>, log_bytes_max: u64) -> Group {
        Group {
            log: Log::default(),
            nodes,
            leader: None,
            ledger: Ledger::default(),
            now: 1_000_000,
            answers: Vec::new(),
            held: HeldLog::new(log_bytes_max),
            figures: Figures::default(),
            term: Term(0),
            agree: ReplicasAgree::default(),
            waiting: Vec::new(),
        }
    }

    /// What a client sees at the leader; nothing while nobody serves.
    pub(super) fn reader(&self) -> Option<StateReader> {
        let leader = self.leader.as_ref().filter(|leader| leader.serves())?;
        Some(self.nodes[leader.node].reader())
    }

    pub(super) fn submit(&mut self, order: Order, asker: Asker) {
        let unformed = self.reader().is_some_and(|reader| reader.cluster().is_none());
        if unformed && matches!(order, Order::CreateTopic(_)) {
            // In service, the leader has done so before anybody asks it for a topic.
            let (cluster, group) = (ClusterId(1), GroupId(1));
            let first = Bootstrap { cluster, group, level: Level::NEWEST, handle_key: [7; 32] };
            self.waiting.push((Order::Bootstrap(first), Asker::Nobody));
        }
        self.waiting.push((order, asker));
    }

    /// A loop of the leader looks for something to do.
    pub(super) fn work(&mut self, work: Work, seen: &Seen<'_>) -> Result<(), Violation> {
        let Some(leader) = &mut self.leader else { return Ok(()) };
        let at = At { now: self.now, node: &self.nodes[leader.node], log: &self.log };
        let orders = leader.work(work, &at, seen).map_err(|what| Violation::new("needed is readable", what))?;
        if !orders.is_empty() {
            leader.busy.insert(work);
        }
        self.waiting.extend(orders.into_iter().map(|order| (order, Asker::Leader(work))));
        Ok(())
    }

    /// The leader makes an entry of what waits.
    pub(super) fn propose(&mut self) {
        let Some(leader) = self.leader.as_ref().filter(|leader| leader.serves()) else { return };
        if self.waiting.is_empty() {
            return;
        }
        let stamp = leader.stamp(self.now, &self.nodes[leader.node].reader());
        self.log.append_orders(leader.term, stamp, std::mem::take(&mut self.waiting));
        self.nodes[leader.node].has = self.log.end();
    }

    /// Somebody else leads, or nobody.
    pub(super) fn depose(&mut self) {
        let Some(leader) = self.leader.take() else { return };
        let node = &self.nodes[leader.node];
        let applied = if node.is_up() { node.next() } else { leader.applied };
        // Whoever waits for what this leader has not applied hears nothing, whatever becomes of it.
        let unheard = self.log.forget_askers(applied);
        let waiting = std::mem::take(&mut self.waiting).into_iter().map(|(_, asker)| asker);
        self.answers.extend(unheard.into_iter().chain(waiting).map(|asker| (asker, None)));
    }

    fn majority(&self) -> usize {
        self.nodes.len() / 2 + 1
    }

    /// An election; whoever has everything that is committed may win. Its entries are the log then.
    pub(super) fn elect(&mut self, dice: &mut Dice, ahead: u64) {
        let committed = self.log.committed();
        let up: Vec<usize> = (0..self.nodes.len()).filter(|node| self.nodes[*node].is_up()).collect();
        let able: Vec<usize> = up.iter().copied().filter(|node| self.nodes[*node].has >= committed).collect();
        if up.len() < self.majority() || able.is_empty() {
            return;
        }
        self.depose();
        let node = dice.of(&able);
        let end = self.nodes[node].has;
        self.log.lose_from(end);
        self.nodes.iter_mut().for_each(|node| node.has = node.has.min(end));
        self.term = Term(self.term.0 + 1);
        self.log.append_blank(self.term);
        self.nodes[node].has = self.log.end();
        self.leader = Some(Leader::new(node, self.term, ahead));
    }

    /// A follower gets the next entries, or a checkpoint if they are not there any more.
    pub(super) fn replicate(&mut self, to: usize, count: u64, interrupted: bool) {
        let Some(leader) = &self.leader else { return };
        let (from, term) = (leader.node, leader.term);
        if !self.nodes[to].is_up() {
            return;
        }
        if to != from {
            if self.nodes[to].has < self.nodes[from].first {
                let [follower, leader] = self.nodes.get_disjoint_mut([to, from]).expect("two replicas");
                follower.install(leader, interrupted);
            }
            let node = &mut self.nodes[to];
            node.has = (node.has + count).min(self.log.end());
        }
        let mut ends: Vec<u64> = self.nodes.iter().map(|node| node.has).collect();
        ends.sort_unstable_by(|one, other| other.cmp(one));
        self.log.commit(ends[self.majority() - 1], term);
        self.nodes[to].knows = self.log.committed();
        self.nodes[from].knows = self.log.committed();
    }

    /// A replica applies some entries, in one call.
    pub(super) fn apply(&mut self, node: usize, count: u64) -> Result<(), Violation> {
        let mut new = false;
        for applied in self.nodes[node].apply(&self.log, count) {
            let results = outcomes_of(&applied);
            if self.agree.check(&applied)? {
                new = true;
                self.enter(applied.index, &results)?;
            }
            self.answer(node, applied.index, results);
        }
        if new {
            self.learn_names(node);
            if self.ledger.moved {
                pending_kept::check(&self.ledger, &self.nodes[node])?;
                self.ledger.moved = false;
            }
        }
        Ok(())
    }

    /// The leader answers what it proposed.
    fn answer(&mut self, node: usize, index: u64, results: Vec<Outcome>) {
        let Some(leader) = self.leader.as_mut().filter(|leader| leader.node == node) else { return };
        leader.applied = index + 1;
        if self.log.entry(index).apply.id.term != leader.term {
            return;
        }
        leader.serve(self.now, &self.nodes[node].reader());
        for (asker, outcome) in self.log.take_askers(index).into_iter().zip(results) {
            if let Asker::Leader(work) = asker {
                leader.busy.remove(&work);
            }
            self.answers.push((asker, Some(outcome)));
        }
    }

    /// Checks the commands of an entry that no replica has applied before, and enters them.
    fn enter(&mut self, index: u64, results: &[Outcome]) -> Result<(), Violation> {
        let entry = self.log.entry(index);
        if entry.orders.is_empty() {
            return Ok(());
        }
        self.ledger.begin_entry(entry_stamp(entry.payload()).expect("an entry of ours").0);
        assert_eq!(entry.orders.len(), results.len(), "one outcome for each command");
        for ((order, _), outcome) in entry.orders.iter().zip(results) {
            let applied = Applied { index: LogIndex(index), order, outcome };
            check(&self.ledger, &self.log, &applied)?;
            self.figures.count(&self.ledger, &applied);
            self.ledger.enter(&applied);
            self.held.check(&self.ledger, &self.log, order)?;
        }
        Ok(())
    }

    /// Topics that dead letters made.
    fn learn_names(&mut self, node: usize) {
        let reader = self.nodes[node].reader();
        for topic in reader.topics().into_iter().filter(|topic| topic.name.is_dead_letter()) {
            let name = topic.name.as_str().to_owned();
            let line = || TopicLine { name, ..TopicLine::default() };
            self.ledger.topics.entry(topic.id).or_insert_with(line);
        }
    }

    /// How far every replica needs to come.
    pub(super) fn all_applied(&self) -> bool {
        let up = |node: &Node| node.is_up() && node.next() == self.log.end();
        self.nodes.iter().all(up)
    }

    /// Nobody has asked for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The leader's replica.
    pub(super) fn leading(&self) -> Option<&Node> {
        self.leader.as_ref().map(|leader| &self.nodes[leader.node])
    }

    /// The readable start as the leader knows it.
    pub(super) fn start(&self) -> u64 {
        self.leading().map_or(0, |node| node.state().needed_from().0)
    }
}

fn outcomes_of(applied: &AppliedEntry) -> Vec<Outcome> {
    if applied.response.is_empty() { Vec::new() } else { outcomes(&applied.response).expect("an answer of the state") }
}
