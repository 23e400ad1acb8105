//! The value of a variable in each place.

use xbuild_model::remote::RemoteSource;

use super::{graph, options};
use crate::{EpochSource, Graph, NamedContext, Op, PlanErrors, PlanOptions, Warning};

/// Returns the labels of the first output, `name=value`.
fn labels(text: &str, options: &PlanOptions) -> String {
    let graph = graph(text, options);
    let labels = &graph.outputs[0].config.config.labels;
    labels.iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>()
}

fn with_args(args: &[(&str, &str)]) -> PlanOptions {
    let mut options = options(&["linux/arm/v7"]);
    options.build_args = args.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    options
}

#[test]
fn arguments_and_variables() {
    for (lines, args, expected) in [
        // Only FROM sees a global argument, until a stage declares it.
        ("ARG X=g\nFROM scratch\nLABEL a=[$X]\nARG X\nLABEL b=[$X]", &[][..], "a=[] b=[g] "),
        ("ARG X=g\nFROM scratch\nARG X=s\nLABEL a=$X", &[], "a=s "),
        ("ARG X=g\nFROM scratch\nARG X=s\nLABEL a=$X", &[("X", "given")], "a=given "),
        ("ARG X\nFROM scratch\nARG X\nLABEL a=${X-unset}", &[], "a=unset "),
        ("FROM scratch\nARG X\nLABEL a=$X", &[("X", "one"), ("X", "two")], "a=two "),
        ("ARG A=1\nARG B=${A}2\nFROM scratch\nARG B\nLABEL a=$B", &[], "a=12 "),
        // An unused default need not be valid.
        ("FROM scratch\nARG A=\"${B:?give B}\"\nLABEL a=$A", &[("A", "1")], "a=1 "),
        // Left to right in ARG, all at once in ENV.
        ("FROM scratch\nARG A=1 B=${A}2\nLABEL a=$B", &[], "a=12 "),
        ("FROM scratch\nENV A=1\nENV A=2 B=$A\nLABEL a=$A b=$B", &[], "a=2 b=1 "),
        ("FROM scratch\nENV N=A\nENV $N=1\nLABEL $N=$A", &[], "A=1 "),
        // The last of ENV and ARG wins; an argument without a value hides nothing.
        ("FROM scratch\nARG A=arg\nENV A=env\nLABEL a=$A", &[], "a=env "),
        ("FROM scratch\nENV A=env\nARG A=arg\nLABEL a=$A", &[], "a=arg "),
        ("FROM scratch\nENV A=env\nARG A\nLABEL a=$A", &[], "a=env "),
        ("FROM scratch\nENV A=env\nARG A\nLABEL a=$A", &[("A", "given")], "a=given "),
        // A stage passes on both.
        ("FROM scratch AS s\nARG A=1\nENV B=2\nFROM s\nLABEL a=$A b=$B", &[], "a=1 b=2 "),
        // Automatic variables have to be declared, and can be overridden.
        (
            "FROM scratch\nLABEL a=[$TARGETARCH]\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT\n\
             LABEL b=$TARGETPLATFORM,$TARGETOS,$TARGETARCH,$TARGETVARIANT",
            &[],
            "a=[] b=linux/arm/v7,linux,arm,v7 ",
        ),
        (
            "FROM scratch\nARG BUILDPLATFORM BUILDVARIANT TARGETOSVERSION TARGETSTAGE\n\
             LABEL a=$BUILDPLATFORM,${BUILDVARIANT-unset},${TARGETOSVERSION-unset},$TARGETSTAGE",
            &[],
            "a=linux/amd64,,,default ",
        ),
        // Without a target the last stage is it.
        (
            "FROM scratch AS One\nFROM scratch AS Last\nARG TARGETSTAGE\nLABEL a=$TARGETSTAGE",
            &[],
            "a=last ",
        ),
        ("FROM scratch\nARG TARGETARCH=x\nLABEL a=$TARGETARCH", &[], "a=x "),
        ("FROM scratch\nARG TARGETARCH\nLABEL a=$TARGETARCH", &[("TARGETARCH", "x")], "a=x "),
        ("ARG TARGETARCH=x\nFROM scratch\nARG TARGETARCH\nLABEL a=$TARGETARCH", &[], "a=x "),
        // Scratch begins with the default PATH.
        (
            "FROM scratch\nLABEL a=$PATH",
            &[],
            "a=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ",
        ),
        (
            "FROM bare\nLABEL a=${PATH#*bin:}",
            &[],
            "a=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin ",
        ),
        ("FROM rich\nLABEL a=$A l= m=", &[], "a=base l= m= "),
    ] {
        assert_eq!(labels(&format!("{lines}\n"), &with_args(args)), expected, "{lines}");
    }
}

