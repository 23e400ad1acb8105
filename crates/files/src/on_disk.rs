//! From a file on disk to the entry of a layer.

use std::io;
use std::os::fd::AsFd as _;

use rustix::fs::{FileType, OFlags};
use xbuild_layer::{Entry, Kind, Meta, attributes};

use crate::root::{self, Attributes, Root, Stat};

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

/// Returns the files of an open folder with their names, in byte order.
pub(crate) fn stats(folder: &Root) -> io::Result<Vec<(Vec<u8>, Stat)>> {
    let mut names: Vec<Vec<u8>> = folder.read_dir(b"")?.into_iter().map(|it| it.name).collect();
    names.sort_unstable();
    names.into_iter().map(|name| folder.stat(&name).map(|stat| (name, stat))).collect()
}

/// Returns the attributes of a folder.
pub(crate) fn attributes_of(above: &Root, path: &[u8]) -> io::Result<Attributes> {
    root::attributes(above.openat(path, OFlags::RDONLY | OFlags::DIRECTORY)?.as_fd())
}

/// Returns the attributes of a pipe. To open it for reading, without waiting for a writer, has no
/// effect.
pub(crate) fn pipe_attributes(above: &Root, path: &[u8]) -> io::Result<Attributes> {
    root::attributes(above.openat(path, OFlags::RDONLY | OFlags::NONBLOCK)?.as_fd())
}

/// Returns the attributes of a stand-in that its device can have.
pub(crate) fn access_lists(mut xattrs: Attributes) -> Attributes {
    xattrs.retain(|(name, _)| name == attributes::ACCESS);
    xattrs
}
