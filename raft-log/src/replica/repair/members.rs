//! A copy of the newest membership, for the time when the log that holds it is damaged.
//!
//! Whom to ask must be known before the log can be read. The copy says it; without it, the state's last applied
//! membership does, or the one that the folder was claimed for. An old one does no harm: a peer proves by the anchor that
//! it holds this node's entries, and by the handshake who it is.

use std::io;
use std::path::{Path, PathBuf};

use openraft::async_runtime::WatchReceiver;

use crate::env::Env;
use crate::exec;
use crate::identity::Identity;
use crate::membership::{MemberNode, Membership};
use crate::raft::core::RaftCore;
use crate::raft::type_config::membership;
use crate::state_machine::AppliedPoint;
use crate::storage::sealed_file::{self, SealedFormat};
use crate::types::NodeId;

const FORMAT: SealedFormat = SealedFormat { magic: *b"TRCTMEMB", version: 1 };
const FILE_NAME: &str = "members";

fn path_in(dir: &Path) -> PathBuf {
    dir.join(FILE_NAME)
}

/// Everybody who may hold this node's entries, the newest knowledge first.
pub(crate) fn known(
    env: &Env,
    dir: &Path,
    applied: Option<&AppliedPoint>,
    identity: &Identity,
) -> Vec<(NodeId, MemberNode)> {
    let copy = match sealed_file::read(env, &path_in(dir), FORMAT) {
        Ok(read) => read.map(|(_, body)| body),
        Err(error) => {
            tracing::warn!(%error, "the copy of the membership is not readable; older knowledge is used");
            None
        }
    };
    let of_state = applied.and_then(|applied| applied.membership.as_ref()).map(|(_, bytes)| bytes.to_vec());
    let of_claim = identity.claim().map(|claim| claim.membership.to_vec());
    let decoded = [copy, of_state, of_claim].into_iter().flatten().find_map(|bytes| Membership::decode(&bytes).ok());
    decoded.map(|membership| membership.nodes.into_iter().collect()).unwrap_or_default()
}

/// Replaces the copy, durably.
pub(crate) fn write(env: &Env, dir: &Path, membership: &Membership) -> io::Result<()> {
    sealed_file::write(env, &path_in(dir), FORMAT, &membership.encode())
}

/// Keeps the copy current for the life of the core.
pub(crate) async fn keep(raft: RaftCore, env: Env, dir: PathBuf) {
    let mut metrics = raft.server_metrics();
    let mut kept = None;
    loop {
        let newest = membership(metrics.borrow_watched().membership_config.membership());
        if !newest.nodes.is_empty() && kept.as_ref() != Some(&newest) {
            let (env, dir, copied) = (env.clone(), dir.clone(), newest.clone());
            let written = exec::blocking(move || write(&env, &dir, &copied)).await;
            match written.and_then(|result| result) {
                Ok(()) => kept = Some(newest),
                // An old copy serves nearly as well; the next change tries again.
                Err(error) => tracing::warn!(%error, "the copy of the membership could not be written"),
            }
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
