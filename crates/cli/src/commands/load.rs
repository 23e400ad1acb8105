//! `xbuild load`: brings the images of an archive into the store.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;

use xbuild_build::{Events, Shelf};
use xbuild_wording::hints;

use crate::console::Console;
use crate::environment;
use crate::report::{Problem, printable};
use crate::store_args::StoreArgs;

/// The arguments of `xbuild load`.
#[derive(Debug, clap::Args)]
pub(crate) struct LoadArgs {
    /// An archive of docker save or podman save, an OCI layout as a tar file or folder; - for
    /// standard input. Compressed with gzip, zstd, xz, bzip2 or not at all [default: standard input]
    #[arg(short, long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print only the names, or the digests of images without one
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Loads the archive and prints the names of its images.
pub(crate) fn run(args: &LoadArgs, console: &Arc<Console>) -> Result<(), Problem> {
    let machine = environment::machine(args.store.root.as_deref())?;
    let path = args.input.as_deref().filter(|path| path.as_os_str() != "-");
    if path.is_none() && io::stdin().is_terminal() {
        return Err(Problem::command_line(
            "no archive comes from a terminal: name a file with --input, or pipe one in",
        ));
    }
    let shelf = Shelf::open(&machine, &(Arc::clone(console) as Arc<dyn Events>))?;
    let loaded = shelf.load(path, &mut io::stdin())?;
    let mut text = String::new();
    for image in loaded {
        let digest = &image.target.digest;
        let _ = match (&image.names[..], args.quiet) {
            ([], true) => writeln!(text, "{digest}"),
            ([], false) => {
                writeln!(text, "loaded {digest}, without a name: {}", hints::name_it(digest))
            }
            (names, quiet) => names.iter().try_for_each(|name| match quiet {
                true => writeln!(text, "{name}"),
                false => writeln!(text, "loaded {name}: {digest}"),
            }),
        };
    }
    console.result(printable(&text).as_bytes())
}
