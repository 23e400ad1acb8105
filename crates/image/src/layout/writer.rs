//! Writing an OCI layout, as a folder or as a tar archive.
//!
//! The bytes depend on the images and names alone: files are sorted, and all times are 0.
//! [`crate::layout`] lists the files.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use oci_spec::image::ANNOTATION_REF_NAME;
use sha2::{Digest as _, Sha256};
use tracing::debug_span;
use xbuild_model::{BlobSource, Descriptor, Digest, Index, Reference, WrongBytes};

use crate::built::{BlobPlace, Built, FoundBlob};
use crate::error::LayoutError;
use crate::layout::docker;
use crate::layout::reader::{IMAGE_NAME, Layout, empty_index};
use crate::parallel::for_each;

/// The name of the file that makes a folder a layout.
const MARKER_NAME: &str = "oci-layout";
/// The name of the file that names the images of a layout.
pub(super) const INDEX_NAME: &str = "index.json";
/// The content of `oci-layout`.
const MARKER: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// Layers that are written into a folder at a time.
const JOBS: usize = 3;

/// The content of a layout to write.
#[derive(Debug)]
pub struct LayoutContent<'a> {
    /// The images; at least one.
    pub images: &'a [NamedContent<'a>],
    /// Whether an archive also has the file `manifest.json`, so that it is an archive of
    /// `docker save`, too. Each image is for one platform then.
    pub is_docker: bool,
}

/// An image, or the images of an index, with their names.
#[derive(Debug, Clone, Copy)]
pub struct NamedContent<'a> {
    /// The images.
    pub built: &'a Built<'a>,
    /// The names; may be empty.
    pub names: &'a [Reference],
    /// A tag that is no whole name, as `oci:DIR:TAG` gives it.
    pub tag: Option<&'a str>,
}

impl NamedContent<'_> {
    /// Returns the content of a layout of this image alone.
    pub fn alone(&self) -> LayoutContent<'_> {
        LayoutContent { images: std::slice::from_ref(self), is_docker: false }
    }
}

impl<'a> LayoutContent<'a> {
    /// Writes the layout into a folder, which is made if it does not exist.
    ///
    /// An existing layout is added to: images of the same names are replaced in `index.json`, other
    /// images stay. `index.json` is written last.
    ///
    /// **Errors** — after any error `index.json` is unchanged; blobs may have been added.
    pub fn write_folder(&self, path: &Path) -> Result<(), LayoutError> {
        let io = |path: &Path, source| LayoutError::Io { path: path.to_owned(), source };
        let folder = path.join("blobs/sha256");
        let old = self.existing(path)?;
        fs::create_dir_all(path).map_err(|source| io(path, source))?;
        let put = |name: &str, bytes: &[u8]| {
            let path = path.join(name);
            publish(&path, |file| file.write_all(bytes)).map_err(|source| io(&path, source))
        };
        // First, so that a folder with half of a layout is known for one by the next build.
        put(MARKER_NAME, MARKER)?;
        fs::create_dir_all(&folder).map_err(|source| io(&folder, source))?;
        let entries: Vec<_> = self.entries().into_iter().collect();
        for_each(JOBS, &entries, |(hex, blob)| write_blob(&folder.join(hex), *blob))?;
        put(INDEX_NAME, &self.index_json(old))
    }

    /// Writes the layout as a tar archive.
    ///
    /// **Errors** — after any error the archive is incomplete.
    pub fn write_tar(&self, out: impl Write) -> Result<(), LayoutError> {
        self.write_tar_without(out, &HashSet::new())
    }

