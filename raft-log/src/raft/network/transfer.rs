//! Sending a checkpoint to a follower whose next entry is purged.
//!
//! One chunk at a time: read where blocking is allowed, checked, sent, answered. So a transfer holds two chunks in memory
//! at most, and neither the log's appends nor heartbeats, which have connections of their own, wait for it. Its rate is
//! bounded, because it shares disk and network with publishing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::Checkpoint;
use crate::env::Env;
use crate::exec;
use crate::raft::network::net::TcpStream;
use crate::raft::network::socket::{FrameReader, write_frame};
use crate::raft::pace::Pace;
use crate::raft::type_config::RaftVote;
use crate::raft::wire::checkpoint::{CheckpointAnswer, CheckpointRequest};

/// A follower that has not answered a chunk by then is given up; the transfer goes on at that chunk over a new
/// connection.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a follower may take to read everything back, begin its log anew and replace its state.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(600);

/// Sends `checkpoint` over a new connection, and tells of each piece that arrived; returns the follower's vote once it is installed there, or was not needed.
pub(crate) async fn send(
    stream: TcpStream,
    env: &Env,
    pace: &Pace,
    vote: RaftVote,
    checkpoint: &Arc<Checkpoint>,
    moved: impl Fn() + Send,
) -> io::Result<RaftVote> {
    let mut conversation = Conversation::new(stream);
    let offer = CheckpointRequest::Offer { vote, manifest: checkpoint.manifest.clone() };
    // The receiver may have to remove what an older transfer left.
    let mut answer = conversation.ask(&offer, INSTALL_TIMEOUT).await?;
    let chunks: Vec<_> = checkpoint.manifest.chunks().collect();
    loop {
        let number = match answer {
            CheckpointAnswer::Done(vote) => return Ok(vote),
            CheckpointAnswer::Refused(reason) => return Err(io::Error::other(format!("refused: {reason}"))),
            CheckpointAnswer::Wanted(number) => number,
        };
        let Some(chunk) = usize::try_from(number).ok().and_then(|number| chunks.get(number)).copied() else {
            answer = conversation.ask(&CheckpointRequest::Install, INSTALL_TIMEOUT).await?;
            if let CheckpointAnswer::Wanted(_) = answer {
                return Err(io::Error::other("it has everything and still wants more"));
            }
            continue;
        };
        pace.take(chunk.bytes).await;
        let (from, env) = (checkpoint.clone(), env.clone());
        let bytes = exec::blocking(move || from.read(&env, chunk)).await??;
        answer = conversation.ask(&CheckpointRequest::Chunk { number, bytes }, CHUNK_TIMEOUT).await?;
        moved();
    }
}

struct Conversation {
    frames: FrameReader<crate::raft::network::net::OwnedReadHalf>,
    write: crate::raft::network::net::OwnedWriteHalf,
}

impl Conversation {
    fn new(stream: TcpStream) -> Conversation {
        let (read, write) = stream.into_split();
        Conversation { frames: FrameReader::new(read), write }
    }

    async fn ask(&mut self, request: &CheckpointRequest, limit: Duration) -> io::Result<CheckpointAnswer> {
        let exchange = async {
            write_frame(&mut self.write, &request.encode()).await?;
            let frame = self.frames.next().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            CheckpointAnswer::decode(&frame).map_err(io::Error::other)
        };
        tokio::time::timeout(limit, exchange).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }
}
