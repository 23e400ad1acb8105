//! apt, told that its machine is another one.
//!
//! apt's libraries have the architecture that they were compiled for inside: as the first value of
//! `APT::Architecture`, and as a text that `apt --version` shows. In a twin they get the step's. A
//! library in which these places are not found as they are known here gets no twin.
//!
//! Compilers put the value of the setting into instructions (apt until 2.6) or make it a text (from
//! apt 3.0 on).
//!
//! **Source** — apt, `apt-pkg/init.cc` and `apt-private/private-cmndline.cc`; Intel 64 and IA-32
//! Architectures Software Developer's Manual, volume 2, "MOV".

mod stores;
mod text;
mod unique;

use stores::{FIRST, Stores};
use text::Text;
use unique::only;

use super::elf::Elf;

/// The name of the setting.
const SETTING: &[u8] = b"APT::Architecture\0";
/// The most bytes of code between the place where the setting's address is taken and its value.
const NEAR: usize = 80;
/// The most letters of a name that there is room for.
const LONGEST: usize = 7;

/// Returns whether a library has an architecture inside.
pub(super) fn is_told(library: &str) -> bool {
    library.starts_with("libapt-pkg.") || library.starts_with("libapt-private.")
}

/// Returns a library of apt for this machine that believes to be on another one; `None` if it is not
/// of the form that is known. `own` and `other` are Debian's names of both architectures.
pub(super) fn tell(name: &str, library: &[u8], own: &str, other: &str) -> Option<Vec<u8>> {
    let (own, other) = (own.as_bytes(), other.as_bytes());
    let is_name = |name: &[u8]| name.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let fits = own.len() == FIRST + 1 && (own.len()..=LONGEST).contains(&other.len());
    if !fits || !is_name(other) {
        return None;
    }
    let elf = Elf::parse(library)?;
    let text = Text::find(library, &elf, own);
    if !name.starts_with("libapt-pkg.") {
        return shown_text(library, &text?, other);
    }
    match text {
        Some(text) => setting_in_text(library, &elf, &text, other),
        None => setting_in_code(library, &elf, own, other),
    }
}

/// Changes the text that `apt --version` shows: its only user sets the length just before.
fn shown_text(library: &[u8], text: &Text<'_>, other: &[u8]) -> Option<Vec<u8>> {
    let user = text.only_user()?;
    let number = user.checked_sub(size_of::<u32>())?;
    // mov edx, length
    let expected = [&[0xba][..], &u32::try_from(text.length()).ok()?.to_le_bytes()].concat();
    (library.get(number.checked_sub(1)?..user)? == expected).then_some(())?;
    let mut told = text.replaced(other)?;
    told[number] = u8::try_from(other.len()).ok()?;
    Some(told)
}

/// Changes a value that is a text: its only user takes the address of the setting's name beside it,
/// and stores the length afterwards.
fn setting_in_text(
    library: &[u8],
    elf: &Elf<'_>,
    text: &Text<'_>,
    other: &[u8],
) -> Option<Vec<u8>> {
    let user = text.only_user()?;
    takes_setting(library, elf, user.saturating_sub(NEAR)..user + NEAR).then_some(())?;
    let length = Stores(library).length(user..user + NEAR, text.length())?;
    let mut told = text.replaced(other)?;
    told[length] = u8::try_from(other.len()).ok()?;
    Some(told)
}

/// Changes a value that instructions store: its letters, the zero behind them, and their number.
fn setting_in_code(library: &[u8], elf: &Elf<'_>, own: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let value = only(memchr::memmem::find_iter(library, &own[..FIRST]))?;
    takes_setting(library, elf, value.saturating_sub(NEAR)..value).then_some(())?;
    Stores(library).with_name(value, own, other)
}

/// Returns whether code takes the address of the setting's name.
fn takes_setting(library: &[u8], elf: &Elf<'_>, code: std::ops::Range<usize>) -> bool {
    code.filter_map(|at| text::target(library, elf, at))
        .filter_map(|address| elf.offset_of(address))
        .any(|at| library.get(at..).is_some_and(|rest| rest.starts_with(SETTING)))
}

#[cfg(test)]
mod tests;
