//! Networks of steps' own, as the main process sees them: what they need of this machine.
//!
//! A step's own network is joined to the host's by `pasta`, a program of an ordinary user that
//! translates between a tap device and sockets.

use std::ffi::OsStr;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use xbuild_wording::hints;

use crate::gap::Gap;
use crate::ladder::Rung;
use crate::programs;

const PROGRAM: &str = "pasta";
const DEVICE: &str = "/dev/net/tun";

/// Returns whether steps on `rung` can have networks of their own; `search_path` is in the form of
/// `PATH`.
///
/// **Errors** — the first thing that this machine lacks for it.
pub fn own_networks(rung: Rung, search_path: &OsStr) -> Result<(), Gap> {
    if !rung.way().has_mounts() {
        return Err(Gap {
            why: format!("the isolation {rung} has none"),
            how_to_get: hints::network_of_host(),
        });
    }
    pasta(search_path)?;
    rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
        Gap {
            why: format!("{DEVICE} cannot be opened: {errno}"),
            how_to_get: hints::tun_device(DEVICE),
        }
    })?;
    Ok(())
}

/// Returns whether steps on `rung` can be without any network.
///
/// **Errors** — the rung has no network namespaces.
pub fn no_network(rung: Rung) -> Result<(), Gap> {
    if rung.way().has_users() {
        return Ok(());
    }
    Err(Gap {
        why: format!("the isolation {rung} has no network namespaces"),
        how_to_get: hints::network_none(),
    })
}

/// Returns the path of pasta.
pub(crate) fn pasta(search_path: &OsStr) -> Result<PathBuf, Gap> {
    programs::find(PROGRAM, search_path).ok_or_else(|| Gap {
        why: format!("{PROGRAM} is not in PATH"),
        how_to_get: hints::install_pasta(),
    })
}
