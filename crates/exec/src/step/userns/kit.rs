//! What of a step's root file system is the same for all steps: `/dev`, `/proc`, `/sys` and room for
//! generated files. It is made before there is a step, while the one before it is at work.

use std::os::fd::OwnedFd;

use rustix::fs::CWD;
use rustix::mount::MountAttrFlags;
use xbuild_model::run::Security;

use super::dev;
use super::mounts::{self, Blank};
use super::root::{Root, make_folder};
use crate::error::RunError;
use crate::idmap::Ids;
use crate::step::standby::{Event, Spec};

/// The room for generated files: lists of hosts, scripts.
const STAGING_SIZE: &str = "64m";

/// The parts, mounted in a folder in memory.
#[derive(Debug)]
pub(crate) struct Kit {
    /// The folder. It lies over the host's `/sys`, as seen by this process, and goes with that:
    /// a place that is sure to exist, and where nothing is that a step is given by its path.
    staging: OwnedFd,
    blank: Blank,
    dev: OwnedFd,
    proc: OwnedFd,
    sys: OwnedFd,
    /// The host's `/sys` with nothing hidden, mounted nowhere.
    open_sys: OwnedFd,
    /// What the user should know of them.
    notes: Vec<String>,
}

impl Kit {
    /// Makes the parts. To be called in a mount and pid namespace of the step's own, with the `ids`
    /// of the build's.
    pub fn new(ids: Ids) -> Result<Self, RunError> {
        let outer = mounts::open_path(CWD, "/sys").map_err(RunError::mount("/sys"))?;
        let open_sys = mounts::copy_sys(&outer)?;
        let sys = mounts::copy_sys(&outer)?;
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
        let proc = mounts::mount_proc(place("proc")?, Some(&blank), &mut notes)?;
        mounts::mount_sys(&sys, place("sys")?, &blank, Some(&blank))?;
        Ok(Self { staging, blank, dev, proc, sys, open_sys, notes })
    }

    /// Moves the parts into the root of a step; what it must have different is made for it.
    pub fn furnish(
        self,
        root: &Root,
        spec: &Spec,
        tell: &mut dyn FnMut(Event),
    ) -> Result<(), RunError> {
        let Self { staging, blank, dev, proc, sys, open_sys, notes } = self;
        let place =
            |name: &str| make_folder(&staging, name).map_err(RunError::setup("make a folder"));
        let move_to = |part: &OwnedFd, name: &str| {
            let target = mounts::top_folder(root, name)?;
            mounts::attach(part, target).map_err(RunError::mount(&format!("/{name}")))
        };
        dev::resize_shm(&dev, spec.shm_size)?;
        move_to(&dev, "dev")?;
        let masks = match spec.security {
            Security::Sandbox => Some(&blank),
            Security::Insecure => None,
        };
        if masks.is_some() {
            notes.into_iter().for_each(|note| tell(Event::Note(note)));
            move_to(&proc, "proc")?;
        } else {
            move_to(&mounts::mount_proc(place("open-proc")?, None, &mut Vec::new())?, "proc")?;
        }
        let own = if spec.isolated { mounts::own_sys() } else { None };
        match (own, masks) {
            (None, Some(_)) => move_to(&sys, "sys"),
            (own, masks) => {
                let sys = own.unwrap_or(open_sys);
                mounts::mount_sys(&sys, place("other-sys")?, &blank, masks)?;
                move_to(&sys, "sys")
            }
        }
    }

    /// Returns the folder in memory.
    pub fn staging(&self) -> &OwnedFd {
        &self.staging
    }
}
