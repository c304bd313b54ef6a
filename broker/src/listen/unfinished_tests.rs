//! Bodies that stop half-way, and bodies that only look like it.

use std::collections::VecDeque;

use http_body_util::BodyExt as _;

use super::*;

/// Frames of these sizes; then, unless it ends, nothing for ever.
struct Script {
    frames: VecDeque<Bytes>,
    ends: bool,
    /// Whether its last frame says that it is the last.
    marked: bool,
}

impl Body for Script {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.frames.pop_front() {
            Some(data) => Poll::Ready(Some(Ok(Frame::data(data)))),
            None if self.ends => Poll::Ready(None),
            None => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.marked && self.frames.is_empty()
    }
}

struct Rig {
    budget: Arc<Budget>,
    load: Arc<Load>,
    ports: Ports,
}

impl Rig {
    fn new() -> Rig {
        let ports = Ports::default();
        Rig { budget: Budget::new(ports.clone()), load: Arc::new(Load::new()), ports }
    }

    fn body(&self, streams: bool, frames: &[&[u8]], ends: bool) -> UnfinishedBody<Script> {
        let frames = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        let owners = (Arc::clone(&self.budget), Arc::clone(&self.load));
        UnfinishedBody::new(Script { frames, ends, marked: false }, streams, owners, Arc::default())
    }

    fn held(&self) -> (i64, usize) {
        let pools = [&self.budget.small, &self.budget.large];
        (self.ports.unfinished_bytes().get(), pools.iter().map(|pool| pool.held.load(Ordering::Relaxed)).sum())
    }
}

fn message(bytes: usize) -> Vec<u8> {
    let mut message = vec![0];
    message.extend(u32::try_from(bytes).unwrap().to_be_bytes());
    message.resize(PREFIX_BYTES + bytes, b'x');
    message
}

#[tokio::test(start_paused = true)]
async fn a_request_is_held_until_its_end_and_then_no_longer() {
    let rig = Rig::new();
    let large = vec![0; 1 << 20];
    let mut body = rig.body(false, &[&large, b"end"], true);
    body.frame().await.unwrap().unwrap();
    assert_eq!(rig.held(), (1 << 20, 1 << 20));
    body.frame().await.unwrap().unwrap();
    assert_eq!(rig.held().0, (1 << 20) + 3);
    assert!(body.frame().await.is_none());
    assert_eq!(rig.held(), (0, 0));
    let mut cut_off = rig.body(false, &[&large], false);
    cut_off.frame().await.unwrap().unwrap();
    drop(cut_off);
    assert_eq!(rig.held(), (0, 0), "a request whose client is gone");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_end_is_refused_in_time() {
    let rig = Rig::new();
    for frames in [&[][..], &[&b"half"[..]]] {
        let mut body = rig.body(false, frames, false);
        let began = tokio::time::Instant::now();
        let error = loop {
            match body.frame().await.unwrap() {
                Ok(_) => {}
                Err(status) => break status,
            }
        };
        assert_eq!((error.code(), began.elapsed()), (tonic::Code::DeadlineExceeded, WHOLE_WITHIN));
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_may_rest_between_messages_but_not_inside_of_one() {
    let rig = Rig::new();
    let (whole, half) = (message(1000), &message(1000)[..500]);
    let mut resting = rig.body(true, &[&whole, &whole], false);
    for _ in 0..2 {
        resting.frame().await.unwrap().unwrap();
    }
    assert_eq!(rig.held(), (0, 0));
    let rest = tokio::time::timeout(Duration::from_secs(24 * 3600), resting.frame()).await;
    assert!(rest.is_err(), "it rests as long as it likes");

    let mut stuck = rig.body(true, &[&whole, half], false);
    for _ in 0..2 {
        stuck.frame().await.unwrap().unwrap();
    }
    assert_eq!(rig.held(), (500, 500));
    assert_eq!(stuck.frame().await.unwrap().unwrap_err().code(), tonic::Code::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn messages_are_told_apart_wherever_frames_are_cut() {
    let rig = Rig::new();
    let bytes = [message(3), message(0), message(70_000), message(1)].concat();
    for size in [1, 2, 5, 7, 1000, bytes.len()] {
        let frames: Vec<&[u8]> = bytes.chunks(size).collect();
        let mut body = rig.body(true, &frames, true);
        while let Some(frame) = body.frame().await {
            frame.unwrap();
        }
        assert_eq!(rig.held(), (0, 0), "frames of {size} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn one_connection_cannot_hold_everything_and_all_of_them_not_more_than_the_bound() {
    let rig = Rig::new();
    let half = vec![0; 32 << 20];
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut body = rig.body(false, &[&half], false);
        body.frame().await.unwrap().unwrap();
        held.push(body);
    }
    let beyond = rig.body(false, &[&half], false).frame().await.unwrap().unwrap_err();
    assert_eq!(beyond.code(), tonic::Code::ResourceExhausted);

    let other = Rig { budget: Arc::clone(&rig.budget), load: Arc::new(Load::new()), ports: rig.ports.clone() };
    for _ in 0..2 {
        let mut body = other.body(false, &[&half], false);
        body.frame().await.unwrap().unwrap();
        held.push(body);
    }
    let third = Rig { budget: Arc::clone(&rig.budget), load: Arc::new(Load::new()), ports: rig.ports.clone() };
    let beyond = third.body(false, &[&half], false).frame().await.unwrap().unwrap_err();
    assert_eq!(beyond.code(), tonic::Code::ResourceExhausted);
    let mut small = third.body(false, &[b"an acknowledgement"], true);
    small.frame().await.unwrap().expect("small requests have room of their own");
    drop((held, small));
    assert_eq!(rig.held(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_comes_in_one_piece_is_never_unfinished() {
    let rig = Rig::new();
    let mut taken = rig.body(false, &[&vec![0; CONNECTION_UNFINISHED_BYTES_MAX]], false);
    taken.frame().await.unwrap().unwrap();
    let mut body = rig.body(false, &[b"a send"], true);
    body.body.marked = true;
    body.frame().await.unwrap().expect("there is no room for unfinished ones, and it is none");
    assert_eq!(rig.held(), (64 << 20, 64 << 20));
}
