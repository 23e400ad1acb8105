//! Compressing a layer on several cores, to the same bytes whatever their number.
//!
//! The input is cut into blocks of one size. Each is deflated on its own, with the end of the
//! block before as its dictionary, and brought to a byte boundary by a sync flush; put one after
//! the other they are a single deflate stream, in a single gzip member. What comes out depends on
//! the input and on the version of the deflate library, and on nothing else.
//!
//! **Source** — RFC 1951, RFC 1952; the scheme is that of pigz.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::num::NonZero;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Bytes of a block. Smaller ones cost size (a flush and a cold start each), larger ones memory
/// (two times this for each block in flight) and parallelism in small layers. **Changing it
/// changes the digest of every layer.**
const BLOCK: usize = 1 << 20;

/// Bytes of history that deflate can refer to.
const WINDOW: usize = 32 << 10;

/// The compression level unless one is asked for: the usual trade of size for time. **Changing it
/// changes the digest of every layer.**
pub(crate) const LEVEL: u32 = 6;

/// Threads of one writer at most: bounds memory.
const MAX_THREADS: usize = 8;

/// The header: no name, no time, an unknown operating system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];

/// Compresses what is written to it.
///
/// Less than a block is compressed on the calling thread; after that threads are started, up to
/// one for each core.
#[derive(Debug)]
pub struct GzipWriter<W> {
    output: W,
    level: u32,
    /// The block being filled. A full one waits for more: the last is compressed differently.
    block: Vec<u8>,
    previous: Option<Arc<Vec<u8>>>,
    pool: Pool,
    /// Blocks being compressed, the first of them next in the output.
    pending: VecDeque<Receiver<io::Result<Compressed>>>,
    crc: Crc,
    started: bool,
}

/// A compressed block, and the checksum of what it holds.
#[derive(Debug)]
struct Compressed {
    bytes: Vec<u8>,
    crc: Crc,
}

/// A block to compress.
#[derive(Debug)]
struct Job {
    block: Arc<Vec<u8>>,
    previous: Option<Arc<Vec<u8>>>,
    level: u32,
    last: bool,
    reply: Sender<io::Result<Compressed>>,
}

impl<W: Write> GzipWriter<W> {
    /// Compresses to `output` on as many threads as there are cores; `level` is from 0 to 9.
    pub fn new(output: W, level: u32) -> Self {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Self::with_threads(output, level, cores)
    }

    fn with_threads(output: W, level: u32, threads: usize) -> Self {
        Self {
            output,
            level,
            block: Vec::new(),
            previous: None,
            pool: Pool::new(threads.clamp(1, MAX_THREADS)),
            pending: VecDeque::new(),
            crc: Crc::new(),
            started: false,
        }
    }

    /// Compresses what is left and returns the output, not flushed.
    pub fn finish(mut self) -> io::Result<W> {
        let last = mem::take(&mut self.block);
        let last = compress(&last, self.previous.take().as_ref(), self.level, true)?;
        while !self.pending.is_empty() {
            self.write_first()?;
        }
        self.write_compressed(&last)?;
        self.output.write_all(&self.crc.sum().to_le_bytes())?;
        self.output.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.output)
    }

    /// Sends the full block to the pool.
    fn submit(&mut self) -> io::Result<()> {
        if self.pending.len() >= 2 * self.pool.threads {
            self.write_first()?;
        }
        let block = Arc::new(mem::replace(&mut self.block, Vec::with_capacity(BLOCK)));
        let previous = self.previous.replace(Arc::clone(&block));
        let (reply, result) = mpsc::channel();
        self.pool.send(Job { block, previous, level: self.level, last: false, reply })?;
        self.pending.push_back(result);
        Ok(())
    }

    /// Waits for the first pending block and writes it.
    fn write_first(&mut self) -> io::Result<()> {
        if let Some(result) = self.pending.pop_front() {
            let compressed = result.recv().map_err(|_| io::Error::other("compression died"))??;
            self.write_compressed(&compressed)?;
        }
        Ok(())
    }

    fn write_compressed(&mut self, compressed: &Compressed) -> io::Result<()> {
        if !mem::replace(&mut self.started, true) {
            self.output.write_all(&HEADER)?;
        }
        self.crc.combine(&compressed.crc);
        self.output.write_all(&compressed.bytes)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.block.len() == BLOCK && !bytes.is_empty() {
            self.submit()?;
        }
        let count = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Does nothing: what comes out must not depend on when it is asked for.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Threads that compress blocks; they end when the pool is dropped.
#[derive(Debug)]
struct Pool {
    threads: usize,
    started: usize,
    jobs: Sender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
}

impl Pool {
    fn new(threads: usize) -> Self {
        let (jobs, queue) = mpsc::channel();
        Self { threads, started: 0, jobs, queue: Arc::new(Mutex::new(queue)) }
    }

    fn send(&mut self, job: Job) -> io::Result<()> {
        if self.started < self.threads {
            let queue = Arc::clone(&self.queue);
            thread::Builder::new().name("gzip".to_owned()).spawn(move || work(&queue))?;
            self.started += 1;
        }
        self.jobs.send(job).map_err(|_| io::Error::other("compression died"))
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { block, previous, level, last, reply }) = job else { return };
        let compressed = compress(&block, previous.as_ref(), level, last);
        // Nobody waits any more if writing has failed.
        let _ = reply.send(compressed);
    }
}

