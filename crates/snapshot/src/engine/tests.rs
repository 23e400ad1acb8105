use super::*;
use std::collections::HashMap;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use xbuild_files::Context;
use xbuild_files::Root;
use xbuild_layer::Change;
use xbuild_model::file_op::MakeDir;
use xbuild_model::manifest::{DOCKER_LAYER_GZIP, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use xbuild_model::records::{Owners, Records};
use xbuild_model::rootfs::{Overlay, RootFs, RootKind};
use xbuild_model::seam::{PendingTask, Purpose, Workspace};
use xbuild_model::{BlobSource, Descriptor, Digest, FailureKind, TaskFailure};
use xbuild_testkit::folders::listing;
use xbuild_testkit::layers::layer;
use xbuild_testkit::spans;

use crate::tasks;

/// Returns the folders of a workspace.
pub(super) fn overlay(workspace: &dyn Workspace) -> &Overlay {
    let RootFs::Overlay(overlay) = workspace.root() else { unreachable!("an overlay mount") };
    overlay
}

/// Does the tasks in this process. An ordinary user has a single id.
struct Here {
    single: bool,
    kind: RootKind,
}

struct Task(std::thread::JoinHandle<Result<Vec<u8>, TaskFailure>>);

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

impl Namespace for Here {
    fn start(
        &self,
        name: &'static str,
        request: Vec<u8>,
        fds: Vec<OwnedFd>,
    ) -> Result<Box<dyn PendingTask>, StepFailure> {
        let (_, task) = tasks::all().into_iter().find(|(known, _)| *known == name).unwrap();
        Ok(Box::new(Task(std::thread::spawn(move || task(&request, fds)))))
    }

    fn map_name(&self) -> Result<String, StepFailure> {
        Ok("map".to_owned())
    }

    fn owners(&self) -> Result<Owners, StepFailure> {
        Ok(if self.single { Owners::Recorded } else { Owners::Real })
    }

    fn root_kind(&self) -> Result<RootKind, StepFailure> {
        Ok(self.kind)
    }

    fn join(&self, _: &[PathBuf], _: &Path) -> Result<(), StepFailure> {
        Err(StepFailure::new(FailureKind::Environment, Failed("no mounts here".to_owned())))
    }
}

impl PendingTask for Task {
    fn wait(self: Box<Self>) -> Result<Vec<u8>, StepFailure> {
        let answer = self.0.join().unwrap();
        answer.map_err(|failure| StepFailure::new(failure.kind, failure))
    }
}

/// Blobs by digest, and how often one was opened.
#[derive(Default)]
struct Origin {
    blobs: Mutex<HashMap<Digest, Vec<u8>>>,
    opened: AtomicU32,
}

impl Blobs for Origin {
    fn open(
        &self,
        blob: &Descriptor,
        _source: &BlobSource,
        _offset: u64,
    ) -> Result<Box<dyn Read + Send>, StepFailure> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let blobs = self.blobs.lock().unwrap();
        let blob = blobs.get(&blob.digest).cloned();
        let blob = blob
            .ok_or_else(|| StepFailure::new(FailureKind::Remote, Failed("no blob".to_owned())))?;
        Ok(Box::new(io::Cursor::new(blob)))
    }
}

use std::io;

pub(super) struct Setup {
    pub(super) engine: Engine,
    origin: Arc<Origin>,
    _temp: tempfile::TempDir,
}

pub(super) fn setup_with(single: bool) -> Setup {
    setup_of(single, EngineOptions::default())
}

/// Makes an engine with a build context.
pub(super) fn setup_in(context: Arc<Context>) -> Setup {
    let contexts = [(String::new(), context)].into();
    setup_of(true, EngineOptions { contexts, ..EngineOptions::default() })
}

/// Makes an engine for machines without overlay mounts.
pub(super) fn setup_on_folders() -> Setup {
    let single = !rustix::process::geteuid().is_root();
    setup_for(Here { single, kind: RootKind::Folder }, EngineOptions::default())
}

pub(super) fn setup_of(single: bool, options: EngineOptions) -> Setup {
    setup_for(Here { single, kind: RootKind::Overlay }, options)
}

