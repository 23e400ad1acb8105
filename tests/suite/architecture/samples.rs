//! The finder of uses, shown with crates of a few lines.

use std::path::{Path, PathBuf};

use super::code::Code;
use super::source::Source;

/// Returns the uses between the files of a crate, each as `user -> used: names`.
fn uses(files: &[(&str, &str)]) -> Vec<String> {
    let read = |path: &Path| {
        let file = files.iter().find(|(name, _)| Path::new(name) == path);
        file.map(|(_, text)| (*text).to_owned())
    };
    let code = Code::of(&Source::read(&[("sample".to_owned(), PathBuf::from("lib.rs"))], &read));
    let all = code.uses.iter().flat_map(|(user, used)| used.iter().map(move |used| (user, used)));
    let line = |(user, (used, names)): (&usize, (&usize, &std::collections::BTreeSet<String>))| {
        let name = |id: &usize| code.files[*id].path.with_extension("").display().to_string();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        format!("{} -> {}: {}", name(user), name(used), names.join(" "))
    };
    all.map(line).collect()
}

/// Returns the uses of a crate with the modules `a` and `b`, whose root only declares them.
fn between(a: &str, b: &str) -> Vec<String> {
    uses(&[("lib.rs", "mod a; mod b;"), ("a.rs", a), ("b.rs", b)])
}

#[test]
fn every_way_to_name_an_item_is_a_use() {
    let b = "pub struct Thing; pub enum Kind { One } pub fn make() {} pub trait Act {}";
    for (a, names) in [
        ("use crate::b::Thing;", "Thing"),
        ("use super::b::{Thing, make};", "Thing make"),
        ("use crate::b; fn f() { b::make() }", "make"),
        ("fn f() -> crate::b::Thing { todo!() }", "Thing"),
        ("fn f() { use crate::b::make; make() }", "make"),
        ("use crate::b::*; fn f() { make() }", "make"),
        ("use crate::b as other; struct S(other::Thing);", "Thing"),
        ("use crate::b::Kind::One;", "Kind"),
        ("impl super::b::Act for u8 {}", "Act"),
        ("fn f() { assert!(crate::b::make() == ()) }", "make"),
        ("mod inner { fn f() { super::super::b::make() } }", "make"),
        ("struct S { #[serde(with = \"crate::b::make\")] n: u8 }", "make"),
    ] {
        assert_eq!(between(a, b), [format!("a -> b: {names}")], "{a}");
    }
}

#[test]
fn declarations_and_tests_and_unknown_names_are_no_uses() {
    let b = "pub struct Thing; pub fn make() {}";
    for a in [
        "pub use crate::b::Thing;",
        "pub(crate) use super::b::make;",
        "use crate::b;",
        "/// See [`crate::b::make`].\nfn f() {}",
        "fn f() { std::b::make(); let make = 1; g(make) }",
        "#[cfg(test)] mod tests { use crate::b::make; }",
        "#[cfg(test)] fn f() { crate::b::make() }",
    ] {
        assert!(between(a, b).is_empty(), "{a}");
    }
}

#[test]
fn a_name_leads_through_re_exports_to_the_file_that_defines_it() {
    let files = [
        ("lib.rs", "mod user; mod parent;"),
        ("user.rs", "use crate::parent::Thing;"),
        ("parent.rs", "mod child; pub use child::Thing;"),
        ("parent/child.rs", "pub struct Thing;"),
    ];
    assert_eq!(uses(&files), ["user -> parent/child: Thing"]);
}

#[test]
fn a_method_is_where_its_impl_block_is() {
    let a = "pub struct Thing; fn f(thing: Thing) { thing.turn() }";
    let b = "impl crate::a::Thing { pub fn turn(&self) {} }";
    assert_eq!(between(a, b), ["a -> b: turn", "b -> a: Thing"]);
}
