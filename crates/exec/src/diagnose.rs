//! Advice for users whose machine refuses namespaces: the cause is in the machine's settings.

use std::fs;

use xbuild_wording::{Hint, hints};

use crate::error::Errno;

/// Returns whether a setting of the machine forbids user namespaces, which no container can change.
pub(crate) fn is_switched_off() -> bool {
    let zero = |path: &str| fs::read_to_string(path).is_ok_and(|text| text.trim() == "0");
    zero("/proc/sys/user/max_user_namespaces") || zero("/proc/sys/kernel/unprivileged_userns_clone")
}

/// Returns the remedy for a refused `unshare(2)`; `kinds` are the namespaces that were asked for, in
/// words.
pub(crate) fn refused_namespace(kinds: &str, reason: Errno) -> Hint {
    let number = |path: &str| -> Option<i64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    let is = |path: &str, value: i64| number(path) == Some(value);
    if is("/proc/sys/user/max_user_namespaces", 0) {
        return hints::user_namespaces_off();
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", 0) {
        return hints::user_namespaces_for_users();
    }
    match reason.number() {
        // Old kernels say EUSERS for user namespaces.
        libc::ENOSPC | libc::EUSERS => hints::namespace_limits(limits(kinds)),
        libc::EPERM if seccomp_is_on() => hints::filter_refuses_namespaces(),
        _ if is(APPARMOR, 1) => hints::apparmor(),
        libc::EPERM => hints::chroot_around(),
        libc::EINVAL | libc::ENOSYS => hints::not_in_kernel(),
        _ => hints::doctor(),
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
pub(crate) fn refused_setup(reason: Errno) -> Option<Hint> {
    if reason.number() == libc::ENOSYS {
        return Some(hints::new_mount_calls());
    }
    let denied = matches!(reason.number(), libc::EPERM | libc::EACCES);
    let restricted = fs::read_to_string(APPARMOR).is_ok_and(|text| text.trim() == "1");
    if denied && restricted {
        return Some(hints::apparmor());
    }
    (denied && seccomp_is_on()).then(hints::filter_refuses_mounts)
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
