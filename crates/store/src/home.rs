//! The folder of a store: adopting a new folder, and trusting an old one.
//!
//! Anyone who can write to a store decides the results of builds, and xbuild removes files in it.
//! So a folder is adopted only if it is empty. It is used only if it and each folder in it is a
//! folder (no link), belongs to the user who builds, and is closed to writes of other users. Its file
//! system must tell `a` from `A`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Dir, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::StoreError;

/// The number of the format, see `docs/formats.md`.
const FORMAT: &str = "1";
/// The file that makes a folder a store.
const VERSION: &str = "version";
/// The file that builds and pruning lock.
pub(crate) const LOCK: &str = "lock";
/// The file with the measured size of the store.
pub(crate) const MEASURED: &str = "measured";
/// The file that is locked while something is pinned or removed.
pub(crate) const GATE: &str = "gate";
/// The longest `version` file that is read, in bytes.
const MAX_VERSION: u64 = 40;

/// The folders of a store, each one below an earlier one or at the top.
const FOLDERS: &[&str] = &[
    "blobs",
    "blobs/sha256",
    "layers",
    "indexes",
    "file-hashes",
    "folders",
    "cache",
    "cache-mounts",
    "emulators",
    "images",
    "last-seen",
    "pulls",
    "roots",
    "selections",
    "sources",
    "source-records",
    "tags",
    "tmp",
];

/// Opens the store `root`, made if it is missing, and returns its lock file and its gate, not locked
/// yet.
///
/// **Errors** — [`StoreError::Name`] for a path that is no text, [`StoreError::NotAStore`] if the folder
/// holds other things, [`StoreError::Owner`], [`StoreError::Writable`] and [`StoreError::NotAFolder`] if it
/// cannot be trusted, [`StoreError::Version`] if it has another format, [`StoreError::NoCase`] if it cannot
/// hold the files of every layer. Nothing in it is changed then.
pub(crate) fn open(root: &Path) -> Result<[File; 2], StoreError> {
    check_name(root)?;
    let home = Home::open(root)?;
    home.adopt()?;
    for folder in FOLDERS {
        home.make_folder(folder)?;
    }
    // Made now, since a disk that is full later can still be pruned then.
    home.open_lock(MEASURED)?;
    Ok([home.open_lock(LOCK)?, home.open_lock(GATE)?])
}

/// Refuses a path that cannot be told to other processes.
pub(crate) fn check_name(root: &Path) -> Result<(), StoreError> {
    match root.to_str() {
        Some(_) => Ok(()),
        None => Err(StoreError::Name { path: root.to_owned() }),
    }
}

/// Returns whether there is something in the folder `root` to open: nothing, or an empty folder, is not.
pub(crate) fn is_there(root: &Path) -> bool {
    match std::fs::read_dir(root) {
        Ok(mut entries) => entries.next().is_some(),
        // Whoever opens the store tells why it cannot be looked into.
        Err(error) => error.kind() != io::ErrorKind::NotFound,
    }
}

/// The open folder of a store.
struct Home<'a> {
    path: &'a Path,
    folder: OwnedFd,
    /// The user who builds.
    user: u32,
}

impl<'a> Home<'a> {
    fn open(path: &'a Path) -> Result<Self, StoreError> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|source| StoreError::Place { path: path.to_owned(), source })?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = fs::open(path, flags, Mode::empty())
            .map_err(|errno| StoreError::Place { path: path.to_owned(), source: errno.into() })?;
        Ok(Self { path, folder, user: rustix::process::geteuid().as_raw() })
    }

    /// Makes the folder a store unless it is one.
    fn adopt(&self) -> Result<(), StoreError> {
        match self.adopt_once() {
            // Another first build may have made it a store between two looks.
            Err(StoreError::NotAStore { .. } | StoreError::Writable { .. })
                if self.version()?.as_deref() == Some(FORMAT) =>
            {
                self.adopt_once()
            }
            done => done,
        }
    }

    fn adopt_once(&self) -> Result<(), StoreError> {
        let stat = fs::fstat(&self.folder).map_err(failed("look at", self.path))?;
        self.check_owner(self.path, &stat)?;
        if is_writable_for_others(&stat) {
            // The umask may have made a new folder open to others; a store never is.
            if !self.names()?.is_empty() {
                return Err(StoreError::Writable { path: self.path.to_owned() });
            }
            let closed = Mode::from_raw_mode(stat.st_mode & 0o7755);
            fs::fchmod(&self.folder, closed).map_err(failed("close", self.path))?;
        }
        match self.version()?.as_deref() {
            Some(FORMAT) => self.check_case(),
            // Another first build may be about to write it.
            None => {
                self.check_names(|name| name == VERSION)?;
                self.write_version()?;
                self.check_case().inspect_err(|_| {
                    // The folder stays as it was, as far as it can.
                    let _ = fs::unlinkat(&self.folder, VERSION, AtFlags::empty());
                })
            }
            // A power cut leaves an empty file.
            Some("") => self.check_names(is_ours).and_then(|()| self.write_version()),
            Some(found) => Err(StoreError::Version {
                path: self.path.to_owned(),
                found: found.to_owned(),
                expected: FORMAT,
            }),
        }
    }

