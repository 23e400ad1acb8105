//! Mounts that no step can have, whatever its image is.

use xbuild_dockerfile::Mount;

use crate::error::{Covered, MountError};
use crate::paths;

/// Characters that make the value of an option depend on variables or on the escape character.
const EXPANDED: &[char] = &['$', '\\', '`', '\'', '"'];

/// Returns the error of a mount that its text alone shows, so that no image is asked for.
pub(crate) fn early(mount: &Mount) -> Option<MountError> {
    let last = |names: &[&str]| {
        let option = mount.options.iter().rfind(|option| names.contains(&&*option.key))?;
        option.value.as_deref().filter(|value| !value.is_empty())
    };
    let is_secret = last(&["type"]).is_some_and(|kind| kind.eq_ignore_ascii_case("secret"));
    if is_secret && last(&["from"]).is_some() {
        return Some(MountError::NotFor { kind: "secret", name: "from" });
    }
    let written = last(&["target", "dst", "destination"])?;
    if !written.starts_with('/') || written.contains(EXPANDED) {
        return None;
    }
    let place = place(&paths::join("/", written))?;
    Some(MountError::Target { written: written.to_owned(), place })
}

/// Returns the place that a mount at `target`, an absolute and clean path, would cover. Links of the
/// image may lead there, too: that is found out when the step starts.
pub(crate) fn place(target: &str) -> Option<Covered> {
    match target.split('/').nth(1).unwrap_or_default() {
        "" => Some(Covered::Root),
        "dev" if target == "/dev" => Some(Covered::Devices),
        "proc" | "sys" => Some(Covered::Kernel),
        _ => None,
    }
}
