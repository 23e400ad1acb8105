//! The visible files of a stack of layers, as one tar archive or as a folder.
//!
//! The layers are read one after the other, and each gives the files that are still visible. No
//! unpacked copy is made on the way.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::FileType;
use rustix::io::Errno;
use xbuild_layer::attributes::narrowed;
use xbuild_layer::{
    Change, ContentHash, Contents, Entry, Kind, LayerWriter, Meta, Mtime, ShownPath, Tree,
    capability, path,
};

use crate::CopyError;
use crate::copy::{EntrySink, LayerSource, Origin, Outline, Sources};
use crate::root::Root;
use crate::unpack::{BUFFER, copy};

/// The mode of files and folders while they are being written.
const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_FOLDER: u32 = 0o700;

/// A part of an exported folder that is missing, since an ordinary user cannot make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file, below the exported folder.
    pub path: ShownPath,
    /// The missing part.
    pub what: SkippedPart,
}

/// A part of an exported file that is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkippedPart {
    /// The whole file, which is a device node.
    Device,
    /// The file's capabilities.
    Capabilities,
}

/// Writes all files of `tree` to an archive, with contents from `source`. Folders come first, then
/// regular files in the order of the layers. The caller finishes the writer.
pub fn to_tar<W: Write>(
    tree: &Tree,
    source: Arc<dyn LayerSource>,
    writer: &mut LayerWriter<W>,
) -> Result<(), CopyError> {
    Outline::of_tree(tree, |_, _| true).write(&sources(tree, source), writer)
}

/// The same, with the time `time` for all files, below a folder of the archive: its path has no
/// slashes at its ends.
pub fn to_tar_at<W: Write>(
    tree: &Tree,
    source: Arc<dyn LayerSource>,
    writer: &mut LayerWriter<W>,
    folder: Option<&[u8]>,
    time: Option<Mtime>,
) -> Result<(), CopyError> {
    let mut moved = Moved { sink: writer, folder, time };
    if folder.is_some() {
        let meta = tree.root().meta.clone();
        moved.put(&Entry { path: Vec::new(), kind: Kind::Dir, meta }, &mut io::empty(), None)?;
    }
    Outline::of_tree(tree, |_, _| true).write(&sources(tree, source), &mut moved)
}

/// Passes entries on with other paths and times.
struct Moved<'a, S: EntrySink> {
    sink: &'a mut S,
    folder: Option<&'a [u8]>,
    time: Option<Mtime>,
}

impl<S: EntrySink> EntrySink for Moved<'_, S> {
    fn put(
        &mut self,
        entry: &Entry,
        contents: &mut dyn Contents,
        hash: Option<ContentHash>,
    ) -> Result<(), CopyError> {
        let mut entry = entry.clone();
        if let Some(folder) = self.folder {
            entry.path = path::join(folder, &entry.path);
            if let Kind::HardLink { target } = &mut entry.kind {
                *target = path::join(folder, target);
            }
        }
        entry.meta.mtime = self.time.unwrap_or(entry.meta.mtime);
        EntrySink::put(self.sink, &entry, contents, hash)
    }

    fn mark(&mut self, change: &Change) -> Result<(), CopyError> {
        // Files that are hidden by a mark are not in the tree.
        self.sink.mark(change)
    }
}

/// The same, with those files only that `shows` lets pass: it gets their paths, and whether they are
/// folders.
pub fn to_tar_where<W: Write>(
    tree: &Tree,
    source: Arc<dyn LayerSource>,
    writer: &mut LayerWriter<W>,
    shows: impl Fn(&[u8], bool) -> bool,
) -> Result<(), CopyError> {
    Outline::of_tree(tree, shows).write(&sources(tree, source), writer)
}

/// Writes some files of `tree` to an archive, as [`to_tar`] does. `paths` has all names of a file that
/// has several, or none of them.
pub fn some_to_tar<W: Write>(
    tree: &Tree,
    source: Arc<dyn LayerSource>,
    paths: &BTreeSet<Vec<u8>>,
    writer: &mut LayerWriter<W>,
) -> Result<(), CopyError> {
    let mut outline = Outline::of_tree(tree, |_, _| true);
    outline.retain(|path| paths.contains(path));
    outline.write(&sources(tree, source), writer)
}

/// Writes all files of `tree` below the folder `dest`, which is made if it is missing. They belong
/// to the user of this process; modes are kept, and times unless `time` is given for all files.
///
/// Existing folders are merged, other files are replaced. Symbolic links below `dest` are never
/// followed, whoever made them.
///
/// **Errors** — [`CopyError::Export`], also if a file would replace a folder. The files written so
/// far stay.
pub fn to_folder(
    tree: &Tree,
    source: Arc<dyn LayerSource>,
    dest: &Path,
    time: Option<Mtime>,
) -> Result<Vec<Skipped>, CopyError> {
    let root = std::fs::create_dir_all(dest)
        .and_then(|()| Root::open(dest))
        .map_err(fail(dest.as_os_str().as_encoded_bytes()))?;
    let mut writer =
        FolderWriter { root, folders: Vec::new(), skipped: Vec::new(), buffer: vec![0; BUFFER] };
    let mut moved = Moved { sink: &mut writer, folder: None, time };
    Outline::of_tree(tree, |_, _| true).write(&sources(tree, source), &mut moved)?;
    writer.finish()
}

