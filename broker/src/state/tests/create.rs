use raft_log::StateMachine;
use raft_log::types::{ClusterId, GroupId, UnixMillis};

use super::harness::Rig;
use crate::model::{GroupChange, GroupName, GroupSettings, Placement, StartPoint, TopicName, TopicSettings, TopicType};
use crate::state::{
    BatchBuilder, Bootstrap, CreateGroup, CreateTopic, Created, Level, Outcome, RaiseLevel, UnknownName, UpdateGroup,
    tick,
};

/// hazards 27: a second bootstrap changes nothing.
#[test]
fn only_the_first_bootstrap_counts() {
    let mut rig = Rig::unformed();
    let first = Bootstrap { cluster: ClusterId(1), group: GroupId(4), level: Level::NEWEST, handle_key: [1; 32] };
    let second = Bootstrap { cluster: ClusterId(2), group: GroupId(5), level: Level::NEWEST, handle_key: [2; 32] };
    assert_eq!(rig.one(&first.encode()), Outcome::Bootstrapped { cluster: ClusterId(1), first: true });
    assert_eq!(rig.one(&second.encode()), Outcome::Bootstrapped { cluster: ClusterId(1), first: false });
    assert_eq!(rig.reader().cluster(), Some(first.clone()));
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(rig.reader().cluster(), Some(first));
}

/// hazards 29: where a topic's queues are stands in the replicated state, by the group that the bootstrap command said.
#[test]
fn a_topic_is_placed_in_the_group_that_the_bootstrap_says() {
    let mut rig = Rig::unformed();
    let settings = TopicSettings { queues: 4, kind: TopicType::Normal };
    let create = CreateTopic { name: TopicName::parse("orders").unwrap(), settings };
    assert_eq!(rig.one(&create.encode()), Outcome::Topic(Created::Unformed), "nobody knows yet where");
    rig.one(
        &Bootstrap { cluster: ClusterId(1), group: GroupId(4), level: Level::NEWEST, handle_key: [1; 32] }.encode(),
    );
    assert!(matches!(rig.one(&create.encode()), Outcome::Topic(Created::New(_))));
    let placement = Placement { group: GroupId(4), queues: 4, epoch: 1 };
    assert_eq!(rig.reader().topic("orders").unwrap().placement, placement);
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    assert_eq!(rig.reader().topic("orders").unwrap().placement, placement);
}

/// Broker group 0 is reserved: no state of messages ever is of it.
#[test]
fn the_reserved_group_is_refused_for_data() {
    let mut command =
        Bootstrap { cluster: ClusterId(1), group: GroupId(u32::MAX), level: Level::NEWEST, handle_key: [1; 32] }
            .encode();
    let mut rig = Rig::unformed();
    command.overwrite(16, &[0; 4]);
    let entry = rig.entry(&[command]);
    let error = rig.state().apply(vec![entry]).unwrap_err();
    assert!(error.reason.contains("broker group 0, which is reserved"), "{error}");
}

/// hazards 17: what a level brings, only those understand who know it.
#[test]
fn the_bootstrap_sets_the_level_and_one_that_is_unknown_stops_the_state() {
    let mut rig = Rig::new();
    assert_eq!(rig.one(&RaiseLevel { to: Level::NEWEST }.encode()), Outcome::Level(Level::NEWEST));
    assert_eq!(rig.reader().level(), Level::NEWEST);
    let mut raise = RaiseLevel { to: Level::NEWEST }.encode();
    raise.overwrite(0, &99_u32.to_le_bytes());
    let entry = rig.entry(&[raise]);
    let error = rig.state().apply(vec![entry]).unwrap_err();
    assert!(error.reason.contains("the feature level of the group is 99"), "{error}");
}

