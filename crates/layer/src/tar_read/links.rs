//! The symbolic links that a layer has put so far.
//!
//! Entries may go through them: `lib -> usr/lib`, then `lib/x`. Other engines write such a file to
//! `usr/lib/x`. Here the names are resolved inside the root, so the index, the tree and the
//! unpacked folder agree, and no caller of the reader meets a path with a link in it.

use std::collections::BTreeMap;

use crate::EntryFault;
use crate::path::{self, MAX_LINKS};
use crate::whiteout;

#[derive(Debug, Default)]
pub(super) struct Links {
    /// Targets by the path of the link; paths go through no link.
    targets: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The folder that was resolved last, and its real path.
    last: Option<(Vec<u8>, Vec<u8>)>,
}

impl Links {
    /// Returns the real path of an entry's clean path. The last part is not followed.
    pub(super) fn locate(&mut self, path: &[u8]) -> Result<Vec<u8>, EntryFault> {
        let (folder, name) = path::split(path);
        if self.targets.is_empty() || folder.is_empty() {
            return Ok(path.to_vec());
        }
        let path = path::join(&self.resolve(folder)?, name);
        path::check(&path)?;
        Ok(path)
    }

    /// Returns the real path of the folder at a clean path.
    ///
    /// **Errors** — [`EntryFault::LinkLoop`]; `Whiteout` if a link leads to a folder with the name
    /// of a whiteout; a path that is too long.
    pub(super) fn resolve(&mut self, folder: &[u8]) -> Result<Vec<u8>, EntryFault> {
        match &self.last {
            Some((asked, found)) if asked == folder => Ok(found.clone()),
            _ => {
                let found = self.follow(folder)?;
                self.last = Some((folder.to_vec(), found.clone()));
                Ok(found)
            }
        }
    }

    fn follow(&self, folder: &[u8]) -> Result<Vec<u8>, EntryFault> {
        let mut rest: Vec<&[u8]> = folder.split(|&byte| byte == b'/').rev().collect();
        let mut at = Vec::new();
        let mut links = 0;
        while let Some(part) = rest.pop() {
            if matches!(part, b"" | b".") {
                continue;
            }
            if part == b".." {
                at.truncate(path::parent(&at).len());
                continue;
            }
            let length = at.len();
            path::push(&mut at, part);
            if let Some(target) = self.targets.get(&at) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(EntryFault::LinkLoop);
                }
                at.truncate(if target.first() == Some(&b'/') { 0 } else { length });
                rest.extend(target.split(|&byte| byte == b'/').rev());
            }
        }
        path::check(&at)?;
        if whiteout::is_reserved(&at) {
            return Err(EntryFault::Whiteout);
        }
        Ok(at)
    }

    /// Notes that the layer puts a symbolic link at `path`.
    pub(super) fn put_link(&mut self, path: &[u8], target: &[u8]) {
        self.put_other(path);
        self.targets.insert(path.to_vec(), target.to_vec());
        self.last = None;
    }

    /// Notes that the layer puts a further name of the file at `target`.
    pub(super) fn put_name(&mut self, path: &[u8], target: &[u8]) {
        match self.targets.get(target).cloned() {
            Some(target) => self.put_link(path, &target),
            None => self.put_other(path),
        }
    }

    /// Notes that the layer puts a folder at `path`.
    pub(super) fn put_folder(&mut self, path: &[u8]) {
        if self.targets.remove(path).is_some() {
            self.last = None;
        }
    }

    /// Notes that the layer puts another kind of file at `path`, which has no files below it.
    pub(super) fn put_other(&mut self, path: &[u8]) {
        self.put_folder(path);
        let mut below = path.to_vec();
        below.push(b'/');
        while let Some((link, _)) = self.targets.range(below.clone()..).next()
            && link.starts_with(&below)
        {
            let link = link.clone();
            self.targets.remove(&link);
            self.last = None;
        }
    }
}
