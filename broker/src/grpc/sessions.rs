//! What each client declared of itself, and when it was last heard. In memory, on the node that the client talks to;
//! heartbeats that another node forwards count as hearing, so that the leader knows which consumers live.
//!
//! Nothing here is needed to serve a send or a receive: a client whose session is lost only declares itself again.
//!
//! ```text
//!   heard once ─► stranger ─► heard again later, declared, or a stream open ─► known
//!                    └ makes room for whoever comes when the table is full       └ goes by silence only
//! ```
//! So a flood of client ids that nobody uses pushes out its own. Every step is a few look-ups, however full the table is.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use raft_log::env::Clock;

use super::settings::Subject;
use crate::model::ClientKey;

/// A session without an open stream is dropped after this much silence.
pub const SILENCE_MAX: Duration = Duration::from_secs(110);
/// Who is heard again after this long lives; requests of one moment prove nothing. Clients send heartbeats every 10 s.
const HEARD_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Silent sessions that one step forgets: more than it adds.
const FORGOTTEN_AT_ONCE: usize = 2;

#[derive(Debug)]
struct Session {
    /// Absent when only forwarded requests were heard.
    subject: Option<Subject>,
    presence: Presence,
    streams: u32,
    /// When it was heard first, while it is a stranger.
    stranger_since: Option<Duration>,
}

/// Monotonic times.
#[derive(Clone, Copy, Debug)]
enum Presence {
    /// Was heard last at this time.
    Heard(Duration),
    /// Said goodbye at this time; remembered, because silence alone does not tell it from one not heard yet.
    Left(Duration),
}

impl Presence {
    fn at(self) -> Duration {
        let (Presence::Heard(at) | Presence::Left(at)) = self;
        at
    }
}

/// The sessions of one node; bounded.
pub struct Sessions {
    clock: Arc<dyn Clock>,
    sessions_max: usize,
    table: Mutex<Table>,
}

/// Sessions, and the orders in which they go. A session is in `silent` unless a stream of it is open.
#[derive(Debug, Default)]
struct Table {
    by_client: HashMap<ClientKey, Session>,
    /// By when each was last heard.
    silent: BTreeSet<(Duration, ClientKey)>,
    /// By when each was first heard.
    strangers: BTreeSet<(Duration, ClientKey)>,
}

/// The bound on sessions is reached, and none is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many clients are connected to this node ({0})")]
pub struct Full(pub usize);

/// Whose heartbeat it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beat {
    /// Of a client that has declared itself as this.
    Declared(Subject),
    /// Of one that has not, as far as this node remembers. It counts as heard.
    Undeclared,
    /// Of one that said goodbye before. It stays away.
    Left,
}

/// Keeps a session while a stream is open.
pub struct OpenStream {
    sessions: Arc<Sessions>,
    client: ClientKey,
    closed: bool,
}

impl Sessions {
    /// None yet; at most `sessions_max`.
    pub fn new(clock: Arc<dyn Clock>, sessions_max: usize) -> Arc<Sessions> {
        Arc::new(Sessions { clock, sessions_max, table: Mutex::default() })
    }

    /// The client declared itself; the last declaration counts.
    pub fn declare(&self, client: ClientKey, subject: Subject) -> Result<(), Full> {
        self.touch(client, |session| session.subject = Some(subject))
    }

    /// A stream of this client is open until the returned value is dropped.
    pub fn open_stream(self: &Arc<Self>, client: ClientKey) -> Result<OpenStream, Full> {
        self.touch(client, |session| session.streams += 1)?;
        Ok(OpenStream { sessions: Arc::clone(self), client, closed: false })
    }

    /// The client was heard, perhaps through another node.
    pub fn heard(&self, client: ClientKey) -> Result<(), Full> {
        self.touch(client, |_| ())
    }

    /// A heartbeat, of whoever it is.
    pub fn heartbeat(&self, client: ClientKey) -> Beat {
        let known = self.lock().by_client.get(&client).map(|session| (session.subject.clone(), session.presence));
        if let Some((None, Presence::Left(_))) = known {
            return Beat::Left;
        }
        // With a full table, its deliveries may not be renewed.
        let _ = self.heard(client);
        known.and_then(|(subject, _)| subject).map_or(Beat::Undeclared, Beat::Declared)
    }