fn setup_for(namespace: Here, options: EngineOptions) -> Setup {
    let temp = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(&temp.path().join("store")).unwrap());
    let origin = Arc::new(Origin::default());
    let engine = Engine::new(store, origin.clone(), Arc::new(namespace), options);
    Setup { engine, origin, _temp: temp }
}

pub(super) fn setup() -> Setup {
    setup_with(!rustix::process::geteuid().is_root())
}

impl Setup {
    /// Makes an image of layers known and returns it.
    pub(super) fn image(&self, layers: &[&[&str]]) -> Chain {
        let layers: Vec<_> = layers.iter().map(|lines| self.publish(&layer(lines))).collect();
        self.engine.add_image(&layers);
        Chain(layers.into_iter().map(|layer| layer.diff_id).collect())
    }

    pub(super) fn publish(&self, tar: &[u8]) -> ImageLayer {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(tar).unwrap();
        let blob = gzip.finish().unwrap();
        let descriptor = Descriptor::of(DOCKER_LAYER_GZIP, &blob);
        self.origin.blobs.lock().unwrap().insert(descriptor.digest.clone(), blob);
        let path = PathBuf::from("origin");
        let source = BlobSource::Layout { path };
        ImageLayer { diff_id: DiffId(Digest::of(tar)), descriptor, source }
    }

    pub(super) fn opened(&self) -> u32 {
        self.origin.opened.load(Ordering::Relaxed)
    }

    fn changes(&self, layer: &DiffId) -> Vec<Change> {
        let mut reader = self.engine.read_layer(layer).unwrap();
        std::iter::from_fn(|| reader.next().unwrap()).collect()
    }
}

pub(super) fn message(failure: &StepFailure) -> String {
    let mut text = failure.to_string();
    let mut cause = std::error::Error::source(failure);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_layer_is_pulled_once_and_only_when_needed() {
    let setup = setup();
    let chain = setup.image(&[&["f a 1"], &["f b 1"]]);
    assert!(chain.0.iter().all(|layer| setup.engine.has_layer(layer)));
    assert!(matches!(setup.engine.blob(&chain.0[0]).unwrap(), LayerBlob::Remote(_)));
    assert_eq!(setup.opened(), 0);
    let lower = Chain(vec![chain.0[0].clone()]);
    assert!(setup.engine.tree(&lower).unwrap().lookup(b"a").is_some());
    assert_eq!(setup.opened(), 1);
    let LayerBlob::Stored { descriptor, .. } = setup.engine.blob(&chain.0[0]).unwrap() else {
        panic!()
    };
    assert_eq!(descriptor.media_type, DOCKER_LAYER_GZIP);
    assert!(setup.engine.tree(&chain).unwrap().lookup(b"b").is_some());
    setup.engine.prepare(&chain).unwrap();
    setup.engine.prepare(&chain).unwrap();
    assert_eq!(setup.opened(), 2);
}

#[test]
fn a_step_is_selected_without_pulling_once_the_layers_below_were_indexed() {
    let setup = setup();
    let chain = setup.image(&[&["d a 755"], &["f b 1"]]);
    let op = FileOp::MakeDir(MakeDir { path: "/a".to_owned(), user: String::new() });
    let is_free = |below: &Chain, origin: Option<&CopyOrigin>| {
        setup.engine.selects_without_pulling(below, &op, origin).unwrap()
    };
    let from = CopyOrigin::Layers(chain.clone());
    assert!(is_free(&Chain::default(), None));
    assert!(!is_free(&chain, None) && !is_free(&Chain::default(), Some(&from)));
    assert_eq!(setup.opened(), 0);
    setup.engine.tree(&chain).unwrap();
    assert!(is_free(&chain, None) && is_free(&Chain::default(), Some(&from)));
}

#[test]
fn many_need_a_layer_at_the_same_time() {
    let setup = setup();
    let chain = setup.image(&[&["f a 1"], &["f d/b 1"], &["d d 711"], &["f d/c 1"], &["w a"]]);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let workspace = setup.engine.prepare(&chain).unwrap();
                assert_eq!(overlay(&*workspace).lowers.len(), 5);
            });
        }
    });
    assert_eq!(setup.opened(), 5);
}

