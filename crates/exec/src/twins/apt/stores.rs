//! Instructions that store numbers on the stack.
//!
//! **Source** — Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, "MOV".

use std::ops::Range;

use super::unique::only;

/// The bytes of an architecture's name that one instruction stores.
pub(super) const FIRST: usize = 4;
/// The most bytes of code that a name is stored with, after its first letters.
const AFTER: usize = 48;
/// Does nothing, in one byte.
const NOP: u8 = 0x90;

/// The code of a library.
pub(super) struct Stores<'a>(pub(super) &'a [u8]);

/// An instruction that stores a number: `mov [rsp + place], value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Store {
    /// Where in the file the instruction begins, and its number begins and ends.
    start: usize,
    number: usize,
    end: usize,
    place: i32,
    kind: Kind,
    value: u32,
}

/// The bytes that a store writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Four,
    Eight,
}

impl Stores<'_> {
    /// Returns where in the file the only length of that value is that code stores; it has one byte.
    pub(super) fn length(&self, code: Range<usize>, value: usize) -> Option<usize> {
        let stores = code.filter_map(|at| self.at(at));
        let mut lengths =
            stores.filter(|s| s.kind == Kind::Eight && usize::try_from(s.value) == Ok(value));
        Some(only(&mut lengths)?.number)
    }

    /// Returns the library with another name. `value` is where in the file the first letters of `own`
    /// are, which one instruction stores; others do so with the last letter, the zero behind it and
    /// the length.
    pub(super) fn with_name(&self, value: usize, own: &[u8], other: &[u8]) -> Option<Vec<u8>> {
        // With a distance of one byte, or of four.
        let starts = [4, 7].into_iter().filter_map(|length| self.at(value.checked_sub(length)?));
        let is_first = |store: &Store| store.number == value && store.kind == Kind::Four;
        let first = only(starts.filter(is_first))?;
        let code = first.end..first.end + AFTER;
        let find = |kind: Kind, value: usize, place: Option<i32>| {
            let stores = code.clone().filter_map(|at| self.at(at));
            only(stores.filter(|store| {
                store.kind == kind
                    && usize::try_from(store.value) == Ok(value)
                    && place.is_none_or(|place| store.place == place)
            }))
        };
        let after = first.place.checked_add(FIRST as i32)?;
        let last = find(Kind::One, own[FIRST].into(), Some(after))?;
        let zero = find(Kind::One, 0, Some(after.checked_add(1)?))?;
        let length = find(Kind::Eight, own.len(), None)?;
        let mut told = self.0.to_vec();
        told[value..value + FIRST].copy_from_slice(&other[..FIRST]);
        if other.len() == own.len() {
            told[last.number] = other[FIRST];
            return Some(told);
        }
        // One instruction for all that follows the first letters takes less room than two.
        let mut parts = [last, zero, length];
        parts.sort_by_key(|store| store.start);
        let are_together = parts.windows(2).all(|pair| pair[0].end == pair[1].start);
        are_together.then_some(())?;
        let mut rest = [0; 4];
        rest[..other.len() - FIRST].copy_from_slice(&other[FIRST..]);
        // The instruction of the last letter, for four bytes in place of one.
        let mut code = vec![0xc7];
        code.extend_from_slice(&self.0[last.start + 1..last.number]);
        code.extend_from_slice(&rest);
        code.extend_from_slice(&self.0[length.start..length.number]);
        code.extend_from_slice(&u32::try_from(other.len()).ok()?.to_le_bytes());
        let place = parts[0].start..parts[2].end;
        code.resize(place.len().max(code.len()), NOP);
        told.get_mut(place).filter(|place| place.len() == code.len())?.copy_from_slice(&code);
        Some(told)
    }

    /// Reads the instruction at a place; `None` if it is another one.
    fn at(&self, start: usize) -> Option<Store> {
        let code = self.0.get(start..)?;
        let (kind, prefix) = match code {
            [0xc6, ..] => (Kind::One, 0),
            [0xc7, ..] => (Kind::Four, 0),
            [0x48, 0xc7, ..] => (Kind::Eight, 1),
            _ => return None,
        };
        let operand = code.get(prefix + 1..)?;
        let (place, distance) = match operand {
            [0x44, 0x24, place, ..] => (i32::from(place.cast_signed()), 1),
            [0x84, 0x24, place @ ..] => (i32::from_le_bytes(*place.first_chunk()?), 4),
            _ => return None,
        };
        let number = prefix + 3 + distance;
        let (value, size) = match kind {
            Kind::One => (u32::from(*code.get(number)?), 1),
            Kind::Four | Kind::Eight => {
                (u32::from_le_bytes(*code.get(number..)?.first_chunk()?), 4)
            }
        };
        let (number, end) = (start + number, start + number + size);
        Some(Store { start, number, end, place, kind, value })
    }
}
