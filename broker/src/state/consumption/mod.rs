//! Who has taken what: the working set of consumption.
//!
//! ```text
//! queue of a topic, seen by one group
//!   done ──────────┃ pending  done  pending  done ┃ fresh ────────►
//!                  ▲                              ▲               ▲
//!          consumer offset                      taken           end of the queue
//! ```
//! Everything below `taken` is done with unless it stands in `pending`; so the consumer offset is the lowest pending
//! message, and what was acknowledged beyond it needs no record at all: memory holds what is in flight, and the store what has
//! been so for long or at a flush ([`LateRecords`]); neither holds what was consumed.
//!
//! ```text
//! a pending message
//!   fresh ─► Waiting ─► Hidden ─┬─► done                     acknowledged
//!      └──────────────►    ▲    ├─► Due ──► Hidden ...       a tick found its time passed, or it was given back
//!                          └────┘    changed, renewed
//!                               └─► Exhausted ─► done        no attempts are left: dead-lettered
//! ```
//! Waiting is for FIFO groups: the next of its message group, passed over because an earlier one was under way. Those behind it
//! wait in the store, see [`Tail`].

mod lanes;
mod late;
mod leases;
mod pending;
mod runs;
mod subscription;
mod tail;
mod timers;
mod window;

pub(crate) use lanes::{FIRST_LANE, LaneKey};
pub(crate) use late::{LATE_MAX, LateRecords};
pub(crate) use leases::{LeaseId, Leases};
pub(crate) use pending::{DeliveryKey, Pending, Phase, TakenMessage};
#[cfg(test)]
pub(crate) use subscription::PENDING_PER_TOPIC_MAX;
pub(crate) use subscription::Subscription;
pub(crate) use tail::{InTail, Tail};
#[cfg(test)]
pub(crate) use timers::PENDING_MAX;
pub(crate) use timers::Timers;
