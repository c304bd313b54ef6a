//! Ranges of the log between replicas, for repair (hazards 8): asked for, and served.
//!
//! Served from an open log, and before openraft runs from the files of a log that is under repair itself: two damaged
//! nodes can help each other. Nobody needs to lead for that.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::type_config::TypeConfigExt;
use tokio_util::sync::CancellationToken;

use crate::exec;
use crate::membership::MemberNode;
use crate::raft::network::greeting::{HELLO_TIMEOUT, hear};
use crate::raft::network::net::{self, OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use crate::raft::network::peers::{Peers, Question};
use crate::raft::network::places::{ACCEPT_PAUSE, Place, Places};
use crate::raft::network::socket::{FrameReader, within, write_frame};
use crate::raft::type_config::TypeConfig;
use crate::raft::wire::handshake::{Purpose, Refusal};
use crate::raft::wire::repair::{RANGE_BYTES_MAX, decode_answer, decode_request, encode_answer, encode_request};
use crate::storage::format::record_header::RECORD_HEADER_BYTES;
use crate::storage::repair::{Folder, Lost, RangeRequest};
use crate::storage::{Log, Record};
use crate::types::{LogIndex, NodeId};

/// An answer that has not come by then will not.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// One that asks for nothing for this long has what it needs.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Who takes no answer for this long is gone.
const TAKEN_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes of records that are fetched for one piece of a repair.
const PIECE_BYTES_MAX: usize = 8 << 20;

/// What ranges are served from. Blocks on the disk.
pub(crate) trait Ranges: Send + Sync + 'static {
    /// The first entries of the request that fit; `None` if the anchor is not held, or the entries are not readable.
    fn matching(&self, request: RangeRequest, bytes_max: usize) -> Option<Vec<Record>>;
}

impl Ranges for Log {
    fn matching(&self, request: RangeRequest, bytes_max: usize) -> Option<Vec<Record>> {
        Log::matching(self, request, bytes_max).ok().flatten()
    }
}

impl Ranges for Folder {
    fn matching(&self, request: RangeRequest, bytes_max: usize) -> Option<Vec<Record>> {
        Folder::matching(self, request, bytes_max).ok().flatten()
    }
}

/// Answers the requests of one connection.
pub(crate) async fn answer(mut stream: TcpStream, ranges: Arc<dyn Ranges>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut frames = FrameReader::new(read);
    while let Some(frame) = within(IDLE_MAX, frames.next()).await? {
        let request = decode_request(&frame).map_err(io::Error::other)?;
        let ranges = ranges.clone();
        let records = exec::blocking(move || ranges.matching(request, RANGE_BYTES_MAX)).await?;
        within(TAKEN_TIMEOUT, write_frame(&mut write, &encode_answer(records.as_deref()))).await?;
    }
    Ok(())
}

/// Serves ranges, and nothing else, until `stop`: what a node does while it repairs its log before it takes part.
pub(crate) async fn serve_only(
    listener: &TcpListener,
    peers: Arc<Peers>,
    ranges: Arc<dyn Ranges>,
    stop: CancellationToken,
) -> Infallible {
    let places = Places::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (peers, ranges, stop) = (peers.clone(), ranges.clone(), stop.clone());
        let mut place = places.greet();
        drop(TypeConfig::spawn(async move {
            // What a caller cannot be answered it tries again.
            let given = place.given.clone();
            tokio::select! {
                () = stop.cancelled() => {}
                () = given.cancelled() => {}
                served = greet_and_answer(stream, &peers, ranges, &mut place) => drop(served),
            }
        }));
    }
}

