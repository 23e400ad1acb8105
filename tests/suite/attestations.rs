//! Statements that are made with an image: their layout, their contents, and what becomes of them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use xbuild_testkit::files::FileServer;

use crate::harness::{Need, Place, Registry, User, cached, needs, to_layout, tool};
use crate::image::digest;

const TWO: [&str; 2] = ["--platform", "linux/s390x,linux/amd64"];
const EPOCH: [&str; 2] = ["--build-arg", "SOURCE_DATE_EPOCH=1700000000"];
const STATEMENT: &str = "application/vnd.in-toto+json";

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// Returns a document of a layout.
#[track_caller]
fn blob(layout: &Path, descriptor: &Value) -> Value {
    let named = descriptor["digest"].as_str().unwrap();
    let bytes = fs::read(layout.join("blobs").join(named.replace(':', "/"))).unwrap();
    assert_eq!((digest(&bytes).as_str(), json!(bytes.len())), (named, descriptor["size"].clone()));
    json_of(&bytes)
}

/// Returns the index of a layout that holds one.
fn index(layout: &Path) -> Value {
    blob(layout, &json_of(&fs::read(layout.join("index.json")).unwrap())["manifests"][0])
}

/// Builds, which must succeed, into a layout.
#[track_caller]
fn layout(place: &Place, name: &str, args: &[&str]) -> std::path::PathBuf {
    let layout = place.out(name);
    place.build(&[args, &["-o", &to_layout(&layout)]].concat()).ok();
    layout
}

/// Returns the statements about the first image of a layout.
fn statements(layout: &Path) -> Vec<Value> {
    let index = index(layout);
    let images = index["manifests"].as_array().unwrap().iter();
    let attestation = images.into_iter().find(|entry| entry["annotations"].is_object()).unwrap();
    let manifest = blob(layout, attestation);
    manifest["layers"].as_array().unwrap().iter().map(|layer| blob(layout, layer)).collect()
}

fn place() -> Place {
    let place = Place::new(User::Me);
    place.dockerfile(
        "FROM busybox\nARG TARGETARCH\nARG TOKEN\nCOPY Dockerfile /made/for-$TARGETARCH\n",
    );
    place
}

