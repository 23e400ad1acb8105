//! The recipes of `docs/coming-from.md`, run command by command against a registry.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;

use serde_json::Value;

use crate::harness::{Finished, Place, Registry, User, checkout, needs, tool};

/// The registry of the page.
const EXAMPLE: &str = "registry.example";

/// Returns the commands of the page by section: the lines of its blocks of `sh`.
fn recipes() -> BTreeMap<String, Vec<String>> {
    let page = checkout().join("docs/coming-from.md");
    let (mut section, mut in_block) = (String::new(), false);
    let mut recipes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in fs::read_to_string(page).unwrap().lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.clone_into(&mut section);
            recipes.insert(section.clone(), Vec::new());
        }
        match line.strip_prefix("```") {
            Some(kind) => in_block = kind == "sh",
            None if in_block => recipes.get_mut(&section).unwrap().push(line.to_owned()),
            None => {}
        }
    }
    recipes
}

/// A project as the recipes expect it.
struct Project {
    registry: Registry,
    place: Place,
}

impl Project {
    fn new(dockerfile: &str) -> Self {
        let registry = Registry::start();
        registry.push_busybox("base/busybox", &[]);
        let place = Place::new(User::Me);
        let write = |name: &str, text: &str| {
            place.write(name, text.replace(EXAMPLE, &registry.host));
        };
        write("program", "#!/bin/sh\n");
        write("Dockerfile", dockerfile);
        for arch in ["amd64", "arm32v7", "arm64v8"] {
            let text =
                format!("FROM {EXAMPLE}/{arch}/busybox\nCOPY program /\nLABEL arch={arch}\n");
            write(&format!("Dockerfile.{arch}"), &text);
        }
        let cross = format!(
            "FROM {EXAMPLE}/__BASEIMAGE_ARCH__/busybox\n__CROSS_COPY qemu-static /usr/bin/\nCOPY program /\n"
        );
        write("Dockerfile.cross", &cross);
        write("Dockerfile.all", &format!("FROM {EXAMPLE}/base/busybox\nCOPY program /\n"));
        let project = Self { registry, place };
        for (arch, platforms) in [
            ("amd64", "linux/amd64,linux/s390x"),
            ("arm32v7", "linux/arm/v7"),
            ("arm64v8", "linux/arm64"),
        ] {
            let to = format!("{EXAMPLE}/{arch}/busybox");
            let from = format!("{EXAMPLE}/base/busybox");
            project.run(&format!("xbuild index create {to} {from} --platform {platforms}"));
        }
        project
    }

    /// Runs a command of the page, which must succeed.
    fn run(&self, command: &str) {
        let mut shell = self.place.command("sh");
        let mut path = OsString::from(self.place.path());
        path.push(":");
        path.push(self.place.search_path());
        shell.env("PATH", path).env("SOURCE_DATE_EPOCH", "1600000000");
        shell.current_dir(self.place.context());
        shell.args(["-c", &command.replace(EXAMPLE, &self.registry.host)]);
        let done = Finished::run(shell);
        assert_eq!(done.status, 0, "{command}\n{}\n{}", done.stdout, done.stderr);
    }

    /// Returns the architectures of an index, with variants; the configuration's of one image.
    fn platforms(&self, name: &str) -> Vec<String> {
        let source = format!("docker://{}/team/app:{name}", self.registry.host);
        let raw = tool("skopeo", ["inspect", "--raw", "--tls-verify=false", &source]);
        let index: Value = serde_json::from_str(&raw).unwrap();
        let Some(entries) = index["manifests"].as_array() else {
            let config = tool("skopeo", ["inspect", "--config", "--tls-verify=false", &source]);
            let config: Value = serde_json::from_str(&config).unwrap();
            return vec![config["architecture"].as_str().unwrap().to_owned()];
        };
        let platform = |entry: &Value| {
            let platform = &entry["platform"];
            let parts = ["architecture", "variant"].map(|part| platform[part].as_str());
            parts.into_iter().flatten().collect::<Vec<_>>().join("/")
        };
        entries.iter().map(platform).collect()
    }

    /// Does a recipe, and compares the images that it pushed.
    fn follow(&self, section: &str, expected: &[(&str, &[&str])]) {
        let recipes = recipes();
        let commands = &recipes[section];
        assert!(!commands.is_empty(), "{section}");
        commands.iter().for_each(|command| self.run(command));
        for (tag, platforms) in expected {
            assert_eq!(self.platforms(tag), *platforms, "{section}: {tag}");
        }
    }
}

