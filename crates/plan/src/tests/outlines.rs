//! What a target can be given, compared with BuildKit's answers.

use super::{answer, options};
use crate::{Images, Outline, PlanErrors, Planned, outline, plan};

fn of(text: &str, target: Option<&str>, args: &[(&str, &str)]) -> Result<Outline, PlanErrors> {
    let file = xbuild_dockerfile::parse("Dockerfile", text.as_bytes()).unwrap();
    let mut options = options(&["linux/arm64", "linux/amd64"]);
    options.target = target.map(str::to_owned);
    options.build_args = args.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    let mut images = Images::default();
    while let Planned::Needs(needs) = plan(&file, &options, &images)? {
        needs.iter().for_each(|request| images.insert(request, answer(request)));
    }
    outline(&file, &options, &images)
}

/// Returns the arguments, as `LINE NAME=VALUE (DESCRIPTION)`.
fn arguments(outline: &Outline) -> Vec<String> {
    let lines = outline.arguments.iter().map(|argument| {
        let description = argument.description.as_ref().map(|text| format!(" ({text})"));
        let value = argument.value.as_ref().map(|value| format!("={value}"));
        format!(
            "{} {}{}{}",
            argument.span.lines.start(),
            argument.name,
            value.unwrap_or_default(),
            description.unwrap_or_default()
        )
    });
    lines.collect()
}

/// The file of BuildKit's own test.
const STAGES: &str = "
ARG inherited=box
ARG inherited2=box2
ARG unused=abc${inherited2}
# sfx is a suffix
ARG sfx=\"usy${inherited}\"

FROM b${sfx} AS first
# this is not assigned to anything
ARG FOO=123
# BAR is a number
ARG BAR=456
RUN true

FROM alpine${unused} AS second
ARG BAZ
RUN true

FROM scratch AS third
ARG ABC=a
# check=skip=all
ARG password
# alternate_password will show up in the outline
# check=skip=all
ARG alternate_password

# target defines build target
FROM third AS target
COPY --from=first /etc/passwd /

FROM second
";

#[test]
fn the_arguments_of_a_target_are_those_of_the_stages_that_it_needs() {
    let outline = of(STAGES, Some("target"), &[("BAR", "678")]).unwrap();
    assert_eq!(outline.name.as_deref(), Some("target"));
    assert_eq!(outline.description.as_deref(), Some("defines build target"));
    assert_eq!(
        arguments(&outline),
        [
            "2 inherited=box",
            "6 sfx=usybox (is a suffix)",
            "10 FOO=123",
            "12 BAR=678 (is a number)",
            "20 ABC=a",
            "22 password",
            "25 alternate_password (will show up in the outline)",
        ]
    );
    let outline = of(STAGES, None, &[]).unwrap();
    assert_eq!((outline.name.as_deref(), outline.description.as_deref()), (None, None));
    let all = ["3 inherited2=box2", "4 unused=abcbox2", "16 BAZ"];
    assert_eq!(arguments(&outline), all);
}

#[test]
fn arguments_that_are_made_of_each_other_are_there_once() {
    let text = "
ARG FOO=123
ARG ABC=abc
ARG DEF=def
ARG FOO=${FOO}${ABC}
ARG BAR=${FOO}456
ARG FOO=${FOO}456${BAR}
FROM scratch
ARG FOO
ARG INFOO=123
ARG INBAR=${INFOO}456
ARG INFOO=${INFOO}456${INBAR}
";
    assert_eq!(
        arguments(&of(text, None, &[]).unwrap()),
        [
            "3 ABC=abc",
            "6 BAR=123abc456",
            "7 FOO=123abc456123abc456",
            "11 INBAR=123456",
            "12 INFOO=123456123456",
        ]
    );
}

#[test]
fn secrets_and_agents_have_their_first_place() {
    let text = "
FROM busybox AS first
RUN --mount=type=secret,target=/etc/passwd,required=true --mount=type=ssh true

FROM alpine AS second
RUN --mount=type=secret,id=unused --mount=type=ssh,id=ssh2 true

FROM scratch AS third
ARG BAR
RUN --mount=type=secret,id=second${BAR} true

FROM third AS target
COPY --from=first /foo /
RUN --mount=type=ssh,id=ssh3,required true
RUN --mount=type=ssh,id=ssh3 true

FROM second
";
    let outline = of(text, Some("target"), &[("BAR", "678")]).unwrap();
    let shown = |mounts: &[crate::OutlinedMount]| {
        let mounts = mounts.iter();
        let shown =
            mounts.map(|one| format!("{} {} {}", one.span.lines.start(), one.id, one.required));
        shown.collect::<Vec<_>>()
    };
    assert_eq!(shown(&outline.secrets), ["3 passwd true", "10 second678 false"]);
    assert_eq!(shown(&outline.agents), ["3 default false", "14 ssh3 true"]);
}

#[test]
fn the_argument_of_the_target_hides_those_below() {
    let text = "FROM scratch AS a\nARG X=a\nFROM scratch AS b\nARG X=b\nFROM a\nCOPY --from=b / /\nARG X=c\n";
    assert_eq!(arguments(&of(text, None, &[]).unwrap()), ["7 X=c"]);
    let text =
        "FROM scratch AS a\nARG X=a\nFROM scratch AS b\nARG X=b\nFROM a\nCOPY --from=b / /\n";
    assert_eq!(arguments(&of(text, None, &[]).unwrap()), ["2 X=a"]);
    // The builder sets these.
    let text = "FROM scratch\nARG TARGETARCH\nARG HTTP_PROXY\n";
    assert_eq!(arguments(&of(text, None, &[]).unwrap()), ["3 HTTP_PROXY"]);
    assert!(of("FROM scratch\n", Some("none"), &[]).is_err());
}

#[test]
fn a_long_chain_of_stages_is_no_deep_recursion() {
    let mut text = "FROM scratch AS s0\nARG A=1\n".to_owned();
    for index in 1..20_000 {
        text.push_str(&format!("FROM s{} AS s{index}\n", index - 1));
    }
    assert_eq!(arguments(&of(&text, None, &[]).unwrap()), ["2 A=1"]);
}
