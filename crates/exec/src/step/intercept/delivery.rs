//! Giving a stopped thread a descriptor of an emulator.
//!
//! No path leads to the emulator, so it is there in every `chroot`, and programs do not see it. It
//! goes through a pair of sockets that the thread makes; its tracer takes one of them.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};

use super::abi::{Abi, Call};
use super::scratch::{Areas, Scratch};
use super::session::{Fault, Session};
use crate::error::errno_of;
use crate::wire;

/// Makes the thread open `file`, to be closed when it executes another program. Returns the number.
///
/// Where the kernel keeps tracers from the descriptors of a process, as Docker's default profile and
/// Linux before 5.6 do, the socket gets a name. A thread that has left the network namespace of its
/// tracer gets a copy of its own, which costs time and memory.
pub(super) fn deliver(
    session: &mut Session,
    scratch: &mut Scratch,
    file: BorrowedFd<'_>,
) -> Result<u64, Fault> {
    let areas = scratch.areas(session)?;
    let [near, far] = socket_pair(session, areas.buffer)?;
    let received = pass(session, areas, near, far, file);
    for socket in [near, far] {
        session.call(Call::Close, &[socket])?;
    }
    let received = match received {
        Err(Fault::Failed(Errno::PERM | Errno::NOSYS)) => by_name(session, areas, file),
        received => received,
    };
    match received {
        Err(Fault::Failed(_)) => copy(session, scratch, file),
        received => received,
    }
}

