//! The cache: which steps run again and which do not. The store: its contents, and how it is emptied.

use std::fs;
use std::io::Read;

use crate::harness::{Finished, Need, Place, User, needs, to_layout};

/// Four steps that make layers.
const DOCKERFILE: &str = "\
FROM busybox
WORKDIR /srv
RUN cat /proc/sys/kernel/random/uuid > first
COPY source.txt ./
RUN cat /proc/sys/kernel/random/uuid > second
";

fn place(user: User) -> Place {
    let place = Place::new(user);
    place.dockerfile(DOCKERFILE).write("source.txt", "a\n");
    place
}

#[test]
fn nothing_is_done_twice() {
    needs!(Run);
    for user in User::all() {
        let place = place(user);
        let id = place.out("id");
        let build = |args: &[&str]| {
            let finished = place.build(&[&["--iidfile", id.to_str().unwrap()], args].concat()).ok();
            (finished.steps(), fs::read_to_string(&id).unwrap())
        };
        let (steps, first) = build(&[]);
        assert_eq!(steps, "0 cached, 4 done");
        let (steps, second) = build(&[]);
        assert_eq!(steps, "4 cached, 0 done");
        assert_eq!(first, second);

        // The time has changed, the contents have not.
        place.touch("source.txt", 1_600_000_000);
        assert_eq!(build(&[]), ("4 cached, 0 done".to_owned(), first.clone()));
        // No step depends on the image's name or on a label.
        assert_eq!(
            build(&["-t", "registry.example/other"]),
            ("4 cached, 0 done".to_owned(), first.clone())
        );
        assert_eq!(build(&["--label", "a=b"]).0, "4 cached, 0 done");

        place.write("source.txt", "b\n");
        let (steps, changed) = build(&[]);
        assert_eq!(steps, "2 cached, 2 done");
        assert_ne!(changed, first);
        place.write("source.txt", "a\n");
        assert_eq!(build(&[]), ("4 cached, 0 done".to_owned(), first.clone()));

        let (steps, afresh) = build(&["--no-cache"]);
        assert_eq!(steps, "0 cached, 4 done");
        assert_ne!(afresh, first);
        // The new results replace the old ones.
        assert_eq!(build(&[]), ("4 cached, 0 done".to_owned(), afresh));
    }
}

#[test]
fn single_stages_may_be_built_anew() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile(
        r"
        FROM busybox AS one
        RUN echo a > /a
        RUN cat /proc/sys/kernel/random/uuid > /one
        FROM busybox AS Two
        RUN echo b > /b
        RUN cat /proc/sys/kernel/random/uuid > /two
        FROM scratch
        COPY --from=one /one /
        COPY --from=two /two /
        ",
    );
    let steps = |args: &[&str]| place.build(args).ok().steps();
    assert_eq!(steps(&[]), "0 cached, 6 done");
    assert_eq!(steps(&[]), "6 cached, 0 done");
    // The second COPY stands on the first one.
    assert_eq!(steps(&["--no-cache-filter", "one"]), "2 cached, 4 done");
    assert_eq!(steps(&["--no-cache-filter", "TWO"]), "3 cached, 3 done");
    assert_eq!(steps(&["--no-cache-filter", "one,two"]), "0 cached, 6 done");
    let none = place.build(&["--no-cache-filter", "three"]).ok();
    none.says(&["warning: --no-cache-filter three has no effect"]);
    assert_eq!(none.steps(), "6 cached, 0 done");
}

#[test]
fn a_cache_hit_equals_a_rebuild() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.write("source.txt", "a\n").dockerfile(
        r"
        FROM busybox
        WORKDIR /srv
        COPY source.txt /made/
        RUN echo a > /a && touch -d @1 /a /
        ",
    );
    let build = |args: &[&str]| {
        let mut command = place.xbuild(place.build_args(&[&["-q"], args].concat()));
        command.env("SOURCE_DATE_EPOCH", "1600000000");
        Finished::run(command).ok().stdout
    };
    let first = build(&[]);
    assert_eq!(build(&[]), first);
    assert_eq!(build(&["--no-cache"]), first);
    place.run(["prune", "--all"]).ok();
    assert_eq!(build(&[]), first);
}

