use super::*;

fn vars(name: &str) -> Option<String> {
    let value = match name {
        "SET" => "value",
        "EMPTY" => "",
        "W" => "w",
        "W_x" => "under",
        "C" => "deep",
        "P" => "a/b/c",
        "USR" => "/usr/local/lib/x.tar.gz",
        "STAR" => "*star*",
        "A3" => "aaab",
        "V" => "a.b.a.b/c",
        "BLANKS" => "  two   words ",
        "한국" => "서울",
        _ => return None,
    };
    Some(value.to_owned())
}

#[track_caller]
fn check(escape: char, cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let result = expand_word(text, escape, &vars).map(|expansion| expansion.text);
        assert_eq!(result.as_deref(), Ok(*expected), "{text}");
    }
}

#[track_caller]
fn check_errors(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let error = expand_word(text, '\\', &vars).expect_err(text);
        assert!(error.to_string().contains(expected), "{text}: {error}");
    }
}

#[test]
fn names_end_where_they_must() {
    check(
        '\\',
        &[
            ("$W-x", "w-x"),
            ("$W_x", "under"),
            ("${W}_x", "w_x"),
            ("a$", "a$"),
            ("$.x", "$.x"),
            ("[$1x]", "[x]"),
            ("[$10]", "[]"),
            ("[$@@]", "[@]"),
            ("$$$W", "w"),
            ("\"$ x\"", "$ x"),
            ("$W$W", "ww"),
            ("$한국", "서울"),
            ("${@:-d}${1:-d}${?}", "dd"),
        ],
    );
}

