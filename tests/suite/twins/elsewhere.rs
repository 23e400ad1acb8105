//! Twins beside steps of 64-bit Arm: in `xbuild run`.

use super::IS_NATIVE;
use crate::harness::{Place, User, needs};

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
