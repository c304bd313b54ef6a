//! One damaged node and two peers, in memory: what repair does, without network, threads and time.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::checkpoint::Checkpoints;
use crate::env::sim::{Crash, SimDisk, SimEnv};
use crate::env::{Disk as _, OpenMode};
use crate::identity::{Claim, Identity};
use crate::inspect;
use crate::membership::{MemberNode, Membership, NodeAddresses};
use crate::raft::network::ranges::{Holder, gather};
use crate::raft::wire::repair::{decode_answer, decode_request, encode_answer, encode_request};
use crate::replica::repair::at_open::file_of;
use crate::replica::repair::members;
use crate::state_machine::AppliedPoint;
use crate::storage::repair::{Folder, Lost, RangeRequest};
use crate::storage::{
    Done, HardState, Log, OpenError, ReadError, Record, RecordKind, RecoveryReport, Stepper, StorageOptions,
};
use crate::types::{ClusterId, GroupId, Incarnation, LogId, LogIndex, NodeId, Term};

pub(super) const GROUP: GroupId = GroupId(3);
pub(super) const NODE: NodeId = NodeId(1);
/// Entries of the log.
pub(super) const ENTRIES: u64 = 40;
/// Bytes of one answer, small so that a range takes several.
const ANSWER_BYTES: usize = 1_000;

pub(super) fn dir() -> &'static Path {
    Path::new("/data")
}

pub(super) fn options(segment_bytes_max: u64) -> StorageOptions {
    StorageOptions {
        segment_bytes_max,
        record_payload_bytes_max: 2 << 10,
        cache_bytes_max: 0,
        ..StorageOptions::new(dir(), GROUP)
    }
}

/// Entries of three terms, of all kinds and of many lengths.
pub(super) fn entries() -> Vec<Record> {
    let entry = |index: u64| {
        let id = LogId { term: Term(1 + index / 15), index: LogIndex(index) };
        let byte = |at: usize| u8::try_from((at as u64 * 7 + index * 13) % 251).expect("below 251");
        match index % 15 {
            0 => Record::new(id, RecordKind::Membership, 0, membership().encode()),
            1 => Record::new(id, RecordKind::Blank, 0, Bytes::new()),
            _ => {
                let length = usize::try_from(index * 37 % 600).expect("short");
                Record::new(id, RecordKind::Command, 1, (0..length).map(byte).collect())
            }
        }
    };
    (0..ENTRIES).map(entry).collect()
}

pub(super) fn membership() -> Membership {
    let node = |id: u64| {
        let address = |port: u64| format!("node-{id}.example:{port}");
        let addresses = NodeAddresses { peer: address(1), client: address(2), http: address(3) };
        (
            NodeId(id),
            MemberNode {
                addresses,
                incarnation: Incarnation(u128::from(id)),
                retired: std::collections::BTreeSet::new(),
            },
        )
    };
    Membership { configs: vec![(1..=3).map(NodeId).collect()], nodes: (1..=3).map(node).collect() }
}

pub(super) fn hard_state() -> HardState {
    HardState { term: Term(4), voted_for: Some(NodeId(2)), committed: true }
}

/// An open log that a test steps.
pub(super) struct OpenLog {
    pub(super) log: Log,
    pub(super) stepper: Stepper,
    pub(super) report: RecoveryReport,
}

impl OpenLog {
    pub(super) fn open(sim: &SimEnv, options: StorageOptions) -> Result<OpenLog, OpenError> {
        let (log, stepper, report) = Log::open_stepped(sim.env(), options)?;
        Ok(OpenLog { log, stepper, report })
    }

    /// Does one call and everything that it causes.
    fn run(&mut self, call: impl FnOnce(&Log, Done)) {
        let outcome = Arc::new(Mutex::new(None));
        let done = outcome.clone();
        call(&self.log, Box::new(move |result| *done.lock().unwrap() = Some(result)));
        self.stepper.step();
        outcome.lock().unwrap().take().expect("the call is done").unwrap();
    }

    fn filled(sim: &SimEnv, options: StorageOptions) -> OpenLog {
        let mut open = OpenLog::open(sim, options).unwrap();
        open.run(|log, done| log.save_hard_state(hard_state(), done).unwrap());
        for (nth, entry) in entries().into_iter().enumerate() {
            open.run(|log, done| log.append(vec![entry], done).unwrap());
            // Marks between the entries, as a node with pauses has them.
            if nth % 4 == 3 {
                open.stepper.idle();
            }
        }
        open.stepper.idle();
        open
    }
}

