//! The system calls that a RUN step may make.
//!
//! A call is refused by default. The allowed ones follow Docker's default profile for a process
//! with Docker's default capabilities, so that builds made for it keep working, without
//!
//! - `process_vm_readv` and `process_vm_writev` (debuggers have `ptrace`),
//! - sockets other than local, IP and netlink, and netlink other than routes, audit and events:
//!   the other families are rarely used kernel code that an ordinary user can make the kernel load,
//! - the `ioctl`s that type into a terminal,
//!
//! and with the oldest forms of calls that are allowed in their newer forms, on 32-bit x86.
//!
//! The `syscalls` crate turns names into numbers, for each architecture. A name that is not listed
//! here fails with `EPERM`. A number beyond the newest call that was considered is unknown and
//! fails with `ENOSYS`: libraries then use an older call, as on an older kernel.

use syscalls::{aarch64, arm, x86, x86_64};

use crate::arch::Arch;

/// The fate of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The kernel gets it.
    Allow,
    /// It fails with `EPERM`.
    Refuse,
    /// It fails with `ENOSYS`.
    Unknown,
    /// Its arguments decide.
    Check(Check),
    /// The supervisor gets it.
    Notify,
    /// It stops for the step's tracer.
    Trace(Traced),
}

/// A rule about arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// `clone` without new namespaces.
    Clone,
    /// `personality` with one of [`PERSONALITIES`].
    Personality,
    /// `ioctl` with none of [`REFUSED_IOCTLS`].
    Ioctl,
    /// `socket` of one of [`FAMILIES`], or netlink with one of [`NETLINK_PROTOCOLS`].
    Socket,
    /// `mknod`: device nodes are for the supervisor.
    Mknod,
    /// `mknodat`, likewise: its arguments are one further to the right.
    Mknodat,
    /// A path that is not relative to a descriptor is for the supervisor.
    FromHere,
    /// The supervisor gets calls with this number at this place, the kernel all others.
    Number { argument: u32, number: u32 },
    /// A signal at this place, other than [`QUIET`] ones, is for the supervisor.
    Signal { argument: u32 },
    /// `ptrace` with one of [`ATTACHMENTS`] is for the supervisor.
    Attach,
}

/// A call that stops for the step's tracer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traced {
    /// Whether it was made in the way of the host's 32-bit sibling.
    pub(crate) is_compat: bool,
    /// Whether it is `execveat`, not `execve`.
    pub(crate) is_execveat: bool,
}

impl Traced {
    const ALL: [Self; 4] = [
        Self { is_compat: false, is_execveat: false },
        Self { is_compat: false, is_execveat: true },
        Self { is_compat: true, is_execveat: false },
        Self { is_compat: true, is_execveat: true },
    ];

    /// Returns the number that the filter tells the tracer.
    pub(super) fn data(self) -> u32 {
        1 + u32::from(self.is_execveat) + 2 * u32::from(self.is_compat)
    }

    /// Returns the call of a number that the filter has told.
    pub(crate) fn of_data(data: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|call| u64::from(call.data()) == data)
    }
}

/// The verdicts on the calls of one architecture.
#[derive(Debug)]
pub(super) struct Table {
    /// The `AUDIT_ARCH_*` value of calls made for the architecture.
    pub(super) audit_arch: u32,
    /// (number, verdict) in ascending order of numbers; all others are unknown.
    pub(super) calls: Vec<(u32, Verdict)>,
}

/// All `CLONE_NEW*` flags that `clone` takes.
pub(super) const CLONE_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

const PER_LINUX32: u32 = 0x0008;
const UNAME26: u32 = 0x0002_0000;

/// Linux, 32-bit Linux, each with or without a 2.6 version number, and "only tell".
pub(super) const PERSONALITIES: &[u32] = &[0, PER_LINUX32, UNAME26, PER_LINUX32 | UNAME26, !0];

/// The signals that libraries and the runtime of Go send to threads of their own process, all the time:
/// `SIGURG`, and those that C libraries keep for themselves.
pub(super) const QUIET: &[u32] = &[libc::SIGURG as u32, 32, 33, 34];

/// The requests of `ptrace` that make the caller the tracer of a running process.
pub(super) const ATTACHMENTS: &[u32] = &[libc::PTRACE_ATTACH, libc::PTRACE_SEIZE];

/// The `ioctl`s that put input into a terminal, or reach the virtual consoles.
pub(super) const REFUSED_IOCTLS: &[u32] = &[libc::TIOCSTI as u32, 0x541c];

