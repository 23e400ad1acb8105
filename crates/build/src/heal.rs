//! Repeating a build that met a damaged file of the store, or a wrong answer of a shared cache.
//!
//! Whoever finds the damage drops the file ([`Store::lost`]), so it is missing when the build is
//! repeated: a layer of a base image is pulled again, and a step whose layer is gone runs again.

use std::collections::HashSet;
use std::path::PathBuf;

use xbuild_store::Store;

use crate::build::Build;
use crate::error::BuildError;
use crate::events::{Event, Warning};

/// Does `stages`, and repeats them if they failed after a file of the store was dropped, or after a
/// shared cache was found to be wrong about a layer; once for each.
///
/// **Errors** — those of `stages`; [`BuildError::Damaged`] with the error of the last attempt if
/// there was more than one.
pub fn heal<T>(
    build: &Build,
    mut stages: impl FnMut() -> Result<T, BuildError>,
) -> Result<T, BuildError> {
    let mut files = Lost::default();
    loop {
        let error = match stages() {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        let found = files.found(&build.store);
        // What a shared cache said wrongly counts no more.
        let is_healed = !found.is_empty() | build.imports.take_news();
        if !is_healed || build.is_over() {
            return Err(files.explain(error));
        }
        // The step that failed has ended all others.
        build.cancel.renew();
        if build.is_over() {
            // Another build failed this moment.
            build.cancel.cancel();
        }
        for path in found {
            build.events.event(Event::Warning(&Warning::Damaged(path)));
        }
    }
}

/// The files that were dropped so far.
#[derive(Default)]
struct Lost {
    /// How many of the store's list were looked at.
    seen: usize,
    paths: Vec<PathBuf>,
}

impl Lost {
    /// Returns the files that were dropped since the last call and not before: one that is damaged
    /// again as soon as it was made shows a broken disk.
    fn found(&mut self, store: &Store) -> Vec<PathBuf> {
        let all = store.lost();
        let mut known: HashSet<PathBuf> = self.paths.iter().cloned().collect();
        let new = all[self.seen..].iter().filter(|path| known.insert((*path).clone())).cloned();
        let new: Vec<PathBuf> = new.collect();
        self.seen = all.len();
        self.paths.extend(new.iter().cloned());
        new
    }

    fn explain(self, error: BuildError) -> BuildError {
        match self.paths.is_empty() {
            true => error,
            false => BuildError::Damaged { files: self.paths, source: Box::new(error) },
        }
    }
}
