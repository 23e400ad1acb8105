//! Steps on a folder root: their layers are those of an overlay mount, and nothing is left.

use crate::harness::{Finished, Place, User, host_state, needs, tool};
use crate::image::Image;

/// Gives all files that a step has changed the same time, so that layers can be compared.
const SET_TIMES: &str = "find / -path /proc -prune -o -path /sys -prune -o -path /dev -prune \
    -o -mtime -1 -exec touch -h -c -d '2020-01-01 00:00:00' {} +";

/// The time of folders that COPY makes.
const EPOCH: &str = "SOURCE_DATE_EPOCH=1600000000";

/// Builds with a root file system and returns the image.
#[track_caller]
fn build(place: &Place, user: User, root: &str) -> Image {
    let rung = if user == User::Single { "userns-single" } else { "userns-range" };
    let isolation = format!("{rung}/{root}");
    let before = host_state();
    let image = place.image(&["--no-cache", "--isolation", &isolation, "--build-arg", EPOCH]);
    assert_eq!(host_state(), before);
    assert_eq!(std::fs::read_dir(place.store().join("tmp")).unwrap().count(), 0);
    image
}

/// Fails the test unless the Dockerfile gives the same layers on both roots, for all users. In it,
/// TIMES is a command that gives changed files the same time.
#[track_caller]
fn gives_the_same(dockerfile: &str, files: &[(&str, &str)]) {
    for user in User::all() {
        let place = Place::new(user);
        for (name, text) in files {
            place.write(name, text);
        }
        place.dockerfile(&dockerfile.replace("TIMES", SET_TIMES));
        let overlay = build(&place, user, "overlay");
        // The second build takes the folders that the first one leaves.
        for time in ["first", "second"] {
            let folder = build(&place, user, "folder");
            assert_eq!(overlay.layers.len(), folder.layers.len());
            for number in 0..isize::try_from(overlay.layers.len()).unwrap() {
                let (one, two) = (overlay.lines(number), folder.lines(number));
                assert_eq!(one, two, "layer {number}, {user:?}, {time}");
            }
            assert_eq!(overlay.config["rootfs"], folder.config["rootfs"], "{user:?}, {time}");
        }
    }
}

#[test]
fn changes_give_the_same_layers() {
    needs!(Run);
    gives_the_same(
        r"
        FROM busybox
        RUN mkdir -p /d/sub /e /mnt/empty && echo one > /d/file && ln /d/file /d/twin && echo x > /d/sub/x \
         && echo y > /e/y && ln -s y /e/l && mkfifo /d/p && echo gone > /d/gone \
         && mknod /d/null c 1 3 && chmod 4711 /d/sub/x; TIMES
        RUN rm /d/gone && rm -r /e && mkdir /e && echo z > /e/z && mv /d/sub /d/moved \
         && chmod 600 /d/null && ln -sf file /d/l; TIMES
        RUN chmod 644 /bin/busybox; chmod 755 /bin/busybox; cp -p /d/moved/x /t && cp -p /t /d/moved/x; rm /t; TIMES
        RUN true
        RUN rm -r /d/moved && echo file > /d/moved && rm /e/z && rmdir /e && ln -s d /e; TIMES
        RUN test ! -e /e/z && test -p /e/p && test -f /e/moved && chmod 700 / && rm /d/null; TIMES
        ",
        &[],
    );
}

#[test]
fn layers_of_copy_are_applied_between_steps() {
    needs!(Run);
    gives_the_same(
        r"
        FROM busybox AS base
        RUN mkdir -p /d/sub /f/inner && echo old > /d/sub/x && ln -s /etc /link && echo f > /kind; TIMES
        COPY --chmod=640 a /d/sub/x
        COPY a b /f/
        COPY tree /kind2
        RUN cat /d/sub/x /f/b > /sum && test -d /f/inner; TIMES
        FROM base AS branch
        RUN rm -r /f; TIMES
        COPY b /f/
        RUN ls /f > /list && echo 2 >> /sum; TIMES
        FROM base
        RUN echo 3 >> /sum; TIMES
        COPY --from=branch /list /sum /got/
        RUN cat /got/list > /all && test -f /f/a; TIMES
        ",
        &[("a", "a"), ("b", "b"), ("tree/one/file", "1")],
    );
}

