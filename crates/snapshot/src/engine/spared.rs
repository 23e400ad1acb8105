//! The files in the root of this container that are not a stack's, see `own_root`: filling and
//! emptying the root pass them over.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, symlink};
use std::path::Path;

use xbuild_layer::ShownPath;
use xbuild_model::own_root::Spared;

use super::carried::ROOT;
use super::shared::Shared;
use crate::EngineError;
use crate::folder_tasks::{CLEAR, ClearRequest};

/// Returns the files that are no part of the stack.
pub(super) fn all(shared: &Shared) -> Spared {
    let mut spared = shared.options.own_root.clone().unwrap_or_default();
    shared.own_root.obstacles().iter().for_each(|path| spared.add(path));
    spared
}

/// Removes all other files of the root.
pub(super) fn empty(shared: &Shared) -> Result<(), EngineError> {
    // Without any this would be no container.
    let Some(spared) = shared.options.own_root.clone().filter(|spared| !spared.is_empty()) else {
        let source = std::io::ErrorKind::InvalidInput.into();
        return Err(EngineError::Io { action: "empty the root of this container", source });
    };
    // A build that was killed left those of its steps there.
    shared.store.take_back_caches(Path::new(ROOT));
    shared.own_root.obstacles().clear();
    let (folder, paths) = (Path::new(ROOT).to_owned(), vec![Vec::new()]);
    let request = ClearRequest { folder, paths, spared };
    shared.start(CLEAR, &request, Vec::new())?.wait()?;
    Ok(())
}

/// Empties the root at the end of a build that used it.
pub(super) fn settle(shared: &Shared) -> Result<(), EngineError> {
    let (folder, mark) = shared.own_root.end();
    if let Some(folder) = folder {
        shared.sweeper.send(folder.temp);
    }
    if let Some(mark) = mark {
        empty(shared)?;
        let mut links = shared.options.own_root.iter().flat_map(Spared::links);
        links.try_for_each(put_back).map_err(|source| EngineError::Io {
            action: "put back a link into xbuild's folder",
            source,
        })?;
        mark.set_len(0).map_err(|source| EngineError::Io { action: "clear a mark", source })?;
    }
    Ok(())
}

fn put_back((link, target): (&Path, &Path)) -> io::Result<()> {
    if let Some(folder) = link.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    symlink(target, link)
}

/// Returns the function that says whether a file of an image is put into the root.
pub(super) fn shows(shared: &Shared) -> impl Fn(&[u8], bool) -> bool + use<'_> {
    let spared = shared.options.own_root.clone().unwrap_or_default();
    move |path, is_folder| {
        let is_hidden = spared.hides(path, is_folder);
        if is_hidden && !spared.has(path) {
            shared.own_root.note_obstacle(path);
        }
        if is_hidden && !is_folder && shared.own_root.note_hidden(path) {
            (shared.options.on_hidden)(&ShownPath([b"/", path].concat()));
        }
        !is_hidden
    }
}
