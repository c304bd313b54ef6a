//! The lines against what is promised of each entry.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::limits::{COMMAND_BYTES_MAX, SMALL_COMMAND_BYTES_MAX};

const TARGET: usize = 1 << 20;

fn class() -> impl Strategy<Value = Class> {
    (0..Class::COUNT).prop_map(|at| Class::ALL[at])
}

/// Mostly small commands, and now and then one of any size that is legal.
fn command() -> impl Strategy<Value = (Class, usize)> {
    (class(), prop_oneof![8 => 5_usize..5_000, 1 => 5_usize..COMMAND_BYTES_MAX]).prop_map(
        |(class, bytes)| match class {
            Class::Publish | Class::Keep => (class, bytes),
            _ => (class, bytes.min(SMALL_COMMAND_BYTES_MAX)),
        },
    )
}

fn of(taken: &[(Class, usize, usize)], class: Class) -> usize {
    taken.iter().filter(|taken| taken.0 == class).map(|taken| taken.1).sum()
}

proptest! {
    /// Each entry gives each class that waits its part or all that it has, leaves no room that somebody could use, and keeps
    /// the order of a class; nothing is lost.
    #[test]
    fn each_entry_is_shared(commands in vec(command(), 1..600), target in prop_oneof![Just(4096), Just(TARGET), Just(4 * TARGET)]) {
        let mut lines = Lines::default();
        let mut waiting: [VecDeque<(usize, usize)>; Class::COUNT] = Default::default();
        for (number, (class, bytes)) in commands.iter().enumerate() {
            lines.push(*class, *bytes, number);
            waiting[*class as usize].push_back((*bytes, number));
        }
        while let Some(entry) = lines.take(target, usize::MAX) {
            let mut taken = Vec::new();
            for class in Class::ALL {
                let line = &mut waiting[class as usize];
                let fits = line.front().is_some_and(|(bytes, _)| entry.bytes + bytes + HEADER_BYTES_MAX <= ENTRY_BYTES_MAX);
                prop_assert!(!entry.commands[class as usize].is_empty() || !fits, "one of each that waits");
                for number in &entry.commands[class as usize] {
                    let (bytes, expected) = line.pop_front().expect("what is taken waited");
                    prop_assert_eq!(*number, expected, "the order of a class");
                    taken.push((class, bytes, *number));
                }
            }
            prop_assert_eq!(entry.bytes, taken.iter().map(|taken| taken.1).sum::<usize>());
            prop_assert!(entry.bytes < ENTRY_BYTES_MAX);
            for class in Class::ALL {
                let Some((next, _)) = waiting[class as usize].front() else { continue };
                let had = of(&taken, class);
                let full = entry.bytes + next + HEADER_BYTES_MAX > ENTRY_BYTES_MAX;
                prop_assert!(had + next > target / PARTS * parts(class) || full, "{class:?} has its part");
                prop_assert!(entry.bytes + next > target, "there was room for more of {class:?}");
            }
        }
        prop_assert!(waiting.iter().all(VecDeque::is_empty), "nothing is left");
    }
}

#[test]
fn the_parts_of_all_classes_are_the_whole_entry_and_publishing_has_half() {
    assert_eq!(Class::ALL.into_iter().map(parts).sum::<usize>(), PARTS);
    assert!(2 * parts(Class::Publish) >= PARTS);
}

#[test]
fn a_lone_class_takes_the_whole_entry() {
    for class in Class::ALL {
        let mut lines = Lines::default();
        (0..100).for_each(|number| lines.push(class, 100, number));
        assert_eq!(lines.take(5_000, usize::MAX).expect("something waits").bytes, 5_000, "{class:?}");
    }
}

/// The largest publish of all, again and again, beside acknowledgements without end.
#[test]
fn the_largest_publish_and_acknowledgements_share_each_entry() {
    let mut lines = Lines::default();
    (0..3).for_each(|number| lines.push(Class::Publish, COMMAND_BYTES_MAX, number));
    (0..3_000).for_each(|number| lines.push(Class::Settle, 1_000, number));
    for _ in 0..3 {
        let entry = lines.take(TARGET, usize::MAX).expect("something waits");
        assert_eq!(entry.commands[Class::Publish as usize].len(), 1);
        assert!(entry.commands[Class::Settle as usize].len() > 190);
    }
}

#[test]
fn publishes_that_have_no_room_wait_and_the_others_go_on() {
    let mut lines = Lines::default();
    for number in 0..10 {
        lines.push(Class::Publish, 100, number);
        lines.push(Class::Settle, 100, number);
    }
    let entry = lines.take(10_000, 350).expect("something waits");
    let taken = |class| entry.commands[class as usize].len();
    assert_eq!((taken(Class::Publish), taken(Class::Settle)), (3, 10));
    assert!(lines.take(10_000, 0).is_none(), "only publishes are left");
    assert_eq!(lines.len(), 7);
}
