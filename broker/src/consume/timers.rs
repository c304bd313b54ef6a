//! What the leader does by time: ticks when something is due, renewals for push consumers that live, waking parked
//! receives, seeding an empty state.
//!
//! All of it is proposals; whether something is due, and what becomes of it, is decided in `apply`.

use std::{sync::Arc, time::Duration};

use raft_log::{
    Replica,
    env::Rng,
    types::{ClusterId, GroupId, Term, UnixMillis},
};
use tokio_util::sync::CancellationToken;

use super::{keep::Keeper, parking::Parking};
use crate::{
    forward::Leadership,
    limits::RENEWALS_MAX,
    model::ClientKey,
    publish::Batcher,
    state::{Bootstrap, EncodedCommand, Level, Ready, RenewLeases, StateReader, tick},
};

/// How long renewed deliveries stay hidden, and those of a receive with renewal at first.
pub const RENEWED_FOR: Duration = Duration::from_secs(60);
/// How long the deliveries of a client that said goodbye stay hidden.
pub const GOODBYE_FOR: Duration = Duration::from_secs(5);
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// Deliveries that end within this are renewed.
const RENEW_AHEAD: Duration = Duration::from_secs(30);
/// A new leader does not know yet who lives: clients send heartbeats every 10 s.
const GRACE: Duration = Duration::from_secs(30);
/// A deadline may move forward while the leader sleeps, so it looks at least this often.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Between two ticks, also when one left work over: others come in between.
const TICK_EVERY_MIN: Duration = Duration::from_millis(1);
/// While nobody led, nobody could acknowledge: a new leader ends no delivery whose time passed then before it has served so
/// long (state-hazards 11).
pub(crate) const OVERDUE_GRACE: Duration = Duration::from_secs(3);
const SEED_RETRY: Duration = Duration::from_millis(200);

/// The time that this node would stamp now (hazards 19).
pub struct LeaderClock {
    replica: Replica,
    leadership: Arc<Leadership>,
    state: StateReader,
}

impl LeaderClock {
    /// Over this state and leadership.
    pub fn new(replica: Replica, leadership: Arc<Leadership>, state: StateReader) -> LeaderClock {
        LeaderClock { replica, leadership, state }
    }

    /// The time now.
    pub fn now(&self) -> UnixMillis {
        self.replica.stamp(self.state.clock())
    }

    /// The leadership that it goes by.
    pub fn leadership(&self) -> &Arc<Leadership> {
        &self.leadership
    }
}

/// The parts that the timers work on. Cheap to clone.
#[derive(Clone)]
pub struct Timers {
    /// The replica.
    pub replica: Replica,
    /// Its state.
    pub state: StateReader,
    /// The way into the log.
    pub batcher: Batcher,
    /// The leader's time.
    pub clock: Arc<LeaderClock>,
    /// Parked receives.
    pub parking: Arc<Parking>,
    /// Randomness, for the handle key.
    pub rng: Arc<dyn Rng>,
    /// Whether a client lives; nothing if this node never heard of it.
    pub lives: Arc<dyn Fn(ClientKey) -> Option<bool> + Send + Sync>,
    /// The broker group of the data folder, which a new state is told.
    pub group: GroupId,
    /// Ends them.
    pub stop: CancellationToken,
}

impl Timers {
    /// Starts all of them on the current runtime.
    pub fn start(self) {
        let (stop, timers) = (self.stop.clone(), self.clone());
        tokio::spawn(async move { stop.run_until_cancelled(timers.wake_parked()).await });
        tokio::spawn(async move {
            let stop = self.stop.clone();
            stop.run_until_cancelled(self.lead()).await
        });
    }

    /// Does the leader's work whenever this node leads.
    async fn lead(self) {
        loop {
            let term = self.clock.leadership.gained().await;
            tokio::select! {
                () = self.clock.leadership.lost(term) => {}
                () = self.work(term) => {}
            }
        }
    }

