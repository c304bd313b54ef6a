//! A dialogue against a model of a broker, of another consumer and of an application: streams end in every way while batches
//! wait at the node, are on their way, or wait for the application.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::FutureExt as _;
use tercet_proto::client::v1::{Delivered, Settle};
use tokio::sync::oneshot;

use super::*;

const INVISIBLE: Duration = Duration::from_secs(30);
const WINDOW: Amount = Amount { messages: 24, bytes: 2400 };
const SEEDS: u64 = 2000;
const STEPS: u64 = 150;

type Answer = oneshot::Receiver<Result<Vec<u64>, Error>>;

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Hidden { nonce: u64, until: Instant },
    Done,
}

/// The replicated state: one queue, whose message groups are the offsets by their remainder.
struct Broker {
    fifo: bool,
    messages: Vec<Phase>,
    nonce: u64,
    expired: HashSet<(u64, u64)>,
}

impl Broker {
    fn key(offset: usize) -> usize {
        offset % 4
    }

    fn pick(&mut self, count: u64) -> (u64, Vec<u64>) {
        self.nonce += 1;
        let (mut picked, mut held) = (Vec::new(), BTreeSet::new());
        for (offset, phase) in self.messages.iter_mut().enumerate() {
            match phase {
                Phase::Waiting
                    if (picked.len() as u64) < count && !(self.fifo && held.contains(&Self::key(offset))) =>
                {
                    *phase = Phase::Hidden { nonce: self.nonce, until: Instant::now() + INVISIBLE };
                    picked.push(offset as u64);
                }
                Phase::Hidden { .. } => drop(held.insert(Self::key(offset))),
                Phase::Waiting | Phase::Done => {}
            }
        }
        (self.nonce, picked)
    }

    fn is_live(&self, offset: u64, nonce: u64) -> bool {
        matches!(self.messages[offset as usize], Phase::Hidden { nonce: of, .. } if of == nonce)
    }

    fn set(&mut self, offset: u64, nonce: u64, to: Phase) -> bool {
        let live = self.is_live(offset, nonce);
        if live {
            self.messages[offset as usize] = to;
        }
        live
    }

    fn set_all(&mut self, offsets: &[u64], nonce: u64, to: Phase) {
        for offset in offsets {
            self.set(*offset, nonce, to);
        }
    }

    fn expire(&mut self) {
        for (offset, phase) in (0..).zip(&mut self.messages) {
            if let Phase::Hidden { nonce, until } = *phase
                && until <= Instant::now()
            {
                self.expired.insert((offset, nonce));
                *phase = Phase::Waiting;
            }
        }
    }

    fn settle(&mut self, settle: &Settle) -> Settled {
        let mut settled = Settled { number: settle.number, ..Settled::default() };
        let mut position = 0;
        for run in &settle.done {
            for offset in run.offset..run.offset + u64::from(run.count) {
                if !self.set(offset, run.nonce, Phase::Done) && self.messages[offset as usize] != Phase::Done {
                    settled.over.push(position);
                }
                position += 1;
            }
        }
        for run in settle.changes.iter().filter_map(|change| change.run.as_ref()) {
            let each = run.offset..run.offset + u64::from(run.count);
            let changed = each.map(|offset| u64::from(self.set(offset, run.nonce, Phase::Waiting)));
            settled.deadlines_unix_ms.extend(changed);
        }
        settled
    }
}

/// One stream: the node's side of it, and what is on its way.
#[derive(Default)]
struct Stream {
    credit: u64,
    last: u64,
    /// Pushed and not confirmed, by number.
    pushed: BTreeMap<u64, (u64, Vec<u64>)>,
    /// Picked, in the parts that batches are made of, and when.
    picked: VecDeque<(u64, Vec<u64>, Instant)>,
    waiting: VecDeque<consume_answer::Content>,
    down: VecDeque<consume_answer::Content>,
    up: VecDeque<Content>,
}

