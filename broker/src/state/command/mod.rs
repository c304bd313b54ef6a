//! What the log's entries carry: batches of commands.
//!
//! ```text
//! entry    ┌version u8┬flags u8┬reserved u16┬commands u32┬stamp u64 (unix ms)┐ 16 bytes
//! then     ┌kind u8┬length u32┬body ...┐ as often as there are commands
//! ```
//! Little-endian. The leader stamps an entry once: time is data. The version is that of the whole layout, kinds
//! included; a version, flag or kind that this build does not know stops the node (hazards 17, 30). A command whose
//! layout changes gets a new kind, so that old entries stay readable, and none is written below the [`level`](super::level)
//! that brought it.

mod admin;
mod batch;
mod class;
mod consume;
mod delete;
mod encoded;
pub(crate) mod kind;
mod producer_stamp;
mod publish;
mod relocate;

pub use admin::{Bootstrap, CreateGroup, CreateTopic, RaiseLevel, UpdateGroup};
pub(crate) use admin::{put_group_settings, read_group_settings};
pub use batch::{BatchBuilder, entry_stamp};
pub(crate) use batch::{EntryView, Frame};
pub use class::Class;
pub use consume::{Ack, AckEntry, ChangeInvisible, DeadLetter, Receive, RenewLeases};
pub use delete::{DeleteGroup, DeleteTopic, Erase, KeepGroups};
pub use encoded::EncodedCommand;
pub use producer_stamp::{BASE_SEQUENCE_MAX, ProducerStamp, Unsettled};
pub(crate) use publish::{MessageHeader, PublishView};
pub use publish::{NewMessage, PublishBuilder, StoredMessage};
pub(crate) use relocate::{Holder, NeededBody, RelocateView, relocate};

use bytes::BufMut as _;
use raft_log::types::LogIndex;

use super::codec::{DecodeError, Reader};

/// The command that takes up what is due, a bounded number at a time.
#[must_use]
pub fn tick() -> EncodedCommand {
    EncodedCommand::new(kind::TICK, 0, 0, |_| ())
}

/// The command by which queues follow the readable start, a bounded number at a time.
#[must_use]
pub fn sweep() -> EncodedCommand {
    EncodedCommand::new(kind::SWEEP, 0, 0, |_| ())
}

/// The command by which retention moves the readable start up to an entry.
#[must_use]
pub fn trim_to(index: LogIndex) -> EncodedCommand {
    EncodedCommand::new(kind::TRIM_TO, 8, 0, |out| out.put_u64_le(index.0))
}

/// The command by which the readable start moves up to an entry before which everybody has read everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReleaseTo {
    pub(crate) to: LogIndex,
    /// The last entry that was applied when the leader began to look for that.
    pub(crate) seen: LogIndex,
}

impl ReleaseTo {
    pub(crate) fn encode(self) -> EncodedCommand {
        EncodedCommand::new(kind::RELEASE_TO, 16, 0, |out| {
            [self.to, self.seen].iter().for_each(|of| out.put_u64_le(of.0))
        })
    }

    fn decode(body: &[u8]) -> Result<ReleaseTo, DecodeError> {
        let mut reader = Reader::new("release to", body);
        let (to, seen) = (LogIndex(reader.u64()?), LogIndex(reader.u64()?));
        reader.finish()?;
        Ok(ReleaseTo { to, seen })
    }
}

fn read_trim_to(body: &[u8]) -> Result<LogIndex, DecodeError> {
    let mut reader = Reader::new("trim to", body);
    let index = LogIndex(reader.u64()?);
    reader.finish()?;
    Ok(index)
}

/// A command as `apply` reads it; publishes stay in their bytes.
#[derive(Debug)]
pub(crate) enum Command<'a> {
    Bootstrap(Bootstrap),
    CreateTopic(CreateTopic),
    CreateGroup(CreateGroup),
    UpdateGroup(UpdateGroup),
    Publish(PublishView<'a>),
    Receive(Receive),
    Ack(Ack),
    ChangeInvisible(ChangeInvisible),
    DeadLetter(DeadLetter),
    RenewLeases(RenewLeases),
    Tick,
    TrimTo(LogIndex),
    ReleaseTo(ReleaseTo),
    Sweep,
    Relocate(RelocateView),
    DeleteTopic(DeleteTopic),
    DeleteGroup(DeleteGroup),
    Erase(Erase),
    KeepGroups(KeepGroups),
    RaiseLevel(RaiseLevel),
}

impl<'a> Command<'a> {
    pub(crate) fn decode(frame: &Frame<'a>) -> Result<Command<'a>, DecodeError> {
        let body = frame.body;
        Ok(match frame.kind {
            kind::BOOTSTRAP => Command::Bootstrap(Bootstrap::decode(body)?),
            kind::CREATE_TOPIC => Command::CreateTopic(CreateTopic::decode(body)?),
            kind::CREATE_GROUP => Command::CreateGroup(CreateGroup::decode(body)?),
            kind::UPDATE_GROUP => Command::UpdateGroup(UpdateGroup::decode(body)?),
            kind::PUBLISH => Command::Publish(PublishView::decode(body, frame.body_offset)?),
            kind::RECEIVE => Command::Receive(Receive::decode(body)?),
            kind::ACK => Command::Ack(Ack::decode(body)?),
            kind::CHANGE_INVISIBLE => Command::ChangeInvisible(ChangeInvisible::decode(body)?),
            kind::DEAD_LETTER => Command::DeadLetter(DeadLetter::decode(body)?),
            kind::RENEW_LEASES => Command::RenewLeases(RenewLeases::decode(body)?),
            kind::TICK if body.is_empty() => Command::Tick,
            kind::SWEEP if body.is_empty() => Command::Sweep,
            kind::TICK | kind::SWEEP => return Err(DecodeError::Long { what: "tick or sweep", left: body.len() }),
            kind::RELOCATE => Command::Relocate(RelocateView::decode(body, frame.body_offset)?),
            kind::TRIM_TO => Command::TrimTo(read_trim_to(body)?),
            kind::RELEASE_TO => Command::ReleaseTo(ReleaseTo::decode(body)?),
            kind::DELETE_TOPIC => Command::DeleteTopic(DeleteTopic::decode(body)?),
            kind::DELETE_GROUP => Command::DeleteGroup(DeleteGroup::decode(body)?),
            kind::ERASE => Command::Erase(Erase::decode(body)?),
            kind::KEEP_GROUPS => Command::KeepGroups(KeepGroups::decode(body)?),
            kind::RAISE_LEVEL => Command::RaiseLevel(RaiseLevel::decode(body)?),
            unknown => return Err(DecodeError::Unknown { what: "the kind of a command", found: u64::from(unknown) }),
        })
    }
}
