//! Functions of one screen, files of a few screens, and `unsafe` where it is expected.

use super::code::{File, code};

/// Lines of a function, from `fn` to its closing brace.
const FUNCTION: usize = 60;

/// Lines of a file. A longer one says why in a line of its `//!` comment that begins with `Size:`.
const FILE: usize = 500;

#[test]
fn functions_fit_on_a_screen() {
    let is_long = |lines: usize| lines > FUNCTION;
    let functions = code().files.iter().flat_map(|file| {
        let file_name = file.path.file_name().unwrap().display();
        let long = file.functions.iter().filter(|(_, _, lines)| is_long(*lines));
        long.map(move |(name, ..)| format!("{file_name} {name}"))
    });
    let found: Vec<String> = functions.collect();
    assert!(found.is_empty(), "functions of over {FUNCTION} lines: {found:?}");
}

#[test]
fn long_files_say_why() {
    let says_why = |file: &&File| file.head.lines().any(|line| line.trim().starts_with("Size:"));
    let long = code().files.iter().filter(|file| file.lines > FILE && !says_why(file));
    let found: Vec<String> = long.map(|file| file.path.display().to_string()).collect();
    assert!(found.is_empty(), "files of over {FILE} lines: {found:?}");
}

#[test]
fn unsafe_code_is_in_files_named_sys() {
    for file in code().files.iter().filter(|file| file.has_unsafe) {
        assert_eq!(file.path.file_name().unwrap(), "sys.rs", "{}", file.path.display());
    }
}