    /// Writes the same without some blobs, for a reader that has them.
    ///
    /// **Errors** — after any error the archive is incomplete.
    pub fn write_tar_without(
        &self,
        out: impl Write,
        omitted: &HashSet<Digest>,
    ) -> Result<(), LayoutError> {
        let io = |name: &str, source| LayoutError::Io { path: name.into(), source };
        let mut tar = tar::Builder::new(out);
        for name in ["blobs/", "blobs/sha256/"] {
            let header = header(tar::EntryType::Directory, 0o755, 0);
            append(&mut tar, header, name, io::empty()).map_err(|source| io(name, source))?;
        }
        let entries = self.entries().into_iter();
        for (hex, (built, blob)) in entries.filter(|(_, (_, blob))| !omitted.contains(&blob.digest))
        {
            let _span = debug_span!("blob", digest = %blob.digest, size = blob.size).entered();
            let name = format!("blobs/sha256/{hex}");
            let reader = open(&find(built, blob)?, blob)?;
            let header = header(tar::EntryType::Regular, 0o644, blob.size);
            let mut checked = Checked::new(reader, blob.size);
            append(&mut tar, header, &name, &mut checked).map_err(|source| io(&name, source))?;
            checked.finish((built, blob))?;
        }
        let mut files = vec![(INDEX_NAME, self.index_json(None))];
        if self.is_docker {
            files.push((
                docker::MANIFEST,
                docker::manifest(
                    self.images.iter().map(|image| (&image.built.content, image.names)),
                )?,
            ));
        }
        files.push((MARKER_NAME, MARKER.to_vec()));
        for (name, bytes) in files {
            let header = header(tar::EntryType::Regular, 0o644, bytes.len() as u64);
            append(&mut tar, header, name, &bytes[..]).map_err(|source| io(name, source))?;
        }
        let mut out = tar.into_inner().map_err(|source| io("the archive", source))?;
        out.flush().map_err(|source| io("the archive", source))
    }

    /// Returns whether writing an archive once more may help after an error: other bytes came than
    /// those of a blob, and it is the first time, or they came from a mirror.
    pub fn may_help(&self, error: &LayoutError, is_second: &mut bool) -> bool {
        let LayoutError::LayerBytes { source: wrong } = error else { return false };
        let mut entries = self.entries().into_values();
        let is_elsewhere =
            entries.any(|(built, blob)| blob.digest == wrong.digest && built.distrust(blob));
        is_elsewhere || !std::mem::replace(is_second, true)
    }

    /// Returns all blobs by their file names.
    fn entries(&self) -> BTreeMap<String, (&Built<'_>, &Descriptor)> {
        let of = |image: &'a NamedContent<'a>| {
            let content = &image.built.content;
            let documents = content.documents().iter().map(|document| &document.descriptor);
            let all = content.blobs().into_iter().chain(documents);
            all.map(|blob| (blob.digest.hex(), (image.built, blob)))
        };
        self.images.iter().flat_map(of).collect()
    }

    /// Returns the index of the existing layout; `None` if the folder is empty or does not exist, or
    /// holds what a build left that failed before it wrote the index.
    fn existing(&self, path: &Path) -> Result<Option<Index>, LayoutError> {
        let is_begun = || {
            let index = fs::symlink_metadata(path.join(INDEX_NAME));
            fs::read(path.join(MARKER_NAME)).is_ok_and(|bytes| bytes == MARKER)
                && index.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
        };
        match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
            Ok(true) => Ok(None),
            Ok(false) if is_begun() => Ok(None),
            Ok(false) => Layout::open(path).map(|layout| Some(layout.index().clone())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LayoutError::Io { path: path.to_owned(), source }),
        }
    }

    fn index_json(&self, old: Option<Index>) -> Vec<u8> {
        let mut ours: Vec<Descriptor> = Vec::new();
        for image in self.images {
            let root = &image.built.content.root().descriptor;
            for name in image.names {
                let mut entry = root.clone();
                entry.annotations.insert(IMAGE_NAME.to_owned(), name.to_string());
                let tag = name.tag().unwrap_or("latest").to_owned();
                entry.annotations.insert(ANNOTATION_REF_NAME.to_owned(), tag);
                ours.push(entry);
            }
            if let Some(tag) = image.tag {
                let mut entry = root.clone();
                entry.annotations.insert(ANNOTATION_REF_NAME.to_owned(), tag.to_owned());
                ours.push(entry);
            } else if image.names.is_empty() {
                ours.push(root.clone());
            }
        }
        let mut index = old.unwrap_or_else(empty_index);
        let is_replaced = |entry: &Descriptor| {
            let name = |entry: &Descriptor| entry.annotations.get(IMAGE_NAME).cloned();
            let tag = |entry: &Descriptor| entry.annotations.get(ANNOTATION_REF_NAME).cloned();
            ours.iter().any(|own| match (name(own), tag(own)) {
                (Some(own), _) => name(entry) == Some(own),
                (None, Some(own)) => name(entry).is_none() && tag(entry) == Some(own),
                (None, None) => entry.digest == own.digest && tag(entry).is_none(),
            })
        };
        index.manifests.retain(|entry| !is_replaced(entry));
        index.manifests.extend(ours);
        index_bytes(index)
    }
}

