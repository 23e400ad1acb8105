//! Lists of processes, threads and descriptors below `/proc`, and programs that are named by a process.

use std::borrow::Cow;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::lists::{self, Meaning};
use super::path_call::{self, OTHERS, OWN, OWN_FOLDERS, PathCall, Target};
use super::view::{OPEN_FLAGS, View};
use crate::supervisor::caller::{self, Status};
use crate::supervisor::reply::Reply;
use crate::supervisor::scene::ProcFolder;

impl View<'_> {
    /// Makes the list that a call opens, and opens it. `None` if it opens none that is made here.
    pub(super) fn list(
        &self,
        thread: &OwnedFd,
        status: &Status,
        target: &Target,
        flags: u32,
    ) -> Result<Option<Result<Reply, Errno>>, Errno> {
        let is_list = match target {
            Target::Processes | Target::Descriptors => true,
            Target::Own(rest) | Target::Process(_, rest) => {
                rest.is_empty() || OWN_FOLDERS.contains(&&**rest)
            }
            Target::Device(_) | Target::Shown(_) => false,
        };
        let proc = if is_list { self.proc_folder(thread, status)? } else { None };
        let Some(proc) = proc else { return Ok(None) };
        let made = match target {
            Target::Processes => {
                let all = self.processes(status).unwrap_or_default();
                let all: Vec<Status> = all.into_iter().map(|(_, status)| status).collect();
                // After an error the kernel shows what is there.
                let _ = proc.list_processes(&all);
                return Ok(None);
            }
            Target::Process(number, rest) => match self.process(status, *number) {
                Some(process) => self.list_other(proc, &process, rest),
                None => Err(Errno::NOENT),
            },
            Target::Own(rest) => self.list_own(proc, status, rest)?,
            _ => self.list_own(proc, status, "fd")?,
        };
        let wanted = OFlags::from_bits_retain(flags);
        let flags = (wanted & OPEN_FLAGS) | OFlags::CLOEXEC;
        let close_on_exec = wanted.contains(OFlags::CLOEXEC);
        let opened = match made {
            Ok(path) => {
                let open = || rustix::fs::openat(&proc.folder, path, flags, Mode::empty());
                self.as_caller(status, open)?
            }
            Err(errno) => Err(errno),
        };
        Ok(Some(opened.map(|file| Reply::Gives { file, close_on_exec })))
    }

    /// Lists the folder of another process.
    fn list_other(
        &self,
        proc: &ProcFolder,
        process: &OwnedFd,
        rest: &str,
    ) -> Result<String, Errno> {
        match rest {
            "" => proc.list_files(&caller::status(process)?, &OTHERS, &[]),
            _ => Err(Errno::ACCESS),
        }
    }

    /// Lists a folder of the caller's process. Returns its path below the step's `/proc`.
    fn list_own(
        &self,
        proc: &ProcFolder,
        status: &Status,
        rest: &str,
    ) -> Result<Result<String, Errno>, Errno> {
        let Ok(process) = caller::open_thread(self.proc, status.process) else {
            return Ok(Err(Errno::NOENT));
        };
        let entries = match rest {
            "" => return Ok(proc.list_files(status, &OWN, &OWN_FOLDERS)),
            "fd" => self.as_caller(status, || self.descriptors(&process))?,
            _ => self.as_caller(status, || threads(&process))?,
        };
        Ok(entries.and_then(|entries| proc.list_links(status, rest, &entries)))
    }

    /// Returns the descriptors of a process and what they lead to.
    fn descriptors(&self, process: &OwnedFd) -> Result<Vec<(String, Vec<u8>)>, Errno> {
        let names = lists::names(&open_folder(process, "fd")?)?;
        // One that is closed meanwhile has no target.
        let link = |name: String| Some((self.link(process, &format!("fd/{name}")).ok()?, name));
        Ok(names.into_iter().filter_map(link).map(|(target, name)| (name, target)).collect())
    }

    /// Gives the program that a call names by a process (`/proc/self/exe`) a name in the step's `/proc`
    /// that the kernel finds. After an error of the caller's it finds none.
    pub(super) fn name_program(
        &self,
        thread: &OwnedFd,
        status: &Status,
        call: &PathCall,
        target: &Target,
        path: &[u8],
    ) -> Result<(), Errno> {
        let (number, rest) = match target {
            Target::Own(rest) => (None, rest),
            Target::Process(number, rest) => (Some(*number), rest),
            _ => return Ok(()),
        };
        if rest != "exe" && !rest.starts_with("fd/") {
            return Ok(());
        }
        let Some(proc) = self.proc_folder(thread, status)? else { return Ok(()) };
        let process = match number {
            None => caller::open_thread(self.proc, status.process).ok(),
            Some(number) => self.process(status, number),
        };
        let Some(process) = process else { return Ok(()) };
        let Ok(file) = self.as_caller(status, || self.meaning(&process, rest))? else {
            return Ok(());
        };
        let Some(place) = path_call::place_of_self(path).filter(|_| number.is_none()) else {
            let _ = caller::status(&process).and_then(|process| proc.put(&process, rest, file));
            return Ok(());
        };
        if let Ok(mut name) = proc.put_alias(rest, file) {
            // The kernel takes several slashes for one.
            name.extend(std::iter::repeat_n('/', place.len().saturating_sub(name.len())));
            let address = call.path.wrapping_add(place.start as u64);
            let _ = self.write(thread, name.as_bytes(), address)?;
        }
        Ok(())
    }

    /// Returns the program that a file of a process's folder leads to.
    fn meaning(&self, process: &OwnedFd, rest: &str) -> Result<Meaning, Errno> {
        let path = self.link(process, rest)?;
        let stat = rustix::fs::statat(process, rest, AtFlags::empty())?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::ACCESS);
        }
        if stat.st_nlink > 0 && path.starts_with(b"/") {
            return Ok(Meaning::Path(path));
        }
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(process, rest, flags, Mode::empty())?;
        Ok(Meaning::Nameless(File::from(file)))
    }

    /// Returns the folder that is the step's `/proc`, if it is that of the caller's root, too.
    fn proc_folder(&self, thread: &OwnedFd, status: &Status) -> Result<Option<&ProcFolder>, Errno> {
        let Some(proc) = &self.scene.proc else { return Ok(None) };
        let root = self.as_caller(status, || root(thread))?;
        Ok(root.is_ok_and(|root| root == proc.root).then_some(proc))
    }

    /// Finds a process of the step by the number that the step sees.
    pub(super) fn process(&self, status: &Status, number: i32) -> Option<OwnedFd> {
        let number = u32::try_from(number).ok()?;
        if status.own_number == status.process {
            let own_root = self.own_root(status)?;
            let (process, found) = self.look_at(number, own_root)?;
            return (found.own_number == number).then_some(process);
        }
        let mut all = self.processes(status)?.into_iter();
        all.find_map(|(process, found)| (found.own_number == number).then_some(process))
    }

    /// Returns the processes of the step: those with the caller's root.
    fn processes(&self, status: &Status) -> Option<Vec<(OwnedFd, Status)>> {
        let own_root = self.own_root(status)?;
        let folder = rustix::fs::openat(
            self.proc,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let names = lists::names(&folder.ok()?).ok()?;
        let numbers = names.iter().filter_map(|name| name.parse().ok());
        Some(numbers.filter_map(|number| self.look_at(number, own_root)).collect())
    }

    fn own_root(&self, status: &Status) -> Option<(u64, u64)> {
        let own = caller::open_thread(self.proc, status.process).ok()?;
        self.as_caller(status, || root(&own)).ok()?.ok()
    }

    /// Returns the process with this number of the supervisor's `/proc`, if its root is `own_root`.
    fn look_at(&self, number: u32, own_root: (u64, u64)) -> Option<(OwnedFd, Status)> {
        let process = caller::open_thread(self.proc, number).ok()?;
        let status = caller::status(&process).ok()?;
        let seen = self.as_caller(&status, || root(&process)).ok()?.ok()?;
        (seen == own_root).then_some((process, status))
    }
}

