//! Telling what a file is that is to be executed, by its first bytes.
//!
//! Source: `execve(2)` § Interpreter scripts; kernel `fs/binfmt_script.c`, described in
//! `Documentation/admin-guide/binfmt-misc.rst`.

use crate::arch::Arch;

/// The bytes that the kernel looks at, since Linux 5.1.
pub(super) const LOOKED_AT: usize = 256;

/// The beginning of a script.
const MARK: &[u8] = b"#!";

/// A file, by its first bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Header {
    /// A program of this architecture.
    Program(Arch),
    /// A script: its interpreter, and the one optional argument.
    Script(Vec<u8>, Option<Vec<u8>>),
    /// Something else, which is the kernel's to judge.
    Other,
}

impl Header {
    /// Looks at the first bytes of a file, up to [`LOOKED_AT`]; `foreign` are the architectures that
    /// have emulators.
    pub(super) fn new(head: &[u8], foreign: impl IntoIterator<Item = Arch>) -> Self {
        if head.starts_with(MARK) {
            return script(head).unwrap_or(Self::Other);
        }
        let arch = foreign.into_iter().find(|arch| arch.pattern().matches(head));
        arch.map_or(Self::Other, Self::Program)
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// Reads the first line of a script; `None` for one that the kernel does not execute.
///
/// The rules are those for a buffer of [`LOOKED_AT`] bytes that is filled up with NULs, the last of
/// which is never part of a word. So a path that is cut off is not taken for another, and an
/// argument may be cut off.
fn script(head: &[u8]) -> Option<Header> {
    let mut line = head[..head.len().min(LOOKED_AT)].to_vec();
    line.resize(LOOKED_AT, 0);
    let find = |from: usize, to: usize, test: &dyn Fn(u8) -> bool| {
        (from..=to).find(|at| line.get(*at).is_some_and(|byte| test(*byte)))
    };
    let is_text = |byte: u8| !is_blank(byte);
    let is_end = |byte: u8| is_blank(byte) || byte == 0;
    let mut end = match line.iter().position(|byte| *byte == b'\n') {
        Some(end) => end,
        None => {
            let last = LOOKED_AT - 1;
            find(find(MARK.len(), last, &is_text)?, last, &is_end)?;
            last
        }
    };
    while is_blank(line[end - 1]) {
        end -= 1;
    }
    let path = find(MARK.len(), end, &is_text).filter(|path| *path != end)?;
    let separator = find(path, end, &is_end);
    let argument = separator.filter(|at| line[*at] != 0).and_then(|at| find(at, end, &is_text));
    let word = |from: usize, to: usize| {
        let word = &line[from..to.max(from)];
        word.iter().take_while(|byte| **byte != 0).copied().collect::<Vec<u8>>()
    };
    let path = word(path, separator.unwrap_or(end));
    let argument = argument.map(|argument| word(argument, end));
    (!path.is_empty()).then_some(Header::Script(path, argument))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tiny_elf;

    fn read(head: &[u8]) -> Header {
        Header::new(&head[..head.len().min(LOOKED_AT)], [Arch::Arm64, Arch::S390x])
    }

    fn script(path: &str, argument: Option<&str>) -> Header {
        Header::Script(path.into(), argument.map(|argument| argument.as_bytes().to_vec()))
    }

    #[test]
    fn first_lines_follow_the_kernels_rules() {
        let padded = |path: usize| format!("#!/{}", "p".repeat(path));
        for (head, expected) in [
            ("#!/bin/sh\nrest", script("/bin/sh", None)),
            ("#!/bin/sh", script("/bin/sh", None)),
            // Without an end of line, blanks at the end count.
            ("#!/bin/sh -e ", script("/bin/sh", Some("-e "))),
            ("#!/bin/sh ", script("/bin/sh", Some(""))),
            ("#! \t/bin/sh \t\n", script("/bin/sh", None)),
            ("#!/usr/bin/env  perl -w  \nx", script("/usr/bin/env", Some("perl -w"))),
            ("#!sh\t-e\n", script("sh", Some("-e"))),
            ("#!/bin/sh\r\n", script("/bin/sh\r", None)),
            ("#!/bin/sh\0x y\n", script("/bin/sh", None)),
            ("#!/bin/sh a\0b\n", script("/bin/sh", Some("a"))),
            ("#!", Header::Other),
            ("#! \t \n/bin/sh\n", Header::Other),
            (" #!/bin/sh\n", Header::Other),
            ("", Header::Other),
            ("echo hello\n", Header::Other),
        ] {
            assert_eq!(read(head.as_bytes()), expected, "{head:?}");
        }
        // The line of 256 bytes may end in the last of them, or earlier.
        let longest = "p".repeat(252);
        assert_eq!(
            read(format!("{}\nrest", padded(252)).as_bytes()),
            script(&format!("/{longest}"), None)
        );
        assert_eq!(read(format!("{}\n", padded(253)).as_bytes()), Header::Other);
        assert_eq!(read(padded(400).as_bytes()), Header::Other);
        let cut = format!("#!/bin/sh {}", "a".repeat(400));
        assert_eq!(read(cut.as_bytes()), script("/bin/sh", Some(&"a".repeat(245))));
        assert_eq!(read(format!("#!{}", " ".repeat(400)).as_bytes()), Header::Other);
    }

    #[test]
    fn only_programs_with_an_emulator_are_foreign() {
        for arch in Arch::ALL {
            let expected = match arch {
                Arch::Arm64 | Arch::S390x => Header::Program(arch),
                _ => Header::Other,
            };
            assert_eq!(read(&tiny_elf::program(arch)), expected, "{arch:?}");
        }
        assert_eq!(read(&tiny_elf::program(Arch::Arm64)[..19]), Header::Other);
    }
}
