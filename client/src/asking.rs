//! How all requests of a client that wait share their questions (see [`crate::vigil`]).

use std::time::Duration;

use tokio::time::Instant;

/// How all requests of a client that wait share their questions: so often is asked, whatever their number.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    asked: Option<Instant>,
    round: usize,
}

impl Asking {
    /// The number of the round that begins now; nothing if the last one began less than `interval` ago.
    pub(crate) fn round(&mut self, now: Instant, interval: Duration) -> Option<usize> {
        if self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < interval) {
            return None;
        }
        self.asked = Some(now);
        self.round += 1;
        Some(self.round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EARLY: Duration = Duration::from_millis(100);
    const LATE: Duration = Duration::from_secs(1);

    #[test]
    fn however_many_wait_there_is_one_round_in_each_interval() {
        let begun = Instant::now();
        let mut asking = Asking::default();
        let mut rounds = Vec::new();
        for at in 0..1000 {
            let now = begun + EARLY * at / 100;
            // Some have just begun to wait, others for long.
            let interval = if at % 2 == 0 { EARLY } else { LATE };
            rounds.extend(asking.round(now, interval));
        }
        assert_eq!(rounds, (1..=10).collect::<Vec<_>>());
    }
}
