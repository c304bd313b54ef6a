//! What the calls share that are done at the leader.

use std::{future::Future, sync::Arc, time::Duration};

use raft_log::ProposeError;
use tercet_proto::{admin::v1::admin_client::AdminClient, headers};
use tokio::time::Instant;
use tonic::{
    Request, Response, Status,
    metadata::{MetadataMap, MetadataValue},
    transport::Channel,
};

use crate::{
    forward::{Errand, Line, RelayError, Relayed, Resend},
    grpc::{Node, caller},
    limits::ANSWER_BYTES_MAX,
    publish::SubmitError,
};

/// The client by which a node talks to another.
pub(super) type Client = AdminClient<Channel>;

/// How long a call waits for a leader.
const FIND_LEADER_MAX: Duration = Duration::from_secs(3);
/// How long a call may take if the caller sets no deadline.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// A call on this connection.
pub(super) fn client(channel: Channel) -> Client {
    AdminClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// Does the call at the leader: by `act` if that is this node, else by `call` there. For what may be done twice.
pub(super) async fn at_leader<Q, A, F, Fut, C, CFut>(
    node: &Arc<Node>,
    request: Request<Q>,
    act: F,
    call: C,
) -> Result<Response<A>, Status>
where
    Q: Clone,
    F: FnOnce(Arc<Node>, MetadataMap, Q) -> Fut,
    Fut: Future<Output = Result<A, Status>>,
    C: Fn(Client, Request<Q>) -> CFut,
    CFut: Future<Output = Result<Response<A>, Status>>,
{
    pass_on(node, request, Resend::Safe, act, call).await
}

/// The same for a deletion, which names something: the second time, that may be something else.
pub(super) async fn once_at_leader<Q, A, F, Fut, C, CFut>(
    node: &Arc<Node>,
    request: Request<Q>,
    act: F,
    call: C,
) -> Result<Response<A>, Status>
where
    Q: Clone,
    F: FnOnce(Arc<Node>, MetadataMap, Q) -> Fut,
    Fut: Future<Output = Result<A, Status>>,
    C: Fn(Client, Request<Q>) -> CFut,
    CFut: Future<Output = Result<Response<A>, Status>>,
{
    pass_on(node, request, Resend::Never, act, call).await
}

async fn pass_on<Q, A, F, Fut, C, CFut>(
    node: &Arc<Node>,
    request: Request<Q>,
    resend: Resend,
    act: F,
    call: C,
) -> Result<Response<A>, Status>
where
    Q: Clone,
    F: FnOnce(Arc<Node>, MetadataMap, Q) -> Fut,
    Fut: Future<Output = Result<A, Status>>,
    C: Fn(Client, Request<Q>) -> CFut,
    CFut: Future<Output = Result<Response<A>, Status>>,
{
    let (metadata, _, message) = request.into_parts();
    let timeout = caller::timeout(&metadata).unwrap_or(ANSWER_WITHIN);
    let errand = Errand {
        metadata: &metadata,
        message,
        bytes: size_of::<Q>(),
        find_until: Instant::now() + FIND_LEADER_MAX.min(timeout * 3 / 4),
        answer_until: Instant::now() + timeout.min(Duration::from_secs(60)),
        resend,
        line: Line::Calls,
    };
    match node.relay.run(errand, |channel, request| call(client(channel), request)).await {
        Ok(Relayed::Here(message)) => Ok(Response::new(act(Arc::clone(node), metadata, message).await?)),
        Ok(Relayed::Answer(answer)) => Ok(answer),
        Err(RelayError::NoLeader) => Err(no_leader()),
        Err(RelayError::Overloaded) => Err(Status::resource_exhausted("too many bytes are on their way to the leader")),
        Err(RelayError::Answered(status)) => Err(status),
        Err(RelayError::Broken(status)) => {
            Err(Status::deadline_exceeded(format!("the leader did not answer: {}", status.message())))
        }
    }
}

/// Returns when this leader's state shows everything that was acknowledged before.
pub(super) async fn up_to_date(node: &Node) -> Result<(), Status> {
    match node.replica.read_index().await {
        Ok(_) => Ok(()),
        Err(ProposeError::NotLeader { .. }) => Err(no_leader()),
        Err(error) => Err(Status::unavailable(error.to_string())),
    }
}

fn no_leader() -> Status {
    let mut status = Status::unavailable("the broker group has no leader at the moment; nothing was done, try again");
    status.metadata_mut().insert(headers::OUTCOME, MetadataValue::from_static("refused"));
    status
}

/// A command's failure as a status.
pub(super) fn status_of(error: SubmitError) -> Status {
    match error {
        SubmitError::NotLeader => no_leader(),
        SubmitError::Overloaded | SubmitError::DiskFull => Status::resource_exhausted(error.to_string()),
        SubmitError::TooLarge { .. } => Status::invalid_argument(error.to_string()),
        SubmitError::Unknown(_) => Status::deadline_exceeded(error.to_string()),
    }
}
