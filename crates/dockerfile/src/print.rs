//! From a syntax tree back to text.

use std::fmt::{self, Display, Write};

use crate::heredoc::Opening;
use crate::instruction::*;
use crate::words::{self, Json};

/// Returns `dockerfile` as text in one normal form: one line for each instruction, keywords in
/// upper case, no comments, heredocs below.
///
/// Parsing the result gives the same tree, except for spans and `original`.
pub fn print(dockerfile: &Dockerfile) -> String {
    Printer(dockerfile).to_string()
}

struct Printer<'a>(&'a Dockerfile);

impl Display for Printer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Printer(dockerfile) = self;
        let escape = dockerfile.escape;
        for directive in &dockerfile.directives {
            match &directive.value {
                Directive::Syntax(value) => writeln!(f, "# syntax={value}")?,
                Directive::Escape(value) => writeln!(f, "# escape={value}")?,
                Directive::Check(value) => writeln!(f, "# check={value}")?,
            }
        }
        for global in &dockerfile.globals {
            Line { instruction: &Instruction::Arg(global.value.clone()), escape }.fmt(f)?;
        }
        for stage in &dockerfile.stages {
            let from = &stage.from;
            f.write_str("FROM")?;
            flag(f, escape, "platform", from.platform.as_deref())?;
            rest(f, &from.image)?;
            if let Some(name) = &from.name {
                write!(f, " AS {name}")?;
            }
            f.write_char('\n')?;
            for instruction in &stage.instructions {
                Line { instruction: &instruction.value, escape }.fmt(f)?;
            }
        }
        Ok(())
    }
}

struct Line<'a> {
    instruction: &'a Instruction,
    escape: char,
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escape = self.escape;
        write!(f, "{}", self.instruction.keyword())?;
        match self.instruction {
            Instruction::Run(it) => return run(f, escape, it),
            Instruction::Copy(it) => {
                flag(f, escape, "from", it.from.as_deref())?;
                flag(f, escape, "chown", it.chown.as_deref())?;
                flag(f, escape, "chmod", it.chmod.as_deref())?;
                flag(f, escape, "link", it.link.then_some("true"))?;
                flag(f, escape, "parents", it.parents.then_some("true"))?;
                it.exclude.iter().try_for_each(|it| flag(f, escape, "exclude", Some(it)))?;
                return paths(f, escape, &it.sources, &it.destination);
            }
            Instruction::Add(it) => {
                flag(f, escape, "chown", it.chown.as_deref())?;
                flag(f, escape, "chmod", it.chmod.as_deref())?;
                flag(f, escape, "link", it.link.then_some("true"))?;
                it.exclude.iter().try_for_each(|it| flag(f, escape, "exclude", Some(it)))?;
                flag(f, escape, "checksum", it.checksum.as_deref())?;
                flag(f, escape, "keep-git-dir", it.keep_git_dir.map(on_off))?;
                flag(f, escape, "unpack", it.unpack.map(on_off))?;
                return paths(f, escape, &it.sources, &it.destination);
            }
            Instruction::Arg(it) => {
                let words = it.declarations.iter().map(|declaration| match &declaration.default {
                    Some(default) => format!("{}={default}", declaration.name),
                    None => declaration.name.clone(),
                });
                rest(f, &words.collect::<Vec<_>>().join(" "))?;
            }
            Instruction::Env(Env { pairs, legacy, .. })
            | Instruction::Label(Label { pairs, legacy, .. }) => {
                let sign = if *legacy { ' ' } else { '=' };
                let words = pairs.iter().map(|pair| format!("{}{sign}{}", pair.key, pair.value));
                rest(f, &words.collect::<Vec<_>>().join(" "))?;
            }
            Instruction::Workdir(it) => rest(f, &it.path)?,
            Instruction::User(it) => rest(f, &it.user)?,
            Instruction::Cmd(Cmd { command: it, .. })
            | Instruction::Entrypoint(Entrypoint { command: it, .. }) => command(f, it)?,
            Instruction::Expose(it) => rest(f, &it.ports.join(" "))?,
            Instruction::Volume(it) => json(f, &it.paths)?,
            Instruction::Shell(it) => json(f, &it.arguments)?,
            Instruction::StopSignal(it) => rest(f, &it.signal)?,
            Instruction::Healthcheck(it) => healthcheck(f, escape, &it.check)?,
            Instruction::Maintainer(it) => rest(f, &it.author)?,
            Instruction::Onbuild(it) => rest(f, &it.trigger)?,
        }
        f.write_char('\n')
    }
}

fn on_off(on: bool) -> &'static str {
    if on { "true" } else { "false" }
}

