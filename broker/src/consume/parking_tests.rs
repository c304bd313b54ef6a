//! Who is woken when; and a model of consumers that come, look and go in any order.

use futures::FutureExt as _;
use proptest::prelude::*;

use super::*;

const TOPIC: TopicId = TopicId(1);
const GROUP: ConsumerGroupId = ConsumerGroupId(2);

fn is_woken(parked: &mut Parked) -> bool {
    parked.woken().now_or_never().is_some()
}

fn park(parking: &Arc<Parking>, messages_max: u16) -> Parked {
    parking.park(TOPIC, GROUP, messages_max).expect("room")
}

#[test]
fn one_message_wakes_the_first_in_line_alone() {
    let parking = Parking::new(10);
    let (mut first, mut second) = (park(&parking, 32), park(&parking, 32));
    let mut other = parking.park(TOPIC, ConsumerGroupId(3), 32).expect("room");
    assert_eq!(parking.groups(TOPIC), [GROUP, ConsumerGroupId(3)]);
    parking.arrived(TOPIC, GROUP, 1);
    assert!(is_woken(&mut first) && !is_woken(&mut second) && !is_woken(&mut other));
    assert_eq!(parking.count(), 2);
}

#[test]
fn a_burst_wakes_at_once_as_many_as_it_can_serve() {
    let parking = Parking::new(2000);
    let mut parked: Vec<Parked> = (0..1500).map(|_| park(&parking, 32)).collect();
    parking.arrived(TOPIC, GROUP, 32_000);
    assert_eq!(parked.iter_mut().filter_map(|parked| parked.woken().now_or_never()).count(), 1000);
    parking.left_over(TOPIC, GROUP, 32_000);
    assert_eq!(parking.count(), 500, "those who were woken claim all of it");
    parking.arrived(TOPIC, GROUP, 32_000);
    assert_eq!(parking.count(), 499, "they may have looked before the last one came");
}

#[test]
fn it_says_when_somebody_is_parked() {
    let parking = Parking::new(10);
    assert!(parking.occupied().now_or_never().is_none());
    let parked = park(&parking, 1);
    assert!(parking.occupied().now_or_never().is_some());
    drop(parked);
    assert!(parking.occupied().now_or_never().is_none());
}

#[test]
fn who_leaves_without_having_looked_wakes_as_many_in_its_place() {
    for heeds in [false, true] {
        let parking = Parking::new(10);
        let (mut first, mut second, mut third, mut fourth) =
            (park(&parking, 2), park(&parking, 1), park(&parking, 1), park(&parking, 1));
        parking.arrived(TOPIC, GROUP, 2);
        assert!(!heeds || is_woken(&mut first));
        drop(first);
        assert!(is_woken(&mut second) && is_woken(&mut third) && !is_woken(&mut fourth));
    }
}

#[test]
fn one_who_leaves_the_line_is_not_woken_and_frees_the_place() {
    let parking = Parking::new(1);
    let first = park(&parking, 1);
    assert!(parking.park(TOPIC, GROUP, 1).is_none(), "bounded");
    drop(first);
    assert_eq!(parking.count(), 0);
    parking.arrived(TOPIC, GROUP, 1);
    assert!(parking.groups(TOPIC).is_empty() && parking.lock().by_key.is_empty());
    park(&parking, 1);
}

#[test]
fn one_who_has_looked_does_not_wake_others_by_leaving() {
    let parking = Parking::new(10);
    let (mut first, mut second) = (park(&parking, 1), park(&parking, 1));
    parking.arrived(TOPIC, GROUP, 1);
    assert!(is_woken(&mut first));
    assert!(first.looked(false, None, || panic!("nobody was put off")).is_none());
    assert!(!is_woken(&mut second));
    drop(second);
    assert!(parking.lock().by_key.is_empty());
}

#[test]
fn who_was_put_off_for_one_who_looked_too_early_is_woken_after_all() {
    let parking = Parking::new(10);
    let (mut early, mut second, mut third) = (park(&parking, 32), park(&parking, 32), park(&parking, 32));
    parking.arrived(TOPIC, GROUP, 1);
    assert!(is_woken(&mut early));
    // It has looked, and has not heard yet that there was nothing; two messages come, and one of them is taken.
    parking.arrived(TOPIC, GROUP, 2);
    assert!(is_woken(&mut second));
    second.looked(true, None, || 1);
    assert!(!is_woken(&mut third));
    early.looked(false, None, || 1);
    assert!(is_woken(&mut third));
}

#[test]
fn what_is_there_for_nobody_makes_nobody_run_in_circles() {
    let parking = Parking::new(10);
    let (mut first, mut second) = (park(&parking, 1), park(&parking, 1));
    parking.arrived(TOPIC, GROUP, 1);
    assert!(is_woken(&mut first));
    let next = parking.park(TOPIC, GROUP, 1);
    let mut first = first.looked(false, next, || 1).expect("it goes on");
    assert!(!is_woken(&mut first) && !is_woken(&mut second));
}

