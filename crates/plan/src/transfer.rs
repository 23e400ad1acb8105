//! COPY and ADD.

use xbuild_dockerfile::{Add, Copy, Keyword, Source, Span};
use xbuild_model::file_op::{CopyRequest, InlineFile, RemoteFiles};
use xbuild_model::remote::{Asker, RemoteSource, without_user};
use xbuild_model::{Digest, ModeChange};

use crate::error::{PlanError, PlanErrorKind};
use crate::history;
use crate::paths;
use crate::state::State;
use crate::variables::Expander;

/// A COPY or ADD, expanded.
#[derive(Debug)]
pub(crate) struct Transfer {
    pub(crate) request: CopyRequest,
    /// The history entry.
    pub(crate) created_by: String,
}

/// Returns an expanded COPY.
///
/// **Errors**: `Expand`, `Mode`, `HeredocName`, `RemoteCopy`.
pub(crate) fn copy(
    state: &State,
    copy: &Copy,
    expander: &Expander<'_>,
) -> Result<Transfer, PlanError> {
    let sources = Sources::expand(Keyword::Copy, &copy.sources, expander)?;
    let written = expander.word(&copy.destination)?;
    let request = CopyRequest {
        sources: sources.paths,
        remotes: Vec::new(),
        inline: sources.inline,
        dest: paths::destination(state.working_dir(), &written),
        chown: expander.option(copy.chown.as_deref())?,
        chmod: mode(copy.chmod.as_deref(), expander)?,
        link: copy.link,
        parents: copy.parents,
        exclude: copy.exclude.clone(),
        unpack: None,
    };
    let created_by = history::copy("COPY", &request, &sources.shown, &written);
    Ok(Transfer { request, created_by })
}

/// Returns an expanded ADD.
///
/// **Errors**: `Expand`, `Mode`, `HeredocName`, `Remote`, `LocalChecksum`, `ChecksumCount`, `Checksum`.
pub(crate) fn add(
    state: &State,
    add: &Add,
    expander: &Expander<'_>,
) -> Result<Transfer, PlanError> {
    let mut sources = Sources::expand(Keyword::Add, &add.sources, expander)?;
    sources.apply(add, expander)?;
    let written = expander.word(&add.destination)?;
    let request = CopyRequest {
        sources: sources.paths,
        remotes: sources.remotes,
        inline: sources.inline,
        dest: paths::destination(state.working_dir(), &written),
        chown: expander.option(add.chown.as_deref())?,
        chmod: mode(add.chmod.as_deref(), expander)?,
        link: add.link,
        parents: false,
        exclude: add.exclude.clone(),
        unpack: Some(add.unpack.unwrap_or(true)),
    };
    let created_by = history::copy("ADD", &request, &sources.shown, &written);
    Ok(Transfer { request, created_by })
}

/// The sources of an instruction, expanded.
#[derive(Debug, Default)]
struct Sources {
    paths: Vec<String>,
    remotes: Vec<RemoteFiles>,
    inline: Vec<InlineFile>,
    /// Paths and URLs in order, for the history.
    shown: Vec<String>,
}

impl Sources {
    fn expand(
        keyword: Keyword,
        sources: &[Source],
        expander: &Expander<'_>,
    ) -> Result<Self, PlanError> {
        let mut found = Sources::default();
        for source in sources {
            match source {
                Source::Path(path) => found.path(keyword, expander.word(path)?, expander)?,
                Source::Heredoc(heredoc) => found.inline.push(InlineFile {
                    name: file_name(keyword, &heredoc.name, expander.span)?,
                    contents: match heredoc.expand {
                        true => expander.heredoc(&heredoc.body)?,
                        false => heredoc.body.clone(),
                    },
                }),
            }
        }
        Ok(found)
    }

    fn path(
        &mut self,
        keyword: Keyword,
        path: String,
        expander: &Expander<'_>,
    ) -> Result<(), PlanError> {
        self.shown.push(without_user(&path));
        let remote = RemoteSource::parse(&path, Asker::Add);
        if keyword == Keyword::Copy {
            return match remote {
                Ok(Some(_)) => Err(PlanError::new(
                    PlanErrorKind::RemoteCopy { url: without_user(&path) },
                    expander.span,
                )),
                // Any other text with colons and slashes may be a path.
                _ => {
                    self.paths.push(path);
                    Ok(())
                }
            };
        }
        match remote.map_err(|error| PlanError::new(error, expander.span))? {
            None => self.paths.push(path),
            Some(source) => {
                let after = self.paths.len();
                self.remotes.push(RemoteFiles { after, source, unpack: false });
            }
        }
        Ok(())
    }

    /// Applies the options of ADD for remote sources.
    fn apply(&mut self, add: &Add, expander: &Expander<'_>) -> Result<(), PlanError> {
        let span = expander.span;
        let checksum = expander.option(add.checksum.as_deref())?;
        if let Some(checksum) = checksum.filter(|text| !text.is_empty()) {
            let count = self.paths.len() + self.remotes.len() + self.inline.len();
            match (self.remotes.as_mut_slice(), self.paths.first()) {
                ([remote], None) if count == 1 => match &mut remote.source {
                    RemoteSource::Http(http) => {
                        let digest = checksum.parse::<Digest>();
                        http.checksum = Some(digest.map_err(|error| PlanError::new(error, span))?);
                    }
                    RemoteSource::Git(git) => {
                        let checked = git.clone().with_checksum(&checksum);
                        *git = checked.map_err(|error| PlanError::new(error, span))?;
                    }
                },
                ([], Some(path)) => {
                    let kind = PlanErrorKind::LocalChecksum { path: path.clone() };
                    return Err(PlanError::new(kind, span));
                }
                _ => return Err(PlanError::new(PlanErrorKind::ChecksumCount { count }, span)),
            }
        }
        for remote in &mut self.remotes {
            remote.unpack = add.unpack == Some(true);
            if let (RemoteSource::Git(git), Some(keep)) = (&mut remote.source, add.keep_git_dir) {
                let kept = git.clone().with_git_dir(keep);
                *git = kept.map_err(|error| PlanError::new(error, span))?;
            }
        }
        Ok(())
    }
}

/// Returns the expanded value of `--chmod`, if it is not empty.
fn mode(written: Option<&str>, expander: &Expander<'_>) -> Result<Option<String>, PlanError> {
    let Some(text) = expander.option(written)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    ModeChange::parse(&text).map_err(|error| PlanError::new(error, expander.span))?;
    Ok(Some(text))
}

/// Returns the delimiter of a heredoc as the name of a file, which must stay in its folder.
fn file_name(keyword: Keyword, name: &str, span: &Span) -> Result<String, PlanError> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        let kind = PlanErrorKind::HeredocName { keyword, name: name.to_owned() };
        return Err(PlanError::new(kind, span));
    }
    Ok(name.to_owned())
}
