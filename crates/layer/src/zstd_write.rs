//! Compressing a layer with zstd on several threads, to bytes that do not depend on their number.
//!
//! **Source** — RFC 8878; zstd's manual § Advanced compression API.

use std::io::{self, Write};

use xbuild_model::thread::ThreadError;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation as _, OutBuffer};
use zstd::stream::zio;

use crate::parallel;

/// The first level whose default window is larger than [`WINDOW_LOG`].
const LARGE_WINDOWS: u32 = 20;

/// The largest window, as a power of two. RFC 8878 asks every decoder to support it. It also bounds
/// the memory of each of our threads.
const WINDOW_LOG: u32 = 23;

/// Bytes that one thread compresses at a time. **Changing it changes the digests of zstd layers.**
const JOB: u32 = 8 << 20;

/// The most threads of one writer: bounds memory.
const MAX_THREADS: u32 = 8;

/// Compresses its input to one frame. The library's threads start with the first byte.
pub(crate) struct ZstdWriter<W: Write> {
    writer: zio::Writer<W, Encoder<'static>>,
    level: u32,
    threads: u32,
    has_threads: bool,
}

impl<W: Write> ZstdWriter<W> {
    /// Compresses to `output` on as many threads as there are cores.
    pub(crate) fn new(output: W, level: u32) -> io::Result<Self> {
        let threads = u32::try_from(parallel::cores()).unwrap_or(MAX_THREADS).min(MAX_THREADS);
        Self::with_threads(output, level, threads)
    }

    fn with_threads(output: W, level: u32, threads: u32) -> io::Result<Self> {
        let threads = threads.max(1);
        let writer = zio::Writer::new(output, encoder(level, threads)?);
        Ok(Self { writer, level, threads, has_threads: false })
    }

    /// Starts the library's threads, or a single one if the kernel refuses so many.
    ///
    /// **Errors** — [`ThreadError`] if there is not even one.
    fn start_threads(&mut self) -> io::Result<()> {
        for threads in [self.threads, 1] {
            let mut encoder = encoder(self.level, threads)?;
            // The library makes its threads with the first call, even if there is no input yet. It
            // has no other error to give here than that this did not work.
            let mut nothing = [0; 0];
            let mut output = OutBuffer::around(&mut nothing[..]);
            if encoder.run(&mut InBuffer::around(&[]), &mut output).is_ok() {
                *self.writer.operation_mut() = encoder;
                self.has_threads = true;
                return Ok(());
            }
        }
        let source = io::Error::other("the compressor got none");
        Err(ThreadError { name: "zstd", source }.into())
    }

    /// Compresses the rest and returns the output, not flushed.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.writer.finish()?;
        Ok(self.writer.into_inner().0)
    }
}

impl<W: Write> Write for ZstdWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.has_threads && !bytes.is_empty() {
            self.start_threads()?;
        }
        self.writer.write(bytes)
    }

    /// Does nothing: the output must not depend on when it is flushed.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Returns a compressor. The library cuts the input into the same jobs for one thread and for many,
/// but not for none, so there is always at least one.
fn encoder(level: u32, threads: u32) -> io::Result<Encoder<'static>> {
    let mut encoder = Encoder::new(i32::try_from(level).unwrap_or_default())?;
    if level >= LARGE_WINDOWS {
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        // By default, the tables would be sized for the large window: 700 MB for each thread.
        encoder.set_parameter(CParameter::ChainLog(WINDOW_LOG + 1))?;
        encoder.set_parameter(CParameter::HashLog(WINDOW_LOG - 1))?;
    }
    encoder.set_parameter(CParameter::NbWorkers(threads))?;
    encoder.set_parameter(CParameter::JobSize(JOB))?;
    Ok(encoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gzip::tests::sample;

    #[test]
    fn the_bytes_do_not_depend_on_threads_or_pieces() {
        let bytes = sample(18 << 20);
        let encode = |level, threads, piece| {
            let mut writer = ZstdWriter::with_threads(Vec::new(), level, threads).unwrap();
            bytes.chunks(piece).for_each(|piece| writer.write_all(piece).unwrap());
            writer.finish().unwrap()
        };
        let expected = encode(1, 1, 256 << 10);
        for (threads, piece) in [(0, 100_000), (3, 77_777), (8, bytes.len())] {
            assert!(encode(1, threads, piece) == expected, "{threads} {piece}");
        }
    }
}
