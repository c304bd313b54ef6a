//! Feature levels: what all nodes of a group understand, so that they can be exchanged for newer ones one by one.
//!
//! ```text
//!   bootstrap  the newest level of the binary that proposes it
//!   raise      by an operator's word, one command; proposed only while every member is there and supports it
//!   store      a record of its own, whose layout never changes: a binary reads it before anything else
//! ```
//! Every kind of command and of record stands in a table below with the level that brought it, as does each change of what
//! one of them means: below that level, old and new binaries write equal bytes. A level acts from the command behind the one
//! that raised it. It never falls.

use super::codec::{DecodeError, Reader};
use super::command::kind;

/// A feature level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u32);

impl Level {
    /// The one that every binary knows; also that of a state before its bootstrap.
    pub const FIRST: Level = Level(1);
    /// The highest that this binary knows.
    pub const NEWEST: Level = Level(1);

    /// A level by its number, if this binary knows it.
    #[must_use]
    pub fn known(number: u32) -> Option<Level> {
        Some(Level(number)).filter(|level| (Level::FIRST..=Level::NEWEST).contains(level))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }

    /// A level from a command or a record. One that this binary does not know stops the node, like an unknown command.
    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Level, DecodeError> {
        let found = reader.u32()?;
        Level::known(found)
            .ok_or(DecodeError::Unknown { what: "the feature level of the group", found: u64::from(found) })
    }

    /// As it is in commands and in its record.
    pub(crate) fn bytes(self) -> [u8; 4] {
        self.0.to_le_bytes()
    }

    #[cfg(test)]
    pub(crate) fn of_a_test(number: u32) -> Level {
        Level(number)
    }
}

impl Default for Level {
    fn default() -> Level {
        Level::FIRST
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The level that brought a kind of command.
pub(crate) fn of_command(command: u8) -> Level {
    match command {
        kind::BOOTSTRAP
        | kind::CREATE_TOPIC
        | kind::CREATE_GROUP
        | kind::UPDATE_GROUP
        | kind::PUBLISH
        | kind::RECEIVE
        | kind::ACK
        | kind::CHANGE_INVISIBLE
        | kind::DEAD_LETTER
        | kind::RENEW_LEASES
        | kind::TICK
        | kind::TRIM_TO
        | kind::RELEASE_TO
        | kind::SWEEP
        | kind::RELOCATE
        | kind::DELETE_TOPIC
        | kind::DELETE_GROUP
        | kind::ERASE
        | kind::KEEP_GROUPS
        | kind::RAISE_LEVEL => Level(1),
        other => panic!("commands of kind {other} have no level: give them one here"),
    }
}

/// The level that brought a kind of record, which is the first byte of its key. The applied point and the format are written
/// at every level.
pub(crate) fn of_record(key: &[u8]) -> Level {
    match key[0] {
        b'B' | b'H' | b'C' | b'T' | b'I' | b'G' | b'S' | b'P' | b'D' | b'E' | b'W' | b'w' | b'Q' | b'R' | b'K'
        | b'L' | b'X' | b'x' | b'Z' | b'Y' | b'V' | b'N' | b'n' => Level(1),
        other => panic!("records of kind {:?} have no level: give them one here", char::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_between_the_first_and_the_newest_are_known() {
        assert_eq!(Level::known(Level::FIRST.number()), Some(Level::FIRST));
        assert_eq!(Level::known(Level::NEWEST.number()), Some(Level::NEWEST));
        assert_eq!((Level::known(0), Level::known(Level::NEWEST.number() + 1)), (None, None));
    }
}
