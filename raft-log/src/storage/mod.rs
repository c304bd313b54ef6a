//! The log of one broker group on one node's disk: segments, recovery, hard state. Knows nothing of openraft.
//!
//! ```text
//!            append / truncate_after / save_hard_state / purge_to          read
//!                 │ (any thread, never blocks on the disk)                   │
//!                 ▼                                                          ▼
//!   Tail: bounds + cached records, readable at once ◄───────────────── cache first, else
//!                 │ FIFO queue                                          the segment files
//!                 ▼                                                          ▲
//!   I/O thread: one pwritev, one fdatasync for all that waited ──────► log/<base>.seg
//!                 │                                                    hard-state, manifest
//!                 ▼
//!   callbacks in order, `durable` watch
//! ```
//! A failed write or sync is fatal and sticky: `failure` fires and nothing is acknowledged afterwards.
//!
//! The rules that this module keeps are hazards 3 (torn or corrupt is decided by a durable mark), 4 (hard state in two
//! slots), 5 (names are synced too), 6 (payload and CRC as received, places are Raft positions) and 30 (versioned files).

mod bad_record;
mod catalog;
mod cold;
mod counters;
mod damage_reports;
mod done;
mod error;
pub(crate) mod format;
pub(crate) mod hard_state;
mod io;
mod layout;
mod log;
pub(crate) mod manifest;
pub(crate) mod media;
mod opened;
mod options;
mod positions;
mod reader;
mod record;
mod recovery;
pub(crate) mod repair;
mod report;
mod room;
mod scrub;
pub mod sealed_file;
pub(crate) mod segment;
mod shared;
pub(crate) mod sidecar;
mod stats;
mod stepper;
pub(crate) mod survey;
mod tail;
mod terms;

pub use done::Done;
pub use error::{OpenError, ReadError, StorageError};
pub(crate) use io::{RETRY_AFTER, lacks_something};
pub(crate) use layout::{LOCK_NAME, SEGMENTS_FOLDER};
pub use log::Log;
pub use options::{
    BATCH_BYTES_DEFAULT, CACHE_BYTES_DEFAULT, Durability, IDLE_BEFORE_MARK_DEFAULT, RECORD_PAYLOAD_BYTES_DEFAULT,
    RESERVE_BYTES_DEFAULT, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_LIMIT, SPARE_SEGMENTS_DEFAULT, Sizes, StorageOptions,
};
pub use record::{HardState, Record, RecordKind};
pub use report::{LogBounds, RecoveryReport, SegmentInfo, TornTail};
pub(crate) use room::DiskUse;
pub use room::Room;
pub(crate) use scrub::ScrubPlace;
pub use stats::StorageStats;
pub use stepper::Stepper;
