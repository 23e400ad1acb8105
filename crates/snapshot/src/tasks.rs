//! The engine's work inside the build's user namespace, where files of other owners can be made,
//! read and removed. Each function serves one request of the engine, in a process of its own.
//!
//! Requests are JSON. Folders are given by their trusted paths in the store; everything below them
//! is reached through [`Root`]. Layers come and go through a pipe that is sent along.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use xbuild_files::Root;
use xbuild_files::diff::{DiffOptions, diff};
use xbuild_files::unpack::{dress_folder, unpack};
use xbuild_layer::{LayerReader, LayerWriter, Meta};
use xbuild_model::TaskFailure;
use xbuild_model::owner::OwnersBelow;
use xbuild_model::records::{Owners, Records};
use xbuild_model::rootfs::Joined;

use crate::TaskError;
use crate::folder_tasks::{self, CHANGES, CLEAR, CLONE, REVERT, STAMP};
use crate::task_input::{BUFFER, folder, open, own_ids, pipe, root_before};

/// Unpacks a layer, read from the pipe, into an empty folder. Request: [`UnpackRequest`].
pub const UNPACK: &str = "snapshot.unpack";
/// Gives folders their metadata. Request: [`DressRequest`].
pub const DRESS: &str = "snapshot.dress";
/// Writes the changes of an upper folder to the pipe, as a layer. Request: [`DiffRequest`].
pub const DIFF: &str = "snapshot.diff";
/// Writes all files of a folder to the pipe, as a layer. Request: [`PackRequest`].
pub const PACK: &str = "snapshot.pack";
/// Removes folder trees. Request: [`RemoveRequest`].
pub const REMOVE: &str = "snapshot.remove";

/// A task: takes a request and the descriptors that came with it, and returns the answer, or the
/// error with its causes as text.
pub type TaskFn = fn(&[u8], Vec<OwnedFd>) -> Result<Vec<u8>, TaskFailure>;

/// Returns all tasks of this crate by name, for the helper of the namespace.
pub fn all() -> [(&'static str, TaskFn); 10] {
    [
        (UNPACK, |request, fds| answer(unpack_task(request, fds))),
        (DRESS, |request, fds| answer(dress_task(request, fds))),
        (DIFF, |request, fds| answer(diff_task(request, fds))),
        (PACK, |request, fds| answer(pack_task(request, fds))),
        (REMOVE, |request, fds| answer(remove_task(request, fds))),
        (CLEAR, |request, fds| answer(folder_tasks::clear_task(request, fds))),
        (CLONE, |request, fds| answer(folder_tasks::clone_task(request, fds))),
        (STAMP, |request, fds| answer(folder_tasks::stamp_task(request, fds))),
        (REVERT, |request, fds| answer(folder_tasks::revert_task(request, fds))),
        (CHANGES, |request, fds| answer(folder_tasks::changes_task(request, fds))),
    ]
}

/// See [`UNPACK`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackRequest {
    /// The folder.
    pub folder: PathBuf,
    /// Where the owners of files are kept.
    pub owners: Owners,
}

/// See [`DRESS`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DressRequest {
    /// The folder that the paths are relative to.
    pub folder: PathBuf,
    /// Where the owners of files are kept.
    pub owners: Owners,
    /// Folders below it, with their metadata. The empty path is the folder itself.
    pub dirs: Vec<(Vec<u8>, Meta)>,
}

/// See [`DIFF`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiffRequest {
    /// The upper folder. Its own mode and owner are reset so that the caller can move it: an
    /// overlay mount never shows those of a lower folder.
    pub upper: PathBuf,
    /// The lower folders, the newest first.
    pub lowers: Vec<PathBuf>,
    /// A mount of the last of them, if there are many.
    pub joined: Option<Joined>,
    /// The mode that the upper folder had before the command.
    pub root_mode: u32,
    /// Its owner before the command; `None` for root.
    pub root_owner: Option<(u32, u32)>,
    /// The owners in the layers below, where they are recorded.
    pub owners: Option<OwnersBelow>,
    /// Paths to leave out.
    pub skip: Vec<Vec<u8>>,
    /// The records of the command.
    pub records: Records,
}

