//! A strict reader of tar archives, with one opinion on where each entry begins and ends.
//!
//! It reads the POSIX (ustar, pax), GNU and Seventh Edition forms. An archive that common readers
//! understand differently is an error.

use std::io::{self, BufReader, Read};
use std::mem;

use tar::{EntryType, GnuExtSparseHeader};

use crate::limits::MAX_HOLES;
use crate::path::MAX_PATH;
use crate::{EntryFault, Kind, LayerError, Meta, Mtime, Segment, TarFault};

use super::contents::Contents;
use super::header::{BLOCK, Header, until_nul};
use super::pax::{self, Pax};
use super::sparse::{ContentsMap, MapPlace, SparseMap};

/// Bytes of an extended header or a long name: enough for any path, and for the largest attributes
/// that Linux allows; bounds memory.
const MAX_EXTENSION: u64 = 1 << 20;

/// Entries of an archive. The largest images have less than a million; bounds memory.
const MAX_ENTRIES: u64 = 4_000_000;

/// Bytes of the names, targets and attributes of an archive, which its index keeps in memory.
const MAX_METADATA: u64 = 512 << 20;

/// Bytes of a name or link target in the archive, before it is cleaned.
const MAX_NAME: usize = 2 * MAX_PATH;

/// Linux has 12 bits for major and 20 bits for minor device numbers.
const MAX_MAJOR: i64 = (1 << 12) - 1;
const MAX_MINOR: i64 = (1 << 20) - 1;

/// Bytes read from the input at a time.
const BUFFER: usize = 64 << 10;

/// An entry of an archive, unchecked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawEntry {
    /// The name, not cleaned. It may be empty, absolute, or hold `..`.
    pub name: Vec<u8>,
    /// The kind. Link targets are not cleaned and may be anything; targets of hard links are not
    /// resolved.
    pub kind: Kind,
    /// Owner, mode, time and attributes, without those of overlay file systems.
    pub meta: Meta,
}

/// Reads a tar archive entry by entry. After [`TarReader::next`] has returned a regular file, its
/// contents can be read (holes as zeros); the rest of them is skipped.
///
/// After an error the reader cannot be used further.
#[derive(Debug)]
pub struct TarReader<R> {
    input: BufReader<R>,
    /// Bytes read from the input.
    offset: u64,
    contents: Contents,
    entries: u64,
    metadata: u64,
    holes: u64,
    ended: bool,
}

/// The headers before an entry that belong to it.
#[derive(Default)]
struct Extensions {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl<R: Read> TarReader<R> {
    /// Reads the uncompressed archive `input`.
    pub fn new(input: R) -> Self {
        Self {
            input: BufReader::with_capacity(BUFFER, input),
            offset: 0,
            contents: Contents::default(),
            entries: 0,
            metadata: 0,
            holes: 0,
            ended: false,
        }
    }

    /// Returns the next entry; `None` after the last.
    ///
    /// **Errors** — [`LayerError::Malformed`] with the offset of the header, [`LayerError::Entry`],
    /// [`LayerError::Read`].
    #[expect(clippy::should_implement_trait, reason = "an entry must be read before the next")]
    pub fn next(&mut self) -> Result<Option<RawEntry>, LayerError> {
        self.skip_contents()?;
        let mut extensions = Extensions::default();
        let mut block = [0; BLOCK];
        while !self.ended {
            let at = self.offset;
            let malformed = |fault| LayerError::malformed(at, fault);
            if !self.read_header_block(&mut block)? {
                self.ended = true;
                break;
            }
            let header = Header::new(&mut block).map_err(malformed)?;
            match header.entry_type() {
                EntryType::XHeader if extensions.pax.is_none() => {
                    let body = self.read_extension(&header, at)?;
                    extensions.pax = Some(Pax::parse(&body).map_err(malformed)?);
                }
                EntryType::XGlobalHeader if extensions.is_empty() => {
                    let body = self.read_extension(&header, at)?;
                    pax::check_global(&body).map_err(malformed)?;
                }
                EntryType::GNULongName if extensions.name.is_none() => {
                    extensions.name = Some(self.read_long_name(&header, at)?);
                }
                EntryType::GNULongLink if extensions.link.is_none() => {
                    extensions.link = Some(self.read_long_name(&header, at)?);
                }
                EntryType::XHeader
                | EntryType::XGlobalHeader
                | EntryType::GNULongName
                | EntryType::GNULongLink => return Err(malformed(TarFault::StrayExtension)),
                _ => return self.read_entry(&header, extensions, at).map(Some),
            }
        }
        if extensions.is_empty() {
            Ok(None)
        } else {
            Err(LayerError::malformed(self.offset, TarFault::StrayExtension))
        }
    }

