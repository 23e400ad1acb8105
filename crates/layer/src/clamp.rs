//! Layers without times after a given one.

use std::io::{Read, Write};

use crate::{Change, LayerError, LayerReader, LayerWriter, Mtime};

/// Copies the uncompressed layer `input`; times after `latest`, in seconds since 1970, become
/// `latest`. A layer of [`LayerWriter`] without such times is copied byte for byte.
///
/// **Errors** — those of reader and writer. The output cannot be used then.
///
/// ```
/// use xbuild_layer::{Entry, Kind, LayerReader, LayerWriter, Change, Meta, Mtime, clamp_times};
///
/// let meta = Meta { mtime: Mtime { secs: 1_800_000_000, nanos: 0 }, ..Meta::default() };
/// let mut layer = LayerWriter::new(Vec::new());
/// layer.put(&Entry { path: b"a".to_vec(), kind: Kind::Dir, meta }, &mut std::io::empty())?;
/// let clamped = clamp_times(&layer.finish()?[..], 17, Vec::new())?;
/// let Some(Change::Put(entry)) = LayerReader::new(&clamped[..]).next()? else { panic!() };
/// assert_eq!(entry.meta.mtime.secs, 17);
/// # Ok::<(), xbuild_layer::LayerError>(())
/// ```
pub fn clamp_times<W: Write>(input: impl Read, latest: i64, output: W) -> Result<W, LayerError> {
    let latest = Mtime { secs: latest, nanos: 0 };
    let mut layer = LayerReader::new(input);
    let mut output = LayerWriter::new(output);
    while let Some(change) = layer.next()? {
        match change {
            Change::Put(mut entry) => {
                entry.meta.mtime = entry.meta.mtime.min(latest);
                output.put_contents(&entry, &mut layer)?;
            }
            // These have the time 0 wherever they are written.
            Change::Whiteout(path) => output.whiteout(&path)?,
            Change::Opaque(folder) => output.opaque(&folder)?,
        }
    }
    layer.finish()?;
    output.finish()
}
