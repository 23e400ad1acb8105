//! Files of results: whole or not there.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file of a result, or standard output, cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutputError {
    /// A file could not be written.
    #[error("cannot write {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// Standard output could not be written.
    #[error("cannot write output: {error}")]
    Stdout {
        /// The reason.
        #[source]
        error: io::Error,
    },
}

/// Returns whether an output is standard output, a pipe or a device.
pub(crate) fn is_stream(path: Option<&Path>) -> bool {
    path.is_none_or(|path| std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()))
}

/// Writes to a file, which gets its name when it is complete; without a path to `stdout`.
pub(crate) fn to_file<E: From<OutputError>>(
    path: Option<&Path>,
    stdout: &mut dyn Write,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let Some(path) = path else {
        let mut out = BufWriter::new(stdout);
        write(&mut out)?;
        return out.flush().map_err(|error| OutputError::Stdout { error }.into());
    };
    let failed = |error: io::Error| E::from(OutputError::File { path: path.to_owned(), error });
    if is_stream(Some(path)) {
        // A pipe or a device cannot be replaced.
        let mut out = BufWriter::new(File::options().write(true).open(path).map_err(failed)?);
        write(&mut out)?;
        return out.flush().map_err(failed);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = Path::new(&name);
    let mut out = BufWriter::new(File::create(partial).map_err(failed)?);
    let written = write(&mut out).and_then(|()| out.flush().map_err(failed));
    let published = written.and_then(|()| std::fs::rename(partial, path).map_err(failed));
    published.inspect_err(|_| {
        // The error of the write matters more.
        let _ = std::fs::remove_file(partial);
    })
}
