//! Completions, as shells ask for them.

use std::fs;
use std::process::Command;

use crate::harness::{Finished, Place, Typed, User, in_path, needs};

const STAGES: &str = "\
# base has the tools
FROM scratch AS base
COPY Dockerfile /
FROM base AS release
";

/// Writes the script of a shell, and returns its path.
fn script(place: &Place, shell: &str) -> String {
    let path = place.out(shell);
    fs::write(&path, place.run(["completions", shell]).ok().stdout).unwrap();
    path.display().to_string()
}

/// Returns a command that finds xbuild.
fn shell(place: &Place, program: &str) -> Command {
    let mut command = place.command(program);
    let path = place.search_path().into_string().unwrap();
    command.env("PATH", format!("{}:{path}", place.path().display()));
    command.current_dir(place.context());
    command
}

/// Returns what bash offers for a line with the cursor at its end. Bash splits words at `=` and `:`.
fn offered(place: &Place, line: &str) -> Vec<String> {
    let script = script(place, "bash");
    let mut words: Vec<String> = Vec::new();
    for word in line.split(' ') {
        let mut rest = word;
        words.push(String::new());
        while let Some(at) = rest.find(['=', ':']) {
            *words.last_mut().unwrap() = rest[..at].to_owned();
            words.push(rest[at..=at].to_owned());
            rest = &rest[at + 1..];
            words.push(String::new());
        }
        *words.last_mut().unwrap() = rest.to_owned();
        // What is empty between two of them, or behind the last one, is no word.
        if rest.is_empty()
            && words.len() > 1
            && matches!(words[words.len() - 2].as_str(), "=" | ":")
        {
            words.pop();
        }
    }
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let program = format!(
        "source {script}; COMP_LINE='{line}' COMP_POINT={} COMP_WORDS=({}) COMP_CWORD={}; _xbuild xbuild '' ''; \
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        line.len(),
        quoted.join(" "),
        words.len() - 1,
    );
    let mut command = shell(place, "bash");
    command.args(["-c", &program]);
    let done = Finished::run(command).ok();
    assert_eq!(done.stderr, "", "{line}");
    done.stdout.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn place() -> Place {
    let place = Place::new(User::Me);
    place.dockerfile(STAGES);
    place.write("sub/other", "FROM scratch AS elsewhere\n");
    place
}

#[test]
fn bash_offers_commands_options_and_values() {
    let place = place();
    assert_eq!(offered(&place, "xbuild plat"), ["platforms"]);
    assert_eq!(offered(&place, "xbuild build --no-cache-f"), ["--no-cache-filter"]);
    assert_eq!(offered(&place, "xbuild build --progress ra"), ["rawjson"]);
    assert_eq!(offered(&place, "xbuild build --platform linux/s"), ["linux/s390x"]);
    assert_eq!(offered(&place, "xbuild build --platform=linux/s"), ["linux/s390x"]);
    assert_eq!(
        offered(&place, "xbuild build --platform linux/386,linux/s"),
        ["linux/386,linux/s390x"]
    );
    assert_eq!(offered(&place, "xbuild build --nonsense x --tar"), ["--target"]);
}

#[test]
fn stages_are_those_of_the_file_that_the_line_names() {
    let place = place();
    assert_eq!(offered(&place, "xbuild build --target "), ["base", "release"]);
    assert_eq!(offered(&place, "xbuild build -f sub/other --target "), ["elsewhere"]);
    assert_eq!(offered(&place, "xbuild build --file=sub/other --target=el"), ["elsewhere"]);
    assert_eq!(offered(&place, "xbuild verify app:1 sub --no-cache-filter "), [""; 0]);
    place.dockerfile("FROM\n");
    assert_eq!(offered(&place, "xbuild build --target "), [""; 0]);
}

#[test]
fn images_are_those_of_the_store() {
    let place = place();
    assert_eq!(offered(&place, "xbuild push r"), [""; 0]);
    assert!(!place.store().exists());
    let tags = ["-t", "registry.example/app:1", "-t", "registry.example/app:2", "-t", "tools:3"];
    place.build(&tags).ok();
    assert_eq!(offered(&place, "xbuild push registry.example/app:"), ["1", "2"]);
    assert_eq!(offered(&place, "xbuild run to"), ["tools:3"]);
    assert_eq!(offered(&place, "xbuild rmi tools:"), ["3"]);
}

#[test]
fn bake_offers_its_targets() {
    let place = place();
    let file = "group \"all\" {\n  targets = [\"app\"]\n}\ntarget \"app\" {}\ntarget \"db\" {}\n";
    place.write("docker-bake.hcl", file);
    assert_eq!(offered(&place, "xbuild bake "), offered(&place, "xbuild bake -f docker-bake.hcl "));
    let all = offered(&place, "xbuild bake ");
    assert!(["all", "app", "db"].iter().all(|name| all.iter().any(|one| one == name)), "{all:?}");
}

#[test]
fn a_tab_completes_a_word_in_bash() {
    let place = place();
    let script = script(&place, "bash");
    let mut command = shell(&place, "bash");
    command.args(["--norc", "--noprofile", "-i"]).env("TERM", "dumb");
    let mut typed = Typed::start(command);
    typed.types(&format!("source {script}; echo rea''dy"));
    typed.waits_for("ready");
    typed.types("xbuild build --platform=linux/s3\t --target rel\t --call targets .; echo en''d");
    typed.waits_for("end");
    let screen = typed.screen();
    assert!(
        screen.contains("--platform=linux/s390x") && screen.contains("--target release"),
        "{screen}"
    );
    assert!(screen.contains("release (default)"), "{screen}");
    typed.types("exit");
    typed.ends().ok();
}

#[test]
fn other_shells_ask_for_the_same() {
    let place = place();
    for (name, check) in [("zsh", "-n"), ("fish", "--no-execute")] {
        let script = script(&place, name);
        let text = fs::read_to_string(&script).unwrap();
        assert!(text.contains("XBUILD_COMPLETE"), "{name}");
        if in_path(name) {
            let mut command = shell(&place, name);
            command.args([check, script.as_str()]);
            Finished::run(command).ok();
        }
    }
    let ask = |shell: &str, words: &[&str]| {
        let mut command = place.xbuild(["--"]);
        command.args(words).env("XBUILD_COMPLETE", shell).current_dir(place.context());
        command.env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string());
        Finished::run(command)
    };
    ask("fish", &["xbuild", "build", "--target", ""])
        .ok()
        .prints(&["base\thas the tools\nrelease\n"]);
    ask("zsh", &["xbuild", "build", "--target", ""]).ok().prints(&["base:has the tools\nrelease"]);
    ask("tcsh", &["xbuild", ""]).fails(2, &["unknown shell tcsh", "bash"]);
}

