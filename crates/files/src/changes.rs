//! The changes of a command that ran in a folder with all files: what differs from the stamps of the
//! walk before, as a layer.
//!
//! The whole folder is walked, but only files with another stamp are looked at. The layer has the
//! bytes that [`crate::diff`] would write if the command had run on an overlay mount and had made
//! the same changes. There a file counts as unchanged if the layers below show the same file; here
//! their tree is asked ([`Below`]), since the command has changed the only copy.
//!
//! A file that changes within one tick of the file system's clock after a walk would keep its stamp.
//! So a walk ends only when the clock has passed all stamps, and says how far it got: a file whose
//! stamp is not older than that is looked at the next time.

mod emit;
mod frame;
#[cfg(test)]
mod tests;
mod tick;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::FileType;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use xbuild_layer::whiteout::{self, Role};
use xbuild_layer::{
    ContentHash, Entry, Hashing, Kind, LayerWriter, Mtime, ShownPath, attributes, path,
};
use xbuild_model::device::{ATTRIBUTE, Device, DeviceKind};
use xbuild_model::own_root::Spared;

use self::emit::Emit;
use self::frame::{Found, Frame};
use crate::DiffError;
use crate::holes::FileContents;
use crate::on_disk::{bare, entry, is_of_device, kind, open_folder, open_pipe};
use crate::owners::{OwnerSource, Side};
use crate::root::{self, Attributes, Marks, Root, Stat, xattr};
use crate::stamps::{Stamp, StampReader, StampWriter};

/// Bytes hashed at a time.
const BUFFER: usize = 64 << 10;

/// A file of the layers below a command's changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its kind; never a hard link.
    pub kind: Kind,
    /// Its owner and group.
    pub owner: (u32, u32),
    /// Its attributes that layers carry.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The hash of the contents of a regular file.
    pub content: Option<ContentHash>,
}

/// Answers questions about the layers below a command's changes.
pub trait Below {
    /// Returns the file at a path.
    fn look_up(&mut self, path: &[u8]) -> io::Result<Option<Known>>;

    /// Returns whether the layers have the device, at any path.
    fn has_device(&mut self, device: Device) -> io::Result<bool>;
}

/// The facts about a command that its files do not show.
#[derive(Debug)]
pub struct ChangeOptions<'a> {
    /// The mode and owner that the root folder had before. Its time is ignored, since every file made
    /// in it changes the time.
    pub root: (u32, u32, u32),
    /// Where the owners of files are found.
    pub owners: OwnerSource<'a>,
    /// The devices that the command made. A stand-in for another one counts only if the layers below
    /// have the device.
    pub devices: &'a BTreeSet<Device>,
    /// How far the walk before got, see [`stamp`].
    pub settled: Mtime,
    /// The files of the folder that are not the image's. A folder around them that the layers below
    /// lack is written only with other files in it.
    pub spared: &'a Spared,
}

/// Writes the stamps of all files of `folder`. Returns how far the clock of its file system got: a
/// file that changes from now on has another stamp, unless its stamp is not older than that.
///
/// `clock` is a file on the same file system, whose times may change. Spared files are passed over.
pub fn stamp<S: Write>(
    folder: &Root,
    stamps: StampWriter<S>,
    clock: &File,
    spared: &Spared,
) -> Result<Mtime, DiffError> {
    let mut walk =
        Walk::<io::Empty, io::Sink, S> { new: stamps, newest: None, changes: None, spared };
    walk.all(folder)?;
    walk.finish(clock)
}

