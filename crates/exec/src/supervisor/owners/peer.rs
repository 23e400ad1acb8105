//! The identity of the process at the other end of a socket.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::identity::{Identities, Identity};
use super::thread::Thread;
use super::{memory, sys};
use crate::supervisor::caller;
use crate::supervisor::reply::Reply;

/// Bytes of `struct ucred`.
const SIZE: u32 = 12;

/// Answers `SO_PEERCRED` if the process at the other end is not root; the kernel does all others.
pub(super) fn answer(
    identities: &Identities,
    thread: &Thread<'_>,
    socket: i32,
    facts: u64,
    size: u64,
) -> Result<Reply, Errno> {
    let Some((number, identity)) = other_end(identities, thread, socket) else {
        return Ok(Reply::Continue);
    };
    if identity == Identity::default() {
        return Ok(Reply::Continue);
    }
    let mut room = [0; 4];
    memory::read(thread, size, &mut room)?;
    let length = u32::from_ne_bytes(room).min(SIZE);
    let facts_of = [number, identity.uid.effective, identity.gid.effective];
    let bytes: Vec<u8> = facts_of.into_iter().flat_map(u32::to_ne_bytes).collect();
    memory::write(thread, facts, &bytes[..length as usize])?;
    memory::write(thread, size, &length.to_ne_bytes())?;
    Ok(Reply::Returns(0))
}

/// Returns the process at the other end, by the number that it has for itself, and its identity; `None`
/// if that cannot be found out.
fn other_end(identities: &Identities, thread: &Thread<'_>, socket: i32) -> Option<(u32, Identity)> {
    let process = |number: u32| {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::open(number.to_string(), flags, Mode::empty()).ok()?;
        caller::status(&folder).ok()
    };
    let own = process(thread.number)?.process;
    let own = Pid::from_raw(own.cast_signed())?;
    let own = rustix::process::pidfd_open(own, PidfdFlags::empty()).ok()?;
    let socket = rustix::process::pidfd_getfd(own, socket, PidfdGetfdFlags::empty()).ok()?;
    let peer = sys::peer(&socket).ok().filter(|peer| *peer > 0)?.cast_unsigned();
    let identity = identities.of_process(peer)?;
    thread.check().ok()?;
    Some((process(peer)?.own_number, identity))
}
