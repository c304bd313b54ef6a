//! Takes a request to the leader: here, or at another node.

use std::{error::Error as _, future::Future, sync::Arc, time::Duration};

use tokio::time::Instant;
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Channel};

use super::{
    leadership::{Leadership, Place},
    line::Line,
    peers::{NoSeat, Peers, never_sent},
    pool::Seat,
};
use crate::{held_bytes::HeldBytes, limits::FORWARDED_BYTES_MAX};

/// Marks a request that another node forwarded.
pub const HOP_HEADER: &str = "x-tercet-hop";
/// Of the headers, those with these beginnings are copied to the leader; the others belong to the connection.
const COPIED: [&str; 3] = ["x-mq-", "x-tercet-", "authorization"];

/// Whether a request may be sent again after a connection broke with its outcome unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resend {
    /// Doing it twice is doing it once.
    Safe,
    /// It is a publish, or something like it.
    Never,
}

/// Why the leader gave no answer.
#[derive(Debug)]
pub enum RelayError {
    /// No leader was found in time. Nothing was done.
    NoLeader,
    /// Too many calls, or too many bytes, are on their way to the leader. Nothing was done.
    Overloaded,
    /// The leader refused on the level of gRPC.
    Answered(Status),
    /// The connection broke after the request was sent, or the leader did not answer in time. It may have been done.
    Broken(Status),
}

/// What became of a request.
#[derive(Debug)]
pub enum Relayed<Q, A> {
    /// This node leads: the caller does it.
    Here(Q),
    /// The leader's answer, with our own of its headers.
    Answer(A),
}

/// A request on its way to the leader.
#[derive(Clone)]
pub struct Errand<'a, Q> {
    /// The client's headers.
    pub metadata: &'a MetadataMap,
    /// The request.
    pub message: Q,
    /// What it holds in memory.
    pub bytes: usize,
    /// How long to look for a leader.
    pub find_until: Instant,
    /// How long the leader has to answer.
    pub answer_until: Instant,
    /// Whether it may be sent twice.
    pub resend: Resend,
    /// By which of the kept connections it goes.
    pub line: Line,
}

/// Knows the leader and the way to it.
pub struct Relay {
    leadership: Arc<Leadership>,
    peers: Peers,
    on_the_way: HeldBytes,
}

impl Relay {
    /// Finds the leader by this.
    pub fn new(leadership: Arc<Leadership>) -> Relay {
        Relay { leadership, peers: Peers::default(), on_the_way: HeldBytes::new(FORWARDED_BYTES_MAX) }
    }

    /// The leadership that it goes by.
    pub fn leadership(&self) -> &Arc<Leadership> {
        &self.leadership
    }

    /// A kept connection to a node's client address, for a question to this one node.
    pub fn channel(&self, address: &str) -> Option<Channel> {
        self.peers.seat(address, Line::Calls).ok().map(|seat| seat.channel())
    }

    /// Brings the errand to the leader. `call` makes the RPC on a connection.
    pub async fn run<Q, A, F, Fut>(&self, errand: Errand<'_, Q>, call: F) -> Result<Relayed<Q, Response<A>>, RelayError>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        Ok(match self.open(errand, call).await? {
            Relayed::Here(message) => Relayed::Here(message),
            Relayed::Answer((answer, _seat)) => Relayed::Answer(answer),
        })
    }

    /// The same for an answer that is a stream: it counts as answered when its headers came, and needs its seat until
    /// its end.
    pub async fn open<Q, A, F, Fut>(
        &self,
        errand: Errand<'_, Q>,
        call: F,
    ) -> Result<Relayed<Q, (Response<A>, Seat)>, RelayError>
    where
        Q: Clone,
        F: Fn(Channel, Request<Q>) -> Fut,
        Fut: Future<Output = Result<Response<A>, Status>>,
    {
        let forwarded = errand.metadata.contains_key(HOP_HEADER);
        loop {
            let found = self.leadership.find(forwarded, (errand.bytes, errand.line), errand.find_until).await;
            let place = found.ok_or(RelayError::NoLeader)?;
            let Place::At { client, .. } = &place else { return Ok(Relayed::Here(errand.message)) };
            assert!(!forwarded, "a forwarded request is done here or not at all");
            let _on_the_way = errand.line.hold(errand.bytes, &self.on_the_way).ok_or(RelayError::Overloaded)?;
            let seat = self.peers.seat(client, errand.line).map_err(|why| match why {
                NoSeat::Address => RelayError::NoLeader,
                NoSeat::Full => RelayError::Overloaded,
            })?;
            let answer = tokio::select! {
                answer = call(seat.channel(), marked(&errand)) => answer,
                () = self.leadership.moved(&place) => Err(unanswered()),
            };
            match answer {
                Ok(answer) => return Ok(Relayed::Answer((own_headers(answer), seat))),
                Err(status) if never_sent(&status) => {}
                Err(status) if status.source().is_none() => return Err(RelayError::Answered(status)),
                Err(_) if errand.resend == Resend::Safe && Instant::now() < errand.find_until => {}
                Err(status) => return Err(RelayError::Broken(status)),
            }
            if Instant::now() >= errand.find_until {
                return Err(RelayError::NoLeader);
            }
            drop(seat);
            self.leadership.settle(Some(&place), errand.find_until).await;
        }
    }
}

