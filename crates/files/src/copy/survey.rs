//! A hash of everything that a COPY looks at in a build context.
//!
//! As long as the hash stays the same, the step writes the same files, and they need not be
//! determined again. This holds only if the files' stamps show every change, see
//! [`crate::context`]. Modification times change the hash, although they are not part of a content
//! key.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};
use xbuild_layer::path::{self, DotDot};
use xbuild_layer::{Kind, parallel};
use xbuild_model::file_op::CopyRequest;
use xbuild_model::{Digest, thread};

use crate::CopyError;
use crate::context::Context;
use crate::source::{Listing, SourceFile, SourceTree, expand, not_found};

/// Files from which on a survey is kept. Fewer files are staged in the time that the record takes.
pub(crate) const WORTH: usize = 500;

/// Known folders from which on a second thread pays.
const WORTH_THREADS: usize = 16;

/// Returns whether a survey covers everything that a request looks at.
pub(super) fn covers(request: &CopyRequest) -> bool {
    !request.sources.is_empty()
        && !request.parents
        && request.exclude.is_empty()
        && request.remotes.is_empty()
        && request.unpack != Some(true)
}

/// An unfinished survey.
#[derive(Debug)]
pub(super) struct Survey {
    sources: Sha256,
    /// The hashes of the folders by path. The order of the walk does not matter.
    folders: Vec<(Vec<u8>, [u8; 32])>,
    files: usize,
}

impl Survey {
    pub(super) fn new() -> Self {
        Self {
            sources: Sha256::new_with_prefix("xbuild survey 1\n"),
            folders: Vec::new(),
            files: 0,
        }
    }

    /// Adds a match of a source: its path, and the path that it leads to.
    pub(super) fn source(&mut self, matched: &[u8], path: &[u8], file: &SourceFile) {
        bytes(&mut self.sources, matched);
        add(&mut self.sources, path, file);
        self.files += 1;
    }

    /// Adds the files of a folder.
    pub(super) fn folder(&mut self, path: &[u8], files: &Listing) {
        self.add(path.to_vec(), hash(files), files.len());
    }

    fn add(&mut self, folder: Vec<u8>, hash: [u8; 32], files: usize) {
        self.folders.push((folder, hash));
        self.files += files;
    }

    /// Returns the number of files.
    pub(super) fn files(&self) -> usize {
        self.files
    }

    pub(super) fn finish(mut self) -> Digest {
        self.folders.sort_unstable();
        for (path, hash) in &self.folders {
            bytes(&mut self.sources, path);
            self.sources.update(hash);
        }
        Digest::from_sha256(self.sources.finalize().into())
    }
}

/// Makes the survey of a request, on all cores. [`covers`] must be true for it.
///
/// **Errors** — those of the step itself, which will meet them again.
pub(super) fn take(context: &Context, request: &CopyRequest) -> Result<Digest, CopyError> {
    let mut survey = Survey::new();
    let mut folders = Vec::new();
    for source in &request.sources {
        let written = source.as_bytes();
        let start = path::clean(written, DotDot::Clamp).map_err(CopyError::path(written))?;
        for matched in expand(context, &start)? {
            let path = context.follow(&matched)?;
            let file = context.look(&path)?.ok_or_else(|| not_found(context, written))?;
            survey.source(&matched, &path, &file);
            if file.kind == Kind::Dir {
                folders.push(path);
            }
        }
    }
    let state = State { todo: folders, busy: 0, survey, error: None };
    let walk = Walk { context, state: Mutex::new(state), changed: Condvar::new() };
    walk.work(WORTH_THREADS);
    let threads = if walk.lock().todo.is_empty() { 1 } else { parallel::cores() };
    thread::share("survey", threads, || walk.work(usize::MAX));
    let state = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.error {
        Some(error) => Err(error),
        None => Ok(state.survey.finish()),
    }
}

/// Lists folders on several threads.
struct Walk<'c> {
    context: &'c Context,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    todo: Vec<Vec<u8>>,
    /// Threads that are listing a folder, where they may find more folders.
    busy: usize,
    survey: Survey,
    error: Option<CopyError>,
}

impl State {
    fn is_over(&self) -> bool {
        self.error.is_some() || (self.todo.is_empty() && self.busy == 0)
    }

    /// Adds a listed folder.
    fn take(&mut self, folder: Vec<u8>, files: &Listing, hash: [u8; 32]) {
        let folders = files.iter().filter(|(_, file)| file.kind == Kind::Dir);
        self.todo.extend(folders.map(|(name, _)| path::join(&folder, name)));
        self.survey.add(folder, hash, files.len());
    }
}

impl Walk<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists folders until none is left, or until `enough` folders wait.
    fn work(&self, enough: usize) {
        let mut state = self.lock();
        while !state.is_over() && state.todo.len() < enough {
            let Some(folder) = state.todo.pop() else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.busy += 1;
            drop(state);
            let listed = self.context.list(&folder).map(|files| (hash(&files), files));
            state = self.lock();
            state.busy -= 1;
            match listed {
                Ok((hash, files)) => state.take(folder, &files, hash),
                Err(error) => state.error = Some(error),
            }
            if state.is_over() || !state.todo.is_empty() {
                self.changed.notify_all();
            }
        }
    }
}

