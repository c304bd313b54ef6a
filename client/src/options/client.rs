//! Settings of a client.

use std::time::Duration;

use super::{Credentials, TlsOptions, refuse, within};
use crate::{endpoint::Endpoint, error::Error};

/// Settings of a [`Client`](crate::Client).
///
#[doc = "```no_run"]
#[doc = include_str!("../../examples/secure.rs")]
#[doc = "```"]
#[derive(Debug, Clone)]
pub struct ClientOptions {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) nameservers: Vec<Endpoint>,
    pub(crate) tls: Option<TlsOptions>,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) connect_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) call_timeout: Duration,
    pub(crate) route_refresh_interval: Duration,
}

impl ClientOptions {
    /// The defaults, with the client addresses of some nodes; any one is enough, the others are learned. May be empty if
    /// there are [`nameservers`](Self::nameservers).
    #[must_use]
    pub fn new(endpoints: impl IntoIterator<Item = Endpoint>) -> Self {
        Self {
            endpoints: endpoints.into_iter().collect(),
            nameservers: Vec::new(),
            tls: None,
            credentials: None,
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(15),
            route_refresh_interval: Duration::from_secs(30),
        }
    }

    /// Nameservers, asked for routes in addition to the nodes. Default: none.
    #[must_use]
    pub fn nameservers(mut self, nameservers: impl IntoIterator<Item = Endpoint>) -> Self {
        self.nameservers = nameservers.into_iter().collect();
        self
    }

    /// Connections to nodes and nameservers are encrypted, and the other side proves who it is. Default: plain text.
    #[must_use]
    pub fn tls(mut self, tls: TlsOptions) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Who calls, signed in every request. Default: nobody.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Some(credentials);
        self
    }

    /// How long a connection may take to come about. Default 1 s, 10 ms to 1 min.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long an answer may take before the next node is asked. Default 3 s, 10 ms to 1 min.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// How long a call other than a publish is retried in all. Default 15 s, 10 ms to 1 h.
    #[must_use]
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.call_timeout = timeout;
        self
    }

    /// Routes older than this are asked for again while they are in use. Default 30 s, 100 ms to 1 h.
    #[must_use]
    pub fn route_refresh_interval(mut self, interval: Duration) -> Self {
        self.route_refresh_interval = interval;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.endpoints.is_empty() && self.nameservers.is_empty() {
            return refuse("endpoints", "neither an endpoint nor a nameserver is given");
        }
        let minute = Duration::from_secs(60);
        let shortest = Duration::from_millis(10);
        within("connect_timeout", self.connect_timeout, shortest..=minute)?;
        within("attempt_timeout", self.attempt_timeout, shortest..=minute)?;
        within("call_timeout", self.call_timeout, shortest..=Duration::from_secs(3600))?;
        within(
            "route_refresh_interval",
            self.route_refresh_interval,
            Duration::from_millis(100)..=Duration::from_secs(3600),
        )
    }
}
