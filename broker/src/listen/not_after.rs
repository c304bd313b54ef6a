//! When a certificate ends, as RFC 5280 (4.1) lays it down. rustls checks it and does not say it, and a crate for all of X.509 is
//! much for one number.
//!
//! ```text
//! Certificate SEQUENCE { tbsCertificate SEQUENCE { [0] version?, serial INTEGER, algorithm SEQUENCE, issuer SEQUENCE,
//!     validity SEQUENCE { notBefore time, notAfter time }, ... }, ... }
//! ```

use std::time::UNIX_EPOCH;

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;

/// The end of a certificate in DER, in seconds since 1970; nothing if it is not where it should be, or before 1970.
pub(super) fn not_after(der: &[u8]) -> Option<u64> {
    let (certificate, _) = of_kind(SEQUENCE, der)?;
    let (signed, _) = of_kind(SEQUENCE, certificate)?;
    let rest = of_kind(VERSION, signed).map_or(signed, |(_, rest)| rest);
    let (_, rest) = of_kind(INTEGER, rest)?;
    let (_, rest) = of_kind(SEQUENCE, rest)?;
    let (_, rest) = of_kind(SEQUENCE, rest)?;
    let (validity, _) = of_kind(SEQUENCE, rest)?;
    let (_, _, rest) = element(validity)?;
    let (kind, time, _) = element(rest)?;
    seconds(kind, std::str::from_utf8(time).ok()?)
}

fn of_kind(kind: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    element(der).filter(|(found, ..)| *found == kind).map(|(_, content, rest)| (content, rest))
}

/// The kind and the content of the first element, and what is behind it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (bytes, rest) =
                rest.split_at_checked(long - 0x80).filter(|(bytes, _)| (1..=4).contains(&bytes.len()))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*kind, content, rest))
}

/// `YYMMDDHHMMSSZ`, from 1950 to 2049, or the same with four digits for the year.
fn seconds(kind: u8, text: &str) -> Option<u64> {
    let full = match (kind, text.get(..2)?) {
        (UTC_TIME, year) if year < "50" => format!("20{text}"),
        (UTC_TIME, _) => format!("19{text}"),
        (GENERALIZED_TIME, _) => text.to_owned(),
        _ => return None,
    };
    if full.len() != "YYYYMMDDHHMMSSZ".len() || !full.is_ascii() {
        return None;
    }
    let part = |from: usize, to: usize| &full[from..to];
    let (date, time) = ([part(0, 4), part(4, 6), part(6, 8)], [part(8, 10), part(10, 12), part(12, 15)]);
    let time = humantime::parse_rfc3339(&format!("{}T{}", date.join("-"), time.join(":"))).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn certificate(year: i32) -> Vec<u8> {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, 3, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        // In 2050 the form changes.
        for year in [1999, 2026, 2049, 2050, 4096] {
            let expected = date_time_ymd(year, 3, 1).unix_timestamp();
            assert_eq!(not_after(&certificate(year)), Some(u64::try_from(expected).unwrap()), "{year}");
        }
    }

    #[test]
    fn what_is_cut_or_no_certificate_says_nothing() {
        let der = certificate(2026);
        for length in 0..der.len() {
            assert_eq!(not_after(&der[..length]), None);
        }
        assert_eq!((seconds(UTC_TIME, "991301000000Z"), seconds(UTC_TIME, "99Z")), (None, None));
        assert_eq!((seconds(INTEGER, "990101000000Z"), seconds(UTC_TIME, "9901010000äZ")), (None, None));
    }

    proptest! {
        #[test]
        fn nonsense_is_no_end_of_the_process(at in 0_usize..400, to: u8) {
            let mut der = certificate(2026);
            let at = at % der.len();
            der[at] = to;
            let _ = not_after(&der);
        }
    }
}
