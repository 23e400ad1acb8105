//! COPY and ADD: from sources to staged files.

use std::collections::HashMap;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};
use xbuild_layer::path::{self, DotDot};
use xbuild_layer::{ContentHash, Kind, Meta, Mtime, ShownPath, attributes};
use xbuild_model::ModeChange;
use xbuild_model::file_op::{CopyRequest, InlineFile, PICKED, RemoteFiles};
use xbuild_model::remote::RemoteSource;

use super::ahead::{self, Lister};
use super::archive::Archive;
use super::env::{CopyEnv, CopyWarning};
use super::origin::Origin;
use super::owner;
use super::sources::Sources;
use super::stage::Stage;
use super::staged::{NewDir, Staged};
use super::survey::{self, Survey};
use crate::CopyError;
use crate::context::Context;
use crate::pattern::{Glob, Matched, PatternList};
use crate::source::{Content, FileId, Listing, SourceFile, SourceTree, expand, not_found};

/// Mode of an inline file.
const INLINE_MODE: u32 = 0o644;

/// The settings of all sources of a request.
struct Transfer<'s, 't> {
    stage: &'s mut Stage<'t>,
    dest: Vec<u8>,
    /// Whether the destination was written as a folder.
    is_folder: bool,
    owner: Option<(u32, u32)>,
    mode: Option<ModeChange>,
    exclude: PatternList,
    default_mtime: Mtime,
    /// The survey so far, if it covers the request.
    survey: Option<Survey>,
}

/// Stages all files of a COPY or ADD. Returns the survey, if it covers the request.
pub(super) fn copy(
    env: &CopyEnv<'_>,
    request: &CopyRequest,
    stage: &mut Stage<'_>,
    sources: &mut Sources,
    warnings: &mut Vec<CopyWarning>,
) -> Result<Option<Survey>, CopyError> {
    let mode = request.chmod.as_deref().map(ModeChange::parse).transpose()?;
    let owner = match request.chown.as_deref() {
        None => None,
        Some(text) if request.is_linked() => Some(owner::numbers(text)?),
        Some(text) => Some(owner::look_up(text, env.read_file, warnings)?),
    };
    let exclude = PatternList::new(&request.exclude)
        .map_err(|source| CopyError::Pattern { place: "--exclude", source })?;
    let dest = request.dest.as_bytes();
    let is_context = matches!(env.origin, Some(Origin::Context(_)));
    let mut transfer = Transfer {
        stage,
        dest: path::clean(dest, DotDot::Clamp).map_err(CopyError::path(dest))?,
        is_folder: dest.ends_with(b"/") || dest.ends_with(b"/.") || dest == b".",
        owner,
        mode,
        exclude,
        default_mtime: env.default_mtime,
        survey: (is_context && survey::covers(request)).then(Survey::new),
    };
    let mut remotes = request.remotes.iter().zip(env.remotes).peekable();
    for (index, source) in request.sources.iter().enumerate() {
        while let Some((remote, files)) = remotes.next_if(|(remote, _)| remote.after <= index) {
            transfer.remote(remote, files, sources)?;
        }
        match &env.origin {
            Some(Origin::Context(context)) => {
                let unpack = request.unpack == Some(true);
                transfer.source(&**context, source, request.parents, |transfer, path| {
                    if !unpack {
                        return Ok(false);
                    }
                    match Archive::detect(context, path)? {
                        Some(archive) => transfer.unpack(context, archive, sources).map(|()| true),
                        None => Ok(false),
                    }
                })?;
            }
            Some(Origin::Layers { tree, .. }) => {
                transfer.source(tree, source, request.parents, |_, _| Ok(false))?;
            }
            None => {
                return Err(no_origin(source));
            }
        }
    }
    remotes.try_for_each(|(remote, files)| transfer.remote(remote, files, sources))?;
    request.inline.iter().try_for_each(|file| transfer.inline(file))?;
    Ok(transfer.survey)
}

fn no_origin(source: &str) -> CopyError {
    let path = ShownPath(source.as_bytes().to_vec());
    CopyError::NotFound { path, place: "no origin", instead: Box::default() }
}

