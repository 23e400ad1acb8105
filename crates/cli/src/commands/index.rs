//! `xbuild index`: indexes made of images that exist, and changed, where they are.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::sync::Arc;

use clap::Subcommand;
use xbuild_build::IndexChange;

use super::index_edit::{ChangeArgs, MakeArgs, change, place};
use super::index_inspect::InspectArgs;
use crate::console::Console;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;

/// The arguments of `xbuild index`.
#[derive(Debug, clap::Args)]
pub(crate) struct IndexArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an index of images that exist, in any registries or OCI layouts
    Create(CreateArgs),
    /// Change platform and annotations of an entry, or annotations of the index
    Annotate(AnnotateArgs),
    /// Remove entries of an index, with their attestations
    Rm(RmArgs),
    /// Show an index
    Inspect(InspectArgs),
    /// Push an index of the store
    Push(super::push::PushArgs),
}

/// The arguments of `xbuild index create`.
#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// The index: a name in a registry, or oci-layout://DIR[:TAG]
    #[arg(value_name = "NAME")]
    name: String,
    /// Images and indexes: names, digests in the repository of NAME, oci-layout://DIR[:TAG][@DIGEST],
    /// descriptors as JSON, and files .json that builds wrote with --metadata-file
    #[arg(value_name = "SRC", required_unless_present = "file")]
    sources: Vec<String>,
    /// Another name of the index (repeatable)
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// Keep the index in the store, to annotate and push it later
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    make: MakeArgs,
}

/// The arguments of `xbuild index annotate`.
#[derive(Debug, clap::Args)]
struct AnnotateArgs {
    /// The index: a name in a registry, or oci-layout://DIR[:TAG]
    #[arg(value_name = "NAME")]
    name: String,
    /// The entry: a digest, a platform, or the name of an image
    #[arg(value_name = "ENTRY")]
    entry: Option<String>,
    /// The index is one of the store
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    change: ChangeArgs,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// The arguments of `xbuild index rm`.
#[derive(Debug, clap::Args)]
struct RmArgs {
    /// The index: a name in a registry, or oci-layout://DIR[:TAG]
    #[arg(value_name = "NAME")]
    name: String,
    /// The entries: digests, platforms, or names of images
    #[arg(value_name = "ENTRY", required = true)]
    entries: Vec<String>,
    /// The index is one of the store
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

/// Does what the arguments say.
pub(crate) fn run(args: &IndexArgs, console: &Arc<Console>) -> Result<(), Problem> {
    match &args.action {
        Action::Create(args) => {
            let names: Vec<&String> = std::iter::once(&args.name).chain(&args.tag).collect();
            let places = names.into_iter().map(|name| place(name, args.local));
            args.make.run(places.collect::<Result<_, _>>()?, &args.sources, console)
        }
        Action::Annotate(args) => {
            let machine = args.registries.machine(args.store.root.as_deref())?;
            let changes = args.change.changes(args.entry.as_deref())?;
            change(&machine, &place(&args.name, args.local)?, &changes, console)
        }
        Action::Rm(args) => {
            let machine = args.registries.machine(args.store.root.as_deref())?;
            let changes = [IndexChange::Remove(args.entries.clone())];
            change(&machine, &place(&args.name, args.local)?, &changes, console)
        }
        Action::Inspect(args) => args.run(console),
        Action::Push(args) => super::push::run(args, console),
    }
}
