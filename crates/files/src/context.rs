//! Build contexts: folders of this machine from which files are copied.
//!
//! Owners are ignored and become 0:0; modes and times are kept. A file that the ignore file
//! excludes does not exist, not even behind a link.

mod hashes;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};
use xbuild_layer::{
    ContentHash, ContentHasher, Contents as _, Kind, Meta, ShownPath, capability, path,
};
use xbuild_model::Digest;

use crate::CopyError;
use crate::holes::FileContents;
use crate::pattern::{IgnoreRules, Matched};
use crate::root::{Root, Stat, xattr};
use crate::source::{Content, Fetched, Listing, SourceFile, SourceTree};
use crate::stamp::{ContextFile, Stamp};

pub(crate) use hashes::Hashed;
pub use hashes::Kept;

use hashes::Hashes;

/// Bytes read at once while hashing.
const BUFFER: usize = 128 * 1024;

/// A folder to copy from.
#[derive(Debug)]
pub struct Context {
    root: Root,
    /// The number of the context among those of a step; 0 for the main context.
    number: usize,
    rules: IgnoreRules,
    hashes: Mutex<Hashes>,
    /// Whether the hashes of earlier processes were loaded.
    is_restored: Mutex<bool>,
    /// Excluded folders, and whether a `!` pattern brings back something in them.
    revealed: Mutex<HashMap<Vec<u8>, bool>>,
}

impl Context {
    /// Makes this the folder of a remote source, the `number`-th of a step, counted from 1.
    #[must_use]
    pub fn numbered(mut self, number: usize) -> Self {
        self.number = number;
        self
    }

    /// Opens the folder at `path`, which may be a symbolic link. No file in it is read yet.
    pub fn open(path: &Path, rules: Option<IgnoreRules>) -> Result<Self, CopyError> {
        let root = Root::open(path)
            .map_err(|source| CopyError::OpenContext { path: path.to_owned(), source })?;
        Ok(Self {
            root,
            number: 0,
            rules: rules.unwrap_or_default(),
            hashes: Mutex::default(),
            is_restored: Mutex::default(),
            revealed: Mutex::default(),
        })
    }

    /// Loads the file hashes that [`Context::keep_hashes`] kept in another process. `load` is
    /// called once.
    pub fn restore_hashes<E>(
        &self,
        load: impl FnOnce() -> Result<Option<Vec<u8>>, E>,
    ) -> Result<(), E> {
        let mut is_restored = lock(&self.is_restored);
        if !*is_restored {
            if let Some(bytes) = load()? {
                lock(&self.hashes).restore(&bytes);
            }
            *is_restored = true;
        }
        Ok(())
    }

