//! Paths of a caller, as this process can look them up.

use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::call::Name;
use super::memory;
use super::thread::Thread;
use super::walk::{MAX_LINKS, walk};

/// The longest path with its NUL: the kernel's own limit.
const PATH_LIMIT: usize = 4096;

/// Memory is mapped in parts of at least that many bytes.
const PAGE: u64 = 4096;

/// The most bytes that are read at a time: most paths are shorter.
const CHUNK: u64 = 512;

/// A file, by a path of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) path: CString,
    /// Whether a link at the end is followed.
    pub(super) follow: bool,
}

/// The file that a call names, which is found once, when somebody asks.
pub(super) struct Named<'a> {
    pub(super) name: &'a Name,
    thread: &'a Thread<'a>,
    spot: OnceCell<Result<Spot, Errno>>,
}

impl<'a> Named<'a> {
    pub(super) fn new(thread: &'a Thread<'a>, name: &'a Name) -> Self {
        Self { name, thread, spot: OnceCell::new() }
    }

    /// Returns the place of the file.
    pub(super) fn spot(&self) -> Result<&Spot, Errno> {
        let found = self.spot.get_or_init(|| Spot::read(self.thread, self.name));
        found.as_ref().map_err(|errno| *errno)
    }

    /// Returns it as it was found, or as [`Spot::read_plain`] does.
    pub(super) fn plain_spot(&self) -> Result<Spot, Errno> {
        match self.spot.get() {
            Some(found) => found.clone(),
            None => Spot::read_plain(self.thread, self.name),
        }
    }
}

/// Where the kernel starts to look for a file, and needs the right to go through folders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Start {
    Root,
    /// A folder of the caller, by the path of its link here.
    Folder(Vec<u8>),
    /// The file is open: there is no way to it.
    Itself,
}

impl Spot {
    /// Finds the file that a call names.
    pub(super) fn read(thread: &Thread<'_>, name: &Name) -> Result<Self, Errno> {
        let spot = Self::read_plain(thread, name)?;
        Ok(spot.through_own(thread).unwrap_or(spot))
    }

    /// Does the same for paths that do not lead through links to files of the caller in `/proc`, or lead
    /// nowhere otherwise.
    pub(super) fn read_plain(thread: &Thread<'_>, name: &Name) -> Result<Self, Errno> {
        let number = thread.number;
        let start = match name.folder {
            Some(folder) => format!("{number}/fd/{folder}"),
            None => format!("{number}/cwd"),
        };
        let path = match name.path {
            // Newer kernels take no path for an empty one.
            None => Vec::new(),
            Some(0) if name.may_be_empty => Vec::new(),
            Some(address) => read_text(thread, address)?,
        };
        if path.is_empty() {
            let fits = name.path.is_none() || name.may_be_empty;
            // The link is one that the kernel makes up: it leads to the file itself, even to a link.
            return if fits { Self::new(start.into_bytes(), true) } else { Err(Errno::NOENT) };
        }
        Self::new(named(number, start, &path), name.follow)
    }

    /// Returns the file at a path of a caller, without a look at a link at its end.
    pub(super) fn named(thread: &Thread<'_>, path: &[u8]) -> Result<Self, Errno> {
        let start = format!("{}/cwd", thread.number);
        Self::new(named(thread.number, start, path), false)
    }

    /// Returns the file, if nothing is found there because the way leads through `/proc/self`: that is
    /// the caller, while the step's `/proc` knows nothing of this process.
    pub(super) fn through_own(&self, thread: &Thread<'_>) -> Option<Self> {
        let is_there = |path: &CStr, follow| {
            let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
            rustix::fs::statat(CWD, path, flags).map(drop)
        };
        if is_there(&self.path, self.follow) != Err(Errno::NOENT) {
            return None;
        }
        // Most missing files are those that are about to be made.
        let is_new = is_there(&self.path, false).is_err()
            && self.parent().is_some_and(|folder| is_there(&folder.path, true).is_ok());
        if is_new {
            return None;
        }
        let path = walk(self.path.as_bytes(), self.follow, thread.number)?;
        Self::new(path, self.follow).ok()
    }

