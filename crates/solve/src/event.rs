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
    /// The layers that its command stands on, and its mounts, are ready: the command begins. The time
    /// of the step counts from here. Only for a RUN.
    Ready,
    /// Its command wrote a line, to standard output or standard error.
    Line {
        /// The line, without its end; any bytes.
        line: &'a [u8],
        /// Whether a carriage return ended the line before, whose place this one would take on a
        /// terminal.
        redraws: bool,
    },
    /// Its result was found in the cache.
    Cached,
    /// It was completed in this time: for a RUN since [`Ready`](Self::Ready), else since
    /// [`Started`](Self::Started). So the time of pulls is no step's.
    Done(Duration),
    /// It failed after this time; [`crate::solve`] returns the error.
    Failed(Duration),
    /// It was ended after this time, because another step failed.
    Cancelled(Duration),
}

/// Takes events, from several threads.
pub trait Events: Sync {
    /// Takes one event.
    fn event(&self, vertex: VertexId, event: Event<'_>);
}
