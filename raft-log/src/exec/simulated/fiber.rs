//! A thread of a simulated process: code with a stack of its own that stops where a thread might be held up.
//!
//! ```text
//!   task of the process ──resume──► fiber ── calls the disk, waits ──► suspend: back in the task, until it is woken
//! ```
//! Outside of fibers, and on those of killed processes, nothing stops: calls of the disk are done at once. Somebody who is
//! not on a fiber and joins a thread drives it to its end on the spot, with all that it waits for.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use openraft::AsyncRuntime as _;
use tokio::time::{Instant, Sleep};

use crate::sim::{Call, Process, SimRuntime};

/// So many of 100 calls of the disk that take no time still let others go first.
const CALL_YIELDS_PERCENT: u64 = 15;
/// Stacks that are kept for later fibers.
const STACKS_MAX: usize = 64;
/// Rounds in which threads that are joined from outside of fibers must end.
const ROUNDS_MAX: u32 = 100_000;

/// Until when a fiber need not go on; it may all the same, and looks whether what it waits for has come.
enum Pause {
    /// Others go first.
    Again,
    /// Somebody wakes it, or the time has come.
    Parked(Option<Instant>),
}

type Stackful = Coroutine<Waker, Pause, (), DefaultStack>;
type OfFiber = Yielder<Waker, Pause>;

struct Entry {
    /// `None` while it runs.
    code: Option<Stackful>,
    process: Process,
    joiners: Vec<Waker>,
}

thread_local! {
    static FIBERS: RefCell<BTreeMap<u64, Entry>> = const { RefCell::new(BTreeMap::new()) };
    static STACKS: RefCell<Vec<DefaultStack>> = const { RefCell::new(Vec::new()) };
    static NEXT_ID: Cell<u64> = const { Cell::new(0) };
    /// The running fiber's way back, and the waker of its task.
    static RUNNING: RefCell<Option<(NonNull<OfFiber>, Waker)>> = const { RefCell::new(None) };
    /// Somebody waits on the spot: no call takes time.
    static HURRY: Cell<bool> = const { Cell::new(false) };
}

/// See the module.
pub(super) struct Fiber(u64);

impl Fiber {
    /// Starts one for the present process. Without a process, it runs to its end at once.
    pub(super) fn spawn(run: impl FnOnce() + Send + 'static) -> Fiber {
        let id = NEXT_ID.replace(NEXT_ID.get() + 1);
        let Some(process) = Process::current().filter(|process| !process.is_killed()) else {
            run();
            return Fiber(id);
        };
        // A coroutine takes over no more than 1 KiB, and futures are larger.
        let run: Box<dyn FnOnce() + Send> = Box::new(run);
        let stack = STACKS.with_borrow_mut(Vec::pop).unwrap_or_default();
        let code = Coroutine::with_stack(stack, move |back: &OfFiber, waker| {
            RUNNING.set(Some((NonNull::from(back), waker)));
            run();
        });
        let entry = Entry { code: Some(code), process, joiners: Vec::new() };
        FIBERS.with_borrow_mut(|fibers| fibers.insert(id, entry));
        drop(SimRuntime::spawn(Driver { id, sleep: None }));
        Fiber(id)
    }

    /// Returns once it has ended.
    pub(super) fn join(self) {
        let Some(process) = FIBERS.with_borrow(|fibers| Some(fibers.get(&self.0)?.process.clone())) else { return };
        if process.is_killed() || std::thread::panicking() {
            return;
        }
        let runs = FIBERS.with_borrow(|fibers| fibers.get(&self.0).is_some_and(|entry| entry.code.is_none()));
        if runs {
            // It joins itself, as a callback on it may.
            return;
        }
        if !on_fiber() {
            return drive(self.0, &process);
        }
        while FIBERS
            .with_borrow_mut(|fibers| fibers.get_mut(&self.0).map(|entry| entry.joiners.push(waker())))
            .is_some()
        {
            park(None);
        }
    }
}

fn on_fiber() -> bool {
    RUNNING.with_borrow(Option::is_some)
}

