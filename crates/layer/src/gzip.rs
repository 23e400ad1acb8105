//! Compressing a layer on several cores, to bytes that do not depend on their number.
//!
//! The input is cut into blocks of equal size. Each block becomes a gzip member, and a sequence of
//! members is a gzip file. The output depends on the input, the level and the version of the
//! deflate library, and on nothing else. Each member states its length in a field that other
//! programs skip, so that a reader can find the next member.
//!
//! **Source** — RFC 1951; RFC 1952 § 2.2 (members), § 2.3.1.1 (extra field).

mod member;

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};

use xbuild_model::thread;

use crate::parallel;

pub(crate) use member::LEVEL;
use member::{BLOCK, Members};

/// The most threads of one writer: bounds memory.
const MAX_THREADS: usize = 8;

/// Compresses its input.
///
/// The calling thread compresses an input of less than a block. For longer inputs it starts
/// threads, up to one for each core.
#[derive(Debug)]
pub struct GzipWriter<W> {
    output: W,
    level: u32,
    /// The block being filled. A full block is sent only when more input comes: an empty member at
    /// the end would be waste.
    block: Vec<u8>,
    pool: Pool,
    /// The blocks being compressed, in the order of the output.
    pending: VecDeque<Receiver<io::Result<Vec<u8>>>>,
}

/// A block to compress.
#[derive(Debug)]
struct Job {
    block: Vec<u8>,
    reply: Sender<io::Result<Vec<u8>>>,
}

impl Job {
    fn perform(self, members: &mut Members) {
        // If writing has failed, nobody waits for the reply.
        let _ = self.reply.send(members.make(&self.block));
    }
}

impl<W: Write> GzipWriter<W> {
    /// Compresses to `output` on as many threads as there are cores. Level 0 stores, level 9
    /// compresses most.
    pub fn new(output: W, level: u32) -> Self {
        Self::with_threads(output, level, parallel::cores())
    }

    fn with_threads(output: W, level: u32, threads: usize) -> Self {
        Self {
            output,
            level,
            block: Vec::new(),
            pool: Pool::new(level, threads.clamp(1, MAX_THREADS)),
            pending: VecDeque::new(),
        }
    }

    /// Compresses the rest and returns the output, not flushed.
    pub fn finish(mut self) -> io::Result<W> {
        let last = Members::new(self.level).make(&self.block)?;
        while !self.pending.is_empty() {
            self.write_first()?;
        }
        self.output.write_all(&last)?;
        Ok(self.output)
    }

    /// Sends the full block to the pool.
    fn submit(&mut self) -> io::Result<()> {
        if self.pending.len() >= 2 * self.pool.threads {
            self.write_first()?;
        }
        let block = mem::replace(&mut self.block, Vec::with_capacity(BLOCK));
        let (reply, result) = mpsc::channel();
        self.pool.send(Job { block, reply })?;
        self.pending.push_back(result);
        Ok(())
    }

    /// Waits for the first pending block and writes it.
    fn write_first(&mut self) -> io::Result<()> {
        if let Some(result) = self.pending.pop_front() {
            let member = result.recv().map_err(|_| io::Error::other("compression died"))??;
            self.output.write_all(&member)?;
        }
        Ok(())
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

    /// Does nothing: the output must not depend on when it is flushed.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Threads that compress blocks; they end when the pool is dropped.
#[derive(Debug)]
struct Pool {
    level: u32,
    threads: usize,
    started: usize,
    jobs: Sender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
}

impl Pool {
    fn new(level: u32, threads: usize) -> Self {
        let (jobs, queue) = mpsc::channel();
        Self { level, threads, started: 0, jobs, queue: Arc::new(Mutex::new(queue)) }
    }

    /// Has a thread do the job. Without any thread it is done here.
    fn send(&mut self, job: Job) -> io::Result<()> {
        if self.started < self.threads {
            let (queue, level) = (Arc::clone(&self.queue), self.level);
            let started = thread::start("gzip", move || work(&queue, level));
            self.started += usize::from(started.is_ok());
        }
        if self.started == 0 {
            job.perform(&mut Members::new(self.level));
            return Ok(());
        }
        self.jobs.send(job).map_err(|_| io::Error::other("compression died"))
    }
}

fn work(queue: &Mutex<Receiver<Job>>, level: u32) {
    let mut members = Members::new(level);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        job.perform(&mut members);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Read;

    use flate2::bufread::MultiGzDecoder;

    use super::member::{HEADER, HEADER_SIZE};
    use super::*;

    /// Returns text that compresses somewhat.
    pub(crate) fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut bytes = Vec::with_capacity(length + 16);
        while bytes.len() < length {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.extend_from_slice(format!("{} ", state >> 20).as_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    #[test]
    fn holes_come_to_what_the_library_makes_of_them() {
        let mut bytes = vec![0; 6 * BLOCK + 5];
        bytes[3 * BLOCK + 1] = 1;
        let mut expected = Vec::new();
        for block in bytes.chunks(BLOCK) {
            expected.extend(Members::new(LEVEL).make(block).unwrap());
        }
        for threads in [1, 3] {
            assert!(gzip(&bytes, threads, 300_000) == expected, "{threads}");
        }
    }

    fn gzip(bytes: &[u8], threads: usize, piece: usize) -> Vec<u8> {
        let mut writer = GzipWriter::with_threads(Vec::new(), LEVEL, threads);
        for piece in bytes.chunks(piece) {
            writer.write_all(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    #[test]
    fn the_members_hold_everything() {
        for length in [0, 1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 5 * BLOCK + 17] {
            let bytes = sample(length);
            let compressed = gzip(&bytes, 2, 100_000);
            assert_eq!(compressed[..HEADER.len()], HEADER);
            let mut back = Vec::new();
            MultiGzDecoder::new(&compressed[..]).read_to_end(&mut back).unwrap();
            assert!(back == bytes, "{length}");
            let mut lengths = Vec::new();
            let mut rest = &compressed[..];
            while !rest.is_empty() {
                let length = rest[HEADER.len()..HEADER_SIZE].try_into().unwrap();
                lengths.push(u32::from_le_bytes(length));
                rest = &rest[u32::from_le_bytes(length) as usize..];
            }
            assert_eq!(lengths.len(), length.div_ceil(BLOCK).max(1));
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
    fn a_higher_level_is_smaller() {
        let bytes = sample(3 * BLOCK);
        let size = |level| {
            let mut writer = GzipWriter::new(Vec::new(), level);
            writer.write_all(&bytes).unwrap();
            writer.finish().unwrap().len()
        };
        assert!(size(0) > bytes.len());
        assert!(size(9) < size(3) && size(3) < size(0));
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
        MultiGzDecoder::new(&compressed[..]).read_to_end(&mut back).unwrap();
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
