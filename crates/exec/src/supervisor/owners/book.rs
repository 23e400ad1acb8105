//! The book of owners: attributes of files, and a table of files that can have none.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::{AtFlags, CWD, FileType, Statx, StatxFlags, XattrFlags};
use rustix::io::Errno;
use xbuild_model::owner::{ATTRIBUTE, FileNumber, Owner, OwnersBelow};
use xbuild_model::records::Records;

use super::caches::Cache;
use super::spot::Spot;

/// The most files that the table has: enough for the links of an image, in some tens of MiB.
const LIMIT: usize = 1 << 20;

/// The longest attribute: two numbers.
const LONGEST: usize = 32;

/// A mount, and a file's number there.
type Key = (u64, FileNumber);

pub(super) struct Book {
    /// The mount of the step's root.
    root: u64,
    table: BTreeMap<Key, Owner>,
    /// The owners of files of the layers below that can have no attribute, by absolute path. Their
    /// numbers change when overlayfs copies them up.
    below: HashMap<Vec<u8>, Owner>,
    /// The mounts that such files are on: the step's root, and others that take changes.
    overlays: HashSet<u64>,
    /// The folder that takes the changes of an overlay mount. The mount goes on to show the number of
    /// a file of the layers below when it has been copied up.
    upper: Option<OwnedFd>,
    /// Mounts whose files are the user's own: all of them are root's, and that stays so.
    foreign: HashSet<u64>,
    caches: Vec<Cache>,
    /// Whether the kernel knows the owners of files that are not in the book.
    is_partial: bool,
    /// The owners for the layer, by the numbers of the file system below the mount.
    changed: BTreeMap<FileNumber, Owner>,
}

/// A file that was looked up.
pub(super) struct Found {
    pub(super) kind: FileType,
    pub(super) mode: u32,
    key: Key,
}

impl Found {
    /// Returns whether this is the same file on the same mount.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Book {
    /// Returns an empty book; `upper` is the folder for changes of an overlay mount, `foreign` are the
    /// mounts that stay as they are.
    pub(super) fn new(upper: Option<OwnedFd>, foreign: HashSet<u64>, caches: Vec<Cache>) -> Self {
        let (table, below) = (BTreeMap::new(), HashMap::new());
        Self {
            root: 0,
            table,
            below,
            overlays: HashSet::new(),
            upper,
            foreign,
            caches,
            is_partial: false,
            changed: BTreeMap::new(),
        }
    }

    /// Fills in the owners of the layers below. This process is in the step's root.
    pub(super) fn open(
        &mut self,
        below: OwnersBelow,
        mounted: Vec<(Vec<u8>, Owner)>,
    ) -> Result<(), Errno> {
        self.root = look(c"/", false)?.key.0;
        self.overlays.insert(self.root);
        self.is_partial = below.counts.is_some();
        for (path, owner) in below.special {
            let path = [b"/", &path[..]].concat();
            if let Ok(found) = std::ffi::CString::new(path.clone())
                .map_err(|_| Errno::NOENT)
                .and_then(|path| look(&path, false))
            {
                self.table.insert(found.key, owner);
                if self.upper.is_none() {
                    // A folder on the way to it can be renamed.
                    self.changed.insert(found.key.1, owner);
                }
            }
            if !self.is_partial {
                // The kernel makes files in their place without a word.
                self.below.insert(path, owner);
            }
        }
        for (path, owner) in mounted {
            if let Ok(found) = look_up(path.clone()) {
                self.table.insert(found.key, owner);
                if !may_have_attribute(found.kind) {
                    self.below.insert(path, owner);
                    self.overlays.insert(found.key.0);
                }
            }
        }
        for cache in &mut self.caches {
            for (path, owner) in cache.first() {
                if let Ok(found) = look_up(path) {
                    cache.keep(found.key.1, owner)?;
                }
            }
            cache.settle()?;
        }
        self.read_on()
    }

