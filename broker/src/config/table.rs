//! Every setting of `tercetd`, in the order of the sample.

use super::setting::{Kind, Setting};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const SECOND: u64 = 1000;

const fn setting(section: &'static str, key: &'static str, kind: Kind, doc: &'static str) -> Setting {
    Setting { section, key, kind, doc }
}

/// What each section is about.
pub static SECTIONS: &[(&str, &str)] = &[
    ("node", "Who this node is."),
    (
        "listen",
        "Where this broker listens: IP address and port. Only this machine can reach 127.0.0.1; a server\nlistens on 0.0.0.0 or [::] and then needs the addresses below.",
    ),
    ("advertise", "What others connect to: host:port, names allowed. Empty means the same as the listen address."),
    ("tls", "The client port takes TLS and plaintext alike."),
    ("peer", "How the nodes of a cluster know each other."),
    ("cluster", "How a new broker group starts."),
    ("discovery", "Which nameservers this broker registers with."),
    ("storage", "The log and the state on disk."),
    ("retention", "What is kept of the log. What exceeds one of these goes, oldest first, in whole files of the log."),
    ("election", "How fast a dead leader is replaced."),
    ("limits", "Bounds. What exceeds one is refused with a code that says so, never queued without end."),
    ("consume", "Consumption."),
    ("metrics", "What is shown at /metrics on the HTTP port."),
    ("logging", "What this process writes to standard error."),
    ("shutdown", "How this process stops."),
    ("nameserver", "For `tercetd nameserver` alone."),
];

