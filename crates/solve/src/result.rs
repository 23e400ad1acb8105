//! The result of a vertex.

use xbuild_model::{Chain, StepRecord};
use xbuild_plan::VertexId;

use crate::seen::Ground;

/// The result of a vertex.
#[derive(Debug, Clone, Default)]
pub(crate) struct Done {
    /// The layers of the parent and those that the vertex added.
    pub(crate) layers: Layers,
    /// The number of layers that it added.
    pub(crate) added: usize,
    /// When its step ran, RFC 3339; `None` if no step made it.
    pub(crate) created: Option<String>,
}

/// Layers, and what is known about their origin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layers {
    pub(crate) chain: Chain,
    /// The number of layers, from the first, that are the base image's.
    pub(crate) base: usize,
    /// The last step that ran for a reason of its own: if the layers differ from last time's, this
    /// step is why.
    pub(crate) changed_by: Option<VertexId>,
}

impl Layers {
    pub(crate) fn ground(&self) -> Ground<'_> {
        Ground { chain: &self.chain, base: self.base }
    }
}

impl Done {
    /// Returns the result of a step on top of `parent` that added the layers of `record`.
    pub(crate) fn of_step(record: StepRecord, parent: Layers) -> Self {
        let Layers { mut chain, base, changed_by } = parent;
        let added = record.added.0.len();
        chain.0.extend(record.added.0);
        Self { layers: Layers { chain, base, changed_by }, added, created: Some(record.created) }
    }

    /// Returns the result of a vertex that adds nothing to `layers`.
    pub(crate) fn unchanged(layers: Layers) -> Self {
        Self { layers, ..Self::default() }
    }
}
