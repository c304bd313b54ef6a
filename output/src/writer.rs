//! The thread that writes.

use std::{
    fs::File,
    io::{self, Write as _},
    sync::atomic::Ordering,
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::shared::Shared;

/// Writes for ever.
pub(crate) fn run(shared: &Shared, mut output: File) {
    // After half a line the next one begins on a line of its own.
    let mut torn = false;
    loop {
        let mut line = shared.queue.next();
        if torn {
            line.insert(0, b'\n');
        }
        match write(&mut output, &line) {
            Ok(()) => torn = false,
            Err(Unwritten { begun }) => {
                torn |= begun;
                shared.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A line that could not be written.
struct Unwritten {
    /// Whether some of it was.
    begun: bool,
}

/// The whole line. Waits for a reader, however slow; another process may have made the descriptor non-blocking.
fn write(output: &mut File, line: &[u8]) -> Result<(), Unwritten> {
    let mut left = line;
    while !left.is_empty() {
        match output.write(left) {
            Ok(written) if written > 0 => left = &left[written..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                // A failure shows again at the next write.
                let _ = poll(&mut [PollFd::new(output, PollFlags::OUT)], None);
            }
            _ => return Err(Unwritten { begun: left.len() < line.len() }),
        }
    }
    Ok(())
}
