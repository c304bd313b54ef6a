//! Who is remembered, for how long, and who makes room.

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
    assert_eq!(sessions.heartbeat(ClientKey::of("c")), Beat::Undeclared);
    assert_eq!(sessions.lives(ClientKey::of("c")), Some(true), "it counts as heard");
    sessions.declare(ClientKey::of("c"), Subject::Producer).expect("room");
    clock.0.store(1100, Ordering::Relaxed);
    assert_eq!(sessions.heartbeat(ClientKey::of("c")), Beat::Declared(Subject::Producer));
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
    assert_eq!(sessions.heartbeat(ClientKey::of("c")), Beat::Left);
    assert_eq!(sessions.lives(ClientKey::of("c")), Some(false), "a heartbeat does not undo it");
    drop(stream);
    assert_eq!(sessions.terminate(ClientKey::of("elsewhere")), None);
    assert_eq!(sessions.lives(ClientKey::of("elsewhere")), Some(false), "remembered without a declaration");
}

#[test]
fn a_client_leaves_with_its_last_stream() {
    let (_, sessions) = sessions(10);
    let client = ClientKey::of("c");
    let [first, second, third] = [(); 3].map(|()| sessions.open_stream(client).expect("room"));
    assert!(!first.leave(), "two are open");
    drop(second);
    assert_eq!(sessions.lives(client), Some(true));
    assert!(third.leave());
    assert_eq!(sessions.lives(client), Some(false));
    let again = sessions.open_stream(client).expect("room");
    assert_eq!(sessions.lives(client), Some(true), "it has come back");
    drop(again);
    assert_eq!(sessions.lives(client), Some(true), "it fell silent");
}

#[test]
fn the_number_of_sessions_is_bounded() {
    let (clock, sessions) = sessions(2);
    sessions.declare(ClientKey::of("a"), Subject::Producer).expect("room");
    sessions.declare(ClientKey::of("b"), Subject::Producer).expect("room");
    assert_eq!(sessions.declare(ClientKey::of("c"), Subject::Producer), Err(Full(2)));
    sessions.heard(ClientKey::of("a")).expect("a known one is no new one");
    clock.0.store(1200, Ordering::Relaxed);
    sessions.heard(ClientKey::of("c")).expect("the silent ones made room");
}

#[test]
fn client_ids_that_nobody_uses_push_out_their_own_only() {
    let (clock, sessions) = sessions(100);
    let live: Vec<ClientKey> = (0..90).map(|n| ClientKey::of(&format!("live {n}"))).collect();
    for time in [1000, 1010] {
        clock.0.store(time, Ordering::Relaxed);
        live.iter().for_each(|client| sessions.heard(*client).expect("room"));
    }
    let _streaming = sessions.open_stream(ClientKey::of("streaming")).expect("room");
    for n in 0..10_000 {
        clock.0.store(1010 + n / 500, Ordering::Relaxed);
        sessions.heard(ClientKey::of(&format!("junk {n}"))).expect("the oldest of them makes room");
    }
    assert_eq!(sessions.count(), 100);
    assert!(live.iter().all(|client| sessions.lives(*client) == Some(true)));
    sessions.declare(ClientKey::of("new"), Subject::Producer).expect("one that declares itself finds room");
    clock.0.store(1300, Ordering::Relaxed);
    sessions.sweep();
    assert_eq!(sessions.count(), 1, "but for the open stream, all went by silence");
    let table = sessions.lock();
    assert!(table.silent.is_empty() && table.strangers.is_empty());
}
