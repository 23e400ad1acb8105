//! `docs/architecture.md` is true: its table of crates is the one that is enforced, and the files and
//! names that it mentions exist.

use std::collections::BTreeMap;

use super::ARROWS;
use super::code::code;
use crate::harness::checkout;

#[test]
fn the_page_has_the_table_that_is_enforced() {
    let enforced: BTreeMap<String, Vec<String>> = ARROWS
        .iter()
        .map(|(name, used)| (short(name), used.iter().map(|n| short(n)).collect()))
        .collect();
    assert_eq!(table(), enforced.into_iter().map(sorted).collect());
}

#[test]
fn every_name_on_the_page_is_in_the_code() {
    let page = page();
    for name in names(&page).iter().filter(|name| !name.contains(' ')) {
        assert!(is_path(name) || is_code(name) || is_plain(name), "there is no `{name}`");
    }
}

/// Returns whether a name with a slash is a file or a folder: `exec/ladder.rs` is in a crate,
/// anything else begins at the top.
fn is_path(name: &str) -> bool {
    let top = checkout();
    let Some((of_crate, rest)) = name.split_once('/') else { return name.ends_with(".rs") };
    top.join(name).exists() || top.join("crates").join(of_crate).join("src").join(rest).exists()
}

/// Returns whether each part of `crate::Type::function` is a name in the code, `crate` optional.
fn is_code(name: &str) -> bool {
    let files = &code().files;
    let exists = |part: &str| {
        ARROWS.iter().any(|(package, _)| short(package) == part)
            || files.iter().any(|file| file.names.contains(part))
    };
    name.split("::").all(exists)
}

/// Returns whether a name is none of the code's: an option, a variable of a Dockerfile, a path of
/// the system.
fn is_plain(name: &str) -> bool {
    name.starts_with(['-', '$', '/'])
        || ["crates", "src", "xbuild", "unsafe", "XBUILD_LOG"].contains(&name)
}

/// Returns the crates in the page's table, each with those that it uses. `all of the above` stands
/// for those in the rows above.
fn table() -> BTreeMap<String, Vec<String>> {
    let page = page();
    let lines = page.lines().skip_while(|line| !line.starts_with("| ---"));
    let rows = lines.skip(1).map_while(|line| line.strip_prefix("| "));
    let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mut row in rows.map(|line| line.split(" | ")) {
        let (name, used) = (row.nth(1).unwrap(), row.next().unwrap());
        let used = match used {
            "all of the above" => table.keys().cloned().collect(),
            used => names(used),
        };
        let (name, used) = sorted((names(name).remove(0), used));
        table.insert(name, used);
    }
    table
}

fn page() -> String {
    std::fs::read_to_string(checkout().join("docs/architecture.md")).unwrap()
}

/// Returns the names in a cell, which are written as code.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn sorted((name, mut used): (String, Vec<String>)) -> (String, Vec<String>) {
    used.sort();
    (name, used)
}

/// Returns the name of a package as the page has it: that of its folder.
fn short(package: &str) -> String {
    package.strip_prefix("xbuild-").unwrap_or("cli").to_owned()
}
