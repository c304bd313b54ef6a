//! Outcomes in the bytes that travel back to the proposer.
//!
//! ```text
//! response  ┌version u8┬outcomes u32┐ then per command: ┌kind u8┬length u32┬body┐
//! ```
//! Little-endian.

use bytes::{BufMut, Bytes, BytesMut};
use raft_log::types::{ClusterId, LogIndex, UnixMillis};

use super::{Created, Deleted, Origin, Outcome, Pick, PublishRefusal, Received, Settled, StoredAt, UnknownName};
use crate::model::{ConsumerGroupId, Position, QueueId, QueueOffset, TopicId, TopicSettings, TopicType};
use crate::state::codec::{DecodeError, Reader};
use crate::state::command::{put_group_settings, read_group_settings};
use crate::state::level::Level;

const VERSION: u8 = 1;
const FRAME_BYTES: usize = 5;

/// Writes a response.
#[derive(Debug)]
pub(crate) struct OutcomesBuilder {
    out: BytesMut,
    count: u32,
}

impl OutcomesBuilder {
    pub(crate) fn new() -> OutcomesBuilder {
        let mut out = BytesMut::with_capacity(64);
        out.put_u8(VERSION);
        out.put_u32_le(0);
        OutcomesBuilder { out, count: 0 }
    }

    pub(crate) fn push(&mut self, outcome: &Outcome) {
        let at = self.out.len();
        self.out.put_u8(0);
        self.out.put_u32_le(0);
        let kind = put_body(&mut self.out, outcome);
        let length =
            u32::try_from(self.out.len() - at - FRAME_BYTES).expect("outcomes are smaller than their commands");
        self.out[at] = kind;
        self.out[at + 1..at + FRAME_BYTES].copy_from_slice(&length.to_le_bytes());
        self.count += 1;
    }

    pub(crate) fn build(mut self) -> Bytes {
        self.out[1..5].copy_from_slice(&self.count.to_le_bytes());
        self.out.freeze()
    }
}

/// The outcomes of an entry's commands, in their order, from the response of its proposal.
///
/// # Errors
/// The response is of another version or damaged.
pub fn outcomes(response: &Bytes) -> Result<Vec<Outcome>, DecodeError> {
    let mut reader = Reader::new("response", response);
    let version = reader.u8()?;
    if version != VERSION {
        return Err(DecodeError::Unknown { what: "the version of a response", found: u64::from(version) });
    }
    let count = reader.count()?;
    let mut all = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = reader.u8()?;
        let length = reader.u32()? as usize;
        all.push(read_body(kind, reader.bytes(length)?)?);
    }
    reader.finish()?;
    Ok(all)
}

fn put_body(out: &mut BytesMut, outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Bootstrapped { cluster, first } => {
            out.put_u128_le(cluster.0);
            out.put_u8(u8::from(*first));
            1
        }
        Outcome::Topic(created) => {
            put_created(out, created, |id| id.0, put_topic_settings);
            2
        }
        Outcome::Group(created) => {
            put_created(out, created, |id| id.0, put_group_settings);
            3
        }
        Outcome::Stored(places) => {
            places.iter().for_each(|place| put_place(out, place));
            4
        }
        Outcome::PublishRefused(refusal) => {
            put_refusal(out, *refusal);
            5
        }
        Outcome::Received(received) => {
            out.put_u8(u8::from(received.more));
            received.picks.iter().for_each(|pick| put_pick(out, pick));
            6
        }
        Outcome::Unknown(name) => {
            out.put_u8(unknown_code(*name));
            7
        }
        Outcome::Acked(entries) => {
            entries.iter().for_each(|entry| out.put_u8(settled_code(*entry)));
            8
        }
        Outcome::Changed(result) => {
            put_changed(out, *result);
            9
        }
        Outcome::Renewed(count) => put_number(out, 10, *count),
        Outcome::Ticked => 11,
        Outcome::Trimmed { start } => {
            out.put_u64_le(start.0);
            12
        }
        Outcome::Swept { more } => {
            out.put_u8(u8::from(*more));
            13
        }
        Outcome::Relocated(count) => put_number(out, 14, *count),
        Outcome::GroupUpdated(settings) => {
            put_group_settings(out, settings);
            15
        }
        Outcome::DeadLettered(settled) => {
            out.put_u8(settled_code(*settled));
            16
        }
        Outcome::Deleted(deleted) => {
            out.put_u8(deleted_code(*deleted));
            20
        }
        Outcome::Erased { left } => put_number(out, 21, *left),
        Outcome::GroupsKept { deleted } => put_number(out, 22, *deleted),
        Outcome::Level(level) => put_number(out, 23, level.number()),
    }
}

