use proptest::prelude::*;
use xbuild_layer::{Change, LayerIndex, LayerReader, Node, Tree};
use xbuild_model::device::ATTRIBUTE;
use xbuild_testkit::folders::listing;
use xbuild_testkit::layers::layer;

use super::*;
use crate::unpack::tests::owners;
use crate::unpack::unpack;

/// Folders of an overlay mount: the upper one, then the lower ones, newest first.
struct Stack {
    temp: tempfile::TempDir,
    roots: Vec<Root>,
}

fn stack(layers: &[&[&str]]) -> Stack {
    let temp = tempfile::tempdir().unwrap();
    let mut roots = Vec::new();
    for (number, lines) in layers.iter().enumerate() {
        let folder = temp.path().join(number.to_string());
        std::fs::create_dir(&folder).unwrap();
        let root = Root::open(&folder).unwrap();
        unpack(LayerReader::new(&layer(lines)[..]), &root, owners()).unwrap();
        roots.push(root);
    }
    Stack { temp, roots }
}

impl Stack {
    fn diff(&self) -> Vec<u8> {
        self.try_diff().unwrap()
    }

    fn try_diff(&self) -> Result<Vec<u8>, DiffError> {
        let root = self.roots[0].stat(b"").unwrap();
        let options =
            DiffOptions { root: (root.mode, root.uid, root.gid), ..DiffOptions::default() };
        let mut writer = LayerWriter::new(Vec::new());
        diff(&self.roots[0], &self.roots[1..], &mut writer, &options)?;
        Ok(writer.finish().unwrap())
    }
}

/// Returns the changes of a layer, a word for each.
fn changes(bytes: &[u8]) -> Vec<String> {
    let mut reader = LayerReader::new(bytes);
    let mut words = Vec::new();
    while let Some(change) = reader.next().unwrap() {
        let show = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        words.push(match change {
            Change::Whiteout(path) => format!("-{}", show(&path)),
            Change::Opaque(path) => format!("!{}", show(&path)),
            Change::Put(entry) => match entry.kind {
                Kind::Dir => format!("{}/", show(&entry.path)),
                Kind::HardLink { target } => format!("{}={}", show(&entry.path), show(&target)),
                _ => show(&entry.path),
            },
        });
    }
    words
}

#[test]
fn what_is_no_change_is_left_out() {
    for (layers, expected) in [
        (&[&[][..], &["f a 1"]][..], &[][..]),
        (&[&["f a 1"], &["f a 1"]], &[]),
        (&[&["f a 1"], &["f a 2"]], &["a"]),
        (&[&["f a 1"], &["f a 12"]], &["a"]),
        (&[&["f a 1"], &[]], &["a"]),
        (&[&["f a 1"], &["f a 2"], &["f a 1"]], &["a"]),
        (&[&["f a 1"], &["w a"], &["f a 1"]], &["a"]),
        (&[&["f a 1"], &["d x 755"], &["f a 1"]], &[]),
        (&[&["l a x"], &["l a x"]], &[]),
        (&[&["l a x"], &["l a y"]], &["a"]),
        (&[&["p a"], &["p a"]], &[]),
        // The upper file is no name of the lower `b` any more.
        (&[&["f a 1"], &["f a 1", "h b a"]], &["a"]),
        (&[&["l a x"], &["l a x", "h b a"]], &["a"]),
        (&[&["p a"], &["p a", "h b a"]], &["a"]),
        (&[&["p a"], &["f a 1"]], &["a"]),
        (&[&["d a 700"], &["d a 700"]], &[]),
        (&[&["d a 700"], &["d a 711"]], &["a/"]),
    ] {
        assert_eq!(changes(&stack(layers).diff()), expected, "{layers:?}");
    }
}

#[test]
fn folders_above_a_change_are_written() {
    for (layers, expected) in [
        (
            &[&["d a 755", "d a/b 755", "f a/b/f 1"][..], &["d a 755", "d a/b 755"]][..],
            &["a/", "a/b/", "a/b/f"][..],
        ),
        (&[&["d a 755", "d a/b 755", "f a/f 1"], &["d a 755", "d a/b 755"]], &["a/", "a/f"]),
        (&[&["d a 755", "d b 755", "w b/x"], &["d a 755", "d b 755", "f b/x 1"]], &["b/", "-b/x"]),
    ] {
        assert_eq!(changes(&stack(layers).diff()), expected, "{layers:?}");
    }
}

