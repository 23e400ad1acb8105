//! What the process was given: the one place that reads environment variables and home folders.

use std::path::PathBuf;

use crate::arguments::StoreArgs;
use crate::report::Problem;

/// Returns an environment variable, `None` if it is unset, empty or not text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the folder of the store: `--root`, `$XDG_DATA_HOME/xbuild`, `~/.local/share/xbuild`.
pub(crate) fn store_root(args: &StoreArgs) -> Result<PathBuf, Problem> {
    if let Some(root) = &args.root {
        return std::path::absolute(root).map_err(|error| Problem::file("resolve", root, &error));
    }
    let data = variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let data = data.or_else(|| Some(home()?.join(".local/share")));
    data.map(|data| data.join("xbuild")).ok_or_else(|| {
        Problem::command_line("there is no home folder to keep the store in")
            .with_hint("name a folder with --root or XBUILD_ROOT")
    })
}

/// Returns the home folder.
pub(crate) fn home() -> Option<PathBuf> {
    variable("HOME").map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Returns the folder of Docker's client configuration.
pub(crate) fn docker_config() -> Option<PathBuf> {
    variable("DOCKER_CONFIG").map(PathBuf::from).or_else(|| Some(home()?.join(".docker")))
}
