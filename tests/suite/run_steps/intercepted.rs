//! Programs for other processors on kernels without a binfmt_misc for each user namespace: `execve` is
//! intercepted, and the emulator put in front.

use std::process::Command;

use crate::harness::{Place, User, needs};
use crate::image::Image;

/// Builds with interception, for one platform, and returns the image.
#[track_caller]
fn image(place: &Place, platform: &str) -> Image {
    place.image(&["--emulation", "intercept", "--platform", platform])
}

#[track_caller]
fn has_lines(image: &Image, file: &str, expected: &[&str]) {
    assert_eq!(image.text(file).lines().collect::<Vec<_>>(), expected, "{file}");
}

#[test]
fn commands_scripts_and_signals_work() {
    needs!(Run, Emulator);
    let platforms =
        [("linux/arm64", "aarch64"), ("linux/arm/v7", "armv7l"), ("linux/s390x", "s390x")];
    // Each platform by one of the users, if there are as many.
    for (place, (platform, machine)) in platforms.into_iter().enumerate() {
        let users = User::all();
        let user = users[place % users.len()];
        let place = Place::new(user);
        place.dockerfile(
            r##"
            FROM busybox
            RUN uname -m > /machine && sh -c 'exec cat /machine' | tr a-z A-Z > /piped; \
                NAME=value /bin/busybox env | grep ^NAME >> /piped
            RUN /missing; echo $? > /ends; (exit 7); echo $? >> /ends; \
                sh -c 'kill -9 $$'; echo $? >> /ends; sh -c 'kill -40 $$'; echo $? >> /ends; \
                trap 'echo trapped >> /ends' USR1; sh -c "kill -USR1 $$"; \
                sh -c 'kill -STOP $$; echo resumed >> /ends' & \
                while ! grep -q '^State:.[Tt]' /proc/$!/status; do :; done; sleep 1; kill -CONT $!; wait $!
            RUN i=0; while [ $i -lt 200 ]; do /bin/busybox true || exit 1; i=$((i+1)); done; \
                seq 100 | xargs -n 1 /bin/busybox echo | wc -l > /many; \
                (/bin/busybox true &); (/bin/busybox true &); /bin/busybox sleep 1; \
                cat /proc/[0-9]*/stat | grep -c ' Z ' >> /many || true
            RUN printf '#!/bin/sh -e\necho "$0 $*"\n' > /s0; chmod 755 /s0; cd /; \
                for i in 1 2 3 4 5 6; do printf "#!s$((i-1)) a$i\n" > s$i; chmod 755 s$i; done; \
                /s0 b > /scripts; ./s1 b >> /scripts; /s4 b >> /scripts; \
                /s5 b 2>&1 | grep -c symbolic >> /scripts; \
                ln -s /absolute /link; ln -s /s0 /absolute; /link b >> /scripts; \
                cp /bin/busybox ./-busybox; printf '#!-busybox echo\n' > /odd; chmod 755 /odd; \
                /odd b >> /scripts; printf '#!/bin/none\n' > /none; chmod 755 /none; \
                /none 2>/dev/null; echo $? >> /scripts
            RUN x=$(head -c 200000 /dev/zero | tr '\0' x); /bin/busybox echo $x 2>&1 | wc -c > /size; \
                /bin/busybox echo $x; echo $? >> /size; \
                /bin/busybox echo $(seq 1 15000) | wc -w >> /size
            RUN cp /bin/busybox /dev/shm/x; /dev/shm/x true; echo $? > /rights; \
                cp /bin/busybox /x; chmod 644 /x; /x true; echo $? >> /rights; \
                cp /bin/busybox /busybox-x; /busybox-x cat /proc/self/comm >> /rights; \
                mkdir -p /inner/bin; cp /bin/busybox /inner/bin; cp /s0 /inner; \
                ln -s busybox /inner/bin/sh; chroot /inner /s0 c >> /rights; \
                chroot /inner /bin/busybox ls -a /dev 2>/dev/null || echo no dev >> /rights; \
                ls -A /dev > /devices
            "##,
        );
        let image = image(&place, platform);
        assert_eq!(image.text("machine").trim(), machine);
        has_lines(&image, "piped", &[&machine.to_uppercase(), "NAME=value"]);
        has_lines(&image, "ends", &["127", "7", "137", "168", "trapped", "resumed"]);
        has_lines(&image, "many", &["100", "0"]);
        let deep = "s0 a1 s1 a2 s2 a3 s3 a4 /s4 b";
        let scripts = ["/s0 b", "s0 a1 ./s1 b", deep, "1", "/link b", "/odd b", "127"];
        has_lines(&image, "scripts", &scripts);
        has_lines(&image, "size", &["46", "126", "15000"]);
        has_lines(&image, "rights", &["126", "126", "busybox-x", "/s0 c", "no dev"]);
        assert!(
            !image.text("devices").contains("xbuild") && !image.text("devices").contains("qemu")
        );
    }
}

