//! System calls that name a file by a path, and the paths that the supervisor knows.

use std::ops::Range;

use super::lists::ALIAS;
use crate::devices::DEVICES;
use crate::seccomp::notice::Call;
use crate::supervisor::caller::Status;
use crate::supervisor::scene::Scene;

/// A call with a path among its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathCall {
    /// The descriptor that a relative path starts from; `None` for the working directory.
    pub(super) folder: Option<i32>,
    /// The place of the path in the caller's memory.
    pub(super) path: u64,
    pub(super) kind: Kind,
}

/// The work of the call on the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Open { flags: u32 },
    ReadLink { buffer: u64, size: u64 },
    Stat { buffer: u64, follow: bool },
    Statx { buffer: u64, flags: u32, mask: u32 },
    Access { mode: u32 },
    Execute,
}

impl Kind {
    /// Returns whether the call gives a descriptor.
    pub(super) fn opens(self) -> bool {
        matches!(self, Self::Open { .. })
    }
}

impl PathCall {
    /// Reads the arguments; `None` for any other call.
    ///
    /// **Source** — the manual pages of the calls.
    pub(super) fn read(call: &Call) -> Option<Self> {
        let args = call.args;
        // The kernel takes these as 32-bit integers, whatever is above.
        let low = |index: usize| args[index] as u32;
        let no_follow = libc::AT_SYMLINK_NOFOLLOW.cast_unsigned();
        let (at, kind) = match call.name {
            "open" => (0, Kind::Open { flags: low(1) }),
            "openat" => (1, Kind::Open { flags: low(2) }),
            "readlink" => (0, Kind::ReadLink { buffer: args[1], size: args[2] }),
            "readlinkat" => (1, Kind::ReadLink { buffer: args[2], size: args[3] }),
            "stat" => (0, Kind::Stat { buffer: args[1], follow: true }),
            "lstat" => (0, Kind::Stat { buffer: args[1], follow: false }),
            "newfstatat" => (1, Kind::Stat { buffer: args[2], follow: low(3) & no_follow == 0 }),
            "statx" => (1, Kind::Statx { buffer: args[4], flags: low(2), mask: low(3) }),
            "access" => (0, Kind::Access { mode: low(1) }),
            "faccessat" | "faccessat2" => (1, Kind::Access { mode: low(2) }),
            "execve" => (0, Kind::Execute),
            "execveat" => (1, Kind::Execute),
            _ => return None,
        };
        let folder = (at == 1).then(|| low(0).cast_signed());
        let folder = folder.filter(|folder| *folder != libc::AT_FDCWD);
        Some(Self { folder, path: args[at], kind })
    }
}

/// A file that the supervisor stands in for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// A device of this machine.
    Device(&'static str),
    /// The secret with this number.
    Shown(usize),
    /// The list of processes: `/proc`.
    Processes,
    /// The link `/dev/fd`.
    Descriptors,
    /// A file below the caller's own folder in `/proc`; empty for the folder.
    Own(String),
    /// A file below the folder of another process in `/proc`, by the number that the step sees.
    Process(i32, String),
}

impl Target {
    /// Returns the same target for this caller: the process with its own number is the caller.
    pub(super) fn seen_by(self, caller: &Status) -> Self {
        match self {
            Self::Process(number, rest)
                if i32::try_from(caller.own_number) == Ok(number) && !rest.is_empty() =>
            {
                Self::Own(rest)
            }
            other => other,
        }
    }
}

/// Files of a process's own folder that it may see. None of them leads out of the root.
pub(super) const OWN: [&str; 18] = [
    "auxv",
    "cmdline",
    "comm",
    "cwd",
    "environ",
    "exe",
    "io",
    "limits",
    "maps",
    "oom_score",
    "oom_score_adj",
    "root",
    "schedstat",
    "smaps",
    "smaps_rollup",
    "stat",
    "statm",
    "status",
];

/// Folders of a process's own folder.
pub(super) const OWN_FOLDERS: [&str; 2] = ["fd", "task"];

/// Files of other processes of the step.
pub(super) const OTHERS: [&str; 6] = ["cmdline", "comm", "exe", "stat", "statm", "status"];

