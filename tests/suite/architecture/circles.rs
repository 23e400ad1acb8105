//! No circles of files: the files of a crate can be put in an order in which each uses only those
//! below it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::code::{Code, FileId, code};

#[test]
fn no_crate_has_a_circle_of_files() {
    let circles = describe(code());
    assert!(circles.is_empty(), "{}", circles.into_values().collect::<String>());
}

/// Returns for each crate with circles of files a text that says what ties them.
fn describe(code: &Code) -> BTreeMap<String, String> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for circle in circles(code) {
        let name = &code.files[circle[0]].of_crate;
        let text = texts.entry(name.clone()).or_default();
        writeln!(text, "{name}: a circle of {} files:", circle.len()).unwrap();
        for user in &circle {
            for (used, names) in code.uses[user].iter().filter(|(used, _)| circle.contains(used)) {
                let names = names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
                let path = |id: FileId| code.files[id].path.display();
                writeln!(text, "  {} -> {}: {names}", path(*user), path(*used)).unwrap();
            }
        }
    }
    texts
}

/// Returns the groups of files of one crate in which each uses each other, by whatever detours.
fn circles(code: &Code) -> BTreeSet<Vec<FileId>> {
    let reached: BTreeMap<FileId, BTreeSet<FileId>> =
        code.uses.keys().map(|file| (*file, reach(code, *file))).collect();
    let within = reached.iter().filter(|(file, others)| others.contains(file));
    let back = |(file, others): (&FileId, &BTreeSet<FileId>)| {
        others.iter().copied().filter(|other| reached[other].contains(file)).collect()
    };
    within.map(back).collect()
}

/// Returns the files of the same crate that a file uses, by whatever detours.
fn reach(code: &Code, from: FileId) -> BTreeSet<FileId> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![from];
    while let Some(file) = ahead.pop() {
        let same_crate = |id: &&FileId| code.files[**id].of_crate == code.files[from].of_crate;
        let used = code.uses[&file].keys().filter(same_crate);
        ahead.extend(used.filter(|used| reached.insert(**used)));
    }
    reached
}
