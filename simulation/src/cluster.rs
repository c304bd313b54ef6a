//! The nodes of a simulated group: their disks, their processes, and what happens to them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use raft_log::env::Env;
use raft_log::env::Rng as _;
use raft_log::env::sim::{Crash, SeededRng, SimDisk};
use raft_log::sim::Process;
use raft_log::sim::net::Network;
use raft_log::types::{GroupId, NodeId};
use raft_log::{Durability, NodeAddresses, PeerListen, Replica, ReplicaOptions};
use tokio::time::Instant;

use crate::clients::Directory;
use crate::hosts::{PEER_PORT, host};
use crate::machine::Machine;
use crate::node::{Harm, Life, Node, Opening};
use crate::settings::Settings;
use crate::story::tell_of;

/// The data folder on each node's disk.
pub const DIR: &str = "/data";
/// Whoever loses a folder for good is told to come back under one.
const REMEDY: &str = "a fresh ";
const PROPOSE_DEADLINE: Duration = Duration::from_millis(1_500);

/// The group.
pub struct Cluster {
    /// Its settings.
    pub settings: Settings,
    /// Its nodes, by place.
    pub nodes: Vec<Node>,
    /// The network between them.
    pub network: Network,
    /// The replicas that clients may call.
    pub directory: Directory,
    /// Hosts whose disks were replaced since the last look.
    pub wiped: Vec<IpAddr>,
    /// Hosts whose disks were put back as they were earlier, since the last look.
    pub put_back: Vec<(IpAddr, IpAddr)>,
    lives: u64,
}

impl Cluster {
    /// A group of empty nodes, all off.
    #[must_use]
    pub fn new(settings: Settings, network: Network) -> Cluster {
        let nodes = (0..usize::from(settings.nodes)).map(|place| Node::new(&settings, place)).collect();
        let directory = Directory::default();
        Cluster { settings, nodes, network, directory, wiped: Vec::new(), put_back: Vec::new(), lives: 0 }
    }

    /// A host with an empty disk and an id that was never used; it starts at once.
    pub fn add_spare(&mut self) -> usize {
        let place = self.nodes.len();
        self.nodes.push(Node::new(&self.settings, place));
        self.start(place);
        place
    }

    /// Switches a node off that is no member any more.
    pub fn retire(&mut self, place: usize) {
        if !self.nodes[place].is_out() {
            self.crash(place, Crash::KeepAll, Instant::now());
            self.nodes[place].life = Life::Retired;
        }
    }

