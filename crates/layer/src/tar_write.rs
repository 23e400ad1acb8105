//! Writing layers: the same changes give the same bytes, on any machine.
//!
//! Headers are plain ustar; what does not fit goes into an extended header before it. There are no
//! user and group names, and times are whole seconds.

use std::io::{self, Read, Write};

use crate::tar_read::{BLOCK, XATTR_PREFIX};
use crate::whiteout::{self, Role};
use crate::{Entry, EntryFault, Kind, LayerError, Meta, Mtime, ShownPath, capability, path};

/// The largest numbers that fit into a field of seven and of eleven octal digits.
const MAX_OCTAL_7: u64 = 0o7_777_777;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;

/// Bytes of a header's name and prefix fields.
const NAME: usize = 100;
const PREFIX: usize = 155;

/// Bytes copied at a time.
const BUFFER: usize = 128 << 10;

/// Writes a layer.
///
/// Entries stand in the layer in the order in which they are put. That, and the parents of
/// everything, is the caller's care.
///
/// **Source** — POSIX.1-2017 `pax` § ustar Interchange Format, § pax Interchange Format; OCI
/// image-spec `layer.md`.
pub struct LayerWriter<W> {
    output: W,
    buffer: Vec<u8>,
}

impl<W: Write> LayerWriter<W> {
    /// Writes to `output`, in many small pieces.
    pub fn new(output: W) -> Self {
        Self { output, buffer: Vec::new() }
    }

    /// Writes an entry. Of a regular file exactly the announced bytes are taken from `contents`,
    /// and there must be no more; otherwise it is not read.
    ///
    /// Of the attributes only file capabilities are written, and of the time whole seconds. A name
    /// with the prefix of whiteouts is written as it is, and *is* a whiteout to whoever reads it.
    ///
    /// **Errors** — [`LayerError::Entry`] for what a reader would refuse, or not take for an
    /// entry; [`LayerError::SizeChanged`] and [`LayerError::Contents`] if the contents are not
    /// what was announced: the layer is of no use then.
    pub fn put(&mut self, entry: &Entry, contents: &mut dyn Read) -> Result<(), LayerError> {
        check(entry).map_err(|fault| LayerError::entry(&entry.path, fault))?;
        self.header(entry)?;
        match entry.kind {
            Kind::File { size } => self.contents(&entry.path, size, contents),
            _ => Ok(()),
        }
    }

    /// Writes that what lower layers have at the clean `path` is gone.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), LayerError> {
        if path.is_empty() {
            return Err(LayerError::entry(path, EntryFault::Whiteout));
        }
        self.marker(whiteout::whiteout_path(path))
    }

    /// Writes that what lower layers have in the folder at the clean `path` is gone.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), LayerError> {
        self.marker(whiteout::opaque_path(path))
    }

    /// Ends the layer and returns the output, flushed.
    pub fn finish(mut self) -> Result<W, LayerError> {
        self.write(&[0; 2 * BLOCK])?;
        self.output.flush().map_err(|source| LayerError::Write { source })?;
        Ok(self.output)
    }

    /// Writes an empty file without any meaning but by its name.
    fn marker(&mut self, path: Vec<u8>) -> Result<(), LayerError> {
        let meta = Meta { mode: 0, uid: 0, gid: 0, mtime: Mtime::default(), xattrs: Vec::new() };
        self.put(&Entry { path, kind: Kind::File { size: 0 }, meta }, &mut io::empty())
    }

    fn header(&mut self, entry: &Entry) -> Result<(), LayerError> {
        let mut name = match entry.path.is_empty() {
            true => b".".to_vec(),
            false => entry.path.clone(),
        };
        if entry.kind == Kind::Dir {
            name.push(b'/');
        }
        let mut header = Header::new(type_flag(&entry.kind));
        let mut records = Vec::new();
        if !header.name(&name) {
            records.push(pax_record(b"path", &name));
        }
        if let Kind::Symlink { target } | Kind::HardLink { target } = &entry.kind
            && !header.text(157, NAME, target)
        {
            records.push(pax_record(b"linkpath", target));
        }
        let meta = &entry.meta;
        header.octal(100, 7, u64::from(meta.mode & 0o7777));
        let seconds = u64::try_from(meta.mtime.secs).unwrap_or(u64::MAX);
        let size = if let Kind::File { size } = entry.kind { size } else { 0 };
        for (key, at, digits, number, shown) in [
            (&b"size"[..], 124, 11, size, size.to_string()),
            (b"uid", 108, 7, u64::from(meta.uid), meta.uid.to_string()),
            (b"gid", 116, 7, u64::from(meta.gid), meta.gid.to_string()),
            // The least number has no counterpart above zero, which readers want.
            (b"mtime", 136, 11, seconds, meta.mtime.secs.max(-i64::MAX).to_string()),
        ] {
            if !header.octal(at, digits, number) {
                records.push(pax_record(key, shown.as_bytes()));
            }
        }
        if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = entry.kind {
            header.octal(329, 7, u64::from(major));
            header.octal(337, 7, u64::from(minor));
        }
        for (name, value) in capability::exported(&meta.xattrs) {
            records.push(pax_record(&[XATTR_PREFIX, &name].concat(), &value));
        }
        if !records.is_empty() {
            self.extended_header(&records.concat())?;
        }
        self.write(&header.finish())
    }

    fn extended_header(&mut self, records: &[u8]) -> Result<(), LayerError> {
        let mut header = Header::new(b'x');
        header.text(0, NAME, b"PaxHeaders/entry");
        header.octal(100, 7, 0o644);
        for (at, digits, number) in
            [(108, 7, 0), (116, 7, 0), (124, 11, records.len() as u64), (136, 11, 0)]
        {
            header.octal(at, digits, number);
        }
        self.write(&header.finish())?;
        self.write(records)?;
        self.pad(records.len() as u64)
    }

    fn contents(
        &mut self,
        path: &[u8],
        size: u64,
        contents: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let failed = |source: io::Error| match source.downcast::<LayerError>() {
            Ok(error) => error,
            Err(source) => LayerError::Contents { path: ShownPath(path.to_vec()), source },
        };
        let changed = || LayerError::SizeChanged { path: ShownPath(path.to_vec()), expected: size };
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER, 0);
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            match contents.read(&mut buffer[..most]) {
                Ok(0) => return Err(changed()),
                Ok(count) => {
                    self.write(&buffer[..count])?;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        match contents.take(1).read_to_end(&mut Vec::new()) {
            Ok(0) => {}
            Ok(_) => return Err(changed()),
            Err(error) => return Err(failed(error)),
        }
        self.buffer = buffer;
        self.pad(size)
    }

    fn pad(&mut self, written: u64) -> Result<(), LayerError> {
        let over = usize::try_from(written % BLOCK as u64).unwrap_or_default();
        self.write(&[0; BLOCK][..(BLOCK - over) % BLOCK])
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), LayerError> {
        self.output.write_all(bytes).map_err(LayerError::from_write)
    }
}

