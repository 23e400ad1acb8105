//! Commits of git repositories: the commit that a reference names, and its files.

use std::fs;
use std::path::PathBuf;

use xbuild_model::Digest;
use xbuild_model::remote::GitSource;

use crate::checkout;
use crate::command::Git;
use crate::error::{FetchError, io};
use crate::login;
use crate::options::{FetchWarning, Tools};

/// Error texts of servers that do not serve single commits: then more must be fetched.
const REFUSALS: &[&str] = &["unadvertised", "not our ref", "shallow", "couldn't find remote ref"];

/// The commit that a reference names.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// All digits of the commit, or of a tag object that leads to it.
    commit: String,
    /// All digits of the object of an annotated tag.
    tag: Option<String>,
    /// The full name of the reference, if it has one; that of a branch instead of `HEAD`.
    name: Option<String>,
}

impl Found {
    /// Returns what the reference itself holds.
    fn object(&self) -> &str {
        self.tag.as_deref().unwrap_or(&self.commit)
    }

    fn is(&self, checksum: &str) -> bool {
        self.commit.starts_with(checksum) || self.object().starts_with(checksum)
    }
}

/// Returns the folder with the files of the commit, and all digits of the commit.
pub(crate) fn fetch(tools: &Tools, source: &GitSource) -> Result<(PathBuf, String), FetchError> {
    let (root, commit) = files(tools, source)?;
    if let Some(warn) = &tools.options.on_warning
        && source.submodules.is_none()
        && root.join(".gitmodules").symlink_metadata().is_ok()
    {
        warn(&FetchWarning::Submodules { remote: source.remote.clone() });
    }
    let Some(path) = &source.subdir else { return Ok((root, commit)) };
    let folder = checkout::folder(&root, path).ok_or_else(|| FetchError::NoFolder {
        remote: source.remote.clone(),
        path: path.clone(),
        name: source.reference.clone().unwrap_or_else(|| "HEAD".to_owned()),
    })?;
    Ok((folder, commit))
}

/// Returns the folder with all files of the commit, and all digits of the commit.
fn files(tools: &Tools, source: &GitSource) -> Result<(PathBuf, String), FetchError> {
    let remote = &source.remote;
    if !tools.options.allow_files && (remote.starts_with("file:") || remote.starts_with('/')) {
        return Err(FetchError::LocalRepository { remote: remote.clone() });
    }
    let temp = tools.store.temp_dir("git")?;
    let home = temp.path().join("home");
    fs::create_dir(&home).map_err(io("make", &home))?;
    let authorization = login::git(&tools.options, source)?;
    let found = match source.reference.as_deref().filter(|name| is_object(name)) {
        Some(id) => Found { commit: id.to_ascii_lowercase(), tag: None, name: None },
        None => {
            let git = Git::new(&tools.options, remote, authorization.clone(), &home)?;
            resolve(&git, remote, source.reference.as_deref())?
        }
    };
    let checksum = source.checksum.as_deref();
    let is_expected = checksum.is_none_or(|expected| found.is(expected));
    if !is_expected && found.name.is_some() {
        return Err(mismatch(source, &found.commit));
    }
    // A folder of a repository is not a repository.
    let keep = source.keep_git_dir == Some(true) && source.subdir.is_none();
    let submodules = source.submodules == Some(true);
    let key = key(remote, &found, keep, submodules);
    // The checksum may name the commit, which the id of a tag does not tell.
    if let Some(folder) = tools.store.source_folder(&key).filter(|_| is_expected) {
        return Ok((folder, found.commit));
    }
    let work = temp.path().join("fs");
    fs::create_dir(&work).map_err(io("make", &work))?;
    let mut git = Git::new(&tools.options, remote, authorization, &home)?;
    let repository = if keep { work.join(".git") } else { temp.path().join("git") };
    git.place(repository, work.clone());
    check_out(&git, remote, &found, keep, submodules)?;
    let (commit, time) = commit_and_time(&git, remote)?;
    if checksum.is_some_and(|expected| !found.is(expected) && !commit.starts_with(expected)) {
        return Err(mismatch(source, &commit));
    }
    checkout::level(&work, time, keep).map_err(io("finish the files of", &work))?;
    Ok((tools.store.publish_source(&work, &key)?, commit))
}

/// Returns the key of a folder of files. If the repository is kept, its reference is a part of it.
fn key(remote: &str, found: &Found, keep: bool, submodules: bool) -> Digest {
    let reference = found.name.as_deref().filter(|_| keep).unwrap_or_default();
    let object = if keep { found.object() } else { &found.commit };
    let key = format!("git 2\n{object}\n{keep}\n{submodules}\n{reference}\n{remote}");
    Digest::of(key.as_bytes())
}

fn mismatch(source: &GitSource, commit: &str) -> FetchError {
    FetchError::Commit {
        remote: source.remote.clone(),
        expected: source.checksum.clone().unwrap_or_default(),
        actual: commit.to_owned(),
    }
}

