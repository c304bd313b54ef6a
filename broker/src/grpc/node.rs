//! The parts of a node that RPCs work with, put together once.

use std::{sync::Arc, time::Duration};

use raft_log::{
    Replica,
    env::{Clock, Env},
    types::GroupId,
};
use tercet_proto::client::v1::Leadership as LeaderNews;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{
    answers::Answers, consume_stream::Streams, consumers::Consumers, leader_news, lost_order::LostOrder,
    sessions::Sessions,
};
use crate::{
    consume::{Deliverer, Housekeeping, LeaderClock, Parking, Poll, Timers, count_dead_letters},
    forward::{Leadership, Relay},
    limits::{ENTRIES_IN_FLIGHT_MAX, PARKED_MAX, SESSIONS_MAX, WAITING_BYTES_MAX},
    metrics::Traffic,
    publish::{Batcher, BatcherOptions, RoundRobin, StreamRoom},
    state::StateReader,
};

/// Calls by which all receives of a node give back at once, each of them one message: what settles goes the same way.
const GIVE_BACKS_AT_ONCE: usize = 256;
/// How often silent clients are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Settings of the client API.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// The broker group that this node belongs to.
    pub group: GroupId,
    /// Where clients reach this node, `host:port`.
    pub advertised_client: String,
    /// Counters.
    pub traffic: Traffic,
    /// Largest request that is decoded.
    pub request_bytes_max: usize,
    /// What waits is packed into entries of about this size.
    pub batch_bytes_max: usize,
    /// Message records in one answer to a receive; the first always passes.
    pub receive_bytes_max: usize,
    /// Bytes of all publishes that wait to be stored.
    pub publish_bytes_in_flight_max: usize,
    /// Bytes of all that settles deliveries or keeps them alive, and waits to be stored.
    pub settle_bytes_in_flight_max: usize,
    /// Longest long poll.
    pub long_poll_max: Duration,
    /// Whether a first subscription makes a normal consumer group.
    pub auto_create_group: bool,
    /// Idle time after which a group goes that a subscription made and that never acknowledged anything.
    pub unused_group_age: Duration,
    /// Idle time after which any group goes that a subscription made; not less than messages are retained.
    pub idle_group_age: Duration,
}

/// A node's parts.
pub struct Node {
    /// Settings.
    pub options: ServiceOptions,
    /// The replicated log.
    pub replica: Replica,
    /// The replicated state.
    pub state: StateReader,
    /// Time for durations.
    pub clock: Arc<dyn Clock>,
    /// The leader's time.
    pub leader_clock: Arc<LeaderClock>,
    /// The way to the leader.
    pub relay: Relay,
    /// What clients are told of it.
    pub leader_news: watch::Receiver<LeaderNews>,
    /// The way into the log.
    pub batcher: Batcher,
    /// Room for what publish streams bring.
    pub stream_room: StreamRoom,
    /// Queues in turn.
    pub turn: RoundRobin,
    /// Who is connected.
    pub sessions: Arc<Sessions>,
    /// Who consumes which group, by streams to this node.
    pub consumers: Consumers,
    /// Long polls.
    pub poll: Poll,
    /// Messages from the log.
    pub deliverer: Deliverer,
    /// Room for what is delivered.
    pub answers: Answers,
    /// Places for calls that give back what was passed on to this node.
    pub giving_back: Semaphore,
    /// What consume streams share.
    pub streams: Streams,
    /// What was told of groups that lose the order of a topic.
    pub lost_order: LostOrder,
    /// Ends everything.
    pub stop: CancellationToken,
}

impl Node {
    /// Starts the leader-side flow on the current runtime; it ends when `stop` is cancelled.
    pub fn start(
        options: ServiceOptions,
        replica: Replica,
        state: StateReader,
        env: &Env,
        stop: CancellationToken,
    ) -> Arc<Node> {
        let leadership = Arc::new(Leadership::follow(replica.watch_standing(), WAITING_BYTES_MAX));
        let leader_clock = Arc::new(LeaderClock::new(replica.clone(), Arc::clone(&leadership), state.clone()));
        let leader_news = leader_news::follow(replica.watch_standing(), options.group);
        let sizes = BatcherOptions {
            entry_bytes_target: options.batch_bytes_max,
            entries_in_flight_max: ENTRIES_IN_FLIGHT_MAX,
            publish_bytes_max: options.publish_bytes_in_flight_max,
            settle_bytes_max: options.settle_bytes_in_flight_max,
        };
        let stamps = Arc::clone(&leader_clock);
        let traffic = options.traffic.clone();
        let level = state.clone();
        let (now, level) = (move || stamps.now(), move || level.level());
        let batcher = Batcher::start(replica.clone(), now, level, sizes, traffic.clone(), stop.clone());
        let parking = Parking::new(PARKED_MAX);
        let streams = Streams::new(&traffic);
        let sessions = Sessions::new(Arc::clone(&env.clock), SESSIONS_MAX);
        let living = Arc::clone(&sessions);
        tokio::spawn(stop.clone().run_until_cancelled_owned(sweep(Arc::clone(&sessions))));
        Timers {
            replica: replica.clone(),
            state: state.clone(),
            batcher: batcher.clone(),
            clock: Arc::clone(&leader_clock),
            parking: Arc::clone(&parking),
            rng: Arc::clone(&env.rng),
            lives: Arc::new(move |client| living.lives(client)),
            group: options.group,
            stop: stop.clone(),
        }
        .start();
        let housekeeping = Housekeeping {
            state: state.clone(),
            batcher: batcher.clone(),
            leadership: Arc::clone(&leadership),
            parking: Arc::clone(&parking),
            unused_group_age: options.unused_group_age,
            idle_group_age: options.idle_group_age,
        };
        housekeeping.start(stop.clone());
        let counting = count_dead_letters(state.clone(), Arc::clone(&leadership), traffic.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(counting));
        let poll = Poll::new(state.clone(), batcher.clone(), Arc::clone(&leadership), parking, traffic, stop.clone());
        let (host, publishing) = (&options.advertised_client, batcher.clone());
        let deliverer = Deliverer::new(replica.clone(), state.clone(), options.group, host, publishing);
        let stream_room = StreamRoom::beside_calls(options.publish_bytes_in_flight_max);
        Arc::new(Node {
            options,
            replica,
            state,
            clock: Arc::clone(&env.clock),
            leader_clock,
            relay: Relay::new(leadership),
            leader_news,
            batcher,
            stream_room,
            turn: RoundRobin::new(),
            sessions,
            consumers: Consumers::default(),
            poll,
            deliverer,
            answers: Answers::of_node(),
            giving_back: Semaphore::new(GIVE_BACKS_AT_ONCE),
            streams,
            lost_order: LostOrder::default(),
            stop,
        })
    }
}

/// Forgets silent clients, for ever.
async fn sweep(sessions: Arc<Sessions>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        sessions.sweep();
    }
}
