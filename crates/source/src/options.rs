//! Options and warnings of fetching, and the tools that every fetch uses.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use xbuild_model::remote::RemoteSource;
use xbuild_model::seam::Secrets;
use xbuild_model::{Cancel, StepFailure};
use xbuild_registry::Client;
use xbuild_store::Store;

/// Options of a [`Fetcher`](crate::Fetcher).
#[derive(Clone, Default)]
pub struct FetchOptions {
    /// The folders that are searched for `git` and the programs that it runs, as in `PATH`.
    pub search_path: OsString,
    /// Further environment variables for git: proxies, the socket of the SSH agent.
    pub environment: Vec<(String, String)>,
    /// The secrets of the build: `GIT_AUTH_TOKEN`, `HTTP_AUTH_HEADER_HOST` and so on.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Whether repositories on this machine (`file://`) may be fetched. Only for tests: such a
    /// repository can lead git to files of the user.
    pub allow_files: bool,
    /// Sees each source before it is fetched.
    pub gate: Option<Arc<Gate>>,
    /// Takes warnings for the user.
    pub on_warning: Option<Arc<WarningSink>>,
    /// How long git may wait for a remote that sends nothing; `None` for a minute.
    pub patience: Option<Duration>,
    /// Ends the git processes that are under way.
    pub cancel: Cancel,
}

/// Returns what is fetched in place of a source, or refuses it.
pub type Gate = dyn Fn(&RemoteSource) -> Result<RemoteSource, StepFailure> + Send + Sync;

/// Takes warnings, from several threads.
pub type WarningSink = dyn Fn(&FetchWarning) + Send + Sync;

/// A warning for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchWarning {
    /// A repository has submodules, which were left out because the source does not mention them.
    Submodules {
        /// The repository.
        remote: String,
    },
}

impl fmt::Display for FetchWarning {
    /// Writes one line; names are written as in the Dockerfile.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submodules { remote } => write!(
                f,
                "{remote} has submodules, which are not fetched: ask for them with \
                 ?submodules=true, or silence this with ?submodules=false"
            ),
        }
    }
}

impl fmt::Debug for FetchOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchOptions")
            .field("search_path", &self.search_path)
            .field("allow_files", &self.allow_files)
            .finish_non_exhaustive()
    }
}

/// The store, the client and the options of a fetcher.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) store: Arc<Store>,
    pub(crate) client: Client,
    pub(crate) options: FetchOptions,
}
