//! The client port from outside: both kinds of clients, the bound, and clients that say nothing sensible.

use std::{sync::Arc, time::Duration};

use raft_log::env::Env;
use tercet_proto::nameserver::v1::{
    ListBrokersRequest, name_server_client::NameServerClient, name_server_server::NameServerServer,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{advance, pause, resume, timeout},
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
use tonic::{
    service::Routes,
    transport::{Channel, Endpoint},
};

use super::*;
use crate::{
    metrics::{Ports, TlsCounters},
    nameserver::{NameService, Routes as RouteTable},
};

/// Generous: only a test that fails waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

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
    grpc: GrpcPort,
    ports: Ports,
}

const NAME: &str = "test";

/// A nameserver: the smallest service there is.
fn port(connections_max: usize) -> Port {
    let listener = bind("listen.client", "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let ports = Ports::default();
    let tls = Certificates::open(None, "node1", TlsCounters::default()).unwrap().subscribe();
    let options = PortOptions { name: NAME, tls: Some(tls), connections_max, ports: ports.clone() };
    let service = NameService::new(RouteTable::new(Duration::from_secs(15), 10), Env::real().clock);
    let grpc = GrpcPort::start(listener, options, Routes::new(NameServerServer::new(service)));
    Port { address, grpc, ports }
}

impl Port {
    fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap().connect_lazy()
    }

    /// Whether a call is answered over this connection.
    async fn answers(channel: &Channel) -> bool {
        NameServerClient::new(channel.clone()).list_brokers(ListBrokersRequest {}).await.is_ok()
    }
}

/// Whether the other side closes it.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    // An error is a closed connection too.
    timeout(PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn plaintext_is_served() {
    let port = port(8);
    assert!(Port::answers(&port.channel()).await);
}

#[tokio::test]
async fn tls_is_taken_on_the_same_port_and_speaks_h2() {
    let port = port(8);
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(TrustAll))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(port.address).await.unwrap();
    let name = ServerName::try_from("node1").unwrap();
    let mut client = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    client.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    let mut head = [0; 9];
    client.read_exact(&mut head).await.unwrap();
    assert_eq!(head[3], 4, "settings come first");
}

#[tokio::test]
async fn those_who_say_nothing_make_way_for_one_who_asks() {
    let port = port(2);
    let mut first = TcpStream::connect(port.address).await.unwrap();
    let second = TcpStream::connect(port.address).await.unwrap();
    let third = port.channel();
    assert!(Port::answers(&third).await, "it got a place");
    assert!(is_closed(&mut first).await, "the oldest made way");
    drop(second);
}

#[tokio::test]
async fn at_the_bound_a_new_connection_is_closed_at_once_and_those_that_work_go_on() {
    let port = port(1);
    let working = port.channel();
    assert!(Port::answers(&working).await);
    let mut refused = TcpStream::connect(port.address).await.unwrap();
    assert!(is_closed(&mut refused).await);
    assert!(Port::answers(&working).await);
    assert_eq!(port.ports.open(NAME).get(), 1);
}

#[tokio::test]
async fn a_broken_greeting_gives_its_place_back() {
    let port = port(1);
    let mut junk = TcpStream::connect(port.address).await.unwrap();
    junk.write_all(&[0x16, 0xff, 0xff, 0xff, 0xff, 0xff]).await.unwrap();
    assert!(is_closed(&mut junk).await);
    assert!(Port::answers(&port.channel()).await);
}

#[tokio::test]
async fn a_stopped_port_ends_connections_that_have_nothing_to_do() {
    let port = port(8);
    let channel = port.channel();
    assert!(Port::answers(&channel).await);
    let silent = TcpStream::connect(port.address).await.unwrap();
    timeout(PATIENCE, port.grpc.stop(Duration::from_secs(3600))).await.expect("nobody is waited for");
    assert_eq!(port.ports.open(NAME).get(), 0);
    drop(silent);
}

const SETTINGS: u8 = 4;
const HEADERS: u8 = 1;
const GOAWAY: u8 = 7;

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Headers of a frame, none of them compressed.
fn literal(headers: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    headers.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// What a client of HTTP/2 says first.
fn greeting() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

/// Kind and flags of the next frame.
async fn next_frame(client: &mut TcpStream) -> (u8, u8) {
    let mut head = [0; 9];
    client.read_exact(&mut head).await.unwrap();
    let [a, b, c, kind, flags, ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    client.read_exact(&mut payload).await.unwrap();
    (kind, flags)
}

/// The clock jumps.
async fn pass(time: Duration) {
    pause();
    advance(time).await;
    resume();
}

// hazards 39: a place that nobody else needs has a deadline too.
#[tokio::test]
async fn one_who_says_nothing_is_closed_though_there_is_room() {
    let port = port(8);
    let mut silent = TcpStream::connect(port.address).await.unwrap();
    assert!(Port::answers(&port.channel()).await, "so the one before is accepted");
    pass(Duration::from_secs(11)).await;
    assert!(is_closed(&mut silent).await);
}

#[tokio::test]
async fn one_who_greets_and_asks_for_nothing_is_sent_away_though_there_is_room() {
    let port = port(8);
    let mut client = TcpStream::connect(port.address).await.unwrap();
    client.write_all(&greeting()).await.unwrap();
    assert_eq!(next_frame(&mut client).await.0, SETTINGS);
    pass(Duration::from_secs(31)).await;
    let sent_away = async { while next_frame(&mut client).await.0 != GOAWAY {} };
    // A client that does not answer whether it lives is sent away too, ten seconds after it was asked.
    timeout(Duration::from_secs(5), sent_away).await.expect("long before that");
}

#[tokio::test]
async fn a_call_ends_by_its_own_deadline() {
    const END_HEADERS: u8 = 4;
    const END_STREAM: u8 = 1;
    let port = port(8);
    let mut client = TcpStream::connect(port.address).await.unwrap();
    let head = literal(&[
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/tercet.nameserver.v1.NameServer/ListBrokers"),
        (":authority", "test"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", "200m"),
    ]);
    client.write_all(&greeting()).await.unwrap();
    let began = std::time::Instant::now();
    // Its body never comes.
    client.write_all(&frame(HEADERS, END_HEADERS, 1, &head)).await.unwrap();
    let answered = async {
        loop {
            if let (HEADERS, flags) = next_frame(&mut client).await {
                return flags;
            }
        }
    };
    let flags = timeout(Duration::from_secs(20), answered).await.expect("long before requests must be whole");
    assert!(began.elapsed() >= Duration::from_millis(200) && flags & END_STREAM > 0, "a refusal, in its time");
}

#[tokio::test]
async fn a_port_in_use_is_named_with_its_setting() {
    let taken = bind("listen.client", "127.0.0.1:0".parse().unwrap()).unwrap();
    let address = taken.local_addr().unwrap();
    let error = bind("listen.http", address).unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address} (setting listen.http): ")), "{error}");
}