#[test]
fn what_is_expected_wakes_as_many_in_each_line_as_it_can_serve() {
    let parking = Parking::new(10);
    let others = ConsumerGroupId(3);
    let mut ours = [1, 1, 1].map(|max| park(&parking, max));
    let mut theirs = [32, 32].map(|max| parking.park(TOPIC, others, max).expect("room"));
    let mut elsewhere = parking.park(TopicId(9), GROUP, 1).expect("room");
    parking.expected(TOPIC, 2);
    assert_eq!(ours.each_mut().map(is_woken), [true, true, false]);
    assert_eq!(theirs.each_mut().map(is_woken), [true, false]);
    parking.expected(TOPIC, 2);
    assert!(!is_woken(&mut ours[2]) && !is_woken(&mut theirs[1]), "who is on his way serves the next one too");
    assert!(!is_woken(&mut elsewhere));
}

#[test]
fn one_who_came_too_early_is_woken_by_what_he_came_for() {
    let parking = Parking::new(10);
    let mut early = park(&parking, 32);
    parking.expected(TOPIC, 1);
    assert!(is_woken(&mut early));
    let next = parking.park(TOPIC, GROUP, 32);
    // It looked before the message was stored, and hears only behind it that there was nothing.
    parking.arrived(TOPIC, GROUP, 1);
    assert!(is_woken(&mut early.looked(false, next, || 1).expect("it goes on")));
}

#[derive(Clone, Debug)]
enum Step {
    Expect(u64),
    Publish(u64),
    Park(u16),
    /// The look of one of those who were woken is applied.
    Look(prop::sample::Index),
    /// One of them hears what it found.
    Hear(prop::sample::Index),
    /// One that is not looking goes away.
    Leave(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1_u64..100).prop_map(Step::Expect),
        (1_u64..100).prop_map(Step::Publish),
        (1_u16..=32).prop_map(Step::Park),
        any::<prop::sample::Index>().prop_map(Step::Look),
        any::<prop::sample::Index>().prop_map(Step::Hear),
        any::<prop::sample::Index>().prop_map(Step::Leave),
    ]
}

/// The parking, what is there to be taken, and those who wait, as polls use them.
#[derive(Default)]
struct Model {
    messages: u64,
    waiting: Vec<Parked>,
    woken: Vec<Parked>,
    /// With the place for the next turn, and whether it took something.
    looking: Vec<(Parked, Option<Parked>, bool)>,
}

impl Model {
    fn take(&mut self, parking: &Arc<Parking>, step: &Step) {
        match step {
            Step::Expect(messages) => parking.expected(TOPIC, *messages),
            Step::Publish(messages) => {
                self.messages += messages;
                parking.arrived(TOPIC, GROUP, self.messages);
            }
            Step::Park(messages_max) => {
                self.waiting.push(park(parking, *messages_max));
                parking.arrived(TOPIC, GROUP, self.messages);
            }
            Step::Look(which) if !self.woken.is_empty() => {
                let looks = self.woken.swap_remove(which.index(self.woken.len()));
                let taken = self.messages.min(u64::from(looks.messages_max));
                self.messages -= taken;
                let next = parking.park(TOPIC, GROUP, looks.messages_max);
                self.looking.push((looks, next, taken > 0));
            }
            Step::Hear(which) if !self.looking.is_empty() => {
                let (looks, next, found) = self.looking.swap_remove(which.index(self.looking.len()));
                self.waiting.extend(looks.looked(found, next, || self.messages));
            }
            Step::Leave(which) if !self.waiting.is_empty() => {
                self.waiting.swap_remove(which.index(self.waiting.len()));
            }
            Step::Leave(which) if !self.woken.is_empty() => {
                self.woken.swap_remove(which.index(self.woken.len()));
            }
            Step::Look(_) | Step::Hear(_) | Step::Leave(_) => {}
        }
        let mut at = 0;
        while at < self.waiting.len() {
            if is_woken(&mut self.waiting[at]) {
                self.woken.push(self.waiting.swap_remove(at));
            } else {
                at += 1;
            }
        }
        let on_the_way = self.woken.len() + self.looking.len();
        assert!(self.messages == 0 || self.waiting.is_empty() || on_the_way > 0, "{} wait", self.messages);
    }
}

proptest! {
    /// Whatever is there, somebody is on his way to it, or nobody waits; and a line that nobody uses is forgotten.
    #[test]
    fn no_message_waits_while_somebody_is_parked(steps in prop::collection::vec(step(), 1..200)) {
        let (parking, mut model) = (Parking::new(1000), Model::default());
        steps.iter().for_each(|step| model.take(&parking, step));
        drop(model);
        prop_assert!(parking.count() == 0 && parking.lock().by_key.is_empty());
    }
}
