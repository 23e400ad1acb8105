//! `xbuild save`: writes images of the store as an archive.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use xbuild_build::{ArchiveForm, Events, Shelf};

use crate::console::Console;
use crate::platform_args::PlatformArgs;
use crate::registry_args::RegistryArgs;
use crate::report::Problem;
use crate::store_args::StoreArgs;

/// The arguments of `xbuild save`.
#[derive(Debug, clap::Args)]
pub(crate) struct SaveArgs {
    /// Images: names, digests, or at least 7 digits of one
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    /// The archive, - for standard output [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The form: an OCI layout; or one that is an archive of docker save, too, which holds one
    /// platform [default: docker if each image has one platform]
    #[arg(
        long,
        value_enum,
        value_name = "oci|docker",
        hide_possible_values = true,
        hide_default_value = true
    )]
    format: Option<Format>,
    #[command(flatten)]
    platforms: PlatformArgs,
    #[command(flatten)]
    registries: RegistryArgs,
    #[command(flatten)]
    store: StoreArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// An OCI layout
    #[value(alias = "oci-archive")]
    Oci,
    /// An OCI layout and an archive of docker save
    #[value(alias = "docker-archive")]
    Docker,
}

/// Writes the archive.
pub(crate) fn run(args: &SaveArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = args.registries.machine(args.store.root.as_deref())?;
    let path = args.output.as_deref().filter(|path| path.as_os_str() != "-");
    if path.is_none() && io::stdout().is_terminal() {
        return Err(Problem::command_line(
            "an archive does not go to a terminal: name a file with --output",
        ));
    }
    let form = args.format.map(|format| match format {
        Format::Oci => ArchiveForm::Oci,
        Format::Docker => ArchiveForm::Docker,
    });
    let events = Arc::clone(console) as Arc<dyn Events>;
    let first = args.images.first().map(String::as_str).unwrap_or_default();
    let shelf = Shelf::with_image(&machine, &events, first)?;
    let out = (path, &mut io::stdout().lock() as &mut dyn io::Write);
    Ok(shelf.save(&args.images, &args.platforms.given()?, form, out)?)
}