/// What came of a damaged folder.
pub(super) struct Survivor {
    sim: SimEnv,
    pub(super) open: OpenLog,
    state: Vec<u8>,
    pub(super) identity: Identity,
    pub(super) members: Vec<(NodeId, MemberNode)>,
    /// The end of the log could not be read, and was cut: the node would be in doubt.
    pub(super) cut: bool,
    /// Ranges that were repaired from the peers, at open and afterwards.
    pub(super) repaired: u32,
}

/// The state in the checkpoint.
const STATE: &[u8] = b"the state of the machine, as far as entry twenty";

fn make_checkpoint(node: &SimEnv) {
    let checkpoints = Checkpoints::open(&node.env(), dir(), GROUP).unwrap();
    let id = entries()[20].id;
    let state = checkpoints.begin(id.index).unwrap();
    let file = node.disk.open(&state.join("state"), OpenMode::CreateNew).unwrap();
    file.write_all_at(STATE, 0).unwrap();
    checkpoints.seal(AppliedPoint { id, membership: None }).unwrap();
}

/// The state in the checkpoint, if it is whole.
fn read_checkpoint(sim: &SimEnv) -> Result<Vec<u8>, String> {
    let checkpoints = Checkpoints::open(&sim.env(), dir(), GROUP).map_err(|error| error.to_string())?;
    let checkpoint = checkpoints.newest().ok_or("the checkpoint is gone")?;
    let chunk = checkpoint.manifest.chunks().next().ok_or("it is empty")?;
    Ok(checkpoint.read(&sim.env(), chunk).map_err(|error| error.to_string())?.to_vec())
}

/// The node that gets damaged, stopped, and its running peers.
pub(super) struct Rig {
    pub(super) stopped: Arc<SimDisk>,
    segment_bytes_max: u64,
    peers: Vec<OpenLog>,
}

impl Rig {
    pub(super) fn new() -> Rig {
        Rig::with_segments(8 << 10)
    }

    pub(super) fn with_segments(segment_bytes_max: u64) -> Rig {
        let node = SimEnv::new(1);
        let identity = {
            let mut log = OpenLog::filled(&node, options(segment_bytes_max));
            log.stepper.sync();
            Identity::open(&node.env(), dir(), NODE, GROUP, true).unwrap()
        };
        identity.set_claim(Claim { cluster: ClusterId(77), membership: membership().encode(), secret: None }).unwrap();
        identity.mark_used().unwrap();
        members::write(&node.env(), dir(), &membership()).unwrap();
        make_checkpoint(&node);
        // The peers' files look different: other segments, other salts.
        let peers = [2, 3].map(|seed| OpenLog::filled(&SimEnv::new(seed), options(16 << 10)));
        node.disk.crash(Crash::LoseUnsynced);
        Rig { stopped: node.disk, segment_bytes_max, peers: peers.into() }
    }

    /// A peer's log.
    pub(super) fn peer(&self) -> &Log {
        &self.peers[0].log
    }

    /// All files of the node, with their lengths.
    pub(super) fn files(&self) -> Vec<(PathBuf, usize)> {
        let log = dir().join("log");
        let checkpoint = dir().join("checkpoints").join(format!("{:020}", 20));
        let state = checkpoint.join("state");
        let names = [dir(), &log, &checkpoint, &state].into_iter().flat_map(|folder| {
            let names = self.stopped.list(folder).unwrap();
            names.into_iter().map(|name| folder.join(name))
        });
        names.map(|path| (path.clone(), self.stopped.content(&path).len())).collect()
    }

    /// Opens the node on a damaged copy of its disk, as a replica does: what recovery finds is repaired first, then
    /// everything is read and scrubbed, and what that finds is repaired in place.
    pub(super) fn survive(&self, disk: SimDisk) -> Result<Survivor, String> {
        let sim = SimEnv { disk: Arc::new(disk), ..SimEnv::new(4) };
        Identity::check(&sim.env(), dir(), NODE, GROUP).map_err(|error| error.to_string())?;
        let (open, mut repaired, cut) = self.open_repaired(&sim)?;
        let identity = Identity::open(&sim.env(), dir(), NODE, GROUP, false).map_err(|error| error.to_string())?;
        let members = members::known(&sim.env(), dir(), None, &identity);
        let mut open = open;
        let state = read_checkpoint(&sim)?;
        open.log.damage().attend();
        let mut place = None;
        loop {
            let step = open.log.scrub(place, 4_096);
            if let Some(error) = step.skipped {
                return Err(error.to_string());
            }
            place = step.next;
            if place.is_none() {
                break;
            }
        }
        repaired += self.repair_reported(&mut open)?;
        while let Err(ReadError::Corrupt { .. }) = open.log.read(LogIndex(0), LogIndex(u64::MAX), usize::MAX) {
            repaired += self.repair_reported(&mut open)?;
        }
        Ok(Survivor { sim, state, open, identity, members, cut, repaired })
    }

