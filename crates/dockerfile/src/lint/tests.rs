//! The findings of each rule, and their places.

use crate::{Checks, Dockerfile, lint, parse};

fn tree(text: &str) -> Dockerfile {
    parse("Dockerfile", text.as_bytes()).unwrap_or_else(|errors| panic!("{text}: {errors}"))
}

/// Returns `line rule` of each warning.
fn found(text: &str) -> Vec<String> {
    let tree = tree(text);
    let warnings = lint(&tree, &Checks::of(&tree));
    warnings.iter().map(|it| format!("{} {}", it.span.lines.start(), it.rule)).collect()
}

#[track_caller]
fn check(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        assert_eq!(found(text), *expected, "{text}");
    }
}

#[test]
fn case() {
    check(&[
        ("FROM a AS Big\n", &["1 StageNameCasing"]),
        ("FROM --platform=x a as b\n", &["1 FromAsCasing"]),
        ("from a AS b\n", &["1 FromAsCasing"]),
        ("FROM a aS b\n", &["1 FromAsCasing"]),
        ("From a As b\n", &["1 ConsistentInstructionCasing"]),
        ("FROM a\nRUN b\nrun c\n", &["3 ConsistentInstructionCasing"]),
        ("from a\nrun b\nRUN c\n", &["3 ConsistentInstructionCasing"]),
        ("FROM a\nrun b\n", &["2 ConsistentInstructionCasing"]),
        ("frOM a\nrun b\nrun c\n", &["1 ConsistentInstructionCasing"]),
        ("from a as b\nrun c\n", &[]),
        ("arg x\nFROM a\nONBUILD run c\nRUN <<e\nrun\ne\n", &[]),
    ]);
}

#[test]
fn names_of_stages() {
    check(&[
        ("FROM a AS b\nFROM a AS c\nFROM a AS B\n", &["3 StageNameCasing", "3 DuplicateStageName"]),
        ("FROM a AS scratch\nFROM a AS context\n", &["1 ReservedStageName", "2 ReservedStageName"]),
        ("FROM a\nFROM a\n", &[]),
    ]);
}

#[test]
fn old_forms() {
    check(&[
        ("FROM a\nMAINTAINER b\n", &["2 MaintainerDeprecated"]),
        (
            "FROM a\nENV b c\nLABEL d e=f\nENV g=h\n",
            &["2 LegacyKeyValueFormat", "3 LegacyKeyValueFormat"],
        ),
        ("FROM a\nRUN b \\\n\n\n  c\n", &["3 NoEmptyContinuation"]),
        ("FROM a\nRUN b \\\n# c\n  d\n", &[]),
    ]);
}

#[test]
fn repeated_instructions() {
    check(&[
        (
            "FROM a\nCMD [\"b\"]\nHEALTHCHECK NONE\nCMD [\"c\"]\nRUN d\nHEALTHCHECK CMD e\nCMD [\"f\"]\n",
            &[
                "2 MultipleInstructionsDisallowed",
                "3 MultipleInstructionsDisallowed",
                "4 MultipleInstructionsDisallowed",
            ],
        ),
        ("FROM a AS b\nCMD [\"c\"]\nENTRYPOINT [\"e\"]\nFROM b\nCMD [\"d\"]\n", &[]),
        ("FROM a\nCMD [\"b\"]\n# check=skip=all\nCMD [\"c\"]\n", &[]),
    ]);
}

#[test]
fn secrets() {
    check(&[
        ("ARG TOKEN\nFROM a\nARG GITHUB_TOKEN\n", &["3 SecretsUsedInArgOrEnv"]),
        ("FROM a\nENV x=1 Api=2 db_Passwd=3\n", &["2 SecretsUsedInArgOrEnv"]),
        ("FROM a\nENV PASSWORD p\n", &["2 LegacyKeyValueFormat", "2 SecretsUsedInArgOrEnv"]),
        ("FROM a\nARG PUBLIC_KEY TOKEN_FILE AUTH_VERSION KEYS TOKENIZER MONKEY=1\n", &[]),
    ]);
}

#[test]
fn comments_describe_only_if_asked() {
    let file = "# a b\nARG a\n# x\nARG c\n# x\n\nARG d\n# x\n#\nARG e\n# f g\n# x\nARG h i\n\
                # b is it\nFROM s AS b\n# x\nRUN c\n# z\nFROM s\n";
    assert_eq!(found(file), [""; 0]);
    let asked = format!("# check=experimental=all\n{file}");
    assert_eq!(
        found(&asked),
        ["5 InvalidDefinitionDescription", "14 InvalidDefinitionDescription"]
    );
}

#[test]
fn checks_are_skipped_for_a_file_or_an_instruction() {
    let body = "FROM a as B\nMAINTAINER c\n";
    let all = ["StageNameCasing", "FromAsCasing", "MaintainerDeprecated"];
    for (head, expected) in [
        ("# check=skip=all\n", &[][..]),
        ("#check=skip=StageNameCasing, and why\n", &all[1..]),
        ("# check=error=true\n", &all),
        ("# a comment\n# check=skip=FromAsCasing\n", &[all[0], all[2]]),
        ("# check=skip=FromAsCasing // why\n# a comment\n\n", &[all[0], all[2]]),
        ("\n# check=skip=all\n\n# check=nonsense\n", &all),
        ("\n# check=skip=all\n#\n", &all),
    ] {
        let rules = found(&format!("{head}{body}"));
        let rules: Vec<&str> = rules.iter().filter_map(|it| it.split(' ').nth(1)).collect();
        assert_eq!(rules, expected, "{head}");
    }
}
