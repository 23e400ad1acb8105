//! From results to image configurations.

use xbuild_model::{Chain, History, ImageConfig, Platform};
use xbuild_plan::{Graph, Output, VertexId};

use crate::options::SolveOptions;
use crate::result::Done;

/// An image that was built, ready to be assembled.
#[derive(Debug, Clone, PartialEq)]
pub struct BuiltImage {
    /// The platform asked for.
    pub platform: Platform,
    /// The whole configuration.
    pub config: ImageConfig,
    /// The layers, the same as in the configuration.
    pub layers: Chain,
    /// How many of the layers, the oldest, are those of the base image.
    pub base_layers: usize,
    /// The steps whose layers the image begins with, and how many layers these are: at least one.
    pub steps: Vec<(VertexId, usize)>,
}

/// Returns the images of the graph's outputs, in their order. All vertices are done.
pub(crate) fn images(
    graph: &Graph,
    done: &[Option<Done>],
    options: &SolveOptions,
) -> Vec<BuiltImage> {
    graph.outputs.iter().map(|output| image(output, done, options)).collect()
}

fn image(output: &Output, done: &[Option<Done>], options: &SolveOptions) -> BuiltImage {
    let result = |id: VertexId| done.get(id.0).and_then(Option::as_ref);
    let layers = result(output.vertex).map(|done| done.layers.chain.clone()).unwrap_or_default();
    let mut config = output.config.clone();
    let added = output.history.iter().filter_map(|planned| result(planned.vertex?));
    let base_layers = layers.0.len().saturating_sub(added.map(|step| step.added).sum());
    config.history = output.base_history.clone();
    // An entry without a step of its own has the time of the entry before it. So an image made of
    // cached steps equals, to the byte, the image that was made when they ran.
    let base_time = output.base_history.last().and_then(|entry| entry.created.clone());
    let mut time = config.created.take().or(base_time);
    for planned in &output.history {
        let step = planned.vertex.and_then(result);
        if let Some(created) = step.and_then(|step| step.created.clone()) {
            time = Some(created);
        }
        config.history.push(History {
            created: options.epoch.map(|_| options.now()).or_else(|| time.clone()),
            created_by: Some(planned.created_by.clone()),
            author: None,
            comment: Some(planned.comment.clone()),
            empty_layer: step.is_none_or(|step| step.added == 0),
        });
    }
    config.created = if options.epoch.is_some() && !output.history.is_empty() {
        Some(options.now())
    } else {
        time
    };
    config.rootfs.diff_ids = layers.0.clone();
    let steps = steps(&layers, done);
    BuiltImage { platform: output.platform.clone(), config, layers, base_layers, steps }
}

/// Returns the steps whose layers an image with these layers begins with.
fn steps(layers: &Chain, done: &[Option<Done>]) -> Vec<(VertexId, usize)> {
    let step = |(number, done): (usize, &Option<Done>)| {
        let own = &done.as_ref()?.layers.chain.0;
        let is_lower = !own.is_empty() && layers.0.starts_with(own);
        is_lower.then_some((VertexId(number), own.len()))
    };
    done.iter().enumerate().filter_map(step).collect()
}
