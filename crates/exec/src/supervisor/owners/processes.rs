//! The identities of processes as `/proc` shows them: the owner of a process's folder, and its `status`.
//!
//! **Source** — `proc_pid_status(5)`, `proc_pid_limits(5)`.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use rustix::fs::{MemfdFlags, OFlags};
use rustix::io::Errno;
use xbuild_model::owner::Owner;

use super::identity::{Identities, Identity};
use super::spot::Spot;
use super::status;
use super::thread::Thread;
use crate::error::errno_of;
use crate::supervisor::reply::Reply;

/// Returns the owner of the folder of a process that is not root; `None` for any other file.
pub(super) fn owner(
    identities: &Identities,
    thread: &Thread<'_>,
    spot: &Spot,
) -> Result<Option<Owner>, Errno> {
    let path = spot.path.as_bytes();
    let end = path.iter().rposition(|byte| *byte != b'/').map_or(0, |at| at + 1);
    if !identities.vary() {
        return Ok(None);
    }
    let Some(number) = number(thread, &path[..end])? else { return Ok(None) };
    let identity = other(identities, &number);
    Ok(identity.map(|identity| Owner { uid: identity.uid.effective, gid: identity.gid.effective }))
}

/// Returns the number by which the step sees the process of a folder of `/proc`; `None` for any other
/// path.
fn number(thread: &Thread<'_>, folder: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    if folder != thread.number.to_string().as_bytes() {
        return Ok(folder.strip_prefix(b"/proc/").map(<[u8]>::to_vec));
    }
    if shows_this_process() {
        return Ok(Some(folder.to_vec()));
    }
    let own = status::own_number(&status::read(thread.number)?);
    Ok(own.map(|number| number.to_string().into_bytes()))
}

/// Gives the caller the `status` of a process that is not root, if it opens that; `None` for any other
/// file.
pub(super) fn open_status(
    identities: &Identities,
    thread: &Thread<'_>,
    spot: &Spot,
    flags: u32,
) -> Result<Option<Reply>, Errno> {
    let flags = OFlags::from_bits_retain(flags);
    let is_plain = flags & OFlags::ACCMODE == OFlags::RDONLY && !flags.contains(OFlags::PATH);
    let Some(folder) = spot.path.as_bytes().strip_suffix(b"/status") else { return Ok(None) };
    if !is_plain || !identities.vary() {
        return Ok(None);
    }
    let Some(number) = number(thread, folder)? else { return Ok(None) };
    let Some(identity) = other(identities, &number) else { return Ok(None) };
    // With the numbers of processes that the step sees.
    let path = [b"/proc/", &number[..], b"/status"].concat();
    let Ok(text) = read(&path) else { return Ok(None) };
    let mut file: File = rustix::fs::memfd_create("status", MemfdFlags::CLOEXEC)?.into();
    file.write_all(status::changed(&text, &identity).as_bytes()).map_err(errno_of)?;
    file.rewind().map_err(errno_of)?;
    thread.check()?;
    let close_on_exec = flags.contains(OFlags::CLOEXEC);
    Ok(Some(Reply::Gives { file: file.into(), close_on_exec }))
}

/// Returns whether the step's `/proc` has the numbers that this process knows: it is not the step's own
/// where the kernel refuses a new one, as in a container with a masked `/proc`.
fn shows_this_process() -> bool {
    std::fs::read_link("/proc/self").is_ok()
}

/// Returns the identity of a process by the number that the step sees, if it is not root.
fn other(identities: &Identities, number: &[u8]) -> Option<Identity> {
    if !identities.vary() || number.is_empty() || !number.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let limits = read(&[b"/proc/", number, b"/limits"].concat()).ok()?;
    let identity = identities.of_limit(locks_limit(&limits)?);
    (identity != Identity::default()).then_some(identity)
}

fn read(path: &[u8]) -> std::io::Result<String> {
    use std::os::unix::ffi::OsStrExt as _;
    std::fs::read_to_string(std::ffi::OsStr::from_bytes(path))
}

/// Returns the soft limit of `RLIMIT_LOCKS`; `None` without a limit.
fn locks_limit(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max file locks"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_read() {
        let text = "Max processes             1000                 1000                 processes \n\
            Max file locks            8674034718216847360  unlimited            locks     \n";
        assert_eq!(locks_limit(text), Some(8_674_034_718_216_847_360));
        assert_eq!(locks_limit("Max file locks            unlimited  unlimited  locks\n"), None);
    }
}
