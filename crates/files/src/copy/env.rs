//! The input of a selection beside the request, and its warnings.

use std::fmt;
use std::sync::Arc;

use xbuild_layer::Mtime;
use xbuild_model::StepFailure;
use xbuild_wording::quoted;

use super::origin::Origin;
use crate::context::Context;

/// The input of a selection beside the request.
pub struct CopyEnv<'a> {
    /// The origin of the sources; `None` for WORKDIR, and for a COPY of inline files only.
    pub origin: Option<Origin>,
    /// The folders with the remote sources of the request, in their order.
    pub remotes: &'a [Arc<Context>],
    /// The modification time of files that are made and not copied: parent folders, inline files.
    pub default_mtime: Mtime,
    /// Reads `etc/passwd` and `etc/group` of the image below. Called only to look up a name.
    pub read_file: &'a ReadFile<'a>,
}

/// Reads a file of an image by its path from the root. Returns `None` if it is not a regular file,
/// and an error if it is larger than [`xbuild_model::passwd::MAX_SIZE`].
pub type ReadFile<'a> = dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, StepFailure> + 'a;

impl fmt::Debug for CopyEnv<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, remotes, default_mtime, read_file: _ } = self;
        f.debug_struct("CopyEnv")
            .field("origin", origin)
            .field("remotes", remotes)
            .field("default_mtime", default_mtime)
            .finish_non_exhaustive()
    }
}

/// A warning for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyWarning {
    /// The image does not know a user or group, so the owner is 0, or the group is the user's own.
    UnknownOwner {
        /// The name.
        name: String,
    },
}

impl CopyWarning {
    /// Returns the name of the user or group that it is about.
    pub fn owner(&self) -> Option<&str> {
        let Self::UnknownOwner { name } = self;
        Some(name)
    }
}

impl fmt::Display for CopyWarning {
    /// Writes one line; names stand as the image or the Dockerfile has them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOwner { name } => {
                write!(
                    f,
                    "the image has no user or group {name}: the files belong to 0",
                    name = quoted(&name)
                )
            }
        }
    }
}
