//! How connections are secured.

use std::{fmt, path::PathBuf, sync::Arc};

/// TLS of a client's connections. Files are read when the client is made, and again for a new connection after they have
/// changed, so that a certificate can be renewed without a restart.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    pub(crate) trust: Trust,
    pub(crate) identity: Option<(Pem, Pem)>,
    pub(crate) server_name: Option<String>,
}

/// By what a node is known to be one.
#[derive(Debug, Clone, Default)]
pub(crate) enum Trust {
    /// A certificate by an authority that this system trusts.
    #[default]
    System,
    /// By one of these.
    Authorities(Pem),
    /// By any certificate.
    Anybody,
}

/// PEM sections.
#[derive(Clone)]
pub(crate) enum Pem {
    File(PathBuf),
    Text(Arc<[u8]>),
}

impl TlsOptions {
    /// Trusts the authorities that this system trusts, and shows no certificate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in this PEM file, and no others.
    #[must_use]
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.trust = Trust::Authorities(Pem::File(path.into()));
        self
    }

    /// The same with the text of such a file.
    #[must_use]
    pub fn ca_pem(mut self, pem: impl AsRef<[u8]>) -> Self {
        self.trust = Trust::Authorities(Pem::Text(pem.as_ref().into()));
        self
    }

    /// Takes any certificate: what is sent cannot be read on its way, but it can go to an impostor. For tries.
    #[must_use]
    pub fn accept_any_certificate(mut self) -> Self {
        self.trust = Trust::Anybody;
        self
    }

    /// Shows a certificate: PEM files of its chain and of its key.
    #[must_use]
    pub fn identity_files(mut self, chain: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((Pem::File(chain.into()), Pem::File(key.into())));
        self
    }

    /// The same with the texts of such files.
    #[must_use]
    pub fn identity_pem(mut self, chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        self.identity = Some((Pem::Text(chain.as_ref().into()), Pem::Text(key.as_ref().into())));
        self
    }

    /// The name or address that the nodes' certificates are for. Default: that of the endpoint.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }
}

/// A text may be a key.
impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.fmt(f),
            Self::Text(_) => f.write_str("PEM"),
        }
    }
}
