//! Looks before a build whether what it writes can go where it is to go: a wrong path is found out before
//! the first step, not after the last.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use xbuild_build::request::{Output, Target};
use xbuild_wording::hints;

use crate::report::Problem;

/// Looks at the outputs of a build and at the `files` that it writes beside them.
pub(super) fn look<'a>(
    outputs: &'a [Output],
    files: impl IntoIterator<Item = &'a Path>,
) -> Result<(), Problem> {
    if outputs.iter().any(Output::is_stdout) && io::stdout().is_terminal() {
        return Err(Problem::command_line("an archive does not go to a terminal")
            .with_hint(hints::archive_to_file()));
    }
    let mut written = Vec::new();
    for output in outputs {
        match &output.target {
            Target::OciTar(Some(path))
            | Target::Docker(Some(path))
            | Target::Tar(Some(path), _) => written.push(path.as_path()),
            Target::OciFolder(path) | Target::Local(path, _) => folder(path)?,
            _ => {}
        }
    }
    written.extend(files);
    written.iter().try_for_each(|path| file(path))?;
    let mut places = BTreeSet::new();
    match written.iter().find(|path| place(path).is_some_and(|place| !places.insert(place))) {
        Some(path) => Err(fail(path, "two results would go there").with_hint(hints::own_files())),
        None => Ok(()),
    }
}

/// Returns the whole path of a file that a result replaces; `None` for pipes and devices, which take
/// several.
fn place(path: &Path) -> Option<PathBuf> {
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return None;
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = fs::canonicalize(parent.unwrap_or(Path::new("."))).ok()?;
    Some(parent.join(path.file_name()?))
}

/// Looks whether a file can be made, or replaced.
fn file(path: &Path) -> Result<(), Problem> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            return Err(fail(path, "it is a folder").with_hint(hints::file_in_folder()));
        }
        // A pipe or a device: opening it says more.
        Ok(found) if !found.is_file() => return Ok(()),
        _ => {}
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    match fs::metadata(parent) {
        Ok(found) if found.is_dir() => may_write(path, parent),
        Ok(_) => Err(fail(path, &format!("{} is no folder", parent.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let reason = format!("there is no folder {}", parent.display());
            Err(fail(path, &reason).with_hint(hints::make_folder(parent.display())))
        }
        Err(error) => Err(Problem::file("write", path, &error)),
    }
}

/// Looks whether a folder can be made, with those above it, or written to.
fn folder(path: &Path) -> Result<(), Problem> {
    let above = path.ancestors().filter(|above| !above.as_os_str().is_empty());
    let nearest =
        above.chain([Path::new(".")]).find_map(|above| Some((above, fs::metadata(above).ok()?)));
    match nearest {
        Some((nearest, found)) if !found.is_dir() => {
            Err(fail(path, &format!("{} is no folder", nearest.display())))
        }
        Some((nearest, _)) => may_write(path, nearest),
        // Making it says more.
        None => Ok(()),
    }
}

fn may_write(path: &Path, folder: &Path) -> Result<(), Problem> {
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|errno| {
        let reason = format!("in the folder {}: {}", folder.display(), io::Error::from(errno));
        fail(path, &reason)
    })
}

fn fail(path: &Path, reason: &str) -> Problem {
    Problem::input(format!("cannot write {}: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_places_are_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "").unwrap();
        let told = |result: Result<(), Problem>| match result {
            Ok(()) => String::new(),
            Err(problem) => problem.message().replace(&folder.path().display().to_string(), "F"),
        };
        for (name, expected) in [
            ("new", ""),
            ("file", ""),
            (".", "cannot write F/.: it is a folder"),
            ("no/x", "cannot write F/no/x: there is no folder F/no"),
            ("file/x", "cannot write F/file/x: F/file is no folder"),
        ] {
            let path = at(name);
            assert_eq!(told(look(&[], [path.as_path()])), expected);
            let output = Output::new(Target::OciTar(Some(path)));
            assert_eq!(told(look(&[output], [])), expected);
        }
        for (name, expected) in [
            ("new/and/more", ""),
            ("file/and/more", "cannot write F/file/and/more: F/file is no folder"),
        ] {
            let output = Output::new(Target::Local(at(name), Default::default()));
            assert_eq!(told(look(&[output], [])), expected);
        }
        assert_eq!(told(look(&[], [Path::new("/dev/null"), Path::new("relative")])), "");
        assert_eq!(told(look(&[], [Path::new("/dev/null"), Path::new("/dev/null")])), "");
        let output = Output::new(Target::OciTar(Some(at("one"))));
        let other = folder.path().join("./one");
        let expected = "cannot write F/./one: two results would go there";
        assert_eq!(told(look(&[output], [other.as_path()])), expected);
    }
}
