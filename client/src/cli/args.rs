//! What can be typed.

use std::{num::NonZeroU32, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use tercet_client::{Endpoint, EndpointError, Start, proto::admin::v1::TopicType};

const EXAMPLES: &str = "\
Examples:
  tercet topic create orders --queues 4
  tercet publish --topic orders --file orders.txt --acks acks.jsonl
  tercet consume --topic orders --group billing --until-idle 5s
  tercet cluster status -o json
  tercet bench publish --topic orders --size 1024 --in-flight 1024 --duration 10s
  tercet log verify /var/lib/tercet

Exit codes: 0 done; 1 failed, or not every message was stored, or a log is damaged; 2 wrong arguments.
RUST_LOG=tercet_client=debug shows what the client does.";

/// The command line of Tercet: topics, groups, publishing, consuming, status, benchmarks.
#[derive(Debug, Parser)]
#[command(name = "tercet", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Args {
    /// Client addresses of nodes; any node of the group will do
    #[arg(
        long = "endpoint",
        global = true,
        value_name = "HOST:PORT[,HOST:PORT]",
        default_value = "127.0.0.1:8081",
        env = "TERCET_ENDPOINT"
    )]
    pub(crate) endpoints: Endpoints,
    /// How results are printed
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub(crate) output: Output,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A parsed list of endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Endpoints(pub(crate) Vec<Endpoint>);

