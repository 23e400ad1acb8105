//! The API of a Docker daemon, which podman's service speaks, too: asking for JSON, and loading an
//! archive.
//!
//! **Source** — Docker Engine API 1.43: `GET /info`, `GET /images/json`, `POST /images/load`, `POST /images/tag`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use xbuild_model::{Cancel, thread};

use crate::transport::tls;

/// The place of a daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DaemonPlace {
    /// A socket file.
    Unix(PathBuf),
    /// `HOST:PORT`, without TLS.
    Tcp(String),
}

/// Why a daemon did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DaemonError {
    /// No connection could be made.
    #[error("cannot reach the daemon")]
    Unreachable {
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The connection broke, or the answer is not one of this API.
    #[error("the daemon's answer is not as expected: {reason}")]
    Answer {
        /// The fault.
        reason: String,
    },
    /// The daemon says that it failed.
    #[error("the daemon refused: {message}")]
    Refused {
        /// The daemon's words.
        message: String,
    },
    /// The archive could not be made.
    #[error(transparent)]
    Archive {
        /// The cause.
        source: io::Error,
    },
    /// Nobody wants the work any more.
    #[error("cancelled")]
    Cancelled,
}

/// Bytes of an answer at most: lists of images are long.
const MAX_ANSWER: usize = 64 << 20;
/// Bytes that are sent at a time.
const CHUNK: usize = 256 << 10;
/// Chunks that wait to be sent.
const CHUNKS_AHEAD: usize = 2;
/// A daemon on this machine answers at once; one elsewhere in a moment.
const CONNECT: Duration = Duration::from_secs(10);
/// The time that a daemon has to answer a question. One that is stuck accepts connections all the
/// same. Loading takes as long as it takes.
const ANSWER: Duration = Duration::from_secs(30);

/// A daemon. Each request has a connection of its own.
#[derive(Debug)]
pub struct Daemon {
    place: DaemonPlace,
    cancel: Cancel,
}

impl Daemon {
    /// Returns a value without an open connection. Whoever cancels ends its requests.
    pub fn new(place: DaemonPlace, cancel: Cancel) -> Self {
        Self { place, cancel }
    }

    /// Returns the answer to a GET of a path.
    pub fn get(&self, path: &str) -> Result<Value, DaemonError> {
        let (client, url) = self.client(path)?;
        let request = client.get(url).timeout(ANSWER);
        let answer = self.wait(&runtime()?, request)?;
        serde_json::from_slice(&answer).map_err(|error| odd(&error))
    }

    /// Sends a POST without a body.
    pub fn post(&self, path: &str) -> Result<(), DaemonError> {
        let (client, url) = self.client(path)?;
        self.wait(&runtime()?, client.post(url).timeout(ANSWER)).map(drop)
    }

    /// Loads an archive that `write` writes.
    ///
    /// **Errors** — also if the daemon says only in the end that it failed.
    pub fn load(
        &self,
        write: &(dyn Fn(&mut dyn Write) -> io::Result<()> + Sync),
    ) -> Result<(), DaemonError> {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let (client, url) = self.client("/images/load?quiet=1")?;
        let request = client.post(url).header("content-type", "application/x-tar");
        let request = request.body(reqwest::Body::wrap(Received(receiver)));
        let runtime = runtime()?;
        let (answer, written) = std::thread::scope(|threads| {
            let writer = thread::start_in(threads, "load", move || {
                let mut out = io::BufWriter::with_capacity(CHUNK, Sent(sender));
                let written = write(&mut out).and_then(|()| out.flush());
                if written.is_err() {
                    // The request must not end as if the archive were complete.
                    let (sent, _) = out.into_parts();
                    let _ = sent.0.blocking_send(Err(io::ErrorKind::Other.into()));
                }
                written
            });
            let writer = writer.map_err(|error| DaemonError::Archive { source: error.into() })?;
            let answer = self.wait(&runtime, request);
            // The connection goes, and with it the receiver that the writer may be waiting for.
            drop(runtime);
            let written = writer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok((answer, written))
        })?;
        match (answer, written) {
            (Ok(answer), _) => messages(&answer),
            (Err(error @ (DaemonError::Cancelled | DaemonError::Refused { .. })), _) => Err(error),
            // A daemon that refuses an archive may close the connection while it is sent.
            (Err(_), Err(source)) if source.kind() != io::ErrorKind::BrokenPipe => {
                Err(DaemonError::Archive { source })
            }
            (Err(error), _) => Err(error),
        }
    }

