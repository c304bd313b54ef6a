//! The network's state and its one task, which delivers what is due.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::env::Rng as _;
use crate::env::sim::SeededRng;
use crate::sim::net::pipe::{Link, Piece, Pipe, PipeId};
use crate::sim::trace;

/// So long after a host fell silent for good, who reads from it is told that the stream is broken: every stream is guarded by
/// the kernel's keepalive (see `guard` of the network's own module).
const KEEPALIVE: Duration = Duration::from_secs(5);
/// Latency of a link in milliseconds, unless a test sets another: least and most.
const LATENCY_MILLIS: (u64, u64) = (0, 2);

/// The network of this thread's simulation; clones are the same.
#[derive(Clone)]
pub struct Network {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    sent: Notify,
}

thread_local! {
    static NETWORK: RefCell<Option<Network>> = const { RefCell::new(None) };
}

/// What the faults of a test did: a fault that took no effect proves nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounts {
    /// Pieces of streams that a cut link held back.
    pub held: u64,
    /// Pieces that a host without power did not receive.
    pub lost: u64,
    /// Streams that were reset, by a test or because their host forgot them.
    pub resets: u64,
    /// Pieces delivered.
    pub delivered: u64,
    /// Streams begun.
    pub dialed: u64,
}

#[derive(Default)]
struct Host {
    on: bool,
    /// Counts how often it was switched on.
    boot: u64,
    listeners: BTreeMap<u16, Listening>,
}

/// A stream that reached its host, as that host has it.
#[derive(Clone, Copy)]
pub(super) struct Accepted {
    pub(super) ends: Ends,
    pub(super) from: SocketAddr,
}

/// Of a stream: the direction that one host reads, and the one that it writes.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) read: PipeId,
    pub(super) write: PipeId,
}

#[derive(Default)]
struct Listening {
    id: u64,
    accepted: VecDeque<Accepted>,
    waker: Option<Waker>,
}

pub(super) struct State {
    rng: SeededRng,
    hosts: BTreeMap<IpAddr, Host>,
    pub(super) names: BTreeMap<String, IpAddr>,
    pub(super) pipes: BTreeMap<PipeId, Pipe>,
    next_id: u64,
    cut: Vec<Link>,
    latency: BTreeMap<Link, (u64, u64)>,
    /// When which pipe has something due; the middle number breaks ties by chance.
    due: BinaryHeap<Reverse<(Instant, u64, PipeId)>>,
    counts: NetworkCounts,
}

impl Network {
    /// The network of the simulation that runs on this thread.
    pub(super) fn current() -> Network {
        NETWORK.with_borrow(|network| network.clone().expect("sockets are used inside a simulation"))
    }

    /// Makes a network for this thread and starts its task.
    pub(in crate::sim) fn install(seed: u64) -> Network {
        let state = State {
            rng: SeededRng::new(seed ^ 0x006e_6574),
            hosts: BTreeMap::new(),
            names: BTreeMap::new(),
            pipes: BTreeMap::new(),
            next_id: 1,
            cut: Vec::new(),
            latency: BTreeMap::new(),
            due: BinaryHeap::new(),
            counts: NetworkCounts::default(),
        };
        let network = Network { shared: Arc::new(Shared { state: Mutex::new(state), sent: Notify::new() }) };
        NETWORK.set(Some(network.clone()));
        tokio::spawn(deliver(network.clone()));
        network
    }

