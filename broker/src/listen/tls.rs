//! The server's side of TLS: the operator's certificate, or one made at start.

use std::{path::PathBuf, sync::Arc};

use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    },
};

use crate::config::Tls;

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
    /// A self-signed certificate could not be made.
    #[error("cannot make a self-signed certificate: {0}")]
    SelfSigned(#[from] rcgen::Error),
}

/// Accepts TLS with the given certificate, or with a self-signed one for `host`.
///
/// # Errors
/// See [`TlsError`].
pub fn acceptor(tls: Option<&Tls>, host: &str) -> Result<TlsAcceptor, TlsError> {
    let (chain, key) = match tls {
        Some(tls) => read_files(tls)?,
        None => self_signed(host)?,
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

type ChainAndKey = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_files(tls: &Tls) -> Result<ChainAndKey, TlsError> {
    let file = |setting, path: &PathBuf| {
        let path = path.clone();
        move |source| TlsError::File { setting, path, source }
    };
    let chain: Vec<_> = CertificateDer::pem_file_iter(&tls.cert_file)
        .and_then(Iterator::collect)
        .map_err(file("tls.cert_file", &tls.cert_file))?;
    if chain.is_empty() {
        return Err(file("tls.cert_file", &tls.cert_file)(pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&tls.key_file).map_err(file("tls.key_file", &tls.key_file))?;
    Ok((chain, key))
}

fn self_signed(host: &str) -> Result<ChainAndKey, TlsError> {
    let names = vec![host.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names)?;
    Ok((vec![made.cert.der().clone()], PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into())))
}