    /// Returns a client for one request, and the URL of a path.
    fn client(&self, path: &str) -> Result<(Client, String), DaemonError> {
        let setup = |error: &dyn std::error::Error| DaemonError::Unreachable {
            source: io::Error::other(error.to_string()),
        };
        // Nothing is encrypted here, but the client asks for certificates all the same.
        let tls = tls::config(rustls::RootCertStore::empty(), false, None);
        let builder = Client::builder()
            .tls_backend_preconfigured(tls.map_err(|error| setup(&error))?)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("xbuild/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .no_proxy();
        let (builder, url) = match &self.place {
            DaemonPlace::Unix(file) => {
                (builder.unix_socket(file.as_path()), format!("http://docker{path}"))
            }
            DaemonPlace::Tcp(host) => (builder, format!("http://{host}{path}")),
        };
        Ok((builder.build().map_err(|error| setup(&error))?, url))
    }

    /// Sends a request and returns the answer.
    fn wait(&self, runtime: &Runtime, request: RequestBuilder) -> Result<Bytes, DaemonError> {
        let (tell, told) = oneshot::channel();
        let _hook = self.cancel.on_cancel(move || {
            // Nobody waits any more if the answer is there.
            let _ = tell.send(());
        });
        let answer = async { whole(request.send().await.map_err(|e| unreachable(&e))?).await };
        runtime.block_on(async {
            tokio::select! {
                biased;
                output = answer => output,
                Ok(()) = told => Err(DaemonError::Cancelled),
            }
        })
    }
}

fn runtime() -> Result<Runtime, DaemonError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| DaemonError::Unreachable { source })
}

/// Reads an answer.
///
/// **Errors** — [`DaemonError::Refused`] if its status says so.
async fn whole(mut response: Response) -> Result<Bytes, DaemonError> {
    let status = response.status();
    let mut bytes = BytesMut::new();
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break,
            // A daemon that refuses may close the connection at once.
            Err(_) if !status.is_success() => break,
            Err(error) => return Err(odd(innermost(&error))),
        };
        if bytes.len() + chunk.len() > MAX_ANSWER {
            return Err(DaemonError::Answer { reason: "it is too long".to_owned() });
        }
        bytes.extend_from_slice(&chunk);
    }
    match status {
        StatusCode::OK | StatusCode::CREATED => Ok(bytes.freeze()),
        status => {
            let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let said = value["message"].as_str().or(value["cause"].as_str());
            let message = said.map_or_else(|| format!("status {status}"), ToOwned::to_owned);
            Err(DaemonError::Refused { message })
        }
    }
}

/// Reads the messages that come while an archive is loaded, a JSON value each.
fn messages(answer: &[u8]) -> Result<(), DaemonError> {
    for message in serde_json::Deserializer::from_slice(answer).into_iter::<Value>() {
        let message = message.map_err(|error| odd(&error))?;
        if let Some(said) = message["error"].as_str() {
            return Err(DaemonError::Refused { message: said.to_owned() });
        }
    }
    Ok(())
}

fn odd(error: &dyn std::error::Error) -> DaemonError {
    DaemonError::Answer { reason: error.to_string() }
}

fn innermost(error: &reqwest::Error) -> &(dyn std::error::Error + 'static) {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause
}

/// Returns the error of a request that got no answer.
fn unreachable(error: &reqwest::Error) -> DaemonError {
    let cause = innermost(error);
    let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
    let source = io::Error::new(kind.unwrap_or(io::ErrorKind::Other), cause.to_string());
    DaemonError::Unreachable { source }
}

/// Sends what is written as chunks of a body.
struct Sent(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let chunk = Bytes::copy_from_slice(bytes);
        self.0.blocking_send(Ok(chunk)).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of those chunks.
struct Received(mpsc::Receiver<io::Result<Bytes>>);

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
