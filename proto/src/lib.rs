//! Tercet's gRPC interfaces: generated code, and what both sides must know beside it.
//!
//! - [`rocketmq::v2`]: what RocketMQ 5 clients speak. Wire-compatible: its numbers are pinned by a test.
//! - [`admin::v1`]: administration and inspection of a broker group.
//! - [`client::v1`]: what the Rust client speaks beside that.
//! - [`nameserver::v1`]: discovery of broker groups.
//! - [`limits`] and [`headers`]: what the .proto files cannot say.
//!
//! Each other module holds the messages, and for each service a client and a server. All `bytes` fields are
//! [`bytes::Bytes`]. The comments of the .proto files are the documentation of the generated types.

pub mod headers;
pub mod limits;

/// The client API that official RocketMQ 5 clients were built against.
pub mod rocketmq {
    /// Package `apache.rocketmq.v2`.
    #[expect(clippy::large_enum_variant, reason = "generated; the large variant, a message, is the common one")]
    pub mod v2 {
        tonic::include_proto!("apache.rocketmq.v2");
    }
}

/// Administration of a broker group.
pub mod admin {
    /// Package `tercet.admin.v1`.
    pub mod v1 {
        tonic::include_proto!("tercet.admin.v1");
    }
}

/// What the Rust client speaks beside the RocketMQ API.
pub mod client {
    /// Package `tercet.client.v1`.
    pub mod v1 {
        tonic::include_proto!("tercet.client.v1");
    }
}

/// Discovery of broker groups.
pub mod nameserver {
    /// Package `tercet.nameserver.v1`.
    pub mod v1 {
        tonic::include_proto!("tercet.nameserver.v1");
    }
}
