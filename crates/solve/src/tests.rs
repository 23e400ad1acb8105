use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use xbuild_model::file_op::{CopyOrigin, FileOp, MakeDir};
use xbuild_model::run::{Network, RunRequest};
use xbuild_model::seam::{Output as Lines, RootDirs, Runner, Selection, Snapshots, Workspace};
use xbuild_model::{
    Chain, DiffId, Digest, FailureKind, ImageConfig, ImageLayer, Platform, StepFailure,
};
use xbuild_plan::{Graph, Op, Output, PlannedHistory, Span, Vertex, VertexId};
use xbuild_store::Store;

use crate::{Event, Events, SolveOptions, Stages, solve};

/// What a build did, in order.
type Log = Arc<Mutex<Vec<String>>>;

#[derive(Default)]
struct Fake {
    log: Log,
    /// Contents by folder that WORKDIR asks for: stands in for a build context.
    contents: BTreeMap<String, &'static str>,
}

struct Selected(Digest, Log, bool);

impl Selection for Selected {
    fn key(&self) -> &Digest {
        &self.0
    }

    fn is_empty(&self) -> bool {
        self.2
    }

    fn commit(self: Box<Self>, _folder: bool) -> Result<DiffId, StepFailure> {
        self.1.lock().unwrap().push("copy".to_owned());
        Ok(DiffId(self.0))
    }
}

struct Root(RootDirs, Chain);

impl Workspace for Root {
    fn root(&self) -> &RootDirs {
        &self.0
    }

    fn commit(self: Box<Self>) -> Result<DiffId, StepFailure> {
        let below = self.1.id().map(|id| id.hex()).unwrap_or_default();
        Ok(DiffId(Digest::of(format!("run on {below}").as_bytes())))
    }
}

impl Snapshots for Fake {
    fn add_image(&self, _layers: &[ImageLayer]) {}

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
        let empty = std::path::PathBuf::new();
        let root = RootDirs { lowers: Vec::new(), upper: empty.clone(), work: empty };
        Ok(Box::new(Root(root, parent.clone())))
    }

    fn has_layer(&self, _layer: &DiffId) -> bool {
        true
    }
}

impl Runner for Fake {
    fn run(
        &self,
        _root: &RootDirs,
        request: &RunRequest,
        output: &dyn Lines,
    ) -> Result<(), StepFailure> {
        self.log.lock().unwrap().push(request.argv.join(" "));
        output.line(false, b"a line");
        if request.argv[0] == "fail" {
            return Err(StepFailure::new(FailureKind::Step, std::io::Error::other("it failed")));
        }
        Ok(())
    }
}

impl Events for Fake {
    fn event(&self, vertex: VertexId, event: Event<'_>) {
        if event == Event::Cached {
            self.log.lock().unwrap().push(format!("cached {}", vertex.0));
        }
    }
}

fn platform() -> Platform {
    Platform::new("linux", "amd64", None)
}

fn vertex(label: &str, op: Op) -> Vertex {
    let definition = Digest::of(label.as_bytes());
    let span = Span::new(&"Dockerfile".into(), 1, 1);
    let (key, label) = (definition.clone(), label.to_owned());
    Vertex { key, definition, span, label, platform: platform(), op, needs_folder: true }
}

fn run(command: &str, parent: usize) -> Vertex {
    let request = RunRequest {
        argv: vec![command.to_owned()],
        env: Vec::new(),
        cwd: "/".to_owned(),
        user: String::new(),
        platform: platform(),
        network: Network::Default,
        hostname: String::new(),
        extra_hosts: Vec::new(),
        ulimits: Vec::new(),
        shm_size: 0,
        scripts: Vec::new(),
        unkeyed_env: Vec::new(),
    };
    vertex(command, Op::Run { parent: VertexId(parent), request })
}

fn make_dir(path: &str, parent: usize) -> Vertex {
    let op = FileOp::MakeDir(MakeDir { path: path.to_owned(), user: String::new() });
    let parent = VertexId(parent);
    vertex(path, Op::Files { parent, op, origin: None, independent: false })
}

fn graph(vertices: Vec<Vertex>) -> Graph {
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
    SolveOptions { jobs: NonZeroUsize::new(2).unwrap(), no_cache, epoch: None }
}

/// Solves with a store and returns what was done, and the first image.
fn build(
    store: &Store,
    vertices: Vec<Vertex>,
    contents: &[(&str, &'static str)],
    options: SolveOptions,
) -> (Vec<String>, Result<crate::BuiltImage, Box<crate::SolveError>>) {
    let contents = contents.iter().map(|(path, text)| ((*path).to_owned(), *text)).collect();
    let fake = Fake { contents, ..Fake::default() };
    let stages = Stages { store, snapshots: &fake, runner: &fake };
    let result = solve(&graph(vertices), &stages, &options, &fake);
    let log = fake.log.lock().unwrap().clone();
    (log, result.map(|mut images| images.remove(0)))
}

fn steps() -> Vec<Vertex> {
    vec![vertex("scratch", Op::Scratch), run("one", 0), make_dir("/d", 1), run("two", 2)]
}

#[test]
fn a_second_build_does_nothing_and_makes_the_same_image() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (log, first) = build(&store, steps(), &[], options(false));
    assert_eq!(log, ["one", "copy", "two"]);
    let first = first.unwrap();
    assert_eq!(first.layers.0.len(), 3);
    assert_eq!(first.config.rootfs.diff_ids, first.layers.0);
    let (log, second) = build(&store, steps(), &[], options(false));
    assert_eq!(log, ["cached 1", "cached 2", "cached 3"]);
    assert_eq!(second.unwrap(), first);
    let (log, _) = build(&store, steps(), &[], options(true));
    assert_eq!(log, ["one", "copy", "two"]);
}

#[test]
fn a_changed_source_reruns_from_there() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    build(&store, steps(), &[], options(false)).1.unwrap();
    let (log, _) = build(&store, steps(), &[("/d", "changed")], options(false));
    assert_eq!(log, ["cached 1", "copy", "two"]);
}

#[test]
fn a_folder_that_exists_makes_no_layer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let (log, image) = build(&store, steps(), &[("/d", "exists")], options(false));
    assert_eq!(log, ["one", "cached 2", "two"]);
    let image = image.unwrap();
    assert_eq!(image.layers.0.len(), 2);
    let empty: Vec<bool> = image.config.history.iter().map(|entry| entry.empty_layer).collect();
    assert_eq!(empty, [false, true, false]);
}

#[test]
fn the_first_failure_ends_the_build_and_names_its_step() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let vertices = vec![vertex("scratch", Op::Scratch), run("fail", 0), run("after", 1)];
    let (log, result) = build(&store, vertices, &[], options(false));
    assert_eq!(log, ["fail"]);
    let error = result.unwrap_err();
    assert_eq!((error.label.as_str(), error.failure.kind()), ("fail", FailureKind::Step));
}

#[test]
fn an_epoch_is_the_time_of_all_that_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let epoch = SolveOptions { epoch: Some(1_000_000_000), ..options(false) };
    let image = build(&store, steps(), &[], epoch).1.unwrap();
    assert_eq!(image.config.created.as_deref(), Some("2001-09-09T01:46:40Z"));
    let same = |entry: &xbuild_model::History| entry.created == image.config.created;
    assert!(image.config.history.iter().all(same));
}
