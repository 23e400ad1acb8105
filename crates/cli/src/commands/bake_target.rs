//! A target as a command line of `xbuild build`: what `build` takes, bake takes, and what it refuses, bake
//! refuses in the same words.

use std::collections::BTreeMap;
use std::path::Path;

use xbuild_bake::{Pairs, Target, is_local_path};
use xbuild_wording::hints;

use crate::report::Problem;

/// A build of a target.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// The arguments behind `xbuild build`.
    pub(super) args: Vec<String>,
    /// The Dockerfile, if it is part of the target: the line then reads it from standard input.
    pub(super) dockerfile: Option<String>,
}

impl Line {
    fn add(&mut self, option: &str, value: impl AsRef<str>) {
        self.args.push(format!("--{option}={}", value.as_ref()));
    }

    fn pairs(&mut self, option: &str, pairs: &Pairs) {
        for (name, value) in pairs {
            if let Some(value) = value {
                self.add(option, format!("{name}={value}"));
            }
        }
    }

    fn each<T: ToString>(&mut self, option: &str, values: &Option<Vec<T>>) {
        for value in values.iter().flatten() {
            self.add(option, value.to_string());
        }
    }
}

/// Returns the command line of a target. `links` has the layouts of the targets that are its contexts.
pub(super) fn line(target: &Target, links: &BTreeMap<String, String>) -> Result<Line, Problem> {
    let mut line = Line::default();
    let context = target.context.as_deref().unwrap_or(".");
    let context = context.strip_prefix("cwd://").unwrap_or(context);
    let context = if context.is_empty() { "." } else { context };
    if context == "-" || target.dockerfile.as_deref() == Some("-") {
        let message = "bake reads no context and no Dockerfile from standard input";
        return Err(Problem::input(message).with_hint(hints::folder_or_inline()));
    }
    dockerfile(target, context, &mut line);
    line.pairs("build-arg", &target.args);
    line.pairs("label", &target.labels);
    for (name, hosts) in &target.extra_hosts {
        for host in hosts.iter().flat_map(|hosts| hosts.split(',')) {
            line.add("add-host", format!("{name}={host}"));
        }
    }
    for (name, place) in &target.contexts {
        let place = match place.strip_prefix("target:") {
            Some(linked) => links.get(linked).cloned().unwrap_or_default(),
            None => match place.strip_prefix("cwd://") {
                Some("") => ".".to_owned(),
                Some(path) => path.to_owned(),
                None => place.clone(),
            },
        };
        line.add("build-context", format!("{name}={place}"));
    }
    lists(target, &mut line);
    attestations(target, &mut line);
    for (option, value) in [
        ("target", &target.target),
        ("network", &target.network),
        ("shm-size", &target.shm_size),
        ("call", &target.call),
    ] {
        if let Some(value) = value {
            line.add(option, value);
        }
    }
    for (name, value) in &target.resources {
        line.add(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    }
    if target.pull == Some(true) {
        line.args.push("--pull".to_owned());
    }
    if target.no_cache == Some(true) {
        line.args.push("--no-cache".to_owned());
    }
    line.args.extend(["--".to_owned(), context.to_owned()]);
    Ok(line)
}

/// Adds the attributes that are lists.
fn lists(target: &Target, line: &mut Line) {
    line.each("tag", &target.tags);
    line.each("annotation", &target.annotations);
    line.each("platform", &target.platforms);
    line.each("output", &target.output);
    line.each("cache-from", &target.cache_from);
    line.each("cache-to", &target.cache_to);
    line.each("secret", &target.secret);
    line.each("ssh", &target.ssh);
    line.each("ulimit", &target.ulimits);
    line.each("no-cache-filter", &target.no_cache_filter);
    line.each("allow", &target.entitlements);
}

/// Adds where the Dockerfile is. In a folder of this machine its path is relative to the context.
fn dockerfile(target: &Target, context: &str, line: &mut Line) {
    if let Some(text) = &target.dockerfile_inline {
        line.dockerfile = Some(text.clone());
        line.add("file", "-");
        return;
    }
    let Some(path) = target.dockerfile.as_deref().filter(|path| *path != "Dockerfile") else {
        return;
    };
    let path = match path.strip_prefix("cwd://") {
        Some(path) => path.to_owned(),
        None if is_local_path(context) && is_local_path(path) => {
            Path::new(context).join(path).display().to_string()
        }
        None => path.to_owned(),
    };
    line.add("file", path);
}

fn attestations(target: &Target, line: &mut Line) {
    for attestation in target.attest.iter().flatten() {
        let is_off = attestation.attributes.get("disabled").is_some_and(|value| value == "true");
        match (is_off, attestation.kind.as_str()) {
            (true, kind @ ("provenance" | "sbom")) => line.add(kind, "false"),
            _ => line.add("attest", attestation.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_command_line() {
        let mut target = Target {
            context: Some("src".to_owned()),
            dockerfile: Some("docker/app".to_owned()),
            tags: Some(vec!["a:1".to_owned()]),
            no_cache: Some(true),
            pull: Some(false),
            ..Target::default()
        };
        target.args.insert("A".to_owned(), Some("b c".to_owned()));
        target.args.insert("NONE".to_owned(), None);
        target.contexts.insert("base".to_owned(), "target:base".to_owned());
        target.extra_hosts.insert("h".to_owned(), Some("192.0.2.1,192.0.2.2".to_owned()));
        let links = [("base".to_owned(), "oci-layout:///tmp/x".to_owned())].into();
        let expected = [
            "--file=src/docker/app",
            "--build-arg=A=b c",
            "--add-host=h=192.0.2.1",
            "--add-host=h=192.0.2.2",
            "--build-context=base=oci-layout:///tmp/x",
            "--tag=a:1",
            "--no-cache",
            "--",
            "src",
        ];
        assert_eq!(line(&target, &links).unwrap().args, expected);
        target.dockerfile_inline = Some("FROM scratch\n".to_owned());
        let inline = line(&target, &links).unwrap();
        assert_eq!((inline.args[0].as_str(), inline.dockerfile.is_some()), ("--file=-", true));
        target.context = Some("-".to_owned());
        assert!(line(&target, &links).is_err());
    }
}
