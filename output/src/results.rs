//! What a command was asked for, on standard output: a table for people, or JSON for programs.

use std::io::{self, Write as _};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

/// For whom results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Table,
    /// For programs
    Json,
}

/// Prints rows under their headings, or the value as JSON.
///
/// # Errors
/// If standard output takes nothing, other than because its reader has enough.
pub fn print<const N: usize>(
    format: Format,
    headings: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
    value: &impl Serialize,
) -> io::Result<()> {
    match format {
        Format::Json => print_json(value),
        Format::Table => {
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
///
/// # Errors
/// As [`print()`].
pub fn say(format: Format, sentence: &str, value: &impl Serialize) -> io::Result<()> {
    match format {
        Format::Json => print_json(value),
        Format::Table => line(sentence),
    }
}

fn print_json(value: &impl Serialize) -> io::Result<()> {
    line(&serde_json::to_string(value)?)
}

/// Like `println!`, but never a panic. A reader that has enough is no error: what the command did stands.
///
/// # Errors
/// As [`print()`].
pub fn line(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write to standard output: {error}"))),
        Ok(()) => Ok(()),
    }
}