/// Writes the changes of `folder` since the stamps `old` as a layer, and its stamps of now. Returns
/// how far the clock got, see [`stamp`].
///
/// **Shape** — that of [`crate::diff::diff`]. Names of one file are written if the command added one
/// or changed the file. Attributes that no layer carries are removed, and so is that
/// of files that only claim to be stand-ins.
pub fn changes<R: Read, W: Write, S: Write>(
    folder: &Root,
    old: StampReader<R>,
    out: &mut LayerWriter<W>,
    stamps: StampWriter<S>,
    clock: &File,
    (below, options): (&mut dyn Below, &ChangeOptions<'_>),
) -> Result<Mtime, DiffError> {
    let mut stat = folder.stat(b"").map_err(fault(b""))?;
    let root = (folder, &b"."[..]);
    options.owners.complete(root, b"", Side::Changed, &mut stat).map_err(fault(b""))?;
    // The next step's root folder is made from the entry, and has no attributes.
    let xattrs = bare(folder, b".", options.owners.is_recorded()).map_err(fault(b""))?;
    if (stat.mode, stat.uid, stat.gid) != options.root {
        let mut entry = entry(Vec::new(), Kind::Dir, &stat, Vec::new());
        entry.meta.mode = attributes::narrowed(stat.mode, &xattrs);
        out.put(&entry, &mut io::empty())?;
    }
    let changes = Changes { old, emit: Emit::new(out), below, options, buffer: vec![0; BUFFER] };
    let spared = options.spared;
    let mut walk = Walk { new: stamps, newest: None, changes: Some(changes), spared };
    walk.all(folder)?;
    walk.finish(clock)
}

/// Returns the error for a file that cannot be read.
fn fault(path: &[u8]) -> impl FnOnce(io::Error) -> DiffError {
    let path = ShownPath(path.to_vec());
    move |source| DiffError::Entry { path, source }
}

fn stamps(source: io::Error) -> DiffError {
    DiffError::Stamps { source }
}

/// A walk over all files.
struct Walk<'a, R, W, S> {
    new: StampWriter<S>,
    /// The newest time of change that was seen.
    newest: Option<Mtime>,
    changes: Option<Changes<'a, R, W>>,
    spared: &'a Spared,
}

/// The search for changes.
struct Changes<'a, R, W> {
    old: StampReader<R>,
    emit: Emit<'a, W>,
    below: &'a mut dyn Below,
    options: &'a ChangeOptions<'a>,
    buffer: Vec<u8>,
}

impl<R: Read, W: Write, S: Write> Walk<'_, R, W, S> {
    fn all(&mut self, folder: &Root) -> Result<(), DiffError> {
        let top = folder.try_clone().map_err(fault(b""))?;
        let is_new = self.changes.is_none();
        let frame = Frame::open(Vec::new(), top, (1, is_new), self.spared);
        let mut frames = vec![frame.map_err(fault(b""))?];
        while let Some(frame) = frames.last_mut() {
            match frame.items.next() {
                Some((name, stat)) => {
                    if let Some(inner) = self.visit(frame, &name, stat)? {
                        frames.push(inner);
                    }
                }
                None => {
                    if let Some(changes) = &mut self.changes {
                        changes.leave(frame)?;
                    }
                    frames.pop();
                }
            }
        }
        Ok(())
    }

    /// Looks at a file. Returns the frame of a folder.
    fn visit(
        &mut self,
        frame: &Frame,
        name: &[u8],
        stat: Stat,
    ) -> Result<Option<Frame>, DiffError> {
        let path = path::join(&frame.path, name);
        let stamp = Stamp::of(&frame.folder, frame.depth, name, &stat).map_err(fault(&path))?;
        let mut found =
            Found { folder: &frame.folder, name, path, stat, stamp, before: None, is_gone: false };
        let mut is_new = true;
        if let Some(changes) = &mut self.changes {
            if !frame.is_new {
                found.before = changes.before(frame, name)?;
            }
            is_new = changes.compare(&mut found)?;
        }
        if found.is_gone {
            return Ok(None);
        }
        self.newest = self.newest.max(Some(found.stamp.ctime));
        self.new.put(&found.stamp).map_err(stamps)?;
        if !found.stat.is_dir() {
            return Ok(None);
        }
        let opened = frame.folder.dir(name);
        let inner = (frame.depth + 1, is_new);
        let frame = opened
            .and_then(|folder| Frame::open(found.path.clone(), folder, inner, self.spared))
            .map_err(fault(&found.path))?;
        Ok(Some(frame))
    }

    fn finish(self, clock: &File) -> Result<Mtime, DiffError> {
        self.new.finish().map_err(stamps)?;
        tick::pass(clock, self.newest).map_err(stamps)
    }
}

