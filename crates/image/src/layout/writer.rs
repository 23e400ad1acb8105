//! Writing an OCI layout, as a folder or as a tar archive.
//!
//! The bytes depend on the images and names only: files are sorted, and all times are 0. See
//! [`crate::layout`] for what is in it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use sha2::{Digest as _, Sha256};
use xbuild_model::manifest::REF_NAME;
use xbuild_model::seam::Blobs;
use xbuild_model::{Descriptor, Digest, Index, Reference};

use crate::assemble::Assembled;
use crate::error::LayoutError;
use crate::layer_source::{LayerSource, PushSource, open_source};
use crate::layout::reader::{IMAGE_NAME, Layout, empty_index};
use crate::parallel::for_each;

/// The content of `oci-layout`.
const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// How many layers are written into a folder at a time.
const JOBS: usize = 3;

/// What goes into a layout.
pub struct LayoutContent<'a> {
    /// The images.
    pub assembled: &'a Assembled,
    /// Their names; may be empty.
    pub names: &'a [Reference],
    /// Where the layers are.
    pub layers: &'a LayerSource<'a>,
    /// Reads the layers that are elsewhere.
    pub blobs: &'a dyn Blobs,
}

impl fmt::Debug for LayoutContent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayoutContent")
            .field("root", &self.assembled.root().0.digest)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// A blob to write: its bytes, or nothing for a layer.
type Entries<'a> = BTreeMap<String, (&'a Descriptor, Option<&'a [u8]>)>;

impl LayoutContent<'_> {
    /// Writes the layout into a folder, which is made if it is not there.
    ///
    /// A layout that is there already is added to: its other images stay, an image of the same
    /// name is replaced in `index.json`, which is written last.
    ///
    /// **Errors** — on any of them `index.json` is as it was; blobs may have been added.
    pub fn write_folder(&self, path: &Path) -> Result<(), LayoutError> {
        let io = |path: &Path, source| LayoutError::Io { path: path.to_owned(), source };
        let folder = path.join("blobs/sha256");
        let old = self.existing(path)?;
        fs::create_dir_all(&folder).map_err(|source| io(&folder, source))?;
        let entries: Vec<_> = self.entries().into_iter().collect();
        for_each(JOBS, &entries, |(hex, (descriptor, bytes))| {
            self.write_blob(&folder.join(hex), descriptor, *bytes)
        })?;
        let files = [("oci-layout", MARKER.to_vec()), ("index.json", self.index_json(old))];
        for (name, bytes) in files {
            let path = path.join(name);
            publish(&path, |file| file.write_all(&bytes)).map_err(|source| io(&path, source))?;
        }
        Ok(())
    }

    /// Writes the layout as a tar archive.
    ///
    /// **Errors** — what was written by then is of no use.
    pub fn write_tar(&self, out: impl Write) -> Result<(), LayoutError> {
        let io = |name: &str, source| LayoutError::Io { path: name.into(), source };
        let mut tar = tar::Builder::new(out);
        for name in ["blobs/", "blobs/sha256/"] {
            let header = header(tar::EntryType::Directory, 0o755, 0);
            append(&mut tar, header, name, io::empty()).map_err(|source| io(name, source))?;
        }
        for (hex, (descriptor, bytes)) in self.entries() {
            let name = format!("blobs/sha256/{hex}");
            let mut reader: Box<dyn Read> = match bytes {
                Some(bytes) => Box::new(bytes),
                None => self.open_layer(descriptor)?,
            };
            let header = header(tar::EntryType::Regular, 0o644, descriptor.size);
            let mut checked = Checked::new(&mut reader, descriptor.size);
            append(&mut tar, header, &name, &mut checked).map_err(|source| io(&name, source))?;
            checked.finish(&descriptor.digest)?;
        }
        for (name, bytes) in
            [("index.json", self.index_json(None)), ("oci-layout", MARKER.to_vec())]
        {
            let header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
            append(&mut tar, header, name, &bytes[..]).map_err(|source| io(name, source))?;
        }
        let mut out = tar.into_inner().map_err(|source| io("the archive", source))?;
        out.flush().map_err(|source| io("the archive", source))
    }

    /// Returns all blobs by their file names.
    fn entries(&self) -> Entries<'_> {
        let mut entries = Entries::new();
        for layer in self.assembled.layers() {
            entries.insert(layer.digest.hex(), (layer, None));
        }
        for image in &self.assembled.images {
            let (config, manifest) = (&image.config_descriptor, &image.descriptor);
            entries.insert(config.digest.hex(), (config, Some(&image.config)));
            entries.insert(manifest.digest.hex(), (manifest, Some(&image.manifest)));
        }
        let (root, bytes) = self.assembled.root();
        entries.insert(root.digest.hex(), (root, Some(bytes)));
        entries
    }

    /// Returns the index of the layout that is there, `None` if there is nothing.
    fn existing(&self, path: &Path) -> Result<Option<Index>, LayoutError> {
        match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(None),
            Ok(false) => Layout::open(path).map(|layout| Some(layout.index().clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LayoutError::Io { path: path.to_owned(), source }),
        }
    }

    fn index_json(&self, old: Option<Index>) -> Vec<u8> {
        let root = self.assembled.root().0;
        let mut ours: Vec<Descriptor> = Vec::new();
        for name in self.names {
            let mut entry = root.clone();
            entry.annotations.insert(IMAGE_NAME.to_owned(), name.to_string());
            let tag = name.tag().unwrap_or("latest").to_owned();
            entry.annotations.insert(REF_NAME.to_owned(), tag);
            ours.push(entry);
        }
        if ours.is_empty() {
            ours.push(root.clone());
        }
        let mut index = old.unwrap_or_else(empty_index);
        let is_replaced = |entry: &Descriptor| {
            ours.iter().any(|own| match own.annotations.get(IMAGE_NAME) {
                Some(name) => entry.annotations.get(IMAGE_NAME) == Some(name),
                None => entry.digest == own.digest && !entry.annotations.contains_key(REF_NAME),
            })
        };
        index.manifests.retain(|entry| !is_replaced(entry));
        index.manifests.extend(ours);
        serde_json::to_vec(&index).expect("an index has string keys only")
    }

    fn write_blob(
        &self,
        path: &Path,
        descriptor: &Descriptor,
        bytes: Option<&[u8]>,
    ) -> Result<(), LayoutError> {
        let io = |source| LayoutError::Io { path: path.to_owned(), source };
        if fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == descriptor.size) {
            return Ok(());
        }
        if let Some(bytes) = bytes {
            return publish(path, |file| file.write_all(bytes)).map_err(io);
        }
        let mut wrong = Ok(());
        let source = self.source(descriptor)?;
        let copied = publish(path, |file| {
            if let Some(local) = source.file() {
                // File to file: the kernel copies, or shares the blocks.
                let mut local = local.try_clone()?;
                io::Seek::rewind(&mut local)?;
                let length = io::copy(&mut local, file)?;
                return if length == descriptor.size { Ok(()) } else { Err(wrong_bytes()) };
            }
            let mut reader = match self.open_remote(&source, descriptor) {
                Ok(reader) => reader,
                Err(error) => {
                    wrong = Err(error);
                    return Err(wrong_bytes());
                }
            };
            let mut checked = Checked::new(&mut reader, descriptor.size);
            io::copy(&mut checked, file)?;
            wrong = checked.finish(&descriptor.digest);
            if wrong.is_ok() { Ok(()) } else { Err(wrong_bytes()) }
        });
        wrong.and(copied.map_err(io))
    }

    fn source(&self, descriptor: &Descriptor) -> Result<PushSource, LayoutError> {
        let digest = || descriptor.digest.clone();
        (self.layers)(descriptor).map_err(|source| LayoutError::Layer { digest: digest(), source })
    }

    fn open_layer(&self, descriptor: &Descriptor) -> Result<Box<dyn Read>, LayoutError> {
        let source = self.source(descriptor)?;
        let digest = || descriptor.digest.clone();
        match open_source(source, self.blobs) {
            Ok(reader) => Ok(reader),
            Err(source) => Err(LayoutError::Layer { digest: digest(), source }),
        }
    }

    fn open_remote(
        &self,
        source: &PushSource,
        descriptor: &Descriptor,
    ) -> Result<Box<dyn Read>, LayoutError> {
        let PushSource::Remote(layer) = source else { return self.open_layer(descriptor) };
        match self.blobs.open(layer) {
            Ok(reader) => Ok(reader),
            Err(source) => Err(LayoutError::Layer { digest: descriptor.digest.clone(), source }),
        }
    }
}

