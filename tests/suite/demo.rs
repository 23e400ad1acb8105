//! `make demo`: what it says, what it leaves, and the commands that it says to try.

use std::fs;
use std::process::Command;

use crate::harness::{Finished, checkout, needs, program, quiet};

fn run(args: &[&str]) -> Command {
    let mut command = Command::new(checkout().join("fixtures/demo/run"));
    command.args(args);
    command
}

#[test]
fn ends_with_commands_that_work() {
    needs!(Run, Emulation);
    let folder = tempfile::tempdir().unwrap();
    let demo = folder.path().join("demo");
    let demo_text = demo.display().to_string();
    let mut command = run(&[&program().display().to_string(), &demo_text]);
    command.env("TMPDIR", folder.path());
    // An ordinary user must be able to reach what root makes there.
    assert!(quiet("chmod", ["755", &folder.path().display().to_string()]));
    let done = Finished::run(command).ok();
    for platform in ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"] {
        assert!(
            done.stdout.contains(&format!("{platform:16} uname -m in its RUN: ")),
            "{platform}"
        );
    }
    let (_, end) = done.stdout.split_once("== now try\n").unwrap();
    let commands: Vec<&str> = end.lines().filter_map(|line| line.strip_prefix("    ")).collect();
    assert_eq!(commands[0], format!("cd {demo_text}"));

    // Typed one after the other, as somebody would.
    let script =
        commands.iter().map(|line| format!("echo '$ {}'\n{line}\n", line.replace('\'', "")));
    let mut shell = Command::new("sh");
    shell.args(["-euc", &script.collect::<String>()]);
    let tried = Finished::run(shell).ok();
    let each: Vec<&str> = tried.stdout.split("$ ").collect();
    let out_of = |start: &str| {
        let found: Vec<&&str> = each.iter().filter(|part| part.starts_with(start)).collect();
        assert!(!found.is_empty(), "{start}: {}", tried.stdout);
        found[0].split_once('\n').unwrap().1
    };
    assert!(out_of("./xbuild run").contains("hello from s390x"));
    assert!(out_of("./xbuild images").contains("example/demo"));
    assert!(out_of("./xbuild doctor").contains("RUN"));
    // The first build again has every step from the cache; the second one says why not.
    assert_eq!(tried.stderr.matches("built in").count(), 2, "{}", tried.stderr);
    let (again, changed) = tried.stderr.split_once("built in").unwrap();
    assert!(!again.contains("WHY"), "{again}");
    assert!(changed.contains("WHY COPY source changed: src/greet.in"), "{changed}");

    // It can be made again, and be removed as it says.
    let (_, remove) = end.split_once("To remove it: ").unwrap();
    assert!(quiet("sh", ["-euc", remove.trim()]), "{remove}");
    assert!(fs::symlink_metadata(&demo).is_err());
}

#[test]
fn says_what_is_missing_and_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    for program in ["dirname", "sed", "env", "sh", "sort", "head"] {
        let found = crate::harness::found_in_path(program);
        std::os::unix::fs::symlink(found, folder.path().join(program)).unwrap();
    }
    let mut command = run(&[]);
    command.env("PATH", folder.path()).env_remove("CARGO");
    let done = Finished::run(command);
    assert_ne!(done.status, 0);
    for part in ["cargo: Rust 1.", "rustup.rs", "python3: install", "cc: a C compiler"] {
        assert!(done.stderr.contains(part), "{part}: {}", done.stderr);
    }

    // A Rust that is too old is told, too.
    fs::write(
        folder.path().join("cargo"),
        "#!/bin/sh\necho 'cargo 1.63.0 (fd9c4297c 2022-07-01)'\n",
    )
    .unwrap();
    assert!(quiet("chmod", ["755", &folder.path().join("cargo").display().to_string()]));
    for program in ["cc", "make", "python3", "apt-get", "dpkg-deb", "printf"] {
        let _ = std::os::unix::fs::symlink("/bin/true", folder.path().join(program));
    }
    let mut command = run(&[]);
    command.env("PATH", folder.path()).env_remove("CARGO");
    let done = Finished::run(command);
    assert_ne!(done.status, 0);
    assert!(done.stderr.contains("this is Rust 1.63.0, and Rust 1."), "{}", done.stderr);
}
