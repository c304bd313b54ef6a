use raft_log::types::UnixMillis;

use super::harness::{Rig, offsets};
use crate::model::{GroupSettings, StartPoint, TopicType};

fn settings(start: StartPoint) -> GroupSettings {
    GroupSettings { start, ..GroupSettings::default() }
}

/// hazards 21: a new group starts at the first retained message unless it was created otherwise.
#[test]
fn a_group_begins_where_it_was_created_to() {
    let mut rig = Rig::new();
    let topic = rig.topic("t", 1, TopicType::Normal);
    for second in 1..=4 {
        rig.now = 2_000_000 + second * 1000;
        rig.publish(topic, &[(0, "", "")]);
    }
    let cases = [
        ("first", StartPoint::First, vec![0, 1, 2, 3]),
        ("last", StartPoint::Last, vec![]),
        ("between", StartPoint::Time(UnixMillis(2_002_001)), vec![2, 3]),
        ("early", StartPoint::Time(UnixMillis(5)), vec![0, 1, 2, 3]),
        ("late", StartPoint::Time(UnixMillis(u64::MAX)), vec![]),
    ];
    let mut groups = Vec::new();
    for (name, start, expected) in cases {
        let group = rig.group(name, settings(start));
        assert_eq!(offsets(&rig.receive(group, topic, 32)), expected, "{name}");
        groups.push(group);
    }
    rig.publish(topic, &[(0, "", "")]);
    for group in groups {
        assert_eq!(offsets(&rig.receive(group, topic, 32)), [4], "what comes later is for all");
    }
}

/// hazards 21: decided once, at the first receive, and kept.
#[test]
fn the_beginning_is_decided_by_the_first_receive_and_survives_a_restart() {
    use raft_log::StateMachine;
    let mut rig = Rig::new();
    let topic = rig.topic("t", 2, TopicType::Normal);
    rig.publish(topic, &[(0, "", ""), (1, "", "")]);
    let group = rig.group("last", settings(StartPoint::Last));
    assert!(rig.receive(group, topic, 32).is_empty());
    rig.state().flush().unwrap();
    rig.publish(topic, &[(1, "", "")]);
    rig.crash_and_replay();
    assert_eq!(super::harness::places(&rig.receive(group, topic, 32)), [(1, 1)]);
    let progress = rig.reader().progress(group, topic).unwrap();
    assert_eq!(progress.iter().map(|queue| queue.lag()).collect::<Vec<_>>(), [0, 1]);
}
