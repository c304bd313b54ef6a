use std::time::Duration;

use super::*;
use crate::message_id::MessageIds;

fn ids(count: usize) -> Vec<MessageId> {
    let ids = MessageIds::new([1; 6], 1);
    (0..count).map(|_| ids.next(Duration::from_secs(2_000_000_000))).collect()
}

fn status(code: i32) -> pb::Status {
    pb::Status { code, message: "words".into() }
}

fn entry(id: MessageId, code: i32, offset: i64) -> pb::SendResultEntry {
    pb::SendResultEntry { status: Some(status(code)), message_id: id.to_string(), offset, ..Default::default() }
}

/// An answer with this code and no entries.
fn bare(code: i32, outcome: Option<&'static str>) -> Result<SendAnswer, AttemptError> {
    answer(code, Vec::new(), outcome, None)
}

fn answer(
    code: i32,
    entries: Vec<pb::SendResultEntry>,
    outcome: Option<&'static str>,
    queues: Option<&'static str>,
) -> Result<SendAnswer, AttemptError> {
    let mut metadata = MetadataMap::new();
    if let Some(outcome) = outcome {
        metadata.insert(headers::OUTCOME, outcome.parse().unwrap());
    }
    if let Some(queues) = queues {
        metadata.insert(headers::QUEUES, queues.parse().unwrap());
    }
    Ok(SendAnswer { metadata, body: pb::SendMessageResponse { status: Some(status(code)), entries } })
}

fn grpc(code: GrpcCode, outcome: Option<&'static str>) -> Result<SendAnswer, AttemptError> {
    let mut status = Status::new(code, "words");
    if let Some(outcome) = outcome {
        status.metadata_mut().insert(headers::OUTCOME, outcome.parse().unwrap());
    }
    Err(AttemptError::Failed(status))
}

/// `stored?` and `again?` of the module's table.
fn row(result: Result<SendAnswer, AttemptError>) -> (&'static str, bool) {
    match judge(result, &ids(1)) {
        Verdict::Stored(_) => ("yes", false),
        Verdict::NotStored { again, .. } => ("no", again),
        Verdict::InDoubt { again, .. } => ("perhaps", again),
        Verdict::Mixed(_) => ("mixed", false),
    }
}

/// Hazard 15: the three answers, row by row.
#[test]
fn every_answer_has_its_row() {
    let table = [
        ("no leader", bare(50_002, None), ("no", true)),
        ("overload", bare(42_900, None), ("no", true)),
        ("bad request", bare(40_000, None), ("no", false)),
        ("no such topic", bare(40_402, None), ("no", false)),
        ("body too large", bare(41_301, None), ("no", false)),
        ("not implemented", bare(50_100, None), ("no", false)),
        ("unsupported", bare(50_500, None), ("no", false)),
        ("below the window of results", bare(40_000, Some("unknown")), ("perhaps", false)),
        ("no leader, but perhaps proposed", bare(50_002, Some("unknown")), ("perhaps", true)),
        ("overload, but perhaps proposed", bare(42_900, Some("unknown")), ("perhaps", true)),
        ("not implemented, but perhaps proposed", bare(50_100, Some("unknown")), ("perhaps", true)),
        ("request timeout", bare(40_800, None), ("perhaps", true)),
        ("internal error", bare(50_001, None), ("perhaps", true)),
        ("proxy timeout", bare(50_400, None), ("perhaps", true)),
        ("persistence timeout", bare(50_401, None), ("perhaps", true)),
        ("replication timeout", bare(50_402, None), ("perhaps", true)),
        ("a code of the future", bare(99_999, None), ("perhaps", true)),
        ("no status", bare(0, None), ("perhaps", true)),
        ("OK without entries", bare(20_000, None), ("perhaps", false)),
        ("no connection", Err(AttemptError::NotSent("refused".into())), ("no", true)),
        ("unavailable", grpc(GrpcCode::Unavailable, None), ("perhaps", true)),
        ("unavailable and surely not stored", grpc(GrpcCode::Unavailable, Some("refused")), ("no", true)),
        ("deadline", grpc(GrpcCode::DeadlineExceeded, None), ("perhaps", true)),
        ("cancelled", grpc(GrpcCode::Cancelled, None), ("perhaps", true)),
        ("internal", grpc(GrpcCode::Internal, None), ("perhaps", true)),
        ("out of range", grpc(GrpcCode::OutOfRange, None), ("perhaps", true)),
        ("no such call", grpc(GrpcCode::Unimplemented, None), ("no", false)),
        ("invalid", grpc(GrpcCode::InvalidArgument, None), ("no", false)),
        ("not allowed", grpc(GrpcCode::PermissionDenied, None), ("no", false)),
    ];
    for (name, result, expected) in table {
        assert_eq!(row(result), expected, "{name}");
    }
}

