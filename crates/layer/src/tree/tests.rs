use super::*;
use crate::LayerIndex;
use crate::Mtime;

fn meta(mode: u32) -> Meta {
    Meta { mode, uid: 1, gid: 2, mtime: Mtime { secs: 3, nanos: 0 }, xattrs: Vec::new() }
}

fn put(path: &str, kind: Kind) -> (Change, Option<ContentHash>) {
    let content = matches!(kind, Kind::File { .. }).then_some(ContentHash([7; 32]));
    (Change::Put(Entry { path: path.into(), kind, meta: meta(0o700) }), content)
}

fn dir(path: &str) -> (Change, Option<ContentHash>) {
    put(path, Kind::Dir)
}

fn file(path: &str, size: u64) -> (Change, Option<ContentHash>) {
    put(path, Kind::File { size })
}

fn symlink(path: &str, target: &str) -> (Change, Option<ContentHash>) {
    put(path, Kind::Symlink { target: target.into() })
}

fn link(path: &str, target: &str) -> (Change, Option<ContentHash>) {
    put(path, Kind::HardLink { target: target.into() })
}

fn whiteout(path: &str) -> (Change, Option<ContentHash>) {
    (Change::Whiteout(path.into()), None)
}

fn opaque(path: &str) -> (Change, Option<ContentHash>) {
    (Change::Opaque(path.into()), None)
}

fn layer(changes: Vec<(Change, Option<ContentHash>)>) -> LayerIndex {
    LayerIndex::new(changes).unwrap()
}

/// Returns the tree of a stack of layers, numbered from 0.
fn stack(layers: Vec<Vec<(Change, Option<ContentHash>)>>) -> Tree {
    layers
        .into_iter()
        .enumerate()
        .fold(Tree::empty(), |tree, (number, changes)| tree.apply(number as u32, &layer(changes)))
}

/// Returns the paths below the root, with the kind's first letter and the layer.
fn listing(tree: &Tree) -> Vec<String> {
    tree.walk(b"")
        .skip(1)
        .map(|(path, node)| {
            let kind = match &node.kind {
                Kind::Dir if node.position.is_none() => "implied".to_owned(),
                Kind::Dir => "dir".to_owned(),
                Kind::File { size } => format!("file {size}"),
                Kind::Symlink { target } => format!("-> {}", target.escape_ascii()),
                other => format!("{other:?}"),
            };
            format!("{} {kind} @{}", path.escape_ascii(), node.layer)
        })
        .collect()
}

#[test]
fn the_empty_tree_has_a_root() {
    let tree = Tree::empty();
    assert!(tree.lookup(b"").unwrap().is_folder());
    assert_eq!(tree.root().meta.mode, 0o755);
    assert_eq!(tree.walk(b"").count(), 1);
    assert_eq!(tree.walk(b"x").count(), 0);
}

#[test]
fn layers_merge_folders_and_replace_the_rest() {
    let below = vec![dir("d"), file("d/a", 1), file("f", 1), dir("g"), file("g/x", 1)];
    let tree = stack(vec![below, vec![dir("d"), file("d/b", 2), dir("f"), file("g", 3)]]);
    assert_eq!(
        listing(&tree),
        ["d dir @1", "d/a file 1 @0", "d/b file 2 @1", "f dir @1", "g file 3 @1"]
    );
}

#[test]
fn applying_leaves_the_lower_tree_alone() {
    let lower = stack(vec![vec![dir("d"), file("d/a", 1)]]);
    let before = listing(&lower);
    let upper = lower.apply(1, &layer(vec![whiteout("d/a"), file("d/b", 1)]));
    assert_eq!(listing(&lower), before);
    assert_eq!(listing(&upper), ["d dir @0", "d/b file 1 @1"]);
}