#[test]
fn blobs_that_are_not_what_was_announced_are_refused() {
    let setup = setup();
    let good = setup.publish(&layer(&["f a 1"]));
    let other = setup.publish(&layer(&["f b 2"]));
    let blob = |digest: &Digest| setup.origin.blobs.lock().unwrap()[digest].clone();
    let (good_bytes, other_bytes) = (blob(&good.descriptor.digest), blob(&other.descriptor.digest));
    let longer = [&good_bytes[..], b"more"].concat();
    let cases = [
        (other_bytes.clone(), &good.descriptor, &good.diff_id, "other bytes came from "),
        (
            good_bytes[..good_bytes.len() / 2].to_vec(),
            &good.descriptor,
            &good.diff_id,
            "other bytes came from ",
        ),
        (longer, &good.descriptor, &good.diff_id, "other bytes came from "),
        (b"no gzip at all".to_vec(), &good.descriptor, &good.diff_id, "other bytes came from "),
        (other_bytes.clone(), &other.descriptor, &good.diff_id, "should hold layer"),
    ];
    // Whoever gives a layout gives its layers; those of a registry are nobody's here.
    let registry = BlobSource::Registry { registry: "r.example".into(), repository: "a".into() };
    let sources = [(good.source.clone(), FailureKind::User), (registry, FailureKind::Remote)];
    let cases = cases.iter().flat_map(|case| sources.iter().map(move |source| (case, source)));
    for (number, (case, (source, kind))) in cases.enumerate() {
        let (bytes, descriptor, diff_id, expected) = case;
        let fresh = self::setup();
        fresh.origin.blobs.lock().unwrap().insert(descriptor.digest.clone(), bytes.clone());
        let (diff_id, descriptor) = ((*diff_id).clone(), (*descriptor).clone());
        let source = source.clone();
        fresh.engine.add_image(&[ImageLayer { diff_id: diff_id.clone(), descriptor, source }]);
        let chain = Chain(vec![diff_id.clone()]);
        for failure in [
            fresh.engine.tree(&chain).map(drop).unwrap_err(),
            fresh.engine.prepare(&chain).map(drop).unwrap_err(),
        ] {
            assert!(message(&failure).contains(expected), "{number}: {}", message(&failure));
            assert_eq!(failure.kind(), *kind, "{number}");
        }
        assert!(matches!(fresh.engine.blob(&diff_id).unwrap(), LayerBlob::Remote(_)));
        assert_eq!(fresh.engine.0.store.index(&diff_id).unwrap(), None);
    }
    let failure = setup.engine.tree(&Chain(vec![other.diff_id])).unwrap_err();
    assert!(message(&failure).contains("neither in the store"), "{failure}");
}

#[test]
fn folders_that_a_layer_does_not_mention_are_as_the_layers_below_say() {
    let setup = setup();
    let chain =
        setup.image(&[&["d tmp 1777", "d a 700", "d a/b 711"], &["f tmp/x 1", "f a/b/c/d 1"]]);
    let workspace = setup.engine.prepare(&chain).unwrap();
    let [upper, lower] = &overlay(&*workspace).lowers[..] else { panic!() };
    assert_eq!(
        listing(upper),
        ["a/ 700", "a/b/ 711", "a/b/c/ 755", "a/b/c/d 644 1", "tmp/ 1777", "tmp/x 644 1"]
    );
    assert_eq!(listing(lower), ["a/ 700", "a/b/ 711", "tmp/ 1777"]);
    // The same layer on top of another one is another folder.
    let alone = setup.engine.prepare(&Chain(vec![chain.0[1].clone()])).unwrap();
    let alone = Root::open(&overlay(&*alone).lowers[0]).unwrap();
    assert_eq!(alone.stat(b"tmp").unwrap().mode, 0o755);
}

