//! The files of a layer without their contents: its changes, in the order of the archive.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use sha2::{Digest as _, Sha256};
use xbuild_model::{DiffId, Digest};

use crate::read_ahead::read_ahead;
use crate::whiteout::{self, Role};
use crate::{
    Change, ContentHash, Entry, EntryFault, Hashing, IndexFault, Kind, LayerError, LayerReader,
    Segment, Tree, path,
};

/// The first byte of a stored index. It changes with the encoding and with the tar reader's view of
/// an archive. An index of another version is made again from the layer.
const VERSION: u8 = 2;

/// Bytes of a file that are read and hashed at a time.
const BUFFER: usize = 128 << 10;

/// The changes of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerIndex {
    changes: Vec<(Change, Option<ContentHash>)>,
    segments: BTreeMap<u32, Vec<Segment>>,
}

impl LayerIndex {
    /// Makes an index of changes in the order of the archive. Each regular file comes with the hash
    /// of its contents.
    ///
    /// **Errors** — [`EntryFault::LinkTarget`] if the target of a hard link is not an earlier file
    /// of the layer.
    pub fn new(changes: Vec<(Change, Option<ContentHash>)>) -> Result<Self, LayerError> {
        let is_link = |change: &Change| match change {
            Change::Put(entry) => matches!(entry.kind, Kind::HardLink { .. }),
            _ => false,
        };
        if changes.iter().any(|(change, _)| is_link(change))
            && let (_, Some(position)) = Tree::empty().merge(0, &changes)
            && let Change::Put(entry) = &changes[position].0
        {
            return Err(LayerError::entry(&entry.path, EntryFault::LinkTarget));
        }
        Ok(Self { changes, segments: BTreeMap::new() })
    }

    /// Reads an uncompressed layer to the very end of the stream and returns its index.
    pub fn of_tar(tar: impl Read) -> Result<Self, LayerError> {
        let mut layer = LayerReader::new(tar);
        let index = Self::read(&mut layer)?;
        layer.finish()?;
        Ok(index)
    }

    /// Reads the rest of a layer and returns its index.
    pub fn read<R: Read>(layer: &mut LayerReader<R>) -> Result<Self, LayerError> {
        let mut buffer = vec![0; BUFFER];
        let mut changes = Vec::new();
        let mut segments = BTreeMap::new();
        while let Some(change) = layer.next()? {
            let content = match &change {
                Change::Put(Entry { kind: Kind::File { size }, .. }) => {
                    let hashed = Hashing::new(&mut *layer, *size).read_all(&mut buffer);
                    let hashed = hashed.map_err(LayerError::from_read)?;
                    if let (Some(found), Ok(at)) = (hashed.segments, u32::try_from(changes.len())) {
                        segments.insert(at, found);
                    }
                    Some(hashed.hash)
                }
                _ => None,
            };
            changes.push((change, content));
        }
        Ok(Self::new(changes)?.with_segments(segments))
    }

    /// Adds the parts of files with large holes that are not holes, by the position of the file.
    #[must_use]
    pub fn with_segments(mut self, segments: BTreeMap<u32, Vec<Segment>>) -> Self {
        self.segments = segments;
        self
    }

    /// Returns the parts of the file at a position that are not holes; `None` for a file without
    /// large holes.
    pub fn segments(&self, position: u32) -> Option<&[Segment]> {
        self.segments.get(&position).map(Vec::as_slice)
    }

    /// Returns the changes in the order of the archive; each regular file with its hash.
    pub fn changes(&self) -> &[(Change, Option<ContentHash>)] {
        &self.changes
    }

    /// Returns about how many bytes the unpacked files of the layer take up on a disk.
    pub fn unpacked_size(&self) -> u64 {
        /// File systems give files and folders room in blocks of so many bytes.
        const BLOCK: u64 = 4 << 10;
        let size = |(change, _): &(Change, Option<ContentHash>)| match change {
            Change::Put(Entry { kind: Kind::File { size }, .. }) => {
                size.div_ceil(BLOCK).saturating_mul(BLOCK)
            }
            Change::Put(Entry { kind: Kind::Dir, .. }) => BLOCK,
            _ => 0,
        };
        self.changes.iter().map(size).fold(0, u64::saturating_add)
    }

    /// Writes the index in the form that the store keeps.
    pub fn encode(&self, mut output: impl Write) -> io::Result<()> {
        output.write_all(&[VERSION])?;
        // Plain values can always be encoded, so only the output fails.
        postcard::to_io(&(&self.changes, &self.segments), output)
            .map(drop)
            .map_err(io::Error::other)
    }

