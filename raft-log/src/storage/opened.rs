//! The steps of opening that need no thread: check the settings, lock the folder, recover.

use super::error::OpenError;
use super::format::record_header::stride_of;
use super::format::{RECORD_ALIGN_BYTES, RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES};
use super::io::{Active, EngineStart, Prepared};
use super::layout::{SEGMENTS_FOLDER, lock};
use super::options::{SEGMENT_BYTES_LIMIT, StorageOptions};
use super::recovery::{Recovered, recover};
use super::report::RecoveryReport;
use super::shared::{Shared, State};
use super::tail::Tail;
use crate::env::{DiskLock, Env};
use std::path::Path;
use std::sync::Arc;

/// A recovered log, without anybody who writes it.
pub(super) struct Opened {
    pub(super) shared: Arc<Shared>,
    pub(super) start: EngineStart,
    pub(super) spares: Vec<Prepared>,
    pub(super) lock: Box<dyn DiskLock>,
    pub(super) report: RecoveryReport,
}

impl Opened {
    pub(super) fn open(env: Env, options: StorageOptions) -> Result<Opened, OpenError> {
        check(&options)?;
        let folder = options.dir.join(SEGMENTS_FOLDER);
        create(&env, &options.dir)?;
        let lock = lock(&env, &options.dir)?;
        create(&env, &folder)?;
        let recovered = recover(&env, &options, &folder)?;

        let Recovered { manifest, hard_state, catalog, terms, last, next, marked_end, indexed_to, spares, .. } =
            recovered;
        let (report, newest) = (recovered.report, catalog.last().filter(|_| !recovered.goes_on_elsewhere));
        let active = newest.map(|placed| Active { segment: placed.segment.clone(), offset: placed.end_offset });
        let state = State {
            purged: manifest.purged,
            tail: Tail::new(next, options.cache_bytes_max),
            terms,
            catalog,
            durable_end: next,
            epoch: 0,
            files_epoch: 0,
            hard_state: hard_state.state,
            queued_term: hard_state.state.map(|state| state.term).unwrap_or_default(),
            closed: false,
            failure: None,
        };
        let start = EngineStart { manifest, hard_state: hard_state.file, active, last, next, marked_end, indexed_to };
        let shared = Arc::new(Shared::new(env, options, state));
        Ok(Opened { shared, start, spares, lock, report })
    }
}

fn check(options: &StorageOptions) -> Result<(), OpenError> {
    let smallest = SEGMENT_HEADER_BYTES + stride_of(options.record_payload_bytes_max) + RECORD_HEADER_BYTES as u64;
    let reason = if options.segment_bytes_max < smallest {
        format!("segment_bytes_max {} does not hold one record; at least {smallest}", options.segment_bytes_max)
    } else if options.segment_bytes_max > SEGMENT_BYTES_LIMIT {
        format!("segment_bytes_max {} is above {SEGMENT_BYTES_LIMIT}", options.segment_bytes_max)
    } else if !options.segment_bytes_max.is_multiple_of(RECORD_ALIGN_BYTES) {
        format!("segment_bytes_max {} is not a multiple of {RECORD_ALIGN_BYTES}", options.segment_bytes_max)
    } else if options.batch_bytes_max == 0 {
        "batch_bytes_max is 0".into()
    } else {
        return Ok(());
    };
    Err(OpenError::InvalidOptions { reason })
}

fn create(env: &Env, dir: &Path) -> Result<(), OpenError> {
    env.disk.create_dir_all(dir).map_err(|source| OpenError::Io { action: "creating", file: dir.into(), source })
}
