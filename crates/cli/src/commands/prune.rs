//! `xbuild prune`: removes cached results.

use xbuild_build::wiring;
use xbuild_store::{Store, StoreError};

use super::du;
use crate::arguments::StoreArgs;
use crate::environment;
use crate::report::{self, Problem};

/// The arguments of `xbuild prune`.
#[derive(Debug, clap::Args)]
pub(crate) struct PruneArgs {
    /// Remove the images in the store too
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Removes what no image needs (cache mounts too), or everything.
pub(crate) fn run(args: &PruneArgs) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let failed = |error: StoreError| Problem::store(&error);
    let store = Store::open(machine.store_root()?).map_err(failed)?;
    let total = |store: &Store| store.usage().iter().map(|usage| usage.bytes).sum::<u64>();
    let before = total(&store);
    let leftovers = store.prune(args.all).map_err(failed)?;
    let freed = before.saturating_sub(total(&store));
    wiring::remove_leftovers(&machine, &leftovers)?;
    report::to_stdout(format!("removed {}\n", du::size(freed)).as_bytes())
}
