//! The end of a run: faults stop, everything that is left is received and acknowledged, and the replicas are compared.

use super::checkers::held_log::needed_bytes;
use super::checkers::replicas_agree::same_records;
use super::checkers::{Violation, letters, pending_kept};
use super::clients::{ABSENT, KEEPERS, LINE, May, PLAIN, REVIEWERS, VISITORS, WORKERS};
use super::ledger::{LETTERS, Standing};
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
        let order = run.operator.turn(&mut run.dice, &reader, May::Nothing);
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
        && (reader.pending(), reader.next_due()) == (0, None)
        && run.group.ledger.pending().next().is_none()
        && unread(run, &reader).is_none()
        && run.group.log.bytes_from(run.group.start()) <= run.group.held.bound(needed_bytes(&run.group.ledger))
}

/// Whom something waits for.
fn unread(run: &Run, reader: &StateReader) -> Option<String> {
    let mut read = READ.into_iter().map(|(group, topic)| (group, topic.to_owned()));
    let letters = [WORKERS, KEEPERS, ABSENT, VISITORS].map(|group| (REVIEWERS, format!("{LETTERS}{group}")));
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
        "pending {} {pending:?}, due {:?}; unread {:?}; held {:?}; erasing {}; log {bytes}, needed {needed}; settled {producers:?}; applied {}",
        reader.pending(),
        reader.next_due(),
        unread(run, &reader),
        reader.held_back(),
        reader.erasing(),
        run.group.all_applied(),
    )
}

fn compare(run: &mut Run) -> Result<(), Violation> {
    let mut records = Vec::new();
    for node in &mut run.group.nodes {
        node.finish();
        node.persist(false);
        node.finish();
        records.push(node.reader().stored());
    }
    same_records(&records)?;
    let digests: Vec<_> = run.group.nodes.iter().map(|node| node.reader().digest()).collect();
    if digests.iter().any(|digest| *digest != digests[0]) {
        return Err(Violation::new("replicas agree", format!("in the end they differ: {digests:?}")));
    }
    for node in &run.group.nodes {
        pending_kept::check(&run.group.ledger, node)?;
        letters::check(&run.group.ledger, &run.group.log, node)?;
    }
    let reader = run.group.nodes[0].reader();
    nothing_lost(run, &reader)?;
    letters_read(run, &reader)?;
    let purged = run.group.nodes.iter().filter(|node| node.first > 0).count() as u64;
    let installs = run.group.nodes.iter().map(|node| node.installs).sum();
    let figures = &mut run.group.figures;
    figures.add("entries", run.group.log.end());
    figures.add("expired unread", reader.counters().expired_unread);
    figures.add("letters", run.group.ledger.letters.values().map(|letters| letters.len() as u64).sum());
    figures.add("leases ended", run.group.ledger.ended.len() as u64);
    figures.add("purges", purged);
    figures.add("checkpoints from others", installs);
    figures.held_steps = run.group.held.steps_most;
    figures.digest = digests[0].map_or(0, |digest| digest.digest);
    Ok(())
}

/// Whatever a topic holds, each group that reads there is done with, or retention took it before the group came to it.
fn nothing_lost(run: &Run, reader: &StateReader) -> Result<(), Violation> {
    let ledger = &run.group.ledger;
    for (group, name) in READ {
        let (Some(group), Some(topic)) = (reader.group(group), reader.topic(name)) else { continue };
        for (queue, offset) in ledger.places(topic.id) {
            let key = DeliveryKey { topic: topic.id, group: group.id, queue, offset };
            let standing = ledger.standing(key);
            if !matches!(standing, Standing::Done | Standing::Gone) {
                return Err(Violation::new("nothing lost", format!("{key:?} is {standing:?} in the end")));
            }
        }
    }
    Ok(())
}

/// Every dead letter is there, and was read by the group that reads them.
fn letters_read(run: &Run, reader: &StateReader) -> Result<(), Violation> {
    let ledger = &run.group.ledger;
    for name in [WORKERS, KEEPERS, ABSENT, VISITORS, REVIEWERS].map(|group| format!("{LETTERS}{group}")) {
        let count = ledger.letters.get(&name).map_or(0, Vec::len) as u64;
        let topic = reader.topic(&name);
        let there = topic.as_ref().and_then(|topic| reader.queue_bounds(topic.id));
        let there = there.map_or(0, |of| of[0].next.0 - of[0].first.0);
        if there != count {
            return Err(Violation::new("letters", format!("{name} holds {there} letters, {count} were buried")));
        }
        let (Some(reviewers), Some(topic)) = (reader.group(REVIEWERS), topic) else { continue };
        let read = |offset: &u64| {
            let key = DeliveryKey { topic: topic.id, group: reviewers.id, queue: QueueId(0), offset: *offset };
            ledger.standing(key) == Standing::Done
        };
        // Nobody reads what its readers bury.
        if let Some(unread) = (0..count).find(|offset| !read(offset) && !name.ends_with(REVIEWERS)) {
            return Err(Violation::new("letters", format!("letter {unread} of {name} was never read")));
        }
    }
    Ok(())
}
