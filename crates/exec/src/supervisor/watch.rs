//! What the task's process does while the step runs: it collects events, and makes the device nodes
//! that the kernel refuses to the step.
//!
//! A user namespace has no devices. The filter passes `mknod` of one on to here, where an empty
//! regular file with an attribute ([`xbuild_model::device`]) is made in its place, with no right
//! that the caller lacks: [`guise`] has the process act from where and as whom [`caller`] says.
//! The process is in neither the step's pid namespace nor its mount namespace, so the step cannot
//! reach it, and it never lets a call through to the kernel on the strength of what it read.
//!
//! **Source** — `seccomp_unotify(2)`.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::thread::CapabilitySet;
use xbuild_model::device::{self, DeviceKind};
use xbuild_model::records::Records;

use super::caller::Caller;
use super::guise::Guise;
use crate::error::RunError;
use crate::idmap::Ids;
use crate::seccomp::notice::{self, Mknod};
use crate::wire;

/// Bytes of events read at a time.
const BUFFER: usize = 4 << 10;

/// The most different devices of a step: far more than `MAKEDEV` makes, and little memory.
const DEVICE_LIMIT: usize = 1 << 16;

const WHAT: &str = "attend to the step";

/// Answers the step's calls until `events` ends, and returns what came through it. `channel` brings
/// the listener, if there is one; `records` takes the devices that are made.
pub(crate) fn attend(
    ids: Ids,
    events: OwnedFd,
    channel: OwnedFd,
    records: &mut Records,
) -> Result<Vec<u8>, RunError> {
    let (mut text, mut buffer) = (Vec::new(), vec![0; BUFFER]);
    let mut line = Line::Channel(channel);
    let mut supervisor = None;
    loop {
        let (event, call) = wait(&events, &line).map_err(RunError::setup(WHAT))?;
        if !call.is_empty() {
            line = match line {
                Line::Channel(channel) => {
                    match wire::receive(channel).map_err(RunError::setup(WHAT))? {
                        Some((_, fds)) => fds.into_iter().next().map_or(Line::None, Line::Listener),
                        None => Line::None,
                    }
                }
                Line::Listener(listener) if call.contains(PollFlags::IN) => {
                    if supervisor.is_none() {
                        supervisor = Some(Supervisor::new(ids).map_err(RunError::setup(WHAT))?);
                    }
                    if let Some(supervisor) = &supervisor {
                        supervisor.serve(&listener, records).map_err(RunError::setup(WHAT))?;
                    }
                    Line::Listener(listener)
                }
                // All that were under the filter have ended.
                _ => Line::None,
            };
        }
        if !event.is_empty() {
            match retry_on_intr(|| rustix::io::read(&events, &mut buffer))
                .map_err(RunError::setup(WHAT))?
            {
                0 => return Ok(text),
                read => text.extend_from_slice(&buffer[..read]),
            }
        }
    }
}

/// Where calls come from.
enum Line {
    /// The listener is still to come.
    Channel(OwnedFd),
    Listener(OwnedFd),
    None,
}

/// Waits for something of either; returns what is known of both.
fn wait(events: &OwnedFd, line: &Line) -> Result<(PollFlags, PollFlags), Errno> {
    let mut polled = vec![PollFd::new(events, PollFlags::IN)];
    if let Line::Channel(fd) | Line::Listener(fd) = line {
        polled.push(PollFd::new(fd, PollFlags::IN));
    }
    retry_on_intr(|| rustix::event::poll(&mut polled, None))?;
    let call = polled.get(1).map_or(PollFlags::empty(), |polled| polled.revents());
    Ok((polled[0].revents(), call))
}

/// Makes what stands in for devices. Set up when the first one is asked for.
struct Supervisor {
    /// This process's own `/proc`.
    proc: OwnedFd,
    guise: Guise,
}

impl Supervisor {
    fn new(ids: Ids) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self { proc: rustix::fs::open("/proc", flags, Mode::empty())?, guise: Guise::new(ids)? })
    }

    /// Answers one call.
    ///
    /// **Errors** — only for what leaves this process unfit to go on.
    fn serve(&self, listener: &OwnedFd, records: &mut Records) -> Result<(), Errno> {
        let fault = |error: std::io::Error| Errno::from_io_error(&error).unwrap_or(Errno::IO);
        let Some(notice) = notice::receive(listener).map_err(fault)? else { return Ok(()) };
        let caller = match notice.call {
            Some(call) => Caller::read(self.proc.as_fd(), notice.thread, &call),
            None => Err(Errno::PERM),
        };
        // The thread's number may by now be another's.
        if !notice.is_waiting(listener) {
            return Ok(());
        }
        let result = match (caller, notice.call) {
            (Ok(caller), Some(call)) => self.make(&caller, &call, records)?,
            (Err(errno), _) => Err(errno),
            (_, None) => Err(Errno::PERM),
        };
        notice.answer(listener, result.err().map(Errno::raw_os_error)).map_err(fault)
    }

    /// Does what the call asks for. The outer result is about this process, the inner one for the
    /// caller.
    fn make(
        &self,
        caller: &Caller,
        call: &Mknod,
        records: &mut Records,
    ) -> Result<Result<(), Errno>, Errno> {
        let worn = self.guise.wear(caller);
        let made = worn.and_then(|()| self.make_as_caller(caller, call, records));
        self.guise.take_off()?;
        Ok(made)
    }

    fn make_as_caller(
        &self,
        caller: &Caller,
        call: &Mknod,
        records: &mut Records,
    ) -> Result<(), Errno> {
        let kind = match call.device.kind {
            DeviceKind::Char => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
        };
        let number = rustix::fs::makedev(call.device.major, call.device.minor);
        let mode = Mode::from_raw_mode(call.mode);
        // Whatever else is wrong the kernel says before it refuses the device as such.
        match rustix::fs::mknodat(CWD, &*caller.path, kind, mode, number) {
            Err(Errno::PERM) if caller.capabilities.contains(CapabilitySet::MKNOD) => {}
            result => return result,
        }
        if records.devices.len() == DEVICE_LIMIT && !records.devices.contains(&call.device) {
            return Err(Errno::NOSPC);
        }
        records.devices.insert(call.device);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(CWD, &*caller.path, flags, mode)?;
        // The owner of a device need not be allowed to write to it; this file is its own.
        self.guise.regain_rights()?;
        let value = call.device.to_string();
        let marked =
            rustix::fs::fsetxattr(&file, device::ATTRIBUTE, value.as_bytes(), XattrFlags::empty());
        self.guise.limit_rights(caller)?;
        marked.map_err(|_| {
            // A file system that cannot tell it from an empty file: it must not look like success.
            // If the name is another file's by now, the caller may do the same to it.
            let _ = rustix::fs::unlink(&*caller.path);
            Errno::PERM
        })
    }
}
