//! openraft's settings. Several of its defaults lose data or speed here; each line below has its reason.

use openraft::{Config, SnapshotPolicy};

use crate::planted::{self, Bug};
use crate::raft::log_store::APPEND_BYTES_MAX;
use crate::raft::state_worker::REQUESTS_WAITING_MAX;
use crate::raft::wire::{FRAME_BYTES_MAX, append};
use crate::replica::ElectionOptions;
use crate::types::GroupId;

/// Entries of one AppendEntries request; the bytes are bounded by the log store.
const APPEND_ENTRIES_MAX: u64 = 4096;
const _: () = assert!(
    append::body_bytes(APPEND_ENTRIES_MAX as usize, APPEND_BYTES_MAX) <= FRAME_BYTES_MAX,
    "a request of many entries fits into a frame"
);
/// Commands to the state machine beside those that come of proposals and of a leader's entries.
const OTHER_COMMANDS_MAX: u64 = 4096;

/// The settings of one core. The core waits when a command finds no place in its channel to the state machine, so the
/// channel holds as many as there can be: one for each proposal in flight, and those of what a follower lets in while nothing
/// more can be queued. They are small, and seldom more than one waits: they are taken out at once, and merged behind
/// (see [`state_worker`](super::state_worker)).
///
/// # Errors
/// When the times of elections contradict each other.
pub(crate) fn config(group: GroupId, election: &ElectionOptions, proposals_max: u64) -> Result<Config, String> {
    let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: format!("group-{group}"),
        heartbeat_interval: millis(election.heartbeat_interval),
        election_timeout_min: millis(election.timeout_min),
        election_timeout_max: millis(election.timeout_max),
        max_payload_entries: APPEND_ENTRIES_MAX,
        // Retention decides what is purged, by the state machine's commands; nothing is purged behind its back.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: u64::MAX,
        state_machine_channel_size: Some(proposals_max + REQUESTS_WAITING_MAX + OTHER_COMMANDS_MAX),
        // Entries are replicated before the leader's own fsync. A leader that crashed then could come back as leader of
        // the same term and give a used log id to another entry.
        enable_leader_restore: Some(planted::is(Bug::LeaderRestore)),
        // A node that was paused must not depose a healthy leader.
        enable_pre_vote: Some(true),
        // A voter that forgot what it acknowledged is wiped, and never welcome again (hazards 2).
        allow_log_reversion: Some(false),
        // A leader that no quorum answers falls silent for so long, then tries for so long, in turn. Without it, one that
        // still reaches a single voter renews that voter's lease for ever, and the others, who reach each other and that
        // voter, never get its vote (openraft #2080). The least that openraft takes: lease and longest timeout.
        quorum_loss_probe_interval: (!planted::is(Bug::QuorumNotProbed)).then(|| millis(election.timeout_max * 2)),
        backoff: "50ms 100ms 200ms ...500ms".to_owned(),
        ..Config::default()
    };
    config.validate().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_settings_that_lose_data_when_missed_are_set() {
        let config = config(GroupId(1), &ElectionOptions::default(), 1 << 16).unwrap();
        assert_eq!(config.enable_leader_restore, Some(false));
        assert_eq!(config.enable_pre_vote, Some(true));
        assert_eq!(config.allow_log_reversion, Some(false));
        assert!(config.quorum_loss_probe_interval.is_some());
        assert_eq!(config.snapshot_policy, SnapshotPolicy::Never);
        assert_eq!(config.max_in_snapshot_log_to_keep, u64::MAX);
        assert!(config.state_machine_channel_size.is_some_and(|size| size > (1 << 16) + REQUESTS_WAITING_MAX));
    }

    #[test]
    fn heartbeats_slower_than_elections_are_refused() {
        let election = ElectionOptions { heartbeat_interval: Duration::from_secs(5), ..ElectionOptions::default() };
        assert!(config(GroupId(1), &election, 1).is_err());
    }
}
