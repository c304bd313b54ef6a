//! What must hold between settings.

use std::collections::BTreeSet;

use super::{error::Problem, typed::Config};

/// Notes each contradiction.
pub(crate) fn check(config: &Config, problems: &mut Vec<Problem>) {
    let mut require = |holds: bool, text: String| {
        if !holds {
            problems.push(Problem { origin: None, text });
        }
    };
    let election = &config.election;
    require(
        election.timeout_min >= election.heartbeat_interval * 3,
        "election.timeout_min must be at least three times election.heartbeat_interval, else lost heartbeats depose \
         a healthy leader"
            .to_owned(),
    );
    require(
        election.timeout_max > election.timeout_min,
        "election.timeout_max must be greater than election.timeout_min, else nodes stand for election at once"
            .to_owned(),
    );
    require(
        config.limits.publish_bytes_in_flight_max >= config.limits.request_bytes_max,
        "limits.publish_bytes_in_flight_max must be at least limits.request_bytes_max, else the largest legal request \
         is always refused"
            .to_owned(),
    );
    let listens = [config.listen.client, config.listen.peer, config.listen.http];
    require(
        listens.iter().collect::<BTreeSet<_>>().len() == listens.len(),
        "listen.client, listen.peer and listen.http must differ".to_owned(),
    );
    require(
        config.nameserver.listen != config.nameserver.http,
        "nameserver.listen and nameserver.http must differ".to_owned(),
    );
    let ids: BTreeSet<_> = config.voters.iter().map(|voter| voter.id).collect();
    let peers: BTreeSet<_> = config.voters.iter().map(|voter| &voter.peer).collect();
    require(
        ids.len() == config.voters.len() && peers.len() == config.voters.len(),
        "cluster.voters must name each node id and each address once".to_owned(),
    );
}
