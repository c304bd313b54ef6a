use super::*;
use crate::raft::network::socket::FrameReader;
use crate::raft::type_config::{RaftLogId, RaftVote, entry_of};
use crate::raft::wire::append::{Report, decode_request, encode_answer};
use crate::storage::Room;
use crate::storage::{Record, RecordKind};
use crate::types::{LogId, LogIndex, NodeId, Term, UnixMillis};
use openraft::impls::leader_id_std::LeaderId;
use tokio::net::TcpListener;

const REPORT: Report = Report { room: Room::Enough, wall: UnixMillis(5) };

/// A request with one entry at `index`, or with none.
fn request(index: u64, entries: usize, committed: u64) -> AppendEntriesRequest<TypeConfig> {
    let vote: RaftVote = openraft::Vote { leader_id: LeaderId { term: 1, voted_for: NodeId(1) }, committed: true };
    let id = LogId { term: Term(1), index: LogIndex(index) };
    let entry = || entry_of(Record::new(id, RecordKind::Command, 1, Bytes::from_static(b"payload"))).unwrap();
    AppendEntriesRequest {
        vote,
        prev_log_id: Some(RaftLogId::new_term_index(1, index - 1)),
        leader_commit: Some(RaftLogId::new_term_index(1, committed)),
        entries: (0..entries).map(|_| entry()).collect(),
    }
}

/// The indexes that a follower is told as committed, for these requests which are all there at once. It answers each.
async fn told(requests: Vec<AppendEntriesRequest<TypeConfig>>) -> Vec<u64> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let follower = tokio::spawn(async move {
        let (read, mut write) = accepted.into_split();
        let mut frames = FrameReader::new(read);
        let mut told = Vec::new();
        while let Some(frame) = frames.next().await.unwrap() {
            let request = decode_request(frame).unwrap();
            told.push(request.leader_commit.unwrap().index);
            write.write_all(&encode_answer(&Ok(request.prev_log_id), REPORT)).await.unwrap();
        }
        told
    });
    let mut requests = requests.into_iter();
    let first = requests.next().unwrap();
    let answers: Vec<Answer> =
        run(stream, first, futures::stream::iter(requests), planted::Answers, Box::new(drop)).collect().await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let told = follower.await.unwrap();
    assert_eq!(answers.len(), told.len(), "each request that is sent is answered");
    told
}

#[tokio::test]
async fn a_request_without_entries_gives_way_to_the_next() {
    assert_eq!(told(vec![request(1, 1, 0), request(2, 0, 1), request(2, 1, 2), request(3, 1, 3)]).await, [0, 2, 3]);
    assert_eq!(told(vec![request(1, 0, 0), request(1, 0, 1), request(1, 0, 2), request(1, 1, 3)]).await, [3]);
}

#[tokio::test]
async fn the_last_of_those_without_entries_is_sent() {
    assert_eq!(told(vec![request(1, 1, 0), request(2, 0, 1), request(2, 0, 2)]).await, [0, 2]);
    assert_eq!(told(vec![request(1, 0, 5)]).await, [5]);
}

// Found under simulation: a follower lost its power after its last answer, and the leader never replicated to it again.
#[tokio::test]
async fn a_follower_that_never_closes_does_not_hold_up_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let follower = tokio::spawn(async move {
        let (read, mut write) = accepted.into_split();
        let mut frames = FrameReader::new(read);
        let request = decode_request(frames.next().await.unwrap().unwrap()).unwrap();
        write.write_all(&encode_answer(&Ok(request.prev_log_id), REPORT)).await.unwrap();
        std::future::pending::<()>().await;
    });
    let answers = run(stream, request(1, 1, 0), futures::stream::empty(), planted::Answers, Box::new(drop))
        .collect::<Vec<Answer>>();
    let answers = tokio::time::timeout(Duration::from_secs(20), answers).await.unwrap();
    assert!(matches!(&answers[..], [Ok(Ok(_))]), "{answers:?}");
    follower.abort();
}
