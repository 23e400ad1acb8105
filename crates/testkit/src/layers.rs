//! Layers in short.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use xbuild_layer::{Entry, Kind, LayerWriter, Meta, Mtime};

/// Returns a layer of a line for each file: `d path mode`, `f path contents`, `l path target`,
/// `h path target`, `p path` (pipe), `c path` (device), `w path` (whiteout), `o path` (opaque).
/// Files have the mode 644 and the time 1000.
pub fn layer(lines: &[&str]) -> Vec<u8> {
    let mut writer = LayerWriter::new(Vec::new());
    for line in lines {
        let mut words = line.split(' ');
        let (what, path) = (words.next().unwrap(), words.next().unwrap_or("").as_bytes());
        let rest = words.next().unwrap_or("");
        let mut mode = 0o644;
        let kind = match what {
            "d" => {
                mode = u32::from_str_radix(rest, 8).unwrap_or(0o755);
                Kind::Dir
            }
            "f" => Kind::File { size: rest.len() as u64 },
            "l" => Kind::Symlink { target: rest.into() },
            "h" => Kind::HardLink { target: rest.into() },
            "p" => Kind::Fifo,
            "c" => Kind::CharDevice { major: 1, minor: 3 },
            "w" => {
                writer.whiteout(path).unwrap();
                continue;
            }
            "o" => {
                writer.opaque(path).unwrap();
                continue;
            }
            _ => panic!("{line}"),
        };
        let mtime = Mtime { secs: 1000, nanos: 0 };
        let meta = Meta { mode, mtime, ..Meta::default() };
        let entry = Entry { path: path.to_vec(), kind, meta };
        writer.put(&entry, &mut rest.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}
