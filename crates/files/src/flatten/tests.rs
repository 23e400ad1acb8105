use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use super::*;
use crate::copy::fixture::{describe, stack};

const LAYERS: [&str; 3] = [
    "
    d d 0700 1:2
    f d/gone 0644 0:0 gone
    f d/f 0640 3:4 old
    h d/same d/f
    f kept 4750 0:0 kept
    d x 0755
    f x/hidden 0644 0:0 h",
    "
    f d/f 0644 3:4 new
    w d/gone
    o x
    d x 0711
    l x/l ../kept
    d sealed 0555
    f sealed/in 0400 0:0 in",
    "p pipe 0600\nd d 0750 1:2",
];

const MERGED: &str = "\
d d 0750 1:2
f d/f 0644 3:4 new
f d/same 0640 3:4 old
f kept 4750 0:0 kept
p pipe 0600 0:0
d sealed 0555 0:0
f sealed/in 0400 0:0 in
d x 0711 0:0
l x/l ../kept";

#[test]
fn an_archive_holds_what_is_visible() {
    let (tree, source) = stack(&LAYERS);
    let mut writer = LayerWriter::new(Vec::new());
    to_tar(&tree, source, &mut writer).unwrap();
    assert_eq!(describe(&writer.finish().unwrap()), MERGED);
}

/// Returns the files of a folder, without owners.
fn listing(root: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = std::fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let mode = meta.permissions().mode() & 0o7777;
            lines.push(if meta.is_dir() {
                todo.push(path);
                format!("d {name} {mode:04o}")
            } else if meta.is_symlink() {
                format!("l {name} {}", std::fs::read_link(&path).unwrap().display())
            } else if meta.is_file() {
                format!("f {name} {mode:04o} {}", std::fs::read_to_string(&path).unwrap())
            } else {
                format!("p {name} {mode:04o}")
            });
        }
    }
    lines.sort_by(|a, b| a.split(' ').nth(1).cmp(&b.split(' ').nth(1)));
    lines
}

fn merged_without_owners() -> Vec<String> {
    let line = |line: &str| {
        let fields: Vec<&str> = line.splitn(5, ' ').collect();
        match fields[0] {
            "l" => line.to_owned(),
            "f" => format!("f {} {} {}", fields[1], fields[2], fields[4]),
            kind => format!("{kind} {} {}", fields[1], fields[2]),
        }
    };
    MERGED.lines().map(line).collect()
}

#[test]
fn a_folder_holds_what_is_visible() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("not/yet");
    let (tree, source) = stack(&LAYERS);
    // The second time writes over the result of the first, sealed folders included.
    for _ in 0..2 {
        assert_eq!(to_folder(&tree, source.clone(), &dest, None).unwrap(), []);
        assert_eq!(listing(&dest), merged_without_owners());
    }
    for name in ["d", "sealed", "kept", "x/l", "pipe"] {
        assert_eq!(std::fs::symlink_metadata(dest.join(name)).unwrap().mtime(), 1000, "{name}");
    }
}

#[test]
fn names_of_one_file_stay_together() {
    let dir = tempfile::tempdir().unwrap();
    let (tree, source) = stack(&["d d 0755\nf d/a 0644 0:0 x\nh d/b d/a"]);
    to_folder(&tree, source, dir.path(), None).unwrap();
    let ino = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().ino();
    assert_eq!(ino("d/a"), ino("d/b"));
}

#[test]
fn links_in_the_folder_are_replaced_and_never_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("f"), "mark").unwrap();
    symlink(outside.path(), dir.path().join("d")).unwrap();
    symlink(outside.path().join("f"), dir.path().join("kept")).unwrap();
    let (tree, source) = stack(&["d d 0755\nf d/f 0644 0:0 new\nf kept 0644 0:0 kept"]);
    to_folder(&tree, source, dir.path(), None).unwrap();
    assert_eq!(listing(dir.path()), ["d d 0755", "f d/f 0644 new", "f kept 0644 kept"]);
    assert_eq!(listing(outside.path()).len(), 1);
    assert_eq!(std::fs::read_to_string(outside.path().join("f")).unwrap(), "mark");
}

#[test]
fn a_file_does_not_replace_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("f/precious")).unwrap();
    let (tree, source) = stack(&["f f 0644 0:0 x"]);
    assert!(matches!(to_folder(&tree, source, dir.path(), None), Err(CopyError::Export { .. })));
    assert!(dir.path().join("f/precious").exists());
}
