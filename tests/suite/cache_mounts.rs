//! Cache mounts: they outlive builds and kills, are shared as asked, and are pruned with the store.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::harness::{Place, User, needs};

/// Returns a Dockerfile with a step that uses a cache mount. A new `number` makes it a new step.
fn uses(number: usize, options: &str, script: &str) -> String {
    format!("FROM busybox\nARG N={number}\nRUN --mount=type=cache,target=/c{options} {script}\n")
}

#[test]
fn it_outlives_builds_until_it_is_pruned() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let count = "ls /c | wc -l > /count && mkdir -m 0 /c/$N && echo number $(cat /count)";
        for number in 0..3 {
            let built = place.dockerfile(&uses(number, ",id=kept", count)).build(&[]).ok();
            built.says(&[&format!("number {number}")]);
        }
        // A step from the cache does not run, even if the folder has changed since.
        assert!(!place.build(&[]).ok().stderr.contains("number 2"));
        let listed = place.run(["du", "--verbose"]).ok().stdout;
        assert!(listed.contains("\ncache mounts              1 "), "{listed}");
        let is_it = |line: &str| line.contains("  cache mount ") && line.ends_with("  kept");
        assert!(listed.lines().any(is_it), "{listed}");
        place.run(["prune", "--max-used-space", "0"]).ok();
        assert_eq!(fs::read_dir(place.store().join("tmp")).unwrap().count(), 0);
        let built = place.build(&[]).ok();
        built.says(&["number 0"]);
    }
}

#[test]
fn it_is_shared_as_told() {
    needs!(Run);
    // Two stages run at the same time. Each looks whether the other one uses the same folder.
    let meet = "mkdir /c/$T; for i in 1 2 3 4 5; do ls /c; sleep 0.1; done | sort -u | wc -l \
                | sed s/^/saw/; rmdir /c/$T";
    for (sharing, seen) in [("shared", "saw2"), ("private", "saw1"), ("locked", "saw1")] {
        let stage = |name: &str| {
            let mount = format!("--mount=type=cache,target=/c,sharing={sharing}");
            format!("FROM busybox AS {name}\nENV T={name}\nRUN {mount} {meet}\n")
        };
        let last = "FROM busybox\nCOPY --from=a /etc/passwd /a\nCOPY --from=b /etc/passwd /b\n";
        let place = Place::new(User::Me);
        place.dockerfile(&[&stage("a"), &stage("b"), last].concat());
        let built = place.build(&["--jobs", "4"]).ok();
        assert_eq!(built.stderr.matches(seen).count(), 2, "{sharing}: {}", built.stderr);
        let folders = fs::read_dir(place.store().join("cache-mounts")).unwrap();
        let folders = folders.flat_map(|map| fs::read_dir(map.unwrap().path()).unwrap()).count();
        assert_eq!(folders, if sharing == "private" { 2 } else { 1 });
    }
}

#[test]
fn others_wait_for_a_locked_one_until_a_kill_lets_go_of_it() {
    needs!(Run);
    let place = Place::new(User::Me);
    let options = ",id=busy,sharing=locked";
    place.dockerfile(&uses(0, options, "echo half > /c/file; echo begun; sleep 1000"));
    let mut build = place.xbuild(place.build_args(&[])).stderr(Stdio::null()).spawn().unwrap();
    let file = || {
        let maps = fs::read_dir(place.store().join("cache-mounts")).ok()?;
        let mut all = maps.flatten().flat_map(|map| fs::read_dir(map.path()).into_iter().flatten());
        all.find_map(|home| fs::read_to_string(home.ok()?.path().join("fs/file")).ok())
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while file().is_none_or(|text| text.is_empty()) {
        assert!(Instant::now() < deadline, "the step does not begin");
        std::thread::sleep(Duration::from_millis(10));
    }
    place.dockerfile(&uses(1, options, "cat /c/file"));
    let mut next = place.xbuild(place.build_args(&[])).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(next.stderr.take().unwrap()).lines().map_while(Result::ok);
    let told = lines.find(|line| line.contains("waiting for ")).unwrap();
    // Some file systems have other numbers than those by which the kernel lists locks.
    let names = format!("waiting for process {} (xbuild), which holds the lock ", build.id());
    assert!(told.contains(&names) || told.contains("waiting for another process, "), "{told}");
    build.kill().unwrap();
    build.wait().unwrap();
    let rest: Vec<String> = lines.collect();
    assert!(next.wait().unwrap().success(), "{rest:?}");
    assert!(rest.iter().any(|line| line.ends_with(" half")), "{rest:?}");
}

#[test]
fn it_is_filled_from_a_stage_once() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let make = "mkdir -p /s/deep && chmod 750 /s && ln -s deep /s/link";
        let fill = "echo seeded | tr e E > /s/deep/file";
        let seed = format!("FROM busybox AS seed\nRUN {make} && {fill}\n");
        let step = |number: usize| {
            let step = uses(
                number,
                ",from=seed,source=/s",
                "stat -c mode_%a /c; cat /c/link/file && rm -r /c/deep; ls /c | sed s/^/has_/",
            );
            format!("{seed}{step}")
        };
        let first = place.dockerfile(&step(0)).build(&[]).ok().stderr;
        for words in ["mode_750", "sEEdEd", "has_link"] {
            assert!(first.contains(words), "{words}: {first}");
        }
        let second = place.dockerfile(&step(1)).build(&[]).ok().stderr;
        assert!(!second.contains("sEEdEd") && second.contains("has_link"), "{second}");
        let missing = uses(0, ",from=busybox,source=/none", "true");
        place.dockerfile(&missing).build(&[]).fails(1, &["/none", "not found"]);
    }
}
