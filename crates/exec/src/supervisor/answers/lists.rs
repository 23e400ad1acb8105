//! The folder that is a step's `/proc` where nothing can be mounted: lists of processes, threads and
//! descriptors, made in it when somebody opens them, and names by which the kernel executes files of
//! processes.
//!
//! The step's root may change anything in the folder, so everything is reached by descriptor, and
//! whatever is in the way makes a list fail, for the step only.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid};
use rustix::io::Errno;

use crate::error::errno_of;
use crate::supervisor::caller::Status;
use crate::supervisor::scene::ProcFolder;

/// The number of names for execution that are kept: the kernel looks one up as soon as it has the
/// call, and the interpreter of a script soon afterwards.
const ALIASES: u32 = 64;

/// Begins the names that stand for `self`, which have as many bytes as that.
pub(super) const ALIAS: &str = "~";

/// What a name of a process's folder stands for.
pub(super) enum Meaning {
    /// A file that can be reached by its path from the step's root.
    Path(Vec<u8>),
    /// A file without a name.
    Nameless(File),
}

impl ProcFolder {
    /// Makes a folder for each process of the step, and removes those of processes that are gone.
    pub(super) fn list_processes(&self, processes: &[Status]) -> Result<(), Errno> {
        let number = |name: &str| name.parse::<u32>().ok();
        let known = |number| processes.iter().any(|process| process.own_number == number);
        let names = names(&self.folder)?;
        for name in names.iter().filter(|name| number(name).is_some_and(|number| !known(number))) {
            self.remove(name)?;
        }
        processes.iter().try_for_each(|process| self.of(process).map(drop))
    }

    /// Makes the folder of a process with these files and `folders` in it, all of them empty. Returns
    /// its name.
    pub(super) fn list_files(
        &self,
        process: &Status,
        files: &[&str],
        folders: &[&str],
    ) -> Result<String, Errno> {
        let folder = self.of(process)?;
        for name in files {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(&folder, *name, flags, Mode::from_raw_mode(0o444))?;
        }
        folders.iter().try_for_each(|name| make(&folder, name).map(drop))?;
        Ok(process.own_number.to_string())
    }

    /// Makes a folder of a process's with a link for each of `entries`. Returns its path.
    pub(super) fn list_links(
        &self,
        process: &Status,
        name: &str,
        entries: &[(String, Vec<u8>)],
    ) -> Result<String, Errno> {
        let folder = make(&self.of(process)?, name)?;
        for old in names(&folder)? {
            rustix::fs::unlinkat(&folder, old, AtFlags::empty())?;
        }
        for (entry, target) in entries {
            rustix::fs::symlinkat(&target[..], &folder, entry)?;
        }
        Ok(format!("{}/{name}", process.own_number))
    }

    /// Makes the name `rest` below the folder of a process stand for a file.
    pub(super) fn put(&self, process: &Status, rest: &str, file: Meaning) -> Result<(), Errno> {
        put(&self.of(process)?, rest, file)
    }

    /// Makes a folder whose name can take the place of `self`, and `rest` below it stand for a file.
    /// Returns the name.
    pub(super) fn put_alias(&self, rest: &str, file: Meaning) -> Result<String, Errno> {
        let number = self.aliases.get() % ALIASES;
        self.aliases.set(number + 1);
        let name = format!("{ALIAS}{number:03}");
        self.remove(&name)?;
        put(&make(&self.folder, &name)?, rest, file)?;
        Ok(name)
    }

    /// Returns the folder of a process, which is made if it is missing.
    fn of(&self, process: &Status) -> Result<OwnedFd, Errno> {
        let folder = make(&self.folder, &process.own_number.to_string())?;
        let (uid, gid) = (Uid::from_raw(process.uid.raw()), Gid::from_raw(process.gid.raw()));
        match rustix::fs::chownat(&folder, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH) {
            // Where there is one id, all of them are on disk as that.
            Ok(()) | Err(Errno::INVAL | Errno::PERM) => Ok(folder),
            Err(errno) => Err(errno),
        }
    }

    fn remove(&self, name: &str) -> Result<(), Errno> {
        let path = format!("/proc/self/fd/{}/{name}", self.folder.as_raw_fd());
        match std::fs::remove_dir_all(path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(errno_of(error)),
        }
    }
}

