//! Where the broker group is, and how it is reached: the options that every command takes.

use std::{fmt, path::PathBuf, str::FromStr};

use clap::Args as ClapArgs;
use serde::{Deserialize, Serialize};
use tercet_client::{ClientOptions, Credentials, Endpoint, EndpointError, Error, TlsOptions};

/// Where a node is that nobody named.
pub(crate) const LOCAL: &str = "127.0.0.1:8081";

/// Options that a context can keep. What is not given is the context's.
#[derive(Debug, Clone, Default, PartialEq, Eq, ClapArgs, Serialize, Deserialize)]
#[command(next_help_heading = "Connection")]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Connection {
    /// Client addresses of nodes; any node of the group will do [default: the context's, or 127.0.0.1:8081]
    #[arg(long = "endpoint", global = true, value_name = "HOST:PORT[,HOST:PORT]", env = "TERCET_ENDPOINT")]
    #[serde(rename = "endpoint", skip_serializing_if = "Option::is_none")]
    pub(crate) endpoints: Option<Endpoints>,
    /// Nameservers that know the nodes, beside endpoints or instead of them
    #[arg(
        long = "nameserver",
        global = true,
        value_name = "HOST:PORT[,HOST:PORT]",
        env = "TERCET_NAMESERVER",
        hide_short_help = true
    )]
    #[serde(rename = "nameserver", skip_serializing_if = "Option::is_none")]
    pub(crate) nameservers: Option<Endpoints>,
    /// Encrypt the connections; the authorities that this system trusts say who is a node
    #[arg(long, global = true, env = "TERCET_TLS", hide_short_help = true)]
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) tls: bool,
    /// Trust the authorities in this PEM file, and no others
    #[arg(long, global = true, value_name = "FILE", env = "TERCET_TLS_CA", hide_short_help = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// Show the certificate in this PEM file
    #[arg(long, global = true, value_name = "FILE", env = "TERCET_TLS_CERT", hide_short_help = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_cert: Option<PathBuf>,
    /// Its key, in PEM
    #[arg(long, global = true, value_name = "FILE", env = "TERCET_TLS_KEY", hide_short_help = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The name that the nodes' certificates are for [default: that of the endpoint]
    #[arg(long, global = true, value_name = "NAME", env = "TERCET_TLS_SERVER_NAME", hide_short_help = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls_server_name: Option<String>,
    /// Take any certificate: whoever is in between can read and change everything
    #[arg(long, global = true, env = "TERCET_TLS_INSECURE", hide_short_help = true)]
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) tls_insecure: bool,
    /// Sign requests with the access key in this file, two lines: access_key = "..." and secret = "..."
    #[arg(long, global = true, value_name = "FILE", env = "TERCET_KEY_FILE", hide_short_help = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
}

/// A parsed list of endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Endpoints(pub(crate) Vec<Endpoint>);

impl Connection {
    /// What is not given here is taken from `context`. Whoever says where the nodes are says all of it.
    pub(crate) fn or(self, context: Connection) -> Connection {
        let names_nodes = self.endpoints.is_some() || self.nameservers.is_some();
        let nodes =
            if names_nodes { (self.endpoints, self.nameservers) } else { (context.endpoints, context.nameservers) };
        Connection {
            endpoints: nodes.0,
            nameservers: nodes.1,
            tls: self.tls || context.tls,
            tls_ca: self.tls_ca.or(context.tls_ca),
            tls_cert: self.tls_cert.or(context.tls_cert),
            tls_key: self.tls_key.or(context.tls_key),
            tls_server_name: self.tls_server_name.or(context.tls_server_name),
            tls_insecure: self.tls_insecure || context.tls_insecure,
            key_file: self.key_file.or(context.key_file),
        }
    }

    /// The same with files that are found from everywhere.
    pub(crate) fn absolute(mut self) -> std::io::Result<Connection> {
        for file in [&mut self.tls_ca, &mut self.tls_cert, &mut self.tls_key, &mut self.key_file].into_iter().flatten()
        {
            *file = std::path::absolute(&file)?;
        }
        Ok(self)
    }

