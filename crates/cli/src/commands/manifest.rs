//! `xbuild manifest`: the spellings of `docker manifest`, with lists in the store until they are pushed.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};
use xbuild_build::request::Annotations;
use xbuild_build::{Events, IndexChange, IndexPlace, IndexRequest, Machine, Shelf};
use xbuild_image::Inspection;
use xbuild_model::Reference;
use xbuild_model::manifest::DOCKER_MANIFEST;
use xbuild_wording::hints;

use super::index_edit::{self, ChangeArgs};
use crate::console::Console;
use crate::progress::Progress;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;
use crate::values::names;

/// The arguments of `xbuild manifest`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManifestArgs {
    #[command(subcommand)]
    action: Action,
}

/// Options of all actions.
#[derive(Debug, clap::Args)]
struct Common {
    /// The registries of the names need no certificate, nor TLS
    #[arg(long)]
    insecure: bool,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a list of images, or an empty one to add to; the store keeps it
    Create {
        /// The name of the list
        list: String,
        /// Images
        #[arg(value_name = "MANIFEST")]
        manifests: Vec<String>,
        /// Take all images of an index, which is done anyway
        #[arg(long)]
        all: bool,
        /// Add to a list that exists
        #[arg(short, long)]
        amend: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Add images to a list
    Add {
        /// The name of the list
        list: String,
        /// Images; of an index the one for this machine, or for --os, --arch and --variant
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<String>,
        /// Add all images of an index
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Remove images from a list, with their attestations
    Remove {
        /// The name of the list
        list: String,
        /// The entries: digests, platforms, or names of images
        #[arg(value_name = "ENTRY", required = true)]
        entries: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// End with status 0 if the store has a list, else with 1
    Exists {
        /// The name of the list
        list: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Change platform and annotations of an entry of a list
    Annotate {
        /// The name of the list
        list: String,
        /// The entry: the name of its image, a digest, or a platform
        manifest: String,
        #[command(flatten)]
        change: ChangeArgs,
        #[command(flatten)]
        common: Common,
    },
    /// Print a list, or the manifest of an image
    Inspect {
        /// The name of a list that has the image, if two names are given, and the image or list
        #[arg(value_name = "[LIST] MANIFEST", num_args = 1..=2, required = true)]
        names: Vec<String>,
        /// Print all manifests with their names
        #[arg(short, long)]
        verbose: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Push a list, with the images that its repository lacks
    Push {
        /// The name of the list
        list: String,
        /// The name in the registry [default: that of the list]
        destination: Option<String>,
        /// Forget the list afterwards
        #[arg(short, long, alias = "rm")]
        purge: bool,
        /// Push all images of the list, which is done anyway
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Forget lists
    Rm {
        /// The names of the lists
        #[arg(value_name = "LIST", required = true)]
        lists: Vec<String>,
        #[command(flatten)]
        store: StoreArgs,
    },
}

impl Common {
    /// Returns the machine, for commands with these names.
    fn machine<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<Machine, Problem> {
        let mut machine = self.registries.machine(self.store.root.as_deref())?;
        let hosts = names.into_iter().filter_map(|name| name.parse::<Reference>().ok());
        let hosts = hosts.map(|name| name.registry().to_owned()).filter(|_| self.insecure);
        machine.insecure_registries.extend(hosts);
        Ok(machine)
    }
}

/// Does what the arguments say.
pub(crate) fn run(args: &ManifestArgs, console: &Arc<Console>) -> Result<(), Problem> {
    match &args.action {
        Action::Create { list, manifests, all: _, amend, common } => {
            let machine = common.machine(manifests.iter().chain([list]))?;
            create(&machine, list, manifests, *amend, console)
        }
        Action::Add { list, images, all, change, common } => {
            let change = change.of_new_entry()?;
            let place = index_edit::place(list, true)?;
            let machine = common.machine(images.iter().chain([list]))?;
            let shelf = Shelf::open(&machine, &Progress::events(console, false))?;
            let made = shelf.add_to_index(&place, images, *all, &change)?;
            console.result(format!("{}: {}\n", list, made.descriptor.digest).as_bytes())
        }
        Action::Remove { list, entries, common } => {
            let changes = [IndexChange::Remove(entries.clone())];
            annotate(&common.machine(entries.iter().chain([list]))?, list, &changes, console)
        }
        Action::Exists { list, store } => exists(list, store, console),
        Action::Annotate { list, manifest, change, common } => {
            let changes = change.changes(Some(manifest))?;
            let machine = common.machine([list, manifest])?;
            annotate(&machine, list, &changes, console)
        }
        Action::Inspect { names, verbose, common } => {
            inspect(&common.machine(names)?, names, *verbose, console)
        }
        Action::Push { list, destination, purge, all: _, common } => {
            let machine = common.machine(destination.iter().chain([list]))?;
            let bare = |name: &String| name.strip_prefix("docker://").unwrap_or(name).to_owned();
            let target = names::references(&destination.iter().map(bare).collect::<Vec<_>>())?;
            let shelf = Shelf::with_image(&machine, &Progress::events(console, false), list)?;
            let (_, digest) = shelf.push(list, target.first(), &[])?;
            if *purge {
                shelf.remove(list)?;
            }
            console.result(format!("{digest}\n").as_bytes())
        }
        Action::Rm { lists, store } => super::rmi::forget(lists, store, console),
    }
}

fn create(
    machine: &Machine,
    list: &str,
    manifests: &[String],
    amend: bool,
    console: &Arc<Console>,
) -> Result<(), Problem> {
    let place = index_edit::place(list, true)?;
    let shelf = Shelf::open(machine, &Progress::events(console, false))?;
    let is_there = match &place {
        IndexPlace::Stored(name) => shelf.has(name)?,
        _ => false,
    };
    if is_there && !amend {
        let message = format!("the store has an image {list} already");
        return Err(Problem::input(message).with_hint(hints::amend_or_forget()));
    }
    if let (IndexPlace::Stored(name), true) = (&place, manifests.is_empty()) {
        if !is_there {
            shelf.create_list(name)?;
        }
        return console.result(format!("Created manifest list {list}\n").as_bytes());
    }
    let request = IndexRequest {
        places: vec![place],
        sources: manifests.to_vec(),
        files: Vec::new(),
        append: is_there,
        platforms: Vec::new(),
        annotations: Annotations::default(),
        prefer_index: true,
    };
    shelf.create_index(&request, false)?;
    console.result(format!("Created manifest list {list}\n").as_bytes())
}

fn exists(list: &str, store: &StoreArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = crate::environment::machine(store.root.as_deref())?;
    let shelf = Shelf::existing_store(&machine, &(Arc::clone(console) as Arc<dyn Events>))?;
    match (index_edit::place(list, true)?, shelf) {
        (IndexPlace::Stored(name), Some(shelf)) if shelf.has(&name)? => Ok(()),
        _ => Err(Problem::input(format!("the store has no list {list}"))),
    }
}

fn annotate(
    machine: &Machine,
    list: &str,
    changes: &[IndexChange],
    console: &Arc<Console>,
) -> Result<(), Problem> {
    index_edit::change(machine, &index_edit::place(list, true)?, changes, console)
}

fn inspect(
    machine: &Machine,
    names: &[String],
    verbose: bool,
    console: &Arc<Console>,
) -> Result<(), Problem> {
    let events = Arc::clone(console) as Arc<dyn Events>;
    // Of two names the second one is an image, wherever it is listed.
    let name = names.last().map(String::as_str).unwrap_or_default();
    let found = xbuild_build::inspect(machine, name, None, &events)?;
    match verbose {
        false => console.result(&[&found.bytes[..], b"\n"].concat()),
        true => console.result(format!("{:#}\n", every(&found, name)).as_bytes()),
    }
}

/// Returns all manifests. **Source** — `docker manifest inspect` reference, § --verbose.
fn every(found: &Inspection, name: &str) -> Value {
    let bare = name.split('@').next().unwrap_or(name);
    let each = found.images.iter().map(|image| {
        let member = match image.descriptor.media_type.as_str() {
            DOCKER_MANIFEST => "SchemaV2Manifest",
            _ => "OCIManifest",
        };
        json!({
            "Ref": format!("{bare}@{}", image.descriptor.digest),
            "Descriptor": image.descriptor,
            member: image.manifest,
        })
    });
    let mut each: Vec<Value> = each.collect();
    if found.index.is_none() && each.len() == 1 { each.remove(0) } else { Value::Array(each) }
}
