//! The files that a step makes, on top of those of the image below.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use xbuild_layer::path;
use xbuild_layer::whiteout::{self, Role};
use xbuild_layer::{Change, EntryFault, Kind, Meta, ShownPath, Tree};

use super::staged::{Files, NewDir, Staged};
use crate::CopyError;
use crate::resolve::resolve;

/// The tree of the image below, with the files that the step has made so far on top of it.
#[derive(Debug)]
pub(crate) struct Stage<'t> {
    parent: Option<&'t Tree>,
    files: Files,
    /// Paths where the files of the image below are gone, with all files below these paths.
    masked: BTreeSet<Vec<u8>>,
    /// The further names of a staged regular file.
    links: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
}

impl<'t> Stage<'t> {
    pub(crate) fn new(parent: Option<&'t Tree>) -> Self {
        Self { parent, files: BTreeMap::new(), masked: BTreeSet::new(), links: BTreeMap::new() }
    }

    /// Returns the file at `path`. Links are not followed. The root is always a folder.
    pub(crate) fn look(&self, path: &[u8]) -> Option<(&Kind, &Meta)> {
        if let Some(file) = self.staged(path) {
            return Some((&file.kind, &file.meta));
        }
        let node = self.parent_node(path)?;
        Some((&node.kind, &node.meta))
    }

    /// Returns whether `path` is a folder.
    pub(crate) fn is_dir(&self, path: &[u8]) -> bool {
        path.is_empty() || matches!(self.look(path), Some((Kind::Dir, _)))
    }

