//! The files that a step writes, their order, and their key.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use xbuild_layer::{Change, ContentHash, Entry, Hashing, Kind, LayerError, Mapped, Tree, parallel};
use xbuild_model::Digest;

use super::key::Key;
use super::origin::LayerSource;
use super::sink::EntrySink;
use super::sources::Sources;
use super::staged::{Files, Staged};
use crate::CopyError;
use crate::context::Hashed;
use crate::holes::FileContents;
use crate::source::Content;
use crate::stamp::ContextFile;

/// Files of one task of a thread: most files are small.
const GROUP: usize = 16;

/// A file to write.
#[derive(Debug, Clone, Copy)]
struct Planned<'a> {
    path: &'a [u8],
    file: &'a Staged,
}

impl Planned<'_> {
    fn entry(&self) -> Entry {
        let Staged { kind, meta, .. } = self.file;
        Entry { path: self.path.to_vec(), kind: kind.clone(), meta: meta.clone() }
    }

    /// Returns the bytes of the file.
    fn size(&self) -> u64 {
        if let Kind::File { size } = self.file.kind { size } else { 0 }
    }
}

/// Everything that a step writes.
#[derive(Debug)]
pub(crate) struct Outline {
    marks: Vec<Change>,
    files: Files,
}

impl Outline {
    /// Makes an outline of whiteouts and of files by path.
    pub(super) fn new(marks: Vec<Change>, files: Files) -> Self {
        Self { marks, files }
    }

    /// Returns the outline of a tree, without the files that `shows` holds back: it gets their paths,
    /// and whether they are folders.
    pub(crate) fn of_tree(tree: &Tree, shows: impl Fn(&[u8], bool) -> bool) -> Self {
        let mut first_names: BTreeMap<(u32, u32), Vec<u8>> = BTreeMap::new();
        let mut files = Files::new();
        let all = tree.walk(b"").filter(|(path, _)| !path.is_empty());
        for (path, node) in all.filter(|(path, node)| shows(path, node.is_folder())) {
            let mut file = Staged::without_content(node.kind.clone(), node.meta.clone());
            if let (Kind::File { .. }, Some(position)) = (&node.kind, node.position) {
                let number = node.layer;
                match first_names.get(&(number, position)) {
                    Some(target) => file.kind = Kind::HardLink { target: target.clone() },
                    None => {
                        first_names.insert((number, position), path.clone());
                        file.content = Content::Layer { number, position };
                        file.hash = node.content;
                    }
                }
            }
            files.insert(path, Box::new(file));
        }
        Self::new(Vec::new(), files)
    }

    /// Leaves out the files whose path is not `wanted`.
    pub(crate) fn retain(&mut self, wanted: impl Fn(&[u8]) -> bool) {
        self.files.retain(|path, _| wanted(path));
    }

    /// Reads the files of contexts whose hash is not known, on all cores.
    ///
    /// A file that has changed since it was found is taken as it is now.
    pub(super) fn hash_contents(&mut self, sources: &Sources) -> Result<(), CopyError> {
        let mut groups: Vec<Vec<Unread<'_>>> = Vec::new();
        let files = self.files.values_mut();
        let unknown = files.filter(|file| file.hash.is_none());
        for unread in unknown.filter_map(|file| Unread::of(file)) {
            match groups.last_mut() {
                Some(group) if group.len() < GROUP => group.push(unread),
                _ => groups.push(vec![unread]),
            }
        }
        parallel::each(groups, parallel::cores(), |group| {
            group.into_iter().try_for_each(|unread| {
                let (file, Hashed { hash, xattrs }) =
                    sources.context(unread.file).read(unread.file.path())?;
                *unread.kind = Kind::File { size: file.size() };
                *unread.hash = Some(hash);
                *unread.xattrs = xattrs;
                *unread.file = file;
                Ok::<_, CopyError>(())
            })
        })?;
        self.share_attributes();
        Ok(())
    }

    /// Gives all names of a file the attributes of the first one.
    fn share_attributes(&mut self) {
        let mut of_files = BTreeMap::new();
        for (path, file) in &self.files {
            if !file.meta.xattrs.is_empty() {
                of_files.insert(path.clone(), file.meta.xattrs.clone());
            }
        }
        if of_files.is_empty() {
            return;
        }
        for file in self.files.values_mut() {
            if let Kind::HardLink { target } = &file.kind
                && let Some(xattrs) = of_files.get(target)
            {
                file.meta.xattrs.clone_from(xattrs);
            }
        }
    }

    /// Returns whether any change to a file of a context would change its stamp.
    pub(super) fn is_settled(&self, sources: &Sources) -> bool {
        self.files.values().all(|file| match &file.content {
            Content::Context(file) => sources.context(file).is_settled(file),
            _ => true,
        })
    }

    /// Returns the files, by path ascending.
    pub(super) fn files(&self) -> impl Iterator<Item = (&[u8], &Staged)> {
        self.files.iter().map(|(path, file)| (path.as_slice(), &**file))
    }

    fn planned(&self) -> impl Iterator<Item = Planned<'_>> {
        self.files().map(|(path, file)| Planned { path, file })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of entries.
    pub(crate) fn len(&self) -> usize {
        self.marks.len() + self.files.len()
    }

    /// Returns the key of the files and their places. It covers everything but modification times;
    /// contents count by their hash.
    pub(crate) fn key(&self, sources: &Sources) -> Digest {
        // The version changes with the meaning of the fields, so that an old key never equals a new
        // one.
        let mut key = Key(Sha256::new_with_prefix("xbuild files 1\n"));
        for mark in &self.marks {
            match mark {
                Change::Whiteout(path) => key.field(b'w', path),
                Change::Opaque(path) => key.field(b'o', path),
                Change::Put(_) => {}
            }
        }
        for (path, file) in self.files() {
            key.field(b'f', path);
            key.numbers([file.meta.mode, file.meta.uid, file.meta.gid]);
            key.file(file);
            if let Content::Archive { number, position } = file.content {
                key.field(b'a', &sources.archives[number].hash().0);
                key.numbers([position, 0, 0]);
            }
        }
        Digest::from_sha256(key.0.finalize().into())
    }

