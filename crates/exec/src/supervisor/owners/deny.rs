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
use super::spot::Spot;
use super::thread::Thread;

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
pub(super) struct Passed(HashSet<(Identity, Vec<u8>)>);

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
    /// Makes sure that the caller may go through all folders on the way to a file, which is open.
    pub(super) fn reach(&mut self, thread: &Thread<'_>, handle: &OwnedFd) -> Result<(), Errno> {
        if self.identity.reaches_all() || is_of_proc(handle)? {
            return Ok(());
        }
        let path = path_of(handle)?;
        let Some(end) = path.iter().rposition(|byte| *byte == b'/') else { return Ok(()) };
        let folder = &path[..end];
        let key = (self.identity.clone(), folder.to_vec());
        if self.passed.0.contains(&key) {
            return Ok(());
        }
        // A path that starts from a folder does not go through those around it.
        let start = path_at(&format!("{}/cwd", thread.number)).unwrap_or_default();
        let mut ends: Vec<usize> = folder
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at)
            .collect();
        ends.push(folder.len());
        for end in ends {
            let at = if end == 0 { &b"/"[..] } else { &folder[..end] };
            let is_around = start.strip_prefix(at).is_some_and(|rest| rest.first() == Some(&b'/'));
            if is_around && end > 0 {
                continue;
            }
            let spot = Spot::of(at.to_vec())?;
            self.check(&spot, SEARCH)?;
        }
        if self.passed.0.len() >= LIMIT {
            self.passed.forget();
        }
        self.passed.0.insert(key);
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
    pub(super) fn may_change_folder(
        &mut self,
        thread: &Thread<'_>,
        spot: &Spot,
        removes: bool,
    ) -> Result<(), Errno> {
        if self.identity.reaches_all() {
            return Ok(());
        }
        let Some(folder) = spot.parent() else { return Ok(()) };
        let handle = folder.handle()?;
        self.reach(thread, &handle)?;
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
    pub(super) fn owns(&mut self, thread: &Thread<'_>, handle: &OwnedFd) -> Result<Owner, Errno> {
        self.reach(thread, handle)?;
        let owner = self.book.owner(handle)?;
        match self.identity.reaches_all() || owner.uid == self.identity.uid.files {
            true => Ok(owner),
            false => Err(Errno::PERM),
        }
    }

    /// Makes sure that the caller may execute a program.
    pub(super) fn may_execute(&mut self, thread: &Thread<'_>, spot: &Spot) -> Result<(), Errno> {
        if self.identity.reaches_all() {
            return Ok(());
        }
        let handle = spot.handle()?;
        self.reach(thread, &handle)?;
        let found = book::look(&book::by_handle(&handle)?.path, true)?;
        if found.kind != FileType::RegularFile {
            return Ok(());
        }
        self.check(&book::by_handle(&handle)?, SEARCH)
    }
}

/// Returns the path of an open file from the caller's root on.
fn path_of(handle: &OwnedFd) -> Result<Vec<u8>, Errno> {
    path_at(&format!("self/fd/{}", handle.as_raw_fd()))
}

fn path_at(link: &str) -> Result<Vec<u8>, Errno> {
    Ok(rustix::fs::readlinkat(CWD, link, Vec::new())?.into_bytes())
}

pub(super) fn is_of_proc(handle: &OwnedFd) -> Result<bool, Errno> {
    Ok(rustix::fs::fstatfs(handle)?.f_type == rustix::fs::PROC_SUPER_MAGIC)
}
