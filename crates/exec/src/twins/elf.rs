//! ELF files, as far as twins need them: program headers, the libraries that a file needs.
//!
//! **Source** — `elf(5)`; System V ABI, AMD64 and AArch64 supplements.

/// The bytes at the start of a program that the kernel recognises it by: from `e_type` on, with the
/// first program headers, which hold sizes and addresses of the program's own.
pub(super) const MAGIC: std::ops::Range<usize> = MAGIC_START..240;
pub(crate) const MAGIC_START: usize = 16;

pub(super) const PT_LOAD: u32 = 1;
pub(super) const PT_DYNAMIC: u32 = 2;
pub(super) const PT_NOTE: u32 = 4;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const SEGMENT: usize = 56;
const PAGE: u64 = 4096;

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_STRSZ: u64 = 10;

/// A program or library of 64 bits, little-endian; its program headers lie in its first page.
#[derive(Debug, Clone, Copy)]
pub(super) struct Elf<'a> {
    bytes: &'a [u8],
    /// Whether it is mapped to addresses of its own; others are position-independent.
    pub(super) is_fixed: bool,
    pub(super) machine: u16,
    pub(super) entry: u64,
    segments: usize,
    count: usize,
}

/// A program header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) kind: u32,
    pub(super) flags: u32,
    pub(super) offset: u64,
    pub(super) address: u64,
    pub(super) file_size: u64,
    pub(super) memory_size: u64,
    pub(super) alignment: u64,
}

impl<'a> Elf<'a> {
    /// Reads the headers; `None` if the file is another kind of file.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let kind = u16_at(bytes, 16)?;
        if bytes.get(..7)? != b"\x7fELF\x02\x01\x01" || !matches!(kind, ET_EXEC | ET_DYN) {
            return None;
        }
        let (segments, count) = (usize::try_from(u64_at(bytes, 32)?).ok()?, u16_at(bytes, 56)?);
        let count = usize::from(count);
        let end = segments.checked_add(count.checked_mul(SEGMENT)?)?;
        let is_usual = usize::from(u16_at(bytes, 54)?) == SEGMENT && end <= PAGE as usize;
        if !is_usual || end > bytes.len() {
            return None;
        }
        Some(Self {
            bytes,
            is_fixed: kind == ET_EXEC,
            machine: u16_at(bytes, 18)?,
            entry: u64_at(bytes, 24)?,
            segments,
            count,
        })
    }

    /// Returns the program headers.
    pub(super) fn segments(&self) -> impl Iterator<Item = Segment> + use<'a> {
        let (bytes, start) = (self.bytes, self.segments);
        (0..self.count).filter_map(move |number| Segment::parse(bytes, start + number * SEGMENT))
    }

    /// Returns where in the file the header of the first segment of a kind is.
    pub(super) fn header_of(&self, kind: u32) -> Option<usize> {
        Some(self.header_at(self.segments().position(|segment| segment.kind == kind)?))
    }

    /// Returns where in the file the header of a segment is.
    pub(super) fn header_at(&self, number: usize) -> usize {
        self.segments + number * SEGMENT
    }

    /// Returns the address that a place in the file is mapped to.
    pub(super) fn address_of(&self, offset: usize) -> Option<u64> {
        let offset = offset as u64;
        let mut loaded = self.segments().filter(|segment| segment.kind == PT_LOAD);
        let segment = loaded.find(|segment| {
            let end = segment.offset.saturating_add(segment.file_size);
            (segment.offset..end).contains(&offset)
        })?;
        (offset - segment.offset).checked_add(segment.address)
    }

    /// Returns the place in the file that is mapped to an address.
    pub(super) fn offset_of(&self, address: u64) -> Option<usize> {
        let mut loaded = self.segments().filter(|segment| segment.kind == PT_LOAD);
        let segment = loaded.find(|segment| {
            let end = segment.address.saturating_add(segment.file_size);
            (segment.address..end).contains(&address)
        })?;
        usize::try_from((address - segment.address).checked_add(segment.offset)?).ok()
    }

    /// Returns whether the starter can map the file: its segments are in the file, in order, the
    /// first one begins with the headers, and none needs more than a page's alignment.
    pub(super) fn is_mappable(&self) -> bool {
        let mut end = 0;
        let loaded: Vec<Segment> = self.segments().filter(|s| s.kind == PT_LOAD).collect();
        let in_order = loaded.iter().all(|segment| {
            let starts = segment.address / PAGE * PAGE;
            let is_after = starts >= end;
            end = segment.address.saturating_add(segment.memory_size).div_ceil(PAGE) * PAGE;
            let in_file = segment.offset.saturating_add(segment.file_size);
            is_after
                && segment.alignment <= PAGE
                && segment.file_size <= segment.memory_size
                && segment.address % PAGE == segment.offset % PAGE
                && in_file <= self.bytes.len() as u64
        });
        let first = loaded
            .first()
            .is_some_and(|segment| segment.offset == 0 && (segment.address != 0) == self.is_fixed);
        in_order && first && end < 1 << 40
    }

    /// Returns the names of the libraries that the file needs.
    pub(super) fn needed(&self) -> Option<Vec<&'a str>> {
        let entries = self.dynamic()?;
        if entries.is_empty() {
            return Some(Vec::new());
        }
        let value =
            |wanted: u64| entries.iter().find(|(tag, _)| *tag == wanted).map(|entry| entry.1);
        let strings = self.in_file(value(DT_STRTAB)?, value(DT_STRSZ)?)?;
        let names = entries.iter().filter(|(tag, _)| *tag == DT_NEEDED);
        names.map(|(_, place)| text_at(strings, usize::try_from(*place).ok()?)).collect()
    }

    /// Returns the tags and values of the dynamic section; none without one.
    pub(super) fn dynamic(&self) -> Option<Vec<(u64, u64)>> {
        let Some(dynamic) = self.segments().find(|segment| segment.kind == PT_DYNAMIC) else {
            return Some(Vec::new());
        };
        let start = usize::try_from(dynamic.offset).ok()?;
        let end = start.checked_add(usize::try_from(dynamic.file_size).ok()?)?;
        let entries = self.bytes.get(start..end)?.chunks_exact(16);
        let entries = entries.filter_map(|entry| Some((u64_at(entry, 0)?, u64_at(entry, 8)?)));
        Some(entries.take_while(|(tag, _)| *tag != DT_NULL).collect())
    }

    /// Returns the bytes of an address range.
    fn in_file(&self, address: u64, length: u64) -> Option<&'a [u8]> {
        let start = self.offset_of(address)?;
        self.bytes.get(start..start.checked_add(usize::try_from(length).ok()?)?)
    }
}

