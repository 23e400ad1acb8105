//! Setting a folder back to the files of an earlier walk, as far as that needs no contents.
//!
//! Files that were not there are removed. Files whose stamp differs are removed, too, and named, so
//! that the caller can put them there again; folders that are still the same stay, without their
//! attributes. Nothing is read.

use std::io::{self, Read};
use std::vec;

use rustix::process::geteuid;
use xbuild_layer::{Mtime, ShownPath, path};

use crate::DiffError;
use crate::on_disk::{bare, stats};
use crate::root::{Root, Stat};
use crate::stamps::{Stamp, StampReader};

/// A file that has to be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// The file itself: a folder that lost its metadata, or a file of any other kind.
    File(Vec<u8>),
    /// The file and, if it was a folder, everything in it.
    Tree(Vec<u8>),
}

/// Sets `folder` back to the walk that wrote the stamps `old` and told how far the clock had got,
/// `settled` (see [`crate::changes::stamp`]). Calls `lost` for each file that is missing now. The
/// metadata of the folder itself stays.
///
/// **Shape** — depth first, names in byte order.
///
/// **Errors** — leave the folder in a state in between.
pub fn revert<R: Read>(
    folder: &Root,
    old: StampReader<R>,
    settled: Mtime,
    lost: &mut dyn FnMut(Lost) -> io::Result<()>,
) -> Result<(), DiffError> {
    let top = folder.try_clone().map_err(fault(b""))?;
    let mut revert = Revert { old, settled, lost };
    let mut levels = vec![Level::open(Vec::new(), top, 1)?];
    while let Some(level) = levels.last_mut() {
        match level.items.next() {
            Some((name, stat)) => {
                if let Some(inner) = revert.visit(level, &name, &stat)? {
                    levels.push(inner);
                }
            }
            None => {
                revert.removed_until(level, None)?;
                levels.pop();
            }
        }
    }
    Ok(())
}

fn fault(path: &[u8]) -> impl FnOnce(io::Error) -> DiffError {
    let path = ShownPath(path.to_vec());
    move |source| DiffError::Entry { path, source }
}

fn stamps(source: io::Error) -> DiffError {
    DiffError::Stamps { source }
}

/// A folder being walked.
struct Level {
    path: Vec<u8>,
    folder: Root,
    items: vec::IntoIter<(Vec<u8>, Stat)>,
    /// The number of names on the way to its files.
    depth: u32,
}

impl Level {
    fn open(path: Vec<u8>, folder: Root, depth: u32) -> Result<Self, DiffError> {
        let items = stats(&folder).map_err(fault(&path))?.into_iter();
        Ok(Self { path, folder, items, depth })
    }
}

struct Revert<'a, R> {
    old: StampReader<R>,
    settled: Mtime,
    lost: &'a mut dyn FnMut(Lost) -> io::Result<()>,
}

