//! Messages are for users: what Rust writes for `{:?}` is for programmers.
//! `xbuild_wording::quoted` puts texts in quotes.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use super::code::code;

/// The files that may use `{:?}`, since nobody reads the text as a message.
const ALLOWED: [(&str, &str); 7] = [
    ("crates/build/src/attested.rs", "the text is hashed"),
    ("crates/build/src/identities.rs", "the text is hashed"),
    ("crates/build/src/project.rs", "the text is hashed"),
    ("crates/cli/src/progress.rs", "what is said once is known by it"),
    ("crates/plan/src/dump.rs", "the graph as tests compare it"),
    ("crates/plan/src/history.rs", "a line of the image's history, as BuildKit writes it"),
    ("crates/solve/src/seen.rs", "the text is hashed"),
];

/// Macros that tell of defects, to programmers.
const OF_DEFECTS: [&str; 5] = ["assert", "debug_assert", "panic", "unreachable", "assert_eq"];

#[test]
fn no_message_has_the_debug_form_of_a_value() {
    let is_allowed = |path: &Path| ALLOWED.iter().any(|(allowed, _)| path == Path::new(allowed));
    let found = code().files.iter().filter(|file| !file.debug.is_empty());
    let (allowed, others): (Vec<_>, Vec<_>) = found
        .filter(|file| file.of_crate != "xbuild_testkit")
        .partition(|file| is_allowed(&file.path));
    let others: Vec<_> = others.iter().map(|file| (file.path.display(), &file.debug)).collect();
    assert!(others.is_empty(), "use xbuild_wording::quoted: {others:#?}");
    assert_eq!(allowed.len(), ALLOWED.len(), "an exception is not needed any more");
}

#[test]
fn every_way_to_write_the_debug_form_is_seen() {
    for text in [
        "fn f() { format!(\"{x:?}\") }",
        "fn f() { write!(f, \"{:#?} {}\", x, y) }",
        "fn f() { g(format!(\"{:08.3?}\", x)) }",
        "fn f() { vec![format!(\"{0:?}\", x)] }",
        "#[derive(Error)] enum E { #[error(\"bad {x:?}\")] One { x: u8 } }",
        "#[error(\"bad {0:?}\")] struct E(u8);",
        "fn f() { std::fmt::Debug::fmt(&x, f) }",
        "impl Display for X { fn fmt(&self) { write!(f, \"{:?}\", self.0) } }",
    ] {
        assert!(!of(&syn::parse_file(text).unwrap().items).is_empty(), "{text}");
    }
    for text in [
        "/// Shows {x:?}.\nfn f() { format!(\"{x} {y:>3}\") }",
        "fn f() { format!(\"{{x:?}}\") }",
        "fn f() { assert!(a, \"{a:?}\"); unreachable!(\"{a:?}\") }",
        "impl fmt::Debug for X { fn fmt(&self) { write!(f, \"{:?}\", self.0) } }",
        "fn f() { g(\"${A:?is needed}\") }",
    ] {
        assert_eq!(of(&syn::parse_file(text).unwrap().items), Vec::<String>::new(), "{text}");
    }
}

/// Returns the texts by which items write the debug form of a value.
pub(super) fn of(items: &[syn::Item]) -> Vec<String> {
    let mut found = Found(Vec::new());
    items.iter().for_each(|item| found.visit_item(item));
    found.0
}

struct Found(Vec<String>);

impl Found {
    fn tokens(&mut self, tokens: TokenStream) {
        let mut last = String::new();
        let mut before = String::new();
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    let is_of_defects = last == "!" && OF_DEFECTS.contains(&before.as_str());
                    if !is_of_defects {
                        self.tokens(group.stream());
                    }
                    last.clear();
                }
                TokenTree::Literal(literal) => {
                    if has_debug(&literal.to_string()) {
                        self.0.push(literal.to_string());
                    }
                }
                other => before = std::mem::replace(&mut last, other.to_string()),
            }
        }
    }
}

/// Returns whether a format string has a place for a debug form: `{`, a name or number or nothing,
/// `:`, flags, `?`, `}`.
fn has_debug(text: &str) -> bool {
    let text = text.replace("{{", "").replace("}}", "");
    text.split('{').skip(1).any(|rest| {
        let place = rest.split('}').next().unwrap_or_default();
        place.split_once(':').is_some_and(|(_, form)| {
            form.ends_with('?') && !form.contains(|c: char| c.is_whitespace())
        })
    })
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let of = item.trait_.as_ref().and_then(|(path, _)| path.segments.last());
        if of.is_none_or(|name| name.ident != "Debug") {
            syn::visit::visit_item_impl(self, item);
        }
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let name = call.path.segments.last().map(|name| name.ident.to_string());
        if !name.is_some_and(|name| OF_DEFECTS.contains(&name.as_str())) {
            self.tokens(call.tokens.clone());
        }
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.tokens(list.tokens.clone());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        if let [.., of, function] = &names[..]
            && (of.as_str(), function.as_str()) == ("Debug", "fmt")
        {
            self.0.push(names.join("::"));
        }
        syn::visit::visit_path(self, path);
    }
}
