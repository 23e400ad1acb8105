//! Called as `buildah` with `bud` or `build`.

use std::ffi::OsString;

use xbuild_wording::hints;

use super::buildah_options::{OPTIONS, OPTIONS_OF_ALL};
use super::line::finished;
use super::meant::Meant;
use super::reader::{self, Read};
use crate::report::Problem;

/// Returns what a command line of buildah means.
pub(super) fn meaning(args: &[OsString]) -> Result<Meant, Problem> {
    if let Some("--version" | "-v") = args.first().and_then(|arg| arg.to_str()) {
        return Ok(version());
    }
    let mut read = Read::default();
    let args = reader::read_options(args, OPTIONS_OF_ALL, &mut read)?;
    let command = args.first().and_then(|arg| arg.to_str()).unwrap_or_default();
    match command {
        "bud" | "build" | "build-using-dockerfile" => {}
        "version" => return Ok(version()),
        "" if read.wants_help => return Ok(Meant::Text(help())),
        "" => return Err(Problem::command_line("buildah needs a command: bud or build")),
        command => {
            let message = format!("buildah {command} is not implemented: only bud and build are");
            return Err(Problem::command_line(message).with_hint(hints::commands_beside_bud()));
        }
    }
    reader::read_into(&mut read, &args[1..], OPTIONS)?;
    let Read { mut line, rest, wants_help, refused } = read;
    if wants_help {
        return Ok(Meant::Text(help()));
    }
    if let Some(arg) = rest.get(1) {
        return Err(Problem::command_line(format!("unexpected argument {arg}")));
    }
    if line.platform.iter().any(Option::is_some) {
        let [os, architecture, variant] = line.platform.clone();
        let host = xbuild_model::Platform::host();
        let mut platform = format!(
            "{}/{}",
            os.unwrap_or_else(|| "linux".to_owned()),
            architecture.unwrap_or_else(|| host.architecture().to_owned())
        );
        if let Some(variant) = variant {
            platform += &format!("/{variant}");
        }
        line.add("platform", &platform);
    }
    let mut args = vec!["build".to_owned()];
    args.extend(line.tags.iter().map(|tag| format!("--tag={tag}")));
    if !line.layers.is_empty() {
        let output = line.output("type=image");
        line.args.push(output);
    }
    args.extend(line.args);
    args.push(rest.first().cloned().unwrap_or_else(|| ".".to_owned()));
    finished(args, &refused)
}

fn version() -> Meant {
    Meant::Line(vec!["xbuild".into(), "--version".into()])
}

fn help() -> String {
    let mut text = "xbuild, called as buildah build. What becomes of its options:\n\n".to_owned();
    for option in OPTIONS_OF_ALL.iter().chain(OPTIONS) {
        text += &format!("  --{:<26} {}\n", option.name, option.text().replace('`', ""));
    }
    text
}