    /// Returns the last name of the path; `None` if every folder has it.
    pub(super) fn name(&self) -> Option<Vec<u8>> {
        let path = self.path.as_bytes();
        let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
        let start = path[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        let name = &path[start..end];
        (!matches!(name, b"." | b"..")).then(|| name.to_vec())
    }

    /// Returns where the way to the file starts.
    pub(super) fn start(&self) -> Start {
        let path = self.path.as_bytes();
        let digits = path.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_of_thread = digits > 0 && path.get(digits) == Some(&b'/');
        let after = if is_of_thread { &path[digits + 1..] } else { b"" };
        let folder = match after.strip_prefix(b"fd/") {
            Some(rest) => 3 + rest.iter().take_while(|byte| byte.is_ascii_digit()).count(),
            None if after == b"cwd" || after.starts_with(b"cwd/") => 3,
            None => return Start::Root,
        };
        match after.get(folder) {
            Some(_) => Start::Folder(path[..digits + 1 + folder].to_vec()),
            None => Start::Itself,
        }
    }

    /// Returns whether this is an open file of a caller, or may be one.
    pub(super) fn is_descriptor(&self) -> bool {
        let path = self.path.as_bytes();
        let digits = path.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        digits > 0 && path[..path.len() - digits].ends_with(b"/fd/")
    }

    /// Returns the file at a path of this process, at the end of links.
    pub(super) fn of(path: Vec<u8>) -> Result<Self, Errno> {
        Self::new(path, true)
    }

    fn new(path: Vec<u8>, follow: bool) -> Result<Self, Errno> {
        if path.len() >= PATH_LIMIT {
            return Err(Errno::NAMETOOLONG);
        }
        Ok(Self { path: CString::new(path).map_err(|_| Errno::NOENT)?, follow })
    }

    /// Opens the file as a handle.
    pub(super) fn handle(&self) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let flags = if self.follow { flags } else { flags | OFlags::NOFOLLOW };
        rustix::fs::open(&*self.path, flags, Mode::empty())
    }

    /// Returns the folder that the file is in, or is to be made in. `None` if the path ends in a name
    /// that every folder has.
    pub(super) fn parent(&self) -> Option<Self> {
        let path = self.path.as_bytes();
        let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
        let start = path[..end].iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
        if matches!(&path[start..end], b"." | b"..") {
            return None;
        }
        let folder = match start {
            0 => return None,
            1 => b"/",
            _ => &path[..start - 1],
        };
        Self::new(folder.to_vec(), true).ok()
    }

    /// Returns the file that would be made where links are followed: the end of the links that begin
    /// here.
    pub(super) fn settled(&self, thread: &Thread<'_>) -> Result<Self, Errno> {
        let mut at = self.clone();
        for _ in 0..MAX_LINKS {
            let target = match rustix::fs::readlink(&*at.path, Vec::new()) {
                Ok(target) => target.into_bytes(),
                Err(Errno::INVAL | Errno::NOENT) => return Ok(Self { follow: false, ..at }),
                Err(errno) => return Err(errno),
            };
            let folder = at.parent().ok_or(Errno::NOENT)?.path.into_string();
            let folder = folder.map_err(|_| Errno::NOENT)?;
            at = Self::new(named(thread.number, folder, &target), true)?;
        }
        Err(Errno::LOOP)
    }
}

/// Returns a path of this process for one of a caller.
///
/// Names below `/proc/self` are the caller's own, while this process would find its own.
fn named(number: u32, start: String, path: &[u8]) -> Vec<u8> {
    let own = |rest: &[u8]| [number.to_string().as_bytes(), rest].concat();
    for (prefix, rest) in [
        (&b"/proc/self"[..], &b""[..]),
        (b"/proc/thread-self", b""),
        (b"/dev/fd", b"/fd"),
        (b"/dev/stdin", b"/fd/0"),
        (b"/dev/stdout", b"/fd/1"),
        (b"/dev/stderr", b"/fd/2"),
    ] {
        if let Some(inner) = path.strip_prefix(prefix)
            && match inner.first() {
                Some(next) => *next == b'/',
                None => !prefix.starts_with(b"/proc"),
            }
        {
            return own(&[rest, inner].concat());
        }
    }
    match path.first() {
        Some(b'/') => path.to_vec(),
        _ => [start.as_bytes(), b"/", path].concat(),
    }
}

