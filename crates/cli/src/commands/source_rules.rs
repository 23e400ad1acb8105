//! The arguments for source policies and the lock file, and their meaning.

use std::fs;
use std::path::{Path, PathBuf};

use xbuild_build::request::{ContextPlace, SourceRules};
use xbuild_build::sources::{Lock, Policy};
use xbuild_wording::hints;

use super::build_args::BuildArgs;
use crate::report::Problem;

/// The name of the lock file.
const LOCK: &str = "xbuild.lock";

/// Returns the rules of a build.
///
/// **Source** — `docker buildx` reads the policy whose file `EXPERIMENTAL_BUILDKIT_SOURCE_POLICY` names.
pub(super) fn rules(args: &BuildArgs, context: &ContextPlace) -> Result<SourceRules, Problem> {
    let files = args.source_policy_file.iter();
    let policies = files.map(|path| policy(path)).collect::<Result<_, Problem>>();
    let policies = policies.map_err(|problem| problem.of_option("source-policy-file"))?;
    let path = lock_path(args, context);
    let lock = match args.locked {
        true => Some(read_lock(&path).map_err(|problem| problem.with_hint(hints::lock_makes()))?),
        false => None,
    };
    Ok(SourceRules { policies, lock, is_locked: args.locked })
}

fn policy(path: &Path) -> Result<Policy, Problem> {
    let text = fs::read_to_string(path).map_err(|error| Problem::file("read", path, &error))?;
    Policy::read(&path.display().to_string(), &text)
        .map_err(|error| Problem::input(error.to_string()))
}

/// Returns the path of the lock file: the one that is named, else in the build context if that is a
/// folder, else in the current folder.
pub(super) fn lock_path(args: &BuildArgs, context: &ContextPlace) -> PathBuf {
    match (&args.lock_file, context) {
        (Some(path), _) => path.clone(),
        (None, ContextPlace::Folder(folder)) => folder.join(LOCK),
        (None, _) => PathBuf::from(LOCK),
    }
}

/// Reads a lock file.
pub(super) fn read_lock(path: &Path) -> Result<Lock, Problem> {
    let text = fs::read_to_string(path).map_err(|error| Problem::file("read", path, &error))?;
    Lock::read(&text).map_err(|error| Problem::input(format!("{}: {error}", path.display())))
}