/// Lines, and what each becomes when a tab is typed at its end.
const COMPLETED: &[(&str, &str)] = &[
    ("xbuild plat", "xbuild platforms"),
    ("xbuild build --no-cache-f", "xbuild build --no-cache-filter"),
    ("xbuild build --progress ra", "xbuild build --progress rawjson"),
    ("xbuild build --platform linux/s", "xbuild build --platform linux/s390x"),
    ("xbuild build --platform=linux/s", "xbuild build --platform=linux/s390x"),
    ("xbuild build --platform linux/386,linux/s", "xbuild build --platform linux/386,linux/s390x"),
    ("xbuild build --target=rel", "xbuild build --target=release"),
    ("xbuild rmi tools:", "xbuild rmi tools:3"),
    ("xbuild build -f my\\ d", "xbuild build -f my\\ dir/"),
    ("xbuild build -f my\\ dir/Fi", "xbuild build -f my\\ dir/File\\ one"),
    ("xbuild build --build-context x=su", "xbuild build --build-context x=sub/"),
    ("xbuild build -o type=oci,dest=su", "xbuild build -o type=oci,dest=sub/"),
    ("xbuild build -f ~/k", "xbuild build -f ~/kept"),
];

/// Returns a place with what [`COMPLETED`] names.
fn place_of_shells() -> Place {
    let place = place();
    place.write("my dir/File one", "FROM scratch\n");
    fs::write(place.path().join("home/kept"), "").unwrap();
    place.build(&["-t", "tools:3"]).ok();
    place
}