fn wrong_bytes() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Writes a file beside `path` and gives it that name once it is complete. Not synced: this is a
/// product that can be made again, not state that a later run relies on.
fn publish(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = folder.join(format!(".{name}.{}", std::process::id()));
    let result = File::options()
        .write(true)
        .create_new(true)
        .open(&temporary)
        .and_then(|mut file| write(&mut file))
        .and_then(|()| fs::rename(&temporary, path));
    if result.is_err() {
        // Best effort: the error that matters is the one before.
        let _ = fs::remove_file(&temporary);
    }
    result
}

fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    mut header: tar::Header,
    name: &str,
    bytes: impl Read,
) -> io::Result<()> {
    tar.append_data(&mut header, name, bytes)
}

/// Hashes what is read, and reads one byte more than `size` at most.
struct Checked<R> {
    inner: io::Take<R>,
    hash: Sha256,
    size: u64,
    seen: u64,
}

impl<R: Read> Checked<R> {
    fn new(inner: R, size: u64) -> Self {
        let inner = inner.take(size.saturating_add(1));
        Self { inner, hash: Sha256::new(), size, seen: 0 }
    }

    /// Checks that what was read is the whole blob.
    fn finish(self, digest: &Digest) -> Result<(), LayoutError> {
        let actual = Digest::from_sha256(self.hash.finalize().into());
        if self.seen == self.size && actual == *digest {
            Ok(())
        } else {
            Err(LayoutError::LayerBytes { digest: digest.clone() })
        }
    }
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.seen += length as u64;
        if self.seen > self.size || (length == 0 && !buffer.is_empty() && self.seen < self.size) {
            return Err(wrong_bytes());
        }
        self.hash.update(&buffer[..length]);
        Ok(length)
    }
}
