//! Syncing a large file while it is written.

use std::fs::File;
use std::io;
use std::panic;
use std::thread::JoinHandle;

use tracing::Span;
use xbuild_model::thread;

/// A sync starts in the background after this many bytes.
const WRITEBACK: usize = 32 << 20;

/// Has the kernel write a large blob to the disk while more of it comes, so that the sync at its
/// end is short.
#[derive(Debug, Default)]
pub(crate) struct Writeback {
    pending: usize,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Writeback {
    /// Counts the bytes that were written, and starts a sync when there are many.
    ///
    /// **Errors** — those of the previous sync: the kernel reports each of them once, so none may
    /// be lost.
    pub(crate) fn wrote(&mut self, file: &File, count: usize) -> io::Result<()> {
        self.pending += count;
        let is_busy = self.thread.as_ref().is_some_and(|thread| !thread.is_finished());
        if self.pending < WRITEBACK || is_busy {
            return Ok(());
        }
        self.join()?;
        self.pending = 0;
        // If no thread can be started, the sync at the end does all the work.
        let Ok(file) = file.try_clone() else { return Ok(()) };
        let span = Span::current();
        let sync = move || span.in_scope(|| file.sync_data());
        self.thread = thread::start("writeback", sync).ok();
        Ok(())
    }

    /// Waits for the last sync that was started.
    pub(crate) fn join(&mut self) -> io::Result<()> {
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
    }
}