#[test]
fn files_of_stages_can_be_mounted() {
    needs!(Run);
    gives_the_same(
        r"
        FROM busybox AS tool
        RUN mkdir /t && echo tool > /t/file && ln -s /t/file /t/link; TIMES
        FROM busybox
        RUN --mount=type=bind,from=tool,target=/mnt/t --mount=type=bind,from=tool,source=/t,target=/rw,rw \
            --mount=type=tmpfs,target=/scratch --mount=type=cache,target=/var/cache/x \
            ! touch /mnt/t/t/no 2> /dev/null && cat /mnt/t/t/file > /copy && echo more > /rw/file \
         && echo x > /scratch/x && echo y > /var/cache/x/y; TIMES
        RUN --mount=type=bind,from=tool,source=/t/link,target=/one cat /one >> /copy; TIMES
        RUN --mount=type=bind,from=tool,source=/t,target=/rw,rw --mount=type=bind,from=tool,source=/t,target=/rw2,rw \
            --mount=type=bind,target=/ctx,rw \
            grep -q tool /rw/file && ! grep -q more /rw/file && rm /rw/file && test -e /rw2/file && echo x > /ctx/new \
         && echo thrown away >> /copy; TIMES
        RUN --mount=type=bind,target=/ctx,rw test ! -e /ctx/new && echo again >> /copy; TIMES
        ",
        &[],
    );
}

#[test]
fn hard_links_across_layers_give_the_same() {
    needs!(Run);
    gives_the_same(
        r"
        FROM busybox
        RUN mkdir /d && echo one > /d/a && ln /d/a /d/b && echo alone > /d/x && echo other > /d/o; TIMES
        RUN ln /d/x /d/y; TIMES
        RUN ln /d/o /o && echo more >> /o; TIMES
        RUN rm /d/b; TIMES
        RUN cp -p /d/y /d/z && rm /d/x && mv /d/z /d/x; TIMES
        RUN test $(cat /d/a /d/x /d/y /o | tr '\n' ' ' | tr -d ' ') = onealonealoneothermore && ln -f /d/a /d/y; TIMES
        RUN test $(cat /d/y) = one && test $(stat -c %h /d/y) = 2
        ",
        &[],
    );
}

/// On overlayfs only the name changes that is written to.
#[test]
fn all_names_of_a_file_change_at_once() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let isolation = if user == User::Single { "userns-single" } else { "userns-range" };
        let steps =
            "FROM busybox\nRUN echo one > /a && ln /a /b && ln /a /c\nRUN echo two > /a && rm /c\n";
        place.dockerfile(steps);
        let image = place.image(&["--isolation", &format!("{isolation}/folder")]);
        let names: Vec<&str> = image.layer(-1).iter().map(|file| &*file.path).collect();
        assert!(names.contains(&"a") && names.contains(&"b"), "{names:?}");
        let kinds: Vec<_> = image.layer(-1).iter().map(|file| (file.kind, &*file.link)).collect();
        assert!(kinds.contains(&("link", "a")), "{kinds:?}");
        // The layers are the same to overlay mounts.
        place.dockerfile(&format!(
            "{steps}RUN test \"$(cat /a /b | tr '\\n' ' ')\" = 'two two ' && test $(stat -c %h /b) = 2 && test ! -e /c\n"
        ));
        let built = place.build(&["--isolation", &format!("{isolation}/overlay")]).ok();
        assert_eq!(built.steps(), "2 cached, 1 done");
    }
}

