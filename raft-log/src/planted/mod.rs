//! Bugs on purpose: each undoes one rule at the place where it is kept, so that the simulation can show that it would
//! notice (`make sim-sensitivity`). Outside of the simulation there are none: [`is`] is a constant.

#[cfg_attr(not(tercet_sim), path = "no_acknowledged.rs")]
mod acknowledged;
#[cfg_attr(not(tercet_sim), path = "no_answers.rs")]
mod answers;

pub(crate) use acknowledged::Acknowledged;
pub(crate) use answers::Answers;

macro_rules! bugs {
    ($($(#[doc = $doc:literal])* $bug:ident = $name:literal,)*) => {
        /// A rule that is undone.
        #[cfg_attr(not(tercet_sim), expect(unreachable_pub, reason = "only the simulation plants bugs"))]
        #[cfg_attr(not(tercet_sim), expect(dead_code, reason = "those about answers are planted in the simulation's form of them"))]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Bug { $($(#[doc = $doc])* $bug,)* }

        #[cfg(tercet_sim)]
        impl Bug {
            /// All of them.
            pub const ALL: [Bug; [$(Bug::$bug),*].len()] = [$(Bug::$bug),*];

            /// Whether seeds find it. The others need a coincidence that no reasonable number of seeds makes; each is
            /// planted by a directed test that requires it to be noticed (`planted.rs` of the storage suite,
            /// `preparing.rs` here, `read_point.rs` of the simulation).
            #[must_use]
            pub fn is_found_by_seeds(self) -> bool {
                !matches!(
                    self,
                    Bug::SyncErrorShared
                        | Bug::StaleIndexBound
                        | Bug::EraseTakenForDone
                        | Bug::SlotsTakenForDisk
                        | Bug::ReadAcrossTruncation
                        | Bug::AnswerForLater
                )
            }

            /// Its name in reports.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Bug::$bug => $name,)* }
            }
        }
    };
}

bugs! {
    /// Records count as durable once they are written.
    AckBeforeFsync = "ack before fsync",
    /// A saved vote is not synced.
    UnsyncedVote = "unsynced vote",
    /// A restarted node has forgotten how it voted.
    ForgottenVote = "saved vote not read again",
    /// A vote is granted whatever the candidate's log holds.
    VoteForShorterLog = "vote for a shorter log",
    /// A truncated segment keeps the index of what was removed.
    IndexKept = "index of removed entries kept",
    /// A proposal whose outcome is unknown is made again.
    UnknownRepeated = "unknown proposal made again",
    /// What a checkpoint says about the members is not taken over.
    MembersNotRestored = "members of a checkpoint ignored",
    /// A node in doubt about what it has acknowledged goes on as before.
    DoubtIgnored = "doubt after a power loss ignored",
    /// A full disk ends the log instead of being waited out.
    FullDiskFatal = "full disk not waited out",
    /// A leader without a quorum goes on with its heartbeats (openraft #2080).
    QuorumNotProbed = "lost quorum not probed",
    /// Connections that close are taken for the leader's death.
    ClosedTakenForDead = "closed connections taken for death",
    /// What is read is not checked against a truncation meanwhile.
    ReadAcrossTruncation = "read across a truncation",
    /// A failed sync is only logged.
    SwallowedFsyncError = "swallowed fsync error",
    /// Zeroing syncs through the log's own open file, and takes a full disk for nobody's loss.
    SyncErrorShared = "sync error consumed by the zeroing",
    /// Recovery looks for the end of a recycled segment only near its last saved index.
    StaleIndexBound = "end of a recycled segment taken from a stale index",
    /// An opening believes that an erasure under way has reached the disk where the page cache shows zeroes.
    EraseTakenForDone = "failed erasure not done again",
    /// An opening writes the hard state again only if its slots differ.
    SlotsTakenForDisk = "hard state not written again",
    /// openraft's default: a restarted leader goes on in its term.
    LeaderRestore = "leader restored in its term",
    /// A truncation moves the end of the log and leaves the records.
    StaleRecordsLeft = "truncation leaves valid records",
    /// Recovery does not check the payload of the last records.
    TornTailTaken = "torn tail taken as valid",
    /// Recovery cuts below the durable mark as well.
    CorruptMiddleCut = "corrupt middle cut silently",
    /// The log is purged up to the newest checkpoint, whatever is needed.
    PurgedTooFar = "purge beyond what is needed",
    /// A checkpoint is sealed under an index that its state does not have.
    CheckpointAhead = "checkpoint ahead of its state",
    /// A checkpoint is sealed when it is begun, and written afterwards.
    CheckpointUnfinished = "checkpoint sealed before it is written",
    /// A read point is answered when what it covers is handed over to be applied.
    ReadBeforeApplied = "read before applied",
    /// A recycled segment keeps its salt, and recovery goes by the salt alone.
    RecycledMisread = "recycled segment misread",
    /// The handshake does not look at incarnations.
    WipedVoterReturns = "wiped voter returns",
    /// The state is flushed without waiting for the log.
    StateAheadOfLog = "state ahead of log",
    /// An entry that a new leader removed counts as surely not stored.
    DiscardedAsRefused = "discarded entry told as refused",
    /// A passed deadline counts as surely not stored.
    TimeoutAsRefused = "passed deadline told as refused",
    /// The names of new files are not synced.
    UnsyncedNames = "unsynced names",
    /// The durable mark claims what is only being written.
    MarkAhead = "durable mark ahead of the disk",
    /// Recovery takes what the page cache holds for what the disk holds.
    CacheTakenForDisk = "page cache taken for the disk",
    /// A read point is what this node knows as committed, without asking anybody.
    UnconfirmedRead = "unconfirmed read point",
    /// A leader tells as committed what a majority acknowledged, whatever its term (figure 8 of the Raft paper).
    OlderTermCommitted = "entry of an older term committed",
    /// What a learner acknowledged counts as a voter's answer.
    LearnerCounted = "learner counted in the quorum",
    /// A read point is confirmed by whatever openraft takes for an answer (hazards 33).
    AnswerForLater = "answer counted for a later request",
    /// What the device cannot read is not damage but the end of whoever reads it.
    ReadErrorFatal = "read error taken as fatal",
    /// The vote gate lets everything through.
    GatedVotes = "gated node votes",
    /// What is too old is decided by the leader's own wall clock, whatever the others show.
    RetentionByWrongClock = "retention by a wrong clock",
    /// A node whose folder is an older copy of itself is taken for what it was.
    OlderCopyTaken = "older copy not noticed",
    /// A follower that lost what it confirmed goes on as if nothing had happened.
    LogReversionAllowed = "log reversion allowed silently",
}

/// Whether this bug is planted.
#[cfg(not(tercet_sim))]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}

#[cfg(tercet_sim)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
}

/// Plants a bug into all simulations of this thread, or none.
#[cfg(tercet_sim)]
pub fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

/// Whether this bug is planted.
#[cfg(tercet_sim)]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}
