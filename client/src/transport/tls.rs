//! The client's side of TLS.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex},
    time::SystemTime,
};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    },
};

use crate::{
    error::Error,
    options::{Pem, TlsOptions, Trust},
};

/// Secures new connections. Follows changes of the files that the options name; while these cannot be used, what they had
/// before counts.
#[derive(Debug)]
pub(crate) struct Tls {
    options: TlsOptions,
    /// Instead of the endpoint's host.
    server_name: Option<ServerName<'static>>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    files: Vec<Option<Stamp>>,
    config: Arc<ClientConfig>,
}

/// By what a change of a file is noticed: when it was written, and its length.
type Stamp = (SystemTime, u64);

impl Tls {
    /// Reads everything that the options name.
    pub(crate) fn new(options: TlsOptions) -> Result<Self, Error> {
        let server_name = options.server_name.clone().map(ServerName::try_from).transpose();
        let server_name = server_name.map_err(|error| wrong("tls.server_name", error.to_string()))?;
        let files = stamps(&options);
        let config = Arc::new(configure(&options)?);
        Ok(Self { options, server_name, current: Mutex::new(Current { files, config }) })
    }

    /// `host` is that of the endpoint, without brackets.
    pub(super) async fn secure(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(io::Error::other)?,
        };
        TlsConnector::from(self.config()).connect(name, stream).await
    }

    fn config(&self) -> Arc<ClientConfig> {
        let mut current = self.current.lock().expect("no holder of this lock panics");
        let files = stamps(&self.options);
        if files != current.files {
            match configure(&self.options) {
                Ok(config) => *current = Current { files, config: Arc::new(config) },
                Err(error) => tracing::warn!(%error, "the changed certificates cannot be used; the old ones are kept"),
            }
        }
        Arc::clone(&current.config)
    }
}

fn stamps(options: &TlsOptions) -> Vec<Option<Stamp>> {
    let trusted = match &options.trust {
        Trust::Authorities(pem) => Some(pem),
        Trust::System | Trust::Anybody => None,
    };
    let identity = options.identity.iter().flat_map(|(chain, key)| [chain, key]);
    let files = trusted.into_iter().chain(identity).filter_map(|pem| match pem {
        Pem::File(path) => Some(path),
        Pem::Text(_) => None,
    });
    files.map(|path| stamp(path).ok()).collect()
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.modified()?, metadata.len()))
}

fn configure(options: &TlsOptions) -> Result<ClientConfig, Error> {
    let provider = Arc::new(ring::default_provider());
    let versions = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions();
    let builder = versions.map_err(|error| wrong("tls", error.to_string()))?;
    let builder = match &options.trust {
        Trust::System => builder.with_root_certificates(system_authorities()?),
        Trust::Authorities(pem) => builder.with_root_certificates(authorities(pem)?),
        Trust::Anybody => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody { provider: Arc::clone(&provider) }))
        }
    };
    let mut config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((chain, key)) => builder
            .with_client_auth_cert(certificates("tls.identity", chain)?, private_key(key)?)
            .map_err(|error| wrong("tls.identity", error.to_string()))?,
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn system_authorities() -> Result<RootCertStore, Error> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // Systems have some that nobody understands any more.
    store.add_parsable_certificates(found.certs);
    if store.is_empty() {
        let problems: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let problem = format!("this system trusts no authority that could be read; name one: {}", problems.join("; "));
        return Err(wrong("tls", problem));
    }
    Ok(store)
}

fn authorities(pem: &Pem) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for certificate in certificates("tls.ca", pem)? {
        store.add(certificate).map_err(|error| unusable("tls.ca", pem, &error.to_string()))?;
    }
    Ok(store)
}

fn certificates(name: &'static str, pem: &Pem) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = read(name, pem)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(name, pem, "there is no certificate in it")),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(name, pem, &error.to_string())),
    }
}

fn private_key(pem: &Pem) -> Result<PrivateKeyDer<'static>, Error> {
    let bytes = read("tls.identity", pem)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|error| unusable("tls.identity", pem, &format!("the key: {error}")))
}

fn read(name: &'static str, pem: &Pem) -> Result<Vec<u8>, Error> {
    match pem {
        Pem::Text(text) => Ok(text.to_vec()),
        Pem::File(path) => fs::read(path).map_err(|error| unusable(name, pem, &error.to_string())),
    }
}

fn unusable(name: &'static str, pem: &Pem, problem: &str) -> Error {
    match pem {
        Pem::File(path) => wrong(name, format!("{}: {problem}", path.display())),
        Pem::Text(_) => wrong(name, problem.to_owned()),
    }
}

fn wrong(name: &'static str, problem: String) -> Error {
    Error::Setting { name, problem }
}

/// Whoever holds the key of the certificate that it shows is taken for a node, whatever that certificate says.
#[derive(Debug)]
struct Anybody {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_counts_for_new_connections_unless_it_cannot_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let certificate = |name: &str| rcgen::generate_simple_self_signed([name.to_owned()]).unwrap().cert.pem();
        fs::write(&file, certificate("a")).unwrap();
        let tls = Tls::new(TlsOptions::new().ca_file(&file)).unwrap();
        let first = tls.config();
        assert!(Arc::ptr_eq(&first, &tls.config()));
        fs::write(&file, "nothing").unwrap();
        assert!(Arc::ptr_eq(&first, &tls.config()));
        fs::remove_file(&file).unwrap();
        assert!(Arc::ptr_eq(&first, &tls.config()));
        fs::write(&file, certificate("b.example")).unwrap();
        let second = tls.config();
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(Arc::ptr_eq(&second, &tls.config()));
    }
}