/// The address families whose sockets are all allowed.
pub(super) const FAMILIES: &[u32] =
    &[libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32];

/// Package managers and resolvers read routes and addresses; PAM writes to the audit log; udev
/// tools listen for device events.
pub(super) const NETLINK_PROTOCOLS: &[u32] =
    &[libc::NETLINK_ROUTE as u32, libc::NETLINK_AUDIT as u32, libc::NETLINK_KOBJECT_UEVENT as u32];

/// `removexattrat`: newer calls have not been considered. New calls have one number everywhere.
const NEWEST: u32 = 466;

/// 32-bit Arm's private calls: `breakpoint`, `cacheflush`, `usr26`, `usr32`, `set_tls`, `get_tls`.
const ARM_PRIVATE: std::ops::RangeInclusive<u32> = 0x000f_0001..=0x000f_0006;

const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const AUDIT_ARCH_I386: u32 = 0x4000_0003;
const AUDIT_ARCH_AARCH64: u32 = 0xc000_00b7;
const AUDIT_ARCH_ARM: u32 = 0x4000_0028;

/// Returns the tables of a host and its 32-bit sibling; `None` for a host that has none.
///
/// `guest` is the architecture of the step's programs.
pub(super) fn tables(host: Arch, guest: Option<Arch>) -> Option<[Table; 2]> {
    match host {
        Arch::Amd64 => {
            let mut compat = table(AUDIT_ARCH_I386, |n| x86::Sysno::new(n).map(|call| call.name()));
            if guest == Some(Arch::I386) {
                set(&mut compat, x86::Sysno::socketcall.id() as u32, Verdict::Allow);
            }
            let native =
                table(AUDIT_ARCH_X86_64, |n| x86_64::Sysno::new(n).map(|call| call.name()));
            Some([native, compat])
        }
        Arch::Arm64 => {
            let mut compat = table(AUDIT_ARCH_ARM, |n| arm::Sysno::new(n).map(|call| call.name()));
            compat.calls.extend(ARM_PRIVATE.map(|number| (number, Verdict::Allow)));
            let native =
                table(AUDIT_ARCH_AARCH64, |n| aarch64::Sysno::new(n).map(|call| call.name()));
            Some([native, compat])
        }
        _ => None,
    }
}

/// Makes the calls that execute programs stop for a tracer. `tables` are those of a host and its
/// 32-bit sibling.
pub(super) fn trace(tables: &mut [Table; 2]) {
    for (is_compat, table) in [false, true].into_iter().zip(tables) {
        for (is_execveat, wanted) in [(false, "execve"), (true, "execveat")] {
            let numbers = table.calls.iter_mut();
            for call in numbers.filter(|call| name(table.audit_arch, call.0) == Some(wanted)) {
                call.1 = Verdict::Trace(Traced { is_compat, is_execveat });
            }
        }
    }
}

/// The calls that name a file which the supervisor may stand in for.
const PATHS: &str = "open openat readlink readlinkat stat lstat newfstatat statx access faccessat \
    faccessat2";

/// The calls that execute a program by its path.
const PROGRAMS: &str = "execve execveat";

/// Those of them that programs which walk through folders make for each file, relative to a
/// descriptor. The kernel gets these: the supervisor would take longer than the walk.
const OFTEN: &str = "newfstatat statx faccessat faccessat2";

/// Those of them whose structures only the host's own architecture has.
const NATIVE: &str = "stat lstat newfstatat";

/// Passes the calls that name files on to the supervisor. `openat2` has its flags behind a pointer;
/// without it programs use `openat`.
pub(super) fn watch(tables: &mut [Table; 2]) {
    let has = |list: &str, name: &str| list.split(' ').any(|one| one == name);
    for (is_compat, table) in [false, true].into_iter().zip(tables) {
        for (number, verdict) in &mut table.calls {
            let name = name(table.audit_arch, *number).unwrap_or_default();
            match name {
                "openat2" => *verdict = Verdict::Unknown,
                name if *verdict == Verdict::Allow
                    && has(PATHS, name)
                    && !(is_compat && has(NATIVE, name)) =>
                {
                    *verdict = match has(OFTEN, name) {
                        true => Verdict::Check(Check::FromHere),
                        false => Verdict::Notify,
                    };
                }
                _ => {}
            }
        }
    }
}

/// The calls that change owners.
const CHANGES: &str = "chown chown32 fchown fchown32 lchown lchown32 fchownat";

/// The calls that tell owners.
const FACTS: &str = "stat lstat fstat newfstatat stat64 lstat64 fstat64 fstatat64 statx";

