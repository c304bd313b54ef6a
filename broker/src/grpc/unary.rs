//! What the unary RPCs share: the caller, the way to the leader, deadlines, refusals as answers, the latency metric.

use std::{future::Future, sync::Arc, time::Duration};

use prost::Message;
use raft_log::ProposeError;
use tercet_proto::{
    headers,
    rocketmq::v2::{
        AckMessageResponse, ChangeInvisibleDurationResponse, Code, ForwardMessageToDeadLetterQueueResponse,
        HeartbeatResponse, NotifyClientTerminationResponse, QueryAssignmentResponse, QueryOffsetResponse,
        QueryRouteResponse, SendMessageResponse, messaging_service_client::MessagingServiceClient,
    },
};
use tokio::time::Instant;
use tonic::{
    Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use super::{caller::Caller, node::Node, refusal::Refusal};
use crate::{
    forward::{Errand, Line, Place, RelayError, Relayed, Resend},
    limits::ANSWER_BYTES_MAX,
    publish::SubmitError,
};

/// The client by which a node talks to another.
pub(super) type Client = MessagingServiceClient<Channel>;

/// How long a request waits for a leader at most: longer than an election, shorter than clients' patience.
pub(super) const FIND_LEADER_MAX: Duration = Duration::from_secs(3);
/// How long a request may take if the client sets no deadline.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// An answer that can be a refusal.
pub(super) trait Answer: Default {
    /// Sets the status.
    fn refused(refusal: &Refusal) -> Self;
    /// The status code.
    fn code(&self) -> i32;
}

macro_rules! answers {
    ($($name:ident),* $(,)?) => {$(
        impl Answer for $name {
            fn refused(refusal: &Refusal) -> Self {
                let mut answer = $name::default();
                answer.status.replace(refusal.into());
                answer
            }
            fn code(&self) -> i32 {
                self.status.as_ref().map_or(0, |status| status.code)
            }
        }
    )*};
}

answers!(
    AckMessageResponse,
    ChangeInvisibleDurationResponse,
    ForwardMessageToDeadLetterQueueResponse,
    HeartbeatResponse,
    NotifyClientTerminationResponse,
    QueryAssignmentResponse,
    QueryOffsetResponse,
    QueryRouteResponse,
    SendMessageResponse,
);

/// A call that is under way. Cheap to clone.
#[derive(Clone)]
pub(super) struct Call {
    /// Who calls.
    pub caller: Arc<Caller>,
    /// All headers.
    pub metadata: Arc<MetadataMap>,
}

impl Call {
    pub(super) fn new(caller: Caller, metadata: MetadataMap) -> Call {
        Call { caller: Arc::new(caller), metadata: Arc::new(metadata) }
    }

    /// The same with so much less time.
    fn later(&self, by: Duration) -> Call {
        let timeout = self.caller.timeout.map(|timeout| timeout.saturating_sub(by));
        Call { caller: Arc::new(Caller { timeout, ..(*self.caller).clone() }), metadata: Arc::clone(&self.metadata) }
    }

    /// How long to look for a leader.
    pub(super) fn find_until(&self) -> Instant {
        let patience = self.caller.timeout.map_or(FIND_LEADER_MAX, |timeout| FIND_LEADER_MAX.min(timeout * 3 / 4));
        Instant::now() + patience
    }

    /// When the client stops waiting.
    pub(super) fn answer_until(&self) -> Instant {
        Instant::now() + self.caller.timeout.unwrap_or(ANSWER_WITHIN).min(Duration::from_secs(60))
    }
}

/// Answers a request on this node.
pub(super) async fn here<Q, A, F, Fut>(
    node: &Arc<Node>,
    rpc: &'static str,
    request: Request<Q>,
    act: F,
) -> Result<Response<A>, Status>
where
    A: Answer,
    F: FnOnce(Arc<Node>, Call, Q) -> Fut,
    Fut: Future<Output = Result<Response<A>, Refused>>,
{
    let began = node.clock.monotonic();
    let (metadata, _, message) = request.into_parts();
    let result = match Caller::of(&metadata) {
        Ok(caller) => act(Arc::clone(node), Call::new(caller, metadata), message).await,
        Err(refusal) => Err(refusal.into()),
    };
    let answer = match result {
        Ok(answer) => Ok(answer),
        Err(Refused::Typed(refusal)) => Ok(refused(&refusal)),
        Err(Refused::Grpc(status)) => Err(status),
    };
    let code = answer.as_ref().map_or(0, |answer| answer.get_ref().code());
    let after = node.clock.monotonic().saturating_sub(began);
    node.options.traffic.answered(rpc, u32::try_from(code).unwrap_or(0), after);
    answer
}

/// Answers a request at the leader: by `act` if that is this node, else by `call` there. What waited in a line when the
/// leadership was lost, and was surely not done, goes on to the next leader.
pub(super) async fn at_leader<Q, A, F, Fut, C, CFut>(
    node: &Arc<Node>,
    rpc: &'static str,
    request: Request<Q>,
    resend: Resend,
    act: F,
    call: C,
) -> Result<Response<A>, Status>
where
    Q: Message + Clone,
    A: Answer,
    F: Fn(Arc<Node>, Call, Q) -> Fut,
    Fut: Future<Output = Result<Response<A>, Refused>>,
    C: Fn(Client, Request<Q>) -> CFut,
    CFut: Future<Output = Result<Response<A>, Status>>,
{
    here(node, rpc, request, async |node, call_of, message| {
        let (mut context, mut message) = (call_of.clone(), message);
        let (began, find_until, answer_until) = (Instant::now(), call_of.find_until(), call_of.answer_until());
        let line = if resend == Resend::Never { Line::Publishes } else { Line::Calls };
        loop {
            let leadership = node.relay.leadership();
            let asked = leadership.place();
            // What another node forwards, it takes to the next leader itself.
            let again = (!context.caller.forwarded).then(|| message.clone());
            let answered = if asked == Some(Place::Here) {
                act(Arc::clone(&node), context, message).await
            } else {
                let bytes = message.encoded_len();
                let metadata = &*context.metadata;
                let errand = Errand { metadata, message, bytes, find_until, answer_until, resend, line };
                // In a box: most calls come to the leader, and do not carry the room that this would take.
                match Box::pin(node.relay.run(errand, |channel, request| call(client(channel), request))).await? {
                    Relayed::Here(message) => act(Arc::clone(&node), context, message).await,
                    Relayed::Answer(answer) => Ok(answer),
                }
            };
            match again {
                Some(same) if leads_no_longer(&answered) && Instant::now() < find_until => {
                    leadership.settle(asked.as_ref(), find_until).await;
                    (context, message) = (call_of.later(began.elapsed()), same);
                }
                _ => return answered,
            }
        }
    })
    .await
}

/// Whether whoever was asked led no longer, and surely did nothing.
fn leads_no_longer<A: Answer>(answered: &Result<Response<A>, Refused>) -> bool {
    match answered {
        Ok(answer) => {
            answer.get_ref().code() == Code::HaNotAvailable as i32 && !answer.metadata().contains_key(headers::OUTCOME)
        }
        Err(Refused::Typed(refusal)) => refusal.is_no_leader(),
        Err(Refused::Grpc(_)) => false,
    }
}

/// Returns when this leader's state shows everything that was acknowledged before (hazards 13).
pub(super) async fn up_to_date(node: &Node) -> Result<(), Refused> {
    match node.replica.read_index().await {
        Ok(_) => Ok(()),
        Err(ProposeError::NotLeader { .. }) => Err(Refusal::no_leader().into()),
        Err(error) => Err(Refusal::new(Code::ProxyTimeout, format!("no majority answered: {error}")).into()),
    }
}

/// The client by which a node talks to another.
pub(super) fn client(channel: Channel) -> Client {
    MessagingServiceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// A refusal as an answer, marked if it may have been done nevertheless.
fn refused<A: Answer>(refusal: &Refusal) -> Response<A> {
    let mut answer = Response::new(A::refused(refusal));
    if refusal.unknown {
        answer.metadata_mut().insert(headers::OUTCOME, MetadataValue::from_static("unknown"));
    }
    answer
}

/// Why a call is not done: by a code of the protocol, or on the level of gRPC.
#[derive(Debug)]
pub(super) enum Refused {
    /// A status in the answer.
    Typed(Refusal),
    /// No answer but this.
    Grpc(Status),
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused::Typed(refusal)
    }
}

impl From<SubmitError> for Refused {
    fn from(error: SubmitError) -> Refused {
        Refused::Typed(error.into())
    }
}

impl From<RelayError> for Refused {
    fn from(error: RelayError) -> Refused {
        match error {
            RelayError::NoLeader => Refusal::no_leader().into(),
            RelayError::Overloaded => {
                Refusal::new(Code::TooManyRequests, "too much is on its way to the leader").into()
            }
            RelayError::Answered(status) => Refused::Grpc(status),
            RelayError::Broken(status) => {
                let why = format!("the leader did not answer, so the outcome is unknown: {}", status.message());
                Refusal::unknown(Code::ProxyTimeout, why).into()
            }
        }
    }
}

impl From<SubmitError> for Refusal {
    fn from(error: SubmitError) -> Refusal {
        match error {
            SubmitError::NotLeader => Refusal::no_leader(),
            SubmitError::Overloaded => {
                Refusal::new(Code::TooManyRequests, "too many bytes wait to be stored; nothing was stored, try later")
            }
            SubmitError::DiskFull => {
                Refusal::new(Code::TooManyRequests, format!("{error}; nothing was stored, try later"))
            }
            SubmitError::TooLarge { .. } => Refusal::new(Code::PayloadTooLarge, error.to_string()),
            SubmitError::Unknown(_) => Refusal::unknown(Code::MasterPersistenceTimeout, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal_of(refused: Refused) -> Refusal {
        match refused {
            Refused::Typed(refusal) => refusal,
            Refused::Grpc(status) => panic!("a gRPC status: {status}"),
        }
    }

    #[test]
    fn only_what_was_surely_not_done_goes_on_to_the_next_leader() {
        let answer = |refusal: Refusal| Ok::<_, Refused>(refused::<SendMessageResponse>(&refusal));
        assert!(leads_no_longer(&answer(Refusal::no_leader())));
        assert!(leads_no_longer::<SendMessageResponse>(&Err(SubmitError::NotLeader.into())));
        let unknown = || SubmitError::Unknown(String::from("x"));
        for answered in [
            answer(Refusal::unknown(Code::HaNotAvailable, "x")),
            answer(SubmitError::Overloaded.into()),
            answer(unknown().into()),
            Err(unknown().into()),
            Err(RelayError::Broken(Status::unavailable("x")).into()),
            Err(Refused::Grpc(Status::unavailable("x"))),
        ] {
            assert!(!leads_no_longer(&answered), "{answered:?}");
        }
    }

    /// hazards 15: every way to fail says whether it may be stored.
    #[test]
    fn outcomes_are_told_apart_by_code_and_mark() {
        let unknown = || SubmitError::Unknown(String::from("x"));
        let cases: Vec<(Refused, Code, bool)> = vec![
            (SubmitError::NotLeader.into(), Code::HaNotAvailable, false),
            (SubmitError::Overloaded.into(), Code::TooManyRequests, false),
            (SubmitError::DiskFull.into(), Code::TooManyRequests, false),
            (SubmitError::TooLarge { bytes: 1 }.into(), Code::PayloadTooLarge, false),
            (unknown().into(), Code::MasterPersistenceTimeout, true),
            (RelayError::NoLeader.into(), Code::HaNotAvailable, false),
            (RelayError::Overloaded.into(), Code::TooManyRequests, false),
            (RelayError::Broken(Status::unavailable("x")).into(), Code::ProxyTimeout, true),
        ];
        for (refused_by, code, unknown) in cases {
            let refusal = refusal_of(refused_by);
            assert_eq!((refusal.code, refusal.unknown), (code, unknown));
            let answer: Response<SendMessageResponse> = refused(&refusal);
            assert_eq!(answer.get_ref().code(), code as i32);
            assert_eq!(answer.metadata().contains_key(headers::OUTCOME), unknown);
        }
    }
}