    /// Reads to the very end of the input, beyond the end of the archive, and returns the input. A
    /// digest has seen every byte only after that.
    pub fn finish(mut self) -> Result<R, LayerError> {
        while self.next()?.is_some() {}
        io::copy(&mut self.input, &mut io::sink()).map_err(LayerError::from_read)?;
        Ok(self.input.into_inner())
    }

    /// Reads a header block. Returns false at the end of the archive: two blocks of zeros, or the
    /// end of the input.
    fn read_header_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, LayerError> {
        if !self.read_block(block)? {
            return Ok(false);
        }
        if block.iter().any(|&byte| byte != 0) {
            return Ok(true);
        }
        if self.read_block(block)? && block.iter().any(|&byte| byte != 0) {
            return Err(LayerError::malformed(self.offset, TarFault::LoneZeroBlock));
        }
        Ok(false)
    }

    /// Reads a block; returns false at the end of the input.
    fn read_block(&mut self, block: &mut [u8; BLOCK]) -> Result<bool, LayerError> {
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(false),
                Ok(0) => return Err(LayerError::malformed(self.offset, TarFault::Truncated)),
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(LayerError::from_read(error)),
            }
        }
        Ok(true)
    }

    fn read_extension(&mut self, header: &Header<'_>, at: u64) -> Result<Vec<u8>, LayerError> {
        let size = header.size().map_err(|fault| LayerError::malformed(at, fault))?;
        if size > MAX_EXTENSION {
            let fault = TarFault::TooLong { what: "an extended header", limit: MAX_EXTENSION };
            return Err(LayerError::malformed(at, fault));
        }
        self.contents = Contents::plain(size);
        let mut body = Vec::new();
        self.read_to_end(&mut body).map_err(LayerError::from_read)?;
        self.skip_contents()?;
        Ok(body)
    }

    /// Reads a name that is too long for a header. It ends with a NUL, and only NULs may follow.
    fn read_long_name(&mut self, header: &Header<'_>, at: u64) -> Result<Vec<u8>, LayerError> {
        let mut body = self.read_extension(header, at)?;
        let length = until_nul(&body).len();
        if length == 0 || body[length..].iter().any(|&byte| byte != 0) {
            return Err(LayerError::malformed(at, TarFault::StrayExtension));
        }
        body.truncate(length);
        Ok(body)
    }

    fn read_entry(
        &mut self,
        header: &Header<'_>,
        extensions: Extensions,
        at: u64,
    ) -> Result<RawEntry, LayerError> {
        if extensions.contradict() {
            return Err(LayerError::malformed(at, TarFault::StrayExtension));
        }
        let Extensions { pax, name, link } = extensions;
        let mut pax = pax.unwrap_or_default();
        let sparse_name = pax.sparse.as_ref().and_then(|sparse| sparse.name.clone());
        let name = sparse_name.or(pax.path.take()).or(name).unwrap_or_else(|| header.name());
        let link = pax.link_path.take().or(link).unwrap_or_else(|| header.link_name().to_vec());
        if name.len() > MAX_NAME || link.len() > MAX_NAME {
            return Err(LayerError::entry(&name, EntryFault::PathTooLong));
        }
        let kind = self.begin(header, &mut pax, &name, link, at)?;
        let numbers = numbers(header, &pax).map_err(|fault| LayerError::malformed(at, fault))?;
        let (mode, uid, gid, mtime) = numbers;
        let owner = |id| owner(id).ok_or_else(|| LayerError::entry(&name, EntryFault::Owner));
        let (uid, gid) = (owner(uid)?, owner(gid)?);
        let entry =
            RawEntry { name, kind, meta: Meta { mode, uid, gid, mtime, xattrs: pax.xattrs } };
        self.count(&entry, at)?;
        Ok(entry)
    }

    /// Returns the kind of an entry, and prepares reading its contents.
    fn begin(
        &mut self,
        header: &Header<'_>,
        pax: &mut Pax,
        name: &[u8],
        link: Vec<u8>,
        at: u64,
    ) -> Result<Kind, LayerError> {
        let device = || {
            let numbers = header.device().map_err(|fault| LayerError::malformed(at, fault))?;
            device(numbers).ok_or_else(|| LayerError::entry(name, EntryFault::DeviceNumber))
        };
        let kind = match header.entry_type() {
            // Seventh Edition tars mark a folder by the final slash alone.
            EntryType::Regular if name.ends_with(b"/") => Kind::Dir,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                return Ok(Kind::File { size: self.begin_contents(header, pax, at)? });
            }
            EntryType::Directory => Kind::Dir,
            EntryType::Link => Kind::HardLink { target: link },
            EntryType::Symlink => Kind::Symlink { target: link },
            EntryType::Fifo => Kind::Fifo,
            EntryType::Char => {
                let (major, minor) = device()?;
                Kind::CharDevice { major, minor }
            }
            EntryType::Block => {
                let (major, minor) = device()?;
                Kind::BlockDevice { major, minor }
            }
            other => {
                let fault = TarFault::Type { flag: char::from(other.as_byte()) };
                return Err(LayerError::malformed(at, fault));
            }
        };
        self.no_contents(header, pax, at)?;
        Ok(kind)
    }

    /// Checks that an entry of a kind without contents announces no contents. The header of a hard
    /// link may state the size of its target, which no reader takes for contents.
    fn no_contents(&self, header: &Header<'_>, pax: &Pax, at: u64) -> Result<(), LayerError> {
        let malformed = |fault| LayerError::malformed(at, fault);
        let told = header.size().map_err(malformed)?;
        let size = match header.entry_type() {
            EntryType::Link => pax.size.unwrap_or(0),
            _ => pax.size.unwrap_or(told),
        };
        if size != 0 {
            return Err(malformed(TarFault::UnexpectedContents));
        }
        if pax.sparse.is_some() {
            return Err(malformed(TarFault::StrayExtension));
        }
        Ok(())
    }

    /// Prepares reading a regular file, and returns its size in bytes.
    fn begin_contents(
        &mut self,
        header: &Header<'_>,
        pax: &mut Pax,
        at: u64,
    ) -> Result<u64, LayerError> {
        let malformed = |fault| LayerError::malformed(at, fault);
        let told = header.size().map_err(malformed)?;
        // The size of the extended header always wins, larger or smaller.
        let stored = pax.size.unwrap_or(told);
        match (header.entry_type(), pax.sparse.take()) {
            (EntryType::GNUSparse, None) if header.is_gnu() && pax.size.is_none() => {
                self.begin_old_sparse(header, stored, at)
            }
            (EntryType::GNUSparse, None) => Err(malformed(TarFault::Type { flag: 'S' })),
            (EntryType::GNUSparse, Some(_)) => Err(malformed(TarFault::StrayExtension)),
            (_, None) => {
                self.contents = Contents::plain(stored);
                Ok(stored)
            }
            (_, Some(records)) => {
                let (size, place) = records.map().map_err(malformed)?;
                self.begin_sparse(size, place, stored, at)?;
                Ok(size)
            }
        }
    }

    /// Counts the entry against the bounds of the whole archive.
    fn count(&mut self, entry: &RawEntry, at: u64) -> Result<(), LayerError> {
        self.entries += 1;
        let target = match &entry.kind {
            Kind::Symlink { target } | Kind::HardLink { target } => target.len(),
            _ => 0,
        };
        let xattrs: usize =
            entry.meta.xattrs.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.metadata += (entry.name.len() + target + xattrs) as u64;
        if self.entries > MAX_ENTRIES {
            let fault = TarFault::TooManyEntries { limit: MAX_ENTRIES };
            return Err(LayerError::malformed(at, fault));
        }
        if self.metadata > MAX_METADATA {
            let fault = TarFault::TooMuchMetadata { limit: MAX_METADATA };
            return Err(LayerError::malformed(at, fault));
        }
        Ok(())
    }

    /// Prepares reading a file whose map has the old GNU form, and returns its real size.
    fn begin_old_sparse(
        &mut self,
        header: &Header<'_>,
        stored: u64,
        at: u64,
    ) -> Result<u64, LayerError> {
        let malformed = |fault| LayerError::malformed(at, fault);
        let (gnu, size) = header.sparse().map_err(malformed)?;
        let mut map = SparseMap::default();
        map.add_old(&gnu.sparse).map_err(malformed)?;
        let mut more = gnu.isextended != [0];
        let mut block = GnuExtSparseHeader::new();
        while more {
            if !self.read_block(block.as_mut_bytes())? {
                return Err(LayerError::malformed(self.offset, TarFault::Truncated));
            }
            map.add_old(&block.sparse).map_err(malformed)?;
            more = block.isextended != [0];
        }
        self.begin_sparse(size, MapPlace::Here(map), stored, at)?;
        Ok(size)
    }

    /// Prepares reading a file of `size` bytes, of which `stored` bytes are in the archive. They
    /// include a map in the contents.
    fn begin_sparse(
        &mut self,
        size: u64,
        place: MapPlace,
        stored: u64,
        at: u64,
    ) -> Result<(), LayerError> {
        let malformed = |fault| LayerError::malformed(at, fault);
        self.contents = Contents::plain(stored);
        let map = match place {
            MapPlace::Here(map) => map,
            MapPlace::InContents => {
                let mut map = ContentsMap::new();
                let mut block = [0; BLOCK];
                loop {
                    if self.contents.stored() < BLOCK as u64 {
                        return Err(malformed(TarFault::SparseMap));
                    }
                    self.read_exact(&mut block).map_err(LayerError::from_read)?;
                    if map.add(&block).map_err(malformed)? {
                        break map.finish();
                    }
                }
            }
        };
        let stored = self.contents.stored();
        let segments = map.check(size, stored).map_err(malformed)?;
        self.holes = self.holes.saturating_add(size - stored);
        if self.holes > MAX_HOLES {
            return Err(malformed(TarFault::SparseHoles { limit: MAX_HOLES }));
        }
        self.contents = mem::take(&mut self.contents).with_holes(size, segments);
        Ok(())
    }

    /// Skips the rest of the current entry.
    fn skip_contents(&mut self) -> Result<(), LayerError> {
        let left = mem::take(&mut self.contents).to_skip();
        let skipped = io::copy(&mut (&mut self.input).take(left), &mut io::sink());
        let skipped = skipped.map_err(LayerError::from_read)?;
        self.offset += skipped;
        if skipped < left {
            return Err(LayerError::malformed(self.offset, TarFault::Truncated));
        }
        Ok(())
    }
}

