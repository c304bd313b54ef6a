//! The number of each kind of command. Never used again for another layout.

pub(crate) const BOOTSTRAP: u8 = 1;
pub(crate) const CREATE_TOPIC: u8 = 2;
pub(crate) const CREATE_GROUP: u8 = 3;
pub(crate) const PUBLISH: u8 = 4;
pub(crate) const RECEIVE: u8 = 5;
pub(crate) const ACK: u8 = 6;
pub(crate) const CHANGE_INVISIBLE: u8 = 7;
pub(crate) const RENEW_LEASES: u8 = 8;
pub(crate) const TICK: u8 = 9;
pub(crate) const TRIM_TO: u8 = 10;
pub(crate) const SWEEP: u8 = 12;
pub(crate) const RELOCATE: u8 = 13;
pub(crate) const UPDATE_GROUP: u8 = 14;
pub(crate) const DEAD_LETTER: u8 = 15;
pub(crate) const RELEASE_TO: u8 = 16;
pub(crate) const DELETE_TOPIC: u8 = 20;
pub(crate) const DELETE_GROUP: u8 = 21;
pub(crate) const ERASE: u8 = 22;
pub(crate) const KEEP_GROUPS: u8 = 23;
pub(crate) const RAISE_LEVEL: u8 = 24;
