//! Whole plans: helpers here, tests by topic below.

mod errors;
mod graphs;
mod invariants;
mod outlines;
mod scopes;

use xbuild_model::{
    BlobSource, Descriptor, DiffId, Digest, ImageConfig, ImageLayer, Platform, ResolvedImage,
};

use crate::{Graph, ImageRequest, Images, PlanErrors, PlanOptions, Planned, plan};

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

/// Options of a build on linux/amd64 for `platforms`.
pub(crate) fn options(platforms: &[&str]) -> PlanOptions {
    let mut options = PlanOptions::new(platform("linux/amd64"));
    options.platforms = platforms.iter().map(|text| platform(text)).collect();
    options
}

/// An image of one layer whose configuration is the JSON given: its `config` member if it has no
/// member of that name.
pub(crate) fn image(name: &str, platform: &Platform, config: &str) -> ResolvedImage {
    let mut value: serde_json::Value = serde_json::from_str(config).unwrap();
    if value.get("config").is_none() {
        value = serde_json::json!({ "config": value });
    }
    value["os"] = platform.os().into();
    value["architecture"] = platform.architecture().into();
    let config: ImageConfig = serde_json::from_value(value).unwrap();
    let unique = format!("{name} {platform}");
    ResolvedImage {
        name: name.to_owned(),
        platform: platform.clone(),
        root: Digest::of(name.as_bytes()),
        manifest: Descriptor::of("manifest", unique.as_bytes()),
        config,
        layers: vec![ImageLayer {
            diff_id: DiffId(Digest::of(unique.as_bytes())),
            descriptor: Descriptor::of("layer", unique.as_bytes()),
            source: BlobSource::Registry { registry: "r".into(), repository: "r".into() },
        }],
    }
}

/// The images of the tests, for every platform: `busybox`, and `onbuild` with triggers.
fn answer(request: &ImageRequest) -> ResolvedImage {
    let config = match request.name.as_str() {
        "onbuild" => {
            r#"{"Env": ["PATH=/bin"], "WorkingDir": "/src",
                "OnBuild": ["COPY --from=tool /t /t", "RUN make $X"]}"#
        }
        "bare" => r#"{"User": "app"}"#,
        "rich" => {
            r#"{"author": "them", "created": "2020-01-01T00:00:00Z", "docker_version": "1",
                "moby.buildkit.cache.v0": "x", "kept": 1, "os.version": "10",
                "history": [{"created_by": "one"}],
                "config": {"Env": ["A=base", "PATH=/p"], "Labels": {"l": "base", "m": "base"},
                           "Cmd": ["base"], "Entrypoint": ["run"], "Kept": true}}"#
        }
        _ => r#"{"Env": ["PATH=/bin"], "Cmd": ["sh"]}"#,
    };
    image(&request.name, &request.platform, config)
}

/// Plans until no image is needed. Returns the graph and the requests of each round.
fn rounds(
    text: &str,
    options: &PlanOptions,
) -> Result<(Graph, Vec<Vec<ImageRequest>>), PlanErrors> {
    let file = xbuild_dockerfile::parse("Dockerfile", text.as_bytes()).unwrap();
    let mut images = Images::default();
    let mut rounds = Vec::new();
    loop {
        match plan(&file, options, &images)? {
            Planned::Ready(graph) => return Ok((graph, rounds)),
            Planned::Needs(needs) => {
                assert!(!needs.is_empty() && rounds.len() < 10, "{needs:?}");
                needs.iter().for_each(|request| images.insert(request, answer(request)));
                rounds.push(needs);
            }
        }
    }
}

fn graph(text: &str, options: &PlanOptions) -> Graph {
    rounds(text, options).unwrap_or_else(|errors| panic!("{errors}\n{text}")).0
}
