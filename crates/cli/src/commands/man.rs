//! `xbuild man`: manual pages of all commands.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_mangen::Man;

use crate::report::Problem;

/// The arguments of `xbuild man`.
#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The folder that the pages are written to
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes a page for each command; `definition` is that of the command line.
pub(crate) fn run(args: &ManArgs, definition: Command) -> Result<(), Problem> {
    let folder = &args.folder;
    fs::create_dir_all(folder).map_err(|error| Problem::file("make", folder, &error))?;
    let mut definition = definition.disable_help_subcommand(true);
    definition.build();
    pages(&definition, folder)
}

fn pages(command: &Command, folder: &Path) -> Result<(), Problem> {
    let mut visible = command.get_subcommands().filter(|command| !command.is_hide_set());
    visible.try_for_each(|command| pages(command, folder))?;
    let man = Man::new(command.clone()).manual("xbuild").source(env!("CARGO_PKG_VERSION"));
    let mut page = Vec::new();
    let path = folder.join(man.get_filename());
    man.render(&mut page)
        .and_then(|()| File::create(&path)?.write_all(&page))
        .map_err(|error| Problem::file("write", &path, &error))
}
