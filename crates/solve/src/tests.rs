mod beside;
mod failures;
mod reasons;
mod spans;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use xbuild_model::file_op::{CopyOrigin, FileOp, MakeDir};
use xbuild_model::records::Records;
use xbuild_model::rootfs::{Overlay, RootFs};
use xbuild_model::run::{
    Mount, MountKind, MountSource, Network, ReadyMount, ReadySource, RunRequest, SecretBytes,
    Security, Sharing,
};
use xbuild_model::seam::{
    CacheFolder, CacheRequest, LastRuns, MountFiles, Output as Lines, Purpose, Runner, Secrets,
    Selection, Snapshots, StepCache, Workspace,
};
use xbuild_model::{
    Cancel, Cancelled, Chain, DiffId, Digest, FailureKind, ImageConfig, ImageLayer, Platform,
    StepFailure, StepRecord,
};
use xbuild_plan::{Graph, Op, Output, PlannedHistory, Position, Span, Vertex, VertexId};

use crate::{Event, Events, SolveOptions, Stages, solve};

/// The actions of a build, in order.
type Log = Arc<Mutex<Vec<String>>>;

/// A cache in memory.
#[derive(Default)]
struct Results {
    steps: Mutex<HashMap<Digest, StepRecord>>,
    runs: Mutex<HashMap<Digest, Vec<u8>>>,
    /// Whether the records of runs cannot be read.
    has_lost_runs: AtomicBool,
}

impl StepCache for Results {
    fn find(&self, keys: &[Digest]) -> Result<Vec<Option<StepRecord>>, StepFailure> {
        let steps = self.steps.lock().unwrap();
        Ok(keys.iter().map(|key| steps.get(key).cloned()).collect())
    }

    fn remember(&self, key: &Digest, result: &StepRecord) -> Result<(), StepFailure> {
        self.steps.lock().unwrap().insert(key.clone(), result.clone());
        Ok(())
    }
}

impl LastRuns for Results {
    fn last_run(&self, place: &Digest) -> Result<Option<Vec<u8>>, StepFailure> {
        if self.has_lost_runs.load(Ordering::Relaxed) {
            return Err(StepFailure::new(FailureKind::Internal, std::io::Error::other("lost")));
        }
        Ok(self.runs.lock().unwrap().get(place).cloned())
    }

    fn keep_run(&self, place: &Digest, step: &[u8]) -> Result<(), StepFailure> {
        self.runs.lock().unwrap().insert(place.clone(), step.to_vec());
        Ok(())
    }
}

#[derive(Default)]
struct Fake {
    log: Log,
    /// Contents by the folder of a WORKDIR, which stand in for a build context.
    contents: BTreeMap<String, &'static str>,
    /// The same for folders that are recalled.
    recalled: BTreeMap<String, &'static str>,
    token: Option<&'static [u8]>,
    /// Whether layers were read before.
    is_indexed: bool,
    cancel: Cancel,
}

