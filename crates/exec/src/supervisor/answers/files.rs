//! Answers to calls that name a file which the supervisor stands in for: processes in `/proc`,
//! devices, secrets. All other paths are the kernel's, which gets the call as it is.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::path_call::{self, Kind, PathCall, Target};
use super::processes;
use super::view::{OPEN_FLAGS, View};
use crate::error::errno_of;
use crate::seccomp::notice::Notice;
use crate::supervisor::caller::{self, Caller, PathArgument, Status};
use crate::supervisor::reply::Reply;
use crate::sys;

impl View<'_> {
    /// Works the answer out. The outer error leaves this process unfit to go on.
    pub(super) fn answer(
        &self,
        notice: &Notice,
        listener: &OwnedFd,
        call: &PathCall,
    ) -> Result<Reply, Errno> {
        // Without a look at the caller's memory the kernel has the only answer.
        let Ok(thread) = caller::open_thread(self.proc, notice.thread) else {
            return Ok(Reply::Continue);
        };
        let Some(memory) = self.memory(&thread, OFlags::RDONLY)? else {
            return Ok(Reply::Continue);
        };
        let Ok(path) = caller::read_path(&memory, call.path) else { return Ok(Reply::Continue) };
        let path = path.into_bytes();
        if !path_call::may_be_known(&path, self.scene) {
            return Ok(Reply::Continue);
        }
        let full = self.full_path(&thread, call.folder, path.clone())?;
        let Some(full) = full else { return Ok(Reply::Continue) };
        let Some(target) = path_call::target(&full, self.scene) else {
            return Ok(Reply::Continue);
        };
        if !notice.is_waiting(listener) {
            return Ok(Reply::Continue);
        }
        let Ok(status) = caller::status(&thread) else { return Ok(Reply::Continue) };
        let target = target.seen_by(&status);
        let done = match call.kind {
            Kind::Execute => {
                self.name_program(&thread, &status, call, &target, &path)?;
                return Ok(Reply::Continue);
            }
            Kind::Open { flags } => match self.list(&thread, &status, &target, flags)? {
                Some(done) => done,
                None => self.perform(&thread, &status, call, &target, notice)?,
            },
            _ => self.perform(&thread, &status, call, &target, notice)?,
        };
        Ok(match (done, &target) {
            (Ok(reply), _) => reply,
            // The static files below /proc/self are better than nothing.
            (Err(Errno::NOENT | Errno::ACCESS | Errno::PERM), Target::Own(_)) => Reply::Continue,
            (Err(errno), _) => Reply::Fails(errno),
        })
    }

    fn perform(
        &self,
        thread: &OwnedFd,
        status: &Status,
        call: &PathCall,
        target: &Target,
        notice: &Notice,
    ) -> Result<Result<Reply, Errno>, Errno> {
        match target {
            Target::Device(name) => {
                let path = format!("/dev/{name}");
                Ok(self.use_file(CWD, &path, thread, call, status)?)
            }
            Target::Shown(number) => self.show(*number, notice, call),
            Target::Processes | Target::Descriptors => Ok(Ok(Reply::Continue)),
            // A folder of another file system would lead out of the root.
            Target::Own(rest) if call.kind.opens() && path_call::is_folder(rest) => {
                Ok(Ok(Reply::Continue))
            }
            Target::Own(rest) if rest.is_empty() => Ok(match call.kind {
                Kind::ReadLink { buffer, size } => {
                    let text = status.own_number.to_string();
                    return self.put_link(thread, text.as_bytes(), buffer, size);
                }
                _ => Ok(Reply::Continue),
            }),
            Target::Own(rest) => {
                let Ok(process) = caller::open_thread(self.proc, status.process) else {
                    return Ok(Ok(Reply::Continue));
                };
                let rest = &*processes::outer_name(&process, status, rest);
                if let Kind::ReadLink { buffer, size } = call.kind {
                    return match self.as_caller(status, || self.link(&process, rest))? {
                        Ok(text) => self.put_link(thread, &text, buffer, size),
                        Err(errno) => Ok(Err(errno)),
                    };
                }
                self.use_file(process.as_fd(), rest, thread, call, status)
            }
            Target::Process(number, rest) => {
                self.perform_on_other(thread, status, call, (*number, rest))
            }
        }
    }

    /// Does a call on a file of another process.
    fn perform_on_other(
        &self,
        thread: &OwnedFd,
        status: &Status,
        call: &PathCall,
        (number, rest): (i32, &str),
    ) -> Result<Result<Reply, Errno>, Errno> {
        let is_shown = rest.is_empty() || path_call::OTHERS.contains(&rest);
        let process = if is_shown { self.process(status, number) } else { None };
        let Some(process) = process else { return Ok(Err(Errno::NOENT)) };
        match call.kind {
            Kind::ReadLink { buffer, size } => {
                match self.as_caller(status, || self.link(&process, rest))? {
                    Ok(text) => self.put_link(thread, &text, buffer, size),
                    Err(errno) => Ok(Err(errno)),
                }
            }
            // A folder of another file system would lead out of the root.
            Kind::Open { .. } if rest.is_empty() => Ok(Err(Errno::ACCESS)),
            _ if rest.is_empty() => self.use_file(process.as_fd(), ".", thread, call, status),
            _ => self.use_file(process.as_fd(), rest, thread, call, status),
        }
    }

    /// Does the call on a file of this process's own view, with the caller's rights.
    fn use_file(
        &self,
        folder: BorrowedFd<'_>,
        path: &str,
        thread: &OwnedFd,
        call: &PathCall,
        status: &Status,
    ) -> Result<Result<Reply, Errno>, Errno> {
        let done = match call.kind {
            Kind::Open { flags } => {
                let wanted = OFlags::from_bits_retain(flags);
                let close_on_exec = wanted.contains(OFlags::CLOEXEC);
                let flags = (wanted & OPEN_FLAGS) | OFlags::CLOEXEC;
                let open = || rustix::fs::openat(folder, path, flags, Mode::empty());
                let opened = self.as_caller(status, open)?;
                return Ok(opened.map(|file| Reply::Gives { file, close_on_exec }));
            }
            Kind::Access { mode } => {
                let mode = rustix::fs::Access::from_bits_retain(mode);
                let check = || rustix::fs::accessat(folder, path, mode, AtFlags::EACCESS);
                return Ok(self.as_caller(status, check)?.map(|()| Reply::Returns(0)));
            }
            Kind::Stat { buffer, follow } => {
                let flags = if follow { 0 } else { libc::AT_SYMLINK_NOFOLLOW };
                let look = || sys::stat_bytes(folder, path, flags).map_err(errno_of);
                self.as_caller(status, look)?.map(|bytes| (bytes, buffer))
            }
            Kind::Statx { buffer, flags, mask } => {
                let look = || sys::statx_bytes(folder, path, flags, mask).map_err(errno_of);
                self.as_caller(status, look)?.map(|bytes| (bytes, buffer))
            }
            // Only links are read, and these are not; programs are named before.
            Kind::ReadLink { .. } | Kind::Execute => Err(Errno::INVAL),
        };
        match done {
            Ok((bytes, buffer)) => {
                let written = self.write(thread, &bytes, buffer)?;
                Ok(written.map(|()| Reply::Returns(0)))
            }
            Err(errno) => Ok(Err(errno)),
        }
    }

    /// Opens a secret for a caller who may open its place holder.
    fn show(
        &self,
        number: usize,
        notice: &Notice,
        call: &PathCall,
    ) -> Result<Result<Reply, Errno>, Errno> {
        // Its place holder has the same mode, owner and size.
        let Kind::Open { flags } = call.kind else { return Ok(Ok(Reply::Continue)) };
        let wanted = OFlags::from_bits_retain(flags);
        if wanted.contains(OFlags::PATH) {
            return Ok(Ok(Reply::Continue));
        }
        if wanted & OFlags::ACCMODE != OFlags::RDONLY {
            return Ok(Err(Errno::ROFS));
        }
        let argument = PathArgument { folder: call.folder, address: call.path };
        let caller = match Caller::read(self.proc, notice.thread, &argument) {
            Ok(caller) => caller,
            Err(errno) => return Ok(Err(errno)),
        };
        let shown = &self.scene.shown[number];
        let open = || -> Result<(), Errno> {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let holder = rustix::fs::openat(CWD, &*caller.path, flags, Mode::empty())?;
            let stat = rustix::fs::fstat(&holder)?;
            if caller::id(&stat) == shown.holder { Ok(()) } else { Err(Errno::NOENT) }
        };
        let opened = self.guise.wear(&caller).and_then(|()| open());
        self.guise.take_off()?;
        let own = format!("/proc/self/fd/{}", shown.file.as_raw_fd());
        let reopen = || rustix::fs::open(own, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let close_on_exec = wanted.contains(OFlags::CLOEXEC);
        Ok(opened.and_then(|()| reopen()).map(|file| Reply::Gives { file, close_on_exec }))
    }

    fn put_link(
        &self,
        thread: &OwnedFd,
        text: &[u8],
        buffer: u64,
        size: u64,
    ) -> Result<Result<Reply, Errno>, Errno> {
        let length = text.len().min(usize::try_from(size).unwrap_or(usize::MAX));
        if length == 0 {
            return Ok(Err(Errno::INVAL));
        }
        let written = self.write(thread, &text[..length], buffer)?;
        Ok(written.map(|()| Reply::Returns(length as u32)))
    }
}
