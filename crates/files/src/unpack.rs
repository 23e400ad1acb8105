//! Unpacking a layer into a folder that overlayfs can use as a lower folder.
//!
//! The folder holds *only* this layer: whiteouts become marks of overlayfs. Entries that contradict
//! each other are settled as by [`xbuild_layer::Tree::apply`]: the last entry of a path wins,
//! whiteouts hide only files of other layers, missing parents are made, and files in their way are
//! replaced. Device nodes become stand-ins ([`xbuild_model::device`]), since commands cannot make
//! real ones either. Folders without an entry get mode 0755 and owner root here; the engine gives
//! them the metadata of the layers below.

mod dress;
#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use rustix::fs::{FileType, OFlags, XattrFlags};
use rustix::io::Errno;
use xbuild_layer::{Change, Contents, Entry, Kind, LayerReader, Meta, ShownPath, path};
use xbuild_model::device::{ATTRIBUTE, Device, DeviceKind};
use xbuild_model::ids::{GuestGid, GuestUid};
use xbuild_model::owner::Owner;
use xbuild_model::records::Owners;

pub use self::dress::dress_folder;
use self::dress::{Gift, give_on_disk};
use crate::UnpackError;
use crate::root::{Root, absent, set_mode, timestamps};

/// The attribute of opaque folders in overlay mounts with `userxattr`.
pub(crate) const OPAQUE: &str = "user.overlay.opaque";

/// Bytes copied at a time: enough that system calls cost little. A run of zeros of this length
/// becomes a hole.
pub(crate) const BUFFER: usize = 64 << 10;

/// The most folders that are kept open. Images with more folders list the files of each folder
/// together.
const MAX_OPENED: usize = 512;

/// The result of unpacking a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Device nodes without a stand-in, because the file system has no attributes. The layer's
    /// index has them, so the image has them as well.
    pub skipped_devices: u64,
}

/// Unpacks a layer into the empty folder `root`.
///
/// Nothing is synced to the disk. The metadata of the root folder itself is not applied: overlayfs
/// takes it from the upper folder.
///
/// **Errors** — leave a half-filled folder, which the caller removes.
///
/// ```
/// use xbuild_files::unpack::unpack;
/// use xbuild_files::Root;
/// use xbuild_layer::{Entry, Kind, LayerReader, LayerWriter, Meta};
/// use xbuild_model::records::Owners;
///
/// let mut writer = LayerWriter::new(Vec::new());
/// let kind = Kind::File { size: 5 };
/// let entry = Entry { path: b"a/file".to_vec(), kind, meta: Meta::default() };
/// writer.put(&entry, &mut &b"hello"[..])?;
/// let tar = writer.finish()?;
///
/// let folder = tempfile::tempdir()?;
/// unpack(LayerReader::new(&tar[..]), &Root::open(folder.path())?, Owners::Recorded)?;
/// assert_eq!(Root::open(folder.path())?.stat(b"a/file")?.size, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn unpack<R: Read>(
    mut layer: LayerReader<R>,
    root: &Root,
    owners: Owners,
) -> Result<Unpacked, UnpackError> {
    let mut unpacker = Unpacker::new(root, owners)
        .map_err(|source| UnpackError::Entry { path: ShownPath(Vec::new()), source })?;
    while let Some(change) = layer.next()? {
        let path = match &change {
            Change::Put(entry) => &entry.path,
            Change::Whiteout(path) | Change::Opaque(path) => path,
        };
        unpacker
            .apply(&change, &mut layer)
            .map_err(|source| UnpackError::Entry { path: ShownPath(path.clone()), source })?;
    }
    layer.finish()?;
    unpacker.finish()
}

pub(crate) struct Unpacker<'r> {
    root: &'r Root,
    owners: Owners,
    /// The owner of files that this process makes.
    own_ids: (GuestUid, GuestGid),
    /// The folder of the last entry. Archives list a folder's files together.
    current: Option<(Vec<u8>, Rc<Root>)>,
    /// Folders that were opened earlier, up to [`MAX_OPENED`].
    opened: HashMap<Vec<u8>, Rc<Root>>,
    max_opened: usize,
    /// Whether files keep the mode that they are made with.
    keeps_modes: bool,
    /// The final metadata of folders, which is set when nothing more is written into them. Folders
    /// without an entry get that of [`implied`].
    folders: BTreeMap<Vec<u8>, Meta>,
    /// Paths with a whiteout in this layer: a folder put there is opaque.
    whiteouts: BTreeSet<Vec<u8>>,
    /// Device nodes without a stand-in, and links to them.
    skipped: BTreeSet<Vec<u8>>,
    buffer: Vec<u8>,
}

