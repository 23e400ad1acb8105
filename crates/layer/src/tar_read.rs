//! Reading layers: the changes of an archive, checked and cleaned.

mod contents;
mod header;
mod links;
mod numbers;
mod pax;
mod raw;
mod sparse;
#[cfg(test)]
mod tests;

use std::io::{self, Read};

pub use raw::{RawEntry, TarReader};

pub(crate) use header::BLOCK;
pub(crate) use pax::XATTR_PREFIX;

use crate::path::{self, DotDot};
use crate::whiteout::{self, Role};
use crate::{Change, Contents, Entry, EntryFault, Kind, LayerError, Segment};
use links::Links;

/// Reads a layer. After [`LayerReader::next`] has returned a regular file, its contents can be read
/// (holes as zeros); the rest of them is skipped.
///
/// Paths are clean, and free of symbolic links that the layer itself has put before, so every path
/// stays inside the root. After an error the reader cannot be used further.
///
/// **Source** — OCI image-spec `layer.md`.
#[derive(Debug)]
pub struct LayerReader<R> {
    tar: TarReader<R>,
    links: Links,
}

impl<R: Read> LayerReader<R> {
    /// Reads the uncompressed layer `input`.
    pub fn new(input: R) -> Self {
        Self { tar: TarReader::new(input), links: Links::default() }
    }

    /// Returns the next change; `None` after the last.
    ///
    /// **Errors** — as [`TarReader::next`]; [`LayerError::Entry`] for names and targets that climb
    /// out, are too long or are reserved, for a root that is not a folder, and for a character
    /// device 0:0.
    #[expect(clippy::should_implement_trait, reason = "a file must be read before the next")]
    pub fn next(&mut self) -> Result<Option<Change>, LayerError> {
        while let Some(raw) = self.tar.next()? {
            let name = raw.name.clone();
            if let Some(change) =
                self.change(raw).map_err(|fault| LayerError::entry(&name, fault))?
            {
                return Ok(Some(change));
            }
        }
        Ok(None)
    }

    /// Reads to the very end of the input, beyond the end of the archive, and returns the input.
    pub fn finish(mut self) -> Result<R, LayerError> {
        while self.next()?.is_some() {}
        self.tar.finish()
    }

    /// Returns the change that an entry means; `None` for an entry without meaning.
    fn change(&mut self, raw: RawEntry) -> Result<Option<Change>, EntryFault> {
        let named = path::clean(&raw.name, DotDot::Refuse)?;
        let is_folder = raw.kind == Kind::Dir;
        match whiteout::role(&named)? {
            Role::Plain => {}
            Role::Ignored => return Ok(None),
            Role::Whiteout { .. } | Role::Opaque { .. } if is_folder => {
                return Err(EntryFault::Whiteout);
            }
            Role::Opaque { folder } => {
                return Ok(Some(Change::Opaque(self.links.resolve(folder)?)));
            }
            Role::Whiteout { folder, name } => {
                let path = path::join(&self.links.resolve(folder)?, name);
                path::check(&path)?;
                return Ok(Some(Change::Whiteout(path)));
            }
        }
        if named.is_empty() && !is_folder {
            return Err(EntryFault::RootKind);
        }
        let path = self.links.locate(&named)?;
        let kind = match raw.kind {
            Kind::Dir => {
                self.links.put_folder(&path);
                Kind::Dir
            }
            Kind::Symlink { target } => {
                if target.is_empty() || target.len() > path::MAX_TARGET {
                    return Err(EntryFault::SymlinkTarget);
                }
                self.links.put_link(&path, &target);
                Kind::Symlink { target }
            }
            Kind::HardLink { target } => {
                let target = path::clean(&target, DotDot::Refuse)?;
                let target = self.links.locate(&target)?;
                if target.is_empty() || target == path || whiteout::role(&target)? != Role::Plain {
                    return Err(EntryFault::LinkTarget);
                }
                self.links.put_name(&path, &target);
                Kind::HardLink { target }
            }
            Kind::CharDevice { major: 0, minor: 0 } => return Err(EntryFault::OverlayWhiteout),
            other => {
                self.links.put_other(&path);
                other
            }
        };
        Ok(Some(Change::Put(Entry { path, kind, meta: raw.meta })))
    }
}

impl<R: Read> Contents for LayerReader<R> {
    /// Skips the hole of the current file that comes next.
    fn skip_hole(&mut self) -> io::Result<u64> {
        self.tar.skip_hole()
    }

    fn segments(&mut self) -> io::Result<Option<Vec<Segment>>> {
        self.tar.segments()
    }
}

impl<R: Read> Read for LayerReader<R> {
    /// Reads from the contents of the current file.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.tar.read(buffer)
    }
}