/// **Source** — BuildKit, `docs/attestations/attestation-storage.md`.
#[test]
fn a_manifest_of_statements_follows_the_images() {
    let place = place();
    let names = ["-t", "r.example/team/app:1", "--build-arg", "TOKEN=hunter2"];
    let layout = layout(&place, "a", &[&TWO[..], &names, &["--provenance=mode=max"]].concat());
    let index = index(&layout);
    let [s390x, amd64, about_first, about_second] = &index["manifests"].as_array().unwrap()[..]
    else {
        panic!("{index}")
    };
    for (image, about) in [(s390x, about_first), (amd64, about_second)] {
        assert_eq!(about["mediaType"], "application/vnd.oci.image.manifest.v1+json");
        assert_eq!(about["platform"], json!({ "architecture": "unknown", "os": "unknown" }));
        assert_eq!(
            about["annotations"],
            json!({
                "vnd.docker.reference.digest": image["digest"],
                "vnd.docker.reference.type": "attestation-manifest",
            })
        );
        let manifest = blob(&layout, about);
        let layers = manifest["layers"].as_array().unwrap();
        let mut expected = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": "application/vnd.docker.attestation.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
                "size": 2,
                "data": "e30=",
            },
            "layers": layers,
            "subject": image,
        });
        expected["subject"].as_object_mut().unwrap().remove("platform");
        assert_eq!(manifest, expected);
        assert_eq!(blob(&layout, &manifest["config"]), json!({}));
        assert_eq!((layers.len(), &layers[0]["mediaType"]), (1, &json!(STATEMENT)));
        assert_eq!(
            layers[0]["annotations"],
            json!({ "in-toto.io/predicate-type": "https://slsa.dev/provenance/v1" })
        );
        let statement = blob(&layout, &layers[0]);
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
        let architecture = image["platform"]["architecture"].as_str().unwrap();
        let hex = image["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let name = format!("pkg:docker/r.example/team/app@1?platform=linux%2F{architecture}");
        assert_eq!(statement["subject"], json!([{ "name": name, "digest": { "sha256": hex } }]));
        let layers =
            &statement["predicate"]["runDetails"]["metadata"]["buildkit_metadata"]["layers"];
        let last = layers.as_object().unwrap().values().next_back().unwrap();
        assert_eq!(last[0], blob(&layout, image)["layers"]);
    }
    // Nothing is stated unless somebody asks.
    let plain = crate::attestations::layout(&place, "plain", &TWO);
    assert_eq!(crate::attestations::index(&plain)["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn provenance_tells_as_much_as_it_is_asked_for() {
    let place = place();
    let server = FileServer::start();
    server.put("/f.txt", "\"1\"", "Sun, 06 Nov 1994 08:49:37 GMT", "one");
    let url = server.url("/f.txt");
    place.dockerfile(&format!(
        "FROM busybox AS base\nADD {url} /\nFROM base AS last\nARG TOKEN\nCOPY Dockerfile /\n"
    ));
    let args = ["--build-arg", "TOKEN=hunter2", "--label", "a=someone", "--target", "last"];
    let of = |name: &str, more: &[&str]| {
        let statement = statements(&layout(&place, name, &[&args[..], more].concat())).remove(0);
        assert_eq!(statement["subject"], json!([]), "an image without a name has no subject");
        statement["predicate"].clone()
    };
    let min = of("min", &["--provenance"]);
    let max = of("max", &["--attest", "type=provenance,mode=max,builder-id=https://ci.example/7"]);
    for private in ["hunter2", "TOKEN", "someone", "COPY Dockerfile"] {
        assert!(!min.to_string().contains(private), "{private}: {min}");
    }
    let request = &max["buildDefinition"]["externalParameters"]["request"];
    assert_eq!(request["args"]["build-arg:TOKEN"], "hunter2");
    assert_eq!(request["args"]["label:a"], "someone");
    assert_eq!(max["runDetails"]["builder"]["id"], "https://ci.example/7");
    for predicate in [&min, &max] {
        let definition = &predicate["buildDefinition"];
        let parameters = &definition["externalParameters"];
        assert_eq!(parameters["configSource"]["path"], "Dockerfile");
        assert_eq!(parameters["request"]["args"]["target"], "last");
        let locals = json!([{ "name": "context" }, { "name": "dockerfile" }]);
        assert_eq!(parameters["request"]["locals"], locals);
        let [base, file] = &definition["resolvedDependencies"].as_array().unwrap()[..] else {
            panic!("{definition}")
        };
        let hex = digest(b"one").replace("sha256:", "");
        assert_eq!(file, &json!({ "uri": url, "digest": { "sha256": hex } }));
        assert!(base["uri"].as_str().unwrap().starts_with("pkg:oci/busybox@sha256:"), "{base}");
        let metadata = &predicate["runDetails"]["metadata"];
        assert!(metadata["startedOn"].as_str() <= metadata["finishedOn"].as_str());
        assert_eq!(metadata["buildkit_completeness"]["resolvedDependencies"], false);
    }
    let source = &max["runDetails"]["metadata"]["buildkit_metadata"]["source"]["infos"][0];
    assert_eq!(
        (&source["filename"], &source["language"]),
        (&json!("Dockerfile"), &json!("Dockerfile"))
    );
    let old = of("old", &["--provenance=version=v0.2"]);
    assert_eq!(old["invocation"]["configSource"]["entryPoint"], "Dockerfile");
    assert_eq!(old["materials"], min["buildDefinition"]["resolvedDependencies"]);
}

#[test]
fn the_value_of_a_secret_is_not_told() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile(
        "FROM busybox\nRUN --mount=type=secret,id=the-id test -s /run/secrets/the-id\n",
    );
    let secret = place.out("secret");
    fs::write(&secret, "hunter2").unwrap();
    let secret = format!("id=the-id,src={}", secret.display());
    let proxy = "http_proxy=http://me:hunter2@proxy.example:3128";
    let args = ["--secret", &secret, "--build-arg", proxy, "--network", "none"];
    for (mode, is_named) in [("--provenance=mode=min", false), ("--provenance=mode=max", true)] {
        let predicate = statements(&layout(&place, mode, &[&args[..], &[mode]].concat())).remove(0);
        let text = predicate.to_string();
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(text.contains("the-id"), is_named, "{text}");
        assert_eq!(text.contains("http://proxy.example:3128"), is_named, "{text}");
    }
}

#[test]
fn a_fixed_time_gives_one_index() {
    let place = place();
    let digest = |name: &str| {
        let layout = layout(&place, name, &[&EPOCH[..], &["--provenance=mode=max"]].concat());
        json_of(&fs::read(layout.join("index.json")).unwrap())["manifests"][0]["digest"].clone()
    };
    assert_eq!(digest("first"), digest("second"));
}

