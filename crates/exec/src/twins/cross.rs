//! Compilers that run natively: the distribution's cross compilers in place of those of a step.
//!
//! They are no files of a base image, so [`SCRIPT`] fetches both from the distribution's archive, in the
//! image for this machine: the compilers of the step's architecture, by which the kernel and the starter
//! recognise these in a step wherever it got them, and the cross compilers of the same version.
//!
//! ```text
//! SCRIPT, arguments ── a command in the sibling ── Fetched files
//! Fetched files     ── make ── SetFile ... and TwinSet
//! ```
//!
//! A linker for its own machine looks for the libraries of libraries in the folders of `/etc/ld.so.conf`, a
//! cross linker does not: it runs where these are the usual ones, which both look into. It gets the plugin
//! of the cross compiler in place of that which GCC names, a library of the other processor.
//!
//! **Source** — ld(1), `-rpath-link` and `-plugin`; GCC manual, "Directory Options"; Debian's packages
//! `gcc-14-cross`, `libc-bin` and `libc6`.

mod headers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::candidates::{loaders, triplet};
use super::elf::{Elf, MAGIC};
use super::library_cache;
use super::make::{EMULATOR, PRELOAD, bytes};
use super::packages;
use super::set::{
    Arguments, LOADER, NAMES, Origin, ProgramBuild, ROOT, SetFile, Source, Twin, TwinSet,
};
use crate::arch::Arch;

/// The script for `/bin/sh` that fetches the compilers. Its comment says what it writes.
pub const SCRIPT: &str = include_str!("cross/fetch.sh");

/// A file that the script wrote.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its contents.
    pub contents: Vec<u8>,
    /// Its modification time: seconds since 1970.
    pub modified: i64,
}

/// The files that the script wrote, by their paths in its folder.
pub type FetchedFiles = BTreeMap<String, Fetched>;

/// The cross compilers cannot take the place of others.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrossError {
    /// The distribution has another version of the cross compiler, or none.
    #[error(
        "{native} {}, and its cross compiler {cross} {}",
        is(native_version),
        is(cross_version)
    )]
    Versions {
        /// The package of the compiler.
        native: String,
        /// Its version; `none` if there is none.
        native_version: String,
        /// The package of the cross compiler.
        cross: String,
        /// Its version; `none` if there is none.
        cross_version: String,
    },
    /// A file is not of a form that is known here.
    #[error("{0} is of an unknown form")]
    Form(String),
}

fn is(version: &str) -> String {
    if version == NONE { "does not exist".to_owned() } else { format!("is {version}") }
}

/// The plugin of the linker.
const PLUGIN: &str = "liblto_plugin.so";

/// The version of a package that there is not.
const NONE: &str = "none";

/// Returns the arguments of the script for compilers of an architecture, after the folder that it writes to;
/// `None` if no distribution has those.
pub fn arguments(arch: Arch) -> Option<[&'static str; 3]> {
    let host = Arch::host()?;
    let (_, loader) = loaders(host)?[0];
    let name = match arch {
        Arch::Amd64 => "amd64",
        Arch::Arm64 => "arm64",
        Arch::Arm => "armhf",
        Arch::Ppc64le => "ppc64el",
        Arch::S390x => "s390x",
        Arch::Riscv64 => "riscv64",
        _ => return None,
    };
    Some([name, triplet(arch)?, loader])
}

/// Makes the set of the compilers of an architecture. `emulator` is as for
/// [`Candidates::make`](super::Candidates::make).
pub fn make(
    arch: Arch,
    files: &FetchedFiles,
    emulator: Vec<u8>,
) -> Result<(TwinSet, Vec<SetFile>), CrossError> {
    let form = |name: &str| CrossError::Form(name.to_owned());
    check_versions(files)?;
    let host = Arch::host().ok_or_else(|| form("this machine"))?;
    let contents = |name: &str| files.get(name).map(|file| &*file.contents);
    let loader = contents(LOADER)
        .and_then(|loader| library_cache::loader_with_own_cache(loader, Origin::Cross))
        .filter(|loader| Elf::parse(loader).is_some_and(|elf| elf.is_mappable()))
        .ok_or_else(|| form(LOADER))?;
    let libraries =
        files.iter().filter_map(|(path, file)| Some((path.strip_prefix("lib/")?, file)));
    let names: Vec<&str> = libraries.clone().map(|(name, _)| name).collect();
    let cache = library_cache::cache(host.machine(), &names, Origin::Cross);
    let mut set = vec![
        bytes(EMULATOR.to_owned(), emulator),
        bytes(format!("{ROOT}/{LOADER}"), loader),
        bytes(format!("{ROOT}/cache"), cache),
    ];
    for (name, file) in libraries {
        set.push(bytes(format!("{ROOT}/lib/{name}"), file.contents.clone()));
    }
    let (mut twins, mut plugin) = (Vec::new(), "");
    for (path, file) in files {
        if let Some(path) = path.strip_prefix("here/")
            && path.ends_with(PLUGIN)
        {
            plugin = path;
            set.push(bytes(format!("{ROOT}/{PLUGIN}"), file.contents.clone()));
        }
    }
    for (path, theirs) in files {
        let Some(path) = path.strip_prefix("there/") else { continue };
        let ours = contents(&format!("here/{path}")).ok_or_else(|| form(path))?;
        let made = program(arch, path, theirs, ours, plugin);
        let (twin, contents) = made.ok_or_else(|| form(path))?;
        set.push(bytes(format!("{ROOT}/{path}"), contents));
        let name = format!("{NAMES}/{path}");
        set.push(SetFile { path: name, source: Source::Link(EMULATOR.to_owned()) });
        twins.push(twin);
    }
    if twins.is_empty() {
        return Err(form("the package of the compiler"));
    }
    let (architecture, little) = (arch.oci_name().to_owned(), arch.is_little_endian());
    Ok((TwinSet { architecture, little, origin: Origin::Cross, twins }, set))
}

