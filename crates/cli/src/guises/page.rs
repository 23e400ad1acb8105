//! `docs/flags.md`: each option of the other builders' help texts, and what becomes of it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::buildah_options;
use super::kaniko_options;
use super::option::Known;
use crate::arguments;

const HEAD: &str = "# Options of other builders

This page says for each option of `docker buildx build`, kaniko's `executor` and `buildah build`, and for those before buildah's command, if xbuild takes it. A test makes this page from their help texts (`fixtures/flags`) and from the code that reads the options. `xbuild build` takes the options of buildx by the same names; called as `executor`, or as `buildah` with `bud` or `build`, xbuild takes those of kaniko and buildah ([coming from other tools](coming-from.md)).
";

/// Returns the long options of a help text, in its order.
fn options(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/flags").join(file);
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter(|line| line.starts_with(' '));
    let names = lines.filter_map(|line| {
        let line = line.trim_start();
        let line = match line.split_once(", ") {
            Some((letter, rest)) if letter.len() == 2 => rest,
            _ => line,
        };
        let name = line.strip_prefix("--")?;
        name.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().map(str::to_owned)
    });
    names.filter(|name| !matches!(&**name, "help" | "version")).collect()
}

/// Returns what becomes of an option of `docker buildx build`.
fn fate(name: &str) -> Option<String> {
    let mut command = arguments::definition();
    command.build();
    let build = command.find_subcommand("build")?;
    let mut known = build.get_arguments().chain(command.get_arguments());
    let arg = known.find(|arg| arg.get_long() == Some(name))?;
    match arg.is_hide_set() {
        true => Some(arg.get_help()?.to_string()),
        false => Some("the same".to_owned()),
    }
}

fn table(title: &str, rows: impl Iterator<Item = (String, String)>) -> String {
    let mut text = format!("\n## {title}\n\n| option | here |\n| --- | --- |\n");
    for (name, fate) in rows {
        let _ = writeln!(text, "| `--{name}` | {} |", fate.replace('|', "\\|"));
    }
    text
}

/// Options that no help text has.
const HIDDEN: [&str; 2] = ["pull-always", "pull-never"];

fn of_builder(title: &str, file: &str, known: &'static [Known]) -> String {
    let mut options = options(file);
    let is_known = |name: &str| known.iter().any(|option| option.name == name);
    options.extend(HIDDEN.into_iter().filter(|name| is_known(name)).map(str::to_owned));
    let names: BTreeSet<&str> = options.iter().map(String::as_str).collect();
    let ours: BTreeSet<&str> = known.iter().map(|option| option.name).collect();
    assert_eq!(ours, names, "{title}: the options that are read, and those of the help text");
    let rows = options.iter().map(|name| {
        let option = known.iter().find(|option| option.name == name).unwrap();
        (name.clone(), option.text())
    });
    table(title, rows)
}

#[test]
fn the_page_of_options_is_what_the_code_does() {
    let buildx = options("buildx-0.29.1.txt").into_iter().map(|name| {
        let fate = fate(&name).unwrap_or_else(|| panic!("nothing is done about --{name}"));
        (name, fate)
    });
    let page = HEAD.to_owned()
        + &table("docker buildx build", buildx)
        + &of_builder("kaniko executor", "kaniko-1.24.0.txt", kaniko_options::OPTIONS)
        + &of_builder("buildah build", "buildah-1.43.2.txt", buildah_options::OPTIONS)
        + &of_builder("buildah", "buildah-1.28.2.txt", buildah_options::OPTIONS_OF_ALL);
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known = fs::read_to_string(top.join("docs/flags.md")).unwrap_or_default();
    if known != page {
        fs::write(top.join("target/flags.md"), &page).unwrap();
        panic!("docs/flags.md is out of date: copy target/flags.md there");
    }
}

#[test]
fn an_option_that_is_the_same_is_one_of_xbuild_build() {
    let buildah = buildah_options::OPTIONS_OF_ALL.iter().chain(buildah_options::OPTIONS);
    for option in kaniko_options::OPTIONS.iter().chain(buildah) {
        if let super::option::Fate::Same(other) = option.fate {
            assert!(fate(other).is_some(), "--{other}");
        }
    }
}