/// Returns whether a relative path, or one from a folder below these, can mean a known file.
pub(super) fn may_be_known(path: &[u8], scene: &Scene) -> bool {
    let begins = |start: &[u8]| path.starts_with(start);
    if path.first() == Some(&b'/') {
        let rest = path.iter().position(|byte| *byte != b'/').unwrap_or(path.len());
        let rest = &path[rest..];
        let dotted =
            rest.starts_with(b".") || path.windows(2).any(|pair| pair == b".." || pair == b"//");
        return dotted
            || rest.starts_with(b"proc")
            || rest.starts_with(b"dev")
            || scene.shown.iter().any(|shown| shown.path == path);
    }
    // Relative: from / or with a way up there, or from within /proc, the folder of a process, and
    // /dev.
    let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    let is_of_process = |name: &str| name.as_bytes() == first;
    begins(b"proc")
        || path == b"."
        || begins(ALIAS.as_bytes())
        || first.first().is_some_and(u8::is_ascii_digit)
        || ["self", "thread-self", "task", "fd", "stdin", "stdout", "stderr"]
            .into_iter()
            .any(is_of_process)
        || OWN.into_iter().any(is_of_process)
        || begins(b"dev")
        || path.windows(2).any(|pair| pair == b"..")
        || begins(b"./")
        || !scene.shown.is_empty()
        || DEVICES.iter().any(|(name, ..)| begins(name.as_bytes()))
}

