//! HTTPS: the certificates that are trusted.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use xbuild_model::Reference;
use xbuild_registry::{Client, ClientOptions};

use crate::fixture::{chain, options, platform};

/// A server that ends TLS in front of another one. It listens on all addresses, until the end of the
/// test's process.
pub struct TlsServer {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl TlsServer {
    pub fn start(certificate: &rcgen::Certificate, key: &KeyPair, behind: SocketAddr) -> Self {
        Self::start_for(certificate, key, behind, None)
    }

    /// Starts a server that lets in nobody without a certificate of this authority, if there is one.
    pub fn start_for(
        certificate: &rcgen::Certificate,
        key: &KeyPair,
        behind: SocketAddr,
        authority: Option<&rcgen::Certificate>,
    ) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let verifier = authority.map(|authority| {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(authority.der().clone()).unwrap();
            let (roots, provider) = (Arc::new(roots), Arc::clone(&provider));
            WebPkiClientVerifier::builder_with_provider(roots, provider).build().unwrap()
        });
        let verifier = verifier.unwrap_or_else(WebPkiClientVerifier::no_client_auth);
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                count.fetch_add(1, Ordering::Relaxed);
                let tls = rustls::ServerConnection::new(config.clone()).unwrap();
                std::thread::spawn(move || serve(rustls::StreamOwned::new(tls, stream), behind));
            }
        });
        Self { port, connections }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

/// Passes requests on, one after the other, each on a connection of its own.
fn serve(client: rustls::StreamOwned<rustls::ServerConnection, TcpStream>, behind: SocketAddr) {
    let mut client = BufReader::new(client);
    while let Some((head, body)) = message(&mut client, false) {
        let Ok(mut server) = TcpStream::connect(behind) else { return };
        server.write_all(&[head.as_bytes(), &body].concat()).unwrap();
        let mut server = BufReader::new(server);
        let Some((head, body)) = message(&mut server, head.starts_with("HEAD")) else { return };
        let answer = [head.as_bytes(), &body].concat();
        if client.get_mut().write_all(&answer).and_then(|()| client.get_mut().flush()).is_err() {
            return;
        }
    }
}

/// Reads the head and the body of a message.
fn message(reader: &mut impl std::io::BufRead, no_body: bool) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let lower = head.to_lowercase();
    let length =
        lower.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    let mut body = vec![0; if no_body { 0 } else { length.unwrap_or(0usize) }];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// Starts a server that answers 404, with a certificate for `name`; returns it with the
/// certificate.
fn server(name: &str) -> (TlsServer, String) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let empty = Box::leak(Box::new(xbuild_testkit::registry::Registry::start()));
    (TlsServer::start(&certificate, &key, empty.address()), certificate.pem())
}

fn ask(server: &TlsServer, options: ClientOptions) -> String {
    let port = server.port();
    // An address of this machine that does not look like a loopback address: HTTPS is required.
    let reference: Reference = format!("0.0.0.0:{port}/a").parse().unwrap();
    chain(&Client::new(options).resolve(&reference, &platform("linux/amd64")).unwrap_err())
}

#[test]
fn only_certificates_that_are_trusted_are_accepted() {
    let (own, pem) = server("0.0.0.0");
    let text = ask(&own, options());
    assert!(text.contains("no secure connection to https://0.0.0.0"), "{text}");
    assert!(text.contains("certificate"), "{text}");
    // Another attempt would not help.
    assert_eq!(own.connections(), 1);
    let trusting = ClientOptions { extra_roots: vec![pem.into_bytes()], ..options() };
    assert!(ask(&own, trusting).ends_with("not found"));
    // The same with another name.
    let (other, pem) = server("other.example");
    let trusting = ClientOptions { extra_roots: vec![pem.into_bytes()], ..options() };
    let text = ask(&other, trusting);
    assert!(text.contains("certificate"), "{text}");
    assert_eq!(other.connections(), 1);
}

/// A server that does not speak TLS is told at once, too.
#[test]
fn a_plain_server_is_told_at_once() {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let reference: Reference = format!("0.0.0.0:{port}/a").parse().unwrap();
    let error = Client::new(options()).resolve(&reference, &platform("linux/amd64")).unwrap_err();
    assert!(chain(&error).contains("no secure connection"), "{}", chain(&error));
    let failure = xbuild_model::StepFailure::from(error);
    assert!(failure.hint().is_some_and(|hint| hint.contains("does not speak TLS")), "{failure:?}");
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[test]
fn extra_certificates_are_checked() {
    let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let (server, _) = server("0.0.0.0");
    let text = ask(&server, ClientOptions { extra_roots: vec![bad], ..options() });
    assert!(text.contains("an extra certificate"), "{text}");
}
