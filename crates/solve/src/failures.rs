//! The first failure of a build, which ends the other steps.

use std::sync::{Mutex, PoisonError};

use xbuild_model::Cancel;
use xbuild_plan::VertexId;

/// Remembers which step failed first. All later failures are consequences, or of no interest.
pub(crate) struct Failures<'a> {
    first: Mutex<Option<VertexId>>,
    cancel: &'a Cancel,
}

impl<'a> Failures<'a> {
    /// Returns a value for a build whose steps `cancel` ends.
    pub(crate) fn new(cancel: &'a Cancel) -> Self {
        Self { first: Mutex::default(), cancel }
    }

    /// Takes note that a step failed, and returns whether it is the first one that did. The other
    /// steps are told to end.
    pub(crate) fn is_first(&self, id: VertexId) -> bool {
        let first = {
            // The value is whole at any time.
            let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            *first.get_or_insert(id)
        };
        self.cancel.cancel();
        first == id
    }
}
