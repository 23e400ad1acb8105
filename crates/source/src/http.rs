//! Files of web servers.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tracing::debug_span;
use tracing::field::{Empty, display};
use xbuild_model::Digest;
use xbuild_model::remote::HttpSource;
use xbuild_registry::{DownloadRequest, Downloaded, Validators};
use xbuild_store::{Hashed, SourceRecord};

use crate::error::{FetchError, io as io_error};
use crate::login;
use crate::options::Tools;

/// The mode of downloaded files. **Source** — Dockerfile reference § ADD.
const MODE: u32 = 0o600;

/// Returns the folder with the file.
pub(crate) fn fetch(tools: &Tools, source: &HttpSource) -> Result<PathBuf, FetchError> {
    let HttpSource { url, user: _, name, checksum } = source;
    if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
        return Err(FetchError::Name { name: name.clone() });
    }
    let store = &tools.store;
    let wanted = checksum.as_ref().map(Digest::to_string).unwrap_or_default();
    let key = Digest::of(format!("http 1\n{name}\n{wanted}\n{url}").as_bytes());
    let record = store.source_record(&key)?;
    let known = record.as_ref().and_then(|record| store.source_folder(&record.folder));
    if let (Some(folder), Some(_)) = (&known, checksum) {
        // The checksum was compared when the file was downloaded.
        return Ok(folder.clone());
    }
    let validators = record.filter(|_| known.is_some()).map(validators);
    match download(tools, source, &key, validators.as_ref())? {
        Some(folder) => Ok(folder),
        None => known.ok_or_else(|| FetchError::NotModified { url: url.clone() }),
    }
}

/// Returns the digest of the file in its folder.
pub(crate) fn digest(folder: &Path, source: &HttpSource) -> Result<Digest, FetchError> {
    let path = folder.join(&source.name);
    let hash = || {
        let mut hashed = Hashed::new(io::sink());
        io::copy(&mut File::open(&path)?, &mut hashed)?;
        Ok(hashed.finish().1)
    };
    hash().map_err(io_error("read", &path))
}

/// Downloads the file into a folder of the store; `None` if it is still the version `known`.
fn download(
    tools: &Tools,
    source: &HttpSource,
    key: &Digest,
    known: Option<&Validators>,
) -> Result<Option<PathBuf>, FetchError> {
    let HttpSource { url, user: _, name, checksum } = source;
    let Tools { store, client, options } = tools;
    let authorization = login::http(options, source)?;
    let request = DownloadRequest { url, authorization: authorization.as_deref(), known };
    let temp = store.temp_dir("download")?;
    let content = temp.path().join("fs");
    fs::create_dir(&content).map_err(io_error("make", &content))?;
    let path = content.join(name);
    let span = debug_span!("blob", digest = Empty).entered();
    let downloaded = client
        .download(&request, || create(&path).map(Hashed::new))
        .map_err(|source| FetchError::Download { url: url.clone(), source })?;
    let Some(Downloaded { file, validators }) = downloaded else { return Ok(None) };
    let (file, digest) = file.finish();
    span.record("digest", display(&digest));
    if let Some(expected) = checksum
        && *expected != digest
    {
        let (url, expected) = (url.clone(), expected.clone());
        return Err(FetchError::Checksum { url, expected, actual: digest });
    }
    // As BuildKit does: without a time of the server, 1970.
    let modified = validators.modified().unwrap_or(0);
    let dress = || {
        file.set_permissions(fs::Permissions::from_mode(MODE))?;
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(modified))
    };
    dress().map_err(io_error("finish", &path))?;
    let folder_key = Digest::of(format!("http file 1\n{name}\n{digest}\n{modified}").as_bytes());
    let folder = store.publish_source(&content, &folder_key)?;
    store.put_source_record(key, &record(folder_key, validators))?;
    Ok(Some(folder))
}

fn record(folder: Digest, validators: Validators) -> SourceRecord {
    let Validators { etag, last_modified, settled, url, query } = validators;
    SourceRecord { folder, etag, last_modified, settled, url, query }
}

fn validators(record: SourceRecord) -> Validators {
    let SourceRecord { folder: _, etag, last_modified, settled, url, query } = record;
    Validators { etag, last_modified, settled, url, query }
}

/// Creates the file, or empties it.
fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(MODE).open(path)
}