#[test]
fn a_workspace_becomes_a_layer_and_its_folder() {
    let setup = setup();
    let chain = setup.image(&[&["f kept 1", "f gone 1", "d d 755"]]);
    let workspace = setup.engine.prepare(&chain).unwrap();
    let dirs = overlay(&*workspace).clone();
    assert_eq!(dirs.lowers.len(), 1);
    let upper = Root::open(&dirs.upper).unwrap();
    upper.create_new(b"new", 0o600).unwrap();
    upper.mknod(b"gone", rustix::fs::FileType::CharacterDevice, 0, (0, 0)).unwrap();
    let before = upper.stat(b"new").unwrap().ino;
    let made = workspace
        .commit(Records::default(), Purpose { result: true, ..Purpose::default() })
        .unwrap();
    let chain = chain.with(made.clone());
    let tree = setup.engine.tree(&chain).unwrap();
    let names: Vec<_> = tree.children(b"").map(|(name, _)| name).collect();
    assert_eq!(names, [&b"d"[..], b"kept", b"new"]);
    let LayerBlob::Stored { descriptor, .. } = setup.engine.blob(&made).unwrap() else { panic!() };
    assert_eq!(descriptor.media_type, OCI_LAYER_GZIP);
    // The upper folder itself is the next lower one.
    let next = setup.engine.prepare(&chain).unwrap();
    let lower = Root::open(&overlay(&*next).lowers[0]).unwrap();
    assert_eq!(lower.stat(b"new").unwrap().ino, before);
    // A thread removes the rest.
    drop((next, setup.engine));
    assert!(!dirs.work.exists());
}

#[test]
fn a_workspace_that_is_dropped_leaves_nothing() {
    let setup = setup();
    let workspace = setup.engine.prepare(&Chain::default()).unwrap();
    let dirs = overlay(&*workspace).clone();
    assert!(dirs.lowers.is_empty());
    let upper = Root::open(&dirs.upper).unwrap();
    upper.mkdir(b"shut", 0o755).unwrap();
    upper.create_new(b"shut/file", 0o600).unwrap();
    upper.chmod(b"shut", 0).unwrap();
    drop(workspace);
    // It is removed on a thread.
    drop(setup.engine);
    assert!(!dirs.upper.parent().unwrap().exists());
}

#[test]
fn empty_and_repeated_layers_have_no_folder_of_their_own() {
    let setup = setup();
    let workspace = setup.engine.prepare(&Chain::default()).unwrap();
    let empty = workspace.commit(Records::default(), Purpose::default()).unwrap();
    let image = setup.image(&[&["f a 1"], &["f b 1"]]);
    let [a, b] = &image.0[..] else { panic!() };
    let chain = Chain([a, &empty, b, a, &empty].map(Clone::clone).to_vec());
    let workspace = setup.engine.prepare(&chain).unwrap();
    let lowers = &overlay(&*workspace).lowers;
    assert_eq!(lowers.len(), 2);
    assert!(Root::open(&lowers[0]).unwrap().stat(b"a").is_ok());
    assert!(Root::open(&lowers[1]).unwrap().stat(b"b").is_ok());
}

#[test]
fn an_opaque_root_hides_all_layers_below() {
    let setup = setup();
    let chain = setup.image(&[&["f a 1"], &["o", "f b 1"], &["f c 1"]]);
    let workspace = setup.engine.prepare(&chain).unwrap();
    assert_eq!(overlay(&*workspace).lowers.len(), 2);
}

#[test]
fn the_root_folder_is_as_the_tree_says() {
    let setup = setup();
    let chain = setup.image(&[&["d  711", "f a 1"]]);
    let workspace = setup.engine.prepare(&chain).unwrap();
    let upper = Root::open(&overlay(&*workspace).upper).unwrap();
    let stat = upper.stat(b"").unwrap();
    assert_eq!((stat.mode, stat.mtime.secs), (0o711, 1000));
    upper.chmod(b"", 0o555).unwrap();
    let made = workspace.commit(Records::default(), Purpose::default()).unwrap();
    let [Change::Put(entry)] = &setup.changes(&made)[..] else { panic!() };
    assert_eq!((&entry.path[..], entry.meta.mode), (&b""[..], 0o555));
}

/// Returns the owners of the files in a layer.
fn owners_in(setup: &Setup, layer: &DiffId) -> Vec<(String, u32, u32)> {
    let owner = |change| match change {
        Change::Put(entry) => {
            (String::from_utf8(entry.path).unwrap(), entry.meta.uid, entry.meta.gid)
        }
        other => panic!("{other:?}"),
    };
    setup.changes(layer).into_iter().map(owner).collect()
}

