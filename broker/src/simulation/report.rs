//! What a run did, for who wants to know whether it did anything.

use crate::state::Outcome;

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Figures {
    pub(super) entries: u64,
    pub(super) delivered: u64,
    pub(super) acknowledged: u64,
    pub(super) letters: u64,
    pub(super) expired: u64,
    pub(super) moved: u64,
    pub(super) trimmed_to: u64,
    pub(super) purged_to: u64,
    pub(super) crashes: u64,
    pub(super) elections: u64,
    pub(super) lost_states: u64,
    pub(super) installs: u64,
    /// The rolling digest at the end: it tells two runs apart.
    pub(super) digest: u64,
}

impl Figures {
    /// What a consumer heard.
    pub(super) fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Received(received) => self.delivered += received.picks.len() as u64,
            Outcome::Acked(settled) => self.acknowledged += settled.len() as u64,
            _ => {}
        }
    }
}

/// The command that runs a seed again.
pub(super) fn replay(seed: u64) -> String {
    format!("make broker-sim SEED={seed}")
}
