//! Outputs of files: the trees of images as a tar file or as folders.

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use xbuild_files::flatten;
use xbuild_layer::{LayerWriter, Mtime, ShownPath, path as layer_path};
use xbuild_solve::BuiltImage;

use crate::attested::Claims;
use crate::build::Build;
use crate::claim_files;
use crate::error::{During, ExportError, RequestError};
use crate::events::{Event, Warning};
use crate::file_out::to_file;
use crate::request::Split;
use crate::run::Solved;

/// The activity in errors.
const EXPORTING: &str = "exporting";

/// Returns the folder of the files of an image; `None` if they are not in a folder of their own.
fn folder(image: &BuiltImage, count: usize, split: Split) -> Option<String> {
    let is_split = split == Split::Always || (split == Split::Several && count > 1);
    is_split.then(|| image.platform.folder_name())
}

/// Returns the time of all files, if the build has a fixed one.
///
/// **Source** — BuildKit, `docs/build-repro.md` § SOURCE_DATE_EPOCH.
fn time(solved: &Solved) -> Option<Mtime> {
    let secs = |epoch| i64::try_from(epoch).unwrap_or(i64::MAX);
    solved.epoch.map(|epoch| Mtime { secs: secs(epoch), nanos: 0 })
}

/// Returns the time of files with statements: the fixed one, else now.
fn claim_time(solved: &Solved) -> Mtime {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let now = || Mtime { secs: i64::try_from(now()).unwrap_or(i64::MAX), nanos: 0 };
    time(solved).unwrap_or_else(now)
}

/// Writes the files of images as a tar file.
pub(crate) fn write_tar(
    (solved, claims): (&Solved, &Claims<'_>),
    (split, prefix): (Split, &str),
    path: Option<&Path>,
    stdout: &mut dyn Write,
) -> Result<(), ExportError> {
    refuse_shared(solved, split)?;
    let Solved { images, engine, .. } = solved;
    let is_shared = split == Split::Never && images.len() > 1;
    to_file(path, stdout, |out| {
        let mut writer = LayerWriter::new(out);
        for (number, image) in images.iter().enumerate() {
            let tree = engine.tree(&image.layers).map_err(ExportError::Tree)?;
            let source = engine.layer_source(&image.layers);
            let folder = folder(image, images.len(), split);
            let folder = folder.as_deref().map(str::as_bytes);
            let written = flatten::to_tar_at(&tree, source, &mut writer, folder, time(solved));
            written.map_err(|error| ExportError::Archive(During::new(EXPORTING)(error)))?;
            let files = (engine, image, &tree);
            let mtime = claim_time(solved);
            for (mut entry, text) in
                claim_files::entries((claims, number), files, (prefix, is_shared), mtime)?
            {
                entry.path = layer_path::join(folder.unwrap_or_default(), &entry.path);
                let written = writer.put(&entry, &mut &*text);
                written.map_err(|error| ExportError::Finish(During::new(EXPORTING)(error)))?;
            }
        }
        let finished = writer.finish().map(drop);
        finished.map_err(|error| ExportError::Finish(During::new(EXPORTING)(error)))
    })
}

/// Writes the files of images into a folder, or into a folder each below it.
pub(crate) fn write_folders(
    build: &Build,
    (solved, claims): (&Solved, &Claims<'_>),
    (split, prefix): (Split, &str),
    path: &Path,
) -> Result<(), ExportError> {
    refuse_shared(solved, split)?;
    let Solved { images, engine, .. } = solved;
    let is_shared = split == Split::Never && images.len() > 1;
    for (number, image) in images.iter().enumerate() {
        let folder = match folder(image, images.len(), split) {
            Some(folder) => path.join(folder),
            None => path.to_owned(),
        };
        let tree = engine.tree(&image.layers).map_err(ExportError::Tree)?;
        let source = engine.layer_source(&image.layers);
        let skipped = flatten::to_folder(&tree, source, &folder, time(solved))
            .map_err(|error| ExportError::Folder(During::new(EXPORTING)(error)))?;
        for skipped in skipped {
            build.events.event(Event::Warning(&Warning::Skipped(skipped)));
        }
        let files = (engine, image, &tree);
        let mtime = claim_time(solved);
        for (entry, text) in
            claim_files::entries((claims, number), files, (prefix, is_shared), mtime)?
        {
            flatten::add_to_folder(&folder, &entry, &text)
                .map_err(|error| ExportError::Folder(During::new(EXPORTING)(error)))?;
        }
    }
    Ok(())
}

/// Refuses files of several platforms that would be one file.
fn refuse_shared(solved: &Solved, split: Split) -> Result<(), ExportError> {
    if split != Split::Never || solved.images.len() < 2 {
        return Ok(());
    }
    let mut seen: HashMap<Vec<u8>, bool> = HashMap::new();
    for image in &solved.images {
        let tree = solved.engine.tree(&image.layers).map_err(ExportError::Tree)?;
        for (path, node) in tree.walk(b"") {
            let is_folder = node.is_folder();
            match seen.insert(path.clone(), is_folder) {
                Some(was_folder) if !(is_folder && was_folder) => {
                    let path = ShownPath(path).to_string();
                    let platform = Box::new(image.platform.clone());
                    return Err(RequestError::SharedPath { path, platform }.into());
                }
                _ => {}
            }
        }
    }
    Ok(())
}
