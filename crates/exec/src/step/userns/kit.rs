//! The parts of the root file system that all steps share: `/dev`, `/proc`, `/sys` and room for
//! generated files. They are made before the step's request comes, while another step is at work.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use xbuild_model::run::Security;

use super::masks::Blank;
use super::mounts::{self, make_folder};
use super::proc::mount_proc;
use super::root::Root;
use super::{dev, sysfs};
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::StepRequest;
use crate::step::walk;

/// The room for generated files: lists of hosts, scripts.
const STAGING_SIZE: &str = "64m";

/// The parts, mounted in a folder in memory.
#[derive(Debug)]
pub(crate) struct Kit {
    /// The folder. It covers the host's `/sys`, as seen by this process, and is unmounted with it:
    /// that place is sure to exist, and no path that a step is given lies below it.
    staging: OwnedFd,
    blank: Blank,
    dev: OwnedFd,
    proc: OwnedFd,
    sys: OwnedFd,
    /// The host's `/sys` with nothing hidden, mounted nowhere.
    open_sys: OwnedFd,
    /// Remarks for the user.
    notes: Vec<String>,
}

impl Kit {
    /// Makes the parts. To be called in a mount and pid namespace of the step's own; `ids` are those
    /// of the build's namespace.
    pub(in crate::step) fn new(ids: Ids) -> Result<Self, RunError> {
        let outer = mounts::open_path(CWD, "/sys").map_err(RunError::mount("/sys"))?;
        let open_sys = sysfs::copy_sys(&outer)?;
        let sys = sysfs::copy_sys(&outer)?;
        let staging = mounts::create(
            c"tmpfs",
            &[(c"size", Some(STAGING_SIZE)), (c"mode", Some("0700"))],
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV,
        )?;
        mounts::attach(&staging, outer).map_err(RunError::mount("the staging folder"))?;
        let failed = || RunError::setup("make a folder");
        let place = |name: &str| make_folder(&staging, name).map_err(failed());
        let blank = Blank::new(&staging).map_err(RunError::setup("make a file"))?;
        let dev = dev::mount_dev(place("dev")?, ids)?;
        let mut notes = Vec::new();
        let proc = mount_proc(place("proc")?, Some(&blank), &mut notes)?;
        sysfs::mount_sys(&sys, &place("sys")?, &blank, Some(&blank))?;
        Ok(Self { staging, blank, dev, proc, sys, open_sys, notes })
    }

    /// Moves the parts into the root of a step. A part that does not suit this step is made anew.
    pub(super) fn furnish(
        self,
        root: &Root,
        request: &StepRequest,
        tell: &mut dyn FnMut(String),
    ) -> Result<(), RunError> {
        let Self { staging, blank, dev, proc, sys, open_sys, notes } = self;
        let place =
            |name: &str| make_folder(&staging, name).map_err(RunError::setup("make a folder"));
        let move_to = |part: &OwnedFd, name: &str| {
            let target = walk::top_folder(root.fd.as_fd(), name)?;
            mounts::attach(part, target).map_err(RunError::mount(&format!("/{name}")))
        };
        dev::resize_shm(&dev, request.run.shm_size)?;
        move_to(&dev, "dev")?;
        let masks = match request.run.security {
            Security::Sandbox => Some(&blank),
            Security::Insecure => None,
        };
        if masks.is_some() {
            notes.into_iter().for_each(tell);
            move_to(&proc, "proc")?;
        } else {
            move_to(&mount_proc(place("open-proc")?, None, &mut Vec::new())?, "proc")?;
        }
        let own = if request.has_own_network() { sysfs::own_sys() } else { None };
        match (own, masks) {
            (None, Some(_)) => move_to(&sys, "sys"),
            (own, masks) => {
                let sys = own.unwrap_or(open_sys);
                sysfs::mount_sys(&sys, &place("other-sys")?, &blank, masks)?;
                move_to(&sys, "sys")
            }
        }
    }

    /// Returns whether `/proc` is a new one, which shows the step's processes only.
    pub(super) fn own_proc(&self) -> Result<(), RunError> {
        match self.notes.first() {
            None => Ok(()),
            Some(note) => Err(RunError::Mount {
                what: "/proc".to_owned(),
                detail: Some(note.clone()),
                source: Errno::PERM.into(),
            }),
        }
    }

    /// Returns the folder in memory.
    pub(super) fn staging(&self) -> &OwnedFd {
        &self.staging
    }
}
