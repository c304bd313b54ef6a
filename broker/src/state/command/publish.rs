//! Publish: messages of one topic. `apply` reads the fixed headers, never tag, meta or body.
//!
//! ```text
//! command  ┌topic u64┬flags u8┬0 u8 x 3┬messages u32┐ then, if flags bit 0: ┌producer u128┬epoch u64┬base sequence u64┐
//!          and, if flags bit 1: ┌lowest in doubt u64┐; flags bit 2: sent again
//! message  ┌length u32┬queue u32┬group key u64┬tag key u64┬meta length u32┬tag length u16┬marks u16┐ 32 bytes
//!          then, each if its bit of the marks is set: ┌1: priority u8┬2: live ms u64┬4: delivery u8┬8: key hash u64┐
//!          then tag, meta, body
//! ```
//! Of [`Marks`] only what is set is written, and a bit that this build does not know stops the node like an unknown command:
//! whoever set it meant something by it.
//!
//! A message's length counts its header. A [`Position`] spans exactly one message, so what is read from the log at a
//! position is parsed by [`StoredMessage`] without the rest of the entry.

use bytes::{BufMut, Bytes, BytesMut};

use super::encoded::{EncodedCommand, FRAME_BYTES};
use super::kind;
use super::producer_stamp::{FLAGS, ProducerStamp};
use crate::model::{Marks, MessageGroupKey, Position, QueueId, TagKey, TopicId};
use crate::state::codec::{DecodeError, Reader};
use crate::state::producers::WINDOW;

const COUNT_AT: usize = FRAME_BYTES + 12;
const MESSAGE_HEADER_BYTES: usize = 32;
const META_LENGTH_AT: usize = 24;
const MARKS_AT: usize = 30;
const PRIORITY: u16 = 1;
const LIVE: u16 = 2;
const DELIVERY: u16 = 4;
const KEY_HASH: u16 = 8;
/// All of them.
const MARKS_BYTES_MAX: usize = 1 + 8 + 1 + 8;

/// A message on its way into a command.
#[derive(Clone, Copy, Debug)]
pub struct NewMessage<'a> {
    /// The queue that the leader chose.
    pub queue: QueueId,
    /// Its message group, or none.
    pub group: MessageGroupKey,
    /// Its tag, or empty.
    pub tag: &'a str,
    /// Everything else that a delivery needs; opaque to the state machine.
    pub meta: &'a [u8],
    /// The body.
    pub body: &'a [u8],
}

/// Writes a publish command.
#[derive(Debug)]
pub struct PublishBuilder {
    out: BytesMut,
    messages: u32,
}

impl PublishBuilder {
    /// A command without messages.
    #[must_use]
    pub fn new(topic: TopicId, producer: Option<ProducerStamp>) -> PublishBuilder {
        PublishBuilder::with_capacity(topic, producer, 256)
    }

    /// A command without messages, with room for `bytes` of them.
    #[must_use]
    pub fn with_capacity(topic: TopicId, producer: Option<ProducerStamp>, bytes: usize) -> PublishBuilder {
        let mut out = BytesMut::with_capacity(bytes);
        out.put_u8(kind::PUBLISH);
        out.put_u32_le(0);
        out.put_u64_le(topic.0);
        out.put_u8(producer.map_or(0, |producer| producer.flags()));
        out.put_bytes(0, 3);
        out.put_u32_le(0);
        if let Some(producer) = producer {
            producer.put(&mut out);
        }
        PublishBuilder { out, messages: 0 }
    }

    /// Adds a message.
    pub fn push(&mut self, message: &NewMessage<'_>) {
        self.push_marked(message, Marks::NONE);
    }