    /// Writes everything. Files without contents come first, by path, so that folders come before
    /// their files. Regular files are next; those of layers and archives have the order of their
    /// layer or archive, so that each is read once and nothing is kept. Further names are last.
    pub(crate) fn write(
        &self,
        sources: &Sources,
        sink: &mut dyn EntrySink,
    ) -> Result<(), CopyError> {
        for mark in &self.marks {
            sink.mark(mark)?;
        }
        let nothing = &mut std::io::empty();
        let is_file = |planned: &Planned<'_>| matches!(planned.file.kind, Kind::File { .. });
        let is_link = |planned: &Planned<'_>| matches!(planned.file.kind, Kind::HardLink { .. });
        for planned in self.planned().filter(|planned| !is_file(planned) && !is_link(planned)) {
            sink.put(&planned.entry(), nothing, None)?;
        }
        let mut in_layers: Wanted<'_, u32> = BTreeMap::new();
        let mut in_archives: Wanted<'_, usize> = BTreeMap::new();
        for planned in self.planned().filter(is_file) {
            let hash = planned.file.hash;
            match &planned.file.content {
                Content::None => sink.put(&planned.entry(), nothing, hash)?,
                Content::Inline(bytes) => sink.put(&planned.entry(), &mut &bytes[..], hash)?,
                Content::Context(file) => {
                    let reopened = sources.context(file).reopen(file)?;
                    let result = sink.put(&planned.entry(), &mut reopened.contents(), hash);
                    // That a file changed explains more than the failure it caused.
                    reopened.check()?;
                    result?;
                }
                Content::Layer { number, position } => {
                    let wanted = in_layers.entry(*number).or_default();
                    wanted.entry(*position).or_default().push(planned);
                }
                Content::Archive { number, position } => {
                    let wanted = in_archives.entry(*number).or_default();
                    wanted.entry(*position).or_default().push(planned);
                }
            }
        }
        for (number, mut wanted) in in_layers {
            while !wanted.is_empty() {
                write_from_layer(number, &mut wanted, sources.layers(), sink)?;
            }
        }
        for (number, wanted) in in_archives {
            let wanted = wanted.into_iter().filter_map(|(position, mut files)| {
                // An archive is unpacked to one place, so each of its files is written once.
                Some((position, files.pop()?.entry()))
            });
            let archive = &sources.archives[number];
            archive.write(sources.context(archive.file()), wanted.collect(), sink)?;
        }
        for planned in self.planned().filter(is_link) {
            sink.put(&planned.entry(), nothing, None)?;
        }
        Ok(())
    }
}

/// The parts of a file of a context that reading it determines.
struct Unread<'a> {
    file: &'a mut ContextFile,
    kind: &'a mut Kind,
    hash: &'a mut Option<ContentHash>,
    xattrs: &'a mut Vec<(Vec<u8>, Vec<u8>)>,
}

impl<'a> Unread<'a> {
    fn of(staged: &'a mut Staged) -> Option<Self> {
        let Staged { kind, meta, content: Content::Context(file), hash } = staged else {
            return None;
        };
        Some(Self { file, kind, hash, xattrs: &mut meta.xattrs })
    }
}

/// The files to write, by the layer or archive of their contents, and by position in it.
type Wanted<'a, N> = BTreeMap<N, BTreeMap<u32, Vec<Planned<'a>>>>;

/// Writes one file for each position of a layer. The layer is read at most once, and not at all for
/// files that can be opened by themselves. A file with several places is written once in each call.
fn write_from_layer(
    number: u32,
    wanted: &mut BTreeMap<u32, Vec<Planned<'_>>>,
    layers: &dyn LayerSource,
    sink: &mut dyn EntrySink,
) -> Result<(), CopyError> {
    let mut reader = None;
    let mut next = 0;
    for (&position, files) in wanted.iter_mut() {
        let Some(planned) = files.pop() else { continue };
        if let Some(hash) = planned.file.hash
            && let Some(file) = layers.open_file(number, position)
        {
            let size = planned.size();
            let mut contents = Hashing::new(FileContents::new(&file, size), size);
            match sink.put(&planned.entry(), &mut contents, Some(hash)) {
                Ok(()) if contents.finish().hash == hash => continue,
                Ok(()) | Err(CopyError::Layer(LayerError::SizeChanged { .. })) => {
                    layers.reject_files(number);
                    return Err(CopyError::FolderChanged { number, position });
                }
                Err(error) => return Err(error),
            }
        }
        let reader = match &mut reader {
            Some(reader) => reader,
            None => {
                let opened = layers.open_layer(number);
                reader.insert(opened.map_err(|source| CopyError::Layers { source })?)
            }
        };
        let changed = CopyError::LayerChanged { number, position };
        let change = loop {
            match reader.next()? {
                None => return Err(changed),
                Some(change) if next == position => break change,
                Some(_) => next += 1,
            }
        };
        next += 1;
        match change {
            Change::Put(found) if found.kind == planned.file.kind => {
                let segments = layers.segments(number, position);
                let mut contents = Mapped::new(reader, segments);
                sink.put(&planned.entry(), &mut contents, planned.file.hash)?;
            }
            _ => return Err(changed),
        }
    }
    wanted.retain(|_, files| !files.is_empty());
    Ok(())
}
