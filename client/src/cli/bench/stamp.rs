//! When a message was sent, in its body: so that a consumer, in whatever process, can say how long it took to come.
//!
//! Twenty decimal digits of nanoseconds since 1970 and a colon; bodies that are sent without a schedule begin otherwise.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

const DIGITS: usize = 20;

#[expect(clippy::disallowed_methods, reason = "two processes share no other clock")]
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The body with the time `late` ago at its begin, if there is room for it.
pub(super) fn stamped(body: &Bytes, late: Duration) -> Bytes {
    if body.len() <= DIGITS {
        return body.clone();
    }
    let mut stamped = body.to_vec();
    let text = format!("{:0DIGITS$}:", now().saturating_sub(late).as_nanos());
    stamped[..=DIGITS].copy_from_slice(text.as_bytes());
    stamped.into()
}

/// How long ago each of these was sent; empty if one does not say so.
pub(super) fn ages<'a>(bodies: impl Iterator<Item = &'a Bytes>) -> Vec<Duration> {
    let now = now();
    let age = |body: &Bytes| {
        let text = std::str::from_utf8(body.get(..DIGITS)?).ok()?;
        let sent: u64 = (body.get(DIGITS) == Some(&b':')).then(|| text.parse().ok()).flatten()?;
        Some(now.saturating_sub(Duration::from_nanos(sent)))
    };
    bodies.map(age).collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamped_body_tells_its_age_and_others_do_not() {
        let body = Bytes::from(vec![b' '; 30]);
        let old = stamped(&body, Duration::from_secs(5));
        assert_eq!(old.len(), 30);
        let ages_of = |bodies: &[Bytes]| ages(bodies.iter());
        assert!((5..60).contains(&ages_of(std::slice::from_ref(&old))[0].as_secs()));
        assert!(ages_of(&[old, body]).is_empty());
        let short = Bytes::from_static(b"short");
        assert_eq!(stamped(&short, Duration::ZERO), short);
    }
}