/// The whole of an outcome of this kind; answers the kind.
fn put_number(out: &mut BytesMut, kind: u8, number: u32) -> u8 {
    out.put_u32_le(number);
    kind
}

fn put_place(out: &mut BytesMut, place: &StoredAt) {
    out.put_u32_le(place.queue.0);
    out.put_u64_le(place.offset.0);
    out.put_u8(u8::from(place.repeated));
}

fn put_changed(out: &mut BytesMut, result: Result<UnixMillis, Settled>) {
    let (code, deadline) = result.map_or_else(|why| (settled_code(why), 0), |deadline| (0, deadline.0));
    out.put_u8(code);
    out.put_u64_le(deadline);
}

fn unknown_code(name: UnknownName) -> u8 {
    match name {
        UnknownName::Topic => 1,
        UnknownName::Group => 2,
        UnknownName::Queue => 3,
    }
}

fn deleted_code(deleted: Deleted) -> u8 {
    match deleted {
        Deleted::Done => 0,
        Deleted::Unknown => 1,
        Deleted::Refused => 2,
    }
}

fn put_topic_settings(out: &mut BytesMut, settings: &TopicSettings) {
    out.put_u32_le(settings.queues);
    out.put_u8(settings.kind.code());
}

fn read_body(kind: u8, body: &[u8]) -> Result<Outcome, DecodeError> {
    let mut reader = Reader::new("outcome", body);
    let outcome = match kind {
        1 => Outcome::Bootstrapped { cluster: ClusterId(reader.u128()?), first: reader.flag()? },
        2 => Outcome::Topic(read_created(&mut reader, TopicId, read_topic_settings)?),
        3 => Outcome::Group(read_created(&mut reader, ConsumerGroupId, read_group_settings)?),
        4 => Outcome::Stored(read_all(&mut reader, |reader| {
            let (queue, offset) = (QueueId(reader.u32()?), QueueOffset(reader.u64()?));
            Ok(StoredAt { queue, offset, repeated: reader.flag()? })
        })?),
        5 => Outcome::PublishRefused(read_refusal(&mut reader)?),
        6 => {
            let more = reader.flag()?;
            Outcome::Received(Received { more, picks: read_all(&mut reader, read_pick)? })
        }
        7 => Outcome::Unknown(match reader.u8()? {
            1 => UnknownName::Topic,
            2 => UnknownName::Group,
            3 => UnknownName::Queue,
            _ => return Err(reader.invalid()),
        }),
        8 => Outcome::Acked(read_all(&mut reader, read_settled)?),
        9 => {
            let code = reader.u8()?;
            let deadline = UnixMillis(reader.u64()?);
            let why = if code == 0 { None } else { Some(settled(code).ok_or(reader.invalid())?) };
            Outcome::Changed(why.map_or(Ok(deadline), Err))
        }
        10 => Outcome::Renewed(reader.u32()?),
        11 => Outcome::Ticked,
        12 => Outcome::Trimmed { start: LogIndex(reader.u64()?) },
        13 => Outcome::Swept { more: reader.flag()? },
        14 => Outcome::Relocated(reader.u32()?),
        15 => Outcome::GroupUpdated(read_group_settings(&mut reader)?),
        16 => Outcome::DeadLettered(read_settled(&mut reader)?),
        20 => Outcome::Deleted(match reader.u8()? {
            0 => Deleted::Done,
            1 => Deleted::Unknown,
            2 => Deleted::Refused,
            _ => return Err(reader.invalid()),
        }),
        21 => Outcome::Erased { left: reader.u32()? },
        23 => Outcome::Level(Level::read(&mut reader)?),
        22 => Outcome::GroupsKept { deleted: reader.u32()? },
        found => return Err(DecodeError::Unknown { what: "the kind of an outcome", found: u64::from(found) }),
    };
    reader.finish()?;
    Ok(outcome)
}

fn read_all<T>(
    reader: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut all = Vec::new();
    while reader.left() > 0 {
        all.push(read(reader)?);
    }
    Ok(all)
}

