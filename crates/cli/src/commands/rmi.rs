//! `xbuild rmi`: takes names from images of the store.

use std::fmt::Write as _;
use std::sync::Arc;

use xbuild_build::{Events, Shelf};

use crate::console::Console;
use crate::environment;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;

/// The arguments of `xbuild rmi`.
#[derive(Debug, clap::Args)]
pub(crate) struct RmiArgs {
    /// Images: names, or digests for all names of an image. Contents that no name uses go with
    /// xbuild prune --max-used-space 0
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// Takes the names, and prints them.
pub(crate) fn run(args: &RmiArgs, console: &Arc<Console>) -> Result<(), Problem> {
    forget(&args.images, &args.store, console)
}

/// Takes names from images, and prints them.
pub(super) fn forget(
    images: &[String],
    store: &StoreArgs,
    console: &Arc<Console>,
) -> Result<(), Problem> {
    let machine = environment::machine(store.root.as_deref())?;
    let events = Arc::clone(console) as Arc<dyn Events>;
    let first = images.first().map(String::as_str).unwrap_or_default();
    let shelf = Shelf::with_image(&machine, &events, first)?;
    let mut failure = Ok(());
    let mut text = String::new();
    for image in images {
        // One that is unknown does not keep the others.
        match shelf.remove(image) {
            Ok(names) => names.iter().for_each(|name| {
                let _ = writeln!(text, "untagged {}", printable(name));
            }),
            Err(error) => failure = failure.and(Err(error.into())),
        }
    }
    console.result(text.as_bytes())?;
    failure
}
