//! COPY, ADD, WORKDIR and mounts of a context: which files a step puts where.
//!
//! Nothing is unpacked. The sources are looked at (a [`Context`] folder, or the [`Tree`] of other
//! layers), their destinations are resolved against the tree of the layers below, and the result
//! is a list of entries, sorted, with a content key. Only then, if nobody has made that layer
//! before, the entries are written with their contents.
//!
//! **Source** — Dockerfile reference § COPY, ADD, WORKDIR; where it is silent, what BuildKit
//! (2026-08) does, see the conformance cases.

mod ahead;
mod chmod;
mod listing;
mod origin;
mod outline;
mod owner;
mod stage;
mod survey;
mod transfer;

use std::fs::File;
use std::io::{Read, Write};
use std::sync::Arc;

use xbuild_layer::path::{self, DotDot};
use xbuild_layer::{IndexedWriter, LayerReader, Mtime, Tree};
use xbuild_model::file_op::{FileOp, MakeDir};
use xbuild_model::{Digest, StepFailure};

use crate::CopyError;
use crate::context::Context;

pub(crate) use origin::{Fetched, FileId, SourceFile, SourceTree};
pub(crate) use outline::{EntrySink, Outline, Sources};
pub(crate) use stage::{Content, NewDir, Stage, Staged};
pub(crate) use survey::Listing;

use survey::Survey;

/// The files that a request copies from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// A folder of this machine.
    Context(Arc<Context>),
    /// A stack of layers.
    Layers {
        /// What they hold together.
        tree: Tree,
        /// Their contents.
        source: Arc<dyn LayerSource>,
    },
}

impl Origin {
    /// Returns the folder, if it is one.
    pub fn context(&self) -> Option<&Arc<Context>> {
        match self {
            Self::Context(context) => Some(context),
            Self::Layers { .. } => None,
        }
    }
}

/// Gives the contents of the layers of one stack.
pub trait LayerSource: Send + Sync + std::fmt::Debug {
    /// Opens the layer that [`Tree::apply`] was given with this number.
    fn open_layer(&self, number: u32) -> Result<LayerReader<Box<dyn Read + Send>>, StepFailure>;

    /// Opens the regular file at a position of that layer, if it need not be read for that. The
    /// file may turn out to be another one.
    fn open_file(&self, number: u32, position: u32) -> Option<File>;
}

/// What a selection needs beside the request.
pub struct CopyEnv<'a> {
    /// Where the sources are; `None` for WORKDIR, and for a COPY of inline files only.
    pub origin: Option<Origin>,
    /// The folders that the remote sources of the request were fetched to, in their order.
    pub remotes: &'a [Arc<Context>],
    /// The modification time of what is made and not copied: parent folders, inline files.
    pub default_mtime: Mtime,
    /// Reads `etc/passwd` and `etc/group` of the image below. Asked only if a name has to be
    /// looked up.
    pub read_file: &'a ReadFile<'a>,
}

/// Reads a file of an image by its path from the root: `None` if there is no regular file, an
/// error if it is larger than [`xbuild_model::passwd::MAX_SIZE`].
pub type ReadFile<'a> = dyn Fn(&[u8]) -> Result<Option<Vec<u8>>, StepFailure> + 'a;

impl std::fmt::Debug for CopyEnv<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { origin, remotes, default_mtime, read_file: _ } = self;
        f.debug_struct("CopyEnv")
            .field("origin", origin)
            .field("remotes", remotes)
            .field("default_mtime", default_mtime)
            .finish_non_exhaustive()
    }
}

/// What is worth telling the user.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CopyWarning {
    /// A user or group name is unknown to the image: the owner is 0 (or the user's own group).
    UnknownOwner {
        /// The name.
        name: String,
    },
}

/// What a COPY, ADD or WORKDIR writes.
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

    /// Returns the hash that [`survey()`] returns as long as this is what would be prepared, if there
    /// is one that is worth keeping.
    pub fn survey(&self) -> Option<&Digest> {
        self.survey.as_ref()
    }

    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.outline.is_empty()
    }

    /// Returns how many entries are written.
    pub fn len(&self) -> usize {
        self.outline.len()
    }

    /// Calls `visit` for what is written and is no folder, see
    /// [`xbuild_model::seam::Selection::files`].
    pub fn files(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        listing::visit(&self.outline, &self.sources, visit);
    }

    /// Returns what the user should know.
    pub fn warnings(&self) -> &[CopyWarning] {
        &self.warnings
    }

    /// Writes the entries of the layer; the caller finishes the writer.
    ///
    /// **Errors** — [`CopyError::Changed`] if a source was written to since it was selected.
    pub fn write<W: Write>(&self, writer: &mut IndexedWriter<W>) -> Result<(), CopyError> {
        self.outline.write(&self.sources, writer)
    }
}

/// Returns whether [`select`] looks at the layers below. If not, they need not even be indexed.
pub fn needs_parent(op: &FileOp) -> bool {
    match op {
        FileOp::Copy(request) => !request.is_linked(),
        FileOp::MakeDir(_) => true,
        FileOp::Pick { .. } => false,
    }
}

/// Returns a hash of all that a step would look at in its context, if one says it all; only file
/// systems are asked, no file is read.
///
/// **Errors** — some of those of [`select`].
pub fn survey(context: &Context, op: &FileOp) -> Result<Option<Digest>, CopyError> {
    match op {
        FileOp::Copy(request) if survey::covers(request) => {
            survey::take(context, request).map(Some)
        }
        _ => Ok(None),
    }
}

/// Works out what a step writes on top of `parent`, `None` for nothing (`FROM scratch`).
///
/// The files of a context that are needed are read once, to hash them.
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
    let mut outline = stage.finish();
    outline.hash_contents(&sources)?;
    let key = outline.key(&sources);
    let is_worth = |survey: &Survey| survey.files() >= survey::WORTH && warnings.is_empty();
    let survey = survey.filter(is_worth).filter(|_| outline.is_settled(&sources));
    Ok(Prepared { outline, key, sources, warnings, survey: survey.map(Survey::finish) })
}

/// Makes the folder of a WORKDIR. Owned by USER, as measured, unlike what COPY makes. So are the
/// folders that a `..` in the path leaves again: as in the reference they are made too.
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