    /// Takes what other steps have said about files of cache mounts. This process is in the step's
    /// root.
    pub(super) fn read_on(&mut self) -> Result<(), Errno> {
        for cache in &mut self.caches {
            let news = cache.news()?;
            if !news.is_empty() {
                let mount = look_up(cache.target().to_vec())?.key.0;
                self.table.extend(news.into_iter().map(|(file, owner)| ((mount, file), owner)));
            }
        }
        Ok(())
    }

    /// Returns whether the owner of a file, or of those made in a folder, can be another one.
    pub(super) fn may_keep(&self, spot: &Spot) -> Result<bool, Errno> {
        Ok(self.foreign.is_empty() || !self.is_foreign(spot)?)
    }

    fn is_foreign(&self, spot: &Spot) -> Result<bool, Errno> {
        Ok(self.foreign.contains(&look(&spot.path, spot.follow)?.key.0))
    }

    /// Returns whether no file without an attribute has an owner.
    pub(super) fn has_no_table(&self) -> bool {
        self.table.is_empty() && self.below.is_empty() && self.caches.is_empty()
    }

    /// Returns whether the kernel knows the owners of files that are not in the book. Then `ROOT` stands
    /// for "not in the book".
    pub(super) fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Returns whether files without attributes of the layers below have owners.
    pub(super) fn has_below(&self) -> bool {
        !self.below.is_empty()
    }

    /// Returns the owner of a file by its path.
    pub(super) fn owner_at(&self, spot: &Spot) -> Result<Owner, Errno> {
        match attribute(spot) {
            // The attribute of a file of the user's own says nothing.
            Ok(Some(_)) if !self.may_keep(spot)? => Ok(Owner::ROOT),
            Ok(Some(owner)) => Ok(owner),
            Ok(None) if self.has_no_table() => Ok(Owner::ROOT),
            Ok(None) => self.owner(&spot.handle()?),
            Err(errno) => Err(errno),
        }
    }

    /// Returns the owner of a file by a handle.
    pub(super) fn owner(&self, handle: &OwnedFd) -> Result<Owner, Errno> {
        let spot = by_handle(handle)?;
        if let Some(owner) = attribute(&spot)? {
            return Ok(if self.may_keep(&spot)? { owner } else { Owner::ROOT });
        }
        if self.has_no_table() {
            return Ok(Owner::ROOT);
        }
        let found = look_at(handle)?;
        if let Some(owner) = self.table.get(&found.key) {
            return Ok(*owner);
        }
        if !self.overlays.contains(&found.key.0) || may_have_attribute(found.kind) {
            return Ok(Owner::ROOT);
        }
        let path = path_of(handle)?;
        Ok(self.below.get(&path).copied().unwrap_or_default())
    }

    /// Sets the owner of a file.
    ///
    /// **Errors** — `EPERM` if the owner cannot be kept.
    pub(super) fn set(&mut self, handle: &OwnedFd, owner: Owner) -> Result<(), Errno> {
        let found = look_at(handle)?;
        if self.foreign.contains(&found.key.0) {
            return if owner == Owner::ROOT { Ok(()) } else { Err(Errno::PERM) };
        }
        if may_have_attribute(found.kind) {
            match put(&by_handle(handle)?, owner) {
                Err(Errno::OPNOTSUPP) if found.key.0 == self.root => return Err(Errno::PERM),
                // Other file systems are not in the layer, and end with the step.
                Err(Errno::OPNOTSUPP) => {}
                done => return done,
            }
        }
        if self.table.len() >= LIMIT && !self.table.contains_key(&found.key) {
            return Err(Errno::NOSPC);
        }
        let path = if self.caches.is_empty() { Vec::new() } else { path_of(handle)? };
        if let Some(cache) = self.caches.iter_mut().find(|cache| cache.has(&path)) {
            if self.table.get(&found.key).copied().unwrap_or_default() != owner {
                cache.keep(found.key.1, owner)?;
            }
        } else if found.key.0 == self.root {
            self.changed.insert(self.number_below(handle, &found)?, owner);
        }
        self.table.insert(found.key, owner);
        Ok(())
    }

