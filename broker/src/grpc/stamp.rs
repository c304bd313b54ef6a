//! Who publishes and what it has in doubt (hazards 16): in the headers of a SendMessage, and in the requests of a
//! stream. What is a stamp here is one that makes sense; what makes none is refused, because its producer relies on it.

use tercet_proto::{client::v1, headers, rocketmq::v2::Code};
use tonic::metadata::{Ascii, MetadataMap, MetadataValue};

use super::refusal::Refusal;
use crate::{
    model::ProducerId,
    state::{BASE_SEQUENCE_MAX, ProducerStamp, Unsettled},
};

/// The stamp in the headers of a request; nothing if they hold none.
pub fn of_headers(headers: &MetadataMap) -> Result<Option<ProducerStamp>, Refusal> {
    if !headers.contains_key(headers::PRODUCER) {
        return Ok(None);
    }
    let text = |header: &str| headers.get(header).and_then(|value| value.to_str().ok());
    let bad = |header: &str| Refusal::new(Code::BadRequest, format!("header {header} is missing or malformed"));
    let number = |header: &str| text(header).and_then(|n| n.parse::<u64>().ok()).ok_or_else(|| bad(header));
    let id = text(headers::PRODUCER)
        .filter(|id| id.len() == 32)
        .and_then(|id| u128::from_str_radix(id, 16).ok())
        .ok_or_else(|| bad(headers::PRODUCER))?;
    let again = match text(headers::AGAIN) {
        None if headers.contains_key(headers::AGAIN) => return Err(bad(headers::AGAIN)),
        None | Some("0") => false,
        Some("1") => true,
        Some(_) => return Err(bad(headers::AGAIN)),
    };
    let lowest = headers.contains_key(headers::LOWEST).then(|| number(headers::LOWEST)).transpose()?;
    checked(id, number(headers::EPOCH)?, number(headers::SEQUENCE)?, lowest, again).map(Some)
}

/// The stamp of a request in a stream.
pub fn of_request(stamp: &v1::ProducerStamp) -> Result<ProducerStamp, Refusal> {
    let id: Option<[u8; 16]> = stamp.id.as_ref().try_into().ok();
    let id = id.ok_or_else(|| refuse("the id has 16 bytes"))?;
    checked(u128::from_be_bytes(id), stamp.epoch, stamp.sequence, stamp.lowest, stamp.again)
}

fn checked(
    id: u128,
    epoch: u64,
    base_sequence: u64,
    lowest: Option<u64>,
    again: bool,
) -> Result<ProducerStamp, Refusal> {
    if lowest.is_some_and(|lowest| lowest > base_sequence) {
        return Err(refuse("the lowest sequence in doubt is above the request's own"));
    }
    if base_sequence > BASE_SEQUENCE_MAX {
        return Err(refuse("the sequence is out of range"));
    }
    if again && lowest.is_none() {
        return Err(refuse("a request that is sent again says what is the lowest sequence in doubt"));
    }
    let unsettled = lowest.map(|lowest| Unsettled { lowest, again });
    let stamp = ProducerStamp { id: ProducerId(id), epoch, base_sequence, unsettled };
    assert!(stamp.is_valid(), "checked above");
    Ok(stamp)
}

fn refuse(why: &str) -> Refusal {
    Refusal::new(Code::BadRequest, format!("producer stamp: {why}"))
}

/// Takes the stamp away from the headers of a stream, whose requests have their own.
pub fn remove_headers(headers: &mut MetadataMap) {
    for header in [headers::PRODUCER, headers::EPOCH, headers::SEQUENCE, headers::LOWEST, headers::AGAIN] {
        headers.remove(header);
    }
}

/// Writes the stamp as headers, for the leader.
pub fn put_headers(stamp: &ProducerStamp, headers: &mut MetadataMap) {
    let hex: MetadataValue<Ascii> = format!("{:032x}", stamp.id.0).parse().expect("digits and letters are legal");
    headers.insert(headers::PRODUCER, hex);
    headers.insert(headers::EPOCH, stamp.epoch.into());
    headers.insert(headers::SEQUENCE, stamp.base_sequence.into());
    if let Some(Unsettled { lowest, again }) = stamp.unsettled {
        headers.insert(headers::LOWEST, lowest.into());
        headers.insert(headers::AGAIN, MetadataValue::from_static(if again { "1" } else { "0" }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "000102030405060708090a0b0c0d0e0f";

    fn headers(pairs: &[(&'static str, &str)]) -> MetadataMap {
        let mut map = MetadataMap::new();
        for (key, value) in pairs {
            map.insert(*key, value.parse().expect("header value"));
        }
        map
    }

    fn stamp(unsettled: Option<Unsettled>) -> ProducerStamp {
        let id = ProducerId(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
        ProducerStamp { id, epoch: 1, base_sequence: 7, unsettled }
    }

    #[test]
    fn a_stamp_goes_through_headers_as_it_is() {
        assert_eq!(of_headers(&headers(&[])), Ok(None));
        for unsettled in [None, Some((5, false)), Some((7, true))] {
            let stamp = stamp(unsettled.map(|(lowest, again)| Unsettled { lowest, again }));
            let mut map = MetadataMap::new();
            put_headers(&stamp, &mut map);
            assert_eq!(map.get(headers::PRODUCER).expect("set"), ID);
            assert_eq!(of_headers(&map), Ok(Some(stamp)));
            remove_headers(&mut map);
            assert!(map.is_empty());
        }
    }

    #[test]
    fn a_stamp_of_a_stream_is_the_same() {
        let id = stamp(None).id.0.to_be_bytes().to_vec().into();
        let said = v1::ProducerStamp { id, epoch: 1, sequence: 7, lowest: Some(5), again: true };
        assert_eq!(of_request(&said), Ok(stamp(Some(Unsettled { lowest: 5, again: true }))));
        let short = v1::ProducerStamp { id: vec![1; 15].into(), ..said };
        assert_eq!(of_request(&short).expect_err("short").code, Code::BadRequest);
    }

    #[test]
    fn a_stamp_is_whole_or_refused() {
        let whole = [(headers::PRODUCER, ID), (headers::EPOCH, "1"), (headers::SEQUENCE, "7")];
        let too_far = (BASE_SEQUENCE_MAX + 1).to_string();
        for odd in [
            vec![(headers::PRODUCER, "xyz")],
            vec![(headers::EPOCH, "-1")],
            vec![(headers::SEQUENCE, "")],
            vec![(headers::SEQUENCE, too_far.as_str())],
            vec![(headers::LOWEST, "8")],
            vec![(headers::LOWEST, "x")],
            vec![(headers::AGAIN, "1")],
            vec![(headers::LOWEST, "7"), (headers::AGAIN, "yes")],
        ] {
            let map = headers(&[&whole[..], &odd[..]].concat());
            assert_eq!(of_headers(&map).expect_err("odd").code, Code::BadRequest, "{odd:?}");
        }
        assert_eq!(of_headers(&headers(&whole[..2])).expect_err("no sequence").code, Code::BadRequest);
    }
}
