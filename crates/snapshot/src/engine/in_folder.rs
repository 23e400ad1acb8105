//! A step on a folder with all files, and the layer made from it; see `carried`.

use std::sync::Arc;

use tracing::Span;
use xbuild_model::owner::OwnersBelow;
use xbuild_model::records::Records;
use xbuild_model::rootfs::{Folder, RootFs};
use xbuild_model::seam::{Purpose, Workspace};
use xbuild_model::{Chain, DiffId, StepFailure, thread};

use super::folders::pipe;
use super::held::Held;
use super::shared::Shared;
use super::{changed, fill, obtain, owners, root_folder};
use crate::EngineError;
use crate::below::answer_all;
use crate::folder_tasks::{CHANGES, ChangesRequest};

/// A folder that a command changes.
pub(super) struct InFolder {
    shared: Arc<Shared>,
    parent: Chain,
    held: Held,
    root: RootFs,
    /// The mode of the root folder before the command.
    root_mode: u32,
    /// The owner of the root folder before the command; `None` for root.
    root_owner: Option<(u32, u32)>,
    /// The owners in the layers below, where they are recorded.
    owners: Option<OwnersBelow>,
}

impl InFolder {
    /// `is_own` says whether the root of this container is the folder.
    pub(super) fn prepare(
        shared: &Arc<Shared>,
        parent: &Chain,
        is_own: bool,
    ) -> Result<Self, EngineError> {
        let held = match is_own {
            true => obtain::own(shared, parent)?,
            false => obtain::obtain(shared, parent)?,
        };
        let (path, work) = (held.get().files(), held.get().work());
        let tree = shared.tree(parent)?;
        let (root_mode, root_owner) = root_folder::dress(shared, &path, tree.root().meta.clone())?;
        let root = RootFs::Folder(Folder { path, is_own: held.get().is_own, work });
        let owners = owners::below(shared, || Ok(tree))?;
        owners::write(&root, owners.as_ref())?;
        let (shared, parent) = (shared.clone(), parent.clone());
        Ok(Self { shared, parent, held, root, root_mode, root_owner, owners })
    }

    fn finish(self, records: Records, purpose: Purpose) -> Result<DiffId, EngineError> {
        let Self { shared, parent, mut held, root_mode, root_owner, owners, .. } = self;
        let folder = held.get();
        let now = fill::stamp_request(&shared, folder);
        let (before, settled) = (folder.stamps(), folder.settled.unwrap_or_default());
        let request =
            ChangesRequest { now, before, settled, root_mode, root_owner, owners, records };
        let (asked, questions) = pipe()?;
        let (answers, answered) = pipe()?;
        let span = Span::current();
        let made = std::thread::scope(|scope| {
            // It ends with the task, which has the other ends of both pipes.
            let answer = || {
                let _entered = span.enter();
                answer_all(asked, answered, || shared.tree(&parent))
            };
            thread::start_in(scope, "below", answer).map_err(|error| EngineError::Io {
                action: "start a thread",
                source: error.into(),
            })?;
            changed::layer(&shared, purpose, |layer| {
                shared.start(CHANGES, &request, vec![layer, questions, answers])
            })
        });
        let (layer, answer) = made?;
        let folder = held.get_mut();
        folder.walked(fill::settled(&answer)?, parent.with(layer.clone()));
        held.rest();
        Ok(layer)
    }
}

impl Workspace for InFolder {
    fn root(&self) -> &RootFs {
        &self.root
    }

