//! Bake files with random damage: an answer or an error, never a panic and never a long wait.

#![allow(clippy::unwrap_used, reason = "what is unexpected fails the test")]

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use xbuild_bake::{Config, File, Given, Overrides, World};

/// How many damaged files are read.
const COUNT: usize = 4000;

/// The longest that one may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Numbers that are the same at each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

/// Returns the bake files of the fixtures.
fn seeds() -> Vec<File> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/bake");
    let mut seeds = Vec::new();
    for case in fs::read_dir(top).unwrap() {
        let Ok(files) = fs::read_dir(case.unwrap().path()) else { continue };
        for file in files {
            let name = file.as_ref().unwrap().file_name().into_string().unwrap();
            let is_one = [".hcl", ".json", ".yaml", ".yml"].iter().any(|end| name.ends_with(end));
            if is_one && name != "print.json" {
                seeds.push(File { text: fs::read_to_string(file.unwrap().path()).unwrap(), name });
            }
        }
    }
    seeds.sort_by(|a, b| (&a.name, &a.text).cmp(&(&b.name, &b.text)));
    seeds
}

fn damaged(seeds: &[File], numbers: &mut Numbers) -> File {
    const PIECES: &[&str] = &[
        "${",
        "}",
        "[",
        "]",
        "{",
        "\"",
        "target.app.tags",
        "*.",
        "[*]",
        "for x in y : x",
        "1e308",
        "-",
        "%{ if true }",
        "<<EOT\n",
        "...",
        "null",
        "&a ",
        "*a",
        "<<: ",
        "\t",
        "é",
        "\u{0}",
        "$",
        "range(0, 99999)",
        "?:",
        "==",
        "'",
        "#",
        "99999999999999999999",
        "try(",
        "inherits = [\"a\"]",
    ];
    let seed = &seeds[numbers.below(seeds.len())];
    let mut text: Vec<char> = seed.text.chars().collect();
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(text.len());
        match numbers.below(4) {
            0 => text.truncate(at),
            1 => {
                let end = (at + numbers.below(12)).min(text.len());
                text.drain(at..end);
            }
            2 => {
                let from = numbers.below(text.len());
                let piece = text[from..].iter().take(40).copied().collect::<Vec<_>>();
                text.splice(at..at, piece);
            }
            _ => {
                let piece = PIECES[numbers.below(PIECES.len())];
                text.splice(at..at, piece.chars());
            }
        }
    }
    File { name: seed.name.clone(), text: text.into_iter().collect() }
}

fn given() -> Given<'static> {
    Given {
        variables: [].into(),
        environment: &|_| None,
        files: &|_| Ok(None),
        built_in: [("BAKE_CMD_CONTEXT".to_owned(), "cwd://".to_owned())].into(),
        world: World { now: 0, home: "/root".to_owned(), random: || [0; 16] },
    }
}

#[test]
fn values_that_grow_without_bound_are_refused() {
    let doubling = |first: &str, next: fn(usize) -> String| {
        let lines = (1..60).map(next).collect::<String>();
        format!("a0 = {first}\n{lines}target \"default\" {{ args = {{ A = jsonencode(a59) }} }}\n")
    };
    for text in [
        doubling("\"x\"", |n| format!("a{n} = \"${{a{0}}}${{a{0}}}\"\n", n - 1)),
        doubling("[1]", |n| format!("a{n} = [a{0}, a{0}]\n", n - 1)),
        doubling("[1]", |n| format!("a{n} = concat(a{0}, a{0})\n", n - 1)),
        doubling("\"xx\"", |n| format!("a{n} = replace(a{0}, \"x\", a{0})\n", n - 1)),
        doubling("\"xx\"", |n| format!("a{n} = regex_replace(a{0}, \"x\", \"$0$0$0\")\n", n - 1)),
        doubling("\"xx\"", |n| format!("a{n} = join(a{0}, [a{0}, a{0}, a{0}])\n", n - 1)),
        "a = [for x in range(0, 99999) : [for y in range(0, 99999) : x + y]]\n".to_owned(),
        "target \"a\" {\n name = \"a${x}\"\n matrix = { x = range(0, 20000) }\n}\n".to_owned(),
    ] {
        let start = Instant::now();
        let file = File { name: "docker-bake.hcl".to_owned(), text };
        let error = Config::read(std::slice::from_ref(&file), &given()).unwrap_err().to_string();
        assert!(start.elapsed() < 2 * PATIENCE, "{error}: {}", file.text);
    }
}

#[test]
fn damaged_files_are_answered() {
    let (seeds, mut numbers) = (seeds(), Numbers(0x9e37_79b9_7f4a_7c15));
    assert!(seeds.len() > 80);
    let given = given();
    for _ in 0..COUNT {
        let file = damaged(&seeds, &mut numbers);
        let start = Instant::now();
        if let Ok(config) = Config::read(std::slice::from_ref(&file), &given) {
            let everything = ["*".to_owned()];
            if let Ok(selection) = config.select(&everything, &Overrides::default()) {
                assert!(serde_json::from_str::<serde_json::Value>(&selection.to_json()).is_ok());
            }
        }
        assert!(start.elapsed() < PATIENCE, "{}", file.text);
    }
}
