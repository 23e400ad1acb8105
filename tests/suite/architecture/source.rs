//! The production source of crates, parsed: files, the modules in them, and what each name stands for.
//!
//! Unit tests are left out: items under `#[cfg(test)]`, and with them their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

/// The number of a file in [`Source::files`].
pub(super) type FileId = usize;
/// The number of a module in [`Source::modules`].
pub(super) type ModuleId = usize;

/// The source of some crates.
#[derive(Default)]
pub(super) struct Source {
    pub(super) files: Vec<File>,
    modules: Vec<Module>,
    /// The root module of each crate, by the name that other crates know it by.
    roots: BTreeMap<String, ModuleId>,
}

/// A source file.
pub(super) struct File {
    /// The name of its crate, as in paths: `xbuild_model`.
    pub(super) of_crate: String,
    /// As it was asked for.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Without unit tests.
    pub(super) items: Vec<syn::Item>,
    /// How many lines the unit tests have that are in the file itself.
    pub(super) lines_of_tests: usize,
    /// The module that the file is.
    pub(super) module: ModuleId,
}

/// A module: a whole file, or `mod x { .. }` within one.
struct Module {
    file: FileId,
    root: ModuleId,
    parent: ModuleId,
    names: BTreeMap<String, Vec<Name>>,
    /// The paths of imports that end in `*`.
    globs: Vec<Vec<String>>,
}

/// One meaning of a name in a module. There can be a few: a module and a function, for instance.
enum Name {
    Defined,
    Child(ModuleId),
    Import(Vec<String>),
}

/// The end of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Module(ModuleId),
    /// The file that defines an item, and the rest of the path: a variant or an associated name.
    Item(FileId, Vec<String>),
}

