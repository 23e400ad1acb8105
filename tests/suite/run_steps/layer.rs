//! The layer of a step has all that the step changed, and nothing else.

use super::{image, layer_is};
use crate::harness::{User, needs};

#[test]
fn what_changed_is_the_layer() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r"
            FROM busybox
            RUN mkdir -m 700 /d \
             && echo one > /d/file && chmod 640 /d/file && ln /d/file /d/twin \
             && ln -s nowhere /d/link \
             && mkfifo -m 600 /d/pipe \
             && echo x > /d/program && chmod 4755 /d/program \
             && mkdir -m 1777 /d/shared \
             && umask && rm -rf /d/program.old
            ",
        );
        layer_is(
            &image,
            -1,
            &[
                "dir 700 0:0 d",
                "file 640 0:0 d/file",
                "link 640 0:0 d/twin -> d/file",
                "symlink 777 0:0 d/link -> nowhere",
                "fifo 600 0:0 d/pipe",
                "file 4755 0:0 d/program",
                "dir 1777 0:0 d/shared",
            ],
        );
        assert_eq!(image.text("d/file"), "one");
    }
}

#[test]
fn devices_are_in_the_layer() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r"
            FROM busybox AS first
            RUN mkdir /d \
             && mknod -m 666 /d/null c 1 3 \
             && mknod -m 600 /d/blk b 7 0 && ln /d/blk /d/twin \
             && mknod /d/gone c 5 1 \
             && test -f /d/null \
             && ! mknod /d/null c 1 3 \
             && ! mknod /d/white c 0 0
            RUN rm /d/gone && chmod 640 /d/null && mv /d/blk /d/moved

            FROM busybox
            COPY --from=first /d /d
            RUN chmod 600 /d/null && mv /d/null /null && rm /d/moved
            ",
        );
        layer_is(
            &image,
            -2,
            &[
                "dir 755 0:0 d",
                "block 600 0:0 d/moved -> 7:0",
                "char 640 0:0 d/null -> 1:3",
                "block 600 0:0 d/twin -> 7:0",
            ],
        );
        layer_is(
            &image,
            -1,
            &[
                "dir 755 0:0 d",
                "file 0 0:0 d/.wh.moved",
                "file 0 0:0 d/.wh.null",
                "char 600 0:0 null -> 1:3",
            ],
        );
    }
}

#[test]
fn only_root_makes_devices() {
    needs!(Run);
    for user in User::all().into_iter().filter(|user| *user != User::Single) {
        let image = image(
            user,
            r"
            FROM busybox
            RUN mkdir -m 777 /d && mknod -m 666 /d/null c 1 3
            USER 1000
            RUN ! mknod /d/mine c 1 3 && echo x > /d/file && chmod 600 /d/file
            ",
        );
        layer_is(&image, -1, &["dir 777 0:0 d", "file 600 1000:0 d/file"]);
    }
}

#[test]
fn what_is_gone_is_whited_out() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r"
            FROM busybox
            RUN mkdir -p /a/old /b/old /c \
             && touch /a/1 /a/2 /a/old/x /b/old/x /c/1 /c/2 /keep && ln /c/1 /c/3
            RUN rm /a/1 && rm -r /a/old \
             && rm -r /b && mkdir /b && touch /b/new \
             && rm /c/1 && mv /c/2 /c/4 \
             && touch /made && rm /made
            ",
        );
        let files = image.files();
        for path in ["a", "a/2", "b", "b/new", "c", "c/3", "c/4", "keep"] {
            assert!(files.contains_key(path), "{path}: {:?}", files.keys());
        }
        for path in ["a/1", "a/old", "b/old", "c/1", "c/2", "made"] {
            assert!(!files.contains_key(path), "{path}: {:?}", files.keys());
        }
        let names: Vec<&str> = image.layer(-1).iter().map(|entry| entry.path.as_str()).collect();
        for path in ["a/.wh.1", "a/.wh.old", "c/.wh.1", "c/.wh.2", "b/new"] {
            assert!(names.contains(&path), "{path}: {names:?}");
        }
        assert!(names.contains(&"b/.wh..wh..opq") || names.contains(&"b/.wh.old"), "{names:?}");
        for path in [".wh.made", "keep", "a/2", ".wh.b"] {
            assert!(!names.contains(&path), "{path}: {names:?}");
        }
    }
}

#[test]
fn what_was_only_touched_is_not_repeated() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r"
            FROM busybox
            RUN mkdir /d && echo a > /d/file && ln -s file /d/link
            RUN chmod 644 /d/file && chmod 755 /d && chown -h 0:0 /d/link && : >> /d/file \
             && mv /d/file /x && mv /x /d/file
            RUN cat /d/* > /dev/null
            ",
        );
        for number in [-1, -2] {
            let names: Vec<&str> =
                image.layer(number).iter().map(|entry| entry.path.as_str()).collect();
            assert!(!names.contains(&"d/file") && !names.contains(&"d/link"), "{names:?}");
        }
    }
}

#[test]
fn nothing_of_the_sandbox_stays() {
    needs!(Run);
    for user in User::all() {
        let image = image(
            user,
            r"
            FROM busybox
            RUN ls /proc/self /sys \
                /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty \
                /dev/pts /dev/shm /dev/fd/0 /dev/ptmx > /dev/null \
             && test -r /etc/resolv.conf && test -r /etc/hosts \
             && echo a > /dev/shm/a && echo done > /mark
            RUN rm -f /etc/resolv.conf /etc/hosts; mkdir -p /dev/shm/b; echo done > /mark2
            ",
        );
        layer_is(&image, -2, &["file 644 0:0 mark"]);
        let lines = image.lines(-1);
        assert!(lines.contains(&"file 644 0:0 mark2".to_owned()), "{lines:?}");
        for word in ["dev", "proc", "sys", "resolv", "hosts"] {
            assert!(!lines.iter().any(|line| line.contains(word)), "{word}: {lines:?}");
        }
    }
}