#[test]
fn where_owners_are_recorded_files_keep_their_owners() {
    use xbuild_files::owners::mark;
    use xbuild_model::owner::Owner;
    let setup = setup_with(true);
    let mut writer = xbuild_layer::LayerWriter::new(Vec::new());
    let link = xbuild_layer::Kind::Symlink { target: b"f".to_vec() };
    for (path, kind) in [
        ("f", xbuild_layer::Kind::File { size: 0 }),
        ("d", xbuild_layer::Kind::Dir),
        ("gone", xbuild_layer::Kind::File { size: 0 }),
        ("link", link),
    ] {
        let meta = xbuild_layer::Meta { mode: 0o755, uid: 12, gid: 34, ..Default::default() };
        let entry = xbuild_layer::Entry { path: path.into(), kind, meta };
        writer.put(&entry, &mut io::empty()).unwrap();
    }
    let image = setup.publish(&writer.finish().unwrap());
    setup.engine.add_image(std::slice::from_ref(&image));
    let workspace = setup.engine.prepare(&Chain(vec![image.diff_id])).unwrap();
    let dirs = overlay(&*workspace);
    let text = std::fs::read(workspace.root().owners()).unwrap();
    let below: xbuild_model::owner::OwnersBelow = serde_json::from_slice(&text).unwrap();
    assert!(below.has_others && below.special == [(b"link".to_vec(), Owner { uid: 12, gid: 34 })]);
    let attribute = |root: &Root, path: &[u8]| {
        root.xattr(path, xbuild_model::owner::ATTRIBUTE).unwrap().map(String::from_utf8)
    };
    let lower = Root::open(&dirs.lowers[0]).unwrap();
    for path in [&b"f"[..], b"d"] {
        assert_eq!(attribute(&lower, path), Some(Ok("12:34".to_owned())));
    }
    let upper = Root::open(&dirs.upper).unwrap();
    let files: Vec<std::fs::File> = ["d", "f", "given", "gone", "new"]
        .iter()
        .map(|name| upper.create_new(name.as_bytes(), 0o600).unwrap())
        .collect();
    // As overlayfs copies a file up, and as a supervisor gives one away.
    mark(files[1].as_fd(), Owner { uid: 12, gid: 34 }).unwrap();
    mark(files[2].as_fd(), Owner { uid: 0, gid: 7 }).unwrap();
    upper.link(b"f", b"h").unwrap();
    upper.symlink(b"elsewhere", b"link").unwrap();
    upper.symlink(b"elsewhere", b"made").unwrap();
    let mut records = Records::default();
    let made = std::fs::symlink_metadata(dirs.upper.join("made")).unwrap();
    let since = made.created().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap();
    let birth = Some((since.as_secs() as i64, since.subsec_nanos()));
    let inode = std::os::unix::fs::MetadataExt::ino(&made);
    let number = xbuild_model::owner::FileNumber { inode, birth };
    records.owners.insert(number, Owner { uid: 5, gid: 6 });
    let made = workspace.commit(records, Purpose::default()).unwrap();
    // What a command makes anew is root's, but for a link that nobody saw being made.
    let expected = [
        ("d", 0, 0),
        ("f", 12, 34),
        ("given", 0, 7),
        ("gone", 0, 0),
        ("h", 12, 34),
        ("link", 12, 34),
        ("made", 5, 6),
        ("new", 0, 0),
    ];
    let expected = expected.map(|(path, uid, gid)| (path.to_owned(), uid, gid));
    assert_eq!(owners_in(&setup, &made), expected);
}

