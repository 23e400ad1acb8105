//! A text among the constants of a library.
//!
//! A longer text has no room in the place of a shorter one. It goes behind the last constant, into the
//! rest of that page, and the instructions that take the text's address take the new one.
//!
//! **Source** — Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, "LEA".

use super::unique::only;
use crate::twins::elf::{Elf, PT_LOAD, Segment};

const PAGE: usize = 4096;
/// The bytes of `lea register, [rip + distance]`, and of the distance at its end.
const LEA: usize = 7;
const DISTANCE: usize = 4;

/// A text that a library has once.
#[derive(Debug)]
pub(super) struct Text<'a> {
    library: &'a [u8],
    elf: &'a Elf<'a>,
    /// Where in the file it begins, and its bytes without the zero.
    at: usize,
    length: usize,
    /// Where in the file the instructions are that take its address.
    users: Vec<usize>,
}

impl<'a> Text<'a> {
    /// Returns the text with a zero before and after it; `None` if it is not there exactly once.
    pub(super) fn find(library: &'a [u8], elf: &'a Elf<'a>, text: &[u8]) -> Option<Self> {
        let whole = [text, b"\0"].concat();
        let places = memchr::memmem::find_iter(library, &whole);
        let begins = |at: &usize| at.checked_sub(1).is_some_and(|before| library[before] == 0);
        let at = only(places.filter(begins))?;
        let address = elf.address_of(at)?;
        let is_user = |place: &usize| target(library, elf, *place) == Some(address);
        let users = memchr::memchr_iter(0x8d, library).filter_map(|lea| lea.checked_sub(1));
        let users = users.filter(is_user).collect();
        Some(Self { library, elf, at, length: text.len(), users })
    }

    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Returns the only instruction that takes its address.
    pub(super) fn only_user(&self) -> Option<usize> {
        only(self.users.iter().copied())
    }

    /// Returns the library with another text, of the same length or a longer one.
    pub(super) fn replaced(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = self.library.to_vec();
        if text.len() == self.length {
            out.get_mut(self.at..self.at + text.len())?.copy_from_slice(text);
            return Some(out);
        }
        // Who finds it in another way would find the old one.
        let address = self.elf.address_of(self.at)?.to_le_bytes();
        let is_known =
            !self.users.is_empty() && memchr::memmem::find(self.library, &address).is_none();
        is_known.then_some(())?;
        let (number, segment) = self.segment()?;
        let start = usize::try_from(segment.offset.checked_add(segment.file_size)?).ok()?;
        let length = text.len() + 1;
        let room = self.library.get(start..start.checked_add(length)?)?;
        let fits = start % PAGE != 0 && start % PAGE + length <= PAGE;
        if !fits || room.iter().any(|byte| *byte != 0) || self.is_used(start..start + length) {
            return None;
        }
        out[start..start + text.len()].copy_from_slice(text);
        let longer = |size: u64| size.checked_add(length as u64);
        let segment = Segment {
            file_size: longer(segment.file_size)?,
            memory_size: longer(segment.memory_size)?,
            ..segment
        };
        let header = segment.to_bytes();
        let place = self.elf.header_at(number);
        out.get_mut(place..place + header.len())?.copy_from_slice(&header);
        let new = segment.address.checked_add(start as u64)?.checked_sub(segment.offset)?;
        for user in &self.users {
            let end = self.elf.address_of(*user)?.checked_add(LEA as u64)?;
            let distance = i32::try_from(new.cast_signed().checked_sub(end.cast_signed())?).ok()?;
            let place = user + LEA - DISTANCE..user + LEA;
            out.get_mut(place)?.copy_from_slice(&distance.to_le_bytes());
        }
        Some(out)
    }

    /// Returns the segment that the text is in, and its number.
    fn segment(&self) -> Option<(usize, Segment)> {
        let at = self.at as u64;
        let mut segments = self.elf.segments().enumerate();
        segments.find(|(_, segment)| {
            let end = segment.offset.saturating_add(segment.file_size);
            segment.kind == PT_LOAD
                && segment.file_size == segment.memory_size
                && (segment.offset..end).contains(&at)
        })
    }

    /// Returns whether a part of the file belongs to a segment.
    fn is_used(&self, part: std::ops::Range<usize>) -> bool {
        self.elf.segments().filter(|segment| segment.kind == PT_LOAD).any(|segment| {
            let end = segment.offset.saturating_add(segment.file_size);
            segment.offset < part.end as u64 && (part.start as u64) < end
        })
    }
}

/// Returns the address that an instruction takes: `lea register, [rip + distance]`; `None` if it is
/// another one.
pub(super) fn target(library: &[u8], elf: &Elf<'_>, at: usize) -> Option<u64> {
    let code = library.get(at..at.checked_add(LEA)?)?;
    let is_lea = matches!(code, [0x48 | 0x4c, 0x8d, operand, ..] if operand & 0xc7 == 5);
    let distance = i32::from_le_bytes(*code.last_chunk::<DISTANCE>()?);
    let end = is_lea.then(|| elf.address_of(at))??.checked_add(LEA as u64)?;
    end.checked_add_signed(distance.into())
}
