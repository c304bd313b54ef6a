//! The lines to publish, read on a thread of their own.

use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::Path,
};

use tokio::sync::mpsc;

/// Lines that the reader may be ahead.
const LINES_AHEAD: usize = 1024;

/// A line of the input without its line feed, and its 1-based number.
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) text: Vec<u8>,
}

/// Starts the thread that reads; also returns the length of the input in bytes, if it has one.
pub(super) fn read_lines(path: Option<&Path>) -> Result<(mpsc::Receiver<io::Result<Line>>, Option<u64>), String> {
    let (mut input, length): (Box<dyn BufRead + Send>, _) = match path {
        None => (Box::new(BufReader::new(io::stdin())), None),
        Some(path) => {
            let cannot = |error| format!("cannot read {}: {error}", path.display());
            let file = File::open(path).map_err(cannot)?;
            let length = file.metadata().map_err(cannot)?.len();
            (Box::new(BufReader::with_capacity(256 << 10, file)), (length > 0).then_some(length))
        }
    };
    let (sender, lines) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        for number in 1.. {
            let mut text = Vec::new();
            let item = match input.read_until(b'\n', &mut text) {
                Ok(0) => return,
                Ok(_) => {
                    text.pop_if(|last| *last == b'\n');
                    Ok(Line { number, text })
                }
                Err(error) => Err(error),
            };
            let failed = item.is_err();
            if sender.blocking_send(item).is_err() || failed {
                return;
            }
        }
    });
    Ok((lines, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_bytes_and_numbers_and_lose_only_the_line_feed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"one\r\n\nthree\xff").unwrap();
        let (mut lines, length) = read_lines(Some(file.path())).unwrap();
        let mut read = Vec::new();
        while let Some(line) = lines.blocking_recv() {
            let line = line.unwrap();
            read.push((line.number, line.text));
        }
        assert_eq!(read, [(1, b"one\r".to_vec()), (2, b"".to_vec()), (3, b"three\xff".to_vec())]);
        assert_eq!(length, Some(12));
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read_lines(Some(Path::new("/nowhere/at/all"))).map(drop).unwrap_err();
        assert!(error.contains("cannot read /nowhere/at/all"), "{error}");
    }
}
