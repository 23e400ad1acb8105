//! `xbuild imagetools`: the spellings of `docker buildx imagetools`.

use std::sync::Arc;

use clap::Subcommand;

use super::index_edit::{MakeArgs, place};
use super::index_inspect::InspectArgs;
use crate::console::Console;
use crate::report::Problem;

/// The arguments of `xbuild imagetools`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagetoolsArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an index of images that exist
    Create(CreateArgs),
    /// Show an image or index of a registry
    Inspect(InspectArgs),
}

/// The arguments of `xbuild imagetools create`.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Images and indexes, as in xbuild index create
    #[arg(value_name = "SRC", required_unless_present = "file")]
    sources: Vec<String>,
    /// The name of the index (repeatable)
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    #[command(flatten)]
    make: MakeArgs,
}

/// Does what the arguments say.
pub(crate) fn run(args: &ImagetoolsArgs, console: &Arc<Console>) -> Result<(), Problem> {
    match &args.action {
        Action::Create(args) => {
            let places = args.tag.iter().map(|name| place(name, false));
            args.make.run(places.collect::<Result<_, _>>()?, &args.sources, console)
        }
        Action::Inspect(args) => args.run(console),
    }
}
