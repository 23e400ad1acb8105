//! Advice for users whose machine refuses namespaces: the cause is in the machine's settings.

use std::fs;

use crate::error::Errno;

/// Returns the remedy for a refused `unshare(2)`.
pub(crate) fn refused_namespace(reason: Errno) -> String {
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
        libc::ENOSPC => "too many namespaces: raise sysctl user.max_user_namespaces (and \
                         user.max_mnt_namespaces and so on)"
            .to_owned(),
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
        _ => "xbuild platforms shows what this machine allows".to_owned(),
    }
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
