//! Telling the kernel which programs have twins.
//!
//! Each gets an entry of the build's own `binfmt_misc` whose emulator has the starter of twins in
//! front. It is opened in a copy of its mount that is in no tree, under the path of the program:
//! there the kernel finds the name of a process's program, `/proc/PID/exe`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use xbuild_model::TaskFailure;

use crate::binfmt::PrivateInstance;
use crate::error::RunError;
use crate::mount::clone_of;
use crate::protocol::TwinsRequest;
use crate::step::userns::mounts;
use crate::twins::{NAMES, Twin};

/// Does the task. Entries that another set has made already stay.
pub(super) fn task(
    request: &[u8],
    instance: Option<&PrivateInstance>,
) -> Result<Vec<u8>, TaskFailure> {
    let TwinsRequest { folder, set } =
        serde_json::from_slice(request).map_err(|error| error.to_string())?;
    let instance = instance.ok_or_else(|| "there is no binfmt_misc of the build".to_owned())?;
    let names = mounts::open_trusted(&folder.join(NAMES))
        .and_then(|names| clone_of(&names, false).map_err(RunError::mount("the names of twins")))
        .map_err(|error| crate::error::in_words(&error))?;
    for twin in &set.twins {
        match register(&names, twin, instance) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(format!("cannot register {}: {errno}", twin.path).into()),
        }
    }
    Ok(Vec::new())
}

fn register(names: &OwnedFd, twin: &Twin, instance: &PrivateInstance) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let program = rustix::fs::openat(names.as_fd(), &*twin.path, flags, Mode::empty())?;
    instance.write_line(&crate::binfmt::twin_line(&twin.magic, program.as_raw_fd()))
}