/// Every setting.
pub static SETTINGS: &[Setting] = &[
    setting(
        "node",
        "id",
        Kind::Integer { default: 1, min: 1, max: u64::MAX },
        "This node's number in its broker group. Never used again for another data folder.",
    ),
    setting(
        "node",
        "group",
        Kind::Integer { default: 1, min: 1, max: u32::MAX as u64 },
        "The broker group that this node belongs to. Clients see it as `broker-<group>`.",
    ),
    setting("node", "data_dir", Kind::Text { default: "data" }, "The folder that holds the log and the state."),
    setting("listen", "client", Kind::Text { default: "127.0.0.1:8081" }, "gRPC of clients and administration."),
    setting("listen", "peer", Kind::Text { default: "127.0.0.1:10911" }, "Replication between the group's nodes."),
    setting("listen", "http", Kind::Text { default: "127.0.0.1:8080" }, "Metrics and health."),
    setting("advertise", "client", Kind::Text { default: "" }, "For clients."),
    setting("advertise", "peer", Kind::Text { default: "" }, "For the group's other nodes."),
    setting("advertise", "http", Kind::Text { default: "" }, "For monitoring."),
    setting(
        "tls",
        "cert_file",
        Kind::Text { default: "" },
        "Certificate chain in PEM. Empty: a self-signed certificate is made at each start, which\nclients must be told to trust. Files that change are read again within seconds, and at SIGHUP; what\ncannot be used leaves the old ones in use.",
    ),
    setting("tls", "key_file", Kind::Text { default: "" }, "The certificate's private key in PEM."),
    setting(
        "tls",
        "client_ca_file",
        Kind::Text { default: "" },
        "Certificates in PEM. A client that comes by TLS must then show one that is signed by one of these.\nPlaintext is taken all the same, for the nodes among themselves: keep others away from it.",
    ),
    setting(
        "peer",
        "secret_file",
        Kind::Text { default: "" },
        "A file with the secret that all nodes of the cluster hold, made by `tercetd secret new FILE`; nobody but\nthis process's user may read it. The node then talks to no peer without it. Empty: a secret is made at\nbootstrap and kept in the data folders; until then, whoever reaches an empty node can claim it.",
    ),
    setting(
        "cluster",
        "voters",
        Kind::List,
        "The nodes that a new group starts with, as id=host:port of their peer addresses, for\n`tercetd bootstrap`. A running group's members are kept in its log, not here.",
    ),
    setting("discovery", "nameservers", Kind::List, "Addresses, host:port, of all nameservers."),
    setting(
        "discovery",
        "heartbeat_interval",
        Kind::Millis { default: 5 * SECOND, min: 100, max: 60 * SECOND },
        "How often this broker says that it lives. Keep it below a third of nameserver.silent_max.",
    ),
    setting(
        "storage",
        "durability",
        Kind::Choice { default: "sync", of: &["sync", "async"] },
        "When a message counts as stored: `sync` once a majority has it on disk (fdatasync), `async` once a\nmajority has it in memory, with the disk following within 10 ms. `async` can lose acknowledged\nmessages when machines lose power.",
    ),
    setting(
        "storage",
        "segment_bytes_max",
        Kind::Bytes { default: GIB, min: 16 * MIB, max: 4 * GIB },
        "The log is cut into files of this size.",
    ),
    setting(
        "storage",
        "cache_bytes_max",
        Kind::Bytes { default: 64 * MIB, min: 16 * MIB, max: 64 * GIB },
        "Newest entries that are kept in memory for followers and consumers.",
    ),
    setting(
        "storage",
        "flush_log_bytes",
        Kind::Bytes { default: 256 * MIB, min: MIB, max: 1 << 60 },
        "The state is persisted, in the background, after so much log, after so many messages, and when so much\nof it is only in memory, whichever comes first; a restart applies what came since again. Each node\ntakes a share of these that its number decides, so that the nodes do not do it at the same time.",
    ),
    setting(
        "storage",
        "flush_messages",
        Kind::Integer { default: 500_000, min: 1_000, max: 1 << 60 },
        "See flush_log_bytes. About a second's worth at full speed.",
    ),
    setting(
        "storage",
        "flush_memory_bytes",
        Kind::Bytes { default: 64 * MIB, min: 4 * MIB, max: 2 * GIB },
        "See flush_log_bytes. At four times as much, nothing is applied until what is being persisted is on disk.",
    ),
    setting(
        "storage",
        "scrub_bytes_per_second",
        Kind::Bytes { default: 4 * MIB, min: 64 * KIB, max: GIB },
        "How fast old log files are read again and again in the background, to find damage while other nodes\nstill hold what is lost.",
    ),
    setting(
        "storage",
        "accept_async_loss",
        Kind::Switch { default: false },
        "A node in `async` whose machine stopped without a clean end may have forgotten acknowledged messages,\nand neither votes nor leads until it holds what a leader has committed. If there can be no leader\nwithout it, start it once with --set storage.accept_async_loss=true: what only it held is lost then.",
    ),
    setting(
        "retention",
        "age",
        Kind::Millis { default: 3 * 24 * 60 * 60 * SECOND, min: 60 * SECOND, max: 3650 * 24 * 60 * 60 * SECOND },
        "Messages go when they are older, whether they were consumed or not: what a consumer group has not\nreceived by then is lost to it. What it holds or is to get again, and dead letters, stay, and all\nthat is newer than them. Ages go by the time that the leader put on each message, and nothing goes by\nage while the clocks of the nodes disagree.",
    ),
    setting(
        "retention",
        "bytes",
        Kind::Bytes { default: 0, min: 0, max: u64::MAX },
        "Messages go while the log takes more than this on one node. 0: its size does not matter.",
    ),
    setting(
        "retention",
        "age_pace_max",
        Kind::Integer { default: 8, min: 1, max: 1000 },
        "Trimming by age takes at most so many times the whole log in the time of `age`: a mistake is slow.",
    ),
    setting(
        "retention",
        "clock_disagreement_max",
        Kind::Millis { default: 10 * SECOND, min: SECOND, max: 60 * 60 * SECOND },
        "Nothing goes by age while the clocks of the nodes differ by more than this, or after the leader's has\njumped by more.",
    ),
    setting(
        "retention",
        "trim_percent_max",
        Kind::Integer { default: 5, min: 1, max: 100 },
        "One trim takes at most this percentage of the log, and a file of it at least; the next follows a second\nlater.",
    ),
    setting(
        "retention",
        "disk_high_water",
        Kind::Integer { default: 85, min: 10, max: 100 },
        "While the disk of the data folder is fuller than this percentage, whatever fills it, publishes are\nrefused. No message goes because of it that somebody has yet to read; from 5 below it on, messages that\nall consumer groups have finished go before their time, a small share of the log at once. 100: never.",
    ),
    setting(
        "election",
        "heartbeat_interval",
        Kind::Millis { default: 100, min: 10, max: 10 * SECOND },
        "How often the leader says that it lives.",
    ),
    setting(
        "election",
        "timeout_min",
        Kind::Millis { default: 300, min: 50, max: 60 * SECOND },
        "A follower that has heard nothing of its leader for timeout_max waits for a random time between this and\ntimeout_max, then stands for election. At least three times the heartbeat interval.",
    ),
    setting(
        "election",
        "timeout_max",
        Kind::Millis { default: 500, min: 60, max: 120 * SECOND },
        "See timeout_min; greater than it, so that two nodes seldom stand at once.",
    ),
    setting(
        "limits",
        "request_bytes_max",
        Kind::Bytes { default: 8 * MIB, min: 5 * MIB, max: 8 * MIB },
        "One gRPC request. A message's body has at most 4 MiB, which the official clients know.",
    ),
    setting(
        "limits",
        "batch_bytes_max",
        Kind::Bytes { default: MIB, min: 4 * KIB, max: 4 * MIB },
        "What waits to be stored is packed into log entries of about this size. A single larger message\npasses all the same.",
    ),
    setting(
        "limits",
        "receive_bytes_max",
        Kind::Bytes { default: 4 * MIB, min: 64 * KIB, max: 64 * MIB },
        "Bodies in one answer to a receive. The first message always passes.",
    ),
    setting(
        "limits",
        "publish_bytes_in_flight_max",
        Kind::Bytes { default: 64 * MIB, min: 8 * MIB, max: 2 * GIB },
        "Messages of all clients that wait to be stored. Beyond it: TOO_MANY_REQUESTS.",
    ),
    setting(
        "limits",
        "proposal_deadline",
        Kind::Millis { default: 5 * SECOND, min: 100, max: 60 * SECOND },
        "A request that is not stored after this time is answered with \"unknown\".",
    ),
    setting(
        "limits",
        "connections_max",
        Kind::Integer { default: 10_000, min: 1, max: 1_000_000 },
        "Open connections on the client port, as far as the limit of open files allows (`ulimit -n`; the log says how\nmany that are). Beyond it a connection that does nothing makes way, and else the new one is closed at once.",
    ),
    setting(
        "consume",
        "auto_create_group",
        Kind::Switch { default: true },
        "A consumer group is made at its first subscription; it keeps the order if the topic does.",
    ),
    setting(
        "consume",
        "unused_group_age",
        Kind::Millis { default: 60 * 60 * SECOND, min: 5 * 60 * SECOND, max: 3650 * 24 * 60 * 60 * SECOND },
        "A consumer group that a subscription made goes by itself when nobody has polled for it for so long and it\nnever acknowledged a message. Only time counts in which the broker group served.",
    ),
    setting(
        "consume",
        "idle_group_age",
        Kind::Millis { default: 0, min: 0, max: 3650 * 24 * 60 * 60 * SECOND },
        "One that did acknowledge messages goes when nobody has polled for it for so long, and never before\nretention.age, for then it would get again what it was done with. Groups made by hand stay.",
    ),
    setting(
        "consume",
        "long_poll_max",
        Kind::Millis { default: 20 * SECOND, min: SECOND, max: 20 * SECOND },
        "A receive without messages waits at most this long.",
    ),
    setting(
        "metrics",
        "backlogs_max",
        Kind::Integer { default: 2_000, min: 0, max: 100_000 },
        "Consumer groups whose backlog and lag the leader shows, each once per topic, five lines each. Those with\nmost to do come first; tercet_backlogs_left_out says how many others there are.",
    ),
    setting(
        "logging",
        "level",
        Kind::Text { default: "info,openraft=error" },
        "error, warn, info, debug or trace; or rules such as `info,raft_log=debug`. The library openraft\nwarns of each heartbeat that fails, so it is kept quiet.",
    ),
    setting(
        "logging",
        "format",
        Kind::Choice { default: "text", of: &["text", "json"] },
        "For people or for machines.",
    ),
    setting(
        "shutdown",
        "deadline",
        Kind::Millis { default: 10 * SECOND, min: 100, max: 600 * SECOND },
        "After SIGTERM the node hands its leadership over and finishes what it has begun; after this time it\nstops all the same. Nothing acknowledged is lost either way.",
    ),
    setting("nameserver", "listen", Kind::Text { default: "127.0.0.1:9876" }, "gRPC of brokers and clients."),
    setting("nameserver", "http", Kind::Text { default: "127.0.0.1:9877" }, "Metrics and health."),
    setting(
        "nameserver",
        "silent_max",
        Kind::Millis { default: 15 * SECOND, min: 300, max: 600 * SECOND },
        "A broker that is silent for this long leaves the routes.",
    ),
    setting(
        "nameserver",
        "brokers_max",
        Kind::Integer { default: 1000, min: 1, max: 100_000 },
        "Brokers that may register; further ones are refused.",
    ),
];

/// The setting of that name.
#[must_use]
pub fn find(section: &str, key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.section == section && setting.key == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_named_once_and_its_default_is_legal() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            let name = setting.name();
            assert!(SETTINGS[..index].iter().all(|other| other.name() != name), "{name} twice");
            assert!(SECTIONS.iter().any(|(section, _)| *section == setting.section), "{name}: section without text");
            let toml = setting.kind.toml(&setting.kind.default_value());
            let text = toml.trim_matches(['"', '\'', '[', ']']);
            assert_eq!(setting.kind.parse(text), Ok(setting.kind.default_value()), "{name}");
        }
    }

    #[test]
    fn settings_of_a_section_stand_together() {
        let mut sections: Vec<_> = SETTINGS.iter().map(|setting| setting.section).collect();
        sections.dedup();
        assert_eq!(sections, SECTIONS.iter().map(|(section, _)| *section).collect::<Vec<_>>());
    }
}