    /// The client says goodbye, perhaps through another node: its declaration goes. Says what it had declared, if it
    /// had.
    pub fn terminate(&self, client: ClientKey) -> Option<Subject> {
        let left = Presence::Left(self.clock.monotonic());
        let mut subject = None;
        // With a full table, the client is taken for one that was not heard yet, and falls silent.
        let _ = self.touch(client, |session| {
            subject = session.subject.take();
            session.presence = left;
        });
        subject
    }

    /// Whether the client lives, as far as this node can tell; nothing if it was never heard or is long forgotten.
    pub fn lives(&self, client: ClientKey) -> Option<bool> {
        let now = self.clock.monotonic();
        self.lock().by_client.get(&client).map(|session| is_live(session, now))
    }

    /// Forgets the silent ones.
    pub fn sweep(&self) {
        let now = self.clock.monotonic();
        // A few at a time: requests wait for the table.
        while self.lock().forget_silent(now) > 0 {}
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().by_client.len()
    }

    fn touch(&self, client: ClientKey, change: impl FnOnce(&mut Session)) -> Result<(), Full> {
        let now = self.clock.monotonic();
        let mut table = self.lock();
        table.forget_silent(now);
        if !table.by_client.contains_key(&client) && table.by_client.len() >= self.sessions_max {
            let stranger = table.strangers.first().map(|(_, client)| *client).ok_or(Full(self.sessions_max))?;
            table.forget(stranger);
        }
        table.update(client, now, |session| {
            session.presence = Presence::Heard(now);
            change(session);
        });
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Changes a session, a new one if there is none, and keeps the orders.
    fn update(&mut self, client: ClientKey, now: Duration, change: impl FnOnce(&mut Session)) {
        let new = || Session { subject: None, presence: Presence::Heard(now), streams: 0, stranger_since: Some(now) };
        let session = self.by_client.entry(client).or_insert_with(new);
        self.silent.remove(&(session.presence.at(), client));
        change(session);
        if session.streams == 0 {
            self.silent.insert((session.presence.at(), client));
        }
        let Some(since) = session.stranger_since else { return };
        let known = session.streams > 0 || session.subject.is_some() || now.saturating_sub(since) >= HEARD_AGAIN_AFTER;
        if known {
            session.stranger_since = None;
            self.strangers.remove(&(since, client));
        } else {
            self.strangers.insert((since, client));
        }
    }

    /// Forgets a few of those that are silent for too long; says how many.
    fn forget_silent(&mut self, now: Duration) -> usize {
        let is_over = |(heard, _): &&(Duration, ClientKey)| now.saturating_sub(*heard) >= SILENCE_MAX;
        let over: Vec<ClientKey> =
            self.silent.iter().take(FORGOTTEN_AT_ONCE).take_while(is_over).map(|(_, client)| *client).collect();
        for client in &over {
            self.forget(*client);
        }
        over.len()
    }

    fn forget(&mut self, client: ClientKey) {
        let session = self.by_client.remove(&client).expect("the orders are of sessions");
        assert_eq!(session.streams, 0, "a session with an open stream is kept");
        self.silent.remove(&(session.presence.at(), client));
        if let Some(since) = session.stranger_since {
            self.strangers.remove(&(since, client));
        }
    }
}

/// On an open stream silence does not matter; a goodbye always does.
fn is_live(session: &Session, now: Duration) -> bool {
    match session.presence {
        Presence::Left(_) => false,
        Presence::Heard(heard) => session.streams > 0 || now.saturating_sub(heard) < SILENCE_MAX,
    }
}

impl OpenStream {
    /// Closes it. If it was the last one, the client leaves as by a goodbye; says whether it does.
    pub fn leave(mut self) -> bool {
        self.close(true)
    }

    fn close(&mut self, leaving: bool) -> bool {
        self.closed = true;
        let now = self.sessions.clock.monotonic();
        let mut table = self.sessions.lock();
        assert!(table.by_client.contains_key(&self.client), "a session with an open stream is kept");
        let mut leaves = false;
        table.update(self.client, now, |session| {
            assert!(session.streams > 0, "each open stream was counted");
            session.streams -= 1;
            leaves = leaving && session.streams == 0;
            if leaves {
                session.presence = Presence::Left(now);
            }
        });
        leaves
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        if !self.closed {
            self.close(false);
        }
    }
}

#[cfg(test)]
#[path = "sessions_tests.rs"]
mod tests;