#[test]
fn parents_come_into_being_and_keep_what_lower_layers_say() {
    let tree = stack(vec![vec![dir("d")], vec![file("d/a", 1), file("e/f/g", 1)]]);
    assert_eq!(
        listing(&tree),
        ["d dir @0", "d/a file 1 @1", "e implied @1", "e/f implied @1", "e/f/g file 1 @1"]
    );
    assert_eq!(tree.lookup(b"d").unwrap().meta.mode, 0o700);
    assert_eq!(tree.lookup(b"e").unwrap().meta.mode, 0o755);
}

#[test]
fn parents_replace_links_and_files_of_lower_layers() {
    let tree = stack(vec![
        vec![dir("usr"), symlink("lib", "usr"), file("f", 1)],
        vec![file("lib/a", 1), file("f/a", 1)],
    ]);
    assert_eq!(
        listing(&tree),
        ["f implied @1", "f/a file 1 @1", "lib implied @1", "lib/a file 1 @1", "usr dir @0"]
    );
}

#[test]
fn whiteouts_hide_lower_layers_only_wherever_they_stand() {
    let below = || vec![dir("d"), file("d/a", 1), file("d/b", 1)];
    for changes in [vec![whiteout("d"), dir("d"), file("d/n", 1)], {
        vec![dir("d"), file("d/n", 1), whiteout("d")]
    }] {
        assert_eq!(listing(&stack(vec![below(), changes])), ["d dir @1", "d/n file 1 @1"]);
    }
    let twice = vec![whiteout("d/a"), whiteout("d/a"), whiteout("none")];
    assert_eq!(listing(&stack(vec![below(), twice])), ["d dir @0", "d/b file 1 @0"]);
    let readded = vec![file("d/a", 9), whiteout("d/a")];
    assert_eq!(
        listing(&stack(vec![below(), readded])),
        ["d dir @0", "d/a file 9 @1", "d/b file 1 @0"]
    );
}

#[test]
fn opaque_folders_hide_what_lower_layers_have_in_them() {
    let below = || vec![dir("d"), file("d/a", 1), dir("d/s"), file("d/s/x", 1)];
    let tree = stack(vec![below(), vec![file("d/n", 1), opaque("d")]]);
    assert_eq!(listing(&tree), ["d dir @0", "d/n file 1 @1"]);
    let root = stack(vec![below(), vec![opaque(""), file("n", 1)]]);
    assert_eq!(listing(&root), ["n file 1 @1"]);
    let made = stack(vec![vec![opaque("e")]]);
    assert_eq!(listing(&made), ["e implied @0"]);
}

#[test]
fn later_entries_of_a_layer_replace_earlier_ones() {
    let tree = stack(vec![vec![dir("a"), file("a/x", 1), file("a", 2), file("a", 3)]]);
    assert_eq!(listing(&tree), ["a file 3 @0"]);
    let tree = stack(vec![vec![symlink("a", "/etc"), dir("a"), file("a/x", 1)]]);
    assert_eq!(listing(&tree), ["a dir @0", "a/x file 1 @0"]);
}

#[test]
fn hard_links_are_further_names_of_a_file() {
    let tree = stack(vec![vec![file("a", 5), link("d/b", "a"), link("c", "d/b"), file("x", 5)]]);
    let [a, b, c, x] = [&b"a"[..], b"d/b", b"c", b"x"].map(|path| tree.lookup(path).unwrap());
    assert_eq!(b.kind, Kind::File { size: 5 });
    assert!(a.same_file(b) && a.same_file(c) && !a.same_file(x));
    assert_eq!((c.position, c.content), (Some(0), a.content));
}

#[test]
fn a_link_keeps_the_file_that_its_target_was() {
    let tree = stack(vec![vec![file("a", 1), link("b", "a"), file("a", 2)]]);
    assert_eq!(listing(&tree), ["a file 2 @0", "b file 1 @0"]);
    assert!(!tree.lookup(b"a").unwrap().same_file(tree.lookup(b"b").unwrap()));
}

