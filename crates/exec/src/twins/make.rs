//! Making a set of twins from the contents of both images' files.

use std::collections::{BTreeMap, BTreeSet};

use super::candidates::{Candidate, Candidates, Libc, perl_folder, triplet};
use super::elf::{Elf, MAGIC};
use super::programs::Program;
use super::set::{Arguments, LOADER, NAMES, Origin, ROOT, SetFile, Source, Twin, TwinSet};
use super::{apt, library_cache};
use crate::arch::Arch;

/// The contents of an image's files by path.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// The file of the emulator in a set.
pub(super) const EMULATOR: &str = "emulator";

/// The package whose architecture its programs are told.
const APT: &str = "apt";

/// Files that make a loader behave in another way; absent in every step with twins.
pub(super) const PRELOAD: &str = "/etc/ld.so.preload";

/// The file that says for which architecture apk installs, and the one that may give it options.
///
/// **Source** — apk(8), "FILES".
const APK_ARCHITECTURE: &str = "/etc/apk/arch";
const APK_CONFIG: &str = "/etc/apk/config";

/// The beginning of the names by which programs need musl's library. Its loader takes every such name
/// for itself.
///
/// **Source** — musl, `ldso/dynlink.c`, `load_library`.
const MUSL_LIBC: &str = "libc.";

/// The image for this machine, and what its programs are told.
struct Sibling<'a> {
    contents: &'a Contents,
    /// Debian's names of its architecture and of the other image's, as the packages of apt say.
    architectures: Option<(&'a str, &'a str)>,
}

impl Candidates {
    /// Makes the twins. `emulator` is the program that runs the others, see
    /// [`Emulator::bytes`](crate::emulator::Emulator::bytes); its file is the same for all.
    ///
    /// **Shape** — `None` if no program gets a twin: versions differ, or files have another form than
    /// is known here.
    pub fn make(
        &self,
        image: &Contents,
        sibling: &Contents,
        emulator: Vec<u8>,
    ) -> Option<(TwinSet, Vec<SetFile>)> {
        let database = self.database;
        let (ours, theirs) = (text(image, database.path())?, text(sibling, database.path())?);
        let (ours, theirs) = (database.parse(ours), database.parse(theirs));
        let architectures = theirs.architecture(APT).zip(ours.architecture(APT));
        let loader = sibling.get(&self.loader)?;
        let loader = match self.libc {
            Libc::Glibc => library_cache::loader_with_own_cache(loader, Origin::Sibling)?,
            Libc::Musl => library_cache::loader_with_own_folder(loader)?,
        };
        Elf::parse(&loader).filter(|elf| elf.is_mappable())?;
        let mut files = vec![bytes(EMULATOR.to_owned(), emulator)];
        let sibling = Sibling { contents: sibling, architectures };
        let (mut twins, mut magics, mut needed) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for Candidate { program, path, names } in &self.programs {
            if !ours.agree(&theirs, program.package) {
                continue;
            }
            let Some((contents, libraries)) = self.twin(program, path, &sibling) else { continue };
            // A wrong platform in an index is all that it takes to have others.
            let own = image.get(path).filter(|bytes| self.arch.pattern().matches(bytes));
            let Some(magic) = own.and_then(|bytes| bytes.get(MAGIC)) else { continue };
            // Two names of one program: the kernel cannot tell them apart.
            if !magics.insert(magic.to_vec()) {
                continue;
            }
            needed.extend(libraries);
            files.push(bytes(format!("{ROOT}/{path}"), contents));
            let name = format!("{NAMES}/{path}");
            files.push(SetFile { path: name, source: Source::Link(EMULATOR.to_owned()) });
            twins.push(Twin {
                path: path.clone(),
                magic: magic.to_vec(),
                build: None,
                names: names.clone(),
                arguments: program.arguments,
                absent: self.absent(program),
                present: present(program),
                texts: Vec::new(),
                exchanged: None,
            });
        }
        if twins.is_empty() {
            return None;
        }
        files.extend(self.library_files(loader, &needed, &sibling)?);
        files.extend(self.perl_files(image, sibling.contents));
        let architecture = self.arch.oci_name().to_owned();
        let (little, origin) = (self.arch.is_little_endian(), Origin::Sibling);
        let set = TwinSet { architecture, little, origin, twins };
        Some((set, files))
    }

