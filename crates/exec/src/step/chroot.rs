//! The parts of a step where nothing can be mounted: a folder with all files becomes the root by
//! `chroot(2)`.
//!
//! The process of the task (`standby`) makes the place (`stage`): whatever another rung would mount
//! *covers* a file or folder of the image (`cover`): the image's own is renamed out of the way, and
//! back when the command has ended. `furnish` has the files that every step gets, `mounts` those of
//! RUN `--mount`, `lend` lends cache folders, and `copy` copies files. The child of that process
//! (`keeper`) starts the command; without a pid namespace it ends what the command left running
//! (`descendants`). `trial` tries all of that out.
//!
//! The command can reach more than its root: these steps are not isolated from xbuild.

mod copy;
mod cover;
pub(super) mod descendants;
mod furnish;
pub(crate) mod keeper;
mod lend;
mod mounts;
mod secret;
pub(super) mod stage;
pub(crate) mod trial;
