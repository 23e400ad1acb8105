//! The view of the calls' answers on a caller: its memory, its paths and its links, with its rights.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::supervisor::caller::{self, Status};
use crate::supervisor::guise::Guise;
use crate::supervisor::scene::Scene;

/// The means to answer.
pub(super) struct View<'a> {
    pub(super) proc: BorrowedFd<'a>,
    pub(super) guise: &'a Guise,
    pub(super) scene: &'a Scene,
}

/// Flags that make sense for the view that are opened here.
pub(super) const OPEN_FLAGS: OFlags = OFlags::ACCMODE
    .union(OFlags::APPEND)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::DIRECTORY)
    .union(OFlags::PATH)
    .union(OFlags::TRUNC);

impl View<'_> {
    /// Opens the caller's memory; `None` if that is refused.
    pub(super) fn memory(&self, thread: &OwnedFd, mode: OFlags) -> Result<Option<OwnedFd>, Errno> {
        let open = || rustix::fs::openat(thread, "mem", mode | OFlags::CLOEXEC, Mode::empty());
        match open() {
            Err(Errno::ACCESS | Errno::PERM) => {}
            opened => return Ok(opened.ok()),
        }
        let Ok(status) = caller::status(thread) else { return Ok(None) };
        Ok(self.as_caller(&status, open)?.ok())
    }

    /// Does something with the caller's ids and rights, from this process's own place.
    pub(super) fn as_caller<T>(
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
    pub(super) fn full_path(
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
    pub(super) fn link(&self, process: &OwnedFd, name: &str) -> Result<Vec<u8>, Errno> {
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

    /// Writes into the caller's memory.
    pub(super) fn write(
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

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd as _;

    use super::*;
    use crate::idmap::Ids;

    #[test]
    fn relative_paths_start_where_the_caller_says() {
        let open = |path: &str| OwnedFd::from(File::open(path).unwrap());
        let (proc, thread, start) = (open("/proc"), open("/proc/thread-self"), open("/usr"));
        let (guise, scene) = (Guise::new(Ids::Single).unwrap(), Scene::default());
        let view = View { proc: proc.as_fd(), guise: &guise, scene: &scene };
        let full = |folder, path: &str| view.full_path(&thread, folder, path.into()).unwrap();
        let number = Some(start.as_raw_fd());
        assert_eq!(full(number, "self/stat").as_deref(), Some(&b"/usr/self/stat"[..]));
        assert_eq!(full(number, "/x").as_deref(), Some(&b"/x"[..]));
        let here = std::env::current_dir().unwrap().join("x").into_os_string();
        assert_eq!(full(None, "x").as_deref(), Some(here.as_encoded_bytes()));
        // The kernel has the right error.
        assert_eq!(full(Some(9999), "x"), None);
    }
}
