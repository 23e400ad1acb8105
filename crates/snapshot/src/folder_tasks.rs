//! Tasks for folders that have all files of a stack of layers: see `engine::carried`.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use xbuild_files::changes::{ChangeOptions, changes, stamp};
use xbuild_files::owners::OwnerSource;
use xbuild_files::revert::{Lost, revert};
use xbuild_files::stamps::{StampReader, StampWriter};
use xbuild_layer::{LayerWriter, Mtime};
use xbuild_model::own_root::Spared;
use xbuild_model::owner::OwnersBelow;
use xbuild_model::records::Records;

use crate::TaskError;
use crate::below::Asker;
use crate::task_input::{BUFFER, folder, open, pipe, root_before};

/// Removes files below a folder. Request: [`ClearRequest`].
pub const CLEAR: &str = "snapshot.clear";
/// Writes the stamps of a folder. Request: [`StampRequest`], answer: how far the clock got.
pub const STAMP: &str = "snapshot.stamp";
/// Writes the changes of a folder since its stamps to the first pipe, as a layer, and asks for files
/// of the layers below through the second one; answers come through the third one. Request:
/// [`ChangesRequest`], answer: how far the clock got.
pub const CHANGES: &str = "snapshot.changes";

/// Sets a folder back to its stamps, without contents: see [`xbuild_files::revert`]. Writes the files
/// that are missing now to the pipe, for `read_lost`. Request: [`RevertRequest`].
pub const REVERT: &str = "snapshot.revert";

/// Clones a folder with all files into an empty one. Request: [`CloneRequest`].
pub const CLONE: &str = "snapshot.clone";

/// See [`CLONE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneRequest {
    /// The folder. Nobody changes it meanwhile.
    pub from: PathBuf,
    /// The empty folder, on the same file system.
    pub to: PathBuf,
}

/// See [`CLEAR`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearRequest {
    /// The folder.
    pub folder: PathBuf,
    /// Paths below it. Files that are not there, or that lie behind a link, are no error.
    pub paths: Vec<Vec<u8>>,
    /// The files that stay; none in a folder of the store. In the root of a container all that is
    /// mounted by then stays, too.
    pub spared: Spared,
}

/// See [`STAMP`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StampRequest {
    /// The folder.
    pub folder: PathBuf,
    /// The file that gets the stamps, outside of the folder and on its file system.
    pub stamps: PathBuf,
    /// The files that are passed over.
    pub spared: Spared,
}

/// See [`CHANGES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangesRequest {
    /// The folder and the file that gets its stamps of now.
    pub now: StampRequest,
    /// The file with the stamps before the command.
    pub before: PathBuf,
    /// How far the clock got before the command.
    pub settled: Mtime,
    /// The mode that the folder had before the command.
    pub root_mode: u32,
    /// Its owner before the command; `None` for root.
    pub root_owner: Option<(u32, u32)>,
    /// The owners in the layers below, where they are recorded.
    pub owners: Option<OwnersBelow>,
    /// The records of the command.
    pub records: Records,
}

/// See [`REVERT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevertRequest {
    /// The folder.
    pub folder: PathBuf,
    /// The file with the stamps.
    pub stamps: PathBuf,
    /// How far the clock got when they were taken.
    pub settled: Mtime,
}

/// Does [`CLEAR`].
pub fn clear_task(request: &[u8], _fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: ClearRequest = serde_json::from_slice(request)?;
    let root = open(&request.folder)?;
    let mut spared = request.spared;
    if !spared.is_empty() {
        let mounts = std::fs::read("/proc/self/mountinfo");
        spared.add_mounts(&mounts.map_err(folder("read the mounts in", &request.folder))?);
    }
    for path in &request.paths {
        let removed = match xbuild_files::clear(&root, path, &spared) {
            Err(error) if is_absent(&error) => Ok(()),
            removed => removed,
        };
        removed.map_err(folder("remove files in", &request.folder))?;
    }
    Ok(Vec::new())
}

