//! Writing a layer and its index at once, without reading the layer again.

use std::collections::BTreeMap;
use std::io::{self, Write};

use crate::whiteout::{self, Role};
use crate::{
    Change, ContentHash, Contents, Entry, HashedContents, Hashing, Kind, LayerError, LayerIndex,
    LayerWriter, Meta, Mtime, Segment, attributes, path,
};

/// Writes a layer as [`LayerWriter`] does, and collects the changes that a reader of it will find.
#[derive(Debug)]
pub struct IndexedWriter<W> {
    writer: LayerWriter<W>,
    changes: Vec<(Change, Option<ContentHash>)>,
    segments: BTreeMap<u32, Vec<Segment>>,
}

impl<W: Write> IndexedWriter<W> {
    /// Writes to `output`, in many small pieces; expects about `count` entries.
    pub fn new(output: W, count: usize) -> Self {
        Self {
            writer: LayerWriter::new(output),
            changes: Vec::with_capacity(count),
            segments: BTreeMap::new(),
        }
    }

    /// Writes an entry, see [`LayerWriter::put`]. Contents without a known `hash` are hashed on the
    /// way; a given hash is trusted.
    pub fn put(
        &mut self,
        entry: &Entry,
        contents: &mut dyn Contents,
        hash: Option<ContentHash>,
    ) -> Result<(), LayerError> {
        let (hash, segments) = match (&entry.kind, hash) {
            (Kind::File { size }, None) => {
                let mut contents = Hashing::new(contents, *size);
                self.writer.put_contents(entry, &mut contents)?;
                let HashedContents { hash, segments } = contents.finish();
                (Some(hash), segments)
            }
            (Kind::File { .. }, hash) => {
                let segments = contents.segments().map_err(LayerError::from_read)?;
                self.writer.put_contents(entry, contents)?;
                (hash, segments)
            }
            _ => {
                self.writer.put_contents(entry, contents)?;
                (None, None)
            }
        };
        if let (Some(segments), Ok(position)) = (segments, u32::try_from(self.changes.len())) {
            self.segments.insert(position, segments);
        }
        self.changes.push(match whiteout::role(&entry.path) {
            Ok(Role::Whiteout { folder, name }) => {
                (Change::Whiteout(path::join(folder, name)), None)
            }
            Ok(Role::Opaque { folder }) => (Change::Opaque(folder.to_vec()), None),
            Ok(Role::Ignored) => return Ok(()),
            Ok(Role::Plain) | Err(_) => (Change::Put(as_read(entry)), hash),
        });
        Ok(())
    }

    /// Writes a [`Change::Whiteout`] or [`Change::Opaque`], or an entry without contents.
    pub fn mark(&mut self, change: &Change) -> Result<(), LayerError> {
        match change {
            Change::Whiteout(path) => self.writer.whiteout(path)?,
            Change::Opaque(path) => self.writer.opaque(path)?,
            Change::Put(entry) => return self.put(entry, &mut io::empty(), None),
        }
        self.changes.push((change.clone(), None));
        Ok(())
    }

    /// Ends the layer, and returns the flushed output with the index of the layer.
    pub fn finish(self) -> Result<(W, LayerIndex), LayerError> {
        let index = LayerIndex::new(self.changes)?.with_segments(self.segments);
        Ok((self.writer.finish()?, index))
    }
}

/// Returns the entry as a reader of the layer will find it.
fn as_read(entry: &Entry) -> Entry {
    let Meta { mode, uid, gid, mtime, xattrs } = &entry.meta;
    let meta = Meta {
        mode: mode & 0o7777,
        uid: *uid,
        gid: *gid,
        mtime: Mtime { secs: mtime.secs.max(-i64::MAX), nanos: 0 },
        xattrs: attributes::kept(xattrs),
    };
    Entry { path: entry.path.clone(), kind: entry.kind.clone(), meta }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    #[test]
    fn the_index_is_that_of_a_reader() {
        let mut writer = IndexedWriter::new(Vec::new(), 0);
        let meta = Meta {
            mode: 0o104_755,
            uid: 5,
            gid: 3_000_000,
            mtime: Mtime { secs: -7, nanos: 99 },
            xattrs: vec![
                (b"trusted.gone".to_vec(), b"1".to_vec()),
                (b"user.kept".to_vec(), b"=\0".to_vec()),
            ],
        };
        let long = [&b"d/"[..], &[b'x'; 200]].concat();
        for (path, kind, mut contents, hash) in [
            (&b"d"[..], Kind::Dir, &b""[..], None),
            (&long, Kind::File { size: 5 }, b"hello", None),
            (
                b"known",
                Kind::File { size: 2 },
                b"it",
                Some(ContentHash(Sha256::digest(b"it").into())),
            ),
            (b"h", Kind::HardLink { target: long.clone() }, b"", None),
            (b"s", Kind::Symlink { target: b"d".to_vec() }, b"", None),
            (b"c", Kind::CharDevice { major: 1, minor: 3 }, b"", None),
            (b"p", Kind::Fifo, b"", None),
            (b"d/.wh.name", Kind::File { size: 0 }, b"", None),
        ] {
            let entry = Entry { path: path.to_vec(), kind, meta: meta.clone() };
            writer.put(&entry, &mut contents, hash).unwrap();
        }
        writer.mark(&Change::Whiteout(b"gone".to_vec())).unwrap();
        writer.mark(&Change::Opaque(b"d".to_vec())).unwrap();
        let (tar, index) = writer.finish().unwrap();
        assert_eq!(index, LayerIndex::of_tar(&tar[..]).unwrap());
    }
}