/// Checks that compilers and cross compilers have the same versions.
fn check_versions(files: &FetchedFiles) -> Result<(), CrossError> {
    const FILE: &str = "versions";
    let text = files.get(FILE).and_then(|file| std::str::from_utf8(&file.contents).ok());
    let form = || CrossError::Form(FILE.to_owned());
    let text = text.filter(|text| !text.is_empty()).ok_or_else(form)?;
    for line in text.lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        let [native, native_version, cross, cross_version] = columns[..] else {
            return Err(form());
        };
        if native_version == NONE || packages::source(native_version) != of_cross(cross_version) {
            let owned = str::to_owned;
            return Err(CrossError::Versions {
                native: owned(native),
                native_version: owned(native_version),
                cross: owned(cross),
                cross_version: owned(cross_version),
            });
        }
    }
    Ok(())
}

/// Returns the version of the compiler that a cross compiler was made of.
fn of_cross(version: &str) -> &str {
    let version = packages::source(version);
    match version.rsplit_once("cross") {
        Some((source, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => source,
        _ => version,
    }
}

/// Returns a program's twin and its contents.
fn program(
    arch: Arch,
    path: &str,
    theirs: &Fetched,
    ours: &[u8],
    plugin: &str,
) -> Option<(Twin, Vec<u8>)> {
    let elf = Elf::parse(ours)?;
    if elf.machine != Arch::host()?.machine() || !elf.is_mappable() {
        return None;
    }
    let foreign = &*theirs.contents;
    let magic = foreign.get(MAGIC).filter(|_| arch.pattern().matches(foreign))?.to_vec();
    let (id_at, id) = build_id(foreign, arch.is_little_endian())?;
    let (size, modified) = (foreign.len() as u64, theirs.modified);
    let mut absent = vec![PRELOAD.to_owned()];
    let triplet = triplet(arch)?;
    let (mut contents, mut arguments) = (None, Arguments::Any);
    let (mut texts, mut exchanged) = (Vec::new(), None);
    match path.rsplit('/').next()? {
        "cc1" | "cc1plus" => {
            let (compiler, folder) = headers::with_folders_of(ours, foreign, triplet)?;
            (contents, arguments) = (Some(compiler), Arguments::Compile);
            absent.push(folder);
        }
        name if name.ends_with("-ld.bfd") => {
            arguments = Arguments::Link;
            texts = usual_folders(triplet);
            exchanged = Some(own_plugin(plugin)?);
        }
        _ => {}
    }
    let twin = Twin {
        path: path.to_owned(),
        magic,
        build: Some(ProgramBuild { size, modified, id_at, id }),
        names: Vec::new(),
        arguments,
        absent,
        present: Vec::new(),
        texts,
        exchanged,
    };
    Some((twin, contents.unwrap_or_else(|| ours.to_vec())))
}

/// Returns the files of `/etc/ld.so.conf` as Debian has them.
fn usual_folders(triplet: &str) -> Vec<(String, String)> {
    let folder = "/etc/ld.so.conf.d";
    let local = "# libc default configuration\n/usr/local/lib\n";
    let multiarch = format!(
        "# Multiarch support\n/usr/local/lib/{triplet}\n/lib/{triplet}\n/usr/lib/{triplet}\n"
    );
    vec![
        ("/etc/ld.so.conf".to_owned(), format!("include {folder}/*.conf\n\n")),
        (format!("{folder}/"), format!("libc.conf {triplet}.conf ")),
        (format!("{folder}/libc.conf"), local.to_owned()),
        (format!("{folder}/{triplet}.conf"), multiarch),
    ]
}

/// Returns a plugin's path in the step, and the path of the cross compiler's.
fn own_plugin(plugin: &str) -> Option<(String, String)> {
    let from = format!("/{plugin}");
    let to = Origin::Cross.path_of_length(PLUGIN, from.len())?;
    Some((from, to))
}

/// Returns place and contents of a program's build ID, which is in its first page.
///
/// **Source** — elf(5), "Notes"; ld(1), `--build-id`.
fn build_id(program: &[u8], little: bool) -> Option<(u64, Vec<u8>)> {
    const SIZE: usize = 20;
    // The length of the name, that of the contents, NT_GNU_BUILD_ID, the name.
    let words = [4, SIZE as u32, 3];
    let words = words.map(|word| if little { word.to_le_bytes() } else { word.to_be_bytes() });
    let header = [words.as_flattened(), b"GNU\0"].concat();
    let page = program.get(..4096)?;
    let start = memchr::memmem::find(page, &header)? + header.len();
    Some((start as u64, page.get(start..start + SIZE)?.to_vec()))
}