impl<'r> Unpacker<'r> {
    pub(crate) fn new(root: &'r Root, owners: Owners) -> io::Result<Self> {
        // A set-group-id folder would give its group to all files in it.
        root.chmod(b"", 0o755)?;
        Ok(Self {
            root,
            owners,
            own_ids: (
                GuestUid::new(rustix::process::geteuid().as_raw()),
                GuestGid::new(rustix::process::getegid().as_raw()),
            ),
            current: None,
            opened: HashMap::new(),
            max_opened: max_opened(),
            keeps_modes: root.keeps_modes(),
            folders: BTreeMap::new(),
            whiteouts: BTreeSet::new(),
            skipped: BTreeSet::new(),
            buffer: vec![0; BUFFER],
        })
    }

    /// Applies one change; `contents` are those of a regular file.
    pub(crate) fn apply(&mut self, change: &Change, contents: &mut dyn Contents) -> io::Result<()> {
        match change {
            Change::Put(entry) if entry.path.is_empty() => Ok(()),
            Change::Put(entry) => self.put(entry, contents),
            Change::Whiteout(path) => self.whiteout(path),
            Change::Opaque(path) => {
                self.folder(path)?;
                self.root.set_xattr(path, OPAQUE, b"y")
            }
        }
    }

    fn put(&mut self, entry: &Entry, contents: &mut dyn Contents) -> io::Result<()> {
        let (parent, name) = path::split(&entry.path);
        self.enter(parent)?;
        if entry.kind == Kind::Dir {
            self.make_folder(&entry.path, name)?;
            self.folders.insert(entry.path.clone(), entry.meta.clone());
            return Ok(());
        }
        if let Kind::HardLink { target } = &entry.kind {
            return self.put_link(target, &entry.path, name);
        }
        let mut made = self.make(entry, name);
        if made.as_ref().is_err_and(exists) {
            self.remove(&entry.path, name)?;
            made = self.make(entry, name);
        }
        match made? {
            Made::File(file) => {
                copy(contents, &file, &mut self.buffer)?;
                let has_mode = self.first_mode(&entry.meta).is_some();
                self.dress_file(file.as_fd(), &entry.meta, has_mode)
            }
            Made::Device(file) => self.dress_file(file.as_fd(), &entry.meta, false),
            Made::Other => self.dress_other(name, entry),
            Made::Skipped => {
                self.skipped.insert(entry.path.clone());
                Ok(())
            }
        }
    }