#[test]
fn what_is_gone_gets_a_whiteout() {
    for (layers, expected) in [
        (&[&["w a"][..], &["f a 1"]][..], &["-a"][..]),
        (&[&["w a"], &["d a 755"]], &["-a"]),
        // Nothing is hidden, so the layer says nothing.
        (&[&["w a"], &[]], &[]),
        (&[&["w a"], &["w a"], &["f a 1"]], &[]),
    ] {
        assert_eq!(changes(&stack(layers).diff()), expected, "{layers:?}");
    }
}

#[test]
fn a_folder_made_anew_hides_the_old_one() {
    let old: &[&str] = &["d a 755", "f a/old 1", "f a/same 1"];
    let anew: &[&str] = &["d a 755", "o a", "f a/same 1"];
    assert_eq!(changes(&stack(&[anew, old]).diff()), ["a/", "!a", "a/same"]);
    // overlayfs marks every folder that it makes. Without a predecessor the mark means nothing.
    assert_eq!(changes(&stack(&[anew]).diff()), ["a/", "a/same"]);
    assert_eq!(changes(&stack(&[anew, &["f a 1"]]).diff()), ["a/", "a/same"]);
    assert_eq!(changes(&stack(&[&["d a 755", "f a/x 1"], anew, old]).diff()), ["a/", "a/x"]);
    // The opaque folder in the middle hides that of the lowest layer.
    assert_eq!(changes(&stack(&[&["d a 755", "f a/old 1"], anew, old]).diff()), ["a/", "a/old"]);
}

#[test]
fn names_of_one_file_stay_together() {
    let upper: &[&str] = &["d d 755", "f d/a 1", "h d/b d/a", "h c d/a"];
    assert_eq!(changes(&stack(&[upper]).diff()), ["c", "d/", "d/a=c", "d/b=c"]);
    // Also if one of the names already existed unchanged.
    let lower: &[&str] = &["f a 1"];
    assert_eq!(changes(&stack(&[&["f a 1", "h b a"], lower]).diff()), ["a", "b=a"]);
}

#[test]
fn sockets_and_skipped_paths_are_left_out() {
    let stack = stack(&[&["d a 755", "f a/f 1", "f ab 1"]]);
    stack.roots[0].mknod(b"socket", FileType::Socket, 0o600, (0, 0)).unwrap();
    let root = stack.roots[0].stat(b"").unwrap();
    let options = DiffOptions {
        root: (root.mode, root.uid, root.gid),
        skip: vec![b"a".to_vec()],
        ..DiffOptions::default()
    };
    let mut writer = LayerWriter::new(Vec::new());
    diff(&stack.roots[0], &[], &mut writer, &options).unwrap();
    assert_eq!(changes(&writer.finish().unwrap()), ["ab"]);
}

#[test]
fn a_socket_is_gone_from_the_folder_of_the_layer_too() {
    let stack = stack(&[&["d d 755"], &["d d 755", "f d/f 1"]]);
    let (root, old) = (&stack.roots[0], xbuild_layer::Mtime { secs: 1000, nanos: 7 });
    for socket in [&b"d/f"[..], b"d/new"] {
        root.mknod(socket, FileType::Socket, 0o600, (0, 0)).unwrap();
    }
    root.set_mtime(b"d", old).unwrap();
    // Steps saw no file there, and the next ones see what the layer says.
    assert_eq!(changes(&stack.diff()), ["d/", "-d/f"]);
    assert!(root.stat(b"d/f").unwrap().is_whiteout());
    assert!(root.try_stat(b"d/new").unwrap().is_none());
    assert_eq!(root.stat(b"d").unwrap().mtime, old);
    assert_eq!(changes(&stack.diff()), ["d/", "-d/f"]);
}

