//! Tables for people, JSON for programs.

use std::{
    io::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::args::Output;

/// Prints rows under their headings, or the value as JSON.
pub(super) fn print<const N: usize>(
    output: Output,
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    value: &impl Serialize,
) -> io::Result<()> {
    match output {
        Output::Json => print_json(value),
        Output::Table => {
            let mut table = Table::new();
            table.load_style(presets::NOTHING).set_header(headings);
            for row in rows {
                table.add_row(row);
            }
            line(&table.trim_fmt())
        }
    }
}

/// Prints a sentence, or the value as JSON.
pub(super) fn say(output: Output, sentence: &str, value: &impl Serialize) -> io::Result<()> {
    match output {
        Output::Json => print_json(value),
        Output::Table => line(sentence),
    }
}

fn print_json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Like `println!`, but never a panic. A reader that has enough is no error: what the command did stands.
pub(super) fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}

/// RFC 3339, or milliseconds since 1970 where the calendar ends.
pub(super) fn time_text(time: SystemTime) -> String {
    const YEAR_9999_MILLIS: u128 = 253_402_300_799_999;
    let unix_millis = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    if unix_millis > YEAR_9999_MILLIS {
        return unix_millis.to_string();
    }
    humantime::format_rfc3339_millis(time).to_string()
}
