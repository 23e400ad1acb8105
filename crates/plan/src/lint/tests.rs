//! The findings of each rule, and their places.

use xbuild_dockerfile::{Checks, parse};

use crate::tests::{image, options};
use crate::{Images, PlanOptions, Planned, lint, plan};

/// Returns `line rule: message` of each warning. Base images `known..` are known, others are not.
fn found_with(text: &str, options: &PlanOptions) -> Vec<String> {
    let file = parse("Dockerfile", text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let mut images = Images::default();
    if let Ok(Planned::Needs(needs)) = plan(&file, options, &images) {
        for need in needs.iter().filter(|need| need.name.starts_with("known")) {
            let config = match need.name.as_str() {
                "known-shell" => r#"{"Shell": ["/bin/bash", "-c"]}"#,
                "known-trigger" => r#"{"OnBuild": ["LABEL a=$NONE"]}"#,
                _ => r#"{"Env": ["BASE=1"], "WorkingDir": "/base"}"#,
            };
            let mut platform = need.platform.clone();
            if need.name == "known-foreign" {
                platform = "linux/s390x".parse().unwrap();
            }
            images.insert(need, image(&need.name, &platform, config));
        }
    }
    let ignored = |path: &str| path == "out" || path.starts_with("out/");
    let warnings = lint(&file, options, &images, &Checks::of(&file), &ignored);
    let line = |it: &xbuild_dockerfile::Diagnostic| *it.span.lines.start();
    warnings.iter().map(|it| format!("{} {}: {}", line(it), it.rule, it.message)).collect()
}

#[track_caller]
fn check(cases: &[(&str, &[&str])]) {
    for (text, expected) in cases {
        let found = found_with(text, &options(&["linux/amd64", "linux/arm64"]));
        let matching = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, part)| found.contains(part));
        assert!(matching, "{text}{found:#?}");
    }
}

#[test]
fn variables_of_from() {
    check(&[
        ("ARG a=known\nFROM $a\nRUN x\n", &["1"; 0]),
        ("FROM --platform=$BUILDPLATFORM scratch\n", &[]),
        ("ARG D\nFROM scra${D:-tch}\n", &[]),
        (
            "FROM --platform=$BULIDPLATFORM scratch\n",
            &["1 UndefinedArgInFrom: the variable $BULIDPLATFORM is not declared by an ARG above \
               the first FROM (did you mean $BUILDPLATFORM?)"],
        ),
        ("ARG t=1\nFROM x:${t}${version}\n", &["2 UndefinedArgInFrom: the variable $version is"]),
        ("FROM scratch AS unused\nFROM x$y AS z\nFROM scratch\n", &["2 UndefinedArgInFrom"]),
        (
            "FROM --platform=$TARGETPLATFORM scratch\n",
            &["1 RedundantTargetPlatform: --platform=$T"],
        ),
        ("FROM --platform=${TARGETPLATFORM} scratch\n", &["1 RedundantTargetPlatform"]),
        ("FROM --platform=$TARGETOS/$TARGETARCH scratch\n", &[]),
        ("FROM --platform=linux/arm64 scratch\n", &["1 FromPlatformFlagConstDisallowed"]),
        ("FROM --platform=linux/arm64 scratch AS for-arm64\n", &[]),
        ("FROM --platform=linux/arm64 scratch AS linux\n", &[]),
        ("FROM --platform=nonsense/a/b/c scratch\n", &[]),
        (
            "FROM known-foreign\n",
            &[
                "1 InvalidBaseImagePlatform: the base image known-foreign is for \
                                   linux/s390x, not for linux/amd64",
                "linux/arm64",
            ],
        ),
    ]);
}

#[test]
fn defaults_of_from() {
    let mut with = options(&["linux/amd64"]);
    with.build_args = vec![("V".into(), "box:1".into())];
    for (text, expected) in [
        ("ARG V\nFROM busy:${V}\n", 1),
        ("ARG V=\"x:\"\nFROM busy$V\n", 1),
        ("ARG V\nFROM $V\n", 1),
        ("ARG V\nFROM busy$V\n", 0),
        ("ARG V=x\nFROM busy:$V\n", 0),
        ("ARG V\nFROM ${V:-scratch}\n", 0),
        ("FROM scratch AS Up\nFROM Up\n", 0),
    ] {
        let found = found_with(text, &with);
        let found = found.iter().filter(|it| it.starts_with("2 InvalidDefaultArgInFrom")).count();
        assert_eq!(found, expected, "{text}");
    }
}

