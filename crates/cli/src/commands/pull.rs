//! `xbuild pull`: brings an image from a registry into the store.

use std::sync::Arc;

use xbuild_build::{Events, Shelf};

use crate::console::Console;
use crate::platform_args::PlatformArgs;
use crate::progress::Progress;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;
use crate::traces::traced;
use crate::values::names::references;

/// The arguments of `xbuild pull`.
#[derive(Debug, clap::Args)]
#[command(mut_arg("platform", |arg| arg.env("DOCKER_DEFAULT_PLATFORM").hide_env_values(true)))]
pub(crate) struct PullArgs {
    /// The image
    #[arg(value_name = "NAME[:TAG]")]
    name: String,
    /// Print only the digest
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    platforms: PlatformArgs,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// Pulls the image for this machine's platform, or for those asked for.
pub(crate) fn run(args: &PullArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = args.registries.machine(args.store.root.as_deref())?;
    let name = args.name.strip_prefix("docker://").unwrap_or(&args.name).to_owned();
    let name = references(&[name])?.remove(0);
    let platforms = args.platforms.or_host()?;
    let progress = Progress::of_transfers(console, args.quiet);
    let names = [name.to_string()];
    let work = || {
        let shelf = Shelf::open(&machine, &(Arc::clone(&progress) as Arc<dyn Events>))?;
        Ok(shelf.pull(&name, &platforms)?)
    };
    let digest = traced(("xbuild pull", &names), (console, &machine.proxies), &progress, work)?;
    let text = match args.quiet {
        true => format!("{digest}\n"),
        false => format!("pulled {name}: {digest}\n"),
    };
    console.result(text.as_bytes())
}
