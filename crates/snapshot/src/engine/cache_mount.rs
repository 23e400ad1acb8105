//! Folders that steps keep between builds (RUN `--mount=type=cache`).

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest as _, Sha256};
use xbuild_files::{CopyError, flatten};
use xbuild_layer::{LayerError, LayerWriter, Meta, Mtime, ShownPath, Tree};
use xbuild_model::run::{FIRST_OWNERS, Sharing};
use xbuild_model::seam::{CacheFolder, CacheRequest};
use xbuild_model::{Cancelled, Chain, DiffId, Digest, FailureKind, StepFailure, thread};
use xbuild_store::{CacheMount, CacheMountSlot};

use super::scratch::Scratch;
use super::shared::Shared;
use super::{owners, packed_mount, selection};
use crate::EngineError;

/// A cache folder in use.
pub(super) struct Held(CacheMount);

impl CacheFolder for Held {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Returns a free cache folder, and makes one if there is none.
pub(super) fn hold(shared: &Arc<Shared>, request: &CacheRequest<'_>) -> Result<Held, EngineError> {
    let (store, map, key) = (&shared.store, shared.namespace.map_name()?, key(request));
    loop {
        let number = match wait(shared, &map, &key, request.sharing)? {
            CacheMountSlot::Held(mount) => {
                shared.known(|known| known.mounts.insert(key, request.id.clone()));
                return Ok(Held(mount));
            }
            CacheMountSlot::Missing(number) => number,
        };
        shared.busy.with(&DiffId(key.clone()), || {
            if store.has_cache_mount(&map, &key, number)? {
                return Ok(());
            }
            let scratch = make(shared, &key, request)?;
            Ok::<_, EngineError>(store.publish_cache_mount(
                scratch.path(),
                &map,
                &key,
                number,
                &request.id,
            )?)
        })?;
    }
}

/// Waits for a cache folder that another step may hold, but not longer than the work is wanted.
fn wait(
    shared: &Arc<Shared>,
    map: &str,
    key: &Digest,
    sharing: Sharing,
) -> Result<CacheMountSlot, EngineError> {
    let (tell, told) = mpsc::channel();
    let tell_end = tell.clone();
    let _hook = shared.options.cancel.on_cancel(move || drop(tell_end.send(None)));
    let (store, map, key) = (shared.store.clone(), map.to_owned(), key.clone());
    // The kernel's wait for a lock cannot be given up. This thread may stay in it until the end of
    // the process, or gets the folder and drops it.
    thread::start("cache-folder", move || {
        tell.send(Some(store.hold_cache_mount(&map, &key, sharing)))
    })
    .map_err(|error| EngineError::Io { action: "wait for a cache folder", source: error.into() })?;
    match told.recv().ok().flatten() {
        Some(slot) => Ok(slot?),
        None => Err(StepFailure::new(FailureKind::Step, Cancelled).into()),
    }
}

/// Returns the key of a cache folder.
fn key(request: &CacheRequest<'_>) -> Digest {
    let mut hash = Sha256::new_with_prefix("xbuild cache mount 1\n");
    let mut field = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    field(request.id.as_bytes());
    match request.seed {
        None => {
            for number in [request.mode, request.uid, request.gid] {
                field(&number.to_le_bytes());
            }
        }
        // The root of a seeded folder is that of the seed.
        Some((Chain(layers), path)) => {
            field(path.as_bytes());
            layers.iter().for_each(|layer| field(layer.to_string().as_bytes()));
        }
    }
    Digest::from_sha256(hash.finalize().into())
}

/// Makes a cache folder, not yet published.
fn make(
    shared: &Arc<Shared>,
    key: &Digest,
    request: &CacheRequest<'_>,
) -> Result<Scratch, EngineError> {
    // If a shared cache's files cannot be had, the folder begins as it would without.
    let packed = packed_mount::find(shared, key);
    let packed = packed.and_then(|chain| seeded(shared, &chain, "/").ok());
    let (mode, uid, gid) = (request.mode & 0o7777, request.uid, request.gid);
    let own = || Meta { mode, uid, gid, mtime: now(), xattrs: Vec::new() };
    let (scratch, meta) = match (packed, request.seed) {
        (Some((scratch, _)), None) => (scratch, own()),
        (Some(packed), Some(_)) => packed,
        (None, None) => {
            let scratch = Scratch::new(shared, "cache")?;
            (scratch, own())
        }
        (None, Some((chain, path))) => seeded(shared, chain, path)?,
    };
    // Id 0 of the namespace is this process's own id.
    if (meta.uid, meta.gid) == (0, 0) {
        std::fs::set_permissions(scratch.content(), Permissions::from_mode(meta.mode))
            .map_err(|source| EngineError::Io { action: "set up the cache folder", source })?;
        return Ok(scratch);
    }
    let (uid, gid) = (meta.uid, meta.gid);
    shared.dress(&scratch.content(), vec![(Vec::new(), meta)]).map_err(|error| {
        EngineError::CacheOwner { id: request.id.clone(), uid, gid, source: error.into() }
    })?;
    Ok(scratch)
}

/// Returns a copy of a folder of a stack of layers, with the metadata of that folder.
fn seeded(shared: &Arc<Shared>, chain: &Chain, path: &str) -> Result<(Scratch, Meta), EngineError> {
    let tree = shared.tree(chain)?;
    let (below, meta) = folder(&tree, path).map_err(selection::failure)?;
    let source = Arc::new(selection::Layers::new(shared.clone(), chain.clone()));
    let ((), scratch) = shared.unpack(|pipe| {
        let mut writer = LayerWriter::new(pipe);
        flatten::to_tar(&below, source, &mut writer).map_err(selection::failure)?;
        writer.finish()?.flush().map_err(|source| LayerError::Write { source })?;
        Ok(())
    })?;
    let first = owners::below(shared, || Ok(below))?.filter(|first| !first.special.is_empty());
    if let Some(first) = first {
        let failed = |source| EngineError::Io { action: "write the owners of a cache", source };
        let text = serde_json::to_vec(&first.special).map_err(|error| failed(error.into()))?;
        std::fs::write(scratch.path().join(FIRST_OWNERS), text).map_err(failed)?;
    }
    Ok((scratch, meta))
}

/// Returns a folder of a tree as a tree of its own. Links are followed.
fn folder(tree: &Tree, path: &str) -> Result<(Tree, Meta), CopyError> {
    let shown = || ShownPath(path.as_bytes().to_vec());
    let found = tree.resolve(path.as_bytes(), true)?;
    let node = found.node.ok_or_else(|| CopyError::NotFound {
        path: shown(),
        place: "the image or stage",
        instead: Box::default(),
    })?;
    let meta = Meta { xattrs: Vec::new(), ..node.meta.clone() };
    let below = tree.below(&found.path).ok_or_else(|| CopyError::NotAFolder { path: shown() })?;
    Ok((below, meta))
}

fn now() -> Mtime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Mtime { secs: i64::try_from(since.as_secs()).unwrap_or(0), nanos: since.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::PathBuf;

    use xbuild_files::Root;
    use xbuild_model::seam::Snapshots as _;
    use xbuild_testkit::folders::listing;

    use super::super::tests::{Setup, message, setup, setup_with};
    use super::*;

    fn request(id: &str) -> CacheRequest<'static> {
        let (id, sharing) = (id.to_owned(), Sharing::Shared);
        CacheRequest { id, sharing, mode: 0o755, uid: 0, gid: 0, seed: None }
    }

