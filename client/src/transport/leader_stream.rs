//! Opening a stream of news about the leader: `tercet.client.v1.LeaderService`.

use tercet_proto::client::v1::{Leadership, WatchRequest, leader_service_client::LeaderServiceClient};
use tonic::{Status, Streaming, transport::Channel};

use super::metadata::Identity;

/// Opens a stream for whoever `identity` says.
pub(crate) async fn open(channel: Channel, identity: &Identity) -> Result<Streaming<Leadership>, Status> {
    let answer = LeaderServiceClient::new(channel).watch(identity.request(WatchRequest {})).await?;
    Ok(answer.into_inner())
}