    /// The places of all nodes whose process runs.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        self.nodes.iter().filter(|node| node.process.is_some()).map(|node| node.place).collect()
    }

    fn options(&self, place: usize) -> ReplicaOptions {
        let settings = &self.settings;
        let address = SocketAddr::new(host(place), PEER_PORT);
        let advertised = NodeAddresses { peer: self.nodes[place].advertised.clone(), ..NodeAddresses::default() };
        let id = NodeId(place as u64 + 1);
        let mut options =
            ReplicaOptions::new(id, GroupId(7), PathBuf::from(DIR), PeerListen::Address(address), advertised);
        options.durability = settings.durability;
        options.disk_stall_max = settings.disk_stall_max;
        options.election = settings.election;
        options.segment_bytes_max = settings.segment_bytes_max;
        options.sizes = settings.sizes;
        options.retention = settings.retention;
        options.cache_bytes_max = settings.cache_bytes_max;
        options.entry_bytes_max = settings.entry_bytes_max;
        options.propose_bytes_in_flight_max = 1 << 20;
        options.propose_deadline = PROPOSE_DEADLINE;
        options
    }

    /// Starts a node's process.
    pub fn start(&mut self, place: usize) {
        tell_of(place, "starts");
        self.lives += 1;
        let options = self.options(place);
        let seed = self.settings.seed.wrapping_mul(7_919) ^ (self.lives << 32);
        let node = &mut self.nodes[place];
        self.network.power_on(node.address);
        let process = Process::new(node.address, seed);
        match Machine::open(&self.settings, &node.disk) {
            Ok(machine) => node.machine = machine,
            Err(_) => return self.crash(place, Crash::LoseUnsynced, Instant::now() + Duration::from_millis(100)),
        }
        let opening = node.begin_opening();
        (node.ending, node.slow) = (false, false);
        node.life = Life::Up;
        node.paused_until = None;
        let env = Env { disk: node.disk.session(), clock: node.clock.clone(), rng: node.rng.clone() };
        let machine = node.machine.clone();
        drop(process.spawn(async move {
            let opened = match Replica::open(options, env, machine).await {
                Ok(replica) => Opening::Open(replica),
                Err(error) => Opening::Refused(error.to_string()),
            };
            *opening.lock().unwrap_or_else(PoisonError::into_inner) = opened;
        }));
        node.process = Some(process);
    }

    /// Ends a node's process at once; with a loss of power, its disk and its host suffer too.
    pub fn crash(&mut self, place: usize, crash: Crash, restart: Instant) {
        tell_of(place, format_args!("ends: {crash:?}"));
        let node = &mut self.nodes[place];
        if let Some(process) = node.process.take() {
            process.kill();
        }
        if crash != Crash::KeepAll {
            self.network.power_off(node.address);
        }
        node.disk.crash(crash);
        node.life = Life::Down(restart);
        node.paused_until = None;
        drop(node.take_opening());
        drop(self.directory.set(place, None));
    }

    /// Replaces a node's disk by an empty one. It comes back under its old id, and must be refused by the others.
    pub fn wipe(&mut self, place: usize, restart: Instant) {
        self.crash(place, Crash::LoseUnsynced, restart);
        let node = &mut self.nodes[place];
        node.disk = Arc::new(SimDisk::new());
        node.machine = Machine::open(&self.settings, &node.disk).expect("a new disk works");
        node.harm = Some(Harm::Wiped);
        self.wiped.push(node.address);
    }

    /// Puts a node's host back as it was when the copy was taken of it. The node at `knower` can tell that.
    pub fn put_back(&mut self, place: usize, copy: &SimDisk, knower: usize, restart: Instant) {
        self.crash(place, Crash::LoseUnsynced, restart);
        let node = &mut self.nodes[place];
        node.disk.restore(copy);
        node.harm = Some(Harm::OlderCopy);
        self.put_back.push((node.address, host(knower)));
    }

    /// Whether no node was harmed, is lost, or stands still.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.nodes.iter().all(|node| node.harm.is_none() && (node.is_out() || node.paused_until.is_none()))
    }

    /// Whether nothing was done to the disk of the node at this address, or long ago.
    #[must_use]
    pub fn is_blameless(&self, address: IpAddr) -> bool {
        self.nodes.iter().any(|node| node.address == address && node.harm.is_none() && !node.is_excused())
    }

    /// From now on pieces between this node and the others take so long that a connection is made, and what it is for is
    /// said, in half of the time after which a leader is missed.
    pub fn set_far(&self, place: usize) {
        let millis = u64::try_from((self.settings.election.timeout_min / 12).as_millis()).expect("short");
        for other in (0..self.nodes.len()).filter(|other| *other != place) {
            for (from, to) in [(place, other), (other, place)] {
                self.network.set_latency_millis(host(from), host(to), Some((millis, millis)));
            }
        }
    }

    /// A node's replica, if it is open.
    #[must_use]
    pub fn replica(&self, place: usize) -> Option<Replica> {
        self.directory.get(place)
    }

    /// The node that leads the highest term, as far as nodes know by themselves.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let standings = self.nodes.iter().filter_map(|node| {
            let standing = self.replica(node.place)?.standing_now();
            standing.leads.then_some((standing.term, node.place))
        });
        standings.max().map(|(_, place)| place)
    }

    /// Shows replicas that have opened, restarts what is due, ends processes that failed. Only an excused node may fail.
    ///
    /// # Errors
    /// A node that stopped or refused its folder without a cause.
    pub fn tend(&mut self, rng: &SeededRng) -> Result<(), String> {
        let now = Instant::now();
        for place in 0..self.nodes.len() {
            let node = &mut self.nodes[place];
            node.look(now);
            if node.paused_until.is_some_and(|until| until <= now) {
                node.paused_until = None;
                if let Some(process) = &node.process {
                    process.set_paused(false);
                }
            }
            if node.is_out() {
                continue;
            }
            if let Life::Down(at) = node.life {
                if at <= now {
                    // An orderly end has had its time.
                    if self.nodes[place].process.is_some() {
                        self.crash(place, Crash::KeepAll, now);
                    }
                    self.start(place);
                }
                continue;
            }
            self.tend_opening(place, rng)?;
            self.tend_failed(place, rng)?;
        }
        Ok(())
    }

    fn tend_opening(&mut self, place: usize, rng: &SeededRng) -> Result<(), String> {
        let node = &self.nodes[place];
        match node.take_opening() {
            Opening::Under => {}
            Opening::Open(replica) => drop(self.directory.set(place, Some(replica))),
            // It says what helps: only that ends it.
            Opening::Refused(reason) if node.harm.is_some() && reason.contains(REMEDY) => {
                tell_of(place, &reason);
                self.crash(place, Crash::KeepAll, Instant::now());
                self.nodes[place].life = Life::Lost(reason);
            }
            // A node that runs waits for space; one that starts says what it lacks, and is started again.
            Opening::Refused(reason) if node.is_excused() || node.disk.power_is_off() || lacks_space(&reason) => {
                self.crash(place, Crash::KeepAll, Instant::now() + soon(rng));
            }
            Opening::Refused(reason) => return Err(format!("node {} refused to open: {reason}", node.id)),
        }
        Ok(())
    }

    fn tend_failed(&mut self, place: usize, rng: &SeededRng) -> Result<(), String> {
        let node = &self.nodes[place];
        let off = node.disk.power_is_off();
        let failed = self.replica(place).and_then(|replica| replica.failed());
        if let Some(reason) = &failed {
            tell_of(place, reason);
        }
        let Some(reason) = failed else {
            if off {
                let crash = if rng.chance(75) { Crash::Torn { seed: rng.next_u64() } } else { Crash::LoseUnsynced };
                self.crash(place, crash, Instant::now() + soon(rng));
            }
            return Ok(());
        };
        if !off && !node.is_excused() && node.harm.is_none() {
            return Err(format!("node {} failed without a cause: {reason}", node.id));
        }
        if node.harm.is_some() {
            self.crash(place, Crash::KeepAll, Instant::now() + soon(rng));
            return Ok(());
        }
        // The operator starts the process again, or the machine.
        let keeps = self.settings.durability == Durability::Async || node.relapses;
        let crash = if off || (!keeps && rng.chance(50)) { Crash::LoseUnsynced } else { Crash::KeepAll };
        self.crash(place, crash, Instant::now() + soon(rng));
        if crash == Crash::KeepAll && !keeps && rng.chance(50) {
            // What a failed sync left in the page cache was found again, and the power goes before another sync.
            self.nodes[place].disk.power_off_after(rng.below(16));
        }
        Ok(())
    }
}

impl Drop for Cluster {
    /// Nobody waits for what is still under way.
    fn drop(&mut self) {
        self.nodes.iter().filter_map(|node| node.process.as_ref()).for_each(Process::kill);
    }
}

fn lacks_space(reason: &str) -> bool {
    reason.contains(&std::io::Error::from(std::io::ErrorKind::StorageFull).to_string())
}

/// A pause before a node starts again.
#[must_use]
pub fn soon(rng: &SeededRng) -> Duration {
    let most = if rng.chance(70) { 300 } else { 3_000 };
    Duration::from_millis(10 + rng.below(most))
}