#[test]
fn variables_of_stages() {
    check(&[
        ("FROM scratch\nARG a\nCOPY x$a .\nENV b=$PATH\n", &[]),
        ("FROM scratch AS a\nARG x=1\nFROM a\nCOPY $x .\n", &[]),
        ("ARG x=1\nFROM scratch\nCOPY $x .\n", &["not set: ARG x declares it here"]),
        ("FROM known\nCOPY $BASE .\n", &[]),
        ("FROM known-trigger\n", &["1 UndefinedVar: the variable $NONE is not set"]),
        ("FROM unknown\nCOPY $BASE .\nFROM scratch\nCOPY --from=0 / /\n", &[]),
        (
            "FROM scratch\nCOPY $x .\nARG x\nCOPY $x .\n",
            &["2 UndefinedVar: the variable $x is not"],
        ),
        (
            "FROM scratch\nARG DIR_ASSETS=a\nCOPY $DIR_ASSET .\nENV PATH=$PAHT:/x\n",
            &[
                "3 UndefinedVar: the variable $DIR_ASSET is not set (did you mean $DIR_ASSETS?)",
                "4 UndefinedVar: the variable $PAHT is not set (did you mean $PATH?)",
            ],
        ),
        (
            "FROM scratch\nRUN --mount=type=cache,target=/$t echo $u\nCMD [\"$v\"]\n\
             COPY <<E <<'F' /x/\n$w\nE\n$y\nF\nEXPOSE $z\nARG q=$r s=$q\nHEALTHCHECK CMD $t\n",
            &[
                "2 UndefinedVar: the variable $t",
                "4 UndefinedVar: the variable $w",
                "9 UndefinedVar: the variable $z",
                "10 UndefinedVar: the variable $r",
            ],
        ),
        // The default of an ARG sees those to its left and those before, not itself.
        ("FROM scratch\nARG a=${a:-x}\nARG a=$a b=$a\n", &["2 UndefinedVar: the variable $a"]),
        ("FROM scratch\nARG a=$b b=$a\n", &["2 UndefinedVar: the variable $b"]),
        ("FROM scratch AS first\nCOPY $a .\nFROM scratch\nCOPY $b .\n", &["4 UndefinedVar"]),
        ("FROM scratch\n# check=skip=UndefinedVar\nCOPY $a .\n", &[]),
        ("# check=skip=all\nFROM scratch\nCOPY $a .\n", &[]),
    ]);
    let mut all = options(&["linux/amd64"]);
    all.every_stage = true;
    let both = found_with("FROM scratch AS first\nCOPY $a .\nFROM scratch\nCOPY $b .\n", &all);
    assert_eq!(both.len(), 2);
    all.build_args = vec![("a".into(), "1".into())];
    assert_eq!(found_with("FROM scratch\nARG a=$x\n", &all), [""; 0]);
}

#[test]
fn instructions() {
    check(&[
        (
            "FROM scratch\nCMD a\nENTRYPOINT b\n",
            &["2 JSONArgsRecommended: CMD in shell form", "3 JSONArgsRecommended: ENTRYPOINT"],
        ),
        ("FROM scratch AS a\nSHELL [\"x\"]\nCMD b\nFROM a\nCMD c\n", &[]),
        ("FROM known-shell\nCMD b\n", &[]),
        (
            "FROM scratch\nWORKDIR app/\nWORKDIR more\n",
            &["2 WorkdirRelativePath: the relative path \"app/\""],
        ),
        ("FROM scratch AS a\nWORKDIR /app\nFROM a\nWORKDIR sub\n", &[]),
        ("FROM scratch\nARG d=/x\nWORKDIR $d\n", &[]),
        (
            "FROM scratch\nARG p=1/TCP\nEXPOSE $p 2/udp 127.0.0.1:3:3 [::1]:4:4\n",
            &[
                "3 ExposeProtoCasing: the protocol of \"1/TCP\"",
                "3 ExposeInvalidFormat: \"127.",
                "3 ExposeInvalidFormat: \"[::1]:4:4\"",
            ],
        ),
        (
            "FROM scratch AS a\nARG o=out\nCOPY in $o/x /\nADD out https://r.example/out /\n\
             COPY <<out /\nout\nFROM a\nCOPY --from=a out /\n",
            &["3 CopyIgnoredFile: the ignore file excludes \"out/x\"", "4 CopyIgnoredFile"],
        ),
    ]);
}

#[test]
fn a_file_with_errors_is_linted_as_far_as_it_goes() {
    check(&[
        (
            "FROM scratch\nCOPY $a .\nENV b=${c?ask}\nCOPY $d .\n",
            &["2 UndefinedVar: the variable $a", "3 UndefinedVar: the variable $c"][..1],
        ),
        ("FROM $x\n", &["1 UndefinedArgInFrom", "1 InvalidDefaultArgInFrom"]),
        (
            "FROM $x AS a\nFROM a\nCMD b\n",
            &["1 UndefinedArgInFrom", "1 InvalidDefaultArgInFrom", "3 JSONArgsRecommended"],
        ),
        ("ARG a=${b?c}\nFROM scratch\nCMD b\n", &[]),
    ]);
}

#[test]
fn long_files_take_linear_time() {
    const LINES: usize = 10_000;
    let lines = |line: &dyn Fn(usize) -> String| (0..LINES).map(line).collect::<String>();
    for text in [
        format!("{}FROM scratch\n", lines(&|n| format!("ARG a{n}\n"))),
        lines(&|n| format!("ARG a{n}\n")) + &lines(&|n| format!("FROM $b{n}\n")),
        format!("FROM scratch\n{}", lines(&|n| format!("ENV a{n}=$b{n}\n"))),
        format!("FROM scratch AS s\n{}", lines(&|_| "FROM s AS s\nENV a=$b\n".to_owned())),
        format!("FROM scratch\n{}", lines(&|_| "CMD a\nENV a=$a\n".to_owned())),
        format!("FROM scratch\nARG{}", lines(&|n| format!(" a{n}=$b{n}"))),
    ] {
        let start = std::time::Instant::now();
        found_with(&text, &options(&["linux/amd64"]));
        let taken = start.elapsed();
        // Generous: a debug build on a busy machine. Quadratic time would be minutes.
        assert!(taken.as_secs() < 30, "{}... took {taken:?}", &text[..40]);
    }
}