fn copying() -> Project {
    Project::new(&format!("FROM {EXAMPLE}/base/busybox\nCOPY program /\n"))
}

#[test]
fn every_recipe_is_tried() {
    let known = [
        "A Dockerfile for each architecture",
        "A matrix of Actions",
        "A plugin of docker",
        "A template with sed",
        "bake files and compose files",
        "buildah",
        "buildx with binfmt",
        "docker manifest",
        "kaniko",
    ];
    assert_eq!(recipes().into_keys().collect::<Vec<_>>(), known);
}

#[test]
fn buildx_with_binfmt() {
    needs!(Run, Emulation, Registry, Tool("skopeo"));
    let dockerfile =
        format!("FROM {EXAMPLE}/base/busybox\nCOPY program /\nRUN uname -m > /machine\n");
    let three = &["amd64", "arm64", "arm/v7"][..];
    Project::new(&dockerfile).follow("buildx with binfmt", &[("1.0", three), ("latest", three)]);
}

#[test]
fn docker_manifest() {
    needs!(Registry, Tool("skopeo"));
    copying().follow(
        "docker manifest",
        &[("1.0", &["amd64", "arm64"]), ("1.0-amd64", &["amd64"]), ("1.0-arm64", &["arm64"])],
    );
}

#[test]
fn a_dockerfile_for_each_architecture() {
    needs!(Registry, Tool("skopeo"));
    copying().follow(
        "A Dockerfile for each architecture",
        &[
            ("latest", &["amd64", "arm/v7", "arm64"]),
            ("arm32v7-latest", &["arm"]),
            ("arm64v8-latest", &["arm64"]),
            ("mixed", &["amd64", "arm64", "s390x"]),
        ],
    );
}

#[test]
fn a_template_with_sed() {
    needs!(Registry, Tool("skopeo"));
    let three = &["amd64", "arm/v7", "arm64"][..];
    copying().follow("A template with sed", &[("sed", three), ("plain", three)]);
}

#[test]
fn a_matrix_of_actions() {
    needs!(Registry, Tool("skopeo"));
    let project = copying();
    project.follow("A matrix of Actions", &[("1.0", &["amd64", "arm64"])]);
    // The jobs have given no tag, and the last one has sent no layer.
    let requests = project.registry.requests();
    let tags: Vec<&String> = requests
        .iter()
        .filter(|r| r.starts_with("PUT /v2/team/app/manifests/") && !r.contains("sha256:"))
        .collect();
    assert!(tags.len() == 1 && tags[0].ends_with("/1.0"), "{tags:?}");
}

#[test]
fn bake_files_and_compose_files() {
    needs!(Registry, Tool("skopeo"));
    let expected = [("baked", &["amd64", "arm64"][..]), ("composed", &["amd64"])];
    copying().follow("bake files and compose files", &expected);
}

#[test]
fn kaniko() {
    needs!(Registry, Tool("skopeo"));
    let project = copying();
    project.follow("kaniko", &[("kaniko", &["amd64"]), ("stdin", &["amd64"])]);
    let context = project.place.context();
    assert!(fs::read_to_string(context.join("digest.txt")).unwrap().starts_with("sha256:"));
    let named = fs::read_to_string(context.join("name.txt")).unwrap();
    let digest = fs::read_to_string(context.join("digest.txt")).unwrap();
    assert_eq!(named, format!("{}/team/app@{digest}\n", project.registry.host));
    assert!(context.join("app.tar").is_file() && context.join("layout/index.json").is_file());
    // What is only written to files is not pushed.
    let pushed = |request: &String| request.contains("/team/app/manifests/none");
    assert!(!project.registry.requests().iter().any(pushed));
}

#[test]
fn buildah() {
    needs!(Registry, Tool("skopeo"));
    let project = copying();
    project.follow("buildah", &[("buildah", &["amd64"]), ("list", &["amd64", "arm64"])]);
    let source = format!("docker://{}/team/app:buildah", project.registry.host);
    let raw = tool("skopeo", ["inspect", "--raw", "--tls-verify=false", &source]);
    assert!(raw.contains("application/vnd.docker.distribution.manifest.v2+json"), "{raw}");
}

#[test]
fn a_plugin_of_docker() {
    needs!(Registry, Tool("skopeo"));
    copying().follow("A plugin of docker", &[("plugin", &["amd64"])]);
}
