//! The root folder that a step finds.

use std::fs::Permissions;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use xbuild_files::owners::mark;
use xbuild_layer::Meta;
use xbuild_model::owner::Owner;
use xbuild_model::records::Owners;

use super::shared::Shared;
use crate::EngineError;

/// Gives the root folder of a step its metadata. Returns its mode, and its owner; `None` for root.
pub(super) fn dress(
    shared: &Shared,
    root: &Path,
    meta: Meta,
) -> Result<(u32, Option<(u32, u32)>), EngineError> {
    let meta = Meta { xattrs: Vec::new(), ..meta };
    let mode = meta.mode;
    // Id 0 of the namespace is this process's own id.
    let is_own = (meta.uid, meta.gid) == (0, 0);
    let owner = (!is_own).then_some((meta.uid, meta.gid));
    let failed = |source| EngineError::Io { action: "set up the root folder", source };
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let now = std::fs::symlink_metadata(root).map_err(failed)?;
    if is_own && (now.uid(), now.gid()) == own {
        let is_recorded = shared.namespace.owners()? == Owners::Recorded;
        let set = || -> io::Result<()> {
            if is_recorded {
                let folder = std::fs::File::open(root)?;
                mark(folder.as_fd(), Owner::ROOT)?;
            }
            std::fs::set_permissions(root, Permissions::from_mode(mode))?;
            xbuild_files::Root::open(root)?.set_mtime(b"", meta.mtime)
        };
        set().map_err(failed)?;
    } else {
        shared.dress(root, vec![(Vec::new(), meta)])?;
    }
    Ok((mode, owner))
}
