//! Advice for users whose machine refuses namespaces: the cause is in the machine's settings.

use std::fs;

use crate::error::Errno;

/// The remedy where none is known.
pub(crate) const UNKNOWN: &str = "`xbuild doctor` shows what this machine allows";

/// Returns whether a setting of the machine forbids user namespaces, which no container can change.
pub(crate) fn is_switched_off() -> bool {
    let zero = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    zero("/proc/sys/user/max_user_namespaces") || zero("/proc/sys/kernel/unprivileged_userns_clone")
}

/// Returns the remedy for a refused `unshare(2)`; `kinds` are the namespaces that were asked for, in
/// words.
pub(crate) fn refused_namespace(kinds: &str, reason: Errno) -> String {
    let number = |path: &str| -> Option<i64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    let is = |path: &str, value: i64| number(path) == Some(value);
    if is("/proc/sys/user/max_user_namespaces", 0) {
        return "user namespaces are switched off: sysctl user.max_user_namespaces is 0, set it \
                to 15000, say"
            .to_owned();
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", 0) {
        return "ordinary users may not create user namespaces: set sysctl \
                kernel.unprivileged_userns_clone=1"
            .to_owned();
    }
    match reason.number() {
        // Old kernels say EUSERS for user namespaces.
        libc::ENOSPC | libc::EUSERS => format!(
            "too many namespaces of this user or container, or too many within each other: raise \
             {}",
            limits(kinds)
        ),
        libc::EPERM if seccomp_is_on() => {
            "a system call filter is in force around xbuild, most likely a container's: it must \
             allow unshare and mount (docker run --security-opt seccomp=unconfined, or a pod \
             with hostUsers: false and an Unconfined seccompProfile)"
                .to_owned()
        }
        _ if is(APPARMOR, 1) => apparmor_hint(),
        libc::EPERM => "xbuild may be running inside a chroot, where the kernel refuses user \
                        namespaces, or a security module forbids them"
            .to_owned(),
        libc::EINVAL | libc::ENOSYS => {
            "the kernel is built without this kind of namespace".to_owned()
        }
        _ => UNKNOWN.to_owned(),
    }
}

/// Returns the names of the settings that limit namespaces of these kinds.
///
/// **Source** — `namespaces(7)` § The /proc/sys/user directory.
fn limits(kinds: &str) -> String {
    let words = kinds.split(|c: char| !c.is_ascii_alphabetic());
    let names = words.filter(|word| !word.is_empty() && *word != "or").map(|kind| match kind {
        "mount" => "mnt",
        "network" => "net",
        other => other,
    });
    let names: Vec<String> = names.map(|name| format!("user.max_{name}_namespaces")).collect();
    format!("sysctl {}", names.join(" and "))
}

const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Returns the remedy for a call that was refused inside a new user namespace.
pub(crate) fn refused_setup(reason: Errno) -> Option<String> {
    if reason.number() == libc::ENOSYS {
        return Some(
            "use Linux 5.2 or newer, which has the mount calls fsopen, open_tree and move_mount; a \
             system call filter around xbuild must allow them"
                .to_owned(),
        );
    }
    let denied = matches!(reason.number(), libc::EPERM | libc::EACCES);
    let restricted = fs::read_to_string(APPARMOR).is_ok_and(|text| text.trim() == "1");
    if denied && restricted {
        return Some(apparmor_hint());
    }
    (denied && seccomp_is_on()).then(|| {
        "a system call filter is in force around xbuild, most likely a container's: it must \
         allow mount, fsopen, move_mount and pivot_root"
            .to_owned()
    })
}

fn apparmor_hint() -> String {
    "AppArmor takes the rights away that a user namespace gives: set sysctl \
     kernel.apparmor_restrict_unprivileged_userns=0, or load a profile for xbuild that has \
     `userns,`"
        .to_owned()
}

/// Returns whether a system call filter was put on this process from outside.
fn seccomp_is_on() -> bool {
    status_field("Seccomp").is_some_and(|value| value == "2")
}

/// Returns a field of this process's `/proc/self/status`.
pub(crate) fn status_field(name: &str) -> Option<String> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}
