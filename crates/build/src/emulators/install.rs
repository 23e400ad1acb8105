//! Installing emulators into the store.

use std::fs::File;
use std::sync::Arc;

use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::Emulator;
use xbuild_exec::probe::{Gap, Proof, prove};
use xbuild_store::{EmulatorRecord, StoreError};

use super::files::{Files, FoundFile};
use super::source::EmulatorSource;
use super::{image, local};
use crate::error::InstallError;
use crate::events::Events;
use crate::machine::Machine;
use crate::wiring;

/// An emulator that was installed.
#[derive(Debug)]
pub struct Installation {
    /// The architecture whose programs it runs.
    pub arch: Arch,
    /// Its record in the store.
    pub record: EmulatorRecord,
    /// Why it could not be tried out here; `None` if it has run a test program.
    pub untried: Option<Gap>,
}

/// The outcome of an installation.
#[derive(Debug)]
pub struct Installations {
    /// The emulators that were installed; at least one.
    pub installed: Vec<Installation>,
    /// Files that were left out because they cannot serve. None if architectures were asked for.
    pub left_out: Vec<InstallError>,
}

/// A file that can serve as an emulator.
struct Usable<'a> {
    file: &'a FoundFile,
    emulator: Emulator,
}

/// Installs emulators for `wanted` architectures, or for all that the source has if there are none.
/// An installed emulator comes before all others from then on, in place of an earlier one.
///
/// Each runs a test program first, where this machine lets anything be tried out.
///
/// **Errors** — if architectures are asked for and one cannot be had, none is installed.
pub fn install(
    machine: &Machine,
    source: &EmulatorSource,
    wanted: &[Arch],
    events: &Arc<dyn Events>,
) -> Result<Installations, InstallError> {
    let host = Arch::host();
    if let Some(native) = wanted.iter().find(|arch| Some(**arch) == host) {
        return Err(InstallError::Native { architecture: native.oci_name() });
    }
    let is_wanted =
        |arch: &Arch| Some(*arch) != host && (wanted.is_empty() || wanted.contains(arch));
    let architectures: Vec<Arch> = Arch::ALL.into_iter().filter(is_wanted).collect();
    let store = wiring::store(machine, events)?;
    let files = match source {
        EmulatorSource::SearchPath => local::in_search_path(&machine.search_path),
        EmulatorSource::Place(path) => local::at(path, wanted.first().copied())?,
        EmulatorSource::Image(name) => image::fetch(machine, &store, name, &architectures, events)?,
    };
    let (usable, mut left_out) = load(&files, &architectures, !wanted.is_empty())?;
    let emulators: Vec<Emulator> = usable.iter().map(|usable| usable.emulator.clone()).collect();
    let mut proven = Vec::new();
    let folder = store.temp_dir("trial")?;
    for (usable, proof) in usable.into_iter().zip(prove(&emulators, folder.path())) {
        match proof {
            Proof::Works => proven.push((usable, None)),
            Proof::Untried(gap) => proven.push((usable, Some(gap))),
            Proof::Fails(gap) if wanted.is_empty() => left_out.push(InstallError::Fails(gap)),
            Proof::Fails(gap) => return Err(InstallError::Fails(gap)),
        }
    }
    if proven.is_empty() && !left_out.is_empty() {
        return Err(left_out.remove(0));
    }
    let mut installed = Vec::new();
    for (Usable { file, emulator }, untried) in proven {
        let path = store.root().join(&file.path);
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, program) =
            opened.map_err(|error| InstallError::Place { path: file.shown.clone(), error })?;
        let record = EmulatorRecord {
            name: emulator.name,
            program: emulator.digest,
            size,
            version: emulator.version,
            source: files.source(file),
            image: files.image.as_ref().map(|(_, digest)| digest.clone()),
        };
        store.put_emulator(file.arch.oci_name(), &record, program).map_err(changed(file))?;
        installed.push(Installation { arch: file.arch, record, untried });
    }
    Ok(Installations { installed, left_out })
}

/// Says that a file changed between its trial and its copy.
fn changed(file: &FoundFile) -> impl FnOnce(StoreError) -> InstallError {
    let path = file.shown.clone();
    move |error| match error {
        StoreError::Mismatch { .. } => InstallError::Changed { path },
        error => error.into(),
    }
}

/// Loads the first file of each architecture that will do. If they are `all` wanted, each must have
/// one; else files that will not do are returned as errors.
fn load<'a>(
    files: &'a Files,
    architectures: &[Arch],
    all: bool,
) -> Result<(Vec<Usable<'a>>, Vec<InstallError>), InstallError> {
    let (mut usable, mut left_out, mut missing) = (Vec::new(), Vec::new(), Vec::new());
    for arch in architectures {
        let mut first_error = None;
        let mut candidates = files.found.iter().filter(|file| file.arch == *arch).peekable();
        if candidates.peek().is_none() {
            missing.push(arch.oci_name());
            continue;
        }
        let loaded = candidates.find_map(|file| match file.load() {
            Ok(emulator) => Some(Usable { file, emulator }),
            Err(error) => {
                first_error.get_or_insert(error);
                None
            }
        });
        usable.extend(loaded);
        if let Some(source) =
            first_error.filter(|_| usable.last().is_none_or(|u| u.file.arch != *arch))
        {
            left_out.push(InstallError::Unusable { place: files.place.clone(), source });
        }
    }
    let has_none = usable.is_empty() && left_out.is_empty();
    if has_none || (all && !missing.is_empty()) {
        let architectures = if all { missing } else { Vec::new() };
        let (place, instead) = (files.place.clone(), files.instead());
        return Err(InstallError::NotFound { place, architectures, instead });
    }
    if all && !left_out.is_empty() {
        return Err(left_out.remove(0));
    }
    Ok((usable, left_out))
}
