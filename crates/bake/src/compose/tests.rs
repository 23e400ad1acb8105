//! Compose files of several folders, as bake and as compose reads them.

use super::*;
use crate::scope::World;
use crate::target::Target;

/// Files by path, the compose file first, and variables of the environment.
struct Case<'a> {
    files: &'a [(&'a str, &'a str)],
    environment: &'a [(&'a str, &'a str)],
}

impl Case<'_> {
    /// Reads the first file in the folder of a project.
    fn read(&self, manner: Manner, folder: &str) -> Result<Project, BakeError> {
        let variable = |name: &str| {
            let found = self.environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let text = |name: &str| {
            let found = self.files.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, text)| (*text).to_owned()))
        };
        let given = Given {
            variables: BTreeMap::new(),
            environment: &variable,
            files: &text,
            built_in: BTreeMap::new(),
            world: World { now: 0, home: "/home/u".to_owned(), random: || [0; 16] },
        };
        let mut setting = Setting {
            manner,
            folder: folder.to_owned(),
            variables: BTreeMap::new(),
            name: ProjectName::Default("folder".to_owned()),
        };
        let path = if folder.is_empty() { ".env".to_owned() } else { format!("{folder}/.env") };
        let list = [VariableFile { path, is_required: false }];
        add_variables(&mut setting.variables, &list, &given)?;
        let (name, text) = self.files[0];
        let file = File { name: name.to_owned(), text: text.to_owned() };
        Project::read(&[&file], &given, &setting)
    }
}

fn read(manner: Manner, folder: &str, files: &[(&str, &str)]) -> Project {
    Case { files, environment: &[] }.read(manner, folder).unwrap()
}

fn fails(manner: Manner, text: &str) -> String {
    let case = Case { files: &[("compose.yaml", text)], environment: &[] };
    case.read(manner, "").unwrap_err().to_string()
}

fn target<'a>(project: &'a Project, name: &str) -> &'a Target {
    let service = project.services.iter().find(|service| service.name == name);
    service.and_then(|service| service.target.as_ref()).unwrap_or_else(|| panic!("no {name}"))
}

fn context<'a>(project: &'a Project, name: &str) -> &'a str {
    target(project, name).context.as_deref().unwrap_or("none")
}

fn arg<'a>(project: &'a Project, service: &str, name: &str) -> &'a str {
    target(project, service).args.get(name).and_then(Option::as_deref).unwrap_or("none")
}

#[test]
fn paths_are_beside_the_file_that_they_are_written_in() {
    let files = [
        (
            "compose.yaml",
            "include: [sub/compose.yaml]\nservices:\n  a: {extends: {file: d1/base.yaml, service: a}}\n  \
             u: {extends: {file: d1/base.yaml, service: u}}\n",
        ),
        (
            "d1/base.yaml",
            "services:\n  a: {extends: {file: d2/base.yaml, service: a}}\n  \
             u: {build: {context: ~/x, ssh: [\"k=./key\"], additional_contexts: {h: ~/q, r: ./r}}}\n",
        ),
        ("d1/d2/base.yaml", "services: {a: {build: ./x}}\n"),
        (
            "sub/compose.yaml",
            "include: [{path: more/compose.yaml, project_directory: .}, more/compose.yml]\n\
             services:\n  b: {extends: {file: ../base.yaml, service: b}}\n  n: {build: {dockerfile: D}}\n",
        ),
        (
            "sub/more/compose.yaml",
            "services: {c: {build: {context: c, secrets: [s]}}}\nsecrets: {s: {file: ./f}}\n",
        ),
        ("sub/more/compose.yml", "services: {d: {build: ./d}}\n"),
        ("base.yaml", "services: {b: {build: ./bx}}\n"),
    ];
    let project = read(Manner::Bake, "", &files);
    let expected =
        [("a", "d1/d2/x"), ("b", "bx"), ("n", "sub"), ("c", "sub/c"), ("d", "sub/more/d")];
    for (name, expected) in expected {
        assert_eq!(context(&project, name), expected, "{name}");
    }
    assert_eq!(target(&project, "c").secret.as_ref().unwrap()[0].src, "sub/f");
    let u = target(&project, "u");
    assert_eq!(u.context.as_deref(), Some("/home/u/x"));
    assert_eq!(u.ssh.as_ref().unwrap()[0].paths, ["d1/key"]);
    assert_eq!([&u.contexts["h"], &u.contexts["r"]], ["/home/u/q", "d1/r"]);
}

