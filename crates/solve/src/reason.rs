//! Why a step runs.

use xbuild_plan::VertexId;

/// One of the reasons why a step runs instead of coming from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No step is known to have run in this place of the Dockerfile.
    FirstTime,
    /// The build uses no cache.
    NoCache,
    /// It is the step that ran last, but its result was removed from the store.
    ResultGone,
    /// It was not in the stage: what stood in its place is of another kind, or has moved.
    NewInstruction,
    /// A RUN has another command.
    Command,
    /// A COPY, ADD or WORKDIR says something else.
    Instruction(StepKind),
    /// These arguments have other values, by name ascending, at least one.
    Arguments(Vec<String>),
    /// These variables of the environment have other values, by name ascending, at least one.
    Environment(Vec<String>),
    /// Something else around a command is another.
    Setting(Setting),
    /// The files that are mounted at these places are others, ascending, at least one.
    MountSources(Vec<String>),
    /// The files that are written are others.
    Source {
        /// What writes them.
        kind: StepKind,
        /// Which; `None` if that is not known, or if it is folders and owners only.
        changes: Option<FileChanges>,
    },
    /// The layers of the image in FROM are others.
    Base,
    /// Layers that steps of this build made are others.
    LayersBelow {
        /// The last of them that ran now and for a reason of its own; `None` if all came from the
        /// cache.
        by: Option<VertexId>,
    },
}

/// What an instruction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// RUN.
    Run,
    /// COPY.
    Copy,
    /// ADD.
    Add,
    /// WORKDIR.
    Workdir,
    /// A part of a build context that a RUN mounts.
    Mount,
}

/// Something that is said around a command.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub enum Setting {
    /// USER.
    User,
    /// WORKDIR.
    WorkingFolder,
    /// The network.
    Network,
    /// What the command may do.
    Security,
    /// The host name and the hosts that are known by name.
    Hosts,
    /// Resource limits.
    Limits,
    /// The platform of the programs.
    Platform,
    /// What is mounted where, and how.
    Mounts,
}

/// How the files of a step differ from those of another time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChanges {
    /// The first of them: a path relative to the build context, or, of what does not come from
    /// one, in the image with a leading slash. With a trailing slash where a folder stands for all
    /// that is in it.
    pub first: String,
    /// What became of it.
    pub change: Change,
    /// How many there are besides.
    pub more: usize,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was not there.
    Added,
    /// It is no longer there.
    Removed,
    /// It is another.
    Changed,
}
