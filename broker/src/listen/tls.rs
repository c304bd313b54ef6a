//! The server's side of TLS: the operator's certificate, or one made at start; read again when its files change.
//!
//! ```text
//!   files ─► changed? (every few seconds, or SIGHUP) ─► read, checked ─┬─ good: new connections get it
//!                                                                      └─ bad: the old one stays; told, counted
//! ```
//! Connections keep what they were made with.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::watch;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, RootCertStore, ServerConfig,
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
        server::{VerifierBuilderError, WebPkiClientVerifier},
    },
};

use super::not_after::not_after;
use crate::{config::Tls, metrics::TlsCounters};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or holds no such PEM section.
    #[error("cannot read {} ({setting}): {source}", .path.display())]
    File {
        /// The setting that names the file.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// Certificate and key do not go together, or are of an unknown kind.
    #[error("certificate and key cannot be used: {0}")]
    Pair(#[from] rustls::Error),
    /// Nobody can be known by these.
    #[error("the certificates in {} (tls.client_ca_file) cannot be used: {reason}", .path.display())]
    ClientCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A self-signed certificate could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// The certificate that a port shows. Cheap to clone: clones share it.
#[derive(Clone)]
pub struct Certificates {
    shared: Arc<Shared>,
}

struct Shared {
    tls: Option<Tls>,
    /// Names for a self-signed one.
    names: Vec<String>,
    /// The files as they were when they were last read.
    read: Mutex<Vec<Option<Stamp>>>,
    acceptor: watch::Sender<TlsAcceptor>,
    counters: TlsCounters,
}

/// What tells a file from what it was before.
type Stamp = (i64, i64, u64, u64);

impl Certificates {
    /// Reads the certificate of the settings, or makes a self-signed one for `host`.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn open(tls: Option<&Tls>, host: &str, counters: TlsCounters) -> Result<Certificates, TlsError> {
        let names = names(host);
        let stamps = stamps(tls);
        let Loaded { acceptor, not_after } = load(tls, &names)?;
        counters.loaded(not_after);
        let (read, acceptor) = (Mutex::new(stamps), watch::Sender::new(acceptor));
        Ok(Certificates { shared: Arc::new(Shared { tls: tls.cloned(), names, read, acceptor, counters }) })
    }

    /// What accepts connections now, and what will.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<TlsAcceptor> {
        self.shared.acceptor.subscribe()
    }

    /// Reads the files again, changed or not. What cannot be used leaves all as it was.
    ///
    /// # Errors
    /// See [`TlsError`]; counted.
    pub fn reload(&self) -> Result<(), TlsError> {
        let shared = &self.shared;
        let mut read = shared.read.lock().unwrap_or_else(PoisonError::into_inner);
        // Before they are read: what changes meanwhile is read once more.
        *read = stamps(shared.tls.as_ref());
        match load(shared.tls.as_ref(), &shared.names) {
            Ok(Loaded { acceptor, not_after }) => {
                shared.acceptor.send_replace(acceptor);
                shared.counters.loaded(not_after);
                Ok(())
            }
            Err(error) => {
                shared.counters.refused();
                Err(error)
            }
        }
    }

    /// Reads the files again if one has changed since they were read; says whether it has. A file that is bad is told once.
    pub fn look(&self) -> bool {
        let now = stamps(self.shared.tls.as_ref());
        if *self.shared.read.lock().unwrap_or_else(PoisonError::into_inner) == now {
            return false;
        }
        match self.reload() {
            Ok(()) => tracing::info!("the files of the certificate have changed: new connections get the new one"),
            Err(error) => {
                tracing::error!(%error, "the files of the certificate have changed: going on with the old one")
            }
        }
        true
    }

    /// Looks at the files for ever.
    pub async fn watch(self) {
        if self.shared.tls.is_none() {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let certificates = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || certificates.look()).await {
                tracing::error!(%error, "the files of the certificate were not looked at");
            }
        }
    }
}

/// What a self-signed certificate is for.
pub(crate) fn names(host: &str) -> Vec<String> {
    let mut names = vec![host.to_owned()];
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned).into_iter().filter(|name| name != host));
    names
}

/// How the files look; nothing of one that is not there.
fn stamps(tls: Option<&Tls>) -> Vec<Option<Stamp>> {
    let Some(Tls { cert_file, key_file, client_ca_file }) = tls else { return Vec::new() };
    let stamp = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.size(), found.ino()))
    };
    [Some(cert_file), Some(key_file), client_ca_file.as_ref()].into_iter().flatten().map(|path| stamp(path)).collect()
}

struct Loaded {
    acceptor: TlsAcceptor,
    /// When the certificate ends, in seconds since 1970.
    not_after: Option<u64>,
}

fn load(tls: Option<&Tls>, names: &[String]) -> Result<Loaded, TlsError> {
    let (chain, key) = match tls {
        Some(tls) => read_files(tls)?,
        None => self_signed(names)?,
    };
    let not_after = chain.first().and_then(|certificate| not_after(certificate));
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match tls.and_then(|tls| tls.client_ca_file.as_ref()) {
        Some(path) => builder.with_client_cert_verifier(clients_known_by(path, provider)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), not_after })
}

/// Clients must show a certificate that one of these has signed.
fn clients_known_by(
    path: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let unusable = |reason: String| TlsError::ClientCa { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for root in certificates("tls.client_ca_file", path)? {
        roots.add(root).map_err(|error| unusable(error.to_string()))?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
    verifier.map_err(|error: VerifierBuilderError| unusable(error.to_string()))
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_files(tls: &Tls) -> Result<ChainAndKey, TlsError> {
    let chain = certificates("tls.cert_file", &tls.cert_file)?;
    let (setting, path) = ("tls.key_file", tls.key_file.clone());
    let key = PrivateKeyDer::from_pem_file(&path).map_err(|source| TlsError::File { setting, path, source })?;
    Ok((chain, key))
}

/// The certificates of a file; at least one.
fn certificates(setting: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::File { setting, path: path.to_owned(), source };
    let found: Vec<_> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(unreadable)?;
    if found.is_empty() { Err(unreadable(pem::Error::NoItemsFound)) } else { Ok(found) }
}

fn self_signed(names: &[String]) -> Result<ChainAndKey, TlsError> {
    let made = rcgen::generate_simple_self_signed(names)?;
    Ok((vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into())))
}

/// Writes a self-signed certificate for these names and its key, unless both are there.
///
/// # Errors
/// It cannot be made or written.
pub(crate) fn keep_self_signed(cert_file: &Path, key_file: &Path, names: &[String]) -> io::Result<()> {
    if cert_file.exists() && key_file.exists() {
        return Ok(());
    }
    let made = rcgen::generate_simple_self_signed(names).map_err(io::Error::other)?;
    // The certificate last: both are there, or the next start makes them anew.
    write_new(key_file, 0o600, &made.signing_key.serialize_pem())?;
    write_new(cert_file, 0o644, &made.cert.pem())
}

/// Whole, or not at all.
fn write_new(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let temporary = path.with_extension("tmp");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