    /// Calls `keep` with the file hashes, unless none of them is new.
    pub fn keep_hashes<E>(&self, keep: impl FnOnce(&Kept<'_>) -> Result<(), E>) -> Result<(), E> {
        lock(&self.hashes).kept().map_or(Ok(()), |kept| keep(&kept))
    }

    /// Returns whether any change to a file would change its stamp. It is false for a file that was
    /// never read.
    pub(crate) fn is_settled(&self, file: &ContextFile) -> bool {
        lock(&self.hashes).is_settled(&file.stamp)
    }

    /// Returns the key under which the file hashes of this folder are kept.
    pub fn identity(&self) -> Result<Digest, CopyError> {
        let stat = self.root.stat(b"").map_err(CopyError::read(b""))?;
        Ok(Digest::of(format!("{} {}", stat.dev, stat.ino).as_bytes()))
    }

    /// Reads a regular file to its end, and returns its current stamp with its hash.
    ///
    /// **Errors** — [`CopyError::Changed`] if it was written to during that.
    pub(crate) fn read(&self, path: &[u8]) -> Result<(ContextFile, Hashed), CopyError> {
        let begun = hashes::now();
        let opened = self.root.open_file_with_stat(path).map_err(CopyError::read(path));
        let (file, stamp) = opened.map(|(file, stat)| (file, Stamp::of(&stat)))?;
        let known = lock(&self.hashes).get(&stamp);
        let hashed = match known {
            Some(hashed) => hashed,
            None => {
                let hashed = hash(&file, path, &stamp)?;
                lock(&self.hashes).put(stamp, hashed.clone(), begun);
                hashed
            }
        };
        Ok((ContextFile { context: self.number, path: path.to_vec(), stamp }, hashed))
    }

    /// Opens a file that was hashed before. Reading it to the end fails if it has changed.
    pub(crate) fn reopen(&self, file: &ContextFile) -> Result<Reopened, CopyError> {
        let path = &file.path;
        let (opened, stat) = self.root.open_file_with_stat(path).map_err(CopyError::read(path))?;
        if Stamp::of(&stat) != file.stamp {
            return Err(CopyError::Changed { path: ShownPath(path.clone()) });
        }
        Ok(Reopened { file: opened, expected: file.clone() })
    }

    /// Returns whether a `!` pattern brings back something in an excluded folder.
    fn reveals(&self, folder: &[u8], matched: &Matched) -> Result<bool, CopyError> {
        if !self.rules.0.has_exceptions() {
            return Ok(false);
        }
        if let Some(known) = lock(&self.revealed).get(folder) {
            return Ok(*known);
        }
        let mut todo = vec![(folder.to_vec(), matched.clone())];
        let mut found = false;
        while let Some((folder, matched)) = todo.pop() {
            if !self.rules.0.may_match_below(&folder, true) {
                continue;
            }
            let at = self.root.dir(&folder).map_err(CopyError::read(&folder))?;
            for entry in at.read_dir(b"").map_err(CopyError::read(&folder))? {
                let path = path::join(&folder, &entry.name);
                let (excluded, matched) = self.rules.0.matches(&path, &matched);
                if !excluded {
                    found = true;
                    todo.clear();
                    break;
                }
                let is_dir = || at.try_stat(&entry.name).map_err(CopyError::read(&path));
                if entry.maybe_dir && is_dir()?.is_some_and(|stat| stat.is_dir()) {
                    todo.push((path, matched));
                }
            }
        }
        lock(&self.revealed).insert(folder.to_vec(), found);
        Ok(found)
    }

    /// Returns whether a file is part of the context, given the verdict of the rules.
    fn is_visible(
        &self,
        path: &[u8],
        is_dir: bool,
        (excluded, matched): &(bool, Matched),
    ) -> Result<bool, CopyError> {
        Ok(!excluded || (is_dir && self.reveals(path, matched)?))
    }

    /// Returns the file `name` of the opened folder `at`; `path` is its path from the root.
    fn source_file(
        at: &Root,
        name: &[u8],
        path: &[u8],
        stat: &Stat,
    ) -> Result<SourceFile, CopyError> {
        let (major, minor) = stat.device;
        let kind = match stat.kind {
            FileType::Directory => Kind::Dir,
            FileType::Symlink => {
                Kind::Symlink { target: at.readlink(name).map_err(CopyError::read(path))? }
            }
            FileType::CharacterDevice => Kind::CharDevice { major, minor },
            FileType::BlockDevice => Kind::BlockDevice { major, minor },
            FileType::Fifo => Kind::Fifo,
            // A socket becomes an empty file, as in the reference.
            _ => Kind::File { size: if stat.is_file() { stat.size } else { 0 } },
        };
        let id = (stat.is_file() && stat.nlink > 1).then_some((stat.dev, stat.ino));
        let meta = Meta { mode: stat.mode, uid: 0, gid: 0, mtime: stat.mtime, xattrs: Vec::new() };
        let stamp = stat.is_file().then(|| Stamp::of(stat));
        Ok(SourceFile { kind, meta, id, stamp })
    }
}

impl SourceTree for Context {
    fn look(&self, path: &[u8]) -> Result<Option<SourceFile>, CopyError> {
        let Some(stat) = self.root.try_stat(path).map_err(CopyError::read(path))? else {
            return Ok(None);
        };
        let verdict = match path {
            b"" => (false, Matched::default()),
            _ => self.rules.0.matches_path(path),
        };
        if !self.is_visible(path, stat.is_dir(), &verdict)? {
            return Ok(None);
        }
        Self::source_file(&self.root, path, path, &stat).map(Some)
    }

