//! One node of a simulated group: its disk, its process, and what became of it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use raft_log::Replica;
use raft_log::env::sim::{SeededRng, SimDisk};
use raft_log::sim::{Process, SimClock};
use raft_log::types::NodeId;
use tokio::time::Instant;

use crate::hosts::{PEER_PORT, host};
use crate::machine::Machine;
use crate::settings::Settings;

/// A node fails within this time after what made it fail: its slowest sync, and a look at it.
const EXCUSED_FOR: Duration = Duration::from_secs(2);

/// What a node is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Life {
    /// Its process runs, or opens its folder.
    Up,
    /// It has no process; it starts again then.
    Down(Instant),
    /// It never starts again: its folder was damaged, and it said what to do.
    Lost(String),
    /// It is no member any more, and its operator switched it off.
    Retired,
}

/// What was done to a node's folder behind its back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It was replaced by an empty one: the node must stay out for ever.
    Wiped,
    /// It was put back as it was earlier: the node is told, and never votes again.
    OlderCopy,
    /// A bit was flipped, or a block cannot be read: the node repairs it, or says that it cannot.
    Damaged,
}

/// How an opening ended.
pub(crate) enum Opening {
    /// It has not ended.
    Under,
    /// The replica is open.
    Open(Replica),
    /// The folder was refused.
    Refused(String),
}

/// One node.
pub struct Node {
    /// Its id, never used before.
    pub id: NodeId,
    /// Its place in the cluster, from 0.
    pub place: usize,
    /// Its host.
    pub address: IpAddr,
    /// Where it says that its peers find it.
    pub advertised: String,
    /// Its disk.
    pub disk: Arc<SimDisk>,
    /// Its clocks.
    pub clock: Arc<SimClock>,
    /// What it does.
    pub life: Life,
    /// Its process, while it is up.
    pub process: Option<Process>,
    /// Its state machine.
    pub machine: Machine,
    /// Its folder was tampered with: it may refuse to go on.
    pub harm: Option<Harm>,
    /// It is being shut down: nobody asks how it ends.
    pub ending: bool,
    /// Its disk is slow now.
    pub slow: bool,
    /// A sync of it fails, and its host loses power once the next process has opened the folder, not before.
    pub relapses: bool,
    /// When faults of its disk struck last, and how many have.
    struck: Option<Instant>,
    strikes: u64,
    /// Its disk is full now.
    pub full: bool,
    /// Its process is stopped until then.
    pub paused_until: Option<Instant>,
    pub(crate) rng: Arc<SeededRng>,
    opening: Arc<Mutex<Opening>>,
}

impl Node {
    /// A node with an empty disk, off.
    #[must_use]
    pub fn new(settings: &Settings, place: usize) -> Node {
        let disk = Arc::new(SimDisk::new());
        Node {
            id: NodeId(place as u64 + 1),
            place,
            address: host(place),
            advertised: format!("{}:{PEER_PORT}", host(place)),
            disk: disk.clone(),
            clock: Arc::new(SimClock::new()),
            life: Life::Down(Instant::now()),
            process: None,
            machine: Machine::open(settings, &disk).expect("a new disk works"),
            harm: None,
            ending: false,
            slow: false,
            relapses: false,
            struck: None,
            strikes: 0,
            full: false,
            paused_until: None,
            rng: Arc::new(SeededRng::new(settings.seed.wrapping_mul(1_000_003) + place as u64)),
            opening: Arc::new(Mutex::new(Opening::Under)),
        }
    }

    /// Looks whether its disk has failed it since the last look.
    pub(crate) fn look(&mut self, now: Instant) {
        let strikes = self.disk.fault_hits();
        if strikes != self.strikes {
            (self.strikes, self.struck) = (strikes, Some(now));
        }
    }

    /// Whether it may fail: a fault of its disk struck a moment ago, or it is being shut down. One that was only ordered,
    /// and one of long ago, excuse nothing.
    #[must_use]
    pub fn is_excused(&self) -> bool {
        self.ending || self.struck.is_some_and(|at| at.elapsed() < EXCUSED_FOR)
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.life == Life::Up && self.process.is_some() && !self.disk.power_is_off()
    }

    /// Whether a sync of it hangs: it ends by itself, and nothing can be done about it before.
    #[must_use]
    pub fn is_disk_hung(&self) -> bool {
        self.process.as_ref().is_some_and(Process::is_disk_hung)
    }

    /// Its disk is as quick as any again: nothing is delayed, nothing hangs from now on.
    pub fn quicken_disk(&mut self) {
        self.slow = false;
        if let Some(process) = &self.process {
            process.set_disk_delay_millis(0, 1);
            process.set_read_delay_millis(0);
            process.hang_disk_once(Duration::ZERO);
        }
    }

    /// Whether it never comes back.
    #[must_use]
    pub fn is_out(&self) -> bool {
        matches!(self.life, Life::Lost(_) | Life::Retired)
    }

    /// Whether it counts on coming back with everything that it promised, or on saying that it cannot.
    #[must_use]
    pub fn is_expected(&self) -> bool {
        !self.is_out() && self.harm != Some(Harm::Wiped)
    }

    /// A place for the result of a new opening.
    pub(crate) fn begin_opening(&mut self) -> Arc<Mutex<Opening>> {
        self.opening = Arc::new(Mutex::new(Opening::Under));
        self.opening.clone()
    }

    /// The result of the opening, once.
    pub(crate) fn take_opening(&self) -> Opening {
        std::mem::replace(&mut *self.opening.lock().unwrap_or_else(PoisonError::into_inner), Opening::Under)
    }
}
