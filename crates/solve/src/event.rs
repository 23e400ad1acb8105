//! What happens while a graph is solved.

use std::time::Duration;

use xbuild_plan::VertexId;

use crate::reason::Reason;

/// Something happened to a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Work on it began, for these reasons: at least one, the most telling first. Comes at most
    /// once, before the others.
    Started(&'a [Reason]),
    /// Its command wrote a line, given without its line end; any bytes.
    Line {
        /// Whether it came from standard error.
        stderr: bool,
        /// The line.
        line: &'a [u8],
    },
    /// Its result was found in the cache.
    Cached,
    /// It was done in this time.
    Done(Duration),
    /// It failed after this time; the error is what [`crate::solve`] returns.
    Failed(Duration),
}

/// Takes events, from several threads.
pub trait Events: Sync {
    /// Takes one event.
    fn event(&self, vertex: VertexId, event: Event<'_>);
}
