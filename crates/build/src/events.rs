//! What a build tells while it is under way.

use std::fmt;

use xbuild_dockerfile::Diagnostics;
use xbuild_files::copy::CopyWarning;
use xbuild_files::flatten::{Skipped, SkippedPart};
use xbuild_layer::Encoding;
use xbuild_model::{Digest, StepFailure};
use xbuild_plan::{Graph, VertexId};
use xbuild_registry::PushEvent;
use xbuild_source::FetchWarning;

use crate::error::BaseError;

/// Takes what a build tells, from several threads.
pub trait Events: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);
}

/// Something happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// There is something that the user should know.
    Warning(&'a Warning),
    /// Rules of the linter are broken, perhaps none.
    Lint {
        /// The rules and the places.
        findings: &'a Diagnostics,
        /// The text of the Dockerfile.
        source: &'a str,
    },
    /// The steps are known. Comes before all events of steps.
    Planned(&'a Graph),
    /// Something happened to a step.
    Step {
        /// The step.
        vertex: VertexId,
        /// The event.
        event: xbuild_solve::Event<'a>,
    },
    /// Something happened during a push.
    Push(PushEvent<'a>),
    /// The image was made in a form besides the main one.
    Form {
        /// How its layers are compressed.
        encoding: Encoding,
        /// The digest of its manifest or index.
        digest: &'a Digest,
    },
}

/// Something that the user should know and that does not stop the build.
///
/// It displays as one line, in which text of Dockerfiles, images and servers stands as it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Warning {
    /// Something in the options has no effect.
    Plan(xbuild_plan::Warning),
    /// A base image cannot be read, so that a check knows less.
    Base(BaseError),
    /// A copy does not come out as it was written.
    Copy(CopyWarning),
    /// A source does not come out as it was written.
    Fetch(FetchWarning),
    /// The variable of a secret is unset.
    EmptySecret {
        /// The id of the secret.
        id: String,
        /// The variable.
        variable: String,
    },
    /// A part of a file is missing in an exported folder.
    Skipped(Skipped),
    /// Folders that a killed build left behind cannot be removed.
    Leftovers(StepFailure),
    /// The result has no name and no output.
    OnlyCached,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(warning) => warning.fmt(f),
            Self::Base(error) => error.fmt(f),
            Self::Copy(warning) => warning.fmt(f),
            Self::Fetch(warning) => warning.fmt(f),
            Self::EmptySecret { id, variable } => {
                write!(f, "the secret {id:?} is empty: the variable {variable} is unset")
            }
            Self::Skipped(Skipped { path, what }) => {
                let part = match what {
                    SkippedPart::Device => "the device",
                    _ => "the capabilities of",
                };
                write!(f, "{part} {path} cannot be made by an ordinary user: left out")
            }
            Self::Leftovers(failure) => write!(f, "leftovers of a killed build stay: {failure}"),
            Self::OnlyCached => {
                f.write_str("the result is only cached: name it with --tag, or choose an --output")
            }
        }
    }
}

/// Takes no notice.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Events for Silent {
    fn event(&self, _: Event<'_>) {}
}