#[test]
fn paths_are_seen_from_the_folder_of_the_project() {
    let files = [
        (
            "sub/compose.yaml",
            "services:\n  a: {build: .}\n  n: {build: {}}\n  \
             e: {build: {context: x, args: [E]}, env_file: e.env}\n",
        ),
        ("e.env", "E=top\n"),
        ("sub/e.env", "E=sub\n"),
    ];
    let project = read(Manner::Compose, "sub", &files);
    assert_eq!(["a", "n", "e"].map(|name| context(&project, name)), ["sub", "sub", "sub/x"]);
    assert_eq!(arg(&project, "e", "E"), "sub");
    let project = read(Manner::Bake, "", &files);
    assert_eq!(["a", "n", "e"].map(|name| context(&project, name)), [".", "none", "x"]);
    assert_eq!(arg(&project, "e", "E"), "top");
}

#[test]
fn included_files_see_the_variables_of_their_folder() {
    let args = "{build: {context: ., args: {V: $V, W: $W, M: $M, X: $X}}}";
    let inner = format!("services: {{c: {args}}}\n");
    let files = [
        ("compose.yaml", "include: [sub/compose.yaml, {path: other.yaml, env_file: x.env}]\n"),
        (".env", "W=top\n"),
        ("sub/compose.yaml", "include: [more/compose.yaml]\n"),
        ("sub/.env", "V=sub\nW=sub\n"),
        ("sub/more/compose.yaml", &inner),
        ("sub/more/.env", "V=more\nM=more\n"),
        ("other.yaml", "services: {o: {build: {args: {X: $X}}}}\n"),
        ("x.env", "X=file\n"),
    ];
    let project = read(Manner::Bake, "", &files);
    let found = ["V", "W", "M", "X"].map(|name| arg(&project, "c", name));
    assert_eq!(found, ["sub", "top", "more", ""]);
    assert_eq!(arg(&project, "o", "X"), "file");
    assert_eq!(project.warnings.len(), 1, "{:?}", project.warnings);
    assert!(project.warnings[0].starts_with("sub/more/compose.yaml:1: variable X is not set"));
}

#[test]
fn all_documents_of_a_file_are_merged() {
    let text = "name: One\nservices:\n  a: {build: {context: ., args: {A: 1, B: $COMPOSE_PROJECT_NAME}}}\n\
                ---\nname: two\nservices:\n  a: {build: {args: {A: 2}}}\n---\nservices: {c: {build: x}}\n";
    let project = read(Manner::Bake, "", &[("compose.yaml", text)]);
    assert_eq!([arg(&project, "a", "A"), arg(&project, "a", "B")], ["2", "two"]);
    assert_eq!([context(&project, "a"), context(&project, "c")], [".", "x"]);
}

#[test]
fn the_name_of_the_project_is_a_variable() {
    let services = "services: {a: {build: {context: ., args: {P: $COMPOSE_PROJECT_NAME}}}}\n";
    let named = format!("name: My.${{X:-Proj}}\n{services}");
    let in_env: &[(&str, &str)] = &[("COMPOSE_PROJECT_NAME", "env")];
    for (manner, text, environment, expected) in [
        (Manner::Bake, services, &[][..], "folder"),
        (Manner::Bake, services, in_env, "env"),
        (Manner::Bake, &named, in_env, "My.Proj"),
        (Manner::Compose, services, &[], "folder"),
        (Manner::Compose, &named, &[], "myproj"),
    ] {
        let case = Case { files: &[("compose.yaml", text)], environment };
        let project = case.read(manner, "").unwrap();
        assert_eq!((arg(&project, "a", "P"), &*project.name), (expected, expected));
    }
}

