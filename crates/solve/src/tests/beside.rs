//! Builds that are solved at the same time.

use super::*;
use crate::{Beside, Identities, SharedSteps};

/// A build whose contexts and secrets are known by a word.
struct Of(&'static str);

impl Identities for Of {
    fn context(&self, name: &str) -> Digest {
        Digest::of(format!("{} {name}", self.0).as_bytes())
    }

    fn secret(&self, id: &str) -> Option<Digest> {
        Some(Digest::of(format!("{} {id}", self.0).as_bytes()))
    }

    fn agent(&self, _id: &str) -> Option<Digest> {
        None
    }
}

fn shared() -> SharedSteps {
    SharedSteps::new(NonZeroUsize::new(2).unwrap())
}

/// Solves as one of several builds.
fn solve_beside(
    (steps, build): (&SharedSteps, usize),
    (fake, results): (&Fake, &Results),
    vertices: Vec<Vertex>,
    no_cache: bool,
    of: &'static str,
) -> Result<Vec<crate::BuiltImage>, Box<crate::SolveError>> {
    let beside = Some(Beside { steps, build, identities: &Of(of) });
    let stages = Stages { beside, ..fake.stages(results) };
    solve(&graph(vertices), &stages, &options(no_cache), fake)
}

fn log(fake: &Fake) -> Vec<String> {
    let mut log = fake.log.lock().unwrap().clone();
    log.sort();
    log
}

/// Without a cache each build would do its steps, unless another has done them this moment.
#[test]
fn a_step_of_several_builds_is_done_once() {
    let (shared, results, log) = (shared(), Results::default(), Log::default());
    let own = ["own 0", "own 1", "own 2", "own 3"];
    std::thread::scope(|scope| {
        for (build, own) in own.into_iter().enumerate() {
            let (shared, results, log) = (&shared, &results, Arc::clone(&log));
            scope.spawn(move || {
                let fake = Fake { log, ..Fake::default() };
                let vertices =
                    vec![vertex("scratch", Op::Scratch), run("one", 0), run("two", 1), run(own, 2)];
                solve_beside((shared, build), (&fake, results), vertices, true, "same").unwrap();
            });
        }
    });
    let log = log.lock().unwrap();
    for command in ["one", "two"].into_iter().chain(own) {
        assert_eq!(log.iter().filter(|line| *line == command).count(), 1, "{log:?}");
    }
}

#[test]
fn no_cache_of_one_build_is_not_that_of_others() {
    let results = Results::default();
    build(&results, steps(), &[], options(false)).1.unwrap();
    let (shared, fakes) = (shared(), [Fake::default(), Fake::default(), Fake::default()]);
    for (number, (fake, no_cache)) in fakes.iter().zip([false, true, false]).enumerate() {
        solve_beside((&shared, number), (fake, &results), steps(), no_cache, "same").unwrap();
    }
    assert_eq!(log(&fakes[0]), ["cached 1", "cached 2", "cached 3"]);
    assert_eq!(log(&fakes[1]), ["copy", "one", "two"]);
    assert_eq!(log(&fakes[2]), ["cached 1", "cached 2", "cached 3"]);
}

fn with_secret() -> Vec<Vertex> {
    let mut step = run("use", 0);
    let Op::Run { request, .. } = &mut step.op else { unreachable!() };
    let (id, env, mode, uid, gid) = ("token".to_owned(), None, 0o400, 0, 0);
    let kind = MountKind::Secret { id, env, mode, uid, gid, required: true };
    request.mounts.push(Mount { target: "/s".to_owned(), kind });
    vec![vertex("scratch", Op::Scratch), step]
}

#[test]
fn a_step_with_another_secret_is_another_step() {
    let (shared, results) = (shared(), Results::default());
    let fake = |token: &'static str| Fake { token: Some(token.as_bytes()), ..Fake::default() };
    let fakes = [("a", fake("a")), ("b", fake("b")), ("a", fake("a"))];
    for (number, (of, fake)) in fakes.iter().enumerate() {
        solve_beside((&shared, number), (fake, &results), with_secret(), false, of).unwrap();
    }
    assert_eq!(log(&fakes[0].1), ["use /s=a"]);
    assert_eq!(log(&fakes[1].1), ["use /s=b"]);
    // Its own result, not the one that was remembered last.
    assert_eq!(log(&fakes[2].1), ["cached 1"]);
    // Builds of other days have the same secret as far as is known.
    let later = fake("c");
    solve(&graph(with_secret()), &later.stages(&results), &options(false), &later).unwrap();
    assert_eq!(log(&later), ["cached 1"]);
}

#[test]
fn a_build_that_others_end_reports_it() {
    let (shared, results, fake) = (shared(), Results::default(), Fake::default());
    let vertices = || vec![vertex("scratch", Op::Scratch), run("wait", 0)];
    std::thread::scope(|scope| {
        let solved = scope.spawn(|| {
            let ended = solve_beside((&shared, 0), (&fake, &results), vertices(), false, "a");
            ended.unwrap_err()
        });
        while fake.log.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        let cancel = fake.cancel.clone();
        let other = scope.spawn(|| {
            let other = Fake { cancel, ..Fake::default() };
            let ended = solve_beside((&shared, 1), (&other, &results), vertices(), false, "a");
            (ended.unwrap_err(), log(&other))
        });
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!other.is_finished());
        fake.cancel.cancel();
        assert_eq!(solved.join().unwrap().label, "wait");
        assert_eq!(other.join().unwrap().1, Vec::<String>::new());
    });
}
