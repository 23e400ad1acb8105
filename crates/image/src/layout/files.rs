//! The files of a layout: those of a folder, or the members of a tar archive.
//!
//! In a folder a file may be reached over symbolic links that stay in the layout, as tools that share
//! blobs between layouts make them. In an archive only regular members count.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

use crate::error::LayoutError;
use crate::member_headers::{Bounded, MAX_PATH};

/// Members of an archive at most: an image has some hundred blobs.
const MAX_MEMBERS: usize = 100_000;
/// The first bytes of gzip, zstd, xz and bzip2 files.
const COMPRESSED: [&[u8]; 4] = [&[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd], b"\xfd7zXZ\0", b"BZh"];

/// The files of a layout, by their paths in it.
#[derive(Debug)]
pub(super) enum Files {
    Folder(OwnedFd),
    Archive {
        file: File,
        /// Path -> offset and size in bytes.
        members: HashMap<String, (u64, u64)>,
    },
}

/// The bytes of a file of a layout.
#[derive(Debug)]
pub struct LayoutBlob {
    file: File,
    position: u64,
    end: u64,
}

impl LayoutBlob {
    /// Skips so many bytes.
    #[must_use]
    pub fn skip(mut self, bytes: u64) -> Self {
        self.position = self.position.saturating_add(bytes).min(self.end);
        self
    }

    /// Returns the number of bytes that follow.
    pub(super) fn len(&self) -> u64 {
        self.end - self.position
    }
}

impl Read for LayoutBlob {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.len()).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.file.read_at(&mut buffer[..wanted], self.position)?;
        self.position += length as u64;
        Ok(length)
    }
}

impl Files {
    /// Opens the layout at `path`.
    pub(super) fn open(path: &Path) -> Result<Self, LayoutError> {
        let failed = |source| LayoutError::Io { path: path.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(rustix::fs::CWD, path, flags, Mode::empty())
            .map_err(|errno| failed(errno.into()))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Ok(Self::Folder(file.into()));
        }
        let not = |reason| LayoutError::NotALayout { path: path.to_owned(), reason };
        if !metadata.is_file() {
            return Err(not("it is neither a folder nor a file"));
        }
        let mut head = [0; 6];
        let length = file.read_at(&mut head, 0).map_err(failed)?;
        if COMPRESSED.iter().any(|magic| head[..length].starts_with(magic)) {
            return Err(not("it is compressed; decompress it first"));
        }
        let members = members(&file).map_err(failed)?;
        let members = members.ok_or_else(|| not("it has too many members"))?;
        Ok(Self::Archive { file, members })
    }

    /// Opens a regular file; `root` is the path of the layout, for messages.
    pub(super) fn get(&self, root: &Path, relative: &str) -> Result<LayoutBlob, LayoutError> {
        let path = || root.join(relative);
        let failed = |source: io::Error| LayoutError::Io { path: path(), source };
        let file = match self {
            Self::Archive { file, members } => {
                let absent = || failed(io::ErrorKind::NotFound.into());
                let (begin, size) = members.get(relative).copied().ok_or_else(absent)?;
                let file = file.try_clone().map_err(failed)?;
                return Ok(LayoutBlob { file, position: begin, end: begin.saturating_add(size) });
            }
            Self::Folder(folder) => beneath(folder, relative).map_err(|errno| match errno {
                Errno::LOOP | Errno::NOTDIR | Errno::XDEV => LayoutError::File {
                    path: path(),
                    reason: "it is a link that leads out of the layout, or below one",
                },
                errno => failed(errno.into()),
            })?,
        };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(LayoutError::File { path: path(), reason: "it is not a regular file" });
        }
        Ok(LayoutBlob { file, position: 0, end: metadata.len() })
    }
}

/// Opens a file below a folder; links may not lead out of it. Kernels before 5.6, and sandboxes that
/// refuse `openat2`, follow no links.
fn beneath(folder: &OwnedFd, relative: &str) -> Result<File, Errno> {
    // Opening a FIFO in the place of a blob must not block.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(folder, relative, flags, Mode::empty(), resolve) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        opened => return opened.map(File::from),
    }
    let (folders, name) = relative.rsplit_once('/').unwrap_or(("", relative));
    let mut at: Option<OwnedFd> = None;
    let flags = flags | OFlags::NOFOLLOW;
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        let from = at.as_ref().unwrap_or(folder);
        at = Some(openat(from, part, flags | OFlags::DIRECTORY, Mode::empty())?);
    }
    openat(at.as_ref().unwrap_or(folder).as_fd(), name, flags, Mode::empty()).map(File::from)
}

/// Returns the regular members of a tar archive; `None` if there are too many.
fn members(file: &File) -> io::Result<Option<HashMap<String, (u64, u64)>>> {
    let mut members = HashMap::new();
    let (file, bound) = Bounded::new(file);
    let mut archive = tar::Archive::new(file);
    // Contents are passed over, so headers are all that is read.
    let mut entries = archive.entries_with_seek()?;
    for _ in 0..MAX_MEMBERS {
        bound.headers();
        let Some(entry) = entries.next() else { return Ok(Some(members)) };
        let entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path: PathBuf = entry.path()?.components().collect();
        if let Some(name) = path.to_str().filter(|name| name.len() <= MAX_PATH) {
            let name = name.trim_start_matches("./").to_owned();
            members.insert(name, (entry.raw_file_position(), entry.size()));
        }
    }
    Ok(None)
}

/// Reads a whole file of at most `limit` bytes.
pub(super) fn read(
    files: &Files,
    root: &Path,
    relative: &str,
    limit: u64,
) -> Result<Vec<u8>, LayoutError> {
    let blob = files.get(root, relative)?;
    let path = root.join(relative);
    if blob.len() > limit {
        return Err(LayoutError::File { path, reason: "it is too large" });
    }
    let mut bytes = Vec::new();
    match blob.take(limit).read_to_end(&mut bytes) {
        Ok(_) => Ok(bytes),
        Err(source) => Err(LayoutError::Io { path, source }),
    }
}
