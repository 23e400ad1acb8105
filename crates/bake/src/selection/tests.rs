//! Targets that inherit from each other, and that are contexts of each other, in large numbers.

use super::*;
use crate::{File, Given, World};

fn select(text: &str) -> Result<Selection, BakeError> {
    let given = Given {
        variables: BTreeMap::new(),
        environment: &|_| None,
        files: &|_| Ok(None),
        built_in: BTreeMap::new(),
        world: World { now: 0, home: "/root".to_owned(), random: || [0; 16] },
    };
    let file = File { name: "b.hcl".to_owned(), text: text.to_owned() };
    Config::read(&[file], &given)?.select(&["t0".to_owned()], &Overrides::default())
}

/// Returns a file with targets or groups `t0`, `t1`, .. of which each has a line with the name of the next,
/// and with the last one, a target.
fn chain(kind: &str, count: usize, line: &str, last: &str) -> String {
    let each = (0..count).map(|n| {
        let line = line.replace("NEXT", &format!("t{}", n + 1));
        format!("{kind} \"t{n}\" {{ {line} }}\n")
    });
    each.collect::<String>() + &format!("target \"t{count}\" {{\n{last}\n}}\n")
}

#[test]
fn a_parent_that_is_there_twice_counts_once() {
    let line = r#"inherits = ["NEXT", "NEXT"]"#;
    let last = r#"annotations = ["a=b"]
                  cache-from = ["x"]
                  ulimits = ["nofile=1:1"]
                  attest = ["type=sbom"]"#;
    let selection = select(&chain("target", 60, line, last)).unwrap();
    let target = &selection.targets["t0"];
    assert_eq!(target.annotations.as_deref(), Some(&["a=b".to_owned()][..]));
    assert_eq!(target.ulimits.as_ref().map(Vec::len), Some(1));
    assert_eq!(
        [&target.cache_from, &target.attest].map(|list| list.as_ref().unwrap().len()),
        [1, 1]
    );
    assert!(target.inherits.is_empty());
}

#[test]
fn a_context_that_is_there_twice_is_one_target() {
    let line = r#"contexts = { a = "target:NEXT", b = "target:NEXT" }"#;
    let selection = select(&chain("target", 60, line, "")).unwrap();
    assert_eq!(selection.targets.len(), 61);
    let line = r#"contexts = { a = "target:NEXT" }"#;
    let selection = select(&chain("target", 3000, line, "entitlements = [\"network.host\"]"));
    let selection = selection.unwrap();
    assert_eq!(selection.targets.len(), 3001);
    assert!(selection.targets.values().all(|target| target.entitlements.is_some()));
}

#[test]
fn groups_of_groups_may_be_deep() {
    let line = r#"targets = ["NEXT", "NEXT"]"#;
    let selection = select(&chain("group", 5000, line, "")).unwrap();
    assert_eq!((selection.groups.len(), selection.targets.len()), (5001, 1));
}

#[test]
fn variables_that_need_each_other_end() {
    for text in [
        (0..30_000).map(|n| format!("variable \"v{n}\" {{ default = v{} }}\n", n + 1)).collect(),
        (0..30_000).map(|n| format!("v{n} = v{}\n", n + 1)).collect::<String>(),
    ] {
        let text = text + "v30000 = 1\ntarget \"t0\" { args = { a = v0 } }\n";
        let message = select(&text).unwrap_err().to_string();
        assert!(message.contains("too deep"), "{message}");
    }
    let line = "tags = target.NEXT.tags";
    let message = select(&chain("target", 5000, line, "tags = [\"x\"]")).unwrap_err().to_string();
    assert!(message.contains("too deep"), "{message}");
    let selection = select(&chain("target", 40, line, "tags = [\"x\"]")).unwrap();
    assert_eq!(selection.targets["t0"].tags.as_deref(), Some(&["x".to_owned()][..]));
}
