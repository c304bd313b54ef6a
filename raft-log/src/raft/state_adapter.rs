//! openraft's state machine on top of the thread that owns the user's.
//!
//! Checkpoints are not part of this version: nothing is ever purged, so no follower needs one, and the snapshot type has
//! no value. A snapshot that openraft asks for all the same is answered by a clear error.

use std::io;

use futures::{Stream, StreamExt};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};

use crate::membership::Membership;
use crate::raft::state_worker::StateWorker;
use crate::raft::type_config::{
    RaftEntry, RaftLogId, RaftStoredMembership, TypeConfig, log_id, membership, raft_log_id, raft_membership,
};
use crate::state_machine::{AppliedPoint, ApplyEntry, ApplyKind};

/// Entries handed to the state machine at once.
const APPLY_ENTRIES_MAX: usize = 4096;
/// Payload bytes handed to the state machine at once, one entry more at most.
const APPLY_BYTES_MAX: usize = 8 << 20;

/// The data of a snapshot: there is none in this version.
#[derive(Debug)]
pub(crate) enum NoSnapshot {}

/// The state machine as openraft sees it.
#[derive(Clone)]
pub(crate) struct StateAdapter {
    worker: StateWorker,
}

impl StateAdapter {
    pub(crate) fn new(worker: StateWorker) -> StateAdapter {
        StateAdapter { worker }
    }
}

fn apply_entry(entry: RaftEntry) -> ApplyEntry {
    let kind = match entry.payload {
        EntryPayload::Blank => ApplyKind::Blank,
        EntryPayload::Normal(command) => ApplyKind::Command(command.payload),
        EntryPayload::Membership(of) => ApplyKind::Membership(membership(&of)),
    };
    ApplyEntry { id: log_id(entry.log_id), kind }
}

fn payload_bytes(entry: &ApplyEntry) -> usize {
    match &entry.kind {
        ApplyKind::Command(payload) => payload.len(),
        ApplyKind::Blank | ApplyKind::Membership(_) => 0,
    }
}

/// The applied point in openraft's terms.
fn raft_point(point: Option<AppliedPoint>) -> io::Result<(Option<RaftLogId>, RaftStoredMembership)> {
    let Some(point) = point else {
        return Ok((None, RaftStoredMembership::default()));
    };
    let stored = match point.membership {
        None => RaftStoredMembership::default(),
        Some((id, bytes)) => {
            let decoded = Membership::decode(&bytes).map_err(io::Error::other)?;
            RaftStoredMembership::new(Some(raft_log_id(id)), raft_membership(decoded).map_err(io::Error::other)?)
        }
    };
    Ok((Some(raft_log_id(point.id)), stored))
}

impl RaftStateMachine<TypeConfig> for StateAdapter {
    type SnapshotData = NoSnapshot;
    type SnapshotBuilder = StateAdapter;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, RaftStoredMembership), io::Error> {
        raft_point(self.worker.point().await.map_err(io::Error::other)?)
    }

    async fn apply<S>(&mut self, mut stream: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        loop {
            let (mut entries, mut responders, mut bytes) = (Vec::new(), Vec::new(), 0);
            while entries.len() < APPLY_ENTRIES_MAX && bytes < APPLY_BYTES_MAX {
                let Some(item) = stream.next().await else { break };
                let (entry, responder) = item?;
                let entry = apply_entry(entry);
                bytes += payload_bytes(&entry);
                entries.push(entry);
                responders.push(responder);
            }
            if entries.is_empty() {
                return Ok(());
            }
            self.worker.apply(entries, responders).await.map_err(io::Error::other)?;
        }
    }

    async fn get_snapshot_builder(&mut self) -> StateAdapter {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        _meta: &SnapshotMetaOf<TypeConfig>,
        snapshot: NoSnapshot,
    ) -> Result<(), io::Error> {
        match snapshot {}
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, NoSnapshot>>, io::Error> {
        Ok(None)
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateAdapter {
    type SnapshotData = NoSnapshot;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, NoSnapshot>, io::Error> {
        let reason = "checkpoints are not part of this version; the log keeps every entry, so none is needed";
        Err(io::Error::new(io::ErrorKind::Unsupported, reason))
    }
}