#[test]
fn creating_is_idempotent_and_refuses_other_settings() {
    let mut rig = Rig::new();
    let topic = |queues, kind| CreateTopic {
        name: TopicName::parse("orders").unwrap(),
        settings: TopicSettings { queues, kind },
    };
    let normal = TopicSettings { queues: 4, kind: TopicType::Normal };
    assert!(matches!(rig.one(&topic(4, TopicType::Normal).encode()), Outcome::Topic(Created::New(_))));
    assert!(matches!(rig.one(&topic(4, TopicType::Normal).encode()), Outcome::Topic(Created::Same(_))));
    let other = rig.one(&topic(8, TopicType::Normal).encode());
    assert!(matches!(other, Outcome::Topic(Created::Other(_, found)) if found == normal));
    let none = CreateTopic {
        name: TopicName::parse("none").unwrap(),
        settings: TopicSettings { queues: 0, kind: TopicType::Normal },
    };
    assert_eq!(rig.one(&none.encode()), Outcome::Topic(Created::Refused));
    let group = |max_attempts, automatic| CreateGroup {
        name: GroupName::parse("g").unwrap(),
        settings: GroupSettings { fifo: false, max_attempts, start: StartPoint::First },
        automatic,
    };
    assert!(matches!(rig.one(&group(3, false).encode()), Outcome::Group(Created::New(_))));
    assert!(matches!(rig.one(&group(3, false).encode()), Outcome::Group(Created::Same(_))));
    assert!(matches!(rig.one(&group(4, false).encode()), Outcome::Group(Created::Other(..))));
    let found = GroupSettings { max_attempts: 3, ..GroupSettings::default() };
    let there = rig.one(&group(4, true).encode());
    assert!(
        matches!(there, Outcome::Group(Created::Other(_, settings)) if settings == found),
        "whoever asks learns it"
    );
}

#[test]
fn a_group_gets_other_settings_and_keeps_them() {
    let mut rig = Rig::new();
    let create =
        CreateGroup { name: GroupName::parse("g").unwrap(), settings: GroupSettings::default(), automatic: true };
    rig.one(&create.encode());
    let update = |name: &str, change| UpdateGroup { name: GroupName::parse(name).unwrap(), change }.encode();
    let change = GroupChange { fifo: Some(true), max_attempts: Some(3), start: None };
    let expected = GroupSettings { fifo: true, max_attempts: 3, start: StartPoint::First };
    assert_eq!(rig.one(&update("g", change)), Outcome::GroupUpdated(expected));
    assert_eq!(
        rig.one(&update("g", GroupChange::default())),
        Outcome::GroupUpdated(expected),
        "what is not named stays"
    );
    assert_eq!(rig.one(&update("h", change)), Outcome::Unknown(UnknownName::Group));
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    let group = rig.reader().group("g").unwrap();
    assert_eq!((group.settings, group.automatic), (expected, false), "a person has decided on it");
}

#[test]
fn topics_groups_and_tags_survive_a_restart() {
    let mut rig = Rig::new();
    let topic = rig.topic("orders", 2, TopicType::Fifo);
    let settings = GroupSettings { fifo: true, max_attempts: 5, start: StartPoint::Time(UnixMillis(7)) };
    rig.group("g", settings);
    rig.publish(topic, &[(1, "red", ""), (1, "blue", "")]);
    rig.state().flush().unwrap();
    rig.crash_and_replay();
    let reader = rig.reader();
    let view = reader.topic("orders").unwrap();
    assert_eq!((view.id, view.settings), (topic, TopicSettings { queues: 2, kind: TopicType::Fifo }));
    assert_eq!(reader.group("g").unwrap().settings, settings);
    assert_eq!(reader.queue_bounds(topic).unwrap().iter().map(|q| q.next.0).collect::<Vec<_>>(), [0, 2]);
}

/// hazards 17 and 30: a command of another version stops the node with an error that names it; nothing is skipped.
#[test]
fn an_unknown_command_stops_the_state() {
    for (at, what) in [(0, "version"), (16, "kind")] {
        let mut rig = Rig::new();
        rig.topic("t", 1, TopicType::Normal);
        let mut batch = BatchBuilder::new();
        batch.push(&tick());
        let mut payload = batch.build(UnixMillis(1)).to_vec();
        payload[at] = 99;
        let mut entry = rig.entry(&[]);
        entry.kind = raft_log::ApplyKind::Command(payload.into());
        let error = rig.state().apply(vec![entry]).unwrap_err();
        assert!(error.reason.contains(what) && error.reason.contains("99"), "{error}");
        let mut next = rig.entry(&[tick()]);
        next.id.index = next.id.index.next();
        assert!(rig.state().apply(vec![next]).is_err(), "a stopped state stays stopped");
    }
}
