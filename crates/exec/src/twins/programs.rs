//! The list of programs that may have twins; see `programs.txt` for its columns.

use super::set::Arguments;
use crate::arch::Arch;

pub(super) const LIST: &str = include_str!("programs.txt");
/// The names under which a program with many of them may have a twin.
pub(super) const APPLETS: &str = include_str!("applets.txt");

/// A program of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Program {
    /// Its path, by which links may lead to it.
    pub(super) path: &'static str,
    /// The package that it comes from.
    pub(super) package: &'static str,
    /// The arguments that it may have.
    pub(super) arguments: Arguments,
    /// Whether it needs perl's library.
    pub(super) is_perl: bool,
    /// Whether it is many programs in one file, told apart by the names that they are called by.
    pub(super) is_multi_call: bool,
}

/// Returns the programs that may have twins in steps of an architecture.
pub(super) fn programs(arch: Arch) -> impl Iterator<Item = Program> {
    LIST.lines().filter(|line| !line.starts_with('#')).filter_map(move |line| parse(line, arch))
}

/// Returns the names under which a program with many of them may have a twin.
pub(super) fn applets() -> impl Iterator<Item = &'static str> {
    let lines = APPLETS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next())
}

/// Reads a line; `None` if its program has no twin on that architecture.
fn parse(line: &'static str, arch: Arch) -> Option<Program> {
    let mut columns = line.split_whitespace();
    let (path, package, rules) = (columns.next()?, columns.next()?, columns.next()?);
    let mut arguments = Arguments::Any;
    let (mut is_perl, mut is_multi_call) = (false, false);
    for rule in rules.split(',') {
        match rule {
            "64" if !arch.is_64_bit() => return None,
            "unpack" if !arch.is_64_bit() => arguments = Arguments::Unpack,
            "64le" if !arch.is_64_bit() || !arch.is_little_endian() => return None,
            "perl" => is_perl = true,
            "applets" => is_multi_call = true,
            "awk" => arguments = Arguments::PlainAwk,
            "apk" => arguments = Arguments::ApkChange,
            rule => {
                let letter = rule.strip_prefix("no:").and_then(|letter| letter.bytes().next());
                arguments = letter.map_or(arguments, Arguments::Without);
            }
        }
    }
    Some(Program { path, package, arguments, is_perl, is_multi_call })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_understood() {
        let lines = || LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines() {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [path, package, rules, why] = columns[..] else { panic!("{line}") };
            assert!(!path.starts_with('/') && !package.contains('/'), "{line}");
            for rule in rules.split(',') {
                let is_letter = rule.strip_prefix("no:").is_some_and(|letter| letter.len() == 1);
                assert!(
                    is_letter
                        || matches!(
                            rule,
                            "-" | "64" | "64le" | "unpack" | "perl" | "applets" | "awk" | "apk"
                        ),
                    "{line}"
                );
            }
            assert!(matches!(why, "bytes" | "integers" | "doubles" | "network"), "{line}");
        }
        assert_eq!(programs(Arch::Arm64).count(), lines().count());
        let mut paths: Vec<&str> = programs(Arch::Arm64).map(|program| program.path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), lines().count(), "a path is there twice");
    }

    #[test]
    fn every_applet_has_a_reason_and_a_place() {
        let names: Vec<&str> = applets().collect();
        assert!(names.is_sorted(), "{names:?}");
        let lines = APPLETS.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let [_, why] = columns[..] else { panic!("{line}") };
            assert!(matches!(why, "bytes" | "integers" | "doubles" | "network"), "{line}");
        }
        for never in ["uname", "arch", "od", "busybox", "su", "nproc"] {
            assert!(!names.contains(&never), "{never}");
        }
    }

    /// These pairs have equal headers in Debian, and the first of each is used more.
    #[test]
    fn of_programs_that_look_alike_the_usual_one_comes_first() {
        let place =
            |path: &str| programs(Arch::Arm64).position(|program| program.path == path).unwrap();
        let pairs = [("bin/ls", "bin/dir"), ("bin/true", "bin/false")];
        let sums = [("256", "224"), ("512", "384")].map(|(usual, other)| {
            (format!("usr/bin/sha{usual}sum"), format!("usr/bin/sha{other}sum"))
        });
        let pairs = pairs.map(|(usual, other)| (usual.to_owned(), other.to_owned()));
        for (usual, other) in pairs.iter().chain(&sums) {
            assert!(place(usual) < place(other), "{usual} and {other}");
        }
    }

    #[test]
    fn rules_depend_on_the_architecture() {
        let has = |arch, path| programs(arch).any(|program| program.path == path);
        assert!(has(Arch::Arm64, "usr/bin/perl") && !has(Arch::S390x, "usr/bin/perl"));
        assert!(has(Arch::S390x, "usr/bin/find") && !has(Arch::Arm, "usr/bin/find"));
        for arch in [Arch::Arm, Arch::S390x] {
            assert!(has(arch, "bin/dash") && has(arch, "usr/bin/apt-get"));
            assert!(!has(arch, "usr/lib/apt/methods/store"), "LZ4 writes other bytes");
        }
        let sort = programs(Arch::Arm).find(|program| program.path == "usr/bin/sort").unwrap();
        assert_eq!((sort.arguments, sort.is_perl), (Arguments::Without(b'g'), false));
        for path in ["usr/bin/dpkg-deb", "usr/bin/dpkg-split", "bin/tar"] {
            let of = |arch| programs(arch).find(|program| program.path == path).unwrap();
            assert_eq!(of(Arch::Arm).arguments, Arguments::Unpack);
            assert_eq!(of(Arch::S390x).arguments, Arguments::Any);
        }
    }
}
