//! Commits of git repositories: which one a reference names, and its files.

use std::fs;
use std::path::PathBuf;

use xbuild_model::Digest;
use xbuild_model::remote::GitSource;

use crate::checkout;
use crate::command::Git;
use crate::error::{FetchError, io};
use crate::fetcher::{FetchWarning, Fetcher};
use crate::login;

/// What servers say that do not give single commits: then more has to be fetched.
const REFUSALS: &[&str] = &["unadvertised", "not our ref", "shallow", "couldn't find remote ref"];

/// What a reference was found to be.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// All digits of the commit.
    commit: String,
    /// The full name of the reference, if it has one.
    name: Option<String>,
}

/// Returns the folder with the files of the commit.
pub(crate) fn fetch(fetcher: &Fetcher, source: &GitSource) -> Result<PathBuf, FetchError> {
    let folder = files(fetcher, source)?;
    if let Some(warn) = &fetcher.options.on_warning
        && source.submodules.is_none()
        && folder.join(".gitmodules").symlink_metadata().is_ok()
    {
        warn(&FetchWarning::Submodules { remote: source.remote.clone() });
    }
    Ok(folder)
}

fn files(fetcher: &Fetcher, source: &GitSource) -> Result<PathBuf, FetchError> {
    let remote = &source.remote;
    if !fetcher.options.allow_files && (remote.starts_with("file:") || remote.starts_with('/')) {
        return Err(FetchError::LocalRepository { remote: remote.clone() });
    }
    let temp = fetcher.store.temp_dir("git")?;
    let home = temp.path().join("home");
    fs::create_dir(&home).map_err(io("make", &home))?;
    let authorization = login::git(fetcher, source)?;
    let found = match source.reference.as_deref().filter(|name| is_commit(name)) {
        Some(commit) => Found { commit: commit.to_ascii_lowercase(), name: None },
        None => {
            let git = Git::new(fetcher, remote, authorization.clone(), &home)?;
            resolve(&git, remote, source.reference.as_deref())?
        }
    };
    let commit = &found.commit;
    if let Some(expected) = &source.checksum
        && !commit.starts_with(expected.as_str())
    {
        let (remote, expected, actual) = (remote.clone(), expected.clone(), commit.clone());
        return Err(FetchError::Commit { remote, expected, actual });
    }
    let subdir = source.subdir.as_deref();
    // A folder of a repository is no repository.
    let keep = source.keep_git_dir == Some(true) && subdir.is_none();
    let submodules = source.submodules == Some(true);
    let key =
        format!("git 1\n{commit}\n{keep}\n{submodules}\n{}\n{remote}", subdir.unwrap_or_default());
    let key = Digest::of(key.as_bytes());
    if let Some(folder) = fetcher.store.source_folder(&key) {
        return Ok(folder);
    }
    let work = temp.path().join("fs");
    fs::create_dir(&work).map_err(io("make", &work))?;
    let mut git = Git::new(fetcher, remote, authorization, &home)?;
    let repository = if keep { work.join(".git") } else { temp.path().join("git") };
    git.place(repository, work.clone());
    check_out(&git, remote, &found, keep, submodules)?;
    let time = commit_time(&git, remote, commit)?;
    let missing = || FetchError::NoFolder {
        remote: remote.clone(),
        path: subdir.unwrap_or_default().to_owned(),
        commit: commit.clone(),
    };
    let content = match subdir {
        None => work,
        Some(path) => checkout::folder(&work, path).ok_or_else(missing)?,
    };
    checkout::level(&content, time, keep).map_err(io("finish the files of", &content))?;
    Ok(fetcher.store.publish_source(&content, &key)?)
}

/// Returns the commit that a name stands for.
fn resolve(git: &Git<'_>, remote: &str, name: Option<&str>) -> Result<Found, FetchError> {
    let mut args = vec!["--quiet".to_owned(), "--".to_owned(), remote.to_owned()];
    match name {
        None => args.push("HEAD".to_owned()),
        // The commit of a tag with a message of its own has ^{} behind its name.
        Some(name) => args.extend([name.to_owned(), format!("{name}^{{}}")]),
    }
    let answer = git.run("ls-remote", args)?;
    let answer = String::from_utf8_lossy(&answer);
    let wrong = || FetchError::Answer { action: "ls-remote", remote: remote.to_owned() };
    let found = choose(&answer, name).ok_or_else(|| FetchError::NoReference {
        remote: remote.to_owned(),
        name: name.unwrap_or("HEAD").to_owned(),
    })?;
    if is_commit(&found.commit) { Ok(found) } else { Err(wrong()) }
}

