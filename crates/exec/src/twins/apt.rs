//! apt, told that its machine is another one.
//!
//! apt's libraries have the architecture that they were compiled for inside: as the first value of
//! `APT::Architecture`, and as a text that `apt --version` shows. In a twin they get the step's. A
//! library in which these places are not found as they are known here gets no twin.
//!
//! **Source** — apt, `apt-pkg/init.cc` and `apt-private/private-cmndline.cc`; Intel 64 and IA-32
//! Architectures Software Developer's Manual, volume 2, "LEA" and "MOV".

use crate::arch::Arch;

/// The name of the setting.
const SETTING: &[u8] = b"APT::Architecture\0";
/// The most bytes of code between the place where the setting's address is taken and its value.
const BEFORE: usize = 80;
/// The most bytes of code between the two parts of the value.
const BETWEEN: usize = 24;

/// Returns Debian's name of an architecture.
fn debian_name(arch: Arch) -> Option<&'static [u8; 5]> {
    match arch {
        Arch::Amd64 => Some(b"amd64"),
        Arch::Arm64 => Some(b"arm64"),
        _ => None,
    }
}

/// Returns whether a library has an architecture inside.
pub(super) fn is_told(library: &str) -> bool {
    library.starts_with("libapt-pkg.") || library.starts_with("libapt-private.")
}

/// Returns a library of apt for this machine that believes to be on `arch`; `None` if it is not of
/// the form that is known.
pub(super) fn tell(name: &str, library: &[u8], host: Arch, arch: Arch) -> Option<Vec<u8>> {
    let (own, other) = (debian_name(host)?, debian_name(arch)?);
    let mut told = library.to_vec();
    if name.starts_with("libapt-pkg.") {
        let (first, last) = setting(library, own)?;
        told[first..first + 4].copy_from_slice(&other[..4]);
        told[last] = other[4];
    } else {
        let text = [b"\0", &own[..], b"\0"].concat();
        let place = only(memchr::memmem::find_iter(library, &text))? + 1;
        told[place..place + other.len()].copy_from_slice(other);
    }
    Some(told)
}

/// Returns the places of the value of the setting: its first four bytes and the fifth, which two
/// instructions of the same function store after the one that takes the address of the setting's
/// name.
fn setting(library: &[u8], own: &[u8; 5]) -> Option<(usize, usize)> {
    let first = only(memchr::memmem::find_iter(library, &own[..4]))?;
    let start = first.saturating_sub(BEFORE);
    let code = library.get(start..first)?;
    // lea rsi, [rip + distance]
    let takes_address = memchr::memmem::find_iter(code, b"\x48\x8d\x35").any(|place| {
        let end = start + place + 7;
        let distance = library.get(end - 4..end).and_then(|bytes| bytes.try_into().ok());
        let target = distance.map(|bytes| end as i64 + i64::from(i32::from_le_bytes(bytes)));
        let target = target.and_then(|target| usize::try_from(target).ok());
        target.and_then(|target| library.get(target..)?.get(..SETTING.len())) == Some(SETTING)
    });
    // mov byte ptr [rsp + place], value
    let after = library.get(first + 4..first + 4 + BETWEEN)?;
    let last = memchr::memmem::find_iter(after, b"\xc6\x44\x24")
        .map(|place| place + 4)
        .find(|place| after.get(*place) == Some(&own[4]))?;
    takes_address.then_some((first, first + 4 + last))
}

/// Returns the only item.
fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Code as compilers write it: the name's address, the value in two parts, the name.
    fn library() -> Vec<u8> {
        let mut code = b"\x90\x90\x48\x8d\x35\x20\0\0\0\xc7\x44\x24\x70amd6\x48\x89\xea".to_vec();
        code.extend(b"\xc6\x44\x24\x744\x90");
        code.resize(9 + 0x20, 0x90);
        code.extend(SETTING);
        code
    }

    #[test]
    fn the_value_of_the_setting_is_another_one() {
        let told = tell("libapt-pkg.so.6.0", &library(), Arch::Amd64, Arch::Arm64).unwrap();
        let expected = library();
        let changed: Vec<usize> = (0..told.len()).filter(|at| told[*at] != expected[*at]).collect();
        assert_eq!(changed.iter().map(|at| told[*at]).collect::<Vec<u8>>(), b"rm");
        assert_eq!(tell("libapt-pkg.so.6.0", &library(), Arch::Amd64, Arch::S390x), None);
    }

    #[test]
    fn other_code_gets_no_twin() {
        let damaged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut library = library();
            change(&mut library);
            tell("libapt-pkg.so.6.0", &library, Arch::Amd64, Arch::Arm64)
        };
        assert_eq!(damaged(&|library| library[5] += 1), None, "another text");
        assert_eq!(damaged(&|library| library.extend(b"amd64")), None, "two places");
        assert_eq!(damaged(&|library| library[24] = b'5'), None, "another value");
        assert_eq!(damaged(&|library| library.truncate(20)), None);
    }

    #[test]
    fn a_text_is_another_one() {
        let told = |text: &[u8]| tell("libapt-private.so.0.0", text, Arch::Amd64, Arch::Arm64);
        assert_eq!(told(b"1\0amd64\0amd64-x\0").unwrap(), b"1\0arm64\0amd64-x\0");
        assert_eq!(told(b"1\0amd64\x002\0amd64\0"), None);
    }
}
