//! ADD of local archives: their files go straight into the layer and are not unpacked on disk.
//!
//! Names are resolved as in a chroot at the destination: neither `..`, nor an absolute name, nor a
//! symbolic link leads out of it.
//!
//! **Source** — Dockerfile reference § ADD; moby/go-archive 0.1 § Unpack where the reference is
//! silent.

use std::collections::BTreeMap;
use std::io::Read;

use xbuild_layer::path::{self, DotDot};
use xbuild_layer::{
    ContentHash, Entry, Hashing, Kind, LARGE, LayerError, Mapped, Meta, Mtime, RawEntry, Segment,
    ShownPath, attributes, capability,
};

use super::sink::EntrySink;
use super::stage::Stage;
use super::staged::{NewDir, Staged};
use crate::CopyError;
use crate::archive::{self, ArchiveReader, is_first_entry};
use crate::context::Context;
use crate::source::Content;
use crate::stamp::ContextFile;

/// The mode of folders that have no entry in the archive.
const IMPLIED_MODE: u32 = 0o755;

/// Bytes of a large file that are read at a time.
const BUFFER: usize = 128 << 10;

/// A file that holds a tar archive.
#[derive(Debug)]
pub(crate) struct Archive {
    path: Vec<u8>,
    file: ContextFile,
    hash: ContentHash,
}

impl Archive {
    /// Returns the regular file `path` as an archive; `None` if its first header is not one. Later
    /// faults are errors of the unpacking.
    pub(crate) fn detect(context: &Context, path: &[u8]) -> Result<Option<Self>, CopyError> {
        let (file, hashed) = context.read(path)?;
        let archive = Self { path: path.to_vec(), file, hash: hashed.hash };
        let first = match archive.open(context) {
            Ok(mut reader) => reader.tar.next(),
            Err(CopyError::Archive { source, .. }) => Err(source),
            Err(error) => return Err(error),
        };
        Ok(is_first_entry(first).then_some(archive))
    }

    /// Returns the file of the archive, with its stamp.
    pub(crate) fn file(&self) -> &ContextFile {
        &self.file
    }

    /// Returns the hash of the file, compressed as it is.
    pub(crate) fn hash(&self) -> &ContentHash {
        &self.hash
    }

    /// Opens the archive at its first entry.
    fn open(&self, context: &Context) -> Result<ArchiveReader<Box<dyn Read + Send>>, CopyError> {
        let mut file = context.reopen(&self.file)?;
        let mut head = Vec::new();
        file.by_ref()
            .take(archive::SNIFFED)
            .read_to_end(&mut head)
            .map_err(CopyError::read(&self.path))?;
        self.fail(archive::read(head, file))
    }

    fn fail<T>(&self, result: Result<T, LayerError>) -> Result<T, CopyError> {
        result.map_err(|source| CopyError::Archive { archive: self.shown(), source })
    }

    fn shown(&self) -> ShownPath {
        ShownPath(self.path.clone())
    }

    /// Stages all files below the folder `base`. Their contents are found by `number`.
    pub(crate) fn stage(
        &self,
        context: &Context,
        number: usize,
        base: &[u8],
        owner: Option<(u32, u32)>,
        default_mtime: Mtime,
        stage: &mut Stage<'_>,
    ) -> Result<(), CopyError> {
        let mut reader = self.open(context)?;
        let mut position = 0;
        while let Some(raw) = self.fail(reader.tar.next())? {
            let content = Content::Archive { number, position };
            self.stage_entry(raw, content, base, owner, default_mtime, stage)?;
            position += 1;
        }
        self.fail(reader.finish())?;
        // Fails if the file has changed since it was hashed.
        context.reopen(&self.file).map(drop)
    }

