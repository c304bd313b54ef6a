use raft_log::StateMachine;

use super::harness::{Rig, receive};
use crate::model::{ConsumerGroupId, GroupName, GroupSettings, TopicId, TopicType};
use crate::state::apply_limits::GROUPS_MAX;
use crate::state::{CreateGroup, Created, IDLE_AT_ONCE_MAX, KeepGroups, Outcome};

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn automatic(rig: &mut Rig, name: &str) -> Created<ConsumerGroupId, GroupSettings> {
    let name = GroupName::parse(name).unwrap();
    let create = CreateGroup { name, settings: GroupSettings::default(), automatic: true };
    match rig.one(&create.encode()) {
        Outcome::Group(created) => created,
        other => panic!("a creation answers {other:?}"),
    }
}

/// So many minutes pass in which the leader serves and these groups are polled for; answers how many went.
fn serve(rig: &mut Rig, minutes: u64, polled: &[ConsumerGroupId]) -> u32 {
    let keep = KeepGroups { polled: polled.to_vec(), unused_ms: HOUR, idle_ms: 24 * HOUR };
    let mut went = 0;
    for _ in 0..minutes {
        rig.now += MINUTE;
        match rig.one(&keep.encode()) {
            Outcome::GroupsKept { deleted } => went += deleted,
            other => panic!("keeping groups answers {other:?}"),
        }
    }
    went
}

fn rig() -> (Rig, TopicId) {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    rig.publish(topic, &[(0, "", ""); 10]);
    (rig, topic)
}

#[test]
fn a_group_that_acknowledged_nothing_goes_when_nobody_uses_it() {
    let (mut rig, topic) = rig();
    let junk = automatic(&mut rig, "junk").id().unwrap();
    let polled = automatic(&mut rig, "polled").id().unwrap();
    let done = automatic(&mut rig, "done").id().unwrap();
    rig.group("by-hand", GroupSettings::default());
    for group in [junk, polled, done] {
        rig.receive(group, topic, 1);
    }
    let picks = rig.receive(done, topic, 1);
    rig.ack(done, topic, &picks);
    assert_eq!(serve(&mut rig, 55, &[polled]), 0);
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(serve(&mut rig, 10, &[polled]), 1);
    assert!(rig.reader().group("junk").is_none());
    assert!(matches!(automatic(&mut rig, "junk"), Created::New(_)), "nothing would be delivered again");
    assert_eq!(serve(&mut rig, 22 * 60, &[polled]), 1, "the one that is junk again");
    assert_eq!(serve(&mut rig, 60, &[polled]), 1);
    assert!(rig.reader().group("done").is_none());
    assert!(rig.reader().group("polled").is_some() && rig.reader().group("by-hand").is_some());
}

#[test]
fn a_message_that_is_worked_on_keeps_its_group() {
    let (mut rig, topic) = rig();
    let group = automatic(&mut rig, "slow").id().unwrap();
    let mut request = receive(group, topic, 1);
    request.invisible_ms = 50 * MINUTE;
    let picks = rig.received(&request).picks;
    assert_eq!(serve(&mut rig, 49, &[]), 0);
    rig.ack(group, topic, &picks);
    assert_eq!(serve(&mut rig, 23 * 60, &[]), 0);
}

#[test]
fn an_outage_ends_nobody() {
    let (mut rig, _) = rig();
    automatic(&mut rig, "g");
    serve(&mut rig, 1, &[]);
    rig.now += 30 * 24 * HOUR;
    assert_eq!(serve(&mut rig, 1, &[]), 0);
    assert!(rig.reader().group("g").is_some());
}

#[test]
fn many_go_over_several_commands() {
    let (mut rig, _) = rig();
    for number in 0..2 * IDLE_AT_ONCE_MAX + 1 {
        automatic(&mut rig, &format!("g{number}"));
    }
    let at_once = u32::try_from(IDLE_AT_ONCE_MAX).unwrap();
    assert_eq!(serve(&mut rig, 59, &[]), at_once);
    assert_eq!((serve(&mut rig, 1, &[]), serve(&mut rig, 1, &[])), (at_once, 1));
}

/// Groups that strangers leave behind cannot keep others out.
#[test]
fn at_the_limit_an_unused_group_makes_room() {
    let (mut rig, topic) = rig();
    for number in 0..GROUPS_MAX {
        automatic(&mut rig, &format!("g{number}"));
    }
    assert_eq!(automatic(&mut rig, "one-more"), Created::Refused, "all of them are new");
    serve(&mut rig, 2, &[]);
    assert!(matches!(automatic(&mut rig, "one-more"), Created::New(_)));
    assert!(rig.reader().group("g0").is_none() && rig.reader().group("g1").is_some());
    rig.group("by-hand", GroupSettings::default());
    let groups: Vec<_> = rig.reader().groups().iter().map(|group| group.id).collect();
    assert_eq!(groups.len(), GROUPS_MAX);
    for group in groups {
        let picks = rig.receive(group, topic, 1);
        rig.ack(group, topic, &picks);
    }
    serve(&mut rig, 2, &[]);
    assert_eq!(automatic(&mut rig, "another"), Created::Refused, "those would get again what they were done with");
}
