//! What only repeats the log: indexes of segments, and checkpoints of the state.

use super::error::{InspectError, failed};
use super::files::group_of;
use super::report::{CheckpointSummary, Finding, Report, Severity};
use crate::checkpoint;
use crate::env::Env;
use crate::storage::segment::Segment;
use crate::storage::sidecar::Sidecar;
use std::path::Path;

/// Notes an index that is there and not whole.
pub(super) fn read_index(env: &Env, segment: &Segment, report: &mut Report) -> Result<(), InspectError> {
    let file = Sidecar::path(segment.folder(), segment.base);
    let there = env.disk.exists(&file).map_err(failed("looking for", &file))?;
    let Some(group) = group_of(report).filter(|_| there) else { return Ok(()) };
    if Sidecar::load(env, segment, group).is_none() {
        let reason = "it is damaged, or of another segment; the node makes it anew when it starts";
        report.findings.push(Finding::of_file(Severity::Damage, &file, reason));
    }
    Ok(())
}

/// Reads all checkpoints of `dir`.
pub(super) fn read_checkpoints(env: &Env, dir: &Path, report: &mut Report) -> Result<(), InspectError> {
    for found in checkpoint::survey(env, dir).map_err(failed("reading the checkpoints of", dir))? {
        if found.is_half_made {
            let reason = "a checkpoint that is not complete; it is removed at the next start";
            report.findings.push(Finding::of_file(Severity::Note, &found.dir, reason));
        }
        if let Some((file, reason)) = found.problem {
            report.findings.push(Finding::of_file(Severity::Damage, &file, reason));
        }
        if let Some((id, bytes)) = found.content {
            report.checkpoints.push(CheckpointSummary { dir: found.dir, id, bytes });
        }
    }
    Ok(())
}
