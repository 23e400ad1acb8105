//! The output of each new layer: one stream of bytes becomes a blob, a diff ID and an index.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::mem;
use std::panic;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};
use xbuild_layer::decode::Bound;
use xbuild_layer::{Encoder, Encoding, LayerError, LayerIndex};
use xbuild_model::{Descriptor, DiffId, Digest, thread};
use xbuild_store::{BlobWriter, GrowingBlob, Store};

use crate::{EngineError, dense};

/// Bytes that are passed on at a time.
const CHUNK: usize = 256 << 10;

/// Chunks that may wait for a slow consumer: 2 MiB of memory.
const QUEUE: usize = 8;

/// Takes the uncompressed tar stream of a layer once. It hashes, compresses, indexes and stores the
/// stream on threads. Dropping it publishes nothing.
pub struct LayerSink<'s> {
    store: &'s Store,
    chunk: Vec<u8>,
    hash: Sha256,
    /// The bytes that were hashed.
    size: u64,
    target: Target<'s>,
    /// The consumers of the stream. They start with the second chunk: small layers need no threads.
    index: Option<Consumer<LayerIndex>>,
    is_indexed: bool,
    tee: Option<Consumer<()>>,
    tee_output: Option<Box<dyn Write + Send>>,
    bound: Bound,
}

/// The output for the bytes of the blob.
enum Target<'s> {
    Blob(Encoding, Box<Encoder<BlobWriter<'s>>>),
    /// A file that is made with the second chunk.
    Spool(Option<File>),
}

impl Target<'_> {
    /// Takes bytes, except those of a small layer that is compressed later.
    fn put(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        let written = match self {
            Self::Blob(_, encoder) => encoder.write_all(bytes),
            Self::Spool(Some(file)) => file.write_all(bytes),
            Self::Spool(None) => Ok(()),
        };
        written.map_err(LayerError::from_write)
    }
}

/// A complete layer.
#[derive(Debug)]
pub struct SinkResult {
    /// The digest of the tar stream.
    pub diff_id: DiffId,
    /// The bytes of the tar stream.
    pub size: u64,
    /// The state of its bytes.
    pub blob: SinkBlob,
    /// Its index.
    pub index: LayerIndex,
}

/// The state of the bytes of a layer.
#[derive(Debug)]
pub enum SinkBlob {
    /// They are a compressed blob in the store.
    Stored(Box<Descriptor>),
    /// They will become a blob. The store does not have the layer yet.
    Spooled(Spool),
}

/// The uncompressed bytes of a layer, until they are compressed.
#[derive(Debug)]
pub enum Spool {
    /// The bytes of a small layer.
    Memory(Arc<Vec<u8>>),
    /// A file without a name, at its beginning.
    File(File),
}

impl Spool {
    /// Writes all of it.
    pub(crate) fn write_to(self, output: &mut impl Write) -> Result<(), LayerError> {
        match self {
            Self::Memory(bytes) => output.write_all(&bytes).map_err(LayerError::from_write),
            Self::File(mut file) => pump(&mut file, output).map(drop),
        }
    }
}

/// Copies the input to the output and returns the number of bytes. An error shows which of the two
/// failed.
pub(crate) fn pump(input: &mut impl Read, output: &mut impl Write) -> Result<u64, LayerError> {
    let mut chunk = vec![0; CHUNK];
    let mut size = 0;
    loop {
        let count = match input.read(&mut chunk) {
            Ok(0) => return Ok(size),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(LayerError::from_read)?,
        };
        output.write_all(&chunk[..count]).map_err(LayerError::from_write)?;
        size += count as u64;
    }
}

impl<'s> LayerSink<'s> {
    /// Begins a layer that goes to `store`. The uncompressed stream also goes to `tee`, such as the
    /// pipe of an unpacking process, which is dropped after the last byte.
    pub fn new(
        store: &'s Store,
        encoding: Encoding,
        tee: Option<Box<dyn Write + Send>>,
    ) -> Result<Self, EngineError> {
        Self::of_blob(store, store.blob_writer()?, encoding, tee)
    }

