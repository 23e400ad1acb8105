//! `xbuild images`: the images of the store.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use xbuild_build::{Events, ListedImage, Shelf};
use xbuild_store::NameOwner;

use super::du::{date, size};
use crate::console::Console;
use crate::environment;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;
use crate::values::table_format::TableFormat;

/// The arguments of `xbuild images`.
#[derive(Debug, clap::Args)]
pub(crate) struct ImagesArgs {
    /// Show only images with this name, without a tag those of all tags
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Show the whole digests
    #[arg(long)]
    digests: bool,
    /// Print only the digests, each once
    #[arg(short, long)]
    quiet: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "table")]
    format: TableFormat,
    #[command(flatten)]
    store: StoreArgs,
}

/// Prints the images of the store.
pub(crate) fn run(args: &ImagesArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let shelf = Shelf::existing_store(&machine, &(Arc::clone(console) as Arc<dyn Events>))?;
    let mut images = shelf.map(|shelf| shelf.list()).transpose()?.unwrap_or_default();
    if let Some(name) = &args.name {
        let wanted = wanted(name)?;
        images.retain(|image| wanted.contains(&image.name) || image.name.starts_with(&wanted[1]));
    }
    let text = match args.format {
        _ if args.quiet => digests(&images, args.digests),
        TableFormat::Table => table(&images, args.digests),
        TableFormat::Json => format!("{:#}\n", images.iter().map(json).collect::<Value>()),
    };
    console.result(text.as_bytes())
}

/// Returns the full name, and what begins the names of all tags if there is no tag.
fn wanted(name: &str) -> Result<[String; 2], Problem> {
    let reference: xbuild_model::Reference = name
        .parse()
        .map_err(|error: xbuild_model::ReferenceError| Problem::command_line(error.to_string()))?;
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    let full = reference.to_string();
    let all = format!("{}/{}:", reference.registry(), reference.repository());
    Ok([full.clone(), if has_tag { full } else { all }])
}

fn digests(images: &[ListedImage], whole: bool) -> String {
    let mut seen = Vec::new();
    let mut text = String::new();
    for image in images.iter().filter(|image| {
        let is_new = !seen.contains(&&image.digest);
        seen.push(&image.digest);
        is_new
    }) {
        let _ = match whole {
            true => writeln!(text, "{}", image.digest),
            false => writeln!(text, "{}", image.digest.short()),
        };
    }
    text
}

fn table(images: &[ListedImage], digests: bool) -> String {
    let rows = images.iter().map(|image| {
        let digest = match digests {
            true => image.digest.to_string(),
            false => image.digest.short().to_string(),
        };
        let platforms: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
        let name = printable(&image.name);
        [name, digest, date(image.named), size(image.size), platforms.join(",")]
    });
    let head = ["NAME", "DIGEST", "NAMED", "SIZE", "PLATFORMS"].map(str::to_owned);
    let rows: Vec<[String; 5]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..4).map(width).collect();
    let mut text = String::new();
    for [name, digest, named, size, platforms] in &rows {
        let [a, b, c, d] = [widths[0], widths[1], widths[2], widths[3]];
        let line = format!("{name:<a$}  {digest:<b$}  {named:<c$}  {size:>d$}  {platforms}");
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn json(image: &ListedImage) -> Value {
    let platforms: Vec<String> = image.platforms.iter().map(ToString::to_string).collect();
    json!({
        "name": image.name,
        "digest": image.digest,
        "platforms": platforms,
        "size": image.size,
        "named": date(image.named),
        "owner": match image.owner {
            NameOwner::Store => "store",
            NameOwner::Registry => "registry",
        },
    })
}
