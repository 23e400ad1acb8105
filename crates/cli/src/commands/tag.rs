//! `xbuild tag`: gives an image of the store further names.

use std::sync::Arc;

use xbuild_build::{Events, Shelf};

use crate::console::Console;
use crate::environment;
use crate::report::Problem;
use crate::store_args::StoreArgs;
use crate::values::names::references;

/// The arguments of `xbuild tag`.
#[derive(Debug, clap::Args)]
pub(crate) struct TagArgs {
    /// The image: a name, a digest, or at least 7 digits of one
    #[arg(value_name = "IMAGE")]
    source: String,
    /// Further names
    #[arg(value_name = "NAME[:TAG]", required = true)]
    names: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Gives the names.
pub(crate) fn run(args: &TagArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let events = Arc::clone(console) as Arc<dyn Events>;
    let shelf = Shelf::with_image(&machine, &events, &args.source)?;
    Ok(shelf.tag(&args.source, &references(&args.names)?)?)
}
