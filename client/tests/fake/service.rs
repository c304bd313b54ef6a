//! The service of a scripted node.

use std::sync::{Arc, Mutex, MutexGuard};

use futures::stream::{self, BoxStream, StreamExt as _};
use prost::Message as _;
use tercet_proto::{
    client::v1::{PublishAnswer, PublishRequest, publish_service_server::PublishService},
    rocketmq::v2::{self as pb, messaging_service_server::MessagingService, telemetry_command::Command},
};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, metadata::MetadataMap};

use super::{Publish, Shared, Step};

#[derive(Clone)]
pub(super) struct Service {
    pub(super) node: usize,
    pub(super) shared: Arc<Mutex<Shared>>,
    pub(super) gate: Arc<Semaphore>,
}

fn status(code: i32) -> Option<pb::Status> {
    Some(pb::Status { code, message: format!("scripted {code}") })
}

fn header(metadata: &MetadataMap, name: &str) -> String {
    metadata.get(name).unwrap_or_else(|| panic!("{name} is missing")).to_str().unwrap().to_owned()
}

impl Service {
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap()
    }

    async fn serve(&self, publish: Publish) -> Answer<pb::SendMessageResponse> {
        {
            let mut shared = self.lock();
            shared.publishes.push(publish.clone());
            let busy = shared.busy.entry(publish.producer.clone()).or_default();
            *busy += 1;
            shared.busiest = shared.busiest.max(shared.busy.values().copied().max().unwrap());
        }
        let answer = self.publish(&publish).await;
        *self.lock().busy.get_mut(&publish.producer).unwrap() -= 1;
        answer
    }

    async fn publish(&self, publish: &Publish) -> Result<Response<pb::SendMessageResponse>, Status> {
        let step = self.lock().script.pop_front().unwrap_or(Step::Serve);
        match step {
            Step::Serve => Ok(self.stored(publish)),
            Step::AtGate => {
                self.gate.acquire().await.unwrap().forget();
                Ok(self.stored(publish))
            }
            Step::Refuses(code, body) => {
                self.lock().script.push_front(step);
                if publish.messages.iter().all(|message| message.body != body) {
                    return Ok(self.stored(publish));
                }
                Ok(Response::new(pb::SendMessageResponse { status: status(code), entries: vec![] }))
            }
            Step::Code(code) => Ok(Response::new(pb::SendMessageResponse { status: status(code), entries: vec![] })),
            Step::CodeInDoubt(code) => {
                let mut response = Response::new(pb::SendMessageResponse { status: status(code), entries: vec![] });
                response.metadata_mut().insert("x-tercet-outcome", "unknown".parse().unwrap());
                Ok(response)
            }
            Step::Grpc(code) => Err(Status::new(code, "scripted")),
            Step::StoreThenGrpc(code) => {
                self.lock().store(publish);
                Err(Status::new(code, "scripted"))
            }
            Step::StoreThenHang => {
                self.lock().store(publish);
                std::future::pending().await
            }
            Step::Hang => std::future::pending().await,
        }
    }

    fn stored(&self, publish: &Publish) -> Response<pb::SendMessageResponse> {
        let first = self.lock().store(publish);
        let entry = |(at, message): (u64, &pb::Message)| pb::SendResultEntry {
            status: status(20_000),
            message_id: message.system_properties.as_ref().unwrap().message_id.clone(),
            offset: i64::try_from(first + at).unwrap(),
            ..Default::default()
        };
        let entries = (0..).zip(&publish.messages).map(entry).collect();
        let mut response = Response::new(pb::SendMessageResponse { status: status(20_000), entries });
        response.metadata_mut().insert("x-tercet-queues", "6:3".parse().unwrap());
        response
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl MessagingService for Service {
    type TelemetryStream = BoxStream<'static, Result<pb::TelemetryCommand, Status>>;
    type ReceiveMessageStream = BoxStream<'static, Result<pb::ReceiveMessageResponse, Status>>;
    type PullMessageStream = BoxStream<'static, Result<pb::PullMessageResponse, Status>>;

    async fn query_route(&self, _: Request<pb::QueryRouteRequest>) -> Answer<pb::QueryRouteResponse> {
        let hangs = self.lock().route_hangs;
        if hangs {
            self.lock().route_hanging += 1;
            return std::future::pending().await;
        }
        let mut shared = self.lock();
        shared.route_asked += 1;
        if shared.route.is_empty() {
            return Err(Status::unavailable("scripted"));
        }
        let address = |text: &String| {
            let (host, port) = text.rsplit_once(':').unwrap();
            pb::Address { host: host.to_owned(), port: port.parse().unwrap() }
        };
        let addresses = shared.route.iter().map(address).collect();
        let endpoints = Some(pb::Endpoints { scheme: pb::AddressScheme::IPv4 as i32, addresses });
        let broker = Some(pb::Broker { name: "broker-0".into(), id: 0, endpoints });
        let queue = pb::MessageQueue { id: 0, broker, ..Default::default() };
        Ok(Response::new(pb::QueryRouteResponse { status: status(20_000), message_queues: vec![queue] }))
    }

    async fn send_message(&self, request: Request<pb::SendMessageRequest>) -> Answer<pb::SendMessageResponse> {
        let metadata = request.metadata();
        let publish = Publish {
            node: self.node,
            producer: header(metadata, "x-tercet-producer"),
            epoch: header(metadata, "x-tercet-producer-epoch").parse().unwrap(),
            sequence: header(metadata, "x-tercet-sequence").parse().unwrap(),
            lowest: header(metadata, "x-tercet-lowest").parse().unwrap(),
            again: header(metadata, "x-tercet-again") == "1",
            messages: request.into_inner().messages,
        };
        self.serve(publish).await
    }

    async fn receive_message(&self, _: Request<pb::ReceiveMessageRequest>) -> Answer<Self::ReceiveMessageStream> {
        unused()
    }

    async fn ack_message(&self, _: Request<pb::AckMessageRequest>) -> Answer<pb::AckMessageResponse> {
        unused()
    }

    async fn change_invisible_duration(
        &self,
        _: Request<pb::ChangeInvisibleDurationRequest>,
    ) -> Answer<pb::ChangeInvisibleDurationResponse> {
        unused()
    }

    async fn telemetry(
        &self,
        mut request: Request<tonic::Streaming<pb::TelemetryCommand>>,
    ) -> Answer<Self::TelemetryStream> {
        let first = request.get_mut().message().await?.and_then(|command| command.command);
        assert!(matches!(first, Some(Command::Settings(_))), "settings come first");
        Ok(Response::new(stream::pending().boxed()))
    }

    async fn heartbeat(&self, _: Request<pb::HeartbeatRequest>) -> Answer<pb::HeartbeatResponse> {
        Ok(Response::new(pb::HeartbeatResponse { status: status(20_000) }))
    }

    async fn notify_client_termination(
        &self,
        _: Request<pb::NotifyClientTerminationRequest>,
    ) -> Answer<pb::NotifyClientTerminationResponse> {
        Ok(Response::new(pb::NotifyClientTerminationResponse { status: status(20_000) }))
    }

    async fn query_assignment(&self, _: Request<pb::QueryAssignmentRequest>) -> Answer<pb::QueryAssignmentResponse> {
        unused()
    }

    async fn recall_message(&self, _: Request<pb::RecallMessageRequest>) -> Answer<pb::RecallMessageResponse> {
        unused()
    }

    async fn end_transaction(&self, _: Request<pb::EndTransactionRequest>) -> Answer<pb::EndTransactionResponse> {
        unused()
    }

    async fn forward_message_to_dead_letter_queue(
        &self,
        _: Request<pb::ForwardMessageToDeadLetterQueueRequest>,
    ) -> Answer<pb::ForwardMessageToDeadLetterQueueResponse> {
        unused()
    }

    async fn sync_lite_subscription(
        &self,
        _: Request<pb::SyncLiteSubscriptionRequest>,
    ) -> Answer<pb::SyncLiteSubscriptionResponse> {
        unused()
    }

    async fn pull_message(&self, _: Request<pb::PullMessageRequest>) -> Answer<Self::PullMessageStream> {
        unused()
    }

    async fn update_offset(&self, _: Request<pb::UpdateOffsetRequest>) -> Answer<pb::UpdateOffsetResponse> {
        unused()
    }

    async fn get_offset(&self, _: Request<pb::GetOffsetRequest>) -> Answer<pb::GetOffsetResponse> {
        unused()
    }

    async fn query_offset(&self, _: Request<pb::QueryOffsetRequest>) -> Answer<pb::QueryOffsetResponse> {
        unused()
    }
}

/// Each request of a stream is served as a call of its own is.
#[tonic::async_trait]
impl PublishService for Service {
    type PublishStream = BoxStream<'static, Result<PublishAnswer, Status>>;

    async fn publish(&self, request: Request<tonic::Streaming<PublishRequest>>) -> Answer<Self::PublishStream> {
        assert_ne!(header(request.metadata(), "x-mq-client-id"), "");
        self.lock().streams += 1;
        let service = self.clone();
        let answers = request.into_inner().map(move |request| {
            let service = service.clone();
            async move {
                let request = request?;
                let producer = request.producer.unwrap();
                let publish = Publish {
                    node: service.node,
                    producer: producer.id.iter().map(|byte| format!("{byte:02x}")).collect(),
                    epoch: producer.epoch,
                    sequence: producer.sequence,
                    lowest: producer.lowest.unwrap(),
                    again: producer.again,
                    messages: pb::SendMessageRequest::decode(request.send).unwrap().messages,
                };
                Ok(match service.serve(publish).await {
                    Ok(answer) => {
                        let text =
                            |key| answer.metadata().get(key).map_or("", |value| value.to_str().unwrap()).to_owned();
                        let (queues, outcome) = (text("x-tercet-queues"), text("x-tercet-outcome"));
                        let send = answer.get_ref().encode_to_vec().into();
                        PublishAnswer { number: request.number, send, queues, outcome, ..Default::default() }
                    }
                    Err(status) => PublishAnswer {
                        number: request.number,
                        grpc_code: status.code().into(),
                        grpc_message: status.message().to_owned(),
                        ..Default::default()
                    },
                })
            }
        });
        Ok(Response::new(answers.buffer_unordered(1000).boxed()))
    }
}

fn unused<T>() -> Answer<T> {
    Err(Status::unimplemented("the client has no use for it"))
}
