//! Whether the root of this container is one that steps may have as theirs: whatever is in it is
//! removed, apart from mounts and xbuild's own files.
//!
//! Nobody may lose files. So the root must be made for it, by a mark in xbuild's image or a variable,
//! and must have no file that is neither of these nor left by a build before. Links into xbuild's
//! folder, such as a shell's, hold nothing: they are put back at the end of a build.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, StatVfsMountFlags};
use xbuild_model::own_root::{HOME, MARK, Spared};
use xbuild_wording::{Hint, hints};

use crate::gap::Gap;

/// The root that a build may use.
#[derive(Debug, Clone)]
pub struct OwnRoot {
    /// Whether the user says that it may (`XBUILD_OWN_ROOT=1`).
    pub is_allowed: bool,
    /// The folder of the store.
    pub store: PathBuf,
}

impl OwnRoot {
    /// Returns whether steps may have the root now.
    pub fn is_free(&self) -> bool {
        look(Some(self)).is_ok()
    }
}

/// The most files that are named as in the way.
const NAMED: usize = 3;

/// The most folders that are looked into: a root made for xbuild has few.
const FOLDERS: usize = 4096;

/// Returns what is spared in the root.
pub(crate) fn look(own: Option<&OwnRoot>) -> Result<Spared, Gap> {
    let gap = |why: String, how_to_get: Hint| Gap { why, how_to_get };
    let mark = fs::symlink_metadata(MARK).ok().filter(fs::Metadata::is_file);
    let Some(own) = own.filter(|own| own.is_allowed || mark.is_some()) else {
        return Err(gap(
            "the root of this machine is not one for steps".to_owned(),
            hints::own_image(),
        ));
    };
    let mounts = fs::read("/proc/self/mountinfo").map_err(|error| {
        gap(format!("cannot read the list of mounts: {error}"), hints::own_image())
    })?;
    let mut spared = spared(&mounts, &own.store);
    one_file_system(&own.store)?;
    if is_in_use() {
        return Err(gap(
            "another build uses the root of this container".to_owned(),
            hints::wait_for_root(),
        ));
    }
    // A killed build left nothing there but files of a stage.
    if mark.is_some_and(|mark| mark.len() > 0) {
        spared.add_mark(&fs::read(MARK).unwrap_or_default());
        return Ok(spared);
    }
    match strangers(Path::new("/"), &mut spared) {
        found if found.is_empty() => Ok(spared),
        found => {
            let named: Vec<String> = found.iter().map(|path| path.display().to_string()).collect();
            Err(gap(
                format!("files in the root are neither xbuild's nor mounted: {}", named.join(", ")),
                hints::own_image(),
            ))
        }
    }
}

/// Returns the mounts, the files of xbuild and of container engines, and the working directory.
fn spared(mounts: &[u8], store: &Path) -> Spared {
    let exe = fs::read_link("/proc/self/exe").ok();
    let cwd = std::env::current_dir().ok();
    let engines = ["/.dockerenv", "/run/.containerenv"].map(Path::new);
    let engines = engines.into_iter().filter(|path| path.exists());
    let own = [Path::new(HOME), store];
    let here = exe.as_deref().into_iter().chain(cwd.as_deref());
    Spared::new(mounts, own.into_iter().chain(here).chain(engines))
}

/// Checks that files can be renamed between the root, xbuild's folder and the store, and programs
/// executed there.
fn one_file_system(store: &Path) -> Result<(), Gap> {
    let gap = |why: &str, how_to_get: Hint| Gap { why: why.to_owned(), how_to_get };
    let device = |path: &Path| {
        let there = path.ancestors().find_map(|path| fs::metadata(path).ok());
        there.map(|found| found.dev())
    };
    let root = device(Path::new("/"));
    if device(Path::new(HOME)) != root || device(store) != root {
        return Err(gap(
            "the store is on another file system than the root of the container",
            hints::store_in_root(),
        ));
    }
    let flags = rustix::fs::statvfs("/").map(|found| found.f_flag);
    if flags
        .is_ok_and(|flags| flags.intersects(StatVfsMountFlags::RDONLY | StatVfsMountFlags::NOEXEC))
    {
        return Err(gap(
            "the root of the container is read-only, or mounted with noexec",
            hints::writable_root(),
        ));
    }
    Ok(())
}