#[test]
fn a_process_is_followed_whatever_user_it_becomes() {
    needs!(Run, Range, Emulator);
    for user in User::all().into_iter().filter(|user| *user != User::Single) {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            RUN echo 'root:x:0:0::/:/bin/sh' > /etc/passwd && echo 'u:x:1000:1000::/:/bin/sh' >> /etc/passwd \
             && echo 'root:x:0:' > /etc/group && echo 'u:x:1000:' >> /etc/group && mkdir -m 777 /w \
             && cp /bin/busybox /bin/busybox-rights && chmod 4755 /bin/busybox-rights \
             && cp /bin/busybox /bin/hidden && chmod 700 /bin/hidden
            RUN /bin/busybox su u -c '/bin/busybox id -u; /bin/busybox uname -m; /bin/hidden true; echo $?' > /w/su
            USER u
            RUN /bin/busybox id -u > /w/user; /bin/busybox-rights id -u >> /w/user; /bin/busybox-rights true; \
                /bin/hidden true; echo $? >> /w/user
            ",
        );
        let args = ["--emulation", "intercept", "--platform", "linux/arm64"];
        let layout = crate::harness::to_layout(&place.out("image"));
        let built = place.build(&[&args[..], &["--output", &layout]].concat()).ok();
        let note = "/bin/busybox-rights runs without the set-user-ID";
        assert_eq!(built.stderr.matches(note).count(), 1, "{}", built.stderr);
        built.does_not_say("/bin/busybox runs without");
        let image = image(&place, "linux/arm64");
        has_lines(&image, "w/su", &["1000", "aarch64", "126"]);
        has_lines(&image, "w/user", &["1000", "1000", "126"]);
    }
}

/// A native program that executes others in each way that C has.
const CALLER: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#ifndef AT_EMPTY_PATH
#define AT_EMPTY_PATH 0x1000
#endif
extern char **environ;
static char *echo[] = { "echo", "ok", 0 };
static int at(int fd, const char *path, char **argv, int flags) { return syscall(SYS_execveat, fd, path, argv, environ, flags); }
static void *in_thread(void *unused) { execv("/bin/busybox", echo); return unused; }
static void child(const char *what) {
  pthread_t thread;
  if (!strcmp(what, "fd")) at(open("/bin/busybox", O_RDONLY), "", echo, AT_EMPTY_PATH);
  if (!strcmp(what, "path")) at(open("/bin/busybox", O_PATH), "", echo, AT_EMPTY_PATH);
  if (!strcmp(what, "closed")) at(open("/bin/busybox", O_RDONLY | O_CLOEXEC), "", echo, AT_EMPTY_PATH);
  if (!strcmp(what, "folder")) at(open("/bin", O_RDONLY), "busybox", echo, 0);
  if (!strcmp(what, "link")) at(AT_FDCWD, "/linked", echo, AT_SYMLINK_NOFOLLOW);
  if (!strcmp(what, "flags")) at(AT_FDCWD, "/bin/busybox", echo, 0x4);
  if (!strcmp(what, "empty")) { char *none[] = { 0 }; execve("/bin/busybox", none, environ); }
  if (!strcmp(what, "null")) syscall(SYS_execve, "/bin/busybox", 0, environ);
  if (!strcmp(what, "fault")) syscall(SYS_execve, "/bin/busybox", 16, environ);
  if (!strcmp(what, "path-fault")) syscall(SYS_execve, 16, echo, environ);
  if (!strcmp(what, "folder-itself")) execv("/bin", echo);
  if (!strcmp(what, "thread")) { pthread_create(&thread, 0, in_thread, 0); pthread_join(thread, 0); }
  if (!strcmp(what, "failed")) { char *big = malloc(200000); memset(big, 'x', 199999); big[199999] = 0; char *argv[] = { "echo", big, 0 };
    int before = dup(0); close(before); execv("/bin/busybox", argv); int error = errno, after = dup(0); printf("%d ", after - before); errno = error; }
  printf("%s\n", strerror(errno)); fflush(stdout); _exit(1);
}
int main(int argc, char **argv) {
  for (int i = 1; i < argc; i++) { printf("%s: ", argv[i]); fflush(stdout); int status; pid_t pid = fork(); if (!pid) child(argv[i]); waitpid(pid, &status, 0); }
  /* Children of vfork share this memory: a canary beside the stack, and mappings that must not pile up. */
  volatile char canary[4096]; memset((char *)canary, 'c', sizeof canary); int done = 0;
  for (int i = 0; i < 50; i++) { pid_t pid; int status; char *quiet[] = { "true", 0 }; if (posix_spawn(&pid, "/bin/busybox", 0, 0, quiet, environ)) break; waitpid(pid, &status, 0); done += status == 0;
    pid = vfork(); if (!pid) { execv("/bin/busybox", quiet); _exit(1); } waitpid(pid, &status, 0); done += status == 0; }
  for (unsigned i = 0; i < sizeof canary; i++) if (canary[i] != 'c') done = -1;
  FILE *maps = fopen("/proc/self/maps", "r"); int lines = 0, c; while ((c = fgetc(maps)) != EOF) lines += c == '\n';
  printf("children: %d %s\n", done, lines < 60 ? "small" : "grown");
  return 0;
}
"#;

