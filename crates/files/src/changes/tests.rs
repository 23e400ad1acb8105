use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::PathBuf;

use xbuild_layer::{Change, LayerIndex, LayerReader, Tree, index_layer};
use xbuild_testkit::layers::layer;

use super::*;
use crate::unpack::tests::owners;
use crate::unpack::unpack;

/// A folder with the files of a layer, the layer's tree, and stamps of the folder.
struct Place {
    temp: tempfile::TempDir,
    tree: Tree,
    stamps: Vec<u8>,
    settled: Mtime,
    spared: Spared,
    root: (u32, u32, u32),
    devices: BTreeSet<Device>,
}

struct OfTree<'t>(&'t Tree);

impl Below for OfTree<'_> {
    fn look_up(&mut self, path: &[u8]) -> io::Result<Option<Known>> {
        Ok(self.0.lookup(path).map(|node| Known {
            kind: node.kind.clone(),
            owner: (node.meta.uid, node.meta.gid),
            xattrs: node.meta.xattrs.clone(),
            content: node.content,
        }))
    }

    fn has_device(&mut self, device: Device) -> io::Result<bool> {
        let Device { major, minor, .. } = device;
        let kind = Kind::CharDevice { major, minor };
        Ok(self.0.walk(b"").any(|(_, node)| node.kind == kind))
    }
}

fn place(lines: &[&str]) -> Place {
    let temp = tempfile::tempdir().unwrap();
    std::fs::create_dir(temp.path().join("fs")).unwrap();
    let root = Root::open(&temp.path().join("fs")).unwrap();
    let tar = layer(lines);
    unpack(LayerReader::new(&tar[..]), &root, owners()).unwrap();
    let (_, index) = index_layer(&tar[..], None).unwrap();
    let tree = Tree::empty().apply(0, &index);
    let stat = root.stat(b"").unwrap();
    let root = (stat.mode, stat.uid, stat.gid);
    let (stamps, settled) = (Vec::new(), Mtime::default());
    let (devices, spared) = (BTreeSet::new(), Spared::default());
    let mut place = Place { temp, tree, stamps, settled, root, devices, spared };
    place.stamp();
    place
}

impl Place {
    fn at(&self, path: &str) -> PathBuf {
        self.temp.path().join("fs").join(path)
    }

    fn root(&self) -> Root {
        Root::open(&self.at("")).unwrap()
    }

    fn clock(&self) -> File {
        File::create(self.temp.path().join("clock")).unwrap()
    }

    fn stamp(&mut self) {
        self.stamps.clear();
        let writer = StampWriter::new(&mut self.stamps);
        let clock = File::create(self.temp.path().join("clock")).unwrap();
        let root = Root::open(&self.temp.path().join("fs")).unwrap();
        self.settled = stamp(&root, writer, &clock, &self.spared).unwrap();
    }

    /// Walks the folder and returns the layer of the changes.
    fn walk(&mut self) -> Result<Vec<u8>, DiffError> {
        let options = ChangeOptions {
            root: self.root,
            owners: OwnerSource::Disk,
            devices: &self.devices,
            settled: self.settled,
            spared: &self.spared,
        };
        let (mut out, mut new) = (LayerWriter::new(Vec::new()), Vec::new());
        let old = StampReader::new(&self.stamps[..]).unwrap();
        let mut below = OfTree(&self.tree);
        let asked = (&mut below as &mut dyn Below, &options);
        let stamps = StampWriter::new(&mut new);
        self.settled = changes(&self.root(), old, &mut out, stamps, &self.clock(), asked)?;
        self.stamps = new;
        Ok(out.finish().unwrap())
    }

    /// Walks the folder, returns the changes, a word for each, and applies them to the tree.
    fn changes(&mut self) -> Vec<String> {
        let bytes = self.walk().unwrap();
        let index = LayerIndex::of_tar(&bytes[..]).unwrap();
        self.tree = self.tree.apply(1, &index);
        let show = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        let word = |change: &Change| match change {
            Change::Whiteout(path) => format!("-{}", show(path)),
            Change::Opaque(path) => format!("!{}", show(path)),
            Change::Put(entry) => match &entry.kind {
                Kind::Dir => format!("{}/", show(&entry.path)),
                Kind::HardLink { target } => format!("{}={}", show(&entry.path), show(target)),
                _ => show(&entry.path),
            },
        };
        index.changes().iter().map(|(change, _)| word(change)).collect()
    }

