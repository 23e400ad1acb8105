//! Removing files of a root that has others among them, which stay: mounts, and xbuild's own.

use std::io;

use xbuild_model::own_root::Spared;

use crate::root::Root;

/// Removes the file at `path`, relative to `root`, with everything below it that is not spared; the
/// empty path stands for all files of the root. A missing file is not an error.
pub fn clear(root: &Root, path: &[u8], spared: &Spared) -> io::Result<()> {
    if path.is_empty() {
        return clear_below(root, path, spared);
    }
    if spared.has(path) {
        return Ok(());
    }
    if !spared.is_around(path) {
        return root.remove_tree(path);
    }
    match root.try_stat(path)? {
        Some(stat) if stat.is_dir() => clear_below(root, path, spared),
        Some(_) => root.unlink(path),
        None => Ok(()),
    }
}

/// Clears a folder around spared files, which stays.
fn clear_below(root: &Root, path: &[u8], spared: &Spared) -> io::Result<()> {
    for entry in root.read_dir(path)? {
        // As deep as spared paths are.
        clear(root, &xbuild_layer::path::join(path, &entry.name), spared)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn spared_files_stay_with_the_folders_around_them() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        for path in ["proc/1", "var/run/secrets", "var/lib/x", "usr/bin", "xbuild/store"] {
            fs::create_dir_all(at(path)).unwrap();
        }
        for path in ["proc/1/f", "var/run/secrets/f", "var/run/f", "usr/bin/f", "xbuild/f", "f"] {
            fs::write(at(path), "").unwrap();
        }
        let mounts = b"1 1 0:1 / /proc rw\n1 1 0:1 / /var/run/secrets rw\n";
        let spared = Spared::new(mounts, [Path::new("/xbuild")]);
        let root = Root::open(folder.path()).unwrap();
        clear(&root, b"var", &spared).unwrap();
        clear(&root, b"proc/1", &spared).unwrap();
        clear(&root, b"none", &spared).unwrap();
        assert!(at("usr/bin/f").exists() && at("proc/1/f").exists() && !at("var/lib").exists());
        clear(&root, b"", &spared).unwrap();
        for path in ["proc/1/f", "var/run/secrets/f", "xbuild/f", "xbuild/store"] {
            assert!(at(path).exists(), "{path}");
        }
        for path in ["usr", "f", "var/run/f"] {
            assert!(!at(path).exists(), "{path}");
        }
    }
}
