//! One header block: fields at fixed places.

use crate::TarFault;

use super::numbers::number;

/// Bytes in a block: headers are one block, contents are padded to whole blocks.
pub(crate) const BLOCK: usize = 512;

/// A header block whose checksum is right.
pub(super) struct Header<'b> {
    block: &'b [u8; BLOCK],
}

/// What the magic field says about the rest of the block.
#[derive(PartialEq)]
enum Format {
    /// Seventh Edition: no prefix, no device numbers.
    V7,
    /// POSIX: a prefix that comes before the name.
    Ustar,
    /// GNU: sparse maps and times where POSIX has the prefix.
    Gnu,
}

impl<'b> Header<'b> {
    /// Takes a block as a header.
    pub(super) fn new(block: &'b [u8; BLOCK]) -> Result<Self, TarFault> {
        let header = Self { block };
        let told = header.number(148, 8, "checksum")?;
        // The checksum field itself counts as eight spaces. Old tars added up signed bytes.
        let outside = || block[..148].iter().chain(&block[156..]);
        let unsigned: i64 = outside().map(|&byte| i64::from(byte)).sum();
        let signed: i64 = outside().map(|&byte| i64::from(byte.cast_signed())).sum();
        let spaces = 8 * i64::from(b' ');
        if told != unsigned + spaces && told != signed + spaces {
            return Err(TarFault::Checksum);
        }
        Ok(header)
    }

    fn format(&self) -> Format {
        match &self.block[257..265] {
            b"ustar  \0" => Format::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Format::Ustar,
            _ => Format::V7,
        }
    }

    pub(super) fn is_gnu(&self) -> bool {
        self.format() == Format::Gnu
    }

    pub(super) fn flag(&self) -> u8 {
        self.block[156]
    }

    /// Returns the name with its prefix, as it stands there.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = self.text(0, 100);
        let prefix = match self.format() {
            // The star variant keeps times at the end of the prefix.
            Format::Ustar if &self.block[508..] == b"tar\0" => self.text(345, 131),
            Format::Ustar => self.text(345, 155),
            _ => b"",
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link_name(&self) -> &'b [u8] {
        self.text(157, 100)
    }

    pub(super) fn mode(&self) -> Result<u32, TarFault> {
        // The bits above are the file type in some archives; the type flag has it.
        let mode = self.number(100, 8, "mode")?;
        u32::try_from(mode & 0o7777).map_err(|_| TarFault::Number { field: "mode" })
    }

    pub(super) fn uid(&self) -> Result<i64, TarFault> {
        self.number(108, 8, "uid")
    }

    pub(super) fn gid(&self) -> Result<i64, TarFault> {
        self.number(116, 8, "gid")
    }

    pub(super) fn size(&self) -> Result<u64, TarFault> {
        let size = self.number(124, 12, "size")?;
        u64::try_from(size).map_err(|_| TarFault::Number { field: "size" })
    }

    pub(super) fn mtime(&self) -> Result<i64, TarFault> {
        self.number(136, 12, "mtime")
    }

    /// Returns the major and minor number of a device.
    pub(super) fn device(&self) -> Result<(i64, i64), TarFault> {
        match self.format() {
            Format::V7 => Err(TarFault::Number { field: "devmajor" }),
            _ => Ok((self.number(329, 8, "devmajor")?, self.number(337, 8, "devminor")?)),
        }
    }

    /// Returns what an old GNU sparse header holds: map fields, whether more blocks of them
    /// follow, and the real size of the file.
    pub(super) fn sparse(&self) -> Result<(&'b [u8], bool, u64), TarFault> {
        let size = self.number(483, 12, "realsize")?;
        let size = u64::try_from(size).map_err(|_| TarFault::Number { field: "realsize" })?;
        Ok((&self.block[386..482], self.block[482] != 0, size))
    }

    fn text(&self, at: usize, length: usize) -> &'b [u8] {
        until_nul(&self.block[at..at + length])
    }

    fn number(&self, at: usize, length: usize, name: &'static str) -> Result<i64, TarFault> {
        number(&self.block[at..at + length]).ok_or(TarFault::Number { field: name })
    }
}

/// Returns the bytes before the first NUL.
pub(super) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or(field)
}
