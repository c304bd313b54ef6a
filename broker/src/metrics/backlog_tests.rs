use super::*;

fn of(group: &str, ready: u64, oldest: Option<u64>) -> Backlog {
    Backlog {
        topic: TopicName::parse("orders").unwrap(),
        group: GroupName::parse(group).unwrap(),
        ready,
        in_flight: 0,
        oldest: oldest.map(UnixMillis),
        waiting_since: oldest.map(UnixMillis),
        timed: oldest.is_some() || ready == 0,
        needs: None,
    }
}

fn names(latest: &Latest) -> Vec<&str> {
    latest.shown.iter().map(|of| of.group.as_str()).collect()
}

#[test]
fn those_with_most_to_do_are_shown_and_the_others_counted() {
    let mut latest = Latest::default();
    let all = vec![of("a", 0, None), of("b", 0, None), of("c", 7, Some(1)), of("d", 9, Some(1)), of("e", 0, None)];
    latest.take(all.clone(), 3);
    assert_eq!((names(&latest), latest.left_out), (vec!["d", "c", "a"], 2));
    latest.take(all, 0);
    assert_eq!((names(&latest), latest.left_out), (vec![], 5));
}

#[test]
fn what_holds_the_log_is_known_though_it_is_not_shown() {
    let mut latest = Latest::default();
    let needing = |group, index| Backlog { needs: Some(LogIndex(index)), ..of(group, 0, None) };
    latest.take(vec![of("a", 5, Some(1)), needing("b", 30), needing("c", 20)], 1);
    assert_eq!(latest.holders.iter().map(|of| of.group.as_str()).collect::<Vec<_>>(), ["c", "b"]);
}

/// The age of what could not be read is that of the message which was the oldest before.
#[test]
fn a_time_that_there_was_no_room_to_read_is_the_one_before() {
    let mut latest = Latest::default();
    latest.take(vec![of("a", 5, Some(1000))], 9);
    for _ in 0..2 {
        latest.take(vec![of("a", 6, None), of("new", 3, None)], 9);
        assert_eq!(latest.shown.iter().map(|of| of.oldest).collect::<Vec<_>>(), [Some(UnixMillis(1000)), None]);
        assert_eq!(latest.untimed, 2);
    }
    latest.take(vec![of("a", 0, None)], 9);
    assert_eq!((latest.shown[0].oldest, latest.untimed), (None, 0));
}
