//! COPY, ADD, WORKDIR and mounts of a context: which files a step puts where.
//!
//! Nothing is unpacked. The sources are listed from a [`Context`] folder or from the [`Tree`] of
//! other layers. Their destinations are resolved against the tree of the layers below. The result
//! is a sorted list of entries with a content key. The entries are written with their contents only
//! if no earlier step has that key.
//!
//! **Source** — Dockerfile reference § COPY, ADD, WORKDIR. Where it is silent: the behaviour of
//! BuildKit (2026-08), see the conformance cases.

mod ahead;
mod archive;
mod env;
mod key;
mod listing;
mod origin;
mod outline;
mod owner;
mod sink;
mod sources;
mod stage;
mod staged;
mod survey;
mod transfer;

use std::io::Write;

use xbuild_layer::path::{self, DotDot};
use xbuild_layer::{IndexedWriter, Tree};
use xbuild_model::Digest;
use xbuild_model::file_op::{FileOp, MakeDir};

use crate::CopyError;
use crate::context::Context;

pub use env::{CopyEnv, CopyWarning, ReadFile};
pub use origin::{LayerSource, Origin};
pub(crate) use outline::Outline;
pub(crate) use sink::EntrySink;
pub(crate) use sources::Sources;

use stage::Stage;
use staged::NewDir;
use survey::Survey;

/// The files that a COPY, ADD or WORKDIR writes.
#[derive(Debug)]
pub struct Prepared {
    outline: Outline,
    key: Digest,
    sources: Sources,
    warnings: Vec<CopyWarning>,
    survey: Option<Digest>,
}

impl Prepared {
    /// Returns the content key, see [`xbuild_model::seam::Selection::key`].
    pub fn key(&self) -> &Digest {
        &self.key
    }

    /// Returns the survey, if there is one that is worth keeping. As long as [`take_survey`]
    /// returns the same hash, the step would prepare the same files.
    pub fn survey(&self) -> Option<&Digest> {
        self.survey.as_ref()
    }

    /// Returns whether the step writes nothing.
    pub fn is_empty(&self) -> bool {
        self.outline.is_empty()
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.outline.len()
    }

    /// Calls `visit` for each file that is written, folders excepted, see
    /// [`xbuild_model::seam::Selection::files`].
    pub fn files(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        listing::visit(&self.outline, &self.sources, visit);
    }

    /// Returns the warnings for the user.
    pub fn warnings(&self) -> &[CopyWarning] {
        &self.warnings
    }

    /// Writes the entries of the layer; the caller finishes the writer.
    ///
    /// **Errors** — [`CopyError::Changed`] if somebody wrote to a source after the selection.
    pub fn write<W: Write>(&self, writer: &mut IndexedWriter<W>) -> Result<(), CopyError> {
        self.outline.write(&self.sources, writer)
    }
}

/// Returns whether [`select`] needs the layers below. If not, they need not even be indexed.
pub fn needs_parent(op: &FileOp) -> bool {
    match op {
        FileOp::Copy(request) => !request.is_linked(),
        FileOp::MakeDir(_) => true,
        FileOp::Pick { .. } => false,
    }
}

/// Returns a hash of everything that a step looks at in its context; `None` if no hash covers it.
/// Only names and stamps are read, no contents.
///
/// **Errors** — some of those of [`select`].
pub fn take_survey(context: &Context, op: &FileOp) -> Result<Option<Digest>, CopyError> {
    match op {
        FileOp::Copy(request) if survey::covers(request) => {
            survey::take(context, request).map(Some)
        }
        _ => Ok(None),
    }
}

/// Determines the files that a step writes on top of `parent`; `None` for `FROM scratch`.
///
/// Files of a context are read once if their hash is not known.
pub fn select(
    env: &CopyEnv<'_>,
    parent: Option<&Tree>,
    op: &FileOp,
) -> Result<Prepared, CopyError> {
    let parent = parent.filter(|_| needs_parent(op));
    let mut stage = Stage::new(parent);
    let mut sources = Sources::new(env.origin.as_ref(), env.remotes);
    let mut warnings = Vec::new();
    let mut survey = None;
    match op {
        FileOp::Copy(request) => {
            survey = transfer::copy(env, request, &mut stage, &mut sources, &mut warnings)?;
        }
        FileOp::MakeDir(request) => make_dir(env, request, &mut stage, &mut warnings)?,
        FileOp::Pick { path } => transfer::pick(env, path, &mut stage)?,
    }
    let (marks, files) = stage.finish();
    let mut outline = Outline::new(marks, files);
    outline.hash_contents(&sources)?;
    let key = outline.key(&sources);
    let is_worth = |survey: &Survey| survey.files() >= survey::WORTH && warnings.is_empty();
    let survey = survey.filter(is_worth).filter(|_| outline.is_settled(&sources));
    Ok(Prepared { outline, key, sources, warnings, survey: survey.map(Survey::finish) })
}

/// Makes the folder of a WORKDIR. It belongs to USER, as measured; folders that COPY makes do not.
/// The folders before a `..` in the path are made as well, as in the reference.
fn make_dir(
    env: &CopyEnv<'_>,
    request: &MakeDir,
    stage: &mut Stage<'_>,
    warnings: &mut Vec<CopyWarning>,
) -> Result<(), CopyError> {
    let wanted = request.path.as_bytes();
    let before_dots = wanted
        .windows(3)
        .enumerate()
        .filter(|(at, part)| *part == b"/.." && matches!(wanted.get(at + 3), None | Some(b'/')));
    let ends = before_dots.map(|(at, _)| at).chain([wanted.len()]);
    let mut known = None;
    for end in ends {
        let path = path::clean(&wanted[..end], DotDot::Clamp).map_err(CopyError::path(wanted))?;
        let found = stage.resolve(b"", &path, true)?;
        if stage.is_dir(&found) {
            continue;
        }
        let owner = match known {
            Some(owner) => owner,
            None if request.user.is_empty() => (0, 0),
            None => owner::look_up(&request.user, env.read_file, warnings)?,
        };
        known = Some(owner);
        stage.make_dirs(&found, &NewDir { mode: 0o755, owner, mtime: env.default_mtime })?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