/// Writes one more file below the folder `dest`, which exists, as [`to_folder`] writes those of a
/// tree.
pub fn add_to_folder(dest: &Path, entry: &Entry, contents: &[u8]) -> Result<(), CopyError> {
    let root = Root::open(dest).map_err(fail(dest.as_os_str().as_encoded_bytes()))?;
    let mut writer =
        FolderWriter { root, folders: Vec::new(), skipped: Vec::new(), buffer: vec![0; BUFFER] };
    EntrySink::put(&mut writer, entry, &mut &*contents, None)
}

fn sources(tree: &Tree, source: Arc<dyn LayerSource>) -> Sources {
    Sources::new(Some(&Origin::Layers { tree: tree.clone(), source }), &[])
}

fn fail(path: &[u8]) -> impl FnOnce(io::Error) -> CopyError {
    let path = ShownPath(path.to_vec());
    move |source| CopyError::Export { path, source }
}

/// Writes entries below a folder.
struct FolderWriter {
    root: Root,
    /// Folders, with the mode and time that they get when all their files are written.
    folders: Vec<(Vec<u8>, Meta)>,
    skipped: Vec<Skipped>,
    buffer: Vec<u8>,
}

impl FolderWriter {
    /// Gives folders their modes and times, inner ones first.
    fn finish(self) -> Result<Vec<Skipped>, CopyError> {
        for (path, meta) in self.folders.iter().rev() {
            self.root
                .set_mtime(path, meta.mtime)
                .and_then(|()| self.root.chmod(path, narrowed(meta.mode, &meta.xattrs)))
                .map_err(fail(path))?;
        }
        Ok(self.skipped)
    }

    fn skip(&mut self, path: &[u8], what: SkippedPart) {
        self.skipped.push(Skipped { path: ShownPath(path.to_vec()), what });
    }

    fn folder(&self, path: &[u8]) -> io::Result<()> {
        match self.root.try_stat(path)? {
            Some(stat) if stat.is_dir() => {
                if stat.mode & PRIVATE_FOLDER != PRIVATE_FOLDER {
                    self.root.chmod(path, stat.mode | PRIVATE_FOLDER)?;
                }
                return Ok(());
            }
            Some(_) => self.root.unlink(path)?,
            None => {}
        }
        self.root.mkdir(path, PRIVATE_FOLDER)
    }

    fn file(
        &mut self,
        path: &[u8],
        size: u64,
        meta: &Meta,
        contents: &mut dyn Contents,
    ) -> io::Result<()> {
        let file = self.root.create_new(path, PRIVATE_FILE)?;
        copy(contents, &file, &mut self.buffer)?;
        if file.metadata()?.len() != size {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        drop(file);
        // The mode is set last: writing and setting attributes would clear set-user-id.
        for (name, value) in meta.xattrs.iter().filter(|(name, _)| name == capability::NAME) {
            let name = String::from_utf8_lossy(name);
            match self.root.set_xattr(path, &name, value) {
                Ok(()) => {}
                Err(error) if is_refused(&error) => self.skip(path, SkippedPart::Capabilities),
                Err(error) => return Err(error),
            }
        }
        self.root.chmod(path, narrowed(meta.mode, &meta.xattrs))?;
        self.root.set_mtime(path, meta.mtime)
    }

    fn special(
        &mut self,
        path: &[u8],
        kind: FileType,
        device: (u32, u32),
        meta: &Meta,
    ) -> io::Result<()> {
        match self.root.mknod(path, kind, PRIVATE_FILE, device) {
            Ok(()) => {
                self.root.chmod(path, narrowed(meta.mode, &meta.xattrs))?;
                self.root.set_mtime(path, meta.mtime)
            }
            Err(error) if is_refused(&error) && kind != FileType::Fifo => {
                self.skip(path, SkippedPart::Device);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn write(&mut self, entry: &Entry, contents: &mut dyn Contents) -> io::Result<()> {
        let Entry { path, kind, meta } = entry;
        if *kind == Kind::Dir {
            self.folder(path)?;
            self.folders.push((path.clone(), meta.clone()));
            return Ok(());
        }
        if let Some(stat) = self.root.try_stat(path)? {
            if stat.is_dir() {
                return Err(Errno::ISDIR.into());
            }
            self.root.unlink(path)?;
        }
        match kind {
            Kind::Dir => Ok(()),
            Kind::File { size } => self.file(path, *size, meta, contents),
            Kind::Symlink { target } => {
                self.root.symlink(target, path)?;
                self.root.set_mtime(path, meta.mtime)
            }
            Kind::HardLink { target } => self.root.link(target, path),
            Kind::CharDevice { major, minor } => {
                self.special(path, FileType::CharacterDevice, (*major, *minor), meta)
            }
            Kind::BlockDevice { major, minor } => {
                self.special(path, FileType::BlockDevice, (*major, *minor), meta)
            }
            Kind::Fifo => self.special(path, FileType::Fifo, (0, 0), meta),
        }
    }
}

/// Returns whether an error means that the user or the file system cannot do this.
fn is_refused(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP))
}

impl EntrySink for FolderWriter {
    fn put(
        &mut self,
        entry: &Entry,
        contents: &mut dyn Contents,
        _: Option<ContentHash>,
    ) -> Result<(), CopyError> {
        self.write(entry, contents).map_err(fail(&entry.path))
    }

    fn mark(&mut self, _: &Change) -> Result<(), CopyError> {
        // Files that are hidden by a mark are not in the tree.
        Ok(())
    }
}

#[cfg(test)]
mod tests;
