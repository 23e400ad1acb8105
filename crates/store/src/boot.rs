//! Unpacked layers, root folders and fetched sources count only in the boot of the machine in which
//! they were made, and in the store that they were made for.
//!
//! They are written without syncing, which would cost more than making them anew; so their paths
//! name the boot.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, StatxFlags};
use xbuild_model::Digest;

use crate::StoreError;

/// Unpacked layers, below the store: `folders/BOOT/MAP.FORM/HEX`.
pub(crate) const FOLDERS: &str = "folders";
/// Folders with all files of a stack, below the store: `roots/BOOT/MAP.FORM/N`.
pub(crate) const ROOTS: &str = "roots";

/// The form of unpacked files. It is raised when folders of earlier versions show steps something
/// else than the layers have; those are made anew then, and go as what is not used goes. 1, without a
/// name: stand-ins for devices had wrong modes, and files attributes that no layer carries.
const FORM: u32 = 2;

/// Returns the name of the folder for what is unpacked under an id map.
pub(crate) fn of_map(map: &str) -> String {
    format!("{map}.{FORM}")
}
/// Fetched sources, below the store: `sources/BOOT/HEX`.
pub(crate) const SOURCES: &str = "sources";

/// Returns the name of this boot of the machine, for the store `root`. A copy of a store has another one:
/// whoever copies files may lose owners, attributes and set-user-ID bits of what is unpacked.
pub(crate) fn name(root: &Path) -> Result<String, StoreError> {
    let folders = root.join(FOLDERS);
    let mask = StatxFlags::INO | StatxFlags::BTIME;
    let stat = rustix::fs::statx(CWD, &folders, AtFlags::SYMLINK_NOFOLLOW, mask)
        .map_err(|errno| StoreError::io("look at", &folders)(errno.into()))?;
    // A file system without times of birth has its number for inodes, which may be given again.
    let facts = match StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME) {
        true => format!("{} {} {}", stat.stx_ino, stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        false => format!("{} {}:{}", stat.stx_ino, stat.stx_dev_major, stat.stx_dev_minor),
    };
    let place = Digest::of(facts.as_bytes()).hex();
    Ok(format!("{}.{}", boot_id()?, &place[..PLACE]))
}

/// The hexadecimal digits that stand for the place of a store.
const PLACE: usize = 16;

fn boot_id() -> Result<String, StoreError> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = fs::read_to_string(path).map_err(StoreError::io("read", path))?;
    let id = text.trim();
    is_boot_id(id).then(|| id.to_owned()).ok_or_else(|| {
        StoreError::io("read", path)(io::Error::new(io::ErrorKind::InvalidData, "no boot id"))
    })
}

/// Returns whether a name is that of a boot and a store; before stores had a part in it, it was the boot's.
fn is_name(name: &str) -> bool {
    let (boot, place) = name.split_once('.').unwrap_or((name, ""));
    is_boot_id(boot) && place.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Returns whether a text is the number of a boot: a UUID.
fn is_boot_id(name: &str) -> bool {
    let groups = name.split('-').map(str::len);
    let is_hex = |b: u8| b.is_ascii_hexdigit() || b == b'-';
    groups.eq([8, 4, 4, 4, 12]) && name.bytes().all(is_hex)
}

/// Returns the folders of other boots and stores: unpacked layers, root folders and fetched sources.
pub(crate) fn stale(root: &Path, boot: &str) -> Vec<PathBuf> {
    let folders = [FOLDERS, ROOTS, SOURCES].map(|kind| fs::read_dir(root.join(kind)));
    let entries = folders.into_iter().flatten().flatten().flatten();
    let is_stale = |name: &OsStr| name.to_str().is_some_and(|n| n != boot && is_name(n));
    entries.filter(|entry| is_stale(&entry.file_name())).map(|entry| entry.path()).collect()
}
