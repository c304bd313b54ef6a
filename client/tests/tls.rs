//! Connections that are secured: whom a client takes for a node, and what it shows of itself.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fake;

use std::{sync::Arc, time::Duration};

use fake::Group;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tercet_client::{Client, ClientOptions, Endpoint, Error, Message, Outcome, ProducerOptions, TlsOptions};
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::WebPkiClientVerifier,
    },
};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for this name, and its key, both in PEM.
fn certified(by: &Authority, name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, by).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Decrypts for a node that speaks plain text. With `clients` they have to show a certificate of that authority.
struct Front {
    address: String,
    serving: AbortHandle,
}

impl Front {
    async fn before(node: String, (certificate, key): (String, String), clients: Option<&Authority>) -> Front {
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut store = RootCertStore::empty();
                store.add(authority.der().clone()).unwrap();
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let serve = async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let (acceptor, node) = (acceptor.clone(), node.clone());
                tokio::spawn(async move {
                    let mut near = acceptor.accept(near).await?;
                    let mut far = TcpStream::connect(node).await?;
                    tokio::io::copy_bidirectional(&mut near, &mut far).await
                });
            }
        };
        Front { address, serving: tokio::spawn(serve).abort_handle() }
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A group of one node behind a front with a certificate for `name`, and who made that.
async fn secured(name: &str, clients: Option<&Authority>) -> (Group, Front, Authority) {
    let group = Group::start(1, []).await;
    let authority = authority();
    let front = Front::before(group.address(0), certified(&authority, name), clients).await;
    group.lock().route = vec![front.address.clone()];
    (group, front, authority)
}

fn client(address: &str, tls: TlsOptions) -> Result<Client, Error> {
    Client::new(ClientOptions::new(Endpoint::parse_list(address).unwrap()).tls(tls))
}

async fn publish(client: &Client, patience: Duration) -> Outcome {
    let producer = client.producer(ProducerOptions::new().send_timeout(patience)).unwrap();
    producer.send(Message::builder("t").body("hello").build().unwrap()).await
}

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(400);

async fn refusal(client: &Client) -> String {
    let Outcome::Refused(refused) = publish(client, SHORT).await else { panic!("nothing can be sent") };
    refused.message
}

#[tokio::test]
async fn a_node_with_a_certificate_of_the_authority_is_served_from_encrypted_connections() {
    let (group, front, authority) = secured("127.0.0.1", None).await;
    let client = client(&front.address, TlsOptions::new().ca_pem(authority.pem())).unwrap();
    publish(&client, LONG).await.stored().unwrap();
    assert_eq!(group.lock().kept[0].body, b"hello");
}

#[tokio::test]
async fn nothing_is_sent_to_whoever_has_no_such_certificate() {
    let (group, front, _) = secured("127.0.0.1", None).await;
    let stranger = client(&front.address, TlsOptions::new().ca_pem(authority().pem())).unwrap();
    let why = refusal(&stranger).await;
    assert!(why.contains("invalid peer certificate"), "{why}");
    assert!(group.publishes().is_empty());
    let careless = client(&front.address, TlsOptions::new().accept_any_certificate()).unwrap();
    publish(&careless, LONG).await.stored().unwrap();
}

#[tokio::test]
async fn a_certificate_for_another_name_is_none_unless_that_name_is_expected() {
    let (_group, front, authority) = secured("broker.example", None).await;
    let tls = TlsOptions::new().ca_pem(authority.pem());
    let why = refusal(&client(&front.address, tls.clone()).unwrap()).await;
    assert!(why.contains("not valid for name"), "{why}");
    publish(&client(&front.address, tls.server_name("broker.example")).unwrap(), LONG).await.stored().unwrap();
}

#[tokio::test]
async fn a_node_that_asks_for_a_certificate_is_shown_it() {
    let clients = authority();
    let (_group, front, authority) = secured("127.0.0.1", Some(&clients)).await;
    let tls = TlsOptions::new().ca_pem(authority.pem());
    assert!(!publish(&client(&front.address, tls.clone()).unwrap(), SHORT).await.is_stored());
    let (certificate, key) = certified(&clients, "billing");
    publish(&client(&front.address, tls.identity_pem(certificate, key)).unwrap(), LONG).await.stored().unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_named_when_the_client_is_made() {
    let named = |tls: TlsOptions, words: &[&str]| {
        let error = client("a:1", tls).unwrap_err();
        assert!(matches!(error, Error::Setting { .. }));
        let error = error.to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    named(TlsOptions::new().ca_file("/nowhere/ca.pem"), &["tls.ca", "/nowhere/ca.pem"]);
    named(TlsOptions::new().ca_pem("text"), &["tls.ca", "no certificate"]);
    let (certificate, _) = certified(&authority(), "a");
    named(TlsOptions::new().ca_pem(&certificate).identity_pem(&certificate, "text"), &["tls.identity", "key"]);
    named(TlsOptions::new().ca_pem(&certificate).server_name("no name"), &["tls.server_name"]);
}
