//! A command is refused for a reason only, and answered by what it is.

use crate::model::TopicId;
use crate::simulation::ledger::{Applied, Ledger};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::{Created, Deleted, Outcome, ProducerStamp, PublishRefusal};

/// Served time after which the state may forget a producer, in tests.
const FORGOTTEN_AFTER_MS: u64 = 10_000;

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    if is_expected(ledger, applied.order, applied.outcome) {
        return Ok(());
    }
    Err(format!("{:?} is answered by {:?}", applied.order, applied.outcome))
}

fn is_expected(ledger: &Ledger, order: &Order, outcome: &Outcome) -> bool {
    let there = |topic: &TopicId| ledger.topics.get(topic).is_some_and(|line| !line.gone);
    match order {
        Order::Publish { topic, producer, .. } => match outcome {
            Outcome::Stored(_) => there(topic),
            Outcome::PublishRefused(PublishRefusal::UnknownTopic) => !there(topic),
            Outcome::PublishRefused(PublishRefusal::UnknownProducer) => {
                there(topic) && producer.is_some_and(|stamp| may_be_unknown(ledger, *topic, stamp))
            }
            _ => false,
        },
        Order::Receive(of) => known(ledger.lives(of.topic, of.group), outcome, |of| matches!(of, Outcome::Received(_))),
        Order::Ack(of) => known(
            ledger.lives(of.topic, of.group),
            outcome,
            |answer| matches!(answer, Outcome::Acked(settled) if settled.len() == of.entries.len()),
        ),
        Order::Change(of) => known(ledger.lives(of.topic, of.group), outcome, |of| matches!(of, Outcome::Changed(_))),
        Order::GiveUp(of) => {
            known(ledger.lives(of.topic, of.group), outcome, |of| matches!(of, Outcome::DeadLettered(_)))
        }
        Order::Renew(_) => matches!(outcome, Outcome::Renewed(_)),
        Order::Tick => matches!(outcome, Outcome::Ticked),
        Order::Trim(_) | Order::Release(_) => matches!(outcome, Outcome::Trimmed { .. }),
        Order::Sweep => matches!(outcome, Outcome::Swept { .. }),
        Order::Relocate(_) => matches!(outcome, Outcome::Relocated(_)),
        Order::Erase(_) => matches!(outcome, Outcome::Erased { .. }),
        Order::Keep(_) => matches!(outcome, Outcome::GroupsKept { .. }),
        _ => is_expected_of_names(ledger, order, outcome),
    }
}

fn is_expected_of_names(ledger: &Ledger, order: &Order, outcome: &Outcome) -> bool {
    let topic = |name: &str| ledger.topics.iter().find(|(_, of)| !of.gone && of.name == name).map(|(id, _)| *id);
    let group = |name: &str| ledger.groups.iter().find(|(_, of)| !of.gone && of.name == name).map(|(id, _)| *id);
    let deleted = |there: bool| *outcome == Outcome::Deleted(if there { Deleted::Done } else { Deleted::Unknown });
    match order {
        Order::Bootstrap(_) => matches!(outcome, Outcome::Bootstrapped { .. }),
        Order::CreateTopic(create) => match (topic(create.name.as_str()), outcome) {
            (None, Outcome::Topic(Created::New(id))) => !ledger.topics.contains_key(id),
            (Some(there), Outcome::Topic(Created::Same(id))) => there == *id,
            _ => false,
        },
        Order::CreateGroup(create) => match (group(create.name.as_str()), outcome) {
            (None, Outcome::Group(Created::New(id))) => !ledger.groups.contains_key(id),
            (None, Outcome::Group(Created::Buried)) => create.automatic,
            (Some(there), Outcome::Group(Created::Same(id) | Created::Other(id, _))) => there == *id,
            _ => false,
        },
        Order::UpdateGroup(update) => {
            let there = group(update.name.as_str()).is_some();
            known(there, outcome, |answer| matches!(answer, Outcome::GroupUpdated(_)))
        }
        Order::DeleteTopic(delete) => deleted(ledger.topics.get(&delete.topic).is_some_and(|of| !of.gone)),
        Order::DeleteGroup(delete) => deleted(ledger.groups.get(&delete.group).is_some_and(|of| !of.gone)),
        _ => false,
    }
}

/// What is there is done, and of what is not there that is said.
fn known(there: bool, outcome: &Outcome, done: impl Fn(&Outcome) -> bool) -> bool {
    if there { done(outcome) } else { matches!(outcome, Outcome::Unknown(_)) }
}

/// A producer that has stored nothing, or nothing for long, and may have sent this before.
fn may_be_unknown(ledger: &Ledger, topic: TopicId, stamp: ProducerStamp) -> bool {
    let again = stamp.unsettled.map_or(stamp.base_sequence > 0, |unsettled| unsettled.again);
    let used = ledger.sequences.get(&(topic, stamp.id, stamp.epoch)).map(|of| of.used);
    again && used.is_none_or(|used| ledger.clock >= used + FORGOTTEN_AFTER_MS)
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Rig, stamp};
    use super::*;
    use crate::state::{Settled, UnknownName};

    #[test]
    fn refusals_without_a_reason_are_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1], stamp(0, 0)).unwrap();
        for refusal in [PublishRefusal::UnknownTopic, PublishRefusal::UnknownProducer] {
            rig.expect("refusals", |rig| rig.refuse(stamp(2, 2), Outcome::PublishRefused(refusal)));
        }
        rig.expect("refusals", |rig| rig.answer_receive(Outcome::Unknown(UnknownName::Group)));
        rig.receive(&[(0, 1)]).unwrap();
        rig.expect("refusals", |rig| rig.answer_ack(0, Outcome::Unknown(UnknownName::Topic)));
        rig.expect("refusals", |rig| rig.answer_ack(0, Outcome::Acked(vec![])));
        rig.answer_ack(0, Outcome::Acked(vec![Settled::Done])).unwrap();
        rig.expect("refusals", |rig| rig.delete_topic(Deleted::Unknown));
        rig.delete_topic(Deleted::Done).unwrap();
        rig.expect("refusals", |rig| rig.delete_topic(Deleted::Done));
        rig.expect("refusals", |rig| rig.publish(&[2], None));
        rig.refuse(stamp(2, 2), Outcome::PublishRefused(PublishRefusal::UnknownTopic)).unwrap();
        rig.answer_receive(Outcome::Unknown(UnknownName::Topic)).unwrap();
    }
}