impl Fake {
    fn with(contents: &[(&str, &'static str)]) -> Self {
        let contents = contents.iter().map(|(path, text)| ((*path).to_owned(), *text)).collect();
        Self { contents, ..Self::default() }
    }

    fn stages<'a>(&'a self, results: &'a Results) -> Stages<'a> {
        let (cache, last_runs) = (results, results);
        Stages {
            cache,
            last_runs,
            snapshots: self,
            runner: self,
            secrets: self,
            cancel: &self.cancel,
            beside: None,
        }
    }
}

struct Selected(Digest, Log, bool);

impl Selection for Selected {
    fn key(&self) -> &Digest {
        &self.0
    }

    fn is_empty(&self) -> bool {
        self.2
    }

    fn files(&self, visit: &mut dyn FnMut(&[u8], u64)) {
        visit(b"file", self.0.prefix());
    }

    fn commit(self: Box<Self>, _purpose: Purpose) -> Result<DiffId, StepFailure> {
        self.1.lock().unwrap().push("copy".to_owned());
        Ok(DiffId(self.0))
    }
}

struct Root(RootFs, Chain);

impl Workspace for Root {
    fn root(&self) -> &RootFs {
        &self.0
    }

    fn commit(
        self: Box<Self>,
        _records: Records,
        _purpose: Purpose,
    ) -> Result<DiffId, StepFailure> {
        let below = self.1.id().map(|id| id.hex()).unwrap_or_default();
        Ok(DiffId(Digest::of(format!("run on {below}").as_bytes())))
    }
}

/// A folder that steps may write to or not.
struct Files(PathBuf, bool);

impl MountFiles for Files {
    fn source(&self, path: &str) -> ReadySource {
        ReadySource::Tree { folder: self.0.clone(), path: path.to_owned(), writable: self.1 }
    }
}

impl Snapshots for Fake {
    fn add_image(&self, _layers: &[ImageLayer]) {}

    fn recall(
        &self,
        _parent: &Chain,
        op: &FileOp,
        _origin: Option<&CopyOrigin>,
    ) -> Result<Option<Digest>, StepFailure> {
        let FileOp::MakeDir(MakeDir { path, .. }) = op else { return Ok(None) };
        let key = |contents| Digest::of(format!("{path} {contents}").as_bytes());
        Ok(self.recalled.get(path).map(key))
    }

    fn selects_without_pulling(
        &self,
        parent: &Chain,
        _op: &FileOp,
        _origin: Option<&CopyOrigin>,
    ) -> Result<bool, StepFailure> {
        Ok(self.is_indexed || parent.0.is_empty())
    }

    fn select(
        &self,
        _parent: &Chain,
        op: &FileOp,
        _origin: Option<&CopyOrigin>,
    ) -> Result<Box<dyn Selection>, StepFailure> {
        let FileOp::MakeDir(MakeDir { path, .. }) = op else { unreachable!("tests make folders") };
        let contents = self.contents.get(path).copied().unwrap_or("nothing");
        let key = Digest::of(format!("{path} {contents}").as_bytes());
        Ok(Box::new(Selected(key, Arc::clone(&self.log), contents == "exists")))
    }

    fn prepare(&self, parent: &Chain) -> Result<Box<dyn Workspace>, StepFailure> {
        let empty = PathBuf::new();
        let root = RootFs::Overlay(Overlay {
            lowers: Vec::new(),
            joined: None,
            upper: empty.clone(),
            work: empty,
        });
        Ok(Box::new(Root(root, parent.clone())))
    }

    fn mount_files(
        &self,
        chain: &Chain,
        writable: bool,
    ) -> Result<Box<dyn MountFiles>, StepFailure> {
        let folder = &chain.id().map(|id| id.hex()).unwrap_or_default()[..4];
        Ok(Box::new(Files(folder.into(), writable)))
    }

    fn cache_folder(
        &self,
        request: &CacheRequest<'_>,
    ) -> Result<Box<dyn CacheFolder>, StepFailure> {
        self.log.lock().unwrap().push(format!("{:?} {}", request.sharing, request.id));
        Ok(Box::new(Folder(PathBuf::from(&request.id), Arc::clone(&self.log))))
    }

    fn has_layer(&self, _layer: &DiffId) -> bool {
        true
    }
}

struct Folder(PathBuf, Log);

impl CacheFolder for Folder {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        self.1.lock().unwrap().push(format!("let go {}", self.0.display()));
    }
}

impl Secrets for Fake {
    fn secret(&self, id: &str) -> Result<Option<SecretBytes>, StepFailure> {
        let value = match id {
            "token" => self.token,
            "binary" => Some(&b"\xff"[..]),
            _ => None,
        };
        Ok(value.map(|value| SecretBytes(value.to_vec())))
    }

    fn agent(&self, id: &str) -> Result<Option<PathBuf>, StepFailure> {
        Ok((id == "default").then(|| "/agent".into()))
    }
}

impl Runner for Fake {
    fn run(
        &self,
        _root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        _below: &Chain,
        output: &dyn Lines,
    ) -> Result<Records, StepFailure> {
        let mut line = request.argv.join(" ");
        for (name, value) in &request.env {
            line.push_str(&format!(" {name}={value}"));
        }
        for mount in mounts {
            line.push_str(&match &mount.source {
                ReadySource::Tree { folder, path, .. } => {
                    format!(" {}={}:{path}", mount.target, folder.display())
                }
                ReadySource::Folder { path, .. } => {
                    format!(" {}={}", mount.target, path.display())
                }
                ReadySource::Secret { contents, .. } => {
                    format!(" {}={}", mount.target, String::from_utf8_lossy(&contents.0))
                }
                other => format!(" {}={other:?}", mount.target),
            });
        }
        self.log.lock().unwrap().push(line);
        output.line(b"a line", false);
        if request.argv[0] == "wait" {
            let (tell, told) = std::sync::mpsc::channel();
            let _hook = self.cancel.on_cancel(move || tell.send(()).unwrap());
            told.recv_timeout(std::time::Duration::from_secs(60)).unwrap();
            return Err(StepFailure::new(FailureKind::Internal, Cancelled));
        }
        if request.argv[0] == "fail" {
            return Err(StepFailure::new(FailureKind::Step, std::io::Error::other("it failed")));
        }
        Ok(Records::default())
    }

