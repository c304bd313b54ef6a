//! What operators and init systems ask of a process by signals.
//!
//! | signal | what happens |
//! |---|---|
//! | SIGTERM, SIGINT | stops in order; a second one: at once |
//! | SIGHUP | reads again what can be read again, and goes on |
//! | SIGQUIT | the system ends the process at once, with a core file where those are allowed. Nothing acknowledged is lost |
//! | SIGUSR1, SIGUSR2, SIGXFSZ | noted, nothing else. Unheeded, SIGXFSZ would end a node whose standard error is a file that has grown to its limit |
//! | SIGPIPE | ignored by the Rust runtime: a write fails instead |
//! | SIGTSTP, SIGCONT, SIGWINCH and the others | as the system does it |

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// `SIGXFSZ` on Linux: a file has reached the limit of `ulimit -f`.
const FILE_SIZE: i32 = 25;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To stop; the name of the signal.
    Stop(&'static str),
    /// To read again what can be.
    Reload,
}

/// The signals of this process. Made once and kept, so that none is missed between two of them.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    user_1: Signal,
    user_2: Signal,
    file_size: Signal,
    hang_up_was_ignored: bool,
}

impl Signals {
    /// From now on no signal of the table ends this process by itself, but for SIGQUIT.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn catch() -> io::Result<Signals> {
        Ok(Signals {
            hang_up_was_ignored: is_ignored(rustix::process::Signal::HUP),
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            user_1: signal(SignalKind::user_defined1())?,
            user_2: signal(SignalKind::user_defined2())?,
            file_size: signal(SignalKind::from_raw(FILE_SIZE))?,
        })
    }

    /// Whether whoever started this process wants it to outlive its terminal, as `nohup` does.
    #[must_use]
    pub fn hang_up_was_ignored(&self) -> bool {
        self.hang_up_was_ignored
    }

    /// Waits until something is asked for. Dropping it half-way loses nothing.
    pub async fn asked(&mut self) -> Asked {
        loop {
            let unheeded = tokio::select! {
                _ = self.terminate.recv() => return Asked::Stop("SIGTERM"),
                _ = self.interrupt.recv() => return Asked::Stop("SIGINT"),
                _ = self.hang_up.recv() => return Asked::Reload,
                _ = self.user_1.recv() => "SIGUSR1",
                _ = self.user_2.recv() => "SIGUSR2",
                _ = self.file_size.recv() => "SIGXFSZ",
            };
            tracing::info!(signal = unheeded, "a signal that means nothing here");
        }
    }

    /// Waits until this process is asked to stop; says by which signal.
    pub async fn stop(&mut self) -> &'static str {
        loop {
            match self.asked().await {
                Asked::Stop(signal) => return signal,
                Asked::Reload => tracing::info!("SIGHUP: there is nothing to read again now"),
            }
        }
    }
}

/// What this process has inherited, before it catches the signal.
fn is_ignored(signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw() - 1) & 1 == 1
}
