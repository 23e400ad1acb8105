//! The rules that need only the text.

use std::collections::{HashMap, HashSet};

use xbuild_wording::quoted;

use super::linter::Linter;
use super::rule::Rule;
use crate::flags;
use crate::instruction::{Dockerfile, Instruction, Stage};
use crate::keyword::Keyword;
use crate::span::Span;
use crate::words;

/// Applies all of these rules.
pub(super) fn all(dockerfile: &Dockerfile, linter: &mut Linter<'_>) {
    for span in &dockerfile.empty_lines {
        linter.warn(Rule::NoEmptyContinuation, span, "empty line within a continued instruction");
    }
    for global in &dockerfile.globals {
        let names: Vec<&str> =
            global.value.declarations.iter().map(|it| it.name.as_str()).collect();
        description(dockerfile, Keyword::Arg, &names, &global.span, linter);
    }
    let mut names = HashSet::new();
    for stage in &dockerfile.stages {
        from(dockerfile, stage, linter);
        stage_name(stage, &mut names, linter);
        used_once(stage, linter);
        for instruction in &stage.instructions {
            self::instruction(dockerfile, &instruction.value, &instruction.span, linter);
        }
    }
    casing(dockerfile, linter);
}

/// The words of a FROM as written.
struct Written<'a> {
    from: &'a str,
    /// AS and the name.
    name: Option<(String, String)>,
}

fn written<'a>(dockerfile: &Dockerfile, stage: &'a Stage) -> Written<'a> {
    let (from, rest) = words::split_first(&stage.from.original);
    let (_, arguments) = flags::extract(rest.unwrap_or_default(), dockerfile.escape);
    let mut words = words::plain(arguments).into_iter().skip(1);
    Written { from, name: words.next().zip(words.next()) }
}

fn from(dockerfile: &Dockerfile, stage: &Stage, linter: &mut Linter<'_>) {
    let span = &stage.from.span;
    let Written { from, name } = written(dockerfile, stage);
    let Some((keyword, name)) = name else { return };
    if name != name.to_lowercase() {
        let message =
            format!("the name of the stage {name} should be in lower case", name = quoted(&name));
        linter.warn(Rule::StageNameCasing, span, message);
    }
    // Another rule covers a FROM of mixed case.
    let differs = (from == from.to_ascii_lowercase() && keyword != keyword.to_ascii_lowercase())
        || (from == from.to_ascii_uppercase() && keyword != keyword.to_ascii_uppercase());
    if differs {
        let message = format!(
            "{keyword} is not in the case of {from}",
            keyword = quoted(&keyword),
            from = quoted(&from)
        );
        linter.warn(Rule::FromAsCasing, span, message);
    }
    let name = stage.from.name.as_deref().unwrap_or_default();
    description(dockerfile, Keyword::From, &[name], span, linter);
}

fn stage_name<'a>(stage: &'a Stage, names: &mut HashSet<&'a str>, linter: &mut Linter<'_>) {
    let Some(name) = stage.from.name.as_deref() else { return };
    if matches!(name, "scratch" | "context") {
        let message = format!("the name {name} of the stage is reserved", name = quoted(&name));
        linter.warn(Rule::ReservedStageName, &stage.from.span, message);
    }
    if !names.insert(name) {
        let message =
            format!("the name {name} is already that of an earlier stage", name = quoted(&name));
        linter.warn(Rule::DuplicateStageName, &stage.from.span, message);
    }
}

/// The warning is on the instruction that does not count.
fn used_once(stage: &Stage, linter: &mut Linter<'_>) {
    let mut last: HashMap<Keyword, &Span> = HashMap::new();
    for instruction in &stage.instructions {
        let keyword = instruction.value.keyword();
        if !matches!(keyword, Keyword::Cmd | Keyword::Entrypoint | Keyword::Healthcheck) {
            continue;
        }
        if let Some(earlier) = last.insert(keyword, &instruction.span) {
            let line = instruction.span.lines.start();
            let message = format!("this {keyword} does not count: another follows on line {line}");
            let rule = Rule::MultipleInstructionsDisallowed;
            linter.warn_because(rule, earlier, &instruction.span, message);
        }
    }
}

