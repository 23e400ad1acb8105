//! The layout of attestations, compared with what BuildKit wrote for the same build:
//! `fixtures/attestations`. What differs is listed here by name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use xbuild_testkit::files::FileServer;
use xbuild_testkit::registry::Registry;

use crate::harness::{Finished, Place, User, cached, checkout, needs, to_layout};

/// The members whose values are compared; of others only that they are there.
const VALUES: &[&str] = &[
    "_type",
    "architecture",
    "artifactType",
    "buildType",
    "builderPlatform",
    "data",
    "entryPoint",
    "environment",
    "filename",
    "frontend",
    "id",
    "in-toto.io/predicate-type",
    "label:a",
    "language",
    "mediaType",
    "materials",
    "name",
    "optional",
    "os",
    "parameters",
    "path",
    "predicateType",
    "request",
    "reproducible",
    "resolvedDependencies",
    "schemaVersion",
    "type",
    "vnd.docker.reference.type",
];

/// What BuildKit has and xbuild has not.
const THEIRS: &[&str] = &[
    // BuildKit 0.25 writes the version of in-toto before 1.
    ".statements[]._type = https://in-toto.io/Statement/v0.1",
    // buildx asks so for a frontend that knows named contexts.
    "args.frontend.caps",
    // The steps are those of BuildKit's own language.
    "buildConfig.digestMapping.",
    "buildConfig.llbDefinition[].",
    "infos[].digestMapping.",
    "infos[].llbDefinition[].",
    // Contexts are steps there, without lines.
    "source.locations.STEP = {}",
];

/// What xbuild has and BuildKit has not.
const OURS: &[&str] = &[
    ".statements[]._type = https://in-toto.io/Statement/v1",
    "buildConfig.steps[].",
    "runDetails.builder.version.xbuild",
];

/// Members whose values depend on the place, and so are not compared: those of `data` but for an
/// artifact's empty configuration, and names of steps.
fn is_compared(path: &str, member: &str) -> bool {
    VALUES.contains(&member)
        && !path.contains(".infos[].data")
        && !path.contains(".subject[].name")
        && !path.contains("buildConfig")
        && !path.contains("infos[].llbDefinition")
}

/// Returns the paths of all values, with those values that are compared.
fn lines(value: &Value) -> BTreeSet<String> {
    fn walk(value: &Value, path: &str, member: &str, lines: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (name, value) in map {
                    // Numbers of steps, and digests.
                    let is_step = |name: &str| name.starts_with("step");
                    let shown = match name.split(':').next().unwrap_or_default() {
                        "sha256" => "DIGEST".to_owned(),
                        step if is_step(step) && step[4..].parse::<u32>().is_ok() => {
                            name.replace(step, "STEP")
                        }
                        _ => name.clone(),
                    };
                    walk(value, &format!("{path}.{shown}"), name, lines);
                }
            }
            Value::Array(list) if !list.is_empty() => {
                list.iter().for_each(|value| walk(value, &format!("{path}[]"), member, lines));
            }
            Value::Object(_) => drop(lines.insert(format!("{path} = {{}}"))),
            value if is_compared(path, member) => {
                let text = value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
                lines.insert(format!("{path} = {text}"));
            }
            _ => drop(lines.insert(path.to_owned())),
        }
    }
    let mut found = BTreeSet::new();
    walk(value, "", "", &mut found);
    found
}

/// Fails unless both have the same, but for what is listed.
#[track_caller]
fn compare(what: &str, theirs: &Value, ours: &Value) {
    let (theirs, ours) = (lines(theirs), lines(ours));
    let unlisted = |lines: BTreeSet<&String>, listed: &[&str]| -> Vec<String> {
        let is_unlisted = |line: &&&String| !listed.iter().any(|entry| line.contains(entry));
        lines.iter().filter(is_unlisted).map(ToString::to_string).collect()
    };
    let only_theirs = unlisted(theirs.difference(&ours).collect(), THEIRS);
    let only_ours = unlisted(ours.difference(&theirs).collect(), OURS);
    assert_eq!(
        (only_theirs, only_ours),
        (vec![], vec![]),
        "{what}: only BuildKit's, only xbuild's"
    );
}