/// Stages one file or folder of the origin, with its own mode, under a fixed name.
///
/// **Errors** — [`CopyError::NotFound`].
pub(super) fn pick(
    env: &CopyEnv<'_>,
    wanted: &str,
    stage: &mut Stage<'_>,
) -> Result<(), CopyError> {
    let path = |text: &str| {
        path::clean(text.as_bytes(), DotDot::Clamp).map_err(CopyError::path(text.as_bytes()))
    };
    let tree: &dyn SourceTree = match &env.origin {
        Some(Origin::Context(context)) => &**context,
        Some(Origin::Layers { tree, .. }) => tree,
        None => {
            return Err(no_origin(wanted));
        }
    };
    let mut transfer = Transfer {
        stage,
        dest: Vec::new(),
        is_folder: true,
        owner: None,
        mode: None,
        exclude: PatternList::default(),
        default_mtime: env.default_mtime,
        survey: None,
    };
    let to = path(PICKED)?;
    let from = tree.follow(&path(wanted)?)?;
    let file = tree.look(&from)?.ok_or_else(|| not_found(tree, wanted.as_bytes()))?;
    if file.kind == Kind::Dir {
        let meta = transfer.meta(&file);
        transfer.stage.put(to.clone(), Staged::without_content(Kind::Dir, meta))?;
    }
    transfer.walk(tree, from, file, to, None)?;
    Ok(())
}

/// A folder that is being copied.
struct Frame {
    /// Its path in the origin.
    from: Vec<u8>,
    /// Its path below the source; empty for the source itself.
    below: Vec<u8>,
    /// Its path in the image.
    to: Vec<u8>,
    /// The file in the origin.
    file: SourceFile,
    /// Whether it is staged already. If not, it is staged with the first file in it.
    staged: bool,
    included: Matched,
    excluded: Matched,
    children: std::vec::IntoIter<(Vec<u8>, SourceFile)>,
}

impl Transfer<'_, '_> {
    /// Copies all matches of a source. `unpack` sees each match first, and returns whether it has
    /// handled it.
    fn source(
        &mut self,
        tree: &dyn SourceTree,
        written: &str,
        keep_parents: bool,
        mut unpack: impl FnMut(&mut Self, &[u8]) -> Result<bool, CopyError>,
    ) -> Result<(), CopyError> {
        let clean = |text: &str| {
            path::clean(text.as_bytes(), DotDot::Clamp).map_err(CopyError::path(text.as_bytes()))
        };
        let (start, kept) = match (keep_parents, written.split_once("/./")) {
            (false, _) => (clean(written)?, None),
            (true, Some((start, kept))) => (clean(start)?, Some(clean(kept)?)),
            (true, None) => (Vec::new(), Some(clean(written)?)),
        };
        // The kept part of a path is a pattern for the files below the start.
        let include = match &kept {
            Some(kept) if !kept.is_empty() => Some(
                PatternList::new([kept])
                    .map_err(|source| CopyError::Pattern { place: "a source", source })?,
            ),
            _ => None,
        };
        let mut is_found = false;
        for matched in expand(tree, &start)? {
            let path = tree.follow(&matched)?;
            let file = tree.look(&path)?.ok_or_else(|| not_found(tree, written.as_bytes()))?;
            if let Some(survey) = &mut self.survey {
                survey.source(&matched, &path, &file);
            }
            let is_regular = matches!(file.kind, Kind::File { .. });
            if is_regular && unpack(self, &path)? {
                is_found = true;
                continue;
            }
            let to = self.target(path::file_name(&matched), file.kind == Kind::Dir)?;
            is_found |= self.walk(tree, path, file, to, include.as_ref())?;
        }
        let is_pattern =
            [Some(&start), kept.as_ref()].into_iter().flatten().any(|p| Glob::is_pattern(p));
        if include.is_some() && !is_found && !is_pattern {
            return Err(not_found(tree, written.as_bytes()));
        }
        Ok(())
    }

    /// Copies a fetched file, or all files of a fetched repository.
    fn remote(
        &mut self,
        remote: &RemoteFiles,
        files: &Context,
        sources: &mut Sources,
    ) -> Result<(), CopyError> {
        // A name from a URL is never a pattern.
        let name = match &remote.source {
            RemoteSource::Http(http) => http.name.as_bytes(),
            RemoteSource::Git(_) => b"",
        };
        let file = files.look(name)?.ok_or_else(|| not_found(files, name))?;
        if remote.unpack
            && matches!(file.kind, Kind::File { .. })
            && let Some(archive) = Archive::detect(files, name)?
        {
            return self.unpack(files, archive, sources);
        }
        let to = self.target(name, file.kind == Kind::Dir)?;
        self.walk(files, name.to_vec(), file, to, None).map(drop)
    }

