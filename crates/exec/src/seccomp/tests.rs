use libc::sock_filter;

use nix::sched::{CloneFlags, unshare};

use super::*;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const REFUSED: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
const UNKNOWN: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
const NO_FAMILY: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;

const X86_64: u32 = 0xc000_003e;
const I386: u32 = 0x4000_0003;
const AARCH64: u32 = 0xc000_00b7;
const ARM: u32 = 0x4000_0028;

/// Runs a program as the kernel would on a call.
fn run(program: &[sock_filter], arch: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0u64.to_le_bytes());
    args.iter().for_each(|arg| data.extend(arg.to_le_bytes()));
    let (mut at, mut accumulator) = (0, 0u32);
    loop {
        let sock_filter { code, jt, jf, k } = program[at];
        at += 1;
        let jump = |taken: bool| usize::from(if taken { jt } else { jf });
        match u32::from(code) {
            0x20 => {
                let at = k as usize;
                accumulator = u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
            }
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += jump(accumulator == k),
            0x35 => at += jump(accumulator >= k),
            0x06 => return k,
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn assembled(host: Arch, guest: Arch) -> Vec<sock_filter> {
    bpf::assemble(&policy::tables(host, Some(guest)).unwrap())
}

const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

#[test]
fn every_number_gets_the_verdict_of_its_table() {
    for host in [Arch::Amd64, Arch::Arm64] {
        let program = assembled(host, host);
        assert!(program.len() <= 4096, "the kernel takes {} instructions?", program.len());
        for table in policy::tables(host, Some(host)).unwrap() {
            let mut numbers: Vec<u32> = (0..1100).collect();
            numbers.extend(0xf0000..0xf0010);
            numbers.extend([u32::MAX, 0x8000_0000]);
            for number in numbers {
                let found = table.calls.iter().find(|call| call.0 == number);
                let expected = match found.map_or(policy::Verdict::Unknown, |call| call.1) {
                    policy::Verdict::Allow => ALLOW,
                    policy::Verdict::Refuse => REFUSED,
                    policy::Verdict::Unknown => UNKNOWN,
                    policy::Verdict::Notify => NOTIFY,
                    policy::Verdict::Check(_) | policy::Verdict::Trace(_) => continue,
                };
                assert_eq!(run(&program, table.audit_arch, number, [0; 6]), expected, "{number}");
            }
        }
        assert_eq!(run(&program, 0x8000_0016, 1, [0; 6]), UNKNOWN, "a foreign architecture");
    }
}

#[test]
fn only_programs_that_are_executed_stop_for_a_tracer() {
    use syscalls::{aarch64, arm, x86, x86_64};
    let stopped = |program: &[sock_filter], arch: u32, number: u32| {
        let verdict = run(program, arch, number, [0; 6]);
        let is_trace = verdict & libc::SECCOMP_RET_ACTION_FULL == libc::SECCOMP_RET_TRACE;
        is_trace.then(|| Traced::of_data(u64::from(verdict & libc::SECCOMP_RET_DATA)).unwrap())
    };
    let call = |is_compat, is_execveat| Some(Traced { is_compat, is_execveat });
    for (host, guest, ways) in [
        (
            Arch::Amd64,
            Arch::Arm64,
            [
                (X86_64, x86_64::Sysno::execve.id(), x86_64::Sysno::execveat.id()),
                (I386, x86::Sysno::execve.id(), x86::Sysno::execveat.id()),
            ],
        ),
        (
            Arch::Arm64,
            Arch::Amd64,
            [
                (AARCH64, aarch64::Sysno::execve.id(), aarch64::Sysno::execveat.id()),
                (ARM, arm::Sysno::execve.id(), arm::Sysno::execveat.id()),
            ],
        ),
    ] {
        let mut tables = policy::tables(host, Some(guest)).unwrap();
        let plain = bpf::assemble(&tables);
        policy::trace(&mut tables);
        let full = bpf::assemble(&tables);
        policy::allow_all(&mut tables);
        policy::trace(&mut tables);
        let only = bpf::asking_only(&tables);
        for (is_compat, (arch, execve, execveat)) in [false, true].into_iter().zip(ways) {
            for number in 0..600_u32 {
                let expected = match number.cast_signed() {
                    n if n == execve => call(is_compat, false),
                    n if n == execveat => call(is_compat, true),
                    _ => None,
                };
                assert_eq!(stopped(&full, arch, number), expected, "{arch:#x} {number}");
                assert_eq!(stopped(&only, arch, number), expected, "{arch:#x} {number}");
                if expected.is_none() {
                    let verdict = run(&plain, arch, number, [0; 6]);
                    assert_eq!(run(&full, arch, number, [0; 6]), verdict);
                    assert_eq!(run(&only, arch, number, [0; 6]), ALLOW);
                }
            }
        }
    }
    assert_eq!(Traced::of_data(0), None);
    assert_eq!(Traced::of_data(5), None);
}

#[test]
fn x32_calls_do_not_exist() {
    let program = assembled(Arch::Amd64, Arch::Amd64);
    for number in 0..600 {
        assert_eq!(run(&program, X86_64, 0x4000_0000 | number, [0; 6]), UNKNOWN);
    }
}

#[test]
fn new_namespaces_are_refused_in_every_way() {
    use syscalls::{aarch64, arm, x86, x86_64};
    let (x86_program, arm_program) =
        (assembled(Arch::Amd64, Arch::Amd64), assembled(Arch::Arm64, Arch::Arm64));
    let namespaces = [0x2_0000u64, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000];
    for (program, arch, clone, clone3, unshare, setns) in [
        (
            &x86_program,
            X86_64,
            x86_64::Sysno::clone.id(),
            x86_64::Sysno::clone3.id(),
            x86_64::Sysno::unshare.id(),
            x86_64::Sysno::setns.id(),
        ),
        (
            &x86_program,
            I386,
            x86::Sysno::clone.id(),
            x86::Sysno::clone3.id(),
            x86::Sysno::unshare.id(),
            x86::Sysno::setns.id(),
        ),
        (
            &arm_program,
            AARCH64,
            aarch64::Sysno::clone.id(),
            aarch64::Sysno::clone3.id(),
            aarch64::Sysno::unshare.id(),
            aarch64::Sysno::setns.id(),
        ),
        (
            &arm_program,
            ARM,
            arm::Sysno::clone.id(),
            arm::Sysno::clone3.id(),
            arm::Sysno::unshare.id(),
            arm::Sysno::setns.id(),
        ),
    ] {
        let call =
            |number: i32, flags: u64| run(program, arch, number as u32, [flags, 0, 0, 0, 0, 0]);
        // The flags of fork() and pthread_create().
        assert_eq!(call(clone, 0x0120_0011), ALLOW);
        assert_eq!(call(clone, 0x003d_0f00), ALLOW);
        for flag in namespaces {
            assert_eq!(call(clone, flag | 0x11), REFUSED, "{flag:#x}");
            assert_eq!(call(clone, flag | 0xffff_ffff_0000_0000), REFUSED, "{flag:#x}");
        }
        assert_eq!(call(clone3, 0), UNKNOWN);
        assert_eq!(call(unshare, 0), REFUSED);
        assert_eq!(call(setns, 0), REFUSED);
    }
}

#[test]
fn arguments_count_by_their_low_half() {
    use syscalls::x86_64::Sysno;
    let program = assembled(Arch::Amd64, Arch::Amd64);
    let garbage = 0xdead_beef_0000_0000u64;
    let call = |sysno: Sysno, args: [u64; 3]| {
        run(&program, X86_64, sysno.id() as u32, [args[0], args[1], args[2], 0, 0, 0])
    };
    for (family, protocol, expected) in [
        (libc::AF_UNIX, 0, ALLOW),
        (libc::AF_INET, 0, ALLOW),
        (libc::AF_INET6, 0, ALLOW),
        (libc::AF_NETLINK, libc::NETLINK_ROUTE, ALLOW),
        (libc::AF_NETLINK, libc::NETLINK_AUDIT, ALLOW),
        (libc::AF_NETLINK, libc::NETLINK_NETFILTER, REFUSED),
        (libc::AF_ALG, 0, NO_FAMILY),
        (libc::AF_VSOCK, 0, NO_FAMILY),
        (libc::AF_PACKET, 0, NO_FAMILY),
        (libc::AF_TIPC, 0, NO_FAMILY),
    ] {
        for high in [0, garbage] {
            let args = [high | family as u64, 1, high | protocol as u64];
            assert_eq!(call(Sysno::socket, args), expected, "{family} {protocol}");
        }
    }
    for high in [0, garbage] {
        assert_eq!(call(Sysno::ioctl, [0, high | libc::TIOCSTI, 0]), REFUSED);
        assert_eq!(call(Sysno::ioctl, [0, high | 0x541c, 0]), REFUSED);
        assert_eq!(call(Sysno::ioctl, [0, high | libc::TCGETS, 0]), ALLOW);
        assert_eq!(call(Sysno::personality, [high | 0xffff_ffff, 0, 0]), ALLOW);
        assert_eq!(call(Sysno::personality, [high | 8, 0, 0]), ALLOW);
        assert_eq!(call(Sysno::personality, [high | 0x0040_0000, 0, 0]), REFUSED);
    }
}

#[test]
fn device_nodes_are_for_the_supervisor() {
    let garbage = 0xdead_beef_0000_0000u64;
    for host in [Arch::Amd64, Arch::Arm64] {
        let program = assembled(host, host);
        for table in policy::tables(host, Some(host)).unwrap() {
            let number = |name| (0..400).find(|n| policy::name(table.audit_arch, *n) == Some(name));
            let calls = [(number("mknod"), 0), (number("mknodat"), 1)];
            assert!(calls[1].0.is_some());
            for (number, shift) in calls.into_iter().filter_map(|(n, shift)| Some((n?, shift))) {
                for (mode, device, expected) in [
                    (0o020_666, 0x103, NOTIFY),
                    (0o060_600, 0x700, NOTIFY),
                    (0o060_600, 0, NOTIFY),
                    // overlayfs refuses it, all other file systems allow it.
                    (0o020_000, 0, ALLOW),
                    (0o010_644, 0x103, ALLOW),
                    (0o100_644, 0x103, ALLOW),
                    (0o140_644, 0, ALLOW),
                    (0o644, 0x103, ALLOW),
                ] {
                    for high in [0, garbage] {
                        let mut args = [0; 6];
                        args[shift + 1] = high | mode;
                        args[shift + 2] = high | device;
                        let got = run(&program, table.audit_arch, number, args);
                        assert_eq!(got, expected, "{mode:o} {device:x}");
                        let alone = bpf::unsupervised(&program);
                        assert_eq!(run(&alone, table.audit_arch, number, args), ALLOW);
                    }
                }
            }
        }
    }
}

#[test]
fn socketcall_is_for_32_bit_x86_steps_only() {
    let socketcall = syscalls::x86::Sysno::socketcall.id() as u32;
    for (guest, expected) in [(Arch::I386, ALLOW), (Arch::Amd64, REFUSED), (Arch::Arm64, REFUSED)] {
        let program = assembled(Arch::Amd64, guest);
        assert_eq!(run(&program, I386, socketcall, [1, 0, 0, 0, 0, 0]), expected, "{guest:?}");
    }
}

#[test]
fn the_named_dangers_are_refused() {
    for host in [Arch::Amd64, Arch::Arm64] {
        let program = assembled(host, host);
        for table in policy::tables(host, Some(host)).unwrap() {
            let number = |name: &str| -> Option<u32> {
                let id = match table.audit_arch {
                    X86_64 => name.parse::<syscalls::x86_64::Sysno>().ok()?.id(),
                    I386 => name.parse::<syscalls::x86::Sysno>().ok()?.id(),
                    AARCH64 => name.parse::<syscalls::aarch64::Sysno>().ok()?.id(),
                    _ => name.parse::<syscalls::arm::Sysno>().ok()?.id(),
                };
                Some(id as u32)
            };
            let dangers = "init_module finit_module delete_module kexec_load kexec_file_load \
                reboot swapon swapoff mount umount umount2 pivot_root fsopen fsconfig fsmount \
                fspick move_mount open_tree mount_setattr setns unshare bpf perf_event_open \
                userfaultfd io_uring_setup io_uring_enter io_uring_register add_key request_key \
                keyctl open_by_handle_at quotactl quotactl_fd acct lookup_dcookie nfsservctl vm86 \
                vm86old iopl ioperm process_vm_readv process_vm_writev kcmp pidfd_getfd \
                process_madvise clock_settime clock_settime64 settimeofday stime sethostname \
                setdomainname syslog vhangup fanotify_init";
            for name in dangers.split_whitespace() {
                let Some(number) = number(name) else { continue };
                let got = run(&program, table.audit_arch, number, [0; 6]);
                assert_eq!(got, REFUSED, "{name} on {:#x}", table.audit_arch);
            }
        }
    }
}

/// Runs `child` in a forked process under the filter for `guest`, without any namespace.
fn under_filter(guest: Arch, child: impl FnOnce() -> i32) -> i32 {
    let filter = program(&Platform::new("linux", guest.oci_name(), None)).unwrap();
    let pid = sys::fork_bare(|| {
        match rustix::thread::set_no_new_privs(true).map(|()| install(&filter)) {
            Ok(Ok(_)) => child(),
            _ => 99,
        }
    });
    let status =
        rustix::process::waitpid(Some(pid.unwrap()), rustix::process::WaitOptions::empty());
    status.unwrap().unwrap().1.exit_status().expect("not killed")
}

#[test]
fn the_kernel_applies_the_filter() {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType};

    let status = under_filter(Arch::I386, || {
        let socket = |family| rustix::net::socket(family, SocketType::DGRAM, None).map(drop);
        let unshared = unshare(CloneFlags::CLONE_NEWUSER).map_err(|errno| Some(errno as i32));
        let forked = sys::fork_bare(|| 0);
        let results = [
            socket(AddressFamily::INET) == Ok(()),
            socket(AddressFamily::from_raw(libc::AF_ALG as u16)) == Err(Errno::AFNOSUPPORT),
            unshared == Err(Some(libc::EPERM)),
            rustix::process::chroot(c"/nonexistent") == Err(Errno::NOENT),
            rustix::mount::unmount(c"/nonexistent", rustix::mount::UnmountFlags::empty())
                == Err(Errno::PERM),
            forked.is_ok(),
        ];
        1 + results.iter().position(|ok| !ok).map_or(-1, |index| index as i32)
    });
    assert_eq!(status, 0, "the expectation of that number does not hold");
}

#[test]
fn programs_run_under_the_filter() {
    use std::ffi::CString;
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::tempdir().unwrap();
    let host = Arch::host().unwrap();
    for arch in [host].into_iter().chain(host.compat()) {
        let path = dir.path().join(arch.oci_name());
        std::fs::write(&path, crate::tiny_elf::program(arch)).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        let path = CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
        match under_filter(arch, || 100 + sys::exec_bare(&path, [c"a", c"b", c"c"])) {
            108 => println!("skipped: compat: this machine runs no {} programs", arch.oci_name()),
            status => assert_eq!(status, 3, "{arch:?}"),
        }
    }
}

#[test]
fn calls_that_name_files_are_watched_where_nothing_can_be_mounted() {
    use syscalls::{x86, x86_64};
    let mut tables = policy::tables(Arch::Amd64, None).unwrap();
    let plain = bpf::assemble(&tables);
    policy::watch(&mut tables);
    let watching = bpf::assemble(&tables);
    let here = [u64::from(libc::AT_FDCWD.cast_unsigned()), 0, 0, 0, 0, 0];
    for number in 0..600 {
        let before = run(&plain, X86_64, number, here);
        let name = x86_64::Sysno::new(number as usize).map(|call| call.name()).unwrap_or_default();
        let watched = ["open", "openat", "readlink", "stat", "newfstatat", "statx", "access"];
        let after = run(&watching, X86_64, number, here);
        if name == "openat2" {
            // Its flags are behind a pointer, and programs do without.
            assert_eq!((before, after), (ALLOW, run(&plain, X86_64, 599, [0; 6])));
            continue;
        }
        match watched.contains(&name) {
            true => assert_eq!((before, after), (ALLOW, NOTIFY), "{name}"),
            false => assert!(after == before || after == NOTIFY && before == ALLOW, "{name}"),
        }
        assert_eq!(run(&bpf::unsupervised(&watching), X86_64, number, here), before, "{name}");
    }
    // Programs are found without the supervisor, unless they may be named by a process.
    policy::name_programs(&mut tables);
    let naming = bpf::assemble(&tables);
    for call in [x86_64::Sysno::execve, x86_64::Sysno::execveat] {
        assert_eq!(run(&watching, X86_64, call.id() as u32, here), ALLOW, "{call}");
        assert_eq!(run(&naming, X86_64, call.id() as u32, here), NOTIFY, "{call}");
    }
    // Nor does a supervisor that records owners have an answer to it here.
    policy::own(&mut tables);
    let owning = bpf::assemble(&tables);
    let openat2 = x86_64::Sysno::openat2.id() as u32;
    assert_eq!(run(&owning, X86_64, openat2, here), run(&plain, X86_64, 599, [0; 6]));
    // Relative to a descriptor, as for each file of a walk through folders.
    for (call, expected) in [
        (x86_64::Sysno::newfstatat, ALLOW),
        (x86_64::Sysno::statx, ALLOW),
        (x86_64::Sysno::openat, NOTIFY),
        (x86_64::Sysno::readlinkat, NOTIFY),
    ] {
        assert_eq!(run(&watching, X86_64, call.id() as u32, [3; 6]), expected, "{call}");
    }
    for (call, expected) in [
        (x86::Sysno::open, NOTIFY),
        (x86::Sysno::openat, NOTIFY),
        (x86::Sysno::readlink, NOTIFY),
        // Its structure is another one than that of the machine's own call.
        (x86::Sysno::lstat, ALLOW),
        (x86::Sysno::fstatat64, ALLOW),
    ] {
        assert_eq!(run(&watching, I386, call.id() as u32, [0; 6]), expected, "{call}");
    }
}

#[test]
fn calls_about_owners_are_for_the_supervisor() {
    for host in [Arch::Amd64, Arch::Arm64] {
        let mut tables = policy::tables(host, Some(host)).unwrap();
        let plain = bpf::assemble(&tables);
        policy::own(&mut tables);
        let owning = bpf::assemble(&tables);
        for (is_compat, table) in [false, true].into_iter().zip(&tables) {
            let arch = table.audit_arch;
            for number in 0..600 {
                let before = run(&plain, arch, number, [0; 6]);
                let after = run(&owning, arch, number, [0; 6]);
                match policy::name(arch, number).unwrap_or_default() {
                    "stat" | "lstat" | "fstat" if is_compat => assert_eq!(after, UNKNOWN),
                    "getxattrat" | "setxattrat" => assert_eq!(after, UNKNOWN),
                    "open" | "openat" | "fchownat" | "statx" | "mkdirat" | "mknodat"
                    | "openat2" | "renameat2" | "setresuid" | "getgroups" | "execve" => {
                        assert_eq!(after, NOTIFY, "{number}");
                    }
                    // Nothing that is refused comes back.
                    name if before == REFUSED => assert_eq!(after, REFUSED, "{name}"),
                    _ => {}
                }
            }
            for (name, at, passed, stopped) in [
                ("tgkill", 2, libc::SIGURG, libc::SIGTERM),
                ("tkill", 1, 33, 0),
                ("rt_tgsigqueueinfo", 2, 34, libc::SIGKILL),
                ("ptrace", 0, libc::PTRACE_TRACEME as i32, libc::PTRACE_ATTACH as i32),
                ("ptrace", 0, libc::PTRACE_CONT as i32, libc::PTRACE_SEIZE as i32),
            ] {
                let number = (0..500).find(|number| policy::name(arch, *number) == Some(name));
                for (value, expected) in [(passed, ALLOW), (stopped, NOTIFY)] {
                    let mut args = [0xdead_beef_0000_0000_u64; 6];
                    args[at] |= u64::from(value.cast_unsigned());
                    let verdict = number.map(|number| run(&owning, arch, number, args));
                    assert_eq!(verdict, Some(expected), "{name} {value}");
                }
            }
            for (name, at) in [("getrlimit", 0), ("setrlimit", 0), ("prlimit64", 1)] {
                let number = (0..500).find(|number| policy::name(arch, *number) == Some(name));
                for (limit, expected) in [(10, NOTIFY), (7, ALLOW)] {
                    let mut args = [0xdead_beef_0000_0000_u64; 6];
                    args[at] |= limit;
                    let verdict = number.map(|number| run(&owning, arch, number, args));
                    assert!(verdict.is_none_or(|verdict| verdict == expected), "{name}");
                }
            }
        }
    }
}