#[test]
fn native_programs_execute_foreign_ones_in_every_way() {
    needs!(Run, Emulator, Tool("gcc"));
    let place = Place::new(User::Me);
    let ways =
        "fd path closed folder link flags empty null fault path-fault folder-itself thread failed";
    place.write("caller.c", CALLER);
    for bits in ["-m64", "-m32"] {
        let compile = |output: &str| {
            let mut command = Command::new("gcc");
            command.args([bits, "-static", "-pthread", "-w", "-o", output, "caller.c"]);
            command.current_dir(place.context());
            command.output().unwrap()
        };
        let compiled = compile("caller");
        if bits == "-m32" && !compiled.status.success() {
            // Few machines have a C library for both.
            println!("skipped: gcc {bits}");
            continue;
        }
        assert!(compiled.status.success(), "{compiled:?}");
        place.dockerfile(&format!(
            "FROM busybox\nCOPY caller /\nRUN ln -s /bin/busybox /linked; /caller {ways} > /out 2>&1\n"
        ));
        has_lines(
            &image(&place, "linux/arm64"),
            "out",
            &[
                "fd: ok",
                "path: ok",
                "closed: No such file or directory",
                "folder: ok",
                "link: Too many levels of symbolic links",
                "flags: Invalid argument",
                "empty: : applet not found",
                "null: : applet not found",
                "fault: Bad address",
                "path-fault: Bad address",
                "folder-itself: Permission denied",
                "thread: ok",
                "failed: 0 Argument list too long",
                "children: 100 small",
            ],
        );
    }
}

/// Programs of the machine's own processor and its 32-bit sibling, in a foreign step.
#[test]
fn native_and_32_bit_programs_run_beside_foreign_ones() {
    needs!(Run, Emulator);
    if std::env::consts::ARCH != "x86_64" {
        return;
    }
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r##"
            FROM --platform=linux/386 busybox AS small
            FROM --platform=linux/amd64 busybox AS native
            FROM busybox
            RUN --mount=from=small,target=/small --mount=from=native,target=/native \
                for shell in /small/bin/busybox /native/bin/busybox; do \
                  $shell sh -c '/bin/busybox uname -m; "$0" echo own; /bin/busybox echo "$@"' $shell a 'b c'; \
                  /bin/busybox seq 40 | $shell xargs -n 1 /bin/busybox echo | $shell wc -l; \
                  $shell sh -c '/bin/busybox echo $(seq 1 15000)' | wc -w; \
                done > /out 2>&1
            "##,
        );
        let once = ["aarch64", "own", "a b c", "40", "15000"];
        has_lines(&image(&place, "linux/arm64"), "out", &[once, once].concat());
    }
}

#[test]
fn an_insecure_step_is_intercepted_too() {
    needs!(Run, Emulator);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            RUN --security=insecure /bin/busybox uname -m > /machine && /bin/busybox unshare true
            ",
        );
        let args = ["--emulation", "intercept", "--platform", "linux/arm64"];
        let image = place.image(&[&args[..], &["--allow", "security.insecure"]].concat());
        assert_eq!(image.text("machine").trim(), "aarch64");
    }
}

#[test]
fn a_demanded_way_is_used_or_refused() {
    needs!(Run, Emulator);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN uname -m > /machine\n");
    let build =
        |way: &str| place.build(&["--emulation", way, "--platform", "linux/ppc64le", "--no-cache"]);
    build("intercept").ok();
    let by_host = build("host");
    if by_host.status != 0 {
        by_host.fails(5, &["linux/ppc64le", "no entry for ppc64le", "flag F"]);
    }
    build("other").fails(2, &["--emulation"]);
}

#[test]
fn perl_and_dpkg_run_by_interception() {
    needs!(Run, Range, Debian, Emulator);
    let users = User::all();
    let user = if users.contains(&User::Ranged) { User::Ranged } else { User::Me };
    let place = Place::new(user);
    place.dockerfile(
        r##"
        FROM debian
        RUN dpkg -l | grep -c '^ii' > /packages; \
            printf '#!/usr/bin/perl -w\nprint "perl $0 @ARGV\\n"; system("uname", "-m"); print `id -u`;' > /p; \
            chmod 755 /p; /p a b > /perl; \
            perl -e 'for (1..4) { my $pid = fork; if (!$pid) { exec "/bin/true" } } while (wait != -1) { $n++ unless $? } print "$n\n"' >> /perl; \
            cd /; grep -q . /packages
        "##,
    );
    let base = place.base("debian");
    let args = ["--emulation", "intercept", "--platform", "linux/arm64", "--build-context", &base];
    let image = place.image(&args);
    assert!(image.text("packages").trim().parse::<u32>().unwrap() > 50);
    has_lines(&image, "perl", &["perl /p a b", "aarch64", "0", "4"]);
}
