//! The build graph: the steps for all platforms.

use std::sync::Arc;

use xbuild_dockerfile::Span;
use xbuild_model::file_op::FileOp;
use xbuild_model::run::RunRequest;
use xbuild_model::{Digest, History, ImageConfig, Platform, ResolvedImage};

use crate::warning::Warning;

/// The index of a vertex in [`Graph::vertices`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VertexId(pub usize);

/// The steps that build an image for each platform asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// **Shape**: each vertex once, whatever the number of platforms and stages that use it;
    /// inputs before their users. Every vertex is needed by some output.
    pub vertices: Vec<Vertex>,
    /// **Shape**: one for each platform, in the order of the platforms asked for, those of the first
    /// Dockerfile first; at least one.
    pub outputs: Vec<Output>,
    /// Options without effect. [`crate::lint()`] reports unwise instructions.
    pub warnings: Vec<Warning>,
    /// `SOURCE_DATE_EPOCH` of a build argument or a global ARG with a default, not checked: seconds
    /// since 1970 where it can be read as such. The client's environment, which ranks between the
    /// two, is up to the caller.
    pub source_date_epoch: Option<String>,
}

impl Graph {
    /// Returns the vertex with this id.
    pub fn vertex(&self, id: VertexId) -> &Vertex {
        &self.vertices[id.0]
    }

    /// Returns the vertices with their ids, inputs before their users.
    pub fn iter(&self) -> impl Iterator<Item = (VertexId, &Vertex)> {
        self.vertices.iter().enumerate().map(|(index, vertex)| (VertexId(index), vertex))
    }

    /// Returns whether a step is a COPY, ADD or WORKDIR, whose result depends on files outside the
    /// graph.
    pub fn looks_at_files(&self) -> bool {
        self.vertices.iter().any(|vertex| matches!(vertex.op, Op::Files { .. }))
    }
}

/// A step of the build. Its result is a stack of layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Vertex {
    /// The definition key: a digest of the definitions of the step and of all steps below it. Two
    /// vertices with equal keys are one vertex. It does not depend on the contents of build
    /// contexts, so it is not a cache key.
    pub key: Digest,
    /// A digest of the definition of the step alone, without its inputs. Together with the
    /// *results* of the inputs it makes a cache key.
    pub definition: Digest,
    /// The lines of the instruction: of the first platform, if several share the vertex.
    pub span: Span,
    /// The label that progress shows: `[linux/amd64 build 2/5] RUN make`. It has the platform if
    /// there are several or if it is not the platform asked for (`linux/amd64->linux/arm64` for a
    /// step that runs on the first, only for the second). It has the stage's name or `stage-N` if
    /// there are several stages.
    pub label: String,
    /// The platform of the stage: that of FROM `--platform`, else the one asked for.
    pub platform: Platform,
    /// The place in the file: of the first platform, if several share the vertex.
    pub position: Position,
    /// The operation.
    pub op: Op,
    /// Whether a RUN stands on the layers of this vertex or mounts them, so that they will be
    /// unpacked.
    pub needs_folder: bool,
    /// Whether it is done even if its result is known: its stage is one of
    /// [`crate::PlanOptions::no_cache_stages`].
    pub no_cache: bool,
    /// Whether its layers are layers of an output, rather than of a stage that files are copied
    /// from.
    pub is_in_output: bool,
}

/// The place of a step in its file, by which it is known from one build to the next even if its
/// text changes. Not part of any key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The name of the stage, `stage-N` if it has none; empty for a vertex outside of stages, such
    /// as the source of a mount.
    pub stage: String,
    /// The number of the step in the stage, 1-based; 0 for a vertex outside of stages.
    pub step: usize,
    /// The platform asked for; `None` for a vertex outside of stages.
    pub target: Option<Platform>,
}

/// The operation of a vertex.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// Nothing: the empty stack of layers.
    Scratch,
    /// The layers of an image. They are pulled only if something needs their contents.
    Image(Arc<ResolvedImage>),
    /// A command runs. Its changes become a layer, even if there are none.
    Run {
        /// The vertex with the layers that the command runs on.
        parent: VertexId,
        /// The command.
        request: RunRequest,
        /// The vertices that its mounts take files from, each once; `MountSource::input` counts
        /// them.
        sources: Vec<VertexId>,
        /// The names of the request's variables that come from ARG. Not part of any key.
        arguments: Vec<String>,
    },
    /// Files are copied or a folder is made.
    Files {
        /// The vertex with the layers below.
        parent: VertexId,
        /// The operation on files.
        op: FileOp,
        /// The place of a copy's sources; `None` for WORKDIR, and for a copy of inline files only.
        origin: Option<Origin>,
        /// Whether the layer is independent of the parent's layers (`--link`), which then need not
        /// be read: it is made as if on the empty stack, and put on the parent's layers.
        independent: bool,
    },
}

impl Op {
    /// Returns whether a command runs.
    pub fn is_run(&self) -> bool {
        matches!(self, Op::Run { .. })
    }

    /// Returns the platform of the programs that a command runs, which is that of the stage's base
    /// image even if another one was asked for; `None` if no command runs.
    pub fn programs(&self) -> Option<&Platform> {
        match self {
            Op::Run { request, .. } => Some(&request.platform),
            _ => None,
        }
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

/// The place of a copy's sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A build context: the key in [`crate::PlanOptions::contexts`], or for the main one
    /// [`crate::PlanOptions::main_context`].
    Context(String),
    /// The result of another vertex.
    Vertex(VertexId),
}

/// An image to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The platform of the image: the one asked for, else that of its base image.
    pub platform: Platform,
    /// The vertex whose layers the image has.
    pub vertex: VertexId,
    /// The configuration, complete but for `created`, `rootfs` and `history`.
    pub config: ImageConfig,
    /// The history of the base image, as it is there.
    pub base_history: Vec<History>,
    /// The entries that this build adds to the history, in order.
    pub history: Vec<PlannedHistory>,
}

/// A history entry whose time and layer are not yet known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHistory {
    /// The instruction.
    pub created_by: String,
    /// [`crate::HISTORY_COMMENT`].
    pub comment: String,
    /// The vertex of the instruction. The entry is empty if there is no vertex, or if the vertex
    /// makes no layer.
    pub vertex: Option<VertexId>,
}
