//! The spans of the main process.

use xbuild_model::run::{ReadyMount, ReadySource, RunRequest, SecretBytes};
use xbuild_testkit::spans;

use crate::support::{Case, Fixture, shell};

pub const ALL: &[(&str, Case)] = &[("commands_have_spans_without_values", commands_have_spans)];

fn commands_have_spans(fixture: &Fixture) -> Result<(), String> {
    spans::collect();
    let hidden = "hidden-value";
    let contents = SecretBytes(hidden.as_bytes().to_vec());
    let source = ReadySource::Secret { contents, mode: 0o400, uid: 0, gid: 0 };
    let mounts = [ReadyMount { target: "/secret".to_owned(), source, special: Vec::new() }];
    let step = |script: &str| {
        tracing::info_span!("step", label = "traced").in_scope(|| {
            let env = vec![("PATH".into(), "/bin".into()), ("TOKEN".into(), hidden.into())];
            let request = RunRequest { env, ..shell(script) };
            fixture.run_in(&fixture.root(), &request, &mounts, &Default::default())
        })
    };
    step("cat /secret; echo $TOKEN").unwrap();
    step("exit 3").unwrap_err();
    step("kill -9 $$").unwrap_err();
    let closed = spans::closed();
    let ours: Vec<&str> =
        closed.iter().filter_map(|line| line.strip_prefix("step label=traced > ")).collect();
    let platform = xbuild_model::Platform::host();
    let command = |end: &str| format!("command platform={platform} {end}");
    let [sandbox, rest @ ..] = &ours[..] else { panic!("{ours:?}") };
    assert!(sandbox.contains("sandbox rung=userns-"), "{sandbox}");
    assert_eq!(rest, [command("exit=0"), command("exit=3"), command("signal=9")]);
    assert!(!closed.iter().any(|line| line.contains(hidden)), "{closed:?}");
    Ok(())
}
