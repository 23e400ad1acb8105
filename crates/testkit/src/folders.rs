//! Folders of this machine, made from text and listed as text.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;

/// The attribute that hides the entries of lower folders in a folder of an overlay mount.
const OPAQUE: &str = "user.overlay.opaque";

/// Makes files below a folder, one a line: `d PATH MODE`, `f PATH MODE - CONTENTS`,
/// `l PATH TARGET`, `h PATH TARGET` (hard link).
pub fn make_files(root: &Path, description: &str) {
    let mut modes = Vec::new();
    for line in description.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let fields: Vec<&str> = line.splitn(5, ' ').collect();
        let path = root.join(fields[1]);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let field = |at: usize| fields.get(at).copied().unwrap_or_default();
        match fields[0] {
            "d" => fs::create_dir_all(&path).unwrap(),
            "f" => fs::write(&path, field(4)).unwrap(),
            "l" => symlink(field(2), &path).unwrap(),
            "h" => fs::hard_link(root.join(field(2)), &path).unwrap(),
            other => panic!("no kind of file here: {other}"),
        }
        if let ("d" | "f", Ok(mode)) = (fields[0], u32::from_str_radix(field(2), 8)) {
            modes.push((path, mode));
        }
    }
    // Modes are set last: a folder without write permission could not be filled.
    for (path, mode) in modes {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

/// Returns a line for each file below a folder that may be part of an overlay mount, sorted:
/// `path/ mode`, `path/ mode opaque`, `path mode contents`, `path -> target`, `path gone` for a
/// whiteout.
pub fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let (kind, mode) = (meta.file_type(), meta.mode() & 0o7777);
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            lines.push(if kind.is_dir() {
                let opaque = rustix::fs::lgetxattr(&path, OPAQUE, &mut [0_u8; 8]).is_ok();
                format!("{name}/ {mode:o}{}", if opaque { " opaque" } else { "" })
            } else if kind.is_file() {
                format!("{name} {mode:o} {}", fs::read_to_string(&path).unwrap())
            } else if kind.is_symlink() {
                format!("{name} -> {}", fs::read_link(&path).unwrap().display())
            } else if kind.is_char_device() && meta.rdev() == 0 {
                format!("{name} gone")
            } else if kind.is_fifo() {
                format!("{name} pipe")
            } else {
                format!("{name} device")
            });
            if kind.is_dir() {
                folders.push(path);
            }
        }
    }
    lines.sort();
    lines
}