    async fn work(&self, term: Term) {
        self.seed().await;
        tracing::debug!(%term, "timers run");
        let keeper = Keeper { replica: &self.replica, state: &self.state, batcher: &self.batcher };
        tokio::join!(self.tick_when_due(), self.renew(), keeper.run());
    }

    /// Gives a formed cluster its handle key, once (hazards 27).
    async fn seed(&self) {
        while self.state.cluster().is_none() {
            if let Some(cluster) = self.replica.status().cluster {
                let mut handle_key = [0; 32];
                for part in handle_key.chunks_exact_mut(8) {
                    part.copy_from_slice(&self.rng.next_u64().to_le_bytes());
                }
                match self.batcher.submit(self.first_command(cluster, handle_key)).await {
                    Ok(_) => tracing::info!(%cluster, "the state of a new cluster is seeded"),
                    Err(error) => tracing::debug!(%error, "the state is not seeded yet"),
                }
            }
            if self.state.cluster().is_none() {
                tokio::time::sleep(SEED_RETRY).await;
            }
        }
    }

    fn first_command(&self, cluster: ClusterId, handle_key: [u8; 32]) -> EncodedCommand {
        Bootstrap { cluster, group: self.group, level: Level::NEWEST, handle_key }.encode()
    }

    async fn tick_when_due(&self) {
        if is_due(&self.state, self.clock.now()) {
            tokio::time::sleep(OVERDUE_GRACE).await;
        }
        loop {
            let (now, due) = (self.clock.now(), self.state.next_due());
            match due {
                Some(due) if due <= now => {
                    if let Err(error) = self.batcher.submit(tick()).await {
                        tracing::debug!(%error, "no tick");
                    }
                    tokio::time::sleep(TICK_EVERY_MIN).await;
                }
                Some(due) => tokio::time::sleep(Duration::from_millis(due.0 - now.0).min(LOOK_EVERY)).await,
                None => tokio::time::sleep(LOOK_EVERY).await,
            }
        }
    }

    /// Extends what living push consumers hold. A message that one of them holds for too long is no concern here.
    async fn renew(&self) {
        let began = self.clock.now();
        loop {
            let now = self.clock.now();
            let unheard_lives = now.0 - began.0 < millis(GRACE);
            let lives = |client| (self.lives)(client).unwrap_or(unheard_lives);
            if let Some(renew) = to_renew(&self.state, now, lives)
                && let Err(error) = self.batcher.submit(renew.encode()).await
            {
                tracing::debug!(%error, "deliveries were not renewed");
            }
            tokio::time::sleep(RENEW_EVERY).await;
        }
    }

    /// Wakes parked receives in each group for which something became available, as many as it can serve. While nobody is
    /// parked, what becomes available wakes nobody either; it stands in the events until somebody parks, who then looks
    /// once too often.
    async fn wake_parked(&self) {
        loop {
            self.parking.occupied().await;
            for topic in self.state.events().changed().await {
                for group in self.parking.groups(topic) {
                    self.parking.arrived(topic, group, messages(self.state.ready(group, topic)));
                }
            }
        }
    }
}

/// Whether a tick finds something to do.
pub(crate) fn is_due(state: &StateReader, now: UnixMillis) -> bool {
    state.next_due().is_some_and(|due| due <= now)
}

/// The leases that end soon and whose clients live, if there are any.
pub(crate) fn to_renew(state: &StateReader, now: UnixMillis, lives: impl Fn(ClientKey) -> bool) -> Option<RenewLeases> {
    let mut clients = state.leases_ending(UnixMillis(now.0 + millis(RENEW_AHEAD)), RENEWALS_MAX);
    clients.retain(|client| lives(*client));
    (!clients.is_empty()).then(|| RenewLeases { clients, invisible_ms: millis(RENEWED_FOR), shorten: false })
}

/// How many messages a group can be given. A first receive is worth its command by itself.
pub(super) fn messages(ready: Ready) -> u64 {
    u64::from(ready.unsubscribed) + ready.fresh + ready.redeliveries
}

/// Whole milliseconds of a duration.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("durations here are hours at most")
}
