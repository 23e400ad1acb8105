//! As much of a build as is told, in the form that both versions share.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::facts::{Facts, Lines, Needed, ProvenanceOptions, SourceFile, Step};

/// As much of a build as the options allow to tell, in the form that both versions share.
pub(super) struct Told<'a> {
    pub(super) request: Request<'a>,
    pub(super) is_request_whole: bool,
    pub(super) are_materials_whole: bool,
    pub(super) is_hermetic: bool,
    pub(super) build_config: Option<BuildConfig<'a>>,
    pub(super) metadata: Metadata<'a>,
    pub(super) options: &'a ProvenanceOptions,
}

/// The request of the user.
#[derive(Serialize)]
pub(super) struct Request<'a> {
    frontend: &'static str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    args: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "<[Needed]>::is_empty")]
    secrets: &'a [Needed],
    #[serde(skip_serializing_if = "<[Needed]>::is_empty")]
    ssh: &'a [Needed],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locals: Vec<BTreeMap<&'static str, &'a str>>,
}

/// The steps. BuildKit has definitions of its own low-level language here, under another name.
#[derive(Serialize)]
pub(super) struct BuildConfig<'a> {
    steps: Vec<ToldStep<'a>>,
}

#[derive(Serialize)]
struct ToldStep<'a> {
    id: String,
    name: &'a str,
    platform: &'a str,
    op: &'a Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    inputs: Vec<String>,
}

/// The metadata that BuildKit adds.
#[derive(Default, Serialize)]
pub(super) struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    layers: BTreeMap<String, [&'a [Value]; 1]>,
}

#[derive(Serialize)]
struct Source<'a> {
    locations: BTreeMap<String, Value>,
    infos: Vec<Info<'a>>,
}

#[derive(Serialize)]
struct Info<'a> {
    filename: &'a str,
    language: &'static str,
    /// In base64.
    data: String,
}

impl<'a> Told<'a> {
    /// Leaves out what the options do not ask for.
    pub(super) fn of(facts: &'a Facts, options: &'a ProvenanceOptions) -> Self {
        let is_max = options.is_max;
        let is_private = |name: &str| name.starts_with("build-arg:") || name.starts_with("label:");
        let args = facts.arguments.iter().filter(|(name, _)| is_max || !is_private(name));
        let args: BTreeMap<&str, &str> = args.map(|(name, value)| (&**name, &**value)).collect();
        let needed = |list: &'a [Needed]| if is_max { list } else { &[] };
        let is_request_whole = args.len() == facts.arguments.len();
        let are_materials_whole = facts.locals.is_empty();
        let locals = facts.locals.iter().map(|name| [("name", &**name)].into()).collect();
        Self {
            request: Request {
                frontend: "dockerfile.v0",
                args,
                secrets: needed(&facts.secrets),
                ssh: needed(&facts.agents),
                locals,
            },
            is_request_whole,
            are_materials_whole,
            is_hermetic: are_materials_whole && !facts.has_network,
            build_config: is_max.then(|| build_config(facts)),
            metadata: if is_max { metadata(facts) } else { Metadata::default() },
            options,
        }
    }
}

fn build_config<'a>(facts: &'a Facts) -> BuildConfig<'a> {
    let step = |(number, step): (usize, &'a Step)| ToldStep {
        id: step_id(number),
        name: &step.name,
        platform: &step.platform,
        op: &step.operation,
        inputs: step.inputs.iter().map(|input| format!("{}:0", step_id(*input))).collect(),
    };
    BuildConfig { steps: facts.steps.iter().enumerate().map(step).collect() }
}

fn metadata<'a>(facts: &'a Facts) -> Metadata<'a> {
    use base64::Engine as _;
    let encode = |text: &[u8]| base64::engine::general_purpose::STANDARD.encode(text);
    let location = |(number, step): (usize, &Step)| {
        let (source, Lines { first, last }) = step.place?;
        let range = serde_json::json!({ "start": { "line": first }, "end": { "line": last } });
        let mut location = serde_json::json!({ "ranges": [range] });
        if source > 0 {
            location["sourceIndex"] = source.into();
        }
        Some((step_id(number), serde_json::json!({ "locations": [location] })))
    };
    let info = |file: &'a SourceFile| Info {
        filename: &file.name,
        language: "Dockerfile",
        data: encode(&file.text),
    };
    let layers = facts.lengths.iter().filter_map(|(step, length)| {
        let layers = facts.layers.get(..*length).filter(|layers| !layers.is_empty())?;
        Some((format!("{}:0", step_id(*step)), [layers]))
    });
    Metadata {
        source: Some(Source {
            locations: facts.steps.iter().enumerate().filter_map(location).collect(),
            infos: facts.sources.iter().map(info).collect(),
        }),
        layers: layers.collect(),
    }
}

fn step_id(number: usize) -> String {
    format!("step{number}")
}