/// Returns the commit that a name stands for.
fn resolve(git: &Git<'_>, remote: &str, name: Option<&str>) -> Result<Found, FetchError> {
    let mut args = vec!["--quiet".to_owned(), "--symref".to_owned()];
    args.extend(["--".to_owned(), remote.to_owned()]);
    match name {
        None => args.push("HEAD".to_owned()),
        // The commit of an annotated tag has ^{} behind its name.
        Some(name) => args.extend([name.to_owned(), format!("{name}^{{}}")]),
    }
    let answer = git.run("ls-remote", args)?;
    let answer = String::from_utf8_lossy(&answer);
    let wrong = || FetchError::Answer { action: "ls-remote", remote: remote.to_owned() };
    let found = choose(&answer, name).ok_or_else(|| FetchError::NoReference {
        remote: remote.to_owned(),
        name: name.unwrap_or("HEAD").to_owned(),
    })?;
    if is_object(&found.commit) && is_object(found.object()) { Ok(found) } else { Err(wrong()) }
}

/// Picks a reference from those of a remote: the full name, else a branch, else a tag.
///
/// **Source** — `git-checkout(1)`, which prefers branches to tags, as BuildKit does.
fn choose(answer: &str, name: Option<&str>) -> Option<Found> {
    let lines: Vec<(&str, &str)> =
        answer.lines().filter_map(|line| line.split_once('\t')).collect();
    let object_of = |wanted: &str| {
        let is_id = |id: &str| !id.starts_with("ref: ");
        let line = lines.iter().find(|(id, found)| *found == wanted && is_id(id));
        line.map(|(id, _)| (*id).to_owned())
    };
    let found = |full: String| {
        let object = object_of(&full)?;
        // `ref: refs/heads/main` names the branch of HEAD.
        let branch = lines.iter().find(|(_, name)| *name == full);
        let branch = branch.and_then(|(to, _)| to.strip_prefix("ref: ")).map(str::to_owned);
        let name = Some(branch.unwrap_or_else(|| full.clone()));
        Some(match object_of(&format!("{full}^{{}}")) {
            Some(commit) => Found { commit, tag: Some(object), name },
            None => Found { commit: object, tag: None, name },
        })
    };
    let Some(name) = name else { return found("HEAD".to_owned()) };
    let prefixes = ["", "refs/", "refs/heads/", "refs/tags/"];
    prefixes.into_iter().find_map(|prefix| found(format!("{prefix}{name}")))
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
    let wanted = if keep { found.object() } else { commit };
    get(git, remote, wanted, found.name.as_deref())?;
    if keep {
        git.run("remote", ["add", "--", "origin", remote])?;
        // `git describe` and others look for the requested reference.
        if let Some(name) = found.name.as_deref().filter(|name| name.starts_with("refs/")) {
            git.run("update-ref", ["--", name, wanted])?;
        }
    }
    git.run("checkout", ["--quiet", "--force", "--detach", commit, "--"])?;
    if submodules {
        let args = ["--quiet", "update", "--init", "--recursive", "--depth=1"];
        git.run("submodule", args)?;
    }
    Ok(())
}

/// Fetches an object that leads to a commit: alone, else with its reference, else with everything.
fn get(git: &Git<'_>, remote: &str, id: &str, name: Option<&str>) -> Result<(), FetchError> {
    const QUIET: &[&str] = &["--quiet", "--no-tags", "--no-recurse-submodules"];
    const SHALLOW: &[&str] = &["--depth=1"];
    const ALL: &[&str] = &["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"];
    let mut attempts = vec![(SHALLOW, vec![id])];
    attempts.extend(name.map(|name| (SHALLOW, vec![name])));
    attempts.push((&[], ALL.to_vec()));
    let mut refused = None;
    for (depth, what) in attempts {
        match git.run("fetch", [QUIET, depth, &["--", remote], &what].concat()) {
            Ok(_) => {
                // The reference may have changed since it was looked up.
                if git.run("cat-file", ["-e", &format!("{id}^{{commit}}")]).is_ok() {
                    return Ok(());
                }
            }
            Err(error) if is_refusal(&error) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.filter(|_| name.is_some()).unwrap_or_else(|| FetchError::NoReference {
        remote: remote.to_owned(),
        name: id.to_owned(),
    }))
}

/// Returns whether a server refused to serve an object in this way.
fn is_refusal(error: &FetchError) -> bool {
    let FetchError::Git { said, .. } = error else { return false };
    REFUSALS.iter().any(|refusal| said.contains(refusal))
}

/// Returns the commit that was checked out, and when it was made, in seconds since 1970.
fn commit_and_time(git: &Git<'_>, remote: &str) -> Result<(String, u64), FetchError> {
    let answer =
        git.run("show", ["--no-patch", "--no-show-signature", "--format=%H %ct", "HEAD", "--"])?;
    let text = String::from_utf8_lossy(&answer);
    let wrong = || FetchError::Answer { action: "show", remote: remote.to_owned() };
    let (commit, time) = text.trim().split_once(' ').ok_or_else(wrong)?;
    Ok((commit.to_owned(), time.parse().map_err(|_| wrong())?))
}

/// Returns whether a name is the id of an object, in full.
fn is_object(name: &str) -> bool {
    matches!(name.len(), 40 | 64) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
#[path = "git/tests.rs"]
mod tests;
