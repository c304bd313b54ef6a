//! From the settings of all layers to the typed configuration, with everything that does not fit.

use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use raft_log::types::{GroupId, NodeId};

use super::{
    address::HostPort,
    checks,
    error::{ConfigError, Origin, Problem},
    layers::Resolved,
    setting::Value,
    typed::{
        Advertise, Config, Consume, Discovery, Durability, Election, Limits, Listen, LogFormat, Logging, Metrics,
        NameServer, Node, Retention, Shutdown, Storage, Tls,
    },
};
use crate::state::FlushTriggers;

/// Takes values out of the resolved layers and notes what does not fit its type.
struct Taker<'a> {
    resolved: &'a Resolved,
    problems: Vec<Problem>,
}

impl Taker<'_> {
    fn note(&mut self, section: &str, key: &str, origin: &Origin, text: &str) {
        self.problems.push(Problem { origin: Some(origin.clone()), text: format!("{section}.{key}: {text}") });
    }

    fn number(&self, section: &str, key: &str) -> u64 {
        match self.resolved.get(section, key).0 {
            Value::Number(number) => *number,
            other => unreachable!("{section}.{key} holds {other:?}"),
        }
    }

    fn count(&self, section: &str, key: &str) -> usize {
        usize::try_from(self.number(section, key)).expect("bounded by the table below 2^63, and usize has 64 bits")
    }

    fn span(&self, section: &str, key: &str) -> Duration {
        match self.resolved.get(section, key).0 {
            Value::Span(span) => *span,
            other => unreachable!("{section}.{key} holds {other:?}"),
        }
    }

    fn switch(&self, section: &str, key: &str) -> bool {
        match self.resolved.get(section, key).0 {
            Value::Switch(on) => *on,
            other => unreachable!("{section}.{key} holds {other:?}"),
        }
    }

    fn text(&self, section: &str, key: &str) -> &str {
        match self.resolved.get(section, key).0 {
            Value::Text(text) => text,
            other => unreachable!("{section}.{key} holds {other:?}"),
        }
    }

    fn list<T: FromStr<Err = String>>(&mut self, section: &str, key: &str) -> Vec<T> {
        let (value, origin) = self.resolved.get(section, key);
        let Value::List(items) = value else { unreachable!("{section}.{key} holds {value:?}") };
        let mut parsed = Vec::with_capacity(items.len());
        for item in items {
            match item.parse::<T>() {
                Ok(item) => parsed.push(item),
                Err(text) => self.note(section, key, origin, &text),
            }
        }
        parsed
    }

    fn socket(&mut self, section: &str, key: &str) -> SocketAddr {
        let text = self.text(section, key);
        if let Ok(address) = text.parse() {
            return address;
        }
        let text = format!("`{text}` is not an IP address and port to listen on, such as 0.0.0.0:8081");
        let origin = self.resolved.get(section, key).1;
        self.note(section, key, origin, &text);
        SocketAddr::from(([127, 0, 0, 1], 1))
    }

    fn advertised(&mut self, key: &str, listen: SocketAddr) -> HostPort {
        let text = self.text("advertise", key);
        let parsed = if !text.is_empty() {
            text.parse()
        } else if listen.ip().is_unspecified() {
            Err(format!("must be set, because listen.{key} = \"{listen}\" is no address to connect to"))
        } else {
            listen.to_string().parse()
        };
        parsed.unwrap_or_else(|text| {
            let origin = self.resolved.get("advertise", key).1;
            self.note("advertise", key, origin, &text);
            "unknown:1".parse().expect("a valid host and port")
        })
    }

    fn tls(&mut self) -> Option<Tls> {
        let [cert_file, key_file, client_ca] =
            ["cert_file", "key_file", "client_ca_file"].map(|key| self.text("tls", key));
        match (cert_file.is_empty(), key_file.is_empty()) {
            (true, true) if client_ca.is_empty() => None,
            (true, true) => {
                let origin = self.resolved.get("tls", "cert_file").1;
                self.note("tls", "cert_file", origin, "must be set, because client_ca_file is");
                None
            }
            (false, false) => Some(Tls {
                cert_file: cert_file.into(),
                key_file: key_file.into(),
                client_ca_file: Some(client_ca).filter(|file| !file.is_empty()).map(PathBuf::from),
            }),
            (missing_cert, _) => {
                let key = if missing_cert { "cert_file" } else { "key_file" };
                let origin = self.resolved.get("tls", key).1;
                self.note("tls", key, origin, "must be set, because the other of cert_file and key_file is");
                None
            }
        }
    }
}

