//! Whether the leader is still there, judged by the connections that it keeps open to this node.
//!
//! ```text
//!   a request of the leader ──► heard: this node's leader is `from`
//!   its last append connection closes ──► lost, at once: a killed process cannot keep a connection open
//!   somebody looks: nobody leads there ──► gone
//!   any connection or request of it, or it says that it leads, or another leads ──► calm again
//! ```
//! A leader keeps two append connections to each follower, one for entries and one for heartbeats, and opens the latter
//! anew as soon as it is broken; only when both are gone is it lost. That is a suspicion and no proof: a proxy that
//! restarts, a firewall that forgets its connections, closes those of a leader that lives, and all of them at once. So the
//! one who would act on it looks first (hazards 38, [`crate::raft::early_campaign`]). A process that is stopped, or a
//! machine that is cut off, closes nothing: those are found by the lease (hazards 12).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::types::{LogId, NodeId};

/// What there is at the address of a lost leader; see [`early_campaign`](crate::raft::early_campaign).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Leads,
    Gone,
    Unknown,
}

#[derive(Debug, Default)]
struct Hearing {
    /// Open append connections by the node at their other end.
    open: BTreeMap<NodeId, usize>,
    /// Who sent the last append, and when: openraft goes on naming a leader that has long been silent.
    last: Option<(NodeId, Instant)>,
    /// When a node last sent an append request, whatever became of it.
    received: BTreeMap<NodeId, Instant>,
    /// What a node stated as committed since this one was opened.
    committed: Option<(NodeId, LogId)>,
}

/// A leader whose last connection closed and who was not heard again since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) leader: NodeId,
    /// Somebody looked, and it does not lead any more.
    pub(crate) is_gone: bool,
}

/// What this node hears of its leader; clones hear the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaderWatch {
    hearing: Arc<Mutex<Hearing>>,
    lost: watch::Sender<Option<Lost>>,
}

/// One open append connection; it is closed by dropping this.
pub(crate) struct AppendConnection {
    watch: LeaderWatch,
    from: NodeId,
}

impl LeaderWatch {
    /// Notes an append connection of this node.
    pub(crate) fn opened(&self, from: NodeId) -> AppendConnection {
        *self.hearing().open.entry(from).or_default() += 1;
        self.calm(from);
        AppendConnection { watch: self.clone(), from }
    }

    /// The leader that is lost.
    pub(crate) fn lost(&self) -> Option<NodeId> {
        self.lost.borrow().map(|lost| lost.leader)
    }

    /// The leader that is lost and known to be gone.
    pub(crate) fn gone(&self) -> Option<NodeId> {
        self.lost.borrow().filter(|lost| lost.is_gone).map(|lost| lost.leader)
    }

    /// The changes of both.
    pub(crate) fn watch_lost(&self) -> watch::Receiver<Option<Lost>> {
        self.lost.subscribe()
    }

    /// Whether this leader sent something within this time and is not gone since.
    pub(crate) fn hears(&self, leader: NodeId, within: Duration) -> bool {
        let heard = self.hearing().last.is_some_and(|(_, at)| at.elapsed() <= within);
        heard && self.gone() != Some(leader)
    }

    /// Somebody looked whether this lost leader leads.
    pub(crate) fn looked(&self, leader: NodeId, leads: bool) {
        if leads {
            return self.calm(leader);
        }
        self.lost.send_if_modified(|lost| {
            let news = lost.as_mut().filter(|lost| lost.leader == leader && !lost.is_gone);
            news.map(|lost| lost.is_gone = true).is_some()
        });
    }

    /// Notes that an append request of this node is there.
    pub(super) fn received(&self, from: NodeId) {
        self.hearing().received.insert(from, Instant::now());
    }

