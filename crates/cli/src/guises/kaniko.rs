//! Called as `executor`: kaniko.

use std::ffi::OsString;

use xbuild_wording::quoted;

use super::kaniko_options::OPTIONS;
use super::line::{Line, finished};
use super::meant::Meant;
use super::reader::{self, Read};
use crate::report::Problem;

/// Returns what a command line of kaniko means.
pub(super) fn meaning(args: &[OsString]) -> Result<Meant, Problem> {
    if args.first().is_some_and(|arg| arg == "version") {
        return Ok(Meant::Line(vec!["xbuild".into(), "--version".into()]));
    }
    let Read { mut line, rest, wants_help, refused } = reader::read(args, OPTIONS)?;
    if wants_help {
        return Ok(Meant::Text(help()));
    }
    if let Some(arg) = rest.first() {
        return Err(Problem::command_line(format!("unexpected argument {arg}")));
    }
    let context = context(&line)?;
    let mut args = vec!["build".to_owned()];
    outputs(&mut line)?;
    cache(&mut line)?;
    line.insecure_registries();
    if let Some(file) = &line.file {
        args.push(format!("--file={}", dockerfile(file, &context)));
    }
    args.extend(line.tags.iter().map(|tag| format!("--tag={tag}")));
    args.extend(line.args);
    args.push(context);
    finished(args, &refused)
}

fn help() -> String {
    let mut text =
        "xbuild, called as kaniko's executor. What becomes of its options:\n\n".to_owned();
    for option in OPTIONS {
        text += &format!("  --{:<36} {}\n", option.name, option.text().replace('`', ""));
    }
    text
}

/// Returns the build context as xbuild reads it.
///
/// **Source** — kaniko README § Kaniko Build Contexts.
fn context(line: &Line) -> Result<String, Problem> {
    let text = line.context.as_deref().unwrap_or("/workspace/");
    let fail = |reason: &str| {
        Problem::command_line(format!("invalid --context {text}: {reason}", text = quoted(&text)))
    };
    let (scheme, path) = text.split_once("://").unwrap_or(("dir", text));
    let (place, is_remote) = match scheme {
        "dir" => (path.to_owned(), false),
        "tar" if path == "stdin" => ("-".to_owned(), true),
        "tar" => (path.to_owned(), true),
        "git" => (format!("https://{path}"), true),
        "https" => (text.to_owned(), true),
        "gs" | "s3" => {
            return Err(fail("buckets are not read; download the archive, and use tar://FILE"));
        }
        _ => return Err(fail("expected dir://, tar://, git:// or https://")),
    };
    let Some(sub_path) = &line.sub_path else { return Ok(place) };
    match (is_remote, scheme) {
        (false, _) => Ok(format!("{}/{sub_path}", place.trim_end_matches('/'))),
        (true, "git" | "https") if place.contains('#') => Ok(format!("{place}:{sub_path}")),
        (true, "git") => Ok(format!("{place}#:{sub_path}")),
        _ => Err(Problem::command_line("--context-sub-path is only for folders and repositories")),
    }
}

/// Returns the Dockerfile, which kaniko looks for in the context, too.
fn dockerfile(file: &str, context: &str) -> String {
    let is_elsewhere = file.starts_with('/') || file.contains("://") || context == "-";
    let in_context = std::path::Path::new(context).join(file);
    match !is_elsewhere && !std::path::Path::new(file).exists() && in_context.exists() {
        true => in_context.display().to_string(),
        false => file.to_owned(),
    }
}

/// Adds the outputs: a push is the rule.
fn outputs(line: &mut Line) -> Result<(), Problem> {
    let mut outputs: Vec<String> = line.outputs.iter().map(|output| line.output(output)).collect();
    match (line.no_push, line.tags.is_empty(), line.layers.is_empty()) {
        (true, _, _) if outputs.is_empty() => outputs.push("--output=type=cacheonly".to_owned()),
        (true, _, _) => {}
        (false, true, _) => {
            let message = "--destination is missing: the name to push, or --no-push";
            return Err(Problem::command_line(message));
        }
        (false, false, true) => outputs.push("--push".to_owned()),
        (false, false, false) => outputs.push(line.output("type=registry")),
    }
    line.args.extend(outputs);
    Ok(())
}

/// Adds the cache: `--cache-repo`, or the repository `cache` below that of the first name.
fn cache(line: &mut Line) -> Result<(), Problem> {
    if !line.cache {
        return Ok(());
    }
    let below = |tag: &String| {
        let end = tag.rfind('/').map_or(0, |at| at);
        let repository = tag[end..].split([':', '@']).next().unwrap_or_default();
        format!("{}{repository}/cache", &tag[..end])
    };
    let repo = line.cache_repo.clone().or_else(|| line.tags.first().map(below));
    let missing = "--cache needs --cache-repo or --destination";
    let repo = repo.ok_or_else(|| Problem::command_line(missing))?;
    let (from, to) = match repo.strip_prefix("oci:") {
        Some(folder) => (format!("type=local,src={folder}"), format!("type=local,dest={folder}")),
        None => (format!("type=registry,ref={repo}"), format!("type=registry,ref={repo}")),
    };
    line.add("cache-from", &from);
    if !line.no_push_cache {
        line.add("cache-to", &format!("{to},mode=max"));
    }
    Ok(())
}