/// See [`PACK`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRequest {
    /// The folder. It is not changed.
    pub folder: PathBuf,
    /// Whether the owners of files are recorded.
    pub is_recorded: bool,
}

/// See [`REMOVE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoveRequest {
    /// The trees to remove. A missing tree is not an error.
    pub paths: Vec<PathBuf>,
}

/// Does [`UNPACK`].
pub fn unpack_task(request: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: UnpackRequest = serde_json::from_slice(request)?;
    let root = open(&request.folder)?;
    let pipe = BufReader::with_capacity(BUFFER, File::from(pipe(fds)?));
    unpack(LayerReader::new(pipe), &root, request.owners)?;
    Ok(Vec::new())
}

/// Does [`DRESS`].
pub fn dress_task(request: &[u8], _fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: DressRequest = serde_json::from_slice(request)?;
    let root = open(&request.folder)?;
    // Inner folders first, see `unpack`.
    for (path, meta) in request.dirs.iter().rev() {
        dress_folder(&root, path, meta, request.owners, own_ids())
            .map_err(folder("set the metadata of a folder in", &request.folder))?;
    }
    Ok(Vec::new())
}

/// Does [`DIFF`].
pub fn diff_task(request: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: DiffRequest = serde_json::from_slice(request)?;
    let upper = open(&request.upper)?;
    let (shown, hidden) = match &request.joined {
        Some(joined) => request.lowers.split_at(joined.rest(&request.lowers).len()),
        None => (&request.lowers[..], &[][..]),
    };
    let points = request.joined.iter().map(|joined| &joined.point);
    let lowers =
        shown.iter().chain(points).map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let pipe = BufWriter::with_capacity(BUFFER, File::from(pipe(fds)?));
    let mut writer = LayerWriter::new(pipe);
    let root = root_before(request.root_mode, request.root_owner, request.owners.is_some());
    let DiffRequest { skip, records, owners, .. } = request;
    let options =
        DiffOptions { root, owners, skip, records, hidden: hidden.to_vec(), stays: false };
    diff(&upper, &lowers, &mut writer, &options)?;
    let mut pipe = writer.finish().map_err(xbuild_files::DiffError::from)?;
    let mut reset = || -> io::Result<()> {
        pipe.flush()?;
        let (uid, gid) = own_ids();
        upper.chown(b"", uid.raw(), gid.raw())?;
        upper.chmod(b"", 0o755)
    };
    reset().map_err(folder("finish with", &request.upper))?;
    Ok(Vec::new())
}

/// Does [`PACK`].
pub fn pack_task(request: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: PackRequest = serde_json::from_slice(request)?;
    let root = open(&request.folder)?;
    let pipe = BufWriter::with_capacity(BUFFER, File::from(pipe(fds)?));
    let mut writer = LayerWriter::new(pipe);
    let options = DiffOptions {
        root: root_before(0o755, None, request.is_recorded),
        owners: request.is_recorded.then(OwnersBelow::default),
        skip: Vec::new(),
        records: Records::default(),
        hidden: Vec::new(),
        stays: true,
    };
    diff(&root, &[], &mut writer, &options)?;
    let mut pipe = writer.finish().map_err(xbuild_files::DiffError::from)?;
    pipe.flush().map_err(folder("read", &request.folder))?;
    Ok(Vec::new())
}

/// Does [`REMOVE`].
pub fn remove_task(request: &[u8], _fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: RemoveRequest = serde_json::from_slice(request)?;
    for path in &request.paths {
        remove_path(path).map_err(folder("remove", path))?;
    }
    Ok(Vec::new())
}

/// Removes a tree by its trusted path.
pub(crate) fn remove_path(path: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt as _;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    match Root::open(parent) {
        Ok(parent) => parent.remove_tree(name.as_bytes()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Turns an error and its causes into text, which is the only form that crosses processes.
fn answer(result: Result<Vec<u8>, TaskError>) -> Result<Vec<u8>, TaskFailure> {
    result.map_err(|error| TaskFailure::new(error.kind(), &error))
}