#[test]
fn fish_completes_words() {
    needs!(Tool("fish"));
    let place = place_of_shells();
    let script = script(&place, "fish");
    let offered = |line: &str| {
        let mut command = shell(&place, "fish");
        let ask = format!("source {script}; complete -C $argv[1]");
        command.args(["--no-config", "-c", &ask, line]);
        let done = Finished::run(command).ok();
        assert_eq!(done.stderr, "", "{line}");
        done.stdout
    };
    for (line, whole) in COMPLETED {
        // It offers the word alone, as a program sees it.
        let begin = line.rsplit_once(' ').map_or("", |(begin, _)| begin);
        let begin = begin.strip_suffix("my\\").unwrap_or(begin);
        let word = whole[begin.len()..].trim_start().replace('\\', "");
        let offered = offered(line);
        let words = offered.lines().map(|line| line.split('\t').next().unwrap());
        assert_eq!(words.collect::<Vec<_>>(), [word], "{line}");
    }
    assert_eq!(offered("xbuild build --target "), "base\thas the tools\nrelease\n");
    assert_eq!(offered("xbuild build -f \"my d"), "my dir/\n");
    assert_eq!(offered("xbuild nonsens"), "");
}

#[test]
fn zsh_completes_words() {
    needs!(Tool("zsh"));
    let place = place_of_shells();
    let functions = place.out("functions");
    fs::create_dir(&functions).unwrap();
    fs::copy(script(&place, "zsh"), functions.join("_xbuild")).unwrap();
    let functions = functions.display();
    // Loaded by zsh when it is needed, and sourced.
    for start in [
        format!("fpath=({functions} $fpath); autoload -U compinit; compinit -u -D"),
        format!("autoload -U compinit; compinit -u -D; source {functions}/_xbuild"),
    ] {
        let mut command = shell(&place, "zsh");
        command.args(["-f", "-i"]).env("TERM", "dumb");
        let mut typed = Typed::start(command);
        // The line is printed instead of being run.
        typed.types(&format!(
            "PS1='> '; bindkey '^I' complete-word; {start}; \
             p() {{ print -r \"<${{BUFFER% }}>\"; BUFFER= }}; zle -N p; bindkey '^X' p; echo rea''dy"
        ));
        typed.waits_for("ready");
        for (line, whole) in COMPLETED {
            typed.keys(&format!("{line}\t\u{18}"));
            typed.waits_for(&format!("<{whole}>"));
        }
        typed.keys("xbuild build --target \t");
        typed.waits_for("has the tools");
        typed.keys("\u{15}");
        typed.types("exit");
        typed.ends().ok();
    }
}

#[test]
fn manual_pages_are_sound() {
    let place = Place::new(User::Me);
    let folder = place.out("man");
    place.run(["man", folder.to_str().unwrap()]).ok();
    for page in ["xbuild.1", "xbuild-build.1", "xbuild-index-create.1", "xbuild-config-set.1"] {
        assert!(folder.join(page).is_file(), "{page}");
    }
    let build = fs::read_to_string(folder.join("xbuild-build.1")).unwrap();
    assert!(build.contains("two platforms, pushed as one index"), "{build}");
    if in_path("man") && in_path("groff") {
        for page in fs::read_dir(&folder).unwrap() {
            let path = page.unwrap().path();
            let mut command = place.command("man");
            command
                .args(["--warnings", "--local-file", path.to_str().unwrap()])
                .env("MANPAGER", "cat")
                .env("LC_ALL", "C.UTF-8");
            let done = Finished::run(command).ok();
            // Words that do not break leave a line short.
            let is_sound = |line: &str| {
                line.contains("cannot adjust line") || line.contains("can't break line")
            };
            assert!(done.stderr.lines().all(is_sound), "{}: {}", path.display(), done.stderr);
        }
    }
}
