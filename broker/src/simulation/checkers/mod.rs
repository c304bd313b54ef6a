//! One promise each. Those that look at single commands see each with its outcome, in the order of the log, and the ledger as it
//! was before; the others look at replicas.

mod attempts;
mod bodies;
pub(super) mod held_log;
pub(super) mod letters;
mod message_order;
mod nothing_lost;
mod offsets;
pub(super) mod pending_kept;
mod refusals;
pub(super) mod replicas_agree;
#[cfg(test)]
mod rig;
mod settled;
mod start;
mod stored_once;

use super::ledger::{Applied, Ledger};
use super::log::Log;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// Who noticed.
    pub(super) checker: &'static str,
    pub(super) what: String,
}

impl Violation {
    pub(super) fn new(checker: &'static str, what: impl Into<String>) -> Violation {
        Violation { checker, what: what.into() }
    }
}

type Check = fn(&Ledger, &Log, &Applied<'_>) -> Result<(), String>;

/// All that look at single commands.
const CHECKS: [(&str, Check); 9] = [
    ("refusals", refusals::check),
    ("offsets", offsets::check),
    ("stored once", stored_once::check),
    ("attempts", attempts::check),
    ("message order", message_order::check),
    ("bodies", bodies::check),
    ("nothing lost", nothing_lost::check),
    ("settled", settled::check),
    ("start", start::check),
];

/// Shows a command to all of them.
pub(super) fn check(ledger: &Ledger, log: &Log, applied: &Applied<'_>) -> Result<(), Violation> {
    for (name, check) in CHECKS {
        check(ledger, log, applied).map_err(|what| Violation::new(name, format!("at {}: {what}", applied.index)))?;
    }
    Ok(())
}
