//! Rules that the simulation undoes one at a time, to show that it notices, and a bound that it makes smaller. None outside of
//! tests, where these are constants.

/// A rule that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A body that moves stays counted where it lay.
    CountStays,
    /// A trim looks at nothing that is needed.
    NeededIgnored,
    /// A relocation does not ask whether its holder still needs the body that lay there.
    StaleMove,
    /// Queues follow to where retention wants the start, not to where it is.
    SweepTooFar,
    /// A handle settles whatever delivery of its message there is.
    OldHandleCounts,
    /// A lease ends, and what is on it does not.
    LeaseEndsNothing,
    /// A flush leaves out the records that are held back.
    LateForgotten,
    /// Nothing of a message group follows what is done with.
    TailStays,
    /// Message groups are not held back.
    OrderIgnored,
    /// What a producer has stored is not kept, and its repeat is stored again.
    RepeatStored,
    /// A delivery that comes again has the number of the last one.
    AttemptStays,
    /// What is hidden anew stays on its lease, and is over when that is.
    LeaseStays,
    /// A receive makes its client's lease live no longer.
    LeaseNotExtended,
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Bug>> = const { std::cell::Cell::new(None) };
    static SMALL_TICKS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// What one tick does if it does little: deliveries that it ends, and messages that it dead-letters.
#[cfg(test)]
const SMALL_TICK: (usize, usize) = (3, 2);

/// What one tick does at most, where this is the usual bound.
#[cfg(test)]
pub(crate) fn tick_of(usual: (usize, usize)) -> (usize, usize) {
    if SMALL_TICKS.get() { SMALL_TICK } else { usual }
}

/// What one tick does at most: the usual.
#[cfg(not(test))]
pub(crate) const fn tick_of(usual: (usize, usize)) -> (usize, usize) {
    usual
}

/// Queues that one sweep looks at and moves if it does little.
#[cfg(test)]
const SMALL_SWEEP: (usize, usize) = (1, 1);

/// Queues that one sweep looks at and moves at most, where this is the usual bound.
#[cfg(test)]
pub(crate) fn sweep_of(usual: (usize, usize)) -> (usize, usize) {
    if SMALL_TICKS.get() { SMALL_SWEEP } else { usual }
}

/// Queues that one sweep looks at and moves at most: the usual.
#[cfg(not(test))]
pub(crate) const fn sweep_of(usual: (usize, usize)) -> (usize, usize) {
    usual
}

/// Ticks and sweeps of this thread do little, or as usual.
#[cfg(test)]
pub(crate) fn small_ticks(small: bool) {
    SMALL_TICKS.set(small);
}

/// Whether this rule is undone.
#[cfg(test)]
pub(crate) fn is(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether this rule is undone: never.
#[cfg(not(test))]
pub(crate) const fn is(_: Bug) -> bool {
    false
}

/// Undoes a rule on this thread, or none.
#[cfg(test)]
pub(crate) fn plant(bug: Option<Bug>) {
    PLANTED.set(bug);
}

#[cfg(test)]
impl Bug {
    pub(crate) const ALL: [Bug; 13] = [
        Bug::CountStays,
        Bug::NeededIgnored,
        Bug::StaleMove,
        Bug::SweepTooFar,
        Bug::OldHandleCounts,
        Bug::LeaseEndsNothing,
        Bug::LateForgotten,
        Bug::TailStays,
        Bug::OrderIgnored,
        Bug::RepeatStored,
        Bug::AttemptStays,
        Bug::LeaseStays,
        Bug::LeaseNotExtended,
    ];
}