    /// Makes a file of any kind but a folder or hard link, in the current folder.
    fn make(&self, entry: &Entry, name: &[u8]) -> io::Result<Made> {
        let here = self.here();
        let device = |kind, major, minor| stand_in(here, name, Device { kind, major, minor });
        match &entry.kind {
            Kind::File { .. } => {
                let mode = self.first_mode(&entry.meta).unwrap_or(0o600);
                here.create_new(name, mode).map(Made::File)
            }
            Kind::Symlink { target } => here.symlink(target, name).map(|()| Made::Other),
            Kind::Fifo => here
                .mknod(name, FileType::Fifo, entry.meta.mode & 0o7777, (0, 0))
                .map(|()| Made::Other),
            &Kind::CharDevice { major, minor } => device(DeviceKind::Char, major, minor),
            &Kind::BlockDevice { major, minor } => device(DeviceKind::Block, major, minor),
            Kind::Dir | Kind::HardLink { .. } => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    fn put_link(&mut self, target: &[u8], path: &[u8], name: &[u8]) -> io::Result<()> {
        if target == path {
            return Ok(());
        }
        if self.skipped.contains(target) {
            self.remove(path, name)?;
            self.skipped.insert(path.to_vec());
            return Ok(());
        }
        // From the root, not the current folder: the target may be anywhere.
        match self.root.link(target, path) {
            Err(error) if exists(&error) => {
                self.remove(path, name)?;
                self.root.link(target, path)
            }
            linked => linked,
        }
    }

    fn whiteout(&mut self, path: &[u8]) -> io::Result<()> {
        let (parent, name) = path::split(path);
        self.enter(parent)?;
        self.whiteouts.insert(path.to_vec());
        match self.here().mknod(name, FileType::CharacterDevice, 0, (0, 0)) {
            // A file of this layer stays. A folder of it hides those of other layers.
            Err(error) if exists(&error) => {
                if self.here().stat(name)?.is_dir() {
                    self.here().set_xattr(name, OPAQUE, b"y")?;
                }
                Ok(())
            }
            made => made,
        }
    }

    /// Makes the folder `path` if it is missing.
    fn folder(&mut self, path: &[u8]) -> io::Result<()> {
        let mut made = Vec::with_capacity(path.len());
        for part in path::parts(path) {
            let above = made.clone();
            path::push(&mut made, part);
            if self.root.try_stat(&made)?.is_some_and(|stat| stat.is_dir()) {
                continue;
            }
            self.enter(&above)?;
            self.make_folder(&made, part)?;
            self.folders.insert(made.clone(), implied());
        }
        Ok(())
    }

    /// Makes the folder `name` in the current folder if it is missing. Its mode stays private until
    /// the end.
    fn make_folder(&mut self, path: &[u8], name: &[u8]) -> io::Result<()> {
        match self.here().mkdir(name, 0o700) {
            Err(error) if exists(&error) => {
                if self.here().stat(name)?.is_dir() {
                    return Ok(());
                }
                self.remove(path, name)?;
                self.here().mkdir(name, 0o700)?;
            }
            made => made?,
        }
        if self.whiteouts.contains(path) {
            self.here().set_xattr(name, OPAQUE, b"y")?;
        }
        Ok(())
    }

    /// Removes the file of this layer at `path`, which is `name` in the current folder.
    fn remove(&mut self, path: &[u8], name: &[u8]) -> io::Result<()> {
        self.here().remove_tree(name)?;
        self.opened.clear();
        self.skipped.remove(path);
        if self.folders.remove(path).is_some() {
            let below = [path, b"/"].concat();
            let inside: Vec<_> = self
                .folders
                .range(below..)
                .map(|(inner, _)| inner)
                .take_while(|inner| path::is_within(inner, path))
                .cloned()
                .collect();
            for inner in inside {
                self.folders.remove(&inner);
            }
        }
        Ok(())
    }

    /// Makes `parent` the current folder, with its missing parts.
    fn enter(&mut self, parent: &[u8]) -> io::Result<()> {
        if self.current.as_ref().is_some_and(|(path, _)| path == parent) {
            return Ok(());
        }
        if let Some(opened) = self.opened.get(parent) {
            self.current = Some((parent.to_vec(), Rc::clone(opened)));
            return Ok(());
        }
        let opened = match self.root.dir(parent) {
            // A missing part replaces a file or symbolic link in its way.
            Err(error) if absent(&error) || is_link(&error) => {
                self.folder(parent)?;
                self.root.dir(parent)?
            }
            opened => opened?,
        };
        if self.opened.len() >= self.max_opened {
            self.opened.clear();
        }
        let opened = Rc::new(opened);
        self.opened.insert(parent.to_vec(), Rc::clone(&opened));
        self.current = Some((parent.to_vec(), opened));
        Ok(())
    }

    fn here(&self) -> &Root {
        self.current.as_ref().map_or(self.root, |(_, folder)| folder.as_ref())
    }

    /// Gives a regular file its owner, mode, attributes and time, in an order in which none undoes
    /// another. `has_mode` says that it was made with its final mode.
    fn dress_file(&self, file: BorrowedFd<'_>, meta: &Meta, has_mode: bool) -> io::Result<()> {
        match self.gift(meta) {
            Gift::Attribute(Owner::ROOT) => {}
            gift => gift.give(file)?,
        }
        if !has_mode || !meta.xattrs.is_empty() {
            set_mode(file, meta)?;
        }
        Ok(rustix::fs::futimens(file, &timestamps(meta.mtime))?)
    }

    /// Does the same for files that have effects when they are opened.
    fn dress_other(&self, name: &[u8], entry: &Entry) -> io::Result<()> {
        let (here, meta) = (self.here(), &entry.meta);
        // Owners that are recorded are listed elsewhere.
        if let Gift::Disk(uid, gid) = self.gift(meta) {
            let change = |uid: Option<u32>, gid: Option<u32>| match (uid, gid) {
                (Some(uid), Some(gid)) => here.chown(name, uid, gid),
                _ => {
                    let now = here.stat(name)?;
                    here.chown(name, uid.unwrap_or(now.uid), gid.unwrap_or(now.gid))
                }
            };
            give_on_disk(change, (uid, gid))?;
        }
        match entry.kind {
            Kind::Symlink { .. } => {}
            // To open a pipe for reading, without waiting for a writer, has no effect.
            Kind::Fifo if !meta.xattrs.is_empty() => {
                let pipe = here.openat(name, OFlags::RDONLY | OFlags::NONBLOCK)?;
                set_mode(pipe.as_fd(), meta)?;
            }
            _ => here.chmod(name, meta.mode & 0o7777)?,
        }
        here.set_mtime(name, meta.mtime)
    }

    /// Returns the mode to make a file with; `None` if it must be set later, since changes of owner
    /// and writes clear set-id bits.
    fn first_mode(&self, meta: &Meta) -> Option<u32> {
        let mode = meta.mode & 0o7777;
        let keeps_owner = matches!(self.gift(meta), Gift::Nothing | Gift::Attribute(Owner::ROOT));
        let is_final = self.keeps_modes && mode & 0o7000 == 0 && keeps_owner;
        is_final.then_some(mode)
    }

    fn gift(&self, meta: &Meta) -> Gift {
        Gift::new(self.owners, self.own_ids, meta)
    }

    /// Gives the folders their metadata, inner ones first: an outer one may become inaccessible.
    pub(crate) fn finish(self) -> Result<Unpacked, UnpackError> {
        for (path, meta) in self.folders.iter().rev() {
            dress_folder(self.root, path, meta, self.owners, self.own_ids)
                .map_err(|source| UnpackError::Entry { path: ShownPath(path.clone()), source })?;
        }
        Ok(Unpacked { skipped_devices: self.skipped.len() as u64 })
    }
}

/// Returns how many folders may be kept open: at most half of the process's limit of open files.
fn max_opened() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    (limit / 2).clamp(1, MAX_OPENED)
}

/// Returns the metadata of a folder without an entry.
fn implied() -> Meta {
    Meta { mode: 0o755, ..Meta::default() }
}

/// A file that was made.
enum Made {
    File(File),
    /// A stand-in for a device.
    Device(File),
    Other,
    Skipped,
}

/// Makes the stand-in for a device.
fn stand_in(here: &Root, name: &[u8], device: Device) -> io::Result<Made> {
    let file = here.create_new(name, 0o600)?;
    let value = device.to_string();
    match rustix::fs::fsetxattr(&file, ATTRIBUTE, value.as_bytes(), XattrFlags::empty()) {
        Ok(()) => Ok(Made::Device(file)),
        // Without the attribute it would be an empty file, which the image does not have.
        Err(Errno::OPNOTSUPP | Errno::PERM) => here.unlink(name).map(|()| Made::Skipped),
        Err(errno) => Err(errno.into()),
    }
}

/// Copies contents into a new file. Holes and long runs of zeros become holes.
pub(crate) fn copy(
    contents: &mut dyn Contents,
    mut file: &File,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut ends_in_hole = false;
    loop {
        let hole = i64::try_from(contents.skip_hole()?).map_err(io::Error::other)?;
        if hole > 0 {
            ends_in_hole = true;
            file.seek(SeekFrom::Current(hole))?;
            continue;
        }
        let count = fill(contents, buffer)?;
        let chunk = &buffer[..count];
        if chunk.is_empty() {
            break;
        }
        ends_in_hole = count == buffer.len() && chunk.iter().all(|&byte| byte == 0);
        if ends_in_hole {
            // It fits, as the length of an array.
            file.seek(SeekFrom::Current(count as i64))?;
        } else {
            file.write_all(chunk)?;
        }
    }
    if ends_in_hole {
        let end = file.stream_position()?;
        file.set_len(end)?;
    }
    Ok(())
}

/// Reads until the buffer is full or the contents end.
fn fill(contents: &mut dyn Contents, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match contents.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn exists(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AlreadyExists
}

fn is_link(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::LOOP)
}
