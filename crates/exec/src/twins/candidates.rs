//! The files of two images that twins are made from.

use std::collections::{BTreeMap, BTreeSet};

use super::packages::Database;
use super::programs::{self, Program};
use crate::arch::Arch;

/// The files of an image, as a tree index knows them.
pub trait ImageFiles {
    /// Returns the regular file that a path leads to; links are followed.
    fn find(&self, path: &str) -> Option<Facts>;

    /// Returns the names in a folder.
    fn names(&self, folder: &str) -> Vec<String>;

    /// Returns the paths of the regular files below a folder, relative to it.
    fn below(&self, folder: &str) -> Vec<String>;
}

/// A regular file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Its path without links, and without a slash in front.
    pub path: String,
    /// Permission bits, set-user-ID and set-group-ID.
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Whether it has extended attributes, which may be capabilities.
    pub has_attributes: bool,
}

/// The libraries that programs of the list need, without version.
const LIBRARIES: [&str; 47] = [
    "libacl",
    "libapk",
    "libapt-pkg",
    "libapt-private",
    "libattr",
    "libblkid",
    "libbz2",
    "libc",
    "libcap",
    "libcap-ng",
    "libcrypt",
    "libcrypto",
    "libdl",
    "libffi",
    "libgcc_s",
    "libgcrypt",
    "libgmp",
    "libgnutls",
    "libgpg-error",
    "libhogweed",
    "libidn2",
    "liblz4",
    "liblzma",
    "libm",
    "libmd",
    "libmount",
    "libnettle",
    "libnsl",
    "libp11-kit",
    "libpcre",
    "libpcre2-8",
    "libpthread",
    "libresolv",
    "librt",
    "libseccomp",
    "libselinux",
    "libssl",
    "libstdc++",
    "libsystemd",
    "libtasn1",
    "libtinfo",
    "libudev",
    "libunistring",
    "libuuid",
    "libxxhash",
    "libz",
    "libzstd",
];

/// The most bytes of a file that is read: the largest library in use has a third of that.
const MAX_FILE: u64 = 16 << 20;

/// The programs that may get twins, and the files to read for that.
#[derive(Debug)]
pub struct Candidates {
    pub(super) arch: Arch,
    pub(super) host: Arch,
    pub(super) programs: Vec<Candidate>,
    /// The packages of both images.
    pub(super) database: Database,
    /// The sibling's C library, which decides how libraries are found.
    pub(super) libc: Libc,
    /// The sibling's libraries by name, with their paths.
    pub(super) libraries: BTreeMap<String, String>,
    pub(super) loader: String,
    /// The files of perl's own library, relative to its folder; empty if perl gets no twin.
    pub(super) perl: PerlLibrary,
}

/// A program that may get a twin.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) program: Program,
    /// Its path in both images.
    pub(super) path: String,
    /// The names that it may be called by, see [`super::Twin::names`].
    pub(super) names: Vec<String>,
}

/// A C library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Libc {
    /// Its loader looks into a cache of libraries.
    Glibc,
    /// Library and loader are one file, which looks into a few folders.
    Musl,
}

/// The files of the folder `perl-base`.
#[derive(Debug, Default)]
pub(super) struct PerlLibrary {
    /// The files of the image that do not depend on the processor, by their paths in the folder.
    pub(super) modules: BTreeMap<String, String>,
    /// The sibling's files that do.
    pub(super) objects: BTreeMap<String, String>,
}