    fn commit(self: Box<Self>, records: Records, purpose: Purpose) -> Result<DiffId, StepFailure> {
        self.finish(records, purpose).map_err(EngineError::of_command)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use xbuild_model::run::ReadySource;
    use xbuild_model::seam::Snapshots as _;
    use xbuild_testkit::folders::listing;

    use super::super::tests::setup_on_folders;
    use super::*;

    fn folder(workspace: &dyn Workspace) -> PathBuf {
        let RootFs::Folder(folder) = workspace.root() else { unreachable!("a folder") };
        folder.path.clone()
    }

    fn commit(workspace: Box<dyn Workspace>) -> DiffId {
        workspace.commit(Records::default(), Purpose::default()).unwrap()
    }

    #[test]
    fn a_stage_keeps_its_folder_and_a_branch_gets_another() {
        let setup = setup_on_folders();
        let chain = setup.image(&[&["d a 755", "f a/f 1", "f b 2"], &["w b", "f c 3"]]);
        let first = setup.engine.prepare(&chain).unwrap();
        let path = folder(&*first);
        assert_eq!(listing(&path), ["a/ 755", "a/f 644 1", "c 644 3"]);
        fs::write(path.join("c"), "new").unwrap();
        fs::remove_file(path.join("a/f")).unwrap();
        let next = chain.with(commit(first));
        let second = setup.engine.prepare(&next).unwrap();
        assert_eq!(folder(&*second), path);
        let branch = setup.engine.prepare(&next).unwrap();
        assert_ne!(folder(&*branch), path);
        assert_eq!(listing(&folder(&*branch)), listing(&path));
        // Nothing has changed.
        let last = next.with(commit(second));
        assert!(setup.engine.0.index(last.0.last().unwrap()).unwrap().changes().is_empty());
        drop(branch);
        // The same layers serve an overlay mount.
        assert_eq!(setup.engine.0.lowers(&last).unwrap().folders.len(), 3);
        setup.engine.settle().unwrap();
        // The folders are the next build's.
        assert!(!path.exists());
    }

    #[test]
    fn layers_are_applied_to_a_folder_as_they_are_merged() {
        let below: &[&str] = &[
            "d a 711",
            "d a/in 755",
            "f a/in/f 1",
            "f a/g 2",
            "d e 755",
            "f e/f 3",
            "d k 755",
            "f k/f 4",
            "l link a",
            "f file 5",
            "f twin 6",
            "h other twin",
            "d locked 555",
        ];
        for above in [
            &["f a/new 7"][..],
            &["w a/in", "f a/in2 8"],
            &["d a 700", "o a", "f a/only 9"],
            &["f e/f longer", "w e/f2", "w none/such"],
            &["f k kind", "d file 755", "f file/f in"],
            &["d link 755", "f link/f in"],
            &["f link/f in"],
            &["w link/g", "w a/g/x"],
            &["f twin changed", "f n 1", "h m n"],
            &["p file", "l k nowhere", "f locked/f 1"],
            &["w a", "f a/f anew"],
            &["o ", "f alone 1"],
        ] {
            let fresh = setup_on_folders();
            let stack = fresh.image(&[below, above]);
            let expected = listing(&folder(&*fresh.engine.prepare(&stack).unwrap()));
            let carried = setup_on_folders();
            let stack = carried.image(&[below, above]);
            let base = Chain(vec![stack.0[0].clone()]);
            let empty = commit(carried.engine.prepare(&base).unwrap());
            let chain = base.with(empty).with(stack.0[1].clone());
            let step = carried.engine.prepare(&chain).unwrap();
            assert_eq!(listing(&folder(&*step)), expected, "{above:?}");
            let times = |path: &std::path::Path| {
                let meta = fs::symlink_metadata(path).unwrap();
                meta.modified().unwrap()
            };
            let other = fresh.engine.prepare(&stack).unwrap();
            for name in ["a", "e", "k", "locked"] {
                if expected.iter().any(|line| line.starts_with(&format!("{name}/"))) {
                    let (one, two) = (folder(&*step).join(name), folder(&*other).join(name));
                    assert_eq!(times(&one), times(&two), "{name} {above:?}");
                }
            }
            assert!(carried.engine.0.index(&commit(step)).unwrap().changes().is_empty());
        }
    }

    #[test]
    fn mounts_share_a_folder_unless_they_write() {
        let setup = setup_on_folders();
        let chain = setup.image(&[&["d a 755", "f a/f 1"]]);
        let place = |files: &dyn xbuild_model::seam::MountFiles| match files.source("/a") {
            ReadySource::Tree { folder, path, writable } => (folder, path, writable),
            other => unreachable!("{other:?}"),
        };
        let one = setup.engine.mount_files(&chain, false).unwrap();
        let two = setup.engine.mount_files(&chain, false).unwrap();
        assert_eq!(place(&*one), place(&*two));
        let written = setup.engine.mount_files(&chain, true).unwrap();
        assert_ne!(place(&*written).0, place(&*one).0);
        assert!(place(&*written).2 && !place(&*one).2);
        // A step does not take a folder that others read.
        let step = setup.engine.prepare(&chain).unwrap();
        assert_ne!(folder(&*step), place(&*one).0);
        drop((step, written));
        let shown = place(&*one).0;
        drop((one, two));
        assert_eq!(folder(&*setup.engine.prepare(&chain).unwrap()), shown);
    }
}