    fn open_repaired(&self, sim: &SimEnv) -> Result<(OpenLog, u32, bool), String> {
        let (mut repaired, mut options) = (0, options(self.segment_bytes_max));
        loop {
            let damage = match OpenLog::open(sim, options.clone()) {
                Ok(open) => return Ok((open, repaired, options.cut_unreadable_tail)),
                Err(OpenError::UnreadableTail { .. }) if !options.cut_unreadable_tail => {
                    options.cut_unreadable_tail = true;
                    continue;
                }
                Err(damage) => damage,
            };
            let Some(file) = file_of(&damage) else { return Err(damage.to_string()) };
            let folder = Folder::open(&sim.env(), &options).map_err(|error| error.to_string())?;
            let before = repaired;
            while let Some(lost) = folder.lost_in(&file).unwrap().into_iter().next() {
                let records = self.fetch(&lost).ok_or_else(|| damage.to_string())?;
                folder.repair(&lost, &records).map_err(|error| error.to_string())?;
                repaired += 1;
            }
            if repaired == before {
                return Err(damage.to_string());
            }
        }
    }

    fn repair_reported(&self, open: &mut OpenLog) -> Result<u32, String> {
        use futures::FutureExt as _;
        let mut repaired = 0;
        while let Some(index) = open.log.damage().next(None).now_or_never() {
            while let Some(lost) = open.log.lost_near(index).unwrap().into_iter().next() {
                let records = self.fetch(&lost.lost).ok_or("no peer holds it")?;
                open.run(|log, done| log.refill(lost, &records, done).unwrap());
                repaired += 1;
            }
            open.log.damage().settle(index);
        }
        Ok(repaired)
    }

    /// What the peers answer, through the encodings of the wire.
    fn fetch(&self, lost: &Lost) -> Option<Vec<Record>> {
        if lost.is_marks_only() {
            return Some(Vec::new());
        }
        self.peers.iter().find_map(|peer| futures::executor::block_on(gather(lost, &mut InMemory(&peer.log))).unwrap())
    }
}

/// A peer in the same memory, behind the encodings of the wire.
struct InMemory<'a>(&'a Log);

impl Holder for InMemory<'_> {
    async fn ask(&mut self, request: RangeRequest) -> io::Result<Option<Vec<Record>>> {
        let request = decode_request(&encode_request(&request)).unwrap();
        let records = self.0.matching(request, ANSWER_BYTES).unwrap();
        Ok(decode_answer(encode_answer(records.as_deref()).freeze()).unwrap())
    }
}

impl Survivor {
    /// Whether it mended this file from what it holds twice: its bytes are those from before the damage again.
    pub(super) fn mended(&self, rig: &Rig, file: &Path) -> bool {
        self.open.report.hard_state_repaired || self.sim.disk.content(file) == rig.stopped.content(file)
    }

    /// How many blocks of this file cannot be read.
    pub(super) fn lost_blocks(&self, file: &Path) -> usize {
        self.sim.disk.lost_blocks(file)
    }

    /// Stops it, and says what is left to find on its disk.
    pub(super) fn stop(self) -> inspect::Report {
        self.open.log.shutdown();
        inspect::verify(&self.sim.env(), dir()).unwrap()
    }

    /// What differs from what was stored before the damage; `None` if nothing does.
    pub(super) fn difference(&self) -> Option<String> {
        let expected = entries();
        let read = self.open.log.read(LogIndex(0), LogIndex(u64::MAX), usize::MAX);
        let claim = Claim { cluster: ClusterId(77), membership: membership().encode(), secret: None };
        let whole: Vec<_> = membership().nodes.into_iter().collect();
        match read {
            Err(error) => Some(format!("not readable: {error}")),
            Ok(read) if self.cut && expected.starts_with(&read) => None,
            Ok(read) if read != expected => {
                Some(format!("{} of {} entries, or other ones", read.len(), expected.len()))
            }
            Ok(_) if self.open.log.hard_state() != Some(hard_state()) => Some("another hard state".to_owned()),
            Ok(_) if self.identity.claim() != Some(claim) || !self.identity.is_used() => {
                Some("another identity".to_owned())
            }
            Ok(_) if self.state != STATE => Some("another state in the checkpoint".to_owned()),
            Ok(_) if self.members != whole => Some("other members".to_owned()),
            Ok(_) => None,
        }
    }
}