/// Drives a fiber to its end, and those that it waits for.
fn drive(id: u64, process: &Process) {
    let hurry = HURRY.replace(true);
    let mut rounds = 0;
    while FIBERS.with_borrow(|fibers| fibers.contains_key(&id)) {
        rounds += 1;
        assert!(rounds < ROUNDS_MAX, "a thread that is joined never ends");
        let of_process: Vec<u64> = FIBERS.with_borrow(|fibers| {
            let same = fibers.iter().filter(|(_, entry)| entry.process.is(process));
            same.map(|(id, _)| *id).collect()
        });
        for id in of_process {
            let _pause = process.enter(|| resume(id, Waker::noop().clone()));
        }
    }
    HURRY.set(hurry);
}

/// Lets it go on until its next pause; `None` if it has ended or runs already.
fn resume(id: u64, waker: Waker) -> Option<Pause> {
    let mut code = FIBERS.with_borrow_mut(|fibers| fibers.get_mut(&id)?.code.take())?;
    let _outer = Outer(RUNNING.take());
    let mut ends = Ends(Some(id));
    let result = code.resume(waker);
    match result {
        CoroutineResult::Yield(pause) => {
            ends.0 = None;
            FIBERS.with_borrow_mut(|fibers| {
                if let Some(entry) = fibers.get_mut(&id) {
                    entry.code = Some(code);
                }
            });
            Some(pause)
        }
        CoroutineResult::Return(()) => {
            STACKS.with_borrow_mut(|stacks| {
                if stacks.len() < STACKS_MAX {
                    stacks.push(code.into_stack());
                }
            });
            None
        }
    }
}

/// Whoever resumed a fiber may be one.
struct Outer(Option<(NonNull<OfFiber>, Waker)>);

impl Drop for Outer {
    fn drop(&mut self) {
        RUNNING.set(self.0.take());
    }
}

/// A fiber that has ended, by a panic or not, is forgotten.
struct Ends(Option<u64>);

impl Drop for Ends {
    fn drop(&mut self) {
        let entry = self.0.and_then(|id| FIBERS.with_borrow_mut(|fibers| fibers.remove(&id)));
        entry.into_iter().flat_map(|entry| entry.joiners).for_each(Waker::wake);
    }
}

/// The task of a fiber.
struct Driver {
    id: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Driver {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let pause = resume(self.id, context.waker().clone());
        if pause.is_none() {
            return Poll::Ready(());
        }
        self.sleep = match pause {
            Some(Pause::Parked(Some(until))) => Some(Box::pin(tokio::time::sleep_until(until))),
            _ => None,
        };
        let due = self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(context).is_ready());
        if due || matches!(pause, Some(Pause::Again)) {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Of a killed process: its stack is unwound, and nothing on it stops any more.
        let outer = Outer(RUNNING.take());
        drop(FIBERS.with_borrow_mut(|fibers| fibers.remove(&self.id)));
        drop(outer);
    }
}

fn suspend(pause: Pause) {
    let Some((back, _)) = RUNNING.take() else { return };
    // SAFETY: it points into the running fiber's stack, which lives as long as the fiber runs; only `resume` sets and
    // resets it, around the very run in which it is valid.
    let waker = unsafe { back.as_ref() }.suspend(pause);
    RUNNING.set(Some((back, waker)));
}

/// The waker of the running fiber.
pub(super) fn waker() -> Waker {
    RUNNING.with_borrow(|running| running.as_ref().map_or_else(|| Waker::noop().clone(), |(_, waker)| waker.clone()))
}

/// Lets others go on until somebody wakes this fiber, at the latest at that moment; it may return before. Where nobody can
/// wait it is a broken invariant, except while a process is taken down.
pub(super) fn park(until: Option<Instant>) {
    assert!(on_fiber() || std::thread::panicking() || until.is_some(), "a task would wait for a thread");
    suspend(Pause::Parked(until));
}

/// Whether the present code could wait: it could not if somebody waits for it on the spot.
pub(crate) fn could_wait() -> bool {
    on_fiber() && !HURRY.get()
}

/// A call of the disk is made: it takes as long as the process's disk takes, and others go on meanwhile.
pub(crate) fn at_disk(call: Call) {
    let Some(process) = Process::current().filter(|_| could_wait()) else { return };
    let takes = process.disk_takes(call);
    if takes == Duration::ZERO {
        if process.chance(CALL_YIELDS_PERCENT) {
            suspend(Pause::Again);
        }
        return;
    }
    let until = Instant::now() + takes;
    while Instant::now() < until && could_wait() {
        suspend(Pause::Parked(Some(until)));
    }
}
