//! Receiving a checkpoint from the leader, and having it installed.
//!
//! What has come so far outlives the connection: the next offer of the same checkpoint goes on where the last one
//! stopped. One transfer at a time; a newer offer takes over, because it comes from a newer leader or a newer connection
//! of the same one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use tokio::sync::Mutex;

use crate::checkpoint::{Checkpoint, Checkpoints, Incoming, Manifest};
use crate::exec;
use crate::raft::core::RaftCore;
use crate::raft::network::net::TcpStream;
use crate::raft::network::plausible;
use crate::raft::network::socket::{FrameReader, within, write_frame};
use crate::raft::state_adapter::raft_snapshot;
use crate::raft::state_worker::StateWorker;
use crate::raft::type_config::RaftVote;
use crate::raft::wire::checkpoint::{CheckpointAnswer, CheckpointRequest};
use crate::storage::Log;
use crate::types::{GroupId, LogIndex};

/// How long the core is given to settle before a checkpoint is installed.
const SETTLE_MAX: Duration = Duration::from_secs(5);

/// A transfer from which nothing comes for this long is over. A slow rate may send a chunk in minutes.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Who takes no answer for this long is gone.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Where checkpoints arrive on this node.
pub(crate) struct Receiving {
    pub(crate) checkpoints: Arc<Checkpoints>,
    pub(crate) worker: StateWorker,
    pub(crate) log: Log,
    pub(crate) group: GroupId,
    pub(crate) slot: Mutex<Slot>,
}

/// The transfer under way. An offer with another number of its own has taken over when `offers` has moved on.
#[derive(Default)]
pub(crate) struct Slot {
    offers: u64,
    incoming: Option<Incoming>,
}

/// What a connection knows of the transfer that it carries.
struct Offered {
    number: u64,
    vote: RaftVote,
    manifest: Manifest,
}

