//! xbuild under other names: as kaniko's `executor`, as `buildah` with `bud` or `build`, and as a plugin of
//! Docker's command line. Options become those of `xbuild build`; what has no meaning here is refused by
//! name, with the rest as a command of xbuild.

mod buildah;
mod buildah_options;
mod kaniko;
mod kaniko_options;
mod line;
mod meant;
mod option;
#[cfg(test)]
mod page;
mod plugin;
mod reader;

use std::ffi::OsString;
use std::path::Path;

use crate::report::Problem;
pub(crate) use meant::Meant;

/// Returns what a command line means by the name that the program was called by.
pub(crate) fn meaning(args: Vec<OsString>) -> Result<Meant, Problem> {
    let name = args.first().and_then(|path| Path::new(path).file_name()?.to_str());
    match name {
        Some("executor") => kaniko::meaning(&args[1..]),
        Some("buildah") => buildah::meaning(&args[1..]),
        Some("docker-xbuild") => Ok(plugin::meaning(args)),
        _ => Ok(Meant::Line(args)),
    }
}