#[test]
fn attributes_of_no_layer_are_gone_from_its_folder_too() {
    let stack = stack(&[&["d d 755", "f f 1", "f same 1", "d anew 755", "o anew"], &["f same 1"]]);
    let root = &stack.roots[0];
    let lost =
        ["user.overlay.overlay.x", "user.fuseoverlayfs.x", "user.xbuild.x", "user.xbuild.owner"];
    claim(&stack, b"device", b"c 5 1");
    for path in [&b"d"[..], b"f", b"same", b"device"] {
        lost.iter().for_each(|name| root.set_xattr(path, name, b"x").unwrap());
    }
    root.set_xattr(b"device", "user.note", b"x").unwrap();
    for path in [&b"d"[..], b"f"] {
        root.set_xattr(path, "user.note", b"x").unwrap();
    }
    root.set_xattr(b"d", "user.overlay.origin", b"x").unwrap();
    layer_with_devices(&stack, &[b"c 5 1"]);
    for path in [&b"d"[..], b"f", b"same", b"device"] {
        for name in lost {
            let path_text = String::from_utf8_lossy(path);
            assert_eq!(root.xattr(path, name).unwrap(), None, "{path_text} {name}");
        }
    }
    assert_eq!(root.xattr(b"device", "user.note").unwrap(), None);
    for (path, name) in [
        (&b"d"[..], "user.note"),
        (b"f", "user.note"),
        (b"d", "user.overlay.origin"),
        (b"anew", "user.overlay.opaque"),
        (b"device", ATTRIBUTE),
    ] {
        assert!(root.xattr(path, name).unwrap().is_some(), "{name}");
    }
}

#[test]
fn a_folder_that_becomes_no_layer_stays_as_it_is() {
    let stack = stack(&[&["f f 1"]]);
    let root = &stack.roots[0];
    claim(&stack, b"device", b"c 5 1");
    root.set_xattr(b"f", "user.xbuild.x", b"x").unwrap();
    root.mknod(b"socket", FileType::Socket, 0o600, (0, 0)).unwrap();
    let stat = root.stat(b"").unwrap();
    let root_before = (stat.mode, stat.uid, stat.gid);
    let options = DiffOptions { root: root_before, stays: true, ..DiffOptions::default() };
    let mut writer = LayerWriter::new(Vec::new());
    diff(root, &[], &mut writer, &options).unwrap();
    assert_eq!(changes(&writer.finish().unwrap()), ["device", "f"]);
    assert!(root.xattr(b"device", ATTRIBUTE).unwrap().is_some());
    assert!(root.xattr(b"f", "user.xbuild.x").unwrap().is_some());
    assert!(root.try_stat(b"socket").unwrap().is_some());
}

#[test]
fn what_no_layer_can_hold_is_the_fault_of_a_file() {
    let stack = stack(&[&["f f 1"]]);
    for (name, word) in [("user.a=b", "\"=\""), ("user.\u{1}=", "\"=\"")] {
        stack.roots[0].set_xattr(b"f", name, b"x").unwrap();
        let error = stack.try_diff().unwrap_err();
        assert!(matches!(error, DiffError::Unfit { .. }), "{error}");
        assert!(error.to_string().contains("\"f\"") && error.to_string().contains(word), "{error}");
    }
}

#[test]
fn names_of_attributes_are_bytes() {
    let stack = stack(&[&["f f 1"]]);
    let file = stack.roots[0].open_file(b"f").unwrap();
    let name = &b"user.\xff\xfe"[..];
    rustix::fs::fsetxattr(&file, name, b"x", rustix::fs::XattrFlags::empty()).unwrap();
    let bytes = stack.diff();
    let Some(Change::Put(entry)) = LayerReader::new(&bytes[..]).next().unwrap() else { panic!() };
    assert_eq!(entry.meta.xattrs, [(name.to_vec(), b"x".to_vec())]);
}

