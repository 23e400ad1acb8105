//! From `main` to the core in a few files, so that a newcomer finds the way.

use std::collections::BTreeMap;

use super::code::{Code, FileId, code};

/// Files to read on the way from `main`, its own among them, to the function that walks the graph.
const FILES: usize = 4;

#[test]
fn main_reaches_solve_through_few_files() {
    let code = code();
    let way = way(code, code.home("xbuild", "main"), code.home("xbuild_solve", "solve"));
    let way: Vec<_> = way.iter().map(|file| code.files[*file].path.display().to_string()).collect();
    assert!(way.len() - 1 <= FILES, "more than {FILES} files: {}", way.join(" -> "));
}

/// Returns the shortest way from one file to another along what files use, both ends counted.
fn way(code: &Code, from: FileId, to: FileId) -> Vec<FileId> {
    let mut before: BTreeMap<FileId, FileId> = BTreeMap::new();
    let mut ahead = vec![from];
    while !before.contains_key(&to) {
        assert!(!ahead.is_empty(), "there is no way");
        let users = std::mem::take(&mut ahead);
        for (user, used) in
            users.iter().flat_map(|user| code.uses[user].keys().map(move |used| (user, used)))
        {
            before.entry(*used).or_insert_with(|| {
                ahead.push(*used);
                *user
            });
        }
    }
    let mut way = vec![to];
    while let Some(user) = before.get(&way[way.len() - 1]).filter(|_| way[way.len() - 1] != from) {
        way.push(*user);
    }
    way.reverse();
    way
}
