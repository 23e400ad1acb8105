//! The templates of `docs/ci`: a parser of its language reads each, and its shell lines run.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};
use serde_json::Value;

use crate::harness::{Finished, Place, Registry, User, checkout, needs, tool};
use crate::image::digest;

/// The registry of the templates.
const EXAMPLE: &str = "registry.example";

/// The templates with the test that runs them.
const TEMPLATES: [&str; 10] = [
    "Jenkinsfile",
    "action.yml",
    "bitbucket-pipelines.yml",
    "gitea.yml",
    "github-actions.yml",
    "gitlab-docker.yml",
    "gitlab-kubernetes.yml",
    "kubernetes-job.yml",
    "kubernetes-restricted-job.yml",
    "tekton-task.yml",
];

fn folder() -> PathBuf {
    checkout().join("docs/ci")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// Reads a template of YAML, which has one document.
fn template(name: &str) -> Value {
    yaml(&text(name))
}

/// Reads YAML, which has one document.
pub(crate) fn yaml(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap();
    assert_eq!(documents.len(), 1);
    value(&documents[0])
}

fn value(node: &Yaml<'_>) -> Value {
    match node {
        Yaml::Value(Scalar::Null) => Value::Null,
        Yaml::Value(Scalar::Boolean(value)) => (*value).into(),
        Yaml::Value(Scalar::Integer(value)) => (*value).into(),
        Yaml::Value(Scalar::FloatingPoint(value)) => value.into_inner().into(),
        Yaml::Value(Scalar::String(value)) => value.as_ref().into(),
        Yaml::Sequence(items) => items.iter().map(value).collect(),
        Yaml::Mapping(pairs) => pairs
            .iter()
            .map(|(name, item)| (name.as_str().unwrap().to_owned(), value(item)))
            .collect(),
        other => panic!("{other:?} in a template"),
    }
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// A CI job: a checkout, a registry with a password, and variables.
struct Job {
    place: Place,
    registry: Registry,
    variables: BTreeMap<String, String>,
}

impl Job {
    fn new() -> Self {
        let place = Place::new(User::Me);
        place.write("program", "#!/bin/sh\n");
        place.dockerfile("FROM scratch\nARG VERSION=none\nCOPY program /\nENV VERSION=$VERSION\n");
        // What the templates ask of the machine is not theirs to do in a test.
        for name in ["sudo", "apt-get"] {
            tool(
                "sh",
                [
                    "-c",
                    "printf '#!/bin/sh\\n' > $0; chmod 755 $0",
                    &place.path().join(name).display().to_string(),
                ],
            );
        }
        let registry = Registry::with_password();
        Self { place, registry, variables: BTreeMap::new() }
    }

    fn set(&mut self, name: &str, value: impl Into<String>) {
        self.variables.insert(name.to_owned(), value.into());
    }

    fn image(&self) -> String {
        format!("{}/team/app", self.registry.host)
    }

    /// Runs a script of a template with the shell that the CI has, which must succeed.
    fn run(&self, shell: &str, script: &str, args: &[&str]) {
        let mut command = self.place.command(shell);
        let mut path = self.variables.get("PATH").cloned().unwrap_or_default();
        for folder in [self.place.path().as_os_str(), &self.place.search_path()] {
            path = format!("{path}:{}", folder.display());
        }
        command.envs(&self.variables).env("PATH", path.trim_start_matches(':'));
        command.current_dir(self.place.context());
        let script = script.replace(EXAMPLE, &self.registry.host);
        command.args(["-euc", &script, "script"]).args(args);
        let done = Finished::run(command);
        assert_eq!(done.status, 0, "{script}\n{}\n{}", done.stdout, done.stderr);
    }

    /// Asserts that a tag of the image has both platforms, and returns its digest.
    #[track_caller]
    fn has(&self, tag: &str) -> String {
        let name = format!("docker://{}:{tag}", self.image());
        let args = ["inspect", "--raw", "--tls-verify=false", "--creds=suite:secret", &name];
        let raw = tool("skopeo", args);
        let index: Value = serde_json::from_str(&raw).unwrap();
        let entries = index["manifests"].as_array().unwrap().iter();
        let platforms: Vec<&Value> =
            entries.map(|entry| &entry["platform"]["architecture"]).collect();
        assert_eq!(platforms, ["amd64", "arm64"]);
        digest(raw.as_bytes())
    }
}

/// Replaces the expressions of Actions.
fn evaluated(text: &str, expressions: &BTreeMap<&str, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        let (expression, after) = after.split_once("}}").unwrap();
        let value = expressions.get(expression.trim());
        result += before;
        result += value.unwrap_or_else(|| panic!("no value for {expression}"));
        rest = after;
    }
    result + rest
}

/// Runs the steps of a job of Actions.
fn run_actions(job: &mut Job, steps: &Value, expressions: &BTreeMap<&str, String>) {
    for step in steps.as_array().unwrap() {
        let Some(script) = step["run"].as_str() else { continue };
        assert!(!script.contains("${{"), "an expression in a script can be an injection: {script}");
        let before = job.variables.clone();
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            job.set(name, evaluated(value.as_str().unwrap(), expressions));
        }
        job.run("bash", script, &[]);
        job.variables = before;
        if let Some(file) = job.variables.get("GITHUB_PATH").cloned()
            && let Ok(path) = fs::read_to_string(file)
        {
            job.set("PATH", path.trim());
        }
    }
}

