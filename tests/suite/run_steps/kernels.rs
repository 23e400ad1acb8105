//! Kernels that lack newer calls. `tests/kernels` has real ones; here a filter refuses the calls.

use crate::harness::{Finished, Place, User, needs};

/// A program of Python that makes calls fail with ENOSYS for itself and what it becomes: the numbers
/// of the calls come first, then `--`, then a command. Newer calls have one number everywhere.
const FILTER: &str = r"
import ctypes, os, struct, sys
at = sys.argv.index('--')
numbers = [int(n) for n in sys.argv[1:at]]
code = struct.pack('HBBI', 0x20, 0, 0, 0)
for i, n in enumerate(numbers):
    code += struct.pack('HBBI', 0x15, len(numbers) - i, 0, n)
code += struct.pack('HBBI', 0x06, 0, 0, 0x7fff0000) + struct.pack('HBBI', 0x06, 0, 0, 0x50000 | int(os.environ.get('ERRNO', '38')))
text = ctypes.create_string_buffer(code)
program = struct.pack('HxxxxxxP', len(code) // 8, ctypes.addressof(text))
libc = ctypes.CDLL(None, use_errno=True)
zero = ctypes.c_ulong(0)
if os.getuid() != 0 and libc.prctl(38, ctypes.c_ulong(1), zero, zero, zero) != 0:
    sys.exit('no_new_privs')
if libc.prctl(22, ctypes.c_ulong(2), program, zero, zero) != 0:
    sys.exit('filter: errno %d' % ctypes.get_errno())
os.execvp(sys.argv[at + 1], sys.argv[at + 1:])
";

/// `close_range` (Linux 5.9), `openat2` (5.6), `faccessat2` (5.8), `mount_setattr` (5.12),
/// `fchmodat2` (6.6).
const NEWER: [&str; 5] = ["436", "437", "439", "442", "452"];

/// Builds without these system calls.
fn build_without(calls: &[&str], place: &Place, more: &[&str]) -> Finished {
    let mut command = place.command("/usr/bin/python3");
    command.args(["-c", FILTER]).args(calls).arg("--").arg(place.path().join("xbuild"));
    command.args(place.build_args(more));
    Finished::run(command)
}

#[test]
fn without_mount_calls_a_run_does_without_mounts() {
    needs!(Run, Tool("/usr/bin/python3"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN true\n");
        // `open_tree`, `move_mount`, `fsopen` (5.2).
        let build = |more: &[&str]| build_without(&["428", "429", "430"], &place, more);
        build(&[]).ok().says(&["isolation: userns-chroot/folder"]);
        let rung = if user == User::Single { "userns-single" } else { "userns-range" };
        let refused = build(&["--isolation", rung, "--no-cache"]);
        refused.fails(5, &["cannot mount", "Linux 5.2"]).does_not_say("#1");
        place.dockerfile("FROM busybox\nWORKDIR /made\n");
        build_without(&["428", "429", "430"], &place, &[]).ok();
    }
}

/// A filter of a container answers EPERM to what it does not allow, a profile of AppArmor EACCES.
#[test]
fn calls_that_something_around_refuses_are_named_before_the_first_step() {
    needs!(Run, Tool("/usr/bin/python3"));
    let (unshare, mount) = if cfg!(target_arch = "x86_64") { ("272", "165") } else { ("97", "40") };
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN true\n");
        let build = |calls: &[&str], errno: &str| {
            let mut command = place.command("/usr/bin/python3");
            command.args(["-c", FILTER]).args(calls).arg("--").arg(place.path().join("xbuild"));
            command.args(place.build_args(&["--isolation", "userns-single"])).env("ERRNO", errno);
            Finished::run(command)
        };
        let filtered = ["user namespace", "not permitted", "seccomp", "`xbuild doctor`"];
        build(&[unshare], "1").fails(5, &filtered).does_not_say("#1");
        let mounts = [mount, "428", "429", "430", "442"];
        let refused = ["mounts", "Permission denied", "hint: ", "`xbuild doctor`"];
        build(&mounts, "13").fails(5, &refused).does_not_say("#1");
    }
}

#[test]
fn steps_run_without_newer_system_calls() {
    needs!(Run, Tool("/usr/bin/python3"));
    for user in User::all() {
        let place = Place::new(user);
        place.write("file", "text").dockerfile(
            r#"
            FROM busybox AS other
            COPY --chmod=640 file /there/
            FROM busybox
            COPY --from=other /there /copied
            RUN --mount=type=bind,target=/a --mount=type=bind,from=other,target=/b,rw \
                --mount=type=secret,id=s --mount=type=tmpfs,target=/c \
                grep text /a/file && ! touch /a/new && touch /b/new /c/new && grep text /run/secrets/s \
             && ! echo >> /run/secrets/s && grep ' /run/secrets/s .*noexec' /proc/self/mountinfo
            RUN ls /proc/self/fd > /open && ! touch /sys/file && ! touch /sys/fs/cgroup/file \
             && ! echo 1 > /proc/sys/vm/drop_caches && test -z "$(cat /proc/timer_list)" \
             && touch /etc/hosts && grep ' /etc/hosts .*nosuid' /proc/self/mountinfo
            RUN --network=none ls /sys/class/net > /net && ! touch /sys/file
            "#,
        );
        let secret = format!("id=s,src={}", place.context().join("file").display());
        let layout = crate::harness::to_layout(&place.out("image"));
        build_without(&NEWER, &place, &["--secret", &secret, "--output", &layout]).ok();
        let image = crate::image::read(&place.out("image")).remove(0);
        assert_eq!(image.text("open"), "0\n1\n2\n3");
        assert_eq!(image.text("net"), "lo");
        assert_eq!(image.text("copied/file"), "text");
    }
}

#[test]
fn programs_are_intercepted_without_newer_system_calls() {
    needs!(Run, Emulator, Tool("/usr/bin/python3"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            RUN sh -c '/bin/busybox uname -m' > /machine; mkdir -p /inner/bin; \
                cp /bin/busybox /inner/bin; chroot /inner /bin/busybox echo inner >> /machine; \
                cp /bin/busybox /shut; chmod 644 /shut; /shut; echo $? >> /machine
            ",
        );
        let layout = crate::harness::to_layout(&place.out("image"));
        let args = ["--emulation", "intercept", "--platform", "linux/arm64", "--output", &layout];
        // `pidfd_open` (5.3) and `pidfd_getfd` (5.6): the emulator is copied into each process.
        let calls = [&NEWER[..], &["434", "438"]].concat();
        build_without(&calls, &place, &args).ok();
        let image = crate::image::read(&place.out("image")).remove(0);
        assert_eq!(image.text("machine"), "aarch64\ninner\n126");
    }
}