/// Nobody who stands on it needs the blob.
#[test]
fn a_folder_does_not_wait_for_the_blob() {
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let on_blob: super::packer::Watch = Arc::new(move |_| wait.lock().unwrap().recv().unwrap());
    let setup =
        setup_of(true, EngineOptions { on_blob: Some(on_blob), ..EngineOptions::default() });
    let workspace = setup.engine.prepare(&Chain::default()).unwrap();
    let upper = Root::open(&overlay(&*workspace).upper).unwrap();
    upper.create_new(b"new", 0o600).unwrap().write_all(&[7; 2_000_000]).unwrap();
    let made =
        workspace.commit(Records::default(), Purpose { folder: true, result: true }).unwrap();
    let chain = Chain(vec![made.clone()]);
    assert!(setup.engine.has_layer(&made));
    assert!(setup.engine.tree(&chain).unwrap().lookup(b"new").is_some());
    assert_eq!(overlay(&*setup.engine.prepare(&chain).unwrap()).lowers.len(), 1);
    assert_eq!(setup.engine.0.store.layer(&made).unwrap(), None);
    go.send(()).unwrap();
    setup.engine.settle().unwrap();
    assert!(setup.engine.0.store.layer(&made).unwrap().is_some());
    assert_eq!(setup.changes(&made).len(), 1);
}

/// Where an image has them all the same, they are compressed for it then.
#[test]
fn layers_of_no_image_are_compressed_in_less_time() {
    let layer = |result| {
        let setup = setup();
        let workspace = setup.engine.prepare(&Chain::default()).unwrap();
        let upper = Root::open(&overlay(&*workspace).upper).unwrap();
        upper.create_new(b"new", 0o600).unwrap().write_all(&[7; 100_000]).unwrap();
        upper.set_mtime(b"new", xbuild_layer::Mtime { secs: 1, nanos: 0 }).unwrap();
        let made =
            workspace.commit(Records::default(), Purpose { result, ..Purpose::default() }).unwrap();
        let LayerBlob::Stored { descriptor: blob, .. } = setup.engine.blob(&made).unwrap() else {
            panic!()
        };
        let encoded =
            setup.engine.encoded(vec![made], Encoding::default(), false, &|_| true).unwrap();
        let [LayerBlob::Stored { descriptor: encoded, .. }] = &encoded[..] else {
            panic!("{encoded:?}")
        };
        (blob, encoded.clone())
    };
    let ((passing, encoded), (result, same)) = (layer(false), layer(true));
    assert_eq!(passing.media_type, OCI_LAYER_ZSTD);
    assert_eq!((&encoded, &result), (&same, &same));
    assert_eq!(result.media_type, OCI_LAYER_GZIP);
}

#[test]
fn a_selection_becomes_a_layer_with_or_without_folder() {
    for folder in [false, true] {
        let setup = setup();
        let chain = setup.image(&[&["d a 700"]]);
        let op = FileOp::MakeDir(MakeDir { path: "/a/b/c".to_owned(), user: String::new() });
        let selection = setup.engine.select(&chain, &op, None).unwrap();
        assert!(!selection.is_empty());
        let made = selection.commit(Purpose { folder, result: false }).unwrap();
        let chain = chain.with(made.clone());
        assert!(setup.engine.select(&chain, &op, None).unwrap().is_empty());
        let opened = setup.opened();
        let workspace = setup.engine.prepare(&chain).unwrap();
        let top = &overlay(&*workspace).lowers[0];
        assert_eq!(listing(top), ["a/ 700", "a/b/ 755", "a/b/c/ 755"]);
        assert_eq!(setup.opened(), opened);
    }
}

#[test]
fn an_unpacking_that_fails_says_why() {
    let setup = setup();
    let chain = setup.image(&[&["f a 1"]]);
    // Something that only the task can stumble over: a folder that it cannot write.
    struct Broken;
    impl Namespace for Broken {
        fn start(
            &self,
            _: &'static str,
            _: Vec<u8>,
            fds: Vec<OwnedFd>,
        ) -> Result<Box<dyn PendingTask>, StepFailure> {
            drop(fds);
            Ok(Box::new(Task(std::thread::spawn(|| Err("the disk is full".to_owned().into())))))
        }
        fn map_name(&self) -> Result<String, StepFailure> {
            Ok("map".to_owned())
        }
        fn owners(&self) -> Result<Owners, StepFailure> {
            Ok(Owners::Recorded)
        }
        fn root_kind(&self) -> Result<RootKind, StepFailure> {
            Ok(RootKind::Overlay)
        }
        fn join(&self, _: &[PathBuf], _: &Path) -> Result<(), StepFailure> {
            unreachable!("there is one layer")
        }
    }
    let store = setup.engine.0.store.clone();
    let engine =
        Engine::new(store, setup.origin.clone(), Arc::new(Broken), EngineOptions::default());
    let layers = setup.engine.0.known(|known| known.remote.values().cloned().collect::<Vec<_>>());
    engine.add_image(&layers);
    let failure = engine.prepare(&chain).map(drop).unwrap_err();
    assert_eq!(message(&failure), "the disk is full");
}