#[test]
fn links_need_an_earlier_file_of_the_same_layer() {
    for changes in [
        vec![link("b", "a")],
        vec![link("b", "a"), file("a", 1)],
        vec![dir("a"), link("b", "a")],
        vec![file("a/x", 1), link("b", "a")],
    ] {
        assert!(LayerIndex::new(changes).is_err());
    }
}

#[test]
fn the_root_may_have_an_entry() {
    let tree = stack(vec![vec![file("a", 1), dir("")]]);
    assert_eq!((tree.root().meta.mode, tree.root().position), (0o700, Some(1)));
    assert_eq!(listing(&tree), ["a file 1 @0"]);
}

#[test]
fn paths_resolve_inside_the_tree() {
    let tree = stack(vec![vec![
        dir("usr/lib"),
        file("usr/lib/x", 1),
        symlink("lib", "usr/lib"),
        symlink("abs", "/usr/lib"),
        symlink("up", "../../../lib"),
        symlink("usr/back", ".."),
        symlink("gone", "nowhere/at/all"),
        symlink("root", "/"),
        file("f", 1),
    ]]);
    for (path, follow, expected, exists) in [
        ("", true, "", true),
        ("/", true, "", true),
        ("..", true, "", true),
        ("usr/lib/x", true, "usr/lib/x", true),
        ("/lib/x", true, "usr/lib/x", true),
        ("abs/./x", true, "usr/lib/x", true),
        ("up/x", true, "usr/lib/x", true),
        ("usr/back/f", true, "f", true),
        ("lib", false, "lib", true),
        ("lib", true, "usr/lib", true),
        ("lib/", false, "usr/lib", true),
        ("lib/../f", true, "usr/f", false),
        ("root/f", true, "f", true),
        ("gone", true, "nowhere/at/all", false),
        ("gone/../x", true, "nowhere/at/x", false),
        ("new/a/b", true, "new/a/b", false),
        ("new/../f", true, "f", true),
        ("f/..", true, "", true),
    ] {
        let resolved = tree.resolve(path.as_bytes(), follow).unwrap();
        assert_eq!(resolved.path, expected.as_bytes(), "{path}");
        assert_eq!(resolved.node.is_some(), exists, "{path}");
    }
}

#[test]
fn unresolvable_paths_are_errors() {
    let tree = stack(vec![vec![symlink("a", "b"), symlink("b", "a"), file("f", 1)]]);
    assert!(matches!(tree.resolve(b"a", true), Err(ResolveError::Loop { .. })));
    assert!(matches!(tree.resolve(b"a/x", false), Err(ResolveError::Loop { .. })));
    assert!(tree.resolve(b"a", false).is_ok());
    assert!(matches!(tree.resolve(b"f/x", true), Err(ResolveError::NotAFolder { .. })));
    let long = vec![b'a'; 300];
    assert!(matches!(tree.resolve(&long, true), Err(ResolveError::TooLong { .. })));
    let deep = b"a1/".repeat(3000);
    assert!(matches!(tree.resolve(&deep, true), Err(ResolveError::TooLong { .. })));
}

#[test]
fn deep_folders_do_not_overflow_the_stack() {
    let path = "a/".repeat(2047) + "a";
    let check = move || {
        let tree = stack(vec![vec![dir(&path)]]);
        assert_eq!(tree.walk(b"").count(), 2049);
        assert!(tree.lookup(path.as_bytes()).is_some());
        format!("{tree:?}").len()
    };
    let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(check).unwrap();
    assert!(thread.join().unwrap() > 0);
}

#[test]
fn many_entries_are_no_matter() {
    let changes = (0..100_000).map(|i| file(&format!("d{}/e/f{i}", i % 300), 1)).collect();
    let lower = layer(changes);
    let hidden = (0..100_000).map(|i| whiteout(&format!("d{}/e/f{i}", i % 300))).collect();
    let tree = Tree::empty().apply(0, &lower);
    assert_eq!(tree.walk(b"").count(), 1 + 600 + 100_000);
    assert_eq!(tree.apply(1, &layer(hidden)).walk(b"").count(), 1 + 600);
}
