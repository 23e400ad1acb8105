//! Cloning a folder on a file system whose files can share their blocks (xfs, btrfs).
//!
//! Small files are copied. The clone has the same names, kinds, contents, owners, modes, times,
//! attributes and hard links. Its inodes are its own, so it needs stamps of its own. Sockets are left
//! out: nobody listens.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::vec;

use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, XattrFlags};
use xbuild_layer::{ShownPath, capability, path};

use crate::DiffError;
use crate::on_disk::stats;
use crate::root::{Root, Stat, attribute_names, timestamps, xattr};

/// Bytes from which on a file shares its blocks. To share those of a file that was just written, the
/// file system writes them to the disk first: for each of many small files that takes longer than a
/// copy.
const SHARED: u64 = 64 << 10;

/// Clones all files of `from` into the empty folder `to`, whose own metadata stays.
///
/// **Errors** — also if the file system shares no blocks; `to` has some of the files then.
pub fn clone(from: &Root, to: &Root) -> Result<(), DiffError> {
    let mut names: HashMap<(u64, u64), Vec<u8>> = HashMap::new();
    let (from, top) = (from.try_clone().map_err(fault(b""))?, to);
    let to = top.try_clone().map_err(fault(b""))?;
    let mut levels = vec![Level::open(Vec::new(), from, to, None)?];
    while let Some(level) = levels.last_mut() {
        let Some((name, stat)) = level.items.next() else {
            // Files that come into a folder change its time, so its metadata comes last.
            let Some(level) = levels.pop() else { break };
            level.finish().map_err(fault(&level.path))?;
            continue;
        };
        let at = path::join(&level.path, &name);
        if stat.is_dir() {
            let inner = level.enter(&name, stat).map_err(fault(&at))?;
            let (from, to, stat) = inner;
            levels.push(Level::open(at, from, to, Some(stat))?);
            continue;
        }
        let id = (stat.dev, stat.ino);
        match names.get(&id).filter(|_| stat.nlink > 1) {
            Some(first) => top.link(first, &at).map_err(fault(&at))?,
            None => {
                level.file(&name, &stat).map_err(fault(&at))?;
                if stat.nlink > 1 {
                    names.insert(id, at);
                }
            }
        }
    }
    Ok(())
}

/// A folder that is being cloned.
struct Level {
    path: Vec<u8>,
    from: Root,
    to: Root,
    items: vec::IntoIter<(Vec<u8>, Stat)>,
    /// Its metadata; `None` for the top.
    stat: Option<Stat>,
}

impl Level {
    fn open(path: Vec<u8>, from: Root, to: Root, stat: Option<Stat>) -> Result<Self, DiffError> {
        let items = stats(&from).map_err(fault(&path))?.into_iter();
        Ok(Self { path, from, to, items, stat })
    }

    /// Makes the folder `name`.
    fn enter(&self, name: &[u8], stat: Stat) -> io::Result<(Root, Root, Stat)> {
        self.to.mkdir(name, 0o700)?;
        Ok((self.from.dir(name)?, self.to.dir(name)?, stat))
    }

    /// Gives the folder its metadata.
    fn finish(&self) -> io::Result<()> {
        let Some(stat) = &self.stat else { return Ok(()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let [from, to] = [self.from.openat(b"", flags)?, self.to.openat(b"", flags)?];
        dress(from.as_fd(), to.as_fd(), stat)
    }

    /// Clones a file that is no folder.
    fn file(&self, name: &[u8], stat: &Stat) -> io::Result<()> {
        let Self { from, to, .. } = self;
        match stat.kind {
            FileType::RegularFile => {
                let (source, file) = (from.open_file(name)?, to.create_new(name, 0o600)?);
                match stat.size {
                    0..SHARED => copy(&source, &file, stat.size)?,
                    _ => rustix::fs::ioctl_ficlone(&file, &source)?,
                }
                dress(source.as_fd(), file.as_fd(), stat)
            }
            FileType::Symlink => {
                to.symlink(&from.readlink(name)?, name)?;
                to.chown(name, stat.uid, stat.gid)?;
                to.set_mtime(name, stat.mtime)
            }
            FileType::Socket => Ok(()),
            kind => {
                to.mknod(name, kind, 0o600, stat.device)?;
                if kind == FileType::Fifo {
                    // Without waiting for a writer, to open a pipe for reading has no effect.
                    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
                    let [from, to] = [from.openat(name, flags)?, to.openat(name, flags)?];
                    return dress(from.as_fd(), to.as_fd(), stat);
                }
                to.chown(name, stat.uid, stat.gid)?;
                to.chmod(name, stat.mode)?;
                to.set_mtime(name, stat.mtime)
            }
        }
    }
}

/// Copies a small file. The kernel's calls for copies would share blocks.
fn copy(source: &File, mut file: &File, size: u64) -> io::Result<()> {
    let mut bytes = Vec::new();
    source.take(size).read_to_end(&mut bytes)?;
    file.write_all(&bytes)
}

/// Gives an open file the owner, the attributes, the mode and the time of another one.
fn dress(from: BorrowedFd<'_>, to: BorrowedFd<'_>, stat: &Stat) -> io::Result<()> {
    // A change of the owner takes capabilities and set-id bits away, so it comes first.
    rustix::fs::fchown(to, Some(Uid::from_raw(stat.uid)), Some(Gid::from_raw(stat.gid)))?;
    for name in attribute_names(from)? {
        // The kernel gives labels of its own.
        if name.starts_with(b"security.") && name != capability::NAME {
            continue;
        }
        if let Some(value) = xattr(from, &name[..])? {
            rustix::fs::fsetxattr(to, &name[..], &value, XattrFlags::empty())?;
        }
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.mode))?;
    rustix::fs::futimens(to, &timestamps(stat.mtime))?;
    Ok(())
}

fn fault(path: &[u8]) -> impl FnOnce(io::Error) -> DiffError {
    let path = ShownPath(path.to_vec());
    move |source| DiffError::Entry { path, source }
}
