//! Steps that are under way when another one fails.

use super::*;

/// Collects the outcomes of steps.
#[derive(Default)]
struct Outcomes(Mutex<Vec<String>>);

impl Events for Outcomes {
    fn event(&self, vertex: VertexId, event: Event<'_>) {
        let outcome = match event {
            Event::Done { .. } => "done",
            Event::Failed { .. } => "failed",
            Event::Cancelled(_) => "cancelled",
            _ => return,
        };
        self.0.lock().unwrap().push(format!("{} {outcome}", vertex.0));
    }
}

#[test]
fn steps_under_way_are_ended_and_what_is_whole_is_kept() {
    let (results, fake, outcomes) = (Results::default(), Fake::default(), Outcomes::default());
    let vertices = || {
        vec![
            vertex("scratch", Op::Scratch),
            run("whole", 0),
            run("wait", 0),
            run("fail", 1),
            run("after", 2),
        ]
    };
    let graph = graph(vertices());
    let result = solve(&graph, &fake.stages(&results), &options(false), &outcomes);
    let error = result.unwrap_err();
    assert_eq!((error.label.as_str(), error.failure.kind()), ("fail", FailureKind::Step));
    let mut outcomes = outcomes.0.into_inner().unwrap();
    outcomes.sort();
    assert_eq!(outcomes, ["1 done", "2 cancelled", "3 failed"]);
    let (log, _) = build(&results, vertices()[..2].to_vec(), &[], options(false));
    assert_eq!(log, ["cached 1"]);
}
