//! The transport between the main process and the helper: bytes and descriptors over a
//! sequenced-packet socket, and payloads of any size in anonymous files.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::MemfdFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The most bytes of one message; larger ones travel in a file of their own ([`payload`]).
const MESSAGE_LIMIT: usize = 32 << 10;

/// The most descriptors of one message; the kernel's own limit is 253.
pub(crate) const DESCRIPTOR_LIMIT: usize = 64;

/// Returns two connected sockets that keep messages apart.
pub(crate) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let (a, b) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    Ok((a, b))
}

/// Sends one message, which must not be empty, in one piece: many threads may use one socket.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if bytes.is_empty() || bytes.len() > MESSAGE_LIMIT || fds.len() > DESCRIPTOR_LIMIT {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let iov = [IoSlice::new(bytes)];
    let sent = retry_on_intr(|| {
        rustix::net::sendmsg(socket.as_fd(), &iov, &mut ancillary, SendFlags::NOSIGNAL)
    })?;
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives one message, or `None` when the other end is closed.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MESSAGE_LIMIT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTOR_LIMIT))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = retry_on_intr(|| {
        let mut iov = [IoSliceMut::new(&mut bytes)];
        rustix::net::recvmsg(socket.as_fd(), &mut iov, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })
    .or_else(|error| match error {
        // Closed, with messages unread.
        Errno::CONNRESET => {
            Ok(rustix::net::RecvMsg { bytes: 0, flags: ReturnFlags::empty(), address: None })
        }
        error => Err(error),
    })?;
    let mut fds = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    if received.bytes == 0 {
        return Ok(None);
    }
    if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    bytes.truncate(received.bytes);
    Ok(Some((bytes, fds)))
}

/// Puts bytes into an anonymous file.
pub(crate) fn payload(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create(c"xbuild-payload", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file.into())
}

/// Reads back what [`payload`] wrote.
pub(crate) fn read_payload(fd: OwnedFd) -> io::Result<Vec<u8>> {
    let mut file = File::from(fd);
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_bytes_and_descriptors() {
        let (a, b) = pair().unwrap();
        let file = payload(b"contents").unwrap();
        send(&a, b"name", &[file.as_fd(), file.as_fd()]).unwrap();
        send(&a, b"second", &[]).unwrap();
        let (bytes, mut fds) = receive(&b).unwrap().unwrap();
        assert_eq!((&*bytes, fds.len()), (&b"name"[..], 2));
        assert_eq!(read_payload(fds.remove(0)).unwrap(), b"contents");
        assert_eq!(receive(&b).unwrap().unwrap().0, b"second");
        drop(a);
        assert!(receive(&b).unwrap().is_none());
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let (a, _b) = pair().unwrap();
        assert!(send(&a, b"", &[]).is_err());
        assert!(send(&a, &vec![0; MESSAGE_LIMIT + 1], &[]).is_err());
    }
}
