//! Threads start in one place, which copes with a kernel that refuses them. `thread::spawn`, spawns
//! in a scope, and functions of libraries that start threads panic there.

use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::Visit;

use super::code::code;
use super::source::imports;

/// The file that may start threads.
const HOME: &str = "crates/model/src/thread.rs";

/// The functions of `std::thread` that start none.
const HARMLESS: [&str; 9] = [
    "JoinHandle",
    "Scope",
    "ScopedJoinHandle",
    "available_parallelism",
    "panicking",
    "scope",
    "self",
    "sleep",
    "yield_now",
];

/// Names of functions that start threads. A `spawn` without an argument starts a process.
const STARTING: [&str; 6] = [
    "spawn",
    "spawn_scoped",
    "spawn_unchecked",
    // tokio has these.
    "spawn_blocking",
    "block_in_place",
    "new_multi_thread",
];

#[test]
fn threads_start_in_one_file() {
    assert!(
        code().files.iter().any(|file| file.path == Path::new(HOME) && !file.starts.is_empty())
    );
    let others = code().files.iter().filter(|file| {
        file.path != Path::new(HOME) && file.of_crate != "xbuild_testkit" && !file.starts.is_empty()
    });
    let found: Vec<_> = others.map(|file| (file.path.display(), &file.starts)).collect();
    assert!(found.is_empty(), "use xbuild_model::thread: {found:?}");
}

#[test]
fn every_way_to_start_a_thread_is_seen() {
    for text in [
        "fn f() { std::thread::spawn(|| {}); }",
        "fn f() { thread::spawn(work); }",
        "use std::thread::spawn;",
        "use std::thread::{Builder, JoinHandle};",
        "use std::{thread::*};",
        "fn f() { thread::Builder::new().name(n).spawn(work).ok(); }",
        "fn f() { scope(|scope| { scope.spawn(|| 1); }) }",
        "fn f() { builder.spawn_scoped(scope, work) }",
        "fn f() { assert!(scope.spawn(work).is_finished()) }",
        "fn f() { tokio::task::spawn_blocking(work).await }",
        "fn f() { tokio::runtime::Builder::new_multi_thread() }",
        "fn f() { runtime.spawn_blocking(work) }",
        "fn f() { list.map(std::thread::spawn) }",
    ] {
        assert!(!starts(&syn::parse_file(text).unwrap().items).is_empty(), "{text}");
    }
    for text in [
        "fn f() { command.spawn() }",
        "use std::thread::{JoinHandle, Scope, sleep};",
        "use xbuild_model::thread; fn f() { thread::start(\"name\", work) }",
        "/// Is no thread::spawn(work).\nfn f() {}",
        "fn f() { std::thread::sleep(time); let spawn = 1; g(spawn) }",
    ] {
        assert!(starts(&syn::parse_file(text).unwrap().items).is_empty(), "{text}");
    }
}

/// Returns the names by which items start threads.
pub(super) fn starts(items: &[syn::Item]) -> Vec<String> {
    let mut starts = Starts(Vec::new());
    items.iter().for_each(|item| starts.visit_item(item));
    starts.0
}

struct Starts(Vec<String>);

impl Starts {
    fn path(&mut self, path: &[String]) {
        let Some((last, before)) = path.split_last() else { return };
        let is_of_std = before.last().is_some_and(|name| name == "thread")
            && before.iter().rev().nth(1).is_none_or(|name| name == "std");
        let starts = is_of_std && last == "Builder" || !before.is_empty() && is_starting(last);
        if starts {
            self.0.push(path.join("::"));
        }
    }

    /// Reads the arguments of macros, which are not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut last = String::new();
        for token in tokens {
            match token {
                TokenTree::Group(group) => {
                    if is_starting(&last) && !group.stream().is_empty() {
                        self.0.push(last);
                    }
                    last = String::new();
                    self.tokens(group.stream());
                }
                TokenTree::Ident(ident) => last = ident.to_string(),
                TokenTree::Literal(_) | TokenTree::Punct(_) => last.clear(),
            }
        }
    }
}

fn is_starting(name: &str) -> bool {
    STARTING.contains(&name)
}

impl<'ast> Visit<'ast> for Starts {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let of_std = ["std", "thread"];
        for import in imports(&item.tree) {
            let is_of_std = import.path.starts_with(&of_std.map(str::to_owned));
            let name = import.path.get(2).map_or("self", String::as_str);
            if is_of_std && (import.is_glob() || !HARMLESS.contains(&name)) {
                self.0.push(import.path.join("::"));
            }
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.path(&names);
        syn::visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = call.method.to_string();
        if is_starting(&name) && !call.args.is_empty() {
            self.0.push(name);
        }
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}