/// The calls that change modes and times.
const MODES: &str = "chmod fchmod fchmodat fchmodat2 utime utimes futimesat utimensat \
    utimensat_time64";

/// The calls that matter for owners whom the kernel does not know, where it knows all others.
const BEYOND: [&str; 4] = [
    CHANGES,
    FACTS,
    "link linkat rename renameat renameat2 setxattr lsetxattr fsetxattr removexattr lremovexattr",
    "fremovexattr listxattr llistxattr flistxattr",
];

/// The calls about owners of files, about making files, and about attributes, by topic.
const OWNERS: [&str; 13] = [
    CHANGES,
    FACTS,
    "creat openat2 mkdir mkdirat mknod mknodat symlink symlinkat link linkat rename renameat",
    "renameat2 chroot setxattr lsetxattr fsetxattr removexattr lremovexattr fremovexattr listxattr",
    "llistxattr flistxattr",
    // The kernel denies nothing to a user who is root to it.
    MODES,
    "open openat access faccessat faccessat2 unlink unlinkat rmdir truncate truncate64 bind",
    "connect chdir execve execveat capget kill rt_sigqueueinfo pidfd_send_signal",
    "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32",
    "getresgid getresgid32 getgroups getgroups32",
    "setuid setuid32 setgid setgid32 setreuid setreuid32 setregid setregid32",
    "setresuid setresuid32 setresgid setresgid32 setfsuid setfsuid32 setfsgid setfsgid32",
    "setgroups setgroups32",
];

/// `RLIMIT_LOCKS`, where the supervisor keeps something of its own.
const LOCKS: u32 = 10;

/// Calls about limits.
const LIMITS: &str = "getrlimit ugetrlimit setrlimit";

/// Calls that libraries do without, since older kernels have none of them.
const NEW_ATTRIBUTES: &str = "getxattrat setxattrat listxattrat removexattrat";

/// Calls of 32-bit programs that tell owners in 16 bits. No library that is in use makes them.
const SHORT_OWNERS: &str = "stat lstat fstat";

/// Passes the calls that execute programs on to the supervisor.
pub(super) fn name_programs(tables: &mut [Table; 2]) {
    for table in tables {
        for (number, verdict) in &mut table.calls {
            let name = name(table.audit_arch, *number).unwrap_or_default();
            if PROGRAMS.split(' ').any(|program| program == name) {
                *verdict = Verdict::Notify;
            }
        }
    }
}

/// Passes the calls about owners on to the supervisor. `tables` are those of a host and its 32-bit
/// sibling.
pub(super) fn own(tables: &mut [Table; 2]) {
    let has = |list: &str, name: &str| list.split(' ').any(|known| known == name);
    for (is_compat, table) in [false, true].into_iter().zip(tables) {
        for (number, verdict) in &mut table.calls {
            let name = name(table.audit_arch, *number).unwrap_or_default();
            if has(NEW_ATTRIBUTES, name) || (is_compat && has(SHORT_OWNERS, name)) {
                *verdict = Verdict::Unknown;
            } else if *verdict == Verdict::Unknown {
                // Whatever this step has no answer for stays unknown.
            } else if OWNERS.iter().any(|list| has(list, name)) {
                *verdict = Verdict::Notify;
            } else if has(LIMITS, name) {
                *verdict = Verdict::Check(Check::Number { argument: 0, number: LOCKS });
            } else if name == "getsockopt" {
                let number = libc::SO_PEERCRED.cast_unsigned();
                *verdict = Verdict::Check(Check::Number { argument: 2, number });
            } else if name == "prctl" {
                let number = libc::PR_SET_KEEPCAPS.cast_unsigned();
                *verdict = Verdict::Check(Check::Number { argument: 0, number });
            } else if let Some(argument) = signal_of_thread(name) {
                *verdict = Verdict::Check(Check::Signal { argument });
            } else if name == "ptrace" {
                *verdict = Verdict::Check(Check::Attach);
            } else if name == "prlimit64" {
                *verdict = Verdict::Check(Check::Number { argument: 1, number: LOCKS });
            }
        }
    }
}

/// Returns the place of the signal that a call sends to a thread.
fn signal_of_thread(name: &str) -> Option<u32> {
    match name {
        "tkill" => Some(1),
        "tgkill" | "rt_tgsigqueueinfo" => Some(2),
        _ => None,
    }
}