#[test]
fn each_message_gets_the_queue_and_offset_of_its_entry() {
    let ids = ids(3);
    let entries = vec![entry(ids[0], 20_000, 5), entry(ids[1], 20_000, 6), entry(ids[2], 20_000, 0)];
    let verdict = judge(answer(20_000, entries, None, Some("9:2*2,7*1")), &ids);
    let place = |queue, offset| Place { group: Some(BrokerGroup(9)), queue: Some(queue), offset };
    assert_eq!(verdict, Verdict::Stored(vec![place(2, 5), place(2, 6), place(7, 0)]));
}

#[test]
fn results_of_other_messages_are_believed_by_nobody() {
    let ids = ids(2);
    let swapped = vec![entry(ids[1], 20_000, 0), entry(ids[0], 20_000, 1)];
    assert!(matches!(judge(answer(20_000, swapped, None, None), &ids), Verdict::InDoubt { again: false, .. }));
    let joined = vec![entry(ids[0], 20_000, 0)];
    assert!(matches!(judge(answer(20_000, joined, None, None), &ids), Verdict::InDoubt { again: false, .. }));
    let negative = vec![entry(ids[0], 20_000, -1), entry(ids[1], 20_000, -1)];
    assert!(matches!(judge(answer(20_000, negative, None, None), &ids), Verdict::InDoubt { again: false, .. }));
}

#[test]
fn entries_that_agree_are_one_verdict_and_others_are_mixed() {
    let ids = ids(2);
    let same = vec![entry(ids[0], 50_002, 0), entry(ids[1], 50_002, 0)];
    assert!(matches!(judge(answer(50_002, same.clone(), None, None), &ids), Verdict::NotStored { again: true, .. }));
    assert!(matches!(judge(answer(30_000, same, None, None), &ids), Verdict::NotStored { again: true, .. }));
    let differ = vec![entry(ids[0], 20_000, 4), entry(ids[1], 40_004, 0)];
    let Verdict::Mixed(entries) = judge(answer(30_000, differ, None, Some("9:1")), &ids) else { panic!() };
    assert_eq!(entries[0], EntryVerdict::Stored(Place { group: Some(BrokerGroup(9)), queue: Some(1), offset: 4 }));
    assert!(matches!(&entries[1], EntryVerdict::NotStored { reason, .. } if reason.code() == Some(Code(40_004))));
}

#[test]
fn queues_that_cannot_be_read_are_unknown_and_never_wrong() {
    let group = Some(BrokerGroup(5));
    assert_eq!(parse_queues(Some("5:3"), 2), (group, vec![Some(3), Some(3)]));
    assert_eq!(parse_queues(Some("5:3*1,4*1"), 2), (group, vec![Some(3), Some(4)]));
    for runs in ["", "3*1", "3*3", "x", "3*18446744073709551615", "1,2"] {
        assert_eq!(parse_queues(Some(&format!("5:{runs}")), 2), (group, vec![None, None]), "{runs:?}");
    }
    for text in [None, Some("3")] {
        assert_eq!(parse_queues(text, 2), (None, vec![None, None]), "{text:?}");
    }
}