    /// Reads the form that [`LayerIndex::encode`] writes.
    ///
    /// **Errors** — [`LayerError::Index`]. The index can be made again from the layer.
    pub fn decode(bytes: &[u8]) -> Result<Self, LayerError> {
        let index = |fault| LayerError::Index { fault };
        match bytes.split_first() {
            Some((&VERSION, bytes)) => {
                let (changes, segments) =
                    postcard::from_bytes(bytes).map_err(|_| index(IndexFault::Damaged))?;
                Ok(Self::new(changes)?.with_segments(segments))
            }
            Some(_) => Err(index(IndexFault::Version)),
            None => Err(index(IndexFault::Damaged)),
        }
    }
}

impl LayerIndex {
    /// Reads the same form, written by somebody else. Whether the index is that of a layer is not
    /// known before the layer is read.
    ///
    /// **Errors** — also [`LayerError::Entry`] and [`IndexFault::Damaged`] for changes that no layer
    /// has, which [`crate::LayerReader`] would refuse.
    pub fn decode_foreign(bytes: &[u8]) -> Result<Self, LayerError> {
        let index = Self::decode(bytes)?;
        for (change, content) in &index.changes {
            let (path, is_file) = match change {
                Change::Put(entry) => (&entry.path, matches!(entry.kind, Kind::File { .. })),
                Change::Whiteout(path) | Change::Opaque(path) => (path, false),
            };
            let fault = |fault| LayerError::entry(path, fault);
            path::check(path).map_err(fault)?;
            if let Change::Put(entry) = change {
                check_entry(entry).map_err(fault)?;
            }
            if content.is_some() != is_file {
                return Err(LayerError::Index { fault: IndexFault::Damaged });
            }
        }
        let is_sound = |(at, segments): (&u32, &Vec<Segment>)| {
            let change = index.changes.get(*at as usize).map(|(change, _)| change);
            match change {
                Some(Change::Put(Entry { kind: Kind::File { size }, .. })) => {
                    are_within(segments, *size)
                }
                _ => false,
            }
        };
        match index.segments.iter().all(is_sound) {
            true => Ok(index),
            false => Err(LayerError::Index { fault: IndexFault::Damaged }),
        }
    }
}

/// Checks an entry as the reader of layers does.
fn check_entry(entry: &Entry) -> Result<(), EntryFault> {
    if entry.path.is_empty() && entry.kind != Kind::Dir {
        return Err(EntryFault::RootKind);
    }
    if whiteout::role(&entry.path)? != Role::Plain {
        return Err(EntryFault::Whiteout);
    }
    match &entry.kind {
        Kind::Symlink { target } if target.is_empty() || target.len() > path::MAX_TARGET => {
            Err(EntryFault::SymlinkTarget)
        }
        Kind::HardLink { target } => path::check(target),
        Kind::CharDevice { major: 0, minor: 0 } => Err(EntryFault::OverlayWhiteout),
        _ => Ok(()),
    }
}

/// Returns whether segments are in order, do not overlap and end within a file.
fn are_within(segments: &[Segment], size: u64) -> bool {
    let mut end = 0;
    segments.iter().all(|segment| {
        let is_after = segment.offset >= end;
        end = segment.offset.saturating_add(segment.length);
        is_after && end <= size
    })
}

impl Tree {
    /// Returns the tree with a layer on top of it. The nodes of the layer carry the number `layer`,
    /// which no node of this tree may have.
    ///
    /// A whiteout hides files of this tree, but none of the layer itself, wherever it stands in the
    /// layer. Folders are merged; any other file replaces what is there. Missing parents are made,
    /// and replace what is in their way.
    pub fn apply(&self, layer: u32, index: &LayerIndex) -> Tree {
        // An index has no dangling links: its constructor checks them.
        self.merge(layer, index.changes()).0
    }
}

/// Reads an uncompressed layer to the very end of the stream and returns its diff ID and index. A
/// copy of the stream goes to `tee`, for instance the pipe of an unpacking process. A thread of its
/// own reads `tar`, and so decompresses it.
///
/// **Errors** — as [`LayerReader::next`]; [`LayerError::Write`] if `tee` fails.
pub fn index_layer(
    tar: impl Read + Send,
    tee: Option<Box<dyn Write + Send>>,
) -> Result<(DiffId, LayerIndex), LayerError> {
    read_ahead(tar, |tar| index_read(tar, tee))
}

fn index_read(
    tar: &mut dyn Read,
    tee: Option<Box<dyn Write + Send>>,
) -> Result<(DiffId, LayerIndex), LayerError> {
    let mut tap = Tap { input: tar, hash: Sha256::new(), tee, tee_error: None };
    let result = LayerIndex::of_tar(&mut tap);
    if let Some(source) = tap.tee_error {
        return Err(LayerError::Write { source });
    }
    let index = result?;
    if let Some(mut tee) = tap.tee {
        tee.flush().map_err(|source| LayerError::Write { source })?;
    }
    Ok((DiffId(Digest::from_sha256(tap.hash.finalize().into())), index))
}

