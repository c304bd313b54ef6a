//! The story of a run, told line by line when `SIM_STORY` is set: for reading why a seed failed.

use std::cell::Cell;
use std::fmt::Display;
use std::sync::OnceLock;

use tokio::time::Instant;

thread_local! {
    static BEGIN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// A run begins now.
pub fn begin() {
    BEGIN.set(Some(Instant::now()));
}

/// Tells a line.
pub fn tell(line: impl FnOnce() -> String) {
    if wanted() {
        let at = BEGIN.get().map_or(0, |begin| begin.elapsed().as_millis());
        eprintln!("{at:>6} {}", line());
    }
}

/// Tells of a node.
pub fn tell_of(place: usize, what: impl Display) {
    tell(|| format!("node {}: {what}", place + 1));
}

fn wanted() -> bool {
    static WANTED: OnceLock<bool> = OnceLock::new();
    *WANTED.get_or_init(|| std::env::var_os("SIM_STORY").is_some())
}