    /// Adds a message with marks.
    pub fn push_marked(&mut self, message: &NewMessage<'_>, marks: Marks) {
        let NewMessage { tag, meta, body, .. } = message;
        let length = MESSAGE_HEADER_BYTES + tag.len() + meta.len() + body.len();
        let begin = self.out.len();
        self.out.reserve(length + MARKS_BYTES_MAX);
        self.out.put_u32_le(0);
        self.out.put_u32_le(message.queue.0);
        self.out.put_u64_le(message.group.0);
        self.out.put_u64_le(TagKey::of(tag).0);
        self.out.put_u32_le(u32::try_from(meta.len()).expect("part of length"));
        self.out.put_u16_le(u16::try_from(tag.len()).expect("tags are limited at the door"));
        self.out.put_u16_le(0);
        put_marks(&mut self.out, begin + MARKS_AT, marks);
        self.out.put_slice(tag.as_bytes());
        self.out.put_slice(meta);
        self.out.put_slice(body);
        let length = u32::try_from(self.out.len() - begin).expect("messages are limited at the door");
        self.out[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
        self.messages += 1;
    }

    /// The command.
    #[must_use]
    pub fn finish(mut self) -> EncodedCommand {
        assert!(self.messages > 0, "a publish carries messages");
        assert!(u64::from(self.messages) <= WINDOW, "a publish fits the window of kept results");
        self.out[COUNT_AT..COUNT_AT + 4].copy_from_slice(&self.messages.to_le_bytes());
        EncodedCommand::seal(self.out, self.messages)
    }
}

/// Appends those that are set, and notes at `flags_at` which.
fn put_marks(out: &mut BytesMut, flags_at: usize, marks: Marks) {
    if marks == Marks::NONE {
        return;
    }
    let mut flags = 0;
    if marks.priority > 0 {
        flags |= PRIORITY;
        out.put_u8(marks.priority);
    }
    if marks.live_ms > 0 {
        flags |= LIVE;
        out.put_u64_le(marks.live_ms);
    }
    if marks.delivery > 0 {
        flags |= DELIVERY;
        out.put_u8(marks.delivery);
    }
    if marks.key_hash > 0 {
        flags |= KEY_HASH;
        out.put_u64_le(marks.key_hash);
    }
    out[flags_at..flags_at + 2].copy_from_slice(&flags.to_le_bytes());
}

/// Reads what [`put_marks`] appended.
fn read_marks(flags: u16, reader: &mut Reader<'_>) -> Result<Marks, DecodeError> {
    let unknown = flags & !(PRIORITY | LIVE | DELIVERY | KEY_HASH);
    if unknown != 0 {
        return Err(DecodeError::Unknown { what: "a mark of a message", found: u64::from(unknown) });
    }
    let has = |mark| flags & mark != 0;
    Ok(Marks {
        priority: if has(PRIORITY) { reader.u8()? } else { 0 },
        live_ms: if has(LIVE) { reader.u64()? } else { 0 },
        delivery: if has(DELIVERY) { reader.u8()? } else { 0 },
        key_hash: if has(KEY_HASH) { reader.u64()? } else { 0 },
    })
}

/// A publish under `apply`: read in place.
#[derive(Clone, Debug)]
pub(crate) struct PublishView<'a> {
    pub(crate) topic: TopicId,
    pub(crate) producer: Option<ProducerStamp>,
    pub(crate) count: u32,
    messages: &'a [u8],
    offset: usize,
}

/// What `apply` reads of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MessageHeader {
    pub(crate) queue: QueueId,
    pub(crate) group: MessageGroupKey,
    pub(crate) tag: TagKey,
    pub(crate) marks: Marks,
    /// Where in the message its tag's text begins, behind the marks.
    tag_at: usize,
    tag_length: usize,
    /// Where in the entry the message begins.
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

impl<'a> PublishView<'a> {
    pub(crate) fn decode(body: &'a [u8], body_offset: usize) -> Result<PublishView<'a>, DecodeError> {
        let mut reader = Reader::new("publish", body);
        let topic = TopicId(reader.u64()?);
        let flags = reader.u8()?;
        if flags & !FLAGS != 0 {
            let found = u64::from(flags & !FLAGS);
            return Err(DecodeError::Unknown { what: "a flag of a publish", found });
        }
        reader.bytes(3)?;
        let count = reader.u32()?;
        let producer = ProducerStamp::read(flags, &mut reader)?;
        let left = reader.left();
        let too_many = producer.is_some() && u64::from(count) > WINDOW;
        if count == 0 || (count as usize) > left / MESSAGE_HEADER_BYTES || too_many {
            return Err(reader.invalid());
        }
        let messages = reader.bytes(left)?;
        Ok(PublishView { topic, producer, count, messages, offset: body_offset + body.len() - left })
    }

    /// The headers, in order; ends with an error if the bytes do not add up.
    pub(crate) fn headers(&self) -> Headers<'a> {
        Headers { messages: self.messages, offset: self.offset, count: self.count }
    }
}

