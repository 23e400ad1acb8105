use super::*;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// Returns a tree with a file outside of it, and its handle for both walks.
fn tree() -> (tempfile::TempDir, [Root; 2]) {
    let temp = tempfile::tempdir().unwrap();
    let top = temp.path().join("top");
    std::fs::create_dir_all(top.join("a/b")).unwrap();
    std::fs::write(temp.path().join("outside"), "secret").unwrap();
    std::fs::write(top.join("a/b/file"), "inside").unwrap();
    for (target, link) in [
        ("../outside", "rel"),
        ("/a/b/file", "abs"),
        ("a/b", "folder"),
        ("../../../../a", "clamped"),
        ("loop", "loop"),
        ("..", "a/up"),
    ] {
        symlink(target, top.join(link)).unwrap();
    }
    let kernel = Root::open(&top).unwrap();
    let hand = Root { fd: kernel.fd.try_clone().unwrap(), walk: Walk::Hand };
    (temp, [kernel, hand])
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> Errno {
    Errno::from_io_error(&result.unwrap_err()).unwrap()
}

#[test]
fn beneath_never_goes_through_a_link() {
    let (_temp, roots) = tree();
    for root in &roots {
        let flags = OFlags::RDONLY;
        for path in ["rel", "abs", "folder/file", "loop", "a/up/a", "clamped/b/file"] {
            assert_eq!(errno(root.openat(path.as_bytes(), flags)), Errno::LOOP, "{path}");
        }
        for path in ["..", "../outside", "a/../a", "/a", "/"] {
            assert_eq!(errno(root.openat(path.as_bytes(), flags)), Errno::XDEV, "{path}");
        }
        assert_eq!(errno(root.openat(b"a/b/file/x", flags)), Errno::NOTDIR);
        assert_eq!(errno(root.openat(b"none", flags)), Errno::NOENT);
        for path in ["a/b/file", "./a/./b//file"] {
            root.openat(path.as_bytes(), flags).unwrap();
        }
        root.openat(b"", OFlags::PATH).unwrap();
        let link = root.openat(b"rel", OFlags::PATH | OFlags::NOFOLLOW).unwrap();
        assert_eq!(Stat::from(rustix::fs::fstat(link).unwrap()).kind, FileType::Symlink);
    }
}

#[test]
fn in_root_follows_links_inside() {
    let (_temp, roots) = tree();
    for root in &roots {
        let read = |path: &str| -> io::Result<String> {
            let fd = root.open_in_root(path.as_bytes(), OFlags::RDONLY)?;
            std::io::read_to_string(File::from(fd))
        };
        for path in [
            "abs",
            "/abs",
            "folder/file",
            "clamped/b/file",
            "../a/b/file",
            "a/up/abs",
            "a/up/../../../folder/../b/file",
        ] {
            assert_eq!(read(path).unwrap(), "inside", "{path}");
        }
        assert_eq!(errno(read("rel")), Errno::NOENT);
        assert_eq!(errno(read("loop")), Errno::LOOP);
        assert_eq!(errno(read("abs/x")), Errno::NOTDIR);
        assert!(root.resolve_in_root(b"folder").unwrap().stat(b"file").unwrap().is_file());
        assert!(root.resolve_in_root(b"..").unwrap().stat(b"a").unwrap().is_dir());
        assert!(root.resolve_in_root(b"/proc/self/root").is_err());
    }
}

#[test]
fn changes_stay_inside() {
    let (temp, roots) = tree();
    let outside = temp.path().join("outside");
    std::fs::set_permissions(&outside, std::fs::Permissions::from_mode(0o600)).unwrap();
    let before = std::fs::symlink_metadata(&outside).unwrap();
    let mtime = Mtime { secs: 5, nanos: 0 };
    for root in &roots {
        assert_eq!(errno(root.chmod(b"rel", 0o777)), Errno::LOOP);
        root.set_mtime(b"rel", mtime).unwrap();
        assert_eq!(root.stat(b"rel").unwrap().mtime, mtime);
        assert!(root.set_xattr(b"rel", "user.x", b"1").is_err());
        assert_eq!(errno(root.create_new(b"rel", 0o644)), Errno::EXIST);
        for path in ["../new", "rel/new", "folder/new", "a/up/new", "/new"] {
            let path = path.as_bytes();
            assert!(root.create_new(path, 0o644).is_err());
            assert!(root.mkdir(path, 0o755).is_err());
            assert!(root.symlink(b"x", path).is_err());
            assert!(root.link(b"a/b/file", path).is_err());
            assert!(root.mknod(path, FileType::Fifo, 0o644, (0, 0)).is_err());
            assert!(root.rename(b"a/b/file", path).is_err());
        }
        for path in ["../outside", "a/up/../outside", ".", "..", "a/..", ""] {
            assert!(root.unlink(path.as_bytes()).is_err(), "{path}");
            assert!(root.remove_tree(path.as_bytes()).is_err(), "{path}");
        }
        assert!(root.link(b"../outside", b"linked").is_err());
        root.link(b"rel", b"linked").unwrap();
        assert_eq!(root.readlink(b"linked").unwrap(), b"../outside");
        root.unlink(b"linked").unwrap();
    }
    let after = std::fs::symlink_metadata(&outside).unwrap();
    assert_eq!(before.permissions(), after.permissions());
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    assert_eq!(std::fs::read(&outside).unwrap(), b"secret");
}

#[test]
fn lists_and_describes() {
    let (_temp, roots) = tree();
    for root in &roots {
        let mut names: Vec<_> = root.read_dir(b"a").unwrap();
        names.sort();
        assert_eq!(names.len(), 2);
        assert_eq!((&names[0].name[..], names[0].maybe_dir), (&b"b"[..], true));
        assert_eq!((&names[1].name[..], names[1].maybe_dir), (&b"up"[..], false));
        let file = root.stat(b"a/b/file").unwrap();
        assert_eq!((file.kind, file.size, file.nlink), (FileType::RegularFile, 6, 1));
        assert!(root.stat(b"").unwrap().is_dir());
        assert_eq!(root.try_stat(b"none/x").unwrap(), None);
        assert!(root.open_file(b"a").is_err());
        root.mkdir(b"made", 0o700).unwrap();
        root.chmod(b"made", 0o511).unwrap();
        assert_eq!(root.stat(b"made").unwrap().mode, 0o511);
        root.rmdir(b"made").unwrap();
    }
}

#[test]
fn removes_trees_without_following_links() {
    let (temp, roots) = tree();
    let outside = temp.path().join("kept");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("file"), "").unwrap();
    for root in &roots {
        root.mkdir(b"t", 0o755).unwrap();
        for path in ["t/a", "t/a/b", "t/a/b/c", "t/a/d", "t/a/d/.removed-0"] {
            root.mkdir(path.as_bytes(), 0o755).unwrap();
        }
        root.mkdir(b"t/.removed-0", 0o755).unwrap();
        root.create_new(b"t/a/b/c/file", 0o600).unwrap();
        root.create_new(b"t/a/d/.removed-0/file", 0o600).unwrap();
        root.symlink(b"../../../../kept", b"t/a/b/c/link").unwrap();
        root.mknod(b"t/a/fifo", FileType::Fifo, 0o600, (0, 0)).unwrap();
        for path in ["t/a/b/c", "t/a/b", "t/a"] {
            root.chmod(path.as_bytes(), 0).unwrap();
        }
        root.remove_tree(b"t").unwrap();
        assert_eq!(root.try_stat(b"t").unwrap(), None);
        root.remove_tree(b"t").unwrap();
        root.symlink(b"../kept", b"link").unwrap();
        root.remove_tree(b"link").unwrap();
    }
    assert!(outside.join("file").exists());
}

#[test]
fn removes_trees_deeper_than_a_path() {
    let (_temp, [root, _]) = tree();
    root.mkdir(b"deep", 0o755).unwrap();
    let mut here = root.dir(b"deep").unwrap();
    for _ in 0..3000 {
        here.mkdir(b"d", 0o755).unwrap();
        here = here.dir(b"d").unwrap();
    }
    drop(here);
    root.remove_tree(b"deep").unwrap();
    assert_eq!(root.try_stat(b"deep").unwrap(), None);
}
