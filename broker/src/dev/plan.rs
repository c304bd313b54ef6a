//! Who runs where: ports, folders and settings of all processes, decided before any is started.

use std::{
    fs,
    path::{Path, PathBuf},
};

use raft_log::types::NodeId;

use super::error::DevError;
use crate::{
    cli::{DevArgs, override_flags},
    config::{ConfigError, HostPort, Layers, Voter, load, render_given},
    listen,
};

const HOST: &str = "127.0.0.1";
const PEER_OFFSET: u16 = 10;
const HTTP_OFFSET: u16 = 20;
const NAMESERVER_OFFSET: u16 = 30;
const NAMESERVER_HTTP_OFFSET: u16 = 31;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    Broker,
    Nameserver,
}

impl Role {
    /// The subcommand that runs it.
    pub(super) fn command(self) -> &'static str {
        match self {
            Role::Broker => "broker",
            Role::Nameserver => "nameserver",
        }
    }
}

/// One process to run.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    pub(super) role: Role,
    pub(super) id: u64,
    pub(super) client: String,
    pub(super) peer: Option<String>,
    pub(super) http: String,
    /// Holds its settings and its log.
    pub(super) dir: PathBuf,
    settings: String,
}

impl Planned {
    pub(super) fn name(&self) -> String {
        match self.role {
            Role::Broker => format!("node {}", self.id),
            Role::Nameserver => "the nameserver".to_owned(),
        }
    }

    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("tercet.toml")
    }

    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("tercetd.log")
    }
}

/// All of it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    dir: PathBuf,
    processes: Vec<Planned>,
    /// For whom the certificate is that all nodes show; nothing if the user's settings name one.
    certificate_names: Option<Vec<String>>,
}

/// One for all nodes, kept over restarts: certificate and key.
fn certificate_files(dir: &Path) -> [PathBuf; 2] {
    ["cert.pem", "key.pem"].map(|name| dir.join("tls").join(name))
}

fn at(port: u16) -> String {
    format!("{HOST}:{port}")
}

fn flag(name: &str, value: impl ToString) -> (String, String, String) {
    ("tercetd dev".to_owned(), name.to_owned(), value.to_string())
}

impl Plan {
    /// Decides, and checks the settings; writes nothing.
    pub(super) fn new(args: &DevArgs) -> Result<Plan, DevError> {
        let dir = std::path::absolute(&args.data_dir)?;
        let nameserver = plan_nameserver(args, &dir)?;
        let brokers = (1..=args.nodes).map(|id| plan_broker(args, &dir, id, &nameserver.client));
        let mut processes = brokers.collect::<Result<Vec<_>, _>>()?;
        processes.push(nameserver);
        let certificate_names = (!names_certificate(args)).then(|| {
            let advertised = given(args, "advertise.client").and_then(|address| address.parse::<HostPort>().ok());
            listen::names(advertised.as_ref().map_or(HOST, HostPort::host))
        });
        Ok(Plan { dir, processes, certificate_names })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn processes(&self) -> &[Planned] {
        &self.processes
    }

    pub(super) fn brokers(&self) -> impl Iterator<Item = &Planned> {
        self.processes.iter().filter(|process| process.role == Role::Broker)
    }

    pub(super) fn description_path(&self) -> PathBuf {
        self.dir.join("cluster.json")
    }

    pub(super) fn bootstrapped_path(&self) -> PathBuf {
        self.dir.join("bootstrapped")
    }

    /// All client addresses: a client may start with any that lives.
    pub(super) fn endpoint(&self) -> String {
        self.brokers().map(|broker| broker.client.as_str()).collect::<Vec<_>>().join(",")
    }

    pub(super) fn first_client(&self) -> HostPort {
        parsed(&self.processes[0].client)
    }

    pub(super) fn voters(&self) -> Vec<Voter> {
        let peer = |broker: &Planned| parsed(broker.peer.as_deref().expect("each broker has a peer address"));
        self.brokers().map(|broker| Voter { id: NodeId(broker.id), peer: peer(broker) }).collect()
    }

    /// The certificate that clients who come by TLS are to trust, unless the user's settings name another.
    pub(super) fn certificate(&self) -> Option<PathBuf> {
        self.certificate_names.is_some().then(|| certificate_files(&self.dir)[0].clone())
    }

    /// Makes the folders, writes the settings anew, and the certificate if it is not there.
    pub(super) fn write(&self) -> Result<(), DevError> {
        if let Some(names) = &self.certificate_names {
            let [path, key] = certificate_files(&self.dir);
            fs::create_dir_all(path.parent().expect("a folder of its own"))
                .and_then(|()| listen::keep_self_signed(&path, &key, names))
                .map_err(|source| DevError::File { path, source })?;
        }
        for process in &self.processes {
            let path = process.config();
            fs::create_dir_all(&process.dir)
                .and_then(|()| fs::write(&path, &process.settings))
                .map_err(|source| DevError::File { path, source })?;
        }
        Ok(())
    }
}

fn parsed(address: &str) -> HostPort {
    address.parse().expect("made from a host and a port")
}

fn plan_nameserver(args: &DevArgs, dir: &Path) -> Result<Planned, ConfigError> {
    let (client, http) = (at(args.port_base + NAMESERVER_OFFSET), at(args.port_base + NAMESERVER_HTTP_OFFSET));
    let own = vec![flag("nameserver.listen", &client), flag("nameserver.http", &http)];
    let settings = settings(args, own)?;
    Ok(Planned { role: Role::Nameserver, id: 1, client, peer: None, http, dir: dir.join("nameserver"), settings })
}

/// The user's value of a setting.
fn given<'a>(args: &'a DevArgs, setting: &str) -> Option<&'a str> {
    args.overrides.iter().rev().find(|(name, _)| name == setting).map(|(_, value)| value.as_str())
}

