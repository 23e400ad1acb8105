//! `xbuild prune`: removes cached results.

use xbuild_build::error::OpenError;
use xbuild_store::Store;

use super::du;
use crate::console::Console;
use crate::environment;
use crate::report::Problem;
use crate::store_args::StoreArgs;

/// The arguments of `xbuild prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    /// Remove the images in the store too; installed emulators stay
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Removes everything that no image needs, cache mounts too, or the images as well.
pub(crate) fn run(args: &PruneArgs, console: &Console) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let store = xbuild_build::open_store(&machine)?;
    let total = |store: &Store| store.usage().iter().map(|usage| usage.bytes).sum::<u64>();
    let before = total(&store);
    let leftovers = store.prune(args.all).map_err(OpenError::from)?;
    let freed = before.saturating_sub(total(&store));
    xbuild_build::remove_leftovers(&machine, &leftovers)?;
    console.result(format!("removed {}\n", du::size(freed)).as_bytes())
}
