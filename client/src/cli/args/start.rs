//! Where a group begins, as it is typed.

use std::time::UNIX_EPOCH;

use tercet_client::Start;

/// `first`, `last`, or a time: RFC 3339, with or without the `T` and the `Z`, in UTC.
pub(super) fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "first" => Ok(Start::First),
        "last" => Ok(Start::Last),
        time => {
            let time = humantime::parse_rfc3339_weak(time)
                .map_err(|_| "expected first, last or a time such as 2026-11-21T08:00:00Z".to_owned())?;
            if time < UNIX_EPOCH { Err("before 1970".to_owned()) } else { Ok(Start::At(time)) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert_eq!(parse_start("first"), Ok(Start::First));
        assert_eq!(parse_start("1970-01-01T00:00:01.5Z"), Ok(Start::At(UNIX_EPOCH + Duration::from_millis(1500))));
        assert_eq!(parse_start("1970-01-01 00:00:02"), Ok(Start::At(UNIX_EPOCH + Duration::from_millis(2000))));
    }
}
