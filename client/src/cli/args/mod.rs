//! What can be typed.

mod bench;
mod cluster;
mod connection;
mod context;
mod messages;
mod start;

pub(crate) use bench::{BenchCommand, BenchConsume, BenchPublish};
pub(crate) use cluster::ClusterCommand;
pub(crate) use connection::{Connection, LOCAL};
pub(crate) use context::ContextCommand;
pub(crate) use messages::{Consume, Publish};
use start::parse_start;
pub(crate) use tercet_output::results::Format;

use std::{ffi::OsString, num::NonZeroU32, path::PathBuf, time::Duration};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum, error::ErrorKind};
use clap_complete::Shell;
use tercet_client::{Start, TopicType};

const EXAMPLES: &str = "\
Examples:
  tercet topic create orders --queues 4
  tercet publish orders 'hello' --key order-4711
  tercet publish orders --file orders.txt --acks acks.jsonl
  tercet consume orders --group billing --until-idle 5s
  tercet cluster status -o json
  tercet bench publish orders --size 1024 --in-flight 1024 --duration 10s

Exit codes: 0 done; 1 failed, or not every message was stored; 2 wrong arguments; 130 ended by
Ctrl-C, 143 by SIGTERM.
With -o json an error is an object on standard error: {\"error\", \"can_retry\", \"hint\"}.
Options can come from the environment as well, such as TERCET_ENDPOINT; --help names the variables.
RUST_LOG=tercet_client=debug shows what the client does.";

/// The command line of Tercet: topics, groups, publishing, consuming, status, benchmarks.
#[derive(Debug, Parser)]
#[command(name = "tercet", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Args {
    /// How long a call, or a message that is published, is tried [default: 15s, a message 30s]
    #[arg(long, global = true, value_name = "DURATION", env = "TERCET_TIMEOUT", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// How results are printed [default: table; json for consumed messages]
    #[arg(short, long, global = true, value_name = "FORMAT", env = "TERCET_OUTPUT")]
    pub(crate) output: Option<Format>,
    #[command(flatten)]
    pub(crate) connection: Connection,
    /// A connection that `tercet context add` has named [default: the one that is in use, if any]
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "TERCET_CONTEXT",
        hide_short_help = true,
        help_heading = "Connection"
    )]
    pub(crate) context: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Parses, and checks what goes with what where clap alone cannot tell.
    pub(crate) fn read(line: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut args = Self::try_parse_from(line)?;
        args.connection.check().map_err(|problem| Self::command().error(ErrorKind::ArgumentConflict, problem))?;
        let (name, settled) = match &mut args.command {
            Command::Publish(publish) => ("publish", publish.settle()),
            Command::Consume(consume) => ("consume", consume.settle()),
            _ => return Ok(args),
        };
        settled.map_err(|problem| {
            let mut command = Self::command();
            command.build();
            let verb = command.find_subcommand_mut(name).expect("there is one");
            verb.error(ErrorKind::ArgumentConflict, problem)
        })?;
        Ok(args)
    }
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
    /// Publish a message, or each line of a file or of standard input as one
    Publish(Publish),
    /// Print the messages of a topic and acknowledge them
    Consume(Consume),
    /// Measure rate and latency
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Name connections, and choose between them
    #[command(subcommand)]
    Context(ContextCommand),
    /// Print what makes a shell complete this command line
    #[command(after_help = "Example:\n  tercet completion bash > /etc/bash_completion.d/tercet")]
    Completion {
        /// The shell
        shell: Shell,
    },
    /// Write the manual pages
    #[command(after_help = "Example:\n  tercet man /usr/local/share/man/man1")]
    Man {
        /// A folder
        dir: PathBuf,
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
Its messages are gone at once, for all consumer groups. The dead letters of group g are in the
topic %DLQ%g.

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
    /// Where the queues of a topic are: the broker group, the node that leads it, and its address
    Route {
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
    /// At the time that each message names; not implemented yet, brokers refuse it
    Delay,
    /// Once committed; not implemented yet, brokers refuse it
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
What is with consumers now is settled as it was delivered. Push consumers learn of another order
when they connect again.

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
Consumers that still poll for it are told that it does not exist. Made anew, it begins at the first
message again, so while messages are retained that it was done with, no consumer makes it by itself,
and `tercet group create` does.

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
    /// A consumer group: its settings, who consumes it, and what it has yet to do in each topic
    #[command(after_help = "\
LAG is what the group has yet to finish: READY, which nobody holds, and IN FLIGHT, which consumers
hold. AGAIN counts those of the ready ones that were delivered before. OLDEST is the age of the
oldest of all. Consumers are listed that have a stream to the leader.

Example:
  tercet group describe billing")]
    Describe {
        /// The group
        name: String,
    },
    /// How far a consumer group has come in each queue
    #[command(after_help = "\
FIRST and NEXT are the bounds of the queue, CONSUMER is the first message that is not finished. For
the others see `tercet group describe --help`.

Example:
  tercet group progress billing --topic orders")]
    Progress {
        /// The group
        name: String,
        /// Only this topic
        #[arg(long, value_name = "TOPIC")]
        topic: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    /// Clap breaks longer ones anew, in the middle of what was broken by hand.
    #[test]
    fn no_line_below_the_options_is_too_long() {
        fn check(command: &clap::Command) {
            for line in command.get_after_help().map(ToString::to_string).unwrap_or_default().lines() {
                assert!(line.len() <= 100, "{}: {line}", command.get_name());
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }

    /// The help of every command, as people see it. `TERCET_WRITE_HELP=1` writes it anew; the difference is the review.
    #[test]
    fn help_is_what_was_agreed_on() {
        fn add(command: &mut clap::Command, path: &str, all: &mut String) {
            let path = format!("{path}{}", command.get_name());
            // What every command takes is shown once.
            let shown = |arg: clap::Arg| {
                let elsewhere = arg.is_global_set() && path != "tercet";
                arg.hide(elsewhere).hide_env_values(true)
            };
            let mut here = command.clone().term_width(100).mut_args(shown);
            all.push_str(&format!("==== {path} --help\n{}\n", here.render_long_help()));
            for inner in command.get_subcommands_mut().filter(|inner| inner.get_name() != "help") {
                add(inner, &format!("{path} "), all);
            }
        }
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/args/help.txt");
        let mut now = String::new();
        let mut command = Args::command();
        command.build();
        add(&mut command, "", &mut now);
        // The version changes with each release, and trailing blanks are nobody's.
        let now: String = now.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        if std::env::var_os("TERCET_WRITE_HELP").is_some() {
            std::fs::write(file, &now).unwrap();
        }
        let agreed = std::fs::read_to_string(file).unwrap();
        let differs = now.lines().zip(agreed.lines()).find(|(now, agreed)| now != agreed);
        assert!(now == agreed, "the help has changed: {differs:?}; TERCET_WRITE_HELP=1 writes it anew");
    }

    #[test]
    fn the_calls_of_the_documentation_parse() {
        for line in [
            "tercet group create g --fifo --max-attempts 3 --from last",
            "tercet group list -o json",
            "tercet topic create t --queues 4 --type fifo --endpoint a:1,b:2",
            "tercet --endpoint a:1 topic list",
            "tercet topic describe t",
            "tercet topic route t",
            "tercet group describe g",
            "tercet group progress g --topic t -o json",
            "tercet publish --topic t --file f --key-regex ^a --tag g --in-flight 16 --acks x --timeout 1m",
            "tercet consume --topic t --group g --from 2026-11-21T08:00:00Z --until-idle 5s --max 3 --out o",
            "tercet publish t --json --key a --key b --property a=b --property c=d=e --message-group g",
            "tercet consume t --group g --filter a||b -o table",
            "tercet cluster status",
            "tercet bench publish --topic t --size 100 --in-flight 1 --producers 1 --duration 1s --rate 5",
            "tercet bench consume --topic t --in-flight 1 --consumers 1 --duration 1s",
            "tercet bench consume t --producers 4",
            "tercet topic list --tls-ca ca.pem --tls-cert c --tls-key k --tls-server-name n --key-file f",
            "tercet --context prod --timeout 5s topic list",
            "tercet context add prod --nameserver n:1",
            "tercet completion zsh",
        ] {
            Args::read(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn wrong_values_are_refused_and_named() {
        for (line, text) in [
            ("tercet topic create t --queues 0", "--queues"),
            ("tercet topic list --endpoint nowhere", "the port is missing"),
            ("tercet topic list --tls-cert c", "--tls-cert and --tls-key go together"),
            ("tercet topic list --tls-insecure --tls-ca c", "give one of them"),
            ("tercet topic list --timeout soon", "--timeout"),
            ("tercet group create g --from yesterday", "expected first, last or a time"),
            ("tercet publish --topic t --key-regex (", "--key-regex"),
            ("tercet bench publish --topic t --size 0", "--size"),
            ("tercet bench consume --topic t --rate 5", "--rate"),
            ("tercet bench consume t --size 5", "--size"),
            ("tercet publish", "<TOPIC>"),
            ("tercet publish t b c", "'c'"),
            ("tercet publish --topic t b c", "the topic is given twice"),
            ("tercet publish t b --file f", "neither with --file nor with --json"),
            ("tercet publish --topic t b --json", "neither with --file nor with --json"),
            ("tercet publish t --property a", "expected NAME=VALUE"),
            ("tercet publish t --property =a", "expected NAME=VALUE"),
            ("tercet publish t --property a=", "expected NAME=VALUE"),
            ("tercet consume --group g", "<TOPIC"),
            ("tercet consume t --topic t --group g", "--topic"),
            ("tercet consume t --group g -o xml", "xml"),
            ("tercet consume t --group g --peek --max 10001", "10000 messages at most"),
            ("tercet consume t --group g --filter a|b", "expected tags such as 'a || b'"),
            ("tercet consume t --group g --filter a||", "expected tags such as 'a || b'"),
        ] {
            let error = Args::read(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            let error = error.to_string();
            assert!(error.contains(text), "{line}: {error}");
        }
    }

    #[test]
    fn a_topic_is_the_first_argument_or_named_and_a_body_follows_it() {
        let publish = |line: &str| match Args::read(line.split(' ')).unwrap().command {
            Command::Publish(publish) => (publish.topic().to_owned(), publish.body),
            other => panic!("{other:?}"),
        };
        let body = || Some("hello".to_owned());
        assert_eq!(publish("tercet publish t"), ("t".to_owned(), None));
        assert_eq!(publish("tercet publish t hello"), ("t".to_owned(), body()));
        assert_eq!(publish("tercet publish --topic t"), ("t".to_owned(), None));
        assert_eq!(publish("tercet publish --topic t hello"), ("t".to_owned(), body()));
        for line in ["tercet consume t --group g", "tercet consume --group g --topic t"] {
            let Command::Consume(consume) = Args::read(line.split(' ')).unwrap().command else { panic!("{line}") };
            assert_eq!(consume.topic.name(), "t");
        }
    }
}