#[test]
fn statements_stay_with_their_image() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::start();
    let place = place();
    let name = format!("{}/team/app:1", registry.host);
    let metadata = place.out("metadata.json");
    let file = ["--metadata-file", metadata.to_str().unwrap()];
    let args = [&TWO[..], &file, &["--provenance", "--push", "-t", &name]].concat();
    place.build(&args).ok();
    let metadata = json_of(&fs::read(&metadata).unwrap());
    let root = metadata["containerimage.digest"].as_str().unwrap();
    let raw = |name: &str| {
        let name = format!("docker://{name}");
        let args = ["--insecure-policy", "inspect", "--tls-verify=false", "--raw", &name];
        tool("skopeo", args)
    };
    let pushed = raw(&name);
    assert_eq!(digest(pushed.as_bytes()), root);
    let about = &json_of(pushed.as_bytes())["manifests"][2];
    assert_eq!(&metadata["containerimage.platforms"][0]["attestation"], about);
    let manifest =
        raw(&format!("{}/team/app@{}", registry.host, about["digest"].as_str().unwrap()));
    assert_eq!(json_of(manifest.as_bytes())["layers"][0]["mediaType"], STATEMENT);
    // They are read as buildx reads them.
    let shown = |name: &str, template: &str| {
        let shown = place.run(["imagetools", "inspect", "--format", template, name]).ok();
        json_of(shown.stdout.as_bytes())
    };
    let provenance = shown(&name, "{{json .Provenance}}");
    for platform in ["linux/s390x", "linux/amd64"] {
        let frontend = &provenance[platform]["SLSA"]["buildDefinition"]["externalParameters"];
        assert_eq!(frontend["request"]["frontend"], "dockerfile.v0", "{provenance}");
    }
    assert_eq!(shown(&name, "{{json .SBOM}}"), json!({}));
    // Copies of the whole keep them and every digest; a selection has those of its images.
    let (copy, one) =
        (format!("{}/other/app:1", registry.host), format!("{}/one:1", registry.host));
    let docker = [&name, &copy].map(|name| format!("docker://{name}"));
    place.run(["copy", &docker[0], &docker[1]]).ok();
    assert_eq!(raw(&copy), pushed);
    place.run(["index", "create", "--platform", "linux/amd64", &one, &name]).ok();
    let entries = json_of(raw(&one).as_bytes())["manifests"].clone();
    assert_eq!(entries.as_array().unwrap().len(), 2, "{entries}");
    assert_eq!(entries[1]["annotations"]["vnd.docker.reference.digest"], entries[0]["digest"]);
    assert!(shown(&one, "{{json .Provenance}}")["SLSA"]["runDetails"].is_object());
    // An image of the store, too, has them when it is pushed or saved.
    let kept = format!("{}/kept/app:1", registry.host);
    place.build(&[&TWO[..], &["--provenance", "-t", &kept]].concat()).ok();
    place.run(["push", &kept]).ok();
    assert_eq!(json_of(raw(&kept).as_bytes())["manifests"].as_array().unwrap().len(), 4);
    place.run(["prune", "--max-used-space", "0"]).ok();
    let saved = place.out("saved.tar");
    place.run(["save", "-o", saved.to_str().unwrap(), "--format", "oci", &kept]).ok();
    let loaded = place.run(["load", "-i", saved.to_str().unwrap()]).ok();
    loaded.prints(&[&digest(raw(&kept).as_bytes())]);
}

/// buildx, where it is installed, reads what was pushed, and shows what xbuild shows.
#[test]
fn docker_buildx_shows_the_same() {
    needs!(Registry, Tool("docker-buildx"));
    let registry = Registry::start();
    let place = place();
    let [two, one] = ["two:1", "one:1"].map(|name| format!("{}/{name}", registry.host));
    let args = ["--provenance=mode=max", "--sbom", "--push", "-t"];
    place.build(&[&TWO[..], &args, &[&two]].concat()).ok();
    place.build(&[&args[..], &[&one]].concat()).ok();
    let formats =
        ["{{json .Provenance}}", "{{json .SBOM}}", "{{json .Image}}", "{{json .Manifest}}"];
    for name in [&two, &one] {
        let both = |more: &[&str]| {
            let args = [&["imagetools", "inspect"], more, &[name]].concat();
            let ours = place.run(&args).ok().stdout;
            (tool("docker-buildx", &args), ours)
        };
        for format in formats {
            let (theirs, ours) = both(&["--format", format]);
            assert_eq!(json_of(theirs.as_bytes()), json_of(ours.as_bytes()), "{format}");
        }
        let (theirs, ours) = both(&["--raw"]);
        assert_eq!(theirs, ours);
        // Go shuffles annotations, and fills lines up with spaces.
        let lines = |text: &str| -> Vec<String> {
            let mut lines: Vec<_> = text.lines().map(|line| line.trim_end().to_owned()).collect();
            lines.sort();
            lines
        };
        let (theirs, ours) = both(&[]);
        assert_eq!(lines(&theirs), lines(&ours));
    }
}

