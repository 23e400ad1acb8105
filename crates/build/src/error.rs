//! Errors of a build, one enum for each family of operations.
//!
//! Each is a [`Fault`]: it knows whose business it is, its place in the Dockerfile, and advice for
//! the user. That is all that `cli` needs to show it.

mod cache;
mod context;
mod export;
mod fault;
mod image;
mod images;
mod install;
mod load;
mod login;
mod open;
mod planning;
mod request;
mod run;
mod verify;

use std::path::PathBuf;

use xbuild_model::FailureKind;
use xbuild_plan::Span;
use xbuild_wording::{Hint, hints};

pub use cache::{CacheAdminError, CacheError, CacheOpenError};
pub use context::ContextError;
pub(crate) use context::READ_DOCKERFILE;
pub use export::ExportError;
pub use fault::{During, ErrorKind, Fault};
pub use image::{ImageError, InspectError};
pub use images::ImagesError;
pub use install::InstallError;
pub use load::LoadError;
pub use login::LoginError;
pub use open::{OpenError, SecretError};
pub use planning::{BaseError, PlanningError};
pub use request::RequestError;
pub use run::{Lack, PreflightError, RunError, StepError};
pub use verify::VerifyError;

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// It could not begin.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The Dockerfile or a context could not be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// There is no plan.
    #[error(transparent)]
    Planning(#[from] PlanningError),
    /// This machine cannot run what the plan needs.
    #[error(transparent)]
    Preflight(#[from] PreflightError),
    /// A step failed.
    #[error(transparent)]
    Run(#[from] RunError),
    /// The result could not be written or pushed.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// An image could not be compared with the result.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// Files of the store were damaged, and the build could not go on without them.
    #[error("{} in the store was damaged and could not be fetched or made again", list(files))]
    Damaged {
        /// The files, which were dropped.
        files: Vec<PathBuf>,
        /// Why the build failed without them.
        source: Box<BuildError>,
    },
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl BuildError {
    fn fault(&self) -> &dyn Fault {
        match self {
            Self::Open(error) => error,
            Self::Context(error) => error,
            Self::Planning(error) => error,
            Self::Preflight(error) => error,
            Self::Run(error) => error,
            Self::Export(error) => error,
            Self::Verify(error) => error,
            Self::Damaged { source, .. } => source.fault(),
        }
    }
}

impl Fault for BuildError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Damaged { .. } => ErrorKind::Stage(FailureKind::Internal),
            _ => self.fault().kind(),
        }
    }

    fn span(&self) -> Option<&Span> {
        self.fault().span()
    }

    fn hint(&self) -> Option<Hint> {
        match self {
            Self::Damaged { .. } => Some(hints::damaged_store()),
            _ => self.fault().hint(),
        }
    }

    fn step(&self) -> Option<&str> {
        self.fault().step()
    }

    fn exit_code(&self) -> Option<i32> {
        self.fault().exit_code()
    }

    fn each(&self) -> Vec<&dyn Fault> {
        match self {
            Self::Planning(error) => error.each(),
            Self::Preflight(error) => error.each(),
            Self::Damaged { .. } => vec![self],
            other => vec![other.fault()],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use xbuild_files::CopyError;
    use xbuild_snapshot::TaskError;
    use xbuild_source::FetchError;
    use xbuild_store::StoreError;

    #[test]
    fn paths_are_shown_as_they_are() {
        let path = || "/a \"b\"".into();
        let source = || io::Error::from(io::ErrorKind::NotFound);
        let action = "read";
        let shown: [&dyn std::error::Error; 5] = [
            &StoreError::Io { action, path: path(), source: source() },
            &StoreError::Busy { path: path() },
            &CopyError::OpenContext { path: path(), source: source() },
            &TaskError::Folder { action, path: path(), source: source() },
            &FetchError::Io { action, path: path(), source: source() },
        ];
        let expected = [
            "cannot read /a \"b\" in the store",
            "the store /a \"b\" is in use by a process that does not say what it uses",
            "cannot open the build context /a \"b\"",
            "cannot read /a \"b\"",
            "cannot read /a \"b\"",
        ];
        assert_eq!(shown.map(ToString::to_string), expected);
    }
}