#[test]
fn every_template_is_tried() {
    let names = fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, TEMPLATES);
}

/// A workflow that installs xbuild from a release.
fn workflow(name: &str) -> (Job, Value) {
    let mut job = Job::new();
    let program = job.place.path().join("xbuild");
    let checksum = digest(&fs::read(&program).unwrap()).replace("sha256:", "");
    let expressions = BTreeMap::from([
        ("vars.XBUILD_URL", format!("file://{}", program.display())),
        ("vars.XBUILD_SHA256", checksum),
        ("vars.IMAGE", job.image()),
        ("secrets.REGISTRY_USER", "suite".to_owned()),
        ("secrets.REGISTRY_PASSWORD", "secret".to_owned()),
    ]);
    let workflow = template(name);
    for (name, value) in workflow["env"].as_object().unwrap() {
        job.set(name, evaluated(value.as_str().unwrap(), &expressions));
    }
    job.set("GITHUB_SHA", "0123456789abcdef");
    let out = job.place.out("");
    job.set("RUNNER_TEMP", out.display().to_string());
    job.set("GITHUB_PATH", out.join("path").display().to_string());
    run_actions(&mut job, &workflow["jobs"]["image"]["steps"], &expressions);
    assert!(out.join("bin/xbuild").exists());
    (job, workflow)
}

#[test]
fn github_actions() {
    needs!(Registry, Tool("skopeo"), Tool("curl"));
    let (job, _) = workflow("github-actions.yml");
    assert_eq!(job.has("latest"), job.has("0123456789abcdef"));
}

#[test]
fn gitea() {
    needs!(Registry, Tool("skopeo"), Tool("curl"));
    let (job, workflow) = workflow("gitea.yml");
    job.has("0123456789abcdef");
    // The runner's own image has what the action for checkouts needs; xbuild's has not.
    assert!(workflow["jobs"]["image"].get("container").is_none());
}

