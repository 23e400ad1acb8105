//! Each folder of `fixtures/dockerfile` and `fixtures/dockerfile-bad` is a test: a Dockerfile, and
//! the tree or errors of the parser.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use xbuild_dockerfile::{Checks, Dockerfile, lint, parse, print};

/// Returns the cases below `fixtures/<group>`, in order.
fn cases(group: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(group);
    let entries = fs::read_dir(&root).expect("the fixtures are in the checkout");
    let mut cases: Vec<PathBuf> =
        entries.map(|entry| entry.expect("the folder is readable").path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "{root:?}");
    cases
}

fn check(case: &Path, snapshot: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(case);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(snapshot, text));
}

/// Writes a tree for people: the lines of each instruction, then its fields.
fn dump(tree: &Dockerfile) -> String {
    let mut out = format!("escape {:?}\n", tree.escape);
    for directive in &tree.directives {
        let _ = writeln!(out, "{} {:?}", directive.span, directive.value);
    }
    for warning in &lint(tree, &Checks::default()) {
        let _ = writeln!(out, "{} {}: {}", warning.span, warning.rule, warning.message);
    }
    for global in &tree.globals {
        let _ = writeln!(out, "{} {:#?}", global.span, global.value);
    }
    for stage in &tree.stages {
        let from = &stage.from;
        let _ = writeln!(
            out,
            "\n{} From {:?} platform {:?} name {:?}",
            from.span, from.image, from.platform, from.name
        );
        for instruction in &stage.instructions {
            let _ = writeln!(out, "{} {:#?}", instruction.span, instruction.value);
        }
    }
    out
}

#[test]
fn good_files_give_their_tree() {
    for case in cases("dockerfile") {
        let text = fs::read(case.join("Dockerfile")).expect("a case has a Dockerfile");
        let tree = parse("Dockerfile", &text).unwrap_or_else(|errors| panic!("{case:?}: {errors}"));
        check(&case, "ast", &dump(&tree));

        let printed = print(&tree);
        let again = parse("Dockerfile", printed.as_bytes())
            .unwrap_or_else(|errors| panic!("{case:?}: {errors}\n{printed}"));
        assert_eq!(print(&again), printed, "{case:?}");
    }
}

#[test]
fn bad_files_give_their_errors() {
    for case in cases("dockerfile-bad") {
        let text = fs::read(case.join("Dockerfile")).expect("a case has a Dockerfile");
        let errors = parse("Dockerfile", &text).expect_err("a bad case fails");
        check(&case, "error", &errors.to_string());
    }
}
