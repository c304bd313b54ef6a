//! The command line of `tercetd`: what can be asked for, in words. What happens then is in the modules that it names.

mod bootstrap;
mod log;
mod run;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use tercet_output::results::Format;

pub(crate) use bootstrap::call as bootstrap_group;
pub use log::LogCommand;
pub use run::run;

use crate::config::{HostPort, Layers, Voter};

/// The server side of Tercet, a message broker that does not lose messages.
#[derive(Debug, Parser)]
#[command(
    name = "tercetd",
    version,
    after_help = "Examples:\n  \
        tercetd dev                                          a three-node group on this machine, for first steps\n  \
        tercetd config sample > tercet.toml                  every setting with its default, commented\n  \
        tercetd broker --config tercet.toml                  one node of a broker group\n  \
        tercetd secret new peer-secret                       a secret for peer.secret_file of all nodes\n  \
        tercetd bootstrap --voters 1=a:10911,2=b:10911,3=c:10911 --endpoint a:8081\n  \
        tercetd log verify /var/lib/tercet                   what is in a stopped node's files, and whether all is whole\n\n\
        Exit codes: 0 stopped as asked, 1 could not start or failed, or a log is damaged, 2 wrong usage or configuration,\n\
        3 the node stopped itself because it could no longer keep its promises (see its last log line)."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs one node of a broker group
    #[command(after_help = "Examples:\n  \
        tercetd broker --config /etc/tercet/tercet.toml\n  \
        tercetd broker --config tercet.toml --set logging.level=debug\n  \
        TERCET__NODE__ID=2 tercetd broker --config tercet.toml\n\n\
        A new group's nodes wait, once they run, for `tercetd bootstrap`.\n\n\
        Signals: SIGTERM and SIGINT stop in order, a second one at once; SIGHUP reads the certificate again;\n\
        SIGQUIT ends at once, with a core file where those are allowed. Nothing acknowledged depends on it.")]
    Broker(BrokerArgs),

    /// Runs a nameserver
    #[command(after_help = "Example:\n  \
        tercetd nameserver --set nameserver.listen=0.0.0.0:9876\n\n\
        Run two or three; they know nothing of each other, and brokers register with all of them.")]
    Nameserver(SettingArgs),

    /// Runs a nameserver and a broker group on this machine, for first steps and tests
    #[command(after_help = "Examples:\n  \
        tercetd dev\n  \
        tercetd dev --data-dir /tmp/tercet --nodes 1 --port-base 18081\n  \
        tercetd dev --set storage.durability=async\n\n\
        DIR/cluster.json says which processes run where, once the group serves. Each node can be killed and started\n\
        again by hand: tercetd broker --config DIR/node-1/tercet.toml")]
    Dev(DevArgs),

    /// Makes a new broker group of running, empty nodes; once in its life
    #[command(after_help = "Example:\n  \
        tercetd bootstrap --endpoint a:8081 --voters 1=a:10911,2=b:10911,3=c:10911\n\n\
        Refused unless every voter runs, is empty and is reached where it advertises itself. An interrupted call can be\n\
        repeated at the same endpoint.")]
    Bootstrap(BootstrapArgs),

    /// Shows and checks settings
    #[command(subcommand)]
    Config(ConfigCommand),

    /// Makes the secret by which the nodes of a cluster know each other
    #[command(subcommand)]
    Secret(SecretCommand),

    /// Looks into the files of a stopped node; changes nothing
    Log(LogArgs),
}

/// What `tercetd log` takes.
#[derive(Debug, Args)]
pub struct LogArgs {
    /// How results are printed
    #[arg(short, long, global = true, value_name = "FORMAT", default_value = "table")]
    pub output: Format,
    /// What to do.
    #[command(subcommand)]
    pub command: LogCommand,
}

/// Where settings come from.
#[derive(Debug, Default, Args)]
pub struct SettingArgs {
    /// Settings file (TOML)
    #[arg(long, value_name = "FILE", env = "TERCET_CONFIG")]
    pub config: Option<PathBuf>,
    /// Overrides one setting; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = parse_override)]
    pub overrides: Vec<(String, String)>,
}

/// What `tercetd broker` takes.
#[derive(Debug, Args)]
pub struct BrokerArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub settings: SettingArgs,
    /// Same as --set node.id=ID
    #[arg(long, value_name = "ID")]
    pub node_id: Option<String>,
    /// Same as --set node.data_dir=DIR
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
}

