//! The paths of compose files.
//!
//! A path is beside the file that it is written in. Each file's paths are placed once, when the file is
//! read and before it meets another one, so nothing later has to know where a path came from.
//!
//! **Source** — compose-go `paths`: which attributes are paths.

use super::model::services_mut;
use super::yaml::{Node, Yaml};
use crate::functions::clean;
use crate::local::is_local;

/// Where relative paths begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Base<'a> {
    /// The folder, as seen from the current one; empty for that itself.
    pub(crate) folder: &'a str,
    /// The home folder of the user, for `~`.
    pub(crate) home: &'a str,
}

impl Base<'_> {
    /// Returns a path as seen from the current folder.
    pub(crate) fn path(&self, path: &str) -> String {
        let at_home =
            path.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        match at_home {
            Some(rest) => clean(&format!("{}{rest}", self.home)),
            None if path.starts_with('/') || self.folder.is_empty() => clean(path),
            None => clean(&format!("{}/{path}", self.folder)),
        }
    }

    /// Places all paths of a model.
    pub(crate) fn place(&self, model: &mut Node) {
        for (_, service) in services_mut(model) {
            if let Some(node) = service.get_mut("env_file") {
                self.env_files(node);
            }
            if let Some(Node { value: Yaml::Map(build), .. }) = service.get_mut("build") {
                for (name, node) in build {
                    self.place_build(name, node);
                }
            }
        }
        if let Some(Node { value: Yaml::Map(secrets), .. }) = model.get_mut("secrets") {
            for (_, secret) in secrets {
                secret.get_mut("file").into_iter().for_each(|node| self.text(node));
            }
        }
    }

    fn place_build(&self, name: &str, node: &mut Node) {
        match (name, &mut node.value) {
            ("context", _) => self.context(node),
            ("additional_contexts", Yaml::Map(contexts)) => {
                contexts.iter_mut().for_each(|(_, node)| self.context(node));
            }
            ("ssh", Yaml::Map(agents)) => agents.iter_mut().for_each(|(_, node)| self.text(node)),
            ("ssh", Yaml::List(agents)) => {
                for agent in agents {
                    let Yaml::String(text) = &mut agent.value else { continue };
                    let Some((id, paths)) = text.split_once('=') else { continue };
                    let paths: Vec<String> = paths.split(',').map(|path| self.path(path)).collect();
                    *text = format!("{id}={}", paths.join(","));
                }
            }
            _ => {}
        }
    }

    fn env_files(&self, node: &mut Node) {
        match &mut node.value {
            Yaml::List(entries) => entries.iter_mut().for_each(|entry| self.env_files(entry)),
            Yaml::Map(_) => node.get_mut("path").into_iter().for_each(|node| self.text(node)),
            _ => self.text(node),
        }
    }

    fn text(&self, node: &mut Node) {
        if let Yaml::String(path) = &mut node.value
            && !path.is_empty()
        {
            *path = self.path(path);
        }
    }

    fn context(&self, node: &mut Node) {
        if let Yaml::String(path) = &node.value
            && is_local(path)
        {
            self.text(node);
        }
    }

    /// Gives every build without a context the folder of the project.
    pub(crate) fn default_contexts(&self, model: &mut Node) {
        for (_, service) in services_mut(model) {
            let Some(build) = service.get_mut("build") else { continue };
            let context = build.like(Yaml::String(self.path("")));
            if let Yaml::Map(pairs) = &mut build.value
                && !pairs.iter().any(|(name, _)| name == "context")
            {
                pairs.push(("context".to_owned(), context));
            }
        }
    }
}

/// Returns the folder of a file; empty for the current one.
pub(crate) fn folder(file: &str) -> &str {
    match file.rfind('/') {
        Some(0) => "/",
        Some(end) => &file[..end],
        None => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_seen_from_the_current_folder() {
        for (folder, path, expected) in [
            ("", "./a", "a"),
            ("", ".", "."),
            ("sub", ".", "sub"),
            ("sub", "../a", "a"),
            ("sub", "/a/../b", "/b"),
            ("sub", "~", "/home/u"),
            ("sub", "~/a", "/home/u/a"),
            ("sub", "~a", "sub/~a"),
            ("../up", "", "../up"),
        ] {
            let base = Base { folder, home: "/home/u" };
            assert_eq!(base.path(path), expected, "{folder} {path}");
        }
        assert_eq!([folder("a/b"), folder("a"), folder("/a")], ["a", "", "/"]);
    }
}