/// Lets the thread make a socket with a name that the kernel chooses, and sends the file there. The
/// name is valid in the network namespace of the step.
fn by_name(session: &mut Session, areas: Areas, file: BorrowedFd<'_>) -> Result<u64, Fault> {
    let (family, kind) = (libc::AF_UNIX as u64, (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as u64);
    let socket = session.call(Call::Socket, &[family, kind, 0])?;
    let received = name(session, areas, socket).and_then(|name| {
        let kind = SocketType::DGRAM;
        let sender = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        // A sender never waits: others may have filled the socket.
        rustix::io::ioctl_fionbio(&sender, true)?;
        rustix::net::connect(&sender, &SocketAddrUnix::new_abstract_name(&name)?)?;
        send(&sender, file)?;
        receive(session, areas, socket)
    });
    session.call(Call::Close, &[socket])?;
    let received = received?;
    // Anybody in the step can send files to that name.
    if is_same(session, areas, received, file)? {
        return Ok(received);
    }
    session.call(Call::Close, &[received])?;
    Err(Errno::PERM.into())
}

/// Gives a socket of the thread's a name, and returns that.
///
/// **Source** — `unix(7)` § Autobind feature.
fn name(session: &mut Session, areas: Areas, socket: u64) -> Result<Vec<u8>, Fault> {
    const FAMILY: usize = size_of::<libc::sa_family_t>();
    const ROOM: u32 = 128;
    let (length_at, address_at) = (areas.buffer, areas.buffer + 8);
    session.write(address_at, &(libc::AF_UNIX as libc::sa_family_t).to_ne_bytes())?;
    session.call(Call::Bind, &[socket, address_at, FAMILY as u64])?;
    session.write(length_at, &ROOM.to_ne_bytes())?;
    session.call(Call::Getsockname, &[socket, address_at, length_at])?;
    let mut length = [0; 4];
    session.read(length_at, &mut length)?;
    let length = u32::from_ne_bytes(length).min(ROOM) as usize;
    let mut address = vec![0; length];
    session.read(address_at, &mut address)?;
    // After the family a NUL says that it is no path.
    Ok(address.split_off(address.len().min(FAMILY + 1)))
}

/// Returns whether a descriptor of the thread's is that file.
///
/// **Source** — `statx(2)`.
fn is_same(
    session: &mut Session,
    areas: Areas,
    descriptor: u64,
    file: BorrowedFd<'_>,
) -> Result<bool, Fault> {
    let stat = rustix::fs::fstat(file)?;
    let (empty, answer) = (areas.buffer, areas.buffer + 8);
    session.write(empty, b"\0")?;
    let (flags, wanted) = (libc::AT_EMPTY_PATH as u64, u64::from(libc::STATX_INO));
    session.call(Call::Statx, &[descriptor, empty, flags, wanted, answer])?;
    let mut bytes = [0; 144];
    session.read(answer, &mut bytes)?;
    let word = |at: usize| {
        let [a, b, c, d] = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        u32::from_le_bytes([a, b, c, d])
    };
    // stx_ino, stx_dev_major, stx_dev_minor.
    let inode = u64::from(word(32)) | u64::from(word(36)) << 32;
    let device = rustix::fs::makedev(word(136), word(140));
    Ok((inode, device) == (stat.st_ino, stat.st_dev))
}

/// Bytes that are copied at a time.
const PART: usize = 1 << 20;

/// Makes the thread copy the file into memory.
fn copy(session: &mut Session, scratch: &mut Scratch, file: BorrowedFd<'_>) -> Result<u64, Fault> {
    let areas = scratch.areas_with(session, PART as u64)?;
    session.write(areas.buffer, b"emulator\0")?;
    let executable = u64::from((MemfdFlags::CLOEXEC | MemfdFlags::EXEC).bits());
    let memory = match session.call(Call::MemfdCreate, &[areas.buffer, executable]) {
        // Before Linux 6.3 every memory file is executable.
        Err(Fault::Failed(Errno::INVAL)) => {
            let flags = u64::from(MemfdFlags::CLOEXEC.bits());
            session.call(Call::MemfdCreate, &[areas.buffer, flags])?
        }
        memory => memory?,
    };
    let (mut part, mut done) = (vec![0; PART], 0);
    loop {
        let length = retry_on_intr(|| rustix::io::pread(file, &mut part[..], done))?;
        if length == 0 {
            return Ok(memory);
        }
        session.write(areas.rest, &part[..length])?;
        let written = session.call(Call::Write, &[memory, areas.rest, length as u64])?;
        done += written;
    }
}

fn socket_pair(session: &mut Session, buffer: u64) -> Result<[u64; 2], Fault> {
    let (family, kind) = (libc::AF_UNIX as u64, (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as u64);
    session.call(Call::Socketpair, &[family, kind, 0, buffer])?;
    let mut bytes = [0; 8];
    session.read(buffer, &mut bytes)?;
    let [a, b, c, d, e, f, g, h] = bytes;
    Ok([u32::from_le_bytes([a, b, c, d]).into(), u32::from_le_bytes([e, f, g, h]).into()])
}

fn pass(
    session: &mut Session,
    areas: Areas,
    near: u64,
    far: u64,
    file: BorrowedFd<'_>,
) -> Result<u64, Fault> {
    let far = take(session.thread(), far)?;
    send(&far, file)?;
    receive(session, areas, near)
}

fn send(socket: &OwnedFd, file: BorrowedFd<'_>) -> Result<(), Errno> {
    wire::send(socket, b"emulator", &[file]).map_err(errno_of)
}

/// Makes the thread take the file from a socket. Returns its number.
fn receive(session: &mut Session, areas: Areas, socket: u64) -> Result<u64, Fault> {
    let header = Header::new(session.abi(), areas.buffer);
    session.write(areas.buffer, &header.bytes)?;
    let flags = (libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT) as u64;
    session.call(Call::Recvmsg, &[socket, areas.buffer, flags])?;
    let mut received = vec![0; header.bytes.len()];
    session.read(areas.buffer, &mut received)?;
    header.descriptor(&received).ok_or_else(|| Errno::MFILE.into())
}

/// Returns a descriptor of a file that a thread has open.
fn take(thread: Pid, number: u64) -> Result<OwnedFd, Errno> {
    let number = i32::try_from(number).map_err(|_| Errno::BADF)?;
    let process = match rustix::process::pidfd_open(thread, PidfdFlags::empty()) {
        // It is not the first thread of its process.
        Err(_) => rustix::process::pidfd_open(process_of(thread)?, PidfdFlags::empty())?,
        Ok(process) => process,
    };
    rustix::process::pidfd_getfd(process, number, PidfdGetfdFlags::empty())
}

/// Returns the process of a thread.
fn process_of(thread: Pid) -> Result<Pid, Errno> {
    let path = format!("/proc/{}/status", thread.as_raw_nonzero());
    let status = std::fs::read_to_string(path).map_err(errno_of)?;
    let number = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
    number.and_then(Pid::from_raw).ok_or(Errno::SRCH)
}

/// The header of a message with room for one descriptor, as `recvmsg` takes it.
///
/// **Source** — `recvmsg(2)`, `cmsg(3)`: fields of the size of a pointer, each aligned to its size.
struct Header {
    bytes: Vec<u8>,
    /// The place of the descriptor.
    descriptor: usize,
    /// The place of the length of the control data.
    control_length: usize,
    /// That length with one descriptor.
    full: u64,
    pointer: usize,
}

/// Room for the bytes that come with the descriptor.
const PAYLOAD: u64 = 8;

impl Header {
    /// Lays the header out for the address `base`.
    fn new(abi: Abi, base: u64) -> Self {
        let pointer = abi.pointer();
        // msg_name, msg_namelen, msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags, each in
        // a field of its own; then the part (address, length), the control data (length, level,
        // kind, descriptor), the payload.
        let (part, control) = (7 * pointer, 9 * pointer);
        let control_size = pointer + 8 + 4;
        let space = control_size.next_multiple_of(pointer);
        let payload = control + space;
        let mut bytes = vec![0; payload + PAYLOAD as usize];
        let mut put = |at: usize, value: u64| {
            bytes[at..at + pointer].copy_from_slice(&value.to_le_bytes()[..pointer]);
        };
        put(2 * pointer, base + part as u64);
        put(3 * pointer, 1);
        put(4 * pointer, base + control as u64);
        put(5 * pointer, space as u64);
        put(part, base + payload as u64);
        put(part + pointer, PAYLOAD);
        Self {
            bytes,
            descriptor: control + pointer + 8,
            control_length: control,
            full: control_size as u64,
            pointer,
        }
    }

    /// Returns the descriptor in a header that `recvmsg` has filled in, if there is one.
    fn descriptor(&self, received: &[u8]) -> Option<u64> {
        let number = |at: usize, size: usize| -> Option<u64> {
            let bytes = received.get(at..at + size)?;
            Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
        };
        let is_full = number(self.control_length, self.pointer)? == self.full;
        is_full.then(|| number(self.descriptor, 4)).flatten()
    }
}
