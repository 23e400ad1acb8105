//! Writes the first corpus of the fuzz target `tar_reader` into a folder: layers with each kind of
//! entry, made by our own writer.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use xbuild_layer::{Entry, Kind, LayerWriter, Meta, Mtime};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(env::args_os().nth(1).ok_or("usage: seeds FOLDER")?);
    fs::create_dir_all(&folder)?;
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
            fs::write(folder.join(format!("{number}-{big}")), writer.finish()?)?;
        }
    }
    Ok(())
}
