//! Emulators among the files of this machine.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::file_names;

use super::files::{FOLDERS, Files, FoundFile};
use crate::error::InstallError;

/// Finds emulators in the folders of a search path. Relative folders are skipped: the working
/// directory is often a build context, which must not supply programs.
pub(super) fn in_search_path(search_path: &OsStr) -> Files {
    let folders = std::env::split_paths(search_path).filter(|folder| folder.is_absolute());
    in_folders("PATH".to_owned(), folders.collect())
}

/// Finds emulators in a folder, or takes a file for one. `wanted` is the only architecture that is
/// asked for, if that is so.
pub(super) fn at(place: &Path, wanted: Option<Arch>) -> Result<Files, InstallError> {
    let fail = |error: io::Error| InstallError::Place { path: place.to_owned(), error };
    let path = std::path::absolute(place).map_err(fail)?;
    let shown = path.display().to_string();
    if fs::metadata(&path).map_err(fail)?.is_dir() {
        fs::read_dir(&path).map_err(fail)?;
        let folders = FOLDERS.iter().rev().map(|folder| path.join(folder));
        return Ok(in_folders(shown, folders.collect()));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_named = |arch: &Arch| file_names(*arch).contains(&name);
    let arch = Arch::ALL.into_iter().find(is_named).or(wanted);
    let arch = arch.ok_or_else(|| InstallError::NoArchitecture { path: path.clone() })?;
    let mut files = Files::new(shown, std::iter::once(name));
    files.found.push(FoundFile { arch, shown: path.clone(), path });
    Ok(files)
}

fn in_folders(place: String, folders: Vec<PathBuf>) -> Files {
    let entries = folders.iter().flat_map(fs::read_dir).flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut files = Files::new(place, names);
    for arch in Arch::ALL {
        let names = file_names(arch);
        let paths = names.iter().flat_map(|name| folders.iter().map(move |f| f.join(name)));
        let paths = paths.filter(|path| path.exists());
        files.found.extend(paths.map(|path| FoundFile { arch, shown: path.clone(), path }));
    }
    files
}
