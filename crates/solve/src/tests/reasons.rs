//! Why steps run.

use std::sync::{Arc, Mutex};

use xbuild_model::run::Script;
use xbuild_model::{BlobSource, Descriptor, ResolvedImage};

use super::*;
use crate::{Change, FileChanges, Reason, Setting, StepKind};

/// The reasons of each vertex that runs.
#[derive(Default)]
struct Told(Mutex<Vec<(usize, Vec<Reason>)>>);

impl Events for Told {
    fn event(&self, vertex: VertexId, event: Event<'_>) {
        if let Event::Started(reasons) = event {
            self.0.lock().unwrap().push((vertex.0, reasons.to_vec()));
        }
    }
}

/// A cache, and fakes of the world around it.
#[derive(Default)]
struct Place {
    results: Results,
}

impl Place {
    /// Builds the steps of one stage, each in the place of its number, and returns which of them
    /// ran and why, by number, or the error of the step that failed.
    fn try_build(
        &self,
        mut vertices: Vec<Vertex>,
        contents: &[(&str, &'static str)],
        no_cache: bool,
    ) -> Result<Vec<(usize, Vec<Reason>)>, String> {
        for (step, vertex) in vertices.iter_mut().enumerate() {
            vertex.position = Position { stage: "s".to_owned(), step, target: Some(platform()) };
            vertex.definition = Digest::of(format!("{:?}", vertex.op).as_bytes());
        }
        let fake = Fake::with(contents);
        let told = Told::default();
        let stages = fake.stages(&self.results);
        let result = solve(&graph(vertices), &stages, &options(no_cache), &told);
        result.map_err(|error| error.failure.to_string())?;
        Ok(told.0.into_inner().unwrap())
    }

    fn build(&self, vertices: Vec<Vertex>) -> Vec<(usize, Vec<Reason>)> {
        self.try_build(vertices, &[], false).unwrap()
    }

    fn lose_results(&self) {
        self.results.steps.lock().unwrap().clear();
    }

    /// Returns the records of the steps that ran.
    fn runs(&self) -> Vec<(Digest, Vec<u8>)> {
        self.results.runs.lock().unwrap().clone().into_iter().collect()
    }
}

fn scratch() -> Vertex {
    vertex("scratch", Op::Scratch)
}

fn image(text: &str) -> Vertex {
    let layer = |text: &str| ImageLayer {
        diff_id: DiffId(Digest::of(text.as_bytes())),
        descriptor: Descriptor::of("layer", text.as_bytes()),
        source: BlobSource::Layout { path: PathBuf::new() },
    };
    let image = ResolvedImage {
        name: "image".to_owned(),
        platform: platform(),
        root: Digest::of(text.as_bytes()),
        manifest: Descriptor::of("manifest", text.as_bytes()),
        config: ImageConfig::default(),
        layers: vec![layer("below"), layer(text)],
    };
    vertex(text, Op::Image(Arc::new(image)))
}

/// Returns a RUN on vertex 0 with arguments A and B and variables C and D.
fn command(change: impl FnOnce(&mut RunRequest)) -> Vertex {
    let mut vertex = run("command", 0);
    if let Op::Run { request, arguments, .. } = &mut vertex.op {
        let pair = |name: &str| (name.to_owned(), "s3cret".to_owned());
        request.env = ["A", "B", "C", "D"].map(pair).into();
        arguments.extend(["A", "B"].map(str::to_owned));
        change(request);
    }
    vertex
}

fn set(request: &mut RunRequest, name: &str, value: &str) {
    request.env.retain(|(other, _)| other != name);
    request.env.push((name.to_owned(), value.to_owned()));
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn source_changed() -> Reason {
    let changes = FileChanges { first: "file".to_owned(), change: Change::Changed, more: 0 };
    Reason::Source { kind: StepKind::Workdir, changes: Some(changes) }
}

#[test]
fn changes_of_a_command_are_reasons() {
    type Change = fn(&mut RunRequest);
    let cases: Vec<(Change, Vec<Reason>)> = vec![
        (|r| r.argv.push("more".to_owned()), vec![Reason::Command]),
        (
            |r| r.scripts.push(Script { path: "/s".into(), contents: "x".into(), mode: 0o755 }),
            vec![Reason::Command],
        ),
        (|r| set(r, "A", "2"), vec![Reason::Arguments(names(&["A"]))]),
        (|r| set(r, "C", "2"), vec![Reason::Environment(names(&["C"]))]),
        (|r| set(r, "NEW", "2"), vec![Reason::Environment(names(&["NEW"]))]),
        (
            |r| r.env.clear(),
            vec![Reason::Arguments(names(&["A", "B"])), Reason::Environment(names(&["C", "D"]))],
        ),
        (|r| r.user.push('u'), vec![Reason::Setting(Setting::User)]),
        (|r| r.cwd.push('d'), vec![Reason::Setting(Setting::WorkingFolder)]),
        (|r| r.network = Network::None, vec![Reason::Setting(Setting::Network)]),
        (|r| r.security = Security::Insecure, vec![Reason::Setting(Setting::Security)]),
        (|r| r.hostname.push('h'), vec![Reason::Setting(Setting::Hosts)]),
        (|r| r.extra_hosts.push(("h".into(), "::1".into())), vec![Reason::Setting(Setting::Hosts)]),
        (|r| r.ulimits.push(("nofile".into(), 1, 1)), vec![Reason::Setting(Setting::Limits)]),
        (|r| r.shm_size = 1, vec![Reason::Setting(Setting::Limits)]),
        (
            |r| r.platform = Platform::new("linux", "386", None),
            vec![Reason::Setting(Setting::Platform)],
        ),
        (
            |r| r.mounts.push(Mount { target: "/t".into(), kind: MountKind::Tmpfs { size: None } }),
            vec![Reason::Setting(Setting::Mounts)],
        ),
        (
            |r| {
                r.argv.clear();
                r.argv.push("other".to_owned());
                r.user.push('u');
                set(r, "B", "2");
            },
            vec![Reason::Command, Reason::Arguments(names(&["B"])), Reason::Setting(Setting::User)],
        ),
    ];
    for (change, expected) in cases {
        let place = Place::default();
        let first = place.build(vec![scratch(), command(|_| {})]);
        assert_eq!(first, [(1, vec![Reason::FirstTime])]);
        let other = command(change);
        let shown = format!("{:?}", other.op);
        assert_eq!(place.build(vec![scratch(), other]), [(1, expected)], "{shown}");
    }
}

#[test]
fn a_variable_that_an_argument_gave_is_told_once() {
    let place = Place::default();
    place.build(vec![scratch(), command(|_| {})]);
    let mut other = command(|request| set(request, "A", "2"));
    if let Op::Run { arguments, .. } = &mut other.op {
        arguments.retain(|name| name != "A");
    }
    assert_eq!(place.build(vec![scratch(), other]), [(1, vec![Reason::Arguments(names(&["A"]))])]);
}

#[test]
fn a_change_is_told_where_it_is_and_where_it_leads() {
    let place = Place::default();
    let steps = || vec![scratch(), make_dir("/d", 0), run("two", 1), run("three", 2)];
    place.build(steps());
    let below = || vec![Reason::LayersBelow { by: Some(VertexId(1)) }];
    let again = place.try_build(steps(), &[("/d", "changed")], false).unwrap();
    assert_eq!(again, [(1, vec![source_changed()]), (2, below()), (3, below())]);
    // A cached step has changed for the steps on top of it, too.
    let mut more = steps();
    more[3] = run("new", 2);
    assert_eq!(place.build(more), [(3, vec![Reason::Command, Reason::LayersBelow { by: None }])]);
    let mut other = steps();
    other[1] = make_dir("/e", 0);
    let instruction = vec![Reason::Instruction(StepKind::Workdir)];
    assert_eq!(place.build(other)[0], (1, instruction));
}

#[test]
fn mounted_files_are_a_reason() {
    let place = Place::default();
    let steps = || {
        let bind = MountKind::Bind { source: source("/x"), writable: false };
        vec![scratch(), make_dir("/d", 0), run_with(vec![("/in", bind)], &[1])]
    };
    place.build(steps());
    let again = place.try_build(steps(), &[("/d", "changed")], false).unwrap();
    assert_eq!(again[1], (2, vec![Reason::MountSources(names(&["/in"]))]));
}

#[test]
fn another_base_is_a_reason_for_all_that_stands_on_it() {
    let place = Place::default();
    let steps = |base| {
        let mut linked = make_dir("/d", 1);
        if let Op::Files { independent, .. } = &mut linked.op {
            *independent = true;
        }
        vec![image(base), run("one", 0), linked, run("two", 2)]
    };
    place.build(steps("base"));
    let again = place.build(steps("other"));
    assert_eq!(again, [(1, vec![Reason::Base]), (3, vec![Reason::Base])]);
}

#[test]
fn no_cache_and_lost_results_are_reasons() {
    let place = Place::default();
    let steps = || vec![scratch(), command(|_| {})];
    let first = place.try_build(steps(), &[], true).unwrap();
    assert_eq!(first, [(1, vec![Reason::NoCache])]);
    place.lose_results();
    assert_eq!(place.build(steps()), [(1, vec![Reason::ResultGone])]);
    // The runs of a build without cache are known, too.
    let other = || vec![scratch(), command(|request| set(request, "A", "2"))];
    place.try_build(other(), &[], true).unwrap();
    let third = vec![scratch(), command(|request| set(request, "A", "3"))];
    assert_eq!(place.build(third), [(1, vec![Reason::Arguments(names(&["A"]))])]);
}

#[test]
fn a_step_that_failed_has_not_been_seen() {
    let place = Place::default();
    let failing = || vec![scratch(), run("fail", 0)];
    assert_eq!(place.try_build(failing(), &[], false).unwrap_err(), "it failed");
    assert!(place.runs().is_empty());
    assert_eq!(place.build(vec![scratch(), run("one", 0)]), [(1, vec![Reason::FirstTime])]);
}

#[test]
fn steps_are_known_again_where_lines_come_and_go() {
    let place = Place::default();
    let steps = |words: &[&str]| {
        let runs = words.iter().enumerate().map(|(below, word)| match *word {
            "dir" => make_dir("/dir", below),
            word => run(word, below),
        });
        std::iter::once(scratch()).chain(runs).collect::<Vec<_>>()
    };
    place.build(steps(&["one", "two", "three"]));
    let below = |by| vec![Reason::LayersBelow { by: Some(VertexId(by)) }];
    let inserted = place.build(steps(&["one", "dir", "two", "three"]));
    let new = || vec![Reason::NewInstruction];
    assert_eq!(inserted, [(2, new()), (3, below(2)), (4, below(2))]);
    // The new step is of the same kind as the step that stood there.
    let inserted = place.build(steps(&["zero", "one", "dir", "two", "three"]));
    assert_eq!(inserted[..2], [(1, new()), (2, below(1))]);
    // All results are gone, so each step is searched for.
    place.lose_results();
    let gone = || vec![Reason::ResultGone];
    let removed = place.build(steps(&["zero", "one", "three"]));
    // The first two steps made the same layers as before, so they are not the reason.
    let below = vec![Reason::LayersBelow { by: None }];
    assert_eq!(removed, [(1, gone()), (2, gone()), (3, below)]);
}

#[test]
fn a_cached_build_looks_at_no_record() {
    let place = Place::default();
    let steps = || vec![scratch(), command(|_| {}), make_dir("/d", 1)];
    place.build(steps());
    place.results.has_lost_runs.store(true, Ordering::Relaxed);
    assert_eq!(place.build(steps()), []);
    assert!(place.try_build(steps(), &[("/d", "changed")], false).is_err());
}

#[test]
fn a_record_of_another_version_counts_as_missing() {
    let place = Place::default();
    place.build(vec![scratch(), command(|_| {})]);
    let [(key, _)] = &place.runs()[..] else { panic!("{:?}", place.runs()) };
    place.results.keep_run(key, b"{\"of another version\":1}").unwrap();
    let again = place.build(vec![scratch(), command(|request| set(request, "A", "2"))]);
    assert_eq!(again, [(1, vec![Reason::FirstTime])]);
}

#[test]
fn a_record_has_names_but_no_values() {
    let place = Place::default();
    place.build(vec![scratch(), command(|_| {})]);
    let runs = place.runs().into_iter().map(|(_, record)| String::from_utf8(record).unwrap());
    let text: String = runs.collect();
    assert!(text.contains("\"A\"") && !text.contains("s3cret"), "{text}");
}