/// What `tercetd dev` takes.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Where everything is kept; an earlier group in it is taken up again
    #[arg(long, value_name = "DIR", default_value = "./tercet-dev")]
    pub data_dir: PathBuf,
    /// Nodes of the group
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub nodes: u16,
    /// Node i serves clients on N+i-1, its peers on N+10+i-1, HTTP on N+20+i-1; the nameserver is on N+30, its HTTP on N+31
    #[arg(long, value_name = "N", default_value_t = 8081, value_parser = clap::value_parser!(u16).range(1..=65504))]
    pub port_base: u16,
    /// A setting for all processes; may be repeated
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE", value_parser = parse_override)]
    pub overrides: Vec<(String, String)>,
}

/// What `tercetd bootstrap` takes.
#[derive(Debug, Args)]
pub struct BootstrapArgs {
    #[command(flatten)]
    #[expect(missing_docs, reason = "documented at its type")]
    pub settings: SettingArgs,
    /// The group's nodes: ids and peer addresses; default: setting cluster.voters
    #[arg(long, value_name = "ID=HOST:PORT,...", value_delimiter = ',')]
    pub voters: Vec<Voter>,
    /// Client address of one of them; default: setting advertise.client
    #[arg(long, value_name = "HOST:PORT")]
    pub endpoint: Option<HostPort>,
}

/// The commands about settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Says what is wrong with the settings, or that nothing is
    #[command(after_help = "Examples:\n  \
        tercetd config check --config tercet.toml\n  \
        tercetd config check --config tercet.toml --print\n\n\
        The environment (TERCET__SECTION__KEY) is part of what is checked.")]
    Check {
        #[command(flatten)]
        #[expect(missing_docs, reason = "documented at its type")]
        settings: SettingArgs,
        /// Prints every setting with its value and where that comes from
        #[arg(long)]
        print: bool,
    },
    /// Prints a settings file with every setting at its default, commented
    Sample,
}

/// The commands about the peers' secret.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Makes a new secret in a file that only you can read
    #[command(after_help = "Example:\n  \
        tercetd secret new /etc/tercet/peer-secret\n\n\
        Copy the file to every node of the cluster, readable by the user of tercetd alone, and name it in the setting\n\
        peer.secret_file. All nodes of a group need the same one before it is bootstrapped.")]
    New {
        /// The file to make; one that exists is left alone
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

fn parse_override(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("the form is SECTION.KEY=VALUE")?;
    Ok((name.trim().to_owned(), value.to_owned()))
}

impl SettingArgs {
    /// The layers that these flags and the process's environment make.
    #[must_use]
    pub fn layers(&self, environment: Vec<(String, String)>) -> Layers {
        Layers { file: self.config.clone(), environment, flags: override_flags(&self.overrides) }
    }
}

impl BrokerArgs {
    /// The same, with the broker's own flags over the general ones.
    #[must_use]
    pub fn layers(&self, environment: Vec<(String, String)>) -> Layers {
        let mut layers = self.settings.layers(environment);
        for (flag, name, value) in
            [("--node-id", "node.id", &self.node_id), ("--data-dir", "node.data_dir", &self.data_dir)]
        {
            if let Some(value) = value {
                layers.flags.push((format!("{flag} {value}"), name.to_owned(), value.clone()));
            }
        }
        layers
    }
}

/// `--set` flags as layers take them.
pub(crate) fn override_flags(overrides: &[(String, String)]) -> Vec<(String, String, String)> {
    overrides.iter().map(|(name, value)| (format!("--set {name}={value}"), name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::config;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_stand_over_the_environment() {
        let line = ["tercetd", "broker", "--set", "node.id=5", "--set", "node.group=6", "--data-dir", "/x"];
        let Command::Broker(args) = Cli::try_parse_from(line).unwrap().command else { panic!("a broker") };
        let environment = vec![("TERCET__NODE__ID".to_owned(), "4".to_owned())];
        let config = config::load(&args.layers(environment)).unwrap();
        assert_eq!((config.node.id.0, config.node.group.0, config.node.data_dir), (5, 6, PathBuf::from("/x")));
    }

    #[test]
    fn voters_are_parsed_at_the_door() {
        let line = ["tercetd", "bootstrap", "--voters", "1=a:10911,2=b:10911"];
        let Command::Bootstrap(args) = Cli::try_parse_from(line).unwrap().command else { panic!("a bootstrap") };
        assert_eq!(args.voters.len(), 2);
        let error = Cli::try_parse_from(["tercetd", "bootstrap", "--voters", "a:1"]).unwrap_err().to_string();
        assert!(error.contains("`a:1` is not id=host:port"), "{error}");
    }
}
