//! The telemetry session: tells the broker who is there, as the official clients do.
//!
//! It is courtesy, never needed: nothing waits for it, and everything works while it is down (a broker that restarts
//! would otherwise stop its clients). A task keeps one stream open, sends the settings on it, and beats.

use std::time::Duration;

use futures::StreamExt as _;
use tercet_proto::rocketmq::v2::{
    self as pb, messaging_service_client::MessagingServiceClient, telemetry_command::Command,
};
use tokio::{sync::mpsc, task::JoinHandle};
use tonic::transport::Channel;

use crate::{client::Client, env, transport::Identity};

const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
/// A broken stream is opened again after this, doubling to the longest.
const REOPEN_FIRST: Duration = Duration::from_secs(1);
const REOPEN_LONGEST: Duration = Duration::from_secs(30);
/// Answers to heartbeats and farewells are not waited for longer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// The session of one producer; ends when dropped.
#[derive(Debug)]
pub(crate) struct Session {
    client: Client,
    /// Of its own: whoever says farewell must not take others of this process with it.
    identity: Identity,
    task: JoinHandle<()>,
}

impl Session {
    pub(crate) fn producer(client: Client) -> Self {
        let publishing = pb::Publishing { topics: Vec::new(), max_body_size: 4 << 20, validate_message_type: true };
        Self::start(client, pb::ClientType::Producer, pb::settings::PubSub::Publishing(publishing))
    }

    fn start(client: Client, client_type: pb::ClientType, pub_sub: pb::settings::PubSub) -> Self {
        let settings = pb::Settings {
            client_type: Some(client_type as i32),
            request_timeout: Some(proto_duration(client.options().attempt_timeout)),
            pub_sub: Some(pub_sub),
            user_agent: Some(pb::Ua {
                language: pb::Language::Rust as i32,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                platform: std::env::consts::OS.to_owned(),
                hostname: env::host_name(),
            }),
            ..Default::default()
        };
        let heartbeat = pb::HeartbeatRequest { group: None, client_type: client_type as i32 };
        let identity = client.new_identity();
        let task = tokio::spawn(keep_open(client.clone(), identity.clone(), settings, heartbeat));
        Self { client, identity, task }
    }

    /// Says farewell, so that the broker forgets this client at once.
    pub(crate) async fn end(&self) {
        self.task.abort();
        let request = pb::NotifyClientTerminationRequest { group: None };
        let request = self.identity.request(request);
        let farewell = self.client.attempt(ANSWER_TIMEOUT, |channel| async move {
            MessagingServiceClient::new(channel).notify_client_termination(request).await
        });
        drop(farewell.await);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep_open(client: Client, identity: Identity, settings: pb::Settings, heartbeat: pb::HeartbeatRequest) {
    let mut wait = REOPEN_FIRST;
    loop {
        client.learn_first_node(None).await;
        let opened = tokio::time::Instant::now();
        let settings = settings.clone();
        // The stream is read within the attempt's closure only until it is open; then it lives on its own.
        let attempt = client.attempt(ANSWER_TIMEOUT, |channel| open(channel, &identity, settings)).await;
        if let Ok((channel, commands, answers)) = attempt.result {
            stay(&identity, channel, commands, answers, &heartbeat).await;
        }
        if opened.elapsed() > REOPEN_LONGEST {
            wait = REOPEN_FIRST;
        }
        tokio::time::sleep(wait.mul_f64(1.0 - env::random_fraction() / 2.0)).await;
        wait = (wait * 2).min(REOPEN_LONGEST);
    }
}

type Opened = (Channel, mpsc::Sender<pb::TelemetryCommand>, tonic::Streaming<pb::TelemetryCommand>);

async fn open(channel: Channel, identity: &Identity, settings: pb::Settings) -> Result<Opened, tonic::Status> {
    let (commands, outgoing) = mpsc::channel(4);
    let command = pb::TelemetryCommand { status: None, command: Some(Command::Settings(settings)) };
    commands.try_send(command).expect("the channel is new and has room");
    let request = identity.request(tokio_stream::wrappers::ReceiverStream::new(outgoing));
    let answers = MessagingServiceClient::new(channel.clone()).telemetry(request).await?.into_inner();
    Ok((channel, commands, answers))
}

/// Reads the stream and beats until the stream ends. `commands` is held so that our side stays open.
async fn stay(
    identity: &Identity,
    channel: Channel,
    commands: mpsc::Sender<pb::TelemetryCommand>,
    mut answers: tonic::Streaming<pb::TelemetryCommand>,
    heartbeat: &pb::HeartbeatRequest,
) {
    let mut beat = tokio::time::interval(HEARTBEAT_INTERVAL);
    loop {
        tokio::select! {
            answer = answers.next() => {
                let Some(Ok(command)) = answer else { break };
                tracing::trace!(?command, "telemetry");
            }
            _ = beat.tick() => {
                let request = identity.request(heartbeat.clone());
                let mut service = MessagingServiceClient::new(channel.clone());
                if tokio::time::timeout(ANSWER_TIMEOUT, service.heartbeat(request)).await.is_err() {
                    break;
                }
            }
        }
    }
    drop(commands);
}

pub(crate) fn proto_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).expect("less than a billion"),
    }
}