#[test]
fn the_image_keeps_env_and_run_sees_arg_too() {
    let text = "FROM scratch\nENV A=env B=2\nARG A=arg\nARG C\nARG D=\nRUN [\"x\"]\nENV B=3\n";
    let graph = graph(text, &with_args(&[]));
    let env = &graph.outputs[0].config.config.env;
    assert_eq!(env[1..], ["A=env", "B=3"]);
    let Op::Run { request, .. } = &graph.vertices[1].op else { panic!("{}", graph.dump()) };
    let seen: Vec<String> = request.env.iter().map(|(n, v)| format!("{n}={v}")).collect();
    assert_eq!(seen[1..], ["A=arg", "B=2", "D="]);
    let run = &graph.outputs[0].history[4].created_by;
    assert_eq!(run, "RUN |3 A=arg C= D= x # buildkit");
}

#[test]
fn an_entrypoint_takes_an_inherited_command_away() {
    for (lines, cmd, entrypoint) in [
        ("CMD [\"own\"]", Some("own"), Some("run")),
        ("ENTRYPOINT [\"x\"]", None, Some("x")),
        ("CMD [\"own\"]\nENTRYPOINT [\"x\"]", Some("own"), Some("x")),
        ("ENTRYPOINT [\"x\"]\nCMD [\"own\"]", Some("own"), Some("x")),
        ("CMD [\"own\"]\nFROM s\nENTRYPOINT [\"x\"]", None, Some("x")),
        ("ENTRYPOINT []", None, None),
        ("CMD []", None, Some("run")),
    ] {
        let graph = graph(&format!("FROM rich AS s\n{lines}\n"), &with_args(&[]));
        let config = &graph.outputs[0].config.config;
        let first = |words: &Option<Vec<String>>| words.as_ref().map(|words| words[0].clone());
        assert_eq!(first(&config.cmd).as_deref(), cmd, "{lines}");
        assert_eq!(first(&config.entrypoint).as_deref(), entrypoint, "{lines}");
    }
}

#[test]
fn names_of_stages_ignore_case_and_mean_the_last_one_above() {
    for (lines, expected) in [
        ("FROM scratch AS Base\nLABEL a=1\nFROM BASE\n", "a=1 "),
        ("FROM scratch AS s\nLABEL a=1\nFROM s AS s\nLABEL b=2\nFROM s\n", "a=1 b=2 "),
        (
            "FROM scratch AS s\nLABEL a=1\nFROM s AS t\nFROM scratch AS s\nLABEL a=2\nFROM t\n",
            "a=1 ",
        ),
        ("FROM rich AS rich\nLABEL m=own\n", "l=base m=own "),
    ] {
        assert_eq!(labels(lines, &with_args(&[])), expected, "{lines}");
    }
}

#[test]
fn the_target_is_a_name_and_ends_the_build() {
    let mut options = with_args(&[]);
    options.target = Some("SECOND".into());
    let text = "FROM scratch AS first\nLABEL a=1\nFROM first AS Second\nARG TARGETSTAGE\n\
                LABEL b=$TARGETSTAGE\nFROM missing:$NOTHING\nRUN [\"false\"]\n";
    assert_eq!(labels(text, &options), "a=1 b=SECOND ");
}