impl Segment {
    fn parse(bytes: &[u8], at: usize) -> Option<Self> {
        Some(Self {
            kind: u32_at(bytes, at)?,
            flags: u32_at(bytes, at + 4)?,
            offset: u64_at(bytes, at + 8)?,
            address: u64_at(bytes, at + 16)?,
            file_size: u64_at(bytes, at + 32)?,
            memory_size: u64_at(bytes, at + 40)?,
            alignment: u64_at(bytes, at + 48)?,
        })
    }

    /// Returns the header's bytes.
    pub(super) fn to_bytes(self) -> [u8; SEGMENT] {
        let mut bytes = [0; SEGMENT];
        bytes[..4].copy_from_slice(&self.kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.flags.to_le_bytes());
        let words = [
            self.offset,
            self.address,
            self.address,
            self.file_size,
            self.memory_size,
            self.alignment,
        ];
        for (place, word) in bytes[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }
}

fn text_at(bytes: &[u8], at: usize) -> Option<&str> {
    let rest = bytes.get(at..)?;
    std::str::from_utf8(rest.split(|byte| *byte == 0).next()?).ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_program() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let elf = Elf::parse(&bytes).unwrap();
        assert!(elf.is_mappable());
        assert!(elf.needed().unwrap().contains(&"libc.so.6"), "{:?}", elf.needed());
        let first = elf.segments().find(|segment| segment.kind == PT_LOAD).unwrap();
        let at = elf.header_of(PT_LOAD).unwrap();
        assert_eq!(first.to_bytes(), bytes[at..at + SEGMENT]);
    }

    #[test]
    fn damaged_files_are_other_files() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        for length in [0, 6, 17, 63, 64, 300] {
            assert!(Elf::parse(&bytes[..length]).is_none(), "{length}");
        }
        // Every byte of the headers may be anything.
        for at in 0..PAGE as usize {
            for value in [0, 0x7f, 0xff] {
                let mut damaged = bytes[..2 * PAGE as usize].to_vec();
                damaged[at] = value;
                if let Some(elf) = Elf::parse(&damaged) {
                    let _ = (elf.is_mappable(), elf.needed());
                }
            }
        }
    }
}