    /// Returns the file of the image below at `path`, unless it is gone.
    fn parent_node(&self, path: &[u8]) -> Option<&'t xbuild_layer::Node> {
        let node = self.parent?.lookup(path)?;
        (!self.is_masked(path)).then_some(node)
    }

    fn is_masked(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        !self.masked.is_empty()
            && ends.chain([path.len()]).any(|end| self.masked.contains(&path[..end]))
    }

    /// Returns `path` with symbolic links followed, as if `base` were the root. The last part is
    /// followed if `follow_last` is set. Missing parts are taken literally.
    pub(crate) fn resolve(
        &self,
        base: &[u8],
        path: &[u8],
        follow_last: bool,
    ) -> Result<Vec<u8>, CopyError> {
        let follow = |at: &[u8]| -> Result<Option<Vec<u8>>, CopyError> {
            Ok(match self.look(&path::join(base, at)) {
                Some((Kind::Symlink { target }, _)) => Some(target.clone()),
                _ => None,
            })
        };
        Ok(path::join(base, &resolve(path, follow_last, follow)?))
    }

    /// Makes the folder `path` and its missing parents. The path has no symbolic links.
    pub(crate) fn make_dirs(&mut self, path: &[u8], new: &NewDir) -> Result<(), CopyError> {
        let mut missing = Vec::new();
        let mut at = path;
        while !at.is_empty() {
            match self.look(at) {
                Some((Kind::Dir, _)) => break,
                Some(_) => return Err(CopyError::NotAFolder { path: ShownPath(at.to_vec()) }),
                None => missing.push(at),
            }
            at = path::parent(at);
        }
        for path in missing.into_iter().rev() {
            let meta = Meta {
                mode: new.mode,
                uid: new.owner.0,
                gid: new.owner.1,
                mtime: new.mtime,
                xattrs: Vec::new(),
            };
            self.insert(path.to_vec(), Staged::without_content(Kind::Dir, meta))?;
        }
        Ok(())
    }

    /// Puts a file at `path`, in an existing folder. It replaces the file there and all files below
    /// it, unless both are folders.
    ///
    /// A layer cannot hold a name that begins with `.wh.`: there it removes a file. As in the
    /// reference, such a file does the same here.
    pub(crate) fn put(&mut self, path: Vec<u8>, file: Staged) -> Result<(), CopyError> {
        match whiteout::role(&path).map_err(CopyError::path(&path))? {
            Role::Plain => {}
            Role::Whiteout { .. } | Role::Opaque { .. } if file.kind == Kind::Dir => {
                return Err(CopyError::path(&path)(EntryFault::Whiteout));
            }
            Role::Whiteout { folder, name } => {
                self.hide(path::join(folder, name));
                return Ok(());
            }
            Role::Opaque { folder } => return self.hide_contents(folder),
            Role::Ignored => return Ok(()),
        }
        if !(file.kind == Kind::Dir && self.is_dir(&path)) {
            self.remove(&path);
        }
        self.insert(path, file)
    }

    /// Gives the staged regular file `target` the further name `path`. Returns false if there is no
    /// such file. The first of its names may be another one.
    pub(crate) fn link(&mut self, path: Vec<u8>, target: &[u8]) -> Result<bool, CopyError> {
        let target = match self.files.get(target).map(|file| &**file) {
            Some(Staged { kind: Kind::HardLink { target }, .. }) => target.clone(),
            Some(Staged { kind: Kind::File { .. }, .. }) => target.to_vec(),
            _ => return Ok(false),
        };
        if path == target {
            return Ok(true);
        }
        if whiteout::role(&path) != Ok(Role::Plain) {
            return Err(CopyError::path(&path)(EntryFault::Whiteout));
        }
        self.remove(&path);
        // Removing `path` may have removed the target.
        let Some(file) = self.files.get(&target) else { return Ok(false) };
        let kind = Kind::HardLink { target: target.clone() };
        let link = Staged::without_content(kind, file.meta.clone());
        self.links.entry(target).or_default().insert(path.clone());
        self.insert(path, link)?;
        Ok(true)
    }

    /// Returns the staged file at `path`; files of the image below do not count.
    pub(crate) fn staged(&self, path: &[u8]) -> Option<&Staged> {
        // A walk stages files mostly in order and asks for the next one, so one comparison is
        // enough.
        let (last, _) = self.files.last_key_value()?;
        if **last < *path { None } else { self.files.get(path).map(|file| &**file) }
    }

    /// Removes the file at `path` and all files below it.
    pub(crate) fn remove(&mut self, path: &[u8]) {
        if self.parent_node(path).is_some() {
            self.masked.insert(path.to_vec());
        } else if self.masked.is_empty() && self.staged(path).is_none() {
            // A missing file has no files below it, unless it was hidden.
            return;
        }
        let below = [path, b"/"].concat();
        let mut gone: Vec<Vec<u8>> = self
            .files
            .range::<[u8], _>((Bound::Included(&below[..]), Bound::Unbounded))
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&below))
            .cloned()
            .collect();
        gone.push(path.to_vec());
        let mut orphaned = Vec::new();
        for path in gone {
            match self.files.remove(&path).map(|file| *file) {
                Some(Staged { kind: Kind::HardLink { target }, .. }) => {
                    if let Some(names) = self.links.get_mut(&target) {
                        names.remove(&path);
                    }
                }
                Some(file) if self.links.contains_key(&path) => orphaned.push((path, file)),
                _ => {}
            }
        }
        for (path, file) in orphaned {
            self.move_contents(&path, file);
        }
    }

    /// Moves the contents of a file to another of its names.
    fn move_contents(&mut self, path: &[u8], file: Staged) {
        let Some(mut names) = self.links.remove(path) else { return };
        let Some(heir) = names.pop_first() else { return };
        for name in &names {
            if let Some(link) = self.files.get_mut(name) {
                link.kind = Kind::HardLink { target: heir.clone() };
            }
        }
        self.files.insert(heir.clone(), Box::new(file));
        self.links.insert(heir, names);
    }

    /// Removes the file of the image below at `path`, but no staged file.
    fn hide(&mut self, path: Vec<u8>) {
        if self.parent_node(&path).is_some() {
            self.masked.insert(path);
        }
    }

    /// Removes the files of the image below in `folder`.
    fn hide_contents(&mut self, folder: &[u8]) -> Result<(), CopyError> {
        if folder.is_empty() {
            let children = self.parent.into_iter().flat_map(|tree| tree.children(b""));
            let names: Vec<Vec<u8>> = children.map(|(name, _)| name.to_vec()).collect();
            names.into_iter().for_each(|name| self.hide(name));
            return Ok(());
        }
        if let Some(node) = self.parent_node(folder) {
            if !self.files.contains_key(folder) {
                let dir = Staged::without_content(Kind::Dir, node.meta.clone());
                self.insert(folder.to_vec(), dir)?;
            }
            self.hide(folder.to_vec());
        }
        Ok(())
    }

    fn insert(&mut self, path: Vec<u8>, file: Staged) -> Result<(), CopyError> {
        path::check(&path).map_err(CopyError::path(&path))?;
        self.files.insert(path, Box::new(file));
        Ok(())
    }

    /// Stages the parents of all files, as the image below has them. Without these entries, a tool
    /// that unpacks the layer by itself would invent their modes and owners, which would then hide
    /// those of the image below.
    fn repeat_folders(&mut self) {
        if self.parent.is_none() {
            return;
        }
        let mut repeated = BTreeMap::new();
        let mut done: &[u8] = b"";
        for path in self.files.keys().chain(&self.masked) {
            let mut at = path::parent(path);
            if at == done {
                continue;
            }
            done = at;
            while !at.is_empty() && !self.files.contains_key(at) && !repeated.contains_key(at) {
                if let Some(node) = self.parent_node(at) {
                    let dir = Staged::without_content(Kind::Dir, node.meta.clone());
                    repeated.insert(at.to_vec(), Box::new(dir));
                }
                at = path::parent(at);
            }
        }
        self.files.append(&mut repeated);
    }

    /// Returns the whiteouts, and the files by path.
    pub(crate) fn finish(mut self) -> (Vec<Change>, Files) {
        self.repeat_folders();
        let mut marks = Vec::new();
        for path in &self.masked {
            // A parent's whiteout covers it.
            if self.is_masked(path::parent(path)) {
                continue;
            }
            let had = self.parent.and_then(|tree| tree.lookup(path)).map(|node| &node.kind);
            match self.files.get(path).map(|file| &file.kind) {
                Some(Kind::Dir) if had == Some(&Kind::Dir) => {
                    marks.push(Change::Opaque(path.clone()));
                }
                Some(_) => {}
                None => marks.push(Change::Whiteout(path.clone())),
            }
        }
        (marks, self.files)
    }
}
