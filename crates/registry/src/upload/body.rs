//! The body of an upload, which a thread fills.

use std::io::{self, Read};
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::Scope as ThreadScope;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;
use tracing::Span;
use xbuild_model::thread;

use crate::request::Upload;
use crate::transport::exchange::Progress;

/// Opens the bytes of a blob from an offset to the end.
pub(crate) type OpenAt<'a> = dyn Fn(u64) -> io::Result<Box<dyn Read + Send>> + Sync + 'a;

/// Bytes that are read at a time: with [`CHUNKS_AHEAD`] enough to keep a fast connection busy, and
/// less than a MiB of memory for each upload.
const CHUNK: usize = 256 << 10;
/// Chunks that wait to be sent.
const CHUNKS_AHEAD: usize = 2;

/// Starts a thread that reads the bytes, and returns the body that it fills. Without a length the
/// body ends where the bytes end.
pub(super) fn feed<'scope, 'env>(
    threads: &'scope ThreadScope<'scope, 'env>,
    open: &'scope OpenAt<'scope>,
    (offset, length): (u64, Option<u64>),
    sent: &'scope (dyn Fn(u64) + Sync),
    source_error: &'scope Mutex<Option<io::Error>>,
) -> Upload {
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let progress = Arc::new(Progress::default());
    let span = Span::current();
    // Either makes the request fail; the error that is kept is the one to report.
    let keep = move |error: io::Error| {
        *source_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        io::Error::from(io::ErrorKind::Other)
    };
    let broken = sender.clone();
    let started = thread::start_in(threads, "upload", move || {
        // Bytes that are elsewhere are requested on this thread.
        let _span = span.entered();
        if let Err(error) = pump(open, offset, length, sent, &sender) {
            let _ = sender.blocking_send(Err(keep(error)));
        }
    });
    if let Err(error) = started {
        let _ = broken.try_send(Err(keep(error.into())));
    }
    let body = FedBody { receiver, remaining: length, progress: Arc::clone(&progress) };
    Upload { body: reqwest::Body::wrap(body), progress }
}

/// Reads `length` bytes, or all, into the channel; returns early once the receiver is gone.
fn pump(
    open: &OpenAt<'_>,
    offset: u64,
    length: Option<u64>,
    sent: &(dyn Fn(u64) + Sync),
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut reader = open(offset)?;
    let mut remaining = length.unwrap_or(u64::MAX);
    while remaining > 0 {
        let size = remaining.min(CHUNK as u64);
        let mut chunk = Vec::with_capacity(CHUNK);
        reader.by_ref().take(size).read_to_end(&mut chunk)?;
        let got = chunk.len() as u64;
        if got < size && length.is_some() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if got == 0 {
            return Ok(());
        }
        if sender.blocking_send(Ok(chunk.into())).is_err() {
            return Ok(());
        }
        remaining -= got;
        sent(got);
    }
    Ok(())
}

/// A body that another thread fills.
struct FedBody {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    /// Bytes still to come, if their number is known.
    remaining: Option<u64>,
    progress: Arc<Progress>,
}

impl http_body::Body for FedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.receiver.poll_recv(context).map(|chunk| {
            let Some(chunk) = chunk else {
                self.progress.complete.store(true, Ordering::Relaxed);
                return None;
            };
            Some(chunk.map(|chunk| {
                let length = chunk.len() as u64;
                self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(length));
                self.progress.sent.fetch_add(length, Ordering::Relaxed);
                self.progress.complete.store(self.is_end_stream(), Ordering::Relaxed);
                Frame::data(chunk)
            }))
        })
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