/// Returns the file that an absolute path means, without a look at links.
pub(super) fn target(path: &[u8], scene: &Scene) -> Option<Target> {
    let clean = clean(path);
    if let Some(number) = scene.shown.iter().position(|shown| shown.path == clean) {
        return Some(Target::Shown(number));
    }
    let text = std::str::from_utf8(&clean).ok()?;
    let (top, rest) = text.strip_prefix('/')?.split_once('/').unwrap_or((&text[1..], ""));
    match (top, rest) {
        ("dev", "stdin") => Some(Target::Own("fd/0".to_owned())),
        ("dev", "stdout") => Some(Target::Own("fd/1".to_owned())),
        ("dev", "stderr") => Some(Target::Own("fd/2".to_owned())),
        ("dev", device) if scene.lacks_devices => {
            let known = DEVICES.into_iter().find(|(name, ..)| *name == device);
            known.map(|(name, ..)| Target::Device(name)).or_else(|| descriptor(device))
        }
        ("dev", other) => descriptor(other),
        ("proc", "") => Some(Target::Processes),
        ("proc", rest) => {
            let (process, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let is_own = is_self(process.as_bytes());
            let number = process.parse().ok().filter(|number| *number > 0);
            match (is_own, number) {
                (true, _) if rest.is_empty() || is_harmless(rest) => {
                    Some(Target::Own(rest.to_owned()))
                }
                (false, Some(number)) if rest.is_empty() || is_harmless(rest) => {
                    Some(Target::Process(number, rest.to_owned()))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns whether a harmless file of a process is a folder of `/proc` itself.
pub(super) fn is_folder(rest: &str) -> bool {
    OWN_FOLDERS.contains(&rest) || rest.strip_prefix("task/").is_some_and(is_number)
}

/// Returns whether a name in `/proc` stands for the caller.
fn is_self(name: &[u8]) -> bool {
    name == b"self" || name == b"thread-self" || name.starts_with(ALIAS.as_bytes())
}

/// Returns where in a path the name is that stands for the caller.
pub(super) fn place_of_self(path: &[u8]) -> Option<Range<usize>> {
    let mut start = 0;
    let places = path.split(|byte| *byte == b'/').map(|part| {
        let place = start..start + part.len();
        start = place.end + 1;
        place
    });
    places.filter(|place| is_self(&path[place.clone()])).last()
}

/// Returns a descriptor of the caller, or the list of them, named below `/dev`.
fn descriptor(rest: &str) -> Option<Target> {
    if rest == "fd" {
        return Some(Target::Descriptors);
    }
    let number = rest.strip_prefix("fd/")?;
    is_number(number).then(|| Target::Own(format!("fd/{number}")))
}

fn is_harmless(rest: &str) -> bool {
    let task = rest.strip_prefix("task/");
    if task.is_some_and(is_number) {
        return true;
    }
    match task.and_then(|rest| rest.split_once('/')) {
        Some((thread, name)) => is_number(thread) && matches!(name, "comm" | "stat" | "status"),
        None => {
            OWN.contains(&rest)
                || OWN_FOLDERS.contains(&rest)
                || rest.strip_prefix("fd/").is_some_and(is_number)
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.len() < 10 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns the path without dots and doubled slashes.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().flat_map(|part| [b"/", *part].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_files_are_found_by_their_paths() {
        let own = |rest: &str| Some(Target::Own(rest.to_owned()));
        let scene = Scene { lacks_devices: true, ..Scene::default() };
        for (path, expected) in [
            ("/dev/null", Some(Target::Device("null"))),
            ("//dev/./null", Some(Target::Device("null"))),
            ("/dev/sda", None),
            ("/dev/stdout", own("fd/1")),
            ("/dev/fd/63", own("fd/63")),
            ("/dev/fd", Some(Target::Descriptors)),
            ("/proc/self", own("")),
            ("/a/../proc/self/exe", own("exe")),
            ("/proc/thread-self/comm", own("comm")),
            ("/proc/self/task/12/comm", own("task/12/comm")),
            ("/proc/self/task/12/mem", None),
            ("/proc/self/mem", None),
            ("/proc/self/root/etc", None),
            ("/proc/self/fd", own("fd")),
            ("/proc/self/task", own("task")),
            ("/proc/self/task/12", own("task/12")),
            ("/proc/self/task/x", None),
            ("/proc/~007/exe", own("exe")),
            ("/proc", Some(Target::Processes)),
            ("/proc/./", Some(Target::Processes)),
            ("/dev", None),
            ("/proc/self/fd/1/x", None),
            ("/proc/12/stat", Some(Target::Process(12, "stat".to_owned()))),
            ("/proc/12/environ", Some(Target::Process(12, "environ".to_owned()))),
            ("/proc/12/mem", None),
            ("/proc/0", None),
            ("/proc/cpuinfo", None),
            ("/procs/self", None),
            ("/", None),
        ] {
            assert_eq!(target(path.as_bytes(), &scene), expected, "{path}");
            assert!(expected.is_none() || may_be_known(path.as_bytes(), &scene), "{path}");
            for folder in ["/", "/proc/", "/dev/", "/proc/self/", "/proc/12/", "/dev/fd/"] {
                let rest = path.strip_prefix(folder).filter(|rest| !rest.is_empty());
                let known = rest.is_none_or(|rest| may_be_known(rest.as_bytes(), &scene));
                assert!(expected.is_none() || known, "{path} in {folder}");
            }
        }
        let scene = Scene::default();
        assert_eq!(target(b"/dev/null", &scene), None);
        assert!(!may_be_known(b"/usr/lib/x", &scene) && !may_be_known(b"lib/x", &scene));
    }

    #[test]
    fn the_name_of_the_caller_is_found_in_a_path() {
        for (path, expected) in [
            ("/proc/self/exe", Some(6..10)),
            ("self/exe", Some(0..4)),
            ("//proc//thread-self/fd/5", Some(8..19)),
            ("/self/../proc/~012/exe", Some(14..18)),
            ("/proc/selfish/exe", None),
            ("exe", None),
        ] {
            assert_eq!(place_of_self(path.as_bytes()), expected, "{path}");
        }
    }

    #[test]
    fn arguments_are_read() {
        let read =
            |name| PathCall::read(&Call { name, args: [1, 2, 3, 4, 5, 6], is_compat: false });
        let call = |folder, path, kind| Some(PathCall { folder, path, kind });
        assert_eq!(read("open"), call(None, 1, Kind::Open { flags: 2 }));
        assert_eq!(read("openat"), call(Some(1), 2, Kind::Open { flags: 3 }));
        assert_eq!(read("statx"), call(Some(1), 2, Kind::Statx { buffer: 5, flags: 3, mask: 4 }));
        assert_eq!(read("newfstatat"), call(Some(1), 2, Kind::Stat { buffer: 3, follow: true }));
        assert_eq!(read("execve"), call(None, 1, Kind::Execute));
        assert_eq!(read("execveat"), call(Some(1), 2, Kind::Execute));
        assert_eq!(read("mknod"), None);
        let here = libc::AT_FDCWD as u32;
        let args = [0xdead_0000_0000 | u64::from(here), 2, 3, 4, 5, 6];
        let kind = Kind::ReadLink { buffer: 3, size: 4 };
        assert_eq!(
            PathCall::read(&Call { name: "readlinkat", args, is_compat: false }),
            call(None, 2, kind)
        );
    }
}
