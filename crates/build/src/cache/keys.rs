//! Files with keys, and names of scopes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xbuild_cache::{KeyError, Policy, PublicKey, Scope, Signer};

use crate::error::CacheOpenError;

/// Bytes that a file with keys may have.
const MAX_FILE: u64 = 1 << 20;

/// Returns the policy of readers that want one of the keys in these files.
pub(super) fn policy(cache: &str, files: &[PathBuf]) -> Result<Policy, CacheOpenError> {
    if files.is_empty() {
        return Ok(Policy::Any);
    }
    let mut keys = Vec::new();
    for file in files {
        keys.extend(key(cache, file, PublicKey::from_pem)?);
    }
    Ok(Policy::Signed(keys))
}

/// Returns the scope of a name.
pub(super) fn scope(cache: &str, name: &str) -> Result<Scope, CacheOpenError> {
    Scope::new(name).map_err(|source| {
        let (cache, name) = (cache.to_owned(), name.to_owned());
        CacheOpenError::Scope { cache, name, source }
    })
}

/// Returns the signer with the key in a file.
pub(super) fn signer(cache: &str, file: &Path) -> Result<Signer, CacheOpenError> {
    key(cache, file, Signer::from_pem)
}

fn key<T>(
    cache: &str,
    path: &Path,
    parse: impl FnOnce(&str) -> Result<T, KeyError>,
) -> Result<T, CacheOpenError> {
    let text = read(path).map_err(|source| CacheOpenError::KeyFile {
        cache: cache.to_owned(),
        path: path.to_owned(),
        source,
    })?;
    parse(&text).map_err(|source| CacheOpenError::Key {
        cache: cache.to_owned(),
        path: path.to_owned(),
        source,
    })
}

fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = io::Read::take(fs::File::open(path)?, MAX_FILE);
    io::Read::read_to_string(&mut io::BufReader::new(file), &mut text)?;
    Ok(text)
}