    /// Returns the path of a file or folder in the image, and makes missing parents.
    ///
    /// Symbolic links of the image on the way to the destination are followed, and so is the
    /// destination itself. The files of a folder go into the destination, which is made if it is
    /// missing.
    fn target(&mut self, name: &[u8], is_dir: bool) -> Result<Vec<u8>, CopyError> {
        let parent = ModeChange::of_parents(self.mode.as_ref());
        let new = self.new_dir(parent);
        let folder = if self.is_folder { &self.dest } else { path::parent(&self.dest) };
        let folder = self.stage.resolve(b"", folder, true)?;
        self.stage.make_dirs(&folder, &new)?;
        let to = self.stage.resolve(b"", &self.dest, true)?;
        if is_dir {
            if self.stage.look(&to).is_none() {
                self.stage.make_dirs(&to, &new)?;
            }
            return Ok(to);
        }
        let to = if self.stage.is_dir(&to) { path::join(&to, name) } else { to };
        self.stage.make_dirs(path::parent(&to), &new)?;
        Ok(to)
    }

    fn new_dir(&self, mode: u32) -> NewDir {
        NewDir { mode, owner: self.owner.unwrap_or((0, 0)), mtime: self.default_mtime }
    }

    /// Copies `file` and all files below it to `to`. Returns whether anything was copied.
    fn walk(
        &mut self,
        tree: &dyn SourceTree,
        from: Vec<u8>,
        file: SourceFile,
        to: Vec<u8>,
        include: Option<&PatternList>,
    ) -> Result<bool, CopyError> {
        if file.kind != Kind::Dir {
            self.put(tree, &from, &file, to, &mut HashMap::new())?;
            return Ok(true);
        }
        match self.stage.look(&to) {
            Some((Kind::Dir, meta)) if !to.is_empty() => {
                // It gets the time of the source and keeps the rest, unlike the folders below it.
                let meta = Meta { mtime: file.meta.mtime, ..meta.clone() };
                self.stage.put(to.clone(), Staged::without_content(Kind::Dir, meta))?;
            }
            Some((Kind::Dir, _)) | None => {}
            Some(_) => return Err(CopyError::OverFile { path: ShownPath(to) }),
        }
        ahead::with(tree, |lister| {
            let children = self.list(lister, &from)?.into_iter();
            let top = Frame {
                from,
                below: Vec::new(),
                to,
                file,
                staged: true,
                included: Matched::default(),
                excluded: Matched::default(),
                children,
            };
            self.walk_folder(tree, lister, top, include)
        })
    }

    fn list(&mut self, lister: &mut Lister<'_, '_>, folder: &[u8]) -> Result<Listing, CopyError> {
        let files = lister.list(folder)?;
        if let Some(survey) = &mut self.survey {
            survey.folder(folder, &files);
        }
        Ok(files)
    }

    /// Copies all files of a folder. Returns whether anything was copied.
    fn walk_folder(
        &mut self,
        tree: &dyn SourceTree,
        lister: &mut Lister<'_, '_>,
        top: Frame,
        include: Option<&PatternList>,
    ) -> Result<bool, CopyError> {
        let mut found = include.is_none();
        // The staged names of files with several names.
        let mut links = HashMap::new();
        let mut stack = vec![top];
        while let Some(frame) = stack.last_mut() {
            let Some((name, file)) = frame.children.next() else {
                stack.pop();
                continue;
            };
            let below = path::join(&frame.below, &name);
            let (is_included, included) = match include {
                Some(list) => list.matches(&below, &frame.included),
                None => (true, Matched::default()),
            };
            let (is_excluded, excluded) = self.exclude.matches(&below, &frame.excluded);
            let is_wanted = is_included && !is_excluded;
            let is_dir = file.kind == Kind::Dir;
            let may_include =
                is_included || include.is_some_and(|list| list.may_match_below(&below, false));
            let may_stay = !is_excluded || self.exclude.may_match_below(&below, true);
            let is_entered = is_dir && may_include && may_stay;
            if !is_wanted && !is_entered {
                continue;
            }
            let from = path::join(&frame.from, &name);
            let to = path::join(&frame.to, &name);
            if is_wanted {
                found = true;
                self.stage_parents(&mut stack)?;
                self.put(tree, &from, &file, to.clone(), &mut links)?;
            }
            if is_entered {
                let children = self.list(lister, &from)?.into_iter();
                let staged = is_wanted;
                stack.push(Frame { from, below, to, file, staged, included, excluded, children });
            }
        }
        Ok(found)
    }

