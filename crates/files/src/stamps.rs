//! Stamps: the kernel's facts about all files of a folder, kept from one walk to the next.
//!
//! A command cannot change a file without changing its stamp: the kernel keeps the time of the last
//! change, and nobody can set it. So a file with the stamp of the last walk need not be read again.
//!
//! Stamps are a stream, as large as the folder's list of names and never in memory as a whole. Files
//! come depth first, names in byte order, folders before their files: the order of a walk, so that two
//! walks can be compared as they go. A stamp is its depth (from 1), the length of the name, fixed
//! numbers, the name, all little-endian. The stream is read only by the build that wrote it.

use std::io::{self, Read, Write};

use rustix::fs::{AtFlags, FileType, StatxFlags};
use rustix::io::Errno;
use xbuild_layer::Mtime;

use crate::root::{Root, Stat};

/// The longest name that a stream may hold, in bytes; file systems allow 255.
const MAX_NAME: usize = 4096;

/// The stamp of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The number of names on the way from the folder, 1 for those in it.
    pub(crate) depth: u32,
    pub(crate) name: Vec<u8>,
    pub(crate) kind: FileType,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u64,
    pub(crate) size: u64,
    pub(crate) ino: u64,
    pub(crate) mtime: Mtime,
    pub(crate) ctime: Mtime,
    /// When a folder was made, where the file system knows. It tells a folder from a later one
    /// that got the same inode.
    pub(crate) birth: Option<Mtime>,
}

impl Stamp {
    /// Returns the stamp of the file `name` in an opened folder.
    pub(crate) fn of(folder: &Root, depth: u32, name: &[u8], stat: &Stat) -> io::Result<Self> {
        let birth = if stat.is_dir() { birth(folder, name)? } else { None };
        Ok(Self {
            depth,
            name: name.to_vec(),
            kind: stat.kind,
            mode: stat.mode,
            uid: stat.uid,
            gid: stat.gid,
            nlink: stat.nlink,
            size: stat.size,
            ino: stat.ino,
            mtime: stat.mtime,
            ctime: stat.ctime,
            birth,
        })
    }

    /// Returns whether this and `other` are stamps of the same folder, which may have changed.
    pub(crate) fn is_same_folder(&self, other: &Self) -> bool {
        (self.kind, self.ino, self.birth) == (other.kind, other.ino, other.birth)
    }

    /// Returns whether both have the same kind, owner, mode and time, as a layer keeps them.
    pub(crate) fn has_same_meta(&self, other: &Self) -> bool {
        let facts = |stamp: &Self| {
            let mode = if stamp.kind == FileType::Symlink { 0 } else { stamp.mode };
            (stamp.kind, mode, stamp.uid, stamp.gid, stamp.mtime.secs)
        };
        facts(self) == facts(other)
    }
}

