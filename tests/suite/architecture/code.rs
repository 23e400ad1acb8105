//! The facts about the production code that tests look at, read once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::Visit;

use super::source::Source;
use super::workspace;
use super::{debug, source, threads, uses};
use crate::harness::checkout;

pub(super) use super::source::FileId;

/// For each file the files that it uses, with the names that show it.
pub(super) type Uses = BTreeMap<FileId, BTreeMap<FileId, BTreeSet<String>>>;

/// The production code of the workspace.
pub(super) struct Code {
    pub(super) files: Vec<File>,
    pub(super) uses: Uses,
}

/// A source file.
pub(super) struct File {
    /// The name of its crate, as in paths: `xbuild_model`.
    pub(super) of_crate: String,
    /// From the top of the checkout.
    pub(super) path: PathBuf,
    /// The text of its `//!` lines.
    pub(super) head: String,
    /// Lines that are no unit tests.
    pub(super) lines: usize,
    /// The name of each function, its first line, and how many it has.
    pub(super) functions: Vec<(String, usize, usize)>,
    /// The names of all items, with methods, variants and fields.
    pub(super) names: BTreeSet<String>,
    /// Whether the word `unsafe` is in it, other than in comments.
    pub(super) has_unsafe: bool,
    /// The names by which threads are started in it.
    pub(super) starts: Vec<String>,
    /// The texts by which the debug form of a value is written in it.
    pub(super) debug: Vec<String>,
}

/// Returns the production code of the workspace.
pub(super) fn code() -> &'static Code {
    static CODE: OnceLock<Code> = OnceLock::new();
    CODE.get_or_init(|| {
        let read = |path: &Path| std::fs::read_to_string(checkout().join(path)).ok();
        Code::of(&Source::read(&workspace::crates(), &read))
    })
}

impl Code {
    /// Looks at parsed source.
    pub(super) fn of(source: &Source) -> Self {
        Self { files: source.files.iter().map(File::of).collect(), uses: uses::uses(source) }
    }

    /// Returns the file of a crate that has a certain function.
    pub(super) fn home(&self, of_crate: &str, function: &str) -> FileId {
        let is_it = |file: &File| {
            file.of_crate == of_crate && file.functions.iter().any(|(name, ..)| name == function)
        };
        self.files.iter().position(is_it).unwrap_or_else(|| panic!("no {function} in {of_crate}"))
    }
}

impl File {
    fn of(file: &source::File) -> Self {
        let head = file.text.lines().filter_map(|line| line.strip_prefix("//!"));
        let mut functions = Functions(Vec::new());
        file.items.iter().for_each(|item| functions.visit_item(item));
        let mut names = Names(BTreeSet::new());
        file.items.iter().for_each(|item| names.visit_item(item));
        Self {
            of_crate: file.of_crate.clone(),
            path: file.path.clone(),
            head: head.collect::<Vec<_>>().join("\n"),
            lines: file.text.lines().count() - file.lines_of_tests,
            functions: functions.0,
            names: names.0,
            has_unsafe: has_unsafe(file.text.parse().unwrap()),
            starts: threads::starts(&file.items),
            debug: debug::of(&file.items),
        }
    }
}

/// The functions of a file, those within functions too.
struct Functions(Vec<(String, usize, usize)>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let (start, end) = (signature.span().start().line, block.span().end().line);
        self.0.push((signature.ident.to_string(), start, end + 1 - start));
    }
}

impl<'ast> Visit<'ast> for Functions {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(block) = &item.default {
            self.add(&item.sig, block);
        }
        syn::visit::visit_trait_item_fn(self, item);
    }
}

/// The names that a file gives to something.
struct Names(BTreeSet<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_ident(&mut self, ident: &'ast syn::Ident) {
        self.0.insert(ident.to_string());
    }

    // Expressions and types use names.
    fn visit_expr(&mut self, _: &'ast syn::Expr) {}

    fn visit_type(&mut self, _: &'ast syn::Type) {}
}

fn has_unsafe(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => has_unsafe(group.stream()),
        TokenTree::Ident(ident) => ident == "unsafe",
        TokenTree::Literal(_) | TokenTree::Punct(_) => false,
    })
}