#[test]
fn a_trigger_runs_once_in_the_child() {
    let text = "FROM scratch AS p\nENV X=p\nONBUILD ENV Y=$X-t\nONBUILD LABEL t=$Y\n\
                FROM p AS c\nLABEL c=$Y\nFROM c\nLABEL g=$Y\n";
    let graph = graph(text, &with_args(&[]));
    let output = &graph.outputs[0];
    let history: Vec<&str> = output.history.iter().map(|h| h.created_by.as_str()).collect();
    let expected = ["ENV X=p", "ENV Y=p-t", "LABEL t=p-t", "LABEL c=p-t", "LABEL g=p-t"];
    assert_eq!(history, expected);
    assert!(output.config.config.on_build.is_empty());
}

#[test]
fn warnings_name_what_has_no_effect() {
    let mut options = with_args(&[("A", "1"), ("B", "2"), ("HTTP_PROXY", "p"), ("C", "3")]);
    options.platforms = vec![super::platform("linux/amd64"), super::platform("linux/arm64")];
    options.build_args.push(("BUILDKIT_INLINE_CACHE".into(), "1".into()));
    let graph = graph("ARG A\nFROM busybox AS unused\nARG B\nFROM busybox\n", &options);
    let warnings: Vec<String> = graph.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings, ["build argument \"C\" is not declared by any ARG"]);
}

#[test]
fn the_epoch_of_a_build() {
    let epoch = |text: &str, args: &[(&str, &str)]| graph(text, &with_args(args)).source_date_epoch;
    let global = "ARG SOURCE_DATE_EPOCH=1\nFROM scratch\n";
    assert_eq!(epoch(global, &[]).as_deref(), Some("1"));
    assert_eq!(epoch(global, &[("SOURCE_DATE_EPOCH", "2")]).as_deref(), Some("2"));
    assert_eq!(epoch("FROM scratch\nARG SOURCE_DATE_EPOCH=1\n", &[]), None);
}

#[test]
fn the_epoch_of_the_context() {
    let by_file = "ARG SOURCE_DATE_EPOCH=context\nFROM scratch\nARG SOURCE_DATE_EPOCH\n\
                   ENV E=$SOURCE_DATE_EPOCH\n";
    let by_option = "FROM scratch\nARG SOURCE_DATE_EPOCH\nENV E=$SOURCE_DATE_EPOCH\n";
    for (text, args) in [(by_file, vec![]), (by_option, vec![("SOURCE_DATE_EPOCH", "context")])] {
        let mut options = with_args(&args);
        let unknown = graph(text, &options);
        assert_eq!(unknown.source_date_epoch, None);
        assert_eq!(unknown.warnings, [Warning::UnknownEpoch { name: "context".to_owned() }]);
        options.epochs.insert("context".to_owned(), Some("5".to_owned()));
        let known = graph(text, &options);
        assert_eq!(known.source_date_epoch.as_deref(), Some("5"));
        assert_eq!(known.warnings, []);
        let env = |graph: &Graph| graph.outputs[0].config.config.env.clone();
        assert!(env(&known).contains(&"E=5".to_owned()), "{:?}", env(&known));
        assert!(env(&unknown).contains(&"E=".to_owned()), "{:?}", env(&unknown));
    }
    // The command line overrides it.
    let plain = graph(by_file, &with_args(&[("SOURCE_DATE_EPOCH", "7")]));
    assert_eq!((plain.source_date_epoch.as_deref(), plain.warnings.len()), (Some("7"), 0));
}

#[test]
fn a_command_knows_which_of_its_variables_are_arguments() {
    for (lines, args, expected) in [
        ("ARG A=1 B\nENV C=2\nRUN x", &[][..], &["A"][..]),
        ("ARG A B\nRUN x", &[("B", "1")], &["B"]),
        // The last of ENV and ARG wins.
        ("ARG A=1\nENV A=2\nRUN x", &[], &[]),
        ("ENV A=2\nARG A=1\nRUN x", &[], &["A"]),
        ("ARG TARGETARCH\nRUN x", &[], &["TARGETARCH"]),
    ] {
        let graph = graph(&format!("FROM busybox\n{lines}"), &with_args(args));
        let Op::Run { arguments, .. } = &graph.vertices[1].op else { panic!("{}", graph.dump()) };
        assert_eq!(arguments, expected, "{lines}");
    }
}

