//! One life of a simulated process: its tasks, and what a test does to them.

use std::cell::RefCell;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::Instant;

use crate::env::Rng as _;
use crate::env::sim::SeededRng;
use crate::sim::trace;

/// So many of 100 polls are put off behind whatever else is ready.
const PUT_OFF_PERCENT: u64 = 3;
/// So many of 100 tasks are late most of the time, all their lives: what always comes soon hides what depends on it.
const LATE_TASKS_PERCENT: u64 = 4;
/// So many of 100 of their polls are put off.
const LATE_PUT_OFF_PERCENT: u64 = 60;
/// So many of 100 reads of a slow disk are not served from memory.
const SLOW_READS_PERCENT: u64 = 30;

/// A process; clones are the same. A restart is a new one.
#[derive(Clone)]
pub struct Process {
    inner: Arc<Inner>,
}

struct Inner {
    address: IpAddr,
    rng: SeededRng,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    killed: bool,
    paused: bool,
    /// Tasks that wanted to run while the process was paused.
    waiting: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    disk_delay_millis: (u64, u64),
    read_delay_millis: u64,
    /// The next sync takes this long as well.
    disk_hangs: Duration,
    disk_hung_until: Option<Instant>,
}

/// What is asked of a disk, as far as its time differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Write,
    Sync,
    /// Of names.
    Folder,
}

thread_local! {
    static CURRENT: RefCell<Vec<Process>> = const { RefCell::new(Vec::new()) };
}

impl Process {
    /// A process on the host with this address; `seed` decides its randomness and the order of its tasks.
    #[must_use]
    pub fn new(address: IpAddr, seed: u64) -> Process {
        let state = Mutex::new(State { disk_delay_millis: (0, 1), ..State::default() });
        Process { inner: Arc::new(Inner { address, rng: SeededRng::new(seed), state }) }
    }

    /// The process that the code which calls this belongs to.
    #[must_use]
    pub fn current() -> Option<Process> {
        CURRENT.with_borrow(|stack| stack.last().cloned())
    }

    /// The host's address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.inner.address
    }

    /// Runs `work` as a task of this process, and everything that it spawns.
    pub fn spawn<T>(&self, work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T>
    where
        T: Send + 'static,
    {
        spawn_in(Some(self), work)
    }

    /// Ends the process at once: nothing of it runs again.
    pub fn kill(&self) {
        let tasks = {
            let mut state = self.state();
            state.killed = true;
            state.waiting.clear();
            std::mem::take(&mut state.tasks)
        };
        tasks.iter().for_each(AbortHandle::abort);
    }

    /// Stops or continues the process, as SIGSTOP and SIGCONT do. Its host goes on.
    pub fn set_paused(&self, paused: bool) {
        let mut state = self.state();
        state.paused = paused;
        if !paused {
            let waiting = std::mem::take(&mut state.waiting);
            drop(state);
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// How long each sync takes.
    pub fn set_disk_delay_millis(&self, least: u64, most: u64) {
        assert!(least <= most);
        self.state().disk_delay_millis = (least, most);
    }

    /// How long each read takes, whatever the syncs do.
    pub fn set_read_delay_millis(&self, millis: u64) {
        self.state().read_delay_millis = millis;
    }

    /// The next sync takes this long as well; zero takes the order back.
    pub fn hang_disk_once(&self, longest: Duration) {
        self.state().disk_hangs = longest;
    }

    /// Whether a sync hangs as [`Process::hang_disk_once`] ordered.
    #[must_use]
    pub fn is_disk_hung(&self) -> bool {
        self.state().disk_hung_until.is_some_and(|until| Instant::now() < until)
    }

    /// How long a call of the disk takes.
    pub(crate) fn disk_takes(&self, call: Call) -> Duration {
        let mut state = self.state();
        let (least, most) = state.disk_delay_millis;
        match call {
            Call::Sync => {
                let hangs = std::mem::take(&mut state.disk_hangs);
                if !hangs.is_zero() {
                    state.disk_hung_until = Some(Instant::now() + hangs);
                }
                hangs + Duration::from_millis(least + self.inner.rng.below(most - least + 1))
            }
            Call::Read if state.read_delay_millis > 0 => Duration::from_millis(state.read_delay_millis),
            // A disk that syncs slowly reads slowly, where the page cache does not help.
            Call::Read if least > 0 && self.inner.rng.chance(SLOW_READS_PERCENT) => Duration::from_millis(least),
            _ => Duration::ZERO,
        }
    }

    /// Whether it was killed.
    pub(crate) fn is_killed(&self) -> bool {
        self.state().killed
    }

    /// Whether both are the same process.
    pub(crate) fn is(&self, other: &Process) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// True in about `percent` of 100 calls.
    pub(crate) fn chance(&self, percent: u64) -> bool {
        self.inner.rng.chance(percent)
    }

    /// Runs `work` as this process.
    pub(crate) fn enter<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.with_borrow_mut(|stack| stack.push(self.clone()));
        let _leave = Leave;
        work()
    }

    pub(super) fn rng(&self) -> &SeededRng {
        &self.inner.rng
    }

    /// Remembers a task, so that it dies with the process.
    fn adopt(&self, task: AbortHandle) {
        let mut state = self.state();
        if state.killed {
            drop(state);
            task.abort();
            return;
        }
        if state.tasks.len() == state.tasks.capacity() {
            state.tasks.retain(|task| !task.is_finished());
        }
        state.tasks.push(task);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a task may run now; if not, `waker` is kept where it must be.
    fn may_run(&self, waker: &Waker) -> bool {
        let mut state = self.state();
        if state.paused && !state.killed {
            state.waiting.push(waker.clone());
        }
        !state.paused && !state.killed
    }
}

/// Starts a task, of this process if there is one.
pub(super) fn spawn_in<F>(process: Option<&Process>, work: F) -> JoinHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    let task = tokio::spawn(InProcess::new(process.cloned(), work));
    if let Some(process) = process {
        process.adopt(task.abort_handle());
    }
    task
}

/// A task of a process.
struct InProcess<F> {
    process: Option<Process>,
    put_off_percent: u64,
    work: Pin<Box<F>>,
}

impl<F> InProcess<F> {
    fn new(process: Option<Process>, work: F) -> InProcess<F> {
        let late = process.as_ref().is_some_and(|process| process.chance(LATE_TASKS_PERCENT));
        let put_off_percent = if late { LATE_PUT_OFF_PERCENT } else { PUT_OFF_PERCENT };
        InProcess { process, put_off_percent, work: Box::pin(work) }
    }
}

impl<F: Future> Future for InProcess<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Some(process) = self.process.clone() else { return self.work.as_mut().poll(context) };
        if !process.may_run(context.waker()) {
            return Poll::Pending;
        }
        if process.chance(self.put_off_percent) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        trace::note(process.rng().next_u64());
        process.enter(|| self.work.as_mut().poll(context))
    }
}

struct Leave;

impl Drop for Leave {
    fn drop(&mut self) {
        CURRENT.with_borrow_mut(|stack| stack.pop());
    }
}
