//! The rung and the root file system of RUN steps: which the build takes, and what `--isolation`
//! demands.

use crate::harness::{Place, User, needs};

const RUN: &str = "FROM busybox\nRUN echo ran\n";

#[test]
fn the_first_line_names_the_rung_and_the_root() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let rung = if user == User::Single { "userns-single" } else { "userns-range" };
        let expected = format!("isolation: {rung}/overlay");
        for (args, first) in [
            (&[][..], expected.clone()),
            (&["--isolation", rung], expected.clone()),
            (&["--isolation", "auto/overlay", "--no-cache"], expected),
            (&["--isolation", "userns-single"], "isolation: userns-single/overlay".to_owned()),
        ] {
            let built = place.dockerfile(RUN).build(args).ok();
            assert_eq!(built.stderr.lines().next(), Some(&*first), "{}", built.stderr);
        }
        place.dockerfile(RUN).build(&["-q", "--no-cache"]).ok().does_not_say("isolation");
        // A build without RUN finds nothing out about the machine.
        place.dockerfile("FROM busybox\nENV a=b\n").build(&[]).ok().does_not_say("isolation");
    }
}

#[test]
fn an_isolation_that_is_out_of_reach_is_refused_before_the_first_step() {
    needs!(Run);
    let place = Place::new(User::Single);
    place.dockerfile("FROM busybox\nCOPY Dockerfile /\nRUN echo ran\n");
    let refused = "isolation \"userns-range\" is not possible here: ";
    for demand in ["userns-range", "userns-range/overlay"] {
        let failed = place.build(&["--isolation", demand]);
        let refused = refused.replace("userns-range", demand);
        failed.fails(5, &[&refused, "/etc/subuid", "usermod"]).does_not_say("#1");
    }
    // With all its steps in the cache a build needs no isolation.
    place.build(&["--isolation", "userns-single"]).ok();
    place.build(&["--isolation", "userns-range"]).ok().did_nothing();
}