    fn list(&self, folder: &[u8]) -> Result<Listing, CopyError> {
        let at = self.root.dir(folder).map_err(CopyError::read(folder))?;
        let above = match folder {
            b"" => Matched::default(),
            _ => self.rules.0.matches_path(folder).1,
        };
        let mut names = at.read_dir(b"").map_err(CopyError::read(folder))?;
        names.sort_unstable();
        let mut files = Vec::with_capacity(names.len());
        for entry in names {
            let path = path::join(folder, &entry.name);
            let verdict = self.rules.0.matches(&path, &above);
            if verdict.0 && !entry.maybe_dir {
                continue;
            }
            // A file that has just vanished never existed.
            let Some(stat) = at.try_stat(&entry.name).map_err(CopyError::read(&path))? else {
                continue;
            };
            if self.is_visible(&path, stat.is_dir(), &verdict)? {
                let file = Self::source_file(&at, &entry.name, &path, &stat)?;
                files.push((entry.name, file));
            }
        }
        Ok(files)
    }

    fn fetch(&self, path: &[u8], file: &SourceFile) -> Result<Fetched, CopyError> {
        let Some(stamp) = file.stamp else {
            // A socket, which becomes an empty file.
            return Ok(Fetched {
                size: 0,
                hash: Some(ContentHash(Sha256::digest(b"").into())),
                content: Content::Inline([].into()),
                xattrs: Vec::new(),
            });
        };
        let (hash, xattrs) = match lock(&self.hashes).get(&stamp) {
            Some(Hashed { hash, xattrs }) => (Some(hash), xattrs),
            None => (None, Vec::new()),
        };
        let file = ContextFile { context: self.number, path: path.to_vec(), stamp };
        Ok(Fetched { size: stamp.size, hash, content: Content::Context(file), xattrs })
    }

    fn hides(&self, path: &[u8]) -> bool {
        // It was looked for in vain, so it is left out if it is there.
        matches!(self.root.try_stat(path), Ok(Some(_)))
    }

    fn place(&self) -> &'static str {
        "the build context"
    }

    fn is_on_disk(&self) -> bool {
        true
    }
}

/// Reads a file to its end.
///
/// **Errors** — [`CopyError::Changed`] if it was written to during that.
fn hash(file: &File, path: &[u8], expected: &Stamp) -> Result<Hashed, CopyError> {
    let mut hasher = ContentHasher::new(expected.size);
    // There are many files, and most of them are small.
    let mut buffer = vec![0; usize::try_from(expected.size).unwrap_or(BUFFER).clamp(1, BUFFER)];
    let mut total = 0;
    // More bytes would change the stamp. Some files, however, state size 0 and have contents.
    let mut input = FileContents::new(file, expected.size);
    while total == 0 || total < expected.size {
        let hole = input.skip_hole().map_err(CopyError::read(path))?;
        hasher.zeros(hole);
        total += hole;
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                hasher.update(&buffer[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CopyError::read(path)(error)),
        }
    }
    if stamp(file, path)? != *expected || total != expected.size {
        return Err(CopyError::Changed { path: ShownPath(path.to_vec()) });
    }
    let capability = xattr(file.as_fd(), CAPABILITY)
        .map_err(|errno| CopyError::read(path)(errno.into()))?
        .map(|value| (capability::NAME.to_vec(), value));
    let xattrs = capability::exported(capability.as_slice());
    Ok(Hashed { hash: hasher.finish().hash, xattrs })
}

/// The one attribute that is read: [`capability::NAME`] as text.
const CAPABILITY: &str = "security.capability";

/// Returns the stamp of an open file, which was opened as `path`.
fn stamp(file: &File, path: &[u8]) -> Result<Stamp, CopyError> {
    let stat = rustix::fs::fstat(file).map_err(|errno| CopyError::read(path)(errno.into()))?;
    Ok(Stamp::of(&stat.into()))
}

/// A file that is read for the second time.
#[derive(Debug)]
pub(crate) struct Reopened {
    file: File,
    expected: ContextFile,
}

impl Reopened {
    /// Checks that nobody has written to the file since it was hashed. Call it after reading, since
    /// somebody may have written during that.
    pub(crate) fn check(&self) -> Result<(), CopyError> {
        let path = &self.expected.path;
        if stamp(&self.file, path)? == self.expected.stamp {
            Ok(())
        } else {
            Err(CopyError::Changed { path: ShownPath(path.clone()) })
        }
    }
}

impl Reopened {
    /// Returns the contents, from their beginning.
    pub(crate) fn contents(&self) -> FileContents<'_> {
        FileContents::new(&self.file, self.expected.size())
    }
}

impl Read for Reopened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// Locks a cache. Entries are only added, so it stays valid if another thread panics.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