impl<R: Read> crate::Contents for TarReader<R> {
    /// Skips the hole of the current entry that comes next.
    fn skip_hole(&mut self) -> io::Result<u64> {
        Ok(self.contents.skip_hole())
    }

    fn segments(&mut self) -> io::Result<Option<Vec<Segment>>> {
        Ok(self.contents.segments())
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Reads from the contents of the current entry.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.contents.read(&mut self.input, buffer) {
            Ok((count, taken)) => {
                self.offset += taken;
                Ok(count)
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let error = LayerError::malformed(self.offset, TarFault::Truncated);
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, error))
            }
            Err(error) => Err(error),
        }
    }
}

/// Returns the numbers of a device; `None` if they are out of range.
fn device((major, minor): (i64, i64)) -> Option<(u32, u32)> {
    let within = major <= MAX_MAJOR && minor <= MAX_MINOR;
    within.then_some((u32::try_from(major).ok()?, u32::try_from(minor).ok()?))
}

/// Returns mode, owner, group and time.
fn numbers(header: &Header<'_>, pax: &Pax) -> Result<(u32, i64, i64, Mtime), TarFault> {
    // A field is read even if a record overrides it: garbage in it is an error.
    let (uid, gid) = (header.uid()?, header.gid()?);
    let mtime = Mtime { secs: header.mtime()?, nanos: 0 };
    let (uid, gid) = (pax.uid.unwrap_or(uid), pax.gid.unwrap_or(gid));
    Ok((header.mode()?, uid, gid, pax.mtime.unwrap_or(mtime)))
}

/// Returns an owner's id; `None` if it is out of range. For the kernel the greatest number means
/// "no change".
fn owner(id: i64) -> Option<u32> {
    u32::try_from(id).ok().filter(|&id| id != u32::MAX)
}

impl Extensions {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }

    /// Returns whether two headers state a name: readers differ in which one they use.
    fn contradict(&self) -> bool {
        let pax = self.pax.as_ref();
        self.name.is_some()
            && pax.is_some_and(|pax| {
                pax.path.is_some()
                    || pax.sparse.as_ref().is_some_and(|sparse| sparse.name.is_some())
            })
            || self.link.is_some() && pax.is_some_and(|pax| pax.link_path.is_some())
    }
}
