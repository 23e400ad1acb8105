//! Refusals, and their words.

use super::{options, rounds};

#[test]
fn errors_say_what_where_and_what_to_do() {
    for (text, expected) in [
        ("FROM $X\n", "Dockerfile:1: the base name \"$X\" is empty: it should not be blank (only"),
        ("FROM \"\"\n", "Dockerfile:1: the base name \"\"\"\" is empty"),
        (
            "ARG BASE=b\nFROM $BSAE\n",
            "the base name \"$BSAE\" is empty: it should not be blank (did \
          you mean $BASE?)",
        ),
        ("FROM --platform=$BULIDPLATFORM a\n", "is unset or empty (did you mean $BUILDPLATFORM?)"),
        ("FROM a:$X\n", "Dockerfile:1: invalid image reference \"a:\""),
        ("FROM UP\n", "invalid image reference \"UP\""),
        ("FROM --platform=$X a\n", "Dockerfile:1: empty platform: \"$X\" is unset or empty (only"),
        ("FROM --platform=a/b/c/d a\n", "Dockerfile:1: invalid platform \"a/b/c/d\""),
        ("ARG A=\"${B:?no B}\"\nFROM a\n", "Dockerfile:1: B: no B"),
        (
            "FROM a\nCOPY --from=0 a b\n",
            "Dockerfile:2: stage 0 not found: COPY --from stands in stage 0 and takes stages above",
        ),
        ("FROM a\nCOPY --from=99999999999999999999999 a b\n", "not found"),
        (
            "FROM a\nCOPY --from=l a b\nFROM a AS l\nFROM 0\nCOPY --from=0 a b\n",
            "Dockerfile:2: stage \"l\" is defined later in the file: only stages above can be \
             taken from (move that stage up)",
        ),
        (
            "FROM a AS me\nCOPY --from=ME a b\n",
            "Dockerfile:2: stage \"ME\" cannot take files from itself",
        ),
        ("FROM a\nCOPY --from=B:x a b\n", "Dockerfile:2: invalid image reference \"B:x\""),
        (
            "FROM a\nRUN --mount=type=bid,target=/in,rw \\\n true\n",
            "Dockerfile:2-3: unknown mount type \"bid\": expected bind, cache, tmpfs, secret or \
             ssh (did you mean bind?)",
        ),
        ("FROM a\nRUN --mount=target=/a/.. x\n", "invalid mount target \"/a/..\": it is the root"),
        ("FROM a\nRUN --mount=type=cache x\n", "invalid mount target \"\": it is the root folder"),
        (
            "FROM a\nRUN true\nRUN --mount=type=tmpfs,target=/x/../dev/ x\n",
            "Dockerfile:3: invalid mount target \"/x/../dev/\": it is /dev, and commands need the \
             devices there (name a folder below it)",
        ),
        (
            "FROM a\nARG P=proc\nRUN --mount=type=secret,id=s,dst=/$P/self/x true\n",
            "Dockerfile:3: invalid mount target \"/proc/self/x\": it is in /proc or /sys, which",
        ),
        (
            "FROM a\nWORKDIR /sys\nRUN --mount=from=b,target=fs x\n",
            "invalid mount target \"fs\": it",
        ),
        (
            "FROM a\nRUN --mount=type=cache,target=/c,source=/s x\n",
            "the source \"/s\" of a cache mount needs from=",
        ),
        (
            "FROM a\nRUN --mount=from=l,target=/m b\nFROM a AS l\nRUN --mount=from=L,target=/m b\n",
            "Dockerfile:4: stage \"L\" cannot take files from itself",
        ),
        (
            "FROM a\nRUN --security=insecure x\n",
            "Dockerfile:2: RUN --security=insecure needs the entitlement security.insecure \
             (--allow security.insecure)",
        ),
        ("FROM a\nCOPY https://u:p@r.example/f /\n", "for COPY: \"https://r.example/f\" (use ADD)"),
        ("FROM a\nCOPY git@r.example:f /\n", "git repository for COPY: \"git@r.example:f\""),
        ("FROM a\nARG U=ftp://r.example/f\nADD $U /\n", "Dockerfile:3: ftp:// is not supported"),
        ("FROM a\nADD https://r.example/f.git#-x /\n", "invalid git reference \"-x\""),
        ("FROM a\nADD --checksum=md5:00 http://r.example/f /\n", "invalid digest \"md5:00\""),
        ("FROM a\nADD --checksum=xx git@r.example:f /\n", "invalid commit checksum \"xx\""),
        (
            "FROM a\nADD --checksum=sha256:00 http://r.example/f http://r.example/g /d/\n",
            "--checksum is for one remote source, not for 2 sources",
        ),
        (
            "FROM a\nADD --keep-git-dir=false git@r.example:f?keep-git-dir=1 /\n",
            "conflicting keep-git-dir: \"true\" and \"false\"",
        ),
        ("FROM a\nADD --checksum=sha256:00 f /\n", "--checksum is only for remote sources: \"f\""),
        (
            "FROM a\nARG M=rwx\nCOPY --chmod=$M a /\n",
            "Dockerfile:3: invalid --chmod \"rwx\": expected an octal mode",
        ),
        ("FROM a\nADD --chmod=888 a /\n", "Dockerfile:2: invalid --chmod \"888\""),
        ("FROM a\nEXPOSE $X http\n", "Dockerfile:2: invalid port \"http\": not a number"),
        ("FROM a\nVOLUME $X\n", "the path \"$X\" of VOLUME is empty after expansion"),
        ("FROM a\nENV $X=1\n", "the name \"$X\" of ENV is empty after expansion"),
        ("FROM a\nSTOPSIGNAL NOPE\n", "invalid signal \"NOPE\""),
        (
            "FROM a\nCOPY <<../x /d/\n../x\n",
            "\"../x\" cannot be the name of a file that COPY makes",
        ),
        ("FROM a\nLABEL a=${V?ask}\n", "Dockerfile:2: V: ask"),
    ] {
        let error = rounds(text, &options(&["linux/amd64", "linux/arm64"])).unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected), "{text}{message}");
        assert_eq!(error.iter().count(), 1, "platforms do not repeat it: {message}");
    }
}