#[test]
fn outputs_without_an_index_get_none_or_files() {
    let place = place();
    let archive = place.out("docker.tar");
    let folder = place.out("files");
    let docker = format!("type=docker,dest={}", archive.display());
    let local = format!("type=local,dest={}", folder.display());
    place.build(&[&EPOCH[..], &["--provenance", "-o", &docker, "-o", &local]].concat()).ok();
    let listing = tool("tar", ["-tf", archive.to_str().unwrap()]);
    let blobs = listing.lines().filter(|name| name.starts_with("blobs/sha256/")).count();
    let plain = place.out("plain.tar");
    place.build(&["-o", &format!("type=docker,dest={}", plain.display())]).ok();
    let listing = tool("tar", ["-tf", plain.to_str().unwrap()]);
    assert_eq!(listing.lines().filter(|name| name.starts_with("blobs/sha256/")).count(), blobs);
    // Files get a file about them.
    let statement = json_of(&fs::read(folder.join("provenance.json")).unwrap());
    let subjects = statement["subject"].as_array().unwrap();
    let made = subjects.iter().find(|subject| subject["name"] == "made/for-amd64");
    let made = made.unwrap_or_else(|| panic!("{statement}"));
    let text = fs::read(folder.join("made/for-amd64")).unwrap();
    assert_eq!(made["digest"]["sha256"], digest(&text).replace("sha256:", ""));
    let inline = place.out("inline");
    let local = format!("type=local,dest={}", inline.display());
    place.build(&["--provenance=inline-only=true", "-o", &local]).ok();
    assert!(!inline.join("provenance.json").exists());
    let tar = place.out("files.tar");
    let output = format!("type=tar,dest={},attestation-prefix=a-", tar.display());
    place.build(&[&TWO[..], &["--provenance", "-o", &output]].concat()).ok();
    let listing = tool("tar", ["-tf", tar.to_str().unwrap()]);
    for folder in ["linux_s390x", "linux_amd64"] {
        let name = format!("{folder}/a-provenance.json");
        assert!(listing.lines().any(|line| line == name), "{listing}");
    }
    place.dockerfile("FROM busybox\nCOPY Dockerfile /provenance.json\n");
    place
        .build(&["--provenance", "-o", &local])
        .fails(2, &["provenance.json", "attestation-prefix"]);
}