/// Reads a text that ends in NUL from the caller's memory.
pub(super) fn read_text(thread: &Thread<'_>, address: u64) -> Result<Vec<u8>, Errno> {
    let (mut text, mut room) = (Vec::new(), [0; CHUNK as usize]);
    while text.len() < PATH_LIMIT {
        let at = address.checked_add(text.len() as u64).ok_or(Errno::FAULT)?;
        // Not beyond the end of mapped memory.
        let chunk = &mut room[..CHUNK.min(PAGE - at % PAGE) as usize];
        memory::read(thread, at, chunk)?;
        let end = chunk.iter().position(|byte| *byte == 0);
        text.extend_from_slice(&chunk[..end.unwrap_or(chunk.len())]);
        if end.is_some() {
            return if text.len() < PATH_LIMIT { Ok(text) } else { Err(Errno::NAMETOOLONG) };
        }
    }
    Err(Errno::NAMETOOLONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_caller_are_looked_up_from_its_place() {
        for (path, expected) in [
            (&b"a/b"[..], &b"7/cwd/a/b"[..]),
            (b"/a", b"/a"),
            (b"/proc/self/fd/3", b"7/fd/3"),
            (b"/proc/thread-self/cwd", b"7/cwd"),
            (b"/proc/self", b"/proc/self"),
            (b"/proc/selfish/x", b"/proc/selfish/x"),
            (b"/dev/fd/5/x", b"7/fd/5/x"),
            (b"/dev/stdout", b"7/fd/1"),
            (b"/dev/stdouts", b"/dev/stdouts"),
        ] {
            assert_eq!(named(7, "7/cwd".to_owned(), path), expected, "{}", path.escape_ascii());
        }
    }

    #[test]
    fn the_way_to_a_file_starts_at_the_root_or_at_a_folder() {
        let folder = |path: &str| Start::Folder(path.into());
        for (path, start) in [
            ("/a/b", Start::Root),
            ("7/cwd", Start::Itself),
            ("7/cwd/a", folder("7/cwd")),
            ("7/fd/12", Start::Itself),
            ("7/fd/12/a/b", folder("7/fd/12")),
            ("7/root/a", Start::Root),
            ("7/cwds", Start::Root),
            ("cwd/a", Start::Root),
        ] {
            let spot = Spot { path: CString::new(path).unwrap(), follow: true };
            assert_eq!(spot.start(), start, "{path}");
        }
    }

    #[test]
    fn descriptors_are_known_by_their_path() {
        let is =
            |path: &str| Spot { path: CString::new(path).unwrap(), follow: true }.is_descriptor();
        assert!(is("7/fd/3") && is("/proc/7/fd/12"));
        assert!(!is("7/cwd/12") && !is("/fd/x") && !is("12") && !is("7/fd/"));
    }

    #[test]
    fn the_folder_of_a_new_file_is_found() {
        let parent = |path: &str| {
            let spot = Spot { path: CString::new(path).unwrap(), follow: false };
            spot.parent().map(|spot| spot.path.into_string().unwrap())
        };
        assert_eq!(parent("7/cwd/a").as_deref(), Some("7/cwd"));
        assert_eq!(parent("7/cwd/a/b//").as_deref(), Some("7/cwd/a"));
        assert_eq!(parent("/a").as_deref(), Some("/"));
        assert_eq!(parent("/a/b").as_deref(), Some("/a"));
        for path in ["/", "7/cwd/.", "7/cwd/a/..", "//"] {
            assert_eq!(parent(path), None, "{path}");
        }
    }
}
