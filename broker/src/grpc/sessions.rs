//! What each client declared of itself, and when it was last heard. In memory, on the node that the client talks to;
//! heartbeats that another node forwards count as hearing, so that the leader knows which consumers live.
//!
//! Nothing here is needed to serve a send or a receive: a client whose session is lost only declares itself again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use raft_log::env::Clock;

use super::settings::Subject;
use crate::model::ClientKey;

/// A session without an open stream is dropped after this much silence.
pub const SILENCE_MAX: Duration = Duration::from_secs(110);

#[derive(Debug)]
struct Session {
    /// Absent when only forwarded requests were heard.
    subject: Option<Subject>,
    presence: Presence,
    streams: u32,
}

/// Monotonic times.
#[derive(Clone, Copy, Debug)]
enum Presence {
    /// Was heard last at this time.
    Heard(Duration),
    /// Said goodbye at this time; remembered, because silence alone does not tell it from one not heard yet.
    Left(Duration),
}

/// The sessions of one node; bounded.
pub struct Sessions {
    clock: Arc<dyn Clock>,
    sessions_max: usize,
    by_client: Mutex<HashMap<ClientKey, Session>>,
}

/// The bound on sessions is reached, and none is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many clients are connected to this node ({0})")]
pub struct Full(pub usize);

/// Keeps a session while a Telemetry stream is open.
pub struct OpenStream {
    sessions: Arc<Sessions>,
    client: ClientKey,
}

impl Sessions {
    /// None yet; at most `sessions_max`.
    pub fn new(clock: Arc<dyn Clock>, sessions_max: usize) -> Arc<Sessions> {
        Arc::new(Sessions { clock, sessions_max, by_client: Mutex::new(HashMap::new()) })
    }

    /// The client declared itself; the last declaration counts.
    pub fn declare(&self, client: ClientKey, subject: Subject) -> Result<(), Full> {
        self.touch(client, |session| session.subject = Some(subject))
    }

    /// A Telemetry stream of this client is open until the returned value is dropped.
    pub fn open_stream(self: &Arc<Self>, client: ClientKey) -> Result<OpenStream, Full> {
        self.touch(client, |session| session.streams += 1)?;
        Ok(OpenStream { sessions: Arc::clone(self), client })
    }

    /// The client was heard, perhaps through another node.
    pub fn heard(&self, client: ClientKey) -> Result<(), Full> {
        self.touch(client, |_| ())
    }

    /// A heartbeat. Says what the client had declared, if it had.
    pub fn heartbeat(&self, client: ClientKey) -> Option<Subject> {
        let now = self.clock.monotonic();
        let mut sessions = self.lock();
        let session = sessions.get_mut(&client)?;
        let subject = session.subject.clone()?;
        session.presence = Presence::Heard(now);
        Some(subject)
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
        self.lock().get(&client).map(|session| is_live(session, now))
    }

