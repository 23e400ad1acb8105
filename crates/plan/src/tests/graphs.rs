//! Graphs as people read them.

use std::collections::HashSet;

use xbuild_model::run::Security;

use super::{graph, options, rounds};
use crate::{Graph, Images, NamedContext, Op, PlanErrors, PlanOptions, Planned, Position};

#[test]
fn a_native_build_stage_is_shared_by_the_targets() {
    let text = "\
FROM --platform=$BUILDPLATFORM busybox AS tools
RUN install compiler

FROM tools AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
RUN make ARCH=$TARGETARCH

FROM busybox
COPY --from=build /src/app /usr/bin/app
RUN app --version
USER app
ENTRYPOINT [\"app\"]
";
    let (graph, rounds) = rounds(text, &options(&["linux/arm64", "linux/amd64"])).unwrap();
    insta::assert_snapshot!(graph.dump());
    let asked: Vec<String> =
        rounds.concat().iter().map(|r| format!("{} {} {}", r.name, r.platform, r.span)).collect();
    assert_eq!(
        asked,
        ["busybox linux/amd64 Dockerfile:1", "busybox linux/arm64 Dockerfile:10"],
        "each once, where first asked for"
    );
}

#[test]
fn one_platform_needs_no_name_in_the_labels() {
    let labels = |text: &str, options: &PlanOptions| -> Vec<String> {
        graph(text, options).vertices.into_iter().map(|vertex| vertex.label).collect()
    };
    let one = options(&["linux/arm64"]);
    assert_eq!(
        labels("FROM busybox\nWORKDIR /\nRUN a\n", &one),
        ["[1/3] FROM busybox", "[3/3] RUN a"]
    );
    assert_eq!(
        labels("FROM busybox AS b\nRUN a\nFROM scratch\nCOPY --from=b a b\n", &one),
        [
            "[b 1/2] FROM busybox",
            "[b 2/2] RUN a",
            "FROM scratch",
            "[stage-1 1/1] COPY --from=b a b"
        ]
    );
    assert_eq!(
        labels("FROM --platform=linux/s390x busybox\nRUN a\n", &one),
        ["[linux/s390x 1/2] FROM busybox", "[linux/s390x 2/2] RUN a"]
    );
    let several = options(&["linux/arm64", "linux/amd64"]);
    assert_eq!(
        labels("FROM --platform=linux/s390x busybox\nRUN a\nARG TARGETARCH\nRUN b\n", &several),
        [
            "[linux/s390x 1/3] FROM busybox",
            "[linux/s390x 2/3] RUN a",
            "[linux/s390x->linux/arm64 3/3] RUN b",
            "[linux/s390x->linux/amd64 3/3] RUN b"
        ]
    );
    assert_eq!(labels("FROM scratch\nCOPY a b\n", &several), ["FROM scratch", "[1/1] COPY a b"]);
}

#[test]
fn the_configuration_is_that_of_all_instructions() {
    let text = "\
FROM rich
ENV A=1 B=\"two words\"
ARG C=3
LABEL l=own \"n\"=$C
WORKDIR app
WORKDIR ../lib/./x/
USER $USERNAME
EXPOSE 80-81 53/udp
VOLUME /data $C
STOPSIGNAL sigusr1
SHELL [\"/bin/bash\", \"-c\"]
HEALTHCHECK --interval=1m30s --retries=3 CMD test -e /up
ONBUILD RUN echo $A
MAINTAINER me
ENTRYPOINT exec app
";
    let mut options = options(&["linux/amd64/v3"]);
    options.labels =
        [("n", "option"), ("o", "x"), ("o", "y")].map(|(a, b)| (a.into(), b.into())).to_vec();
    insta::assert_snapshot!(graph(text, &options).dump());
}

#[test]
fn an_absolute_workdir_stands_in_the_configuration_as_it_is_written() {
    let text = "FROM scratch AS one\nWORKDIR /srv//data/./in/\nRUN [\"a\"]\nWORKDIR sub/\n\
                RUN [\"b\"]\nFROM one\nENV home=/srv/\nWORKDIR $home\nRUN [\"c\"]\n";
    let graph = graph(text, &options(&["linux/amd64"]));
    let folders: Vec<&str> = graph
        .vertices
        .iter()
        .filter_map(|vertex| match &vertex.op {
            Op::Run { request, .. } => Some(request.cwd.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(folders, ["/srv/data/in", "/srv/data/in/sub", "/srv"]);
    let output = &graph.outputs[0];
    assert_eq!(output.config.config.working_dir, "/srv/");
    assert_eq!(output.history[0].created_by, "WORKDIR /srv//data/./in/");
}

#[test]
fn copies_are_resolved_as_far_as_text_goes() {
    let text = "\
FROM scratch
ARG WHO=app NAME=\"a b\"
WORKDIR /srv
COPY --chown=$WHO:staff --chmod=0750 $NAME c .
COPY --link --from=other --exclude=*.o / ../all/
ADD --unpack=false x.tar y/.
COPY <<EOF plain <<'RAW' dir/
hello $WHO
EOF
$raw
RAW
COPY --parents ./a/./b /
";
    let mut options = options(&["linux/amd64"]);
    options.contexts.insert("other".into(), NamedContext::Folder);
    insta::assert_snapshot!(graph(text, &options).dump());
}

#[test]
fn runs_get_all_that_was_said() {
    let text = "\
FROM bare
RUN [\"a\", \"$B\"]
USER root:staff
RUN --network=none cat <<EOF
$text
EOF
RUN --network=host <<EOF
one
two
EOF
SHELL [\"/bin/x\"]
RUN <<\"my script\"
#!/bin/awk -f
my script
ARG HTTP_PROXY
RUN --network=default b
";
    let mut options = options(&["linux/arm/v7"]);
    options.build_args = [
        ("https_proxy", "s"),
        ("HTTP_PROXY", "p"),
        ("BUILDKIT_SANDBOX_HOSTNAME", "box"),
        ("SOURCE_DATE_EPOCH", "17"),
        ("FOO", "unused"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .to_vec();
    insta::assert_snapshot!(graph(text, &options).dump());
}

#[test]
fn triggers_of_an_image_may_ask_for_more() {
    let text = "\
FROM busybox AS tool
FROM onbuild
ENV X=late
";
    let (graph, rounds) = rounds(text, &options(&["linux/amd64"])).unwrap();
    let asked: Vec<Vec<&str>> =
        rounds.iter().map(|r| r.iter().map(|r| r.name.as_str()).collect()).collect();
    assert_eq!(asked, [["onbuild"], ["busybox"]]);
    insta::assert_snapshot!(graph.dump());
}

#[test]
fn a_named_context_stands_in_for_stage_image_and_source() {
    let text = "\
FROM nowhere AS parts
RUN false
FROM r.example/base:3 AS base
FROM base
COPY --from=parts /a /a
COPY --from=docker.io/library/assets:latest /b /b
COPY --from=0 /c /c
FROM root AS unused
FROM root
COPY --from=1 /d /d
COPY --from=2 /e /e
";
    let mut options = options(&["linux/amd64"]);
    options.contexts = [
        ("parts", NamedContext::Folder),
        ("assets", NamedContext::Folder),
        ("Root", NamedContext::Folder),
        ("r.example/base:3", NamedContext::Image("busybox".into())),
    ]
    .map(|(name, context)| (name.to_owned(), context))
    .into();
    insta::assert_snapshot!(graph(text, &options).dump());
}

#[test]
fn only_what_a_run_stands_on_needs_a_folder() {
    let text = "\
FROM busybox AS a
RUN one
COPY x /x
FROM a AS b
WORKDIR /w
COPY --link y /y
RUN two
COPY z /z
FROM busybox:2
COPY --from=b / /
COPY --from=busybox:3 / /
";
    let graph = graph(text, &options(&["linux/amd64"]));
    let folders: Vec<(String, bool)> =
        graph.vertices.iter().map(|v| (v.label.clone(), v.needs_folder)).collect();
    let in_output = graph.vertices.iter().filter(|vertex| vertex.is_in_output);
    let in_output: Vec<&str> = in_output.map(|vertex| &*vertex.label).collect();
    let steps = ["FROM busybox:2", "COPY --from=b / /", "COPY --from=busybox:3 / /"];
    let expected = steps.iter().zip(1..).map(|(step, n)| format!("[stage-2 {n}/3] {step}"));
    assert_eq!(in_output, expected.collect::<Vec<_>>());
    let expected = [
        ("[a 1/3] FROM busybox", true),
        ("[a 2/3] RUN one", true),
        ("[a 3/3] COPY x /x", true),
        ("[b 1/4] WORKDIR /w", true),
        ("[b 2/4] COPY --link y /y", true),
        ("[b 3/4] RUN two", false),
        ("[b 4/4] COPY z /z", false),
        ("[stage-2 1/3] FROM busybox:2", false),
        ("[stage-2 2/3] COPY --from=b / /", false),
        ("FROM busybox:3", false),
        ("[stage-2 3/3] COPY --from=busybox:3 / /", false),
    ];
    assert_eq!(folders, expected.map(|(label, folder)| (label.to_owned(), folder)));
    let link = &graph.vertices[4].op;
    assert!(matches!(link, Op::Files { independent: true, .. }), "{link:?}");
}

/// Plans a RUN on a base for the platform `base` whose configuration is the JSON given.
fn on_a_base(options: &PlanOptions, base: &str, config: &str) -> Graph {
    let file = xbuild_dockerfile::parse("Dockerfile", b"FROM busybox\nRUN a\n").unwrap();
    let mut images = Images::default();
    let request = match crate::plan(&file, options, &images).unwrap() {
        Planned::Needs(needs) => needs[0].clone(),
        Planned::Ready(_) => panic!("nothing needed"),
    };
    images.insert(&request, super::image("busybox", &super::platform(base), config));
    match crate::plan(&file, options, &images).unwrap() {
        Planned::Ready(graph) => graph,
        Planned::Needs(_) => panic!("more needed"),
    }
}

#[test]
fn programs_are_of_the_platform_of_the_base() {
    for (wanted, got, programs) in [
        ("linux/arm/v7", "linux/arm/v6", "linux/arm/v7"),
        ("linux/amd64", "linux/386", "linux/386"),
        ("linux/arm64", "linux/amd64", "linux/amd64"),
    ] {
        let graph = on_a_base(&options(&[wanted]), got, "{}");
        let Op::Run { request, .. } = &graph.vertices[1].op else { panic!("{}", graph.dump()) };
        assert_eq!(request.platform.to_string(), programs);
        assert_eq!(graph.outputs[0].config.architecture, super::platform(wanted).architecture());
    }
}

/// As with BuildKit: an image says what it was asked to be, else what its base says.
#[test]
fn images_without_a_platform_asked_for_have_that_of_their_base() {
    let v8 = r#"{"variant": "v8", "os.version": "1", "config": {}}"#;
    for (asked, base, platform, variant, version) in [
        (None, "linux/amd64", "linux/amd64", None, None),
        (None, "linux/arm64", "linux/arm64", Some("v8"), Some("1")),
        (Some("linux/arm64"), "linux/arm64", "linux/arm64", None, Some("1")),
        (Some("linux/arm/v7"), "linux/arm/v6", "linux/arm/v7", Some("v7"), Some("1")),
        (Some("linux/amd64"), "linux/arm64", "linux/amd64", None, None),
    ] {
        let config = if base == "linux/amd64" { "{}" } else { v8 };
        let graph = on_a_base(&options(asked.as_slice()), base, config);
        let output = &graph.outputs[0];
        assert_eq!(output.platform, super::platform(platform), "{asked:?} {base}");
        assert_eq!(output.config.architecture, output.platform.architecture());
        assert_eq!(output.config.variant.as_deref(), variant, "{asked:?} {base}");
        assert_eq!(output.config.os_version.as_deref(), version, "{asked:?} {base}");
    }
}

#[test]
fn steps_of_stages_that_are_done_anew_are_steps_of_their_own() {
    let text = "FROM busybox AS a\nRUN x\nFROM busybox AS b\nRUN x\nFROM scratch\n\
                COPY --from=a / /a\nCOPY --from=b / /b\n";
    let mut options = options(&["linux/amd64"]);
    let anew = |options: &PlanOptions| {
        let graph = graph(text, options);
        let runs = graph.vertices.iter().filter(|vertex| vertex.op.is_run());
        runs.map(|vertex| vertex.no_cache).collect::<Vec<_>>()
    };
    assert_eq!(anew(&options), [false]);
    options.no_cache_stages = vec!["B".to_owned()];
    assert_eq!(anew(&options), [false, true]);
    options.no_cache_stages.push("a".to_owned());
    assert_eq!(anew(&options), [true]);
}

#[test]
fn equal_steps_are_one_and_unequal_ones_are_not() {
    let count = |text: &str| graph(text, &options(&["linux/amd64"])).vertices.len();
    let pair = |one: &str, two: &str| {
        count(&format!(
            "FROM busybox AS a\n{one}\nFROM busybox AS b\n{two}\nFROM scratch\n\
             COPY --from=a / /a\nCOPY --from=b / /b\n"
        )) - 4
    };
    assert_eq!(pair("RUN x", "RUN x"), 1);
    assert_eq!(pair("LABEL a=1\nRUN x", "LABEL a=2\nRUN x"), 1, "a label is nothing to RUN");
    for (one, two) in [
        ("RUN x", "RUN y"),
        ("RUN [\"a\", \"b\"]", "RUN [\"ab\"]"),
        ("RUN x", "ENV A=1\nRUN x"),
        ("RUN x", "ARG A=1\nRUN x"),
        ("RUN x", "USER app\nRUN x"),
        ("RUN x", "RUN --network=none x"),
        ("COPY a /x", "COPY a /x/"),
        ("COPY a /x", "ADD a /x"),
        ("COPY a /x", "COPY --link a /x"),
        ("COPY a b /x/", "COPY b a /x/"),
        ("COPY --chown=1 a /x", "COPY --chmod=1 a /x"),
        ("WORKDIR /a", "USER app\nWORKDIR /a"),
    ] {
        assert_eq!(pair(one, two), 2, "{one} / {two}");
    }
}

#[test]
fn mounts_are_resolved_as_far_as_text_goes() {
    let text = "\
FROM busybox AS tools
RUN make tool

FROM busybox
ARG PART=beta
ENV PLACE=/mnt
WORKDIR /src
RUN --mount=source=parts/$PART,target=${PLACE}/p --mount=target=ctx,rw \\
    --mount=from=TOOLS,src=../tool,dst=/usr/bin/tool \\
    --mount=from=other,source=f,target=/f --mount=from=bare,target=/image a
RUN --mount=type=cache,target=cache/ --mount=type=cache,target=/c,mode=0755,sharing=locked \\
    --mount=type=cache,id=seeded,target=/s,from=tools,source=/data,ro,uid=7 \\
    --mount=type=cache,id=own,target=/o,from=tools,uid=7 \\
    --mount=type=tmpfs,target=/t,size=1k --mount=type=tmpfs,target=/e,ro b
RUN --mount=type=secret,id=one --mount=type=secret,target=/x/two,required \\
    --mount=type=secret,src=three,env=THREE --mount=type=secret,id=d/four,env=F,target=four \\
    --mount=type=ssh --mount=type=ssh,id=key,mode=0666,target=agent c
";
    let mut options = options(&["linux/arm64", "linux/amd64"]);
    options.platforms.truncate(1);
    options.contexts.insert("other".to_owned(), NamedContext::Folder);
    options.build_args.push(("BUILDKIT_CACHE_MOUNT_NS".to_owned(), "ns".to_owned()));
    insta::assert_snapshot!(graph(text, &options).dump());
}

#[test]
fn insecure_steps_need_the_grant_and_have_keys_of_their_own() {
    let mut options = options(&["linux/amd64"]);
    let run = |options: &PlanOptions, flag: &str| {
        let graph = rounds(&format!("FROM busybox\nRUN {flag} a\n"), options)?.0;
        let last = graph.vertices.last().unwrap();
        let Op::Run { request, .. } = &last.op else { panic!("{}", graph.dump()) };
        Ok::<_, PlanErrors>((request.security, last.key.clone()))
    };
    let plain = run(&options, "").unwrap();
    assert_eq!(plain.0, Security::Sandbox);
    assert_eq!(run(&options, "--security=sandbox").unwrap(), plain);
    assert!(run(&options, "--security=insecure").is_err());
    options.allow_insecure = true;
    // Only a RUN that asks for the grant uses it.
    assert_eq!(run(&options, "").unwrap(), plain);
    let mounted = run(&options, "--mount=type=tmpfs,target=/t").unwrap();
    let insecure = run(&options, "--security=insecure").unwrap();
    let both = run(&options, "--security=insecure --mount=type=tmpfs,target=/t").unwrap();
    assert_eq!((insecure.0, both.0), (Security::Insecure, Security::Insecure));
    let keys = HashSet::from([plain.1, mounted.1, insecure.1, both.1]);
    assert_eq!(keys.len(), 4);
}

#[test]
fn the_source_of_a_mount_is_made_only_if_a_step_needs_it() {
    let text = "\
FROM busybox AS unused
RUN a
FROM busybox AS used
RUN b
FROM scratch
RUN --mount=from=used,target=/m --mount=from=0,target=/n c
";
    let (graph, rounds) = rounds(text, &options(&["linux/amd64"])).unwrap();
    let asked: Vec<String> = rounds.concat().into_iter().map(|request| request.name).collect();
    assert_eq!(asked, ["busybox", "0"], "a number is the name of an image");
    assert!(graph.vertices.iter().all(|vertex| !vertex.label.contains("unused")));
    let needed = |label: &str| {
        graph.vertices.iter().any(|vertex| vertex.label.contains(label) && vertex.needs_folder)
    };
    assert!(needed("RUN b") && needed("FROM 0"), "{}", graph.dump());
}

#[test]
fn a_step_keeps_its_position_whatever_it_says_and_whoever_else_is_built() {
    let positions = |text: &str, platforms: &[&str]| {
        let graph = graph(text, &options(platforms));
        let positions = graph.vertices.iter().map(|vertex| {
            let Position { stage, step, target } = &vertex.position;
            let target = target.as_ref().map_or("-".to_owned(), ToString::to_string);
            format!("{stage} {step} {target} on {}", vertex.platform)
        });
        positions.collect::<Vec<_>>()
    };
    let one = "FROM busybox\nRUN one\nENV A=b\nCOPY a b\n";
    let arm =
        ["stage-0 1", "stage-0 2", "stage-0 3"].map(|p| format!("{p} linux/arm64 on linux/arm64"));
    assert_eq!(positions(one, &["linux/arm64"]), arm);
    assert_eq!(positions("FROM busybox\nRUN two\nCOPY c d\n", &["linux/arm64"]), arm);
    assert_eq!(positions(one, &["linux/amd64", "linux/arm64"])[3..], arm);
    // A step that several platforms share has the place of the first one.
    let cross = "FROM --platform=$BUILDPLATFORM busybox AS b\nRUN x\nARG TARGETARCH\nRUN y\n";
    let expected = ["b 1 linux/arm64", "b 2 linux/arm64", "b 3 linux/arm64", "b 3 linux/386"];
    let expected = expected.map(|position| format!("{position} on linux/amd64"));
    assert_eq!(positions(cross, &["linux/arm64", "linux/386"]), expected);
    let mounting = "FROM busybox\nRUN --mount=target=/in,source=in x\n";
    assert_eq!(positions(mounting, &["linux/amd64"])[1..3], [" 0 - on linux/amd64"; 2]);
}

#[test]
fn long_instructions_take_linear_time() {
    const PAIRS: usize = 200_000;
    let pairs = |value: &str| (0..PAIRS).map(|n| format!(" a{n}{value}")).collect::<String>();
    for text in [
        format!("FROM scratch\nENV{}\n", pairs("=1")),
        format!("FROM scratch\nLABEL{}\n", pairs("=1")),
        format!("FROM scratch\nARG{}\n", pairs("")),
    ] {
        let start = std::time::Instant::now();
        graph(&text, &options(&["linux/amd64"]));
        let taken = start.elapsed();
        // Generous: a debug build on a busy machine. Quadratic time would be minutes.
        assert!(taken.as_secs() < 30, "{}... took {taken:?}", &text[..40]);
    }
}

/// Plans two Dockerfiles, each for one platform, without images.
fn two(files: [&str; 2], change: impl Fn(usize, &mut PlanOptions)) -> Result<Graph, PlanErrors> {
    let platforms = ["linux/amd64", "linux/arm64"];
    let parsed = files.map(|text| xbuild_dockerfile::parse("Dockerfile", text.as_bytes()).unwrap());
    let mut given = platforms.map(|platform| options(&[platform]));
    given.iter_mut().enumerate().for_each(|(number, options)| change(number, options));
    let parts: Vec<_> = parsed.iter().zip(&given).collect();
    match crate::plan_all(&parts, &Images::default())? {
        Planned::Ready(graph) => Ok(graph),
        Planned::Needs(needs) => panic!("{needs:?}"),
    }
}

#[test]
fn dockerfiles_of_one_build_share_steps_that_read_the_same_context() {
    let file =
        "FROM --platform=linux/amd64 scratch AS a\nCOPY x /\nFROM scratch\nCOPY --from=a x /y\n";
    let copies = |graph: &Graph| {
        let is_copy = |vertex: &&crate::Vertex| vertex.label.contains("COPY x /");
        graph.vertices.iter().filter(is_copy).cloned().collect::<Vec<_>>()
    };
    let same = two([file, file], |_, _| ()).unwrap();
    assert_eq!(copies(&same).len(), 1);
    assert_eq!(same.outputs.len(), 2);
    let apart = two([file, file], |number, options| {
        options.main_context = crate::main_context(number);
    });
    let [first, second] = &copies(&apart.unwrap())[..] else { panic!("two contexts, two steps") };
    // What they find in the cache depends on the files alone.
    assert_eq!(first.definition, second.definition);
    assert_ne!(first.key, second.key);
}

#[test]
fn dockerfiles_of_one_build_have_one_time_and_share_arguments() {
    let files =
        ["ARG SOURCE_DATE_EPOCH=1\nFROM scratch\n", "ARG SOURCE_DATE_EPOCH=2\nFROM scratch\n"];
    let error = two(files, |_, _| ()).unwrap_err();
    assert!(error.to_string().contains("\"1\" and \"2\""), "{error}");
    let given = |name: &'static str| {
        move |_: usize, options: &mut PlanOptions| {
            options.build_args = vec![(name.to_owned(), "7".to_owned())];
        }
    };
    let graph = two(files, given("SOURCE_DATE_EPOCH")).unwrap();
    assert_eq!(graph.source_date_epoch.as_deref(), Some("7"));
    let files = ["FROM scratch\nARG one\n", "FROM scratch\n"];
    assert!(two(files, given("one")).unwrap().warnings.is_empty());
    assert_eq!(two(files, given("none")).unwrap().warnings.len(), 1);
}
