//! Dockerfiles as real projects write them, in our own words: each parses without an error, and a
//! line summarises its contents.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use xbuild_dockerfile::{Checks, Dockerfile, Instruction, Source, lint, parse, print};

/// Returns a line about a file: the counts of its parts, and the rules that it breaks.
fn summary(name: &str, tree: &Dockerfile) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut heredocs = 0;
    let instructions = || tree.stages.iter().flat_map(|stage| &stage.instructions);
    for instruction in instructions() {
        *counts.entry(instruction.value.keyword().to_string()).or_default() += 1;
        match &instruction.value {
            Instruction::Run(run) => {
                heredocs += run.heredocs.len();
                for mount in &run.mounts {
                    let kind = mount.options.iter().find(|option| option.key == "type");
                    let kind = kind.and_then(|option| option.value.as_deref()).unwrap_or("bind");
                    *counts.entry(format!("mount:{kind}")).or_default() += 1;
                }
            }
            Instruction::Copy(copy) => heredocs += count_heredocs(&copy.sources),
            Instruction::Add(add) => heredocs += count_heredocs(&add.sources),
            _ => {}
        }
    }
    let counts: Vec<String> =
        counts.iter().map(|(what, count)| format!("{what} {count}")).collect();
    let mut rules: Vec<&str> =
        lint(tree, &Checks::of(tree)).iter().map(|warning| warning.rule.name()).collect();
    rules.dedup();
    format!(
        "{name}: {} global ARG, {} stages, {} heredocs; {}; [{}]\n",
        tree.globals.len(),
        tree.stages.len(),
        heredocs,
        counts.join(", "),
        rules.join(", ")
    )
}

fn count_heredocs(sources: &[Source]) -> usize {
    sources.iter().filter(|source| matches!(source, Source::Heredoc(_))).count()
}

#[test]
fn files_of_real_projects_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/corpus");
    let mut files: Vec<_> = fs::read_dir(&folder)
        .expect("the fixtures are in the checkout")
        .map(|entry| entry.expect("the folder is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "Dockerfile"))
        .collect();
    files.sort();
    assert!(files.len() >= 40, "{}", files.len());
    let mut lines = String::new();
    for path in files {
        let name = path.file_stem().expect("has a name").to_string_lossy().into_owned();
        let text = fs::read(&path).expect("the file is readable");
        let tree = parse(&name, &text).unwrap_or_else(|errors| panic!("{errors}"));
        let printed = print(&tree);
        let again = parse(&name, printed.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(print(&again), printed, "{name}");
        lines.push_str(&summary(&name, &tree));
    }
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(folder);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!("summary", lines));
}