impl Candidates {
    /// Looks for programs that may get twins in an image of `arch`. `sibling` is the image for this
    /// machine; `None` if there are none.
    pub fn find(arch: Arch, image: &dyn ImageFiles, sibling: &dyn ImageFiles) -> Option<Self> {
        let host = Arch::host()?;
        let mut loaders = loaders(host)?.into_iter();
        let found = loaders.find_map(|(libc, path)| Some((libc, sibling.find(path)?.path)));
        let (libc, loader) = found?;
        let is_small = |facts: &Facts| facts.size <= MAX_FILE;
        let has = |files: &dyn ImageFiles, database: &Database| {
            files.find(database.path()).is_some_and(|facts| is_small(&facts))
        };
        let mut databases = Database::ALL.into_iter();
        let database = databases.find(|known| has(image, known) && has(sibling, known))?;
        let perl = PerlLibrary::find(arch, host, image, sibling);
        let mut programs = Vec::new();
        for program in programs::programs(arch) {
            let both = image.find(program.path).zip(sibling.find(program.path));
            let Some((ours, theirs)) = both else { continue };
            let is_plain = |facts: &Facts| {
                facts.mode & 0o7777 == 0o755 && !facts.has_attributes && is_small(facts)
            };
            let has_library =
                !program.is_perl || !perl.objects.is_empty() && fuses_multiplications();
            if ours.path == theirs.path && is_plain(&ours) && is_plain(&theirs) && has_library {
                let path = ours.path;
                let names = names(&program, &path, image, sibling);
                programs.extend(names.map(|names| Candidate { program, path, names }));
            }
        }
        let libraries = libraries(host, libc, sibling);
        let is_any = !programs.is_empty();
        is_any.then_some(Self { arch, host, programs, database, libc, libraries, loader, perl })
    }

    /// Returns the paths of the image's files to read.
    pub fn image_paths(&self) -> BTreeSet<String> {
        let modules = self.perl.modules.values().cloned();
        let database = self.database.path().to_owned();
        self.program_paths().chain(modules).chain([database]).collect()
    }

    /// Returns the paths of the sibling's files to read.
    pub fn sibling_paths(&self) -> BTreeSet<String> {
        let libraries = self.libraries.values().chain(self.perl.objects.values()).cloned();
        let others = [self.database.path().to_owned(), self.loader.clone()];
        self.program_paths().chain(libraries).chain(others).collect()
    }

    fn program_paths(&self) -> impl Iterator<Item = String> {
        self.programs.iter().map(|candidate| candidate.path.clone())
    }
}

impl PerlLibrary {
    fn find(arch: Arch, host: Arch, image: &dyn ImageFiles, sibling: &dyn ImageFiles) -> Self {
        let files = |files: &dyn ImageFiles, arch: Arch, objects: bool| {
            let folder = perl_folder(arch);
            let all = folder.iter().flat_map(|folder| files.below(folder));
            let wanted = all.filter(|path| path.ends_with(".so") == objects);
            let found = wanted.filter_map(|path| {
                let facts = files.find(&format!("{}/{path}", folder.as_deref()?))?;
                (facts.size <= MAX_FILE).then_some((path, facts.path))
            });
            found.collect::<BTreeMap<_, _>>()
        };
        Self { modules: files(image, arch, false), objects: files(sibling, host, true) }
    }
}

/// Returns whether the C library computes logarithms and the like on this machine as it does on
/// others: a multiplication and a sum in one step. perl shows all digits of the result.
///
/// **Source** — glibc, `sysdeps/x86_64/fpu/multiarch/ifunc-fma.h`.
fn fuses_multiplications() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("fma")
        && std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    return false;
}

/// Returns the names that a program may be called by, see [`super::Twin::names`]; `None` if it is
/// another program than the list means, as one is that has its name by a link alone.
fn names(
    program: &Program,
    path: &str,
    image: &dyn ImageFiles,
    sibling: &dyn ImageFiles,
) -> Option<Vec<String>> {
    let own = path.rsplit('/').next()?;
    if own != program.path.rsplit('/').next()? {
        return None;
    }
    if !program.is_multi_call {
        return Some(Vec::new());
    }
    let leads_here = |files: &dyn ImageFiles, name: &str| {
        let mut places = ["bin", "sbin", "usr/bin", "usr/sbin"].into_iter();
        places.any(|folder| {
            files.find(&format!("{folder}/{name}")).is_some_and(|facts| facts.path == path)
        })
    };
    let applets = programs::applets();
    let applets = applets.filter(|name| leads_here(image, name) && leads_here(sibling, name));
    let mut names = vec![own.to_owned()];
    names.extend(applets.map(str::to_owned));
    (names.len() > 1).then_some(names)
}

/// Returns the libraries of the list by their names.
fn libraries(host: Arch, libc: Libc, sibling: &dyn ImageFiles) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(triplet) = triplet(host) else { return found };
    let folders = match libc {
        Libc::Glibc => [format!("lib/{triplet}"), format!("usr/lib/{triplet}")],
        Libc::Musl => ["lib", "usr/lib"].map(str::to_owned),
    };
    for folder in &folders {
        for name in sibling.names(folder) {
            let stem = name.split_once(".so.").map_or("", |(stem, _)| stem);
            if LIBRARIES.contains(&stem)
                && let Some(facts) = sibling.find(&format!("{folder}/{name}"))
                && facts.size <= MAX_FILE
            {
                found.entry(name).or_insert(facts.path);
            }
        }
    }
    found
}

