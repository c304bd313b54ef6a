//! Short histories, made by hand, for the tests of the checkers.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use raft_log::sim::observe::{Deed, Entry, Event};
use raft_log::storage::HardState;
use raft_log::types::{Incarnation, LogId, LogIndex, NodeId, Term};
use raft_log::{MemberNode, Membership, NodeAddresses, RecordKind};

use crate::checkers::Checker;
use crate::hosts::host;
use crate::view::View;

pub(super) fn id(term: u64, index: u64) -> LogId {
    LogId { term: Term(term), index: LogIndex(index) }
}

/// A command.
pub(super) fn entry(term: u64, index: u64) -> Entry {
    Entry { id: id(term, index), kind: RecordKind::Command, payload_crc: 7 }
}

/// What node 1, 2, ... did.
pub(super) fn by(node: usize, deed: Deed) -> Event {
    Event { node: host(node - 1), deed }
}

pub(super) fn appended(node: usize, entries: &[Entry]) -> Event {
    by(node, Deed::Appended(entries.to_vec()))
}

pub(super) fn persisted(node: usize, term: u64, index: u64) -> Event {
    by(node, Deed::Persisted(id(term, index)))
}

pub(super) fn applied(node: usize, entry: Entry) -> Event {
    by(node, Deed::Applied(entry, Bytes::new()))
}

/// It saved a vote for a candidate of this term, or, `committed`, for its leader.
pub(super) fn voted(node: usize, term: u64, candidate: u64, committed: bool) -> Event {
    by(node, Deed::Voted(vote(term, candidate, committed)))
}

/// It voted for a candidate of this term.
pub(super) fn granted(node: usize, term: u64, candidate: u64) -> Event {
    by(node, Deed::Granted(vote(term, candidate, false)))
}

pub(super) fn vote(term: u64, candidate: u64, committed: bool) -> HardState {
    HardState { term: Term(term), voted_for: Some(NodeId(candidate)), committed }
}

pub(super) fn opened(node: usize, entries: &[Entry], vote: Option<HardState>) -> Event {
    let end = LogIndex(entries.last().map_or(0, |last| last.id.index.0 + 1));
    by(node, Deed::Opened { purged: None, entries: entries.to_vec(), end, in_doubt: false, vote })
}

fn membership(voters: &[&[u64]], learners: &[u64]) -> Membership {
    let configs: Vec<BTreeSet<NodeId>> =
        voters.iter().map(|voters| voters.iter().copied().map(NodeId).collect()).collect();
    let member = MemberNode {
        addresses: NodeAddresses::default(),
        incarnation: Incarnation(1),
        retired: std::collections::BTreeSet::new(),
    };
    let nodes: BTreeMap<NodeId, MemberNode> = configs
        .iter()
        .flatten()
        .copied()
        .chain(learners.iter().copied().map(NodeId))
        .map(|node| (node, member.clone()))
        .collect();
    Membership { configs, nodes }
}

/// An entry that states a membership.
pub(super) fn states(term: u64, index: u64) -> Entry {
    Entry { kind: RecordKind::Membership, ..entry(term, index) }
}

/// Node 1 is about to append such an entry.
pub(super) fn configured(term: u64, index: u64, voters: &[&[u64]], learners: &[u64]) -> Event {
    by(1, Deed::Configured(id(term, index), membership(voters, learners)))
}

/// A group of these voters, formed by entry 0, which all of them hold; node 1 leads term 1, and the others follow it.
pub(super) fn group(voters: &[u64], learners: &[u64]) -> Vec<Event> {
    let mut events = vec![configured(0, 0, &[voters], learners)];
    for node in voters.iter().chain(learners) {
        let node = usize::try_from(*node).unwrap();
        events.extend([voted(node, 1, 1, true), appended(node, &[states(0, 0), entry(1, 1)]), persisted(node, 1, 1)]);
    }
    events.extend([applied(1, states(0, 0)), applied(1, entry(1, 1))]);
    events
}

/// Shows a history to a checker; the number of the first event that it objects to.
pub(super) fn objection(checker: &mut dyn Checker, events: &[Event]) -> Option<usize> {
    objection_in(checker, &mut View::default(), events)
}

/// The same, in a view that knows something already.
pub(super) fn objection_in(checker: &mut dyn Checker, view: &mut View, events: &[Event]) -> Option<usize> {
    events.iter().position(|event| {
        let broken = checker.check(view, event).is_err();
        view.take(event);
        broken
    })
}

/// The checker objects to the last event of `broken` and to nothing before, and to nothing in `kept`.
pub(super) fn tells_apart<C: Checker>(mut checker: impl FnMut() -> C, kept: &[Event], broken: &[Event]) {
    assert_eq!(objection(&mut checker(), kept), None, "it keeps the promise");
    assert_eq!(objection(&mut checker(), broken), Some(broken.len() - 1), "it breaks the promise");
}