    /// Does the same; `watch` gets a reader of the blob.
    pub fn watched(
        store: &'s Store,
        encoding: Encoding,
        tee: Option<Box<dyn Write + Send>>,
        watch: &dyn Fn(GrowingBlob),
    ) -> Result<Self, EngineError> {
        let mut blob = store.blob_writer()?;
        watch(blob.watch()?);
        Self::of_blob(store, blob, encoding, tee)
    }

    fn of_blob(
        store: &'s Store,
        blob: BlobWriter<'s>,
        encoding: Encoding,
        tee: Option<Box<dyn Write + Send>>,
    ) -> Result<Self, EngineError> {
        let encoder = Encoder::new(blob, encoding).map_err(LayerError::from_write)?;
        Ok(Self::with_target(store, Target::Blob(encoding, Box::new(encoder)), tee))
    }

    /// Begins a layer that is compressed later.
    pub fn spooled(store: &'s Store, tee: Option<Box<dyn Write + Send>>) -> Self {
        Self::with_target(store, Target::Spool(None), tee)
    }

    fn with_target(
        store: &'s Store,
        target: Target<'s>,
        tee: Option<Box<dyn Write + Send>>,
    ) -> Self {
        Self {
            store,
            chunk: Vec::new(),
            hash: Sha256::new(),
            size: 0,
            target,
            index: None,
            is_indexed: false,
            tee: None,
            tee_output: tee,
            bound: Bound::default(),
        }
    }

    /// Sets the bound within which the blob must be readable.
    #[must_use]
    pub fn within(mut self, bound: Bound) -> Self {
        self.bound = bound;
        self
    }

    /// Leaves the index to the writer, who ends the layer with [`LayerSink::finish_indexed`].
    #[must_use]
    pub fn indexed_elsewhere(mut self) -> Self {
        self.is_indexed = true;
        self
    }

    /// Publishes the blob, its record and the index, and returns them. A spooled layer gets blob
    /// and record later.
    ///
    /// **Errors** — [`EngineError::NewLayer`] with the error of [`xbuild_layer::LayerReader`] if
    /// the stream is not a layer, or with [`LayerError::Write`] if the tee failed;
    /// [`EngineError::Dense`]; those of the store. Nothing refers to the stored bytes then.
    pub fn finish(self) -> Result<SinkResult, EngineError> {
        self.end(None)
    }

    /// Does the same for a layer with a known index.
    pub fn finish_indexed(self, index: LayerIndex) -> Result<SinkResult, EngineError> {
        self.end(Some(index))
    }

    fn end(mut self, known: Option<LayerIndex>) -> Result<SinkResult, EngineError> {
        let last = mem::take(&mut self.chunk);
        self.hash.update(&last);
        self.size += last.len() as u64;
        self.target.put(&last)?;
        let last = Arc::new(last);
        send(&mut self.index, &last)?;
        send(&mut self.tee, &last)?;
        if let Some(mut output) = self.tee_output.take() {
            let written = output.write_all(&last).and_then(|()| output.flush());
            written.map_err(LayerError::from_write)?;
        }
        let index = match (known, self.index.take()) {
            (Some(index), _) => index,
            (None, Some(index)) => index.join()?,
            (None, None) => LayerIndex::of_tar(&last[..])?,
        };
        let diff_id = DiffId(Digest::from_sha256(self.hash.finalize().into()));
        let (blob, encoding) = match self.target {
            Target::Blob(encoding, encoder) => {
                let blob = commit(encoding, *encoder)?;
                dense::check(self.store, self.bound, (self.size, &index), encoding, &blob)?;
                (SinkBlob::Stored(Box::new(blob)), Some(encoding))
            }
            Target::Spool(None) => (SinkBlob::Spooled(Spool::Memory(last)), None),
            Target::Spool(Some(mut file)) => {
                file.rewind().map_err(LayerError::from_write)?;
                (SinkBlob::Spooled(Spool::File(file)), None)
            }
        };
        if let Some(tee) = self.tee {
            tee.join()?;
        }
        self.store.put_index(&diff_id, |output| index.encode(output))?;
        if let (SinkBlob::Stored(descriptor), Some(encoding)) = (&blob, encoding) {
            self.store.put_layer(&diff_id, descriptor, Some(&encoding.to_string()))?;
        }
        Ok(SinkResult { diff_id, size: self.size, blob, index })
    }