async fn greet_and_answer(
    mut stream: TcpStream,
    peers: &Peers,
    ranges: Arc<dyn Ranges>,
    place: &mut Place,
) -> io::Result<()> {
    net::guard(&stream)?;
    let Question { nonce, asked } = peers.question();
    let caller =
        within(HELLO_TIMEOUT, async { hear(&mut stream, peers.key(), &nonce).await.map_err(io::Error::other) }).await?;
    let (from, purpose) = (caller.hello.from.node, caller.hello.purpose);
    let mut welcome = peers.answer(&caller.hello, asked).await;
    if purpose != Purpose::Repair && welcome.refusal.is_none() {
        welcome = peers.welcome(Some(Refusal::Repairing), from);
    }
    if welcome.refusal.is_none() && !place.is_for(from, purpose) {
        welcome = peers.welcome(Some(Refusal::Busy), from);
    }
    within(HELLO_TIMEOUT, caller.welcome(&mut stream, &welcome)).await?;
    if welcome.refusal.is_some() {
        return Ok(());
    }
    place.seat(from, purpose);
    answer(stream, ranges).await
}

/// How the question for what was lost ended.
#[derive(Debug)]
pub(crate) enum Fetched {
    /// The lost entries from the first on: all, or as many as make one piece.
    Records(Vec<Record>),
    /// Every other member answered, and none holds what is asked for.
    NotHeld,
    /// Nobody who was reached holds it, and these were not reached.
    Unreached(String),
}

/// Asks the members for the entries of `lost`, one after the other.
pub(crate) async fn fetch(peers: &Peers, members: &[(NodeId, MemberNode)], lost: &Lost) -> Fetched {
    if lost.is_marks_only() {
        return Fetched::Records(Vec::new());
    }
    let others = members.iter().filter(|(id, _)| *id != peers.identity.node_id);
    let mut unreached = Vec::new();
    for (id, node) in others {
        match fetch_from(peers, *id, node, lost).await {
            Ok(Some(records)) => return Fetched::Records(records),
            Ok(None) => tracing::info!(peer = %id, "a peer does not hold the damaged range"),
            Err(error) => unreached.push(format!("node {id}: {error}")),
        }
    }
    if unreached.is_empty() { Fetched::NotHeld } else { Fetched::Unreached(unreached.join("; ")) }
}

async fn fetch_from(peers: &Peers, id: NodeId, node: &MemberNode, lost: &Lost) -> io::Result<Option<Vec<Record>>> {
    let stream = peers.connect(id, node, Purpose::Repair).await.map_err(io::Error::other)?;
    let (read, write) = stream.into_split();
    gather(lost, &mut Connected { frames: FrameReader::new(read), write }).await
}

/// Somebody who may hold what was lost.
pub(crate) trait Holder: Send {
    /// The first entries of the range; `None` if it does not hold them.
    fn ask(&mut self, request: RangeRequest) -> impl Future<Output = io::Result<Option<Vec<Record>>>> + Send;
}

/// A peer at the other end of a connection.
struct Connected {
    frames: FrameReader<OwnedReadHalf>,
    write: OwnedWriteHalf,
}

impl Holder for Connected {
    async fn ask(&mut self, request: RangeRequest) -> io::Result<Option<Vec<Record>>> {
        let exchange = async {
            write_frame(&mut self.write, &encode_request(&request)).await?;
            self.frames.next().await?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
        };
        let body = tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.map_err(io::Error::other)??;
        decode_answer(body).map_err(io::Error::other)
    }
}

/// Asks one peer until all that was lost is there, or enough for one piece; `None` if it does not hold it.
pub(crate) async fn gather(lost: &Lost, holder: &mut impl Holder) -> io::Result<Option<Vec<Record>>> {
    let (mut records, mut bytes): (Vec<Record>, _) = (Vec::new(), 0);
    let mut first = lost.hole.first;
    while first < lost.hole.end && bytes < PIECE_BYTES_MAX {
        let Some(request) = lost.request(first) else { return Ok(None) };
        let Some(more) = holder.ask(request).await? else { return Ok(None) };
        if more.is_empty() || !lost.may_continue(&records, &more) {
            return Err(io::Error::other("it answered with entries that were not asked for"));
        }
        bytes += more.iter().map(|record| RECORD_HEADER_BYTES + record.payload.len()).sum::<usize>();
        records.extend(more);
        first = LogIndex(lost.hole.first.0 + records.len() as u64);
    }
    Ok(Some(records))
}
