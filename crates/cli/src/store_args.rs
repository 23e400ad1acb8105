//! The option `--root`, of all subcommands with a store.

use std::path::PathBuf;

/// The place of the store.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StoreArgs {
    /// Folder of the store [default: $XDG_DATA_HOME/xbuild or ~/.local/share/xbuild]
    #[arg(long, value_name = "DIR", env = "XBUILD_ROOT", hide_env_values = true)]
    pub(crate) root: Option<PathBuf>,
}
