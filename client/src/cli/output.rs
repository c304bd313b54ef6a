//! What is printed beside tables and JSON.

use std::time::{SystemTime, UNIX_EPOCH};

pub(super) use tercet_output::results::{line, print, say};

/// RFC 3339, or milliseconds since 1970 where the calendar ends.
pub(super) fn time_text(time: SystemTime) -> String {
    const YEAR_9999_MILLIS: u128 = 253_402_300_799_999;
    let unix_millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    if unix_millis > YEAR_9999_MILLIS {
        return unix_millis.to_string();
    }
    humantime::format_rfc3339_millis(time).to_string()
}
