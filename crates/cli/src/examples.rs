//! Examples at the end of the help of commands.

use std::fmt::Write as _;

use clap::Command;

/// Commands, each with lines and what these are for.
const EXAMPLES: &[(&str, &[(&str, &str)])] = &[
    (
        "build",
        &[
            (
                "two platforms, pushed as one index",
                "xbuild build --platform linux/amd64,linux/arm64 -t registry.example/app:1 --push .",
            ),
            (
                "an OCI archive, another Dockerfile, a build argument",
                "xbuild build -f docker/app.Dockerfile --build-arg VERSION=2 -o type=oci,dest=app.tar .",
            ),
            ("the files of a stage, into a folder", "xbuild build --target artifacts -o out ."),
            (
                "a repository, built with a cache that machines share",
                "xbuild build --cache-from registry.example/cache --cache-to type=registry,ref=registry.example/cache,mode=max https://git.example/app.git#main",
            ),
            ("what the Dockerfile can be given", "xbuild build --call outline ."),
        ],
    ),
    (
        "verify",
        &[(
            "whether an image is what its Dockerfile makes",
            "xbuild verify registry.example/app:1 --build-arg VERSION=2 .",
        )],
    ),
    (
        "lock",
        &[
            ("record what the build takes from elsewhere", "xbuild lock ."),
            (
                "the newest versions of everything",
                "xbuild lock --upgrade --platform linux/amd64,linux/arm64 .",
            ),
        ],
    ),
    (
        "bake",
        &[
            ("the group or target default of docker-bake.hcl", "xbuild bake"),
            (
                "two targets, one attribute changed",
                "xbuild bake app db --set '*.platform=linux/arm64' --push",
            ),
            ("what would be built", "xbuild bake --print"),
        ],
    ),
    (
        "compose-build",
        &[(
            "a service and those that it depends on",
            "xbuild compose-build --with-dependencies web",
        )],
    ),
    (
        "check",
        &[
            ("the Dockerfile here", "xbuild check ."),
            ("for a code host", "xbuild check --format sarif -f docker/app.Dockerfile ."),
        ],
    ),
    (
        "run",
        &[
            (
                "a shell in an image of another platform",
                "xbuild run -it --platform linux/arm64 debian sh",
            ),
            (
                "a test with files of this machine",
                "xbuild run -v ./tests:/tests:ro -w /tests registry.example/app:1 ./all",
            ),
        ],
    ),
    (
        "copy",
        &[
            (
                "between registries, all platforms",
                "xbuild copy docker://registry.example/app:1 docker://mirror.example/app:1",
            ),
            ("into a layout", "xbuild copy docker://registry.example/app:1 oci:app:1"),
        ],
    ),
    (
        "prune",
        &[
            ("what a month did not need", "xbuild prune --filter until=30d --dry-run"),
            ("room for others", "xbuild prune --max-used-space 5g --force"),
        ],
    ),
    (
        "config",
        &[
            ("what the file and the environment set", "xbuild config"),
            (
                "each option of a line, and where its value comes from",
                "xbuild config list build --no-cache .",
            ),
            (
                "platforms of every build",
                "xbuild config set build.platform linux/amd64 linux/arm64",
            ),
        ],
    ),
    (
        "doctor",
        &[(
            "whether RUN steps work here, and whether a registry is in reach",
            "xbuild doctor registry.example",
        )],
    ),
    (
        "login",
        &[("a token from a file", "xbuild login -u me --password-stdin registry.example < token")],
    ),
    ("completions", &[("for this shell alone", "source <(xbuild completions bash)")]),
];

/// Adds the examples to the help of commands.
pub(crate) fn with_examples(definition: Command) -> Command {
    EXAMPLES.iter().fold(definition, |definition, (name, lines)| {
        definition.mut_subcommand(name, |command| {
            let before = command.get_after_help().map(|text| format!("{text}\n\n"));
            command.after_help(before.unwrap_or_default() + &text(lines))
        })
    })
}

fn text(lines: &[(&str, &str)]) -> String {
    let mut text = String::from("Examples:\n");
    for (index, (purpose, line)) in lines.iter().enumerate() {
        let space = if index > 0 { "\n" } else { "" };
        let _ = writeln!(text, "{space}  # {purpose}\n  {}", in_lines(line));
    }
    text.truncate(text.trim_end().len());
    text
}

/// Breaks a command as a shell takes it, so that it stays whole in a narrow terminal.
fn in_lines(command: &str) -> String {
    const WIDTH: usize = 74;
    let mut text = String::new();
    let mut used = 0;
    for word in command.split(' ') {
        if used > 0 && used + word.len() >= WIDTH {
            text += " \\\n      ";
            used = 4;
        } else if used > 0 {
            text += " ";
        }
        text += word;
        used += word.len() + 1;
    }
    text
}

/// Returns the commands of all examples, without what the shell does around them.
#[cfg(test)]
pub(crate) fn lines() -> impl Iterator<Item = &'static str> {
    EXAMPLES.iter().flat_map(|(_, lines)| lines.iter()).map(|(_, line)| {
        let line = line.strip_prefix("source <(").map_or(*line, |line| line.trim_end_matches(')'));
        line.split(" <").next().unwrap_or(line)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_broken_as_a_shell_takes_them() {
        assert_eq!(in_lines("xbuild build ."), "xbuild build .");
        let long = ["xbuild", &"a".repeat(40), &"b".repeat(40), "."].join(" ");
        let (first, second) = ("a".repeat(40), "b".repeat(40));
        assert_eq!(in_lines(&long), format!("xbuild {first} \\\n      {second} ."));
    }
}