    /// Ends the network.
    pub(in crate::sim) fn uninstall() {
        NETWORK.set(None);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches a host on: what streams it had before are reset once they are used.
    pub fn power_on(&self, host: IpAddr) {
        let mut state = self.lock();
        let host = state.hosts.entry(host).or_default();
        if !host.on {
            host.on = true;
            host.boot += 1;
        }
    }

    /// Switches a host off: it is silent, and whatever it has not sent is gone.
    pub fn power_off(&self, host: IpAddr) {
        let listeners = {
            let mut state = self.lock();
            state.give_up_streams_from(host);
            let entry = state.hosts.entry(host).or_default();
            entry.on = false;
            std::mem::take(&mut entry.listeners)
        };
        listeners.into_values().for_each(|listening| self.leave_all(listening));
    }

    /// Cuts or mends the way from one host to another; the way back is another link.
    pub fn set_cut(&self, from: IpAddr, to: IpAddr, cut: bool) {
        let mut state = self.lock();
        state.cut.retain(|link| *link != (from, to));
        if cut {
            state.cut.push((from, to));
            return;
        }
        let now = Instant::now();
        let held: Vec<PipeId> = state
            .pipes
            .iter()
            .filter(|(_, pipe)| pipe.link == (from, to) && !pipe.in_flight.is_empty())
            .map(|(id, _)| *id)
            .collect();
        for id in held {
            let tie = state.rng.next_u64();
            // Senders try again at intervals of their own.
            let at = now + Duration::from_millis(1 + state.rng.below(30));
            state.due.push(Reverse((at, tie, id)));
        }
        drop(state);
        self.shared.sent.notify_one();
    }

    /// How long pieces travel from one host to another, in milliseconds; `None` for the usual.
    pub fn set_latency_millis(&self, from: IpAddr, to: IpAddr, latency: Option<(u64, u64)>) {
        let mut state = self.lock();
        match latency {
            Some(latency) => state.latency.insert((from, to), latency),
            None => state.latency.remove(&(from, to)),
        };
    }

    /// Breaks all streams between two hosts; both ends are told.
    pub fn reset_streams(&self, one: IpAddr, other: IpAddr) -> usize {
        let mut state = self.lock();
        let ids: Vec<PipeId> = state
            .pipes
            .iter()
            .filter(|(_, pipe)| (pipe.link == (one, other) || pipe.link == (other, one)) && !pipe.reset)
            .map(|(id, _)| *id)
            .collect();
        for id in &ids {
            state.break_pipe(*id);
        }
        ids.len()
    }

    /// Breaks all streams of all hosts, as a firewall does that forgets its connections; both ends are told.
    pub fn reset_all(&self) -> usize {
        let mut state = self.lock();
        let ids: Vec<PipeId> = state.pipes.iter().filter(|(_, pipe)| !pipe.reset).map(|(id, _)| *id).collect();
        for id in &ids {
            state.break_pipe(*id);
        }
        ids.len()
    }

    /// Whether pieces travel from one host to another as usual: the way is neither cut nor slow.
    #[must_use]
    pub fn is_clear(&self, from: IpAddr, to: IpAddr) -> bool {
        let state = self.lock();
        !state.cut.contains(&(from, to)) && !state.latency.contains_key(&(from, to))
    }

    /// What happened so far.
    #[must_use]
    pub fn counts(&self) -> NetworkCounts {
        self.lock().counts
    }

    /// Listens there; the number is to be told with [`Network::unlisten`].
    pub(super) fn listen(&self, address: SocketAddr) -> io::Result<u64> {
        let mut state = self.lock();
        let id = state.new_id();
        let host = state.hosts.entry(address.ip()).or_default();
        if !host.on {
            return Err(io::Error::other("the host is off"));
        }
        if host.listeners.contains_key(&address.port()) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        host.listeners.insert(address.port(), Listening { id, ..Listening::default() });
        Ok(id)
    }

    pub(super) fn unlisten(&self, address: SocketAddr, id: u64) {
        let removed = {
            let mut state = self.lock();
            let Some(host) = state.hosts.get_mut(&address.ip()) else { return };
            match host.listeners.get(&address.port()) {
                Some(listening) if listening.id == id => host.listeners.remove(&address.port()),
                _ => None,
            }
        };
        if let Some(listening) = removed {
            self.leave_all(listening);
        }
    }

    /// Nobody listens any more: what was not accepted is dropped.
    fn leave_all(&self, listening: Listening) {
        listening.accepted.into_iter().for_each(|accepted| self.leave_both(accepted.ends));
    }

    pub(super) fn next_accepted(&self, address: SocketAddr, id: u64, waker: &Waker) -> io::Result<Option<Accepted>> {
        let mut state = self.lock();
        let listening = state.hosts.get_mut(&address.ip()).and_then(|host| host.listeners.get_mut(&address.port()));
        let Some(listening) = listening.filter(|listening| listening.id == id) else {
            return Err(io::Error::other("the socket is closed"));
        };
        let accepted = listening.accepted.pop_front();
        if accepted.is_none() {
            listening.waker = Some(waker.clone());
        }
        Ok(accepted)
    }

    /// Both directions of a new stream, and its first piece under way.
    pub(super) fn dial(&self, from: IpAddr, to: SocketAddr) -> Ends {
        let (forth, back) = {
            let mut state = self.lock();
            let (forth, back) = (state.new_id(), state.new_id());
            let boots = (state.boot(from), state.boot(to.ip()));
            state.pipes.insert(forth, Pipe::new((from, to.ip()), boots, back));
            state.pipes.insert(back, Pipe::new((to.ip(), from), (boots.1, boots.0), forth));
            state.counts.dialed += 1;
            state.send(forth, Piece::Syn(to));
            (forth, back)
        };
        self.shared.sent.notify_one();
        Ends { read: back, write: forth }
    }

    pub(super) fn send(&self, pipe: PipeId, piece: Piece) {
        self.lock().send(pipe, piece);
        self.shared.sent.notify_one();
    }

    /// A stream is dropped, with both its ends here.
    fn leave_both(&self, ends: Ends) {
        self.leave(ends.read, false);
        self.leave(ends.write, true);
    }

    /// One end of a direction is dropped.
    pub(super) fn leave(&self, id: PipeId, as_writer: bool) {
        let mut state = self.lock();
        let Some(pipe) = state.pipes.get_mut(&id) else { return };
        if as_writer {
            if !std::mem::replace(&mut pipe.writer_gone, true) {
                state.send(id, Piece::End);
            }
        } else {
            pipe.reader_gone = true;
            if let Some(writer) = pipe.writer.take() {
                writer.wake();
            }
        }
        state.forget_if_done(id);
        drop(state);
        self.shared.sent.notify_one();
    }
}

/// Delivers what is due, for as long as the simulation lasts.
async fn deliver(network: Network) {
    loop {
        let (next, refused) = network.lock().advance(Instant::now());
        refused.into_iter().for_each(|ends| network.leave_both(ends));
        let sent = network.shared.sent.notified();
        match next {
            Some(at) => drop(tokio::time::timeout_at(at, sent).await),
            None => sent.await,
        }
    }
}

impl State {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn boot(&self, host: IpAddr) -> u64 {
        self.hosts.get(&host).map_or(0, |host| host.boot)
    }