/// Whether the user brings a certificate.
fn names_certificate(args: &DevArgs) -> bool {
    given(args, "tls.cert_file").is_some()
}

fn plan_broker(args: &DevArgs, folder: &Path, id: u16, nameserver: &str) -> Result<Planned, ConfigError> {
    let port = args.port_base + id - 1;
    let (client, peer, http) = (at(port), at(port + PEER_OFFSET), at(port + HTTP_OFFSET));
    let dir = folder.join(format!("node-{id}"));
    let mut own = vec![
        flag("node.id", id),
        flag("node.data_dir", dir.join("data").display()),
        flag("listen.client", &client),
        flag("listen.peer", &peer),
        flag("listen.http", &http),
        flag("discovery.nameservers", nameserver),
    ];
    if !names_certificate(args) {
        let [certificate, key] = certificate_files(folder).map(|file| file.display().to_string());
        own.extend([flag("tls.cert_file", certificate), flag("tls.key_file", key)]);
    }
    let settings = settings(args, own)?;
    Ok(Planned { role: Role::Broker, id: id.into(), client, peer: Some(peer), http, dir, settings })
}

/// Three replicas share one disk here, and each prepares a segment ahead: a quarter of the usual size is plenty.
const SEGMENT_BYTES_MAX: &str = "256MiB";
/// The disk of somebody's own machine is often fuller than that of a server may be; publishes are refused when it is full.
const DISK_HIGH_WATER: u8 = 100;

/// What suits one machine, over it the user's settings, and over them those that keep the processes apart.
fn settings(args: &DevArgs, own: Vec<(String, String, String)>) -> Result<String, ConfigError> {
    let mut flags =
        vec![flag("storage.segment_bytes_max", SEGMENT_BYTES_MAX), flag("retention.disk_high_water", DISK_HIGH_WATER)];
    flags.extend(override_flags(&args.overrides));
    flags.extend(own);
    let layers = Layers { flags, ..Layers::default() };
    load(&layers)?;
    Ok(format!("# Written by `tercetd dev` at each of its starts.\n{}", render_given(&layers)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;

    fn args(dir: &Path, overrides: &[(&str, &str)]) -> DevArgs {
        let overrides = overrides.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        DevArgs { data_dir: dir.to_owned(), nodes: 3, port_base: 9000, overrides }
    }

    #[test]
    fn every_process_has_its_own_ports_and_folder() {
        let dir = tempfile::tempdir().unwrap();
        let plan = Plan::new(&args(dir.path(), &[])).unwrap();
        let addresses: Vec<_> = plan
            .processes()
            .iter()
            .map(|p| (p.role.command(), p.id, p.client.as_str(), p.peer.as_deref(), p.http.as_str()))
            .collect();
        assert_eq!(
            addresses,
            [
                ("broker", 1, "127.0.0.1:9000", Some("127.0.0.1:9010"), "127.0.0.1:9020"),
                ("broker", 2, "127.0.0.1:9001", Some("127.0.0.1:9011"), "127.0.0.1:9021"),
                ("broker", 3, "127.0.0.1:9002", Some("127.0.0.1:9012"), "127.0.0.1:9022"),
                ("nameserver", 1, "127.0.0.1:9030", None, "127.0.0.1:9031"),
            ]
        );
        assert_eq!(plan.endpoint(), "127.0.0.1:9000,127.0.0.1:9001,127.0.0.1:9002");
        assert_eq!(plan.voters()[2].peer.to_string(), "127.0.0.1:9012");
    }

    #[test]
    fn the_written_settings_are_complete_for_a_start_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let overrides = [("storage.durability", "async"), ("node.id", "77")];
        let plan = Plan::new(&args(dir.path(), &overrides)).unwrap();
        plan.write().unwrap();
        let config = load(&Layers { file: Some(dir.path().join("node-2/tercet.toml")), ..Layers::default() }).unwrap();
        assert_eq!(config.node.id, NodeId(2), "what keeps the nodes apart cannot be overridden");
        assert_eq!(config.node.data_dir, dir.path().join("node-2/data"));
        assert_eq!(config.storage.durability, Durability::Async);
        assert_eq!(config.advertise.peer.to_string(), "127.0.0.1:9011");
        assert_eq!(config.discovery.nameservers[0].to_string(), "127.0.0.1:9030");
    }

    /// One that clients can be told to trust once and for all.
    #[test]
    fn all_nodes_show_one_certificate_that_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let read = || {
            let plan = Plan::new(&args(dir.path(), &[])).unwrap();
            plan.write().unwrap();
            std::fs::read_to_string(plan.certificate().unwrap()).unwrap()
        };
        assert_eq!(read(), read());
        for id in 1..=3 {
            let file = Some(dir.path().join(format!("node-{id}/tercet.toml")));
            let tls = load(&Layers { file, ..Layers::default() }).unwrap().tls.unwrap();
            assert_eq!(tls.cert_file, dir.path().join("tls/cert.pem"));
        }
        let users = [("tls.cert_file", "/a"), ("tls.key_file", "/b")];
        let other = tempfile::tempdir().unwrap();
        let plan = Plan::new(&args(other.path(), &users)).unwrap();
        plan.write().unwrap();
        assert!(plan.certificate().is_none() && !other.path().join("tls").exists());
    }

    #[test]
    fn a_wrong_setting_is_refused_before_anything_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let error = Plan::new(&args(&dir.path().join("x"), &[("storage.durable", "1")])).unwrap_err().to_string();
        assert!(error.contains("flag --set storage.durable=1: there is no setting"), "{error}");
        assert!(!dir.path().join("x").exists());
    }
}