fn fixtures() -> PathBuf {
    checkout().join("fixtures/attestations")
}

fn golden(name: &str) -> Value {
    serde_json::from_slice(&fs::read(fixtures().join(format!("{name}.json"))).unwrap()).unwrap()
}

/// The build of `fixtures/attestations`, with a registry and a web server of its own.
struct Recorded {
    place: Place,
    _registry: Registry,
    _server: FileServer,
}

impl Recorded {
    fn new() -> Self {
        let (registry, server) = (Registry::start(), FileServer::start());
        server.put("/file.txt", "\"1\"", "Sun, 06 Nov 1994 08:49:37 GMT", "hello\n");
        let place = Place::new(User::Me);
        let dockerfile = fs::read_to_string(fixtures().join("context/Dockerfile")).unwrap();
        let dockerfile = dockerfile.replace("localhost:5000", &registry.host());
        place.dockerfile(
            &dockerfile.replace("http://localhost:8080/file.txt", &server.url("/file.txt")),
        );
        let to = format!("docker://{}/busybox:latest", registry.host());
        place.run(["copy", &format!("oci:{}:latest", cached("busybox").display()), &to]).ok();
        fs::write(place.out("key"), "key").unwrap();
        Self { place, _registry: registry, _server: server }
    }

    /// Returns the command of a build as the record says.
    fn command(&self, more: &[&str]) -> Command {
        let other = format!("other={}", fixtures().join("other").display());
        let secret = format!("id=key,src={}", self.place.out("key").display());
        let args = [
            &["build", "--network", "host", "--build-context", &other, "--secret", &secret][..],
            &["--build-arg", "TOKEN=t", "--label", "a=b", "-t", "localhost:5000/team/app:1"],
            more,
        ];
        let mut command = self.place.xbuild(args.concat());
        command.arg(self.place.context()).env_remove("BUILDX_METADATA_PROVENANCE");
        command
    }

    fn build(&self, more: &[&str]) -> Finished {
        Finished::run(self.command(more))
    }
}

/// Returns a document of a layout.
fn document(layout: &Path, descriptor: &Value) -> Value {
    let digest = descriptor["digest"].as_str().unwrap().replace(':', "/");
    serde_json::from_slice(&fs::read(layout.join("blobs").join(digest)).unwrap()).unwrap()
}

/// Returns the documents about the first image of a layout, as they were recorded.
fn documents(layout: &Path) -> Value {
    let top = fs::read(layout.join("index.json")).unwrap();
    let top: Value = serde_json::from_slice(&top).unwrap();
    let index = document(layout, &top["manifests"][0]);
    let manifest = document(layout, &index["manifests"][2]);
    let layers = manifest["layers"].as_array().unwrap().iter();
    let statements: Vec<Value> = layers.map(|layer| document(layout, layer)).collect();
    let config = document(layout, &manifest["config"]);
    json!({ "index": index, "manifest": manifest, "config": config, "statements": statements })
}

/// Takes out what a scanner says, which is its own affair, and the scanner itself as a material: xbuild
/// has none.
fn without_scanner(mut documents: Value) -> Value {
    for statement in documents["statements"].as_array_mut().unwrap() {
        let predicate = statement["predicate"].as_object_mut().unwrap();
        if predicate.contains_key("spdxVersion") {
            predicate.retain(|name, _| name == "spdxVersion");
        }
    }
    documents
}

