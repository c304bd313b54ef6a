//! `tercet publish` and `tercet consume`.

use std::{path::PathBuf, time::Duration};

use clap::Args as ClapArgs;
use tercet_client::Start;

use super::start::parse_start;

/// Messages that `--peek` looks at, so that all can go back before their time is over.
const PEEKED_MAX: u64 = 10_000;

/// A topic, as the first argument or by name.
#[derive(Debug, Clone, ClapArgs)]
#[group(required = true, multiple = false)]
pub(crate) struct Topic {
    /// An existing topic
    #[arg(value_name = "TOPIC")]
    first: Option<String>,
    /// The same, by name
    #[arg(long = "topic", value_name = "TOPIC")]
    named: Option<String>,
}

impl Topic {
    pub(crate) fn name(&self) -> &str {
        self.first.as_deref().or(self.named.as_deref()).expect("one of them is required")
    }
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
With BODY one message is published, and its place printed. Otherwise each line of the input
becomes a message, without its line feed; empty lines are skipped (a message has a body).

With --json each line is an object, of which only the body is required; a body that is no text
stands in \"body_base64\":
  {\"body\": \"text\", \"key\": \"k\", \"keys\": [\"l\"], \"tag\": \"t\", \"group\": \"g\", \"properties\": {\"n\": \"v\"}}
Keys and properties are added to those of the options; tag and group take their place. The lines
that `tercet consume` prints can be given as they are: what only the broker says (topic, queue,
offset, id, attempt, time) is not looked at.

A line that makes no message is refused by its number, and the others are sent. A message whose
outcome is unknown, or that can be retried, is sent again under the same message id until the
timeout; the broker stores it at most once. The exit code is 0 if all were stored, else 1.

Ctrl-C or SIGTERM ends the reading: what is on its way gets its outcome, the summary says before
which line it ended, and the exit code is 130 or 143 if all that was sent is stored. A second one
ends at once.

--acks FILE gets a JSON line per acknowledged message, as it is acknowledged, in that order:
  {\"line\": 1, \"message_id\": \"01...\", \"queue\": 0, \"offset\": 0}

Examples:
  tercet publish orders 'hello' --key order-4711 --property region=eu
  tercet publish orders --file orders.txt --acks acks.jsonl
  tercet publish payments --message-group account-7 --file transfers.txt
  tercet publish orders --file orders.csv --key-regex '^([^,]+),'
  tercet publish orders --json < orders.jsonl
  journalctl -f | tercet publish --topic logs --tag web-1")]
pub(crate) struct Publish {
    /// An existing topic
    #[arg(value_name = "TOPIC", required_unless_present = "named")]
    first: Option<String>,
    /// The body of a single message [default: a message from each line of the input]
    #[arg(value_name = "BODY")]
    pub(crate) body: Option<String>,
    /// The topic by name, instead of as the first argument
    #[arg(long = "topic", value_name = "TOPIC")]
    named: Option<String>,
    /// What to read [default: standard input]
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// Each line is a JSON object with body, keys, tag, group and properties; see below
    #[arg(long)]
    pub(crate) json: bool,
    /// A key to look all messages up by; may be repeated
    #[arg(long = "key", value_name = "KEY")]
    pub(crate) keys: Vec<String>,
    /// One more key of a message: the first capture group, or else the match, in its body
    #[arg(long, value_name = "REGEX")]
    pub(crate) key_regex: Option<regex::bytes::Regex>,
    /// The tag of all messages
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// The message group of all messages; FIFO topics need one, and keep the order within it
    #[arg(long, value_name = "GROUP")]
    pub(crate) message_group: Option<String>,
    /// A property of all messages; may be repeated
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = parse_property)]
    pub(crate) properties: Vec<(String, String)>,
    /// Unacknowledged messages at a time
    #[arg(long, value_name = "N", default_value = "1024", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub(crate) in_flight: u32,
    /// Where to write a JSON line per acknowledged message; an existing file is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) acks: Option<PathBuf>,
}

impl Publish {
    /// Beside `--topic` the first argument is the body.
    pub(super) fn settle(&mut self) -> Result<(), &'static str> {
        if let Some(named) = self.named.take() {
            if self.body.is_some() {
                return Err("the topic is given twice: as the first argument and by --topic");
            }
            self.body = self.first.replace(named);
        }
        match self.body {
            Some(_) if self.file.is_some() || self.json => {
                Err("BODY is a single message: it goes neither with --file nor with --json")
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn topic(&self) -> &str {
        self.first.as_deref().expect("it is required, and settled")
    }
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Each message is written as a JSON line, then acknowledged:
  {\"topic\": \"t\", \"queue\": 0, \"offset\": 0, \"message_id\": \"01...\", \"attempt\": 1,
   \"stored_at\": \"2026-11-21T08:00:00.000Z\", \"keys\": [\"k\"], \"tag\": \"t\", \"message_group\": \"g\",
   \"properties\": {\"n\": \"v\"}, \"body\": \"text\"}
What a message does not have is not there. A body that is not UTF-8 stands in \"body_base64\"
instead of \"body\". A dead letter names in \"dead_letter_of\" the topic that it was published to.
With -o table each message is a line for people.

It ends by Ctrl-C, SIGTERM, --until-idle, --max, or when nobody reads its output any more. Then
what was written is acknowledged, and what was not is given back and comes again at once. A second
Ctrl-C ends at once; whoever ends like that, or crashes, between the line and the acknowledgement
gets the message again: with a higher attempt, and the same id.

--peek writes without acknowledging: 100 messages and until none has come for 2 s, unless --max and
--until-idle say otherwise. Meanwhile other consumers of the group do not get them.

Exit codes: 0 done; 1 failed, or something that was written is not acknowledged; 130 after Ctrl-C;
143 after SIGTERM.

Examples:
  tercet consume orders --group billing
  tercet consume orders --group billing --filter 'created || paid' -o table
  tercet consume --topic orders --group audit --until-idle 5s --out audit.jsonl
  tercet consume orders --group billing --peek --max 5 -o table
  tercet consume --topic orders --group since --from 2026-11-21T08:00:00Z --max 100")]
pub(crate) struct Consume {
    #[command(flatten)]
    pub(crate) topic: Topic,
    /// The consumer group; made if it does not exist
    #[arg(long)]
    pub(crate) group: String,
    /// Tags of the messages that are wanted, such as 'a || b'; the group is done with the others [default: all]
    #[arg(long, value_name = "TAGS", default_value = "", hide_default_value = true, value_parser = parse_filter)]
    pub(crate) filter: String,
    /// Where a new group begins: first, last or a time such as 2026-11-21T08:00:00Z
    #[arg(long, value_name = "first|last|TIME", default_value = "first", value_parser = parse_start)]
    pub(crate) from: Start,
    /// End when no message has come for this long [default: never]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    pub(crate) until_idle: Option<Duration>,
    /// End after this many messages [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max: Option<u64>,
    /// Only look: every message is given back in the end, as if it had not been delivered
    #[arg(long)]
    pub(crate) peek: bool,
    /// Where to write [default: standard output]; an existing file is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

impl Consume {
    /// Whoever looks holds what he looks at, and so he looks at some of it and not for long unless he says so.
    pub(super) fn settle(&mut self) -> Result<(), &'static str> {
        if self.peek {
            self.max.get_or_insert(100);
            self.until_idle.get_or_insert(Duration::from_secs(2));
            if self.max.is_some_and(|max| max > PEEKED_MAX) {
                return Err("--peek looks at 10000 messages at most");
            }
        }
        Ok(())
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE, neither of them empty".to_owned()),
    }
}

/// The broker's way to say it; a tag with a `|` in it, which it would take, no message has.
fn parse_filter(text: &str) -> Result<String, String> {
    let is_tag = |tag: &str| !tag.trim().is_empty() && !tag.contains('|');
    match text.is_empty() || text.split("||").all(is_tag) {
        true => Ok(text.to_owned()),
        false => Err("expected tags such as 'a || b'".to_owned()),
    }
}
