use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use xbuild_model::DiffId;
use xbuild_model::records::Records;
use xbuild_model::rootfs::RootFs;
use xbuild_model::seam::{Purpose, Snapshots as _, Workspace};
use xbuild_testkit::folders::listing;

use super::super::tests::{Setup, setup_on_folders};
use super::*;

fn folder(workspace: &dyn Workspace) -> PathBuf {
    let RootFs::Folder(folder) = workspace.root() else { unreachable!("a folder") };
    folder.path.clone()
}

fn commit(workspace: Box<dyn Workspace>) -> DiffId {
    workspace.commit(Records::default(), Purpose::default()).unwrap()
}

/// Ends a build.
fn end(setup: &Setup) {
    setup.engine.settle().unwrap();
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

fn time(path: &Path) -> (i64, i64) {
    let meta = fs::symlink_metadata(path).unwrap();
    (meta.mtime(), meta.mtime_nsec())
}

const BASE: &[&str] = &[
    "d a 711",
    "f a/f 1",
    "d a/in 755",
    "f a/in/g 2",
    "f file 3",
    "f twin 4",
    "h other twin",
    "l link a",
    "p pipe",
    "d e 755",
];

/// Changes as a command makes them.
fn spoil(root: &Path) {
    fs::write(root.join("a/f"), "x").unwrap();
    fs::remove_dir_all(root.join("a/in")).unwrap();
    fs::write(root.join("a/in"), "a file").unwrap();
    fs::write(root.join("other"), "both").unwrap();
    fs::create_dir_all(root.join("e/new/deep")).unwrap();
    fs::write(root.join("e/new/deep/f"), "").unwrap();
    fs::remove_file(root.join("link")).unwrap();
    fs::set_permissions(root.join("e"), fs::Permissions::from_mode(0o777)).unwrap();
    // A layer never has it.
    drop(std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap());
}

#[test]
fn a_later_build_finds_the_files_of_its_stack() {
    let setup = setup_on_folders();
    let above: &[&str] = &["w a/in", "f a/new 5", "f file longer", "d e 700"];
    let chain = setup.image(&[BASE, above]);
    let base = Chain(chain.0[..1].to_vec());
    let first = setup.engine.prepare(&base).unwrap();
    let expected = listing(&folder(&*first));
    let kept = inode(&folder(&*first).join("file"));
    let times = ["a", "a/in", "e"].map(|name| time(&folder(&*first).join(name)));
    // One step succeeds, the next one fails.
    spoil(&folder(&*first));
    let next = base.with(commit(first));
    let second = setup.engine.prepare(&next).unwrap();
    fs::remove_dir_all(folder(&*second).join("a")).unwrap();
    drop(second);
    end(&setup);
    let again = setup.engine.prepare(&base).unwrap();
    assert_eq!(listing(&folder(&*again)), expected);
    assert_eq!(inode(&folder(&*again).join("file")), kept, "it is another folder");
    assert_eq!(["a", "a/in", "e"].map(|name| time(&folder(&*again).join(name))), times);
    assert_eq!(inode(&folder(&*again).join("twin")), inode(&folder(&*again).join("other")));
    assert!(setup.engine.0.index(&commit(again)).unwrap().changes().is_empty());
    end(&setup);
    // To another stack, and back to the first one.
    let fresh = setup_on_folders();
    let fresh_chain = fresh.image(&[BASE, above]);
    let expected_above = listing(&folder(&*fresh.engine.prepare(&fresh_chain).unwrap()));
    for (stack, expected) in [(&chain, &expected_above), (&base, &expected)] {
        let step = setup.engine.prepare(stack).unwrap();
        assert_eq!(listing(&folder(&*step)), *expected);
        assert!(setup.engine.0.index(&commit(step)).unwrap().changes().is_empty());
        end(&setup);
    }
}

#[test]
fn a_stack_with_nothing_in_common_gets_a_folder_of_its_own() {
    let setup = setup_on_folders();
    let (one, two) = (setup.image(&[BASE]), setup.image(&[&["f only 1"]]));
    drop(setup.engine.prepare(&one).unwrap());
    end(&setup);
    let step = setup.engine.prepare(&two).unwrap();
    assert_eq!(listing(&folder(&*step)), ["only 644 1"]);
    // Two steps of one build cannot have the same folder.
    let (first, second) =
        (setup.engine.prepare(&one).unwrap(), setup.engine.prepare(&one).unwrap());
    assert_ne!(folder(&*first), folder(&*second));
    assert_eq!(listing(&folder(&*first)), listing(&folder(&*second)));
}

#[test]
fn a_folder_that_cannot_be_set_back_is_made_anew() {
    let setup = setup_on_folders();
    let chain = setup.image(&[BASE]);
    let first = setup.engine.prepare(&chain).unwrap();
    let expected = listing(&folder(&*first));
    drop(first);
    end(&setup);
    let kept = setup.engine.0.store.kept_roots::<Record>("map").remove(0).0;
    fs::write(kept.join("stamps-0"), "torn").unwrap();
    fs::write(kept.join("fs/a/f"), "changed").unwrap();
    let step = setup.engine.prepare(&chain).unwrap();
    assert_eq!(listing(&folder(&*step)), expected);
}
