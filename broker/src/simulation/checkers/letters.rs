//! Dead letters are where each replica says, in the order in which they were buried, and read as they were published, whatever moved.

use super::Violation;
use crate::model::{QueueId, QueueOffset};
use crate::simulation::ledger::Ledger;
use crate::simulation::log::Log;
use crate::simulation::node::Node;
use crate::state::{Located, StoredMessage};

/// Looks at a replica that has applied what the ledger holds.
pub(in crate::simulation) fn check(ledger: &Ledger, log: &Log, node: &Node) -> Result<(), Violation> {
    let reader = node.reader();
    for (name, letters) in &ledger.letters {
        let located = reader.topic(name).map(|topic| {
            reader.locate(topic.id, QueueId(0), QueueOffset(0), letters.len() + 1).map_err(|error| error.to_string())
        });
        let located = located.unwrap_or_else(|| Ok(Vec::new()));
        let found = located.and_then(|located| {
            located.iter().try_for_each(|at| node.read(log, at.position.index).map(|_| ()))?;
            compare(ledger, log, name, &located)
        });
        found.map_err(|what| Violation::new("letters", format!("{name}: {what}")))?;
    }
    Ok(())
}

fn compare(ledger: &Ledger, log: &Log, name: &str, located: &[Located]) -> Result<(), String> {
    let letters = &ledger.letters[name];
    if letters.len() != located.len() {
        return Err(format!("{} letters are there, {} were buried", located.len(), letters.len()));
    }
    for (letter, Located { offset, position, .. }) in letters.iter().zip(located) {
        let origin = letter.origin;
        let stored = ledger.stored(origin.topic, origin.queue, origin.offset.0).expect("it was published");
        let payload = log.payload(position.index).ok_or_else(|| format!("{offset} lies in no commands"))?;
        let read = StoredMessage::read(&payload, *position).map_err(|error| format!("{offset}: {error}"))?;
        if letter.at != position.index || read.body != stored.message.body {
            return Err(format!("{offset} is {:?} at {}, expected {letter:?}", read.body, position.index));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::rig::Rig;
    use super::*;
    use crate::model::MessageGroupKey;

    #[test]
    fn a_letter_that_is_missing_one_of_another_body_and_one_elsewhere_are_noticed() {
        let mut rig = Rig::new();
        rig.publish(&[0], None).unwrap();
        rig.publish(&[1], None).unwrap();
        rig.receive(&[(0, 1), (1, 1)]).unwrap();
        rig.give_up(1).unwrap();
        rig.give_up(0).unwrap();
        let at = |offset, position| Located { offset: QueueOffset(offset), position, group: MessageGroupKey::of("") };
        let (first, second) = (at(0, rig.position(1)), at(1, rig.position(0)));
        let compare = |located: &[Located]| compare(&rig.ledger, &rig.log, "%DLQ%g", located);
        compare(&[first, second]).unwrap();
        assert!(compare(&[first]).is_err());
        assert!(compare(&[second, first]).is_err());
        assert!(compare(&[first, at(1, rig.position(1))]).is_err());
    }
}
