use std::os::unix::fs::symlink;

use super::*;
use crate::copy::fixture::{folder, make_files};

fn names(context: &Context, path: &str) -> Vec<String> {
    let list = context.list(path.as_bytes()).unwrap();
    list.into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
}

#[test]
fn a_folder_is_listed_by_name_without_what_is_ignored() {
    let made = folder(
        "f b - - 1\nf a.md - - 2\nd empty\nf dir/keep - - 3\nf dir/no - - 4\nf gone/x - - 5\nf dir/sub/x - - 6",
        "*.md\ndir\n!dir/keep\ngone\n",
    );
    assert_eq!(names(&made.context, ""), ["b", "dir", "empty"]);
    assert_eq!(names(&made.context, "dir"), ["keep"]);
    assert!(made.context.look(b"gone").unwrap().is_none());
    assert!(made.context.look(b"dir/no").unwrap().is_none());
    assert!(made.context.look(b"dir/keep").unwrap().is_some());
    assert!(made.context.look(b"dir/keep/x").unwrap().is_none());
}

/// A folder is not even opened if no pattern can bring back a file in it.
#[test]
fn ignored_folders_are_not_entered() {
    let made = folder("f keep/x - - 1\nf big/x - - 2", "*\n!keep\n");
    assert_eq!(names(&made.context, ""), ["keep"]);
    assert_eq!(made.context.revealed.lock().unwrap().get(&b"big"[..]), Some(&false));
    assert!(!made.context.rules.0.may_match_below(b"big", true));
}

/// An ignored folder that cannot be read does no harm where no exception reaches into it. Root can
/// read it all the same, so the rules are asked, too.
#[test]
fn exceptions_with_wildcards_open_only_what_they_can_reach() {
    use std::os::unix::fs::PermissionsExt as _;
    let files = "f file1 - - 1\nf closed/x - - 2\nf src/deep/x.go - - 3\nf src/y.go - - 4";
    let made = folder(files, "*\n!/file*\n!s*/*.go\n");
    let closed = made.dir.path().join("closed");
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    let found = (names(&made.context, ""), names(&made.context, "src"));
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(found, (vec!["file1".to_owned(), "src".to_owned()], vec!["y.go".to_owned()]));
    let rules = &made.context.rules.0;
    assert!(!rules.may_match_below(b"closed", true) && !rules.may_match_below(b"src/deep", true));
}

#[test]
fn owners_are_nobodys_and_the_rest_is_kept() {
    let made = folder("f suid 4711 - x", "");
    let file = made.context.look(b"suid").unwrap().unwrap();
    assert_eq!((file.meta.mode, file.meta.uid, file.meta.gid), (0o4711, 0, 0));
    assert_eq!(file.kind, Kind::File { size: 1 });
    assert_eq!(file.id, None);
}

/// A folder that is swapped for a link between two looks leads nowhere.
#[test]
fn a_link_in_a_path_is_not_followed() {
    let made = folder("f d/f - - 1", "");
    let outside = tempfile::tempdir().unwrap();
    make_files(outside.path(), "f f - - secret");
    std::fs::rename(made.dir.path().join("d"), made.dir.path().join("was")).unwrap();
    symlink(outside.path(), made.dir.path().join("d")).unwrap();
    assert!(made.context.read(b"d/f").is_err());
    assert!(made.context.list(b"d").is_err());
    assert!(made.context.look(b"d/f").is_err());
}

#[test]
fn a_file_is_hashed_once_as_long_as_it_stays() {
    let made = folder("f f - - one", "");
    let hash = |context: &Context| context.read(b"f").unwrap().1.hash.0;
    let found = |context: &Context| {
        let file = context.look(b"f").unwrap().unwrap();
        context.fetch(b"f", &file).unwrap().hash
    };
    assert_eq!(found(&made.context), None);
    assert_eq!(hash(&made.context), <[u8; 32]>::from(Sha256::digest(b"one")));
    // Without the remembered hash, this would be another one.
    let (file, mut hashed) = made.context.read(b"f").unwrap();
    hashed.hash.0 = [7; 32];
    made.context.hashes.lock().unwrap().put(file.stamp, hashed, hashes::now());
    assert_eq!(hash(&made.context), [7; 32]);
    assert_eq!(found(&made.context), Some(ContentHash([7; 32])));
    make_files(made.dir.path(), "f f - - two");
    assert_eq!(found(&made.context), None);
    assert_eq!(hash(&made.context), <[u8; 32]>::from(Sha256::digest(b"two")));
}

#[test]
fn a_context_that_is_no_folder_is_an_error() {
    let made = folder("f f - - x", "");
    for name in ["f", "none"] {
        let error = Context::open(&made.dir.path().join(name), None).unwrap_err();
        assert!(matches!(error, CopyError::OpenContext { .. }));
    }
}

/// CVE-2018-15664: a folder of the context becomes a link to a folder outside, again and again, while
/// files are looked at, listed, hashed and opened.
#[test]
fn a_folder_that_moves_leads_nowhere() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let made = folder("f d/f - - inside", "");
    let outside = tempfile::tempdir().unwrap();
    make_files(outside.path(), "f f - - outside\nf other - - outside");
    let at = |name: &str| made.dir.path().join(name);
    let done = AtomicBool::new(false);
    let (mut seen, mut turns) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                std::fs::rename(at("d"), at("was")).unwrap();
                symlink(outside.path(), at("d")).unwrap();
                std::fs::remove_file(at("d")).unwrap();
                std::fs::rename(at("was"), at("d")).unwrap();
            }
        });
        // On a busy machine the other thread may stand still for all of the first turns.
        while turns < 10_000 || (seen == 0 && turns < 10_000_000) {
            turns += 1;
            if let Ok(list) = made.context.list(b"d") {
                assert!(list.iter().all(|(name, _)| name == b"f"), "{list:?}");
            }
            let Ok((file, hashed)) = made.context.read(b"d/f") else { continue };
            assert_eq!(hashed.hash.0, <[u8; 32]>::from(Sha256::digest(b"inside")));
            let mut contents = String::new();
            if let Ok(mut file) = made.context.reopen(&file)
                && file.read_to_string(&mut contents).is_ok()
            {
                assert_eq!(contents, "inside");
                seen += 1;
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert!(seen > 0, "the race was always lost");
}