    /// Stages parents that are not selected themselves, but that a selected file needs.
    fn stage_parents(&mut self, stack: &mut [Frame]) -> Result<(), CopyError> {
        for frame in stack.iter_mut().filter(|frame| !frame.staged) {
            let meta = match self.stage.look(&frame.to) {
                None => self.meta(&frame.file),
                Some((Kind::Dir, meta)) => Meta { mode: frame.file.meta.mode, ..meta.clone() },
                Some(_) => return Err(CopyError::OverFile { path: ShownPath(frame.to.clone()) }),
            };
            self.stage.put(frame.to.clone(), Staged::without_content(Kind::Dir, meta))?;
            frame.staged = true;
        }
        Ok(())
    }

    /// Stages one file.
    fn put(
        &mut self,
        tree: &dyn SourceTree,
        from: &[u8],
        file: &SourceFile,
        to: Vec<u8>,
        links: &mut HashMap<FileId, Vec<u8>>,
    ) -> Result<(), CopyError> {
        let is_dir = file.kind == Kind::Dir;
        match self.stage.look(&to) {
            Some((Kind::Dir, _)) if !is_dir => {
                return Err(CopyError::OverFolder { path: ShownPath(to) });
            }
            Some((kind, _)) if is_dir && *kind != Kind::Dir => {
                return Err(CopyError::OverFile { path: ShownPath(to) });
            }
            _ => {}
        }
        let mut meta = self.meta(file);
        if !matches!(file.kind, Kind::File { .. }) {
            return self.stage.put(to, Staged::without_content(file.kind.clone(), meta));
        }
        if let Some(first) = file.id.and_then(|id| links.get(&id)) {
            let first = first.clone();
            if self.stage.link(to.clone(), &first)? {
                return Ok(());
            }
        }
        let fetched = tree.fetch(from, file)?;
        meta.xattrs = fetched.xattrs;
        if let Some(id) = file.id {
            links.insert(id, to.clone());
        }
        self.stage.put(
            to,
            Staged {
                kind: Kind::File { size: fetched.size },
                meta,
                content: fetched.content,
                hash: fetched.hash,
            },
        )
    }

    /// Returns the owner, mode, time and attributes of a file in the image.
    fn meta(&self, file: &SourceFile) -> Meta {
        let (uid, gid) = self.owner.unwrap_or((file.meta.uid, file.meta.gid));
        // As in BuildKit, a copy has no access list.
        let narrow = attributes::narrowed(file.meta.mode, &file.meta.xattrs);
        let mode = match (&file.kind, &self.mode) {
            (Kind::Symlink { .. }, _) => 0o777,
            (kind, Some(change)) => change.apply(narrow, *kind == Kind::Dir),
            (_, None) => narrow,
        };
        let xattrs = xbuild_layer::capability::exported(&file.meta.xattrs);
        Meta { mode, uid, gid, mtime: file.meta.mtime, xattrs }
    }

    /// Stages a file that is written in the Dockerfile.
    fn inline(&mut self, file: &InlineFile) -> Result<(), CopyError> {
        let name = file.name.as_bytes();
        let clean = path::clean(name, DotDot::Clamp).map_err(CopyError::path(name))?;
        let to = self.target(path::file_name(&clean), false)?;
        if self.stage.is_dir(&to) {
            return Err(CopyError::OverFolder { path: ShownPath(to) });
        }
        let contents: Arc<[u8]> = file.contents.as_bytes().into();
        let source = SourceFile {
            kind: Kind::File { size: contents.len() as u64 },
            meta: Meta { mode: INLINE_MODE, mtime: self.default_mtime, ..Meta::default() },
            id: None,
            stamp: None,
        };
        let staged = Staged {
            meta: self.meta(&source),
            kind: source.kind,
            hash: Some(ContentHash(Sha256::digest(&contents).into())),
            content: Content::Inline(contents),
        };
        self.stage.put(to, staged)
    }

    /// Stages the files of an archive. The destination becomes a folder in any case.
    fn unpack(
        &mut self,
        context: &Context,
        archive: Archive,
        sources: &mut Sources,
    ) -> Result<(), CopyError> {
        let base = self.stage.resolve(b"", &self.dest, true)?;
        let new = self.new_dir(0o755);
        self.stage.make_dirs(&base, &new)?;
        let number = sources.archives.len();
        archive.stage(context, number, &base, self.owner, self.default_mtime, self.stage)?;
        sources.archives.push(archive);
        Ok(())
    }
}
