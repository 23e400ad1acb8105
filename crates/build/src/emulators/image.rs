//! Emulators among the files of an image.
//!
//! Files are found in the tree of the image's layers and read from these: nothing is unpacked, and
//! nothing of the image is executed.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xbuild_exec::arch::Arch;
use xbuild_exec::emulator::{MAX_PROGRAM, file_names};
use xbuild_layer::{Kind, Tree};
use xbuild_model::seam::Snapshots as _;
use xbuild_model::{Cancel, Chain, Platform};
use xbuild_snapshot::{Engine, EngineOptions};
use xbuild_store::Store;

use super::files::{FOLDERS, Files, FoundFile};
use crate::error::InstallError;
use crate::events::Events;
use crate::images::Bases;
use crate::layer_files;
use crate::machine::Machine;
use crate::request::Pull;
use crate::wiring;

/// The places of wanted files in one layer, by position, and the paths to write them to.
type Wanted = BTreeMap<u32, PathBuf>;

/// Copies the files of an image that may be emulators of `architectures` into a temporary folder of
/// the store. The image is the one for this machine's own platform.
pub(super) fn fetch(
    machine: &Machine,
    store: &Arc<Store>,
    name: &str,
    architectures: &[Arch],
    events: &Arc<dyn Events>,
) -> Result<Files, InstallError> {
    let cancel = Cancel::default();
    let client = wiring::client(machine, Some(store), events, cancel.clone());
    let bases = Bases {
        client: &client,
        store: Some(store),
        pull: Pull::Default,
        gate: None,
        events: &**events,
    };
    let image = bases.resolve(name, &Platform::host())?;
    let namespace = Arc::new(wiring::sandbox(machine));
    let options = EngineOptions { cancel, ..EngineOptions::default() };
    let engine = Engine::new(Arc::clone(store), Arc::new(client), namespace, options);
    engine.add_image(&image.layers);
    let chain = Chain(image.layers.iter().map(|layer| layer.diff_id.clone()).collect());
    let tree = engine.tree(&chain).map_err(InstallError::Layers)?;
    let place = format!("{} ({})", image.name, image.platform);
    let mut files = Files::new(place, names(&tree));
    files.image = Some((image.name, image.manifest.digest));
    let temp = store.temp_dir("emulators")?;
    let mut wanted: BTreeMap<u32, Wanted> = BTreeMap::new();
    for arch in architectures {
        for path in paths(*arch) {
            let Some((layer, position)) = position(&tree, &path) else { continue };
            let target = temp.path().join(format!("{layer}-{position}"));
            let shown = PathBuf::from(format!("/{path}"));
            files.found.push(FoundFile { arch: *arch, shown, path: target.clone() });
            wanted.entry(layer).or_default().insert(position, target);
        }
    }
    for (number, wanted) in &wanted {
        let Some(layer) = chain.0.get(*number as usize) else { continue };
        let write = |position: u32, contents: &mut dyn Read| write(contents, &wanted[&position]);
        layer_files::read(&engine, layer, wanted.keys().copied(), write)
            .map_err(InstallError::Layers)?;
    }
    files.temp = Some(temp);
    Ok(files)
}

/// Returns the paths of emulators, the first to try first.
fn paths(arch: Arch) -> Vec<String> {
    let names = file_names(arch);
    let below = |name: String| FOLDERS.map(|f| format!("{f}/{name}").trim_matches('/').to_owned());
    names.into_iter().flat_map(below).collect()
}

/// Returns layer and position of the file at a path; `None` if it does not lead to a file.
fn position(tree: &Tree, path: &str) -> Option<(u32, u32)> {
    let node = tree.resolve(path.as_bytes(), true).ok()?.node?;
    match node.kind {
        Kind::File { .. } => Some((node.layer, node.position?)),
        _ => None,
    }
}

/// Returns the names of the files in the folders of programs.
fn names(tree: &Tree) -> impl Iterator<Item = String> {
    let folder = |path: &str| tree.resolve(path.as_bytes(), true).ok()?.node;
    let nodes: Vec<_> = FOLDERS.into_iter().filter_map(folder).collect();
    nodes
        .into_iter()
        .flat_map(|node| node.children())
        .map(|(name, _)| String::from_utf8_lossy(name).into_owned())
}

/// Writes a file, or as much of it as shows that it is too large.
fn write(contents: &mut dyn Read, path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(&mut contents.take(MAX_PROGRAM + 1), &mut file).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn static_programs_of_usr_bin_come_first() {
        let paths = paths(Arch::Arm64);
        assert_eq!(paths[0], "usr/bin/qemu-aarch64-static");
        assert_eq!(
            paths[4..],
            [
                "usr/bin/qemu-aarch64",
                "usr/local/bin/qemu-aarch64",
                "bin/qemu-aarch64",
                "qemu-aarch64"
            ]
        );
    }
}
