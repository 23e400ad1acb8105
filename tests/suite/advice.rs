//! Errors say what was probably meant and what helps, and the commands in their advice exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::{Place, User, checkout, needs};

#[test]
fn slips_of_typing_get_a_suggestion() {
    let place = Place::new(User::Me);
    place.write("package.json", "{}").write("src/main.rs", "").write("secret", "");
    place.write(".dockerignore", "secret\n");
    for (line, hint) in [
        ("COPY pakage.json /", "hint: did you mean package.json?"),
        ("COPY scr/main.rs /", "hint: did you mean src/main.rs?"),
        ("COPY src/mian.rs /", "hint: did you mean src/main.rs?"),
        ("COPY secret /", "hint: the ignore file leaves it out"),
        ("COPY --from=busybox /bin/bussybox /", "hint: did you mean bin/busybox?"),
    ] {
        place.dockerfile(&format!("FROM busybox\n{line}\n"));
        place.build(&[]).fails(1, &["not found", hint, " --> context/Dockerfile:2\n"]);
    }
    place.dockerfile("FROM busybox\nCOPY nothing-like-it /\n");
    place.build(&[]).fails(1, &["not found"]).does_not_say("hint");
    place.dockerfile("FROM busybox\n");
    for (args, hint) in [
        (["--platform", "linux/amd46"], "did you mean linux/amd64?"),
        (["--output", "type=oci,dets=x"], "did you mean dest=?"),
        (["--output", "type=image,compresion=zstd"], "did you mean compression=?"),
        (["--secret", "id=a,scr=b"], "did you mean src=?"),
    ] {
        place.build(&args).fails(2, &[&format!("hint: {hint}")]);
    }
}

#[test]
fn a_place_is_a_path_that_a_terminal_can_open() {
    let place = Place::new(User::Me);
    place.write("sub/Dockerfile", "FROM scratch AS a\nCOPPY a /\n");
    place.write("sub/Other", "FROM scratch as b\nCOPY none /\n");
    let says = |folder: &str, args: &[&str], line: &str| {
        let mut command = place.xbuild([&["build", "--progress", "plain"], args].concat());
        let output = command.current_dir(place.path().join(folder)).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(line), "{line:?} is missing in:\n{text}");
    };
    says("context", &["sub"], " --> sub/Dockerfile:2\n");
    says("context", &["./sub"], " --> sub/Dockerfile:2\n");
    says("context/sub", &["."], " --> Dockerfile:2\n");
    says(".", &["context/sub"], " --> context/sub/Dockerfile:2\n");
    says("context", &["-f", "sub/Other", "."], " --> sub/Other:2\n");
    // Warnings, too.
    says("context", &["-f", "sub/Other", "."], " --> sub/Other:1\n");
    let absolute = place.context().join("sub").display().to_string();
    says("home", &[&absolute], &format!(" --> {absolute}/Dockerfile:2\n"));
}

#[test]
fn a_full_disk_in_a_step_is_named() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN dd if=/dev/zero of=/dev/shm/f bs=1M count=9\n");
    let hint = [
        "hint: the files of steps are in the store",
        "`xbuild prune --max-used-space SIZE`",
        "--shm-size",
    ];
    place.build(&["--shm-size", "1m"]).fails(3, &hint);
}

/// Returns the files with that ending below a folder.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => found.extend(files(&path, ending)),
            false if path.extension().is_some_and(|other| other == ending) => found.push(path),
            false => {}
        }
    }
    found
}

/// Returns what stands behind `xbuild ` in backquotes in a text: a command, and its options.
fn commands(text: &str) -> BTreeSet<String> {
    let text = text.replace("\\\n", "");
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let ends = |c: char| matches!(c, '`' | '"' | ',' | ';' | ')' | '.');
    let pieces = text.split("`xbuild ").skip(1);
    pieces.map(|piece| piece.split(ends).next().unwrap().trim().to_owned()).collect()
}

