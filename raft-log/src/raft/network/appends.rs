//! The append requests of one connection, as they come in.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use openraft::raft::AppendEntriesRequest;
use tokio::io::AsyncRead;

use crate::raft::network::leader_watch::LeaderWatch;
use crate::raft::network::socket::FrameReader;
use crate::raft::state_worker::Handover;
use crate::raft::type_config::{TypeConfig, log_id};
use crate::raft::wire::append::decode_request;
use crate::types::NodeId;

/// Reads them, until the connection ends, and notes what `from` states as committed. A connection over which nothing comes
/// ends once nothing has come from that node at all for `silence_max`: a leader sends heartbeats, if no entries.
///
/// The first request of a connection was made before it was open, perhaps before this node was: what it states as
/// committed may be of the past.
///
/// Entries wait here while far too much waits to be applied. Heartbeats have connections of their own, and none.
pub(super) fn requests<R: AsyncRead + Send + Unpin>(
    read: R,
    watch: LeaderWatch,
    handover: Handover,
    from: NodeId,
    silence_max: Duration,
) -> impl Stream<Item = AppendEntriesRequest<TypeConfig>> {
    futures::stream::unfold((FrameReader::new(read), false), move |(mut frames, is_open)| {
        let (watch, handover) = (watch.clone(), handover.clone());
        async move {
            let request = tokio::select! {
                biased;
                request = next_request(&mut frames) => request?,
                () = watch.silent(from, silence_max) => return None,
            };
            watch.received(from);
            handover.admit(!request.entries.is_empty()).await;
            if is_open {
                watch.stated(from, request.leader_commit.map(log_id));
            }
            Some((request, (frames, true)))
        }
    })
}

/// The next request; `None` ends the stream, at a clean end as on damage, and the caller connects anew.
async fn next_request<R: AsyncRead + Unpin>(frames: &mut FrameReader<R>) -> Option<AppendEntriesRequest<TypeConfig>> {
    let decode = |frame: Bytes| decode_request(frame).map_err(io::Error::other);
    match frames.next().await.and_then(|frame| frame.map(decode).transpose()) {
        Ok(request) => request,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
        Err(error) => {
            tracing::warn!(%error, "an append request was refused; its connection is closed");
            None
        }
    }
}

#[cfg(all(test, not(tercet_sim)))]
mod tests {
    use super::*;
    use crate::raft::network::net::{TcpListener, TcpStream};
    use crate::raft::network::socket::write_pieces;
    use crate::raft::type_config::{RaftLogId, RaftVote};
    use crate::raft::wire::append::encode_request;
    use crate::types::{LogId, LogIndex, Term};
    use futures::StreamExt as _;
    use openraft::impls::leader_id_std::LeaderId;

    const LEADER: NodeId = NodeId(1);

    fn committed(index: u64) -> LogId {
        LogId { term: Term(1), index: LogIndex(index) }
    }

    async fn send(stream: &mut TcpStream, index: u64) {
        let vote: RaftVote = openraft::Vote { leader_id: LeaderId { term: 1, voted_for: LEADER }, committed: true };
        let leader_commit = Some(RaftLogId::new_term_index(1, index));
        let request = AppendEntriesRequest { vote, prev_log_id: None, leader_commit, entries: Vec::new() };
        write_pieces(stream, encode_request(request)).await.expect("the other end is there");
    }

    // A node in doubt took the commit index of a request that had waited for it since before it was opened, and ended its
    // doubt without the newest entries.
    #[tokio::test]
    async fn what_a_request_states_that_was_made_before_its_connection_does_not_count() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut leader = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (read, _write) = listener.accept().await.unwrap().0.into_split();
        let watch = LeaderWatch::default();
        let handover = Handover::default();
        let mut requests = Box::pin(requests(read, watch.clone(), handover, LEADER, Duration::from_secs(60)));

        send(&mut leader, 5).await;
        requests.next().await.unwrap();
        assert_eq!(watch.committed(LEADER), None, "it may have waited for long");
        send(&mut leader, 7).await;
        requests.next().await.unwrap();
        assert_eq!(watch.committed(LEADER), Some(committed(7)));
        assert_eq!(watch.committed(NodeId(2)), None, "another node did not say so");
    }

    // The host of a leader lost its power, and its connections stayed open here until this process ended.
    #[tokio::test]
    async fn a_connection_ends_once_nothing_comes_from_its_node_at_all() {
        const SILENCE_MAX: Duration = Duration::from_millis(400);
        let watch = LeaderWatch::default();
        let (ours, _theirs) = tokio::io::duplex(64);
        let (idle, _idle_theirs) = tokio::io::duplex(64);
        let mut leaders = Box::pin(requests(ours, watch.clone(), Handover::default(), LEADER, SILENCE_MAX));
        let mut others = Box::pin(requests(idle, watch.clone(), Handover::default(), NodeId(2), SILENCE_MAX));
        let heartbeats = async {
            for _ in 0..40 {
                watch.received(LEADER);
                tokio::time::sleep(SILENCE_MAX / 20).await;
            }
        };
        tokio::select! {
            ended = leaders.next() => panic!("heartbeats come over another connection: {ended:?}"),
            () = heartbeats => {}
        }
        let ended = tokio::time::timeout(SILENCE_MAX * 50, leaders.next()).await;
        assert!(matches!(ended, Ok(None)), "{ended:?}");
        let ended = tokio::time::timeout(SILENCE_MAX * 50, others.next()).await;
        assert!(matches!(ended, Ok(None)), "one that never said anything: {ended:?}");
    }
}
