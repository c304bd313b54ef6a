//! What an answer to a publish says of each message: a table, without I/O.
//!
//! | answer | stored? | again? |
//! |---|---|---|
//! | OK, one entry per message | where the entry says | |
//! | HA_NOT_AVAILABLE, TOO_MANY_REQUESTS | no | yes |
//! | 4xxxx, NOT_IMPLEMENTED, 505xx | no | no |
//! | any of these with `x-tercet-outcome: unknown` | perhaps | unless 4xxxx |
//! | timeouts and other 5xxxx | perhaps | yes |
//! | could not connect; gRPC error with `x-tercet-outcome: refused` | no | yes |
//! | gRPC UNIMPLEMENTED, INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED | no | no |
//! | any other gRPC error, no answer in time | perhaps | yes |
//! | an answer that does not fit the request | perhaps | no |

use tercet_proto::{headers, rocketmq::v2 as pb};
use tonic::{Code as GrpcCode, Status, metadata::MetadataMap};

use crate::{
    broker_group::BrokerGroup,
    code::Code,
    message_id::MessageId,
    outcome::RefusedReason,
    transport::{AttemptError, SendAnswer},
};

/// What one attempt says of the whole request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Every message has its place: queue, if known, and offset.
    Stored(Vec<Place>),
    /// None is stored by this attempt.
    NotStored { reason: RefusedReason, why: String, again: bool },
    /// Any may be stored by this attempt.
    InDoubt { why: String, again: bool },
    /// The messages ended differently; nothing is tried again.
    Mixed(Vec<EntryVerdict>),
}

/// Where a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) group: Option<BrokerGroup>,
    pub(super) queue: Option<u32>,
    pub(super) offset: u64,
}

/// What one attempt says of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum EntryVerdict {
    Stored(Place),
    NotStored { reason: RefusedReason, why: String },
    InDoubt { why: String },
}

/// Judges an attempt to send messages with these ids (in order).
pub(super) fn judge(result: Result<SendAnswer, AttemptError>, ids: &[MessageId]) -> Verdict {
    match result {
        Ok(answer) => judge_answer(&answer.metadata, &answer.body, ids),
        Err(AttemptError::NotSent(why)) => Verdict::NotStored { reason: RefusedReason::Unreachable, why, again: true },
        Err(AttemptError::Failed(status)) => judge_grpc(&status),
    }
}

fn judge_grpc(status: &Status) -> Verdict {
    let why = AttemptError::Failed(status.clone()).words();
    let answered = std::error::Error::source(status).is_none();
    match status.code() {
        GrpcCode::Unimplemented if answered => {
            Verdict::NotStored { reason: RefusedReason::Answered(Code::NOT_IMPLEMENTED), why, again: false }
        }
        GrpcCode::InvalidArgument | GrpcCode::PermissionDenied | GrpcCode::Unauthenticated if answered => {
            Verdict::NotStored { reason: RefusedReason::Answered(Code::BAD_REQUEST), why, again: false }
        }
        _ if outcome_of(status.metadata()) == Some("refused") => {
            Verdict::NotStored { reason: RefusedReason::Answered(Code::HA_NOT_AVAILABLE), why, again: true }
        }
        _ => Verdict::InDoubt { why, again: true },
    }
}

fn judge_answer(metadata: &MetadataMap, body: &pb::SendMessageResponse, ids: &[MessageId]) -> Verdict {
    let said_unknown = outcome_of(metadata) == Some("unknown");
    let whole = body.status.clone().unwrap_or_default();
    let code = Code(whole.code);
    if code == Code::OK || code == Code::MULTIPLE_RESULTS {
        if body.entries.len() != ids.len() {
            let why = format!("the answer has {} results for {} messages", body.entries.len(), ids.len());
            return Verdict::InDoubt { why, again: false };
        }
    } else if body.entries.len() != ids.len() || body.entries.iter().all(|entry| code_of(entry) == code) {
        return judge_code(code, &whole.message, said_unknown);
    }
    let told = metadata.get(headers::QUEUES).and_then(|value| value.to_str().ok());
    let (group, queues) = parse_queues(told, ids.len());
    if body.entries.iter().zip(ids).all(|(entry, id)| is_stored(entry, *id)) {
        let place = |(entry, queue): (&pb::SendResultEntry, _)| place_of(entry, group, queue);
        return Verdict::Stored(body.entries.iter().zip(queues).map(place).collect());
    }
    let first = code_of(&body.entries[0]);
    if !is_stored(&body.entries[0], ids[0]) && body.entries.iter().all(|entry| code_of(entry) == first) {
        let message = body.entries[0].status.as_ref().map_or("", |status| &status.message);
        return judge_code(first, message, said_unknown);
    }
    let entries = body.entries.iter().zip(ids).zip(queues);
    Verdict::Mixed(entries.map(|((entry, id), queue)| judge_entry(entry, *id, (group, queue), said_unknown)).collect())
}

