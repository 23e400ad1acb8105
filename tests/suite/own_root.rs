//! Steps in the root of the container itself, here a small root that each test makes: whatever is not
//! xbuild's there stays, or the root is refused.

use std::fs;

use crate::harness::{Finished, Place, User, needs, tool};
use crate::image::{self, Image};

/// Makes a root in memory with xbuild's libraries and devices of this machine, enters it, runs the
/// scripts `$1`, before, and `$2`, after the command `$3..`. The folder of the test is `/work`.
const ENTER: &str = r#"
mount -t tmpfs -o mode=755 none "$ROOT/root"; cd "$ROOT/root"
mkdir -p proc dev sys old work xbuild tmp/empty mnt/volume
mount --rbind /proc proc; mount --rbind /dev dev; mount --rbind /sys sys; mount --bind "$ROOT" work
mount -t tmpfs none mnt/volume; echo kept > mnt/volume/file
for file in $(ldd work/xbuild | grep -o '/[^ ]*'); do
    mkdir -p ".${file%/*}"; touch ".$file"; mount --bind "$file" ".$file"
done
before=$1 after=$2; shift 2
pivot_root . old; cd /
at=$(PATH=/old/bin:/old/usr/bin; command -v umount)
LD_LIBRARY_PATH=$(for folder in /old/lib/*-linux-gnu /old/usr/lib/*-linux-gnu; do printf '%s:' "$folder"; done) "$at" -l /old
NO_MARK=; eval "$before"
test "$NO_MARK" || : > /xbuild/own-root
status=0; "$@" || status=$?
eval "$after"
exit $status
"#;

/// Builds in such a root. The scripts have no programs, only what the shell itself does.
fn build(place: &Place, [before, after]: [&str; 2], more: &[&str]) -> Finished {
    let mut command = place.command("unshare");
    let root = place.path().join("root");
    if !root.exists() {
        fs::create_dir(&root).unwrap();
        place.base("busybox");
    }
    let enter = ["-Urm", "--propagation", "private", "sh", "-euc", ENTER, "sh"];
    command.env("ROOT", place.path()).args(enter).args([before, after, "/work/xbuild", "build"]);
    let base = "busybox=oci-layout:///work/bases/busybox";
    command.args(["--progress", "plain", "--build-context", base, "--root", "/xbuild/store"]);
    command.args(["--isolation", "chroot=/"]).args(more).arg("/work/context");
    Finished::run(command)
}

/// Builds into a layout and returns the image.
#[track_caller]
fn image_of(place: &Place, scripts: [&str; 2], more: &[&str]) -> (Finished, Image) {
    let output = "type=oci,dest=/work/home/image,tar=false";
    let built = build(place, scripts, &[more, &["--output", output]].concat()).ok();
    let image = image::read(&place.path().join("home/image")).remove(0);
    (built, image)
}

/// Says what is in the root.
const LIST: &str = "for file in /* /.d* /home/* /home/*/* /mnt/*/* /etc/*; do \
    if test -e $file; then echo there: $file; fi; done; read text < /mnt/volume/file; echo volume: $text";

#[test]
fn a_root_with_other_files_is_refused_and_stays() {
    needs!(Run, Tool("unshare"), Tool("ldd"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN echo ran\n");
        let letter = "echo dear > /letter";
        let after = "read text < /letter; echo letter: $text";
        let refused = build(&place, [letter, after], &[]);
        let why = ["chroot=/", "neither xbuild's nor mounted: /letter", "hint: "];
        let refused = refused.fails(5, &why);
        assert_eq!(refused.stdout, "letter: dear\n");
        refused.does_not_say("#1");
        // A machine is not made for it by a wish alone, nor by a variable alone.
        for (wish, why) in [("", "XBUILD_OWN_ROOT=1"), ("export XBUILD_OWN_ROOT=1", "/letter")] {
            let before = format!("{letter}; NO_MARK=1; {wish}");
            let refused = build(&place, [&before, after], &[]);
            let refused = refused.fails(5, &[why]);
            assert_eq!(refused.stdout, "letter: dear\n");
            refused.does_not_say("#1");
        }
    }
}

#[test]
fn steps_run_in_the_root_and_leave_nothing() {
    needs!(Run, Tool("unshare"), Tool("ldd"));
    for user in User::all() {
        let place = Place::new(user);
        place.write("a", "a").dockerfile(
            r"
            FROM busybox AS first
            RUN mkdir /d && echo one > /d/file && ln /d/file /d/twin && test -e /proc/self/fd/0 && ls /proc/self/fd > /fds \
             && echo x > /dev/null && test -f /mnt/volume/file && test -e /xbuild/store
            COPY a /d/
            RUN rm -r /d/file /etc 2>&1; mkdir -p /etc && cat /d/a > /d/b
            FROM busybox
            RUN test ! -e /d && grep -q root /etc/passwd && test ! -e /fds
            COPY a /mnt/volume/hidden
            RUN test ! -e /mnt/volume/hidden
            RUN --mount=type=cache,target=/root/c --mount=type=tmpfs,target=/scratch --mount=type=bind,from=first,source=/d,target=/rw,rw \
                echo y > /root/c/x && echo z > /scratch/z && cat /rw/b > /rw/c
            RUN --mount=type=bind,from=first,source=/d,target=/rw,rw --mount=type=bind,target=/ctx,rw \
                test ! -e /rw/c && cat /rw/b > /ctx/c && rm /rw/b
            RUN --mount=type=bind,target=/ctx,rw test ! -e /ctx/c
            COPY --from=first /d /d
            RUN cat /d/b > /all && test ! -e /scratch
            ",
        );
        let (built, image) = image_of(&place, ["", LIST], &[]);
        built.says(&["isolation: chroot=/\n", "\"/mnt/volume/hidden\" of an image is hidden"]);
        assert_eq!(image.text("all"), "a");
        for layer in 1..isize::try_from(image.layers.len()).unwrap() {
            let lines = image.lines(layer).join("\n");
            for own in ["xbuild", "libc", "proc/", "mnt/volume/file", "root/c/", "scratch"] {
                assert!(!lines.contains(own), "{user:?} {layer} {own}: {lines}");
            }
        }
        let listed: Vec<&str> = built.stdout.lines().filter(|line| line.contains(':')).collect();
        assert!(listed.contains(&"volume: kept"), "{}", built.stdout);
        for gone in ["/d", "/etc/passwd", "/bin", "/fds", "/all", "/tmp"] {
            assert!(!listed.contains(&&*format!("there: {gone}")), "{gone}: {}", built.stdout);
        }
    }
}

/// Kills the command while its RUN step is at work, and starts it anew.
const KILL: &str = r#"
: > /xbuild/own-root; NO_MARK=1
"$@" & first=$!
while test ! -e /mnt/volume/started; do test -e /proc/$first || exit 1; done
kill -9 $first; wait $first || :
# What the build left in the root is seen by the next one.
test -e /left && echo left
"#;

#[test]
fn a_killed_build_is_cleared_away_by_the_next_one() {
    needs!(Run, Tool("unshare"), Tool("ldd"));
    for user in User::all() {
        let place = Place::new(user);
        // The number is a name by which the process is found.
        let seconds = 98_000_000 + std::process::id();
        let cache = "--mount=type=cache,target=/root/c --mount=type=tmpfs,target=/scratch";
        place.dockerfile(&format!(
            "FROM busybox\nRUN {cache} if test -e /root/c/kept; then test ! -e /left && cat /root/c/kept > /got; \
             else echo kept > /root/c/kept; echo x > /left; (setsid sleep {seconds} &); \
             busybox setsid sleep {seconds} & echo > /mnt/volume/started; sleep {seconds}; fi\n"
        ));
        let (built, image) = image_of(&place, [KILL, LIST], &[]);
        assert_eq!(image.text("got"), "kept", "{user:?}");
        built.says(&["isolation: chroot=/"]);
        assert!(built.stdout.lines().any(|line| line == "left"), "{}", built.stdout);
        for gone in ["/left", "/got", "/root", "/bin"] {
            assert!(!built.stdout.contains(&format!("there: {gone}\n")), "{}", built.stdout);
        }
        let listed =
            tool("sh", ["-c", "cat /proc/[0-9]*/cmdline 2> /dev/null | tr '\\0' ' '; true"]);
        assert!(!listed.contains(&format!("sleep {seconds} ")), "{user:?}");
    }
}
