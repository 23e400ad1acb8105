//! Layers with each kind of entry, made by our own writer, and choices of what to do with layers.

use xbuild_layer::{Entry, Kind, LayerIndex, LayerWriter, Meta, Mtime};

use crate::{Fallible, Folder};

/// Writes the seeds of the target that reads layers.
pub(super) fn write(folder: &Folder) -> Fallible {
    let long = "long/".repeat(60) + "name";
    let symlink = |target: &str| Kind::Symlink { target: target.into() };
    let link = |target: &str| Kind::HardLink { target: target.into() };
    let seeds = [
        vec![("", Kind::Dir), ("d", Kind::Dir), ("d/f", Kind::File { size: 5 })],
        vec![("f", Kind::File { size: 0 }), ("h", link("f")), ("i", link("h"))],
        vec![("usr", Kind::Dir), ("lib", symlink("usr/lib")), ("lib/x", Kind::File { size: 600 })],
        vec![("a", symlink("../b")), ("b", symlink("/c")), ("a/x", Kind::Fifo)],
        vec![(&long, Kind::File { size: 3 }), ("l", symlink(&long)), ("h", link(&long))],
        vec![("c", Kind::CharDevice { major: 1, minor: 3 }), (".wh.x", Kind::File { size: 0 })],
        vec![("b", Kind::BlockDevice { major: 7, minor: 0 }), ("d/.wh..wh..opq", Kind::Fifo)],
    ];
    for (number, seed) in seeds.iter().enumerate() {
        for big in [false, true] {
            let mut writer = LayerWriter::new(Vec::new());
            for (path, kind) in seed {
                let size = if let Kind::File { size } = kind { *size } else { 0 };
                let meta = Meta {
                    mode: 0o755,
                    uid: if big { 5_000_000 } else { 0 },
                    gid: 0,
                    mtime: Mtime { secs: if big { -1 } else { 1 }, nanos: 0 },
                    xattrs: Vec::new(),
                };
                let entry = Entry { path: path.as_bytes().to_vec(), kind: kind.clone(), meta };
                let contents = vec![b'x'; usize::try_from(size)?];
                writer.put(&entry, &mut &contents[..])?;
            }
            let (name, layer) = (format!("{number}-{big}"), writer.finish()?);
            folder.put("tar_reader", &name, &layer)?;
            let mut index = Vec::new();
            // Some of the layers have links to files that are not theirs.
            if let Ok(read) = LayerIndex::of_tar(&layer[..]) {
                read.encode(&mut index)?;
                folder.put("index", &name, &index)?;
            }
        }
    }
    noise(folder)
}

/// Writes the seeds of the targets whose inputs are choices: numbers without a pattern.
fn noise(folder: &Folder) -> Fallible {
    let mut state = 1_u64;
    for number in 0..16 {
        let bytes: Vec<u8> = (0..64 + 16 * number)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                state.to_be_bytes()[0]
            })
            .collect();
        folder.put("stack", &number.to_string(), &bytes)?;
        folder.put("gzip", &number.to_string(), &bytes[..32])?;
    }
    Ok(())
}
