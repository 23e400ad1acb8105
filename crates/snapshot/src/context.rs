//! Build contexts: folders of this machine that files are copied from.
//!
//! Owners mean nothing and become 0:0; modes and times are kept. What the ignore file excludes
//! does not exist, whoever asks, and by whatever link.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};

use crate::copy::{Content, Fetched, SourceFile, SourceTree};
use crate::path;
use crate::pattern::{IgnoreRules, Matched};
use crate::root::{Root, Stat, xattr};
use crate::{ContentHash, CopyError, Kind, Meta, ShownPath, capability};

/// Bytes read at once while hashing.
const BUFFER: usize = 128 * 1024;

/// A folder to copy from.
#[derive(Debug)]
pub struct Context {
    root: Root,
    /// Which one it is of those that a step copies from: 0 for the one that is built.
    number: usize,
    rules: IgnoreRules,
    /// Hashes of files, valid as long as the stamp of the file is the same.
    hashes: Mutex<HashMap<Vec<u8>, (Stamp, Hashed)>>,
    /// Excluded folders, and whether they hold something that is not.
    revealed: Mutex<HashMap<Vec<u8>, bool>>,
}

/// What changes when somebody writes to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    id: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Debug, Clone)]
struct Hashed {
    hash: ContentHash,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A regular file of a context as it was when it was hashed.
#[derive(Debug, Clone)]
pub(crate) struct ContextFile {
    context: usize,
    path: Vec<u8>,
    stamp: Stamp,
}

impl ContextFile {
    /// Returns the number of the context that the file is in, see [`Context::numbered`].
    pub(crate) fn context(&self) -> usize {
        self.context
    }
}

impl Context {
    /// Makes it the folder of a remote source, the `number`-th of a step, counted from 1.
    #[must_use]
    pub fn numbered(mut self, number: usize) -> Self {
        self.number = number;
        self
    }

    /// Opens the folder at `path`, which may be a symbolic link; nothing below it is looked at
    /// yet.
    pub fn open(path: &Path, rules: Option<IgnoreRules>) -> Result<Self, CopyError> {
        let root = Root::open(path)
            .map_err(|source| CopyError::OpenContext { path: path.to_owned(), source })?;
        Ok(Self {
            root,
            number: 0,
            rules: rules.unwrap_or_default(),
            hashes: Mutex::default(),
            revealed: Mutex::default(),
        })
    }

    /// Opens a file that was hashed before. Reading it to the end fails if it is no longer what
    /// it was.
    pub(crate) fn reopen(&self, file: &ContextFile) -> Result<Reopened, CopyError> {
        let opened = self.root.open_file(&file.path).map_err(CopyError::read(&file.path))?;
        let reopened = Reopened { file: opened, expected: file.clone() };
        reopened.check()?;
        Ok(reopened)
    }

    /// Returns whether an excluded folder holds something that a `!` pattern brings back.
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

    /// Returns whether a file is part of the context, given what the rules say about it.
    fn is_visible(
        &self,
        path: &[u8],
        is_dir: bool,
        (excluded, matched): &(bool, Matched),
    ) -> Result<bool, CopyError> {
        Ok(!excluded || (is_dir && self.reveals(path, matched)?))
    }

    /// Returns the file `name` of the opened folder `at`, `path` as seen from the root.
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
        Ok(SourceFile { kind, meta, id })
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

    fn list(&self, folder: &[u8]) -> Result<Vec<(Vec<u8>, SourceFile)>, CopyError> {
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
            // Gone meanwhile: as if it had never been there.
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

    fn fetch(&self, path: &[u8]) -> Result<Fetched, CopyError> {
        let fail = CopyError::read(path);
        let file = match self.root.open_file(path) {
            Ok(file) => file,
            Err(error) if self.root.stat(path).is_ok_and(|s| s.kind == FileType::Socket) => {
                drop(error);
                return Ok(Fetched {
                    size: 0,
                    hash: ContentHash(Sha256::digest(b"").into()),
                    content: Content::Inline([].into()),
                    xattrs: Vec::new(),
                });
            }
            Err(error) => return Err(fail(error)),
        };
        let stamp = Stamp::of(&file).map_err(CopyError::read(path))?;
        let known = lock(&self.hashes).get(path).filter(|known| known.0 == stamp).cloned();
        let hashed = match known {
            Some((_, hashed)) => hashed,
            None => {
                let hashed = hash(&file, path, &stamp)?;
                lock(&self.hashes).insert(path.to_vec(), (stamp, hashed.clone()));
                hashed
            }
        };
        Ok(Fetched {
            size: stamp.size,
            hash: hashed.hash,
            content: Content::Context(ContextFile {
                context: self.number,
                path: path.to_vec(),
                stamp,
            }),
            xattrs: hashed.xattrs,
        })
    }

    fn place(&self) -> &'static str {
        "the build context"
    }
}

/// Reads a file to its end.
///
/// **Errors** — [`CopyError::Changed`] if it was written to meanwhile.
fn hash(file: &File, path: &[u8], stamp: &Stamp) -> Result<Hashed, CopyError> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; BUFFER];
    let mut total = 0;
    loop {
        let mut input = file;
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
    let now = Stamp::of(file).map_err(CopyError::read(path))?;
    if now != *stamp || total != stamp.size {
        return Err(CopyError::Changed { path: ShownPath(path.to_vec()) });
    }
    let capability = xattr(file.as_fd(), CAPABILITY)
        .map_err(|errno| CopyError::read(path)(errno.into()))?
        .map(|value| (capability::NAME.to_vec(), value));
    let xattrs = capability::exported(capability.as_slice());
    Ok(Hashed { hash: ContentHash(hasher.finalize().into()), xattrs })
}

/// The one attribute that is asked for; [`capability::NAME`] as text.
const CAPABILITY: &str = "security.capability";

impl Stamp {
    // The casts are between integer types that differ by architecture.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
    fn of(file: &File) -> io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        Ok(Self {
            id: (stat.st_dev as u64, stat.st_ino as u64),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        })
    }
}

/// A file that is read for the second time.
#[derive(Debug)]
pub(crate) struct Reopened {
    file: File,
    expected: ContextFile,
}

impl Reopened {
    /// Checks that nobody has written to the file since it was hashed. Called again after the
    /// reading, since it may have happened meanwhile.
    pub(crate) fn check(&self) -> Result<(), CopyError> {
        let path = &self.expected.path;
        let now = Stamp::of(&self.file).map_err(CopyError::read(path))?;
        if now == self.expected.stamp {
            Ok(())
        } else {
            Err(CopyError::Changed { path: ShownPath(path.clone()) })
        }
    }
}

impl Read for Reopened {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

/// Locks what stays valid whatever happened to another thread: caches are only added to.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