#[test]
fn quotes_and_escapes_go_away() {
    check(
        '\\',
        &[
            (r#"he'll'o"#, "hello"),
            (r#"a\tb"#, "atb"),
            (r#""a\tb""#, r"a\tb"),
            (r#""a\\b\"c\$W""#, r#"a\b"c$W"#),
            (r#"'a\tb$W"'"#, r#"a\tb$W""#),
            (r"end\", "end"),
            (r"end\\", r"end\"),
            (r"\$W\${W}", "$W${W}"),
            (r#""it's $W""#, "it's w"),
            ("``", "``"),
        ],
    );
    check('`', &[(r"c:\x`$W", r"c:\x$W"), (r#""q`"q""#, r#"q"q"#), ("a``b", "a`b")]);
    check_errors(&[("'x", "single"), ("\"x", "double"), (r#""x\""#, "double")]);
}

#[test]
fn defaults_alternatives_and_demands() {
    check(
        '\\',
        &[
            ("${SET:-w}${EMPTY:-w}${NONE:-w}", "valueww"),
            ("${SET-w}${EMPTY-w}${NONE-w}", "valuew"),
            ("[${SET:+w}][${EMPTY:+w}][${NONE:+w}]", "[w][][]"),
            ("[${SET+w}][${EMPTY+w}][${NONE+w}]", "[w][w][]"),
            ("${NONE:-$W.$W}${NONE-\"}\"}${NONE:-'a b'}", "w.w}a b"),
            ("${NONE:-a:-b}${NONE:-}", "a:-b"),
            (r"${NONE:-\}}", "}"),
            ("${SET:?no}${SET?}[${EMPTY?no}]${SET:?$NONE}", "valuevalue[]value"),
            ("${X:-${Y:-${Z:-${C}}}}", "deep"),
            ("${X-${EMPTY:-\"q ${C}\"}}", "q deep"),
            ("${SET:+${W}:}", "w:"),
            ("${aaa:-bbb}}", "bbb}"),
        ],
    );
    check_errors(&[
        ("${NONE?ask ${W}}", "NONE: ask w"),
        ("${NONE?}", "NONE: is not allowed to be unset"),
        ("${EMPTY:?}", "EMPTY: is not allowed to be empty"),
        ("${SET:-${NONE:?always read}}", "NONE: always read"),
    ]);
}

#[test]
fn prefixes_and_suffixes_are_cut() {
    check(
        '\\',
        &[
            ("${USR#*/}", "usr/local/lib/x.tar.gz"),
            ("${USR##*/}", "x.tar.gz"),
            ("${USR#/usr}", "/local/lib/x.tar.gz"),
            ("${USR#usr}", "/usr/local/lib/x.tar.gz"),
            ("${USR#????/}", "local/lib/x.tar.gz"),
            ("${USR#???/}", "/usr/local/lib/x.tar.gz"),
            ("${USR#?????}", "local/lib/x.tar.gz"),
            (r"${STAR#\*}", "star*"),
            ("${A3##a}", "aab"),
            ("${A3##*a}", "b"),
            ("${USR#}", "/usr/local/lib/x.tar.gz"),
            ("${USR##*}", ""),
            ("${USR#*}", "/usr/local/lib/x.tar.gz"),
            ("${USR#[/]}", "/usr/local/lib/x.tar.gz"),
            ("${USR%.*}", "/usr/local/lib/x.tar"),
            ("${USR%%.*}", "/usr/local/lib/x"),
            ("${USR%/*/*}", "/usr/local"),
            ("${USR%%/*}", ""),
            (r"${STAR%\*}", "*star"),
            ("${P%c}${P%b}", "a/b/a/b/c"),
            ("${P#${P%%/*}/}", "b/c"),
            ("[${NONE#x}][${EMPTY%x}]", "[][]"),
            // Without a name.
            ("[${%x}][${-}][${+x}][${?}]", "[][][][]"),
            ("[${/a/b}]", "[]"),
            (r#"${SET#"\v"}${SET#"v\*"}"#, "valuevalue"),
        ],
    );
    check_errors(&[(r"${SET#\a}", "stray backslash"), ("${SET:#x}", ":#"), ("${SET:%x}", ":%")]);
}

#[test]
fn matches_are_replaced() {
    check(
        '\\',
        &[
            ("${V/a/X}", "X.b.a.b/c"),
            ("${V//a/X}", "X.b.X.b/c"),
            ("${V//a/}", ".b..b/c"),
            ("${V/./_}", "a_b.a.b/c"),
            (r"${V//\//-}", "a.b.a.b-c"),
            ("${V/.*/!}", "a!"),
            ("${V//?./Q}", "QQQb/c"),
            ("${V//b*b/}", "a./c"),
            ("${V/nope/X}", "a.b.a.b/c"),
            ("${V//a/$W}", "w.b.w.b/c"),
            ("${V//[ab]/x}", "a.b.a.b/c"),
            ("${V/b/'x y'}", "a.x y.a.b/c"),
            ("${P//${X:-b}/${C%ep}}", "a/de/c"),
            ("${A3//a*c/X}", "aaab"),
            ("${A3//*/X}", "X"),
            ("${W///-}", "-w-"),
            ("[${NONE/a/b}]", "[]"),
            (r"${V/a/\$0}", r"\$0.b.a.b/c"),
        ],
    );
    check_errors(&[("${V/a}", "missing '/'"), ("${V/a/b", "missing '}'")]);
}

#[test]
fn broken_substitutions_are_errors() {
    check_errors(&[
        ("${}", "bad substitution"),
        ("${:x}", "bad substitution"),
        ("${{W}", "bad substitution"),
        ("${.}", "unsupported modifier (.)"),
        ("${", "missing '}'"),
        ("${W", "missing '}'"),
        ("${W:-a ${V}", "missing '}'"),
        ("${W:=a}", "unsupported modifier (:=)"),
        ("${W:YYY}", "unsupported modifier (:Y)"),
        ("${W^}", "unsupported modifier (^)"),
    ]);
}

#[test]
fn words_split_after_expansion() {
    for (text, expected) in [
        ("hello $BLANKS bye", &["hello", "two", "words", "bye"][..]),
        ("a${BLANKS}b", &["a", "two", "words", "b"]),
        ("a\"$BLANKS\"b c", &["a  two   words b", "c"]),
        (r"a\ b '' c", &["a b", "c"]),
        ("80${NONE:-81} $NONE", &["8081"]),
        ("  ", &[]),
    ] {
        let words = expand_words(text, '\\', &vars).expect(text).words;
        assert_eq!(words, expected, "{text}");
    }
}

#[test]
fn heredocs_know_no_quotes() {
    for (body, expected) in [
        ("$W 'it's $W' \"$W\"\n", "w 'it's w' \"w\"\n"),
        (r"\$W a\\b a\nb `x`", r"$W a\b anb `x`"),
        ("${NONE:-\"}\"}", "\"\"}"),
        ("$(echo $1) <<x", "$(echo ) <<x"),
    ] {
        assert_eq!(expand_heredoc(body, &vars).expect(body).text, expected, "{body}");
    }
}

#[test]
fn display_keeps_what_is_unset() {
    let text = r#"RUN "$W" ${NONE} $NONE ${NONE:-x} ${NONE//a/b} '$W'"#;
    assert_eq!(
        expand_for_display(text, '\\', &vars),
        r#"RUN "w" ${NONE} $NONE ${NONE:-x} ${NONE//a/b} '$W'"#
    );
    assert_eq!(expand_for_display("open '$W", '\\', &vars), "open '$W");
}

#[test]
fn unset_names_are_told_once() {
    let expansion = expand_word("$B$A${B:-x}$W", '\\', &vars).expect("expands");
    assert_eq!(expansion.unset, ["B", "A"]);
}

#[test]
fn depth_and_size_are_bounded() {
    let deep = "${a:-".repeat(100_000) + &"}".repeat(100_000);
    assert_eq!(expand_word(&deep, '\\', &vars), Err(ExpandError::TooDeep { limit: MAX_DEPTH }));
    let quoted = "\"${a:-".repeat(100_000);
    assert!(expand_word(&quoted, '\\', &vars).is_err());

    let big = |_: &str| Some("x".repeat(1 << 20));
    for text in ["$a".repeat(40), "${a//x/$a}".to_owned()] {
        let result = expand_word(&text, '\\', &big);
        assert!(matches!(result, Err(ExpandError::TooLong { .. })), "{text}");
    }
}
