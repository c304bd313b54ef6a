//! Telemetry: the stream on which clients declare themselves. Headers go out at once; every settings command is
//! answered; nothing else is. Sends and receives never depend on it.

use std::sync::Arc;

use tercet_proto::rocketmq::v2::{Settings, TelemetryCommand, telemetry_command::Command};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{
    caller::Caller,
    groups::{self, NoPolicy},
    node::Node,
    settings::{self, GroupPolicy, SettingsError, Subject},
    unary::Call,
};
use crate::model::{ClientKey, GroupName, GroupSettings};

/// The answers.
pub(super) type Commands = ReceiverStream<Result<TelemetryCommand, Status>>;

/// Answers that the client has not read; then its commands are not read either.
const COMMANDS_AHEAD: usize = 16;

/// Answers the RPC.
pub(super) fn telemetry(node: &Arc<Node>, request: Request<Streaming<TelemetryCommand>>) -> Response<Commands> {
    let (sender, commands) = mpsc::channel(COMMANDS_AHEAD);
    let (metadata, _, stream) = request.into_parts();
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let stop = node.stop.clone();
        let end = match Caller::of(&metadata) {
            // A command with only a status, as in the reference.
            Err(refusal) => Err(Ok(TelemetryCommand { status: Some(refusal.into()), command: None })),
            Ok(caller) => {
                let call = Call::new(caller, metadata);
                tokio::select! {
                    end = converse(&node, &call, stream, &sender) => end.map_err(Err),
                    () = sender.closed() => Ok(()),
                    () = stop.cancelled() => Ok(()),
                }
            }
        };
        if let Err(last) = end {
            let _ = sender.send(last).await;
        }
    });
    Response::new(ReceiverStream::new(commands))
}

async fn converse(
    node: &Arc<Node>,
    call: &Call,
    mut stream: Streaming<TelemetryCommand>,
    sender: &mpsc::Sender<Result<TelemetryCommand, Status>>,
) -> Result<(), Status> {
    let client = ClientKey::of(&call.caller.client_id);
    let full = |full: super::sessions::Full| Status::resource_exhausted(full.to_string());
    let _open = node.sessions.open_stream(client).map_err(full)?;
    let mut _joined = None;
    // A connection that breaks ends the stream like a client that half-closes.
    while let Ok(Some(command)) = stream.message().await {
        let Some(Command::Settings(settings)) = command.command else { continue };
        let (answer, group) = declare(node, call, client, settings).await?;
        // The last declaration counts.
        _joined = group.map(|group| node.consumers.join(&group, &call.caller.client_id));
        if sender.send(Ok(answer)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn declare(
    node: &Arc<Node>,
    call: &Call,
    client: ClientKey,
    settings: Settings,
) -> Result<(TelemetryCommand, Option<GroupName>), Status> {
    let subject = settings::parse(&settings).map_err(|error| match error {
        SettingsError::Invalid(why) => Status::invalid_argument(why),
        SettingsError::Unserved(why) => Status::internal(why),
    })?;
    let policy = match &subject {
        Subject::Producer => default_policy(),
        Subject::Consumer { group, .. } => {
            groups::policy(node, call, group, settings::topics(&settings)).await.map_err(|why| match why {
                NoPolicy::Unknown => Status::invalid_argument(format!("consumer group {group} does not exist")),
                // The client connects again and asks again.
                NoPolicy::Unavailable(why) => Status::unavailable(why),
            })?
        }
    };
    let group = match &subject {
        Subject::Producer => None,
        Subject::Consumer { group, .. } => Some(group.clone()),
    };
    let declared = node.sessions.declare(client, subject);
    declared.map_err(|full| Status::resource_exhausted(full.to_string()))?;
    Ok((settings::answer(settings, policy), group))
}

fn default_policy() -> GroupPolicy {
    let GroupSettings { fifo, max_attempts, .. } = GroupSettings::default();
    GroupPolicy { attempts_max: max_attempts, fifo }
}
