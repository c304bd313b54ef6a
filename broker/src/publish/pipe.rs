//! What is in flight between the batcher and the log, as far as it decides what may follow.
//!
//! The log has one order, so whatever is proposed waits for all that was proposed before it. Publishes alone fill the pipe with
//! whole entries, which is best for them. But while deliveries are made and settled too, publishes in flight are bounded to
//! about one entry, however many wait: that is all that an acknowledgement can find before it.

use std::time::Duration;

use tokio::time::Instant;

use crate::state::Class;

/// Publishes make way for so long after the last delivery or acknowledgement.
const OTHERS_REMEMBERED: Duration = Duration::from_secs(1);

/// Bytes in flight.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    publishes: usize,
    others: usize,
    others_seen: Option<Instant>,
}

impl Pipe {
    /// How many bytes of publishes may enter now, where about `one_entry` is enough beside others. A first one always may.
    pub(super) fn publish_room(&self, one_entry: usize, now: Instant) -> usize {
        let others = self.others_seen.is_some_and(|seen| now.saturating_duration_since(seen) < OTHERS_REMEMBERED);
        if self.publishes == 0 || !others {
            return usize::MAX;
        }
        // Never less than half of what is in flight: a flood of the others does not stop publishing.
        one_entry.max(self.others).saturating_sub(self.publishes)
    }

    /// A delivery, or what settles one, waits to enter.
    pub(super) fn see_others(&mut self, now: Instant) {
        self.others_seen = Some(now);
    }

    /// Commands that hold these bytes, by class, are proposed.
    pub(super) fn enter(&mut self, held: &[usize; Class::COUNT]) {
        let (publishes, others) = parts(held);
        self.publishes += publishes;
        self.others += others;
    }

    /// They are answered.
    pub(super) fn leave(&mut self, held: &[usize; Class::COUNT]) {
        let (publishes, others) = parts(held);
        self.publishes = self.publishes.checked_sub(publishes).expect("what leaves has entered");
        self.others = self.others.checked_sub(others).expect("what leaves has entered");
    }
}

/// Publishes, and all others.
fn parts(held: &[usize; Class::COUNT]) -> (usize, usize) {
    let publishes = held[Class::Publish as usize];
    (publishes, held.iter().sum::<usize>() - publishes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: usize = 1000;

    fn held(settle: usize, publish: usize) -> [usize; Class::COUNT] {
        let mut held = [0; Class::COUNT];
        held[Class::Settle as usize] = settle;
        held[Class::Publish as usize] = publish;
        held
    }

    #[test]
    fn publishes_alone_fill_the_pipe_and_beside_others_about_one_entry_of_it() {
        let (mut pipe, now) = (Pipe::default(), Instant::now());
        pipe.enter(&held(0, 4000));
        assert_eq!(pipe.publish_room(ENTRY, now), usize::MAX, "nobody else is there");
        pipe.see_others(now);
        pipe.enter(&held(10, 0));
        assert_eq!(pipe.publish_room(ENTRY, now), 0);
        pipe.leave(&held(0, 4000));
        assert_eq!(pipe.publish_room(ENTRY, now), usize::MAX, "a first one always may");
        pipe.enter(&held(0, 300));
        assert_eq!(pipe.publish_room(ENTRY, now), 700);
        pipe.leave(&held(10, 0));
        assert_eq!(pipe.publish_room(ENTRY, now), 700, "others come again");
        assert_eq!(pipe.publish_room(ENTRY, now + OTHERS_REMEMBERED), usize::MAX, "or they do not");
    }

    #[test]
    fn a_flood_of_others_leaves_publishes_half() {
        let (mut pipe, now) = (Pipe::default(), Instant::now());
        pipe.see_others(now);
        pipe.enter(&held(3000, 1000));
        assert_eq!(pipe.publish_room(ENTRY, now), 2000);
    }
}
