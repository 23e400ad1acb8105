//! TLS in front of a server that speaks plain HTTP, with a certificate of an authority of its own.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

type Client = StreamOwned<ServerConnection, TcpStream>;

/// The server. It serves until the end of the test's process.
#[derive(Debug)]
pub(crate) struct TlsFront {
    pub(crate) host: String,
    /// The certificate of the authority, as PEM.
    pub(crate) authority: String,
}

impl TlsFront {
    /// Starts a server in front of the one at `behind`.
    pub(crate) fn start(behind: &str) -> Self {
        let [authority_key, key] = [(); 2].map(|()| KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap().pem();
        let issuer = Issuer::new(params, authority_key);
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = own.signed_by(&key, &issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let behind = behind.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (behind, config) = (behind.clone(), Arc::clone(&config));
                // What breaks off is meant to.
                std::thread::spawn(move || drop(serve(stream, config, &behind)));
            }
        });
        Self { host, authority }
    }
}

/// Serves one request, and closes the connection.
fn serve(stream: TcpStream, config: Arc<ServerConfig>, behind: &str) -> io::Result<()> {
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut client = StreamOwned::new(connection, stream);
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let lower = String::from_utf8_lossy(&head).to_lowercase();
    let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
    let is_chunked = lower.contains("transfer-encoding: chunked");
    let mut server = TcpStream::connect(behind)?;
    server.write_all(&head)?;
    // A server may answer, and stop to read, before it has the whole body.
    let _ = match (length, is_chunked) {
        (Some(length), _) => pass(&mut client, &mut server, length.trim().parse().unwrap()),
        (None, true) => pass_chunks(&mut client, &mut server),
        (None, false) => Ok(()),
    };
    let passed = io::copy(&mut server, &mut client);
    let is_whole = passed.is_ok_and(|count| count > 0);
    if is_whole {
        client.conn.send_close_notify();
        client.flush()?;
    }
    client.sock.shutdown(Shutdown::Both)
}

fn pass(client: &mut Client, server: &mut TcpStream, length: u64) -> io::Result<()> {
    io::copy(&mut client.take(length), server).map(drop)
}

/// Passes a body on that comes in chunks.
fn pass_chunks(client: &mut Client, server: &mut TcpStream) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            client.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        server.write_all(&line)?;
        let size = u64::from_str_radix(String::from_utf8_lossy(&line).trim(), 16);
        let size = size.map_err(io::Error::other)?;
        pass(client, server, size + 2)?;
        if size == 0 {
            return Ok(());
        }
    }
}
