//! `tercet cluster`.

use std::time::Duration;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Role, vote, term, indexes, versions and health of each node; a dead one is shown as such
    Status,
    /// Whether all is well, as an exit code
    #[command(after_help = "\
Exit codes:
  0  all is well
  1  the group serves, but a node is down, not caught up, or has something that an operator
     should look at, such as a disk that is nearly full
  2  wrong arguments
  3  there is no leader, or fewer nodes than a majority, or no answer

Each problem is a line, as the node sees it that answers. With -o json:
  {\"status\": \"ok|degraded|unavailable\", \"leader\", \"nodes\", \"problems\": [{\"node\", \"problem\"}]}

Example:
  tercet cluster health --endpoint node-1:8081,node-2:8081,node-3:8081 || page-somebody")]
    Health,
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
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
}
