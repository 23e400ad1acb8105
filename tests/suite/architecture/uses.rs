//! Which file uses which: the paths in one file that stand for items of another.
//!
//! Two things are no use: to declare a module, and to re-export a name. A method counts where it
//! cannot be told from a path: if its `impl` block is in another file than its type, a call of it is
//! a use of that other file.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::Visit;

use super::code::Uses;
use super::source::{FileId, ModuleId, Source, Target, imports};

/// Returns which file uses which, within and across crates.
pub(super) fn uses(source: &Source) -> Uses {
    let methods = Methods::of(source);
    let mut uses = Uses::new();
    for (id, file) in source.files.iter().enumerate() {
        let used = BTreeMap::new();
        let mut reader = Reader { source, methods: &methods, file: id, module: file.module, used };
        file.items.iter().for_each(|item| reader.visit_item(item));
        uses.insert(id, reader.used);
    }
    uses
}

/// The methods whose `impl` block is in another file than their type, by name.
struct Methods(BTreeMap<String, FileId>);

impl Methods {
    fn of(source: &Source) -> Self {
        let mut found = FoundMethods::default();
        for (id, file) in source.files.iter().enumerate() {
            let mut reader =
                MethodReader { source, file: id, module: file.module, found: &mut found };
            file.items.iter().for_each(|item| reader.visit_item(item));
        }
        let FoundMethods { apart, mut count } = found;
        // A name that other types have too says nothing.
        Self(apart.into_iter().filter(|(name, _)| count.remove(name) == Some(1)).collect())
    }
}

#[derive(Default)]
struct FoundMethods {
    apart: BTreeMap<String, FileId>,
    count: BTreeMap<String, usize>,
}

struct MethodReader<'a> {
    source: &'a Source,
    file: FileId,
    module: ModuleId,
    found: &'a mut FoundMethods,
}

impl<'ast> Visit<'ast> for MethodReader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let outer = self.module;
        self.module = self.source.child(outer, &item.ident.to_string());
        items.iter().for_each(|item| self.visit_item(item));
        self.module = outer;
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let syn::Type::Path(path) = &*item.self_ty else { return };
        let targets = self.source.resolve(self.module, &segments(&path.path));
        let is_home =
            |target: &Target| matches!(target, Target::Item(file, _) if *file == self.file);
        let is_apart = item.trait_.is_none() && !targets.is_empty() && !targets.iter().any(is_home);
        for item in &item.items {
            let syn::ImplItem::Fn(method) = item else { continue };
            let name = method.sig.ident.to_string();
            *self.found.count.entry(name.clone()).or_default() += 1;
            if is_apart {
                self.found.apart.insert(name, self.file);
            }
        }
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        *self.found.count.entry(item.sig.ident.to_string()).or_default() += 1;
    }
}

/// Reads the paths of a file.
struct Reader<'a> {
    source: &'a Source,
    methods: &'a Methods,
    file: FileId,
    module: ModuleId,
    used: BTreeMap<FileId, BTreeSet<String>>,
}

impl Reader<'_> {
    fn path(&mut self, path: &[String]) {
        for target in self.source.resolve(self.module, path) {
            let Target::Item(file, tail) = target else { continue };
            let name = &path[path.len() - 1 - tail.len().min(path.len() - 1)];
            self.uses(file, name);
            tail.first().into_iter().for_each(|name| self.method(name));
        }
        if let [first, name, ..] = path
            && first == "Self"
        {
            self.method(name);
        }
    }

    fn method(&mut self, name: &str) {
        if let Some(file) = self.methods.0.get(name) {
            self.uses(*file, name);
        }
    }

    fn uses(&mut self, file: FileId, name: &str) {
        if file != self.file {
            self.used.entry(file).or_default().insert(name.to_owned());
        }
    }

    /// Reads the arguments of macros and attributes, which are not parsed: paths of two parts and
    /// more, single names that begin with a capital letter or are called, and calls of methods.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut after_dot = false;
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            let is_call = match tokens.peek() {
                Some(TokenTree::Group(group)) => group.delimiter() == Delimiter::Parenthesis,
                _ => false,
            };
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => self.literal(&literal.to_string()),
                TokenTree::Punct(punct) => after_dot = punct.as_char() == '.',
                TokenTree::Ident(ident) if after_dot => {
                    after_dot = false;
                    if is_call {
                        self.method(&ident.to_string());
                    }
                }
                TokenTree::Ident(ident) => {
                    path.push(ident.to_string());
                    let is_colon = |token: Option<&TokenTree>| matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
                    let mut ahead = tokens.clone();
                    if is_colon(ahead.next().as_ref()) && is_colon(ahead.next().as_ref()) {
                        tokens = ahead;
                        continue;
                    }
                    let is_name = |name: &str| is_call || name.starts_with(char::is_uppercase);
                    if path.len() > 1 || is_name(&path[0]) {
                        self.path(&path);
                    }
                    path.clear();
                }
            }
        }
    }

    /// Reads `#[serde(with = "crate::path")]`.
    fn literal(&mut self, text: &str) {
        let path: Vec<String> = text.trim_matches('"').split("::").map(str::to_owned).collect();
        let is_name = |part: &String| part.chars().all(|c| c.is_alphanumeric() || c == '_');
        if path.len() > 1 && path.iter().all(is_name) {
            self.path(&path);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        let Some((_, items)) = &item.content else { return };
        let outer = self.module;
        self.module = self.source.child(outer, &item.ident.to_string());
        items.iter().for_each(|item| self.visit_item(item));
        self.module = outer;
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if matches!(item.vis, syn::Visibility::Inherited) {
            imports(&item.tree).iter().for_each(|import| self.path(&import.path));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(&segments(path));
        syn::visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.method(&call.method.to_string());
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.visit_path(&call.path);
        self.tokens(call.tokens.clone());
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        match &attribute.meta {
            syn::Meta::List(list) => self.tokens(list.tokens.clone()),
            // The text of a comment is no code.
            syn::Meta::NameValue(_) | syn::Meta::Path(_) => {}
        }
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}