fn put_created<I: Copy, S>(
    out: &mut BytesMut,
    created: &Created<I, S>,
    number: impl Fn(I) -> u64,
    put_settings: impl Fn(&mut BytesMut, &S),
) {
    let code = match created {
        Created::New(_) => 0,
        Created::Same(_) => 1,
        Created::Other(..) => 2,
        Created::Refused => 3,
        Created::Buried => 4,
        Created::Unformed => 5,
    };
    out.put_u8(code);
    out.put_u64_le(created.id().map_or(0, number));
    if let Created::Other(_, settings) = created {
        put_settings(out, settings);
    }
}

fn read_created<I, S>(
    reader: &mut Reader<'_>,
    make: impl Fn(u64) -> I,
    read_settings: impl Fn(&mut Reader<'_>) -> Result<S, DecodeError>,
) -> Result<Created<I, S>, DecodeError> {
    let code = reader.u8()?;
    let id = make(reader.u64()?);
    Ok(match code {
        0 => Created::New(id),
        1 => Created::Same(id),
        2 => Created::Other(id, read_settings(reader)?),
        3 => Created::Refused,
        4 => Created::Buried,
        5 => Created::Unformed,
        _ => return Err(reader.invalid()),
    })
}

fn read_topic_settings(reader: &mut Reader<'_>) -> Result<TopicSettings, DecodeError> {
    let queues = reader.u32()?;
    let kind = TopicType::from_code(reader.u8()?).ok_or(reader.invalid())?;
    Ok(TopicSettings { queues, kind })
}

fn put_refusal(out: &mut BytesMut, refusal: PublishRefusal) {
    let (code, detail) = match refusal {
        PublishRefusal::UnknownTopic => (1, 0),
        PublishRefusal::UnknownQueue(queue) => (2, u64::from(queue.0)),
        PublishRefusal::OldEpoch { current } => (4, current),
        PublishRefusal::BelowWindow { first_kept } => (5, first_kept),
        PublishRefusal::SequenceGap { expected } => (6, expected),
        PublishRefusal::UnknownProducer => (7, 0),
        PublishRefusal::TooManyProducers { first_try } => (8, u64::from(first_try)),
        PublishRefusal::TooManyInDoubt { lowest } => (9, lowest),
    };
    out.put_u8(code);
    out.put_u64_le(detail);
}

fn read_refusal(reader: &mut Reader<'_>) -> Result<PublishRefusal, DecodeError> {
    let code = reader.u8()?;
    let detail = reader.u64()?;
    Ok(match code {
        1 => PublishRefusal::UnknownTopic,
        2 => PublishRefusal::UnknownQueue(QueueId(u32::try_from(detail).map_err(|_| reader.invalid())?)),
        4 => PublishRefusal::OldEpoch { current: detail },
        5 => PublishRefusal::BelowWindow { first_kept: detail },
        6 => PublishRefusal::SequenceGap { expected: detail },
        7 => PublishRefusal::UnknownProducer,
        8 => PublishRefusal::TooManyProducers { first_try: detail != 0 },
        9 => PublishRefusal::TooManyInDoubt { lowest: detail },
        _ => return Err(reader.invalid()),
    })
}

fn put_pick(out: &mut BytesMut, pick: &Pick) {
    out.put_u32_le(pick.queue.0);
    out.put_u64_le(pick.offset.0);
    out.put_u16_le(pick.attempt);
    out.put_u64_le(pick.position.index.0);
    out.put_u32_le(pick.position.offset);
    out.put_u32_le(pick.position.length);
    out.put_u64_le(pick.nonce);
    out.put_u64_le(pick.deadline.0);
    out.put_u8(u8::from(pick.origin.is_some()));
    if let Some(origin) = pick.origin {
        out.put_u64_le(origin.topic.0);
        out.put_u32_le(origin.queue.0);
        out.put_u64_le(origin.offset.0);
    }
}

fn read_pick(reader: &mut Reader<'_>) -> Result<Pick, DecodeError> {
    let (queue, offset, attempt) = (QueueId(reader.u32()?), QueueOffset(reader.u64()?), reader.u16()?);
    let position = Position { index: LogIndex(reader.u64()?), offset: reader.u32()?, length: reader.u32()? };
    let (nonce, deadline) = (reader.u64()?, UnixMillis(reader.u64()?));
    let origin = if reader.flag()? {
        let (topic, queue) = (TopicId(reader.u64()?), QueueId(reader.u32()?));
        Some(Origin { topic, queue, offset: QueueOffset(reader.u64()?) })
    } else {
        None
    };
    Ok(Pick { queue, offset, attempt, position, nonce, deadline, origin })
}

fn settled_code(settled: Settled) -> u8 {
    match settled {
        Settled::Done => 1,
        Settled::Already => 2,
        Settled::Expired => 3,
        Settled::Unknown => 4,
    }
}

fn settled(code: u8) -> Option<Settled> {
    match code {
        1 => Some(Settled::Done),
        2 => Some(Settled::Already),
        3 => Some(Settled::Expired),
        4 => Some(Settled::Unknown),
        _ => None,
    }
}

fn read_settled(reader: &mut Reader<'_>) -> Result<Settled, DecodeError> {
    settled(reader.u8()?).ok_or(reader.invalid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GroupSettings, StartPoint};

    #[test]
    fn every_outcome_goes_both_ways() {
        let settings = TopicSettings { queues: 2, kind: TopicType::Delay };
        let group = GroupSettings { fifo: true, max_attempts: 2, start: StartPoint::Last };
        let (queue, offset) = (QueueId(3), QueueOffset(4));
        let position = Position { index: LogIndex(5), offset: 6, length: 7 };
        let pick = |origin| Pick { queue, offset, attempt: 2, position, nonce: 8, deadline: UnixMillis(9), origin };
        let origin = Some(Origin { topic: TopicId(1 << 40), queue, offset });
        let refusals = [
            PublishRefusal::UnknownTopic,
            PublishRefusal::UnknownQueue(queue),
            PublishRefusal::OldEpoch { current: 7 },
            PublishRefusal::BelowWindow { first_kept: 8 },
            PublishRefusal::SequenceGap { expected: 9 },
            PublishRefusal::UnknownProducer,
            PublishRefusal::TooManyProducers { first_try: true },
            PublishRefusal::TooManyProducers { first_try: false },
            PublishRefusal::TooManyInDoubt { lowest: 7 },
        ];
        let mut all = vec![
            Outcome::Bootstrapped { cluster: ClusterId(1), first: true },
            Outcome::Topic(Created::New(TopicId(1 << 40))),
            Outcome::Topic(Created::Other(TopicId(1), settings)),
            Outcome::Group(Created::Same(ConsumerGroupId(2 << 40))),
            Outcome::Group(Created::Other(ConsumerGroupId(2), group)),
            Outcome::Group(Created::Refused),
            Outcome::Stored(vec![StoredAt { queue, offset, repeated: true }]),
            Outcome::Received(Received { picks: vec![pick(None), pick(origin)], more: true }),
            Outcome::Unknown(UnknownName::Queue),
            Outcome::Acked(vec![Settled::Done, Settled::Already, Settled::Expired, Settled::Unknown]),
            Outcome::Changed(Ok(UnixMillis(5))),
            Outcome::Changed(Err(Settled::Already)),
            Outcome::Renewed(3),
            Outcome::Ticked,
            Outcome::Trimmed { start: LogIndex(8) },
            Outcome::Swept { more: true },
            Outcome::Relocated(9),
            Outcome::GroupUpdated(group),
            Outcome::DeadLettered(Settled::Already),
            Outcome::Group(Created::Buried),
            Outcome::Topic(Created::Unformed),
            Outcome::Level(Level::NEWEST),
            Outcome::Deleted(Deleted::Done),
            Outcome::Deleted(Deleted::Unknown),
            Outcome::Deleted(Deleted::Refused),
            Outcome::Erased { left: 7 },
            Outcome::GroupsKept { deleted: 6 },
        ];
        all.extend(refusals.map(Outcome::PublishRefused));
        let mut builder = OutcomesBuilder::new();
        all.iter().for_each(|outcome| builder.push(outcome));
        let response = builder.build();
        assert_eq!(outcomes(&response), Ok(all));
        for cut in 0..response.len() {
            assert!(outcomes(&response.slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn another_version_is_refused() {
        let mut response = OutcomesBuilder::new().build().to_vec();
        response[0] = 2;
        assert!(matches!(outcomes(&response.into()), Err(DecodeError::Unknown { found: 2, .. })));
    }
}