#[test]
fn forms_that_cannot_hold_statements_are_refused() {
    let place = place();
    let docker = "type=image,name=r.example/a,oci-mediatypes=false";
    place
        .build(&["--provenance", "-o", docker])
        .fails(2, &["oci-mediatypes=false", "attestations"]);
    let inline = "type=image,name=r.example/a,attestation-inline=true";
    place.build(&["-o", inline]).fails(2, &["attestation-inline"]);
    place.build(&["--provenance=mode=all"]).fails(2, &["--provenance", "mode is min or max"]);
    // For readers that know no artifacts.
    let layout = place.out("old");
    let output = format!("{},oci-artifact=false", to_layout(&layout));
    place.build(&["--provenance", "-o", &output]).ok();
    let index = index(&layout);
    let manifest = blob(&layout, &index["manifests"][1]);
    assert_eq!(manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    assert!(manifest.get("subject").is_none() && manifest.get("artifactType").is_none());
    let config = blob(&layout, &manifest["config"]);
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
}

/// Returns the bill of materials in a layout.
fn sbom(layout: &Path) -> Value {
    let statement = statements(layout).remove(0);
    assert_eq!(statement["predicateType"], "https://spdx.dev/Document");
    statement["predicate"].clone()
}

/// Returns the URLs of the packages of a bill of materials, in its order.
fn urls(sbom: &Value) -> Vec<&str> {
    let packages = sbom["packages"].as_array().unwrap().iter();
    packages.filter_map(|p| p["externalRefs"][0]["referenceLocator"].as_str()).collect()
}

/// Fails the test unless SPDX's own tools find no fault.
fn is_valid(place: &Place, sbom: &Value) {
    if Need::Spdx.is_met() {
        let file = place.out("sbom.spdx.json");
        fs::write(&file, sbom.to_string()).unwrap();
        let program = cached("spdx/bin/pyspdxtools");
        tool(program.to_str().unwrap(), ["-i", file.to_str().unwrap()]);
    }
}

#[test]
fn a_bill_of_materials_lists_packages_of_all_kinds() {
    let place = Place::new(User::Me);
    for (name, text) in [
        ("r/etc/os-release", "ID=debian\nVERSION_ID=12\n"),
        ("r/var/lib/dpkg/status.d/tzdata", "Package: tzdata\nVersion: 2024a\nArchitecture: all\n"),
        ("r/var/lib/rpm/rpmdb.sqlite", "x"),
        ("r/app/Cargo.lock", "[[package]]\nname = \"old\"\nversion = \"0.1.0\"\n"),
        ("r/app/yarn.lock", "a@^1:\n  version \"1.0.0\"\n"),
        ("r/app/poetry.lock", "[[package"),
        ("new/Cargo.lock", "[[package]]\nname = \"serde\"\nversion = \"1.0.0\"\n"),
    ] {
        place.write(name, text);
    }
    place.dockerfile("ARG BUILDKIT_SBOM_SCAN_CONTEXT=1\nFROM scratch\nCOPY r /\nCOPY new /app\n");
    let args = [&TWO[..], &["--sbom", "--provenance"]].concat();
    let first = layout(&place, "first", &args);
    let found = sbom(&first);
    assert_eq!(
        urls(&found),
        [
            "pkg:cargo/serde@1.0.0",
            "pkg:deb/debian/tzdata@2024a?arch=all&distro=debian-12",
            "pkg:npm/a@1.0.0",
        ]
    );
    // Nothing that the image no longer has, and nothing that is not said.
    let comment = found["comment"].as_str().unwrap();
    assert!(
        comment.contains("var/lib/rpm/rpmdb.sqlite: the database of rpm is not read"),
        "{comment}"
    );
    assert!(comment.contains("app/poetry.lock: it is no lock file of Python"), "{comment}");
    let built = place.build(&args).ok();
    built.says(&[
        "BUILDKIT_SBOM_SCAN_CONTEXT",
        "/var/lib/rpm/rpmdb.sqlite (linux/s390x)",
        "/app/poetry.lock (linux/amd64)",
    ]);
    is_valid(&place, &found);
    // The provenance follows, and the same image has the same list each time.
    assert_eq!(statements(&first)[1]["predicateType"], "https://slsa.dev/provenance/v1");
    assert_eq!(sbom(&layout(&place, "second", &["--platform", "linux/s390x", "--sbom"])), found);
    let folder = place.out("files");
    let local = format!("type=local,dest={}", folder.display());
    place.build(&[&EPOCH[..], &["--sbom", "-o", &local]].concat()).ok();
    let statement = json_of(&fs::read(folder.join("sbom.spdx.json")).unwrap());
    assert_eq!(statement["predicate"]["creationInfo"]["created"], "2023-11-14T22:13:20Z");
}

#[test]
fn a_bill_of_materials_of_debian_has_all_its_packages() {
    needs!(Debian, Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM debian\nRUN dpkg-query -W -f '${Package} ${Version}\\n' > /list\n");
    let base = place.base("debian");
    let layout = layout(&place, "debian", &["--sbom", "--build-context", &base]);
    let found = sbom(&layout);
    let image = place.out("files");
    let local = format!("type=local,dest={}", image.display());
    place.build(&["--build-context", &base, "-o", &local]).ok();
    let list = fs::read_to_string(image.join("list")).unwrap();
    let mut expected: Vec<&str> = list.lines().collect();
    expected.sort_unstable();
    let packages = found["packages"].as_array().unwrap().iter();
    let packages = packages.filter(|package| package["externalRefs"].is_array()).map(|package| {
        format!(
            "{} {}",
            package["name"].as_str().unwrap(),
            package["versionInfo"].as_str().unwrap()
        )
    });
    let mut packages: Vec<String> = packages.collect();
    packages.sort();
    assert!(packages.len() > 50, "{packages:?}");
    assert_eq!(packages, expected);
    is_valid(&place, &found);
}
