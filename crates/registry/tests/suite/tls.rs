//! HTTPS: the certificates that are trusted.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use xbuild_model::Reference;
use xbuild_registry::{Client, ClientOptions};

use crate::fixture::{chain, options, platform};

/// Starts a server that answers 404, with a certificate for `name`; returns its port and the
/// certificate.
fn server(name: &str) -> (u16, String) {
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
    let pem = certificate.pem();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut tls = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::Stream::new(&mut tls, &mut stream);
            let mut buffer = [0; 4096];
            // A client that does not trust the certificate closes the connection here.
            if stream.read(&mut buffer).is_ok() {
                let _ = stream.write_all(b"HTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n");
                let _ = stream.flush();
            }
        }
    });
    (port, pem)
}

fn ask(port: u16, options: ClientOptions) -> String {
    // An address of this machine that does not look like a loopback address: HTTPS is required.
    let reference: Reference = format!("0.0.0.0:{port}/a").parse().unwrap();
    chain(&Client::new(options).resolve(&reference, &platform("linux/amd64")).unwrap_err())
}

#[test]
fn only_certificates_that_are_trusted_are_accepted() {
    let (port, pem) = server("0.0.0.0");
    let text = ask(port, options());
    assert!(text.contains("cannot connect to https://0.0.0.0"), "{text}");
    assert!(text.contains("certificate"), "{text}");
    let trusting = ClientOptions { extra_roots: vec![pem.into_bytes()], ..options() };
    assert!(ask(port, trusting).ends_with("not found"));
    // The same with another name.
    let (port, pem) = server("other.example");
    let trusting = ClientOptions { extra_roots: vec![pem.into_bytes()], ..options() };
    let text = ask(port, trusting);
    assert!(text.contains("certificate"), "{text}");
}

#[test]
fn extra_certificates_are_checked() {
    let bad = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec();
    let text = ask(1, ClientOptions { extra_roots: vec![bad], ..options() });
    assert!(text.contains("an extra certificate"), "{text}");
}
