//! What can happen to a group.

use std::collections::BTreeMap;

/// How often faults of each kind took effect.
pub type Effects = BTreeMap<Kind, u64>;

use std::fmt;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])* $kind:ident = $name:literal,)*) => {
        /// What can happen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind { $($(#[doc = $doc])* $kind,)* }

        impl Kind {
            /// All of them.
            pub const ALL: [Kind; [$(Kind::$kind),*].len()] = [$(Kind::$kind),*];

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Kind::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    /// A process dies; its host goes on.
    Kill = "process killed",
    /// A host loses power, and everything that was not synced.
    PowerLoss = "power lost",
    /// A host loses power; of what was not synced, parts survive.
    TornWrite = "power lost, torn writes",
    /// The power goes off in the midst of the disk's work.
    MidWrite = "power lost within a write",
    /// All hosts lose power at once.
    Blackout = "power lost everywhere",
    /// All processes die at once.
    KillAll = "all processes killed",
    /// A process ends as it should and starts again.
    Restart = "orderly restart",
    /// A sync fails.
    SyncError = "failed sync",
    /// A write fails.
    WriteError = "failed write",
    /// A read fails.
    ReadError = "failed read",
    /// A disk is full for a while.
    DiskFull = "full disk",
    /// One bit of one file changes, on a minority of the voters.
    BitFlip = "flipped bit",
    /// A device cannot read a block of one file any more, on a minority of the voters.
    BadSector = "bad sector",
    /// A disk is slow for a while.
    SlowDisk = "slow disk",
    /// A sync hangs for longer than the limit after which a node keeps out of elections.
    HungSync = "hung sync",
    /// The leader is cut off from all others.
    CutLeader = "leader cut off",
    /// A node that does not lead is cut off.
    CutFollower = "follower cut off",
    /// One direction between two nodes is cut.
    CutOneWay = "one way cut",
    /// Two nodes do not reach each other, but both reach the others.
    CutPair = "pair cut",
    /// Some nodes do not reach the others.
    Split = "split in two",
    /// Five or more voters: the leader reaches one other, one is alone, and all but these two reach each other and that one.
    Bridge = "bridge partition",
    /// All links take longer than a heartbeat for a while.
    FarApart = "far apart",
    /// Links are slow for a while.
    Delay = "slow link",
    /// The streams between two nodes break.
    Reset = "streams reset",
    /// All streams between all nodes break at once.
    ResetAll = "all streams reset",
    /// A host that is no member connects, says nothing, half of something, or nonsense, and stays.
    Stranger = "stranger connects",
    /// A process stands still for less than an election takes.
    PauseShort = "short pause",
    /// A process stands still for longer than an election takes.
    PauseLong = "long pause",
    /// A wall clock jumps.
    ClockJump = "clock jump",
    /// A wall clock runs fast or slow from now on.
    ClockDrift = "clock drift",
    /// Leadership is handed over.
    Transfer = "leadership handed over",
    /// A node's disk is replaced by an empty one.
    Wipe = "wiped disk",
    /// A fresh node joins.
    Learner = "learner added",
    /// A learner gets a vote.
    Promote = "learner promoted",
    /// A voter loses its vote.
    Demote = "voter demoted",
    /// A member leaves.
    Remove = "member removed",
    /// A fresh node takes a member's place; a lost one's if there is any.
    Swap = "member replaced",
    /// Leaders are cut off one after the other, so that an entry of the first comes back with the third.
    LeadersInTurn = "leaders cut off in turn",
    /// A follower is away until the others have purged what it lacks.
    LeftBehind = "follower left behind",
    /// A follower's disk is put back as it was earlier.
    OlderCopy = "older copy put back",
    /// A leader that was cut off dies while the end of its log is overwritten.
    OverwrittenTail = "overwritten tail",
}

impl Kind {
    /// Whether `async` durability promises to survive it. It survives the loss of one machine's power at a time.
    #[must_use]
    pub fn spares_unsynced(self) -> bool {
        use Kind::{
            BadSector, BitFlip, Blackout, DiskFull, MidWrite, OlderCopy, SyncError, TornWrite, Wipe, WriteError,
        };
        let power = matches!(self, TornWrite | MidWrite | Blackout | OlderCopy);
        !power && !matches!(self, SyncError | WriteError | BitFlip | BadSector | Wipe | DiskFull)
    }

    /// Whether it goes on for several steps, alone, and only in runs whose settings ask for it.
    #[must_use]
    pub fn is_scripted(self) -> bool {
        matches!(self, Kind::LeadersInTurn | Kind::LeftBehind | Kind::OlderCopy | Kind::OverwrittenTail)
    }

    /// Whether it ends one process, which starts again.
    #[must_use]
    pub fn restarts_one(self) -> bool {
        matches!(self, Kind::Kill | Kind::PowerLoss | Kind::TornWrite | Kind::MidWrite | Kind::Restart)
    }

    /// Whether it is an operator's call at the leader.
    #[must_use]
    pub fn changes_members(self) -> bool {
        matches!(self, Kind::Learner | Kind::Promote | Kind::Demote | Kind::Remove | Kind::Swap)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
