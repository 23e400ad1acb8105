//! The changes of a command: the upper folder of its overlay mount, as a layer.
//!
//! Only the upper folder is walked. overlayfs copies a file up when anything about it might change.
//! So each file there is compared with the file that the lower folders show at its path, and left
//! out if it is the same. The parents of a change are written even if they did not change: tools
//! that unpack each layer by itself would otherwise invent their owners and modes.

mod devices;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;
use std::vec;

use rustix::fs::FileType;
use xbuild_layer::whiteout::{self, Role};
use xbuild_layer::{Contents, Entry, Kind, LayerWriter, ShownPath, attributes, path};
use xbuild_model::device::{Device, DeviceKind};
use xbuild_model::owner::OwnersBelow;
use xbuild_model::records::Records;

use self::devices::{Devices, device_of};
use crate::DiffError;
use crate::holes::{FileContents, same_contents};
use crate::on_disk::{
    at_old_time, attributes_of, entry, is_of_device, kind, open_folder, open_pipe, pipe_attributes,
    same_meta,
};
use crate::owners::{OwnerSource, Side};
use crate::root::{self, Attributes, Marks, Root, Stat, absent, xattr};
use crate::unpack::OPAQUE;

/// The attribute by which overlayfs marks a removed file, on an empty file, where it cannot make a
/// device node.
const WHITEOUT: &str = "user.overlay.whiteout";

/// The input of a diff beside the folders.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DiffOptions {
    /// The mode and owner that the root folder had before. The root is written only if they changed.
    /// Its time is ignored, since every file made in it changes the time.
    pub root: (u32, u32, u32),
    /// The owners in the layers below, where there is one id and owners are recorded.
    pub owners: Option<OwnersBelow>,
    /// Paths that are not part of the layer, with all files below them.
    pub skip: Vec<Vec<u8>>,
    /// The facts about the command's files that are not on disk. A stand-in for a device counts
    /// only if the device is recorded or in `lowers`; otherwise it is a plain file.
    pub records: Records,
    /// Folders that are merged in one of `lowers`. Devices that they hide from each other count as
    /// well.
    pub hidden: Vec<PathBuf>,
    /// Whether the upper folder stays as it is, because it does not become the folder of the layer.
    pub stays: bool,
}

/// Writes the changes of `upper` on top of `lowers`, which are newest first, as a layer.
///
/// **Shape** — depth first, names in byte order; folders before their files, and their opaque mark
/// right after them. The first name of a file with several names is the file, the others are links.
/// Sockets are left out, since nobody listens. A stand-in becomes the device.
///
/// The upper folder becomes the layer's folder, so what the layer does not carry is removed from it:
/// sockets, the attribute of files that only claim to be stand-ins, other attributes.
pub fn diff<W: Write>(
    upper: &Root,
    lowers: &[Root],
    out: &mut LayerWriter<W>,
    options: &DiffOptions,
) -> Result<(), DiffError> {
    let devices = Devices::new(&options.records.devices, lowers, &options.hidden, options.stays);
    let owners = OwnerSource::new(&options.records.owners, options.owners.clone());
    let (frames, links) = (Vec::new(), HashMap::new());
    let marks = Marks { overlay: true, owners: owners.is_recorded() };
    let mut walk = Walk { lowers, out, options, devices, owners, marks, frames, links };
    let fault = |path: &[u8], source| DiffError::Entry { path: ShownPath(path.to_vec()), source };
    let top = upper.try_clone().map_err(|source| fault(b"", source))?;
    walk.root(upper)?;
    walk.enter(Vec::new(), top, (0..lowers.len()).collect(), None)
        .map_err(|source| fault(b"", source))?;
    while let Some(frame) = walk.frames.last_mut() {
        match frame.items.next() {
            Some(item) => walk.visit(item)?,
            None => {
                walk.frames.pop();
            }
        }
    }
    Ok(())
}

struct Walk<'a, W> {
    lowers: &'a [Root],
    out: &'a mut LayerWriter<W>,
    options: &'a DiffOptions,
    devices: Devices<'a>,
    owners: OwnerSource<'a>,
    marks: Marks,
    /// The folders from the root to the current one.
    frames: Vec<Frame>,
    /// The first name of each file with several names, by device and inode.
    links: HashMap<(u64, u64), Vec<u8>>,
}

/// A folder being walked.
struct Frame {
    path: Vec<u8>,
    folder: Root,
    items: vec::IntoIter<Item>,
    /// The folder's own entry, until something below it is written.
    pending: Option<Entry>,
}

/// A name in a folder of the upper layer.
struct Item {
    name: Vec<u8>,
    stat: Stat,
    lower: Lower,
}