#[test]
fn an_action_like_dockers() {
    needs!(Registry, Tool("skopeo"), Tool("jq"));
    let mut job = Job::new();
    let action = template("action.yml");
    let step = &action["runs"]["steps"][0];
    assert_eq!(step["env"]["INPUTS"], "${{ toJSON(inputs) }}");
    let script = step["run"].as_str().unwrap();
    // Every input is used, and every output made.
    for name in action["inputs"].as_object().unwrap().keys() {
        assert!(
            script.contains(&format!(" {name} ")) || script.contains(&format!("input {name})")),
            "{name}"
        );
    }
    for name in action["outputs"].as_object().unwrap().keys() {
        assert!(
            script.contains(&format!("\"{name}=")) || script.contains(&format!("\"{name}<<")),
            "{name}"
        );
    }
    job.run(
        "sh",
        "printf secret | xbuild login --username suite --password-stdin registry.example",
        &[],
    );
    let inputs = serde_json::json!({
        "context": ".",
        "platforms": "linux/amd64, linux/arm64",
        "tags": format!("{0}:one\n{0}:two\n", job.image()),
        "push": "true",
        "load": "false",
        "build-args": "VERSION=1 2 'x'\n",
        "secrets": "token=a b\n",
        "labels": "who=a, b\n",
    });
    let output = job.place.out("output");
    job.set("INPUTS", inputs.to_string());
    job.set("GITHUB_OUTPUT", output.display().to_string());
    job.set("RUNNER_TEMP", job.place.out("").display().to_string());
    job.run("bash", script, &[]);
    let digest = job.has("one");
    assert_eq!(job.has("two"), digest);
    let output = fs::read_to_string(output).unwrap();
    assert!(output.contains(&format!("\ndigest={digest}\n")), "{output}");
    let metadata = output.split_once("metadata<<END_OF_METADATA\n").unwrap().1;
    let metadata = metadata.strip_suffix("\nEND_OF_METADATA\n").unwrap();
    let metadata: Value = serde_json::from_str(metadata).unwrap();
    assert_eq!(metadata["containerimage.digest"], digest);
    let name = format!("docker://{}:one", job.image());
    let args = ["inspect", "--config", "--tls-verify=false", "--creds=suite:secret", &name];
    let config: Value = serde_json::from_str(&tool("skopeo", args)).unwrap();
    assert_eq!(config["config"]["Env"][1], "VERSION=1 2 'x'");
    assert_eq!(config["config"]["Labels"]["who"], "a, b");
    // Nothing is left of the secret.
    let left = fs::read_dir(job.place.out("")).unwrap().count();
    assert_eq!(left, 1);
}

fn gitlab(name: &str) {
    let mut job = Job::new();
    let pipeline = template(name);
    let work = &pipeline["image-for-two-platforms"];
    let (host, image) = (job.registry.host.clone(), job.image());
    for (name, value) in [
        ("CI_REGISTRY", host.as_str()),
        ("CI_REGISTRY_IMAGE", &image),
        ("CI_REGISTRY_USER", "suite"),
        ("CI_REGISTRY_PASSWORD", "secret"),
        ("CI_COMMIT_SHORT_SHA", "01234567"),
    ] {
        job.set(name, value);
    }
    let builds = job.place.out("").display().to_string();
    for (name, value) in work["variables"].as_object().unwrap() {
        job.set(name, value.as_str().unwrap().replace("$CI_BUILDS_DIR", &builds));
    }
    // One shell runs all lines.
    job.run("sh", &strings(&work["script"]).join("\n"), &[]);
    job.has("01234567");
}

#[test]
fn gitlab_on_docker() {
    needs!(Registry, Tool("skopeo"));
    gitlab("gitlab-docker.yml");
}

#[test]
fn gitlab_on_kubernetes() {
    needs!(Registry, Tool("skopeo"));
    gitlab("gitlab-kubernetes.yml");
}

#[test]
fn bitbucket() {
    needs!(Registry, Tool("skopeo"));
    let mut job = Job::new();
    let pipeline = template("bitbucket-pipelines.yml");
    let step = &pipeline["pipelines"]["branches"]["main"][0]["step"];
    job.set("IMAGE", job.image());
    job.set("REGISTRY_USER", "suite");
    job.set("REGISTRY_PASSWORD", "secret");
    job.set("BITBUCKET_COMMIT", "0123");
    job.run("sh", &strings(&step["script"]).join("\n"), &[]);
    assert_eq!(job.has("0123"), job.has("latest"));
}

#[test]
fn tekton() {
    needs!(Registry, Tool("skopeo"));
    let mut job = Job::new();
    let task = template("tekton-task.yml");
    let step = &task["spec"]["steps"][0];
    let config = job.place.out("docker");
    fs::create_dir(&config).unwrap();
    job.set("DOCKER_CONFIG", config.display().to_string());
    job.run(
        "sh",
        "printf secret | xbuild login --username suite --password-stdin registry.example",
        &[],
    );
    job.variables.clear();
    let (digest, url) = (job.place.out("digest"), job.place.out("url"));
    for variable in step["env"].as_array().unwrap() {
        let value = match variable["value"].as_str().unwrap() {
            "$(params.image)" => format!("{}:1", job.image()),
            "$(params.platforms)" => "linux/amd64,linux/arm64".to_owned(),
            "$(params.dockerfile)" => "Dockerfile".to_owned(),
            "$(params.context)" => ".".to_owned(),
            "$(workspaces.dockerconfig.bound)" => "true".to_owned(),
            "$(workspaces.dockerconfig.path)" => config.display().to_string(),
            "$(results.IMAGE_DIGEST.path)" => digest.display().to_string(),
            "$(results.IMAGE_URL.path)" => url.display().to_string(),
            "/var/lib/xbuild" => job.place.out("").display().to_string(),
            other => panic!("{other}"),
        };
        job.set(variable["name"].as_str().unwrap(), value);
    }
    let script = step["script"].as_str().unwrap();
    assert!(script.starts_with("#!/bin/sh\n"));
    job.run("sh", script, &["--build-arg", "VERSION=2"]);
    assert_eq!(fs::read_to_string(digest).unwrap(), job.has("1"));
    assert_eq!(fs::read_to_string(url).unwrap(), format!("{}:1", job.image()));
}

