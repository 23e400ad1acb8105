//! Invariant: whatever a server answers, a pull, a push and a download end within the time that the
//! options allow, in an error with a printable message or a result. A blob is never longer than its
//! descriptor says.
//!
//! The input is a byte that says what is asked for, and the answers in their order with a NUL after
//! each. An answer is the status line after the version, the headers and the body; `ORIGIN` in it
//! stands for the server's address. After the last answer the server knows nothing any more. It is
//! the proxy for all other hosts, so that nothing leaves this machine.

#![no_main]

use std::collections::VecDeque;
use std::error::Error;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use xbuild_image::printable::printable;
use xbuild_model::seam::Blobs;
use xbuild_model::{BlobSource, Descriptor, DiffId, Digest, ImageLayer, Reference};
use xbuild_registry::{
    Client, ClientOptions, DownloadRequest, Proxies, Push, Retries, Timeouts, Validators,
};
use xbuild_testkit::images::Images;

/// The time that a server may take for anything.
const PATIENCE: Duration = Duration::from_secs(2);

/// The time that an input may take: some requests, each with a few attempts.
const MAX_TIME: Duration = Duration::from_secs(20);

/// A server that gives the answers of the input.
struct Server {
    address: String,
    answers: Mutex<VecDeque<Vec<u8>>>,
}

/// Returns the server, which all inputs share.
fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    static LISTENER: OnceLock<TcpListener> = OnceLock::new();
    let listener = LISTENER.get_or_init(|| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports")
    });
    SERVER.get_or_init(|| {
        let address = listener.local_addr().expect("a bound socket has an address").to_string();
        thread::spawn(|| {
            for stream in listener.incoming().flatten() {
                thread::spawn(|| serve(stream));
            }
        });
        Server { address, answers: Mutex::default() }
    })
}

/// Reads a request and gives the next answer.
fn serve(stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    while reader.read_line(&mut line).ok()? > 2 {
        line.clear();
    }
    let answer = server().answers.lock().ok()?.pop_front();
    let answer = answer.unwrap_or_else(|| b"404 Not Found\r\n\r\n".to_vec());
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 ").ok()?;
    stream.write_all(&answer).ok()?;
    stream.shutdown(Shutdown::Write).ok()?;
    // The rest of the request: closing before would break the answer as well.
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let mut rest = [0; 4096];
    while reader.read(&mut rest).ok()? > 0 {}
    Some(())
}

fn client(address: &str) -> Client {
    let proxy = Some(format!("http://{address}"));
    Client::new(ClientOptions {
        proxies: Proxies { http: proxy.clone(), https: proxy, bypass: String::new() },
        retries: Retries {
            is_hasty: false,
            attempts: 2,
            first_delay: Duration::ZERO,
            max_delay: Duration::from_millis(1),
            max_asked: Duration::from_millis(1),
        },
        timeouts: Timeouts { connect: PATIENCE, head: PATIENCE, stall: PATIENCE, commit: PATIENCE },
        jobs: 1,
        ..ClientOptions::default()
    })
}

fn check(error: &dyn Error) {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let text = error.to_string();
        assert_eq!(text, printable(&text, usize::MAX), "a message has control characters");
        cause = error.source();
    }
}

fn read(client: &Client, layer: &ImageLayer, offset: u64) {
    let Ok(mut blob) = client.open(&layer.descriptor, &layer.source, offset) else { return };
    let (mut count, mut buffer) = (0, [0; 4096]);
    while let Ok(more @ 1..) = blob.read(&mut buffer) {
        count += more as u64;
        assert!(count <= layer.descriptor.size.saturating_sub(offset), "the blob is too long");
    }
}

fn pull(client: &Client, reference: &Reference) {
    match client.resolve(reference, &"linux/amd64".parse().expect("is a platform")) {
        Ok(image) => {
            for layer in image.layers.iter().take(1) {
                read(client, layer, 0);
            }
        }
        Err(error) => check(&error),
    }
}

fn push(client: &Client, reference: Reference) {
    let images = Images::new(&["linux/amd64"], &[b"layer"]);
    let built = images.built();
    let targets = [reference];
    let push = Push { targets: &targets, by_digest: false, built: &built, progress: &|_| {} };
    if let Err(error) = client.push(&push) {
        check(&error);
    }
}

fn download(client: &Client, address: &str) {
    let known = Validators::default();
    let url = format!("http://{address}/file");
    let request = DownloadRequest { url: &url, authorization: None, known: Some(&known) };
    match client.download(&request, || Ok(Vec::new())) {
        Ok(_) => {}
        Err(error) => check(&error),
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&what, answers)) = input.split_first() else { return };
    let address = &server().address;
    let with_origin = |answer: &[u8]| match std::str::from_utf8(answer) {
        Ok(text) => text.replace("ORIGIN", address).into_bytes(),
        Err(_) => answer.to_vec(),
    };
    *server().answers.lock().expect("no thread panics") =
        answers.split(|&byte| byte == 0).map(with_origin).collect();
    let begun = Instant::now();
    let client = client(address);
    let reference: Reference = format!("{address}/name:tag").parse().expect("is a reference");
    match what % 4 {
        0 => pull(&client, &reference),
        1 => {
            let digest = Digest::of(b"");
            let layer = ImageLayer {
                diff_id: DiffId(digest.clone()),
                descriptor: Descriptor::new("application/octet-stream", digest, 100),
                source: BlobSource::Registry {
                    registry: address.clone(),
                    repository: "name".to_owned(),
                },
            };
            read(&client, &layer, u64::from(what >> 2));
        }
        2 => push(&client, reference),
        _ => download(&client, address),
    }
    assert!(begun.elapsed() < MAX_TIME, "it took too long");
});