/// The files that the lower folders show at the path of an item.
#[derive(Default)]
struct Lower {
    /// The topmost file, and the number of its lower folder; `None` if there is none.
    found: Option<(usize, Stat)>,
    /// The numbers of all merged lower folders, newest first, if the topmost file is a folder.
    merged: Vec<usize>,
}

impl Item {
    /// Returns whether this file and the lower one have one name each. A file with several is written
    /// with all of them. And where a file with several names was there, the new one is written even if
    /// it is alike: what is written to it would change the other names, too.
    fn has_one_name(&self) -> bool {
        let lower = self.lower.found.as_ref();
        self.stat.nlink == 1 && lower.is_none_or(|(_, lower)| lower.nlink == 1)
    }
}

impl<W: Write> Walk<'_, W> {
    /// Writes the root folder if a command changed its mode or owner.
    fn root(&mut self, upper: &Root) -> Result<(), DiffError> {
        let fault = |source| DiffError::Entry { path: ShownPath(Vec::new()), source };
        let mut stat = upper.stat(b"").map_err(fault)?;
        self.owners.complete((upper, b"."), b"", Side::Changed, &mut stat).map_err(fault)?;
        if (stat.mode, stat.uid, stat.gid) != self.options.root {
            let mut entry = entry(Vec::new(), Kind::Dir, &stat, Vec::new());
            // The next step's root folder is made from the entry, and has no access list.
            let xattrs = attributes_of(upper, b".").map_err(fault)?;
            entry.meta.mode = attributes::narrowed(stat.mode, &xattrs);
            self.out.put(&entry, &mut io::empty())?;
        }
        Ok(())
    }

    /// Lists a folder and makes it the current one.
    fn enter(
        &mut self,
        path: Vec<u8>,
        folder: Root,
        merged: Vec<usize>,
        pending: Option<Entry>,
    ) -> io::Result<()> {
        let mut below = Vec::with_capacity(merged.len());
        for number in merged {
            below.push((number, self.lowers[number].dir(&path)?));
        }
        let mut entries = folder.read_dir(b"")?;
        entries.sort_unstable();
        let mut items = Vec::with_capacity(entries.len());
        for found in entries {
            let mut stat = folder.stat(&found.name)?;
            let mut lower = Lower::look_up(&below, &found.name)?;
            if self.owners.is_recorded() {
                let inner = path::join(&path, &found.name);
                self.complete((&folder, &mut stat), (&below, &mut lower), &inner)?;
            }
            items.push(Item { name: found.name, stat, lower });
        }
        self.frames.push(Frame { path, folder, items: items.into_iter(), pending });
        Ok(())
    }

    /// Puts owners into the facts about a file and the one below it, where they are recorded.
    fn complete(
        &self,
        (folder, stat): (&Root, &mut Stat),
        (below, lower): (&[(usize, Root)], &mut Lower),
        path: &[u8],
    ) -> io::Result<()> {
        let (_, name) = path::split(path);
        self.owners.complete((folder, name), path, Side::Changed, stat)?;
        if let Some((number, stat)) = &mut lower.found
            && let Some((_, folder)) = below.iter().find(|(known, _)| known == number)
        {
            self.owners.complete((folder, name), path, Side::Below, stat)?;
        }
        Ok(())
    }

    fn visit(&mut self, item: Item) -> Result<(), DiffError> {
        let Some(frame) = self.frames.last() else { return Ok(()) };
        let path = path::join(&frame.path, &item.name);
        if self.options.skip.iter().any(|skipped| path::is_within(&path, skipped)) {
            return Ok(());
        }
        // overlayfs has marks of its own: such a name is the command's.
        if whiteout::role(&path) != Ok(Role::Plain) {
            return Err(DiffError::Reserved { path: ShownPath(path) });
        }
        let fault = |source| DiffError::Entry { path: ShownPath(path.clone()), source };
        match item.stat.kind {
            FileType::Socket => {
                self.take_away(&item).map_err(fault)?;
                self.removed(&path, &item)
            }
            FileType::CharacterDevice if item.stat.is_whiteout() => self.removed(&path, &item),
            FileType::Directory => {
                let folder = frame.folder.dir(&item.name).map_err(fault)?;
                self.folder(path, folder, item)
            }
            FileType::RegularFile => {
                let file = frame.folder.open_file(&item.name).map_err(fault)?;
                let is_whiteout = item.stat.size == 0
                    && xattr(file.as_fd(), WHITEOUT)
                        .map_err(|errno| fault(errno.into()))?
                        .is_some();
                if is_whiteout {
                    return self.removed(&path, &item);
                }
                match self.devices.claimed(&file).map_err(fault)? {
                    Some(device) => self.device(path, (device, &file), &item),
                    None => self.file(path, file, &item),
                }
            }
            _ => {
                let kind = kind(&frame.folder, &item.name, &item.stat).map_err(fault)?;
                let xattrs = match kind {
                    Kind::Fifo => {
                        let pipe = open_pipe(&frame.folder, &item.name).map_err(fault)?;
                        self.attributes(pipe.as_fd(), attributes::is_kept).map_err(fault)?
                    }
                    _ => Vec::new(),
                };
                self.special(path, kind, &item, xattrs)
            }
        }
    }

    /// Removes a file that the layer does not have, as a command would. The time of its folder stays
    /// what the layer says.
    fn take_away(&self, item: &Item) -> io::Result<()> {
        let Some(frame) = self.frames.last().filter(|_| !self.options.stays) else { return Ok(()) };
        let folder = &frame.folder;
        at_old_time(folder, || {
            folder.unlink(&item.name)?;
            match item.lower.found {
                Some(_) => folder.mknod(&item.name, FileType::CharacterDevice, 0, (0, 0)),
                None => Ok(()),
            }
        })
    }

    /// Writes a whiteout, if it hides anything.
    fn removed(&mut self, path: &[u8], item: &Item) -> Result<(), DiffError> {
        if item.lower.found.is_some() {
            self.write_pending()?;
            self.out.whiteout(path)?;
        }
        Ok(())
    }

    fn folder(&mut self, path: Vec<u8>, folder: Root, item: Item) -> Result<(), DiffError> {
        let fault = |source| DiffError::Entry { path: ShownPath(path.clone()), source };
        let opaque = is_opaque(&folder, b"").map_err(fault)?;
        let opened = open_folder(&folder, b".").map_err(fault)?;
        let xattrs = self.attributes(opened.as_fd(), attributes::is_kept).map_err(fault)?;
        let same = match &item.lower.found {
            Some((number, lower)) if same_meta(lower, &item.stat) => {
                attributes_of(&self.lowers[*number], &path).map_err(fault)? == xattrs
            }
            _ => false,
        };
        let entry = entry(path.clone(), Kind::Dir, &item.stat, xattrs);
        // If the lower folders show a folder, its replacement must hide all of it. overlayfs marks
        // replacements of nothing as well.
        let replaces = opaque && !item.lower.merged.is_empty();
        let pending = if same && !replaces {
            Some(entry)
        } else {
            self.write_pending()?;
            self.out.put(&entry, &mut io::empty())?;
            None
        };
        if replaces {
            self.out.opaque(&path)?;
        }
        let merged = if opaque { Vec::new() } else { item.lower.merged };
        let shown = ShownPath(path.clone());
        self.enter(path, folder, merged, pending)
            .map_err(|source| DiffError::Entry { path: shown, source })
    }

    fn file(&mut self, path: Vec<u8>, file: File, item: &Item) -> Result<(), DiffError> {
        let fault = |source: io::Error| DiffError::Entry { path: ShownPath(path.clone()), source };
        if let Some(target) = self.earlier_name(&path, item) {
            return self.put(path, Kind::HardLink { target }, item, Vec::new(), &mut io::empty());
        }
        let xattrs = self.attributes(file.as_fd(), attributes::is_kept).map_err(fault)?;
        if item.has_one_name() && self.same_file(&path, &file, item, &xattrs).map_err(fault)? {
            return Ok(());
        }
        let kind = Kind::File { size: item.stat.size };
        let mut contents = FileContents::new(&file, item.stat.size);
        self.put(path, kind, item, xattrs, &mut contents)
    }

    fn device(
        &mut self,
        path: Vec<u8>,
        (device, file): (Device, &File),
        item: &Item,
    ) -> Result<(), DiffError> {
        let Device { kind, major, minor } = device;
        let kind = match kind {
            DeviceKind::Char => Kind::CharDevice { major, minor },
            DeviceKind::Block => Kind::BlockDevice { major, minor },
        };
        if let Some(target) = self.earlier_name(&path, item) {
            return self.put(path, Kind::HardLink { target }, item, Vec::new(), &mut io::empty());
        }
        let fault = |source| DiffError::Entry { path: ShownPath(path.clone()), source };
        let xattrs = self.attributes(file.as_fd(), is_of_device).map_err(fault)?;
        let same = || match &item.lower.found {
            Some((number, lower)) if same_meta(lower, &item.stat) => {
                let lower = self.lowers[*number].open_file(&path)?;
                let lists = root::attributes(lower.as_fd(), is_of_device)?;
                Ok(device_of(&lower)? == Some(device) && lists == xattrs)
            }
            _ => Ok(false),
        };
        if item.has_one_name() && same().map_err(fault)? {
            return Ok(());
        }
        self.put(path, kind, item, xattrs, &mut io::empty())
    }

    fn special(
        &mut self,
        path: Vec<u8>,
        kind: Kind,
        item: &Item,
        xattrs: Attributes,
    ) -> Result<(), DiffError> {
        if let Some(target) = self.earlier_name(&path, item) {
            return self.put(path, Kind::HardLink { target }, item, Vec::new(), &mut io::empty());
        }
        let fault = |source| DiffError::Entry { path: ShownPath(path.clone()), source };
        let same = || self.same_special(&path, &kind, item, &xattrs);
        if item.has_one_name() && same().map_err(fault)? {
            return Ok(());
        }
        self.put(path, kind, item, xattrs, &mut io::empty())
    }

    fn put(
        &mut self,
        path: Vec<u8>,
        kind: Kind,
        item: &Item,
        xattrs: Vec<(Vec<u8>, Vec<u8>)>,
        contents: &mut dyn Contents,
    ) -> Result<(), DiffError> {
        self.write_pending()?;
        self.out.put_contents(&entry(path, kind, &item.stat, xattrs), contents)?;
        Ok(())
    }

    /// Returns the attributes of a changed file that the layer carries.
    fn attributes(
        &self,
        file: BorrowedFd<'_>,
        is_carried: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Attributes> {
        match self.options.stays {
            true => root::attributes(file, is_carried),
            false => Ok(root::reduce(file, is_carried, self.marks)?.kept),
        }
    }

    /// Writes the pending parents of the next entry.
    fn write_pending(&mut self) -> Result<(), DiffError> {
        for frame in &mut self.frames {
            if let Some(entry) = frame.pending.take() {
                self.out.put(&entry, &mut io::empty())?;
            }
        }
        Ok(())
    }

    /// Returns the first name of the same file; remembers this name if it is the first.
    fn earlier_name(&mut self, path: &[u8], item: &Item) -> Option<Vec<u8>> {
        if item.stat.nlink < 2 {
            return None;
        }
        let key = (item.stat.dev, item.stat.ino);
        let known = self.links.get(&key).cloned();
        if known.is_none() {
            self.links.insert(key, path.to_vec());
        }
        known
    }

    /// Returns whether a regular file is the same as in the lower folders, byte for byte.
    fn same_file(
        &self,
        path: &[u8],
        file: &File,
        item: &Item,
        xattrs: &Attributes,
    ) -> io::Result<bool> {
        let Some((number, lower)) = &item.lower.found else { return Ok(false) };
        if !same_meta(lower, &item.stat) || lower.size != item.stat.size {
            return Ok(false);
        }
        let lower = self.lowers[*number].open_file(path)?;
        if root::attributes(lower.as_fd(), attributes::is_kept)? != *xattrs
            || device_of(&lower)?.is_some()
        {
            return Ok(false);
        }
        same_contents(file, &lower, item.stat.size)
    }

    fn same_special(
        &self,
        path: &[u8],
        kind: &Kind,
        item: &Item,
        xattrs: &Attributes,
    ) -> io::Result<bool> {
        let Some((number, lower)) = &item.lower.found else { return Ok(false) };
        if !same_meta(lower, &item.stat) || lower.device != item.stat.device {
            return Ok(false);
        }
        let lower = &self.lowers[*number];
        Ok(match kind {
            Kind::Symlink { target } => lower.readlink(path)? == *target,
            Kind::Fifo => pipe_attributes(lower, path)? == *xattrs,
            _ => true,
        })
    }
}

impl Lower {
    /// Looks `name` up in merged lower folders, the newest first.
    fn look_up(folders: &[(usize, Root)], name: &[u8]) -> io::Result<Self> {
        let mut lower = Self::default();
        for (number, folder) in folders {
            let Some(stat) = folder.try_stat(name)? else { continue };
            if stat.is_whiteout() || (!stat.is_dir() && lower.found.is_some()) {
                break;
            }
            let is_dir = stat.is_dir();
            if is_dir {
                lower.merged.push(*number);
            }
            lower.found.get_or_insert((*number, stat));
            if !is_dir || is_opaque(folder, name)? {
                break;
            }
        }
        Ok(lower)
    }
}

/// Returns whether a folder hides those below it.
fn is_opaque(folder: &Root, name: &[u8]) -> io::Result<bool> {
    match folder.xattr(name, OPAQUE) {
        Err(error) if absent(&error) => Ok(false),
        value => Ok(value?.is_some_and(|value| value == b"y")),
    }
}
