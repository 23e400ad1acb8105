//! `xbuild push`: sends an image of the store to a registry, as it is.

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

/// The arguments of `xbuild push`.
#[derive(Debug, clap::Args)]
pub(crate) struct PushArgs {
    /// The image: a name, a digest, or at least 7 digits of one
    #[arg(value_name = "IMAGE")]
    source: String,
    /// The name in the registry [default: that of the image]
    #[arg(value_name = "NAME[:TAG]")]
    target: Option<String>,
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

/// Pushes the image with all its platforms, or those asked for.
pub(crate) fn run(args: &PushArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = args.registries.machine(args.store.root.as_deref())?;
    let bare = |target: &String| target.strip_prefix("docker://").unwrap_or(target).to_owned();
    let target = references(&args.target.iter().map(bare).collect::<Vec<_>>())?;
    let platforms = args.platforms.given()?;
    let progress = Progress::of_transfers(console, args.quiet);
    let names: Vec<String> = target.iter().map(ToString::to_string).collect();
    let names = if names.is_empty() { vec![args.source.clone()] } else { names };
    let work = || {
        let events = Arc::clone(&progress) as Arc<dyn Events>;
        let shelf = Shelf::with_image(&machine, &events, &args.source)?;
        Ok(shelf.push(&args.source, target.first(), &platforms)?)
    };
    let (target, digest) =
        traced(("xbuild push", &names), (console, &machine.proxies), &progress, work)?;
    let text = match args.quiet {
        true => format!("{digest}\n"),
        false => format!("pushed {target}: {digest}\n"),
    };
    console.result(text.as_bytes())
}