    /// Returns the contents of a program's twin, and the libraries that it needs with all that these
    /// need; `None` if it cannot be one.
    fn twin(
        &self,
        program: &Program,
        path: &str,
        sibling: &Sibling<'_>,
    ) -> Option<(Vec<u8>, BTreeSet<String>)> {
        let contents = sibling.contents.get(path)?;
        let elf = Elf::parse(contents)?;
        if elf.machine != self.host.machine() || elf.is_fixed || !elf.is_mappable() {
            return None;
        }
        let mut libraries = BTreeSet::new();
        let mut open = elf.needed()?;
        while let Some(name) = open.pop() {
            // The loader is one of them.
            let is_loader = match self.libc {
                Libc::Glibc => self.loader.rsplit('/').next() == Some(name),
                Libc::Musl => name.starts_with(MUSL_LIBC),
            };
            if is_loader || libraries.contains(name) {
                continue;
            }
            if apt::is_told(name) {
                self.library(name, sibling)?;
            }
            let library = Elf::parse(sibling.contents.get(self.libraries.get(name)?)?)?;
            libraries.insert(name.to_owned());
            open.extend(library.needed()?);
        }
        let mut contents = contents.clone();
        if program.is_perl {
            self.use_own_folder(&mut contents)?;
        }
        Some((contents, libraries))
    }

    /// Returns the contents of a library; `None` if it cannot be told the step's architecture.
    fn library(&self, name: &str, sibling: &Sibling<'_>) -> Option<Vec<u8>> {
        let contents = sibling.contents.get(self.libraries.get(name)?)?;
        if !apt::is_told(name) {
            return Some(contents.clone());
        }
        let (own, other) = sibling.architectures?;
        apt::tell(name, contents, own, other)
    }

    /// Returns the loader, what it finds libraries by, and the libraries.
    fn library_files(
        &self,
        loader: Vec<u8>,
        needed: &BTreeSet<String>,
        sibling: &Sibling<'_>,
    ) -> Option<Vec<SetFile>> {
        let mut files = vec![bytes(format!("{ROOT}/{LOADER}"), loader)];
        if self.libc == Libc::Glibc {
            let names: Vec<&str> = needed.iter().map(String::as_str).collect();
            let cache = library_cache::cache(self.host.machine(), &names, Origin::Sibling);
            files.push(bytes(format!("{ROOT}/cache"), cache));
        }
        for name in needed {
            files.push(bytes(format!("{ROOT}/lib/{name}"), self.library(name, sibling)?));
        }
        Some(files)
    }

    /// Makes perl look for its library in the folder of the set.
    fn use_own_folder(&self, perl: &mut [u8]) -> Option<()> {
        let usual = format!("/{}\0", perl_folder(self.host)?);
        // Its length is compiled in.
        let own = Origin::Sibling.path_of_length("perl-base\0", usual.len())?;
        let places: Vec<usize> = memchr::memmem::find_iter(perl, usual.as_bytes()).collect();
        for place in &places {
            perl.get_mut(*place..*place + own.len())?.copy_from_slice(own.as_bytes());
        }
        (!places.is_empty()).then_some(())
    }

    /// Returns perl's library: modules of the image, and objects of its sibling.
    fn perl_files(&self, image: &Contents, sibling: &Contents) -> Vec<SetFile> {
        let modules = self.perl.modules.iter().map(|file| (file, image));
        let objects = self.perl.objects.iter().map(|file| (file, sibling));
        let file = |((name, path), contents): ((&String, &String), &Contents)| {
            Some(bytes(format!("{ROOT}/perl-base/{name}"), contents.get(path)?.clone()))
        };
        modules.chain(objects).filter_map(file).collect()
    }

    /// Returns the paths that must be absent where a twin runs.
    fn absent(&self, program: &Program) -> Vec<String> {
        let mut absent = match self.libc {
            Libc::Glibc => vec![PRELOAD.to_owned()],
            Libc::Musl => path_file(self.host).into_iter().collect(),
        };
        if program.arguments == Arguments::ApkChange {
            absent.push(APK_CONFIG.to_owned());
        }
        if program.is_perl
            && let Some(triplet) = triplet(self.arch)
        {
            let folders = ["usr/lib", "usr/local/lib"];
            absent.extend(folders.map(|folder| format!("/{folder}/{triplet}/perl")));
            absent.push(format!("/usr/lib/{triplet}/perl5"));
        }
        absent
    }
}

/// Returns the path of the file in which musl's loader may find other folders than those it knows.
///
/// **Source** — musl, `ldso/dynlink.c`, `load_library`.
fn path_file(host: Arch) -> Option<String> {
    let (machine, _) = triplet(host)?.split_once('-')?;
    Some(format!("/etc/ld-musl-{machine}.path"))
}

/// Returns the paths that must be there where a twin runs.
fn present(program: &Program) -> Vec<String> {
    let is_apk = program.arguments == Arguments::ApkChange;
    is_apk.then(|| APK_ARCHITECTURE.to_owned()).into_iter().collect()
}

fn text<'a>(contents: &'a Contents, path: &str) -> Option<&'a str> {
    std::str::from_utf8(contents.get(path)?).ok()
}

pub(super) fn bytes(path: String, bytes: Vec<u8>) -> SetFile {
    SetFile { path, source: Source::Bytes(bytes) }
}