/// Walks over the messages of a publish.
#[derive(Debug)]
pub(crate) struct Headers<'a> {
    messages: &'a [u8],
    offset: usize,
    count: u32,
}

impl<'a> Headers<'a> {
    fn read(&mut self) -> Result<MessageHeader, DecodeError> {
        let mut reader = Reader::new("message", self.messages);
        let length = reader.u32()?;
        let queue = QueueId(reader.u32()?);
        let group = MessageGroupKey(reader.u64()?);
        let tag = TagKey(reader.u64()?);
        let meta_length = reader.u32()? as usize;
        let tag_length = usize::from(reader.u16()?);
        let flags = reader.u16()?;
        let marks = read_marks(flags, &mut reader)?;
        let tag_at = self.messages.len() - reader.left();
        if (length as usize) < tag_at + tag_length + meta_length {
            return Err(reader.invalid());
        }
        let mut whole = Reader::new("message", self.messages);
        whole.bytes(length as usize)?;
        let offset = u32::try_from(self.offset).map_err(|_| reader.invalid())?;
        self.messages = &self.messages[length as usize..];
        self.offset += length as usize;
        Ok(MessageHeader { queue, group, tag, marks, tag_at, tag_length, offset, length })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<MessageHeader, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.count == 0 {
            let left = std::mem::take(&mut self.messages).len();
            return (left > 0).then_some(Err(DecodeError::Long { what: "publish", left }));
        }
        self.count -= 1;
        let header = self.read();
        if header.is_err() {
            (self.count, self.messages) = (0, &[]);
        }
        Some(header)
    }
}

/// A message as read from the log at its [`Position`]; its parts share the entry's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// The queue it was published to; a dead-lettered message keeps it, so take the queue from the pick.
    pub queue: QueueId,
    /// Its message group, or none.
    pub group: MessageGroupKey,
    /// Its marks.
    pub marks: Marks,
    /// Its tag; empty is none.
    pub tag: Bytes,
    /// What [`NewMessage::meta`] was.
    pub meta: Bytes,
    /// The body.
    pub body: Bytes,
}

