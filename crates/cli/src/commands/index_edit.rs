//! Making and changing indexes: what the spellings of `xbuild index`, `docker buildx imagetools` and
//! `docker manifest` share.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::ArgAction;
use serde_json::json;
use xbuild_build::request::Annotations;
use xbuild_build::{IndexChange, IndexMade, IndexPlace, IndexRequest, Machine, Shelf};
use xbuild_image::EntryChange;
use xbuild_wording::{hints, quoted};

use crate::console::Console;
use crate::platform_args::PlatformArgs;
use crate::progress::Progress;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;
use crate::values::{annotation, names};

/// What all ways to make an index share.
#[derive(Debug, clap::Args)]
pub(super) struct MakeArgs {
    /// Add the sources to what the index has; an image takes the place of one for its platform
    #[arg(long)]
    append: bool,
    /// Print the index instead of pushing it
    #[arg(long)]
    dry_run: bool,
    /// Set an annotation: [index:]NAME=VALUE, manifest-descriptor[[PLATFORM]]:NAME=VALUE (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// A file with sources: one in a line, a descriptor, or the metadata of a build (repeatable)
    #[arg(short, long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Make an index of a single manifest, instead of copying it
    #[arg(long, action = ArgAction::Set, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    prefer_index: bool,
    /// Write the digest to a JSON file
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
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

/// A change of an entry, spelled as docker and buildah spell it.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub(super) struct ChangeArgs {
    /// The architecture of the entry
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    /// The operating system of the entry
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// The variant of the architecture; empty for none
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
    /// The version of the operating system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// Features of the operating system (comma list, repeatable)
    #[arg(long, value_name = "FEATURE", value_delimiter = ',')]
    os_features: Vec<String>,
    /// An annotation of the entry; with index: before it, or without an entry, of the index
    /// (repeatable)
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
}

impl MakeArgs {
    /// Makes an index of sources and brings it to places.
    pub(super) fn run(
        &self,
        places: Vec<IndexPlace>,
        sources: &[String],
        console: &Arc<Console>,
    ) -> Result<(), Problem> {
        if places.is_empty() && (!self.dry_run || self.append) {
            return Err(Problem::command_line("a name for the index is missing: --tag NAME"));
        }
        let request = IndexRequest {
            places,
            sources: sources.to_vec(),
            files: self.file.clone(),
            append: self.append,
            platforms: self.platforms.given()?,
            annotations: annotations(&self.annotation)?,
            prefer_index: self.prefer_index,
        };
        let machine = self.registries.machine(self.store.root.as_deref())?;
        let shelf = Shelf::open(&machine, &Progress::events(console, self.quiet))?;
        let made = shelf.create_index(&request, self.dry_run)?;
        if let Some(path) = &self.metadata_file {
            metadata(path, &made, &request.places)?;
        }
        match (self.dry_run, self.quiet) {
            (true, _) => console.result(&[&made.bytes[..], b"\n"].concat()),
            (_, true) => console.result(format!("{}\n", made.descriptor.digest).as_bytes()),
            _ => console.result(said(&made, &request.places).as_bytes()),
        }
    }
}

impl ChangeArgs {
    /// Returns the change of an entry that is added.
    pub(super) fn of_new_entry(&self) -> Result<EntryChange, Problem> {
        if let Some(text) = self.annotation.iter().find(|text| text.starts_with("index:")) {
            return Err(Problem::command_line(format!(
                "--annotation {text}: the entry is annotated; index annotate does it for the index"
            )));
        }
        let is_set = *self != Self::default();
        let changes = if is_set { self.changes(Some(""))? } else { Vec::new() };
        match changes.into_iter().next() {
            Some(IndexChange::Entry(_, change)) => Ok(change),
            _ => Ok(EntryChange::default()),
        }
    }

