//! Consumption, leader side: long polls, receipt handles, delivered messages, and what happens by time.
//!
//! ```text
//!  receive ─► park until something is available ─► Receive command ─► picks ─► bodies from the log ─► client
//!  ack, change ─► handle opened and checked ─► command ─► outcome
//!  timers ─► Tick when something is due, RenewLeases for push consumers that live
//!  housekeeping ─► Erase while something deleted is left, KeepGroups for groups that are polled
//! ```
//! What it is not: the record of who holds what. That is replicated state; a pick exists because `apply` made it.

mod dead_letters;
mod deliver;
mod entries;
mod handle;
mod housekeeping;
pub(crate) mod keep;
mod parking;
mod poll;
mod retry;
mod streamed;
pub(crate) mod timers;
mod turns;

pub use dead_letters::count_dead_letters;
pub use deliver::{DeliverError, Delivered, Deliverer, ack_entry, timestamp};
pub use handle::{Delivery, HandleKey};
pub use housekeeping::Housekeeping;
pub use parking::{Parked, Parking};
pub use poll::{Poll, PollEnd, Wanted};
pub use retry::{GIVE_BACK_FOR, is_overloaded, over, retried};
pub use timers::{GOODBYE_FOR, LeaderClock, RENEWED_FOR, Timers, millis};
