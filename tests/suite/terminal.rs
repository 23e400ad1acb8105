//! Progress on a real terminal: what its screen shows while a build runs, and what stays there.

use std::process::Command;
use std::time::Duration;

use crate::harness::{FaultProxy, Place, Plan, Registry, Tmux, Trouble, Typed, User, needs};

/// A step that writes lines and never ends, beside another one with wide characters.
const RUNNING: &str = r#"
    FROM busybox AS one
    RUN for n in 1 2 3 4 5 6 7 8 9; do echo "line $n of a step whose command is so long that its label does not fit"; done; printf '10%%\r20%%\r'; sleep 600
    FROM busybox AS two
    RUN echo 构建镜像 🚀 构建镜像 🚀 构建镜像 🚀 构建镜像 🚀 构建镜像 🚀 构建镜像 🚀 构建镜像 🚀 构建镜像; printf 'a\tb\n'; printf '\033[31mend\033[0m\n'; sleep 600
    FROM scratch
    COPY --from=one / /
    COPY --from=two / /
    "#;

/// Returns a build of that place on a terminal.
fn build(place: &Place, more: &[&str]) -> Command {
    let mut args = place.build_args(more);
    args.retain(|arg| arg != "--progress" && arg != "plain");
    place.xbuild(args)
}

/// Returns whether the frame is drawn for that many columns, with the end of both steps' output.
fn is_drawn(screen: &str, columns: usize) -> bool {
    // The last column stays free.
    let is_wide = |line: &str| {
        line.starts_with("> [one") && line.ends_with('s') && line.chars().count() == columns - 1
    };
    let texts = ["    20%", "    end", "0/4"];
    screen.lines().any(is_wide)
        && texts.iter().all(|text| screen.contains(text))
        && !screen.contains("preparing")
}

fn heads(lines: &[String]) -> usize {
    lines.iter().filter(|line| line.contains(" · ")).count()
}

#[test]
fn steps_under_way_have_their_last_lines_and_nothing_wraps() {
    needs!(Run, Tool("tmux"));
    for columns in [80, 200] {
        let place = Place::new(User::Me);
        place.dockerfile(RUNNING);
        let mut tmux = Tmux::start(&place, (columns, 24), &build(&place, &["--jobs", "4"]));
        let lines = tmux.waits(|screen| is_drawn(screen, columns));
        assert_eq!(heads(&tmux.lines()), 1);
        tmux.is_golden(&format!("running-{columns}"), &lines);
        tmux.resize(columns - 10, 24);
        tmux.waits(|screen| is_drawn(screen, columns - 10));
        assert_eq!(heads(&tmux.lines()), 1, "{:#?}", tmux.lines());
        // A terminal that gets much narrower wraps its lines anew, and may keep the first lines of an old
        // frame. The new one is whole, and the last.
        for (columns, rows) in [(50, 24), (120, 12), (columns, 24)] {
            tmux.resize(columns, rows);
            tmux.waits(|screen| is_drawn(screen, columns));
        }
        let lines = tmux.shown();
        let last = lines.iter().rposition(|line| line.contains(" · ")).unwrap();
        tmux.is_golden(&format!("running-{columns}"), &lines[last..]);
        tmux.keys("C-c");
        let lines = tmux.waits(|screen| screen.contains("status 130"));
        let first = lines.iter().position(|line| line.starts_with('-')).unwrap();
        tmux.is_golden(&format!("cancelled-{columns}"), &lines[first..]);
    }
}

