//! The small files: identity, manifest, hard state.

use super::error::{InspectError, failed};
use super::report::{Finding, IdentitySummary, ManifestSummary, Report, Severity};
use crate::env::Env;
use crate::identity;
use crate::storage::OpenError;
use crate::storage::hard_state::{self, HardStateFile};
use crate::storage::manifest::Manifest;
use crate::types::GroupId;
use std::path::Path;

/// Reads what is not a segment. Damage becomes a finding; what the system refuses to read is an error.
pub(super) fn read(env: &Env, dir: &Path, folder: &Path) -> Result<Report, InspectError> {
    let manifest_file = Manifest::path(dir);
    let has_folder = env.disk.exists(folder).map_err(failed("looking for", folder))?;
    let has_manifest = env.disk.exists(&manifest_file).map_err(failed("looking for", &manifest_file))?;
    if !has_folder && !has_manifest {
        return Err(InspectError::NoLog { dir: dir.into() });
    }
    let mut report = Report::default();
    let owner = noted(identity::owner(env, dir), &mut report)?.flatten();
    let manifest = noted(Manifest::read(env, dir), &mut report)?.flatten();
    if !has_manifest {
        let reason = "it is missing, but there is a folder of segments";
        report.findings.push(Finding::of_file(Severity::Damage, &manifest_file, reason));
    }
    let group = owner.as_ref().map(|owner| owner.group).or(manifest.as_ref().map(|(group, _)| *group));
    if let (Some(group), Some((found, _))) = (group, &manifest)
        && *found != group
    {
        let reason = format!("it belongs to group {found}, not to group {group}");
        report.findings.push(Finding::of_file(Severity::Damage, &manifest_file, reason));
    }
    report.identity = owner.map(|owner| IdentitySummary {
        node: owner.node,
        group: owner.group,
        incarnation: owner.incarnation,
        cluster: owner.cluster,
    });
    report.manifest = manifest.map(|(group, manifest)| ManifestSummary {
        group,
        purged: manifest.purged,
        truncating: manifest.truncating,
        segments: manifest.segments.iter().map(|listed| listed.base).collect(),
    });
    let faults = [(identity::path(dir), identity::fault(env, dir)), (manifest_file, Manifest::fault(env, dir))];
    for (file, fault) in faults {
        // A file that cannot be read at all has been noted above.
        if let Ok(Some(fault)) = fault {
            report.findings.push(Finding::of_file(
                Severity::Damage,
                &file,
                format!("{fault}; the node mends it from the other"),
            ));
        }
    }
    read_hard_state(env, dir, group, &mut report)?;
    Ok(report)
}

/// The group that the folder belongs to, as far as it says so.
pub(super) fn group_of(report: &Report) -> Option<GroupId> {
    let of_identity = report.identity.as_ref().map(|identity| identity.group);
    of_identity.or(report.manifest.as_ref().map(|manifest| manifest.group))
}

/// What was read, or a finding that says why not.
pub(super) fn noted<T>(read: Result<T, OpenError>, report: &mut Report) -> Result<Option<T>, InspectError> {
    let (file, reason) = match read {
        Ok(read) => return Ok(Some(read)),
        Err(OpenError::Io { action, file, source }) => return Err(InspectError::Io { action, file, source }),
        Err(OpenError::Damaged { file, reason }) => (file, reason),
        Err(OpenError::NewerFormat { file, found, supported }) => {
            (file, format!("it has format version {found}, this program reads up to {supported}: use a newer one"))
        }
        Err(OpenError::OtherGroup { file, found, expected }) => {
            (file, format!("it belongs to group {found}, not to group {expected}"))
        }
        Err(other) => unreachable!("reading one file says nothing of others: {other}"),
    };
    report.findings.push(Finding::of_file(Severity::Damage, &file, reason));
    Ok(None)
}

fn read_hard_state(env: &Env, dir: &Path, group: Option<GroupId>, report: &mut Report) -> Result<(), InspectError> {
    let file = HardStateFile::path(dir);
    let Some(slots) = hard_state::slots(env, dir).map_err(failed("reading", &file))? else { return Ok(()) };
    let mut find = |severity, reason: String| report.findings.push(Finding::of_file(severity, &file, reason));
    match &slots {
        [Err(a), Err(b)] => find(
            Severity::Damage,
            format!("both copies are damaged (slot A: {a}; slot B: {b}); the node must join under a fresh id"),
        ),
        [Err(reason), Ok(_)] => find(Severity::Damage, format!("slot A: {reason}; the node repairs it from slot B")),
        [Ok(_), Err(reason)] => find(Severity::Damage, format!("slot B: {reason}; the node repairs it from slot A")),
        [Ok(a), Ok(b)] if a != b => {
            find(Severity::Note, "its two copies differ: a save was cut between them; the newer one counts".into());
        }
        [Ok((found, _)), Ok(_)] if group.is_some_and(|group| group != *found) => {
            find(Severity::Damage, format!("it belongs to group {found}, not to group {}", group.unwrap_or_default()));
        }
        [Ok(_), Ok(_)] => {}
    }
    report.hard_state = slots.into_iter().flatten().map(|(_, state)| state).max_by_key(|state| state.term);
    Ok(())
}
