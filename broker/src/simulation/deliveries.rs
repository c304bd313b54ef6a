//! One message as one group has seen it.

use raft_log::types::LogIndex;

use crate::model::{AttemptKey, ClientKey};
use crate::state::Origin;

/// Where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// With a consumer.
    Hidden,
    /// To be delivered, again or, of a message group whose earlier messages were under way, for the first time.
    Due,
    /// No attempts are left; the next tick that comes to it buries it.
    Exhausted,
    Acknowledged,
    /// It went to the dead letters.
    Dead,
    /// Nobody came for it while retention passed it twice.
    Expired,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Delivery {
    pub(super) attempt: u16,
    pub(super) stand: Stand,
    /// The next delivery keeps the attempt's number.
    pub(super) suspended: bool,
    /// Its body was moved while it was due.
    pub(super) moved: bool,
    pub(super) deadline: u64,
    pub(super) nonce: u64,
    /// The entry in which its body lies.
    pub(super) at: LogIndex,
    pub(super) lease: Option<(ClientKey, LogIndex)>,
    pub(super) attempt_key: AttemptKey,
    /// Of a dead letter.
    pub(super) origin: Option<Origin>,
}

impl Delivery {
    /// One that was never delivered, and that its group has passed over.
    pub(super) fn waiting(at: LogIndex) -> Delivery {
        Delivery {
            attempt: 0,
            stand: Stand::Due,
            suspended: false,
            moved: false,
            deadline: 0,
            nonce: 0,
            at,
            lease: None,
            attempt_key: AttemptKey::NONE,
            origin: None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        matches!(self.stand, Stand::Acknowledged | Stand::Dead | Stand::Expired)
    }

    /// Whether the others of its message group have to wait for it.
    pub(super) fn blocks(&self) -> bool {
        matches!(self.stand, Stand::Hidden | Stand::Exhausted)
    }

    /// It was moved while nobody came for it, and is not moved a second time.
    pub(super) fn ends_when_moved(&self) -> bool {
        self.stand == Stand::Due && self.moved
    }
}
