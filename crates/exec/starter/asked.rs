//! This decides from arguments and variables whether a program's result can depend on the processor.
//!
//! Lists of arguments begin after the program's own name, except where `argv[0]` is said to be the first.
//! Nothing here compares slices as a whole, which would need a library.

use super::awk;

/// Returns whether an argument has the name of the file that says what the processor is. Emulators make
/// up its contents, QEMU from 8.1 on.
pub(crate) fn names_processor<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> bool {
    const FILE: &[u8] = b"cpuinfo";
    arguments.any(|argument| {
        let mut rest = argument;
        while let Some((_, next)) = rest.split_first() {
            if after(rest, FILE).is_some() {
                return true;
            }
            rest = next;
        }
        false
    })
}

/// Returns whether a program with many names is called by one of these, the first of which is its own:
/// then the name is the argument after it. `arguments` begins with `argv[0]`, which login shells begin
/// with a minus sign.
pub(crate) fn is_called_by<'a>(
    mut names: impl Iterator<Item = &'a [u8]>,
    mut arguments: impl Iterator<Item = &'a [u8]>,
) -> bool {
    let (Some(own), Some(called)) = (names.next(), arguments.next()) else { return false };
    let mut name = after(called, b"-").unwrap_or(called);
    while let Some(next) = from(name, b'/') {
        name = next;
    }
    let name = if is_same(name, own) { arguments.next() } else { Some(name) };
    name.is_some_and(|name| names.any(|other| is_same(name, other)))
}

/// Returns whether dpkg-deb, dpkg-split or tar is called as unpacking a package does it. One of these
/// programs refuses what is for another one.
///
/// **Source** — dpkg, `src/main/unpack.c`, `src/main/archives.c` and `src/deb/extract.c`.
pub(crate) fn is_unpack<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> bool {
    let Some(way) = arguments.next() else { return false };
    let is_way = |text| is_same(way, text);
    if is_way(b"--control") || is_way(b"--fsys-tarfile") || is_way(b"-Qao") {
        return arguments.all(|operand| operand.first() != Some(&b'-'));
    }
    is_way(b"-x")
        && arguments.all(|option| match option {
            [b'-'] | [b'-', b'p' | b'm' | b'f'] => true,
            _ => is_same(option, b"--warning=no-timestamp"),
        })
}

/// Returns whether apk changes the packages of the root that it runs in, whose architecture a file there
/// says. For another root, or when asked for it, apk has an architecture inside; and it takes an option by
/// its first letters, so that one which is not known here may be any.
///
/// **Source** — apk(8), apk-add(8); apk-tools, `src/apk.c` of 2.14 and 3.0.
pub(crate) fn is_apk_change<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> bool {
    let mut has_command = false;
    while let Some(argument) = arguments.next() {
        let is_known = match argument {
            [b'-', b't' | b'X'] => arguments.next().is_some(),
            [b'-', b't' | b'X', _, ..] => true,
            [b'-', b'-', option @ ..] => match split(option, b'=') {
                Some((name, _)) => awk::is_one_of(name, APK_VALUES),
                None => {
                    awk::is_one_of(option, APK_SWITCHES)
                        || awk::is_one_of(option, APK_VALUES) && arguments.next().is_some()
                }
            },
            [b'-', letters @ ..] => {
                letters.iter().all(|letter| from(APK_LETTERS, *letter).is_some())
            }
            command if !has_command => {
                has_command = true;
                awk::is_one_of(command, APK_COMMANDS)
            }
            _ => true,
        };
        if !is_known {
            return false;
        }
    }
    has_command
}

const APK_COMMANDS: &[u8] = b"add del fix update upgrade ";
const APK_LETTERS: &[u8] = b"Uadfilqrsuv";
const APK_SWITCHES: &[u8] = b"allow-untrusted available clean-protected depends force force-broken-world \
    force-missing-repositories force-non-repository force-old-apk force-overwrite force-refresh latest \
    no-cache no-check-certificate no-commit-hooks no-interactive no-network no-progress no-scripts prune \
    purge quiet rdepends reinstall simulate update update-cache upgrade verbose ";
const APK_VALUES: &[u8] =
    b"cache-dir cache-max-age keys-dir repositories-file repository timeout virtual wait ";

/// Returns whether a compiler proper (cc1, cc1plus) is called to compile, and for nothing that tells about
/// itself or depends on how it was made: precompiled headers and modules are memory of the compiler, and
/// plugins are libraries of it. A cross compiler has the folders of headers in the step's form, but for those
/// that the last options are for.
///
/// **Source** — GCC manual, "Overall Options", "Preprocessor Options", "Directory Options".
pub(crate) fn is_compilation<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> bool {
    arguments.all(|argument| match argument {
        [b'-', b'v'] | [b'@', ..] => false,
        [b'-', ..] => {
            let mut rest = COMPILERS_OWN;
            while let Some((start, next)) = split(rest, b' ') {
                if after(argument, start).is_some() {
                    return false;
                }
                rest = next;
            }
            true
        }
        _ => true,
    })
}

/// The beginnings of options that are about the compiler itself, and of those for sanitizers, whose
/// descriptions of types come in another order.
const COMPILERS_OWN: &[u8] =
    b"-fsanitize --help --target-help --version -version --output-pch -fplugin -fmodule -iprefix \
    -isysroot -stdlib= ";

