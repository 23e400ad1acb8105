//! Files of results: whole or not there.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// The end of the name of a file that is not complete: `NAME.PID.partial`.
const PARTIAL: &str = ".partial";

/// Removes what builds that were ended have left of a file: nobody locks it.
fn sweep(path: &Path) {
    /// A build locks its file at once.
    const AT_LEAST: Duration = Duration::from_secs(10);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return };
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter().flatten();
    for entry in entries.flatten() {
        let found = entry.file_name();
        let process = found
            .to_str()
            .and_then(|found| found.strip_prefix(name)?.strip_prefix('.')?.strip_suffix(PARTIAL));
        let is_partial = process
            .is_some_and(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()));
        if !is_partial || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = File::open(entry.path()) else { continue };
        let modified = file.metadata().and_then(|meta| meta.modified());
        let is_old = modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age >= AT_LEAST));
        if is_old && file.try_lock().is_ok() {
            // Who may not remove it leaves it.
            let _ = std::fs::remove_file(entry.path());
        }
    }
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
    sweep(path);
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}{PARTIAL}", std::process::id()));
    let partial = Path::new(&name);
    let file = File::create(partial).map_err(failed)?;
    // Says that somebody writes it. A file system without locks has what a killed build leaves.
    let _ = file.try_lock();
    let mut out = BufWriter::new(file);
    let written = write(&mut out).and_then(|()| out.flush().map_err(failed));
    let published = written.and_then(|()| std::fs::rename(partial, path).map_err(failed));
    published.inspect_err(|_| {
        // The error of the write matters more.
        let _ = std::fs::remove_file(partial);
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn what_killed_builds_left_of_a_file_goes_with_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let old = SystemTime::now() - Duration::from_secs(3600);
        let make = |name: &str| {
            let file = File::create(folder.path().join(name)).unwrap();
            file.set_modified(old).unwrap();
            file
        };
        let written = make("a.tar.2.partial");
        written.lock().unwrap();
        for name in ["a.tar.1.partial", "a.tar.x.partial", "b.tar.1.partial"] {
            make(name);
        }
        File::create(folder.path().join("a.tar.3.partial")).unwrap();
        let write = |out: &mut dyn Write| -> Result<(), OutputError> {
            out.write_all(b"x").map_err(|error| OutputError::Stdout { error })
        };
        to_file(Some(&folder.path().join("a.tar")), &mut io::sink(), write).unwrap();
        let entries = std::fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let kept = ["a.tar", "a.tar.2.partial", "a.tar.3.partial", "a.tar.x.partial"];
        assert_eq!(names, [&kept[..], &["b.tar.1.partial"]].concat());
    }
}