impl<R: Read, W: Write> Changes<'_, R, W> {
    /// Returns the stamp that a file had before, and writes whiteouts for files before it that are
    /// gone.
    fn before(&mut self, frame: &Frame, name: &[u8]) -> Result<Option<Stamp>, DiffError> {
        loop {
            let Some(next) = self.old.peek().filter(|next| next.depth == frame.depth) else {
                return Ok(None);
            };
            if next.name[..] > *name {
                return Ok(None);
            }
            let Some(next) = self.old.take().map_err(stamps)? else { return Ok(None) };
            if next.name == name {
                return Ok(Some(next));
            }
            self.removed(frame, &next)?;
        }
    }

    /// Writes whiteouts for the remaining files that a folder had before.
    fn leave(&mut self, frame: &Frame) -> Result<(), DiffError> {
        while !frame.is_new && self.old.peek().is_some_and(|next| next.depth == frame.depth) {
            if let Some(gone) = self.old.take().map_err(stamps)? {
                self.removed(frame, &gone)?;
            }
        }
        self.emit.leave(&frame.path);
        Ok(())
    }

    fn removed(&mut self, frame: &Frame, gone: &Stamp) -> Result<(), DiffError> {
        self.old.skip_below(gone.depth).map_err(stamps)?;
        self.emit.whiteout(&path::join(&frame.path, &gone.name))
    }

    /// Writes a file if it has changed. Returns whether all files in it, if it is a folder, are new.
    fn compare(&mut self, found: &mut Found<'_>) -> Result<bool, DiffError> {
        let is_same = found
            .before
            .as_ref()
            .is_some_and(|before| *before == found.stamp && before.ctime < self.options.settled);
        if !is_same && whiteout::role(&found.path) != Ok(Role::Plain) {
            return Err(DiffError::Reserved { path: ShownPath(found.path.clone()) });
        }
        if !is_same || found.stat.is_dir() {
            let (place, path) = ((found.folder, found.name), &found.path);
            let owners = &self.options.owners;
            owners.complete(place, path, Side::Changed, &mut found.stat).map_err(fault(path))?;
        }
        if found.stat.is_dir() {
            return self.folder(found, is_same);
        }
        self.old.skip_below(found.stamp.depth).map_err(stamps)?;
        if !is_same {
            self.file(found)?;
        }
        Ok(true)
    }

    fn folder(&mut self, found: &mut Found<'_>, is_same: bool) -> Result<bool, DiffError> {
        let opened = open_folder(found.folder, found.name).map_err(fault(&found.path))?;
        let xattrs = self.reduce(opened.as_fd(), found, attributes::is_kept)?;
        let found = &*found;
        let is_kept = is_same
            || (self.options.spared.is_around(&found.path) && self.known(found)?.is_none())
            || found.before.as_ref().is_some_and(|before| before.has_same_meta(&found.stamp))
                && self.known(found)?.is_some_and(|known| {
                    self.has_owner(found, &known) && attributes::kept(&known.xattrs) == xattrs
                });
        let entry = entry(found.path.clone(), Kind::Dir, &found.stat, xattrs);
        let Some(before) = &found.before else {
            self.emit.put(&entry, &mut io::empty())?;
            return Ok(true);
        };
        if before.is_same_folder(&found.stamp) {
            if is_kept {
                self.emit.enter(entry);
            } else {
                self.emit.put(&entry, &mut io::empty())?;
            }
            return Ok(false);
        }
        self.old.skip_below(before.depth).map_err(stamps)?;
        self.emit.put(&entry, &mut io::empty())?;
        // The folder that was there before must not show through.
        if before.kind == FileType::Directory {
            self.emit.opaque(&found.path)?;
        }
        Ok(true)
    }

    /// Writes a file that is no folder and has another stamp than before.
    fn file(&mut self, found: &mut Found<'_>) -> Result<(), DiffError> {
        match found.stat.kind {
            // Nobody listens. Whatever was there before is gone.
            FileType::Socket => {
                found.take_away().map_err(fault(&found.path))?;
                match &found.before {
                    Some(before) if before.kind != FileType::Socket => {
                        self.emit.whiteout(&found.path)
                    }
                    _ => Ok(()),
                }
            }
            FileType::RegularFile => {
                let opened = found.folder.open_file(found.name);
                let file = opened.map_err(fault(&found.path))?;
                let Some(device) = self.claimed(&file, found)? else {
                    return self.regular(found, &file);
                };
                let Device { kind, major, minor } = device;
                let kind = match kind {
                    DeviceKind::Char => Kind::CharDevice { major, minor },
                    DeviceKind::Block => Kind::BlockDevice { major, minor },
                };
                let xattrs = self.reduce(file.as_fd(), found, is_of_device)?;
                self.special(found, kind, xattrs)
            }
            _ => {
                let kind = kind(found.folder, found.name, &found.stat);
                let kind = kind.map_err(fault(&found.path))?;
                let xattrs = match kind {
                    Kind::Fifo => {
                        let pipe = open_pipe(found.folder, found.name);
                        self.reduce(
                            pipe.map_err(fault(&found.path))?.as_fd(),
                            found,
                            attributes::is_kept,
                        )?
                    }
                    _ => Vec::new(),
                };
                self.special(found, kind, xattrs)
            }
        }
    }

    fn regular(&mut self, found: &mut Found<'_>, file: &File) -> Result<(), DiffError> {
        let xattrs = self.reduce(file.as_fd(), found, attributes::is_kept)?;
        let kind = Kind::File { size: found.stat.size };
        if self.may_be_same(found)
            && found.before.as_ref().is_some_and(|before| before.size == found.stat.size)
            && let Some(known) = self.known(found)?
            && known.kind == kind
            && self.has_owner(found, &known)
            && attributes::kept(&known.xattrs) == xattrs
            && known.content == Some(self.hash(file, found)?)
        {
            return Ok(());
        }
        let entry = entry(found.path.clone(), kind, &found.stat, xattrs);
        self.emit.file(entry, &found.stat, &mut FileContents::new(file, found.stat.size))
    }

    /// Returns the hash of a file's contents.
    fn hash(&mut self, file: &File, found: &Found<'_>) -> Result<ContentHash, DiffError> {
        let size = found.stat.size;
        let hashing = Hashing::new(FileContents::new(file, size), size);
        let hashed = hashing.read_all(&mut self.buffer).map_err(fault(&found.path))?;
        Ok(hashed.hash)
    }

    fn special(
        &mut self,
        found: &Found<'_>,
        kind: Kind,
        xattrs: Attributes,
    ) -> Result<(), DiffError> {
        if self.may_be_same(found)
            && let Some(known) = self.known(found)?
            && known.kind == kind
            && self.has_owner(found, &known)
            && attributes::kept(&known.xattrs) == xattrs
        {
            return Ok(());
        }
        let entry: Entry = entry(found.path.clone(), kind, &found.stat, xattrs);
        self.emit.file(entry, &found.stat, &mut io::empty())
    }

    /// Returns whether a file may be the same as before in spite of its stamp. It is not if it got a
    /// further name: all its names are written then, as links to each other. Nor if another file with
    /// further names was there: what is written to it would change them, too.
    fn may_be_same(&self, found: &Found<'_>) -> bool {
        found.before.as_ref().is_some_and(|before| {
            let has_its_names = (found.stat.nlink == 1 && before.nlink == 1)
                || (before.ino == found.stat.ino && found.stat.nlink <= before.nlink);
            before.has_same_meta(&found.stamp) && has_its_names
        })
    }

    /// Returns whether a file still has its owner, as far as its stamp cannot tell.
    fn has_owner(&self, found: &Found<'_>, known: &Known) -> bool {
        !self.options.owners.is_recorded() || (found.stat.uid, found.stat.gid) == known.owner
    }

    /// Returns the file that the layers below have.
    fn known(&mut self, found: &Found<'_>) -> Result<Option<Known>, DiffError> {
        let shown = || ShownPath(found.path.clone());
        self.below.look_up(&found.path).map_err(|source| DiffError::Below { path: shown(), source })
    }

    fn is_below(&mut self, device: Device, path: &[u8]) -> Result<bool, DiffError> {
        let failed = |source| DiffError::Below { path: ShownPath(path.to_vec()), source };
        self.below.has_device(device).map_err(failed)
    }

    /// Returns the attributes of an open file that a layer carries, and removes others.
    fn reduce(
        &self,
        file: BorrowedFd<'_>,
        found: &mut Found<'_>,
        is_carried: impl Fn(&[u8]) -> bool,
    ) -> Result<Attributes, DiffError> {
        let marks = Marks { overlay: false, owners: self.options.owners.is_recorded() };
        let reduced = root::reduce(file, is_carried, marks).map_err(fault(&found.path))?;
        if reduced.is_less {
            found.refresh().map_err(fault(&found.path))?;
        }
        Ok(reduced.kept)
    }

    /// Returns the device that a file stands in for. A false claim is removed.
    fn claimed(&mut self, file: &File, found: &mut Found<'_>) -> Result<Option<Device>, DiffError> {
        let failed = |errno: Errno| fault(&found.path)(errno.into());
        let Some(value) = xattr(file.as_fd(), ATTRIBUTE).map_err(failed)? else { return Ok(None) };
        if let Some(device) = Device::parse(&value)
            && (self.options.devices.contains(&device) || self.is_below(device, &found.path)?)
        {
            return Ok(Some(device));
        }
        root::remove(file.as_fd(), ATTRIBUTE.as_bytes()).map_err(fault(&found.path))?;
        found.refresh().map_err(fault(&found.path))?;
        Ok(None)
    }
}