    /// Returns the changes of an entry, or of the index without one.
    pub(super) fn changes(&self, entry: Option<&str>) -> Result<Vec<IndexChange>, Problem> {
        let (own, of_index): (Vec<&String>, Vec<&String>) =
            self.annotation.iter().partition(|text| entry.is_some() && !text.starts_with("index:"));
        let pairs = |texts: Vec<&String>| {
            let pair = |text: &String| {
                let bare = text.strip_prefix("index:").unwrap_or(text);
                match bare.split_once('=') {
                    Some((name, value)) if !name.is_empty() => {
                        Ok((name.to_owned(), value.to_owned()))
                    }
                    _ => Err(Problem::command_line(format!(
                        "invalid --annotation {text}: expected NAME=VALUE",
                        text = quoted(&text)
                    ))),
                }
            };
            texts.into_iter().map(pair).collect::<Result<_, _>>()
        };
        let change = EntryChange {
            os: self.os.clone(),
            architecture: self.arch.clone(),
            variant: self.variant.clone(),
            os_version: self.os_version.clone(),
            os_features: self.os_features.clone(),
            annotations: pairs(own)?,
        };
        let mut changes = Vec::new();
        match entry {
            Some(entry) if change != EntryChange::default() => {
                changes.push(IndexChange::Entry(entry.to_owned(), change));
            }
            None if change != EntryChange::default() => {
                let missing = "a platform is that of an entry: name the entry after the index";
                return Err(Problem::command_line(missing));
            }
            _ => {}
        }
        if !of_index.is_empty() {
            changes.push(IndexChange::Annotate(pairs(of_index)?));
        }
        if changes.is_empty() {
            return Err(Problem::command_line("there is nothing to change: no option says what"));
        }
        Ok(changes)
    }
}

/// Reads a place of an index.
pub(super) fn place(text: &str, is_local: bool) -> Result<IndexPlace, Problem> {
    if let Some(rest) = text.strip_prefix("oci-layout://") {
        if is_local {
            return Err(Problem::command_line(
                "--local is for names of the store, not for layouts",
            ));
        }
        let (path, tag) = xbuild_build::layout_tag(rest);
        return Ok(IndexPlace::Layout(PathBuf::from(path), tag.map(str::to_owned)));
    }
    let bare = text.strip_prefix("docker://").unwrap_or(text).to_owned();
    let name = names::references(&[bare])?.remove(0);
    Ok(if is_local { IndexPlace::Stored(name) } else { IndexPlace::Registry(name) })
}

/// Changes an index, and says what became of it.
pub(super) fn change(
    machine: &Machine,
    place: &IndexPlace,
    changes: &[IndexChange],
    console: &Arc<Console>,
) -> Result<(), Problem> {
    let shelf = Shelf::open(machine, &Progress::events(console, false))?;
    let made = shelf.change_index(place, changes)?;
    console.result(said(&made, std::slice::from_ref(place)).as_bytes())
}

/// Reads annotations: those without a type are for the index.
fn annotations(texts: &[String]) -> Result<Annotations, Problem> {
    let found = annotation::parse_as("index", texts)?;
    if let Some(annotation) = found.manifests.first() {
        return Err(Problem::command_line(format!(
            "--annotation {}: manifests are not rewritten, so their digests stay",
            annotation.name
        ))
        .with_hint(hints::annotate_descriptor()));
    }
    if !found.index_descriptor.is_empty() {
        return Err(Problem::command_line(
            "--annotation index-descriptor: an index of a registry has no descriptor",
        ));
    }
    Ok(found)
}

fn said(made: &IndexMade, places: &[IndexPlace]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<16} {}", "index", made.descriptor.digest);
    for place in places {
        let (what, name) = match place {
            IndexPlace::Registry(name) => ("pushed", name.to_string()),
            IndexPlace::Stored(name) => ("named", name.to_string()),
            IndexPlace::Layout(path, tag) => {
                let tag = tag.as_ref().map(|tag| format!(":{tag}")).unwrap_or_default();
                ("written", format!("oci-layout://{}{tag}", path.display()))
            }
        };
        let _ = writeln!(text, "{what:<16} {name}");
    }
    printable(&text)
}

/// Writes the members that buildx writes.
fn metadata(path: &Path, made: &IndexMade, places: &[IndexPlace]) -> Result<(), Problem> {
    let names = places.iter().filter_map(|place| match place {
        IndexPlace::Registry(name) | IndexPlace::Stored(name) => Some(name.to_string()),
        IndexPlace::Layout(..) => None,
    });
    let descriptor = &made.descriptor;
    let value = json!({
        "containerimage.digest": descriptor.digest,
        "containerimage.descriptor": descriptor,
        "image.name": names.collect::<Vec<_>>().join(","),
    });
    fs::write(path, format!("{value:#}\n")).map_err(|error| Problem::file("write", path, &error))
}
