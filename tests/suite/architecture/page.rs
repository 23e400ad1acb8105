//! `docs/architecture.md` says what is so: its table of crates is the one that is enforced.

use std::collections::BTreeMap;
use std::path::Path;

use super::ARROWS;
use super::workspace::TOP;

#[test]
fn the_page_has_the_table_that_is_enforced() {
    let enforced: BTreeMap<String, Vec<String>> = ARROWS
        .iter()
        .map(|(name, used)| (short(name), used.iter().map(|n| short(n)).collect()))
        .collect();
    assert_eq!(table(), enforced.into_iter().map(sorted).collect());
}

/// Returns the crates in the page's table, each with those that it uses. `all` stands for those in
/// the rows above, save the testkit.
fn table() -> BTreeMap<String, Vec<String>> {
    let page = page();
    let rows =
        page.lines().filter_map(|line| line.strip_prefix("| ")).map(|line| line.split(" | "));
    let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for mut row in rows.skip_while(|row| row.clone().nth(1) != Some("---")).skip(1) {
        let (name, used) = (row.nth(1).unwrap(), row.next().unwrap());
        let used = match used {
            "all" => table.keys().filter(|name| *name != "testkit").cloned().collect(),
            used => names(used),
        };
        let (name, used) = sorted((names(name).remove(0), used));
        table.insert(name, used);
    }
    table
}

fn page() -> String {
    std::fs::read_to_string(Path::new(TOP).join("docs/architecture.md")).unwrap()
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
