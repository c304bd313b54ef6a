//! One run of the yardstick, a program that shows what a replicated log can reach on this machine at best.
//!
//! It is called as `PROGRAM raft --conc N --size BYTES --secs S --dir FOLDER` and prints a line that begins with `RESULT`
//! and holds `msg/s=` and `p50=…us`.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use serde::Serialize;

use super::load::Load;
use crate::failure::{Doing, Failure};

/// What the yardstick found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Reached {
    /// Messages a second.
    pub rate: f64,
    /// Half of the latencies are at most this, in microseconds.
    pub p50_us: f64,
}

/// Runs it to its end; it stops by itself.
///
/// # Errors
/// If it fails or prints something else.
pub fn run(program: &Path, load: Load, folder: &Path) -> Result<Reached, Failure> {
    let output = Command::new(program)
        .args(["raft", "--conc", &load.in_flight.to_string(), "--size", &load.size.to_string()])
        .args(["--secs", &load.duration.as_secs_f64().to_string(), "--dir"])
        .arg(folder.join("yardstick"))
        .stdin(Stdio::null())
        .output()
        .doing(|| format!("run {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    parse(&text).ok_or_else(|| Failure(format!("{} printed no figures: {text}", program.display())))
}

fn parse(text: &str) -> Option<Reached> {
    let line = text.lines().find(|line| line.starts_with("RESULT"))?;
    let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name));
    let p50 = field("p50=")?.strip_suffix("us")?;
    Some(Reached { rate: field("msg/s=")?.parse().ok()?, p50_us: p50.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_line_is_understood() {
        let text = "noise\nRESULT mode=write conc=1 | MB/s=1.2 msg/s=1170 entries/s=9 p50=742us p99=1us\n  more";
        assert_eq!(parse(text), Some(Reached { rate: 1170.0, p50_us: 742.0 }));
        assert_eq!(parse("RESULT nothing"), None);
    }
}
