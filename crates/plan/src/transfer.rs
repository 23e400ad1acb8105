//! COPY and ADD.

use xbuild_dockerfile::{Add, Copy, Keyword, Source, Span};
use xbuild_model::file_op::{CopyRequest, InlineFile};

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

/// Returns what a COPY copies.
///
/// **Errors**: `Expand`, `HeredocName`.
pub(crate) fn copy(
    state: &State,
    copy: &Copy,
    expander: &Expander<'_>,
) -> Result<Transfer, PlanError> {
    let (sources, inline) = expand_sources(Keyword::Copy, &copy.sources, expander)?;
    let written = expander.word(&copy.destination)?;
    let request = CopyRequest {
        sources,
        inline,
        dest: paths::destination(state.working_dir(), &written),
        chown: expander.option(copy.chown.as_deref())?,
        chmod: expander.option(copy.chmod.as_deref())?,
        link: copy.link,
        parents: copy.parents,
        exclude: copy.exclude.clone(),
        unpack: None,
    };
    let created_by = history::copy("COPY", &request, &written);
    Ok(Transfer { request, created_by })
}

/// Returns what an ADD adds.
///
/// **Errors**: `Expand`, `HeredocName`, `LocalChecksum`; `NotImplemented` for what is not local.
pub(crate) fn add(
    state: &State,
    add: &Add,
    expander: &Expander<'_>,
) -> Result<Transfer, PlanError> {
    let error = |kind| Err(PlanError::new(kind, expander.span));
    let (sources, inline) = expand_sources(Keyword::Add, &add.sources, expander)?;
    for source in &sources {
        if let Some(kind) = remote(source) {
            let feature = format!("ADD of {kind} ({source})");
            return error(PlanErrorKind::NotImplemented { feature });
        }
    }
    if let (Some(_), Some(path)) = (&add.checksum, sources.first()) {
        return error(PlanErrorKind::LocalChecksum { path: path.clone() });
    }
    if add.keep_git_dir.is_some() {
        let feature = "ADD --keep-git-dir".to_owned();
        return error(PlanErrorKind::NotImplemented { feature });
    }
    let written = expander.word(&add.destination)?;
    let request = CopyRequest {
        sources,
        inline,
        dest: paths::destination(state.working_dir(), &written),
        chown: expander.option(add.chown.as_deref())?,
        chmod: expander.option(add.chmod.as_deref())?,
        link: add.link,
        parents: false,
        exclude: add.exclude.clone(),
        unpack: Some(add.unpack.unwrap_or(true)),
    };
    let created_by = history::copy("ADD", &request, &written);
    Ok(Transfer { request, created_by })
}

fn expand_sources(
    keyword: Keyword,
    sources: &[Source],
    expander: &Expander<'_>,
) -> Result<(Vec<String>, Vec<InlineFile>), PlanError> {
    let (mut paths, mut inline) = (Vec::new(), Vec::new());
    for source in sources {
        match source {
            Source::Path(path) => paths.push(expander.word(path)?),
            Source::Heredoc(heredoc) => {
                inline.push(InlineFile {
                    name: file_name(keyword, &heredoc.name, expander.span)?,
                    contents: match heredoc.expand {
                        true => expander.heredoc(&heredoc.body)?,
                        false => heredoc.body.clone(),
                    },
                });
            }
        }
    }
    Ok((paths, inline))
}

/// Returns the delimiter of a heredoc as the name of a file, which must stay in its folder.
fn file_name(keyword: Keyword, name: &str, span: &Span) -> Result<String, PlanError> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\0']) {
        let kind = PlanErrorKind::HeredocName { keyword, name: name.to_owned() };
        return Err(PlanError::new(kind, span));
    }
    Ok(name.to_owned())
}

/// Returns what a source of ADD is, if it is not a path of the context.
///
/// **Source** — Dockerfile reference § ADD; the forms of git references that BuildKit knows.
fn remote(source: &str) -> Option<&'static str> {
    let scheme = source.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
    let path = source.split(['#', '?']).next().unwrap_or_default();
    let is_scp = source.split_once('@').is_some_and(|(user, rest)| {
        let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        !user.is_empty()
            && user.chars().all(word)
            && rest.split_once(':').is_some_and(|(host, _)| !host.is_empty() && !host.contains('/'))
    });
    match scheme.as_deref() {
        Some("http" | "https") if path.ends_with(".git") => Some("a git repository"),
        Some("http" | "https" | "ftp") => Some("a URL"),
        Some("git" | "ssh") => Some("a git repository"),
        _ if is_scp || source.starts_with("github.com/") => Some("a git repository"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::remote;

    #[test]
    fn tells_remote_sources_from_paths() {
        for (source, expected) in [
            ("http://x.example/f", Some("a URL")),
            ("HTTPS://x.example/f", Some("a URL")),
            ("https://x.example/r.git#v1:sub", Some("a git repository")),
            ("git://x.example/r", Some("a git repository")),
            ("git@x.example:o/r.git", Some("a git repository")),
            ("github.com/o/r", Some("a git repository")),
            ("f", None),
            ("a@b", None),
            ("dir/a@b:c", None),
            ("@x:y", None),
            ("a:b", None),
            ("*.git", None),
        ] {
            assert_eq!(remote(source), expected, "{source}");
        }
    }
}