#[test]
fn the_cache_tells_commands_and_their_surroundings_apart() {
    needs!(Run);
    let place = Place::new(User::Me);
    let step = |rest: &str, args: &[&str]| {
        place.dockerfile(&format!("FROM busybox\n{rest}"));
        place.build(args).ok().steps()
    };
    assert_eq!(step("RUN echo a > /a\n", &[]), "0 cached, 1 done");
    assert_eq!(
        step("RUN  echo a  > /a\n", &[]),
        "0 cached, 1 done",
        "another text is another command"
    );
    assert_eq!(step("ENV A=b\nRUN echo a > /a\n", &[]), "0 cached, 1 done");
    assert_eq!(step("ARG A=c\nRUN echo a > /a\n", &[]), "0 cached, 1 done");
    assert_eq!(step("ARG A=c\nRUN echo a > /a\n", &["--build-arg", "A=d"]), "0 cached, 1 done");
    assert_eq!(step("ARG A=c\nRUN echo a > /a\n", &[]), "1 cached, 0 done");
    assert_eq!(
        step("LABEL A=b\nRUN echo a > /a\n", &[]),
        "1 cached, 0 done".to_owned(),
        "a label is not seen by the command"
    );
    assert_eq!(step("RUN --network=none echo a > /a\n", &[]), "0 cached, 1 done");
    assert_eq!(step("RUN echo a > /a\nCMD [\"x\"]\nENV B=c\n", &[]), "1 cached, 0 done");
}

#[test]
fn the_store_can_be_seen_and_emptied() {
    for user in User::all() {
        let place = Place::new(user);
        let run = if Need::Run.is_met() {
            "RUN echo a > /a && mkdir -m 0 /closed && echo b > /closed/b\n"
        } else {
            ""
        };
        place.write("source.txt", "a\n");
        place.dockerfile(&format!("FROM busybox\nCOPY source.txt /\n{run}"));
        let steps = if run.is_empty() { "0 cached, 1 done" } else { "0 cached, 2 done" };
        assert_eq!(place.build(&["-t", "registry.example/a"]).ok().steps(), steps);

        let used = place.run(["du", "--verbose"]).ok().stdout;
        for word in ["total", "COPY source.txt", &place.store().display().to_string()] {
            assert!(used.contains(word), "{word}: {used}");
        }
        let sub = place.run(["prune", "--max-used-space", "0"]).ok().stdout;
        assert!(sub.contains("removed"), "{sub}");
        place.build(&[]).ok();
        place.run(["prune", "--all"]).ok();
        // Only the store's own files are left.
        let left = files_below(&place.store());
        let own = |path: &String| ["version", "lock", "gate", "measured"].contains(&path.as_str());
        assert!(left.iter().all(own), "{left:?}");
        assert_eq!(place.build(&[]).ok().steps(), steps);
    }
}

/// Returns the paths of all files below a folder.
fn files_below(folder: &std::path::Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path().strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    files
}

#[test]
fn builds_share_a_store() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        place.write("source.txt", "a\n");
        let children: Vec<_> = (0..3)
            .map(|number| {
                let name = format!("Dockerfile.{number}");
                let own = if number == 0 { "" } else { "RUN cat /b > /c\n" };
                place.write(
                    &name,
                    format!("FROM busybox\nCOPY source.txt /a\nRUN cat /a > /b\n{own}"),
                );
                let file = place.context().join(&name);
                let layout = to_layout(&place.out(&name));
                let args =
                    place.build_args(&["--file", file.to_str().unwrap(), "--output", &layout]);
                let mut command = place.xbuild(args);
                let null = std::process::Stdio::null;
                command.stdout(null()).stderr(std::process::Stdio::piped()).spawn().unwrap()
            })
            .collect();
        for mut child in children {
            let mut text = String::new();
            child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
            assert!(child.wait().unwrap().success(), "{text}");
        }
        for number in 0..3 {
            let image = &crate::image::read(&place.out(&format!("Dockerfile.{number}")))[0];
            assert_eq!(image.text(if number == 0 { "b" } else { "c" }), "a");
        }
        assert_eq!(fs::read_dir(place.store().join("tmp")).unwrap().count(), 0);
    }
}