/// Returns perl's folder for an architecture.
pub(super) fn perl_folder(arch: Arch) -> Option<String> {
    Some(format!("usr/lib/{}/perl-base", triplet(arch)?))
}

/// Returns the name that Debian gives to an architecture's folders.
///
/// **Source** — Debian wiki, "Multiarch/Tuples".
pub(super) fn triplet(arch: Arch) -> Option<&'static str> {
    Some(match arch {
        Arch::Amd64 => "x86_64-linux-gnu",
        Arch::Arm64 => "aarch64-linux-gnu",
        Arch::Arm => "arm-linux-gnueabihf",
        Arch::I386 => "i386-linux-gnu",
        Arch::Ppc64le => "powerpc64le-linux-gnu",
        Arch::S390x => "s390x-linux-gnu",
        Arch::Riscv64 => "riscv64-linux-gnu",
        _ => return None,
    })
}

/// Returns the paths of the loaders.
pub(super) fn loaders(host: Arch) -> Option<[(Libc, &'static str); 2]> {
    let (glibc, musl) = match host {
        Arch::Amd64 => ("lib64/ld-linux-x86-64.so.2", "lib/ld-musl-x86_64.so.1"),
        Arch::Arm64 => ("lib/ld-linux-aarch64.so.1", "lib/ld-musl-aarch64.so.1"),
        _ => return None,
    };
    Some([(Libc::Glibc, glibc), (Libc::Musl, musl)])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths, and the files that they lead to.
    struct Files(BTreeMap<&'static str, &'static str>);

    impl Files {
        fn new(paths: &[(&'static str, &'static str)]) -> Self {
            let host = Arch::host().unwrap();
            let loader = loaders(host).unwrap()[0].1;
            let always = [(loader, loader), ("var/lib/dpkg/status", "var/lib/dpkg/status")];
            Self(paths.iter().copied().chain(always).collect())
        }
    }

    impl ImageFiles for Files {
        fn find(&self, path: &str) -> Option<Facts> {
            let path = (*self.0.get(path)?).to_owned();
            Some(Facts { path, mode: 0o755, size: 1, has_attributes: false })
        }

        fn names(&self, _folder: &str) -> Vec<String> {
            Vec::new()
        }

        fn below(&self, _folder: &str) -> Vec<String> {
            Vec::new()
        }
    }

    fn found(image: &Files, sibling: &Files) -> Vec<(String, Vec<String>)> {
        let found = Candidates::find(Arch::Riscv64, image, sibling);
        let programs = found.map(|found| found.programs).unwrap_or_default();
        programs.into_iter().map(|candidate| (candidate.path, candidate.names)).collect()
    }

    /// As the coreutils of uutils are: `printf` is a name of the same file, and on no list.
    #[test]
    fn a_link_to_another_program_is_none_of_the_list() {
        let links = ["bin/cat", "bin/ls", "usr/bin/printf"];
        let mut paths = links.map(|link| (link, "usr/bin/coreutils")).to_vec();
        paths.push(("bin/sed", "usr/bin/sed"));
        let files = Files::new(&paths);
        assert_eq!(found(&files, &files), [("usr/bin/sed".to_owned(), Vec::new())]);
    }

    #[test]
    fn names_of_busybox_are_links_to_it_in_both_images() {
        let busybox = |names: &[&'static str]| {
            let links = names.iter().map(|name| (*name, "bin/busybox"));
            Files::new(&links.chain([("bin/busybox", "bin/busybox")]).collect::<Vec<_>>())
        };
        let image = busybox(&["bin/sh", "bin/uname", "usr/bin/tar", "bin/cat"]);
        let sibling = busybox(&["bin/sh", "bin/uname", "bin/tar"]);
        let names = ["busybox", "sh", "tar"].map(str::to_owned).to_vec();
        assert_eq!(found(&image, &sibling), [("bin/busybox".to_owned(), names)]);
        assert_eq!(found(&image, &busybox(&["bin/uname"])), [], "none of the list");
    }
}