fn instruction(
    dockerfile: &Dockerfile,
    instruction: &Instruction,
    span: &Span,
    linter: &mut Linter<'_>,
) {
    let keyword = instruction.keyword();
    let names: Vec<&str> = match instruction {
        Instruction::Maintainer(_) => {
            let message = "MAINTAINER is out of use: set the label \
                           org.opencontainers.image.authors";
            linter.warn(Rule::MaintainerDeprecated, span, message);
            return;
        }
        Instruction::Label(label) if label.legacy => {
            legacy(keyword, span, linter);
            return;
        }
        Instruction::Env(env) => {
            if env.legacy {
                legacy(keyword, span, linter);
            }
            env.pairs.iter().map(|pair| pair.key.as_str()).collect()
        }
        Instruction::Arg(arg) => {
            let names = arg.declarations.iter().map(|it| it.name.as_str()).collect::<Vec<_>>();
            description(dockerfile, keyword, &names, span, linter);
            names
        }
        _ => return,
    };
    for name in names.into_iter().filter(|name| is_secret(name)) {
        let message = format!(
            "{keyword} {name} looks like a secret, which anyone who has the image could read",
            name = quoted(&name)
        );
        linter.warn(Rule::SecretsUsedInArgOrEnv, span, message);
    }
}

fn legacy(keyword: Keyword, span: &Span, linter: &mut Linter<'_>) {
    let message = format!("write {keyword} NAME=VALUE, with =");
    linter.warn(Rule::LegacyKeyValueFormat, span, message);
}

/// Returns whether a variable of this name probably holds a secret: one of the parts between `_`
/// says so, and no part says otherwise.
fn is_secret(name: &str) -> bool {
    const SECRET: [&str; 10] = [
        "apikey",
        "auth",
        "credential",
        "credentials",
        "key",
        "password",
        "pword",
        "passwd",
        "secret",
        "token",
    ];
    const HARMLESS: [&str; 3] = ["public", "file", "version"];
    let any = |words: &[&str]| {
        name.split('_').any(|part| words.iter().any(|word| word.eq_ignore_ascii_case(part)))
    };
    any(&SECRET) && !any(&HARMLESS)
}

/// Looks at the comment right above a FROM or ARG.
fn description(
    dockerfile: &Dockerfile,
    keyword: Keyword,
    names: &[&str],
    span: &Span,
    linter: &mut Linter<'_>,
) {
    let above = dockerfile.comment_above(*span.lines.start());
    let Some(text) = above.and_then(|comment| comment.description.as_deref()) else { return };
    let first = text.split(' ').next().unwrap_or_default();
    if names.contains(&first) {
        return;
    }
    let name = match names {
        [name] => name,
        _ => "NAME",
    };
    let message = format!(
        "the comment above {keyword} should begin with a name, \"# {name} ...\", or stand apart"
    );
    linter.warn(Rule::InvalidDefinitionDescription, span, message);
}

/// Compares the case of each instruction with that of the majority.
fn casing(dockerfile: &Dockerfile, linter: &mut Linter<'_>) {
    let lines = || {
        dockerfile.stages.iter().flat_map(|stage| {
            let instructions = stage.instructions.iter();
            let instructions = instructions.map(|it| (it.value.original(), &it.span));
            std::iter::once((stage.from.original.as_str(), &stage.from.span)).chain(instructions)
        })
    };
    let word = |text| words::split_first(text).0;
    let count =
        |holds: &dyn Fn(&str) -> bool| lines().filter(|(text, _)| holds(word(text))).count();
    let is_lower = |word: &str| word == word.to_ascii_lowercase();
    let is_upper = |word: &str| word == word.to_ascii_uppercase();
    let lower = count(&is_lower) > count(&is_upper);
    for (text, span) in lines() {
        let word = word(text);
        if !(if lower { is_lower(word) } else { is_upper(word) }) {
            let case = if lower { "lower" } else { "upper" };
            let message = format!(
                "{word} should be in {case} case, as most of the file is",
                word = quoted(&word)
            );
            linter.warn(Rule::ConsistentInstructionCasing, span, message);
        }
    }
}