/// Picks the reference meant from those that a remote has.
///
/// **Source** — `gitrevisions(7)`, for the order.
fn choose(answer: &str, name: Option<&str>) -> Option<Found> {
    let lines: Vec<(&str, &str)> =
        answer.lines().filter_map(|line| line.split_once('\t')).collect();
    let commit_of = |full: &str| {
        let peeled = format!("{full}^{{}}");
        let find = |wanted: &str| lines.iter().find(|(_, found)| *found == wanted);
        find(&peeled).or_else(|| find(full)).map(|(commit, _)| (*commit).to_owned())
    };
    let candidates = match name {
        None => vec!["HEAD".to_owned()],
        Some(name) => ["", "refs/", "refs/tags/", "refs/heads/"]
            .map(|prefix| format!("{prefix}{name}"))
            .into(),
    };
    candidates.into_iter().find_map(|full| {
        let commit = commit_of(&full)?;
        Some(Found { commit, name: Some(full) })
    })
}

/// Fetches a commit into a new repository and writes its files.
fn check_out(
    git: &Git<'_>,
    remote: &str,
    found: &Found,
    keep: bool,
    submodules: bool,
) -> Result<(), FetchError> {
    let commit = found.commit.as_str();
    let format = if commit.len() == 64 { "sha256" } else { "sha1" };
    git.run("init", ["--quiet", "--template=", &format!("--object-format={format}")])?;
    get(git, remote, found)?;
    if keep {
        git.run("remote", ["add", "--", "origin", remote])?;
    }
    git.run("checkout", ["--quiet", "--force", "--detach", commit, "--"])?;
    if submodules {
        let args = ["--quiet", "update", "--init", "--recursive", "--depth=1"];
        git.run("submodule", args)?;
    }
    Ok(())
}

/// Fetches a commit: alone, else with its reference, else with everything.
fn get(git: &Git<'_>, remote: &str, found: &Found) -> Result<(), FetchError> {
    const QUIET: &[&str] = &["--quiet", "--no-tags", "--no-recurse-submodules"];
    const SHALLOW: &[&str] = &["--depth=1"];
    const ALL: &[&str] = &["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
    let name = found.name.as_deref();
    let mut attempts = vec![(SHALLOW, vec![found.commit.as_str()])];
    attempts.extend(name.map(|name| (SHALLOW, vec![name])));
    attempts.push((&[], ALL.to_vec()));
    let mut refused = None;
    for (depth, what) in attempts {
        match git.run("fetch", [QUIET, depth, &["--", remote], &what].concat()) {
            Ok(_) => {
                // What the reference names may have changed since it was looked up.
                let object = format!("{}^{{commit}}", found.commit);
                if git.run("cat-file", ["-e", &object]).is_ok() {
                    return Ok(());
                }
            }
            Err(error) if is_refusal(&error) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.filter(|_| name.is_some()).unwrap_or_else(|| FetchError::NoReference {
        remote: remote.to_owned(),
        name: found.commit.clone(),
    }))
}

/// Returns whether a server does not give what it was asked for in that way.
fn is_refusal(error: &FetchError) -> bool {
    let FetchError::Git { said, .. } = error else { return false };
    REFUSALS.iter().any(|refusal| said.contains(refusal))
}

/// Returns when a commit was made, in seconds since 1970.
fn commit_time(git: &Git<'_>, remote: &str, commit: &str) -> Result<u64, FetchError> {
    let answer =
        git.run("show", ["--no-patch", "--no-show-signature", "--format=%ct", commit, "--"])?;
    let text = String::from_utf8_lossy(&answer);
    let wrong = |_| FetchError::Answer { action: "show", remote: remote.to_owned() };
    text.trim().parse().map_err(wrong)
}

fn is_commit(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "git/tests.rs"]
mod tests;
