//! `tercet context`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Keep the connection that the other options describe under a name; the first one is used at once
    #[command(after_help = "\
It is kept in $XDG_CONFIG_HOME/tercet/contexts.toml, or in .config of the home folder. The secret
stays in the key file: only its place is kept.

Example:
  tercet context add prod --endpoint node-1:8081,node-2:8081 --tls-ca ca.pem --key-file me.key")]
    Add {
        /// 1 to 64 characters of a-z, A-Z, 0-9, ., _ and -
        name: String,
    },
    /// Use this context from now on, where --context and TERCET_CONTEXT name no other
    Use {
        /// An existing context
        name: String,
    },
    /// All contexts; the one in use has a star
    List,
    /// Forget a context
    Remove {
        /// An existing context
        name: String,
    },
}
