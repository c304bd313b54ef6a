//! The client API: `apache.rocketmq.v2.MessagingService`, one file per RPC, each of them convert, call, convert.
//!
//! Rules that need no state are pure functions ([`send_check`], [`names`], [`filter`], [`settings`]): a request becomes
//! a type that obeys them, or a [`Refusal`](refusal::Refusal) with a code. What the leader must do goes to it
//! (`crate::forward`); what is done here goes through `crate::publish` and `crate::consume`.

pub mod addresses;
pub mod caller;
pub mod filter;
pub mod names;
pub mod refusal;
pub mod send_check;
pub mod sessions;
pub mod settings;