/// Returns the paths and inodes of the folders that builds have left.
fn left(place: &Place) -> Vec<(std::path::PathBuf, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    let list = |folders: Vec<std::path::PathBuf>| -> Vec<std::path::PathBuf> {
        let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let folders = list(list(list(vec![place.store().join("roots")])));
    folders.into_iter().map(|path| (path.clone(), path.metadata().unwrap().ino())).collect()
}

#[test]
fn the_folder_of_a_build_serves_the_next_one() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let isolation = if user == User::Single { "userns-single/folder" } else { "auto/folder" };
        let build = |run: &str| {
            place.dockerfile(&format!("FROM busybox\nRUN {run}\n"));
            place.build(&["--no-cache", "--isolation", isolation])
        };
        build("echo a > /a && rm /bin/yes && mkfifo /bin/pipe && chmod 700 /bin").ok();
        let first = left(&place);
        assert_eq!(first.len(), 1);
        // A command can do anything and fail.
        build(
            "rm /bin/yes /bin/vi; mkdir -p /bin/yes /b; touch /bin/yes/f; chmod 1777 /bin; exit 3",
        )
        .fails(3, &["exit code 3"]);
        let check = "test ! -e /a -a ! -e /b -a ! -e /bin/pipe -a ! -d /bin/yes \
            && test -x /bin/vi && yes | head -1 | grep -q y && test $(stat -c %a /bin) = 755";
        build(check).ok();
        assert_eq!(left(&place)[0].1, first[0].1, "it is another folder");
        place.run(["prune", "--max-used-space", "0"]).ok();
        assert!(left(&place).is_empty());
    }
}

#[test]
fn a_failed_step_leaves_nothing() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let isolation = if user == User::Single { "userns-single/folder" } else { "auto/folder" };
        place.dockerfile("FROM busybox\nRUN echo a > /a\nRUN echo b > /a; exit 3\n");
        place.build(&["--isolation", isolation]).fails(3, &["exit code 3"]);
        assert_eq!(std::fs::read_dir(place.store().join("tmp")).unwrap().count(), 0);
        place.dockerfile("FROM busybox\nRUN echo a > /a\nRUN test $(cat /a) = a\n");
        // The layers of a folder root serve overlay mounts.
        place.build(&[]).ok();
    }
}

/// A stage that branches has a folder of its own, with shared blocks where the file system can.
#[test]
fn branches_are_clones_on_btrfs() {
    needs!(Run, Reflinks("btrfs"));
    branches_are_clones_on("btrfs");
}

#[test]
fn branches_are_clones_on_xfs() {
    needs!(Run, Reflinks("xfs"));
    branches_are_clones_on("xfs");
}

fn branches_are_clones_on(kind: &str) {
    let dockerfile = format!(
        r"
        FROM busybox AS base
        RUN mkdir -p /d/sub && head -c 300000 /dev/urandom > /d/a && ln /d/a /d/twin && ln -s a /d/l \
         && mkfifo /d/p && chmod 4711 /d/a && chmod 1777 /d/sub && chown 7:8 /d/sub && touch /d/empty; {SET_TIMES}
        FROM base AS one
        RUN stat -c '%n %f %u:%g %h %s %Y' /d /d/* > /one && md5sum /d/a >> /one && rm /d/twin
        FROM base AS two
        RUN stat -c '%n %f %u:%g %h %s %Y' /d /d/* > /two && md5sum /d/a >> /two && echo x >> /d/a
        FROM base
        COPY --from=one /one /
        COPY --from=two /two /
        RUN stat -c '%n %f %u:%g %h %s %Y' /d /d/* > /three && md5sum /d/a >> /three && cmp /one /two && cmp /one /three
        "
    );
    for user in User::all().into_iter().filter(|user| *user != User::Single) {
        let place = Place::new(user);
        place.dockerfile(&dockerfile);
        let store = place.store();
        std::fs::create_dir_all(&store).unwrap();
        let disk = place.path().join("disk");
        let owner = tool("stat", ["-c", "%u:%g", place.path().join("home").to_str().unwrap()]);
        let mut command = std::process::Command::new("unshare");
        let script = "truncate -s 600M $1 && mkfs.$4 -q $1 && mount -o loop $1 $2 && chown $3 $2 \
                      && chmod 700 $2 && shift 4 && exec \"$@\"";
        command
            .args(["--mount", "sh", "-euc", script, "sh"])
            .args([&disk, &store])
            .args([owner.trim(), kind]);
        let build = place.xbuild(place.build_args(&["--isolation", "userns-range/folder"]));
        command
            .arg(build.get_program())
            .args(build.get_args())
            .current_dir(place.path())
            .env_clear();
        for (name, value) in build.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let built = Finished::run({
            command.env("XBUILD_LOG", "debug");
            command
        })
        .ok();
        built.says(&["work=\"clone\""]);
        built.does_not_say("cannot be cloned");
    }
}