    /// Gives the full chunk to all consumers.
    fn pass_on(&mut self) -> Result<(), LayerError> {
        let chunk = Arc::new(mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK)));
        if let Some(output) = self.tee_output.take() {
            self.tee = Some(Consumer::start("tee", move |chunks| copy(chunks, output))?);
        }
        if self.index.is_none() && !self.is_indexed {
            self.index = Some(Consumer::start("layer-index", LayerIndex::of_tar)?);
        }
        // Their threads work while this one hashes and compresses.
        send(&mut self.index, &chunk)?;
        send(&mut self.tee, &chunk)?;
        self.hash.update(&chunk[..]);
        self.size += chunk.len() as u64;
        if let Target::Spool(file @ None) = &mut self.target {
            let made = self.store.temp_file().map_err(io::Error::other);
            *file = Some(made.map_err(LayerError::from_write)?);
        }
        self.target.put(&chunk)
    }
}

impl Write for LayerSink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.chunk.len() == CHUNK {
            self.pass_on().map_err(io::Error::other)?;
        }
        let count = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Does nothing: [`LayerSink::finish`] ends the layer.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for LayerSink<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerSink").field("store", &self.store).finish_non_exhaustive()
    }
}

/// Publishes a blob.
pub(crate) fn commit(
    encoding: Encoding,
    encoder: Encoder<BlobWriter<'_>>,
) -> Result<Descriptor, EngineError> {
    let (digest, size) = encoder.finish().map_err(LayerError::from_write)?.commit(None)?;
    Ok(Descriptor::new(encoding.compression().oci_media_type(), digest, size))
}

fn copy(mut chunks: Chunks, mut output: Box<dyn Write + Send>) -> Result<(), LayerError> {
    while let Some(chunk) = chunks.next() {
        output.write_all(&chunk).map_err(LayerError::from_write)?;
    }
    output.flush().map_err(LayerError::from_write)
}

/// A thread that reads a copy of the stream.
struct Consumer<T> {
    chunks: SyncSender<Arc<Vec<u8>>>,
    thread: JoinHandle<Result<T, LayerError>>,
}

impl<T: Send + 'static> Consumer<T> {
    fn start(
        name: &'static str,
        consume: impl FnOnce(Chunks) -> Result<T, LayerError> + Send + 'static,
    ) -> Result<Self, LayerError> {
        let (chunks, queue) = mpsc::sync_channel(QUEUE);
        let chunks_read = Chunks { queue, current: Arc::default(), position: 0 };
        let thread = thread::start(name, move || consume(chunks_read))
            .map_err(|error| LayerError::Write { source: error.into() })?;
        Ok(Self { chunks, thread })
    }

    /// Sends a chunk. Fails if the thread has ended, which then has an error to return.
    fn send(&self, chunk: &Arc<Vec<u8>>) -> io::Result<()> {
        self.chunks.send(Arc::clone(chunk)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Ends the stream and returns the thread's result.
    fn join(self) -> Result<T, LayerError> {
        drop(self.chunks);
        self.thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}

/// Sends a chunk to a consumer, if there is one. If its thread has ended, returns its error.
fn send<T: Send + 'static>(
    consumer: &mut Option<Consumer<T>>,
    chunk: &Arc<Vec<u8>>,
) -> Result<(), LayerError> {
    let Some(Err(error)) = consumer.as_ref().map(|consumer| consumer.send(chunk)) else {
        return Ok(());
    };
    match consumer.take().map(Consumer::join) {
        Some(Err(reason)) => Err(reason),
        _ => Err(LayerError::from_write(error)),
    }
}

/// The stream of a consumer.
struct Chunks {
    queue: Receiver<Arc<Vec<u8>>>,
    current: Arc<Vec<u8>>,
    position: usize,
}

impl Chunks {
    fn next(&mut self) -> Option<Arc<Vec<u8>>> {
        self.queue.recv().ok()
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.current.len() {
            let Some(chunk) = self.next() else { return Ok(0) };
            self.current = chunk;
            self.position = 0;
        }
        let count = buffer.len().min(self.current.len() - self.position);
        buffer[..count].copy_from_slice(&self.current[self.position..][..count]);
        self.position += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
