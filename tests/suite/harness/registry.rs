//! A registry to pull from and to push to.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rcgen::{CertificateParams, KeyPair};

use super::token_server::{SERVICE, TokenServer};
use super::tools::{cached, found_in_path, tool};

/// Debian's docker-registry on a free port of the loopback interface, ended with the test.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    folder: tempfile::TempDir,
    pub(crate) host: String,
}

/// The user and the password of a registry with a password, as `auth` in Docker's `config.json`:
/// `suite:secret` in Base64.
pub(crate) const CREDENTIALS: &str = "c3VpdGU6c2VjcmV0";
/// The same as a line of an htpasswd file, hashed with bcrypt.
const HASHED: &str = "suite:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

impl Registry {
    /// Starts a registry that lets in everybody. A test with a registry needs it: `needs!(Registry)`.
    pub(crate) fn start() -> Self {
        Self::with(|_| serde_json::json!({}))
    }

    /// Starts a registry that lets in nobody but the user `suite` with the password `secret`.
    pub(crate) fn with_password() -> Self {
        Self::with(|folder| {
            let file = folder.join("htpasswd");
            fs::write(&file, HASHED).unwrap();
            serde_json::json!({"htpasswd": {"realm": "suite", "path": file}})
        })
    }

    /// Starts a registry that asks for tokens of a server.
    pub(crate) fn with_tokens(server: &TokenServer) -> Self {
        Self::with(|folder| {
            let file = folder.join("tokens.pem");
            fs::write(&file, &server.certificate).unwrap();
            serde_json::json!({"token": {"realm": server.realm, "service": SERVICE,
                "issuer": SERVICE, "rootcertbundle": file}})
        })
    }

    /// Starts a registry that speaks TLS, and lets delete; returns it with its certificate, as PEM.
    pub(crate) fn with_tls() -> (Self, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap().pem();
        let registry = Self::with_config(|folder, config| {
            let [chain, private] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
            fs::write(&chain, &certificate).unwrap();
            fs::write(&private, key.serialize_pem()).unwrap();
            config["http"]["tls"] = serde_json::json!({"certificate": chain, "key": private});
            config["storage"]["delete"] = serde_json::json!({"enabled": true});
        });
        (registry, certificate)
    }

    fn with(auth: impl FnOnce(&Path) -> serde_json::Value) -> Self {
        Self::with_config(|folder, config| config["auth"] = auth(folder))
    }

    fn with_config(change: impl FnOnce(&Path, &mut serde_json::Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let mut config = serde_json::json!({
            "version": 0.1, "log": {"level": "error"}, "http": {"addr": host, "secret": "suite"},
            "storage": {"filesystem": {"rootdirectory": folder.path().join("data")}},
            "auth": {},
        });
        change(folder.path(), &mut config);
        let file = folder.path().join("config.yml");
        fs::write(&file, config.to_string()).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new(found_in_path("docker-registry"));
        command.arg("serve").arg(file).stdout(log).stderr(Stdio::null());
        let registry = Self { process: command.spawn().unwrap(), folder, host };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !registry.answers() {
            assert!(Instant::now() < deadline, "the registry does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        registry
    }

    /// Pushes the busybox base image for all its platforms as `REPOSITORY:latest`, and returns its
    /// reference. `creds` are arguments of `skopeo copy`.
    pub(crate) fn push_busybox(&self, repository: &str, creds: &[&str]) -> String {
        let from = format!("oci:{}:latest", cached("busybox").display());
        let name = format!("{}/{repository}:latest", self.host);
        let to = format!("docker://{name}");
        let args = ["--insecure-policy", "copy", "--all", "--dest-tls-verify=false", "--quiet"];
        tool("skopeo", args.iter().chain(creds).copied().chain([from.as_str(), &to]));
        name
    }

    /// Returns the requests to the registry, oldest first, each as `METHOD /path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        // A line of the access log is: ADDRESS - - [TIME] "METHOD /path HTTP/1.1" STATUS ..
        let request = |line: &str| line.split('"').nth(1).map(str::to_owned);
        let text = |request: String| request.trim_end_matches(" HTTP/1.1").to_owned();
        log.lines().filter_map(request).map(text).collect()
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.host) else { return false };
        let mut answer = String::new();
        write!(stream, "GET /v2/ HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            // A registry with TLS answers 400.
            && [" 200 ", " 401 ", " 400 "].iter().any(|status| answer.contains(status))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
