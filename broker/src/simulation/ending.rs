//! The end of a run: faults stop, everything that is left is received and acknowledged, and the replicas are compared.

use std::collections::BTreeMap;

use super::checkers::held_log::needed_bytes;
use super::checkers::{Violation, pending_kept};
use super::clients::{ABSENT, KEEPERS, LINE, PLAIN, REVIEWERS, VISITORS, WORKERS};
use super::ledger::Letter;
use super::log::Asker;
use super::run::{Run, WORKS};
use crate::model::QueueId;
use crate::state::{DeliveryKey, StateReader};

/// Rounds of everybody's turns after which all must be done.
const ROUNDS_MAX: u32 = 1500;
/// Rounds in which nothing is left to be done.
const QUIET: u32 = 3;
/// Who reads what.
const READ: [(&str, &str); 5] = [(WORKERS, PLAIN), (KEEPERS, LINE), (ABSENT, PLAIN), (ABSENT, LINE), (VISITORS, PLAIN)];

pub(super) fn end(run: &mut Run) -> Result<(), Violation> {
    run.group.nodes.iter_mut().filter(|node| !node.is_up()).for_each(super::node::Node::start);
    let mut quiet = 0;
    for _ in 0..ROUNDS_MAX {
        round(run)?;
        quiet = if is_quiet(run) { quiet + 1 } else { 0 };
        if quiet == QUIET {
            return compare(run);
        }
    }
    Err(Violation::new("liveness", format!("something is never done: {}", left(run))))
}

/// Everybody has a turn.
fn round(run: &mut Run) -> Result<(), Violation> {
    if run.group.leader.is_none() {
        run.group.elect(&mut run.dice, 0);
    }
    if let Some(reader) = run.group.reader() {
        let order = run.operator.turn(&mut run.dice, &reader, true);
        run.submit(order, Asker::Operator);
        for at in 0..run.producers.len() {
            let order = run.producers[at].turn(&mut run.dice, &reader, true);
            run.submit(order, Asker::Producer(at));
        }
        for at in 0..run.consumers.len() {
            let order = run.consumers[at].turn(&mut run.dice, &reader, true);
            run.submit(order, Asker::Consumer(at));
        }
    }
    for work in WORKS {
        run.work(work)?;
    }
    run.group.propose();
    for node in 0..run.settings.replicas {
        run.group.replicate(node, u64::MAX / 2, false);
    }
    for node in 0..run.settings.replicas {
        run.group.replicate(node, 0, false);
        run.group.apply(node, 1000)?;
        let node = &mut run.group.nodes[node];
        node.finish();
        node.purge();
        if node.wants_checkpoint() {
            node.persist(true);
        }
    }
    run.deliver_answers();
    run.group.now += 1500;
    Ok(())
}

fn is_quiet(run: &Run) -> bool {
    let Some(reader) = run.group.reader() else { return false };
    let settled = run.producers.iter().all(super::clients::Producer::is_settled);
    settled
        && run.group.all_applied()
        && run.group.is_idle()
        && !reader.erasing()
        && run.group.ledger.pending().next().is_none()
        && unread(run, &reader).is_none()
        && run.group.log.bytes_from(run.group.start()) <= run.group.held.bound(needed_bytes(&run.group.ledger))
}

/// Whom something waits for.
fn unread(run: &Run, reader: &StateReader) -> Option<String> {
    let mut read = READ.into_iter().map(|(group, topic)| (group, topic.to_owned()));
    let letters = [WORKERS, KEEPERS, ABSENT, VISITORS].map(|group| (REVIEWERS, format!("%DLQ%{group}")));
    let waits = |(group, topic): &(&str, String)| {
        let ids = reader.group(group).zip(reader.topic(topic));
        ids.is_some_and(|(group, topic)| reader.ready(group.id, topic.id).any())
    };
    read.by_ref()
        .chain(letters)
        .find(waits)
        .map(|(group, topic)| format!("{group} at {topic}"))
        .or_else(|| run.group.leader.is_none().then(|| String::from("nobody leads")))
}

