//! The build graph: what is to be done, for all platforms at once.

use std::sync::Arc;

use xbuild_dockerfile::Span;
use xbuild_model::file_op::FileOp;
use xbuild_model::run::RunRequest;
use xbuild_model::{Digest, History, ImageConfig, Platform, ResolvedImage};

use crate::warning::Warning;

/// The place of a vertex in [`Graph::vertices`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(pub usize);

/// What has to be done to build an image for each platform asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// **Shape**: each vertex once, whatever the number of platforms and stages that use it;
    /// inputs before their users. Every vertex is needed by some output.
    pub vertices: Vec<Vertex>,
    /// **Shape**: one for each platform, in the order asked for; at least one.
    pub outputs: Vec<Output>,
    /// What has no effect. What is unwise in the file is [`crate::lint()`]'s to say.
    pub warnings: Vec<Warning>,
    /// `SOURCE_DATE_EPOCH` as a build argument or as a global ARG with a default gives it, not
    /// checked: seconds since 1970 where it can be read as such. The client's environment, which
    /// ranks between the two, is the caller's.
    pub source_date_epoch: Option<String>,
}

impl Graph {
    /// Returns the vertex of that id.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0]
    }

    /// Returns the vertices with their ids, inputs before their users.
    pub fn iter(&self) -> impl Iterator<Item = (VertexId, &Vertex)> {
        self.vertices.iter().enumerate().map(|(index, vertex)| (VertexId(index), vertex))
    }
}

/// A step of the build. Its result is a stack of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Vertex {
    /// The definition key: what the step and all steps below it say. Two vertices of equal keys
    /// are one vertex. It knows nothing of the contents of build contexts, so it is no cache key.
    pub key: Digest,
    /// What the step alone says, its inputs left out: with the *results* of the inputs it makes
    /// a cache key.
    pub definition: Digest,
    /// Where it was written: of the first platform, if several share it.
    pub span: Span,
    /// What progress shows: `[linux/amd64 build 2/5] RUN make`. The platform is there if there
    /// are several or if it is not the one asked for (`linux/amd64->linux/arm64` for a step that
    /// runs on the one, only for the other); the stage's name or `stage-N`, if there are several
    /// stages.
    pub label: String,
    /// The platform of the stage: that of FROM `--platform`, else the one asked for.
    pub platform: Platform,
    /// Where it stands: of the first platform, if several share it.
    pub position: Position,
    /// What to do.
    pub op: Op,
    /// Whether a RUN stands on the layers of this vertex or mounts them, so that they will be
    /// unpacked.
    pub needs_folder: bool,
    /// Whether its layers are layers of an output, rather than of a stage that files are copied
    /// from.
    pub is_in_output: bool,
}

/// Where a step stands in its file: what it is known by from one build to the next, whatever it
/// says. Part of no key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The name of the stage, `stage-N` if it has none; empty for what is in no stage, such as
    /// the sources of mounts.
    pub stage: String,
    /// The number of the step in the stage, 1-based; 0 for what is in no stage.
    pub step: usize,
    /// The platform asked for; `None` for what is in no stage.
    pub target: Option<Platform>,
}

/// What a vertex does.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Nothing: the empty stack of layers.
    Scratch,
    /// The layers of an image. They are pulled only if something needs their contents.
    Image(Arc<ResolvedImage>),
    /// A command runs; what it changes is a layer, even if it changes nothing.
    Run {
        /// What it runs on.
        parent: VertexId,
        /// The command.
        request: RunRequest,
        /// Whose files its mounts have: what `MountSource::input` counts; each once.
        sources: Vec<VertexId>,
        /// The names of the request's variables that come from ARG. Part of no key.
        arguments: Vec<String>,
    },
    /// Files are copied or a folder is made.
    Files {
        /// What the layer is put on.
        parent: VertexId,
        /// What to do.
        op: FileOp,
        /// Where the sources of a copy are; `None` if it has inline files only, and for WORKDIR.
        origin: Option<Origin>,
        /// The layer does not depend on the parent's layers, which then need not be read
        /// (`--link`): it is made as if on the empty stack, and put on the parent's.
        independent: bool,
    },
}

impl Op {
    /// Returns whether a command runs.
    pub fn is_run(&self) -> bool {
        matches!(self, Op::Run { .. })
    }

    /// Returns the vertex whose layers are below the one that this makes.
    pub fn parent(&self) -> Option<VertexId> {
        match self {
            Op::Scratch | Op::Image(_) => None,
            Op::Run { parent, .. } | Op::Files { parent, .. } => Some(*parent),
        }
    }

    /// Returns the vertex that files are copied from.
    pub fn origin(&self) -> Option<VertexId> {
        match self {
            Op::Files { origin: Some(Origin::Vertex(vertex)), .. } => Some(*vertex),
            _ => None,
        }
    }

    /// Returns the vertices whose files are mounted.
    pub fn sources(&self) -> &[VertexId] {
        match self {
            Op::Run { sources, .. } => sources,
            _ => &[],
        }
    }

    /// Returns the vertices that must be done before this one: parent, origin, then sources of
    /// mounts.
    pub fn inputs(&self) -> impl Iterator<Item = VertexId> {
        self.parent().into_iter().chain(self.origin()).chain(self.sources().iter().copied())
    }
}

/// Where the sources of a copy are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A build context: the key in [`crate::PlanOptions::contexts`], empty for the main one.
    Context(String),
    /// The result of another vertex.
    Vertex(VertexId),
}

/// An image to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The platform asked for.
    pub platform: Platform,
    /// The vertex whose layers the image has.
    pub vertex: VertexId,
    /// The configuration, complete but for `created`, `rootfs` and `history`.
    pub config: ImageConfig,
    /// The history of the base image, as it is there.
    pub base_history: Vec<History>,
    /// What this build adds to the history, in order.
    pub history: Vec<PlannedHistory>,
}

/// A history entry of which it is not yet known when it was made and whether it has a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHistory {
    /// The instruction.
    pub created_by: String,
    /// [`crate::HISTORY_COMMENT`].
    pub comment: String,
    /// The vertex that the instruction became; the entry is empty if there is none, or if it
    /// made no layer.
    pub vertex: Option<VertexId>,
}