impl Source {
    /// Reads crates, each given as its name and the path of its root file. `read` returns the text
    /// of a file, `None` if there is no such file.
    pub(super) fn read(
        crates: &[(String, PathBuf)],
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> Self {
        let mut source = Self::default();
        for (name, path) in crates {
            let text = read(path).unwrap_or_else(|| panic!("there is no {}", path.display()));
            let place = Place { of_crate: name, path: path.clone(), children: folder(path) };
            let root = source.add_file(place, text, None, read);
            source.roots.insert(name.clone(), root);
        }
        source
    }

    fn add_file(
        &mut self,
        place: Place<'_>,
        text: String,
        parent: Option<ModuleId>,
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> ModuleId {
        let parsed = syn::parse_file(&text);
        let parsed = parsed.unwrap_or_else(|error| panic!("{}: {error}", place.path.display()));
        let mut lines_of_tests = 0;
        let items = without_tests(parsed.items, &mut lines_of_tests);
        let (file, module) = (self.files.len(), self.modules.len());
        let (of_crate, path) = (place.of_crate.to_owned(), place.path);
        let file_of = File { of_crate, path, text, items: Vec::new(), lines_of_tests, module };
        self.files.push(file_of);
        let place = Place { path: PathBuf::new(), ..place };
        self.add_module(file, parent, &place, &items, read);
        self.files[file].items = items;
        module
    }

    fn add_module(
        &mut self,
        file: FileId,
        parent: Option<ModuleId>,
        place: &Place<'_>,
        items: &[syn::Item],
        read: &dyn Fn(&Path) -> Option<String>,
    ) -> ModuleId {
        let id = self.modules.len();
        let root = parent.map_or(id, |parent| self.modules[parent].root);
        let mut names = Names::default();
        items.iter().for_each(|item| names.visit_item(item));
        let Names { names, globs } = names;
        self.modules.push(Module { file, root, parent: parent.unwrap_or(id), names, globs });
        for item in items {
            let syn::Item::Mod(item) = item else { continue };
            let name = item.ident.to_string();
            let children = place.children.join(&name);
            let child = if let Some((_, items)) = &item.content {
                let place = Place { path: PathBuf::new(), children, ..*place };
                self.add_module(file, Some(id), &place, items, read)
            } else {
                let paths = [children.with_extension("rs"), children.join("mod.rs")];
                let found = paths.into_iter().find_map(|path| Some((read(&path)?, path)));
                let (text, path) = found.unwrap_or_else(|| panic!("no file for {children:?}"));
                let place = Place { of_crate: place.of_crate, path, children };
                self.add_file(place, text, Some(id), read)
            };
            self.modules[id].names.entry(name).or_default().push(Name::Child(child));
        }
        id
    }

    /// Returns the module `name` within a module.
    pub(super) fn child(&self, module: ModuleId, name: &str) -> ModuleId {
        let mut meanings = self.modules[module].names[name].iter();
        let child = meanings.find_map(|meaning| match meaning {
            Name::Child(child) => Some(*child),
            Name::Defined | Name::Import(_) => None,
        });
        child.unwrap()
    }

    /// Returns what a path in a module stands for: nothing if it leads out of these crates.
    pub(super) fn resolve(&self, module: ModuleId, path: &[String]) -> Vec<Target> {
        self.resolve_within(module, path, 16)
    }

    /// `depth` ends imports that lead to each other.
    fn resolve_within(&self, from: ModuleId, path: &[String], depth: u32) -> Vec<Target> {
        let Some((first, rest)) = path.split_first() else { return Vec::new() };
        let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
        let module = &self.modules[from];
        match first.as_str() {
            "crate" => self.descend(module.root, rest, depth),
            "self" => self.descend(from, rest, depth),
            "super" => self.descend(module.parent, rest, depth),
            other => {
                let found = self.descend(from, path, depth);
                let extern_crate = self.roots.get(other).filter(|_| found.is_empty());
                extern_crate.map_or(found, |root| self.descend(*root, rest, depth))
            }
        }
    }

    fn descend(&self, from: ModuleId, path: &[String], depth: u32) -> Vec<Target> {
        let module = &self.modules[from];
        let Some((first, rest)) = path.split_first() else { return vec![Target::Module(from)] };
        if first == "super" {
            return self.descend(module.parent, rest, depth);
        }
        let onward = |target: Target| match target {
            Target::Module(module) => self.descend(module, rest, depth),
            Target::Item(file, tail) => vec![Target::Item(file, [&tail, rest].concat())],
        };
        if let Some(meanings) = module.names.get(first) {
            let meaning = |meaning: &Name| match meaning {
                Name::Defined => vec![Target::Item(module.file, rest.to_vec())],
                Name::Child(child) => self.descend(*child, rest, depth),
                Name::Import(import) => {
                    let targets = self.resolve_within(from, import, depth).into_iter();
                    targets.flat_map(onward).collect()
                }
            };
            return meanings.iter().flat_map(meaning).collect();
        }
        let globs = module.globs.iter().flat_map(|glob| self.resolve_within(from, glob, depth));
        let modules = globs.filter_map(|target| match target {
            Target::Module(module) if module != from => Some(module),
            _ => None,
        });
        let Some(depth) = depth.checked_sub(1) else { return Vec::new() };
        modules.flat_map(|module| self.descend(module, path, depth)).collect()
    }
}

/// The place of a module: its crate, its file, and the folder of its child modules.
struct Place<'a> {
    of_crate: &'a str,
    path: PathBuf,
    children: PathBuf,
}

fn folder(path: &Path) -> PathBuf {
    path.parent().unwrap().to_owned()
}

/// Collects the names that items give to their module, imports within functions among them.
#[derive(Default)]
struct Names {
    names: BTreeMap<String, Vec<Name>>,
    globs: Vec<Vec<String>>,
}

impl Names {
    fn define(&mut self, ident: &syn::Ident) {
        self.names.entry(ident.to_string()).or_default().push(Name::Defined);
    }
}

impl<'ast> Visit<'ast> for Names {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        match item {
            syn::Item::Const(item) => self.define(&item.ident),
            syn::Item::Enum(item) => self.define(&item.ident),
            syn::Item::Fn(item) => self.define(&item.sig.ident),
            syn::Item::Macro(item) => item.ident.iter().for_each(|ident| self.define(ident)),
            syn::Item::Static(item) => self.define(&item.ident),
            syn::Item::Struct(item) => self.define(&item.ident),
            syn::Item::Trait(item) => self.define(&item.ident),
            syn::Item::Type(item) => self.define(&item.ident),
            syn::Item::Union(item) => self.define(&item.ident),
            syn::Item::Mod(_) => return,
            _ => {}
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        for import in imports(&item.tree) {
            match import.name {
                Some(name) => {
                    self.names.entry(name).or_default().push(Name::Import(import.path));
                }
                None => self.globs.push(import.path),
            }
        }
    }
}

/// One name that a `use` item brings; `None` for `*`.
pub(super) struct Import {
    pub(super) path: Vec<String>,
    name: Option<String>,
}

impl Import {
    /// Returns whether it brings all names of a module.
    pub(super) fn is_glob(&self) -> bool {
        self.name.is_none()
    }
}

/// Returns the names that a `use` item brings.
pub(super) fn imports(tree: &syn::UseTree) -> Vec<Import> {
    let mut found = Vec::new();
    collect(tree, &mut Vec::new(), &mut found);
    found
}

fn collect(tree: &syn::UseTree, path: &mut Vec<String>, found: &mut Vec<Import>) {
    let mut add = |ident: &syn::Ident, name: &syn::Ident| {
        // `use a::b::{self}` brings `b`.
        let whole =
            if ident == "self" { path.clone() } else { [&path[..], &[ident.to_string()]].concat() };
        let name = if name == "self" { whole.last().cloned() } else { Some(name.to_string()) };
        found.push(Import { path: whole, name });
    };
    match tree {
        syn::UseTree::Name(item) => add(&item.ident, &item.ident),
        syn::UseTree::Rename(item) => add(&item.ident, &item.rename),
        syn::UseTree::Glob(_) => found.push(Import { path: path.clone(), name: None }),
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| collect(tree, path, found));
        }
        syn::UseTree::Path(item) => {
            path.push(item.ident.to_string());
            collect(&item.tree, path, found);
            path.pop();
        }
    }
}

/// Leaves out the items that are compiled for unit tests only, in modules and `impl` blocks too, and
/// adds up how many lines they have.
fn without_tests(items: Vec<syn::Item>, lines: &mut usize) -> Vec<syn::Item> {
    let mut kept = Vec::new();
    for mut item in items {
        if is_test(attributes(&item)) {
            *lines += lines_of(&item);
            continue;
        }
        match &mut item {
            syn::Item::Mod(item) => {
                if let Some((_, content)) = &mut item.content {
                    *content = without_tests(std::mem::take(content), lines);
                }
            }
            syn::Item::Impl(item) => item.items.retain(|item| match item {
                syn::ImplItem::Fn(method) if is_test(&method.attrs) => {
                    *lines += lines_of(item);
                    false
                }
                _ => true,
            }),
            _ => {}
        }
        kept.push(item);
    }
    kept
}

fn lines_of(item: &impl Spanned) -> usize {
    let span = item.span();
    span.end().line + 1 - span.start().line
}

/// Returns whether `#[cfg(test)]`, or `#[cfg(all(test, ..))]`, is among attributes.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let tokens = list.tokens.to_string().replace(' ', "");
        list.path.is_ident("cfg") && (tokens == "test" || tokens.starts_with("all(test,"))
    })
}

/// Returns the attributes of an item.
fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
