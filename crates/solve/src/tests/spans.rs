//! The spans of a build.

use xbuild_testkit::spans;

use super::*;

#[test]
fn steps_are_in_their_stages_and_stages_in_the_build() {
    spans::collect();
    let mut vertices = vec![vertex("nothing", Op::Scratch), run("seen one", 0), run("fail", 1)];
    for (step, vertex) in vertices.iter_mut().enumerate().skip(1) {
        let stage = "seen".to_owned();
        vertex.position = Position { stage, step, target: Some(platform()) };
    }
    let results = Results::default();
    for no_cache in [true, false] {
        let build = tracing::info_span!("build", test = "seen");
        let result = build.in_scope(|| build_with(&results, vertices.clone(), no_cache));
        result.unwrap_err();
    }
    let closed = spans::closed();
    let closed: Vec<&str> =
        closed.iter().filter_map(|line| line.strip_prefix("build test=seen > ")).collect();
    let stage = "stage name=seen platform=linux/amd64";
    let step = |label: &str, end: &str| {
        format!("{stage} > step label={label} platform=linux/amd64 result={end}")
    };
    let nothing = "step label=nothing platform=linux/amd64 result=given".to_owned();
    let build = |first: &str| {
        [nothing.clone(), step("seen one", first), step("fail", "run"), stage.to_owned()]
    };
    assert_eq!(closed, [build("run"), build("cached")].concat());
}

fn build_with(
    results: &Results,
    vertices: Vec<Vertex>,
    no_cache: bool,
) -> Result<crate::BuiltImage, Box<crate::SolveError>> {
    super::build(results, vertices, &[], options(no_cache)).1
}
