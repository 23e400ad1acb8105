//! Properties of any text: no panic, linear time, and parse -> print -> parse is the identity.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use xbuild_dockerfile::expand::{expand_heredoc, expand_word, expand_words};
use xbuild_dockerfile::{Dockerfile, parse, parse_onbuild, parse_ports, print};

/// Returns the tree without the parts that printing loses: spans, warnings, `original`.
fn essence(tree: &Dockerfile) -> String {
    let mut text = String::new();
    for line in
        format!("{:#?}", (&tree.escape, &tree.directives, &tree.globals, &tree.stages)).lines()
    {
        let field = line.trim_start();
        let is_span = field.starts_with("lines: ") || field.starts_with("file: ");
        if !is_span && !field.starts_with("original: ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// A word without blanks at its ends that could be a flag, path or value.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => r#"[a-z/.$*=:,\[\]{}<-]{1,8}"#,
        1 => r#"[a-z"'\\` $]{0,6}[a-z]"#,
        1 => "[a-zé漢]{1,4}",
    ]
}

/// A string for a JSON array.
fn quoted() -> impl Strategy<Value = String> {
    any::<String>().prop_map(|text| serde_json::Value::from(text).to_string())
}

fn instruction() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        Just("RUN"),
        Just("COPY"),
        Just("ADD"),
        Just("ARG"),
        Just("ENV"),
        Just("WORKDIR"),
        Just("USER"),
        Just("CMD"),
        Just("ENTRYPOINT"),
        Just("LABEL"),
        Just("EXPOSE"),
        Just("VOLUME"),
        Just("SHELL"),
        Just("STOPSIGNAL"),
        Just("HEALTHCHECK CMD"),
        Just("MAINTAINER"),
        Just("FROM"),
        Just("FROM --platform=linux/$X"),
        Just("COPY --from=a --link --exclude='b c'"),
        Just("ADD --unpack=false --chown=$U"),
        Just("RUN --mount=type=bind,'\"from=a,b\"' --network=none"),
        Just("HEALTHCHECK --interval=1.5s --retries=2 CMD"),
        Just("ONBUILD RUN"),
    ];
    let arguments = prop_oneof![
        prop::collection::vec(word(), 1..5).prop_map(|words| words.join(" ")),
        prop::collection::vec(quoted(), 1..4).prop_map(|words| format!("[{}]", words.join(", "))),
        ("[a-z]{1,3}", word()).prop_map(|(name, value)| format!("{name}=\"{value}\" {name}2=$x")),
        "[a-z ]{0,8}\n{0,2}".prop_map(|body| format!("<<E <<-'F' /x/\n{body}\nE\n\t{body}\n\tF")),
    ];
    (names, arguments).prop_map(|(name, arguments)| format!("{name} {arguments}\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in any::<Vec<u8>>()) {
        let _ = parse("Dockerfile", &bytes);
    }

    #[test]
    fn no_likely_text_makes_the_parser_panic(text in r#"(# ?(escape=`|syntax=.)?|FROM a|RUN|COPY|ONBUILD|ENV|HEALTHCHECK|[ \t\r\n\\`"'=<$\[\]{}:,-]|<<|EOF|--|é|\PC){0,60}"#) {
        let file = format!("FROM a\n{text}");
        if let Ok(tree) = parse("Dockerfile", file.as_bytes()) {
            let _ = print(&tree);
            let _ = parse_onbuild(&text, &tree.stages[0].from.span);
        }
        let vars = |name: &str| name.len().is_multiple_of(2).then(|| "a b/*".repeat(2));
        let _ = expand_word(&text, '\\', &vars);
        let _ = expand_words(&text, '`', &vars);
        let _ = expand_heredoc(&text, &vars);
        let _ = parse_ports(&text);
    }

    #[test]
    fn no_substitution_makes_expansion_panic(
        text in r#"(\$\{?[a-b1@]?|[:+?#%/*\\'"}-]|[a-c]){0,40}"#,
        value in "[a-c*é/]{0,9}",
    ) {
        let vars = |name: &str| (name != "b").then(|| value.clone());
        let _ = expand_word(&text, '\\', &vars);
    }

    #[test]
    fn printing_keeps_the_tree(instructions in prop::collection::vec(instruction(), 0..6)) {
        let file = format!("ARG g=1\nFROM base AS a\n{}", instructions.concat());
        if let Ok(tree) = parse("Dockerfile", file.as_bytes()) {
            let printed = print(&tree);
            let again = parse("Dockerfile", printed.as_bytes());
            prop_assert!(again.is_ok(), "{file}\n---\n{printed}\n---\n{again:?}");
            if let Ok(again) = again {
                prop_assert_eq!(essence(&again), essence(&tree), "{}\n---\n{}", file, printed);
            }
        }
    }
}

#[test]
fn long_files_take_linear_time() {
    const LINES: usize = 100_000;
    let one_run = format!("FROM a\nRUN {}done", "echo x && \\\n".repeat(LINES));
    let empty = format!("FROM a\nRUN x \\\n{}done", "\n".repeat(LINES));
    let heredoc = format!("FROM a\nCOPY <<E /x\n{}E\n", "body $x\n".repeat(LINES));
    let openings = format!("FROM a\nRUN cat {}\n", "<<a".repeat(LINES));
    for text in [
        format!("FROM a\n{}", "RUN echo x\n".repeat(LINES)),
        format!("FROM a\n{}", "ENV a=b\\\n".repeat(LINES)),
        "FROM a AS b\n".repeat(LINES),
        format!("FROM a\n{}X", "ONBUILD ".repeat(LINES)),
        format!("FROM a\nLABEL {}", "a=\"b c\" ".repeat(LINES)),
        format!("FROM a\nCMD {}", "[".repeat(LINES)),
        "x".repeat(LINES * 10),
        one_run,
        empty,
        heredoc,
        openings,
    ] {
        let start = Instant::now();
        let _ = parse("Dockerfile", text.as_bytes());
        let taken = start.elapsed();
        // Generous: a debug build on a busy machine. Quadratic time would be minutes.
        assert!(taken < Duration::from_secs(20), "{}... took {taken:?}", &text[..40]);
    }
}
