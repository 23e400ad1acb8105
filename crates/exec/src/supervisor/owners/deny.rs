//! Denials: what the kernel would refuse to a user who is not root, and does not, since all processes
//! of the step are root to it.
//!
//! Access lists are not looked at. Files of `/proc` are left to the kernel.
//!
//! **Source** — `path_resolution(7)`, `inode(7)`.

use std::collections::HashSet;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{CWD, FileType};
use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::book::{self, Book};
use super::identity::Identity;
use super::spot::{Spot, Start};

/// `DEVPTS_SUPER_MAGIC` and `PROC_SUPER_MAGIC`.
const DEVPTS: u64 = 0x1cd1;
#[allow(clippy::unnecessary_cast, reason = "the integer types differ by architecture")]
pub(super) const PROC: u64 = rustix::fs::PROC_SUPER_MAGIC as u64;

/// The sticky bit.
const STICKY: u32 = 0o1000;

/// The most folders that are remembered.
const LIMIT: usize = 1 << 16;

/// Permission bits of one class.
pub(super) const READ: u32 = 4;
pub(super) const WRITE: u32 = 2;
pub(super) const SEARCH: u32 = 1;

/// Folders that identities may go through, until something changes modes, owners or places of
/// folders.
#[derive(Default)]
pub(super) struct Passed(HashSet<(Identity, Vec<u8>, Vec<u8>)>);

impl Passed {
    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

/// A user's view of the files.
pub(super) struct Gate<'a> {
    pub(super) book: &'a Book,
    pub(super) passed: &'a mut Passed,
    pub(super) identity: &'a Identity,
}

impl Gate<'_> {
    /// Makes sure that the caller may go through all folders on the way to a file, which is `handle`. Folders
    /// above the one that the path starts from are not on the way, and nothing is on that to an open
    /// file.
    pub(super) fn reach(&mut self, spot: &Spot, handle: &OwnedFd) -> Result<(), Errno> {
        if self.identity.reaches_all() || is_of_proc(handle)? {
            return Ok(());
        }
        let start = match spot.start() {
            Start::Itself => return Ok(()),
            Start::Root => b"/".to_vec(),
            Start::Folder(link) => path_at(&link)?,
        };
        let path = path_of(handle)?;
        let Some(end) = path.iter().rposition(|byte| *byte == b'/') else { return Ok(()) };
        let is_below = path
            .strip_prefix(&start[..])
            .is_some_and(|rest| start == b"/" || rest.is_empty() || rest.first() == Some(&b'/'));
        let key = (self.identity.clone(), start.clone(), path[..end].to_vec());
        if is_below && self.passed.0.contains(&key) {
            return Ok(());
        }
        for folder in on_the_way(&start, &path) {
            // What is gone has no folders any more.
            match self.check(&Spot::of(folder.to_vec())?, SEARCH) {
                Err(Errno::NOENT) => {}
                checked => checked?,
            }
        }
        if is_below {
            if self.passed.0.len() >= LIMIT {
                self.passed.forget();
            }
            self.passed.0.insert(key);
        }
        Ok(())
    }

    /// Makes sure that the caller may go to where a missing file would be, as far as there are folders.
    pub(super) fn reach_missing(&mut self, spot: &Spot) -> Result<(), Errno> {
        let mut folder = spot.parent();
        while let Some(found) = folder {
            match found.handle() {
                Ok(handle) if is_exempt(&handle)? => return Ok(()),
                Ok(handle) => {
                    self.reach(&found, &handle)?;
                    return self.check(&found, SEARCH);
                }
                Err(Errno::NOENT) => folder = found.parent(),
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    /// Makes sure that the caller has these rights to a file.
    pub(super) fn check(&self, spot: &Spot, wanted: u32) -> Result<(), Errno> {
        if self.identity.reaches_all() {
            return Ok(());
        }
        let found = book::look(&spot.path, spot.follow)?;
        let owner = self.book.owner_at(spot)?;
        if self.allows(owner, found.mode, wanted) { Ok(()) } else { Err(Errno::ACCESS) }
    }

    fn allows(&self, owner: Owner, mode: u32, wanted: u32) -> bool {
        let class = if self.identity.uid.files == owner.uid {
            mode >> 6
        } else if self.identity.is_in(owner.gid) {
            mode >> 3
        } else {
            mode
        };
        class & wanted == wanted
    }

    /// Makes sure that the caller may make or remove the file `spot` in its folder.
    pub(super) fn may_change_folder(&mut self, spot: &Spot, removes: bool) -> Result<(), Errno> {
        if self.identity.reaches_all() {
            return Ok(());
        }
        let Some(folder) = spot.parent() else { return Ok(()) };
        let handle = folder.handle()?;
        self.reach(&folder, &handle)?;
        let folder = book::by_handle(&handle)?;
        self.check(&folder, SEARCH)?;
        // The kernel finds out first that there is a file, or none.
        if book::look(&spot.path, false).is_ok() != removes {
            return Ok(());
        }
        self.check(&folder, WRITE)?;
        if !removes || book::look(&folder.path, true)?.mode & STICKY == 0 {
            return Ok(());
        }
        let Ok(owner) = self.book.owner_at(&Spot { follow: false, ..spot.clone() }) else {
            return Ok(());
        };
        let own = self.identity.uid.files;
        if owner.uid == own || self.book.owner(&handle)?.uid == own {
            return Ok(());
        }
        Err(Errno::PERM)
    }

    /// Makes sure that the caller may change the facts about a file.
    pub(super) fn owns(&mut self, spot: &Spot, handle: &OwnedFd) -> Result<Owner, Errno> {
        self.reach(spot, handle)?;
        let owner = self.book.owner(handle)?;
        match self.identity.reaches_all()
            || is_terminal(handle)?
            || owner.uid == self.identity.uid.files
        {
            true => Ok(owner),
            false => Err(Errno::PERM),
        }
    }

    /// Makes sure that the caller may execute a program.
    pub(super) fn may_execute(&mut self, spot: &Spot) -> Result<(), Errno> {
        if self.identity.reaches_all() {
            return Ok(());
        }
        let handle = spot.handle()?;
        self.reach(spot, &handle)?;
        let found = book::look(&book::by_handle(&handle)?.path, true)?;
        if found.kind != FileType::RegularFile {
            return Ok(());
        }
        self.check(&book::by_handle(&handle)?, SEARCH)
    }
}

/// Returns the folders that are searched on the way from the folder `start` to `path`, both clean and
/// absolute.
fn on_the_way<'a>(start: &'a [u8], path: &'a [u8]) -> Vec<&'a [u8]> {
    let around = |path: &'a [u8]| {
        let ends = path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > 0);
        let inner = ends.map(|(end, _)| &path[..end]);
        std::iter::once(&b"/"[..]).chain(inner).collect::<Vec<_>>()
    };
    let with_self = |path: &'a [u8]| {
        let whole = (path != b"/").then_some(path);
        around(path).into_iter().chain(whole).collect::<Vec<_>>()
    };
    let (up, down) = (with_self(start), with_self(path));
    let common = up.iter().zip(&down).take_while(|(one, two)| one == two).count();
    // Up from the start, by names `..`, and down to the folder of the file.
    let from = common.saturating_sub(1);
    up[common..].iter().rev().chain(&down[from..down.len() - 1]).copied().collect()
}