impl<R: Read> Revert<'_, R> {
    /// Sets one file back. Returns the level of a folder that stays.
    fn visit(
        &mut self,
        level: &Level,
        name: &[u8],
        stat: &Stat,
    ) -> Result<Option<Level>, DiffError> {
        let path = path::join(&level.path, name);
        self.removed_until(level, Some(name))?;
        let next = self.old.peek().filter(|next| next.depth == level.depth && next.name == name);
        if next.is_none() {
            level.folder.remove_tree(name).map_err(fault(&path))?;
            return Ok(None);
        }
        let Some(before) = self.old.take().map_err(stamps)? else { return Ok(None) };
        let now = Stamp::of(&level.folder, level.depth, name, stat).map_err(fault(&path))?;
        let is_same = before == now && before.ctime < self.settled;
        if stat.is_dir() && before.is_same_folder(&now) {
            let inner = level.folder.dir(name).map_err(fault(&path))?;
            if !is_same {
                if !geteuid().is_root() {
                    // Its owner must get in.
                    level.folder.chmod(name, 0o700).map_err(fault(&path))?;
                }
                // The owner is set when the folder is put back.
                bare(&level.folder, name, true).map_err(fault(&path))?;
                self.tell(Lost::File(path.clone()))?;
            }
            return Level::open(path, inner, level.depth + 1).map(Some);
        }
        if !is_same {
            level.folder.remove_tree(name).map_err(fault(&path))?;
            self.old.skip_below(before.depth).map_err(stamps)?;
            self.tell(Lost::Tree(path))?;
        }
        Ok(None)
    }

    /// Names the files of a folder that are gone: those before `name`, or all that are left.
    fn removed_until(&mut self, level: &Level, name: Option<&[u8]>) -> Result<(), DiffError> {
        let is_gone = |next: &&Stamp| {
            next.depth == level.depth && name.is_none_or(|name| next.name[..] < *name)
        };
        while self.old.peek().filter(is_gone).is_some() {
            if let Some(gone) = self.old.take().map_err(stamps)? {
                self.old.skip_below(gone.depth).map_err(stamps)?;
                self.tell(Lost::Tree(path::join(&level.path, &gone.name)))?;
            }
        }
        Ok(())
    }

    fn tell(&mut self, lost: Lost) -> Result<(), DiffError> {
        (self.lost)(lost).map_err(stamps)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::changes::stamp;
    use crate::stamps::StampWriter;

    struct Place {
        temp: tempfile::TempDir,
        stamps: Vec<u8>,
        settled: Mtime,
    }

    impl Place {
        fn new() -> Self {
            let temp = tempfile::tempdir().unwrap();
            let at = |path: &str| temp.path().join("fs").join(path);
            for folder in ["a/in", "b", "c/deep/er"] {
                fs::create_dir_all(at(folder)).unwrap();
            }
            for file in ["a/f", "a/in/f", "b/f", "c/deep/er/f", "f"] {
                fs::write(at(file), file).unwrap();
            }
            fs::hard_link(at("f"), at("twin")).unwrap();
            symlink("f", at("link")).unwrap();
            let mut stamps = Vec::new();
            let clock = File::create(temp.path().join("clock")).unwrap();
            let root = Root::open(&at("")).unwrap();
            let settled =
                stamp(&root, StampWriter::new(&mut stamps), &clock, &Default::default()).unwrap();
            Self { temp, stamps, settled }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.temp.path().join("fs").join(path)
        }

        /// Changes the folder and sets it back. Returns what is lost: trees have a star.
        fn after(&self, change: impl FnOnce(&dyn Fn(&str) -> PathBuf)) -> Vec<String> {
            change(&|path| self.at(path));
            let mut lost = Vec::new();
            let old = StampReader::new(&self.stamps[..]).unwrap();
            revert(&Root::open(&self.at("")).unwrap(), old, self.settled, &mut |one| {
                let (path, sign) = match one {
                    Lost::File(path) => (path, ""),
                    Lost::Tree(path) => (path, "*"),
                };
                lost.push(String::from_utf8(path).unwrap() + sign);
                Ok(())
            })
            .unwrap();
            lost
        }
    }

    #[test]
    fn nothing_is_lost_if_nothing_changed() {
        assert!(Place::new().after(|_| {}).is_empty());
    }

    #[test]
    fn what_was_not_there_is_removed() {
        let place = Place::new();
        let lost = place.after(|at| {
            fs::create_dir_all(at("a/new/deep")).unwrap();
            fs::write(at("a/new/deep/f"), "").unwrap();
            fs::write(at("0"), "").unwrap();
            let _socket = std::os::unix::net::UnixListener::bind(at("b/socket")).unwrap();
            symlink("/", at("zz")).unwrap();
        });
        assert_eq!(lost, ["a", "b"]);
        for gone in ["a/new", "0", "b/socket", "zz"] {
            assert!(fs::symlink_metadata(place.at(gone)).is_err(), "{gone}");
        }
        assert!(place.at("a/in/f").exists());
    }

    #[test]
    fn what_has_changed_is_named_and_removed() {
        let place = Place::new();
        let times = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let lost = place.after(|at| {
            // The same size and time.
            let (file, time) = (at("a/f"), times(&at("a/f")));
            fs::write(&file, "f/a").unwrap();
            File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            fs::remove_dir_all(at("c/deep")).unwrap();
            fs::create_dir(at("c/deep")).unwrap();
            fs::remove_file(at("link")).unwrap();
            // All names of a file that loses one have another count.
            fs::remove_file(at("f")).unwrap();
            fs::set_permissions(at("b"), fs::Permissions::from_mode(0o000)).unwrap();
        });
        assert_eq!(lost, ["a/f*", "b", "c", "c/deep*", "f*", "link*", "twin*"]);
        assert!(!place.at("a/f").exists() && !place.at("c/deep").exists());
        assert!(place.at("b/f").exists() && place.at("a/in/f").exists());
        assert_eq!(fs::metadata(place.at("b")).unwrap().nlink(), 2);
    }
}