/// Does [`CLONE`].
pub fn clone_task(request: &[u8], _fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: CloneRequest = serde_json::from_slice(request)?;
    xbuild_files::clone(&open(&request.from)?, &open(&request.to)?)?;
    Ok(Vec::new())
}

/// Returns whether an error says that a path names no file. Links lead nowhere: the files of a stack
/// of layers are at their paths, not behind links.
fn is_absent(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP))
}

/// The signs before a missing file and before one that is missing with everything in it.
const ALONE: u8 = b'f';
const WITH_ALL: u8 = b't';

/// Does [`REVERT`].
pub fn revert_task(request: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: RevertRequest = serde_json::from_slice(request)?;
    let root = open(&request.folder)?;
    let mut pipe = BufWriter::with_capacity(BUFFER, File::from(pipe(fds)?));
    let stamps = File::open(&request.stamps)
        .and_then(|file| StampReader::new(BufReader::with_capacity(BUFFER, file)))
        .map_err(folder("read", &request.stamps))?;
    revert(&root, stamps, request.settled, &mut |lost| {
        let (sign, path) = match &lost {
            Lost::File(path) => (ALONE, path),
            Lost::Tree(path) => (WITH_ALL, path),
        };
        pipe.write_all(&[sign])?;
        pipe.write_all(path)?;
        pipe.write_all(&[0])
    })?;
    pipe.flush().map_err(folder("set back", &request.folder))?;
    Ok(Vec::new())
}

/// Reads what [`REVERT`] has written: paths, each with whether everything in it is missing, too.
/// `None` if it is something else.
pub(crate) fn read_lost(text: &[u8]) -> Option<Vec<(bool, Vec<u8>)>> {
    let lines = text.split_inclusive(|byte| *byte == 0);
    let read = |line: &[u8]| {
        let (sign, path) = line.strip_suffix(&[0])?.split_first()?;
        matches!(*sign, ALONE | WITH_ALL).then(|| (*sign == WITH_ALL, path.to_vec()))
    };
    lines.map(read).collect()
}

/// Does [`STAMP`].
pub fn stamp_task(request: &[u8], _fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: StampRequest = serde_json::from_slice(request)?;
    let root = open(&request.folder)?;
    let (writer, clock) = stamp_file(&request.stamps)?;
    Ok(serde_json::to_vec(&stamp(&root, writer, &clock, &request.spared)?)?)
}

/// Does [`CHANGES`].
pub fn changes_task(request: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskError> {
    let request: ChangesRequest = serde_json::from_slice(request)?;
    let [layer, questions, answers] =
        <[OwnedFd; 3]>::try_from(fds).map_err(|_| TaskError::NoPipe)?;
    let root = open(&request.now.folder)?;
    let before = File::open(&request.before)
        .and_then(|file| StampReader::new(BufReader::with_capacity(BUFFER, file)))
        .map_err(folder("read", &request.before))?;
    let (stamps, clock) = stamp_file(&request.now.stamps)?;
    let mut writer = LayerWriter::new(BufWriter::with_capacity(BUFFER, File::from(layer)));
    let options = ChangeOptions {
        root: root_before(request.root_mode, request.root_owner, request.owners.is_some()),
        owners: OwnerSource::new(&request.records.owners, request.owners),
        devices: &request.records.devices,
        settled: request.settled,
        spared: &request.now.spared,
    };
    let mut below = Asker::new(questions, answers);
    let settled = changes(&root, before, &mut writer, stamps, &clock, (&mut below, &options))?;
    let mut pipe = writer.finish().map_err(xbuild_files::DiffError::from)?;
    pipe.flush().map_err(folder("finish with", &request.now.folder))?;
    Ok(serde_json::to_vec(&settled)?)
}

/// Makes the file for stamps. Its own times are the clock.
fn stamp_file(path: &Path) -> Result<(StampWriter<BufWriter<File>>, File), TaskError> {
    let make = || -> io::Result<(File, File)> {
        let file = File::create(path)?;
        Ok((file.try_clone()?, file))
    };
    let (file, clock) = make().map_err(folder("make", path))?;
    Ok((StampWriter::new(BufWriter::with_capacity(BUFFER, file)), clock))
}
