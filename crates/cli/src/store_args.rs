//! The option that says where the store is.

use std::path::PathBuf;

/// The folder of the store.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// Folder of the store [default: $XDG_DATA_HOME/xbuild or ~/.local/share/xbuild]
    #[arg(long, value_name = "DIR", env = "XBUILD_ROOT", hide_env_values = true)]
    pub(crate) root: Option<PathBuf>,
}
