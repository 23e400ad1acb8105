//! Decompressing on one thread while another thread processes earlier bytes.

use std::io::{self, Read};
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};

use tracing::Span;
use xbuild_model::thread;

/// Bytes of a chunk. It is much larger than a decoder's window, which each call copies.
const CHUNK: usize = 256 << 10;

/// Chunks that may wait for the reader. With the chunks in use this bounds memory to 2 MiB.
const QUEUE: usize = 6;

/// Gives `work` the bytes of `input`, which a thread of its own reads. An input that fits in a
/// chunk needs no thread; where there is no thread to be had, `work` reads the input itself.
pub(crate) fn read_ahead<T>(
    mut input: impl Read + Send,
    work: impl FnOnce(&mut dyn Read) -> T,
) -> T {
    let first = match Chunk::read(&mut input, Vec::new()) {
        Ok(first) if first.length == CHUNK => first,
        Ok(first) => return work(&mut &first.bytes[..first.length]),
        Err(error) => return work(&mut Failed(Some(error))),
    };
    let (chunks, queue) = mpsc::sync_channel(QUEUE);
    let (used, spare) = mpsc::channel();
    let span = Span::current();
    // The thread takes it; if there is none, it is still here.
    let input = Mutex::new(Some(input));
    let fill = || {
        let (chunks, spare) = (chunks, spare);
        if let Some(input) = input.lock().unwrap_or_else(PoisonError::into_inner).take() {
            span.in_scope(|| fill(input, &chunks, &spare));
        }
    };
    std::thread::scope(|scope| {
        if thread::start_in(scope, "read-ahead", fill).is_ok() {
            return work(&mut Ahead { current: first, position: 0, queue, used });
        }
        let first = &first.bytes[..first.length];
        match input.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(rest) => work(&mut first.chain(rest)),
            None => work(&mut &*first),
        }
    })
}

/// Reads chunks until the input ends or fails, or the reader is gone.
fn fill(mut input: impl Read, chunks: &SyncSender<io::Result<Chunk>>, spare: &Receiver<Vec<u8>>) {
    loop {
        let chunk = Chunk::read(&mut input, spare.try_recv().unwrap_or_default());
        let is_last = chunk.as_ref().map_or(true, |chunk| chunk.length < CHUNK);
        if chunks.send(chunk).is_err() || is_last {
            return;
        }
    }
}

/// Some bytes of the input. Only the last chunk is not full.
struct Chunk {
    bytes: Vec<u8>,
    length: usize,
}

impl Chunk {
    fn read(input: &mut impl Read, mut bytes: Vec<u8>) -> io::Result<Self> {
        bytes.resize(CHUNK, 0);
        let mut length = 0;
        while length < CHUNK {
            match input.read(&mut bytes[length..]) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { bytes, length })
    }
}

/// The input, as `work` reads it.
struct Ahead {
    current: Chunk,
    position: usize,
    queue: Receiver<io::Result<Chunk>>,
    /// Takes back chunks that were read, to be filled again.
    used: Sender<Vec<u8>>,
}

impl Read for Ahead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.current.length {
            let Ok(next) = self.queue.recv() else { return Ok(0) };
            let used = std::mem::replace(&mut self.current, next?);
            self.position = 0;
            // After the end of the input nobody takes chunks back.
            let _ = self.used.send(used.bytes);
        }
        let count = buffer.len().min(self.current.length - self.position);
        buffer[..count].copy_from_slice(&self.current.bytes[self.position..][..count]);
        self.position += count;
        Ok(count)
    }
}

/// An input whose first byte could not be read.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: impl Read + Send) -> io::Result<Vec<u8>> {
        read_ahead(input, |input| {
            let mut bytes = Vec::new();
            input.read_to_end(&mut bytes).map(|_| bytes)
        })
    }

    #[test]
    fn the_bytes_are_those_of_the_input() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 20 * CHUNK, 20 * CHUNK + 7] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            assert!(all(&bytes[..]).unwrap() == bytes, "{length}");
        }
    }

    #[test]
    fn errors_come_in_their_place() {
        for length in [0, 1, CHUNK, 3 * CHUNK + 5] {
            let bytes = vec![1; length];
            let error = Failed(Some(io::ErrorKind::InvalidData.into()));
            let result = all((&bytes[..]).chain(error));
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidData, "{length}");
        }
    }

    #[test]
    fn nobody_waits_for_a_reader_that_stops() {
        let read = read_ahead(io::repeat(7), |input| {
            let mut some = [0; 10];
            input.read_exact(&mut some).map(|()| some)
        });
        assert_eq!(read.unwrap(), [7; 10]);
    }
}
