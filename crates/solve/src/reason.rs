//! Why a step runs.

use xbuild_plan::VertexId;

/// One of the reasons why a step runs instead of coming from the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No step is known to have run in this place of the Dockerfile.
    FirstTime,
    /// The build, or the stage of the step, uses no cache.
    NoCache,
    /// The step is the same as in its last run, but its result was removed from the store.
    ResultGone,
    /// The step is the same as one of another build that is solved at the same time, and it has other
    /// secrets or agents.
    OtherSecrets,
    /// The step was not in the stage: the step in its place was of another kind, or has moved.
    NewInstruction,
    /// A RUN has another command.
    Command,
    /// The text of a COPY, ADD or WORKDIR differs.
    Instruction(StepKind),
    /// These arguments have other values, by name ascending, at least one.
    Arguments(Vec<String>),
    /// These variables of the environment have other values, by name ascending, at least one.
    Environment(Vec<String>),
    /// Another setting of a command differs.
    Setting(Setting),
    /// The files mounted at these places differ; ascending, at least one.
    MountSources(Vec<String>),
    /// The files that are written differ.
    Source {
        /// The instruction that writes them.
        kind: StepKind,
        /// The changed files; `None` if they are not known, or if only folders and owners differ.
        changes: Option<FileChanges>,
    },
    /// The layers of the image in FROM differ.
    Base,
    /// Layers that steps of this build made differ.
    LayersBelow {
        /// The last of these steps that ran now for a reason of its own; `None` if all came from
        /// the cache.
        by: Option<VertexId>,
    },
}

/// The kind of a step.
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

/// A setting of a command.
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
    /// The privileges of the command.
    Security,
    /// The host name and additional hosts.
    Hosts,
    /// Resource limits.
    Limits,
    /// The platform of the programs.
    Platform,
    /// The mounts.
    Mounts,
}

/// The difference between a step's files and those of its last run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChanges {
    /// The first changed file: a path relative to the build context, or, for files from elsewhere,
    /// a path in the image with a leading slash. A trailing slash says that a folder stands for all
    /// of its files.
    pub first: String,
    /// The kind of the change.
    pub change: Change,
    /// The number of other changed files.
    pub more: usize,
}

/// The kind of a file's change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The file is new.
    Added,
    /// The file is gone.
    Removed,
    /// The file differs.
    Changed,
}
