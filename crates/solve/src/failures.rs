//! The first failure of a build, which ends the other steps.

use std::sync::{Mutex, PoisonError};

use xbuild_model::Cancel;
use xbuild_plan::VertexId;

/// Remembers which step failed first. All later failures are consequences, or of no interest.
pub(crate) struct Failures<'a> {
    cause: Mutex<Option<Cause>>,
    cancel: &'a Cancel,
}

/// Why steps end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// This one failed.
    Step(VertexId),
    /// Somebody else ends the build.
    Outside,
}

impl<'a> Failures<'a> {
    /// Returns a value for a build whose steps `cancel` ends.
    pub(crate) fn new(cancel: &'a Cancel) -> Self {
        Self { cause: Mutex::default(), cancel }
    }

    /// Takes note that a step failed, and returns whether it is the first one that did. The other
    /// steps are told to end.
    pub(crate) fn is_first(&self, id: VertexId) -> bool {
        self.cause(id) == Cause::Step(id)
    }

    /// Returns whether the failure of a step is to be returned: it is the first, or the build was ended
    /// from outside.
    pub(crate) fn is_told(&self, id: VertexId) -> bool {
        matches!(self.cause(id), Cause::Outside) || self.is_first(id)
    }

    fn cause(&self, id: VertexId) -> Cause {
        let cause = {
            // The value is whole at any time.
            let mut cause = self.cause.lock().unwrap_or_else(PoisonError::into_inner);
            *cause.get_or_insert_with(|| match self.cancel.is_cancelled() {
                true => Cause::Outside,
                false => Cause::Step(id),
            })
        };
        self.cancel.cancel();
        cause
    }
}