/// Returns the path of an open file from the caller's root on.
fn path_of(handle: &OwnedFd) -> Result<Vec<u8>, Errno> {
    path_at(format!("self/fd/{}", handle.as_raw_fd()).as_bytes())
}

fn path_at(link: &[u8]) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(CWD, link, Vec::new())?.into_bytes())
}

/// Returns whether the rights to open a file are not looked at: those of `/proc` are the kernel's, and
/// terminals are opened by programs for themselves.
pub(super) fn is_exempt(handle: &OwnedFd) -> Result<bool, Errno> {
    Ok(matches!(file_system(handle)?, PROC | DEVPTS))
}

/// Returns whether a file is a terminal of the step: whose it is is not recorded.
fn is_terminal(handle: &OwnedFd) -> Result<bool, Errno> {
    Ok(file_system(handle)? == DEVPTS)
}

fn is_of_proc(handle: &OwnedFd) -> Result<bool, Errno> {
    Ok(file_system(handle)? == PROC)
}

/// Returns the magic number of the file system of a file.
#[allow(clippy::unnecessary_cast, reason = "the integer types differ by architecture")]
pub(super) fn file_system(handle: &OwnedFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstatfs(handle)?.f_type as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_goes_up_to_a_common_folder_and_down_from_there() {
        for (start, path, expected) in [
            ("/", "/a/b/c", &["/", "/a", "/a/b"][..]),
            ("/", "/", &[]),
            ("/", "/a", &["/"]),
            ("/a/b", "/a/b/c", &["/a/b"]),
            ("/a/b", "/a/b", &[]),
            ("/a/b", "/a", &["/a/b"]),
            ("/a/b", "/a/c", &["/a/b", "/a"]),
            ("/a/b", "/ab", &["/a/b", "/a", "/"]),
            ("/a/b", "/a/bc/d", &["/a/b", "/a", "/a/bc"]),
            ("/a/b/c", "/x/y", &["/a/b/c", "/a/b", "/a", "/", "/x"]),
        ] {
            let way = on_the_way(start.as_bytes(), path.as_bytes());
            let way: Vec<&str> = way.iter().map(|path| str::from_utf8(path).unwrap()).collect();
            assert_eq!(way, expected, "{start} {path}");
        }
    }
}
