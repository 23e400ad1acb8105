//! The entries of the store's folders.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::StoreError;

/// The folder of cache folders, below the store's.
pub(crate) const CACHE_MOUNTS: &str = "cache-mounts";

/// A cache folder itself, in its home.
pub(crate) const CACHE_CONTENT: &str = "fs";

/// The hexadecimal digits of a digest.
const DIGEST: usize = 64;

/// The folder of blobs, below the store's.
pub(crate) const BLOBS: &str = "blobs/sha256";

/// Returns the entries of a folder in the order of their names; none if it cannot be read.
pub(crate) fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut list: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    list.sort();
    list
}

/// Returns the entries of a folder in the order of their names; none if there is no folder. What is listed
/// to stay must be whole.
pub(crate) fn all_children(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = || StoreError::io("list", folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed())?,
    };
    let mut list = Vec::new();
    for entry in entries {
        list.push(entry.map_err(failed())?.path());
    }
    list.sort();
    Ok(list)
}

/// Opens a file to read it; `None` if there is none. What is no file counts as missing: it is replaced, and
/// a pipe must not hold up the build.
pub(crate) fn open_file(path: &Path) -> Result<Option<File>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::open(path, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(None),
        file => File::from(file.map_err(|errno| StoreError::io("open", path)(errno.into()))?),
    };
    let is_file = file.metadata().map_err(StoreError::io("look at", path))?.is_file();
    Ok(is_file.then_some(file))
}

/// Gives a new file its name. A folder that somebody has put there goes with the session of the file.
pub(crate) fn replace(temp: &Path, path: &Path) -> io::Result<()> {
    match fs::rename(temp, path) {
        Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
            let mut aside = temp.as_os_str().to_owned();
            aside.push(".aside");
            fs::rename(path, aside)?;
            fs::rename(temp, path)
        }
        renamed => renamed,
    }
}

/// Returns whether the store gives names like this one: `HEX`, `HEX.ENCODING` or `HEX-N`.
pub(crate) fn is_key(name: &str) -> bool {
    let (key, rest) = name.split_at_checked(64).unwrap_or((name, ""));
    let is_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    key.len() == 64 && key.bytes().all(is_hex) && (rest.is_empty() || rest.starts_with(['.', '-']))
}

/// Returns the name of an entry.
pub(crate) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the digest in the name of an entry, as hexadecimal digits.
pub(crate) fn key_of(path: &Path) -> String {
    let name = file_name(path);
    name.get(..DIGEST).unwrap_or(&name).to_owned()
}
