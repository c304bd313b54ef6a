//! How a leader finds what holds the log: a bounded number of looks for each move, whatever else there is.

use bytes::Bytes;
use raft_log::ApplyKind;
use raft_log::types::LogIndex;

use super::harness::{INVISIBLE_MS, Rig};
use crate::consume::keep::{Round, Step, next_step};
use crate::model::{GroupSettings, TopicType};
use crate::state::planted::{Bug, plant};
use crate::state::{Counts, DeliveryKey, Holder, Outcome, relocate, sweep, trim_to};

fn next(rig: &Rig, round: &mut Round) -> Option<Step> {
    let payload = |index: LogIndex| match &rig.log[usize::try_from(index.0).unwrap()].kind {
        ApplyKind::Command(payload) => Ok::<Bytes, String>(payload.clone()),
        _ => Err(format!("{index} holds no commands")),
    };
    next_step(&rig.reader(), round, payload).unwrap()
}

/// A trim; the queues have followed it when this returns.
fn trim(rig: &mut Rig, to: u64) {
    assert!(matches!(rig.one(&trim_to(LogIndex(to))), Outcome::Trimmed { .. }));
    while rig.reader().sweep_due() {
        rig.one(&sweep());
    }
}

#[test]
fn no_more_is_looked_at_than_is_needed_to_find_what_holds_the_start() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    rig.publish(topic, &[(0, "", "")]);
    let end = rig.log.len() as u64;
    rig.publish(topic, &[(0, "", ""); 20]);
    let group = rig.group("g", GroupSettings { max_attempts: 1, ..GroupSettings::default() });
    let picks = rig.receive(group, topic, 30);
    trim(&mut rig, end);
    let held = rig.reader().held_back().unwrap();
    let holders = rig.reader().holders(held.before, 9, DeliveryKey::FIRST).unwrap();
    assert_eq!((holders.found.len(), holders.looked_at), (1, 2), "its subscription, and itself");

    // A dead letter is found by its place.
    rig.give_up(group, topic, &picks[0]);
    assert_eq!(rig.reader().held_back().unwrap().counts, Counts { deliveries: 0, dead_letters: 1 });
    let holders = rig.reader().holders(held.before, 9, DeliveryKey::FIRST).unwrap();
    assert_eq!((holders.found.len(), holders.looked_at), (1, 0));
}

#[test]
fn a_round_over_all_deliveries_goes_on_where_the_last_look_ended() {
    let mut rig = Rig::new();
    let (young, old) = (rig.topic("young", 2, TopicType::Normal), rig.topic("old", 1, TopicType::Normal));
    let group = rig.group("g", GroupSettings::default());
    let first = rig.log.len() as u64;
    rig.publish(old, &[(0, "", "")]);
    rig.publish(young, &[(0, "", ""); 150]);
    rig.publish(young, &[(1, "", ""); 150]);
    assert_eq!(rig.receive(group, young, 300).len() + rig.receive(group, old, 1).len(), 301);
    trim(&mut rig, first + 1);
    let (mut round, mut looks) = (Round::default(), 1);
    let bodies = loop {
        match next(&rig, &mut round) {
            Some(Step::LookOn) => looks += 1,
            Some(Step::Move(_, bodies)) => break bodies,
            other => panic!("{other:?}"),
        }
    };
    assert!((4..=5).contains(&looks), "302 to look at, 100 at once: {looks}");
    rig.one(&relocate(&bodies));
    assert!(matches!(next(&rig, &mut round), Some(Step::Trim(to)) if to.0 == first + 1));
}

/// They hold the log until they are erased, and nobody can move them: until then nothing is proposed, and what holds it beside them is
/// found behind them.
#[test]
fn the_letters_of_a_deleted_topic_are_waited_for() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    let groups = ["gone", "there"].map(|name| {
        let settings = GroupSettings { max_attempts: 1, ..GroupSettings::default() };
        (rig.group(name, settings), if name == "gone" { 5 } else { 2 })
    });
    rig.publish(topic, &[(0, "", ""); 5]);
    for (group, count) in groups {
        assert_eq!(rig.receive(group, topic, count).len(), usize::from(count));
    }
    rig.pass(INVISIBLE_MS);
    let [gone, there] = ["%DLQ%gone", "%DLQ%there"].map(|name| rig.reader().topic(name).unwrap().id);
    rig.delete_topic(gone);
    let end = rig.log.len() as u64;
    trim(&mut rig, end);
    let held = rig.reader().held_back().unwrap();
    assert_eq!(held.counts, Counts { deliveries: 0, dead_letters: 7 });
    let found = rig.reader().holders(held.before, 2, DeliveryKey::FIRST).unwrap().found;
    let found: Vec<_> = found.into_iter().map(|(_, holder)| holder).collect();
    assert_eq!(found, [0, 1].map(|offset| Holder::DeadLetter { topic: there, offset }), "two of those that are there");

    let mut round = Round::default();
    let Some(Step::Move(_, bodies)) = next(&rig, &mut round) else { panic!("what is there moves") };
    rig.one(&relocate(&bodies));
    for _ in 0..5 {
        assert!(matches!(next(&rig, &mut round), Some(Step::Missing { news: false, .. })));
    }
    rig.erase_all(1);
    assert!(matches!(next(&rig, &mut round), Some(Step::Trim(to)) if to.0 == end));
}

#[test]
fn what_is_counted_and_nowhere_is_told_once_and_nothing_is_proposed() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    rig.publish(topic, &[(0, "", "")]);
    let end = rig.log.len() as u64;
    rig.publish(topic, &[(0, "", "")]);
    let group = rig.group("g", GroupSettings::default());
    assert_eq!(rig.receive(group, topic, 1).len(), 1);
    trim(&mut rig, end);
    let mut round = Round::default();
    let Some(Step::Move(_, bodies)) = next(&rig, &mut round) else { panic!("it is there") };
    plant(Some(Bug::CountStays));
    rig.one(&relocate(&bodies));
    plant(None);
    let steps: Vec<_> = (0..9).filter_map(|_| next(&rig, &mut round)).collect();
    assert!(steps.iter().all(|step| matches!(step, Step::LookOn | Step::Missing { .. })), "{steps:?}");
    assert_eq!(steps.iter().filter(|step| matches!(step, Step::Missing { news: true, .. })).count(), 1, "{steps:?}");
}
