//! Emulators that cannot be installed.

use std::io;
use std::path::PathBuf;

use xbuild_exec::EmulationError;
use xbuild_exec::probe::Gap;
use xbuild_model::{FailureKind, StepFailure};
use xbuild_store::StoreError;
use xbuild_wording::{Hint, hints};

use super::{ErrorKind, Fault, ImageError, OpenError};

/// Why an emulator is not installed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// There is no store, or no client for registries.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The image cannot be read.
    #[error(transparent)]
    Image(Box<ImageError>),
    /// The layers of the image cannot be read.
    #[error(transparent)]
    Layers(StepFailure),
    /// The folder or file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Place {
        /// The folder or file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// The source has no emulator that is wanted.
    #[error("{} in {place}; {instead}", wanted(architectures))]
    NotFound {
        /// The source.
        place: String,
        /// The architectures that are missing, as images name them; empty if any would do.
        architectures: Vec<&'static str>,
        /// The files that are there.
        instead: String,
    },
    /// A file cannot serve as an emulator.
    #[error("cannot install an emulator from {place}: {source}")]
    Unusable {
        /// The source.
        place: String,
        /// The reason.
        source: EmulationError,
    },
    /// The emulator does not run a test program.
    #[error("{}", .0.why)]
    Fails(Gap),
    /// The file changed while it was installed.
    #[error("{} changed while it was installed", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// The name of a file does not say whose programs it runs.
    #[error("cannot tell which programs {} runs: it is not named qemu-ARCH", path.display())]
    NoArchitecture {
        /// The file.
        path: PathBuf,
    },
    /// The machine runs the programs itself.
    #[error("{architecture} programs need no emulator on this machine")]
    Native {
        /// The architecture, as images name it.
        architecture: &'static str,
    },
}

fn wanted(architectures: &[&str]) -> String {
    match architectures {
        [] => "there is no emulator".to_owned(),
        some => format!("there is no emulator for {} programs", some.join(" and ")),
    }
}

impl From<ImageError> for InstallError {
    fn from(error: ImageError) -> Self {
        Self::Image(Box::new(error))
    }
}

impl From<StoreError> for InstallError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

impl Fault for InstallError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Open(error) => error.kind(),
            Self::Image(error) => error.kind(),
            Self::Layers(failure) => Fault::kind(failure),
            Self::NoArchitecture { .. } | Self::Native { .. } => ErrorKind::Request,
            _ => ErrorKind::Stage(FailureKind::User),
        }
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Open(error) => error.hint(),
            Self::Image(error) => error.hint().or_else(|| Some(hints::other_emulators())),
            Self::Layers(failure) => Fault::hint(failure),
            Self::Place { .. } | Self::NotFound { .. } | Self::Unusable { .. } => {
                Some(hints::other_emulators())
            }
            Self::Fails(gap) => Some(gap.how_to_get.clone()),
            Self::Changed { .. } => Some(hints::try_again()),
            Self::NoArchitecture { .. } => Some(hints::platform_of_emulator()),
            Self::Native { .. } => None,
        }
    }
}
