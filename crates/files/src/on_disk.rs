//! From a file on disk to the entry of a layer.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{FileType, OFlags};
use xbuild_layer::{Entry, Kind, Meta, attributes};

use crate::root::{self, Attributes, Marks, Root, Stat};

/// Returns whether two files have the same kind, owner, mode and time. Times are compared in whole
/// seconds, as a layer keeps them. The modes of symbolic links are ignored.
pub(crate) fn same_meta(a: &Stat, b: &Stat) -> bool {
    let facts = |stat: &Stat| {
        let mode = if stat.kind == FileType::Symlink { 0 } else { stat.mode };
        (stat.kind, mode, stat.uid, stat.gid, stat.mtime.secs)
    };
    facts(a) == facts(b)
}

/// Returns the kind of a file that is neither a folder nor a regular file.
pub(crate) fn kind(folder: &Root, name: &[u8], stat: &Stat) -> io::Result<Kind> {
    let (major, minor) = stat.device;
    Ok(match stat.kind {
        FileType::Symlink => Kind::Symlink { target: folder.readlink(name)? },
        FileType::CharacterDevice => Kind::CharDevice { major, minor },
        FileType::BlockDevice => Kind::BlockDevice { major, minor },
        FileType::Fifo => Kind::Fifo,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    })
}

/// Returns the entry of a file.
pub(crate) fn entry(
    path: Vec<u8>,
    kind: Kind,
    stat: &Stat,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
) -> Entry {
    let mode = if stat.kind == FileType::Symlink { 0o777 } else { stat.mode };
    let meta = Meta { mode, uid: stat.uid, gid: stat.gid, mtime: stat.mtime, xattrs };
    Entry { path, kind, meta }
}

/// Changes the names in a folder, whose time stays what it is.
pub(crate) fn at_old_time(
    folder: &Root,
    change: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    let mtime = folder.stat(b"")?.mtime;
    change()?;
    folder.set_mtime(b"", mtime)
}

/// Returns the files of an open folder with their names, in byte order.
pub(crate) fn stats(folder: &Root) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let mut names: Vec<Vec<u8>> = folder.read_dir(b"")?.into_iter().map(|it| it.name).collect();
    names.sort_unstable();
    names.into_iter().map(|name| folder.stat(&name).map(|stat| (name, stat))).collect()
}

/// Opens a folder.
pub(crate) fn open_folder(above: &Root, path: &[u8]) -> io::Result<OwnedFd> {
    above.openat(path, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// Opens a pipe for reading, without waiting for a writer. That has no effect.
pub(crate) fn open_pipe(above: &Root, path: &[u8]) -> io::Result<OwnedFd> {
    above.openat(path, OFlags::RDONLY | OFlags::NONBLOCK)
}

/// Returns the attributes of a folder.
pub(crate) fn attributes_of(above: &Root, path: &[u8]) -> io::Result<Attributes> {
    root::attributes(open_folder(above, path)?.as_fd(), attributes::is_kept)
}

/// Returns the attributes of a pipe.
pub(crate) fn pipe_attributes(above: &Root, path: &[u8]) -> io::Result<Attributes> {
    root::attributes(open_pipe(above, path)?.as_fd(), attributes::is_kept)
}

/// Returns whether a device can have an attribute that its stand-in has.
pub(crate) fn is_of_device(name: &[u8]) -> bool {
    name == attributes::ACCESS
}

/// Removes the attributes of a folder that stands by itself, but for that of a recorded owner. Returns
/// those that a layer carries.
pub(crate) fn bare(above: &Root, path: &[u8], is_recorded: bool) -> io::Result<Attributes> {
    let folder = open_folder(above, path)?;
    let marks = Marks { overlay: false, owners: is_recorded };
    let kept = root::reduce(folder.as_fd(), attributes::is_kept, marks)?.kept;
    kept.iter().try_for_each(|(name, _)| root::remove(folder.as_fd(), name))?;
    Ok(kept)
}