/// Returns the hash of a folder's files.
fn hash(files: &Listing) -> [u8; 32] {
    let mut hash = Sha256::new();
    files.iter().for_each(|(name, file)| add(&mut hash, name, file));
    hash.finalize().into()
}

/// Adds a file with all its properties that may change.
fn add(hash: &mut Sha256, name: &[u8], file: &SourceFile) {
    let SourceFile { kind, meta, id, stamp } = file;
    bytes(hash, name);
    // Plain values can always be encoded.
    let encoded = postcard::to_allocvec(&(kind, meta, id, stamp)).unwrap_or_default();
    bytes(hash, &encoded);
}

fn bytes(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use xbuild_layer::Mtime;
    use xbuild_model::file_op::FileOp;

    use super::super::fixture::{Folder, folder, make_files, read_file, request};
    use super::super::{CopyEnv, Origin, Sources, Stage, transfer};
    use super::*;

    /// Returns the survey of staging a request.
    fn staged(folder: &Folder, line: &str) -> Option<Digest> {
        let env = CopyEnv {
            origin: Some(Origin::Context(folder.context.clone())),
            remotes: &[],
            default_mtime: Mtime::default(),
            read_file: &read_file,
        };
        let mut sources = Sources::new(env.origin.as_ref(), &[]);
        let mut stage = Stage::new(None);
        let copied =
            transfer::copy(&env, &request(line), &mut stage, &mut sources, &mut Vec::new());
        copied.unwrap().map(Survey::finish)
    }

    fn taken(folder: &Folder, line: &str) -> Option<Digest> {
        super::super::take_survey(&folder.context, &FileOp::Copy(request(line))).unwrap()
    }

    fn files() -> Folder {
        let many: String =
            (0..900).map(|n| format!("f m/{}/{}/f{n} 0644 - {n}\n", n % 7, n % 30)).collect();
        let few =
            "f a 0644 - A\nf b.txt 0644 - B\nl link m\nh m/hard a\nd empty\nf no/x 0600 - X\n";
        folder(&[few, &many].concat(), "no\n")
    }

    #[test]
    fn staging_looks_at_what_a_survey_looks_at() {
        let folder = files();
        for line in [
            "COPY . /to/",
            "COPY m /to/",
            "COPY link /to/",
            "COPY a *.txt m/3 m /to/",
            "COPY m/*/2? /to/",
        ] {
            let staged = staged(&folder, line);
            assert_eq!(staged, taken(&folder, line), "{line}");
            assert!(staged.is_some());
        }
        for line in ["COPY --parents m /to/", "COPY --exclude=*.txt . /to/", "ADD . /to/"] {
            assert_eq!((staged(&folder, line), taken(&folder, line)), (None, None), "{line}");
        }
    }

    #[test]
    fn any_change_shows() {
        let folder = files();
        let root = folder.dir.path();
        let mut seen = vec![taken(&folder, "COPY . /to/")];
        let changes: [&dyn Fn(); 9] = [
            &|| make_files(root, "f m/1/1/f1 0644 - !"),
            &|| make_files(root, "f m/1/1/new 0644 - "),
            &|| fs::remove_file(root.join("m/1/1/new")).unwrap(),
            &|| fs::rename(root.join("b.txt"), root.join("c.txt")).unwrap(),
            &|| fs::set_permissions(root.join("a"), fs::Permissions::from_mode(0o600)).unwrap(),
            &|| fs::set_permissions(root.join("m/2"), fs::Permissions::from_mode(0o700)).unwrap(),
            &|| {
                fs::remove_file(root.join("link")).unwrap();
                symlink("empty", root.join("link")).unwrap();
            },
            &|| fs::hard_link(root.join("c.txt"), root.join("d.txt")).unwrap(),
            // The same size and times; only the time that nobody can set differs.
            &|| {
                let time = fs::metadata(root.join("a")).unwrap().modified().unwrap();
                make_files(root, "f a 0600 - Z");
                let file = fs::File::options().write(true).open(root.join("a")).unwrap();
                file.set_modified(time).unwrap();
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            // Longer than the kernel's clock tick.
            std::thread::sleep(std::time::Duration::from_millis(20));
            change();
            let survey = taken(&folder, "COPY . /to/");
            assert_eq!(survey, staged(&folder, "COPY . /to/"), "{number}");
            assert!(!seen.contains(&survey), "{number}");
            seen.push(survey);
        }
        make_files(root, "f no/x 0600 - changed");
        assert_eq!(taken(&folder, "COPY . /to/"), seen[9], "what is ignored does not count");
    }

    #[test]
    fn what_cannot_be_listed_is_an_error() {
        let folder = files();
        assert!(take(&folder.context, &request("COPY m none /to/")).is_err());
    }
}
