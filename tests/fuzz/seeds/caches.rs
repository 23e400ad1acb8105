//! Documents of shared caches.

use std::time::SystemTime;

use xbuild_cache::{Mount, PackedIndex, Record, RecordLayer, Scope, Trail, TrailId, TrailIndex};
use xbuild_layer::{Change, LayerIndex};
use xbuild_model::manifest::OCI_LAYER_GZIP;
use xbuild_model::{Descriptor, DiffId, Digest};

use crate::{Fallible, Folder};

/// Writes the seeds of the target that reads documents of shared caches.
pub(super) fn write(folder: &Folder) -> Fallible {
    let (scope, key, now) = (Scope::new("main")?, Digest::of(b"key"), SystemTime::UNIX_EPOCH);
    let diff_id = DiffId(Digest::of(b"layer"));
    let blob = Descriptor::of(OCI_LAYER_GZIP, b"blob");
    let index = LayerIndex::new(vec![(Change::Whiteout(b"gone".to_vec()), None)])?;
    let packed = PackedIndex::new(&index)?;
    let encoding = Some("gzip-3".to_owned());
    let layer = RecordLayer { diff_id: diff_id.clone(), blob: blob.clone(), encoding, index: None };
    let record = Record {
        key: key.clone(),
        created: "2026-11-29T10:00:00Z".to_owned(),
        description: "[2/3] RUN make".to_owned(),
        layers: vec![layer],
    };
    let put = |name: &str, kind: u8, bytes: &[u8]| {
        folder.put("shared_cache", name, &[&[kind], bytes].concat())
    };
    put("index", b'i', &packed.bytes)?;
    put("record", b'r', &record.document(&scope, &[Some(packed)], None, now).bytes)?;
    let name = "pip".to_owned();
    let mount = Mount { key, name, diff_id: diff_id.clone(), blob };
    put("mount", b'm', &mount.document(&scope, None, now).bytes)?;
    let trail = Trail {
        name: "Dockerfile".to_owned(),
        records: vec![record],
        documents: vec![b"{}".to_vec()],
        indexes: vec![(diff_id, TrailIndex::Here(index))],
    };
    let id = TrailId::new("Dockerfile", None, &"linux/amd64".parse()?, &[]);
    let document = trail.document(&scope, &id, None, now)?;
    put("trail", b'-', &document.bytes)?;
    for (number, (_, bytes)) in document.blobs.iter().enumerate() {
        put(&format!("parts-{number}"), b't', bytes)?;
    }
    Ok(())
}
