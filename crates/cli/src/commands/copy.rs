//! `xbuild copy`: copies images between the store, registries, layouts and archives.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::sync::Arc;

use xbuild_build::{Events, ImagePlace, Shelf};

use crate::console::Console;
use crate::platform_args::PlatformArgs;
use crate::progress::Progress;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;
use crate::traces::traced;

/// The arguments of `xbuild copy`.
#[derive(Debug, clap::Args)]
pub(crate) struct CopyArgs {
    /// NAME of the store, docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG] or
    /// docker-archive:FILE[:NAME]
    #[arg(value_name = "FROM")]
    from: String,
    /// A place of one of these kinds
    #[arg(value_name = "TO")]
    to: String,
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

/// Copies the image with all its platforms, or those asked for.
pub(crate) fn run(args: &CopyArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let (from, to) = (ImagePlace::parse(&args.from)?, ImagePlace::parse(&args.to)?);
    let machine = args.registries.machine(args.store.root.as_deref())?;
    let platforms = args.platforms.given()?;
    let progress = Progress::of_transfers(console, args.quiet);
    let work = || {
        let shelf = Shelf::open(&machine, &(Arc::clone(&progress) as Arc<dyn Events>))?;
        Ok(shelf.copy(&from, &to, &platforms)?)
    };
    let names = [printable(&to.to_string())];
    let digest = traced(("xbuild copy", &names), (console, &machine.proxies), &progress, work)?;
    let text = match args.quiet {
        true => format!("{digest}\n"),
        false => format!("copied {from} to {to}: {digest}\n"),
    };
    console.result(printable(&text).as_bytes())
}
