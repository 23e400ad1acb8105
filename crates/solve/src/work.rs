//! The work of a vertex.

use xbuild_model::Chain;
use xbuild_model::file_op::{CopyOrigin, FileOp};
use xbuild_model::run::RunRequest;
use xbuild_plan::{Op, Origin, Vertex, VertexId};

use crate::result::Layers;

/// The work of a vertex, with the results of its inputs in place of their ids.
pub(crate) enum Work<'a> {
    /// None: these layers are given.
    Given(Layers),
    Run(RunWork<'a>),
    Files(FilesWork<'a>),
}

/// A command on top of layers.
pub(crate) struct RunWork<'a> {
    pub(crate) parent: Layers,
    pub(crate) request: &'a RunRequest,
    /// The names of the request's variables that come from ARG.
    pub(crate) arguments: &'a [String],
    /// The layers that the mounts take files from, in the order of [`Op::Run`].
    pub(crate) sources: Vec<Chain>,
}

/// A COPY, ADD or WORKDIR.
pub(crate) struct FilesWork<'a> {
    pub(crate) parent: Layers,
    pub(crate) op: &'a FileOp,
    pub(crate) origin: Option<CopyOrigin>,
    /// Whether it does not depend on the layers below.
    pub(crate) independent: bool,
}

impl<'a> Work<'a> {
    /// Returns the work of a vertex; `input` returns the results of its inputs.
    pub(crate) fn of(vertex: &'a Vertex, input: impl Fn(VertexId) -> Layers) -> Self {
        match &vertex.op {
            Op::Scratch => Self::Given(Layers::default()),
            Op::Image(image) => {
                let chain = Chain(image.layers.iter().map(|layer| layer.diff_id.clone()).collect());
                Self::Given(Layers { base: chain.0.len(), chain, changed_by: None })
            }
            Op::Run { parent, request, sources, arguments } => {
                let sources = sources.iter().map(|id| input(*id).chain).collect();
                Self::Run(RunWork { parent: input(*parent), request, arguments, sources })
            }
            Op::Files { parent, op, origin, independent } => {
                let origin = origin.as_ref().map(|origin| match origin {
                    Origin::Context(name) => CopyOrigin::Context(name.clone()),
                    Origin::Vertex(id) => CopyOrigin::Layers(input(*id).chain),
                });
                let independent = *independent;
                Self::Files(FilesWork { parent: input(*parent), op, origin, independent })
            }
        }
    }

    /// Returns the layers that the vertex stands on.
    pub(crate) fn into_parent(self) -> Layers {
        match self {
            Self::Given(layers) => layers,
            Self::Run(work) => work.parent,
            Self::Files(work) => work.parent,
        }
    }
}

impl FilesWork<'_> {
    /// Returns the layers that the files are selected against.
    pub(crate) fn below(&self) -> Chain {
        if self.independent { Chain::default() } else { self.parent.chain.clone() }
    }
}