fn judge_entry(
    entry: &pb::SendResultEntry,
    id: MessageId,
    (group, queue): (Option<BrokerGroup>, Option<u32>),
    said_unknown: bool,
) -> EntryVerdict {
    if is_stored(entry, id) {
        return EntryVerdict::Stored(place_of(entry, group, queue));
    }
    let message = entry.status.as_ref().map_or("", |status| &status.message);
    match judge_code(code_of(entry), message, said_unknown) {
        Verdict::NotStored { reason, why, .. } => EntryVerdict::NotStored { reason, why },
        Verdict::InDoubt { why, .. } => EntryVerdict::InDoubt { why },
        Verdict::Stored(_) | Verdict::Mixed(_) => unreachable!("a code alone says neither"),
    }
}

/// What a code other than a fitting OK says.
fn judge_code(code: Code, message: &str, said_unknown: bool) -> Verdict {
    let why = if message.is_empty() { code.to_string() } else { format!("{message} ({code})") };
    let refused = |again| Verdict::NotStored { reason: RefusedReason::Answered(code), why: message.to_owned(), again };
    match code.0 {
        20_000 => Verdict::InDoubt { why: "the answer is about another message".to_owned(), again: false },
        40_800 => Verdict::InDoubt { why, again: true },
        42_900 | 50_002 if !said_unknown => refused(true),
        40_000..50_000 if said_unknown => Verdict::InDoubt { why, again: code == Code::TOO_MANY_REQUESTS },
        40_000..50_000 | 50_100 | 50_500..50_600 if !said_unknown => refused(false),
        _ => Verdict::InDoubt { why, again: true },
    }
}

fn outcome_of(metadata: &MetadataMap) -> Option<&str> {
    metadata.get(headers::OUTCOME)?.to_str().ok()
}

fn code_of(entry: &pb::SendResultEntry) -> Code {
    Code(entry.status.as_ref().map_or(Code::OK.0, |status| status.code))
}

/// OK, for this very message, at a place that can be.
fn is_stored(entry: &pb::SendResultEntry, id: MessageId) -> bool {
    code_of(entry) == Code::OK && entry.message_id.as_bytes() == id.to_ascii() && entry.offset >= 0
}

fn place_of(entry: &pb::SendResultEntry, group: Option<BrokerGroup>, queue: Option<u32>) -> Place {
    Place { group, queue, offset: u64::try_from(entry.offset).expect("is_stored saw that it is not negative") }
}

/// `0:3` or `0:3*100,1*20`: the broker group, and the queue of each message in order; `None` where the broker did not say.
fn parse_queues(text: Option<&str>, count: usize) -> (Option<BrokerGroup>, Vec<Option<u32>>) {
    let told = text.and_then(|text| text.split_once(':'));
    let group = told.and_then(|(group, _)| group.parse().ok().map(BrokerGroup));
    (group, told.map_or_else(|| vec![None; count], |(_, runs)| parse_runs(runs, count)))
}

fn parse_runs(text: &str, count: usize) -> Vec<Option<u32>> {
    let unknown = vec![None; count];
    if let Ok(queue) = text.parse() {
        return vec![Some(queue); count];
    }
    let mut queues = Vec::with_capacity(count);
    for item in text.split(',') {
        let Some((queue, times)) = item.split_once('*') else { return unknown };
        let (Ok(queue), Ok(times)) = (queue.parse(), times.parse::<usize>()) else { return unknown };
        if queues.len().saturating_add(times) > count {
            return unknown;
        }
        queues.resize(queues.len() + times, Some(queue));
    }
    if queues.len() == count { queues } else { unknown }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
