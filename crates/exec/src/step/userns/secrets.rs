//! Secrets as files, in memory that is never swapped out.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

use rustix::fs::{Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use super::mounts::{self, make_folder, open_folder};
use crate::error::{RunError, errno_of};

/// The folder of a step's secrets.
#[derive(Debug)]
pub(super) struct Secrets(OwnedFd);

/// Its name below the staging folder.
const FOLDER: &str = "secrets";

impl Secrets {
    /// Mounts the memory below the staging folder, which the step cannot reach.
    pub(super) fn mount(staging: &OwnedFd, tell: &mut dyn FnMut(String)) -> Result<Self, RunError> {
        // A secret whose mode has an x bit may be a program: each file's own mount decides.
        let inert = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let mode = [(c"mode", Some("0700"))];
        let memory = match mounts::create(c"ramfs", &mode, inert) {
            Ok(memory) => memory,
            Err(_) => {
                tell(
                    "secrets are in memory that may be swapped to disk: this kernel refuses ramfs"
                        .to_owned(),
                );
                mounts::create(c"tmpfs", &mode, inert)?
            }
        };
        let attach = || -> Result<OwnedFd, Errno> {
            mounts::attach(memory, make_folder(staging, FOLDER)?)?;
            open_folder(staging, FOLDER)
        };
        attach().map(Self).map_err(RunError::mount("the folder of secrets"))
    }

    /// Makes a file with a secret; `number` has not been used before.
    pub(super) fn put(
        &self,
        number: usize,
        contents: &[u8],
        mode: u32,
        (uid, gid): (u32, u32),
    ) -> Result<OwnedFd, Errno> {
        let name = number.to_string();
        let mut file = File::from(mounts::make_file(&self.0, &name, 0o600)?);
        file.write_all(contents).map_err(errno_of)?;
        rustix::fs::fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode & 0o777))?;
        mounts::open_path(&self.0, &name)
    }
}
