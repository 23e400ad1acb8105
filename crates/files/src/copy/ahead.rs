//! Listing folders ahead of the walk that needs them.
//!
//! For a large origin most of the time goes into listing folders. A thread lists the folders that
//! the walk is going to enter, while the walk stages the files of earlier ones.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use xbuild_layer::{Kind, path};
use xbuild_model::thread;

use crate::CopyError;
use crate::source::{Listing, SourceTree};

/// The files of a folder, see [`SourceTree::list`].
type Listed = Result<Listing, CopyError>;

/// Known folders from which on a thread pays.
const WORTH: usize = 16;

/// The most folders that are listed and not yet taken: bounds memory.
const READY: usize = 256;

/// Lists each folder of a tree once.
struct Ahead<'t> {
    tree: &'t dyn SourceTree,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Folders that the walk will enter, the next one last.
    expected: Vec<Vec<u8>>,
    /// Folders that the thread has begun; `None` while it lists one.
    begun: HashMap<Vec<u8>, Option<Listed>>,
    /// Whether the walk or the thread waits for the other one. To wake a thread takes longer than
    /// to list a small folder, so it is done only then.
    is_awaited: bool,
    is_over: bool,
}

/// Ends the thread, however the walk ends.
struct End<'a>(&'a Ahead<'a>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

/// Calls `walk` with a lister of the folders of `tree`.
pub(super) fn with<T>(tree: &dyn SourceTree, walk: impl FnOnce(&mut Lister<'_, '_>) -> T) -> T {
    let ahead = Ahead { tree, state: Mutex::default(), changed: Condvar::new() };
    std::thread::scope(|scope| {
        let _end = End(&ahead);
        walk(&mut Lister { ahead: &ahead, scope, has_thread: false })
    })
}

/// Lists folders for the walk.
pub(super) struct Lister<'scope, 'env> {
    ahead: &'scope Ahead<'scope>,
    scope: &'scope Scope<'scope, 'env>,
    has_thread: bool,
}

impl Lister<'_, '_> {
    /// Returns the files of a folder.
    pub(super) fn list(&mut self, folder: &[u8]) -> Listed {
        let files = self.ahead.take(folder)?;
        if self.ahead.tree.is_on_disk() {
            self.expect(folder, &files);
        }
        Ok(files)
    }

    /// Queues the folders in a folder for the thread.
    fn expect(&mut self, folder: &[u8], files: &Listing) {
        let folders = files.iter().filter(|(_, file)| file.kind == Kind::Dir);
        let folders = folders.map(|(name, _)| path::join(folder, name)).rev();
        let count = {
            let mut state = self.ahead.lock();
            state.expected.extend(folders);
            self.ahead.wake(&mut state);
            state.expected.len()
        };
        if count >= WORTH && !self.has_thread {
            let ahead = self.ahead;
            // Without a thread, the walk lists all folders itself.
            self.has_thread = thread::start_in(self.scope, "list", || ahead.work()).is_ok();
        }
    }
}

impl Ahead<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the other side if it waits.
    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.is_awaited) {
            self.changed.notify_all();
        }
    }

    /// Waits until `is_ready`, which only the other side can bring about.
    fn wait<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        is_ready: impl Fn(&State) -> bool,
    ) -> MutexGuard<'s, State> {
        while !is_ready(&state) {
            state.is_awaited = true;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// Returns the files of a folder. Waits for the thread if it is listing that folder.
    fn take(&self, folder: &[u8]) -> Listed {
        let mut state = self.lock();
        if state.begun.contains_key(folder) {
            let is_listed = |state: &State| !matches!(state.begun.get(folder), Some(None));
            state = self.wait(state, is_listed);
            let listed = state.begun.remove(folder).flatten();
            self.wake(&mut state);
            drop(state);
            if let Some(listed) = listed {
                return listed;
            }
        } else {
            // The next folder is last, so those after this one were passed by and are dropped.
            if let Some(at) = state.expected.iter().rposition(|expected| expected == folder) {
                state.expected.truncate(at);
            }
            drop(state);
        }
        self.tree.list(folder)
    }

    /// Lists the queued folders until the walk is over.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let is_ready = |state: &State| {
                state.is_over || (!state.expected.is_empty() && state.begun.len() < READY)
            };
            state = self.wait(state, is_ready);
            if state.is_over {
                return;
            }
            let Some(folder) = state.expected.pop() else { continue };
            state.begun.insert(folder.clone(), None);
            drop(state);
            let listed = self.tree.list(&folder);
            state = self.lock();
            state.begun.insert(folder, Some(listed));
            self.wake(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use xbuild_layer::{Meta, ShownPath};

    use super::*;
    use crate::source::{Fetched, SourceFile};

    /// A tree of folders; folders with `!` in their name cannot be read.
    #[derive(Debug)]
    struct Folders(BTreeMap<Vec<u8>, Vec<&'static str>>);

    impl SourceTree for Folders {
        fn look(&self, _: &[u8]) -> Result<Option<SourceFile>, CopyError> {
            Ok(None)
        }

        fn list(&self, path: &[u8]) -> Listed {
            if path.contains(&b'!') {
                let path = ShownPath(path.to_vec());
                return Err(CopyError::NotFound {
                    path,
                    place: self.place(),
                    instead: Box::default(),
                });
            }
            let file = |name: &&str| {
                let meta = Meta::default();
                (
                    name.as_bytes().to_vec(),
                    SourceFile { kind: Kind::Dir, meta, id: None, stamp: None },
                )
            };
            Ok(self.0.get(path).into_iter().flatten().map(file).collect())
        }

        fn fetch(&self, path: &[u8], _: &SourceFile) -> Result<Fetched, CopyError> {
            Err(CopyError::NotFound {
                path: ShownPath(path.to_vec()),
                place: self.place(),
                instead: Box::default(),
            })
        }

        fn place(&self) -> &'static str {
            "the test"
        }

        fn is_on_disk(&self) -> bool {
            true
        }
    }

    const NAMES: [&str; 20] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t",
    ];

    fn tree() -> Folders {
        let children = NAMES.map(|name| (name.as_bytes().to_vec(), NAMES[..5].to_vec()));
        Folders(children.into_iter().chain([(Vec::new(), NAMES.to_vec())]).collect())
    }

    /// Walks all folders but `skips`.
    fn walk(lister: &mut Lister<'_, '_>, skips: &[u8]) -> Result<Vec<Vec<u8>>, CopyError> {
        let (mut found, mut stack) = (Vec::new(), vec![Vec::new()]);
        while let Some(folder) = stack.pop() {
            let children = lister.list(&folder)?.into_iter();
            let children = children.map(|(name, _)| path::join(&folder, &name));
            let mut children: Vec<_> = children.filter(|path| path != skips).collect();
            found.extend(children.clone());
            children.reverse();
            stack.extend(children);
        }
        Ok(found)
    }

    #[test]
    fn a_walk_ahead_finds_what_a_walk_finds() {
        for skips in [&b""[..], b"b", b"t"] {
            let found = with(&tree(), |lister| walk(lister, skips)).unwrap();
            let count = if skips.is_empty() { 120 } else { 114 };
            assert_eq!(found.len(), count, "{skips:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_counts_only_if_it_is_asked_for() {
        let mut tree = tree();
        tree.0.get_mut(&b""[..]).unwrap().push("x!");
        with(&tree, |lister| walk(lister, b"x!")).unwrap();
        assert!(with(&tree, |lister| walk(lister, b"")).is_err());
    }
}
