//! A step that fails says which it is and why, and leaves what came before it.

use super::build;
use crate::harness::{Place, User, needs};

#[test]
fn failures_say_which_and_why() {
    needs!(Run);
    for user in User::all() {
        let on_busybox = |rest: &str| build(user, &format!("FROM busybox\n{rest}\n"));
        on_busybox("RUN echo out; echo err >&2; exit 37").fails(
            3,
            &[" out", " err", "exit code 37", " --> context/Dockerfile:2", "> RUN echo out"],
        );
        on_busybox("RUN kill -9 $$").fails(3, &["SIGKILL", "137", "hint: ", "memory"]);
        on_busybox(r#"RUN ["no-such-program"]"#).fails(3, &["no-such-program", "PATH"]);
        on_busybox(r#"RUN ["/no/such/program"]"#).fails(3, &["/no/such/program"]);
        on_busybox("RUN no-such-program")
            .fails(3, &["exit code 127", "no-such-program", "hint: ", "PATH"]);
        build(user, "FROM scratch\nRUN true\n").fails(3, &["/bin/sh"]);
        on_busybox("RUN touch /etc/.wh.passwd").fails(3, &["/etc/.wh.passwd", "removes another"]);
        on_busybox("USER nobody-knows\nRUN true").fails(1, &["nobody-knows"]);
    }
}

#[test]
fn a_failed_step_leaves_what_came_before_in_the_cache() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN echo a > /a\nRUN test -e /b\n");
    place.build(&[]).fails(3, &[]);
    place.dockerfile("FROM busybox\nRUN echo a > /a\nRUN test -e /a\n");
    assert_eq!(place.build(&[]).ok().steps(), "1 cached, 1 done");
}

#[test]
fn output_is_shown_line_by_line_without_control_characters() {
    needs!(Run);
    let place = Place::new(User::Me);
    place.dockerfile(
        r"
        FROM busybox
        RUN printf 'one\ntwo\033[31m\033]0;title\007\nhalf\n'; printf '10%%\r99%%\n' >&2
        ",
    );
    let text = place.build(&[]).ok().stderr;
    let is_shown = |words: &str| {
        let end = format!(" {words}");
        text.lines().any(|line| line.starts_with('#') && line.ends_with(&end))
    };
    for line in ["one", "two", "half", "10%", "99%"] {
        assert!(is_shown(line), "{line}: {text}");
    }
    let shown: Vec<&str> = text.lines().filter(|line| !line.contains("RUN")).collect();
    assert!(!text.contains('\u{1b}') && !shown.concat().contains("title"), "{text:?}");
}
