//! One header block.
//!
//! The types of the `tar` crate say where its fields are. This file reads the fields: the crate is
//! more lenient than a layer may be, see `docs/decisions/0008-tar-headers.md`.

use std::ops::Range;

use tar::{EntryType, GnuHeader, OldHeader, UstarHeader};

use crate::TarFault;

use super::numbers::number;

/// Bytes in a block: headers are one block, contents are padded to whole blocks.
pub(crate) const BLOCK: usize = 512;

/// The magic and the version of the POSIX form.
const MAGIC: Range<usize> = 257..263;
const VERSION: Range<usize> = 263..265;

/// A header block with a correct checksum.
pub(super) struct Header<'b> {
    header: &'b tar::Header,
}

impl<'b> Header<'b> {
    /// Checks the sum of a block and takes the block as a header.
    pub(super) fn new(block: &'b mut [u8; BLOCK]) -> Result<Self, TarFault> {
        check_sum(block)?;
        // GNU tar and Go's reader ignore the version. `tar` does not, and would ignore the prefix
        // of a name.
        if block[MAGIC] == *b"ustar\0" {
            block[VERSION].copy_from_slice(b"00");
        }
        Ok(Self { header: tar::Header::from_byte_slice(block) })
    }

    /// Returns the fields that all forms have.
    fn old(&self) -> &'b OldHeader {
        self.header.as_old()
    }

    /// Returns the fields of the GNU form, which has sparse maps and times in place of a prefix;
    /// `None` for other forms.
    fn gnu(&self) -> Option<&'b GnuHeader> {
        self.header.as_gnu()
    }

    /// Returns the fields of the POSIX form, which has a prefix for the name; `None` for other
    /// forms.
    fn ustar(&self) -> Option<&'b UstarHeader> {
        self.header.as_ustar()
    }

    pub(super) fn is_gnu(&self) -> bool {
        self.gnu().is_some()
    }

    pub(super) fn entry_type(&self) -> EntryType {
        self.header.entry_type()
    }

    /// Returns the name with its prefix, not cleaned.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = until_nul(&self.old().name);
        let prefix = match self.ustar() {
            // The star variant keeps times in the last bytes of the prefix.
            Some(ustar) if ustar.pad.ends_with(b"tar\0") => until_nul(&ustar.prefix[..131]),
            Some(ustar) => until_nul(&ustar.prefix),
            None => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link_name(&self) -> &'b [u8] {
        until_nul(&self.old().linkname)
    }

    pub(super) fn mode(&self) -> Result<u32, TarFault> {
        // In some archives the bits above hold the file type, which the type flag repeats.
        let mode = read(&self.old().mode, "mode")? & 0o7777;
        u32::try_from(mode).map_err(|_| TarFault::Number { field: "mode" })
    }

    pub(super) fn uid(&self) -> Result<i64, TarFault> {
        read(&self.old().uid, "uid")
    }

    pub(super) fn gid(&self) -> Result<i64, TarFault> {
        read(&self.old().gid, "gid")
    }

    pub(super) fn size(&self) -> Result<u64, TarFault> {
        read_size(&self.old().size, "size")
    }

    pub(super) fn mtime(&self) -> Result<i64, TarFault> {
        read(&self.old().mtime, "mtime")
    }

    /// Returns the major and minor number of a device. The Seventh Edition's form has none.
    pub(super) fn device(&self) -> Result<(i64, i64), TarFault> {
        let (major, minor) = match (self.ustar(), self.gnu()) {
            (Some(ustar), _) => (&ustar.dev_major, &ustar.dev_minor),
            (None, Some(gnu)) => (&gnu.dev_major, &gnu.dev_minor),
            (None, None) => return Err(TarFault::Number { field: "devmajor" }),
        };
        Ok((read(major, "devmajor")?, read(minor, "devminor")?))
    }

    /// Returns the fields of an old GNU sparse header, and the real size of the file.
    pub(super) fn sparse(&self) -> Result<(&'b GnuHeader, u64), TarFault> {
        let gnu = self.gnu().ok_or(TarFault::SparseMap)?;
        Ok((gnu, read_size(&gnu.realsize, "realsize")?))
    }
}

/// Compares the sum of the bytes of a header with the sum that the header states.
fn check_sum(block: &[u8; BLOCK]) -> Result<(), TarFault> {
    let field = &tar::Header::from_byte_slice(block).as_old().cksum;
    let told = read(field, "checksum")?;
    // The field of the sum counts as eight spaces. Old tars added up signed bytes.
    let unsigned = |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte)).sum::<i64>();
    let signed =
        |bytes: &[u8]| bytes.iter().map(|&byte| i64::from(byte.cast_signed())).sum::<i64>();
    let spaces = 8 * i64::from(b' ');
    let is_right = told == unsigned(block) - unsigned(field) + spaces
        || told == signed(block) - signed(field) + spaces;
    if is_right { Ok(()) } else { Err(TarFault::Checksum) }
}

/// Returns the bytes before the first NUL.
pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}

fn read(field: &[u8], name: &'static str) -> Result<i64, TarFault> {
    number(field).ok_or(TarFault::Number { field: name })
}

fn read_size(field: &[u8], name: &'static str) -> Result<u64, TarFault> {
    u64::try_from(read(field, name)?).map_err(|_| TarFault::Number { field: name })
}
