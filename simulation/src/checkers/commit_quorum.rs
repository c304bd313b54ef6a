//! An entry is committed only once a majority of the voters has called it persisted. Whatever Raft decides rests on it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use raft_log::sim::observe::{Deed, Event};

use crate::checkers::Checker;
use crate::view::{NodeView, View};

pub(super) struct CommitQuorum;

impl Checker for CommitQuorum {
    fn name(&self) -> &'static str {
        "commit quorum"
    }

    fn check(&mut self, view: &View, event: &Event) -> Result<(), String> {
        let Deed::Applied(entry, _) = &event.deed else { return Ok(()) };
        let index = entry.id.index.0;
        if view.committed.contains_key(&index) {
            return Ok(());
        }
        let holds = |node: &NodeView| node.persisted_end > index && node.holds(entry);
        // What a wiped node had acknowledged before counts as well.
        let hosts: BTreeSet<IpAddr> =
            view.nodes.iter().chain(&view.wiped).filter(|(_, node)| holds(node)).map(|(host, _)| *host).collect();
        let persisted = hosts.len();
        if persisted > view.voters / 2 {
            return Ok(());
        }
        Err(format!("applied {}, which {persisted} of {} voters have persisted", entry.id, view.voters))
    }
}
