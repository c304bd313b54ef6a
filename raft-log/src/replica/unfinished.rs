//! Ends changes of voters that were left half done.
//!
//! A change of voters has two steps. A leader that dies between them leaves the group in the joint configuration: safe, but
//! both majorities must be there for every entry, and no other change can begin. The next leader takes the second step.

use std::collections::BTreeSet;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::{ChangeMembers, ServerState};

use crate::raft::core::RaftCore;
use crate::raft::type_config::RaftLogId;

/// A joint configuration that has stood for this many looks belongs to nobody any more.
const LOOKS: usize = 3;
/// Time between two looks.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Watches for the life of the core.
pub(crate) async fn run(raft: RaftCore) {
    let metrics = raft.server_metrics();
    let (mut seen, mut looks): (Option<RaftLogId>, usize) = (None, 0);
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let joint = {
            let metrics = metrics.borrow_watched();
            let membership = &metrics.membership_config;
            let joint = membership.membership().get_joint_config().len() > 1;
            (joint && metrics.state == ServerState::Leader).then(|| *membership.log_id()).flatten()
        };
        looks = if joint.is_some() && joint == seen { looks + 1 } else { 0 };
        seen = joint;
        if looks < LOOKS {
            continue;
        }
        looks = 0;
        tracing::warn!("a change of voters was left half done; ending it");
        // Whoever leaves stays as a learner: whether he was to go for good is not known here.
        let ended = raft.change_membership(ChangeMembers::AddVoterIds(BTreeSet::new()), true).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "the change of voters could not be ended yet");
        }
    }
}