/// A call that was given up because another node leads. It has a source, like every failure that no leader answered.
fn unanswered() -> Status {
    Status::from_error(Box::new(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        "the leader changed before it answered",
    )))
}

/// The request as the leader gets it.
fn marked<Q: Clone>(errand: &Errand<'_, Q>) -> Request<Q> {
    let mut request = Request::new(errand.message.clone());
    let metadata = request.metadata_mut();
    copy(errand.metadata, metadata, &COPIED);
    metadata.insert(HOP_HEADER, tonic::metadata::MetadataValue::from_static("1"));
    let left = errand.answer_until.saturating_duration_since(Instant::now());
    request.set_timeout(left.max(Duration::from_millis(1)));
    request
}

/// The answer without the headers of the inner connection.
fn own_headers<A>(answer: Response<A>) -> Response<A> {
    let mut own = MetadataMap::new();
    copy(answer.metadata(), &mut own, &["x-tercet-"]);
    let mut answer = Response::new(answer.into_inner());
    *answer.metadata_mut() = own;
    answer
}

fn copy(from: &MetadataMap, to: &mut MetadataMap, beginnings: &[&str]) {
    for entry in from.iter() {
        if let tonic::metadata::KeyAndValueRef::Ascii(key, value) = entry
            && beginnings.iter().any(|beginning| key.as_str().starts_with(beginning))
        {
            to.append(key, value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tercet_proto::rocketmq::v2::{HeartbeatRequest, messaging_service_client::MessagingServiceClient};
    use tokio::{io::AsyncReadExt, net::TcpListener, sync::watch};

    use super::*;
    use crate::forward::{leadership::tests::status_at, line::Size};

    #[test]
    fn a_forwarded_request_carries_the_clients_headers_and_the_mark() {
        let mut metadata = MetadataMap::new();
        for (key, value) in [("x-mq-client-id", "c"), ("x-tercet-sequence", "7"), ("authorization", "a"), ("te", "x")] {
            metadata.insert(key, value.parse().expect("a header value"));
        }
        let now = Instant::now();
        let errand = Errand {
            metadata: &metadata,
            message: (),
            bytes: 0,
            find_until: now,
            answer_until: now + Duration::from_secs(3),
            resend: Resend::Never,
            line: Line::Calls,
        };
        let request = marked(&errand);
        for present in ["x-mq-client-id", "x-tercet-sequence", "authorization", HOP_HEADER, "grpc-timeout"] {
            assert!(request.metadata().contains_key(present), "{present}");
        }
        assert!(!request.metadata().contains_key("te"));
    }

    #[test]
    fn an_answer_keeps_our_headers_only() {
        let mut answer = Response::new(());
        answer.metadata_mut().insert("x-tercet-queues", "3".parse().expect("a header value"));
        answer.metadata_mut().insert("date", "today".parse().expect("a header value"));
        let answer = own_headers(answer);
        assert!(answer.metadata().contains_key("x-tercet-queues") && !answer.metadata().contains_key("date"));
    }

    /// A leader that reads the beginning of each request and hangs up: was it done? Answers its address and how many
    /// requests it got.
    async fn hangs_up() -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let mut bytes = [0; 4096];
                if matches!(socket.read(&mut bytes).await, Ok(1..)) {
                    seen.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        (address, requests)
    }

    /// Brings one request to the leader that hangs up; answers what became of it and how often it was sent.
    async fn relayed(resend: Resend, find_for: Duration) -> (RelayError, usize) {
        let (address, requests) = hangs_up().await;
        let (_status, receiver) = watch::channel(status_at(Some(2), false, |_| address.clone()));
        let relay = Relay::new(Arc::new(Leadership::follow(receiver, 1000)));
        let errand = Errand {
            metadata: &MetadataMap::new(),
            message: HeartbeatRequest::default(),
            bytes: 1,
            find_until: Instant::now() + find_for,
            answer_until: Instant::now() + Duration::from_secs(60),
            resend,
            line: Line::Calls,
        };
        let call = |channel, request| async move { MessagingServiceClient::new(channel).heartbeat(request).await };
        let error = relay.run(errand, call).await.expect_err("nobody answers");
        (error, requests.load(Ordering::Relaxed))
    }

    // hazards 15: a publish whose bytes were sent is never sent again, however much time is left; its outcome is unknown.
    #[tokio::test]
    async fn a_publish_over_a_connection_that_breaks_is_sent_once_and_unknown() {
        let (error, sent) = relayed(Resend::Never, Duration::from_secs(60)).await;
        assert!(matches!(error, RelayError::Broken(_)), "{error:?}");
        assert_eq!(sent, 1);
    }

    #[tokio::test]
    async fn what_may_be_done_twice_is_sent_again_while_there_is_time() {
        let (error, sent) = relayed(Resend::Safe, Duration::from_secs(1)).await;
        assert!(matches!(error, RelayError::Broken(_) | RelayError::NoLeader), "{error:?}");
        assert!(sent > 1, "{sent}");
    }

    /// A leader that takes everything and answers nothing.
    async fn says_nothing() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((socket, _)) = listener.accept().await {
                open.push(socket);
            }
        });
        address
    }

    #[tokio::test]
    async fn receives_beyond_the_bound_are_refused_and_hold_up_nothing_else() {
        let address = says_nothing().await;
        let (_status, receiver) = watch::channel(status_at(Some(2), false, |_| address.clone()));
        let peers = Peers::sized(|line| Size { connections_max: 2, calls_max: 2, ..line.size() });
        let leadership = Arc::new(Leadership::follow(receiver, 1000));
        let relay = Relay { leadership, peers, on_the_way: HeldBytes::new(1000) };
        let metadata = MetadataMap::new();
        let errand = |line, bytes| Errand {
            metadata: &metadata,
            message: HeartbeatRequest::default(),
            bytes,
            find_until: Instant::now(),
            answer_until: Instant::now() + Duration::from_secs(60),
            resend: Resend::Safe,
            line,
        };
        let call = |channel, request| async move { MessagingServiceClient::new(channel).heartbeat(request).await };
        let waiting = (0..4).map(|_| relay.open(errand(Line::Receives, 1), call));
        let mut waiting = futures::future::join_all(waiting);
        assert!(futures::poll!(&mut waiting).is_pending(), "they wait for the leader");
        let more = relay.open(errand(Line::Receives, 1), call).await;
        assert!(matches!(more, Err(RelayError::Overloaded)), "{more:?}");
        let mut other = Box::pin(relay.run(errand(Line::Calls, 1), call));
        assert!(futures::poll!(&mut other).is_pending(), "it is on its way");
        let large = relay.run(errand(Line::Publishes, 800), call).await;
        assert!(matches!(large, Err(RelayError::Overloaded)), "{large:?}");
        let mut settling = Box::pin(relay.run(errand(Line::Calls, 800), call));
        assert!(futures::poll!(&mut settling).is_pending(), "publishes leave room for it");
        drop(waiting);
        let mut next = Box::pin(relay.open(errand(Line::Receives, 1), call));
        assert!(futures::poll!(&mut next).is_pending(), "it has the place of one that has ended");
    }

    // hazards 15: bytes left this node, so the outcome is unknown, and a publish is not sent again.
    #[test]
    fn a_call_that_was_given_up_counts_as_sent_and_not_as_answered() {
        let status = unanswered();
        assert!(status.source().is_some() && !never_sent(&status), "{status:?}");
    }
}
