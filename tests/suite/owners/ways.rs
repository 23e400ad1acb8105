//! Ways to a file: descriptors, folders that a path starts from, links through `/proc`. With one id the
//! same is denied and made as with a range.

use crate::harness::{Place, User, needs};

const DOCKERFILE: &str = r#"
FROM debian AS kinds
RUN mkdir /kinds; cd /kinds; mkfifo p q; ln -s t l; chown 1000:70 p; chown -h 1000 l; chown 5 q
FROM debian
RUN useradd -m app && mkdir -p /root/x/y && echo above > /root/x/g && echo here > /root/x/y/g && chmod 700 /root
RUN { echo data > /root/f; su app -c cat < /root/f; su app -c 'cat /etc/debian_version > /dev/null; echo out' > /root/log; \
      cat /root/log; runuser -u app -- tar -cf - -C /etc passwd > /root/a.tar; tar tf /root/a.tar; } > /descriptors
RUN su app -c 'd=$(mktemp -d); exec 4> $d/o; rm -r $d; cat /etc/debian_version >&4 && echo written; \
      perl -e "open F, q(>&4) or die; @s = stat F; print qq(\$s[4]\n)"' > /gone
RUN cd /root/x/y && setpriv --reuid app --regid app --clear-groups sh -c 'cat g ../g; ls .. > /dev/null && echo up; \
      cat /root/x/g 2> /dev/null && echo down; ls /root/x 2> /dev/null && echo listed; touch ../z 2> /dev/null; true' > /around
RUN mkdir -m 2775 /w; chgrp 50 /w; cd /w; ln -s /proc/self/cwd /here; ln -s /proc/self/root /rt; touch /here/f; \
    mkdir /here/d; mkfifo p; chown 7 p; cp -a /here/p /copy-p; cp -a /rt/home/app /copy; chown 8 /rt/w/d
RUN cd /w && mv /here/p /here/q && su app -c 'touch /rt/home/app/mine; cat /rt/etc/shadow 2> /dev/null && echo read; \
      chmod 777 /rt/etc/shadow 2> /dev/null && echo changed; true' > /through
RUN --mount=type=bind,from=kinds,source=/kinds,target=/b,rw chmod 600 /b/p; touch -h /b/l; ln /b/q /b/q2; \
      mv /b/p /b/l /b/q /opt/
RUN install -d -o app /t && ln -s /dev/stdout /t/log && su app -c '(echo hi > /t/log) | cat' > /stdout
RUN install -d -m 750 -o app -g 50 /s && su app -c 'chmod 2750 /s; mkdir /s/sub; touch /s/f; chmod 2755 /s/f'
RUN su app -c "script -qec 'echo x > \$(tty)' /dev/null" > /terminal
RUN cd /home/app && mkdir roots && su app -c 'mkdir sub; mv roots sub/ 2> /dev/null || echo stays; mv roots other && echo renamed' \
      > /moved
RUN cd /home/app && echo > all && chmod 666 all && setpriv --reuid app --regid app --clear-groups sh -c 'cd ~app; \
      touch own; chmod 444 own; perl -e '\''for (@ARGV) { my $f = $_; my $n = "system.posix_acl_access"; \
      my $l = pack "V(vvV)3", 2, 1, 4, -1, 4, 4, -1, 32, 4, -1; \
      print syscall(SETXATTR, $f, $n, $l, length $l, 0) < 0 ? $! + 0 : 0, "\n" }'\'' own all' > /lists
RUN su app -c 'perl -e "for (@ARGV) { stat; print \$! + 0, qq( ); open F, q(<), \$_; print \$! + 0, qq(\n) }" \
      /root/none /root/none/x/y /home/app/none /none/x' > /missing
RUN mkdir -m 2777 /g && chgrp 50 /g && su app -c 'umask 0; perl -MFcntl -e "sysopen F, \$_, O_CREAT | O_WRONLY, 02775 \
      for q(/g/program); sysopen F, q(/g/file), O_CREAT | O_WRONLY, 02764"'
"#;

#[test]
fn files_are_reached_as_with_a_range_of_ids() {
    needs!(Run, Debian);
    let setxattr = if cfg!(target_arch = "aarch64") { "5" } else { "188" };
    let users = User::all();
    for user in users.clone() {
        let ways: &[&str] = match user {
            User::Single => &["userns-single/overlay", "userns-single/folder"],
            User::Ranged => &["userns-range"],
            User::Me if users.len() == 1 => &["userns-single/overlay", "userns-range"],
            User::Me => continue,
        };
        let place = Place::new(user);
        place.dockerfile(&DOCKERFILE.replace("SETXATTR", setxattr));
        let base = place.base("debian");
        for way in ways {
            let image = place.image(&["--no-cache", "--isolation", way, "--build-context", &base]);
            let way = format!("{user:?} {way}");
            for (file, expected) in [
                ("descriptors", "data\nout\npasswd"),
                ("gone", "written\n1000"),
                ("around", "here\nabove\nup"),
                ("through", ""),
                ("stdout", "hi"),
                ("terminal", "x"),
                ("moved", "stays\nrenamed"),
                ("lists", "0\n1"),
                ("missing", "13 13\n13 13\n2 2\n2 2"),
            ] {
                assert_eq!(image.text(file), expected, "{file}, {way}");
            }
            let files = image.files();
            for (path, owner, mode) in [
                ("w/f", (0, 50), 0o644),
                ("w/d", (8, 50), 0o2755),
                ("copy-p", (7, 50), 0o644),
                ("w/q", (7, 50), 0o644),
                ("copy", (1000, 1000), 0o755),
                ("home/app/mine", (1000, 1000), 0o644),
                ("s", (1000, 50), 0o750),
                ("s/sub", (1000, 1000), 0o755),
                ("s/f", (1000, 1000), 0o2755),
                ("g/program", (1000, 50), 0o775),
                ("g/file", (1000, 50), 0o2764),
                ("opt/p", (1000, 70), 0o600),
                ("opt/q", (5, 0), 0o644),
                ("opt/l", (1000, 0), 0o777),
            ] {
                let found = &files[path];
                assert_eq!((found.owner, found.mode), (owner, mode), "{path}, {way}");
            }
            assert!(!files.contains_key("root/x/z"), "{way}");
        }
    }
}