#[test]
fn attestations_have_the_layout_of_buildkit() {
    needs!(Run);
    let recorded = Recorded::new();
    for (name, mode, version, artifact) in [
        ("v1-min", "min", "v1", "true"),
        ("v1-max", "max", "v1", "true"),
        ("v0.2-min", "min", "v0.2", "false"),
        ("v0.2-max", "max", "v0.2", "false"),
    ] {
        let layout = recorded.place.out(name);
        let attest = format!("type=provenance,mode={mode},version={version}");
        let output = format!("{},oci-artifact={artifact}", to_layout(&layout));
        let platforms =
            ["--platform", "linux/amd64,linux/arm64", "-t", "localhost:5000/team/app:2"];
        let attest = ["--attest", &attest, "--attest", "type=sbom", "-o", &output];
        recorded.build(&[&platforms[..], &attest].concat()).ok();
        let [theirs, ours] = [golden(name), documents(&layout)].map(without_scanner);
        compare(name, &theirs, &ours);
        // Images come first, then files, in both.
        let sources = |documents: &Value| -> Vec<String> {
            let predicate = &documents["statements"][1]["predicate"];
            let list = predicate["materials"].as_array();
            let list = list.or(predicate["buildDefinition"]["resolvedDependencies"].as_array());
            let uri = |material: &Value| material["uri"].as_str().unwrap().to_owned();
            let uris = list.unwrap().iter().map(uri);
            let kind = |uri: String| uri.split([':', '/']).next().unwrap().to_owned();
            uris.filter(|uri| !uri.contains("/scanner@")).map(kind).collect()
        };
        assert_eq!(sources(&theirs), ["pkg", "http"], "{name}");
        assert_eq!(sources(&ours), sources(&theirs), "{name}");
    }
}

/// Each step that the image begins with tells its layers, the base image first.
#[test]
fn the_layers_of_steps_are_told() {
    needs!(Run);
    let recorded = Recorded::new();
    let layout = recorded.place.out("layout");
    recorded.build(&["--provenance=mode=max", "-o", &to_layout(&layout)]).ok();
    let top: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let index = document(&layout, &top["manifests"][0]);
    let [image, about] = [0, 1].map(|at| document(&layout, &index["manifests"][at]));
    let statement = document(&layout, &about["layers"][0]);
    let told = &statement["predicate"]["runDetails"]["metadata"]["buildkit_metadata"]["layers"];
    let all = image["layers"].as_array().unwrap();
    let told: BTreeSet<usize> = told
        .as_object()
        .unwrap()
        .values()
        .map(|chains| {
            let layers = chains[0].as_array().unwrap();
            assert_eq!(layers[..], all[..layers.len()]);
            layers.len()
        })
        .collect();
    assert_eq!(told, (1..=5).collect());
}

/// The metadata file has a provenance, too; `BUILDX_METADATA_PROVENANCE` says how much of it.
#[test]
fn the_metadata_file_has_the_provenance_of_buildx() {
    needs!(Run);
    let recorded = Recorded::new();
    let file = recorded.place.out("metadata.json");
    let build = |mode: Option<&str>, more: &[&str]| {
        let file = ["--metadata-file", file.to_str().unwrap()];
        let mut command = recorded.command(&[&file[..], more].concat());
        command.envs(mode.map(|mode| ("BUILDX_METADATA_PROVENANCE", mode)));
        Finished::run(command)
    };
    let metadata = || -> Value { serde_json::from_slice(&fs::read(&file).unwrap()).unwrap() };
    let name = "buildx.build.provenance";
    for (mode, recorded) in [(None, "metadata-min"), (Some("max"), "metadata-max")] {
        build(mode, &["--provenance=false"]).ok();
        compare(recorded, &golden(recorded), &metadata()[name]);
    }
    build(None, &["--platform", "linux/amd64,linux/arm64"]).ok();
    let found = metadata();
    for platform in ["linux/amd64", "linux/arm64"] {
        let one = &found[format!("{name}/{platform}")];
        assert_eq!(one["invocation"]["parameters"]["args"]["build-arg:TOKEN"], "t", "{found}");
    }
    assert!(found.get(name).is_none());
    build(Some("disabled"), &[]).ok();
    assert!(metadata().get(name).is_none());
    build(Some("most"), &[]).fails(2, &["BUILDX_METADATA_PROVENANCE=most"]);
}