#[test]
fn every_command_that_advice_names_exists() {
    let place = Place::new(User::Me);
    let root = checkout();
    let sources =
        files(&root.join("crates"), "rs").into_iter().chain(files(&root.join("docs"), "md"));
    // Comments speak to those who read the code.
    let is_text = |line: &&str| !line.trim_start().starts_with("//");
    let text = |path: PathBuf| {
        fs::read_to_string(path).unwrap().lines().filter(is_text).collect::<Vec<_>>().join("\n")
    };
    let texts = sources.map(text);
    let mut all: BTreeSet<String> = BTreeSet::new();
    texts.for_each(|text| all.extend(commands(&text)));
    assert!(all.contains("prune") && all.len() > 20, "{all:?}");
    for command in all {
        let mut words =
            command.split(' ').take_while(|word| !word.starts_with(['-', '<', '[', '$', '{']));
        // Tests are named `CRATE MODULE::TEST`, what is signed begins with `xbuild KIND VERSION`.
        let is_other = command.contains("::") || command.ends_with(" 1");
        let Some(name) = words.next().filter(|_| !is_other) else { continue };
        let is_name = |word: &str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(is_name(name), "`xbuild {command}`");
        let group = words
            .next()
            .filter(|_| ["index", "emulators", "imagetools", "manifest"].contains(&name));
        let path: Vec<&str> =
            [name].into_iter().chain(group).flat_map(|word| word.split('|').next()).collect();
        let help = place.run([&path[..], &["--help"]].concat());
        assert_eq!(help.status, 0, "`xbuild {command}`: {}", help.stderr);
        for option in command.split(' ').filter(|word| word.starts_with("--") && word.len() > 2) {
            let option = option.split(['=', '[']).next().unwrap();
            assert!(help.stdout.contains(option), "`xbuild {command}` has no {option}");
        }
    }
}

/// Words behind `xbuild ` that are no advice, by file.
const NAMED: [(&str, &str); 2] = [
    ("crates/cli/src/examples.rs", "examples, which a test reads"),
    ("crates/cli/src/arguments/advice.rs", "tests of hints"),
];

/// Returns the subcommands that a line of code names in a text outside backquotes.
fn bare_commands(line: &str, known: &BTreeSet<String>) -> Vec<String> {
    let texts = line.split('"').skip(1).step_by(2);
    let outside = texts.flat_map(|text| text.split('`').step_by(2)).flat_map(|text| {
        // What is signed or hashed begins with `xbuild KIND VERSION`.
        let words = text.split("xbuild ").skip(1).filter(|rest| !rest.contains(" 1"));
        words.filter_map(|rest| rest.split(|c: char| !c.is_ascii_lowercase() && c != '-').next())
    });
    outside.filter(|word| known.contains(*word)).map(str::to_owned).collect()
}

#[test]
fn advice_stands_in_the_table_and_in_backquotes() {
    let place = Place::new(User::Me);
    let help = place.run(["--help"]).ok().stdout;
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let listed = listed.take_while(|line| !line.is_empty());
    let names = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let known: BTreeSet<String> =
        names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect();
    assert!(known.contains("prune") && known.contains("compose-build"), "{known:?}");
    assert_eq!(bare_commands("f(\"use xbuild prune, or `xbuild du`\")", &known), ["prune"]);
    let root = checkout();
    let mut found = Vec::new();
    for path in files(&root.join("crates"), "rs") {
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        if NAMED.iter().any(|(other, _)| *other == name) || name.contains("/tests") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            // The name of a command in a trace.
            let is_name = line.contains("\"xbuild ")
                && bare_commands(line, &known).len() == 1
                && line.split('"').any(|text| known.iter().any(|c| text == format!("xbuild {c}")));
            if !is_name && !bare_commands(line, &known).is_empty() {
                found.push(format!("{name}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "put it into the table of hints: {found:#?}");
}
