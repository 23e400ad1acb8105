//! A command line of `xbuild build` in the making.

use std::ffi::OsString;

use xbuild_wording::hints;

use super::meant::Meant;
use crate::report::Problem;
use crate::values::shell::shell_word;

/// What options of other builders have added up to.
#[derive(Default)]
pub(super) struct Line {
    /// Options of `xbuild build`.
    pub(super) args: Vec<String>,
    /// The names of the image.
    pub(super) tags: Vec<String>,
    /// The build context.
    pub(super) context: Option<String>,
    /// A folder within the context.
    pub(super) sub_path: Option<String>,
    /// The Dockerfile.
    pub(super) file: Option<String>,
    /// What the layers of all outputs have: `compression=zstd` and the like.
    pub(super) layers: Vec<String>,
    /// Outputs.
    pub(super) outputs: Vec<String>,
    /// Whether nothing is pushed.
    pub(super) no_push: bool,
    /// Whether the registries of the names need no certificate.
    pub(super) is_insecure: bool,
    /// Whether a cache is used, and where it is.
    pub(super) cache: bool,
    pub(super) cache_repo: Option<String>,
    /// Whether a cache is only read.
    pub(super) no_push_cache: bool,
    /// Operating system, architecture and variant, given one by one.
    pub(super) platform: [Option<String>; 3],
}

impl Line {
    /// Adds an option with a value.
    pub(super) fn add(&mut self, option: &str, value: &str) {
        self.args.push(format!("--{option}={value}"));
    }

    /// Adds an output, with what all outputs have.
    pub(super) fn output(&self, output: &str) -> String {
        let all = std::iter::once(output.to_owned()).chain(self.layers.iter().cloned());
        format!("--output={}", all.collect::<Vec<_>>().join(","))
    }

    /// Adds the option that lets the registries of the names need no certificate.
    pub(super) fn insecure_registries(&mut self) {
        if !self.is_insecure {
            return;
        }
        let hosts = self.tags.iter().filter_map(|tag| tag.split_once('/')).map(|(host, _)| host);
        let mut hosts: Vec<String> = hosts.map(str::to_owned).collect();
        hosts.dedup();
        for host in hosts {
            self.add("registry-insecure", &host);
        }
    }
}

/// Returns the command line of xbuild, or refuses what has no meaning here.
pub(super) fn finished(args: Vec<String>, refused: &[String]) -> Result<Meant, Problem> {
    if refused.is_empty() {
        let all = std::iter::once("xbuild".to_owned()).chain(args);
        return Ok(Meant::Line(all.map(OsString::from).collect()));
    }
    let quoted: Vec<String> = args.iter().map(|arg| shell_word(arg)).collect();
    Err(Problem::command_line(format!("not implemented: {}", refused.join("; ")))
        .with_hint(hints::rest_is(quoted.join(" "))))
}
