//! Writing layers: the same changes give the same bytes, on any machine.
//!
//! Headers have the ustar form. A value that does not fit goes into an extended header before the
//! entry. There are no user and group names, and times are whole seconds.

mod sparse;

use std::io::{self, Read, Write};

use tar::{EntryType, UstarHeader};

use crate::contents::stored;
use crate::limits::{LARGE, MAX_ATTRIBUTES};
use crate::tar_read::{BLOCK, XATTR_PREFIX};
use crate::whiteout::{self, Role};
use crate::{
    Contents, Entry, EntryFault, Kind, LayerError, Meta, Mtime, Plain, ShownPath, attributes, path,
};

/// The largest numbers that fit in fields of seven and of eleven octal digits.
const MAX_OCTAL_7: u64 = 0o7_777_777;
const MAX_OCTAL_11: u64 = 0o77_777_777_777;

/// Bytes copied at a time.
const BUFFER: usize = 128 << 10;

/// Writes a layer.
///
/// The entries of the layer have the order in which the caller puts them. The caller also cares for
/// the parents of each entry.
///
/// **Source** — POSIX.1-2017 `pax` § ustar Interchange Format, § pax Interchange Format; OCI
/// image-spec `layer.md`.
pub struct LayerWriter<W> {
    output: W,
    buffer: Vec<u8>,
    /// Bytes of the holes of all files so far.
    holes: u64,
}

impl<W: Write> LayerWriter<W> {
    /// Writes to `output`, in many small pieces.
    pub fn new(output: W) -> Self {
        Self { output, buffer: Vec::new(), holes: 0 }
    }

    /// Writes an entry. For a regular file, `contents` must have exactly the announced bytes; for
    /// other kinds it is not read.
    ///
    /// The layer gets the attributes of [`attributes::kept`], and only the whole seconds of the
    /// time. A name with the prefix of whiteouts is written unchanged, so it *is* a whiteout for
    /// any reader.
    ///
    /// **Errors** — [`LayerError::Entry`] for an entry that a reader would refuse or not take for
    /// an entry; [`LayerError::SizeChanged`] and [`LayerError::Contents`] if the contents do not
    /// match the announcement. After these two the layer cannot be used.
    pub fn put(&mut self, entry: &Entry, contents: &mut dyn Read) -> Result<(), LayerError> {
        self.put_contents(entry, &mut Plain(contents))
    }

    /// Does the same for contents that may have holes. If these have [`LARGE`] bytes or more, the
    /// layer has holes there; fewer zeros are written out.
    ///
    /// **Errors** — also [`EntryFault::Holes`].
    pub fn put_contents(
        &mut self,
        entry: &Entry,
        contents: &mut dyn Contents,
    ) -> Result<(), LayerError> {
        check(entry).map_err(|fault| LayerError::entry(&entry.path, fault))?;
        let Kind::File { size } = entry.kind else {
            return self.header(entry, name(entry), 0, Vec::new());
        };
        if size >= LARGE
            && let Some(segments) = contents.segments().map_err(contents_fault(&entry.path))?
            && size.saturating_sub(stored(&segments)) >= LARGE
        {
            return self.sparse(entry, size, segments, contents);
        }
        self.header(entry, name(entry), size, Vec::new())?;
        self.copy(&entry.path, size, size, contents)?;
        self.ends(&entry.path, size, contents)?;
        self.pad(size)
    }

