//! Events while a graph is solved.

use std::time::Duration;

use xbuild_plan::VertexId;

use crate::reason::Reason;

/// An event of one vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Work on it began, for these reasons: at least one, the most telling first. At most one such
    /// event comes, before all others.
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
    /// It was completed in this time.
    Done(Duration),
    /// It failed after this time; [`crate::solve`] returns the error.
    Failed(Duration),
}

/// Takes events, from several threads.
pub trait Events: Sync {
    /// Takes one event.
    fn event(&self, vertex: VertexId, event: Event<'_>);
}