    /// Forgets the silent ones.
    pub fn sweep(&self) {
        let now = self.clock.monotonic();
        self.lock().retain(|_, session| is_kept(session, now));
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    fn touch(&self, client: ClientKey, change: impl FnOnce(&mut Session)) -> Result<(), Full> {
        let now = self.clock.monotonic();
        let mut sessions = self.lock();
        if sessions.len() >= self.sessions_max && !sessions.contains_key(&client) {
            sessions.retain(|_, session| is_kept(session, now));
            if sessions.len() >= self.sessions_max {
                return Err(Full(self.sessions_max));
            }
        }
        let fresh = || Session { subject: None, presence: Presence::Heard(now), streams: 0 };
        let session = sessions.entry(client).or_insert_with(fresh);
        session.presence = Presence::Heard(now);
        change(session);
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ClientKey, Session>> {
        self.by_client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// On an open stream silence does not matter; a goodbye always does.
fn is_live(session: &Session, now: Duration) -> bool {
    match session.presence {
        Presence::Left(_) => false,
        Presence::Heard(heard) => session.streams > 0 || now.saturating_sub(heard) < SILENCE_MAX,
    }
}

fn is_kept(session: &Session, now: Duration) -> bool {
    let (Presence::Heard(at) | Presence::Left(at)) = session.presence;
    session.streams > 0 || now.saturating_sub(at) < SILENCE_MAX
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        let mut sessions = self.sessions.lock();
        let session = sessions.get_mut(&self.client).expect("a session with an open stream is kept");
        assert!(session.streams > 0, "each open stream was counted");
        session.streams -= 1;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use raft_log::types::UnixMillis;

    use super::*;

    struct HandClock(AtomicU64);

    impl Clock for HandClock {
        fn unix_millis(&self) -> UnixMillis {
            UnixMillis(0)
        }
        fn monotonic(&self) -> Duration {
            Duration::from_secs(self.0.load(Ordering::Relaxed))
        }
    }

    fn sessions(max: usize) -> (Arc<HandClock>, Arc<Sessions>) {
        let clock = Arc::new(HandClock(AtomicU64::new(1000)));
        (Arc::clone(&clock), Sessions::new(clock, max))
    }

    #[test]
    fn silence_ends_a_session_unless_its_stream_is_open() {
        let (clock, sessions) = sessions(10);
        sessions.declare(ClientKey::of("silent"), Subject::Producer).expect("room");
        let stream = sessions.open_stream(ClientKey::of("streaming")).expect("room");
        sessions.declare(ClientKey::of("streaming"), Subject::Producer).expect("room");
        clock.0.store(1000 + 111, Ordering::Relaxed);
        assert_eq!(sessions.lives(ClientKey::of("silent")), Some(false));
        assert_eq!(sessions.lives(ClientKey::of("streaming")), Some(true));
        sessions.sweep();
        assert_eq!(sessions.count(), 1);
        drop(stream);
        sessions.sweep();
        assert_eq!(sessions.count(), 0);
        assert_eq!(sessions.lives(ClientKey::of("streaming")), None);
    }

    #[test]
    fn a_heartbeat_needs_a_declaration_and_prolongs_it() {
        let (clock, sessions) = sessions(10);
        assert_eq!(sessions.heartbeat(ClientKey::of("c")), None);
        sessions.declare(ClientKey::of("c"), Subject::Producer).expect("room");
        clock.0.store(1100, Ordering::Relaxed);
        assert_eq!(sessions.heartbeat(ClientKey::of("c")), Some(Subject::Producer));
        clock.0.store(1200, Ordering::Relaxed);
        assert_eq!(sessions.lives(ClientKey::of("c")), Some(true));
    }

    #[test]
    fn goodbye_ends_life_even_on_an_open_stream() {
        let (_, sessions) = sessions(10);
        let stream = sessions.open_stream(ClientKey::of("c")).expect("room");
        sessions.declare(ClientKey::of("c"), Subject::Producer).expect("room");
        assert_eq!(sessions.terminate(ClientKey::of("c")), Some(Subject::Producer));
        assert_eq!(sessions.lives(ClientKey::of("c")), Some(false));
        assert_eq!(sessions.heartbeat(ClientKey::of("c")), None);
        assert_eq!(sessions.lives(ClientKey::of("c")), Some(false), "a heartbeat does not undo it");
        drop(stream);
        assert_eq!(sessions.terminate(ClientKey::of("elsewhere")), None);
        assert_eq!(sessions.lives(ClientKey::of("elsewhere")), Some(false), "remembered without a declaration");
    }

    #[test]
    fn the_number_of_sessions_is_bounded() {
        let (clock, sessions) = sessions(2);
        sessions.heard(ClientKey::of("a")).expect("room");
        sessions.heard(ClientKey::of("b")).expect("room");
        assert_eq!(sessions.heard(ClientKey::of("c")), Err(Full(2)));
        sessions.heard(ClientKey::of("a")).expect("a known one is no new one");
        clock.0.store(1200, Ordering::Relaxed);
        sessions.heard(ClientKey::of("c")).expect("the silent ones made room");
    }
}