    /// Checks that names which differ in case only are two files: layers may have both.
    fn check_case(&self) -> Result<(), StoreError> {
        let look = |name: &str| fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let is_same = |a: Stat, b: Stat| (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino);
        match (look(VERSION), look(&VERSION.to_uppercase())) {
            (Ok(own), Ok(other)) if is_same(own, other) => {
                Err(StoreError::NoCase { path: self.path.to_owned() })
            }
            _ => Ok(()),
        }
    }

    fn check_names(&self, is_known: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        match self.names()?.into_iter().find(|name| !is_known(name)) {
            Some(name) => Err(StoreError::NotAStore { path: self.path.to_owned(), name }),
            None => Ok(()),
        }
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let failed = || failed("list", self.path);
        let entries = Dir::read_from(&self.folder).map_err(failed())?;
        let mut names = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed())?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn version(&self) -> Result<Option<String>, StoreError> {
        let path = self.path.join(VERSION);
        // NONBLOCK: a fifo must not hold up the build.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match fs::openat(&self.folder, VERSION, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            file => File::from(file.map_err(failed("open", &path))?),
        };
        let stat = fs::fstat(&file).map_err(failed("look at", &path))?;
        self.check_owner(&path, &stat)?;
        if !fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            let (path, name) = (self.path.to_owned(), VERSION.to_owned());
            return Err(StoreError::NotAStore { path, name });
        }
        let mut text = String::new();
        file.take(MAX_VERSION).read_to_string(&mut text).map_err(StoreError::io("read", path))?;
        Ok(Some(text.trim_end().to_owned()))
    }

    /// Writes the version. Two first builds write the same bytes.
    fn write_version(&self) -> Result<(), StoreError> {
        let path = self.path.join(VERSION);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(&self.folder, VERSION, flags, Mode::from_raw_mode(0o600));
        let mut file = File::from(file.map_err(failed("create", &path))?);
        let written = file.write_all(format!("{FORMAT}\n").as_bytes());
        written.and_then(|()| file.sync_all()).map_err(StoreError::io("write", path))?;
        fs::fsync(&self.folder).map_err(failed("sync", self.path))
    }

    /// Makes one of the folders unless it is there, and checks it.
    fn make_folder(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path.join(name);
        match fs::mkdirat(&self.folder, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("make folder", &path)(errno)),
        }
        let stat = fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW);
        let stat = stat.map_err(failed("look at", &path))?;
        if !fs::FileType::from_raw_mode(stat.st_mode).is_dir() {
            return Err(StoreError::NotAFolder { path });
        }
        self.check_owner(&path, &stat)?;
        if is_writable_for_others(&stat) {
            return Err(StoreError::Writable { path });
        }
        Ok(())
    }

    fn open_lock(&self, name: &str) -> Result<File, StoreError> {
        let path = self.path.join(name);
        // For reading as well: NFS shares the lock of readers only.
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CREATE;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = fs::openat(&self.folder, name, flags, Mode::from_raw_mode(0o600));
        Ok(File::from(file.map_err(failed("open", &path))?))
    }

    fn check_owner(&self, path: &Path, stat: &Stat) -> Result<(), StoreError> {
        if stat.st_uid == self.user {
            return Ok(());
        }
        Err(StoreError::Owner { path: path.to_owned(), owner: stat.st_uid, user: self.user })
    }
}

/// Returns whether a store has an entry of this name.
fn is_ours(name: &str) -> bool {
    [VERSION, LOCK, MEASURED, GATE].contains(&name) || FOLDERS.contains(&name)
}

fn is_writable_for_others(stat: &Stat) -> bool {
    stat.st_mode & 0o022 != 0
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> StoreError {
    let path: PathBuf = path.to_owned();
    move |errno| StoreError::io(action, path)(io::Error::from(errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_about_formats_draws_every_folder() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/formats.md");
        let page = std::fs::read_to_string(page).unwrap();
        let entries: Vec<&str> =
            page.lines().filter_map(|line| line.trim().split_once("── ")).map(|(_, e)| e).collect();
        for name in FOLDERS.iter().chain(&[VERSION, LOCK, MEASURED, GATE]) {
            let is_drawn = |entry: &&str| {
                let rest = entry.strip_prefix(name);
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '/']))
            };
            assert!(entries.iter().any(is_drawn), "{name} is not in the tree");
        }
    }
}
