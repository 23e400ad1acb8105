//! Acting as somebody else, for the time of one call.

use std::os::fd::OwnedFd;

use caps::{CapSet, CapsHashSet};
use nix::unistd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::thread::Gid;
use xbuild_model::ids::{GuestGid, GuestUid};

use super::caller::Caller;
use crate::idmap::Ids;

/// What this process is when it is itself: root of the build's user namespace, with all rights
/// there.
pub(super) struct Guise {
    root: OwnedFd,
    folder: OwnedFd,
    /// The rights that it has at most.
    permitted: CapsHashSet,
    /// Who ends this process by ending.
    parent: Option<Pid>,
    ids: Ids,
}

impl Guise {
    pub fn new(ids: Ids) -> Result<Self, Errno> {
        let open = |path: &str| {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(path, flags, Mode::empty())
        };
        Ok(Self {
            root: open("/")?,
            folder: open(".")?,
            permitted: caps::read(None, CapSet::Permitted).map_err(|_| Errno::PERM)?,
            parent: rustix::process::getppid(),
            ids,
        })
    }

    /// Resolves paths, and reaches for files, as the caller would. After an error only
    /// [`take_off`](Self::take_off) makes sense.
    pub fn wear(&self, caller: &Caller) -> Result<(), Errno> {
        rustix::process::umask(caller.umask);
        enter(&caller.root, &caller.start)?;
        if self.ids == Ids::Range {
            let groups: Vec<Gid> =
                caller.groups.iter().map(|gid| Gid::from_raw(gid.raw())).collect();
            rustix::thread::set_thread_groups(&groups)?;
        }
        set_file_ids(caller.uid, caller.gid)?;
        self.limit_rights(caller)
    }

    /// Leaves no right that the caller lacks.
    pub fn limit_rights(&self, caller: &Caller) -> Result<(), Errno> {
        set_rights(&caller.capabilities.intersection(&self.permitted).copied().collect())
    }

    /// Has all rights again, but still the caller's ids and place.
    pub fn regain_rights(&self) -> Result<(), Errno> {
        set_rights(&self.permitted)
    }

    /// Is itself again.
    ///
    /// **Errors** — leave the process as something in between, which must end.
    pub fn take_off(&self) -> Result<(), Errno> {
        self.regain_rights()?;
        set_file_ids(GuestUid::ROOT, GuestGid::ROOT)?;
        if self.ids == Ids::Range {
            rustix::thread::set_thread_groups(&[])?;
        }
        enter(&self.root, &self.folder)?;
        rustix::process::umask(Mode::empty());
        // Changing ids undid it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() == self.parent { Ok(()) } else { Err(Errno::SRCH) }
    }
}

/// Reaches for files as this user and group from here on.
fn set_file_ids(uid: GuestUid, gid: GuestGid) -> Result<(), Errno> {
    let (uid, gid) = (unistd::Uid::from_raw(uid.raw()), unistd::Gid::from_raw(gid.raw()));
    unistd::setfsgid(gid);
    unistd::setfsuid(uid);
    // The calls return the former id, whether they worked or not. An invalid one changes nothing.
    let now = (
        unistd::setfsuid(unistd::Uid::from_raw(u32::MAX)),
        unistd::setfsgid(unistd::Gid::from_raw(u32::MAX)),
    );
    if now == (uid, gid) { Ok(()) } else { Err(Errno::PERM) }
}

fn set_rights(effective: &CapsHashSet) -> Result<(), Errno> {
    caps::set(None, CapSet::Effective, effective).map_err(|_| Errno::PERM)
}

/// Makes `root` the root of this process, and `folder` its working directory.
fn enter(root: &OwnedFd, folder: &OwnedFd) -> Result<(), Errno> {
    rustix::process::fchdir(root)?;
    rustix::process::chroot(".")?;
    rustix::process::fchdir(folder)
}