struct World {
    dice: Dice,
    /// The application takes little, and much of that late.
    lazy: bool,
    broker: Broker,
    stream: Option<Stream>,
    /// Streams that the node has ended, and of which the client has not heard that.
    unheard: bool,
    buffer: Arc<Buffer>,
    dialogue: Dialogue,
    held: Vec<ReceivedMessage>,
    acks: Vec<(u64, Answer)>,
    handed_out: HashSet<(u64, u64)>,
    seen: BTreeSet<u64>,
    acked: BTreeSet<u64>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut dice = Dice(seed | 1);
        for _ in 0..8 {
            dice.below(2);
        }
        let (fifo, lazy) = (dice.below(2) == 0, dice.below(2) == 0);
        let buffer = Arc::new(Buffer::new(1));
        let dialogue = Dialogue::new("t".into(), 0, Arc::clone(&buffer), INVISIBLE);
        World {
            dice,
            lazy,
            broker: Broker { fifo, messages: Vec::new(), nonce: 0, expired: HashSet::new() },
            stream: None,
            unheard: false,
            buffer,
            dialogue,
            held: Vec::new(),
            acks: Vec::new(),
            handed_out: HashSet::new(),
            seen: BTreeSet::new(),
            acked: BTreeSet::new(),
        }
    }

    fn open(&mut self) {
        let credit = self.dialogue.room(WINDOW).messages;
        self.stream = Some(Stream { credit, ..Stream::default() });
        self.dialogue.begin(crate::broker_group::BrokerGroup(0), self.broker.fifo);
        self.unheard = false;
        self.client_speaks();
    }

    fn client_speaks(&mut self) {
        let said = self.dialogue.say();
        if let Some(stream) = &mut self.stream {
            stream.up.extend(said);
        }
    }

    /// As a worker does between two things that it waits for.
    fn client_works(&mut self) {
        if self.dialogue.stale_at().is_some_and(|stale| stale <= Instant::now()) {
            self.dialogue.give_back_stale();
        }
        self.client_speaks();
    }

    fn client_hears(&mut self) {
        let Some(answer) = self.stream.as_mut().and_then(|stream| stream.down.pop_front()) else { return };
        if self.dialogue.hear(answer).is_some() {
            // It ends its side, and all that it has said arrives.
            let mut stream = self.stream.take().expect("it was heard");
            while let Some(request) = stream.up.pop_front() {
                if let Content::Credit(credit) = request {
                    stream.pushed.retain(|number, _| *number > credit.arrived);
                }
            }
            self.give_back_pushed(&stream);
            return self.open();
        }
        self.client_works();
    }

    fn give_back_pushed(&mut self, stream: &Stream) {
        for (nonce, offsets) in stream.pushed.values() {
            self.broker.set_all(offsets, *nonce, Phase::Waiting);
        }
    }

    fn node_picks(&mut self) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.unheard) else { return };
        if !stream.picked.is_empty() || stream.credit == 0 {
            return;
        }
        let (nonce, mut offsets) = self.broker.pick(1 + self.dice.below(stream.credit));
        stream.credit -= offsets.len() as u64;
        while !offsets.is_empty() {
            let rest = offsets.split_off((1 + self.dice.below(5) as usize).min(offsets.len()));
            stream.picked.push_back((nonce, std::mem::replace(&mut offsets, rest), Instant::now()));
        }
    }

    fn node_pushes(&mut self) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.unheard) else { return };
        let Some((nonce, offsets, _)) = stream.picked.pop_front() else { return };
        stream.last += 1;
        let message = |offset: &u64| Delivered { offset: *offset, attempt: 1, ..Delivered::default() };
        let messages: Vec<Delivered> = offsets.iter().map(message).collect();
        let bytes = 100 * messages.len() as u64;
        let batch = Batch { number: stream.last, nonce, deadline_unix_ms: 1, bytes, messages };
        stream.pushed.insert(stream.last, (nonce, offsets));
        stream.waiting.push_back(consume_answer::Content::Batch(batch));
    }

    fn node_sends(&mut self) {
        if let Some(stream) = &mut self.stream {
            stream.down.extend(stream.waiting.pop_front());
        }
    }

    fn node_reads(&mut self) {
        let Some(stream) = self.stream.as_mut().filter(|_| !self.unheard) else { return };
        match stream.up.pop_front() {
            Some(Content::Credit(credit)) => {
                stream.credit += credit.messages;
                stream.pushed.retain(|number, _| *number > credit.arrived);
                let pushed: usize = stream.pushed.values().map(|(_, offsets)| offsets.len()).sum();
                assert!(stream.credit + pushed as u64 <= WINDOW.messages, "no more than the window was granted");
            }
            Some(Content::Settle(settle)) => {
                let settled = self.broker.settle(&settle);
                self.stream.as_mut().expect("it is open").waiting.push_back(consume_answer::Content::Settled(settled));
            }
            Some(Content::Open(_)) | None => {}
        }
    }

    /// The node ends the stream: what it has not sent it gives back, if it may.
    fn node_ends(&mut self, reason: EndReason) {
        if self.unheard {
            return;
        }
        let mut stream = self.stream.take().expect("there is always one");
        if reason != EndReason::NotLeader {
            let is_batch = |answer: &consume_answer::Content| matches!(answer, consume_answer::Content::Batch(_));
            let withdrawn = stream.waiting.iter().filter(|answer| is_batch(answer)).count() as u64;
            stream.waiting.retain(|answer| !is_batch(answer));
            // From a client that it takes for gone, all of it.
            let first = if reason == EndReason::Unspecified { 0 } else { stream.last - withdrawn + 1 };
            let left = stream.pushed.split_off(&first);
            let kept = std::mem::replace(&mut stream.pushed, left);
            self.give_back_pushed(&stream);
            stream.pushed = kept;
            for (nonce, offsets, _) in stream.picked.drain(..) {
                self.broker.set_all(&offsets, nonce, Phase::Waiting);
            }
        } else {
            // The next leader knows nothing of this stream.
            stream.pushed.clear();
            stream.picked.clear();
        }
        stream.down.append(&mut stream.waiting);
        stream.down.push_back(consume_answer::Content::End(End { reason: reason.into(), ..End::default() }));
        self.stream = Some(stream);
        self.unheard = true;
    }

    /// The connection breaks, or the node dies; the client notices later, and may have heard more than the node knows.
    fn breaks(&mut self, node_dies: bool) {
        let Some(mut stream) = self.stream.take() else { return };
        if !node_dies && !self.unheard {
            self.give_back_pushed(&stream);
            for (nonce, offsets, _) in stream.picked.drain(..) {
                self.broker.set_all(&offsets, nonce, Phase::Waiting);
            }
        }
        self.unheard = true;
        if self.dice.below(2) == 0 {
            self.application_takes();
        }
        self.dialogue.broke();
        self.open();
    }

    fn application_takes(&mut self) {
        let max = if self.dice.below(2) == 0 { usize::MAX } else { 1 + self.dice.below(4) as usize };
        let Some(next) = self.buffer.next(max).now_or_never() else { return };
        for message in next.expect("no errors here") {
            let Reference { offset, nonce, .. } = message.reference;
            assert!(self.handed_out.insert((offset, nonce)), "a delivery is handed out once");
            let live = self.broker.is_live(offset, nonce);
            if !self.unheard && !self.broker.expired.contains(&(offset, nonce)) {
                assert!(live, "{offset} is not the client's any more");
                assert!(!self.acked.contains(&offset), "{offset} was acknowledged");
            }
            if self.broker.fifo && live {
                let before = (0..offset).filter(|before| Broker::key(*before as usize) == Broker::key(offset as usize));
                for before in before {
                    let done = self.broker.messages[before as usize] == Phase::Done;
                    assert!(done || self.seen.contains(&before), "{offset} before {before}");
                }
            }
            self.seen.insert(offset);
            self.held.push(message);
        }
    }

    fn application_acks(&mut self) {
        if self.held.is_empty() || !self.dialogue.takes_orders() {
            return;
        }
        let count = 1 + self.dice.below(self.held.len() as u64) as usize;
        for message in self.held.drain(..count) {
            let (waiter, answer) = oneshot::channel();
            let references = vec![message.reference];
            self.dialogue.order([Order { references, fate: Fate::Done, waiter: Some(waiter) }]);
            self.acks.push((message.offset(), answer));
        }
        self.client_works();
    }

    fn answers_come(&mut self) {
        let acked = &mut self.acked;
        self.acks.retain_mut(|(offset, answer)| match answer.try_recv() {
            Ok(answer) => {
                if answer.expect("nothing fails here") == [1] {
                    acked.insert(*offset);
                }
                false
            }
            Err(oneshot::error::TryRecvError::Empty) => true,
            Err(oneshot::error::TryRecvError::Closed) => panic!("an answer was lost"),
        });
        assert!(acked.iter().all(|offset| self.broker.messages[*offset as usize] == Phase::Done));
    }

    /// Another consumer takes some, and finishes it or goes.
    fn another_consumes(&mut self) {
        let (nonce, offsets) = self.broker.pick(1 + self.dice.below(6));
        let to = if self.dice.below(2) == 0 { Phase::Done } else { Phase::Waiting };
        self.broker.set_all(&offsets, nonce, to);
    }

    async fn time_passes(&mut self) {
        // What is on its way arrives, and picks do not wait for half of their time.
        let late = |world: &World| {
            let first = world.stream.as_ref().and_then(|stream| stream.picked.front());
            first.is_some_and(|(_, _, at)| at.elapsed() > INVISIBLE / 2 - Duration::from_secs(2))
        };
        while late(self) {
            self.node_pushes();
        }
        self.all_arrives();
        tokio::time::advance(Duration::from_secs(1 + self.dice.below(6))).await;
        self.client_works();
        self.broker.expire();
    }

    fn all_arrives(&mut self) {
        while self.stream.as_ref().is_some_and(|stream| !(stream.waiting.is_empty() && stream.down.is_empty())) {
            self.node_sends();
            self.client_hears();
        }
    }

    async fn step(&mut self) {
        match self.dice.below(100) {
            0..15 => self.broker.messages.push(Phase::Waiting),
            15..25 => self.node_picks(),
            25..37 => self.node_pushes(),
            37..49 => self.node_sends(),
            49..61 => self.client_hears(),
            61..71 => self.node_reads(),
            71..79 if self.lazy => self.time_passes().await,
            71..81 => self.application_takes(),
            81..87 => self.application_acks(),
            87..91 => self.another_consumes(),
            91..94 => self.time_passes().await,
            94 => self.node_ends(EndReason::GroupChanged),
            95 => self.node_ends(EndReason::Unspecified),
            96 => self.node_ends(EndReason::Overloaded),
            97 => self.node_ends(EndReason::NotLeader),
            98 => self.breaks(false),
            _ => self.breaks(true),
        }
        self.answers_come();
    }

    /// Once nothing fails any more, everything is delivered and acknowledged.
    async fn settles_down(&mut self) {
        for _ in 0..200 {
            for _ in 0..30 {
                self.node_picks();
                self.node_pushes();
                self.node_sends();
                self.client_hears();
                self.node_reads();
                self.application_takes();
                self.application_acks();
                self.client_works();
                self.answers_come();
            }
            if self.broker.messages.iter().all(|phase| *phase == Phase::Done) {
                return;
            }
            self.time_passes().await;
        }
        panic!("something is not delivered: {:?}", self.broker.messages);
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_or_doubled_and_the_order_holds_however_streams_end() {
    for seed in 0..SEEDS {
        println!("seed {seed}");
        let mut world = World::new(seed * 7919 + 1);
        world.open();
        for _ in 0..STEPS {
            world.step().await;
        }
        world.settles_down().await;
    }
}