/// Returns the bytes of `index.json`.
pub(super) fn index_bytes(mut index: Index) -> Vec<u8> {
    let unreadable = std::mem::take(&mut index.unreadable);
    if unreadable.is_empty() {
        return serde_json::to_vec(&index).expect("an index has string keys only");
    }
    // What another tool wrote stays, even if this one cannot read it.
    let mut value = serde_json::to_value(&index).expect("an index has string keys only");
    if let Some(entries) = value["manifests"].as_array_mut() {
        entries.extend(unreadable);
    }
    value.to_string().into_bytes()
}

/// Writes a blob, once more if other bytes came: a proxy may have changed some. Bytes of mirrors do
/// not count, as the next place is asked after them.
fn write_blob(path: &Path, (built, blob): (&Built<'_>, &Descriptor)) -> Result<(), LayoutError> {
    let mut is_second = false;
    loop {
        match write_once(path, (built, blob)) {
            Err(LayoutError::LayerBytes { .. })
                if built.distrust(blob) || !std::mem::replace(&mut is_second, true) => {}
            done => return done,
        }
    }
}

fn write_once(path: &Path, (built, blob): (&Built<'_>, &Descriptor)) -> Result<(), LayoutError> {
    let _span = debug_span!("blob", digest = %blob.digest, size = blob.size).entered();
    let io = |source| LayoutError::Io { path: path.to_owned(), source };
    if fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.len() == blob.size) {
        return Ok(());
    }
    let found = find(built, blob)?;
    if let FoundBlob::Document(bytes) = found {
        return publish(path, |file| file.write_all(bytes)).map_err(io);
    }
    let mut wrong = Ok(());
    let copied = publish(path, |file| {
        if let FoundBlob::File(stored) = &found {
            // From file to file the kernel copies, or shares the blocks.
            let mut stored = stored.try_clone()?;
            io::Seek::rewind(&mut stored)?;
            let length = io::copy(&mut stored, file)?;
            return if length == blob.size { Ok(()) } else { Err(wrong_bytes()) };
        }
        wrong = open(&found, blob).and_then(|reader| {
            let mut checked = Checked::new(reader, blob.size);
            io::copy(&mut checked, file).map_err(io)?;
            checked.finish((built, blob))
        });
        if wrong.is_ok() { Ok(()) } else { Err(wrong_bytes()) }
    });
    wrong.and(copied.map_err(io))
}

fn find<'b>(built: &'b Built<'_>, blob: &'b Descriptor) -> Result<FoundBlob<'b>, LayoutError> {
    let digest = || blob.digest.clone();
    built.find(blob).map_err(|source| LayoutError::Layer { digest: digest(), source })
}

fn open(found: &FoundBlob<'_>, blob: &Descriptor) -> Result<Box<dyn Read + Send>, LayoutError> {
    let digest = || blob.digest.clone();
    found.open(0).map_err(|source| LayoutError::Layer { digest: digest(), source })
}

fn wrong_bytes() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

/// Writes a file beside `path` and renames it once it is complete. It is not synced, since no later
/// run relies on it: it can be made again.
pub(super) fn publish(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
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
        // Best effort: the error above is the one to report.
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

/// Hashes the bytes that are read through it, at most one byte more than `size`.
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

    /// Checks that the bytes read are the whole blob.
    fn finish(self, (built, blob): (&Built<'_>, &Descriptor)) -> Result<(), LayoutError> {
        let actual = Digest::from_sha256(self.hash.finalize().into());
        if self.seen == self.size && actual == blob.digest {
            return Ok(());
        }
        let source = match built.place(blob) {
            Some(BlobPlace::Remote(source)) => source,
            _ => &BlobSource::Store,
        };
        Err(LayoutError::LayerBytes { source: WrongBytes::new(blob, source) })
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
