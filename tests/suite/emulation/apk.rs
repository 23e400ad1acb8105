//! apk, which has an architecture inside: when it has a twin.

use super::arguments;
use crate::harness::{Place, User, needs};

/// A base image with apk's database. Its `apk` is Debian's cat, to which all words are files: it shows its
/// own memory, whatever else it is asked for. Both know `-u`, and apk has no `-n`.
const BASE: &str = r#"
FROM debian
RUN <<'END'
set -e
mkdir -p /etc/apk /lib/apk/db
cp /bin/cat /sbin/apk
uname -m > /etc/apk/arch
for package in apk-tools glibc; do
    printf 'P:%s\nV:2-r0\nA:%s\nD:glibc\n\n' $package $(uname -m)
done > /lib/apk/db/installed
rm /var/lib/dpkg/status
END
"#;

/// Who runs apk, for what it is asked.
const QUESTIONS: &str = r#"
who() { if apk "$@" 2> /tmp/none | grep -q '/dev/.twin/.*sbin/apk'; then echo "$*: native"; else echo "$*: emulated"; fi; }
set -- /proc/self/maps
who add $1
who add -u $1
who info $1
who add -n $1
APK_CONFIG=/none who add $1
touch /etc/apk/config
who add $1
rm /etc/apk/config
mv /etc/apk/arch /etc/apk/other
who update $1
mv /etc/apk/other /etc/apk/arch
who update $1
"#;

#[test]
fn apk_runs_natively_where_a_file_says_for_what_it_installs() {
    needs!(Run, Debian, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile(BASE);
    let base = format!("base={}", super::base(&place, "apk-base"));
    place.write("questions", QUESTIONS);
    place.dockerfile("FROM base\nCOPY questions /\nRUN sh /questions > /said\n");
    let said = |emulation| place.image(&arguments(&base, &["--emulation", emulation])).text("said");
    let maps = "/proc/self/maps";
    let expected = [
        format!("add {maps}: native"),
        format!("add -u {maps}: native"),
        format!("info {maps}: emulated"),
        format!("add -n {maps}: emulated"),
        format!("add {maps}: emulated"),
        format!("add {maps}: emulated"),
        format!("update {maps}: emulated"),
        format!("update {maps}: native"),
    ];
    assert_eq!(said("auto"), expected.join("\n"));
    assert_eq!(said("qemu"), expected.join("\n").replace("native", "emulated"));
}