    /// Returns the number of a file on the file system below the step's root.
    fn number_below(&self, handle: &OwnedFd, found: &Found) -> Result<FileNumber, Errno> {
        let Some(upper) = &self.upper else { return Ok(found.key.1) };
        let path = path_of(handle)?;
        let path = path.strip_prefix(b"/").ok_or(Errno::NOENT)?;
        let stat = rustix::fs::statx(upper, path, AtFlags::SYMLINK_NOFOLLOW, FACTS)?;
        Ok(self::found(&stat).key.1)
    }

    pub(super) fn report(&self, records: &mut Records) {
        records.owners.extend(&self.changed);
    }
}

/// Returns the path of an open file in this process's root.
fn path_of(handle: &OwnedFd) -> Result<Vec<u8>, Errno> {
    let own = format!("self/fd/{}", handle.as_raw_fd());
    Ok(rustix::fs::readlink(own, Vec::new())?.into_bytes())
}

fn look_up(path: Vec<u8>) -> Result<Found, Errno> {
    look(&std::ffi::CString::new(path).map_err(|_| Errno::NOENT)?, false)
}

/// Returns whether the kernel lets files of a kind have attributes of users.
pub(super) fn may_have_attribute(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::Directory)
}

/// Returns a path to the file of a handle.
pub(super) fn by_handle(handle: &OwnedFd) -> Result<Spot, Errno> {
    let path = std::ffi::CString::new(format!("self/fd/{}", handle.as_raw_fd()));
    Ok(Spot { path: path.map_err(|_| Errno::NOENT)?, follow: true })
}

/// Returns the owner that the attribute of a file names.
fn attribute(spot: &Spot) -> Result<Option<Owner>, Errno> {
    let mut value = [0; LONGEST];
    let read = match spot.follow {
        true => rustix::fs::getxattr(&*spot.path, ATTRIBUTE, &mut value[..]),
        false => rustix::fs::lgetxattr(&*spot.path, ATTRIBUTE, &mut value[..]),
    };
    match read {
        // Somebody else wrote it.
        Ok(length) => Owner::parse(&value[..length]).map(Some).ok_or(Errno::IO),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => Err(Errno::IO),
        Err(errno) => Err(errno),
    }
}

fn put(spot: &Spot, owner: Owner) -> Result<(), Errno> {
    if owner == Owner::ROOT {
        return match rustix::fs::removexattr(&*spot.path, ATTRIBUTE) {
            Err(Errno::NODATA) => Ok(()),
            removed => removed,
        };
    }
    let value = owner.to_string();
    rustix::fs::setxattr(&*spot.path, ATTRIBUTE, value.as_bytes(), XattrFlags::empty())
}

const FACTS: StatxFlags =
    StatxFlags::BASIC_STATS.union(StatxFlags::BTIME).union(StatxFlags::MNT_ID);

/// Looks a file up by its path.
pub(super) fn look(path: &std::ffi::CStr, follow: bool) -> Result<Found, Errno> {
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    Ok(found(&rustix::fs::statx(CWD, path, flags, FACTS)?))
}

fn look_at(handle: &OwnedFd) -> Result<Found, Errno> {
    Ok(found(&rustix::fs::statx(handle, "", AtFlags::EMPTY_PATH, FACTS)?))
}

fn found(stat: &Statx) -> Found {
    let known = StatxFlags::from_bits_retain(stat.stx_mask);
    let birth = (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec);
    let birth = known.contains(StatxFlags::BTIME).then_some(birth);
    Found {
        kind: FileType::from_raw_mode(stat.stx_mode.into()),
        mode: u32::from(stat.stx_mode) & 0o7777,
        key: (stat.stx_mnt_id, FileNumber { inode: stat.stx_ino, birth }),
    }
}