    /// Rewrites a file and sets its time back.
    fn rewrite(&self, path: &str, text: &str) {
        let before = std::fs::metadata(self.at(path)).unwrap();
        std::fs::write(self.at(path), text).unwrap();
        let mtime = Mtime { secs: before.mtime(), nanos: before.mtime_nsec() as u32 };
        self.root().set_mtime(path.as_bytes(), mtime).unwrap();
    }
}

const FILES: &[&str] =
    &["d a 755", "f a/f 1", "f a/g 2", "d b 755", "f b/x 3", "h b/y b/x", "l c a", "p d", "f e 5"];

#[test]
fn what_is_no_change_is_left_out() {
    let mut place = place(FILES);
    assert!(place.changes().is_empty());
    // All of these move the time of the last change.
    place.rewrite("a/f", "1");
    std::fs::set_permissions(place.at("a/g"), PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::set_permissions(place.at("a/g"), PermissionsExt::from_mode(0o644)).unwrap();
    std::fs::hard_link(place.at("b/x"), place.at("b/z")).unwrap();
    std::fs::remove_file(place.at("b/z")).unwrap();
    for folder in ["a", "b"] {
        place.root().set_mtime(folder.as_bytes(), Mtime::default()).unwrap();
    }
    let found = place.changes();
    assert!(found.iter().all(|word| word.ends_with('/')), "{found:?}");
    assert!(place.changes().is_empty());
}

#[test]
fn a_name_of_a_file_that_becomes_a_file_of_its_own_is_a_change() {
    let mut place = place(FILES);
    let before = std::fs::metadata(place.at("b/x")).unwrap();
    std::fs::write(place.at("new"), "3").unwrap();
    std::fs::set_permissions(place.at("new"), before.permissions()).unwrap();
    let mtime = Mtime { secs: before.mtime(), nanos: before.mtime_nsec() as u32 };
    place.root().set_mtime(b"new", mtime).unwrap();
    std::fs::rename(place.at("new"), place.at("b/y")).unwrap();
    assert_eq!(place.changes(), ["b/", "b/y"]);
    assert!(place.changes().is_empty());
}

#[test]
fn every_kind_of_change_is_found() {
    let mut place = place(FILES);
    std::fs::write(place.at("a/f"), "longer").unwrap();
    std::fs::remove_file(place.at("a/g")).unwrap();
    std::fs::create_dir(place.at("a/new")).unwrap();
    std::fs::write(place.at("a/new/file"), "").unwrap();
    std::fs::write(place.at("b/y"), "both names").unwrap();
    std::fs::remove_file(place.at("c")).unwrap();
    symlink("b", place.at("c")).unwrap();
    std::fs::remove_file(place.at("d")).unwrap();
    std::fs::create_dir(place.at("d")).unwrap();
    let expected = ["a/", "a/f", "-a/g", "a/new/", "a/new/file", "b/", "b/x", "b/y=b/x", "c", "d/"];
    assert_eq!(place.changes(), expected);
    assert!(place.changes().is_empty());
    std::fs::remove_dir_all(place.at("a")).unwrap();
    std::fs::remove_dir_all(place.at("d")).unwrap();
    std::fs::write(place.at("d"), "").unwrap();
    std::fs::remove_file(place.at("e")).unwrap();
    assert_eq!(place.changes(), ["-a", "d", "-e"]);
    assert!(place.changes().is_empty());
}

#[test]
fn a_folder_that_was_made_anew_hides_the_old_one() {
    // The new folder often gets the inode of the old one.
    for _ in 0..20 {
        let mut place = place(FILES);
        std::fs::remove_dir_all(place.at("a")).unwrap();
        std::fs::create_dir(place.at("a")).unwrap();
        std::fs::write(place.at("a/f"), "1").unwrap();
        let found = place.changes();
        assert!(place.tree.lookup(b"a/f").is_some() && place.tree.lookup(b"a/g").is_none());
        let birth = Stamp::of(&place.root(), 1, b"a", &place.root().stat(b"a").unwrap()).unwrap();
        if birth.birth.is_some() {
            assert_eq!(found, ["a/", "!a", "a/f"]);
        }
    }
}

#[test]
fn a_rewrite_of_the_same_size_right_after_a_walk_is_seen() {
    let mut place = place(FILES);
    for number in 0..200 {
        place.rewrite("a/f", if number % 2 == 0 { "x" } else { "y" });
        assert_eq!(place.changes(), ["a/", "a/f"], "{number}");
    }
    // Even if the clock had stood still.
    place.rewrite("a/f", "1");
    let (mut before, settled) = (place.changes(), place.settled);
    assert!(!before.is_empty());
    place.rewrite("a/f", "2");
    place.stamp();
    place.settled = settled;
    before = place.changes();
    assert_eq!(before, ["a/", "a/f"]);
}

#[test]
fn stand_ins_are_devices_only_if_somebody_made_them() {
    let mut place = place(&["c known 1 3", "f claims 1"]);
    let claim = |path: &str, value: &str| {
        std::fs::write(place.at(path), "").unwrap();
        place.root().set_xattr(path.as_bytes(), ATTRIBUTE, value.as_bytes()).unwrap();
    };
    claim("claims", "c 1 5");
    claim("copied", "c 1 3");
    claim("made", "b 7 0");
    place.devices = [Device { kind: DeviceKind::Block, major: 7, minor: 0 }].into();
    assert_eq!(place.changes(), ["claims", "copied", "made"]);
    let kind = |path: &str| place.tree.lookup(path.as_bytes()).unwrap().kind.clone();
    assert_eq!(kind("claims"), Kind::File { size: 0 });
    assert_eq!(kind("copied"), Kind::CharDevice { major: 1, minor: 3 });
    assert_eq!(kind("made"), Kind::BlockDevice { major: 7, minor: 0 });
    assert!(place.root().xattr(b"claims", ATTRIBUTE).unwrap().is_none());
    assert!(place.changes().is_empty());
}

#[test]
fn names_that_no_layer_can_have_are_refused() {
    let mut place = place(FILES);
    std::fs::write(place.at("a/.wh.f"), "").unwrap();
    assert!(matches!(place.walk(), Err(DiffError::Reserved { .. })));
}

#[test]
fn files_of_others_are_passed_over() {
    let mut place = place(&["d etc 755", "f etc/f 1"]);
    for folder in ["xbuild/bin", "run/secrets", "var/run"] {
        std::fs::create_dir_all(place.at(folder)).unwrap();
    }
    std::fs::write(place.at("etc/hosts"), "mounted").unwrap();
    let mounts = b"1 1 0:1 / /etc/hosts rw\n1 1 0:1 / /run/secrets rw\n1 1 0:1 / /var/run/x rw\n";
    place.spared = Spared::new(mounts, [std::path::Path::new("/xbuild")]);
    place.stamp();
    for file in ["etc/hosts", "xbuild/bin/f", "run/secrets/f"] {
        std::fs::write(place.at(file), "changed").unwrap();
    }
    std::fs::set_permissions(place.at("run"), PermissionsExt::from_mode(0o700)).unwrap();
    assert!(place.changes().is_empty());
    std::fs::write(place.at("run/own"), "").unwrap();
    std::fs::write(place.at("etc/own"), "").unwrap();
    assert_eq!(place.changes(), ["etc/", "etc/own", "run/", "run/own"]);
}

#[test]
fn what_the_layer_does_not_carry_is_gone_from_the_folder() {
    let mut place = place(&["d d 755", "f d/f 1", "f f 1"]);
    let lost =
        ["user.overlay.opaque", "user.fuseoverlayfs.x", "user.xbuild.x", "user.xbuild.owner"];
    let root = place.root();
    for path in [&b"d"[..], b"f", b""] {
        lost.iter().for_each(|name| root.set_xattr(path, name, b"x").unwrap());
    }
    root.set_xattr(b"", "user.note", b"x").unwrap();
    root.set_xattr(b"d", "user.note", b"x").unwrap();
    assert_eq!(place.changes(), ["d/"]);
    for path in [&b"d"[..], b"f", b""] {
        for name in lost {
            let path_text = String::from_utf8_lossy(path);
            assert_eq!(root.xattr(path, name).unwrap(), None, "{path_text} {name}");
        }
    }
    // The next root folder has no attributes either.
    assert_eq!(root.xattr(b"", "user.note").unwrap(), None);
    assert!(root.xattr(b"d", "user.note").unwrap().is_some());
    assert!(place.changes().is_empty());
}

#[test]
fn sockets_are_gone_from_the_folder() {
    let mut place = place(&["d d 755", "f d/f 1"]);
    let (root, old) = (place.root(), Mtime { secs: 1000, nanos: 7 });
    root.unlink(b"d/f").unwrap();
    for socket in [&b"d/f"[..], b"d/new"] {
        root.mknod(socket, FileType::Socket, 0o600, (0, 0)).unwrap();
    }
    root.set_mtime(b"d", old).unwrap();
    assert_eq!(place.changes(), ["d/", "-d/f"]);
    assert!(root.read_dir(b"d").unwrap().is_empty());
    assert_eq!(root.stat(b"d").unwrap().mtime, old);
    assert!(place.changes().is_empty());
}