fn compress(
    block: &[u8],
    previous: Option<&Arc<Vec<u8>>>,
    level: u32,
    last: bool,
) -> io::Result<Compressed> {
    // Each block has a state of its own: one that was reset does not give the same bytes as a new
    // one, and which blocks a thread gets is chance.
    let mut state = Compress::new(Compression::new(level), false);
    if let Some(previous) = previous {
        state.set_dictionary(&previous[previous.len().saturating_sub(WINDOW)..])?;
    }
    // Room for a block that does not compress: five bytes for each 16 KiB and some more.
    let mut bytes = Vec::with_capacity(block.len() + block.len() / 1024 + 1024);
    let flush = if last { FlushCompress::Finish } else { FlushCompress::Sync };
    loop {
        let read = usize::try_from(state.total_in()).unwrap_or(usize::MAX).min(block.len());
        let status = state.compress_vec(&block[read..], &mut bytes, flush)?;
        // A flush is complete when there is room left after it.
        let flushed = bytes.len() < bytes.capacity() && state.total_in() == block.len() as u64;
        if if last { status == Status::StreamEnd } else { flushed } {
            break;
        }
        bytes.reserve(WINDOW);
    }
    let mut crc = Crc::new();
    crc.update(block);
    Ok(Compressed { bytes, crc })
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::bufread::GzDecoder;

    use super::*;

    /// Text that compresses somewhat, without end.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut bytes = Vec::with_capacity(length + 16);
        while bytes.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend_from_slice(format!("{} ", state >> 20).as_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    fn gzip(bytes: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut writer = GzipWriter::with_threads(Vec::new(), LEVEL, threads);
        for piece in bytes.chunks(piece) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn one_member_holds_everything() {
        for length in [0, 1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 17] {
            let bytes = sample(length);
            let compressed = gzip(&bytes, 2, 100_000);
            assert_eq!(compressed[..10], HEADER);
            let mut rest = &compressed[..];
            let mut back = Vec::new();
            GzDecoder::new(&mut rest).read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{length}");
            assert!(rest.is_empty(), "{length}");
        }
    }

    #[test]
    fn the_bytes_depend_on_the_input_alone() {
        let bytes = sample(6 * BLOCK + 12_345);
        let expected = gzip(&bytes, 1, BLOCK);
        for (threads, piece) in [(1, 512), (2, 3 * BLOCK), (3, 1000), (8, bytes.len())] {
            assert!(gzip(&bytes, threads, piece) == expected, "{threads} threads, {piece}");
        }
    }

    #[test]
    fn blocks_refer_to_those_before() {
        let half = sample(WINDOW / 2);
        let mut bytes = vec![0; BLOCK - half.len()];
        bytes.extend_from_slice(&half);
        let alone = gzip(&bytes, 1, BLOCK).len();
        bytes.extend_from_slice(&half);
        assert!(gzip(&bytes, 1, BLOCK).len() < alone + 500);
    }

    #[test]
    fn what_does_not_compress_stays_about_the_same() {
        let mut state = 1_u64;
        let bytes: Vec<u8> = (0..2 * BLOCK)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 32) as u8
            })
            .collect();
        let compressed = gzip(&bytes, 2, BLOCK);
        assert!(compressed.len() < bytes.len() + bytes.len() / 1000);
        let mut back = Vec::new();
        GzDecoder::new(&compressed[..]).read_to_end(&mut back).unwrap();
        assert!(back == bytes);
    }

    #[test]
    fn errors_of_the_output_come_through() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = GzipWriter::with_threads(Full, LEVEL, 2);
        let written = writer.write_all(&sample(20 * BLOCK));
        let error = written.and_then(|()| writer.finish().map(|_| ())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
