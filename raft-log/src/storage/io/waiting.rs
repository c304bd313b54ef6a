//! A log that lacks something of the machine: space, or file descriptors. No append fails because of that (hazards 9): the
//! job waits at the front, is tried again now and then, and what gives space back is done meanwhile.
//!
//! What is tried again is done again from its beginning, so only steps wait that allow it: a file that is written as a whole
//! (manifest, first hard state, the header of a new segment), a name that is given again. A sync of records is no such step: its
//! error is the end of the log whatever it says (hazards 31).

use std::io;
use std::time::Duration;

/// How long until the next attempt.
pub(crate) const RETRY_AFTER: Duration = Duration::from_millis(100);

/// What the first job waits for, if it waits.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// What the present attempt met.
    met: Option<Lack>,
    /// What the log waits for since the last attempt, and when the next one is due.
    since: Option<(Lack, Duration)>,
}

/// What passes when somebody else gives some of it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    Space,
    Descriptors,
}

impl Lack {
    fn of(error: &io::Error) -> Option<Lack> {
        let descriptors = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE].map(rustix::io::Errno::raw_os_error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Some(Lack::Space),
            _ if error.raw_os_error().is_some_and(|raw| descriptors.contains(&raw)) => Some(Lack::Descriptors),
            _ => None,
        }
    }
}

/// Whether a call failed for want of something that others may give back.
pub(crate) fn lacks_something(error: &io::Error) -> bool {
    Lack::of(error).is_some()
}

impl Waiting {
    /// Notes what a step that can be done again failed for.
    pub(super) fn met(&mut self, error: io::Error) -> io::Error {
        self.met = self.met.or(Lack::of(&error));
        error
    }

    /// Notes whether a step that can be done again failed for want of something.
    pub(super) fn try_again<T>(&mut self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| self.met(error))
    }

    /// The present attempt has met nothing, or what it met is dealt with.
    pub(super) fn forget_attempt(&mut self) {
        self.met = None;
    }

    /// Whether the job that was tried last must wait.
    pub(super) fn is_begun(&self) -> bool {
        self.met.is_some()
    }

    /// What the attempt met, which is dealt with now.
    pub(super) fn take_met(&mut self) -> Option<Lack> {
        self.met.take()
    }

    /// Whether the log waits since an earlier attempt.
    pub(super) fn goes_on(&self) -> bool {
        self.since.is_some()
    }

    /// It waits for this, until then.
    pub(super) fn wait_until(&mut self, lack: Lack, due: Duration) {
        self.since = Some((lack, due));
    }

    /// A job was done; `true` if the log waited before.
    pub(super) fn end(&mut self) -> bool {
        self.since.take().is_some()
    }

    /// The time until the next attempt has passed.
    pub(super) fn is_due(&mut self) {
        self.since = self.since.map(|(lack, _)| (lack, Duration::ZERO));
    }

    /// How long until the next attempt, if something waits.
    pub(super) fn pause(&self, now: Duration) -> Option<Duration> {
        self.since.map(|(_, due)| due.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_give_back_is_waited_for_and_nothing_else() {
        let raw = |errno: rustix::io::Errno| io::Error::from_raw_os_error(errno.raw_os_error());
        let lack = |errno| Lack::of(&raw(errno));
        use rustix::io::Errno;
        assert_eq!([Errno::NOSPC, Errno::DQUOT].map(lack), [Some(Lack::Space); 2]);
        assert_eq!([Errno::MFILE, Errno::NFILE].map(lack), [Some(Lack::Descriptors); 2]);
        assert_eq!([Errno::IO, Errno::ACCESS, Errno::NOENT].map(lack), [None; 3]);
        let mut waiting = Waiting::default();
        drop(waiting.try_again::<()>(Err(raw(Errno::IO))));
        assert!(!waiting.is_begun());
        drop(waiting.try_again::<()>(Err(raw(Errno::MFILE))));
        assert!(waiting.is_begun());
    }
}