/// Runs the container of a job of Kubernetes, with the test's context as the clone of the repository.
fn kubernetes(name: &str) {
    let mut job = Job::new();
    let manifest = template(name);
    assert_eq!((&manifest["apiVersion"], &manifest["kind"]), (&"batch/v1".into(), &"Job".into()));
    let pod = &manifest["spec"]["template"]["spec"];
    let (clone, container) = (&pod["initContainers"][0], &pod["containers"][0]);
    assert_eq!(strings(&clone["args"])[0], "clone");
    for variable in container["env"].as_array().unwrap() {
        let value = variable["value"].as_str().unwrap().trim_start_matches('/');
        job.set(variable["name"].as_str().unwrap(), job.place.out(value).display().to_string());
    }
    job.run(
        "sh",
        "printf secret | xbuild login --username suite --password-stdin registry.example",
        &[],
    );
    let mut args = strings(&container["args"]);
    assert_eq!(args.last(), strings(&clone["args"]).last());
    let workspace = args.pop();
    for container in [clone, container] {
        let mounts = container["volumeMounts"].as_array().unwrap();
        assert_eq!(mounts[0]["mountPath"].as_str(), workspace.as_deref());
    }
    args.push(".".to_owned());
    let args: Vec<String> =
        args.iter().map(|arg| arg.replace(EXAMPLE, &job.registry.host)).collect();
    job.run("sh", "xbuild \"$@\"", &args.iter().map(String::as_str).collect::<Vec<_>>());
    job.has("1.0");
}

#[test]
fn kubernetes_jobs() {
    needs!(Registry, Tool("skopeo"));
    kubernetes("kubernetes-job.yml");
    kubernetes("kubernetes-restricted-job.yml");
}

/// Returns the texts of string literals below a node of Groovy.
fn literals(node: tree_sitter::Node<'_>, source: &str, found: &mut Vec<String>) {
    if matches!(node.kind(), "string_literal" | "character_literal") {
        let text = &source[node.byte_range()];
        let quote = if text.starts_with("'''") { "'''" } else { "'" };
        found.push(text.trim_start_matches(quote).trim_end_matches(quote).to_owned());
        return;
    }
    (0..node.child_count()).for_each(|at| {
        literals(node.child(at).unwrap(), source, found);
    });
}

#[test]
fn jenkins() {
    needs!(Registry, Tool("skopeo"));
    let source = text("Jenkinsfile");
    let mut parser = tree_sitter::Parser::new();
    parser.set_language(&tree_sitter_groovy::LANGUAGE.into()).unwrap();
    let tree = parser.parse(&source, None).unwrap();
    assert!(!tree.root_node().has_error(), "{}", tree.root_node().to_sexp());
    let mut found = Vec::new();
    literals(tree.root_node(), &source, &mut found);
    let pod = found.iter().find(|text| text.contains("kind: Pod")).unwrap();
    assert_eq!(yaml(pod)["spec"]["containers"][0]["name"], "xbuild");
    let scripts: Vec<&String> = found.iter().filter(|text| text.contains("xbuild ")).collect();
    assert_eq!(scripts.len(), 2, "{found:?}");
    let mut job = Job::new();
    job.set("IMAGE", job.image());
    job.set("REGISTRY_USR", "suite");
    job.set("REGISTRY_PSW", "secret");
    job.set("GIT_COMMIT", "0123");
    scripts.iter().for_each(|script| job.run("sh", script, &[]));
    job.has("0123");
}