/// Hashes and copies the bytes that pass through it.
struct Tap<R> {
    input: R,
    hash: Sha256,
    tee: Option<Box<dyn Write + Send>>,
    /// Kept apart, so that a failure of the tee is not taken for one of the input.
    tee_error: Option<io::Error>,
}

impl<R: Read> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.hash.update(&buffer[..count]);
        if let Some(tee) = &mut self.tee
            && let Err(error) = tee.write_all(&buffer[..count])
        {
            let kind = error.kind();
            self.tee_error = Some(error);
            return Err(kind.into());
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use crate::{LayerWriter, Meta};

    use super::*;

    fn sample() -> Vec<u8> {
        let mut writer = LayerWriter::new(Vec::new());
        let mut put = |path: &[u8], kind: Kind, mut contents: &[u8]| {
            let entry = Entry { path: path.to_vec(), kind, meta: Meta::default() };
            writer.put(&entry, &mut contents).unwrap();
        };
        put(b"d", Kind::Dir, b"");
        put(b"d/f", Kind::File { size: 5 }, b"hello");
        put(b"h", Kind::HardLink { target: b"d/f".to_vec() }, b"");
        put(b"s", Kind::Symlink { target: b"d".to_vec() }, b"");
        writer.whiteout(b"gone").unwrap();
        writer.opaque(b"d").unwrap();
        writer.finish().unwrap()
    }

    fn encoded(index: &LayerIndex) -> Vec<u8> {
        let mut bytes = Vec::new();
        index.encode(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn an_index_survives_the_store() {
        let index = LayerIndex::of_tar(&sample()[..]).unwrap();
        assert_eq!(index.changes().len(), 6);
        let hash = Digest::of(b"hello");
        let content = index.changes()[1].1.unwrap();
        assert_eq!(Digest::from_sha256(content.0), hash);
        assert_eq!(LayerIndex::decode(&encoded(&index)).unwrap(), index);
    }

    #[test]
    fn other_bytes_are_no_index() {
        let encoded = encoded(&LayerIndex::of_tar(&sample()[..]).unwrap());
        for length in 0..encoded.len() {
            let result = LayerIndex::decode(&encoded[..length]);
            assert!(matches!(result, Err(LayerError::Index { fault: IndexFault::Damaged })));
        }
        let other = [&[VERSION + 1], &encoded[1..]].concat();
        let result = LayerIndex::decode(&other);
        assert!(matches!(result, Err(LayerError::Index { fault: IndexFault::Version })));
        // A length beyond the input must not be believed.
        assert!(LayerIndex::decode(&[VERSION, 0xff, 0xff, 0xff, 0xff, 0x7f]).is_err());
    }

    #[test]
    fn an_index_of_somebody_else_is_one_that_a_layer_can_have() {
        let index = LayerIndex::of_tar(&sample()[..]).unwrap();
        assert_eq!(LayerIndex::decode_foreign(&encoded(&index)).unwrap(), index);
        let hash = index.changes()[1].1;
        let put = |path: &[u8], kind: Kind| {
            Change::Put(Entry { path: path.to_vec(), kind, meta: Meta::default() })
        };
        let file = || Kind::File { size: 5 };
        let link = |target: &[u8]| Kind::Symlink { target: target.to_vec() };
        for (change, hash) in [
            (put(b"../f", file()), hash),
            (put(b"/f", file()), hash),
            (put(b"", file()), hash),
            (put(b"a//b", Kind::Dir), None),
            (put(b"f", file()), None),
            (put(b"d", Kind::Dir), hash),
            (put(b".wh.f", file()), hash),
            (put(b"s", link(b"")), None),
            (put(b"s", link(&[b'x'; 5000])), None),
            (put(b"c", Kind::CharDevice { major: 0, minor: 0 }), None),
            (Change::Whiteout(b"a/../b".to_vec()), None),
        ] {
            let bad = LayerIndex::new(vec![(change.clone(), hash)]).unwrap();
            assert!(LayerIndex::decode_foreign(&encoded(&bad)).is_err(), "{change:?}");
        }
        let segment = |offset, length| Segment { offset, length };
        for (at, segments, is_good) in [
            (0, vec![segment(0, 2), segment(3, 2)], true),
            (0, vec![segment(3, 2), segment(0, 2)], false),
            (0, vec![segment(0, 6)], false),
            (0, vec![segment(u64::MAX, 2)], false),
            (1, vec![segment(0, 1)], false),
        ] {
            let changes = vec![(put(b"f", file()), hash)];
            let index = LayerIndex::new(changes).unwrap().with_segments([(at, segments)].into());
            assert_eq!(LayerIndex::decode_foreign(&encoded(&index)).is_ok(), is_good, "{index:?}");
        }
    }

    #[test]
    fn a_tee_that_fails_is_told_apart_from_the_layer() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let result = index_layer(&sample()[..], Some(Box::new(Full)));
        assert!(matches!(result, Err(LayerError::Write { .. })));
    }
}
