//! Tests of provenance.

use serde_json::json;

use super::*;

/// Returns a build with something in every member.
fn facts() -> Facts {
    let needed = |id: &str, optional| Needed { id: id.to_owned(), optional };
    Facts {
        config: Config { uri: None, digest: DigestSet::new(), path: Some("Dockerfile".to_owned()) },
        arguments: [
            ("build-arg:TOKEN".to_owned(), "hunter2".to_owned()),
            ("label:owner".to_owned(), "someone".to_owned()),
            ("target".to_owned(), "release".to_owned()),
        ]
        .into(),
        secrets: vec![needed("npm", false)],
        agents: vec![needed("default", true)],
        locals: vec!["context".to_owned(), "dockerfile".to_owned()],
        materials: vec![Material {
            uri: "pkg:docker/alpine@3.17".to_owned(),
            digest: [("sha256", "00".to_owned())].into(),
        }],
        has_network: true,
        builder_platform: "linux/amd64".to_owned(),
        builder: ("xbuild", "1.2.3"),
        times: Some(Times {
            invocation: "id".to_owned(),
            started: "2024-01-01T00:00:00Z".to_owned(),
            finished: "2024-01-01T00:00:01Z".to_owned(),
        }),
        steps: vec![
            Step {
                name: "FROM alpine".to_owned(),
                platform: "linux/amd64".to_owned(),
                inputs: Vec::new(),
                operation: json!({ "image": {} }),
                place: Some((0, Lines { first: 1, last: 1 })),
            },
            Step {
                name: "RUN make".to_owned(),
                platform: "linux/amd64".to_owned(),
                inputs: vec![0],
                operation: json!({ "run": {} }),
                place: Some((0, Lines { first: 2, last: 3 })),
            },
        ],
        sources: vec![SourceFile {
            name: "Dockerfile".to_owned(),
            text: b"FROM alpine\n".to_vec(),
        }],
        lengths: vec![(0, 1), (1, 2)],
        layers: vec![json!({ "size": 1 }), json!({ "size": 2 })],
    }
}

#[test]
fn little_is_told_unless_all_is_asked_for() {
    for version in [SlsaVersion::V1, SlsaVersion::V02] {
        let options = ProvenanceOptions { version, ..ProvenanceOptions::default() };
        let (_, min) = facts().predicate(&options);
        let (_, max) = facts().predicate(&ProvenanceOptions { is_max: true, ..options });
        for private in ["hunter2", "TOKEN", "someone", "npm", "RUN make", "RlJPTSBhbHBpbmUK"] {
            assert!(!min.to_string().contains(private), "{private}: {min}");
            assert!(max.to_string().contains(private), "{private}: {max}");
        }
        assert!(min.to_string().contains("release") && min.to_string().contains("alpine@3.17"));
    }
}

#[test]
fn version_1_has_the_members_of_buildkit() {
    let (kind, predicate) = facts().predicate(&ProvenanceOptions::default());
    assert_eq!(kind, "https://slsa.dev/provenance/v1");
    assert_eq!(
        predicate,
        json!({
            "buildDefinition": {
                "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
                "externalParameters": {
                    "configSource": { "path": "Dockerfile" },
                    "request": {
                        "frontend": "dockerfile.v0",
                        "args": { "target": "release" },
                        "locals": [{ "name": "context" }, { "name": "dockerfile" }],
                    },
                },
                "internalParameters": { "builderPlatform": "linux/amd64" },
                "resolvedDependencies": [
                    { "uri": "pkg:docker/alpine@3.17", "digest": { "sha256": "00" } },
                ],
            },
            "runDetails": {
                "builder": { "id": "", "version": { "xbuild": "1.2.3" } },
                "metadata": {
                    "invocationId": "id",
                    "startedOn": "2024-01-01T00:00:00Z",
                    "finishedOn": "2024-01-01T00:00:01Z",
                    "buildkit_metadata": {},
                    "buildkit_completeness": { "request": false, "resolvedDependencies": false },
                },
            },
        })
    );
    let options = ProvenanceOptions { is_max: true, ..ProvenanceOptions::default() };
    let (_, max) = facts().predicate(&options);
    let metadata = &max["runDetails"]["metadata"];
    assert_eq!(metadata["buildkit_completeness"]["request"], true);
    assert_eq!(
        metadata["buildkit_metadata"]["layers"],
        json!({ "step0:0": [[{ "size": 1 }]], "step1:0": [[{ "size": 1 }, { "size": 2 }]] })
    );
    let location = &metadata["buildkit_metadata"]["source"]["locations"]["step1"]["locations"][0];
    let range = json!([{ "start": { "line": 2 }, "end": { "line": 3 } }]);
    assert_eq!(location, &json!({ "ranges": range }));
    let step = &max["buildDefinition"]["internalParameters"]["buildConfig"]["steps"][1];
    assert_eq!((&step["id"], &step["inputs"]), (&json!("step1"), &json!(["step0:0"])));
}

#[test]
fn version_0_2_has_the_members_of_buildkit() {
    let options = ProvenanceOptions {
        version: SlsaVersion::V02,
        builder_id: "https://ci.example/1".to_owned(),
        reproducible: true,
        is_max: false,
    };
    let (kind, predicate) = facts().predicate(&options);
    assert_eq!(kind, "https://slsa.dev/provenance/v0.2");
    assert_eq!(
        predicate,
        json!({
            "builder": { "id": "https://ci.example/1" },
            "buildType": "https://mobyproject.org/buildkit@v1",
            "materials": [{ "uri": "pkg:docker/alpine@3.17", "digest": { "sha256": "00" } }],
            "invocation": {
                "configSource": { "entryPoint": "Dockerfile" },
                "parameters": {
                    "frontend": "dockerfile.v0",
                    "args": { "target": "release" },
                    "locals": [{ "name": "context" }, { "name": "dockerfile" }],
                },
                "environment": { "platform": "linux/amd64" },
            },
            "metadata": {
                "buildInvocationID": "id",
                "buildStartedOn": "2024-01-01T00:00:00Z",
                "buildFinishedOn": "2024-01-01T00:00:01Z",
                "completeness": { "parameters": false, "environment": true, "materials": false },
                "reproducible": true,
                "https://mobyproject.org/buildkit@v1#metadata": {},
            },
        })
    );
}

#[test]
fn a_build_without_folders_and_network_is_hermetic() {
    let mut facts = facts();
    facts.locals.clear();
    facts.has_network = false;
    facts.times = None;
    let (_, predicate) = facts.predicate(&ProvenanceOptions::default());
    let metadata = &predicate["runDetails"]["metadata"];
    assert_eq!(metadata["buildkit_hermetic"], true);
    assert_eq!(metadata["buildkit_completeness"]["resolvedDependencies"], true);
    assert!(metadata.get("startedOn").is_none() && metadata.get("invocationId").is_none());
}
