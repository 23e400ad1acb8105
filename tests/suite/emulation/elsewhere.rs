//! Twins beside steps of 64-bit Arm: in `xbuild run`, on other platforms, in images with a wrong one.

use super::{IS_NATIVE, arguments, base};
use crate::harness::{Place, User, cached, needs};

#[test]
fn commands_in_containers_have_twins() {
    needs!(Run, Debian, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        let image = place.base("debian").replace("debian=", "");
        let run = |more: &[&str]| {
            let start = ["run", "--platform", "linux/arm64"];
            let end = [&image, "sh", "-c", IS_NATIVE];
            let finished = place.run([&start, more, &end].concat()).ok();
            // Nothing but what the command says.
            assert_eq!(finished.stderr, "", "{more:?}");
            finished.stdout
        };
        assert_eq!(run(&[]), "native\n");
        assert_eq!(run(&["--emulation", "qemu"]), "emulated\n");
        assert_eq!(run(&["--emulation", "intercept"]), "emulated\n");
        assert_eq!(run(&["-e", "LD_LIBRARY_PATH=/nowhere"]), "emulated\n");
    }
}

/// The image that the index has for 64-bit Arm is one for this machine.
#[test]
fn images_with_a_wrong_platform_run_as_without_twins() {
    needs!(Run, Debian, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile(
        "FROM --platform=linux/amd64 debian AS own
        FROM scratch
        COPY --from=own / /
        ",
    );
    let wrong = format!("debian={}", base(&place, "wrong"));
    // Twins refuse this language, and leave the programs to the emulator of their platform.
    place
        .dockerfile("FROM debian\nRUN LANG=de_DE cat /etc/debian_version && sh -c 'echo d''one'\n");
    let platforms = ["--platform", "linux/amd64,linux/arm64"];
    let finished = place.build(&[&["--build-context", &wrong][..], &platforms].concat()).ok();
    assert_eq!(finished.stderr.matches(" done").count(), 2, "{}", finished.stderr);
    finished.does_not_say("run natively");
}

/// apt has its architecture compiled in.
#[test]
fn apt_is_told_the_platform() {
    needs!(Run, Debian, Emulation);
    let all = [
        ("debian", "linux/arm64", "arm64"),
        ("debian-arm", "linux/arm/v7", "armhf"),
        ("debian-s390x", "linux/s390x", "s390x"),
        ("debian-ppc64le", "linux/ppc64le", "ppc64el"),
    ];
    for (layout, platform, name) in all.iter().filter(|(layout, ..)| cached(layout).exists()) {
        let place = Place::new(User::Me);
        let said = "apt-config dump | grep ^APT::Architecture; apt-get --version | head -1";
        place.dockerfile(&format!(
            "FROM debian
            RUN apt-config shell A APT::Architecture > /said; {{ {said}; }} >> /said
            RUN readlink /proc/self/exe > /dev/null; {IS_NATIVE}
            # One that reads its lists again where the caches are another machine's.
            RUN apt-cache policy apt && LD_LIBRARY_PATH=/nowhere apt-cache policy apt > /policy
            "
        ));
        let base = place.base(layout).replace(&format!("{layout}="), "debian=");
        let image = |emulation: &str| {
            let mut arguments = arguments(&base, &["--emulation", emulation]);
            arguments[2] = platform;
            place.image(&arguments)
        };
        let (natively, emulated) = (image("auto"), image("qemu"));
        let expected = format!("A='{name}'\nAPT::Architecture \"{name}\";\n");
        assert!(natively.text("said").starts_with(&expected), "{}", natively.text("said"));
        for file in ["said", "policy"] {
            assert_eq!(natively.text(file), emulated.text(file), "{platform}");
        }
    }
}
