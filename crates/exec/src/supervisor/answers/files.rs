//! Answers to calls that name a file which the supervisor stands in for: processes in `/proc`,
//! devices, secrets. All other paths are the kernel's, which gets the call as it is.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

use super::path_call::{self, Kind, PathCall, Target};
use crate::seccomp::notice::Notice;
use crate::supervisor::caller::{self, Caller, PathArgument, Status};
use crate::supervisor::guise::Guise;
use crate::supervisor::reply::Reply;
use crate::supervisor::scene::Scene;
use crate::sys;

/// The means to answer.
pub(super) struct Files<'a> {
    pub(super) proc: BorrowedFd<'a>,
    pub(super) guise: &'a Guise,
    pub(super) scene: &'a Scene,
}

/// Flags that make sense for the files that are opened here.
const OPEN_FLAGS: OFlags = OFlags::ACCMODE
    .union(OFlags::APPEND)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::DIRECTORY)
    .union(OFlags::PATH)
    .union(OFlags::TRUNC);

impl Files<'_> {
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
        let full = self.full_path(&thread, call.folder, path)?;
        let Some(full) = full else { return Ok(Reply::Continue) };
        let Some(target) = path_call::target(&full, self.scene) else {
            return Ok(Reply::Continue);
        };
        if !notice.is_waiting(listener) {
            return Ok(Reply::Continue);
        }
        let Ok(status) = caller::status(&thread) else { return Ok(Reply::Continue) };
        let done = self.perform(&thread, &status, call, &target, notice)?;
        Ok(match (done, &target) {
            (Ok(reply), _) => reply,
            // The static files below /proc/self are better than nothing.
            (Err(Errno::NOENT | Errno::ACCESS | Errno::PERM), Target::Own(_)) => Reply::Continue,
            (Err(errno), _) => Reply::Fails(errno),
        })
    }

    /// Opens the caller's memory; `None` if that is refused.
    fn memory(&self, thread: &OwnedFd, mode: OFlags) -> Result<Option<OwnedFd>, Errno> {
        let open = || rustix::fs::openat(thread, "mem", mode | OFlags::CLOEXEC, Mode::empty());
        match open() {
            Err(Errno::ACCESS | Errno::PERM) => {}
            opened => return Ok(opened.ok()),
        }
        let Ok(status) = caller::status(thread) else { return Ok(None) };
        Ok(self.as_caller(&status, open)?.ok())
    }

    /// Does something with the caller's ids and rights, from this process's own place.
    fn as_caller<T>(
        &self,
        status: &Status,
        work: impl FnOnce() -> Result<T, Errno>,
    ) -> Result<Result<T, Errno>, Errno> {
        let done = self.guise.wear_ids(status).and_then(|()| work());
        self.guise.take_off()?;
        Ok(done)
    }

    /// Returns the path from the caller's root on; `None` if the folder is unknown that a relative
    /// path starts from: the one with this descriptor, or the working directory.
    fn full_path(
        &self,
        thread: &OwnedFd,
        folder: Option<i32>,
        path: Vec<u8>,
    ) -> Result<Option<Vec<u8>>, Errno> {
        if path.first() == Some(&b'/') {
            return Ok(Some(path));
        }
        let start = folder.map_or_else(|| "cwd".to_owned(), |number| format!("fd/{number}"));
        let look = || self.link(thread, &start);
        let folder = match look() {
            Err(Errno::ACCESS | Errno::PERM) => match caller::status(thread) {
                Ok(status) => self.as_caller(&status, look)?,
                Err(_) => return Ok(None),
            },
            found => found,
        };
        Ok(folder.ok().map(|folder| [&folder[..], b"/", &path[..]].concat()))
    }

    /// Returns the target of a link in `/proc`, as the caller sees it.
    fn link(&self, process: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
        let read = |name: &str| {
            rustix::fs::readlinkat(process, name, Vec::new()).map(std::ffi::CString::into_bytes)
        };
        let (path, root) = (read(name)?, read("root")?);
        if root == b"/" {
            return Ok(path);
        }
        match path.strip_prefix(&root[..]) {
            Some(b"") => Ok(b"/".to_vec()),
            Some(rest) if rest.first() == Some(&b'/') => Ok(rest.to_vec()),
            _ => Ok(path),
        }
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
                if let Kind::ReadLink { buffer, size } = call.kind {
                    return match self.as_caller(status, || self.link(&process, rest))? {
                        Ok(text) => self.put_link(thread, &text, buffer, size),
                        Err(errno) => Ok(Err(errno)),
                    };
                }
                self.use_file(process.as_fd(), rest, thread, call, status)
            }
            Target::Process(number, rest) => {
                let Some(process) = self.process(status, *number) else {
                    return Ok(Err(Errno::NOENT));
                };
                match call.kind {
                    Kind::ReadLink { buffer, size } => {
                        match self.as_caller(status, || self.link(&process, rest))? {
                            Ok(text) => self.put_link(thread, &text, buffer, size),
                            Err(errno) => Ok(Err(errno)),
                        }
                    }
                    // A folder of another file system would lead out of the root.
                    Kind::Open { .. } if rest.is_empty() => Ok(Err(Errno::ACCESS)),
                    _ if rest.is_empty() => {
                        self.use_file(process.as_fd(), ".", thread, call, status)
                    }
                    _ => self.use_file(process.as_fd(), rest, thread, call, status),
                }
            }
        }
    }

    /// Finds a process of the step by the number that the step sees: one with the caller's root.
    fn process(&self, status: &Status, number: i32) -> Option<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(self.proc, ".", flags, Mode::empty()).ok()?;
        let root = |process: &OwnedFd| {
            let stat = rustix::fs::statat(process, "root", AtFlags::empty()).ok()?;
            Some((stat.st_dev, stat.st_ino))
        };
        let own = caller::open_thread(self.proc, status.process).ok()?;
        let own_root = self.as_caller(status, || root(&own).ok_or(Errno::NOENT)).ok()?.ok()?;
        let is_it = |outer: u32| {
            let process = caller::open_thread(self.proc, outer).ok()?;
            let status = caller::status(&process).ok()?;
            if i32::try_from(status.own_number) != Ok(number) {
                return None;
            }
            let seen = self.as_caller(&status, || root(&process).ok_or(Errno::NOENT));
            (seen.ok()?.ok()? == own_root).then_some(process)
        };
        if status.own_number == status.process {
            return is_it(number.cast_unsigned());
        }
        let entries = rustix::fs::Dir::read_from(&folder).ok()?.flatten();
        let mut numbers = entries.filter_map(|entry| entry.file_name().to_str().ok()?.parse().ok());
        numbers.find_map(is_it)
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
            // Only links are read, and these are not.
            Kind::ReadLink { .. } => Err(Errno::INVAL),
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

    /// Writes into the caller's memory.
    fn write(
        &self,
        thread: &OwnedFd,
        bytes: &[u8],
        address: u64,
    ) -> Result<Result<(), Errno>, Errno> {
        let Some(memory) = self.memory(thread, OFlags::RDWR)? else {
            return Ok(Err(Errno::FAULT));
        };
        let written = rustix::io::pwrite(memory.as_fd(), bytes, address);
        Ok(match written {
            Ok(count) if count == bytes.len() => Ok(()),
            _ => Err(Errno::FAULT),
        })
    }
}

fn errno_of(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::idmap::Ids;

    #[test]
    fn relative_paths_start_where_the_caller_says() {
        let open = |path: &str| OwnedFd::from(File::open(path).unwrap());
        let (proc, thread, start) = (open("/proc"), open("/proc/thread-self"), open("/usr"));
        let (guise, scene) = (Guise::new(Ids::Single).unwrap(), Scene::default());
        let files = Files { proc: proc.as_fd(), guise: &guise, scene: &scene };
        let full = |folder, path: &str| files.full_path(&thread, folder, path.into()).unwrap();
        let number = Some(start.as_raw_fd());
        assert_eq!(full(number, "self/stat").as_deref(), Some(&b"/usr/self/stat"[..]));
        assert_eq!(full(number, "/x").as_deref(), Some(&b"/x"[..]));
        let here = std::env::current_dir().unwrap().join("x").into_os_string();
        assert_eq!(full(None, "x").as_deref(), Some(here.as_encoded_bytes()));
        // The kernel has the right error.
        assert_eq!(full(Some(9999), "x"), None);
    }
}