impl StoredMessage {
    /// The message at `position` of the entry with this payload.
    ///
    /// # Errors
    /// The position is outside the payload, or no message lies there.
    pub fn read(payload: &Bytes, position: Position) -> Result<StoredMessage, DecodeError> {
        let (start, length) = (position.offset as usize, position.length as usize);
        let end = start.saturating_add(length);
        if end > payload.len() {
            return Err(DecodeError::Short { what: "entry", needed: end, left: payload.len() });
        }
        let record = payload.slice(start..end);
        let header = Headers { messages: &record, offset: start, count: 1 }.read()?;
        if header.length != position.length {
            return Err(DecodeError::Invalid { what: "the length of a message" });
        }
        let meta_length =
            u32::from_le_bytes(record[META_LENGTH_AT..META_LENGTH_AT + 4].try_into().expect("four bytes"));
        let meta_length = meta_length as usize;
        let meta_at = header.tag_at + header.tag_length;
        Ok(StoredMessage {
            queue: header.queue,
            group: header.group,
            marks: header.marks,
            tag: record.slice(header.tag_at..meta_at),
            meta: record.slice(meta_at..meta_at + meta_length),
            body: record.slice(meta_at + meta_length..),
        })
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::{LogIndex, UnixMillis};

    use super::*;
    use crate::model::ProducerId;
    use crate::state::command::{BatchBuilder, Command, EntryView, Unsettled, tick};

    fn publish(producer: Option<ProducerStamp>) -> EncodedCommand {
        let mut builder = PublishBuilder::new(TopicId(7 << 40), producer);
        for (queue, tag, body) in [(0, "", "first"), (3, "red", "second")] {
            let (queue, group) = (QueueId(queue), MessageGroupKey::of(tag));
            builder.push(&NewMessage { queue, group, tag, meta: b"meta", body: body.as_bytes() });
        }
        builder.finish()
    }

    #[test]
    fn messages_are_read_where_their_positions_say() {
        let unsettled = Some(Unsettled { lowest: 90, again: true });
        let stamp = ProducerStamp { id: ProducerId(9), epoch: 1, base_sequence: 100, unsettled };
        let mut batch = BatchBuilder::new();
        batch.push(&tick());
        batch.push(&publish(Some(stamp)));
        assert_eq!(batch.messages(), 2);
        let payload = batch.build(UnixMillis(1));
        let mut view = EntryView::decode(&payload).unwrap();
        view.next_frame().unwrap();
        let frame = view.next_frame().unwrap();
        let Command::Publish(publish) = Command::decode(&frame).unwrap() else { panic!("a publish") };
        assert_eq!((publish.topic, publish.producer), (TopicId(7 << 40), Some(stamp)));
        let headers: Vec<_> = publish.headers().map(Result::unwrap).collect();
        assert_eq!(headers.len(), 2);
        let position = |h: &MessageHeader| Position { index: LogIndex(1), offset: h.offset, length: h.length };
        let second = StoredMessage::read(&payload, position(&headers[1])).unwrap();
        assert_eq!((second.queue, &second.tag[..], &second.meta[..]), (QueueId(3), &b"red"[..], &b"meta"[..]));
        assert_eq!(&second.body[..], b"second");
        let mut wrong = position(&headers[0]);
        wrong.offset += 1;
        assert!(StoredMessage::read(&payload, wrong).is_err());
    }

    fn marked(marks: Marks) -> EncodedCommand {
        let mut builder = PublishBuilder::new(TopicId(7), None);
        let (queue, group) = (QueueId(1), MessageGroupKey::NONE);
        builder.push_marked(&NewMessage { queue, group, tag: "red", meta: b"meta", body: b"body" }, marks);
        builder.finish()
    }

    fn first_header(body: &[u8]) -> Result<MessageHeader, DecodeError> {
        PublishView::decode(body, 0)?.headers().next().expect("a message")
    }

    #[test]
    fn only_the_marks_that_are_set_are_written_and_all_come_back() {
        let all = Marks { priority: 9, live_ms: 1 << 40, delivery: 2, key_hash: u64::MAX };
        let plain = marked(Marks::NONE).frame.len();
        for (marks, bytes) in [
            (Marks::NONE, 0),
            (Marks { priority: 9, ..Marks::NONE }, 1),
            (Marks { live_ms: 5, ..Marks::NONE }, 8),
            (Marks { delivery: 1, ..Marks::NONE }, 1),
            (Marks { key_hash: 1, ..Marks::NONE }, 8),
            (all, MARKS_BYTES_MAX),
        ] {
            let command = marked(marks);
            assert_eq!(command.frame.len(), plain + bytes, "{marks:?}");
            let body = command.frame.slice(FRAME_BYTES..);
            let header = first_header(&body).unwrap();
            let position = Position { index: LogIndex(1), offset: header.offset, length: header.length };
            let stored = StoredMessage::read(&body, position).unwrap();
            assert_eq!((header.marks, stored.marks), (marks, marks));
            assert_eq!(
                (&stored.tag[..], &stored.meta[..], &stored.body[..]),
                (&b"red"[..], &b"meta"[..], &b"body"[..])
            );
            for cut in 0..body.len() {
                assert!(first_header(&body[..cut]).is_err(), "{marks:?} cut at {cut}");
            }
        }
    }

    /// hazards 30: what a mark means, somebody else knows.
    #[test]
    fn a_mark_of_another_version_is_refused_by_name() {
        let mut body = marked(Marks::NONE).frame[FRAME_BYTES..].to_vec();
        body[16 + MARKS_AT] = 32;
        let error = first_header(&body).unwrap_err().to_string();
        assert_eq!(error, "a mark of a message is 32, which this version does not know");
    }

    #[test]
    fn a_publish_cut_anywhere_is_an_error() {
        let whole = publish(None).frame.slice(FRAME_BYTES..);
        let read = |bytes: &[u8]| -> Result<usize, DecodeError> {
            let headers: Result<Vec<_>, _> = PublishView::decode(bytes, 0)?.headers().collect();
            Ok(headers?.len())
        };
        assert_eq!(read(&whole), Ok(2));
        for cut in 0..whole.len() {
            assert!(read(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let mut long = whole.to_vec();
        long.push(0);
        assert!(read(&long).is_err());
    }
}
