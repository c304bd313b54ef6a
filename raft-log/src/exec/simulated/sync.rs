//! Locks and conditions between fibers, with the names of the standard library's. They are never poisoned: a process in
//! which a thread panicked is at its end.

use std::convert::Infallible;
use std::ops::{Deref, DerefMut};
use std::sync::{PoisonError, TryLockError};
use std::task::Waker;
use std::time::Duration;

use tokio::time::Instant;

use super::fiber::{could_wait, park, waker};

type Locked<T> = Result<T, Infallible>;

/// A lock. Whoever holds it may be stopped at a call of the disk; another fiber then waits.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T> {
    inside: std::sync::Mutex<T>,
    waiting: std::sync::Mutex<Vec<Waker>>,
}

/// Held until it is dropped.
pub(crate) struct MutexGuard<'a, T> {
    of: &'a Mutex<T>,
    guard: Option<std::sync::MutexGuard<'a, T>>,
}

fn wakers(of: &std::sync::Mutex<Vec<Waker>>) -> std::sync::MutexGuard<'_, Vec<Waker>> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Mutex<T> {
    pub(crate) fn lock(&self) -> Locked<MutexGuard<'_, T>> {
        loop {
            let guard = match self.inside.try_lock() {
                Ok(guard) => guard,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => {
                    wakers(&self.waiting).push(waker());
                    park(None);
                    continue;
                }
            };
            return Ok(MutexGuard { of: self, guard: Some(guard) });
        }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.guard.as_ref().expect("it is held until it is dropped")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("it is held until it is dropped")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.guard.take());
        // All of them, because some may have gone on for another reason.
        let all = std::mem::take(&mut *wakers(&self.of.waiting));
        all.into_iter().for_each(Waker::wake);
    }
}

/// A condition.
#[derive(Debug, Default)]
pub(crate) struct Condvar {
    waiting: std::sync::Mutex<Vec<Waker>>,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    pub(crate) fn timed_out(self) -> bool {
        self.0
    }
}

impl Condvar {
    /// Wakes all, because some may have gone on for another reason.
    pub(crate) fn notify_one(&self) {
        self.notify_all();
    }

    pub(crate) fn notify_all(&self) {
        let all = std::mem::take(&mut *wakers(&self.waiting));
        all.into_iter().for_each(Waker::wake);
    }

    fn wait_until<'a, T>(&self, guard: MutexGuard<'a, T>, until: Option<Instant>) -> MutexGuard<'a, T> {
        let of = guard.of;
        wakers(&self.waiting).push(waker());
        drop(guard);
        park(until);
        let Ok(guard) = of.lock();
        guard
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> Locked<MutexGuard<'a, T>> {
        Ok(self.wait_until(guard, None))
    }

    pub(crate) fn wait_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        mut goes_on: impl FnMut(&mut T) -> bool,
    ) -> Locked<MutexGuard<'a, T>> {
        while goes_on(&mut guard) {
            if std::thread::panicking() {
                break;
            }
            guard = self.wait_until(guard, None);
        }
        Ok(guard)
    }

    pub(crate) fn wait_timeout<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        longest: Duration,
    ) -> Locked<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let until = Instant::now() + longest;
        let guard = self.wait_until(guard, Some(until));
        Ok((guard, WaitTimeoutResult(Instant::now() >= until || !could_wait())))
    }

    pub(crate) fn wait_timeout_while<'a, T>(
        &self,
        mut guard: MutexGuard<'a, T>,
        longest: Duration,
        mut goes_on: impl FnMut(&mut T) -> bool,
    ) -> Locked<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let until = Instant::now() + longest;
        loop {
            if !goes_on(&mut guard) {
                return Ok((guard, WaitTimeoutResult(false)));
            }
            if Instant::now() >= until {
                return Ok((guard, WaitTimeoutResult(true)));
            }
            guard = self.wait_until(guard, Some(until));
            if !could_wait() {
                let timed_out = goes_on(&mut guard);
                return Ok((guard, WaitTimeoutResult(timed_out)));
            }
        }
    }
}
