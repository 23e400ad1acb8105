//! What is refused, and in which words.

use super::{options, rounds};

#[test]
fn errors_say_what_where_and_what_to_do() {
    for (text, expected) in [
        ("FROM $X\n", "Dockerfile:1: the base name \"$X\" is empty: it should not be blank (only"),
        ("FROM \"\"\n", "Dockerfile:1: the base name \"\\\"\\\"\" is empty"),
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
            "Dockerfile:2: stage \"l\" is defined later in the file: COPY --from takes stages \
             above it (move that stage up)",
        ),
        (
            "FROM a AS me\nCOPY --from=ME a b\n",
            "Dockerfile:2: stage \"ME\" cannot copy from itself",
        ),
        ("FROM a\nCOPY --from=B:x a b\n", "Dockerfile:2: invalid image reference \"B:x\""),
        (
            "FROM a\nRUN --mount=type=bind,target=/in,rw \\\n true\n",
            "Dockerfile:2-3: RUN --mount=type=bind,target=/in,rw is not implemented yet",
        ),
        (
            "FROM a\nRUN --security=insecure x\n",
            "Dockerfile:2: RUN --security=insecure needs the \
          entitlement security.insecure",
        ),
        ("FROM a\nADD https://r.example/f /\n", "ADD of a URL (https://r.example/f) is not"),
        ("FROM a\nARG U=git://r.example/f\nADD $U /\n", "ADD of a git repository (git://r.ex"),
        ("FROM a\nADD --checksum=sha256:00 f /\n", "--checksum is only for remote sources: \"f\""),
        ("FROM a\nADD --keep-git-dir f /\n", "ADD --keep-git-dir is not implemented yet"),
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