#[test]
fn a_failure_leaves_its_last_lines_and_no_frame() {
    needs!(Run, Tool("tmux"));
    for columns in [80, 200] {
        let place = Place::new(User::Me);
        place.write("f", "f").dockerfile("FROM busybox\nCOPY f /f\n").build(&[]).ok();
        place.dockerfile(
            r#"
            FROM busybox
            COPY f /f
            RUN echo "a line that is longer than eighty columns is cut in the frame, but not in the end of a failure"; echo 失败; exit 7
            RUN true
            "#,
        );
        let tmux = Tmux::start(&place, (columns, 24), &build(&place, &[]));
        let lines = tmux.waits(|screen| screen.contains("status 3"));
        assert_eq!(heads(&lines), 0, "{lines:#?}");
        let wide =
            "longer than eighty columns is cut in the frame, but not in the end of a failure";
        assert!(lines.concat().contains(&format!("  | a line that is {wide}")), "{lines:#?}");
        // The excerpt of the Dockerfile is as wide as its lines are.
        let end = lines.iter().position(|line| line.starts_with("error: ")).unwrap();
        tmux.is_golden(&format!("failed-{columns}"), &lines[..end]);
    }
}

#[test]
fn colours_are_where_they_are_wanted() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.write("f", "f").dockerfile("FROM scratch\nCOPY f /f\n");
    place.build(&[]).ok();
    let cached = "\u{1b}[36m";
    for (variables, on_terminal, in_file) in [
        (&[][..], true, false),
        (&[("NO_COLOR", "1")], false, false),
        (&[("NO_COLOR", "")], true, false),
        (&[("CLICOLOR", "0")], false, false),
        (&[("CLICOLOR_FORCE", "1")], true, true),
        (&[("FORCE_COLOR", "1")], true, true),
        (&[("CLICOLOR_FORCE", "0")], true, false),
        (&[("FORCE_COLOR", "1"), ("NO_COLOR", "1")], false, false),
        (&[("TERM", "dumb")], false, false),
    ] {
        let command = |variables: &[(&str, &str)]| {
            let mut command = build(&place, &[]);
            command.env("TERM", "xterm").envs(variables.iter().copied());
            command
        };
        let typed = Typed::start(command(variables));
        typed.waits_for("CACHED");
        let shown = typed.ends().ok().stderr;
        assert_eq!(shown.contains(cached), on_terminal, "{variables:?}: {shown}");
        let output = command(variables).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(text.contains(cached), in_file, "{variables:?}: {text}");
    }
}

#[test]
fn a_frame_needs_a_terminal() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\nCOPY Dockerfile /\n");
    place
        .run(["build", "--progress", "tty", place.context().to_str().unwrap()])
        .fails(2, &["--progress tty", "terminal", "--progress plain"]);
}

#[test]
fn the_time_of_a_pull_is_no_step_s() {
    needs!(Run, Registry, Tool("skopeo"));
    let registry = Registry::start();
    registry.push_busybox("app/busybox", &[]);
    let proxy = FaultProxy::start(&registry.host);
    let wait = Trouble::Wait(Duration::from_secs(2));
    proxy.plan(&[Plan { method: "GET", part: "/blobs/", times: 9, trouble: wait }]);
    let place = Place::new(User::Me);
    place.dockerfile(&format!("FROM {}/app/busybox\nRUN true\n", proxy.host));
    let tag = format!("{}/app/other:1", registry.host);
    let built = place.build(&["-t", &tag, "--push"]).ok();
    let line = |start: &str| {
        let found = built.stderr.lines().find(|line| line.starts_with(start));
        found.unwrap_or_else(|| panic!("{start:?} is missing in:\n{}", built.stderr)).to_owned()
    };
    let seconds = |text: &str| -> f64 {
        let word = text.split([' ', ',']).find(|word| word.ends_with('s') && word.contains('.'));
        word.unwrap().trim_end_matches('s').parse().unwrap()
    };
    assert!(seconds(&line("#1 DONE ")) < 1.5, "{}", built.stderr);
    let pull = line(&format!("pull {}/app/busybox: ", proxy.host));
    assert!(seconds(pull.rsplit_once(" in ").unwrap().1) >= 2.0 && pull.ends_with("/s"), "{pull}");
    line(&format!("push {}/app/other: ", registry.host));
    // A base image is no step: the first step has the first number.
    line("#1 [2/2] RUN true");
    line("#1 WHY first time; so do the steps below without a WHY");
}