    fn path(setup: &Setup, request: &CacheRequest<'_>) -> PathBuf {
        setup.engine.cache_folder(request).unwrap().path().to_owned()
    }

    #[test]
    fn is_the_same_for_the_same_name_and_attributes() {
        let setup = setup();
        let home = setup.engine.0.store.root().join("cache-mounts/map");
        let first = path(&setup, &request("a"));
        fs::write(first.join("kept"), "").unwrap();
        assert_eq!(path(&setup, &request("a")), first);
        assert!(path(&setup, &request("a")).join("kept").exists());
        // Names are not paths: CVE-2024-9675.
        let long = "x".repeat(5000);
        for id in ["b", "../../../a", "/etc", ".", "", "nul\0", "\u{1F4A9}\n", &long] {
            let other = path(&setup, &request(id));
            assert!(other != first && other.parent().unwrap().parent() == Some(&home), "{id}");
            assert_eq!(fs::read_dir(other).unwrap().count(), 0);
        }
        let mode = 0o1770;
        let other = path(&setup, &CacheRequest { mode, ..request("a") });
        assert_ne!(other, first);
        assert_eq!(fs::metadata(other).unwrap().mode() & 0o7777, mode);
    }

    #[test]
    fn has_the_owner_that_was_asked_for() {
        let request = CacheRequest { uid: 12, gid: 34, mode: 0o700, ..request("a") };
        let alone = setup_with(true);
        let meta = fs::metadata(path(&alone, &request)).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o700);
        if rustix::process::geteuid().is_root() {
            let meta = fs::metadata(path(&setup_with(false), &request)).unwrap();
            assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o700, 12, 34));
        } else {
            let failure = setup_with(false).engine.cache_folder(&request).map(drop).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::Environment);
            assert!(message(&failure).starts_with("cannot give the cache mount \"a\" to 12:34"));
        }
    }

    #[test]
    fn is_filled_once_from_layers() {
        let setup = setup();
        let lower: &[&str] = &["d a 711", "f a/gone 1", "f a/f text", "l link a", "l a/out /etc"];
        let chain = setup.image(&[lower, &["w a/gone"], &["f a/b/g 2"]]);
        let seeded = |path| CacheRequest { seed: Some((&chain, path)), ..request("a") };
        let first = path(&setup, &seeded("/link"));
        let root = Root::open(&first).unwrap();
        assert_eq!(listing(&first), ["b/ 755", "b/g 644 2", "f 644 text", "out -> /etc"]);
        assert_eq!(root.stat(b"").unwrap().mode, 0o711);
        root.unlink(b"f").unwrap();
        assert_eq!(path(&setup, &seeded("/link")), first);
        assert!(root.try_stat(b"f").unwrap().is_none());
        assert_ne!(path(&setup, &request("a")), first);
        assert_ne!(path(&setup, &seeded("/")), first);
        for (path, words) in [("/no", "not found"), ("/a/f", "not a directory")] {
            let failure = setup.engine.cache_folder(&seeded(path)).map(drop).unwrap_err();
            assert_eq!(failure.kind(), FailureKind::User);
            assert!(message(&failure).contains(words), "{}", message(&failure));
        }
    }

    /// Row A48 of the threat table.
    #[test]
    fn sources_stay_in_their_layers() {
        let setup = setup();
        let lines: &[&str] = &["f mark inside", "l root /", "l up ../../../..", "l d/out /../.."];
        let chain = setup.image(&[lines]);
        for source in
            ["/..", "/../../..", "/root", "/up", "/d/out", "/root/up/d/out/../..", "/d/.."]
        {
            let request = CacheRequest { seed: Some((&chain, source)), ..request(source) };
            let listed = listing(&path(&setup, &request));
            assert_eq!(listed.len(), lines.len() + 1, "{source}: {listed:?}");
            assert!(listed.contains(&"mark 644 inside".to_owned()), "{source}: {listed:?}");
        }
        let store = setup.engine.0.store.root().display().to_string();
        for source in ["/etc/passwd", &format!("/../../..{store}"), "/root/etc", "/up/proc/self"] {
            let request = CacheRequest { seed: Some((&chain, source)), ..request("a") };
            let failure = setup.engine.cache_folder(&request).map(drop).unwrap_err();
            assert!(message(&failure).contains("not found"), "{source}: {}", message(&failure));
        }
    }

    #[test]
    fn is_made_once_for_many_steps() {
        let setup = setup();
        let chain = setup.image(&[&["f a 1"]]);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (setup, chain) = (&setup, &chain);
                scope.spawn(move || {
                    let sharing = [Sharing::Shared, Sharing::Locked][number % 2];
                    let seed = Some((chain, "/"));
                    let wanted = CacheRequest { sharing, seed, ..request("a") };
                    let held = setup.engine.cache_folder(&wanted).unwrap();
                    fs::write(held.path().join(number.to_string()), "").unwrap();
                });
            }
        });
        let held = CacheRequest { sharing: Sharing::Private, ..request("a") };
        let held = CacheRequest { seed: Some((&chain, "/")), ..held };
        let one = setup.engine.cache_folder(&held).unwrap();
        assert_eq!(fs::read_dir(one.path()).unwrap().count(), 9);
        let two = setup.engine.cache_folder(&held).unwrap();
        assert_eq!(fs::read_dir(two.path()).unwrap().count(), 1);
        assert_eq!(setup.engine.0.store.cache_mounts().len(), 2);
    }
}
