//! Binding generated files over the image's, or on mount points that are removed again.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::AsFd;

use rustix::mount::MountAttrFlags;

use super::attributes::attach_with;
use super::mounts;
use super::root::Root;
use crate::error::RunError;
use crate::mount;
use crate::step::files::Generated;
use crate::step::stubs::Recorder;
use crate::step::walk::{self, Missing};

/// No set-user-ID programs and no devices. Scripts must be executable.
const OWN: MountAttrFlags =
    MountAttrFlags::MOUNT_ATTR_NOSUID.union(MountAttrFlags::MOUNT_ATTR_NODEV);

/// The same, and nothing can be written.
pub(super) const READ_ONLY: MountAttrFlags = OWN.union(MountAttrFlags::MOUNT_ATTR_RDONLY);

/// Binds all of them. The mount points that had to be made go to `recorder`.
pub(super) fn bind_all(
    root: &Root,
    files: &[Generated],
    recorder: &mut Recorder,
) -> Result<(), RunError> {
    for (number, file) in files.iter().enumerate() {
        bind(root, file, &format!("file-{number}"), recorder)
            .map_err(RunError::mount(&file.path))?;
    }
    Ok(())
}

/// Binds one file, which gets that `name` in the staging folder.
fn bind(
    root: &Root,
    generated: &Generated,
    name: &str,
    recorder: &mut Recorder,
) -> Result<(), std::io::Error> {
    let path = generated.path.as_bytes();
    let place = walk::locate(root.fd.as_fd(), path, Missing::MakeFile)?;
    recorder.add(root.fd.as_fd(), place.made)?;
    let mut file = File::from(mounts::make_file(&root.staging, name, generated.mode)?);
    file.write_all(&generated.contents)?;
    // A program that is open for writing cannot be executed.
    drop(file);
    let mount = mount::clone_of(mounts::open_path(&root.staging, name)?, false)?;
    let attributes = if generated.read_only { READ_ONLY } else { OWN };
    attach_with(&mount, &place.fd, attributes, false)
}
