//! The whole of recovery: read, judge, then repair.

use super::judge::{Judged, judge};
use super::recovered::{Recovered, during};
use super::rewrite::rewrite;
use super::segments;
use crate::env::Env;
use crate::planted::{self, Bug};
use crate::storage::hard_state::{HardStateFile, LoadedHardState};
use crate::storage::io::erase;
use crate::storage::manifest::Manifest;
use crate::storage::media::write_over;
use crate::storage::segment::Segment;
use crate::storage::sidecar::Sidecar;
use crate::storage::{OpenError, StorageOptions};
use crate::types::LogIndex;
use std::path::Path;
use std::sync::Arc;

/// Recovers the log of `options.dir`, whose segments are in `folder`.
pub(crate) fn recover(env: &Env, options: &StorageOptions, folder: &Path) -> Result<Recovered, OpenError> {
    let manifest = Manifest::load(env, &options.dir, options.group)?;
    let hard_state = HardStateFile::load(env, &options.dir, options.group)?;
    let manifest = match manifest {
        Some(manifest) => manifest,
        None => begin(env, options, folder, &hard_state)?,
    };
    let files = segments::open_all(env, folder, options, &manifest)?;
    let judged = judge(env, options, manifest, hard_state, files)?;
    check_against_hard_state(options, &judged.log)?;
    repair(env, options, folder, judged)
}

/// The manifest of a new data folder. The other files come after it, so they must not be there.
fn begin(
    env: &Env,
    options: &StorageOptions,
    folder: &Path,
    hard_state: &LoadedHardState,
) -> Result<Manifest, OpenError> {
    let names =
        env.disk.list(folder).map_err(|source| OpenError::Io { action: "listing", file: folder.into(), source })?;
    let segments = names.iter().filter(|name| Segment::base_of_name(name).is_some()).count();
    if segments > 0 || hard_state.state.is_some() {
        let reason = "the data folder holds a log or a hard state, so it had one".into();
        return Err(OpenError::Missing { file: Manifest::path(&options.dir), reason });
    }
    Ok(Manifest::default())
}

/// The vote is saved before entries of its term are appended: a log that is ahead means that a vote was lost.
fn check_against_hard_state(options: &StorageOptions, log: &Recovered) -> Result<(), OpenError> {
    let saved = log.hard_state.state.map(|state| state.term);
    if let Some(last) = log.last
        && last.term > saved.unwrap_or_default()
    {
        return Err(OpenError::HardStateBehindLog {
            file: HardStateFile::path(&options.dir),
            log_term: last.term,
            saved,
        });
    }
    if let Some(purged) = log.manifest.purged
        && purged.index >= log.next
    {
        let reason = format!("it says that entries up to {purged} were purged, but the log ends before {}", log.next);
        return Err(OpenError::Damaged { file: Manifest::path(&options.dir), reason });
    }
    let visible = log.manifest.purged.map_or(LogIndex(0), |purged| purged.index.next());
    if log.manifest.start() > visible {
        let reason = format!("the log begins with index {}, but not all before it is purged", log.manifest.start());
        return Err(OpenError::Damaged { file: Manifest::path(&options.dir), reason });
    }
    Ok(())
}

/// The log will open: makes the disk hold exactly what was judged good, all of it synced.
fn repair(env: &Env, options: &StorageOptions, folder: &Path, judged: Judged) -> Result<Recovered, OpenError> {
    let Judged { mut log, cut, unindexed, files } = judged;
    log.spares = files.spares;
    for leftover in &files.leftovers {
        env.disk.remove(leftover).map_err(during("removing", leftover))?;
    }
    env.disk.sync_dir(folder).map_err(during("syncing", folder))?;
    if let Some(last) = log.catalog.last() {
        // What survived a killed process may be in the page cache only, and count as clean there.
        if !planted::is(Bug::CacheTakenForDisk) {
            rewrite(last, log.marked_end).map_err(during("writing again", &last.segment.path))?;
        }
        last.segment.file.sync_data().map_err(during("syncing", &last.segment.path))?;
    }
    if log.hard_state.needs_repair || !planted::is(Bug::SlotsTakenForDisk) {
        log.hard_state.write_again().map_err(during("repairing", &HardStateFile::path(&options.dir)))?;
        log.report.hard_state_repaired = log.hard_state.needs_repair;
    }
    for (segment, copy) in files.headers_to_mend {
        write_over(segment.file.as_ref(), &copy.bytes, copy.offset)
            .map_err(during("mending the header of", &segment.path))?;
        segment.file.sync_data().map_err(during("syncing", &segment.path))?;
        log.report.mended.push(segment.path.clone());
    }
    let path = Manifest::path(&options.dir);
    if let Some(fault) = Manifest::fault(env, &options.dir)? {
        tracing::warn!(file = %path.display(), %fault, "it is written anew");
        log.report.mended.push(path.clone());
    }
    settle_end(env, options, folder, &mut log, cut)?;
    save_indexes(env, options, folder, &mut log, &unindexed);
    env.disk.sync_dir(folder).map_err(during("syncing", folder))?;
    Ok(log)
}

/// Makes sure that nothing behind the end of the log is ever taken for a part of it, and saves the manifest. What is before the
/// end is synced.
///
/// A truncation that was under way may have erased only what the page cache shows: its sync failed, or the power did
/// (hazards 32). So nothing is erased again: the intent stays until the log goes on in a new segment, whose base ends this
/// one for good. Of a torn write, the remains are erased under such an intent.
fn settle_end(
    env: &Env,
    options: &StorageOptions,
    folder: &Path,
    log: &mut Recovered,
    cut: Option<(Arc<Segment>, u64, u64)>,
) -> Result<(), OpenError> {
    let path = Manifest::path(&options.dir);
    let save = |manifest: &Manifest| manifest.save(env, &options.dir, options.group).map_err(during("saving", &path));
    if let Some(first_removed) = log.manifest.truncating
        && !planted::is(Bug::EraseTakenForDone)
    {
        log.goes_on_elsewhere = true;
        // One that keeps nothing is in the way of its successor, which has the same base.
        let emptied = log.catalog.pop_from(first_removed);
        log.manifest.segments = log.catalog.listed();
        save(&log.manifest)?;
        if let Some(emptied) = emptied {
            env.disk.remove(&emptied.path).map_err(during("removing", &emptied.path))?;
            env.disk.sync_dir(folder).map_err(during("syncing", folder))?;
        }
        return Ok(());
    }
    log.manifest.segments = log.catalog.listed();
    if let Some((segment, start, end)) = cut {
        log.manifest.truncating = Some(log.next);
        save(&log.manifest)?;
        erase(&segment, start, end).map_err(during("cutting the torn tail of", &segment.path))?;
    }
    log.manifest.truncating = None;
    save(&log.manifest)
}

/// Everything on disk is synced: saves the index of what was scanned, so that the next start need not.
fn save_indexes(env: &Env, options: &StorageOptions, folder: &Path, log: &mut Recovered, unindexed: &[LogIndex]) {
    let newest = log.catalog.last().map(|placed| placed.segment.base);
    for placed in log.catalog.placed().filter(|placed| unindexed.contains(&placed.segment.base)) {
        let Some(sidecar) = Sidecar::of(placed, &log.terms) else { continue };
        match sidecar.save(env, folder, options.group) {
            Ok(()) if Some(sidecar.base) == newest => log.indexed_to = sidecar.end_offset,
            Ok(()) => {}
            Err(error) => sidecar.warn_unsaved(folder, &error),
        }
    }
}
