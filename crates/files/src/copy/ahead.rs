//! Listing folders ahead of the walk that needs them.
//!
//! Of a large origin most of the time goes into asking the file system. A thread does that for the
//! folders that the walk is going to enter, while it stages the files of those before.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use xbuild_layer::{Kind, path};

use crate::CopyError;
use crate::source::{Listing, SourceTree};

/// What a folder holds, see [`SourceTree::list`].
type Listed = Result<Listing, CopyError>;

/// Folders that must be known before a thread is worth it.
const WORTH: usize = 16;

/// Folders that are listed and not yet taken, at most: bounds memory.
const READY: usize = 256;

/// Lists the folders of a tree, each once.
struct Ahead<'t> {
    tree: &'t dyn SourceTree,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Folders that will be entered, the next one last.
    expected: Vec<Vec<u8>>,
    /// Those that the thread has begun, `None` while it is at one.
    begun: HashMap<Vec<u8>, Option<Listed>>,
    /// Whether one of the two waits for the other: to wake somebody costs more than to list a
    /// small folder.
    is_awaited: bool,
    is_over: bool,
}

/// Has the thread end, however the walk does.
struct End<'a>(&'a Ahead<'a>);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}

/// Calls `walk` with what lists the folders of `tree`.
pub(super) fn with<T>(tree: &dyn SourceTree, walk: impl FnOnce(&mut Lister<'_, '_>) -> T) -> T {
    let ahead = Ahead { tree, state: Mutex::default(), changed: Condvar::new() };
    thread::scope(|scope| {
        let _end = End(&ahead);
        walk(&mut Lister { ahead: &ahead, scope, has_thread: false })
    })
}

/// What the walk lists folders with.
pub(super) struct Lister<'scope, 'env> {
    ahead: &'scope Ahead<'scope>,
    scope: &'scope Scope<'scope, 'env>,
    has_thread: bool,
}

impl Lister<'_, '_> {
    /// Returns what a folder holds.
    pub(super) fn list(&mut self, folder: &[u8]) -> Listed {
        let files = self.ahead.take(folder)?;
        if self.ahead.tree.is_on_disk() {
            self.expect(folder, &files);
        }
        Ok(files)
    }

    /// Has the folders in a folder listed.
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
            let thread = thread::Builder::new().name("list".to_owned());
            // Without the thread the walk does it all.
            self.has_thread = thread.spawn_scoped(self.scope, || ahead.work()).is_ok();
        }
    }
}

impl Ahead<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while holding it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits.
    fn wake(&self, state: &mut State) {
        if std::mem::take(&mut state.is_awaited) {
            self.changed.notify_all();
        }
    }

    /// Waits until `is_ready`, which only the other one can bring about.
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

    /// Returns what a folder holds, waiting for the thread if that is at it.
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
            // What the walk has passed by is not to be listed any more: the next one is last.
            if let Some(at) = state.expected.iter().rposition(|expected| expected == folder) {
                state.expected.truncate(at);
            }
            drop(state);
        }
        self.tree.list(folder)
    }

    /// Lists what is expected until the walk is over.
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

    /// A tree of folders; those with `!` in their name cannot be read.
    #[derive(Debug)]
    struct Folders(BTreeMap<Vec<u8>, Vec<&'static str>>);

    impl SourceTree for Folders {
        fn look(&self, _: &[u8]) -> Result<Option<SourceFile>, CopyError> {
            Ok(None)
        }

        fn list(&self, path: &[u8]) -> Listed {
            if path.contains(&b'!') {
                let path = ShownPath(path.to_vec());
                return Err(CopyError::NotFound { path, place: self.place() });
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
            Err(CopyError::NotFound { path: ShownPath(path.to_vec()), place: self.place() })
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

    /// Walks all folders but those that `skips` names.
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
