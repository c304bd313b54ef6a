//! Bounds on what a group may cost its users and its network though nothing is lost: time without a leader, elections
//! without a cause, connections and pieces that nobody needs.

use std::collections::BTreeSet;
use std::time::Duration;

use raft_log::sim::net::NetworkCounts;
use raft_log::types::Term;
use tokio::time::Instant;

use crate::clients::place_of;
use crate::cluster::Cluster;
use crate::hosts::host;
use crate::majority;
use crate::settings::Settings;
use crate::view::View;

/// Streams begun within one simulated second, for each pair of hosts: a loop of connects shows here.
const DIALS_PER_PAIR_MAX: u64 = 250;
/// Pieces delivered within one simulated second, for each pair of hosts, in a group that idles.
const CALM_PIECES_PER_PAIR_MAX: u64 = 400;
/// What a group may need after any single fault, beside its elections: a connection is noticed as dead, and made again.
const NOTICE: Duration = Duration::from_secs(4);
/// Elections that may fail in a row, each of a lease and a timeout.
const ELECTIONS_MAX: u32 = 5;
/// How often network counts are looked at.
const WINDOW: Duration = Duration::from_secs(1);

/// A majority that is whole and reaches itself commits something within this time.
#[must_use]
pub fn leaderless_max(settings: &Settings) -> Duration {
    NOTICE + settings.election.timeout_max * 2 * ELECTIONS_MAX
}

/// See the module.
pub struct Budgets {
    /// Nodes that could serve, and since when they have committed nothing.
    whole: BTreeSet<usize>,
    since: Instant,
    committed: Option<u64>,
    window: (Instant, NetworkCounts),
}

impl Budgets {
    /// Budgets that begin now.
    #[must_use]
    pub fn new() -> Budgets {
        let now = Instant::now();
        Budgets { whole: BTreeSet::new(), since: now, committed: None, window: (now, NetworkCounts::default()) }
    }

    /// Looks while clients propose.
    ///
    /// # Errors
    /// A budget that is exceeded.
    pub fn look(&mut self, cluster: &Cluster, view: &View) -> Result<(), String> {
        self.look_at_network(cluster, None)?;
        let now = Instant::now();
        let committed = view.committed.last_key_value().map(|(index, _)| *index);
        let reaches =
            |of: &BTreeSet<usize>| of.iter().all(|place| is_fit(cluster, view, *place) && clear(cluster, *place, of));
        let stays = !self.whole.is_empty() && reaches(&self.whole) && is_majority(view, &self.whole);
        if committed > self.committed || !stays {
            (self.committed, self.since) = (committed, now);
            self.whole = if stays { std::mem::take(&mut self.whole) } else { whole_majority(cluster, view) };
        }
        let longest = leaderless_max(&cluster.settings);
        if now - self.since > longest {
            return Err(format!(
                "the nodes at {:?} are whole and reach each other, and commit nothing in {longest:?}",
                self.whole
            ));
        }
        Ok(())
    }

    fn look_at_network(&mut self, cluster: &Cluster, pieces_max: Option<u64>) -> Result<(), String> {
        let (begin, before) = self.window;
        if begin.elapsed() < WINDOW {
            return Ok(());
        }
        let counts = cluster.network.counts();
        self.window = (Instant::now(), counts);
        let nodes = cluster.nodes.len() as u64;
        let pairs = (nodes * nodes.saturating_sub(1)).max(1);
        let (dialed, delivered) = (counts.dialed - before.dialed, counts.delivered - before.delivered);
        if dialed > DIALS_PER_PAIR_MAX * pairs {
            return Err(format!("{nodes} nodes began {dialed} connections in a second"));
        }
        if pieces_max.is_some_and(|most| delivered > most * pairs) {
            return Err(format!("{nodes} nodes sent {delivered} pieces in a second in which nothing happened"));
        }
        Ok(())
    }
}

impl Default for Budgets {
    fn default() -> Budgets {
        Budgets::new()
    }
}

/// A group at rest: who led when it began leads when it ends.
pub struct Calm {
    term: Option<Term>,
    budgets: Budgets,
}

impl Calm {
    /// Rest begins.
    #[must_use]
    pub fn begin(cluster: &Cluster, view: &View) -> Calm {
        let mut budgets = Budgets::new();
        budgets.window.1 = cluster.network.counts();
        Calm { term: view.highest_term(), budgets }
    }

    /// Looks.
    ///
    /// # Errors
    /// An election, or a busy network.
    pub fn look(&mut self, cluster: &Cluster, view: &View) -> Result<(), String> {
        let term = view.highest_term();
        if term > self.term {
            return Err(format!("term {term:?} began after {:?} though nothing had happened", self.term));
        }
        self.budgets.look_at_network(cluster, Some(CALM_PIECES_PER_PAIR_MAX))
    }
}

/// Whether nothing ails this node.
fn is_fit(cluster: &Cluster, view: &View, place: usize) -> bool {
    let Some(node) = cluster.nodes.get(place) else { return false };
    let gated = view.node(node.address).is_none_or(|seen| !seen.gates.is_empty());
    let ails = node.harm.is_some()
        || node.slow
        || node.is_disk_hung()
        || node.full
        || node.ending
        || node.paused_until.is_some();
    cluster.replica(place).is_some() && !gated && !ails && node.is_up()
}

/// Whether it reaches all of these, and they reach it.
fn clear(cluster: &Cluster, place: usize, of: &BTreeSet<usize>) -> bool {
    of.iter().all(|other| *other == place || cluster.network.is_clear(host(place), host(*other)))
}

fn is_majority(view: &View, of: &BTreeSet<usize>) -> bool {
    majority::of_each(&view.possible_voters(), |voter| of.contains(&place_of(voter)))
}

/// Nodes that are whole, reach each other, and could serve; none if there are none.
fn whole_majority(cluster: &Cluster, view: &View) -> BTreeSet<usize> {
    let fit: Vec<usize> = (0..cluster.nodes.len()).filter(|place| is_fit(cluster, view, *place)).collect();
    for first in &fit {
        let mut whole = BTreeSet::from([*first]);
        for other in &fit {
            if clear(cluster, *other, &whole) && whole.iter().all(|one| clear(cluster, *one, &BTreeSet::from([*other])))
            {
                whole.insert(*other);
            }
        }
        if is_majority(view, &whole) {
            return whole;
        }
    }
    BTreeSet::new()
}
