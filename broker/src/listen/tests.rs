//! The client port from outside: both kinds of clients, the bound, and clients that say nothing sensible.

use std::{sync::Arc, time::Duration};

use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::ring,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};

use super::*;
use crate::config::Tls;

/// Trusts everything, as the official clients do.
#[derive(Debug)]
struct TrustAll;

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _end: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

struct Port {
    address: SocketAddr,
    streams: ReceiverStream<std::io::Result<ClientStream>>,
    open: Gauge,
}

fn port(connections_max: usize) -> Port {
    let listener = bind("listen.client", "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let open = Gauge::default();
    let tls = acceptor(None, "node1").unwrap();
    let streams = accept(listener, AcceptOptions { tls, connections_max, open: open.clone() });
    Port { address, streams, open }
}

impl Port {
    async fn next(&mut self) -> ClientStream {
        timeout(Duration::from_secs(10), self.streams.next()).await.unwrap().unwrap().unwrap()
    }
}

#[tokio::test]
async fn plaintext_arrives_whole() {
    let mut port = port(8);
    let mut client = TcpStream::connect(port.address).await.unwrap();
    client.write_all(b"PRI * HTTP/2.0").await.unwrap();
    let mut found = [0; 14];
    port.next().await.read_exact(&mut found).await.unwrap();
    assert_eq!(&found, b"PRI * HTTP/2.0");
}

#[tokio::test]
async fn tls_is_taken_on_the_same_port_and_speaks_h2() {
    let mut port = port(8);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(port.address).await.unwrap();
    let name = ServerName::try_from("node1").unwrap();
    let client = tokio::spawn(async move {
        let mut client = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        client.flush().await.unwrap();
        client
    });
    let mut found = [0; 5];
    port.next().await.read_exact(&mut found).await.unwrap();
    assert_eq!(&found, b"hello");
    assert_eq!(client.await.unwrap().get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
}

#[tokio::test]
async fn a_client_beyond_the_bound_waits_until_another_goes() {
    let mut port = port(1);
    let mut first = TcpStream::connect(port.address).await.unwrap();
    first.write_all(b"1").await.unwrap();
    let held = port.next().await;
    let mut second = TcpStream::connect(port.address).await.unwrap();
    second.write_all(b"2").await.unwrap();
    assert!(timeout(Duration::from_millis(100), port.streams.next()).await.is_err(), "the second client got a place");
    assert_eq!(port.open.get(), 1);
    drop(held);
    let mut found = [0; 1];
    port.next().await.read_exact(&mut found).await.unwrap();
    assert_eq!(&found, b"2");
}

#[tokio::test]
async fn a_broken_greeting_gives_its_place_back() {
    let mut port = port(1);
    let mut junk = TcpStream::connect(port.address).await.unwrap();
    junk.write_all(&[0x16, 0xff, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    drop(TcpStream::connect(port.address).await.unwrap());
    let mut good = TcpStream::connect(port.address).await.unwrap();
    good.write_all(b"g").await.unwrap();
    let mut found = [0; 1];
    port.next().await.read_exact(&mut found).await.unwrap();
    assert_eq!(&found, b"g");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let taken = bind("listen.client", "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind("listen.http", address).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} (setting listen.http): ")), "{error}");
}

#[test]
fn certificate_files_are_used_and_bad_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["node1".to_owned()]).unwrap();
    let tls = Tls { cert_file: dir.path().join("cert.pem"), key_file: dir.path().join("key.pem") };
    std::fs::write(&tls.cert_file, made.cert.pem()).unwrap();
    let missing = acceptor(Some(&tls), "node1").err().unwrap().to_string();
    assert!(missing.contains("key.pem") && missing.contains("tls.key_file"), "{missing}");
    std::fs::write(&tls.key_file, made.signing_key.serialize_pem()).unwrap();
    assert!(acceptor(Some(&tls), "node1").is_ok());
    std::fs::write(&tls.cert_file, "no certificate").unwrap();
    let empty = acceptor(Some(&tls), "node1").err().unwrap().to_string();
    assert!(empty.contains("cert.pem") && empty.contains("tls.cert_file"), "{empty}");
}
