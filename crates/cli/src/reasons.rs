//! Why a step runs, in words.

use xbuild_plan::VertexId;
use xbuild_solve::{Change, FileChanges, Reason, Setting, StepKind};

use crate::report::{printable, told};

/// How many names are listed; the others are only counted.
const LISTED: usize = 3;

/// The largest number of characters of a text, since names can have any length.
const LENGTH: usize = 300;

/// Returns the reasons of a step, as one line. `number` returns the number of a step.
pub(crate) fn text(reasons: &[Reason], number: &dyn Fn(VertexId) -> usize) -> String {
    let list: Vec<String> = reasons.iter().map(|reason| one(reason, number)).collect();
    printable(&told(list.join("; "))).replace('\n', " ").chars().take(LENGTH).collect()
}

fn one(reason: &Reason, number: &dyn Fn(VertexId) -> usize) -> String {
    match reason {
        Reason::FirstTime => "first time".to_owned(),
        Reason::NoCache => "--no-cache".to_owned(),
        Reason::ResultGone => "result is gone from the store".to_owned(),
        Reason::OtherSecrets => "secrets differ from those of another target".to_owned(),
        Reason::NewInstruction => "instruction is new here".to_owned(),
        Reason::Command => "RUN command changed".to_owned(),
        Reason::Instruction(kind) => format!("{} instruction changed", keyword(*kind)),
        Reason::Arguments(names) => format!("ARG {} changed", some(names)),
        Reason::Environment(names) => format!("ENV {} changed", some(names)),
        Reason::Setting(setting) => format!("{} changed", name(*setting)),
        Reason::MountSources(targets) => format!("files mounted at {} changed", some(targets)),
        Reason::Source { kind, changes: None } => format!("{} source changed", keyword(*kind)),
        Reason::Source { kind, changes: Some(FileChanges { first, change, more }) } => {
            let change = match change {
                Change::Added => " (new)",
                Change::Removed => " (removed)",
                Change::Changed => "",
            };
            format!("{} source changed: {first}{change}{}", keyword(*kind), and_more(*more))
        }
        Reason::Base => "base changed".to_owned(),
        Reason::LayersBelow { by: Some(step) } => {
            format!("layers below changed by #{}", number(*step))
        }
        Reason::LayersBelow { by: None } => "layers below changed".to_owned(),
        _ => "other reasons".to_owned(),
    }
}

fn some(names: &[String]) -> String {
    let listed = names.len().min(LISTED);
    format!("{}{}", names[..listed].join(", "), and_more(names.len() - listed))
}

fn and_more(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

fn keyword(kind: StepKind) -> &'static str {
    match kind {
        StepKind::Run => "RUN",
        StepKind::Copy => "COPY",
        StepKind::Add => "ADD",
        StepKind::Workdir => "WORKDIR",
        StepKind::Mount => "mount",
    }
}

fn name(setting: Setting) -> &'static str {
    match setting {
        Setting::User => "USER",
        Setting::WorkingFolder => "WORKDIR",
        Setting::Network => "network",
        Setting::Security => "security",
        Setting::Hosts => "host names",
        Setting::Limits => "limits",
        Setting::Platform => "platform",
        Setting::Mounts => "mounts",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_one_line() {
        let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect();
        let source = |change, more| {
            let changes = Some(FileChanges { first: "a/b".to_owned(), change, more });
            Reason::Source { kind: StepKind::Copy, changes }
        };
        for (reasons, expected) in [
            (vec![Reason::Arguments(names(&["X"]))], "ARG X changed"),
            (vec![Reason::Environment(names(&["A", "B", "C"]))], "ENV A, B, C changed"),
            (
                vec![Reason::Arguments(names(&["A", "B", "C", "D", "E"]))],
                "ARG A, B, C and 2 more changed",
            ),
            (vec![source(Change::Changed, 0)], "COPY source changed: a/b"),
            (vec![source(Change::Added, 3)], "COPY source changed: a/b (new) and 3 more"),
            (vec![source(Change::Removed, 0)], "COPY source changed: a/b (removed)"),
            (
                vec![Reason::Command, Reason::LayersBelow { by: Some(VertexId(3)) }],
                "RUN command changed; layers below changed by #4",
            ),
            (
                vec![Reason::MountSources(names(&["/a\n\u{1b}[1mb"])), Reason::Base],
                "files mounted at /a b changed; base changed",
            ),
        ] {
            assert_eq!(text(&reasons, &|step| step.0 + 1), expected);
        }
        let long = [Reason::Arguments(names(&[&"x".repeat(1000)]))];
        assert_eq!(text(&long, &|_| 0).len(), LENGTH);
    }
}