/// Returns whether another process has locked the mark.
fn is_in_use() -> bool {
    let Ok(file) = File::open(MARK) else { return false };
    let locked = rustix::fs::flock(file.as_fd(), FlockOperation::NonBlockingLockExclusive);
    locked == Err(rustix::io::Errno::WOULDBLOCK)
}

/// Returns some of the files of a root that are not spared. Folders of nothing count as nothing. Adds
/// the links into xbuild's folder to those that are put back.
fn strangers(root: &Path, spared: &mut Spared) -> Vec<PathBuf> {
    let (mut found, mut left) = (Vec::new(), vec![root.to_owned()]);
    let mut looked = 0;
    while let Some(folder) = left.pop() {
        looked += 1;
        let Ok(entries) = fs::read_dir(&folder) else {
            found.push(folder);
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let inner = path.strip_prefix(root).unwrap_or(&path);
            if spared.has(inner.as_os_str().as_bytes()) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && looked < FOLDERS => left.push(path),
                // Engines make it.
                Ok(kind) if kind.is_symlink() && inner == Path::new("etc/mtab") => {}
                Ok(kind) if kind.is_symlink() && is_own_link(&path, inner, spared) => {}
                _ => found.push(path),
            }
        }
        if found.len() >= NAMED {
            found.truncate(NAMED);
            break;
        }
    }
    found
}

/// Returns whether a link, `inner` in the root, leads into xbuild's folder, and adds it if so.
fn is_own_link(path: &Path, inner: &Path, spared: &mut Spared) -> bool {
    let Ok(target) = fs::read_link(path) else { return false };
    let absolute = Path::new("/").join(inner);
    spared.add_link(absolute.as_os_str().as_bytes(), target.as_os_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_root_without_other_files_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        for folder in ["proc", "etc", "xbuild/bin", "work/deep", "run"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        for file in ["etc/hosts", "xbuild/bin/xbuild", "work/deep/file"] {
            fs::write(at(file), "").unwrap();
        }
        std::os::unix::fs::symlink("/proc/mounts", at("etc/mtab")).unwrap();
        let mounts = b"1 1 0:1 / /etc/hosts rw\n2 1 0:1 / /work/deep rw\n";
        let mut spared = Spared::new(mounts, [Path::new("/xbuild")]);
        assert!(strangers(root.path(), &mut spared).is_empty());
        fs::create_dir_all(at("home/me")).unwrap();
        fs::create_dir_all(at("bin")).unwrap();
        std::os::unix::fs::symlink("/xbuild/bin/sh", at("bin/sh")).unwrap();
        assert!(strangers(root.path(), &mut spared).is_empty());
        let links: Vec<_> = spared.links().collect();
        assert_eq!(links, [(Path::new("/bin/sh"), Path::new("/xbuild/bin/sh"))]);
        fs::write(at("home/me/letter"), "").unwrap();
        assert_eq!(strangers(root.path(), &mut spared), [at("home/me/letter")]);
        std::os::unix::fs::symlink("/usr/bin/ls", at("bin/ls")).unwrap();
        assert_eq!(strangers(root.path(), &mut spared).len(), 2);
        assert_eq!(strangers(root.path(), &mut Spared::default()).len(), NAMED);
    }

    #[test]
    fn a_machine_is_refused() {
        assert!(look(None).is_err());
        let own = OwnRoot { is_allowed: true, store: PathBuf::from("/") };
        let why = look(Some(&own)).unwrap_err().why;
        assert!(why.contains("root of the container") || why.contains("neither"), "{why}");
    }
}
