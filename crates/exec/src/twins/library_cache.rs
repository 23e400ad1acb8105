//! The cache by which a loader finds libraries: `ld.so.cache`, and loaders that look into ours, or into
//! our folder.
//!
//! **Source** — glibc, `sysdeps/generic/dl-cache.h`: the format of `glibc-ld.so.cache1.1`; musl,
//! `ldso/dynlink.c`, `load_library`.

use super::set::Origin;

/// The path in every loader of glibc. Ours has the same length.
const USUAL_CACHE: &[u8] = b"/etc/ld.so.cache\0";

/// The folders in every loader of musl.
const USUAL_FOLDERS: &[u8] = b"/lib:/usr/local/lib:/usr/lib\0";
/// Ours, which is shorter.
const OWN_FOLDER: &[u8] = b"/dev/.twin/lib\0";

const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
const HEADER: usize = 48;
const ENTRY: usize = 24;
/// Little-endian.
const BYTE_ORDER: u8 = 2;

/// Returns a loader of glibc that looks into our cache; `None` if it is not of the usual form.
pub(super) fn loader_with_own_cache(loader: &[u8], origin: Origin) -> Option<Vec<u8>> {
    with(loader, USUAL_CACHE, format!("{}/cache\0", origin.folder()).as_bytes())
}

/// Returns a loader of musl that looks into our folder; `None` if it is not of the usual form.
pub(super) fn loader_with_own_folder(loader: &[u8]) -> Option<Vec<u8>> {
    with(loader, USUAL_FOLDERS, OWN_FOLDER)
}

/// Puts another text in the only place of one that is not shorter.
fn with(loader: &[u8], usual: &[u8], own: &[u8]) -> Option<Vec<u8>> {
    let mut places = memchr::memmem::find_iter(loader, usual);
    let place = places.next().filter(|_| places.next().is_none())?;
    let mut out = loader.to_vec();
    out[place..place + own.len()].copy_from_slice(own);
    Some(out)
}

/// Returns a cache with these libraries, which lie in the folder `lib` of the set.
pub(super) fn cache(machine: u16, names: &[&str], origin: Origin) -> Vec<u8> {
    // The loader searches by halves, in the order of its own comparison: numbers in names count as
    // numbers, and the largest comes first.
    let mut names = names.to_vec();
    names.sort_by(|a, b| compare(b.as_bytes(), a.as_bytes()));
    let start = HEADER + ENTRY * names.len();
    let (mut entries, mut strings) = (Vec::new(), Vec::new());
    for name in &names {
        let key = start + strings.len();
        strings.extend_from_slice(name.as_bytes());
        strings.push(0);
        let value = start + strings.len();
        strings.extend_from_slice(format!("{}/lib/{name}\0", origin.folder()).as_bytes());
        for word in [flags(machine), key as u32, value as u32, 0, 0, 0] {
            entries.extend_from_slice(&word.to_le_bytes());
        }
    }
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&(names.len() as u32).to_le_bytes());
    out.extend_from_slice(&(strings.len() as u32).to_le_bytes());
    out.push(BYTE_ORDER);
    out.resize(HEADER, 0);
    out.extend_from_slice(&entries);
    out.extend_from_slice(&strings);
    out
}

/// Returns the flags of a library: for glibc 2, for this processor.
fn flags(machine: u16) -> u32 {
    match machine {
        62 => 0x0303,
        183 => 0x0a03,
        _ => 0x0003,
    }
}

/// Compares names as the loader does.
fn compare(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    use std::cmp::Ordering::Equal;
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(x), Some(y)) = (a.first(), b.first()) else { return a.len().cmp(&b.len()) };
        let step = match (x.is_ascii_digit(), y.is_ascii_digit()) {
            (true, true) => {
                let (left, right) = (number(&mut a), number(&mut b));
                left.cmp(&right)
            }
            (true, false) => return std::cmp::Ordering::Greater,
            (false, true) => return std::cmp::Ordering::Less,
            (false, false) => {
                let order = x.cmp(y);
                (a, b) = (&a[1..], &b[1..]);
                order
            }
        };
        if step != Equal {
            return step;
        }
    }
}

/// Takes a number off the front.
fn number(text: &mut &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    number
        .iter()
        .fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_count_as_numbers() {
        let cache = cache(62, &["liba.so.2", "libb.so.1", "liba.so.10"], Origin::Sibling);
        let text = String::from_utf8_lossy(&cache[HEADER + 3 * ENTRY..]).into_owned();
        let names: Vec<&str> =
            text.split('\0').filter(|part| !part.is_empty() && !part.starts_with('/')).collect();
        assert_eq!(names, ["libb.so.1", "liba.so.10", "liba.so.2"]);
        assert_eq!(&cache[..20], MAGIC);
        assert_eq!(cache[20], 3);
    }

    #[test]
    fn a_loader_looks_into_one_place() {
        let around = |text: &[u8]| [b"x", text, b"y"].concat();
        let with_own_cache = |loader: &[u8]| loader_with_own_cache(loader, Origin::Cross);
        let own = around(b"/dev/.tool/cache\0");
        assert_eq!(with_own_cache(&around(USUAL_CACHE)).unwrap(), own);
        assert_eq!(with_own_cache(&[USUAL_CACHE, USUAL_CACHE].concat()), None);
        assert_eq!(with_own_cache(b"none"), None);
        let out = loader_with_own_folder(&around(USUAL_FOLDERS)).unwrap();
        assert_eq!(out, around(b"/dev/.twin/lib\0/lib:/usr/lib\0"));
        assert_eq!(loader_with_own_folder(USUAL_CACHE), None);
    }
}
