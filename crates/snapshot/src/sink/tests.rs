use std::fs::File;
use std::sync::Mutex;

use xbuild_layer::decode::decompress;
use xbuild_layer::{Entry, EntryFault, Kind, LayerWriter, Meta};
use xbuild_model::manifest::Compression;

use super::*;

/// A tee whose bytes can be looked at.
#[derive(Clone, Default)]
struct Copy(Arc<Mutex<Vec<u8>>>);

impl Write for Copy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails, once it has taken some bytes.
struct Broken(usize);

impl Write for Broken {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::ConnectionReset)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    (folder, store)
}

/// The tar stream of a layer with one file of `size` bytes.
fn layer(size: usize) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    let contents: Vec<u8> = (0..size).map(|i| ((i * i) >> 7) as u8).collect();
    let kind = Kind::File { size: size as u64 };
    let entry = Entry { path: b"f".to_vec(), kind, meta: Meta { mode: 0o644, ..Meta::default() } };
    writer.put(&entry, &mut &contents[..]).unwrap();
    writer.finish().unwrap()
}

#[test]
fn a_layer_is_hashed_compressed_indexed_and_stored() {
    let (_folder, store) = store();
    for size in [0, 1000, CHUNK - 1536, 5_000_000] {
        let tar = layer(size);
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let copy = Copy::default();
            let mut sink = LayerSink::new(
                &store,
                Encoding::new(compression, None).unwrap(),
                Some(Box::new(copy.clone())),
            )
            .unwrap();
            tar.chunks(10_000).for_each(|piece| sink.write_all(piece).unwrap());
            let result = sink.finish().unwrap();

            assert_eq!(result.diff_id, DiffId(Digest::of(&tar)));
            let SinkBlob::Stored(descriptor) = result.blob else { panic!("{result:?}") };
            assert!(*copy.0.lock().unwrap() == tar);
            assert_eq!(store.layer(&result.diff_id).unwrap(), Some(*descriptor.clone()));
            let index = store.index(&result.diff_id).unwrap().unwrap();
            assert_eq!(LayerIndex::decode(&index).unwrap(), result.index);
            let (diff_id, index) = xbuild_layer::index_layer(&tar[..], None).unwrap();
            assert_eq!((diff_id, index), (result.diff_id, result.index));

            let blob: File = store.open_blob(&descriptor.digest).unwrap().unwrap();
            assert_eq!(blob.metadata().unwrap().len(), descriptor.size);
            assert_eq!(descriptor.media_type, compression.oci_media_type());
            let mut back = Vec::new();
            decompress(compression, blob).unwrap().read_to_end(&mut back).unwrap();
            assert!(back == tar);
        }
    }
}

#[test]
fn what_is_no_layer_is_not_published() {
    let (_folder, store) = store();
    let mut bad = LayerWriter::new(Vec::new());
    bad.whiteout(b"a").unwrap();
    let mut bad = bad.finish().unwrap();
    bad[0] ^= 1;
    for filler in [0, 5_000_000] {
        let mut sink = LayerSink::new(&store, Encoding::default(), None).unwrap();
        let written = sink.write_all(&bad).and_then(|()| sink.write_all(&vec![1; filler]));
        let error = match written {
            Ok(()) => sink.finish().unwrap_err(),
            Err(error) => LayerError::from_write(error).into(),
        };
        let EngineError::NewLayer { source } = error else { panic!("{error}") };
        assert!(matches!(source, LayerError::Malformed { .. }), "{source}");
    }
    let mut sink = LayerSink::new(&store, Encoding::default(), None).unwrap();
    let mut tar = layer(10);
    tar[..2].copy_from_slice(b"..");
    let sum: u32 = tar[..148].iter().chain(&tar[156..512]).map(|&byte| u32::from(byte)).sum();
    tar[148..154].copy_from_slice(format!("{:06o}", sum + 256).as_bytes());
    sink.write_all(&tar).unwrap();
    let error = sink.finish().unwrap_err();
    let EngineError::NewLayer { source } = error else { panic!("{error}") };
    assert!(matches!(source, LayerError::Entry { fault: EntryFault::Climbs, .. }), "{source}");
}

/// Row 28 of the threat table: a reader that fails blocks nobody.
#[test]
fn a_broken_tee_fails_the_layer() {
    let (_folder, store) = store();
    for (size, taken) in [(1000, 100), (5_000_000, 100), (20_000_000, 5_000_000)] {
        let tee: Box<dyn Write + Send> = Box::new(Broken(taken));
        let mut sink =
            LayerSink::new(&store, Encoding::new(Compression::None, None).unwrap(), Some(tee))
                .unwrap();
        let tar = layer(size);
        let error = match sink.write_all(&tar) {
            Ok(()) => sink.finish().unwrap_err(),
            Err(error) => LayerError::from_write(error).into(),
        };
        let EngineError::NewLayer { source } = error else { panic!("{error}") };
        assert!(matches!(source, LayerError::Write { .. }), "{source}");
        assert!(store.layer(&DiffId(Digest::of(&tar))).unwrap().is_none());
    }
}

#[test]
fn a_dropped_sink_leaves_nothing() {
    let (_folder, store) = store();
    let tar = layer(3_000_000);
    let mut sink = LayerSink::new(&store, Encoding::default(), None).unwrap();
    sink.write_all(&tar).unwrap();
    drop(sink);
    assert!(store.layer(&DiffId(Digest::of(&tar))).unwrap().is_none());
}

#[test]
fn what_is_compressed_later_is_kept_as_it_is() {
    let (folder, store) = store();
    for size in [0, 1000, CHUNK, 5_000_000] {
        let tar = layer(size);
        let copy = Copy::default();
        let mut sink = LayerSink::spooled(&store, Some(Box::new(copy.clone())));
        tar.chunks(10_000).for_each(|piece| sink.write_all(piece).unwrap());
        let result = sink.finish().unwrap();
        assert_eq!(result.diff_id, DiffId(Digest::of(&tar)));
        assert_eq!(store.layer(&result.diff_id).unwrap(), None);
        assert!(store.index(&result.diff_id).unwrap().is_some());
        let SinkBlob::Spooled(spool) = result.blob else { panic!("{:?}", result.blob) };
        let mut bytes = Vec::new();
        spool.write_to(&mut bytes).unwrap();
        assert!(bytes == tar && *copy.0.lock().unwrap() == tar, "{size}");
    }
    let session = std::fs::read_dir(folder.path().join("tmp")).unwrap().next().unwrap().unwrap();
    let names = std::fs::read_dir(session.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["lock"]);
}