    fn is_emulated(&self, platform: &Platform) -> bool {
        platform.architecture() != "amd64"
    }
}

impl Events for Fake {
    fn event(&self, vertex: VertexId, event: Event<'_>) {
        if let Event::Cached { .. } = event {
            self.log.lock().unwrap().push(format!("cached {}", vertex.0));
        }
    }
}

fn platform() -> Platform {
    Platform::new("linux", "amd64", None)
}

pub(crate) fn vertex(label: &str, op: Op) -> Vertex {
    let definition = Digest::of(label.as_bytes());
    let span = Span::new(&"Dockerfile".into(), 1, 1);
    let (key, label) = (definition.clone(), label.to_owned());
    let position = Position::default();
    Vertex {
        key,
        definition,
        span,
        label,
        platform: platform(),
        position,
        op,
        needs_folder: true,
        no_cache: false,
        is_in_output: true,
    }
}

pub(crate) fn run(command: &str, parent: usize) -> Vertex {
    let request = RunRequest {
        argv: vec![command.to_owned()],
        env: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        platform: platform(),
        network: Network::Default,
        security: Security::Sandbox,
        hostname: String::new(),
        extra_hosts: Vec::new(),
        ulimits: Vec::new(),
        shm_size: 0,
        scripts: Vec::new(),
        mounts: Vec::new(),
        unkeyed_env: Vec::new(),
    };
    let (sources, arguments) = (Vec::new(), Vec::new());
    vertex(command, Op::Run { parent: VertexId(parent), request, sources, arguments })
}

fn make_dir(path: &str, parent: usize) -> Vertex {
    let op = FileOp::MakeDir(MakeDir { path: path.to_owned(), user: String::new() });
    let parent = VertexId(parent);
    vertex(path, Op::Files { parent, op, origin: None, independent: false })
}

pub(crate) fn graph(vertices: Vec<Vertex>) -> Graph {
    let history = (1..vertices.len()).map(|index| PlannedHistory {
        created_by: vertices[index].label.clone(),
        comment: String::new(),
        vertex: Some(VertexId(index)),
    });
    let output = Output {
        platform: platform(),
        vertex: VertexId(vertices.len() - 1),
        config: ImageConfig::default(),
        base_history: Vec::new(),
        history: history.collect(),
    };
    Graph { vertices, outputs: vec![output], warnings: Vec::new(), source_date_epoch: None }
}

fn options(no_cache: bool) -> SolveOptions {
    SolveOptions {
        jobs: NonZeroUsize::new(2).unwrap(),
        no_cache,
        epoch: None,
        project: Digest::of(b"project"),
    }
}

/// Solves with a cache and returns the actions and the first image.
fn build(
    results: &Results,
    vertices: Vec<Vertex>,
    contents: &[(&str, &'static str)],
    options: SolveOptions,
) -> (Vec<String>, Result<crate::BuiltImage, Box<crate::SolveError>>) {
    let fake = Fake::with(contents);
    let result = solve(&graph(vertices), &fake.stages(results), &options, &fake);
    let log = fake.log.lock().unwrap().clone();
    (log, result.map(|mut images| images.remove(0)))
}

fn steps() -> Vec<Vertex> {
    vec![vertex("scratch", Op::Scratch), run("one", 0), make_dir("/d", 1), run("two", 2)]
}

#[test]
fn a_second_build_does_nothing_and_makes_the_same_image() {
    let results = Results::default();
    let (log, first) = build(&results, steps(), &[], options(false));
    assert_eq!(log, ["one", "copy", "two"]);
    let first = first.unwrap();
    assert_eq!(first.layers.0.len(), 3);
    assert_eq!(first.config.rootfs.diff_ids, first.layers.0);
    let (log, second) = build(&results, steps(), &[], options(false));
    assert_eq!(log, ["cached 1", "cached 2", "cached 3"]);
    assert_eq!(second.unwrap(), first);
    let (log, _) = build(&results, steps(), &[], options(true));
    assert_eq!(log, ["one", "copy", "two"]);
}

/// The selection, which differs, does not matter then.
#[test]
fn a_recalled_copy_is_not_selected() {
    let results = Results::default();
    build(&results, steps(), &[], options(false)).1.unwrap();
    let again = |recalled: &'static str, no_cache| {
        let place = |text| BTreeMap::from([("/d".to_owned(), text)]);
        let (contents, recalled) = (place("other"), place(recalled));
        let fake = Fake { contents, recalled, ..Fake::default() };
        let stages = fake.stages(&results);
        solve(&graph(steps()), &stages, &options(no_cache), &fake).unwrap();
        fake.log.lock().unwrap().clone()
    };
    assert_eq!(again("nothing", false), ["cached 1", "cached 2", "cached 3"]);
    assert_eq!(again("unheard of", false), ["cached 1", "copy", "two"]);
    assert_eq!(again("nothing", true), ["one", "copy", "two"]);
}

#[test]
fn the_work_of_a_build_is_known_beforehand() {
    let results = Results::default();
    let to_do = |is_indexed, contents: &[(&str, &'static str)], no_cache| {
        let fake = Fake { is_indexed, ..Fake::with(contents) };
        let left = crate::to_do(&graph(steps()), &fake.stages(&results), &options(no_cache));
        assert_eq!(fake.log.lock().unwrap().as_slice(), [""; 0]);
        left.into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!(to_do(true, &[], false), [1, 2, 3]);
    build(&results, steps(), &[], options(false)).1.unwrap();
    // The layer below the folder was never read, so the folder may exist in it.
    assert_eq!(to_do(false, &[], false), [2, 3]);
    assert_eq!(to_do(true, &[], false), [0; 0]);
    assert_eq!(to_do(true, &[("/d", "changed")], false), [2, 3]);
    assert_eq!(to_do(true, &[], true), [1, 2, 3]);
}

#[test]
fn commands_that_are_all_cached_are_known_at_once() {
    let results = Results::default();
    let commands = || vec![vertex("base", Op::Scratch), run("one", 0), run("two", 1)];
    let is_done = |steps, no_cache| {
        let fake = Fake::default();
        let done = crate::is_done(&graph(steps), &fake.stages(&results), &options(no_cache));
        assert_eq!(fake.log.lock().unwrap().as_slice(), [""; 0]);
        done
    };
    assert!(!is_done(commands(), false));
    build(&results, commands(), &[], options(false)).1.unwrap();
    assert!(is_done(commands(), false));
    assert!(!is_done(commands(), true));
    // Files of contexts are looked at by the build only.
    build(&results, steps(), &[], options(false)).1.unwrap();
    assert!(!is_done(steps(), false));
}

#[test]
fn a_changed_source_reruns_from_there() {
    let results = Results::default();
    build(&results, steps(), &[], options(false)).1.unwrap();
    let (log, _) = build(&results, steps(), &[("/d", "changed")], options(false));
    assert_eq!(log, ["cached 1", "copy", "two"]);
}

#[test]
fn a_folder_that_exists_makes_no_layer() {
    let results = Results::default();
    let (log, image) = build(&results, steps(), &[("/d", "exists")], options(false));
    assert_eq!(log, ["one", "cached 2", "two"]);
    let image = image.unwrap();
    assert_eq!(image.layers.0.len(), 2);
    let empty: Vec<bool> = image.config.history.iter().map(|entry| entry.empty_layer).collect();
    assert_eq!(empty, [false, true, false]);
}

#[test]
fn the_first_failure_ends_the_build_and_names_its_step() {
    let results = Results::default();
    let vertices = vec![vertex("scratch", Op::Scratch), run("fail", 0), run("after", 1)];
    let (log, result) = build(&results, vertices, &[], options(false));
    assert_eq!(log, ["fail"]);
    let error = result.unwrap_err();
    assert_eq!((error.label.as_str(), error.failure.kind()), ("fail", FailureKind::Step));
}

#[test]
fn an_epoch_is_the_time_of_all_that_is_new() {
    let results = Results::default();
    let epoch = SolveOptions { epoch: Some(1_000_000_000), ..options(false) };
    let image = build(&results, steps(), &[], epoch).1.unwrap();
    assert_eq!(image.config.created.as_deref(), Some("2001-09-09T01:46:40Z"));
    let same = |entry: &xbuild_model::History| entry.created == image.config.created;
    assert!(image.config.history.iter().all(same));
}

/// A RUN on nothing with mounts, which take files from the vertices `sources`.
fn run_with(mounts: Vec<(&str, MountKind)>, sources: &[usize]) -> Vertex {
    let mut vertex = run("with mounts", 0);
    if let Op::Run { request, sources: ids, .. } = &mut vertex.op {
        let mount = |(target, kind): (&str, MountKind)| Mount { target: target.to_owned(), kind };
        request.mounts = mounts.into_iter().map(mount).collect();
        request.env = vec![("V".to_owned(), "plain".to_owned())];
        ids.extend(sources.iter().copied().map(VertexId));
    }
    vertex
}

fn source(path: &str) -> MountSource {
    MountSource { input: 0, path: path.to_owned() }
}

fn secret(id: &str, env: Option<&str>, required: bool) -> MountKind {
    let (id, env) = (id.to_owned(), env.map(str::to_owned));
    MountKind::Secret { id, env, mode: 0o400, uid: 0, gid: 0, required }
}

fn cache(id: &str, sharing: Sharing, seed: Option<MountSource>) -> MountKind {
    let id = id.to_owned();
    MountKind::Cache { id, sharing, seed, mode: 0o755, uid: 0, gid: 0, read_only: false }
}

#[test]
fn the_files_of_a_mount_are_part_of_the_key() {
    let results = Results::default();
    let vertices = || {
        let bind = MountKind::Bind { source: source("/x"), writable: false };
        let mounting = run_with(vec![("/in", bind)], &[1]);
        vec![vertex("scratch", Op::Scratch), make_dir("/d", 0), mounting]
    };
    let (log, result) = build(&results, vertices(), &[], options(false));
    result.unwrap();
    assert!(log[1].starts_with("with mounts V=plain /in=") && log[1].ends_with(":/x"), "{log:?}");
    let (log, _) = build(&results, vertices(), &[], options(false));
    assert_eq!(log, ["cached 1", "cached 2"]);
    let (log, _) = build(&results, vertices(), &[("/d", "changed")], options(false));
    assert_eq!(log.len(), 2, "{log:?}");
}

#[test]
fn cache_folders_are_held_in_the_order_of_their_names_and_once() {
    let results = Results::default();
    let mounts = vec![
        ("/b", cache("b", Sharing::Locked, None)),
        ("/a", cache("a", Sharing::Private, None)),
        ("/b2", cache("b", Sharing::Shared, None)),
        ("/s", cache("a", Sharing::Shared, Some(source("/x")))),
    ];
    let vertices = vec![vertex("scratch", Op::Scratch), make_dir("/d", 0), run_with(mounts, &[1])];
    let (log, result) = build(&results, vertices, &[], options(false));
    result.unwrap();
    assert_eq!(log[1], "Private a");
    assert!(log[2].starts_with("Shared a (from ") && log[2].ends_with(":/x)"), "{log:?}");
    assert_eq!(log[3], "Locked b");
    assert!(log[4].starts_with("with mounts V=plain /b=b /a=a /b2=b /s=a (from"), "{log:?}");
    assert_eq!(log[5..].len(), 3, "all are let go: {log:?}");
}

#[test]
fn secrets_are_for_the_command_and_no_part_of_the_key() {
    let results = Results::default();
    let build = |mounts, token, no_cache| {
        let fake = Fake { token, ..Fake::default() };
        let stages = fake.stages(&results);
        let vertices = vec![vertex("scratch", Op::Scratch), run_with(mounts, &[])];
        let result = solve(&graph(vertices), &stages, &options(no_cache), &fake);
        let log = fake.log.lock().unwrap().clone();
        (log, result.map_err(|error| (error.failure.kind(), error.to_string())))
    };
    let mounts = || {
        vec![
            ("/run/secrets/token", secret("token", None, false)),
            ("", secret("token", Some("V"), false)),
            ("/both", secret("token", Some("W"), false)),
            ("/none", secret("none", Some("X"), false)),
        ]
    };
    let (log, result) = build(mounts(), Some(b"one"), false);
    result.unwrap();
    assert_eq!(log, ["with mounts V=one W=one X= /run/secrets/token=one /both=one"]);
    let (log, _) = build(mounts(), Some(b"two"), false);
    assert_eq!(log, ["cached 1"]);
    for (kind, expected) in [
        (secret("none", None, true), "the secret \"none\" is required and was not given"),
        (secret("binary", Some("V"), false), "the secret \"binary\" is not text"),
        (
            MountKind::Ssh { id: "a".into(), mode: 0o600, uid: 0, gid: 0, required: true },
            "the SSH agent \"a\" is required and was not given",
        ),
    ] {
        let (log, result) = build(vec![("/x", kind)], None, true);
        let (kind, message) = result.unwrap_err();
        assert!(message.contains(expected), "{message}");
        assert_eq!((kind, log.len()), (FailureKind::User, 0));
    }
}