    fn stage_entry(
        &self,
        raw: RawEntry,
        content: Content,
        base: &[u8],
        owner: Option<(u32, u32)>,
        default_mtime: Mtime,
        stage: &mut Stage<'_>,
    ) -> Result<(), CopyError> {
        let named = path::clean(&raw.name, DotDot::Clamp).map_err(CopyError::path(&raw.name))?;
        if named.is_empty() {
            // The archive's root does not change the destination.
            return Ok(());
        }
        let folder = stage.resolve(base, path::parent(&named), true)?;
        // Folders without an entry belong to root, whatever the owner of the others.
        let implied = NewDir { mode: IMPLIED_MODE, owner: (0, 0), mtime: default_mtime };
        stage.make_dirs(&folder, &implied)?;
        let at = path::join(&folder, path::file_name(&named));
        let meta = layer_meta(raw.meta, owner, &raw.kind);
        match raw.kind {
            Kind::HardLink { target } => self.stage_link(at, &target, base, stage),
            Kind::File { .. } => {
                stage.put(at, Staged { kind: raw.kind, meta, content, hash: None })
            }
            kind => stage.put(at, Staged::without_content(kind, meta)),
        }
    }

    /// Stages a further name of an earlier file of the archive.
    fn stage_link(
        &self,
        at: Vec<u8>,
        target: &[u8],
        base: &[u8],
        stage: &mut Stage<'_>,
    ) -> Result<(), CopyError> {
        let named = path::clean(target, DotDot::Clamp).map_err(CopyError::path(target))?;
        let folder = stage.resolve(base, path::parent(&named), true)?;
        let found = path::join(&folder, path::file_name(&named));
        let same = match stage.staged(&found) {
            Some(Staged { kind: Kind::File { .. } | Kind::HardLink { .. }, .. }) => None,
            Some(file) if file.kind != Kind::Dir => Some(file.clone()),
            _ => return Err(self.bad_link(at, target)),
        };
        match same {
            // A second symbolic link or device is as good as a further name of the first.
            Some(file) => stage.put(at, file),
            None if stage.link(at.clone(), &found)? => Ok(()),
            None => Err(self.bad_link(at, target)),
        }
    }

    fn bad_link(&self, at: Vec<u8>, target: &[u8]) -> CopyError {
        CopyError::ArchiveLink {
            archive: self.shown(),
            path: ShownPath(at),
            target: ShownPath(target.to_vec()),
        }
    }

    /// Writes the `wanted` files of the archive, which are given by position.
    pub(crate) fn write(
        &self,
        context: &Context,
        wanted: BTreeMap<u32, Entry>,
        sink: &mut dyn EntrySink,
    ) -> Result<(), CopyError> {
        let changed = || CopyError::Changed { path: self.shown() };
        let mut reader = self.open(context)?;
        let mut next = 0;
        for (position, entry) in wanted {
            let raw = loop {
                let raw = self.fail(reader.tar.next())?.ok_or_else(changed)?;
                next += 1;
                if next > position {
                    break raw;
                }
            };
            if raw.kind != entry.kind {
                return Err(changed());
            }
            let segments = self.segments(context, position, &entry)?;
            sink.put(&entry, &mut Mapped::new(&mut reader.tar, segments), None)?;
        }
        context.reopen(&self.file).map(drop)
    }
}

impl Archive {
    /// Reads the file at a position of the archive, if it is large, for the parts that are not
    /// holes.
    fn segments(
        &self,
        context: &Context,
        position: u32,
        entry: &Entry,
    ) -> Result<Option<Vec<Segment>>, CopyError> {
        let Kind::File { size: size @ LARGE.. } = entry.kind else { return Ok(None) };
        let mut reader = self.open(context)?;
        for _ in 0..=position {
            self.fail(reader.tar.next())?;
        }
        let hashed = Hashing::new(&mut reader.tar, size).read_all(&mut vec![0; BUFFER]);
        Ok(self.fail(hashed.map_err(LayerError::from_read))?.segments)
    }
}

/// Returns the metadata that an entry gets in the layer.
fn layer_meta(meta: Meta, owner: Option<(u32, u32)>, kind: &Kind) -> Meta {
    let (uid, gid) = owner.unwrap_or((meta.uid, meta.gid));
    let is_link = matches!(kind, Kind::Symlink { .. });
    let mode = if is_link { 0o777 } else { attributes::narrowed(meta.mode, &meta.xattrs) };
    // As in the reference: no time, or a time before 1970, becomes 1970.
    let mtime = if meta.mtime.secs < 0 { Mtime::default() } else { meta.mtime };
    Meta { mode, uid, gid, mtime, xattrs: capability::exported(&meta.xattrs) }
}

#[cfg(test)]
mod tests;
