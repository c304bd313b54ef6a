//! What one node serves on its client port: the RocketMQ API and the administration, over one set of parts.

use std::sync::Arc;

use raft_log::{Replica, env::Env};
use tercet_proto::{
    admin::v1::admin_server::AdminServer,
    client::v1::{leader_service_server::LeaderServiceServer, publish_service_server::PublishServiceServer},
    rocketmq::v2::messaging_service_server::MessagingServiceServer,
};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::{
    admin::Administration,
    grpc::{ConsumeServer, Consuming, DirectCalls, Leading, Messaging, Node, Publishing, ServiceOptions},
    limits::{ANSWER_BYTES_MAX, CONSUME_REQUEST_BYTES_MAX},
    listen::Services,
    state::StateReader,
};

/// What a request in a stream adds to the SendMessage that it carries, at most.
const PUBLISH_WRAPPING_BYTES: usize = 1024;

/// The services of one node.
pub struct Api {
    node: Arc<Node>,
    stop: CancellationToken,
}

impl Api {
    /// Starts the leader-side flow on the current runtime.
    pub fn start(options: ServiceOptions, replica: Replica, state: StateReader, env: &Env) -> Api {
        let stop = CancellationToken::new();
        let node = Node::start(options, replica, state, env, stop.clone());
        Api { node, stop }
    }

    /// The services, for the client port.
    pub fn services(&self) -> Services {
        let messaging = MessagingServiceServer::new(Messaging::new(Arc::clone(&self.node)))
            .max_decoding_message_size(self.node.options.request_bytes_max)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let admin = AdminServer::new(Administration::new(Arc::clone(&self.node)))
            .max_decoding_message_size(self.node.options.request_bytes_max);
        let publishing = PublishServiceServer::new(Publishing::new(Arc::clone(&self.node)))
            .max_decoding_message_size(self.node.options.request_bytes_max + PUBLISH_WRAPPING_BYTES)
            .max_encoding_message_size(ANSWER_BYTES_MAX);
        let consuming = Consuming::new(Arc::clone(&self.node));
        let consuming = ConsumeServer::new(consuming, CONSUME_REQUEST_BYTES_MAX);
        let leading = LeaderServiceServer::new(Leading::new(Arc::clone(&self.node)));
        let streams = Routes::new(messaging).add_service(publishing).add_service(consuming).add_service(leading);
        let routes = streams.add_service(admin);
        Services::from(routes).with_direct(DirectCalls::new(Arc::clone(&self.node)))
    }

    /// Ends long polls and telemetry streams, and refuses what is not in the log yet. Hand the leadership over first:
    /// then what is refused here is done at the next leader.
    pub fn shutdown(&self) {
        self.stop.cancel();
    }
}
