//! Each queue counts its messages from 0 without a gap.

use std::collections::BTreeMap;

use crate::simulation::ledger::{Applied, Ledger};
use crate::simulation::log::Log;
use crate::simulation::order::Order;
use crate::state::Outcome;

pub(super) fn check(ledger: &Ledger, _: &Log, applied: &Applied<'_>) -> Result<(), String> {
    let (Order::Publish { topic, messages, .. }, Outcome::Stored(stored)) = (applied.order, applied.outcome) else {
        return Ok(());
    };
    if stored.len() != messages.len() {
        return Err(format!("{} messages, and {} answers", messages.len(), stored.len()));
    }
    let queues =
        &ledger.topics.get(topic).filter(|topic| !topic.gone).ok_or("stored in a topic that is not there")?.queues;
    let mut new: BTreeMap<u32, u64> = BTreeMap::new();
    for at in stored.iter().filter(|at| !at.repeated) {
        let before = queues.get(at.queue.0 as usize).ok_or("stored in a queue that is not there")?.len() as u64;
        let next = new.entry(at.queue.0).or_insert(before);
        if at.offset.0 != *next {
            return Err(format!("queue {} of {topic:?} goes on at {} instead of {next}", at.queue.0, at.offset.0));
        }
        *next += 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;

    #[test]
    fn an_offset_that_is_left_out_is_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0, 1], None).unwrap();
        rig.publish(&[2], None).unwrap();
        rig.expect("offsets", |rig| rig.publish(&[4], None));
        rig.expect("offsets", |rig| rig.publish(&[1], None));
    }
}