    fn is_on(&self, host: IpAddr) -> bool {
        self.hosts.get(&host).is_some_and(|host| host.on)
    }

    fn send(&mut self, id: PipeId, piece: Piece) {
        let Some(pipe) = self.pipes.get(&id) else { return };
        let (link, boots) = (pipe.link, pipe.boots);
        if pipe.reset || !self.is_on(link.0) || self.boot(link.0) != boots.0 {
            return;
        }
        let (least, most) = self.latency.get(&link).copied().unwrap_or(LATENCY_MILLIS);
        let travel = Duration::from_millis(least + self.rng.below(most - least + 1));
        let pipe = self.pipes.get_mut(&id).expect("it was there above");
        let after = pipe.in_flight.back().map(|(at, _)| *at);
        let at = (Instant::now() + travel).max(after.unwrap_or_else(Instant::now));
        pipe.in_flight.push_back((at, piece));
        let tie = self.rng.next_u64();
        self.due.push(Reverse((at, tie, id)));
    }

    /// Delivers all that is due; says when the next is, and what nobody accepts.
    fn advance(&mut self, now: Instant) -> (Option<Instant>, Vec<Ends>) {
        let mut refused = Vec::new();
        loop {
            match self.due.peek() {
                Some(Reverse((at, _, _))) if *at <= now => {
                    let Some(Reverse((_, _, id))) = self.due.pop() else { continue };
                    self.advance_pipe(id, now, &mut refused);
                }
                next => return (next.map(|Reverse((at, _, _))| *at), refused),
            }
        }
    }

