//! Events while a graph is solved.

use std::time::Duration;

use xbuild_model::{DiffId, Digest, StepRecord};
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
    Ready {
        /// Whether the programs of the command need an emulator.
        is_emulated: bool,
    },
    /// Its command wrote a line, to standard output or standard error.
    Line {
        /// The line, without its end; any bytes.
        line: &'a [u8],
        /// Whether a carriage return ended the line before, whose place this one would take on a
        /// terminal.
        redraws: bool,
    },
    /// The programs of its command were counted: so many ran natively, and so many under an emulator.
    Programs {
        /// The programs that ran natively.
        natively: u64,
        /// The programs that ran under an emulator.
        emulated: u64,
    },
    /// Its result was found in the cache.
    Cached {
        /// The layers of the result; none if the step has nothing to write.
        layers: &'a [DiffId],
    },
    /// It was completed.
    Done {
        /// The time that it took: for a RUN since [`Ready`](Self::Ready), else since
        /// [`Started`](Self::Started). So the time of pulls is no step's.
        time: Duration,
        /// The layer that it made.
        layer: &'a DiffId,
    },
    /// It failed; [`crate::solve`] returns the error.
    Failed {
        /// The time that it took.
        time: Duration,
        /// The error in words.
        reason: &'a str,
    },
    /// It was ended after this time, because another step failed.
    Cancelled(Duration),
}

/// Takes events, from several threads.
pub trait Events: Sync {
    /// Takes one event.
    fn event(&self, vertex: VertexId, event: Event<'_>);

    /// Takes the result of a step with the key that it is remembered under, after the event that
    /// tells of its end. A step that adds nothing has neither.
    fn result(&self, _vertex: VertexId, _key: &Digest, _result: &StepRecord) {}
}
