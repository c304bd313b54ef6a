use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, Issuer, KeyPair};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, pki_types::ServerName},
};

use super::*;

/// Two folders deep in nothing: the files of one port.
struct Files {
    dir: tempfile::TempDir,
    tls: Tls,
}

/// A certificate for `localhost` and its key, in PEM.
fn pair() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().unwrap();
        let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| dir.path().join(name));
        Files { dir, tls: Tls { cert_file, key_file, client_ca_file: None } }
    }

    /// Puts another pair in their place; answers the certificate.
    fn renew(&self) -> String {
        let (cert, key) = pair();
        self.put(&self.tls.key_file, &key);
        self.put(&self.tls.cert_file, &cert);
        cert
    }

    /// As those do who renew certificates: whole, by another file.
    fn put(&self, path: &Path, text: &str) {
        let new = self.dir.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, path).unwrap();
    }

    fn open(&self) -> Certificates {
        Certificates::open(Some(&self.tls), "node1", TlsCounters::default()).unwrap()
    }
}

/// A client that trusts one certificate, and shows a pair of its own if it has one.
fn client(trusted: &str, own: Option<(&str, &str)>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.as_bytes()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match own {
        None => config.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(cert.as_bytes()).unwrap()];
            config.with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap()).unwrap()
        }
    };
    TlsConnector::from(Arc::new(config))
}

/// Shakes hands with what the port would take now; both sides must agree. Answers the client's side and the server's.
async fn shake(
    certificates: &Certificates,
    client: &TlsConnector,
    name: &str,
) -> Option<(TlsStream<TcpStream>, tokio_rustls::server::TlsStream<TcpStream>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let acceptor = certificates.subscribe().borrow().clone();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let (client, server) = tokio::join!(client.connect(name, stream), acceptor.accept(accepted));
    Some((client.ok()?, server.ok()?))
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on() {
    let files = Files::new();
    let first = files.renew();
    let certificates = files.open();
    let (mut old, mut server) = shake(&certificates, &client(&first, None), "localhost").await.unwrap();
    assert!(!certificates.look(), "nothing has changed");
    let second = files.renew();
    assert!(shake(&certificates, &client(&second, None), "localhost").await.is_none(), "not looked at yet");
    assert!(certificates.look() && !certificates.look());
    assert!(shake(&certificates, &client(&second, None), "localhost").await.is_some());
    assert!(
        shake(&certificates, &client(&first, None), "localhost").await.is_none(),
        "the old one is not shown any more"
    );
    tokio::io::AsyncWriteExt::write_all(&mut server, b"still here").await.unwrap();
    let mut told = [0; 10];
    old.read_exact(&mut told).await.unwrap();
    assert_eq!(&told, b"still here");
    assert_eq!(certificates.shared.counters.refusals(), 0);
}

#[tokio::test]
async fn what_cannot_be_used_leaves_the_old_one_and_is_counted_once() {
    let files = Files::new();
    let first = files.renew();
    let certificates = files.open();
    let ends = certificates.shared.counters.not_after();
    assert!(ends > 2_000_000_000, "the certificates of tests end late: {ends}");
    let (stranger, _) = pair();
    let bad = ["", "no certificate", &stranger];
    for (count, text) in (1..).zip(bad) {
        files.put(&files.tls.cert_file, text);
        assert!(certificates.look() && !certificates.look(), "{text:?}");
        assert_eq!(certificates.shared.counters.refusals(), count, "{text:?}");
        assert!(shake(&certificates, &client(&first, None), "localhost").await.is_some(), "{text:?}");
    }
    fs::remove_file(&files.tls.key_file).unwrap();
    assert!(certificates.look() && certificates.reload().is_err());
    // The key comes last, and makes it good.
    files.put(&files.tls.cert_file, "");
    let good = files.renew();
    assert!(certificates.look());
    assert!(shake(&certificates, &client(&good, None), "localhost").await.is_some());
}

#[tokio::test]
async fn clients_prove_who_they_are_where_that_is_asked() {
    let mut files = Files::new();
    let shown = files.renew();
    let authority = || {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let signed = |by: &Issuer<'_, KeyPair>| {
        let key = KeyPair::generate().unwrap();
        let cert = CertificateParams::new(vec!["client".to_owned()]).unwrap().signed_by(&key, by).unwrap();
        (cert.pem(), key.serialize_pem())
    };
    let (ours, theirs) = (authority(), authority());
    let client_ca_file = files.dir.path().join("ca.pem");
    fs::write(&client_ca_file, ours.pem()).unwrap();
    files.tls.client_ca_file = Some(client_ca_file.clone());
    let certificates = files.open();
    let (known, unknown) = (signed(&ours), signed(&theirs));
    let enters = async |own: Option<&(String, String)>| {
        let client = client(&shown, own.map(|(cert, key)| (cert.as_str(), key.as_str())));
        shake(&certificates, &client, "localhost").await.is_some()
    };
    assert!(enters(Some(&known)).await);
    assert!(!enters(Some(&unknown)).await && !enters(None).await);
    // Who is known is read again, too.
    files.put(&client_ca_file, &theirs.pem());
    assert!(certificates.look());
    assert!(!enters(Some(&known)).await && enters(Some(&unknown)).await);
    files.put(&client_ca_file, "nobody");
    assert!(certificates.look());
    assert!(enters(Some(&unknown)).await, "as before");
}

#[tokio::test]
async fn a_kept_certificate_is_made_once_and_can_be_trusted_by_every_name() {
    let files = Files::new();
    let names = names("node1.example");
    keep_self_signed(&files.tls.cert_file, &files.tls.key_file, &names).unwrap();
    let first = fs::read_to_string(&files.tls.cert_file).unwrap();
    assert_eq!(fs::metadata(&files.tls.key_file).unwrap().mode() & 0o777, 0o600);
    keep_self_signed(&files.tls.cert_file, &files.tls.key_file, &names).unwrap();
    assert_eq!(fs::read_to_string(&files.tls.cert_file).unwrap(), first);
    let certificates = files.open();
    for name in ["node1.example", "localhost", "127.0.0.1", "::1"] {
        assert!(shake(&certificates, &client(&first, None), name).await.is_some(), "{name}");
    }
    assert!(shake(&certificates, &client(&first, None), "other.example").await.is_none());
    fs::remove_file(&files.tls.cert_file).unwrap();
    keep_self_signed(&files.tls.cert_file, &files.tls.key_file, &names).unwrap();
    assert_ne!(fs::read_to_string(&files.tls.cert_file).unwrap(), first, "a half is made anew");
    files.open();
}

#[test]
fn bad_files_are_named() {
    let files = Files::new();
    let (cert, key) = pair();
    let told = |files: &Files| {
        Certificates::open(Some(&files.tls), "node1", TlsCounters::default()).err().unwrap().to_string()
    };
    fs::write(&files.tls.cert_file, cert).unwrap();
    let missing = told(&files);
    assert!(missing.contains("key.pem") && missing.contains("tls.key_file"), "{missing}");
    fs::write(&files.tls.key_file, key).unwrap();
    files.open();
    fs::write(&files.tls.cert_file, "no certificate").unwrap();
    let empty = told(&files);
    assert!(empty.contains("cert.pem") && empty.contains("tls.cert_file"), "{empty}");
}