    /// Writes that the file of lower layers at the clean `path` is gone.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), LayerError> {
        if path.is_empty() {
            return Err(LayerError::entry(path, EntryFault::Whiteout));
        }
        self.marker(whiteout::whiteout_path(path))
    }

    /// Writes that the files of lower layers in the folder at the clean `path` are gone.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), LayerError> {
        self.marker(whiteout::opaque_path(path))
    }

    /// Ends the layer and returns the output, flushed.
    pub fn finish(mut self) -> Result<W, LayerError> {
        self.write(&[0; 2 * BLOCK])?;
        self.output.flush().map_err(|source| LayerError::Write { source })?;
        Ok(self.output)
    }

    /// Writes an empty file whose name is its only meaning.
    fn marker(&mut self, path: Vec<u8>) -> Result<(), LayerError> {
        let meta = Meta { mode: 0, uid: 0, gid: 0, mtime: Mtime::default(), xattrs: Vec::new() };
        self.put(&Entry { path, kind: Kind::File { size: 0 }, meta }, &mut io::empty())
    }

    /// Writes the headers of an entry with `size` stored bytes.
    fn header(
        &mut self,
        entry: &Entry,
        name: Vec<u8>,
        size: u64,
        mut records: Vec<Vec<u8>>,
    ) -> Result<(), LayerError> {
        let mut header = Header::new(entry_type(&entry.kind));
        if !put_name(header.ustar(), &name) {
            records.push(pax_record(b"path", &name));
        }
        if let Kind::Symlink { target } | Kind::HardLink { target } = &entry.kind
            && !put_text(&mut header.ustar().linkname, target)
        {
            records.push(pax_record(b"linkpath", target));
        }
        let meta = &entry.meta;
        header.0.set_mode(meta.mode & 0o7777);
        // Readers refuse the least number, whose absolute value does not fit.
        let seconds = meta.mtime.secs.max(-i64::MAX);
        for (key, set, most, number) in [
            (&b"size"[..], tar::Header::set_size as SetNumber, MAX_OCTAL_11, i128::from(size)),
            (b"uid", tar::Header::set_uid, MAX_OCTAL_7, i128::from(meta.uid)),
            (b"gid", tar::Header::set_gid, MAX_OCTAL_7, i128::from(meta.gid)),
            (b"mtime", tar::Header::set_mtime, MAX_OCTAL_11, i128::from(seconds)),
        ] {
            let fitting = u64::try_from(number).ok().filter(|number| *number <= most);
            set(&mut header.0, fitting.unwrap_or(0));
            if fitting.is_none() {
                records.push(pax_record(key, number.to_string().as_bytes()));
            }
        }
        if let Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } = entry.kind {
            header.ustar().set_device_major(major);
            header.ustar().set_device_minor(minor);
        }
        records.extend(attribute_records(entry)?);
        if !records.is_empty() {
            self.extended_header(&records.concat())?;
        }
        self.write(header.finish().as_bytes())
    }

    fn extended_header(&mut self, records: &[u8]) -> Result<(), LayerError> {
        let mut header = Header::new(EntryType::XHeader);
        put_text(&mut header.ustar().name, b"PaxHeaders/entry");
        header.0.set_mode(0o644);
        header.0.set_uid(0);
        header.0.set_gid(0);
        header.0.set_size(records.len() as u64);
        self.write(header.finish().as_bytes())?;
        self.write(records)?;
        self.pad(records.len() as u64)
    }

    /// Writes the next `count` bytes of a file of `size` bytes.
    fn copy(
        &mut self,
        path: &[u8],
        size: u64,
        count: u64,
        contents: &mut dyn Read,
    ) -> Result<(), LayerError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(BUFFER, 0);
        let mut left = count;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            match contents.read(&mut buffer[..most]) {
                Ok(0) => return Err(size_changed(path, size)),
                Ok(count) => {
                    self.write(&buffer[..count])?;
                    left -= count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(contents_fault(path)(error)),
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// Checks that the contents end after `size` bytes.
    fn ends(&mut self, path: &[u8], size: u64, contents: &mut dyn Read) -> Result<(), LayerError> {
        match contents.take(1).read_to_end(&mut Vec::new()) {
            Ok(0) => Ok(()),
            Ok(_) => Err(size_changed(path, size)),
            Err(error) => Err(contents_fault(path)(error)),
        }
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

/// Returns the records of the attributes of an entry.
fn attribute_records(entry: &Entry) -> Result<Vec<Vec<u8>>, LayerError> {
    let mut records = Vec::new();
    let mut size = 0;
    for (name, value) in attributes::kept(&entry.meta.xattrs) {
        if name.contains(&b'=') || name.contains(&0) {
            return Err(LayerError::entry(&entry.path, EntryFault::AttributeName));
        }
        size += name.len() + value.len();
        records.push(pax_record(&[XATTR_PREFIX, &name].concat(), &value));
    }
    if size > MAX_ATTRIBUTES {
        return Err(LayerError::entry(&entry.path, EntryFault::Attributes));
    }
    Ok(records)
}

/// Returns the name of an entry.
fn name(entry: &Entry) -> Vec<u8> {
    let mut name = match entry.path.is_empty() {
        true => b".".to_vec(),
        false => entry.path.clone(),
    };
    if entry.kind == Kind::Dir {
        name.push(b'/');
    }
    name
}

fn contents_fault(path: &[u8]) -> impl FnOnce(io::Error) -> LayerError {
    let path = ShownPath(path.to_vec());
    move |source| match source.downcast::<LayerError>() {
        Ok(error) => error,
        Err(source) => LayerError::Contents { path, source },
    }
}

fn size_changed(path: &[u8], expected: u64) -> LayerError {
    LayerError::SizeChanged { path: ShownPath(path.to_vec()), expected }
}

/// Checks that a reader will take the entry as it is meant.
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

fn entry_type(kind: &Kind) -> EntryType {
    match kind {
        Kind::File { .. } => EntryType::Regular,
        Kind::HardLink { .. } => EntryType::Link,
        Kind::Symlink { .. } => EntryType::Symlink,
        Kind::CharDevice { .. } => EntryType::Char,
        Kind::BlockDevice { .. } => EntryType::Block,
        Kind::Dir => EntryType::Directory,
        Kind::Fifo => EntryType::Fifo,
    }
}

/// Returns an extended header record. Its length includes its own digits.
pub(crate) fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    [length.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}

/// Sets a number of a header, in octal if it fits.
type SetNumber = fn(&mut tar::Header, u64);

/// An unfinished header block, with the time 0.
struct Header(tar::Header);

impl Header {
    fn new(entry_type: EntryType) -> Self {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(entry_type);
        Self(header)
    }

    fn ustar(&mut self) -> &mut UstarHeader {
        self.0.as_ustar_mut().expect("it was made as one")
    }

    /// Writes the checksum. By custom it has six digits, a NUL and a space; `tar` would write seven
    /// digits.
    fn finish(mut self) -> tar::Header {
        self.0.as_old_mut().cksum = [b' '; 8];
        let sum: u32 = self.0.as_bytes().iter().map(|&byte| u32::from(byte)).sum();
        put_text(&mut self.0.as_old_mut().cksum, format!("{sum:06o}\0").as_bytes());
        self.0
    }
}

/// Writes a name, in two fields if needed; returns whether it fits. If not, the field holds its
/// beginning, for readers that show it.
fn put_name(header: &mut UstarHeader, name: &[u8]) -> bool {
    let UstarHeader { name: field, prefix, .. } = header;
    if name.len() <= field.len() {
        return put_text(field, name);
    }
    // Neither field holds the slash between them. The slash at the end of a folder's name cannot be
    // that one.
    let last = name.len() - 1;
    let slash = name[..last.min(prefix.len() + 1)].iter().rposition(|&byte| byte == b'/');
    match slash {
        Some(slash) if slash > 0 && last - slash <= field.len() => {
            put_text(field, &name[slash + 1..]) && put_text(prefix, &name[..slash])
        }
        _ => put_text(field, name),
    }
}

/// Writes text at the beginning of a field; returns whether it fits.
fn put_text(field: &mut [u8], text: &[u8]) -> bool {
    let shown = text.len().min(field.len());
    field[..shown].copy_from_slice(&text[..shown]);
    shown == text.len()
}

#[cfg(test)]
mod tests;
