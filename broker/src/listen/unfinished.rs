//! Requests that are not whole yet: what they hold is counted before it is buffered, and they must become whole in time.
//!
//! ```text
//!   frames of a request ─► UnfinishedBody ─► decoder ─► handler
//!                            │ charges: connection, then process
//!                            └ no room, or late: an error instead of a frame
//! ```
//! Small requests (acknowledgements, heartbeats) are charged to a pool of their own, so that large ones which nobody
//! finishes cannot keep them out.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame};
use tokio::time::{Sleep, sleep};
use tonic::Status;

use super::{answer::PREFIX_BYTES, load::Load};
use crate::{
    limits::{
        CONNECTION_UNFINISHED_BYTES_MAX, SMALL_REQUEST_BYTES_MAX, SMALL_UNFINISHED_BYTES_MAX, UNFINISHED_BYTES_MAX,
    },
    metrics::{Ports, Unadmitted},
};

/// A request must be whole so long after its first byte, and each message of a stream of requests as well.
const WHOLE_WITHIN: Duration = Duration::from_secs(30);

/// What all connections of a process may hold.
#[derive(Debug)]
pub(super) struct Budget {
    small: Pool,
    large: Pool,
    ports: Ports,
}

#[derive(Debug)]
struct Pool {
    held: AtomicUsize,
    bytes_max: usize,
}

impl Pool {
    fn new(bytes_max: usize) -> Pool {
        Pool { held: AtomicUsize::new(0), bytes_max }
    }

    fn take(&self, bytes: usize) -> bool {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.bytes_max {
            self.held.fetch_sub(bytes, Ordering::Relaxed);
        }
        held <= self.bytes_max
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Budget {
    pub(super) fn new(ports: Ports) -> Arc<Budget> {
        let (small, large) = (Pool::new(SMALL_UNFINISHED_BYTES_MAX), Pool::new(UNFINISHED_BYTES_MAX));
        Arc::new(Budget { small, large, ports })
    }

    fn pool(&self, bytes: usize) -> &Pool {
        if bytes <= SMALL_REQUEST_BYTES_MAX { &self.small } else { &self.large }
    }
}

/// What one request holds.
struct Charge {
    budget: Arc<Budget>,
    load: Arc<Load>,
    bytes: usize,
}

impl Charge {
    /// Holds this much from now on. On failure it holds what it held.
    fn set(&mut self, bytes: usize) -> bool {
        if bytes == self.bytes {
            return true;
        }
        if bytes > self.bytes && !self.load.hold(bytes - self.bytes, CONNECTION_UNFINISHED_BYTES_MAX) {
            return false;
        }
        let (before, after) = (self.budget.pool(self.bytes), self.budget.pool(bytes));
        let taken = if std::ptr::eq(before, after) && bytes > self.bytes {
            after.take(bytes - self.bytes)
        } else if std::ptr::eq(before, after) {
            after.give_back(self.bytes - bytes);
            true
        } else {
            let taken = after.take(bytes);
            if taken {
                before.give_back(self.bytes);
            }
            taken
        };
        match (taken, bytes > self.bytes) {
            (true, true) => {}
            (true, false) => self.load.let_go(self.bytes - bytes),
            (false, true) => self.load.let_go(bytes - self.bytes),
            // The small pool is full; what is held stays in the large one.
            (false, false) => {}
        }
        if taken {
            self.budget.ports.unfinished_bytes().inc_by(signed(bytes) - signed(self.bytes));
            self.bytes = bytes;
        }
        taken
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).expect("below the bound of a request")
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.pool(self.bytes).give_back(self.bytes);
        self.load.let_go(self.bytes);
        self.budget.ports.unfinished_bytes().dec_by(signed(self.bytes));
    }
}

/// How much of a request counts as unfinished.
enum Extent {
    /// All of it, until its end.
    Whole,
    /// Of a stream of requests, the message that is under way.
    Message { prefix: [u8; PREFIX_BYTES], prefix_bytes: usize, body_left: usize, bytes: usize },
}

impl Extent {
    /// What is unfinished after these bytes, and whether a message became whole by them.
    fn after(&mut self, held: usize, data: &[u8]) -> (usize, bool) {
        let Extent::Message { prefix, prefix_bytes, body_left, bytes } = self else {
            return (held + data.len(), false);
        };
        let (mut data, mut whole) = (data, false);
        while !data.is_empty() {
            if *prefix_bytes < PREFIX_BYTES {
                let some = data.len().min(PREFIX_BYTES - *prefix_bytes);
                prefix[*prefix_bytes..*prefix_bytes + some].copy_from_slice(&data[..some]);
                (*prefix_bytes, *bytes) = (*prefix_bytes + some, *bytes + some);
                data.advance(some);
                let [_, length @ ..] = *prefix;
                *body_left = u32::from_be_bytes(length) as usize;
            } else {
                let some = data.len().min(*body_left);
                (*body_left, *bytes) = (*body_left - some, *bytes + some);
                data.advance(some);
            }
            if *prefix_bytes == PREFIX_BYTES && *body_left == 0 {
                (*prefix_bytes, *bytes) = (0, 0);
                whole = true;
            }
        }
        (*bytes, whole)
    }