/// What is not done, for the message.
fn left(run: &Run) -> String {
    let Some(reader) = run.group.reader() else { return String::from("nobody serves") };
    let pending: Vec<_> = run.group.ledger.pending().take(3).collect();
    let (bytes, needed) = (run.group.log.bytes_from(run.group.start()), needed_bytes(&run.group.ledger));
    let producers: Vec<_> = run.producers.iter().map(super::clients::Producer::is_settled).collect();
    format!(
        "pending {pending:?}; unread {:?}; held {:?}; erasing {}; log {bytes}, needed {needed}; settled {producers:?}; applied {}",
        unread(run, &reader),
        reader.held_back(),
        reader.erasing(),
        run.group.all_applied(),
    )
}

fn compare(run: &mut Run) -> Result<(), Violation> {
    let digests: Vec<_> = run.group.nodes.iter().map(|node| node.reader().digest()).collect();
    if digests.iter().any(|digest| *digest != digests[0]) {
        return Err(Violation::new("replicas agree", format!("in the end they differ: {digests:?}")));
    }
    for node in &run.group.nodes {
        pending_kept::check(&run.group.ledger, node)?;
    }
    let reader = run.group.nodes[0].reader();
    nothing_lost(run, &reader)?;
    letters_read(run, &reader)?;
    let counters = reader.counters();
    run.figures.entries = run.group.log.end();
    run.figures.expired = counters.expired_unread;
    run.figures.letters = run.group.ledger.letters.values().map(|count| u64::from(*count)).sum();
    run.figures.trimmed_to = run.group.start();
    run.figures.purged_to = run.group.nodes.iter().map(|node| node.first).max().unwrap_or(0);
    run.figures.installs = run.group.nodes.iter().map(|node| node.installs).sum();
    run.figures.digest = digests[0].map_or(0, |digest| digest.digest);
    Ok(())
}

/// Whatever a topic holds, each group that reads there is done with, or retention took it before the group came to it, or somebody
/// of the group did not want it.
fn nothing_lost(run: &Run, reader: &StateReader) -> Result<(), Violation> {
    let ledger = &run.group.ledger;
    for (group, name) in READ {
        let (Some(group), Some(topic)) = (reader.group(group), reader.topic(name)) else { continue };
        for (queue, messages) in (0..).map(QueueId).zip(&ledger.topics[&topic.id].queues) {
            for (offset, stored) in (0..).zip(messages) {
                let key = DeliveryKey { topic: topic.id, group: group.id, queue, offset };
                let done = match ledger.deliveries.get(&key) {
                    Some(delivery) => delivery.is_done(),
                    None => ledger.passed(key.group, stored) || ledger.unwanted.contains(&key),
                };
                if !done {
                    return Err(Violation::new("nothing lost", format!("{key:?} was never delivered")));
                }
            }
        }
    }
    Ok(())
}

/// Every dead letter is there, and was read by the group that reads them.
fn letters_read(run: &Run, reader: &StateReader) -> Result<(), Violation> {
    let ledger = &run.group.ledger;
    let Some(reviewers) = reader.group(REVIEWERS) else { return Ok(()) };
    let mut expected: BTreeMap<Letter, u32> = ledger.letters.clone();
    let own = format!("%DLQ%{REVIEWERS}");
    for name in [WORKERS, KEEPERS, ABSENT, VISITORS, REVIEWERS].map(|group| format!("%DLQ%{group}")) {
        let count: u64 = ledger.letters.iter().filter(|((of, ..), _)| *of == name).map(|(_, n)| u64::from(*n)).sum();
        let topic = reader.topic(&name);
        let there = topic.and_then(|topic| reader.queue_bounds(topic.id)).map_or(0, |of| of[0].next.0 - of[0].first.0);
        if there != count {
            return Err(Violation::new("letters", format!("{name} holds {there} letters, {count} were buried")));
        }
    }
    for (key, delivery) in ledger.deliveries.iter().filter(|(key, _)| key.group == reviewers.id) {
        let Some(topic) = ledger.topics.get(&key.topic).filter(|topic| !topic.gone) else { continue };
        let Some(origin) = delivery.origin else { continue };
        let of = (topic.name.clone(), origin.topic, origin.queue.0, origin.offset.0);
        match expected.get_mut(&of).filter(|left| **left > 0) {
            Some(left) => *left -= 1,
            None => return Err(Violation::new("letters", format!("{of:?} was read and never buried"))),
        }
    }
    match expected.iter().find(|((name, ..), left)| **left > 0 && *name != own) {
        Some((letter, left)) => Err(Violation::new("letters", format!("{left} of {letter:?} were never read"))),
        None => Ok(()),
    }
}
