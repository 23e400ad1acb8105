//! The input of the contents of staged files.

use std::sync::Arc;

use super::archive::Archive;
use super::origin::{LayerSource, Origin};
use crate::context::Context;
use crate::stamp::ContextFile;

/// The input of the contents of staged files.
#[derive(Debug)]
pub(crate) struct Sources {
    origin: Option<Origin>,
    remotes: Vec<Arc<Context>>,
    pub(crate) archives: Vec<Archive>,
}

impl Sources {
    pub(crate) fn new(origin: Option<&Origin>, remotes: &[Arc<Context>]) -> Self {
        Self { origin: origin.cloned(), remotes: remotes.to_vec(), archives: Vec::new() }
    }

    /// Returns the context of a file.
    pub(super) fn context(&self, file: &ContextFile) -> &Context {
        match (file.context(), &self.origin) {
            (0, Some(Origin::Context(context))) => context,
            (number, _) if (1..=self.remotes.len()).contains(&number) => &self.remotes[number - 1],
            _ => unreachable!("only a context gives contents in a context"),
        }
    }

    pub(super) fn layers(&self) -> &dyn LayerSource {
        match &self.origin {
            Some(Origin::Layers { source, .. }) => &**source,
            _ => unreachable!("only layers give contents in a layer"),
        }
    }
}
