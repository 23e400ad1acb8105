//! Properties of every graph.

use std::collections::HashSet;

use proptest::prelude::*;

use super::{options, rounds};
use crate::{Graph, VertexId};

/// Lines of a stage: each is a valid instruction in any place.
fn instruction(stage: usize) -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        "RUN one",
        "RUN two $TARGETARCH",
        "ARG TARGETARCH",
        "ENV A=$A$TARGETARCH",
        "COPY x /x",
        "COPY --link y /y",
        "WORKDIR w",
        "USER app",
        "ONBUILD RUN trigger",
        "COPY --from=busybox:2 /z /z",
    ]);
    let other = (0..stage.max(1)).prop_map(move |other| match stage {
        0 => "CMD x".to_owned(),
        _ => format!("COPY --from={other} /o /o"),
    });
    prop_oneof![4 => fixed.prop_map(str::to_owned), 1 => other]
}

fn stage(index: usize) -> impl Strategy<Value = String> {
    let image = prop::sample::select(vec![
        "busybox",
        "scratch",
        "--platform=$BUILDPLATFORM busybox",
        "--platform=linux/s390x busybox:2",
    ]);
    let above = (0..index.max(1)).prop_map(move |above| match index {
        0 => "busybox".to_owned(),
        _ => format!("s{above}"),
    });
    let base = prop_oneof![image.prop_map(str::to_owned), above];
    (base, prop::collection::vec(instruction(index), 0..6))
        .prop_map(move |(base, lines)| format!("FROM {base} AS s{index}\n{}\n", lines.join("\n")))
}

fn file() -> impl Strategy<Value = String> {
    (1usize..6).prop_flat_map(|count| {
        (0..count).map(|index| stage(index).boxed()).collect::<Vec<_>>().prop_map(|s| s.concat())
    })
}

fn check(graph: &Graph) {
    let mut needed: HashSet<VertexId> = graph.outputs.iter().map(|output| output.vertex).collect();
    for (id, vertex) in graph.iter().collect::<Vec<_>>().into_iter().rev() {
        assert!(needed.contains(&id), "{} is for nothing\n{}", id.0, graph.dump());
        for input in vertex.op.inputs() {
            assert!(input < id, "{} comes before its input\n{}", id.0, graph.dump());
            needed.insert(input);
        }
    }
    let keys: HashSet<String> = graph.vertices.iter().map(|v| v.key.to_string()).collect();
    assert_eq!(keys.len(), graph.vertices.len());
    for output in &graph.outputs {
        // The vertices of the history are those of the output's stack, from the top down.
        let mut at = Some(output.vertex);
        for entry in output.history.iter().rev().filter_map(|entry| entry.vertex) {
            assert_eq!(at, Some(entry), "{}", graph.dump());
            at = graph.vertex(entry).op.parent();
        }
    }
}

proptest! {
    #[test]
    fn graphs_are_ordered_minimal_and_the_same_each_time(
        text in file(),
        names in prop::collection::vec(
            prop::sample::select(vec!["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm64/v8"]),
            1..5,
        ),
    ) {
        let options = options(&names);
        let (graph, _) = rounds(&text, &options).unwrap();
        check(&graph);
        prop_assert_eq!(&rounds(&text, &options).unwrap().0, &graph);

        let mut expected = options.platforms.clone();
        let mut seen = HashSet::new();
        expected.retain(|platform| seen.insert(platform.clone()));
        let platforms: Vec<_> = graph.outputs.iter().map(|o| o.platform.clone()).collect();
        prop_assert_eq!(platforms, expected);

        // Each platform has the same output as when it is built alone.
        for output in &graph.outputs {
            let alone = super::options(&[&output.platform.to_string()]);
            let (single, _) = rounds(&text, &alone).unwrap();
            let key = |graph: &Graph, id| graph.vertex(id).key.clone();
            prop_assert_eq!(
                key(&single, single.outputs[0].vertex),
                key(&graph, output.vertex)
            );
            prop_assert_eq!(&single.outputs[0].config, &output.config);
        }
    }
}

#[test]
fn long_chains_of_stages_take_linear_time() {
    let mut text = "FROM scratch AS s0\nENV A=1\n".to_owned();
    for index in 1..20_000 {
        text.push_str(&format!("FROM s{} AS s{index}\nLABEL l{index}=1\n", index - 1));
    }
    let (graph, _) = rounds(&text, &options(&["linux/amd64"])).unwrap();
    assert_eq!(graph.vertices.len(), 1);
    assert_eq!(graph.outputs[0].history.len(), 20_000);
}
