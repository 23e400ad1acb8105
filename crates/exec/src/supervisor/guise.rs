//! Acting as the caller, for the time of one call.

use std::os::fd::OwnedFd;

use caps::{CapSet, Capability, CapsHashSet};
use nix::unistd;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::thread::Gid;
use xbuild_model::ids::{GuestGid, GuestUid};

use super::caller::{Caller, Status};
use crate::idmap::Ids;

/// The state of this process between calls: root of the build's user namespace, with all rights
/// there.
pub(super) struct Guise {
    root: OwnedFd,
    folder: OwnedFd,
    /// The most rights that it can have.
    permitted: CapsHashSet,
    /// The process that ends this one by ending.
    starter: Option<Pid>,
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
            starter: rustix::process::getppid(),
            ids,
        })
    }

    /// Makes this process resolve paths and reach for files as the caller would. After an error only
    /// [`take_off`](Self::take_off) makes sense.
    pub fn wear(&self, caller: &Caller) -> Result<(), Errno> {
        rustix::process::umask(caller.umask);
        enter(&caller.root, &caller.start)?;
        self.set_groups(&caller.groups)?;
        set_file_ids(caller.uid, caller.gid)?;
        self.limit_rights(caller)
    }

    /// Takes the caller's ids and rights, and stays in this process's place. These are the rights
    /// that the kernel asks for before it shows something of the caller's process. After an error
    /// only [`take_off`](Self::take_off) makes sense.
    pub fn wear_ids(&self, status: &Status) -> Result<(), Errno> {
        self.set_groups(&status.groups)?;
        set_file_ids(status.uid, status.gid)?;
        set_rights(&status.capabilities.intersection(&self.permitted).copied().collect())
    }

    fn set_groups(&self, groups: &[GuestGid]) -> Result<(), Errno> {
        if self.ids == Ids::Single {
            return Ok(());
        }
        let groups: Vec<Gid> = groups.iter().map(|gid| Gid::from_raw(gid.raw())).collect();
        rustix::thread::set_thread_groups(&groups)
    }

    /// Gives up every right that the caller lacks, and the right to make devices: outside of a user
    /// namespace the kernel would make real ones.
    pub fn limit_rights(&self, caller: &Caller) -> Result<(), Errno> {
        let shared = caller.capabilities.intersection(&self.permitted).copied();
        set_rights(&shared.filter(|right| *right != Capability::CAP_MKNOD).collect())
    }

    /// Takes all rights back, and keeps the caller's ids and place.
    pub fn regain_rights(&self) -> Result<(), Errno> {
        set_rights(&self.permitted)
    }

    /// Restores the state of this process.
    ///
    /// **Errors** — leave the process in a state in between; then it must end.
    pub fn take_off(&self) -> Result<(), Errno> {
        self.regain_rights()?;
        set_file_ids(GuestUid::ROOT, GuestGid::ROOT)?;
        self.set_groups(&[])?;
        enter(&self.root, &self.folder)?;
        rustix::process::umask(Mode::empty());
        // The change of ids has undone it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() == self.starter { Ok(()) } else { Err(Errno::SRCH) }
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