/// Writes arguments that might look like flags.
fn rest(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let end_of_flags = if text.starts_with("--") { "-- " } else { "" };
    write!(f, " {end_of_flags}{text}")
}

fn flag(f: &mut fmt::Formatter<'_>, escape: char, name: &str, value: Option<&str>) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    write!(f, " --{name}=")?;
    for c in value.chars() {
        if c.is_whitespace() || c == '\'' || c == '"' || c == escape {
            f.write_char(escape)?;
        }
        f.write_char(c)?;
    }
    Ok(())
}

fn json(f: &mut fmt::Formatter<'_>, strings: &[String]) -> fmt::Result {
    write!(f, " {}", serde_json::Value::from(strings))
}

fn command(f: &mut fmt::Formatter<'_>, command: &Command) -> fmt::Result {
    match command {
        Command::Shell(text) => rest(f, text),
        Command::Exec(arguments) => json(f, arguments),
    }
}

fn heredoc(f: &mut fmt::Formatter<'_>, heredoc: &Heredoc) -> fmt::Result {
    writeln!(f, "{}{}", heredoc.body, heredoc.name)
}

fn run(f: &mut fmt::Formatter<'_>, escape: char, run: &Run) -> fmt::Result {
    for mount in &run.mounts {
        let fields = mount.options.iter().map(|option| {
            let value = option.value.as_ref().map(|value| format!("={value}"));
            let field = format!("{}{}", option.key, value.unwrap_or_default());
            if field.contains([',', '"']) {
                format!("\"{}\"", field.replace('"', "\"\""))
            } else {
                field
            }
        });
        flag(f, escape, "mount", Some(&fields.collect::<Vec<_>>().join(",")))?;
    }
    let network = run.network.map(|network| match network {
        Network::Default => "default",
        Network::None => "none",
        Network::Host => "host",
    });
    flag(f, escape, "network", network)?;
    let security = run.security.map(|security| match security {
        Security::Sandbox => "sandbox",
        Security::Insecure => "insecure",
    });
    flag(f, escape, "security", security)?;
    for device in &run.devices {
        let required = if device.required { ",required" } else { "" };
        let name = device.name.replace('"', "\"\"");
        flag(f, escape, "device", Some(&format!("\"name={name}\"{required}")))?;
    }
    command(f, &run.command)?;
    f.write_char('\n')?;
    run.heredocs.iter().try_for_each(|it| heredoc(f, it))
}

fn paths(
    f: &mut fmt::Formatter<'_>,
    escape: char,
    sources: &[Source],
    destination: &str,
) -> fmt::Result {
    let mut words: Vec<String> = Vec::new();
    let mut plain = true;
    let mut heredocs = Vec::new();
    for source in sources {
        match source {
            Source::Path(path) => {
                plain &= is_plain(path, escape);
                words.push(path.clone());
            }
            Source::Heredoc(heredoc) => {
                words.push(heredoc.word.clone());
                heredocs.push(heredoc);
            }
        }
    }
    plain &= is_plain(destination, escape);
    words.push(destination.to_owned());
    let line = words.join(" ");
    if !heredocs.is_empty() || (plain && words::json(&line) == Json::No) {
        rest(f, &line)?;
    } else {
        json(f, &words)?;
    }
    f.write_char('\n')?;
    heredocs.into_iter().try_for_each(|it| heredoc(f, it))
}

/// Returns whether a path can stand outside of a JSON array and be read as the same path.
fn is_plain(path: &str, escape: char) -> bool {
    !path.is_empty()
        && !path.ends_with(escape)
        && !path.contains(|c: char| c.is_whitespace() || c.is_control())
        && Opening::from_word(path).is_none()
}

fn healthcheck(f: &mut fmt::Formatter<'_>, escape: char, check: &HealthcheckKind) -> fmt::Result {
    let HealthcheckKind::Probe(probe) = check else { return f.write_str(" NONE") };
    let mut duration = |name, value: Option<u64>| {
        let value = value.map(|nanoseconds| format!("{nanoseconds}ns"));
        flag(f, escape, name, value.as_deref())
    };
    duration("interval", probe.interval)?;
    duration("timeout", probe.timeout)?;
    duration("start-period", probe.start_period)?;
    duration("start-interval", probe.start_interval)?;
    let retries = probe.retries.map(|retries| retries.to_string());
    flag(f, escape, "retries", retries.as_deref())?;
    f.write_str(" CMD")?;
    match &probe.command {
        Command::Shell(text) => write!(f, " {text}"),
        Command::Exec(arguments) => json(f, arguments),
    }
}