/// Returns when a file was made.
fn birth(folder: &Root, name: &[u8]) -> io::Result<Option<Mtime>> {
    let found = rustix::fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BTIME);
    match found {
        Ok(found) if StatxFlags::from_bits_retain(found.stx_mask).contains(StatxFlags::BTIME) => {
            Ok(Some(Mtime { secs: found.stx_btime.tv_sec, nanos: found.stx_btime.tv_nsec }))
        }
        // An old kernel, or a filter of system calls.
        Ok(_) | Err(Errno::NOSYS | Errno::PERM) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Writes a stream of stamps.
#[derive(Debug)]
pub struct StampWriter<W>(W);

impl<W: Write> StampWriter<W> {
    /// Returns a writer to `output`, which should be buffered.
    pub fn new(output: W) -> Self {
        Self(output)
    }

    pub(crate) fn put(&mut self, stamp: &Stamp) -> io::Result<()> {
        let length = u32::try_from(stamp.name.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        let birth = stamp.birth.unwrap_or(Mtime { secs: 0, nanos: u32::MAX });
        let small = [
            stamp.depth,
            length,
            stamp.kind.as_raw_mode(),
            stamp.mode,
            stamp.uid,
            stamp.gid,
            stamp.mtime.nanos,
            stamp.ctime.nanos,
            birth.nanos,
        ];
        for number in small {
            self.0.write_all(&number.to_le_bytes())?;
        }
        for number in [stamp.nlink, stamp.size, stamp.ino] {
            self.0.write_all(&number.to_le_bytes())?;
        }
        for number in [stamp.mtime.secs, stamp.ctime.secs, birth.secs] {
            self.0.write_all(&number.to_le_bytes())?;
        }
        self.0.write_all(&stamp.name)
    }

    /// Ends the stream.
    pub fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }
}

/// Reads a stream of stamps.
#[derive(Debug)]
pub struct StampReader<R> {
    input: R,
    next: Option<Stamp>,
}

impl<R: Read> StampReader<R> {
    /// Returns a reader of `input`, which should be buffered.
    pub fn new(input: R) -> io::Result<Self> {
        let mut reader = Self { input, next: None };
        reader.advance()?;
        Ok(reader)
    }

    /// Returns the next stamp; `None` at the end.
    pub(crate) fn peek(&self) -> Option<&Stamp> {
        self.next.as_ref()
    }

    /// Takes the next stamp.
    pub(crate) fn take(&mut self) -> io::Result<Option<Stamp>> {
        let taken = self.next.take();
        self.advance()?;
        Ok(taken)
    }

    /// Passes all stamps that are deeper than `depth`.
    pub(crate) fn skip_below(&mut self, depth: u32) -> io::Result<()> {
        while self.peek().is_some_and(|stamp| stamp.depth > depth) {
            self.advance()?;
        }
        Ok(())
    }

    fn advance(&mut self) -> io::Result<()> {
        let mut first = [0; 1];
        self.next = match self.input.read(&mut first) {
            Ok(0) => None,
            Ok(_) => Some(self.rest(first[0])?),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return self.advance(),
            Err(error) => return Err(error),
        };
        Ok(())
    }

    /// Reads a stamp after its first byte.
    fn rest(&mut self, first: u8) -> io::Result<Stamp> {
        let mut depth = [first, 0, 0, 0];
        self.input.read_exact(&mut depth[1..])?;
        let mut small = || -> io::Result<u32> {
            let mut bytes = [0; 4];
            self.input.read_exact(&mut bytes)?;
            Ok(u32::from_le_bytes(bytes))
        };
        let (length, kind, mode, uid, gid) = (small()?, small()?, small()?, small()?, small()?);
        let (mtime, ctime, birth) = (small()?, small()?, small()?);
        let mut large = || -> io::Result<[u8; 8]> {
            let mut bytes = [0; 8];
            self.input.read_exact(&mut bytes)?;
            Ok(bytes)
        };
        let [nlink, size, ino] = [large()?, large()?, large()?].map(u64::from_le_bytes);
        let [mtime_secs, ctime_secs, birth_secs] =
            [large()?, large()?, large()?].map(i64::from_le_bytes);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > MAX_NAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut name = vec![0; length];
        self.input.read_exact(&mut name)?;
        let time = |secs, nanos| Mtime { secs, nanos };
        Ok(Stamp {
            depth: u32::from_le_bytes(depth),
            name,
            kind: FileType::from_raw_mode(kind),
            mode,
            uid,
            gid,
            nlink,
            size,
            ino,
            mtime: time(mtime_secs, mtime),
            ctime: time(ctime_secs, ctime),
            birth: (birth != u32::MAX).then(|| time(birth_secs, birth)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(depth: u32, name: &str) -> Stamp {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("f"), "text").unwrap();
        let root = Root::open(folder.path()).unwrap();
        let stat = root.stat(b"f").unwrap();
        Stamp { name: name.into(), ..Stamp::of(&root, depth, b"f", &stat).unwrap() }
    }

    #[test]
    fn come_back_as_they_were() {
        let first = Stamp { mtime: Mtime { secs: -5, nanos: 7 }, ..stamp(1, "a") };
        let birth = Some(Mtime { secs: 1 << 40, nanos: 999_999_999 });
        let stamps =
            [first, Stamp { birth, ..stamp(2, "b\n\u{fc}") }, stamp(3, "c"), stamp(1, "d")];
        let mut writer = StampWriter::new(Vec::new());
        stamps.iter().for_each(|stamp| writer.put(stamp).unwrap());
        let bytes = writer.finish().unwrap();
        let mut reader = StampReader::new(&bytes[..]).unwrap();
        assert_eq!(reader.take().unwrap().as_ref(), Some(&stamps[0]));
        assert_eq!(reader.peek(), Some(&stamps[1]));
        reader.skip_below(1).unwrap();
        assert_eq!(reader.take().unwrap().as_ref(), Some(&stamps[3]));
        assert_eq!(reader.take().unwrap(), None);
        assert!(StampReader::new(&bytes[..bytes.len() - 1]).unwrap().skip_below(0).is_err());
    }
}
