//! The client against Debian's `docker-registry`.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use xbuild_model::Reference;
use xbuild_registry::Push;
use xbuild_testkit::images::{Images, file};

use crate::fixture::{client, platform, push, read_layer};

struct RealRegistry {
    process: Child,
    host: String,
    _folder: tempfile::TempDir,
}

impl RealRegistry {
    /// Starts a registry; `None`, with a message, if the program is not installed.
    fn start() -> Option<Self> {
        let program = std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).map(|p| p.join("docker-registry")).find(|p| p.is_file())
        });
        let Some(program) = program else {
            let required = std::env::var("XBUILD_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|r| r == "registry"), "docker-registry is required");
            println!("skipped: missing docker-registry");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            listener.local_addr().unwrap().port()
        };
        let host = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: {host}}}\n",
            folder.path().join("data").display()
        );
        let path = folder.path().join("config.yml");
        fs::write(&path, config).unwrap();
        let process = Command::new(program)
            .arg("serve")
            .arg(path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = Self { process, host, _folder: folder };
        let start = Instant::now();
        while TcpStream::connect(&registry.host).is_err() {
            assert!(start.elapsed() < Duration::from_secs(20), "docker-registry does not start");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    fn reference(&self, rest: &str) -> Reference {
        format!("{}/{rest}", self.host).parse().unwrap()
    }
}

impl Drop for RealRegistry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn pushes_pulls_and_mounts() {
    let Some(registry) = RealRegistry::start() else { return };
    let client = client();
    let big: Vec<u8> = (0..5_000_000u32).map(|i| (i % 241) as u8).collect();
    let images = Images::new(&["linux/amd64", "linux/arm64"], &[&big]);
    let base = registry.reference("base/image:1");
    push(&images, &client, &[base.clone(), registry.reference("base/image:latest")]).unwrap();
    let image = client.resolve(&base, &platform("linux/arm64")).unwrap();
    assert_eq!(read_layer(&client, &image, 0).unwrap(), big);
    assert_eq!(client.inspect(&base).unwrap().bytes, images.assembled.root().1);

    let on_top = Images::new(&["linux/arm64"], &[&big]);
    let outcomes = std::sync::Mutex::new(Vec::new());
    let push = Push {
        targets: &[registry.reference("app:1")],
        by_digest: false,
        built: &on_top.on_base(&image, false, &client),
        progress: &|event| outcomes.lock().unwrap().push(format!("{event:?}")),
    };
    client.push(&push).unwrap();
    let mounted = outcomes.into_inner().unwrap();
    let mounted = mounted.iter().filter(|event| event.contains("how: Mounted")).count();
    assert_eq!(mounted, 2);
    let pushed = crate::fixture::client();
    let image = pushed.resolve(&registry.reference("app:1"), &platform("linux/arm64")).unwrap();
    assert_eq!(read_layer(&pushed, &image, 0).unwrap(), big);
}

#[test]
fn takes_blobs_ahead_of_their_image() {
    let Some(registry) = RealRegistry::start() else { return };
    let client = client();
    let big: Vec<u8> = (0..5_000_000u32).map(|i| (i % 239) as u8).collect();
    let images = Images::new(&["linux/amd64"], &[&big, b"small"]);
    let target = registry.reference("app:1");
    let layers = &images.assembled.images[0].layers;
    let stream = |digest: Option<xbuild_model::Digest>| {
        client.push_stream(&target, Box::new(file(&big).unwrap()), &|| digest.clone())
    };
    assert!(!stream(None), "given up");
    assert!(!stream(Some(xbuild_model::Digest::of(b"something else"))));
    let how = |wanted: &str| {
        let outcomes = std::sync::Mutex::new(Vec::new());
        let push = Push {
            targets: std::slice::from_ref(&target),
            by_digest: false,
            built: &images.built(),
            progress: &|event| outcomes.lock().unwrap().push(format!("{event:?}")),
        };
        client.push(&push).unwrap();
        let outcomes = outcomes.into_inner().unwrap();
        outcomes.iter().filter(|event| event.contains(&format!("how: {wanted}"))).count()
    };
    assert!(stream(Some(layers[0].digest.clone())));
    // The registry has the layer, but not the others and the configuration.
    assert_eq!(how("Uploaded"), layers.len());
    assert_eq!(how("Present"), layers.len() + 1);
}

/// Passes connections on to `host`; cuts the first one in the middle of a long request.
fn cutting_proxy(host: String) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let cut = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        for inbound in listener.incoming().map_while(Result::ok) {
            let Ok(outbound) = TcpStream::connect(&host) else { return };
            let (mut from, mut to) = (inbound.try_clone().unwrap(), outbound.try_clone().unwrap());
            let cut = cut.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 1 << 16];
                let mut total = 0;
                while let Ok(length) = from.read(&mut buffer) {
                    total += length;
                    let middle = total > 2_000_000;
                    if length == 0 || to.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                    if middle && !cut.swap(true, std::sync::atomic::Ordering::Relaxed) {
                        break;
                    }
                }
                let _ = from.shutdown(std::net::Shutdown::Both);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
            let (mut from, mut to) = (outbound, inbound);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from, &mut to);
                let _ = to.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn survives_a_broken_upload() {
    let Some(registry) = RealRegistry::start() else { return };
    let proxy = cutting_proxy(registry.host.clone());
    let big: Vec<u8> = (0..5_000_000u32).map(|i| (i / 7 % 239) as u8).collect();
    let images = Images::new(&["linux/amd64"], &[&big]);
    let client = client();
    push(&images, &client, &[format!("{proxy}/app:1").parse().unwrap()]).unwrap();
    let image = client.resolve(&registry.reference("app:1"), &platform("linux/amd64")).unwrap();
    assert_eq!(read_layer(&client, &image, 0).unwrap(), big);
}

#[test]
fn names_what_it_does_not_have() {
    let Some(registry) = RealRegistry::start() else { return };
    let missing = registry.reference("no/such-image:v9");
    let error = client().resolve(&missing, &platform("linux/amd64")).unwrap_err();
    assert_eq!(error.to_string(), format!("{}/no/such-image:v9: not found", registry.host));
}
