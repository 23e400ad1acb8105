//! The reasons why steps run, as plain progress says them.

use std::fs;

use crate::harness::{Finished, Place, User, needs, to_layout};

const DOCKERFILE: &str = "\
ARG BASE=busybox
FROM $BASE
COPY src /src/
ARG X=1
ARG Y=s3cret-1
RUN echo $X > /x
RUN --mount=source=in,target=/in cat /in > /copy
";

fn place(user: User) -> Place {
    let place = Place::new(user);
    place.dockerfile(DOCKERFILE).write("src/a", "a\n").write("src/b", "b\n");
    place.write("in", "in\n");
    place
}

/// Returns the number of the step with that label.
fn number(finished: &Finished, label: &str) -> String {
    let line = finished.stderr.lines().find(|line| line.contains(label) && !line.contains(" WHY "));
    line.unwrap().split(' ').next().unwrap().to_owned()
}

/// Returns a line `STEP: REASONS` for each step that ran, sorted: mounted files come at any time.
fn reasons(finished: &Finished) -> Vec<String> {
    let lines = || finished.stderr.lines();
    let reason = |line: &str| {
        let (number, reason) = line.split_once(" WHY ")?;
        let label = lines().find_map(|line| line.strip_prefix(number)?.strip_prefix(' '))?;
        let step = label.split("] ").last()?.split_whitespace().take(2).collect::<Vec<_>>();
        Some(format!("{}: {reason}", step.join(" ")))
    };
    let mut reasons: Vec<String> = lines().filter_map(reason).collect();
    reasons.sort();
    reasons
}

#[test]
fn each_step_says_why_it_runs() {
    needs!(Run);
    for user in User::all() {
        let place = place(user);
        let build = |args: &[&str]| reasons(&place.build(args).ok());
        // The same reason of all steps is told once.
        let is_all = |reasons: &[String], reason: &str| {
            let end = format!(": {reason}; so do the steps below without a WHY");
            matches!(reasons, [one] if one.ends_with(&end))
        };
        assert!(is_all(&build(&[]), "first time"));
        assert_eq!(build(&[]), [""; 0]);
        assert!(is_all(&build(&["--no-cache"]), "--no-cache"));

        let arguments = ["--build-arg", "X=2", "--build-arg", "Y=s3cret-2"];
        let built = place.build(&arguments).ok();
        let echo = number(&built, "RUN echo");
        let mount = "RUN --mount=source=in,target=/in";
        let expected = [
            format!("{mount}: ARG X, Y changed; layers below changed by {echo}"),
            "RUN echo: ARG X, Y changed".to_owned(),
        ];
        assert_eq!(reasons(&built), expected);

        place.write("src/b", "other\n");
        let built = place.build(&arguments).ok();
        let because = format!("layers below changed by {}", number(&built, "COPY src"));
        assert_eq!(
            reasons(&built),
            [
                "COPY src: COPY source changed: src/b".to_owned(),
                format!("RUN --mount=source=in,target=/in: {because}"),
                format!("RUN echo: {because}"),
            ]
        );
        fs::remove_file(place.context().join("src/b")).unwrap();
        place.write("src/c", "c\n");
        assert_eq!(
            build(&arguments)[0],
            "COPY src: COPY source changed: src/b (removed) and 1 more"
        );
        place.write("in", "other\n");
        assert_eq!(
            build(&arguments),
            [
                "RUN --mount=source=in,target=/in: files mounted at /in changed",
                "mount source: mount source changed: in",
            ]
        );
        let changed = DOCKERFILE.replace("echo $X", "echo $X$Y");
        place.dockerfile(&changed);
        assert_eq!(build(&arguments)[1], "RUN echo: RUN command changed");
        // A new line is a reason for the steps below it, which are still known as the same steps.
        place.dockerfile(&changed.replace("RUN echo", "RUN true\nRUN echo"));
        let built = place.build(&arguments).ok();
        let because = format!("layers below changed by {}", number(&built, "RUN true"));
        assert_eq!(
            reasons(&built),
            [
                format!("RUN --mount=source=in,target=/in: {because}"),
                format!("RUN echo: {because}"),
                "RUN true: instruction is new here".to_owned(),
            ]
        );

        place.run(["prune", "--max-used-space", "0"]).ok();
        let gone = build(&arguments);
        assert_eq!(gone[0], "COPY src: result is gone from the store");
        place.run(["prune", "--all"]).ok();
        assert!(is_all(&build(&arguments), "first time"));

        // The store keeps only names and hashes of the inputs.
        let records = fs::read_dir(place.store().join("last-seen")).unwrap();
        let records = records.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        let records: String = records.collect();
        assert!(records.contains("src/a") && !records.contains("s3cret"), "{records}");
    }
}

#[test]
fn another_base_is_told_of_all_steps() {
    let place = Place::new(User::Me);
    place.write("a", "a\n").dockerfile("FROM busybox\nCOPY a /below\n");
    let layout = place.out("other");
    place.build(&["--output", &to_layout(&layout)]).ok();
    place.dockerfile("ARG BASE=busybox\nFROM $BASE\nCOPY a /a\nCOPY a /b\n");
    let build = |args: &[&str]| reasons(&place.build(args).ok());
    build(&[]);
    let other = format!("other=oci-layout://{}", layout.display());
    let args = ["--build-context", other.as_str(), "--build-arg", "BASE=other"];
    assert_eq!(build(&args), ["COPY a: base changed"; 2]);
    // The same Dockerfile by another name is the same build; another Dockerfile is another build.
    place.write("a", "b\n").write("Dockerfile.other", "FROM busybox\nCOPY a /a\n");
    let file = place.context().join("Dockerfile");
    let named = build(&[&args[..], &["--file", file.to_str().unwrap()]].concat());
    assert_eq!(named[0], "COPY a: COPY source changed: a");
    let other = place.context().join("Dockerfile.other");
    let first = build(&["--file", other.to_str().unwrap()]);
    assert_eq!(first, ["COPY a: first time; so do the steps below without a WHY"]);
}
