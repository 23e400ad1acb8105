//! A step that fails ends the others that are under way.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::harness::{Finished, Place, User, needs};

/// The steps that would take too long are ended before this; the machine may be slow.
const SOON: Duration = Duration::from_secs(60);

/// Builds, which must fail with the status of the step that failed and end soon.
#[track_caller]
fn ends_soon(place: &Place, args: &[&str]) -> Finished {
    let start = Instant::now();
    let finished = place.build(&[&["--jobs", "8"], args].concat());
    assert!(start.elapsed() < SOON, "it took {:?}", start.elapsed());
    finished.fails(3, &["exit code 7", "> RUN sleep 1; exit 7", " CANCELED "])
}

/// Returns whether a process with such a command line runs, whoever's it is.
fn runs(command: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let wanted = command.replace(' ', "\0") + "\0";
    lines.into_iter().any(|line| line == wanted.as_bytes())
}

#[test]
fn a_failure_ends_the_other_steps() {
    needs!(Run);
    for (number, user) in User::all().into_iter().enumerate() {
        let sleep = format!("sleep {}", 600 + number);
        let place = Place::new(user);
        place.dockerfile(&format!(
            "FROM busybox AS slow\nRUN trap : TERM INT; setsid {sleep} & {sleep}; echo ended\n\
             FROM busybox AS quick\nRUN echo whole > /whole\nRUN sleep 1; exit 7\n\
             FROM busybox\nCOPY --from=slow / /\nCOPY --from=quick / /\n"
        ));
        let text = ends_soon(&place, &[]).stderr;
        assert_eq!(text.matches(" ERROR ").count(), 1, "{text}");
        assert!(!runs(&sleep), "{sleep} is still running");
        // Nothing of the step that was ended is taken for its result.
        place.dockerfile("FROM busybox AS quick\nRUN echo whole > /whole\n");
        place.build(&[]).ok().did_nothing();
        assert!(!host_mounts().contains(place.store().to_str().unwrap()));
    }
}

fn host_mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").unwrap()
}

#[test]
fn a_failure_ends_the_steps_of_other_platforms() {
    needs!(Run, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile(
        "FROM busybox\nARG TARGETARCH\nRUN [ $TARGETARCH = amd64 ] || exec sleep 620\nRUN sleep 1; exit 7\n",
    );
    ends_soon(&place, &["--platform", "linux/amd64,linux/arm64"]);
    assert!(!runs("sleep 620"));
}

/// Servers that take connections and never answer, and a folder that another step holds.
#[test]
fn a_failure_ends_waits() {
    needs!(Run, Tool("git"));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let stages = [
        format!("ADD http://{address}/file /"),
        format!("ADD http://{address}/repository.git#0123456789012345678901234567890123456789 /"),
        "RUN --mount=type=cache,sharing=locked,target=/c sleep 630".to_owned(),
        "RUN --mount=type=cache,sharing=locked,target=/c sleep 630; true".to_owned(),
    ];
    let stages = stages.iter().enumerate();
    let (from, copies): (Vec<String>, Vec<String>) = stages
        .map(|(n, line)| {
            (format!("FROM busybox AS s{n}\n{line}\n"), format!("COPY --from=s{n} / /\n"))
        })
        .unzip();
    let place = Place::new(User::Me);
    place.dockerfile(&format!(
        "{}FROM busybox AS bad\nRUN sleep 1; exit 7\nFROM busybox\nCOPY --from=bad / /\n{}",
        from.concat(),
        copies.concat()
    ));
    ends_soon(&place, &[]);
    assert!(!runs("sleep 630"));
}
