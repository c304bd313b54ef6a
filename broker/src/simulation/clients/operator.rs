//! Makes topics and groups, and sometimes deletes one, which is made anew.

use super::{ABSENT, KEEPERS, LINE, PLAIN, QUEUES, REVIEWERS, WORKERS};
use crate::model::{GroupChange, GroupName, GroupSettings, TopicName, TopicSettings, TopicType};
use crate::simulation::dice::Dice;
use crate::simulation::order::Order;
use crate::state::{CreateGroup, CreateTopic, DeleteGroup, DeleteTopic, StateReader, UpdateGroup};

/// Attempts of the groups that deliver to the dead letters.
const ATTEMPTS_MAX: u16 = 3;
const GROUPS: [&str; 4] = [WORKERS, KEEPERS, ABSENT, REVIEWERS];

/// What it may do beside making what is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::simulation) enum May {
    Nothing,
    /// Change whether a group keeps the order.
    Reorder,
    Delete,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::simulation) struct Operator {
    pub(in crate::simulation) waits: bool,
}

impl Operator {
    /// What is missing is made first.
    pub(in crate::simulation) fn turn(&mut self, dice: &mut Dice, reader: &StateReader, may: May) -> Option<Order> {
        if self.waits {
            return None;
        }
        let order = missing(reader).or_else(|| match may {
            May::Nothing => None,
            May::Reorder => reorder(dice),
            May::Delete => change(dice, reader),
        });
        self.waits = order.is_some();
        order
    }
}

fn missing(reader: &StateReader) -> Option<Order> {
    for (name, kind) in [(PLAIN, TopicType::Normal), (LINE, TopicType::Fifo)] {
        if reader.topic(name).is_none() {
            let name = TopicName::parse(name).expect("a name");
            return Some(Order::CreateTopic(CreateTopic { name, settings: TopicSettings { queues: QUEUES, kind } }));
        }
    }
    let name = GROUPS.into_iter().find(|name| reader.group(name).is_none())?;
    let max_attempts = if name == REVIEWERS { GroupSettings::MAX_ATTEMPTS_DEFAULT } else { ATTEMPTS_MAX };
    let settings = GroupSettings { fifo: name == KEEPERS, max_attempts, ..GroupSettings::default() };
    let name = GroupName::parse(name).expect("a name");
    Some(Order::CreateGroup(CreateGroup { name, settings, automatic: false }))
}

/// A group that keeps the order gives it up for a while.
fn reorder(dice: &mut Dice) -> Option<Order> {
    let change = GroupChange { fifo: Some(dice.percent(70)), ..GroupChange::default() };
    dice.percent(30)
        .then(|| Order::UpdateGroup(UpdateGroup { name: GroupName::parse(KEEPERS).expect("a name"), change }))
}

fn change(dice: &mut Dice, reader: &StateReader) -> Option<Order> {
    let group = reader.group(dice.of(&GROUPS))?;
    match dice.below(6) {
        0 => Some(Order::DeleteTopic(DeleteTopic { topic: reader.topic(dice.of(&[PLAIN, LINE]))?.id })),
        1 => Some(Order::DeleteTopic(DeleteTopic { topic: reader.topic(&format!("%DLQ%{}", group.name))?.id })),
        2 | 3 => {
            let (with_dead_letters, refuse_ms) = (dice.percent(50), 1000);
            Some(Order::DeleteGroup(DeleteGroup { group: group.id, with_dead_letters, refuse_ms }))
        }
        _ => {
            let max_attempts = Some(u16::try_from(dice.between(1, 4)).expect("few"));
            let change = GroupChange { max_attempts, ..GroupChange::default() };
            let change = if group.name.as_str() == REVIEWERS { GroupChange::default() } else { change };
            Some(Order::UpdateGroup(UpdateGroup { name: group.name, change }))
        }
    }
}
