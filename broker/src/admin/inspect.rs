//! LogRange and StateDigest: what this node holds, so that replicas can be compared (hazards 6, 17).

use raft_log::{ReadError, Record, storage, types::LogIndex};
use tercet_proto::admin::v1::{LogEntry, LogRangeRequest, LogRangeResponse, StateDigestResponse};
use tonic::Status;

use super::convert;
use crate::grpc::Node;

/// Entries of one answer.
const ENTRIES_MAX: u64 = 10_000;
/// Payload bytes read for one answer.
const READ_BYTES_MAX: usize = 32 << 20;

pub(super) async fn log_range(node: &Node, request: LogRangeRequest) -> Result<LogRangeResponse, Status> {
    let Some(applied) = node.replica.status().applied.map(|id| id.index) else {
        return Ok(LogRangeResponse { next: None, first_held: 0, applied: None, entries: Vec::new() });
    };
    let end = applied.next().0;
    let wanted = if request.until == 0 { end } else { request.until.min(end) };
    let until = wanted.min(request.from.saturating_add(ENTRIES_MAX));
    let replica = node.replica.clone();
    let read = move || read(&replica, LogIndex(request.from), LogIndex(until));
    let (records, first_held) = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Status::internal(error.to_string()))?
        .map_err(|error| Status::data_loss(error.to_string()))?;
    let entries: Vec<LogEntry> = records.iter().map(entry).collect();
    let reached = entries.last().map(|entry| entry.index + 1);
    let next = reached.filter(|next| *next < wanted);
    Ok(LogRangeResponse { entries, next, first_held, applied: Some(applied.0) })
}

/// The records, and the first index that is held as far as this read saw it.
fn read(replica: &raft_log::Replica, from: LogIndex, until: LogIndex) -> Result<(Vec<Record>, u64), ReadError> {
    let first = match replica.read(LogIndex(0), LogIndex(1), 1) {
        Err(ReadError::Log(storage::ReadError::Removed { first, .. })) => first,
        _ => LogIndex(0),
    };
    let from = from.max(first);
    if from >= until {
        return Ok((Vec::new(), first.0));
    }
    Ok((replica.read(from, until, READ_BYTES_MAX)?, first.0))
}

fn entry(record: &Record) -> LogEntry {
    LogEntry {
        index: record.id.index.0,
        term: record.id.term.0,
        kind: convert::entry_kind(record.kind) as i32,
        payload_crc: record.payload_crc,
        payload_bytes: record.payload.len() as u64,
    }
}

pub(super) fn state_digest(node: &Node) -> StateDigestResponse {
    match node.state.digest() {
        None => StateDigestResponse { applied_index: None, applied_term: 0, digest: 0 },
        Some(state) => StateDigestResponse {
            applied_index: Some(state.applied.index.0),
            applied_term: state.applied.term.0,
            digest: state.digest,
        },
    }
}
