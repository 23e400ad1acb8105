//! `xbuild inspect`: the documents of an image or image index.
#![allow(rustdoc::broken_intra_doc_links, reason = "brackets in help mark what is optional")]

use std::fmt::Write as _;
use std::sync::Arc;

use clap::ValueEnum;
use serde_json::{Value, json};
use xbuild_build::{Events, Shelf};
use xbuild_image::{InspectedImage, Inspection};
use xbuild_model::{Descriptor, Platform};

use super::du::size;
use crate::console::Console;
use crate::registry_args::RegistryArgs;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;

/// The arguments of `xbuild inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// An image: of the store, else of a registry; docker://NAME for a registry alone;
    /// oci-layout://DIR[:TAG][@DIGEST]
    #[arg(value_name = "IMAGE")]
    image: String,
    /// Take the image of the store only if it is for this platform, and show only this platform
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Print the manifest or index as it is, byte for byte
    #[arg(long, conflicts_with = "format")]
    raw: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Prints the documents of an image, without reading its layers.
pub(crate) fn run(args: &InspectArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let events = Arc::clone(console) as Arc<dyn Events>;
    let machine = args.registries.machine(args.store.root.as_deref())?;
    let wanted = args.platform.as_ref();
    let shelf = Shelf::existing_store(&machine, &events)?;
    let known = shelf.and_then(|shelf| shelf.name_of_id(&args.image));
    let name = known.map_or_else(|| args.image.clone(), |(name, _)| name.to_string());
    let mut inspection = xbuild_build::inspect(&machine, &name, wanted, &events)?;
    if args.raw {
        return console.result(&inspection.bytes);
    }
    if let Some(wanted) = wanted {
        let accepted = wanted.accepted();
        inspection
            .images
            .retain(|image| image.platform().is_some_and(|platform| accepted.contains(&platform)));
    }
    let text = match args.format {
        Format::Text => text(&inspection),
        Format::Json => format!("{:#}\n", json(&inspection)),
    };
    console.result(text.as_bytes())
}

fn platform(image: &InspectedImage) -> String {
    image.platform().map_or_else(|| "no platform".to_owned(), |platform| platform.to_string())
}

fn text(inspection: &Inspection) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<9} {}", "name:", inspection.name);
    let kind = if inspection.index.is_some() { "index:" } else { "manifest:" };
    let _ = writeln!(text, "{kind:<9} {}", inspection.root.digest);
    let _ = writeln!(text, "{:<9} {}", "type:", inspection.root.media_type);
    for image in &inspection.images {
        let _ = writeln!(text, "\n{}", platform(image));
        let _ = writeln!(
            text,
            "  manifest {} {}",
            image.descriptor.digest,
            size(image.descriptor.size)
        );
        let _ = writeln!(text, "  config   {}", image.manifest.config.digest);
        for layer in &image.manifest.layers {
            let _ = writeln!(text, "  layer    {} {}", layer.digest, size(layer.size));
        }
        let Some(config) = image.config.as_ref().map(|config| &config.config) else { continue };
        for (name, value) in [("entry", &config.entrypoint), ("cmd", &config.cmd)] {
            if let Some(value) = value {
                let _ = writeln!(text, "  {name:<8} {}", Value::from(value.clone()));
            }
        }
    }
    for entry in &inspection.unread {
        let _ = writeln!(text, "\nmissing, or no manifest of an image: {}", entry.digest);
    }
    printable(&text)
}

fn json(inspection: &Inspection) -> Value {
    let images = inspection.images.iter().map(|image| {
        json!({
            "platform": platform(image),
            "descriptor": image.descriptor,
            "manifest": image.manifest,
            "config": image.config,
        })
    });
    json!({
        "name": inspection.name,
        "descriptor": descriptor(&inspection.root),
        "index": inspection.index,
        "images": images.collect::<Vec<_>>(),
        "unread": inspection.unread,
    })
}

fn descriptor(descriptor: &Descriptor) -> Value {
    json!({
        "mediaType": descriptor.media_type,
        "digest": descriptor.digest,
        "size": descriptor.size,
    })
}