    /// Waits until this node has sent no append request for so long, over any connection.
    pub(super) async fn silent(&self, from: NodeId, silence_max: Duration) {
        let since = Instant::now();
        loop {
            let last = self.hearing().received.get(&from).copied();
            let until = last.map_or(since, |last| last.max(since)) + silence_max;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    /// Notes what a node states as committed, now and not in a request that waited for this node.
    pub(super) fn stated(&self, from: NodeId, committed: Option<LogId>) {
        if let Some(committed) = committed {
            self.hearing().committed = Some((from, committed));
        }
    }

    /// What this leader has stated as committed since this node was opened.
    pub(crate) fn committed(&self, leader: NodeId) -> Option<LogId> {
        self.hearing().committed.filter(|(from, _)| *from == leader).map(|(_, committed)| committed)
    }

    /// A request of `from` was taken, so it leads: whoever led before is not missed any more.
    fn heard(&self, from: NodeId) {
        self.hearing().last = Some((from, Instant::now()));
        self.lost.send_if_modified(|lost| lost.take().is_some());
    }

    fn calm(&self, from: NodeId) {
        self.lost.send_if_modified(|lost| lost.take_if(|lost| lost.leader == from).is_some());
    }

    fn closed(&self, from: NodeId) {
        let mut hearing = self.hearing();
        let left = hearing.open.get_mut(&from).expect("it was counted when it was opened");
        *left -= 1;
        if *left > 0 {
            return;
        }
        hearing.open.remove(&from);
        hearing.received.remove(&from);
        if hearing.last.is_some_and(|(leader, _)| leader == from) {
            tracing::info!(leader = %from, "the leader has closed its last connection");
            self.lost.send_replace(Some(Lost { leader: from, is_gone: false }));
        }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().expect("no holder of this lock panics")
    }
}

impl AppendConnection {
    /// Notes that an append or a heartbeat came over it and was taken.
    pub(crate) fn heard(&self) {
        self.watch.heard(self.from);
    }
}

impl Drop for AppendConnection {
    fn drop(&mut self) {
        self.watch.closed(self.from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: NodeId = NodeId(1);

    #[test]
    fn only_the_last_connection_of_the_node_that_leads_counts() {
        let watch = LeaderWatch::default();
        let (entries, heartbeats) = (watch.opened(LEADER), watch.opened(LEADER));
        entries.heard();
        drop(watch.opened(NodeId(2)));
        drop(entries);
        assert!(watch.hears(LEADER, Duration::from_secs(9)), "it has another one");
        drop(heartbeats);
        assert_eq!((watch.lost(), watch.gone()), (Some(LEADER), None));
        assert!(watch.hears(LEADER, Duration::from_secs(9)), "that its connections closed proves nothing");
    }

    #[test]
    fn who_looks_decides_whether_a_lost_leader_is_gone() {
        let watch = LeaderWatch::default();
        let connection = watch.opened(LEADER);
        connection.heard();
        drop(connection);
        watch.looked(NodeId(2), false);
        assert_eq!(watch.gone(), None, "another node was looked at");
        watch.looked(LEADER, false);
        assert_eq!(watch.gone(), Some(LEADER));
        assert!(!watch.hears(LEADER, Duration::from_secs(9)));
        watch.looked(LEADER, true);
        assert_eq!((watch.lost(), watch.gone()), (None, None));
        watch.looked(LEADER, false);
        assert_eq!(watch.gone(), None, "it is not lost");
    }

    #[test]
    fn a_connection_or_a_request_of_the_leader_calms() {
        let watch = LeaderWatch::default();
        let connection = watch.opened(LEADER);
        connection.heard();
        drop(connection);
        let again = watch.opened(LEADER);
        assert_eq!(watch.lost(), None);
        drop(again);
        assert_eq!(watch.lost(), Some(LEADER));
        drop(watch.opened(NodeId(2)));
        assert_eq!(watch.lost(), Some(LEADER), "another node does not speak for it");
    }

    // Who attends to a lost leader waits until nobody is lost before it attends to the next.
    #[test]
    fn a_lost_leader_is_not_missed_any_more_once_another_leads() {
        let watch = LeaderWatch::default();
        let connection = watch.opened(LEADER);
        connection.heard();
        drop(connection);
        watch.looked(LEADER, false);
        let next = watch.opened(NodeId(2));
        assert_eq!(watch.gone(), Some(LEADER), "it has only connected");
        next.heard();
        assert_eq!(watch.lost(), None);
        drop(next);
        assert_eq!(watch.lost(), Some(NodeId(2)));
    }

    #[test]
    fn a_candidate_that_never_led_is_not_missed() {
        let watch = LeaderWatch::default();
        drop(watch.opened(LEADER));
        assert_eq!(watch.lost(), None);
    }
}
