//! Opens what lies on disk, and turns settings into the options of each part.

use std::net::TcpListener;

use raft_log::{ElectionOptions, NodeAddresses, PeerListen, Replica, ReplicaOptions, RetentionOptions, env::Env};

use crate::{
    config::{Config, Durability},
    grpc::ServiceOptions,
    limits::{ENTRIES_IN_FLIGHT_MAX, ENTRY_BYTES_MAX, SETTLE_PENDING_BYTES_MAX},
    metrics::Traffic,
    peer_secret,
    process::ProcessError,
    state::{State, StateReader},
};

/// The folder of the state inside the data folder.
const STATE_FOLDER: &str = "state";

/// What was opened.
pub(super) struct Opened {
    pub(super) replica: Replica,
    pub(super) state: StateReader,
}

pub(super) async fn open(config: &Config, env: Env, peer_port: TcpListener) -> Result<Opened, ProcessError> {
    let folder = config.node.data_dir.clone();
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ProcessError::Open {
        folder: folder.display().to_string(),
        source,
    };
    let secret = match &config.peer_secret_file {
        Some(file) => Some(peer_secret::read(file).map_err(|error| failed(error.into()))?),
        None => None,
    };
    // Whose folder it is comes first: the store below would write to it even if it were another node's.
    Replica::check_folder(&env, &folder, config.node.id, config.node.group).map_err(|error| failed(error.into()))?;
    env.disk.create_dir_all(&folder).map_err(|error| failed(error.into()))?;
    let state_folder = folder.join(STATE_FOLDER);
    let triggers = config.storage.flush.of_node(config.node.id.0);
    let opened = tokio::task::spawn_blocking(move || State::open_with(&state_folder, triggers)).await;
    let state = opened.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
    let reader = state.reader();
    let replica =
        Replica::open(ReplicaOptions { peer_secret: secret, ..replica_options(config, peer_port) }, env, state);
    let replica = replica.await.map_err(|error| failed(error.into()))?;
    Ok(Opened { replica, state: reader })
}

/// What others are told to connect to.
pub(super) fn advertised(config: &Config) -> NodeAddresses {
    NodeAddresses {
        peer: config.advertise.peer.to_string(),
        client: config.advertise.client.to_string(),
        http: config.advertise.http.to_string(),
    }
}

fn replica_options(config: &Config, peer_port: TcpListener) -> ReplicaOptions {
    let (node, listen) = (&config.node, PeerListen::Bound(peer_port));
    let options = ReplicaOptions::new(node.id, node.group, node.data_dir.clone(), listen, advertised(config));
    ReplicaOptions {
        durability: match config.storage.durability {
            Durability::Sync => raft_log::Durability::Sync,
            Durability::Async => raft_log::Durability::Async,
        },
        election: ElectionOptions {
            heartbeat_interval: config.election.heartbeat_interval,
            timeout_min: config.election.timeout_min,
            timeout_max: config.election.timeout_max,
        },
        accept_async_loss: config.storage.accept_async_loss,
        retention: RetentionOptions {
            age_max: Some(config.retention.age),
            bytes_max: config.retention.bytes,
            age_pace_max: config.retention.age_pace_max,
            clock_disagreement_max: config.retention.clock_disagreement_max,
            trim_percent_max: config.retention.trim_percent_max,
            disk_high_water_percent: config.retention.disk_high_water_percent,
            ..RetentionOptions::default()
        },
        segment_bytes_max: config.storage.segment_bytes_max,
        cache_bytes_max: usize::try_from(config.storage.cache_bytes_max).expect("bounded by the table"),
        scrub_bytes_per_second: config.storage.scrub_bytes_per_second,
        entry_bytes_max: ENTRY_BYTES_MAX,
        // Above what clients may have in flight, so that their refusal comes from the batcher, with its code.
        propose_bytes_in_flight_max: config.limits.publish_bytes_in_flight_max
            + ENTRIES_IN_FLIGHT_MAX * ENTRY_BYTES_MAX,
        propose_deadline: config.limits.proposal_deadline,
        ..options
    }
}

/// The options of the RPCs.
pub(super) fn service_options(config: &Config, traffic: Traffic) -> ServiceOptions {
    ServiceOptions {
        group: config.node.group,
        advertised_client: advertised(config).client,
        traffic,
        batch_bytes_max: config.limits.batch_bytes_max,
        receive_bytes_max: config.limits.receive_bytes_max,
        request_bytes_max: config.limits.request_bytes_max,
        publish_bytes_in_flight_max: config.limits.publish_bytes_in_flight_max,
        settle_bytes_in_flight_max: SETTLE_PENDING_BYTES_MAX,
        long_poll_max: config.consume.long_poll_max,
        auto_create_group: config.consume.auto_create_group,
        unused_group_age: config.consume.unused_group_age,
        // Who came back later would get again what the group was done with.
        idle_group_age: config.consume.idle_group_age.max(config.retention.age),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use raft_log::types::{GroupId, NodeId};

    use super::*;
    use crate::config::{self, Layers};

    /// hazards 28: wherever it listens.
    #[test]
    fn others_are_told_the_advertised_addresses() {
        let ports = [("client", 8081), ("peer", 10911), ("http", 8080)];
        let setting = |name: String, value: String| (String::new(), name, value);
        let listen = ports.map(|(name, port)| setting(format!("listen.{name}"), format!("0.0.0.0:{port}")));
        let advertise = ports.map(|(name, _)| setting(format!("advertise.{name}"), format!("{name}.example:1")));
        let config = config::load(&Layers { flags: [listen, advertise].concat(), ..Layers::default() }).unwrap();
        let told = replica_options(&config, TcpListener::bind("127.0.0.1:0").unwrap()).advertised;
        let address = |name: &str| format!("{name}.example:1");
        assert_eq!(told, NodeAddresses { peer: address("peer"), client: address("client"), http: address("http") });
        assert_eq!(service_options(&config, Traffic::default()).advertised_client, address("client"));
    }

    #[test]
    fn the_defaults_of_the_settings_are_those_of_the_log() {
        let config = config::load(&Layers::default()).unwrap();
        let port = || TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = replica_options(&config, port());
        let advertised = NodeAddresses { peer: String::new(), client: String::new(), http: String::new() };
        let listen = PeerListen::Bound(port());
        let theirs = ReplicaOptions::new(NodeId(1), GroupId(1), PathBuf::new(), listen, advertised);
        let kept = |options: &ReplicaOptions| {
            let retention = options.retention;
            (retention.age_pace_max, retention.clock_disagreement_max, retention.trim_percent_max)
        };
        assert_eq!(kept(&ours), kept(&theirs));
        assert_eq!(ours.election, theirs.election);
        assert_eq!(ours.segment_bytes_max, theirs.segment_bytes_max);
        assert_eq!(ours.cache_bytes_max, theirs.cache_bytes_max);
        assert_eq!(ours.scrub_bytes_per_second, theirs.scrub_bytes_per_second);
        assert_eq!(ours.durability, theirs.durability);
        assert_eq!(ours.propose_deadline, theirs.propose_deadline);
        assert_eq!(config.storage.flush, crate::state::FlushTriggers::default());
    }
}