#[test]
fn a_name_that_means_a_whiteout_is_refused() {
    for name in [".wh.", ".wh.file", ".wh..wh..opq", ".wh..wh.aufs", "d/.wh.file"] {
        let stack = stack(&[&["d d 755"], &["f file 1"]]);
        let path = stack.temp.path().join("0").join(name);
        std::fs::write(&path, "").unwrap();
        let error = stack.try_diff().unwrap_err();
        assert!(matches!(&error, DiffError::Reserved { .. }), "{name}: {error}");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(stack.try_diff().is_err(), "{name}");
    }
    for name in [".wh", "wh.file", ".whatever"] {
        let stack = stack(&[&[], &["f file 1"]]);
        std::fs::write(stack.temp.path().join("0").join(name), "").unwrap();
        assert_eq!(changes(&stack.diff()), [name]);
    }
}

#[test]
fn the_root_is_written_if_its_mode_changed() {
    let stack = stack(&[&["f a 1"]]);
    let root = stack.roots[0].stat(b"").unwrap();
    let options = DiffOptions { root: (0o700, root.uid, root.gid), ..DiffOptions::default() };
    let mut writer = LayerWriter::new(Vec::new());
    diff(&stack.roots[0], &[], &mut writer, &options).unwrap();
    assert_eq!(changes(&writer.finish().unwrap()), ["/", "a"]);
}

#[test]
fn a_diff_unpacks_to_the_same_folder() {
    let upper: &[&str] =
        &["d a 711", "o a", "f a/f 1", "h a/g a/f", "w gone", "l l x", "p p", "d e 1777"];
    let lower: &[&str] = &["d a 755", "f a/old 1", "f gone 1"];
    let stack = stack(&[upper, lower]);
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    let bytes = stack.diff();
    unpack(LayerReader::new(&bytes[..]), &root, owners()).unwrap();
    assert_eq!(listing(temp.path()), listing(&stack.temp.path().join("0")));
    // The bytes are the same for everyone and every time.
    assert_eq!(stack.diff(), bytes);
}

/// The files of a folder `name`, for a layer that changes it in one of these ways.
fn any_folder(name: &'static str) -> impl Strategy<Value = Vec<String>> {
    let child = (0..5, prop::sample::select(vec!["x", "y"])).prop_map(move |(way, child)| {
        let path = format!("{name}/{child}");
        match way {
            0 => format!("w {path}"),
            1 => format!("l {path} target"),
            2 => format!("d {path} 750"),
            way => format!("f {path} {way}"),
        }
    });
    (0..6, prop::collection::vec(child, 0..3)).prop_map(move |(way, children)| {
        let own: &[String] = &match way {
            0 => return Vec::new(),
            1 => return vec![format!("w {name}")],
            2 => return vec![format!("f {name} text")],
            3 => [format!("d {name} 700"), format!("o {name}")].to_vec(),
            way => [format!("d {name} 75{way}")].to_vec(),
        };
        [own, &children].concat()
    })
}

fn any_layer() -> impl Strategy<Value = Vec<String>> {
    (any_folder("a"), any_folder("b")).prop_map(|(a, b)| [a, b].concat())
}

/// Returns the files of a tree, a line for each. Modes of symbolic links mean nothing.
fn lines(tree: &Tree) -> Vec<String> {
    let line = |(path, node): (Vec<u8>, &Node)| match &node.kind {
        Kind::Symlink { target } => format!("{} -> {}", path.escape_ascii(), target.escape_ascii()),
        kind => format!("{} {kind:?} {:o} {:?}", path.escape_ascii(), node.meta.mode, node.content),
    };
    tree.walk(b"").filter(|(path, _)| !path.is_empty()).map(line).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The layer of a folder turns the layers below into what the folder shows on top of them.
    #[test]
    fn a_diff_applied_gives_the_same_tree(lower in any_layer(), upper in any_layer()) {
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
        let tar = stack(&[&upper, &lower]).diff();
        let below = LayerIndex::of_tar(&layer(&lower)[..]).unwrap();
        let below = Tree::empty().apply(0, &below);
        let [shown, applied] = [layer(&upper), tar].map(|layer| {
            below.apply(1, &LayerIndex::of_tar(&layer[..]).unwrap())
        });
        prop_assert_eq!(lines(&shown), lines(&applied));
    }
}

