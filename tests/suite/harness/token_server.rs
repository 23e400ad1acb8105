//! A server of tokens for a registry, which lets in the user `suite` with the password `secret`.
//!
//! **Source** — distribution, `docs/spec/auth/token.md` and `jwt.md`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use serde_json::{Value, json};

/// The user and the password, in Base64.
const CREDENTIALS: &str = "c3VpdGU6c2VjcmV0";

/// The name of the registry in tokens.
pub(crate) const SERVICE: &str = "suite";

/// The server. It serves until the end of the test's process.
#[derive(Debug)]
pub(crate) struct TokenServer {
    pub(crate) realm: String,
    /// The certificate that the registry trusts, as PEM.
    pub(crate) certificate: String,
    given: Arc<AtomicUsize>,
}

impl TokenServer {
    pub(crate) fn start() -> Self {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![SERVICE.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let realm = format!("http://{}/token", listener.local_addr().unwrap());
        let given = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&given);
        std::thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let is_known = head.contains(&format!("Basic {CREDENTIALS}"));
                let (status, body) = match is_known {
                    true => (200, json!({"token": token(&key, &der, &head), "expires_in": 300})),
                    false => (401, json!({"errors": [{"code": "UNAUTHORIZED"}]})),
                };
                count.fetch_add(usize::from(is_known), Ordering::Relaxed);
                let body = body.to_string();
                let answer = format!(
                    "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
                     connection: close\r\n\r\n{body}",
                    body.len()
                );
                // A client that went away needs no token.
                let _ = client.write_all(answer.as_bytes());
            }
        });
        Self { realm, certificate: pem, given }
    }

    /// Returns how many tokens were given.
    pub(crate) fn given(&self) -> usize {
        self.given.load(Ordering::Relaxed)
    }
}

/// Returns a token for exactly what a request asks for.
fn token(key: &KeyPair, certificate: &[u8], head: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let target = head.split(' ').nth(1).unwrap_or_default();
    let query = target.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let decoded = query.replace("%3A", ":").replace("%2F", "/").replace("%2C", ",");
    let scopes = decoded.split('&').filter_map(|pair| pair.strip_prefix("scope="));
    let scopes =
        scopes.flat_map(|scope| scope.split(['+', ' '])).flat_map(|scope| scope.split("%20"));
    let access: Vec<Value> = scopes.filter_map(access).collect();
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [STANDARD.encode(certificate)]});
    let claims = json!({
        "iss": SERVICE, "sub": "suite", "aud": SERVICE, "jti": "1", "access": access,
        "iat": now.as_secs(), "nbf": now.as_secs() - 10,
        "exp": (now + Duration::from_secs(300)).as_secs(),
    });
    let parts = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let signed = parts.join(".");
    let signature = raw(&key.sign(signed.as_bytes()).unwrap());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// Reads `repository:NAME:ACTION,..`.
fn access(scope: &str) -> Option<Value> {
    let (kind, rest) = scope.split_once(':')?;
    let (name, actions) = rest.rsplit_once(':')?;
    Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
}

/// Returns the two numbers of an ECDSA signature, each in 32 bytes, as JWT has them: from DER, a
/// sequence of two integers.
fn raw(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        numbers.extend(std::iter::repeat_n(0, 32 - number.len()));
        numbers.extend(number);
        rest = &rest[2 + length..];
    }
    numbers
}