/// Passes the calls that can change a mount point on to the supervisor, and those of [`own_beyond`]
/// if owners are recorded.
pub(super) fn own_mount_points(tables: &mut [Table; 2], is_recorded: bool) {
    if is_recorded {
        own_beyond(tables);
    }
    for table in tables {
        for (number, verdict) in &mut table.calls {
            let name = name(table.audit_arch, *number).unwrap_or_default();
            let is_known =
                [CHANGES, MODES].iter().any(|list| list.split(' ').any(|one| one == name));
            if *verdict == Verdict::Allow && is_known {
                *verdict = Verdict::Notify;
            }
        }
    }
}

/// Passes the calls about owners beyond a range of ids on to the supervisor.
pub(super) fn own_beyond(tables: &mut [Table; 2]) {
    let has = |list: &str, name: &str| list.split(' ').any(|known| known == name);
    for (is_compat, table) in [false, true].into_iter().zip(tables) {
        for (number, verdict) in &mut table.calls {
            let name = name(table.audit_arch, *number).unwrap_or_default();
            if has(NEW_ATTRIBUTES, name) || (is_compat && has(SHORT_OWNERS, name)) {
                *verdict = Verdict::Unknown;
            } else if *verdict != Verdict::Unknown && BEYOND.iter().any(|list| has(list, name)) {
                *verdict = Verdict::Notify;
            }
        }
    }
}

/// Passes the call that tells the machine on to the supervisor, as programs of 64 bits make it.
/// `tables` are those of a host and its 32-bit sibling.
pub(super) fn tell_machine(tables: &mut [Table; 2]) {
    let native = &mut tables[0];
    for (number, verdict) in &mut native.calls {
        if name(native.audit_arch, *number) == Some("uname") {
            *verdict = Verdict::Notify;
        }
    }
}

/// Lets the kernel get all calls.
pub(super) fn allow_all(tables: &mut [Table; 2]) {
    for call in tables.iter_mut().flat_map(|table| &mut table.calls) {
        call.1 = Verdict::Allow;
    }
}

/// Returns whether a call was made in the way of the host's 32-bit sibling.
pub(super) fn is_compat(audit_arch: u32) -> bool {
    matches!(audit_arch, AUDIT_ARCH_I386 | AUDIT_ARCH_ARM)
}

/// Returns the name of a call, of any architecture that there is a table for.
pub(super) fn name(audit_arch: u32, number: u32) -> Option<&'static str> {
    let number = number as usize;
    match audit_arch {
        AUDIT_ARCH_X86_64 => x86_64::Sysno::new(number).map(|call| call.name()),
        AUDIT_ARCH_I386 => x86::Sysno::new(number).map(|call| call.name()),
        AUDIT_ARCH_AARCH64 => aarch64::Sysno::new(number).map(|call| call.name()),
        AUDIT_ARCH_ARM => arm::Sysno::new(number).map(|call| call.name()),
        _ => None,
    }
}

fn table(audit_arch: u32, name: impl Fn(usize) -> Option<&'static str>) -> Table {
    let mut allowed: Vec<&str> = ALLOWED.iter().flat_map(|line| line.split(' ')).collect();
    allowed.sort_unstable();
    let verdict = |name: &str| match name {
        "clone" => Verdict::Check(Check::Clone),
        "personality" => Verdict::Check(Check::Personality),
        "ioctl" => Verdict::Check(Check::Ioctl),
        "socket" => Verdict::Check(Check::Socket),
        "mknod" => Verdict::Check(Check::Mknod),
        "mknodat" => Verdict::Check(Check::Mknodat),
        // Its flags are behind a pointer; without it libraries use `clone`.
        "clone3" => Verdict::Unknown,
        name if allowed.binary_search(&name).is_ok() => Verdict::Allow,
        _ => Verdict::Refuse,
    };
    let calls = (0..=NEWEST).filter_map(|n| Some((n, verdict(name(n as usize)?)))).collect();
    Table { audit_arch, calls }
}

fn set(table: &mut Table, number: u32, verdict: Verdict) {
    for call in table.calls.iter_mut().filter(|call| call.0 == number) {
        call.1 = verdict;
    }
}

