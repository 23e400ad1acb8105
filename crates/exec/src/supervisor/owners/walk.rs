//! Paths that lead through `/proc/self`, name by name.

use std::collections::VecDeque;

use rustix::fs::{AtFlags, CWD, FileType, PROC_SUPER_MAGIC};

/// Links on a way to a file, as many as the kernel allows.
pub(super) const MAX_LINKS: usize = 40;

/// Returns where a path of thread `number` leads, if it passes `/proc/self` or `/proc/thread-self`;
/// `None` if it does not, or leads nowhere.
pub(super) fn walk(path: &[u8], follow: bool, number: u32) -> Option<Vec<u8>> {
    let mut left: VecDeque<Vec<u8>> = names(path).collect();
    let mut at = if path.first() == Some(&b'/') { b"/".to_vec() } else { Vec::new() };
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        let next = join(&at, &name);
        if matches!(&name[..], b"self" | b"thread-self") && is_root_of_proc(&at) {
            let own = number.to_string().into_bytes();
            let path = left.iter().fold(own, |path, name| join(&path, name));
            return stays(&left).then_some(path);
        }
        let follows = follow || !left.is_empty();
        match rustix::fs::statat(CWD, &*next, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if is_link(found.st_mode) && follows && !is_in_proc(&at) => {
                links += 1;
                if links > MAX_LINKS {
                    return None;
                }
                let target = rustix::fs::readlink(&*next, Vec::new()).ok()?.into_bytes();
                if target.first() == Some(&b'/') {
                    at = b"/".to_vec();
                }
                names(&target).rev().for_each(|name| left.push_front(name));
            }
            Ok(_) => at = next,
            // The file that is to be made.
            Err(_) if left.is_empty() => at = next,
            Err(_) => return None,
        }
    }
    None
}

/// Returns whether a path from the folder of a process on cannot lead to that of another one: it has no
/// `..`, or passes a link of the kernel's first.
fn stays(names: &VecDeque<Vec<u8>>) -> bool {
    let first = names.front().map_or(&b""[..], |name| name);
    let is_descriptor = || names.get(1).is_some_and(|name| name.iter().all(u8::is_ascii_digit));
    let leaves = match first {
        b"cwd" | b"root" => true,
        b"fd" => is_descriptor(),
        _ => false,
    };
    leaves || names.iter().all(|name| name != b"..")
}

/// Returns the names of a path that lead somewhere.
fn names(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> + '_ {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec)
}

fn join(at: &[u8], name: &[u8]) -> Vec<u8> {
    let slash: &[u8] = if matches!(at.last(), None | Some(b'/')) { b"" } else { b"/" };
    [at, slash, name].concat()
}

/// Returns whether a folder is one of `/proc`, whose links are the kernel's own to follow.
fn is_in_proc(folder: &[u8]) -> bool {
    // Paths of threads start in this process's own `/proc`.
    let folder = if folder.is_empty() { b"." } else { folder };
    rustix::fs::statfs(folder).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC)
}

fn is_link(mode: u32) -> bool {
    FileType::from_raw_mode(mode) == FileType::Symlink
}

/// Returns whether a folder is the root of a `/proc`: it has a list of file systems.
fn is_root_of_proc(folder: &[u8]) -> bool {
    is_in_proc(folder) && rustix::fs::stat(join(folder, b"filesystems")).is_ok()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_to_files_of_the_caller_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink("/proc/self/cwd", at("here")).unwrap();
        symlink("/proc/./thread-self/fd/../root", at("root")).unwrap();
        symlink("here", at("again")).unwrap();
        symlink("loop", at("loop")).unwrap();
        fs::write(at("file"), "").unwrap();
        let led = |path: &std::path::Path, follow| {
            let led = walk(path.as_os_str().as_bytes(), follow, 7);
            led.map(|path| String::from_utf8(path).unwrap())
        };
        for (path, expected) in [
            (at("here/a"), Some("7/cwd/a")),
            (at("again/a/b"), Some("7/cwd/a/b")),
            (at("root/x"), None),
            ("/proc/self/fd/3/../x".into(), Some("7/fd/3/../x")),
            ("/proc/self/fd/../../1/cwd".into(), None),
            ("//proc/self".into(), Some("7")),
            ("/proc/self/../self/cwd".into(), None),
            (at("here/../file"), Some("7/cwd/../file")),
            (at("file"), None),
            (at("loop/a"), None),
            (at("missing/a"), None),
        ] {
            assert_eq!(led(&path, true).as_deref(), expected, "{}", path.display());
        }
        // A link at the end that is not followed is the file.
        assert_eq!(led(&at("here"), false), None);
    }
}