/// The spans of the work on a layer say which one it is.
#[test]
fn layers_have_spans() {
    spans::collect();
    let setup = setup();
    let chain = setup.image(&[&["f spans 1"]]);
    let build = tracing::info_span!("build", test = "layers");
    let made = build.in_scope(|| {
        let workspace = setup.engine.prepare(&chain).unwrap();
        let upper = Root::open(&overlay(&*workspace).upper).unwrap();
        upper.create_new(b"spans", 0o600).unwrap();
        let purpose = Purpose { folder: true, result: true };
        workspace.commit(Records::default(), purpose).unwrap()
    });
    // The engine ends after its work in the background.
    drop(setup.engine);
    let closed = spans::closed();
    for expected in [
        format!("layer work=unpack > layer work=read diff_id={} compressed=", chain.0[0]),
        format!("build test=layers > layer work=diff diff_id={made} size=1536"),
        format!("size=1536 > layer work=pack diff_id={made} encoding=gzip-3"),
    ] {
        assert!(closed.iter().any(|line| line.contains(&expected)), "{expected}: {closed:#?}");
    }
}

/// Row A21 of the threat table: names that mean something to the store, or to a mount, are files of
/// the layer like others, and the store's own files are where no layer gets to.
#[test]
fn a_layer_has_no_say_in_the_files_of_the_store() {
    let names = |setup: &Setup| -> Vec<String> {
        // Blobs get their names in the background.
        setup.engine.settle().unwrap();
        setup.engine.0.store.settle().unwrap();
        let mut names = files_outside_of_layers(setup.engine.0.store.root());
        names.sort();
        names
    };
    let plain = setup();
    let chain = plain.image(&[&["f a 1"]]);
    drop(plain.engine.prepare(&chain).unwrap());
    let setup = setup();
    let lines = [
        "d fs 755",
        "f fs/version 9",
        "f version 9",
        "f lock x",
        "d work 700",
        "f .ok x",
        "d diff 755",
        "l link ..",
        "d upper 755",
        "f blobs x",
        "f index x",
        "f last-used x",
        "l tmp /",
        "f id x",
    ];
    let hostile = setup.image(&[&lines]);
    let workspace = setup.engine.prepare(&hostile).unwrap();
    let [lower] = &overlay(&*workspace).lowers[..] else { panic!() };
    let found = listing(lower);
    assert_eq!(found.len(), lines.len(), "{found:?}");
    for line in ["fs/version 644 9", "version 644 9", "lock 644 x", "link -> ..", "tmp -> /"] {
        assert!(found.iter().any(|other| other == line), "{line}: {found:?}");
    }
    drop(workspace);
    let paths = |names: Vec<String>| names.len();
    assert_eq!(paths(names(&setup)), paths(names(&plain)), "{:?}", names(&setup));
    let root = setup.engine.0.store.root().to_owned();
    assert_eq!(std::fs::read_to_string(root.join("version")).unwrap(), "1\n");
    drop(setup.engine);
    drop(Store::open(&root).unwrap());
}

/// Returns the files of a store that are not within a layer's folder.
fn files_outside_of_layers(root: &Path) -> Vec<String> {
    let (mut found, mut todo) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let (path, kind) = entry.map(|it| (it.path(), it.file_type().unwrap())).unwrap();
            let depth = path.strip_prefix(root.join("folders")).map_or(0, |at| at.iter().count());
            if kind.is_dir() && depth < 3 && !path.starts_with(root.join("tmp")) {
                todo.push(path);
            } else if !kind.is_dir() {
                found.push(path.display().to_string());
            }
        }
    }
    found
}