const BY_STAGE: &str = "ARG VERSION=1\nARG SOURCE_DATE_EPOCH=Source\nFROM scratch AS source\nARG NAME=f\n\
     ADD --checksum=sha256:1111111111111111111111111111111111111111111111111111111111111111 \
     https://host.example/$NAME-$VERSION /\nFROM scratch\nARG SOURCE_DATE_EPOCH\n\
     ENV E=$SOURCE_DATE_EPOCH\n";

fn epoch_source(
    text: &str,
    options: &PlanOptions,
) -> Result<Option<(String, EpochSource)>, PlanErrors> {
    let file = xbuild_dockerfile::parse("Dockerfile", text.as_bytes()).unwrap();
    crate::epoch_source(&file, options)
}

#[test]
fn the_epoch_of_a_stage_or_context() {
    let mut options = with_args(&[]);
    let (name, source) = epoch_source(BY_STAGE, &options).unwrap().unwrap();
    let EpochSource::Remote(RemoteSource::Http(http)) = source else { panic!("{source:?}") };
    assert_eq!((name.as_str(), http.url.as_str()), ("Source", "https://host.example/f-1"));
    assert!(http.checksum.is_some());
    options.epochs.insert(name, Some("5".to_owned()));
    assert_eq!(epoch_source(BY_STAGE, &options).unwrap(), None);
    let known = graph(BY_STAGE, &options);
    assert_eq!(known.source_date_epoch.as_deref(), Some("5"));
    assert!(known.outputs[0].config.config.env.contains(&"E=5".to_owned()));
    options.epochs.insert("Source".to_owned(), None);
    let unknown = graph(BY_STAGE, &options);
    assert_eq!(unknown.source_date_epoch, None);
    assert_eq!(unknown.warnings, [Warning::UnknownEpoch { name: "Source".to_owned() }]);
    // A context goes before a stage of its name.
    let mut options = with_args(&[]);
    options.contexts.insert("source".into(), NamedContext::Folder);
    let (_, source) = epoch_source(BY_STAGE, &options).unwrap().unwrap();
    assert_eq!(source, EpochSource::Context("source".to_owned()));
    for time in ["", "7", "-1"] {
        let given = with_args(&[("SOURCE_DATE_EPOCH", time)]);
        assert_eq!(epoch_source(BY_STAGE, &given).unwrap(), None, "{time}");
    }
}

#[test]
fn an_epoch_that_names_nothing_usable_is_refused() {
    let stage = |lines: &str| format!("ARG SOURCE_DATE_EPOCH=s\n{lines}\nFROM scratch\n");
    for (text, expected) in [
        (stage(""), "Dockerfile:1: invalid SOURCE_DATE_EPOCH \"s\": expected whole seconds since"),
        (stage("FROM busybox AS s"), "Dockerfile:2: SOURCE_DATE_EPOCH cannot be the time of the"),
        (stage("FROM scratch AS s"), "the stage \"s\": it has no ADD"),
        (stage("FROM scratch AS s\nADD a /"), "Dockerfile:3: SOURCE_DATE_EPOCH cannot be"),
        (
            stage("FROM scratch AS s\nADD http://a.example/b /\nADD http://a.example/b /"),
            "Dockerfile:4: SOURCE_DATE_EPOCH cannot be the time of the stage \"s\": it has more than",
        ),
        (
            stage("FROM scratch AS s\nADD http://a.example/b http://a.example/c /"),
            "its ADD is not of one URL or repository",
        ),
    ] {
        let errors = epoch_source(&text, &with_args(&[])).unwrap_err().to_string();
        assert!(errors.contains(expected), "{text}: {errors}");
        let planned = super::rounds(&text, &with_args(&[])).unwrap_err().to_string();
        assert!(planned.contains(expected), "{text}: {planned}");
    }
    let given = with_args(&[("SOURCE_DATE_EPOCH", "yesterday")]);
    let errors = epoch_source(BY_STAGE, &given).unwrap_err().to_string();
    assert!(errors.starts_with("invalid SOURCE_DATE_EPOCH \"yesterday\""), "{errors}");
}