/// Returns whether a linker is called as GCC calls it, with this plugin and no other. Without a plugin it looks
/// for some itself, which are libraries of the other processor.
///
/// **Source** — ld(1); binutils, `ld/lexsup.c`.
pub(crate) fn is_link<'a>(mut arguments: impl Iterator<Item = &'a [u8]>, plugin: &[u8]) -> bool {
    let mut has_plugin = false;
    while let Some(argument) = arguments.next() {
        let begins = |text| after(argument, text).is_some();
        if is_same(argument, b"-plugin") {
            if has_plugin || !arguments.next().is_some_and(|value| is_same(value, plugin)) {
                return false;
            }
            has_plugin = true;
        } else if matches!(argument, [b'@', ..] | [b'-', b'V'])
            || begins(b"--plugin")
            || begins(b"-plugin") && !begins(b"-plugin-opt")
            || awk::is_one_of(argument, LINKERS_OWN)
            || begins(b"--sysroot")
        {
            return false;
        }
    }
    has_plugin
}

/// The options of a linker that are about itself.
const LINKERS_OWN: &[u8] = b"--help --stats --target-help --verbose ";

/// Returns whether a folder's entries, as the kernel gives them, have names of a list alone. A space follows
/// each name of the list.
///
/// **Source** — getdents64(2), `struct linux_dirent64`.
pub(crate) fn has_only(mut entries: &[u8], names: &[u8]) -> bool {
    const NAME: usize = 19;
    while let Some([low, high]) = entries.get(16..18) {
        let length = usize::from(u16::from_ne_bytes([*low, *high]));
        let (Some(name), Some(rest)) = (entries.get(NAME..length), entries.get(length..)) else {
            return false;
        };
        let name = split(name, 0).map_or(name, |(name, _)| name);
        if !matches!(name, [b'.'] | [b'.', b'.']) && !awk::is_one_of(name, names) {
            return false;
        }
        entries = rest;
    }
    true
}

/// Returns whether awk's arguments have the program's text, and that is a plain one. Options are those
/// that POSIX has.
pub(crate) fn is_plain_awk<'a>(mut arguments: impl Iterator<Item = &'a [u8]>) -> bool {
    while let Some(argument) = arguments.next() {
        let text = match argument {
            [b'-', b'-'] => arguments.next(),
            // The value is the next argument.
            [b'-', b'F'] if arguments.next().is_some() => continue,
            [b'-', b'v'] if arguments.next().is_some_and(has_no_format) => continue,
            [b'-', b'F', _, ..] => continue,
            [b'-', b'v', _, ..] if has_no_format(argument) => continue,
            [b'-', _, ..] => return false,
            _ => Some(argument),
        };
        // An operand may set the format for numbers.
        return text.is_some_and(awk::is_plain) && arguments.all(has_no_format);
    }
    false
}

/// Returns whether a text has no percent sign, nor an escape that may be one.
fn has_no_format(text: &[u8]) -> bool {
    text.iter().all(|byte| !matches!(byte, b'%' | b'\\'))
}

/// Returns whether an argument is a short option, or a group of them, with this letter; or a long one.
/// Long options of the programs that have the rule may mean the same.
pub(crate) fn has_option<'a>(mut arguments: impl Iterator<Item = &'a [u8]>, letter: u8) -> bool {
    arguments.any(|argument| match argument {
        [b'-', b'-', _, ..] => true,
        [b'-', letters @ ..] => from(letters, letter).is_some(),
        _ => false,
    })
}

/// Returns whether a variable leaves the twin as it is.
pub(crate) fn is_harmless(variable: &[u8], is_little_endian: bool) -> bool {
    let begins = |text| after(variable, text).is_some();
    if begins(b"LD_") || begins(b"LOCPATH=") || begins(b"GCONV_PATH=") || begins(b"PERL5") {
        return false;
    }
    // apk may be told another root in a file, and OpenSSL modules of the other processor.
    if begins(b"APK_CONFIG=")
        || begins(b"OPENSSL_CONF=")
        || begins(b"OPENSSL_MODULES=")
        || begins(b"OPENSSL_ENGINES=")
    {
        return false;
    }
    let locale = match after(variable, b"LC_") {
        Some(rest) => from(rest, b'='),
        None => after(variable, b"LANG="),
    };
    locale.is_none_or(|locale| is_simple_locale(locale, is_little_endian))
}

/// Returns whether a locale is one that the sibling's loader has in itself, or finds in files that
/// are the same on both processors: no character set but UTF-8 needs a module.
fn is_simple_locale(locale: &[u8], is_little_endian: bool) -> bool {
    let is = |text: &[u8]| is_same(locale, text);
    if is(b"") || is(b"C") || is(b"POSIX") || is(b"C.UTF-8") || is(b"C.utf8") {
        return true;
    }
    let is_utf8 = match from(locale, b'.') {
        Some([u, t, f, b'8'] | [u, t, f, b'-', b'8']) => {
            (u | 0x20, t | 0x20, f | 0x20) == (b'u', b't', b'f')
        }
        _ => false,
    };
    is_little_endian && is_utf8
}

/// Returns the rest of a text that begins with another one.
pub(crate) fn after<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let mut rest = text;
    for byte in start {
        let (first, next) = rest.split_first()?;
        if first != byte {
            return None;
        }
        rest = next;
    }
    Some(rest)
}

/// Returns what follows the first byte of a kind.
fn from(text: &[u8], mark: u8) -> Option<&[u8]> {
    split(text, mark).map(|(_, rest)| rest)
}

/// Returns what is before and after the first byte of a kind.
fn split(text: &[u8], mark: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|byte| *byte == mark)?;
    Some((text.get(..place)?, text.get(place + 1..)?))
}

pub(crate) fn is_same(one: &[u8], other: &[u8]) -> bool {
    after(one, other).is_some_and(<[u8]>::is_empty)
}