impl Config {
    pub(crate) fn from_resolved(resolved: &Resolved) -> Result<Config, ConfigError> {
        let mut taker = Taker { resolved, problems: Vec::new() };
        let listen = Listen {
            client: taker.socket("listen", "client"),
            peer: taker.socket("listen", "peer"),
            http: taker.socket("listen", "http"),
        };
        let config = Config {
            node: node(&taker),
            advertise: Advertise {
                client: taker.advertised("client", listen.client),
                peer: taker.advertised("peer", listen.peer),
                http: taker.advertised("http", listen.http),
            },
            listen,
            tls: taker.tls(),
            peer_secret_file: Some(taker.text("peer", "secret_file"))
                .filter(|file| !file.is_empty())
                .map(PathBuf::from),
            voters: taker.list("cluster", "voters"),
            discovery: Discovery {
                nameservers: taker.list("discovery", "nameservers"),
                heartbeat_interval: taker.span("discovery", "heartbeat_interval"),
            },
            storage: storage(&taker),
            retention: retention(&taker),
            election: Election {
                heartbeat_interval: taker.span("election", "heartbeat_interval"),
                timeout_min: taker.span("election", "timeout_min"),
                timeout_max: taker.span("election", "timeout_max"),
            },
            limits: limits(&taker),
            consume: Consume {
                auto_create_group: taker.switch("consume", "auto_create_group"),
                unused_group_age: taker.span("consume", "unused_group_age"),
                idle_group_age: taker.span("consume", "idle_group_age"),
                long_poll_max: taker.span("consume", "long_poll_max"),
            },
            metrics: Metrics { backlogs_max: taker.count("metrics", "backlogs_max") },
            logging: logging(&taker),
            shutdown: Shutdown { deadline: taker.span("shutdown", "deadline") },
            nameserver: NameServer {
                listen: taker.socket("nameserver", "listen"),
                http: taker.socket("nameserver", "http"),
                silent_max: taker.span("nameserver", "silent_max"),
                brokers_max: taker.count("nameserver", "brokers_max"),
            },
        };
        let mut problems = taker.problems;
        if problems.is_empty() {
            checks::check(&config, &mut problems);
        }
        if problems.is_empty() { Ok(config) } else { Err(ConfigError { problems }) }
    }
}

fn node(taker: &Taker<'_>) -> Node {
    Node {
        id: NodeId(taker.number("node", "id")),
        group: GroupId(u32::try_from(taker.number("node", "group")).expect("bounded by the table")),
        data_dir: taker.text("node", "data_dir").into(),
    }
}

fn storage(taker: &Taker<'_>) -> Storage {
    Storage {
        durability: match taker.text("storage", "durability") {
            "sync" => Durability::Sync,
            "async" => Durability::Async,
            other => unreachable!("the table has no durability {other}"),
        },
        segment_bytes_max: taker.number("storage", "segment_bytes_max"),
        cache_bytes_max: taker.number("storage", "cache_bytes_max"),
        accept_async_loss: taker.switch("storage", "accept_async_loss"),
        flush: FlushTriggers {
            log_bytes: taker.number("storage", "flush_log_bytes"),
            messages: taker.number("storage", "flush_messages"),
            memory_bytes: taker.number("storage", "flush_memory_bytes"),
        },
        scrub_bytes_per_second: taker.number("storage", "scrub_bytes_per_second"),
    }
}

fn retention(taker: &Taker<'_>) -> Retention {
    let percent = taker.number("retention", "disk_high_water");
    let (pace, step) = (taker.number("retention", "age_pace_max"), taker.number("retention", "trim_percent_max"));
    Retention {
        age: taker.span("retention", "age"),
        bytes: Some(taker.number("retention", "bytes")).filter(|bytes| *bytes > 0),
        age_pace_max: u32::try_from(pace).expect("bounded by the table"),
        clock_disagreement_max: taker.span("retention", "clock_disagreement_max"),
        trim_percent_max: u8::try_from(step).expect("bounded by the table"),
        disk_high_water_percent: u8::try_from(percent).expect("bounded by the table"),
    }
}

fn limits(taker: &Taker<'_>) -> Limits {
    Limits {
        request_bytes_max: taker.count("limits", "request_bytes_max"),
        batch_bytes_max: taker.count("limits", "batch_bytes_max"),
        receive_bytes_max: taker.count("limits", "receive_bytes_max"),
        publish_bytes_in_flight_max: taker.count("limits", "publish_bytes_in_flight_max"),
        proposal_deadline: taker.span("limits", "proposal_deadline"),
        connections_max: taker.count("limits", "connections_max"),
    }
}

fn logging(taker: &Taker<'_>) -> Logging {
    Logging {
        level: taker.text("logging", "level").to_owned(),
        format: match taker.text("logging", "format") {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            other => unreachable!("the table has no format {other}"),
        },
    }
}
