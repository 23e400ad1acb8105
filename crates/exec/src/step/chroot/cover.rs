//! Covering files of a folder with others while a command runs, in the way of a mount.
//!
//! The covered file is renamed into the *room*, a folder beside the root that the command cannot
//! reach, and comes back unchanged. The folders around keep their modification times.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec};
use rustix::io::Errno;

use super::lend::{Lent, path_of};
use crate::protocol::Stubs;
use crate::step::stubs::{Recorder, set_mtime};
use crate::step::userns::mounts::make_folder;
use crate::step::walk::{self, Missing, Place};

/// The covers of a root, and the room for what they hide.
#[derive(Debug)]
pub(super) struct Covers {
    pub(super) root: OwnedFd,
    pub(super) room: OwnedFd,
    number: usize,
    covers: Vec<Cover>,
    recorder: Recorder,
}

#[derive(Debug)]
struct Cover {
    /// The folder around, and the name in it.
    around: OwnedFd,
    name: Vec<u8>,
    /// The name of the covered file in the room, and its modification time.
    hidden: String,
    hidden_mtime: Timespec,
    /// The covering file.
    file: OwnedFd,
    /// `None` for a file that is thrown away.
    lent: Option<Lent>,
}

impl Covers {
    pub(super) fn new(root: OwnedFd, room: OwnedFd, recorder: Recorder) -> Self {
        Self { root, room, number: 0, covers: Vec::new(), recorder }
    }

    /// Returns a name in the room that nothing has.
    pub(super) fn fresh(&mut self) -> String {
        self.number += 1;
        self.number.to_string()
    }

    /// Makes a folder in the room. Returns its name, too.
    pub(super) fn fresh_folder(&mut self, mode: u32) -> Result<(String, OwnedFd), Errno> {
        let name = self.fresh();
        let folder = make_folder(&self.room, &name)?;
        let mode = Mode::from_raw_mode(mode & 0o7777);
        rustix::fs::chmodat(&self.room, &*name, mode, AtFlags::empty())?;
        Ok((name, folder))
    }

    /// Finds the place of a cover. A missing one is made, and removed again by [`lift`](Self::lift).
    pub(super) fn find(&mut self, path: &str, missing: Missing) -> Result<(Place, bool), Errno> {
        let mut place = walk::locate(self.root.as_fd(), path.as_bytes(), missing)?;
        let made = std::mem::take(&mut place.made);
        let is_new = !made.is_empty();
        self.recorder.add(self.root.as_fd(), made)?;
        Ok((place, is_new))
    }

    /// Covers a place with the file `name` of the room; a `lent` one goes back later.
    ///
    /// **Errors** — [`Errno::ISDIR`] for the root itself.
    pub(super) fn cover(
        &mut self,
        place: Place,
        name: &str,
        lent: Option<Lent>,
    ) -> Result<(), Errno> {
        let hidden = self.fresh();
        let done = self.exchange(place, name, &hidden);
        match (done, lent) {
            (Ok(mut cover), lent) => {
                let noted = lent.as_ref().map_or(Ok(()), |lent| lent.is_at(&cover.file));
                cover.lent = lent;
                self.covers.push(cover);
                noted
            }
            (Err(errno), Some(lent)) => {
                lent.give_back(&self.room, Some(name))?;
                Err(errno)
            }
            (Err(errno), None) => Err(errno),
        }
    }

    fn exchange(&self, place: Place, name: &str, hidden: &str) -> Result<Cover, Errno> {
        let Place { fd, around, .. } = place;
        let (around, place) = around.ok_or(Errno::ISDIR)?;
        let before = walk::mtime(&rustix::fs::fstat(&around)?);
        let hidden_mtime = walk::mtime(&rustix::fs::fstat(&fd)?);
        rustix::fs::renameat(&around, &place[..], &self.room, hidden)?;
        if let Err(errno) = rustix::fs::renameat(&self.room, name, &around, &place[..]) {
            rustix::fs::renameat(&self.room, hidden, &around, &place[..])?;
            return Err(errno);
        }
        set_mtime(&around, before)?;
        let file = open_path(&around, &place)?;
        let hidden = hidden.to_owned();
        Ok(Cover { around, name: place, hidden, hidden_mtime, file, lent: None })
    }

    /// Takes all covers away, the last one first. Everything that is lent goes back, even after an
    /// error. Returns the places that were made.
    pub(super) fn lift(mut self) -> Result<Stubs, Errno> {
        let mut result = Ok(());
        while let Some(cover) = self.covers.pop() {
            let (taken, other) = (self.fresh(), self.fresh());
            result = result.and(cover.lift(&self.room, &taken, &other));
        }
        result.map(|()| self.recorder.into_stubs())
    }
}

impl Cover {
    fn lift(self, room: &OwnedFd, taken: &str, other: &str) -> Result<(), Errno> {
        let around = rustix::fs::fstat(&self.around)?;
        let found = self.take(room, taken);
        if let Some(lent) = self.lent {
            lent.give_back(room, matches!(found, Ok(true)).then_some(taken))?;
        }
        found?;
        // The command removed the folder around, and the covered file with it.
        if around.st_nlink == 0 {
            return Ok(());
        }
        // Under a mount the command could not have put anything there.
        match rustix::fs::renameat(&self.around, &self.name[..], room, other) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
        rustix::fs::renameat(room, &*self.hidden, &self.around, &self.name[..])?;
        let hidden = open_path(&self.around, &self.name)?;
        if FileType::from_raw_mode(rustix::fs::fstat(&hidden)?.st_mode) == FileType::Directory {
            set_mtime(&hidden, self.hidden_mtime)?;
        }
        set_mtime(&self.around, walk::mtime(&around))
    }

