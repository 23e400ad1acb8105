//! Programs with many names, such as busybox: whether one has a twin depends on the name.

use super::{answers, arguments};
use crate::harness::{Place, User, needs};

/// Makes a base image of Debian's busybox alone, for this machine and for 64-bit Arm.
fn base(place: &Place) -> String {
    place.write("Dockerfile", include_str!("../../twins/busybox/Dockerfile"));
    place.write("names", include_str!("../../twins/busybox/names"));
    format!("base={}", super::base(place, "busybox-base"))
}

/// Words for who runs a program, by its own memory: busybox's grep has a twin, its awk has none.
const WHO: &str = "
    sees() { if \"$@\"; then echo nat''ive; else echo emul''ated; fi; }
    sees grep -q /dev/.twin /proc/self/maps
    sees /bin/grep -q /dev/.twin /proc/self/maps
    sees busybox grep -q /dev/.twin /proc/self/maps
    sees sh -c 'exec -a egrep /bin/busybox -q /dev/.twin /proc/self/maps'
    sees awk '/.dev..twin/ { found = 1 } END { exit !found }' /proc/self/maps
    sees busybox awk '/.dev..twin/ { found = 1 } END { exit !found }' /proc/self/maps
";

#[test]
fn names_decide_whether_busybox_has_a_twin() {
    needs!(Run, Debian, Emulation);
    let place = Place::new(User::Me);
    let base = base(&place);
    place.write("ask", include_str!("../../twins/busybox/ask"));
    place.write("who", WHO);
    place.dockerfile("FROM base\nCOPY ask who /\nRUN sh /who > /said 2> /dev/null\nRUN sh /ask\n");
    let image = |emulation| place.image(&arguments(&base, &["--emulation", emulation]));
    let (natively, emulated) = (image("auto"), image("qemu"));
    let who = ["native"; 4].into_iter().chain(["emulated"; 2]).collect::<Vec<_>>().join("\n");
    assert_eq!(natively.text("said"), who);
    assert_eq!(emulated.text("said"), who.replace("native", "emulated"));
    let (found, expected) = (answers(&natively), answers(&emulated));
    assert!(expected.len() > 40, "{}", expected.len());
    for (question, expected) in &expected {
        assert_eq!(&found[question], expected, "{question}");
    }
}