#[test]
fn compose_and_bake_differ_in_details() {
    let text = "services:\n  a:\n    platform: linux/arm64\n    env_file: missing\n    \
                build: {context: ., privileged: true, entitlements: [network.host], \
                secrets: [{source: s, target: tt}, s]}\nsecrets: {s: {file: ./f}}\n";
    let files = [("compose.yaml", text), ("missing", "")];
    let (bake, compose) = (read(Manner::Bake, "", &files), read(Manner::Compose, "", &files[..1]));
    let ids = |project| -> Vec<String> {
        let secrets = target(project, "a").secret.iter().flatten();
        secrets.map(|secret| secret.id.clone()).collect()
    };
    assert_eq!(
        (ids(&bake), ids(&compose)),
        (vec!["s".into(), "s".into()], vec!["tt".into(), "s".into()])
    );
    assert_eq!(target(&bake, "a").platforms, None);
    assert_eq!(target(&compose, "a").platforms.as_deref(), Some(&["linux/arm64".to_owned()][..]));
    assert_eq!(target(&bake, "a").entitlements.as_ref().unwrap().len(), 1);
    assert_eq!(target(&compose, "a").entitlements.as_ref().unwrap().len(), 2);
    let message = fails(Manner::Bake, text);
    assert_eq!(message, "compose.yaml:4: env_file: there is no file missing");
}

#[test]
fn contradictions_are_refused() {
    let text = "services:\n  a: {build: {platforms: [linux/amd64]}, platform: linux/arm64}\n";
    let message = fails(Manner::Compose, text);
    assert!(message.starts_with("compose.yaml:2: the service runs on linux/arm64"), "{message}");
    let text = "services:\n  a: {build: {dockerfile: D, dockerfile_inline: FROM scratch}}\n";
    for manner in [Manner::Bake, Manner::Compose] {
        assert!(fails(manner, text).contains("dockerfile and dockerfile_inline"));
    }
}

#[test]
fn a_service_needs_others_in_many_ways() {
    let text = "services:\n  a: {image: x, depends_on: {d: {}}, links: [\"l:alias\"], \
                volumes_from: [\"v:ro\", \"container:c\"], network_mode: \"service:n\", \
                pid: \"service:p\", ipc: host}\n";
    let project = read(Manner::Compose, "", &[("compose.yaml", text)]);
    assert_eq!(project.services[0].depends_on, ["d", "l", "v", "n", "p"]);
}

#[test]
fn files_that_lead_to_each_other_end() {
    for text in [
        "include: [compose.yaml]\n",
        "services: {a: {extends: {file: compose.yaml, service: a}}}\n",
        "include: [compose.yaml, ./compose.yaml, compose.yaml]\n",
    ] {
        let message = fails(Manner::Bake, text);
        assert!(message.contains("too often"), "{message}");
    }
    // Each level is read three times as often as the one above.
    let level = |next: usize| {
        let more = format!("{next}.yaml");
        format!("include: [{more}, {more}, {more}]\n")
    };
    let texts: Vec<(String, String)> =
        (0..15).map(|n| (format!("{n}.yaml"), level(n + 1))).collect();
    let mut files: Vec<(&str, &str)> =
        texts.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
    files.push(("15.yaml", "services: {}\n"));
    let message = Case { files: &files, environment: &[] }.read(Manner::Bake, "").unwrap_err();
    assert!(message.to_string().contains("too large together"), "{message}");
}

#[test]
fn services_that_extend_each_other_are_worked_out_once() {
    let each = (0..2000).map(|n| format!("  s{n}: {{extends: s{}}}\n", n + 1));
    let text = format!("services:\n{}  s2000: {{build: .}}\n", each.collect::<String>());
    let project = read(Manner::Bake, "", &[("compose.yaml", &text)]);
    assert_eq!((project.services.len(), context(&project, "s0")), (2001, "."));
    let each = (0..3000).map(|n| format!("  s{n}: {{extends: base}}\n"));
    let names = (0..1000).map(|n| format!("A{n}: 1")).collect::<Vec<_>>().join(", ");
    let base = format!("  base: {{build: {{args: {{{names}}}}}}}\n");
    let message = fails(Manner::Bake, &format!("services:\n{base}{}", each.collect::<String>()));
    assert!(message.contains("too large together"), "{message}");
    let message = fails(Manner::Bake, "services: {a: {extends: b}, b: {extends: a}}\n");
    assert_eq!(message, "compose.yaml:1: service a extends itself");
    let message = fails(Manner::Bake, "services:\n  a: {extends: b}\n");
    assert_eq!(message, "compose.yaml:2: there is no service b");
}
