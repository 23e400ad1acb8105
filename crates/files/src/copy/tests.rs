use std::sync::Arc;

use xbuild_layer::{Change, Mtime};
use xbuild_model::file_op::{CopyRequest, FileOp, InlineFile, MakeDir};

use super::fixture::{
    MADE, describe, folder, layer_at, lines, make_files, prepare, request, run, run_op, stack,
    tree, write,
};
use super::*;

/// Files of the context of most tests.
const FILES: &str = "
    f a.txt 0644 - A
    f b.txt 0640 - B
    d d 0705
    f d/f 0644 - F
    d d/sub 0711
    f d/sub/g 0600 - G
    l d/link f
";

/// An image with the folders that tests need.
const IMAGE: &str = "
    d etc 0755
    d out 0711 1234:50
    d out/sub 0700 1234:50
    f out/sub/f 0600 1234:50 old
    f out/sub/keep 0600 1234:50 keep
";

/// Runs a table of (image, line, the written files or a part of the error).
fn table(files: &str, cases: &[(&str, &str, Result<&str, &str>)]) {
    let folder = folder(files, "");
    for (image, line, expected) in cases {
        match (run(&[image], &folder, line), expected) {
            (Ok(written), Ok(expected)) => assert_eq!(written, lines(expected), "{line}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{line}: {message}"),
            (result, expected) => panic!("{line}: {result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn destinations_are_files_or_folders() {
    table(
        FILES,
        &[
            ("", "COPY a.txt /out", Ok("f out 0644 0:0 A")),
            ("", "COPY a.txt /x/y", Ok("d x 0755 0:0\nf x/y 0644 0:0 A")),
            ("", "COPY a.txt /x/", Ok("d x 0755 0:0\nf x/a.txt 0644 0:0 A")),
            ("", "COPY a.txt /", Ok("f a.txt 0644 0:0 A")),
            ("", "COPY /a.txt/ ./../b.txt /", Ok("f a.txt 0644 0:0 A\nf b.txt 0640 0:0 B")),
            ("", "COPY a.txt b.txt /out", Ok("f out 0640 0:0 B")),
            (
                IMAGE,
                "COPY a.txt b.txt /etc",
                Ok("d etc 0755 0:0\nf etc/a.txt 0644 0:0 A\nf etc/b.txt 0640 0:0 B"),
            ),
            ("f out 0644 0:0 x", "COPY a.txt /out/", Err("\"out\" is not a directory")),
            ("f out 0755 7:7 x", "COPY a.txt /out", Ok("f out 0644 0:0 A")),
            ("f out 0644 0:0 x", "COPY a.txt /out/b/c", Err("is not a directory")),
            (
                IMAGE,
                "COPY a.txt /out/sub",
                Ok("d out 0711 1234:50\nd out/sub 0700 1234:50\nf out/sub/a.txt 0644 0:0 A"),
            ),
        ],
    );
}

#[test]
fn folders_give_their_contents_and_merge() {
    let contents = "
        f out/f 0644 0:0 F
        l out/link f
        d out/sub 0711 0:0
        f out/sub/g 0600 0:0 G";
    table(
        FILES,
        &[
            ("", "COPY d /out", Ok(&format!("d out 0755 0:0 {contents}"))),
            ("", "COPY d/ /out/", Ok(&format!("d out 0755 0:0 {contents}"))),
            // The destination keeps its metadata; folders below it get that of the source.
            (IMAGE, "COPY d /out", Ok(&format!("d out 0711 1234:50 {contents}"))),
            ("", "COPY d/sub /", Ok("f g 0600 0:0 G")),
            ("d out 0755\nf out/sub 0644 0:0 x", "COPY d /out", Err("over \"out/sub\"")),
            ("f out 0644 0:0 x", "COPY d /out", Err("over \"out\"")),
            ("d out 0755\nd out/link 0755", "COPY d /out", Err("the directory \"out/link\"")),
        ],
    );
}

#[test]
fn links_of_the_image_are_followed_up_to_the_destination() {
    table(
        FILES,
        &[
            (
                "d data 0755\nd data/real 0755\nd var 0755\nl one /data\nl var/two ../one/real\nl three /var/two",
                "COPY a.txt /three/sub/a.txt",
                Ok(
                    "d data 0755 0:0\nd data/real 0755 0:0\nd data/real/sub 0755 0:0\nf data/real/sub/a.txt 0644 0:0 A",
                ),
            ),
            (
                "l link /not/yet",
                "COPY a.txt /link/",
                Ok("d not 0755 0:0\nd not/yet 0755 0:0\nf not/yet/a.txt 0644 0:0 A"),
            ),
            ("l link /not/yet", "COPY a.txt /link", Ok("d not 0755 0:0\nf not/yet 0644 0:0 A")),
            (
                "d d 0755\nf d/real 0600 1:1 x\nl link d/real",
                "COPY a.txt /link",
                Ok("d d 0755 0:0\nf d/real 0644 0:0 A"),
            ),
            (
                "d d 0755\nf real 0600 1:1 x\nl d/a.txt ../real",
                "COPY a.txt /d/",
                Ok("d d 0755 0:0\nf d/a.txt 0644 0:0 A"),
            ),
            ("d r 0755\nl link r", "COPY d/sub /link", Ok("d r 0755 0:0\nf r/g 0600 0:0 G")),
            ("l up ../../..", "COPY a.txt /up/x", Ok("f x 0644 0:0 A")),
            ("l a b\nl b a", "COPY a.txt /a/x", Err("cannot follow")),
            ("d out 0755\nl out/sub ../etc\nd etc 0755", "COPY d /out", Err("over \"out/sub\"")),
        ],
    );
}

#[test]
fn sources_are_patterns() {
    let files = "
        f p1/a 0644 - 1
        f p2/b 0644 - 2
        f p2/sub/c 0644 - 3
        f pfile 0644 - 4
        f other/z 0644 - 5
        f data/real 0644 - 6
        l link data/real
        l dlink data
        f br[1].txt 0644 - 7
        f br1.txt 0644 - 8
        f s*r 0644 - 9";
    table(
        files,
        &[
            (
                "",
                "COPY p* /out/",
                Ok(
                    "d out 0755 0:0\nf out/a 0644 0:0 1\nf out/b 0644 0:0 2\nf out/pfile 0644 0:0 4\nd out/sub 0755 0:0\nf out/sub/c 0644 0:0 3",
                ),
            ),
            ("", "COPY l* /", Ok("f link 0644 0:0 6")),
            ("", "COPY */[ab] /", Ok("f a 0644 0:0 1\nf b 0644 0:0 2")),
            ("", "COPY dlink/r* /", Ok("f real 0644 0:0 6")),
            ("", "COPY dl*/r* /x/", Ok("")),
            ("", "COPY br[[]1].txt /", Ok("f br[1].txt 0644 0:0 7")),
            ("", "COPY s\\*r /", Err("not found in the build context")),
            ("", "COPY nothing* /", Ok("")),
            ("", "COPY nothing /", Err("\"nothing\": not found in the build context")),
            ("", "COPY nothing/* /", Err("not found")),
            ("", "COPY p[ /", Err("invalid pattern in a source")),
        ],
    );
}

#[test]
fn links_of_the_context_stay_inside_of_it() {
    let files = "
        f etc/hostname 0644 - inside
        l climb ../../../../../etc/hostname
        l absolute /etc/hostname
        l data etc
        l loop loop
        l gone nowhere
        l d/keep ../../up";
    table(
        files,
        &[
            ("", "COPY climb /x", Ok("f x 0644 0:0 inside")),
            ("", "COPY absolute /x", Ok("f x 0644 0:0 inside")),
            ("", "COPY data /", Ok("f hostname 0644 0:0 inside")),
            ("", "COPY data/hostname /", Ok("f hostname 0644 0:0 inside")),
            ("", "COPY loop /", Err("cannot follow")),
            ("", "COPY gone /", Err("not found")),
            ("", "COPY d /", Ok("l keep ../../up")),
        ],
    );
}

#[test]
fn chown_and_chmod_hold_for_what_is_made() {
    table(
        FILES,
        &[
            (
                IMAGE,
                "COPY --chown=app:staff a.txt /x/y",
                Ok("d x 0755 1234:50\nf x/y 0644 1234:50 A"),
            ),
            (IMAGE, "COPY --chown=5 d/sub /out/", Ok("d out 0711 1234:50\nf out/g 0600 5:5 G")),
            (IMAGE, "COPY --chown=ghost a.txt /x", Ok("f x 0644 0:0 A")),
            ("", "COPY --chmod=4711 a.txt /x/y", Ok("d x 0711 0:0\nf x/y 4711 0:0 A")),
            (
                "",
                "COPY --chmod=go=u a.txt d/sub /x/",
                Ok("d x 0755 0:0\nf x/a.txt 0666 0:0 A\nf x/g 0666 0:0 G"),
            ),
            ("", "COPY --chmod=10777 a.txt /x", Err("--chmod")),
            ("", "COPY --chown=-1 a.txt /x", Err("owner")),
        ],
    );
}

#[test]
fn link_copies_do_not_look_at_the_image() {
    table(
        FILES,
        &[
            (IMAGE, "COPY --link a.txt /out/a", Ok("d out 0755 0:0\nf out/a 0644 0:0 A")),
            (
                IMAGE,
                "COPY --link --chown=3:4 d/sub /out/",
                Ok("d out 0755 3:4\nf out/g 0600 3:4 G"),
            ),
            ("l out etc", "COPY --link a.txt /out/a", Ok("d out 0755 0:0\nf out/a 0644 0:0 A")),
            (IMAGE, "COPY --link --chown=app a.txt /out/a", Err("--link")),
            (
                "l link out\nd out 0755",
                "COPY --link --chmod=700 a.txt /link/a",
                Ok("d out 0755 0:0\nf out/a 0700 0:0 A"),
            ),
        ],
    );
}

#[test]
fn parents_keep_the_path_of_what_matches() {
    let files = "
        d a 0775
        d a/b 0715
        f a/b/c.txt 0644 - 1
        f a/b/no.txt 0644 - 2
        f src/go.mod 0644 - 3
        f src/one/go.mod 0644 - 4
        f src/one/x/y.mod 0644 - 5
        f src/two/main 0644 - 6
        f top 0644 - 7";
    table(
        files,
        &[
            (
                "",
                "COPY --parents a/b/c.txt ./top /out/",
                Ok(
                    "d out 0755 0:0\nd out/a 0775 0:0\nd out/a/b 0715 0:0\nf out/a/b/c.txt 0644 0:0 1\nf out/top 0644 0:0 7",
                ),
            ),
            ("", "COPY --parents a/./b/c.txt /", Ok("d b 0715 0:0\nf b/c.txt 0644 0:0 1")),
            ("", "COPY --parents src/./*/go.* /", Ok("d one 0755 0:0\nf one/go.mod 0644 0:0 4")),
            (
                "",
                "COPY --parents src/**/*.mod /",
                Ok(
                    "d src 0755 0:0\nf src/go.mod 0644 0:0 3\nd src/one 0755 0:0\nf src/one/go.mod 0644 0:0 4\nd src/one/x 0755 0:0\nf src/one/x/y.mod 0644 0:0 5",
                ),
            ),
            (
                "",
                "COPY --parents --chown=5:6 src/two /",
                Ok("d src 0755 5:6\nd src/two 0755 5:6\nf src/two/main 0644 5:6 6"),
            ),
            ("", "COPY --parents a/none /", Err("\"a/none\": not found")),
            ("", "COPY --parents a/none* /", Ok("")),
        ],
    );
}

#[test]
fn excludes_are_below_the_source() {
    let files = "
        f d/a.md 0644 - 1
        f d/sub/b.md 0644 - 2
        f d/sub/b.txt 0644 - 3
        f d/cache/y/z 0644 - 4
        f a.txt 0644 - 5";
    table(
        files,
        &[
            (
                "",
                "COPY --exclude=*.md --exclude=cache d /",
                Ok("d sub 0755 0:0\nf sub/b.md 0644 0:0 2\nf sub/b.txt 0644 0:0 3"),
            ),
            (
                "",
                "COPY --exclude=**/*.md --exclude=cache d /",
                Ok("d sub 0755 0:0\nf sub/b.txt 0644 0:0 3"),
            ),
            (
                "",
                "COPY --exclude=* --exclude=!cache/y d /",
                Ok("d cache 0755 0:0\nd cache/y 0755 0:0\nf cache/y/z 0644 0:0 4"),
            ),
            ("", "COPY --exclude=a.txt a.txt /", Ok("f a.txt 0644 0:0 5")),
            ("", "COPY --exclude=[ a.txt /", Err("--exclude")),
        ],
    );
}

#[test]
fn names_of_one_file_stay_together_within_a_source() {
    let files = "f d/a 0644 - x\nh d/sub/b d/a\nh d/c d/a\nf e/a 0600 - y";
    table(
        files,
        &[
            ("", "COPY d /", Ok("f a 0644 0:0 x\nh c a\nd sub 0755 0:0\nh sub/b a")),
            ("", "COPY d/a d/c /x/", Ok("d x 0755 0:0\nf x/a 0644 0:0 x\nf x/c 0644 0:0 x")),
            // Replacing one of the names leaves the others alone.
            ("", "COPY d e /", Ok("f a 0600 0:0 y\nf c 0644 0:0 x\nd sub 0755 0:0\nh sub/b c")),
        ],
    );
}

#[test]
fn ignored_files_do_not_exist() {
    let folder = folder(
        "
        f secret 0644 - s
        f keep/a 0644 - 1
        f keep/no 0644 - 2
        d other 0755
        f other/x 0644 - 3
        l link secret
        l klink keep
        ",
        "secret\nkeep\n!keep/a\nother\n",
    );
    for (line, expected) in [
        ("COPY . /", Ok("d keep 0755 0:0\nf keep/a 0644 0:0 1\nl klink keep\nl link secret")),
        ("COPY secret /", Err("not found")),
        ("COPY link /", Err("not found")),
        ("COPY s* /", Ok("")),
        ("COPY other /", Err("not found")),
        ("COPY other/x /", Err("not found")),
        ("COPY keep/no /", Err("not found")),
        ("COPY klink/a keep /", Ok("f a 0644 0:0 1")),
    ] {
        match (run(&[], &folder, line), expected) {
            (Ok(written), Ok(expected)) => assert_eq!(written, expected, "{line}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{line}: {message}"),
            (result, expected) => panic!("{line}: {result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn special_files_and_modes_are_kept() {
    let made = folder("f suid 4755 - s\nd sticky 1777\nd shut 0500\n", "");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        made.dir.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(made.dir.path().join("zsock")).unwrap();
    std::fs::set_permissions(
        made.dir.path().join("zsock"),
        std::os::unix::fs::PermissionsExt::from_mode(0o640),
    )
    .unwrap();
    let written = run(&[], &made, "COPY . /").unwrap();
    assert_eq!(
        written,
        "p pipe 0600 0:0\nd shut 0500 0:0\nd sticky 1777 0:0\nf suid 4755 0:0 s\nf zsock 0640 0:0 "
    );
}

/// Copied files keep their times; made files get the default time.
#[test]
fn times_are_kept() {
    let made = folder("f d/f 0644 - x", "");
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4242);
    std::fs::File::open(made.dir.path().join("d/f")).unwrap().set_modified(at).unwrap();
    std::fs::File::open(made.dir.path().join("d")).unwrap().set_modified(at).unwrap();
    let (parent, _) = stack(&["d out 0755"]);
    let op = FileOp::Copy(request("COPY d /out"));
    let prepared = prepare(Some(&parent), Some(Origin::Context(made.context)), &op).unwrap();
    let op = FileOp::Copy(request("COPY d/f /new/x"));
    let origin = Origin::Context(folder("f d/f 0644 - x", "").context);
    // The origin's folder is gone now: it was read by the selection.
    assert!(prepare(None, Some(origin), &op).is_err());
    let layer = write(&prepared).unwrap();
    let mut reader = xbuild_layer::LayerReader::new(&layer[..]);
    while let Some(Change::Put(entry)) = reader.next().unwrap() {
        assert_eq!(entry.meta.mtime, Mtime { secs: 4242, nanos: 0 });
    }
    let op = FileOp::MakeDir(MakeDir { path: "/w".to_owned(), user: String::new() });
    let layer = write(&prepare(None, None, &op).unwrap()).unwrap();
    let Some(Change::Put(entry)) = xbuild_layer::LayerReader::new(&layer[..]).next().unwrap()
    else {
        panic!("no entry");
    };
    assert_eq!(entry.meta.mtime, MADE);
}

#[test]
fn inline_files_are_written_like_others() {
    let op = |dest: &str, chmod: Option<&str>, names: &[&str]| {
        FileOp::Copy(CopyRequest {
            chmod: chmod.map(str::to_owned),
            inline: names
                .iter()
                .map(|name| InlineFile { name: (*name).to_owned(), contents: "text".to_owned() })
                .collect(),
            ..request(&format!("COPY {dest}"))
        })
    };
    let run = |op: &FileOp| run_op(&[IMAGE], None, op);
    assert_eq!(run(&op("/x", None, &["EOF"])).unwrap(), "f x 0644 0:0 text");
    assert_eq!(
        run(&op("/x/", Some("750"), &["a", "b"])).unwrap(),
        "d x 0750 0:0\nf x/a 0750 0:0 text\nf x/b 0750 0:0 text"
    );
    assert_eq!(
        run(&op("/out", None, &["a"])).unwrap(),
        "d out 0711 1234:50\nf out/a 0644 0:0 text"
    );
    assert_eq!(run(&op("/x/", None, &["../../a"])).unwrap(), "d x 0755 0:0\nf x/a 0644 0:0 text");
}

#[test]
fn folders_of_workdir_belong_to_the_user() {
    let op = |path: &str, user: &str| {
        FileOp::MakeDir(MakeDir { path: path.to_owned(), user: user.to_owned() })
    };
    let image = "d out 0700 1:1\nl link out\nf file 0644 0:0 x";
    for (op, expected) in [
        (op("/a/b", "app"), Ok("d a 0755 1234:2345\nd a/b 0755 1234:2345")),
        (op("/a", ""), Ok("d a 0755 0:0")),
        (op("/e/./f/..", "7"), Ok("d e 0755 7:7\nd e/f 0755 7:7")),
        (op("/a/../../b", ""), Ok("d a 0755 0:0\nd b 0755 0:0")),
        (op("/a", "7"), Ok("d a 0755 7:7")),
        (op("/out", "app"), Ok("")),
        (op("/", "app"), Ok("")),
        (op("/link/x", ""), Ok("d out 0700 1:1\nd out/x 0755 0:0")),
        (op("/file/x", ""), Err("\"file\" is not a directory")),
    ] {
        match (run_op(&[image], None, &op), expected) {
            (Ok(written), Ok(expected)) => assert_eq!(written, expected, "{op:?}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            (result, expected) => panic!("{op:?}: {result:?}, expected {expected:?}"),
        }
    }
    let (parent, _) = stack(&[image]);
    assert!(prepare(Some(&parent), None, &op("/out", "app")).unwrap().is_empty());
}

#[test]
fn a_picked_part_of_a_context_keeps_its_modes() {
    let made = folder(&format!("{FILES}\nl to d/sub\nd [x] 0750\nf [x]/a* 0600 - S"), "b.txt\n");
    let picked = |path: &str| {
        let origin = Origin::Context(made.context.clone());
        run_op(&[IMAGE], Some(origin), &FileOp::Pick { path: path.to_owned() })
    };
    for (path, expected) in [
        ("/a.txt", Ok("f picked 0644 0:0 A")),
        (
            "/d",
            Ok("d picked 0705 0:0
                f picked/f 0644 0:0 F
                l picked/link f
                d picked/sub 0711 0:0
                f picked/sub/g 0600 0:0 G"),
        ),
        ("/to", Ok("d picked 0711 0:0\nf picked/g 0600 0:0 G")),
        ("/d/link", Ok("f picked 0644 0:0 F")),
        ("/[x]", Ok("d picked 0750 0:0\nf picked/a* 0600 0:0 S")),
        ("/b.txt", Err("b.txt")),
        ("/none/x", Err("none/x")),
    ] {
        match (picked(path), expected) {
            (Ok(written), Ok(expected)) => assert_eq!(written, lines(expected), "{path}"),
            (Err(message), Err(part)) => assert!(message.contains(part), "{path}: {message}"),
            (result, expected) => panic!("{path}: {result:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn layers_give_files_with_their_owners() {
    let (tree, source) = stack(&[
        "d d 0755\nd d/sub 1770 9:9\nf d/f 4711 7:50 one\nh d/same d/f\nf d/x 0644 0:0 old\nl abs /d\nf z 0644 0:0 zed",
        "f d/x 0644 0:0 new\nw z\nf d/sub/g 0644 0:0 G\nd e 0755\nh e/g d/sub/g",
    ]);
    let origin = || Some(Origin::Layers { tree: tree.clone(), source: source.clone() });
    let run = |line: &str| run_op(&[], origin(), &FileOp::Copy(request(line)));
    assert_eq!(
        run("COPY /d /out").unwrap(),
        "d out 0755 0:0\nf out/f 4711 7:50 one\nh out/same out/f\nd out/sub 1770 9:9\nf out/sub/g 0644 0:0 G\nf out/x 0644 0:0 new"
    );
    assert_eq!(
        run("COPY / /").unwrap(),
        "l abs /d\nd d 0755 0:0\nf d/f 4711 7:50 one\nh d/same d/f\nd d/sub 1770 9:9\nf d/sub/g 0644 0:0 G\nf d/x 0644 0:0 new\nd e 0755 0:0\nh e/g d/sub/g"
    );
    assert_eq!(run("COPY /abs/f /one").unwrap(), "f one 4711 7:50 one");
    assert_eq!(run("COPY --chown=3:3 abs/sub /").unwrap(), "f g 0644 3:3 G");
    assert!(run("COPY z /").unwrap_err().contains("not found in the image or stage"));
    // One file in several places: its layer is read again.
    assert_eq!(
        run("COPY d/x d/x /e/g /d/sub /to/").unwrap(),
        "d to 0755 0:0\nf to/g 0644 0:0 G\nf to/x 0644 0:0 new"
    );
    assert_eq!(
        run("COPY --parents d/x abs/none? /to/").unwrap(),
        "d to 0755 0:0\nd to/d 0755 0:0\nf to/d/x 0644 0:0 new"
    );
}

#[test]
fn keys_say_what_is_written_where() {
    let key = |files: &str, line: &str| {
        let folder = folder(files, "");
        let origin = Some(Origin::Context(folder.context.clone()));
        prepare(None, origin, &FileOp::Copy(request(line))).unwrap().key().clone()
    };
    let base = key("f a 0644 - x", "COPY a /x");
    assert_eq!(base, key("f a 0644 - x\nf other 0644 - y", "COPY a /x"), "times, other files");
    assert_eq!(base, key("f b 0644 - x", "COPY b /x"), "the name of the source");
    for (files, line) in [
        ("f a 0644 - y", "COPY a /x"),
        ("f a 0645 - x", "COPY a /x"),
        ("f a 0644 - x", "COPY a /y"),
        ("f a 0644 - x", "COPY a /x/"),
        ("f a 0644 - x", "COPY --chown=1 a /x"),
        ("d a 0755", "COPY a /x"),
        ("f a 0644 -", "COPY a /x"),
    ] {
        assert_ne!(base, key(files, line), "{files} {line}");
    }
}

/// Files written after a change would not match the key.
#[test]
fn a_file_that_changes_meanwhile_is_an_error() {
    let made = folder("f a 0644 - before", "");
    let op = FileOp::Copy(request("COPY a /"));
    let prepared = prepare(None, Some(Origin::Context(made.context.clone())), &op).unwrap();
    make_files(made.dir.path(), "f a 0644 - after, and longer");
    assert!(matches!(write(&prepared), Err(CopyError::Changed { .. })));
    let again = prepare(None, Some(Origin::Context(made.context.clone())), &op).unwrap();
    assert_ne!(prepared.key(), again.key());
    assert_eq!(describe(&write(&again).unwrap()), "f a 0644 0:0 after, and longer");
    std::fs::remove_file(made.dir.path().join("a")).unwrap();
    assert!(matches!(write(&again), Err(CopyError::Read { .. })));
}

/// Row 22 of the threat table, for copies: modes and owners are set in the layer and nowhere else.
#[test]
fn row_22_no_mode_or_owner_is_set_on_this_machine() {
    use std::os::unix::fs::MetadataExt as _;
    let made = folder("f d/a 0640 - x", "");
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("mark"), "mark").unwrap();
    std::os::unix::fs::symlink(outside.path(), made.dir.path().join("d/out")).unwrap();
    let before = std::fs::metadata(outside.path().join("mark")).unwrap();
    let image = format!("l d {}", outside.path().display());
    let written = run(&[&image], &made, "COPY --chown=5:5 --chmod=777 d /d/").unwrap();
    assert!(written.contains("a 0777 5:5 x"), "{written}");
    let after = std::fs::metadata(outside.path().join("mark")).unwrap();
    assert_eq!(
        (before.mode(), before.uid(), before.ctime_nsec()),
        (after.mode(), after.uid(), after.ctime_nsec())
    );
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[test]
fn a_deep_folder_needs_no_deep_stack() {
    let deep = "d/".repeat(1500);
    let mut text = String::new();
    for end in (1..=1500).map(|depth| depth * 2 - 1) {
        text.push_str(&format!("d {} 0755\n", &deep[..end]));
    }
    let layers = vec![layer_at(&text, 0)];
    let tree = tree(&layers);
    let source = Arc::new(super::fixture::Layers(layers));
    let origin = Origin::Layers { tree, source };
    let written = run_op(&[], Some(origin), &FileOp::Copy(request("COPY d /x"))).unwrap();
    assert_eq!(written.lines().count(), 1500);
}

#[test]
fn a_name_that_means_a_whiteout_is_one() {
    table(
        "f d/.wh.gone 0644 - x\nf e/.wh. 0644 - x\nd g/.wh.h 0755\nf i/.wh..wh..opq 0644 - x",
        &[
            (IMAGE, "COPY d /", Ok("")),
            ("f gone 0644 0:0 x", "COPY d /", Ok("w gone")),
            (IMAGE, "COPY e /", Err("whiteout")),
            (IMAGE, "COPY g /", Err("whiteout")),
            (IMAGE, "COPY i /out", Ok("o out\nd out 0711 1234:50")),
        ],
    );
}

#[test]
fn remote_sources_come_in_their_place() {
    use xbuild_model::file_op::RemoteFiles;
    use xbuild_model::remote::{Asker, RemoteSource};
    let local = folder("f f 0644 0:0 local\nf a 0644 0:0 local", "");
    let http = folder("f a[1] 0600 0:0 fetched", "");
    let git = folder("d d 0755 0:0\nf d/x 0644 0:0 x\nf f 0755 0:0 git", "");
    let reopen = |folder: &super::fixture::Folder, number: usize| {
        Arc::new(Context::open(folder.dir.path(), None).unwrap().numbered(number))
    };
    let remote = |after: usize, url: &str| RemoteFiles {
        after,
        source: RemoteSource::parse(url, Asker::Add).unwrap().unwrap(),
        unpack: false,
    };
    let run = |git_after: usize| {
        let request = CopyRequest {
            remotes: vec![
                remote(0, "http://x.example/a[1]"),
                remote(git_after, "https://x.example/r.git"),
            ],
            ..request("ADD f a /to/")
        };
        let env = CopyEnv {
            origin: Some(Origin::Context(local.context.clone())),
            remotes: &[reopen(&http, 1), reopen(&git, 2)],
            default_mtime: MADE,
            read_file: &|_| Ok(None),
        };
        let prepared = select(&env, None, &FileOp::Copy(request)).unwrap();
        describe(&write(&prepared).unwrap())
    };
    let rest = "d to 0755 0:0\nf to/a 0644 0:0 local\nf to/a[1] 0600 0:0 fetched\n\
                d to/d 0755 0:0\nf to/d/x 0644 0:0 x\n";
    assert_eq!(run(2), format!("{rest}f to/f 0755 0:0 git"));
    assert_eq!(run(0), format!("{rest}f to/f 0644 0:0 local"));
}