    /// Moves the covering file into the room, wherever the command moved it. Returns whether it
    /// still exists.
    fn take(&self, room: &OwnedFd, name: &str) -> Result<bool, Errno> {
        let file = rustix::fs::fstat(&self.file)?;
        let is_it = |stat: &Stat| walk::id(stat) == walk::id(&file);
        let stat = |folder: &OwnedFd, name: &[u8]| {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        if stat(&self.around, &self.name).is_ok_and(|stat| is_it(&stat)) {
            rustix::fs::renameat(&self.around, &self.name[..], room, name)?;
            return Ok(true);
        }
        let path = path_of(&self.file)?;
        let path = Path::new(std::ffi::OsStr::from_bytes(&path)).to_owned();
        let (Some(folder), Some(now)) = (path.parent(), path.file_name()) else { return Ok(false) };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(folder) = rustix::fs::open(folder, flags, Mode::empty()) else { return Ok(false) };
        let now = now.to_os_string().into_vec();
        if !stat(&folder, &now).is_ok_and(|stat| is_it(&stat)) {
            return Ok(false);
        }
        rustix::fs::renameat(&folder, &now[..], room, name)?;
        Ok(true)
    }
}

fn open_path(folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::MetadataExt;

    use xbuild_model::rootfs::{Folder, RootFs};

    use super::*;

    struct Trial {
        folder: tempfile::TempDir,
        covers: Covers,
    }

    impl Trial {
        fn new(files: &[&str]) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (root, room) = (folder.path().join("fs"), folder.path().join("room"));
            fs::create_dir(&room).unwrap();
            for file in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, file).unwrap();
            }
            let open = |path: &Path| File::open(path).unwrap().into();
            let fs = RootFs::Folder(Folder {
                path: root.clone(),
                is_own: false,
                work: folder.path().join("w"),
            });
            let covers = Covers::new(open(&root), open(&room), Recorder::new(&fs));
            Self { folder, covers }
        }

        fn cover_with_file(&mut self, path: &str) {
            let name = self.covers.fresh();
            fs::write(self.folder.path().join("room").join(&name), "cover").unwrap();
            let (place, _) = self.covers.find(path, Missing::MakeFile).unwrap();
            self.covers.cover(place, &name, None).unwrap();
        }

        fn root(&self, path: &str) -> std::path::PathBuf {
            self.folder.path().join("fs").join(path)
        }
    }

    fn times(path: &Path) -> (u64, i64, i64) {
        let meta = fs::symlink_metadata(path).unwrap();
        (meta.ino(), meta.mtime(), meta.mtime_nsec())
    }

    #[test]
    fn the_image_is_as_before() {
        let mut place = Trial::new(&["etc/hosts", "etc/target", "d/inner/file"]);
        std::os::unix::fs::symlink("target", place.root("etc/link")).unwrap();
        let names = ["", "etc", "etc/hosts", "etc/target", "etc/link", "d", "d/inner"];
        let before: Vec<_> = names.iter().map(|name| times(&place.root(name))).collect();
        for path in ["/etc/hosts", "/etc/link", "/run/new/secret"] {
            place.cover_with_file(path);
        }
        assert_eq!(fs::read(place.root("etc/hosts")).unwrap(), b"cover");
        assert_eq!(fs::read(place.root("etc/target")).unwrap(), b"cover");
        assert_eq!(fs::read(place.root("run/new/secret")).unwrap(), b"cover");
        // The command replaces one, removes one, and moves one.
        fs::remove_file(place.root("etc/hosts")).unwrap();
        fs::write(place.root("etc/hosts"), "own").unwrap();
        fs::remove_file(place.root("etc/target")).unwrap();
        let during: Vec<_> = ["d", "d/inner"].iter().map(|name| times(&place.root(name))).collect();
        assert_eq!(during, before[5..]);
        let root = place.root("");
        let stubs = place.covers.lift().unwrap();
        crate::step::stubs::remove(&stubs, &root).unwrap();
        assert_eq!(fs::read(root.join("etc/hosts")).unwrap(), b"etc/hosts");
        assert_eq!(fs::read(root.join("etc/link")).unwrap(), b"etc/target");
        assert!(!root.join("run").exists());
        let after: Vec<_> = names.iter().map(|name| times(&root.join(name))).collect();
        let inodes = |list: &[(u64, i64, i64)]| list.iter().map(|l| l.0).collect::<Vec<_>>();
        assert_eq!(inodes(&after), inodes(&before));
        // The command itself changed the folder etc.
        for (at, name) in names.iter().enumerate().filter(|(_, name)| **name != "etc") {
            assert_eq!(after[at], before[at], "{name}");
        }
    }

    #[test]
    fn a_folder_that_is_gone_takes_its_covers_along() {
        let mut place = Trial::new(&["d/a", "d/b", "other"]);
        place.cover_with_file("/d/a");
        fs::remove_dir_all(place.root("d")).unwrap();
        let root = place.root("");
        place.covers.lift().unwrap();
        assert!(!root.join("d").exists() && root.join("other").exists());
    }
}
