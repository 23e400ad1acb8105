//! The files of a source that may be emulators.

use std::path::PathBuf;

use xbuild_exec::EmulationError;
use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::Emulator;
use xbuild_model::Digest;
use xbuild_store::TempFolder;

/// The folders of an image, or below a folder, where emulators are looked for.
pub(super) const FOLDERS: [&str; 4] = ["usr/bin", "usr/local/bin", "bin", ""];

/// The most names of other files that a message lists.
const MAX_NAMES: usize = 30;

/// The files of a source that may be emulators.
pub(super) struct Files {
    /// The source, for display.
    pub(super) place: String,
    /// The name and the manifest of the image, if it is one.
    pub(super) image: Option<(String, Digest)>,
    /// The files, those of one architecture in the order in which they are tried.
    pub(super) found: Vec<FoundFile>,
    /// The names of all files there that begin like an emulator's.
    names: Vec<String>,
    /// Holds the files of an image.
    pub(super) temp: Option<TempFolder>,
}

/// A file that may be an emulator.
pub(super) struct FoundFile {
    pub(super) arch: Arch,
    /// The path in the source, for display.
    pub(super) shown: PathBuf,
    /// The path to read it at.
    pub(super) path: PathBuf,
}

impl Files {
    /// Returns a source without files. `names` are the names of all files there.
    pub(super) fn new(place: String, names: impl Iterator<Item = String>) -> Self {
        let mut names: Vec<String> = names.filter(|name| name.starts_with("qemu-")).collect();
        names.sort();
        names.dedup();
        Self { place, image: None, found: Vec::new(), names, temp: None }
    }

    /// Returns where a file came from, for its record.
    pub(super) fn source(&self, file: &FoundFile) -> String {
        let name = self.image.as_ref().map(|(name, _)| name.clone());
        name.unwrap_or_else(|| file.shown.display().to_string())
    }

    /// Returns what there is instead of a missing emulator, for an error.
    pub(super) fn instead(&self) -> String {
        let names = self.names.iter().take(MAX_NAMES).cloned().collect::<Vec<_>>().join(", ");
        match self.names.len() {
            0 => "no file there has a name that begins with qemu-".to_owned(),
            1..=MAX_NAMES => format!("it has {names}"),
            count => format!("it has {names} and {} more", count - MAX_NAMES),
        }
    }
}

impl FoundFile {
    /// Loads the file.
    ///
    /// **Errors** — those of [`Emulator::load`], with the path in the source.
    pub(super) fn load(&self) -> Result<Emulator, EmulationError> {
        let path = self.shown.display().to_string();
        let mut emulator = Emulator::load(self.arch, &self.path).map_err(|error| match error {
            EmulationError::Unusable { reason, .. } => EmulationError::Unusable { path, reason },
            EmulationError::Load { source, .. } => EmulationError::Load { path, source },
            other => other,
        })?;
        emulator.name = self.shown.file_name().unwrap_or_default().to_string_lossy().into_owned();
        emulator.path.clone_from(&self.shown);
        Ok(emulator)
    }
}