/// Makes a folder, unless it exists.
fn make(around: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(around, name, Mode::from_raw_mode(0o555)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno),
    }
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(around, name, flags, Mode::empty())
}

fn put(folder: &OwnedFd, rest: &str, file: Meaning) -> Result<(), Errno> {
    let inner = rest.split_once('/').map(|(around, name)| Ok((make(folder, around)?, name)));
    let inner = inner.transpose()?;
    let (folder, name) = inner.as_ref().map_or((folder, rest), |(inner, name)| (inner, *name));
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    match file {
        Meaning::Path(path) => rustix::fs::symlinkat(&path[..], folder, name),
        Meaning::Nameless(mut file) => {
            let mode = Mode::from_raw_mode(rustix::fs::fstat(&file)?.st_mode & 0o777);
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
            let mut copy = File::from(rustix::fs::openat(folder, name, flags, mode)?);
            std::io::copy(&mut file, &mut copy).map(drop).map_err(errno_of)
        }
    }
}

/// Returns the names in a folder.
pub(super) fn names(folder: &OwnedFd) -> Result<Vec<String>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let folder = rustix::fs::openat(folder, ".", flags, Mode::empty())?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy();
        if name != "." && name != ".." {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::{Seek as _, Write as _};
    use std::path::Path;

    use super::*;
    use crate::supervisor::caller;

    fn folder(path: &Path) -> ProcFolder {
        let folder = File::open(path).unwrap().into();
        ProcFolder { folder, root: (0, 0), aliases: Cell::default() }
    }

    fn own() -> Status {
        caller::status(&File::open("/proc/thread-self").unwrap().into()).unwrap()
    }

    fn sorted(path: &Path) -> Vec<String> {
        let mut names = names(&File::open(path).unwrap().into()).unwrap();
        names.sort();
        names
    }

    #[test]
    fn lists_are_as_of_now() {
        let place = tempfile::tempdir().unwrap();
        let (proc, own) = (folder(place.path()), own());
        let number = own.own_number.to_string();
        std::fs::create_dir_all(place.path().join("4000000000/fd")).unwrap();
        std::fs::create_dir(place.path().join("sys")).unwrap();
        proc.list_processes(&[own]).unwrap();
        assert_eq!(sorted(place.path()), [&*number, "sys"]);
        let own = self::own();
        let link = |name: &str| (name.to_owned(), b"/dev/null".to_vec());
        proc.list_links(&own, "fd", &[link("0"), link("1")]).unwrap();
        let path = proc.list_links(&own, "fd", &[link("7")]).unwrap();
        assert_eq!(sorted(&place.path().join(path)), ["7"]);
        let path = proc.list_files(&own, &["stat"], &["task"]).unwrap();
        assert_eq!(sorted(&place.path().join(path)), ["fd", "stat", "task"]);
    }

    #[test]
    fn names_for_execution_are_few_and_lead_to_their_file() {
        let place = tempfile::tempdir().unwrap();
        let proc = folder(place.path());
        for _ in 0..3 * ALIASES {
            let name = proc.put_alias("exe", Meaning::Path(b"/bin/true".to_vec())).unwrap();
            assert_eq!(name.len(), "self".len());
            let link = std::fs::read_link(place.path().join(name).join("exe")).unwrap();
            assert_eq!(link, Path::new("/bin/true"));
        }
        assert!(sorted(place.path()).len() <= ALIASES as usize);
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"#!/bin/sh\n").unwrap();
        file.rewind().unwrap();
        let name = proc.put_alias("fd/5", Meaning::Nameless(file)).unwrap();
        let copy = std::fs::read(place.path().join(name).join("fd/5")).unwrap();
        assert_eq!(copy, b"#!/bin/sh\n");
    }

    #[test]
    fn a_link_in_the_way_leads_nowhere() {
        let (place, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (proc, own) = (folder(place.path()), own());
        let number = own.own_number.to_string();
        std::os::unix::fs::symlink(other.path(), place.path().join(number)).unwrap();
        std::os::unix::fs::symlink(other.path(), place.path().join("~000")).unwrap();
        assert!(proc.list_files(&own, &["stat"], &[]).is_err());
        // The link itself is removed.
        let _ = proc.put_alias("exe", Meaning::Path(b"/x".to_vec()));
        assert!(sorted(other.path()).is_empty());
    }
}
