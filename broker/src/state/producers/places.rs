//! Where the messages of one publish were stored, packed: the same bytes in memory and in the store.
//!
//! ```text
//! places  ┌ranges varint┐ ┌queue varint┬first offset varint┐ x ranges, then runs ┌range varint┬messages varint┐
//! ```
//! A run is so many messages, each at the next offset of its range. The messages of a publish get consecutive offsets
//! in each queue, so there is one range for each queue; a publish to one queue takes about 10 bytes, and two for each
//! run where queues alternate.

use std::collections::BTreeMap;

use bytes::{BufMut as _, BytesMut};

use crate::model::{QueueId, QueueOffset};
use crate::state::codec::{DecodeError, Reader, put_varint};

/// Where a message was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) queue: QueueId,
    pub(crate) offset: QueueOffset,
}

/// Packed places. Invariant: the bytes are well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Places(Box<[u8]>);

impl Places {
    pub(crate) fn pack(places: &[Place]) -> Places {
        let mut ranges: Vec<(Place, u64)> = Vec::new();
        let mut latest: BTreeMap<QueueId, usize> = BTreeMap::new();
        let mut runs: Vec<(usize, u64)> = Vec::new();
        for place in places {
            let continues = |range: usize| {
                let (first, count) = ranges[range];
                place.queue == first.queue && place.offset == first.offset.plus(count)
            };
            let last = runs.last().map(|(range, _)| *range);
            let known = last.filter(|range| continues(*range));
            let known = known.or_else(|| latest.get(&place.queue).copied().filter(|range| continues(*range)));
            let range = known.unwrap_or_else(|| {
                ranges.push((*place, 0));
                latest.insert(place.queue, ranges.len() - 1);
                ranges.len() - 1
            });
            ranges[range].1 += 1;
            match runs.last_mut() {
                Some((of, count)) if *of == range => *count += 1,
                _ => runs.push((range, 1)),
            }
        }
        let mut out = BytesMut::with_capacity(16);
        put_varint(&mut out, ranges.len() as u64);
        for (first, _) in ranges {
            put_varint(&mut out, u64::from(first.queue.0));
            put_varint(&mut out, first.offset.0);
        }
        for (range, count) in runs {
            put_varint(&mut out, range as u64);
            put_varint(&mut out, count);
        }
        Places(Box::from(&out[..]))
    }

    /// Takes the rest of a record, which must hold the places of `count` messages.
    pub(crate) fn read(reader: &mut Reader<'_>, count: u32) -> Result<Places, DecodeError> {
        let left = reader.left();
        let bytes = reader.bytes(left)?;
        let mut unpacked = Reader::new("places", bytes);
        if unpack(&mut unpacked, count)?.len() != count as usize {
            return Err(unpacked.invalid());
        }
        Ok(Places(bytes.into()))
    }

    pub(crate) fn put(&self, out: &mut BytesMut) {
        out.put_slice(&self.0);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.len()
    }

    /// All of them, in order; there are `count`.
    pub(crate) fn unpack(&self, count: u32) -> Vec<Place> {
        unpack(&mut Reader::new("places", &self.0), count).expect("packed here, or checked when it was read")
    }
}

fn unpack(reader: &mut Reader<'_>, count: u32) -> Result<Vec<Place>, DecodeError> {
    let queues = reader.varint()?;
    if queues > u64::from(count) {
        return Err(reader.invalid());
    }
    let mut ranges = Vec::new();
    for _ in 0..queues {
        ranges.push(Place { queue: QueueId(reader.varint32()?), offset: QueueOffset(reader.varint()?) });
    }
    let mut places = Vec::new();
    while reader.left() > 0 {
        let (range, messages) = (reader.varint()?, reader.varint()?);
        let next = usize::try_from(range).ok().and_then(|range| ranges.get_mut(range)).ok_or(reader.invalid())?;
        let left = u64::from(count) - places.len() as u64;
        let end = next.offset.0.checked_add(messages).filter(|_| messages <= left).ok_or(reader.invalid())?;
        places.extend((next.offset.0..end).map(|offset| Place { queue: next.queue, offset: QueueOffset(offset) }));
        next.offset = QueueOffset(end);
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn place(queue: u32, offset: u64) -> Place {
        Place { queue: QueueId(queue), offset: QueueOffset(offset) }
    }

    #[test]
    fn one_queue_takes_few_bytes_and_alternating_queues_two_for_each_message() {
        let one: Vec<_> = (0..512).map(|n| place(3, 1_000_000 + n)).collect();
        assert!(Places::pack(&one).bytes() <= 10, "{}", Places::pack(&one).bytes());
        let alternating: Vec<_> = (0..512).map(|n| place(n % 16, 1_000_000 + u64::from(n / 16))).collect();
        assert!(Places::pack(&alternating).bytes() <= 2 * 512 + 16 * 5 + 1);
    }

    proptest! {
        #[test]
        fn places_go_both_ways(given in prop::collection::vec((0..4u32, 0..6u64), 1..40)) {
            let given: Vec<_> = given.into_iter().map(|(queue, offset)| place(queue, offset)).collect();
            let count = given.len() as u32;
            let packed = Places::pack(&given);
            prop_assert_eq!(packed.unpack(count), given);
            let read = |count| Places::read(&mut Reader::new("test", &packed.0), count);
            prop_assert_eq!(read(count), Ok(packed.clone()));
            prop_assert!(read(count - 1).is_err() && read(count + 1).is_err());
        }

        #[test]
        fn bytes_that_are_no_places_are_an_error_and_take_no_memory(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Places::read(&mut Reader::new("test", &bytes), 100).map(|places| places.unpack(100));
        }
    }
}