impl Receiving {
    /// Serves one connection until its transfer is done or refused, or the connection breaks.
    pub(crate) async fn serve(&self, stream: TcpStream, raft: &RaftCore) -> io::Result<()> {
        let (read, mut write) = stream.into_split();
        let mut frames = FrameReader::new(read);
        let mut offered = None;
        while let Some(frame) = within(IDLE_MAX, frames.next()).await? {
            let request = CheckpointRequest::decode(frame).map_err(io::Error::other)?;
            let answer = self.answer(request, &mut offered, raft).await;
            let answer = answer.unwrap_or_else(|error| {
                tracing::warn!(%error, "a checkpoint from the leader is refused");
                CheckpointAnswer::Refused(error.to_string())
            });
            within(ANSWER_TIMEOUT, write_frame(&mut write, &answer.encode())).await?;
            if !matches!(answer, CheckpointAnswer::Wanted(_)) {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn answer(
        &self,
        request: CheckpointRequest,
        offered: &mut Option<Offered>,
        raft: &RaftCore,
    ) -> io::Result<CheckpointAnswer> {
        match (request, &offered) {
            (CheckpointRequest::Offer { vote, manifest }, _) => {
                if manifest.group != self.group {
                    return Err(io::Error::other(format!("it is of group {}", manifest.group)));
                }
                let (own, committed) = {
                    let metrics = raft.metrics();
                    let metrics = metrics.borrow_watched();
                    (metrics.vote, metrics.local_committed.map(|id| id.index))
                };
                plausible::check_term(own, &vote)?;
                // openraft would take one of a committed entry's index for a contradiction, and stop.
                let is_known = committed >= Some(manifest.id().index.0);
                if own > vote || is_known || self.worker.applied().id() >= Some(manifest.id()) {
                    return Ok(CheckpointAnswer::Done(own));
                }
                let mut slot = self.slot.lock().await;
                slot.offers += 1;
                *offered = Some(Offered { number: slot.offers, vote, manifest: manifest.clone() });
                self.begin(&mut slot, manifest).await.map(CheckpointAnswer::Wanted)
            }
            (_, None) => Err(io::Error::other("nothing was offered")),
            (CheckpointRequest::Chunk { number, bytes }, Some(offer)) => {
                let mut slot = self.slot.lock().await;
                let mut incoming = slot.take_for(offer)?;
                let (incoming, taken) = exec::blocking(move || {
                    let taken = incoming.take(number, &bytes);
                    (incoming, taken)
                })
                .await?;
                let next = incoming.next();
                // A chunk that was not taken leaves what is there as it is, for the next connection.
                slot.incoming = Some(incoming);
                taken.map_err(io::Error::other)?;
                Ok(CheckpointAnswer::Wanted(next))
            }
            (CheckpointRequest::Install, Some(offer)) => {
                let checkpoint = self.complete(offer).await?;
                let vote = offer.vote;
                self.make_ready(&checkpoint, raft).await?;
                let installed = raft.install_full_snapshot(vote, raft_snapshot(checkpoint)?).await;
                Ok(CheckpointAnswer::Done(installed.map_err(io::Error::other)?.vote))
            }
        }
    }

    /// Goes on with what is there of this checkpoint, or begins it; answers the chunk that is wanted.
    async fn begin(&self, slot: &mut Slot, manifest: Manifest) -> io::Result<u64> {
        if self.checkpoints.at(manifest.id()).is_some() {
            return Ok(manifest.chunks().count() as u64);
        }
        if let Some(incoming) = slot.incoming.as_ref().filter(|incoming| *incoming.manifest() == manifest) {
            tracing::info!(id = %manifest.id(), chunk = incoming.next(), "the transfer of a checkpoint goes on");
            return Ok(incoming.next());
        }
        tracing::info!(id = %manifest.id(), bytes = manifest.bytes(), "the leader sends a checkpoint");
        let (checkpoints, older) = (self.checkpoints.clone(), slot.incoming.take());
        let begun = exec::blocking(move || {
            if let Some(older) = older {
                older.discard();
            }
            Incoming::begin(checkpoints, manifest)
        });
        slot.incoming = Some(begun.await?.map_err(io::Error::other)?);
        Ok(0)
    }

    /// The complete and verified checkpoint that was offered.
    async fn complete(&self, offer: &Offered) -> io::Result<Arc<Checkpoint>> {
        let mut slot = self.slot.lock().await;
        if let Some(kept) = self.checkpoints.at(offer.manifest.id()) {
            if let Some(incoming) = slot.incoming.take() {
                exec::blocking(move || incoming.discard()).await?;
            }
            return Ok(kept);
        }
        let incoming = slot.take_for(offer)?;
        if !incoming.is_complete() {
            let reason = format!("chunk {} and what follows is not there", incoming.next());
            slot.incoming = Some(incoming);
            return Err(io::Error::other(reason));
        }
        exec::blocking(move || incoming.finish()).await?.map_err(|(left, error)| {
            slot.incoming = left.map(|left| *left);
            io::Error::other(error)
        })
    }
}

impl Receiving {
    /// Does what takes long before openraft knows of it. From the moment at which it is asked to install the checkpoint, it
    /// keeps votes and entries waiting behind that (hazards 37): the state's files are put beside the live ones now, and
    /// then only take their place.
    async fn make_ready(&self, checkpoint: &Checkpoint, raft: &RaftCore) -> io::Result<()> {
        if self.worker.applied().id() >= Some(checkpoint.id()) {
            return Ok(());
        }
        let prepare = self.worker.prepare_restore().await.map_err(io::Error::other)?;
        let from = checkpoint.state();
        exec::blocking(move || prepare(&from)).await?.map_err(io::Error::other)?;
        if tokio::time::timeout(SETTLE_MAX, self.settled(raft)).await.is_err() {
            tracing::warn!(id = %checkpoint.id(), "the log or the state is far behind; the checkpoint is installed nevertheless");
        }
        Ok(())
    }

    /// Returns when this node's log is on disk and what is committed of it is applied. While openraft alpha.37 installs a
    /// checkpoint, it may look for the id of an entry that is still to be applied, and has forgotten it (its issue 2116).
    async fn settled(&self, raft: &RaftCore) {
        let mut durable = self.log.durable();
        loop {
            let last = self.log.bounds().last.map(|last| last.index);
            let committed = raft.metrics().borrow_watched().local_committed.map(|id| LogIndex(id.index));
            if *durable.borrow() >= last && self.worker.applied().get() >= committed {
                return;
            }
            if durable.wait_for(|durable| *durable >= last).await.is_err() {
                return;
            }
            if let Some(committed) = committed {
                self.worker.applied().reached(committed).await;
            }
        }
    }
}

impl Slot {
    fn take_for(&mut self, offer: &Offered) -> io::Result<Incoming> {
        if self.offers != offer.number {
            return Err(io::Error::other("another transfer has taken over"));
        }
        self.incoming.take().ok_or_else(|| io::Error::other("its beginning is lost; offer it again"))
    }
}
