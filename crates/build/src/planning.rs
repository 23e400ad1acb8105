//! From the text of a Dockerfile to the graph: base images are resolved as the plan asks for them.

use xbuild_dockerfile::{Dockerfile, suggest};
use xbuild_plan::{Graph, ImageRequest, Images, PlanErrors, PlanOptions, Planned};
use xbuild_registry::Client;

use crate::import;
use crate::problem::Problem;

/// Why there is no graph.
#[derive(Debug)]
pub enum Unplanned {
    /// The file is wrong.
    File(Problem),
    /// A base image cannot be had.
    Image(Problem),
}

impl Unplanned {
    /// Returns the reason.
    pub fn into_problem(self) -> Problem {
        match self {
            Self::File(problem) | Self::Image(problem) => problem,
        }
    }
}

/// Reads a Dockerfile; `name` is what to call it, `source` its text as far as it is text.
pub fn parse(name: &str, text: &[u8], source: &str) -> Result<Dockerfile, Problem> {
    xbuild_dockerfile::parse(name, text).map_err(|errors| {
        let problems = errors.iter().map(|error| {
            let problem = Problem::input(error.to_string()).at(&error.span, source);
            match error.hint() {
                Some(hint) => problem.with_hint(hint),
                None => problem,
            }
        });
        Problem::all(problems).unwrap_or_else(|| Problem::input(errors.to_string()))
    })
}

/// Plans, resolving base images until the plan needs no more. Those that were resolved are added
/// to `images`, also if there is no plan in the end.
pub fn plan(
    dockerfile: &Dockerfile,
    options: &PlanOptions,
    client: &Client,
    source: &str,
    images: &mut Images,
) -> Result<Graph, Unplanned> {
    loop {
        match xbuild_plan::plan(dockerfile, options, images) {
            Ok(Planned::Ready(graph)) => return Ok(graph),
            Ok(Planned::Needs(requests)) => {
                for request in requests {
                    let image = import::resolve(client, &request.name, &request.platform)
                        .map_err(|problem| missing(problem, &request, dockerfile, source))?;
                    images.insert(&request, image);
                }
            }
            Err(errors) => return Err(Unplanned::File(problem(&errors, source))),
        }
    }
}

/// Returns errors of a plan as people read them.
pub fn problem(errors: &PlanErrors, source: &str) -> Problem {
    let problems = errors.iter().map(|error| {
        let mut problem = Problem::of_input(error);
        if let Some(span) = &error.span {
            problem = problem.at(span, source);
        }
        match error.hint() {
            Some(hint) => problem.with_hint(hint),
            None => problem,
        }
    });
    Problem::all(problems).unwrap_or_else(|| Problem::input(errors.to_string()))
}

/// Says which image is missing, and which stage its name resembles.
fn missing(
    problem: Problem,
    request: &ImageRequest,
    dockerfile: &Dockerfile,
    source: &str,
) -> Unplanned {
    let problem = problem.at(&request.span, source);
    let stages = dockerfile.stages.iter().filter_map(|stage| stage.from.name.as_deref());
    Unplanned::Image(match suggest(&request.name, stages) {
        Some(stage) => problem.with_hint(format!("did you mean the stage {stage}?")),
        None => problem,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use xbuild_model::Platform;

    #[test]
    fn a_misspelled_stage_is_named() {
        let source = "FROM scratch AS tools\nFROM scratch\nCOPY --from=tolos a b\n";
        let dockerfile = parse("Dockerfile", source.as_bytes(), source).unwrap();
        for (name, hint) in [("tolos", true), ("alpine", false)] {
            let span = dockerfile.stages[1].instructions[0].span.clone();
            let request = ImageRequest { name: name.into(), platform: Platform::host(), span };
            let problem = missing(Problem::input("not found"), &request, &dockerfile, source);
            let text = problem.into_problem().render();
            assert!(text.contains(" --> Dockerfile:3\n"), "{text}");
            assert_eq!(text.contains("hint: did you mean the stage tools?"), hint, "{text}");
        }
    }
}