/// Runs a script on a real overlay mount of the stack, in a user namespace. Returns false if this
/// machine does not allow it.
fn run_on_overlay(stack: &Stack, script: &str) -> bool {
    let top = stack.temp.path();
    for folder in ["work", "merged"] {
        std::fs::create_dir(top.join(folder)).unwrap();
    }
    let lowers: Vec<_> = (1..stack.roots.len()).map(|number| number.to_string()).collect();
    let mount = format!(
        "cd {} && mount -t overlay overlay -o userxattr,upperdir=0,workdir=work,lowerdir={} merged",
        top.display(),
        lowers.join(":")
    );
    let run = |script: &str| {
        let script = format!("set -e; umask 022; {mount}; {script}");
        let mut command = std::process::Command::new("unshare");
        command.args(["-U", "-r", "-m", "sh", "-c", &script]).status()
    };
    if !run(":").is_ok_and(|status| status.success()) {
        eprintln!("skip: missing feature overlay in a user namespace");
        return false;
    }
    assert!(run(&format!("cd merged; {script}")).unwrap().success(), "{script}");
    true
}

#[test]
fn what_overlayfs_makes_of_a_command() {
    let base: &[&str] =
        &["d d 755", "d d/sub 755", "f d/f 1", "f d/sub/f 1", "f f 1", "h g f", "l l d", "d e 700"];
    for (script, expected) in [
        (":", &[][..]),
        ("rm f", &["-f"]),
        ("rm -r d", &["-d"]),
        ("mkdir n; touch n/x; rm -r n", &[]),
        ("chmod 600 f", &["f"]),
        // Copied up, and unchanged.
        ("chmod 600 d/f; chmod 644 d/f", &[]),
        ("cat d/f > x; touch -r d/f x; cat x > d/f; touch -r x d/f; rm x", &[]),
        // It is no name of `g` any more.
        ("chmod 600 f; chmod 644 f", &["f"]),
        ("echo 2 > d/sub/f", &["d/", "d/sub/", "d/sub/f"]),
        ("rm -r d; mkdir d; echo 1 > d/n", &["d/", "!d", "d/n"]),
        ("rm -r d; echo 1 > d", &["d"]),
        ("rm f; mkdir f; echo 1 > f/n", &["f/", "f/n"]),
        ("rm l; mkdir l; echo 1 > l/n", &["l/", "l/n"]),
        ("rm -r d; ln -s f d", &["d"]),
        (
            "mv d/sub d/new 2>/dev/null || { cp -a d/sub d/new; rm -r d/sub; }",
            &["d/", "d/new/", "d/new/f", "-d/sub"],
        ),
        ("mv f d/f2", &["d/", "d/f2", "-f"]),
        ("ln f x", &["f", "x=f"]),
        ("mkfifo p; ln -s nowhere s", &["p", "s"]),
        ("rm -r d/sub; mkdir -p d/sub/deep", &["d/", "d/sub/", "!d/sub", "d/sub/deep/"]),
    ] {
        let stack = stack(&[&[], &["w gone", "f top 1"], base]);
        if !run_on_overlay(&stack, script) {
            return;
        }
        assert_eq!(changes(&stack.diff()), expected, "{script}");
    }
}

#[test]
fn an_upper_folder_serves_as_a_lower_one() {
    let base: &[&str] = &["d d 755", "f d/f 1", "f f 1"];
    let first = stack(&[&[], base]);
    let script = "rm f; rm -r d; mkdir d; echo 2 > d/new; chmod 711 d";
    if !run_on_overlay(&first, script) {
        return;
    }
    let mut second = stack(&[&[], base]);
    let top = second.temp.path().to_owned();
    std::fs::rename(top.join("1"), top.join("2")).unwrap();
    std::fs::rename(first.temp.path().join("0"), top.join("1")).unwrap();
    second.roots =
        ["0", "1", "2"].iter().map(|name| Root::open(&top.join(name)).unwrap()).collect();
    let script = "test ! -e f; test \"$(ls d)\" = new; echo 3 > d/newer; rm d/new";
    assert!(run_on_overlay(&second, script));
    assert_eq!(changes(&second.diff()), ["d/", "-d/new", "d/newer"]);
}