    /// Whether something is awaited that must come in time.
    fn is_awaited(&self) -> bool {
        match self {
            Extent::Whole => true,
            Extent::Message { bytes, .. } => *bytes > 0,
        }
    }
}

/// The body of a request on its way in.
pub(crate) struct UnfinishedBody<B> {
    body: B,
    extent: Extent,
    charge: Charge,
    /// When it must be whole; made when it has to be waited for.
    late: Option<Pin<Box<Sleep>>>,
    /// Told why it was refused.
    refused: Arc<Refused>,
}

/// Why a request was refused, for whoever writes its answer.
#[derive(Debug, Default)]
pub(super) struct Refused(std::sync::OnceLock<Status>);

impl Refused {
    /// Nothing unless it was.
    pub(super) fn why(&self) -> Option<&Status> {
        self.0.get()
    }
}

impl<B> UnfinishedBody<B> {
    /// `streams`: whether the request is a stream of requests, which stays open for as long as the client likes.
    pub(super) fn new(
        body: B,
        streams: bool,
        (budget, load): (Arc<Budget>, Arc<Load>),
        refused: Arc<Refused>,
    ) -> UnfinishedBody<B> {
        let extent = if streams {
            Extent::Message { prefix: [0; PREFIX_BYTES], prefix_bytes: 0, body_left: 0, bytes: 0 }
        } else {
            Extent::Whole
        };
        let charge = Charge { budget, load, bytes: 0 };
        UnfinishedBody { body, extent, charge, late: None, refused }
    }

    fn refuse(&self, why: Unadmitted) -> Status {
        self.charge.budget.ports.unadmitted(why);
        let status = match why {
            Unadmitted::Bytes => Status::resource_exhausted("too many bytes of unfinished requests are held"),
            Unadmitted::Late => {
                let seconds = WHOLE_WITHIN.as_secs();
                Status::deadline_exceeded(format!("the request was not whole within {seconds} s"))
            }
        };
        self.refused.0.get_or_init(|| status).clone()
    }
}

impl<B> Body for UnfinishedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) else {
            if this.extent.is_awaited() {
                let late = this.late.get_or_insert_with(|| Box::pin(sleep(WHOLE_WITHIN)));
                ready!(late.as_mut().poll(cx));
                return Poll::Ready(Some(Err(this.refuse(Unadmitted::Late))));
            }
            return Poll::Pending;
        };
        let frame = match frame {
            None => {
                this.charge.set(0);
                return Poll::Ready(None);
            }
            Some(Err(error)) => return Poll::Ready(Some(Err(Status::from_error(error.into())))),
            Some(Ok(frame)) => frame,
        };
        if let Some(data) = frame.data_ref() {
            let (mut unfinished, whole) = this.extent.after(this.charge.bytes, data);
            if this.body.is_end_stream() {
                // Most requests come in one piece, and are never unfinished.
                unfinished = 0;
            }
            if !this.charge.set(unfinished) && unfinished > this.charge.bytes {
                return Poll::Ready(Some(Err(this.refuse(Unadmitted::Bytes))));
            }
            if whole {
                this.late = None;
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

#[cfg(test)]
#[path = "unfinished_tests.rs"]
mod tests;