    /// What does not go together.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if self.tls_cert.is_some() != self.tls_key.is_some() {
            return Err("--tls-cert and --tls-key go together");
        }
        if self.tls_insecure && self.tls_ca.is_some() {
            return Err("--tls-insecure takes any certificate, --tls-ca some: give one of them");
        }
        Ok(())
    }

    pub(crate) fn has_tls(&self) -> bool {
        let names_files = self.tls_ca.is_some() || self.tls_cert.is_some() || self.tls_server_name.is_some();
        self.tls || self.tls_insecure || names_files
    }

    fn tls_options(&self) -> Option<TlsOptions> {
        let mut tls = self.has_tls().then(TlsOptions::new)?;
        if let Some(file) = &self.tls_ca {
            tls = tls.ca_file(file);
        }
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            tls = tls.identity_files(certificate, key);
        }
        if let Some(name) = &self.tls_server_name {
            tls = tls.server_name(name);
        }
        Some(if self.tls_insecure { tls.accept_any_certificate() } else { tls })
    }

    /// For a client. Reads the key file.
    pub(crate) fn options(&self) -> Result<ClientOptions, Error> {
        let nodes = |endpoints: &Option<Endpoints>| endpoints.clone().map(|Endpoints(some)| some);
        let local = || vec![LOCAL.parse().expect("it is one")];
        let endpoints = match (nodes(&self.endpoints), &self.nameservers) {
            (Some(endpoints), _) => endpoints,
            (None, Some(_)) => Vec::new(),
            (None, None) => local(),
        };
        let mut options = ClientOptions::new(endpoints).nameservers(nodes(&self.nameservers).unwrap_or_default());
        if let Some(tls) = self.tls_options() {
            options = options.tls(tls);
        }
        if let Some(file) = &self.key_file {
            options = options.credentials(Credentials::from_file(file)?);
        }
        Ok(options)
    }
}

impl FromStr for Endpoints {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Endpoint::parse_list(text).map(Self)
    }
}

impl TryFrom<String> for Endpoints {
    type Error = EndpointError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for Endpoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<&str> = self.0.iter().map(Endpoint::as_str).collect();
        f.pad(&all.join(","))
    }
}

impl From<Endpoints> for String {
    fn from(endpoints: Endpoints) -> String {
        endpoints.to_string()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoints: &str) -> Connection {
        Connection { endpoints: Some(endpoints.parse().unwrap()), ..Connection::default() }
    }

    #[test]
    fn what_is_given_goes_before_the_context_and_nodes_are_not_mixed() {
        let ca = Some(PathBuf::from("ca.pem"));
        let context = Connection { nameservers: Some("n:1".parse().unwrap()), tls_ca: ca.clone(), ..at("a:1") };
        assert_eq!(at("b:1").or(context.clone()), Connection { tls_ca: ca, ..at("b:1") });
        assert_eq!(Connection::default().or(context.clone()), context);
    }

    #[test]
    fn a_connection_without_anything_is_to_this_machine() {
        let options = format!("{:?}", Connection::default().options().unwrap());
        assert!(options.contains("127.0.0.1:8081") && options.contains("tls: None"), "{options}");
        let nameservers = Some("n:1".parse().unwrap());
        let options = format!("{:?}", Connection { nameservers, ..Connection::default() }.options().unwrap());
        assert!(!options.contains("127.0.0.1"), "{options}");
    }

    #[test]
    fn a_part_of_tls_is_tls() {
        let with = |connection: Connection| connection.tls_options().is_some();
        assert!(with(Connection { tls: true, ..Connection::default() }));
        assert!(with(Connection { tls_ca: Some("f".into()), ..Connection::default() }));
        assert!(with(Connection { tls_insecure: true, ..Connection::default() }));
        assert!(!with(Connection::default()));
        let half = Connection { tls_cert: Some("f".into()), ..Connection::default() };
        assert_eq!(half.check(), Err("--tls-cert and --tls-key go together"));
    }
}