/// Makes an upper file that claims to be a device.
fn claim(stack: &Stack, path: &[u8], value: &[u8]) {
    drop(stack.roots[0].create_new(path, 0o644).unwrap());
    stack.roots[0].set_xattr(path, ATTRIBUTE, value).unwrap();
    stack.roots[0].set_mtime(path, xbuild_layer::Mtime { secs: 1000, nanos: 0 }).unwrap();
}

/// Returns the layer of a command that made the devices `made`.
fn layer_with_devices(stack: &Stack, made: &[&[u8]]) -> Vec<u8> {
    let root = stack.roots[0].stat(b"").unwrap();
    let devices = made.iter().map(|text| Device::parse(text).unwrap()).collect();
    let options = DiffOptions {
        root: (root.mode, root.uid, root.gid),
        records: Records { devices, ..Records::default() },
        ..DiffOptions::default()
    };
    let mut writer = LayerWriter::new(Vec::new());
    diff(&stack.roots[0], &stack.roots[1..], &mut writer, &options).unwrap();
    writer.finish().unwrap()
}

/// Returns the devices and empty files in that layer.
fn devices_of(stack: &Stack, made: &[&[u8]]) -> Vec<String> {
    let bytes = layer_with_devices(stack, made);
    let mut reader = LayerReader::new(&bytes[..]);
    let mut found = Vec::new();
    while let Some(change) = reader.next().unwrap() {
        let Change::Put(entry) = change else { panic!("{change:?}") };
        assert!(entry.meta.xattrs.is_empty());
        let path = String::from_utf8_lossy(&entry.path).into_owned();
        found.push(match entry.kind {
            Kind::CharDevice { major, minor } => format!("{path} c {major} {minor}"),
            Kind::BlockDevice { major, minor } => format!("{path} b {major} {minor}"),
            Kind::HardLink { target } => format!("{path} {}", String::from_utf8_lossy(&target)),
            _ => path,
        });
    }
    found
}

#[test]
fn stand_ins_are_devices() {
    let stack = stack(&[&[], &[]]);
    claim(&stack, b"block", b"b 7 0");
    claim(&stack, b"char", b"c 5 1");
    stack.roots[0].link(b"char", b"twin").unwrap();
    let expected = ["block b 7 0", "char c 5 1", "twin char"];
    assert_eq!(devices_of(&stack, &[b"b 7 0", b"c 5 1"]), expected);
}

#[test]
fn false_claims_are_files_for_good() {
    let stack = stack(&[&[], &["f plain"]]);
    let claims = [&b"c 1 3"[..], b"b 8 0", b"c 1", b"", b"c 5 1\n", b"c 05 1"];
    for (number, value) in claims.iter().enumerate() {
        claim(&stack, format!("{number}").as_bytes(), value);
    }
    assert_eq!(devices_of(&stack, &[b"c 5 1"]), ["0", "1", "2", "3", "4", "5"]);
    // The next step finds them below, whatever it makes itself.
    assert_eq!(devices_of(&stack, &[b"b 8 0", b"c 1 3"]), ["0", "1", "2", "3", "4", "5"]);
}

#[test]
fn devices_of_the_layers_below_stay_devices() {
    let stack = stack(&[&[], &["c moved", "c same", "c mode", "c file", "c folder/other"]]);
    for path in [&b"same"[..], b"mode", b"new"] {
        claim(&stack, path, b"c 1 3");
    }
    stack.roots[0].chmod(b"mode", 0o600).unwrap();
    // Empty files of the same mode and time.
    drop(stack.roots[0].create_new(b"file", 0o644).unwrap());
    stack.roots[0].set_mtime(b"file", xbuild_layer::Mtime { secs: 1000, nanos: 0 }).unwrap();
    assert_eq!(devices_of(&stack, &[]), ["file", "mode c 1 3", "new c 1 3"]);
}

