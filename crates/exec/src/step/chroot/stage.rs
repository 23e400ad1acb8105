//! The place of a step: the folder that becomes its root, while it has everything that belongs to
//! the command only.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, StatVfsMountFlags};
use xbuild_model::rootfs::{Folder, RootFs};

use super::cover::Covers;
use super::{furnish, mounts};
use crate::error::RunError;
use crate::idmap::Ids;
use crate::protocol::StepRequest;
use crate::step::stubs::{self, Recorder};
use crate::step::userns::mounts::open_trusted;
use crate::supervisor::Scene;

/// Checks whether programs of a root folder can be executed.
///
/// **Errors** — [`RunError::NoExec`].
pub(super) fn check(root: &OwnedFd, path: &Path) -> Result<(), RunError> {
    let flags =
        rustix::fs::fstatvfs(root).map_err(RunError::setup("look at the root file system"))?.f_flag;
    if flags.contains(StatVfsMountFlags::NOEXEC) {
        return Err(RunError::NoExec { folder: path.to_owned() });
    }
    Ok(())
}

/// A root folder in use by a step.
#[derive(Debug)]
pub(in crate::step) struct Stage {
    covers: Covers,
    path: PathBuf,
    /// Whether the root is that of xbuild, with a `/dev`, `/proc` and `/sys` of its own.
    is_own: bool,
    room: PathBuf,
    scene: Scene,
}

impl Stage {
    /// Opens the root folder of a step. Nothing is changed yet.
    pub(in crate::step) fn open(request: &StepRequest) -> Result<Self, RunError> {
        let RootFs::Folder(folder) = &request.root else {
            return Err(RunError::Invalid {
                what: "root file system".into(),
                value: "overlay".into(),
            });
        };
        let Folder { path, work, is_own } = folder;
        let root = open_trusted(path)?;
        check(&root, path)?;
        let mut home = work.clone().into_os_string();
        home.push("-room");
        let home = PathBuf::from(home);
        rustix::fs::mkdirat(CWD, &home, Mode::from_raw_mode(0o700))
            .map_err(RunError::setup("make a folder beside the root file system"))?;
        let room = open_trusted(&home)?;
        let covers = Covers::new(root, room, Recorder::new(&request.root));
        let (path, is_own) = (path.clone(), *is_own);
        Ok(Self { covers, path, is_own, room: home, scene: Scene::default() })
    }

    /// Puts everything in its place that the command finds beside the image's own files.
    ///
    /// **Errors** — the root folder may be used no more; [`lift`](Self::lift) gives back what was
    /// lent.
    pub(in crate::step) fn furnish(
        &mut self,
        request: &StepRequest,
        ids: Ids,
        tell: &mut dyn FnMut(String),
    ) -> Result<(), RunError> {
        if !self.is_own {
            let (has_devices, proc) = furnish::system_folders(&mut self.covers)?;
            self.scene.lacks_devices = !has_devices;
            self.scene.proc = Some(proc);
        }
        furnish::generated_files(&mut self.covers, &request.run, self.is_own)?;
        mounts::place_all(&mut self.covers, &mut self.scene, request, ids, tell)
    }

    /// Returns the files that the supervisor stands in for.
    pub(in crate::step) fn scene(&mut self) -> Scene {
        std::mem::take(&mut self.scene)
    }

    /// Restores the folder, but for the changes of the command to the image's files.
    pub(in crate::step) fn lift(self) -> Result<(), RunError> {
        let stubs = self.covers.lift().map_err(RunError::setup("restore the root file system"))?;
        stubs::remove(&stubs, &self.path)?;
        // The folder serves the next step, too.
        std::fs::remove_dir_all(&self.room)
            .map_err(RunError::setup("remove the folder beside the root file system"))
    }
}