impl<W> std::fmt::Debug for LayerWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LayerWriter").finish_non_exhaustive()
    }
}

/// Checks that a reader takes the entry for what it is.
fn check(entry: &Entry) -> Result<(), EntryFault> {
    path::check(&entry.path)?;
    match whiteout::role(&entry.path)? {
        Role::Plain => {}
        Role::Whiteout { .. } | Role::Opaque { .. } if entry.kind != Kind::Dir => {}
        _ => return Err(EntryFault::Whiteout),
    }
    match &entry.kind {
        Kind::Dir => Ok(()),
        _ if entry.path.is_empty() => Err(EntryFault::RootKind),
        Kind::Symlink { target } if target.contains(&0) => Err(EntryFault::Nul),
        Kind::Symlink { target } if target.is_empty() || target.len() > path::MAX_TARGET => {
            Err(EntryFault::SymlinkTarget)
        }
        Kind::HardLink { target } if target.is_empty() || *target == entry.path => {
            Err(EntryFault::LinkTarget)
        }
        Kind::HardLink { target } => path::check(target),
        Kind::CharDevice { major: 0, minor: 0 } => Err(EntryFault::OverlayWhiteout),
        Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor }
            if *major >= 1 << 12 || *minor >= 1 << 20 =>
        {
            Err(EntryFault::DeviceNumber)
        }
        Kind::File { size } if i64::try_from(*size).is_err() => Err(EntryFault::Size),
        _ => Ok(()),
    }?;
    if entry.meta.uid == u32::MAX || entry.meta.gid == u32::MAX {
        return Err(EntryFault::Owner);
    }
    Ok(())
}

fn type_flag(kind: &Kind) -> u8 {
    match kind {
        Kind::File { .. } => b'0',
        Kind::HardLink { .. } => b'1',
        Kind::Symlink { .. } => b'2',
        Kind::CharDevice { .. } => b'3',
        Kind::BlockDevice { .. } => b'4',
        Kind::Dir => b'5',
        Kind::Fifo => b'6',
    }
}

/// Returns an extended header record. Its length counts its own digits.
pub(crate) fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// A header block in the making.
struct Header {
    block: [u8; BLOCK],
}

impl Header {
    fn new(type_flag: u8) -> Self {
        let mut block = [0; BLOCK];
        block[156] = type_flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self { block }
    }

    /// Writes a name, in two fields if need be; returns whether it fits. Otherwise the field holds
    /// its beginning, for readers that show it.
    fn name(&mut self, name: &[u8]) -> bool {
        if name.len() <= NAME {
            return self.text(0, NAME, name);
        }
        // The slash between the two fields is written in neither. That of a folder's end is not
        // one of those.
        let last = name.len() - 1;
        let slash = name[..last.min(PREFIX + 1)].iter().rposition(|&byte| byte == b'/');
        match slash {
            Some(slash) if slash > 0 && last - slash <= NAME => {
                self.text(0, NAME, &name[slash + 1..]) && self.text(345, PREFIX, &name[..slash])
            }
            _ => {
                self.text(0, NAME, &name[..NAME]);
                false
            }
        }
    }

    /// Writes text; returns whether it fits.
    fn text(&mut self, at: usize, length: usize, text: &[u8]) -> bool {
        let shown = &text[..text.len().min(length)];
        self.block[at..at + shown.len()].copy_from_slice(shown);
        shown.len() == text.len()
    }

    /// Writes a number and a NUL after it; returns whether it fits. Otherwise it writes zero.
    fn octal(&mut self, at: usize, digits: usize, number: u64) -> bool {
        let most = if digits == 7 { MAX_OCTAL_7 } else { MAX_OCTAL_11 };
        let fits = number <= most;
        let text = format!("{:0digits$o}", if fits { number } else { 0 });
        self.text(at, digits, text.as_bytes());
        fits
    }

    fn finish(mut self) -> [u8; BLOCK] {
        self.block[148..156].fill(b' ');
        let sum: u64 = self.block.iter().map(|&byte| u64::from(byte)).sum();
        // By custom six digits, a NUL and a space.
        self.text(148, 6, format!("{sum:06o}").as_bytes());
        self.block[154] = 0;
        self.block
    }
}

#[cfg(test)]
mod tests;