impl FromStr for Endpoints {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Endpoint::parse_list(text).map(Self)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, delete, list and describe topics
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Make, change, delete and list consumer groups
    #[command(subcommand)]
    Group(GroupCommand),
    /// The state of the broker group
    #[command(subcommand)]
    Cluster(ClusterCommand),
    /// Publish each line of a file or of standard input as a message
    Publish(Publish),
    /// Print the messages of a topic as JSON lines and acknowledge them
    Consume(Consume),
    /// Measure rate and latency
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Look into the files of a stopped node; changes nothing
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Check every byte of a node's log and say what is in it and what is wrong with it
    #[command(after_help = "\
A damaged node repairs itself from its peers when it starts; `verify` says where the damage is, and changes nothing.
The exit code is 1 if anything that was durable is damaged or missing. A torn tail is none: it was never acknowledged.

Example:
  tercet log verify /var/lib/tercet")]
    Verify {
        /// The data folder of a node that does not run
        dir: PathBuf,
    },
    /// Print the records of a node's log, with their places on its disk
    #[command(after_help = "\
With -o json each record is a JSON line. Damage stands where it is, as a line of its own, and makes the exit code 1.

Example:
  tercet log dump /var/lib/tercet --from 1000 --until 1100 -o json")]
    Dump {
        /// The data folder of a node that does not run
        dir: PathBuf,
        /// The first entry
        #[arg(long, value_name = "INDEX", default_value = "0")]
        from: u64,
        /// The entry after the last [default: the end of the log]
        #[arg(long, value_name = "INDEX")]
        until: Option<u64>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TopicCommand {
    /// Make a topic; succeeds if it exists with the same settings
    #[command(after_help = "Example:\n  tercet topic create payments --queues 8 --type fifo")]
    Create {
        /// 1 to 127 characters of a-z, A-Z, 0-9, %, |, _ and -
        name: String,
        /// How many queues, numbered from 0
        #[arg(long, value_name = "N")]
        queues: NonZeroU32,
        /// What its messages are
        #[arg(long = "type", value_name = "TYPE", default_value = "normal")]
        kind: TopicKind,
    },
    /// Delete a topic with all its messages
    #[command(after_help = "\
Its messages are gone at once, for all consumer groups. The dead letters of group g are in the topic %DLQ%g.

Example:
  tercet topic delete payments")]
    Delete {
        /// The topic
        name: String,
    },
    /// All topics
    List,
    /// A topic and the offsets of its queues
    Describe {
        /// The topic
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TopicKind {
    /// In no particular order
    Normal,
    /// In order within each message group
    Fifo,
    /// At the time that each message names
    Delay,
    /// Once committed
    Transaction,
}

impl From<TopicKind> for TopicType {
    fn from(kind: TopicKind) -> Self {
        match kind {
            TopicKind::Normal => Self::Normal,
            TopicKind::Fifo => Self::Fifo,
            TopicKind::Delay => Self::Delay,
            TopicKind::Transaction => Self::Transaction,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Make a consumer group; succeeds if it exists with the same settings
    #[command(after_help = "Example:\n  tercet group create billing --max-attempts 5 --from last")]
    Create {
        /// 1 to 120 characters of a-z, A-Z, 0-9, %, |, _ and -
        name: String,
        /// Deliveries keep the order within each message group
        #[arg(long)]
        fifo: bool,
        /// Deliveries of a message before it goes to the dead-letter queue [default: 17]
        #[arg(long, value_name = "N")]
        max_attempts: Option<NonZeroU32>,
        /// Where the group begins in a topic that it reads for the first time: first, last or a time
        #[arg(long, value_name = "first|last|TIME", default_value = "first", value_parser = parse_start)]
        from: Start,
    },
    /// Change settings of a consumer group; what is not named stays
    #[command(after_help = "\
What is with consumers now is settled as it was delivered. Push consumers learn of another order when they connect again.

Example:
  tercet group update billing --fifo --max-attempts 5")]
    Update {
        /// An existing group
        name: String,
        /// Whether deliveries keep the order within each message group
        #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
        fifo: Option<bool>,
        /// Deliveries of a message before it goes to the dead-letter queue; counts for deliveries that end from now on
        #[arg(long, value_name = "N")]
        max_attempts: Option<NonZeroU32>,
        /// Where the group begins in topics that it has not read before: first, last or a time
        #[arg(long, value_name = "first|last|TIME", value_parser = parse_start)]
        from: Option<Start>,
    },
    /// Delete a consumer group: how far it has come, and what it holds
    #[command(after_help = "\
Consumers that still poll for it are told that it does not exist. Made anew, it begins at the first message again, so
while messages are retained that it was done with, no consumer makes it by itself, and `tercet group create` does.

Example:
  tercet group delete billing --with-dead-letters")]
    Delete {
        /// The group
        name: String,
        /// Delete its dead letters as well
        #[arg(long)]
        with_dead_letters: bool,
    },
    /// All consumer groups
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Role, term, indexes and health of each node; a dead one is shown as such
    Status,
    /// Take a new node into the group: it runs, with an empty folder and an id that was never used
    #[command(after_help = "\
The node gets the whole log first, without a vote; with --voter it gets a vote once it is caught up.

Example:
  tercet cluster add 4 node-4:10911 --voter")]
    Add {
        /// The new node's id
        node: u64,
        /// Where the other nodes reach it
        #[arg(value_name = "HOST:PORT")]
        peer: String,
        /// Wait until it is caught up, and give it a vote
        #[arg(long)]
        voter: bool,
        #[command(flatten)]
        patience: Patience,
    },
    /// Give a node that only receives the log a vote
    Promote {
        /// The node's id
        node: u64,
    },
    /// Remove a node for good; if it leads, another takes over first
    Remove {
        /// The node's id
        node: u64,
        /// Take its vote only: it goes on receiving the log
        #[arg(long)]
        keep_as_learner: bool,
    },
    /// Replace a node, dead or alive, by a new one with an empty folder and a fresh id
    #[command(after_help = "\
Adds the new node, waits until it is caught up, and gives it the old one's vote in one change.
This is also how a node comes back whose folder was lost.

Example:
  tercet cluster replace 2 4 node-4:10911")]
    Replace {
        /// The node that leaves
        old: u64,
        /// The new node's id
        new: u64,
        /// Where the other nodes reach the new one
        #[arg(value_name = "HOST:PORT")]
        peer: String,
        #[command(flatten)]
        patience: Patience,
    },
    /// Change the addresses at which a node is reached
    Move {
        /// The node's id
        node: u64,
        /// For clients
        #[arg(long, value_name = "HOST:PORT", default_value = "", hide_default_value = true)]
        client: String,
        /// For the other nodes
        #[arg(long, value_name = "HOST:PORT", default_value = "", hide_default_value = true)]
        peer: String,
        /// For monitoring
        #[arg(long, value_name = "HOST:PORT", default_value = "", hide_default_value = true)]
        http: String,
    },
    /// Let the group use what a newer version brought, once all its nodes run that version; there is no way back
    RaiseLevel,
    /// Hand leadership to another node
    TransferLeader {
        /// Its id [default: whoever is best caught up]
        node: Option<u64>,
    },
}

/// How long to wait for a node that is catching up.
#[derive(Debug, ClapArgs)]
pub(crate) struct Patience {
    /// How long the node may take to catch up
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each line becomes a message, without its line feed; empty lines are skipped (a message has a body).
A message whose outcome is unknown, or that can be retried, is sent again under the same message id until the
timeout; the broker stores it at most once. The exit code is 0 if all were stored, else 1.

--acks FILE gets a JSON line per acknowledged message, as it is acknowledged, in the order of acknowledgement:
  {\"line\": 1, \"message_id\": \"01...\", \"queue\": 0, \"offset\": 0}

Examples:
  tercet publish --topic orders --file orders.txt --acks acks.jsonl
  journalctl -f | tercet publish --topic logs --tag web-1
  tercet publish --topic orders --file orders.csv --key-regex '^([^,]+),'")]
pub(crate) struct Publish {
    /// Where to
    #[arg(long)]
    pub(crate) topic: String,
    /// What to read [default: standard input]
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// The key of a message: the first capture group, or else the match, in its line
    #[arg(long, value_name = "REGEX")]
    pub(crate) key_regex: Option<regex::bytes::Regex>,
    /// The tag of all messages
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Unacknowledged messages at a time
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) in_flight: u32,
    /// Where to write a JSON line per acknowledged message; an existing file is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) acks: Option<PathBuf>,
    /// How long each message is tried
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each message is written as a JSON line, then acknowledged:
  {\"queue\": 0, \"offset\": 0, \"message_id\": \"01...\", \"attempt\": 1, \"body\": \"text\"}
A body that is not UTF-8 stands in \"body_base64\" instead of \"body\".
Whoever stops between the line and the acknowledgement gets the message again: with a higher attempt, and the same id.

Examples:
  tercet consume --topic orders --group billing
  tercet consume --topic orders --group audit --until-idle 5s --out audit.jsonl
  tercet consume --topic orders --group since --from 2026-11-21T08:00:00Z --max 100")]
pub(crate) struct Consume {
    /// Where from
    #[arg(long)]
    pub(crate) topic: String,
    /// The consumer group; made if it does not exist
    #[arg(long)]
    pub(crate) group: String,
    /// Where a new group begins: first, last or a time such as 2026-11-21T08:00:00Z
    #[arg(long, value_name = "first|last|TIME", default_value = "first", value_parser = parse_start)]
    pub(crate) from: Start,
    /// End when no message has come for this long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) until_idle: Option<Duration>,
    /// End after this many messages [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max: Option<u64>,
    /// Where to write [default: standard output]; an existing file is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Publish as fast as the messages in flight allow, or at a fixed rate
    #[command(after_help = "\
Latency is the time from a message's send to its acknowledgement. With --rate the messages are sent on a schedule,
whatever the broker does, and latency counts from the time at which a message should have been sent.
With -o json: {\"rate\", \"mb_per_s\", \"p50_us\", \"p99_us\", \"p999_us\", \"max_us\", \"failed\"}.

Example:
  tercet bench publish --topic bench --size 1024 --in-flight 1024 --producers 4 --duration 10s -o json")]
    Publish(Bench),
    /// Receive and acknowledge what is in the topic
    #[command(after_help = "\
--producers is the number of consumers, --in-flight the number of messages that are asked for ahead; --rate and --size do
not matter. Latency is the time from the receipt of a message to its acknowledgement; of messages that were published with
--rate, from the time at which they should have been sent to their receipt (the clocks of both machines must agree).

Example:
  tercet bench consume --topic bench --in-flight 1024 --duration 10s")]
    Consume(Bench),
}

#[derive(Debug, Clone, ClapArgs)]
pub(crate) struct Bench {
    /// An existing topic
    #[arg(long)]
    pub(crate) topic: String,
    /// Body of each message, in bytes
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=4 << 20))]
    pub(crate) size: u32,
    /// Unacknowledged messages at a time, over all producers
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    pub(crate) in_flight: u32,
    /// Producers, each with a connection of its own
    #[arg(long, value_name = "P", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) producers: u32,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) duration: Duration,
    /// Messages a second over all producers, sent on schedule [default: as many as possible]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    pub(crate) rate: Option<u32>,
    /// Consumer group of `bench consume`
    #[arg(long, value_name = "GROUP", default_value = "tercet-bench")]
    pub(crate) group: String,
}

/// `first`, `last`, or a time: RFC 3339, with or without the `T` and the `Z`, in UTC.
fn parse_start(text: &str) -> Result<Start, String> {
    match text {
        "first" => Ok(Start::First),
        "last" => Ok(Start::Last),
        time => {
            let time = humantime::parse_rfc3339_weak(time)
                .map_err(|_| "expected first, last or a time such as 2026-11-21T08:00:00Z".to_owned())?;
            let since_1970 = time.duration_since(std::time::UNIX_EPOCH).map_err(|_| "before 1970".to_owned())?;
            u64::try_from(since_1970.as_millis()).map(Start::UnixMillis).map_err(|_| "too late".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_calls_of_the_documentation_parse() {
        for line in [
            "tercet group create g --fifo --max-attempts 3 --from last",
            "tercet group list -o json",
            "tercet topic create t --queues 4 --type fifo --endpoint a:1,b:2",
            "tercet --endpoint a:1 topic list",
            "tercet topic describe t",
            "tercet publish --topic t --file f --key-regex ^a --tag g --in-flight 16 --acks x --timeout 1m",
            "tercet consume --topic t --group g --from 2026-11-21T08:00:00Z --until-idle 5s --max 3 --out o",
            "tercet cluster status",
            "tercet bench publish --topic t --size 100 --in-flight 1 --producers 1 --duration 1s --rate 5",
            "tercet bench consume --topic t --size 100 --in-flight 1 --producers 1 --duration 1s",
        ] {
            Args::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn wrong_values_are_refused_and_named() {
        for (line, text) in [
            ("tercet topic create t --queues 0", "--queues"),
            ("tercet topic list --endpoint nowhere", "the port is missing"),
            ("tercet group create g --from yesterday", "expected first, last or a time"),
            ("tercet publish --topic t --key-regex (", "--key-regex"),
            ("tercet bench publish --topic t --size 0", "--size"),
        ] {
            let error = Args::try_parse_from(line.split(' ')).unwrap_err().to_string();
            assert!(error.contains(text), "{line}: {error}");
        }
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert_eq!(parse_start("first"), Ok(Start::First));
        assert_eq!(parse_start("1970-01-01T00:00:01.5Z"), Ok(Start::UnixMillis(1500)));
        assert_eq!(parse_start("1970-01-01 00:00:02"), Ok(Start::UnixMillis(2000)));
    }
}