/// Returns the name of a file of the caller's process for the supervisor, for whom its threads have other
/// numbers.
pub(super) fn outer_name<'a>(process: &OwnedFd, status: &Status, rest: &'a str) -> Cow<'a, str> {
    let named = rest.strip_prefix("task/").filter(|_| status.own_number != status.process);
    let Some(named) = named else { return rest.into() };
    let (inner, name) = named.split_once('/').unwrap_or((named, ""));
    let is_it = |(_, own): &(String, u32)| inner.parse() == Ok(*own);
    let found = numbers_of_threads(process).unwrap_or_default().into_iter().find(is_it);
    found.map_or(rest.into(), |(outer, _)| format!("task/{outer}/{name}").into())
}

/// Returns device and inode of a process's root.
fn root(process: &OwnedFd) -> Result<(u64, u64), Errno> {
    rustix::fs::statat(process, "root", AtFlags::empty()).map(|stat| caller::id(&stat))
}

/// Returns the threads of a process by the numbers that it sees, each with a target for a link.
fn threads(process: &OwnedFd) -> Result<Vec<(String, Vec<u8>)>, Errno> {
    let numbers = numbers_of_threads(process)?.into_iter();
    Ok(numbers.map(|(_, own)| (own.to_string(), b".".to_vec())).collect())
}

/// Returns the number of each thread of a process for the supervisor, and for the process.
fn numbers_of_threads(process: &OwnedFd) -> Result<Vec<(String, u32)>, Errno> {
    let folder = open_folder(process, "task")?;
    let number = |name: String| {
        let thread = caller::open_thread(folder.as_fd(), name.parse().ok()?).ok()?;
        Some((name, caller::status(&thread).ok()?.own_thread))
    };
    Ok(lists::names(&folder)?.into_iter().filter_map(number).collect())
}

fn open_folder(process: &OwnedFd, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(process, name, flags, Mode::empty())
}
