//! The call that makes a broker group.

use std::time::Duration;

use tercet_proto::admin::v1::{BootstrapRequest, Voter as WireVoter, admin_client::AdminClient};
use tonic::transport::Endpoint;

use crate::config::{HostPort, Voter};

/// A voter that does not answer must not hang the operator.
const CALL_MAX: Duration = Duration::from_secs(30);

/// Asks one node to make a group of these voters; returns the cluster id.
///
/// # Errors
/// In words.
pub(crate) async fn call(endpoint: &HostPort, voters: &[Voter]) -> Result<String, String> {
    if voters.is_empty() {
        return Err("no voters are given, neither by --voters nor by the setting cluster.voters".to_owned());
    }
    let channel = Endpoint::from_shared(format!("http://{endpoint}"))
        .expect("a checked host and port make a URI")
        .timeout(CALL_MAX)
        .connect_timeout(CALL_MAX)
        .connect()
        .await
        .map_err(|error| format!("cannot connect to {endpoint}: {}", in_full(&error)))?;
    let voters = voters.iter().map(|voter| WireVoter { node_id: voter.id.0, peer: voter.peer.to_string() });
    let request = BootstrapRequest { voters: voters.collect() };
    let answer = AdminClient::new(channel).bootstrap(request).await;
    let status = match answer {
        Ok(answer) => return Ok(answer.into_inner().cluster_id),
        Err(status) => status,
    };
    Err(format!("{endpoint} refused: {}", status.message()))
}

/// An error with its causes; tonic hides the useful part behind "transport error".
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
