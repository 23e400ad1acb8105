//! `docs/threats.md` says which test shows what: each test that it names exists, no line is lost,
//! and the tests that are missing only get fewer.

use std::fs;
use std::path::PathBuf;

use crate::harness::checkout;

/// Lines whose test is missing. The number only gets smaller.
const MISSING: usize = 0;

/// Lines of part A, numbered from 1.
const VULNERABILITIES: usize = 139;

/// Lines of part B.
const FAULTS: &str = "\
    kill-pull kill-unpack kill-run kill-commit kill-push kill-index kill-prune power-loss enospc \
    inodes quota eio-blob eio-fsync emfile eagain-fork oom-step oom-xbuild stack clock sigterm \
    no-reaper step-fails output-order \
    sigpipe stop full-log \
    429 5xx cut-body ignored-range extra-bytes wrong-digest slow drip cut-upload token-expires \
    denied redirect redirect-loop location no-head no-mount not-modified moved-tag other-manifest \
    unreachable tls proxy \
    parallel same-tag build-and-prune cache-sharing stale-lock versions no-xattr overlay-store nfs \
    home tmpdir noexec casefold odd-path other-uid \
    no-fuse no-range no-new-privs setgroups no-userns seccomp apparmor masked-proc own-root no-overlay \
    racy-stamps kept-roots no-openat2 old-calls old-binfmt loose-binfmt qemu-crash cgroups no-pasta resolver lsm umask \
    locale";

/// A line of the page.
struct Line {
    id: String,
    /// Its column of tests.
    proof: String,
}

impl Line {
    fn tests(&self) -> impl Iterator<Item = &str> {
        self.proof.split('`').skip(1).step_by(2)
    }

    fn is_missing(&self) -> bool {
        self.proof == "missing"
    }

    fn does_not_apply(&self) -> bool {
        self.proof.starts_with("does not apply: ")
    }
}

fn lines() -> Vec<Line> {
    let page = fs::read_to_string(checkout().join("docs/threats.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| A") || line.starts_with("| B "));
    let line = |row: &str| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 6, "a line has four cells: {row}");
        Line { id: cells[1].to_owned(), proof: cells[4].to_owned() }
    };
    rows.map(line).collect()
}

#[test]
fn the_page_has_all_lines_in_their_order() {
    let vulnerabilities = (1..=VULNERABILITIES).map(|number| format!("A{number}"));
    let faults = FAULTS.split_whitespace().map(|name| format!("B {name}"));
    let expected: Vec<String> = vulnerabilities.chain(faults).collect();
    let found: Vec<String> = lines().into_iter().map(|line| line.id).collect();
    assert_eq!(found, expected);
}

#[test]
fn each_line_names_tests_that_exist() {
    for line in lines() {
        let count = line.tests().filter(|name| exists(name)).count();
        let lost: Vec<&str> = line.tests().filter(|name| !exists(name)).collect();
        assert!(lost.is_empty(), "{}: there is no such test: {lost:?}", line.id);
        let is_told = count > 0 || line.is_missing() || line.does_not_apply();
        assert!(is_told, "{}: neither tests nor a reason: {:?}", line.id, line.proof);
    }
}

#[test]
fn missing_tests_get_fewer() {
    let missing: Vec<String> =
        lines().into_iter().filter(Line::is_missing).map(|line| line.id).collect();
    assert_eq!(missing.len(), MISSING, "write the number down: {missing:?}");
}

#[test]
fn names_of_tests_are_looked_up() {
    for (name, expected) in [
        ("suite threats::names_of_tests_are_looked_up", true),
        ("suite threats::top", false),
        ("suite harness::names_of_tests_are_looked_up", false),
        ("xbuild-layer decode::tests::bombs_are_stopped", true),
        ("xbuild-layer tar_read::tests::the_root_is_a_folder", true),
        ("xbuild-exec/namespace steps::devices", true),
        ("xbuild-exec/namespace steps::own_proc", false),
        ("xbuild-none a::b", false),
        ("the_root_is_a_folder", false),
    ] {
        assert_eq!(exists(name), expected, "{name}");
    }
}

/// Returns whether there is a test, named by its crate and its path there.
fn exists(name: &str) -> bool {
    let Some((krate, path)) = name.split_once(' ') else { return false };
    let mut modules: Vec<&str> = path.split("::").collect();
    let test = modules.pop().unwrap_or_default();
    let (root, own_file) = sources(krate);
    // The first modules are files; what follows is in the last of them.
    (0..=modules.len()).rev().any(|count| {
        let (files, inline) = modules.split_at(count);
        let file = match files {
            [] => own_file.clone(),
            _ => root.join(files.join("/")).with_extension("rs"),
        };
        let Ok(text) = fs::read_to_string(file) else { return false };
        inline.iter().all(|module| text.contains(&format!("mod {module} {{")))
            && (is_test(&text, test) || krate.ends_with("/namespace") && is_case(&text, test))
    })
}

/// Returns the folder with the modules of a crate, or of a file of its tests, and the root module.
fn sources(krate: &str) -> (PathBuf, PathBuf) {
    let (package, target) = krate.split_once('/').unwrap_or((krate, ""));
    let folder = match package.strip_prefix("xbuild-") {
        Some(short) => checkout().join("crates").join(short),
        None if package == "suite" => checkout().join("tests/suite"),
        None => checkout().join("crates/cli"),
    };
    match target {
        _ if package == "suite" => (folder.clone(), folder.join("main.rs")),
        "" => (folder.join("src"), folder.join("src/lib.rs")),
        target => {
            let root = folder.join("tests").join(target);
            (root.clone(), root.with_extension("rs"))
        }
    }
}

/// Returns whether a file has the function, marked as a test right above.
fn is_test(text: &str, name: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let start = format!("fn {name}(");
    let marked = |at: usize| {
        let above = lines[..at].iter().rev();
        above.take_while(|line| line.starts_with("#[")).any(|line| *line == "#[test]")
    };
    lines.iter().enumerate().any(|(at, line)| line.starts_with(&start) && marked(at))
}

/// Returns whether a file has a case of that name, where a table stands for the usual marks.
fn is_case(text: &str, name: &str) -> bool {
    text.lines()
        .any(|line| line.trim().trim_start_matches('(').starts_with(&format!("\"{name}\",")))
}