/// The names of what is always allowed, by topic, separated by single spaces.
const ALLOWED: &[&str] = &[
    // Opening, reading, writing.
    "open openat openat2 creat close close_range read write readv writev pread64 pwrite64 preadv",
    "preadv2 pwritev pwritev2 lseek _llseek dup dup2 dup3 pipe pipe2 fcntl fcntl64 flock",
    "sendfile sendfile64 splice tee vmsplice copy_file_range readahead fallocate ftruncate",
    "ftruncate64 truncate truncate64 fadvise64 fadvise64_64 arm_fadvise64_64 sync syncfs fsync",
    "fdatasync sync_file_range sync_file_range2 arm_sync_file_range cachestat",
    "io_setup io_submit io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64",
    // Names, metadata, extended attributes.
    "access faccessat faccessat2 stat stat64 lstat lstat64 fstat fstat64 fstatat64 newfstatat",
    "statx statfs statfs64 fstatfs fstatfs64 statmount listmount name_to_handle_at getdents",
    "getdents64 readlink readlinkat link linkat symlink symlinkat unlink unlinkat rename renameat",
    "renameat2 mkdir mkdirat rmdir chdir fchdir getcwd chroot umask chmod fchmod",
    "fchmodat fchmodat2 chown chown32 fchown fchown32 fchownat lchown lchown32 utime utimes",
    "futimesat utimensat utimensat_time64 getxattr lgetxattr fgetxattr getxattrat setxattr",
    "lsetxattr fsetxattr setxattrat listxattr llistxattr flistxattr listxattrat removexattr",
    "lremovexattr fremovexattr removexattrat inotify_init inotify_init1 inotify_add_watch",
    "inotify_rm_watch fanotify_mark",
    // Waiting.
    "select _newselect pselect6 pselect6_time64 poll ppoll ppoll_time64 epoll_create",
    "epoll_create1 epoll_ctl epoll_ctl_old epoll_wait epoll_wait_old epoll_pwait epoll_pwait2",
    "eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64",
    "timerfd_settime timerfd_settime64 futex futex_time64 futex_wait futex_wake futex_waitv",
    "futex_requeue get_robust_list set_robust_list membarrier rseq pause restart_syscall",
    // Memory.
    "brk mmap mmap2 munmap mremap mprotect madvise mincore msync mlock mlock2 mlockall munlock",
    "munlockall mseal remap_file_pages map_shadow_stack memfd_create memfd_secret pkey_alloc",
    "pkey_free pkey_mprotect process_mrelease shmget shmat shmctl shmdt",
    // Processes, threads, signals.
    "fork vfork execve execveat exit exit_group wait4 waitid waitpid getpid getppid gettid",
    "getpgid getpgrp setpgid getsid setsid set_tid_address set_thread_area get_thread_area",
    "set_tls arch_prctl modify_ldt prctl ptrace seccomp landlock_create_ruleset",
    "landlock_add_rule landlock_restrict_self pidfd_open pidfd_send_signal kill tkill tgkill",
    "rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend",
    "rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn",
    "sigaction sigpending sigsuspend signal uretprobe riscv_hwprobe",
    // Identity, limits, scheduling.
    "getuid getuid32 geteuid geteuid32 getgid getgid32 getegid getegid32 getresuid getresuid32",
    "getresgid getresgid32 getgroups getgroups32 setuid setuid32 setgid setgid32 setreuid",
    "setreuid32 setregid setregid32 setresuid setresuid32 setresgid setresgid32 setfsuid",
    "setfsuid32 setfsgid setfsgid32 setgroups setgroups32 capget capset getrlimit ugetrlimit",
    "setrlimit prlimit64 getrusage getpriority setpriority nice ioprio_get ioprio_set getcpu",
    "sched_getaffinity sched_setaffinity sched_getattr sched_setattr sched_getparam",
    "sched_setparam sched_getscheduler sched_setscheduler sched_get_priority_max",
    "sched_get_priority_min sched_rr_get_interval sched_rr_get_interval_time64 sched_yield",
    // Clocks and the machine. Setting a clock also needs a capability that no step has.
    "time times gettimeofday clock_gettime clock_gettime64 clock_getres clock_getres_time64",
    "clock_nanosleep clock_nanosleep_time64 nanosleep clock_adjtime clock_adjtime64 adjtimex",
    "alarm getitimer setitimer timer_create timer_delete timer_getoverrun timer_gettime",
    "timer_gettime64 timer_settime timer_settime64 getrandom sysinfo uname olduname oldolduname",
    // Sockets and System V or POSIX queues.
    "socketpair bind listen accept accept4 connect shutdown getsockname getpeername getsockopt",
    "setsockopt send sendto sendmsg sendmmsg recv recvfrom recvmsg recvmmsg recvmmsg_time64 ipc",
    "msgget msgctl msgrcv msgsnd semget semctl semop semtimedop semtimedop_time64 mq_open",
    "mq_unlink mq_notify mq_getsetattr mq_timedreceive mq_timedreceive_time64 mq_timedsend",
    "mq_timedsend_time64",
];