    /// Whoever still reads from this host, which falls silent, finds out in the end.
    fn give_up_streams_from(&mut self, host: IpAddr) {
        let at = Instant::now() + KEEPALIVE;
        for (id, pipe) in self.pipes.iter_mut().filter(|(_, pipe)| pipe.link.0 == host && pipe.given_up.is_none()) {
            pipe.given_up = Some(at);
            self.due.push(Reverse((at, self.rng.next_u64(), *id)));
        }
    }

    fn advance_pipe(&mut self, id: PipeId, now: Instant, refused: &mut Vec<Ends>) {
        if self.pipes.get(&id).and_then(|pipe| pipe.given_up).is_some_and(|at| at <= now) {
            return self.break_stream(id);
        }
        loop {
            let Some(pipe) = self.pipes.get_mut(&id) else { return };
            let link = pipe.link;
            let Some((at, _)) = pipe.in_flight.front() else { break };
            if *at > now {
                return;
            }
            if self.cut.contains(&link) {
                self.counts.held += 1;
                return;
            }
            let boots = pipe.boots;
            let Some((_, piece)) = pipe.in_flight.pop_front() else { break };
            if !self.is_on(link.1) {
                self.counts.lost += 1;
                continue;
            }
            if self.boot(link.1) != boots.1 && !matches!(piece, Piece::Syn(_)) {
                self.counts.resets += 1;
                self.break_stream(id);
                return;
            }
            trace::note(id);
            self.counts.delivered += 1;
            self.arrive(id, piece, refused);
        }
        self.forget_if_done(id);
    }

    fn arrive(&mut self, id: PipeId, piece: Piece, refused: &mut Vec<Ends>) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        match piece {
            Piece::Syn(to) => return self.accept(id, to, refused),
            Piece::Established => pipe.established = true,
            Piece::Bytes(bytes) if pipe.reader_gone => {
                pipe.bytes -= bytes.len();
                let reverse = pipe.reverse;
                pipe.reset = true;
                pipe.wake();
                self.send(reverse, Piece::Reset);
                return;
            }
            Piece::Bytes(bytes) => pipe.ready.push_back(bytes),
            Piece::End => pipe.ended = true,
            Piece::Reset => return self.break_stream(id),
        }
        pipe.wake();
    }

    /// A stream reached its host: somebody listens there, or it is refused.
    fn accept(&mut self, forth: PipeId, to: SocketAddr, refused: &mut Vec<Ends>) {
        let Some(pipe) = self.pipes.get_mut(&forth) else { return };
        let (back, from) = (pipe.reverse, pipe.link.0);
        let boot = self.boot(to.ip());
        if let Some(pipe) = self.pipes.get_mut(&forth) {
            pipe.boots.1 = boot;
            pipe.established = true;
        }
        if let Some(pipe) = self.pipes.get_mut(&back) {
            pipe.boots.0 = boot;
        }
        let listening = self.hosts.get_mut(&to.ip()).and_then(|host| host.listeners.get_mut(&to.port()));
        match listening {
            Some(listening) => {
                let ends = Ends { read: forth, write: back };
                listening.accepted.push_back(Accepted { ends, from: SocketAddr::new(from, 0) });
                if let Some(waker) = listening.waker.take() {
                    waker.wake();
                }
                self.send(back, Piece::Established);
            }
            None => {
                self.send(back, Piece::Reset);
                refused.push(Ends { read: forth, write: back });
            }
        }
    }

    /// Both directions are of no use any more.
    fn break_stream(&mut self, id: PipeId) {
        let reverse = self.pipes.get(&id).map(|pipe| pipe.reverse);
        self.break_pipe(id);
        if let Some(reverse) = reverse {
            self.break_pipe(reverse);
        }
    }

    fn break_pipe(&mut self, id: PipeId) {
        let Some(pipe) = self.pipes.get_mut(&id) else { return };
        if !pipe.reset {
            self.counts.resets += 1;
            pipe.reset = true;
            pipe.in_flight.clear();
            pipe.wake();
        }
        self.forget_if_done(id);
    }

    fn forget_if_done(&mut self, id: PipeId) {
        let done = |pipe: &Pipe| pipe.reader_gone && pipe.writer_gone && pipe.in_flight.is_empty();
        if self.pipes.get(&id).is_some_and(done) {
            self.pipes.remove(&id);
        }
    }
}
