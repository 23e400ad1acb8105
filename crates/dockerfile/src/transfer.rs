//! COPY and ADD.

use crate::error::{ParseErrorKind, excerpt};
use crate::expand::expand_word;
use crate::flags::Takes;
use crate::heredoc::Opening;
use crate::instruction::{Add, Copy, Heredoc, Source};
use crate::line::Line;
use crate::words;

/// Reads a COPY.
pub(crate) fn copy(line: &Line<'_>, heredocs: Vec<Heredoc>) -> Result<Copy, ParseErrorKind> {
    let flags = line.flags(&[
        ("from", Takes::Value),
        ("chown", Takes::Value),
        ("chmod", Takes::Value),
        ("link", Takes::Switch),
        ("parents", Takes::Switch),
        ("exclude", Takes::Values),
    ])?;
    let (sources, destination) = paths(line, heredocs)?;
    Ok(Copy {
        from: flags.value("from").map(|from| origin(line, from)).transpose()?,
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.switch("link") == Some(true),
        parents: flags.switch("parents") == Some(true),
        exclude: flags.values("exclude").map(str::to_owned).collect(),
        sources,
        destination,
        original: line.original.to_owned(),
    })
}

/// Reads an ADD.
pub(crate) fn add(line: &Line<'_>, heredocs: Vec<Heredoc>) -> Result<Add, ParseErrorKind> {
    let flags = line.flags(&[
        ("chown", Takes::Value),
        ("chmod", Takes::Value),
        ("link", Takes::Switch),
        ("exclude", Takes::Values),
        ("checksum", Takes::Value),
        ("keep-git-dir", Takes::Switch),
        ("unpack", Takes::Switch),
    ])?;
    let (sources, destination) = paths(line, heredocs)?;
    Ok(Add {
        chown: flags.value("chown"),
        chmod: flags.value("chmod"),
        link: flags.switch("link") == Some(true),
        exclude: flags.values("exclude").map(str::to_owned).collect(),
        checksum: flags.value("checksum"),
        keep_git_dir: flags.switch("keep-git-dir"),
        unpack: flags.switch("unpack"),
        sources,
        destination,
        original: line.original.to_owned(),
    })
}

/// Returns the value of `--from` with quotes processed; it holds no variables.
fn origin(line: &Line<'_>, from: String) -> Result<String, ParseErrorKind> {
    match expand_word(&from, line.escape, &|_| None) {
        Ok(expansion) if expansion.unset.is_empty() => Ok(expansion.text),
        _ => Err(ParseErrorKind::FromVariable {
            keyword: line.keyword,
            option: "--from",
            value: excerpt(&from),
        }),
    }
}

/// Returns the sources and the destination.
fn paths(line: &Line<'_>, heredocs: Vec<Heredoc>) -> Result<(Vec<Source>, String), ParseErrorKind> {
    let keyword = line.keyword;
    if let Some(mut strings) = line.json.clone() {
        return match strings.pop() {
            Some(destination) if !strings.is_empty() => {
                Ok((strings.into_iter().map(Source::Path).collect(), destination))
            }
            _ => Err(ParseErrorKind::NoDestination { keyword }),
        };
    }
    let mut words = words::plain(line.arguments);
    let destination = words.pop().filter(|_| !words.is_empty());
    let destination = destination.ok_or(ParseErrorKind::NoDestination { keyword })?;
    if Opening::from_word(&destination).is_some() {
        return Err(ParseErrorKind::HeredocDestination { keyword });
    }
    let mut heredocs = heredocs.into_iter().peekable();
    let mut sources = Vec::new();
    for word in words {
        sources.push(match heredocs.next_if(|heredoc| heredoc.word == word) {
            Some(heredoc) => Source::Heredoc(heredoc),
            None => Source::Path(word),
        });
    }
    match heredocs.next() {
        None => Ok((sources, destination)),
        // Only a blank before the delimiter turns words that are not heredocs into one.
        Some(heredoc) => {
            Err(ParseErrorKind::HeredocBlank { keyword, name: excerpt(&heredoc.name) })
        }
    }
}
