//! The files in the root of a container that are not a stage's: other mounts, and xbuild's own.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The folder of xbuild's own files in a root that it may use.
pub const HOME: &str = "/xbuild";

/// The file that makes a root one that xbuild may use. It has [text](Spared::mark) while there are
/// files of a stage in the root, and is locked by the build that uses it.
pub const MARK: &str = "/xbuild/own-root";

/// Paths that are kept, with everything below them, and links that are put back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spared {
    /// **Shape** — relative to the root, without a slash at either end.
    paths: BTreeSet<Vec<u8>>,
    /// With their targets.
    links: BTreeSet<(Vec<u8>, Vec<u8>)>,
}

/// What stands between a link and its target in a mark.
const ARROW: &[u8] = b" -> ";

impl Spared {
    /// Returns the kept paths: the mount points in `mounts`, and `own` files by absolute paths.
    ///
    /// **Source** — `proc_pid_mountinfo(5)`: the fifth field, with octal escapes.
    pub fn new<'a>(mounts: &[u8], own: impl IntoIterator<Item = &'a Path>) -> Self {
        let mut spared = Self::default();
        spared.add_mounts(mounts);
        own.into_iter().for_each(|path| spared.add(path.as_os_str().as_bytes()));
        spared
    }

    /// Adds the mount points in `mounts`, see [`new`](Self::new).
    pub fn add_mounts(&mut self, mounts: &[u8]) {
        for line in mounts.split(|byte| *byte == b'\n') {
            if let Some(point) = line.split(|byte| *byte == b' ').nth(4) {
                self.add(&unescape(point));
            }
        }
    }

    /// Adds a path; the root itself cannot be spared.
    pub fn add(&mut self, path: &[u8]) {
        let start = path.iter().take_while(|byte| **byte == b'/').count();
        let end = path.len() - path.iter().rev().take_while(|byte| **byte == b'/').count();
        if start < end {
            self.paths.insert(path[start..end].to_vec());
        }
    }

    /// Returns whether there are none, as in a root that is not a container's.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Adds a link by its absolute path, if it leads into xbuild's folder: such a link, as `/bin/sh`
    /// for a shell that is there, may be removed with the files of a stage. Returns whether it does.
    pub fn add_link(&mut self, path: &[u8], target: &[u8]) -> bool {
        let is_own =
            target.strip_prefix(HOME.as_bytes()).is_some_and(|rest| rest.starts_with(b"/"));
        let is_line = |text: &[u8]| !text.contains(&b'\n') && find(text, ARROW).is_none();
        if is_own && is_line(path) && is_line(target) {
            self.links.insert((path.to_vec(), target.to_vec()));
            return true;
        }
        false
    }

    /// Returns the links, by absolute paths, with their targets.
    pub fn links(&self) -> impl Iterator<Item = (&Path, &Path)> {
        let pairs = self.links.iter();
        pairs.map(|(link, target)| {
            (Path::new(OsStr::from_bytes(link)), Path::new(OsStr::from_bytes(target)))
        })
    }

    /// Returns the text of the mark while files of a stage are in the root: a line, and a line for each
    /// link.
    pub fn mark(&self) -> Vec<u8> {
        let links = self.links.iter();
        let lines = links.flat_map(|(path, target)| [&path[..], ARROW, target, b"\n"].concat());
        b"in use\n".iter().copied().chain(lines).collect()
    }

    /// Adds the links that a mark names.
    pub fn add_mark(&mut self, text: &[u8]) {
        for line in text.split(|byte| *byte == b'\n') {
            if let Some(at) = find(line, ARROW) {
                self.add_link(&line[..at], &line[at + ARROW.len()..]);
            }
        }
    }

    /// Returns whether a path is kept, or lies below one that is.
    pub fn has(&self, path: &[u8]) -> bool {
        let ends = (0..path.len()).filter(|at| path[*at] == b'/').chain([path.len()]);
        ends.into_iter().any(|end| self.paths.contains(&path[..end]))
    }

    /// Returns whether a path is a folder around a kept one.
    pub fn is_around(&self, path: &[u8]) -> bool {
        if path.is_empty() {
            return !self.paths.is_empty();
        }
        let inner = [path, b"/"].concat();
        self.paths.range(inner.clone()..).next().is_some_and(|next| next.starts_with(&inner))
    }

    /// Returns whether a file of an image cannot be at a path, or not be seen there.
    pub fn hides(&self, path: &[u8], is_folder: bool) -> bool {
        self.has(path) || (!is_folder && self.is_around(path))
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = |digits: &[u8]| -> Option<u8> {
            let value = digits.iter().try_fold(0_u16, |value, digit| {
                (b'0'..=b'7').contains(digit).then(|| value * 8 + u16::from(digit - b'0'))
            });
            value.and_then(|value| u8::try_from(value).ok())
        };
        match (first, after.get(..3).and_then(octal)) {
            (b'\\', Some(byte)) => {
                text.push(byte);
                rest = &after[3..];
            }
            _ => {
                text.push(*first);
                rest = after;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"22 1 0:20 / / rw - overlay overlay rw\n\
        23 22 0:21 / /proc rw - proc proc rw\n\
        24 22 8:1 /x /var/run/secrets/a\\040b rw - ext4 /dev/sda1 rw\n\
        25 22 8:1 /etc /etc/hosts rw - ext4 /dev/sda1 rw\n";

    #[test]
    fn mounts_and_own_files_are_kept_and_what_is_around_them() {
        let kept = Spared::new(MOUNTS, [Path::new("/xbuild"), Path::new("/data/store/")]);
        for path in ["proc", "proc/1/exe", "etc/hosts", "xbuild/bin/xbuild", "data/store/x"] {
            assert!(kept.has(path.as_bytes()) && kept.hides(path.as_bytes(), true), "{path}");
        }
        assert!(kept.has(b"var/run/secrets/a b") && kept.has(b"var/run/secrets/a b/token"));
        for path in ["", "etc", "procs", "xbuild-2", "var/run/secrets/a", "etc/host", "data"] {
            assert!(!kept.has(path.as_bytes()), "{path}");
        }
        for path in ["", "etc", "var", "var/run", "var/run/secrets", "data"] {
            assert!(kept.is_around(path.as_bytes()), "{path}");
            assert!(kept.hides(path.as_bytes(), false) && !kept.hides(path.as_bytes(), true));
        }
        for path in ["proc", "va", "var/ru", "usr", "xbuild"] {
            assert!(!kept.is_around(path.as_bytes()), "{path}");
        }
        assert!(!Spared::default().is_around(b"") && !Spared::default().hides(b"usr", false));
    }

    #[test]
    fn links_into_the_folder_are_in_the_mark() {
        let mut spared = Spared::default();
        assert!(spared.add_link(b"/bin/sh", b"/xbuild/bin/sh"));
        assert!(spared.add_link(b"/bin/sleep", b"/xbuild/bin/sleep"));
        for (path, target) in [
            ("/bin/ls", "/usr/bin/ls"),
            ("/a", "/xbuild-2/a"),
            ("/a", "/xbuild"),
            ("/a\nb", "/xbuild/a"),
            ("/a -> b", "/xbuild/a"),
        ] {
            assert!(!spared.add_link(path.as_bytes(), target.as_bytes()), "{path}");
        }
        let text = "in use\n/bin/sh -> /xbuild/bin/sh\n/bin/sleep -> /xbuild/bin/sleep\n";
        assert_eq!(String::from_utf8(spared.mark()).unwrap(), text);
        let mut read = Spared::default();
        read.add_mark(text.as_bytes());
        read.add_mark(b"in use\n/etc/passwd -> /etc/shadow\n");
        assert_eq!(read, spared);
        // Helpers get it as JSON.
        let sent = serde_json::to_string(&spared).unwrap();
        assert_eq!(serde_json::from_str::<Spared>(&sent).unwrap(), spared);
        assert!(!read.has(b"bin/sh") && !read.hides(b"bin/sh", false) && read.is_empty());
    }
}