#[test]
fn a_secret_mount_with_from_is_refused_before_any_image_is_asked_for() {
    let text = b"FROM a\nRUN --mount=type=Secret,id=x,from=nosuch.example/b true\n";
    let file = xbuild_dockerfile::parse("Dockerfile", text).unwrap();
    let errors = crate::plan(&file, &options(&["linux/amd64"]), &crate::Images::default());
    let expected = "Dockerfile:2: a mount of type secret cannot have the option from";
    assert_eq!(errors.unwrap_err().to_string(), expected);
}

#[test]
fn an_unknown_target_is_named_with_what_there_is() {
    for (target, expected) in [
        ("bulid", "target stage \"bulid\" not found (did you mean build?)"),
        ("nowhere", "target stage \"nowhere\" not found (the stages are build, run)"),
        ("0", "target stage \"0\" not found (the stages are build, run)"),
    ] {
        let mut options = options(&["linux/amd64"]);
        options.target = Some(target.into());
        let text = "FROM a AS build\nFROM b AS run\n";
        assert_eq!(rounds(text, &options).unwrap_err().to_string(), expected);
    }
}

#[test]
fn errors_in_several_stages_come_together_and_before_any_need() {
    let text = "FROM $X AS a\nFROM UP AS b\nFROM c\nCOPY --from=a a a\nCOPY --from=b b b\n";
    let errors = rounds(text, &options(&["linux/amd64"])).unwrap_err();
    let lines: Vec<u32> =
        errors.iter().map(|error| *error.span.as_ref().unwrap().lines.start()).collect();
    assert_eq!(lines, [1, 2]);
}

#[test]
fn errors_of_instructions_come_together() {
    let text = "FROM scratch AS a\nENV b=${c?one}\nEXPOSE x\nSTOPSIGNAL y\nFROM a\n\
                VOLUME $z\nWORKDIR /\nENTRYPOINT []\nUSER ${u:?two}\n";
    let errors = rounds(text, &options(&["linux/amd64", "linux/arm64"])).unwrap_err();
    let lines: Vec<u32> =
        errors.iter().map(|error| *error.span.as_ref().unwrap().lines.start()).collect();
    assert_eq!(lines, [2, 3, 4, 6, 9], "{errors}");
    let text = "FROM a\nCOPY --from=9 b b\nCOPY --from=LATER b b\nFROM a AS later\nFROM 0\n\
                COPY --from=0 b b\n";
    let errors = rounds(text, &options(&["linux/amd64"])).unwrap_err();
    assert_eq!(errors.iter().count(), 2, "{errors}");
}

#[test]
fn errors_independent_of_missing_images_come_with_the_rest() {
    let text = "FROM $x AS a\nEXPOSE no\nFROM base AS b\nEXPOSE no\nSTOPSIGNAL $S\nUSER ${U?u}\n\
                LABEL a=${\nFROM b\nVOLUME ${\nCOPY --from=a / /\nUSER \"\n";
    let options = options(&["linux/amd64"]);
    let lines = |errors: &crate::PlanErrors| -> Vec<u32> {
        errors.iter().map(|error| *error.span.as_ref().unwrap().lines.start()).collect()
    };
    let errors = rounds(text, &options).unwrap_err();
    assert_eq!(lines(&errors), [1, 4, 7], "{errors}");
    let file = xbuild_dockerfile::parse("Dockerfile", text.replace("$x", "x").as_bytes()).unwrap();
    let errors = crate::check(&file, &options, &crate::Images::default()).unwrap_err();
    assert_eq!(lines(&errors), [2, 4, 7, 9, 11], "{errors}");
}

#[test]
fn a_broken_trigger_is_an_error_of_its_from() {
    let file = xbuild_dockerfile::parse("Dockerfile", b"FROM a\n\nFROM bad\n").unwrap();
    let options = options(&["linux/amd64"]);
    let mut images = crate::Images::default();
    let Ok(crate::Planned::Needs(needs)) = crate::plan(&file, &options, &images) else {
        panic!("nothing needed")
    };
    let config = r#"{"OnBuild": ["FROM x"]}"#;
    images.insert(&needs[0], super::image("bad", &needs[0].platform, config));
    let errors = crate::plan(&file, &options, &images).unwrap_err();
    let expected = "Dockerfile:3: invalid ONBUILD trigger \"FROM x\" of the base \"bad\"";
    assert_eq!(errors.to_string(), expected);
    let error = errors.iter().next().unwrap();
    assert!(std::error::Error::source(error).is_some(), "the reason is a cause");
}

#[test]
fn variables_do_not_fill_the_memory() {
    let mut text = "FROM scratch\nENV a=0123456789abcdef\n".to_owned();
    (0..60).for_each(|_| text.push_str("ENV a=$a$a\n"));
    let error = rounds(&text, &options(&["linux/amd64"])).unwrap_err().to_string();
    assert!(error.contains("the variables of the stage hold more than"), "{error}");
}