#[test]
fn devices_that_are_hidden_below_count_too() {
    let stack = stack(&[&[], &[], &["c device"]]);
    claim(&stack, b"file", b"c 1 3");
    let root = stack.roots[0].stat(b"").unwrap();
    let options = DiffOptions {
        root: (root.mode, root.uid, root.gid),
        hidden: vec![stack.temp.path().join("2")],
        ..DiffOptions::default()
    };
    let mut writer = LayerWriter::new(Vec::new());
    diff(&stack.roots[0], &stack.roots[1..2], &mut writer, &options).unwrap();
    let bytes = writer.finish().unwrap();
    let change = LayerReader::new(&bytes[..]).next().unwrap();
    let Some(Change::Put(entry)) = change else { panic!("{change:?}") };
    assert_eq!(entry.kind, Kind::CharDevice { major: 1, minor: 3 });
}

/// Returns an access list that gives user 33 `rwx` and the group `r-x`.
fn access_list() -> Vec<u8> {
    let entry = |tag: u16, bits: u16, id: u32| {
        [&tag.to_le_bytes()[..], &bits.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let none = u32::MAX;
    [
        2_u32.to_le_bytes().to_vec(),
        entry(1, 7, none),
        entry(2, 7, 33),
        entry(4, 5, none),
        entry(16, 7, none),
        entry(32, 5, none),
    ]
    .concat()
}

#[test]
fn attributes_are_in_the_layer_and_in_its_folder() {
    use xbuild_layer::attributes::ACCESS;
    let access = String::from_utf8(ACCESS.to_vec()).unwrap();
    let stack = stack(&[&["d d 755", "f d/f 1", "f g 2"], &["d d 755", "f d/f 1", "f g 2"]]);
    assert_eq!(changes(&stack.diff()), Vec::<String>::new());
    let list = access_list();
    stack.roots[0].set_xattr(b"d", "user.note", b"=\0").unwrap();
    stack.roots[0].set_xattr(b"g", "user.note", b"x").unwrap();
    stack.roots[0].set_xattr(b"g", "user.overlay.origin", b"x").unwrap();
    let has_lists = stack.roots[0].set_xattr(b"d", &access, &list).is_ok();
    let layer = stack.diff();
    assert_eq!(changes(&layer), ["d/", "g"]);
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    unpack(LayerReader::new(&layer[..]), &root, owners()).unwrap();
    assert_eq!(root.xattr(b"d", "user.note").unwrap().unwrap(), b"=\0");
    assert_eq!(root.xattr(b"g", "user.note").unwrap().unwrap(), b"x");
    assert_eq!(root.xattr(b"g", "user.overlay.origin").unwrap(), None);
    if has_lists {
        assert_eq!(root.xattr(b"d", &access).unwrap().unwrap(), list);
        assert_eq!(root.stat(b"d").unwrap().mode, 0o775);
    }
}

/// A layer's access list is that of the file, whatever the file is, and unpacking gives it back.
#[test]
fn access_lists_of_pipes_and_devices_are_in_the_layer() {
    use xbuild_layer::attributes::ACCESS;
    let access = String::from_utf8(ACCESS.to_vec()).unwrap();
    let stack = stack(&[&[], &["p below"]]);
    claim(&stack, b"device", b"c 5 1");
    let pipe = |name: &[u8]| stack.roots[0].mknod(name, FileType::Fifo, 0o644, (0, 0)).unwrap();
    pipe(b"below");
    pipe(b"pipe");
    let list = access_list();
    for name in [&b"below"[..], b"device", b"pipe"] {
        if stack.roots[0].set_xattr(name, &access, &list).is_err() {
            return;
        }
    }
    let layer = layer_with_devices(&stack, &[b"c 5 1"]);
    let mut reader = LayerReader::new(&layer[..]);
    for name in [&b"below"[..], b"device", b"pipe"] {
        let Some(Change::Put(entry)) = reader.next().unwrap() else { panic!("no entry") };
        assert_eq!((&*entry.path, entry.meta.mode), (name, 0o775));
        assert_eq!(entry.meta.xattrs, [(ACCESS.to_vec(), list.clone())]);
    }
    let temp = tempfile::tempdir().unwrap();
    let root = Root::open(temp.path()).unwrap();
    unpack(LayerReader::new(&layer[..]), &root, owners()).unwrap();
    for name in [&b"below"[..], b"device", b"pipe"] {
        assert_eq!(root.xattr(name, &access).unwrap().unwrap(), list);
        assert_eq!(root.stat(name).unwrap().mode, 0o775);
    }
}
