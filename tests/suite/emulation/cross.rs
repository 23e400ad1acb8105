//! Cross compilers in place of emulated ones: an archive with stand-ins, of which the other processor's are
//! programs of Debian's coreutils, and this machine's show what they were started as.

use super::arguments;
use crate::harness::{Place, User, needs, to_layout};

/// A stand-in for a compiler, with the table of folders that a cross compiler has.
const COMPILER: &str = r#"
#include <stdio.h>
#include <unistd.h>
#define BASE "/usr/lib/gcc-cross/aarch64-linux-gnu/99"
#define TOOLS BASE "/../../../../aarch64-linux-gnu/include"
struct folder { const char *name, *component; char plus, knows, root, variant; int rest; };
const struct folder folders[] = {
    {TOOLS "/c++/99", "G++", 1, 1, 0, 0, 0},
    {TOOLS "/c++/99/aarch64-linux-gnu", "G++", 1, 1, 0, 1, 0},
    {TOOLS "/c++/99/backward", "G++", 1, 1, 0, 0, 0},
    {TOOLS "/c++/v1", "G++", 2, 1, 0, 0, 0},
    {BASE "/include", "GCC", 0, 0, 0, 0, 0},
    {"/usr/local/include", 0, 0, 1, 1, 2, 0},
    {BASE "/include-fixed", "GCC", 0, 0, 0, 2, 0},
    {BASE "/include-fixed", "GCC", 0, 0, 0, 0, 0},
    {TOOLS, "BINUTILS", 0, 1, 0, 0, 0},
    {"/usr/include", 0, 0, 0, 1, 2, 0},
    {"/usr/include", 0, 0, 0, 1, 0, 0},
    {0, 0, 0, 0, 0, 0, 0},
};
int main(int count, char **arguments) {
    char own[99] = "";
    readlink("/proc/self/exe", own, 98);
    printf("native %s", own);
    for (int at = 0; at < count; at++)
        printf(" %s", arguments[at]);
    puts("");
    for (const volatile struct folder *at = folders; at->name; at++)
        printf("%s %d\n", at->name, at->variant);
}
"#;

/// The archive, in both images of the base.
const BASE: &str = r#"
FROM --platform=linux/arm64 debian AS foreign
FROM --platform=linux/amd64 debian AS archive
COPY compiler /
COPY --from=foreign /usr/bin/od /usr/bin/numfmt /usr/bin/printf /usr/bin/seq /foreign/
RUN <<'END'
set -e
mkdir /archive
package() {
    root=/tmp/$1-$3
    mkdir -p $root/DEBIAN
    printf 'Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: x <x@example.com>\nDescription: x\n%s' $1 $2 $3 "$4" > $root/DEBIAN/control
    name=$1 version=$2 architecture=$3 depends=$4
    shift 4
    while [ $# -gt 0 ]; do
        mkdir -p $(dirname $root/$1)
        cp $2 $root/$1
        shift 2
    done
    set -- $name $version $architecture
    dpkg-deb -b $root /archive/$1-$3.deb
    { dpkg-deb -f /archive/$1-$3.deb; echo "Filename: ./$1-$3.deb"
      echo "Size: $(stat -c %s /archive/$1-$3.deb)"; echo "SHA256: $(sha256sum < /archive/$1-$3.deb | cut -d' ' -f1)"; echo; } >> /archive/Packages
}
t=aarch64-linux-gnu
for program in od numfmt printf; do
    for folder in /../../../../include/c++/99 /../../../../include/$t/c++/99 /../../../../include/c++/99/backward \
        /include /include-fixed /../../../../$t/include; do
        printf '/usr/lib/gcc/%s/99%s\0' $t $folder >> /foreign/$program
    done
    printf '/usr/local/include\0/usr/include\0' >> /foreign/$program
done
package cpp 99 arm64 'Depends: cpp-99
'
package cpp-99-$t 99.1-1 arm64 '' usr/libexec/gcc/$t/99/cc1 /foreign/od
package g++-99-$t 99.1-1+b2 arm64 '' usr/libexec/gcc/$t/99/cc1plus /foreign/numfmt
package gcc-99-$t 99.1-1 arm64 ''
package binutils-$t 99-2 arm64 '' usr/bin/$t-as /foreign/printf usr/bin/$t-ld.bfd /foreign/seq
package cpp-99-$t 99.1-1cross3 amd64 '' usr/libexec/gcc-cross/$t/99/cc1 /compiler
package g++-99-$t 99.1-1cross3 amd64 '' usr/libexec/gcc-cross/$t/99/cc1plus /compiler
package gcc-99-$t 99.1-1cross3 amd64 '' usr/libexec/gcc-cross/$t/99/liblto_plugin.so /etc/hostname
package binutils-$t 99-2 amd64 '' usr/bin/$t-as /compiler usr/bin/$t-ld.bfd /compiler
END
FROM debian
COPY --from=archive /archive /archive
RUN rm -rf /etc/apt/sources.list* && echo 'deb [trusted=yes] file:/archive ./' > /etc/apt/sources.list
"#;

/// Runs the compilers, after they were installed.
const ASK: &str = r#"
FROM base
RUN apt-get update && apt-get install -y cpp-99-aarch64-linux-gnu g++-99-aarch64-linux-gnu binutils-aarch64-linux-gnu
RUN <<'END'
folder=/usr/libexec/gcc/aarch64-linux-gnu/99
who() { "$@" 2> /tmp/none | grep '^native ' >> /said || echo "$1: emulated" >> /said; }
$folder/cc1 text > /table
who $folder/cc1 text
who $folder/cc1plus text
who aarch64-linux-gnu-as -v
link() { who aarch64-linux-gnu-ld.bfd -plugin "$1"; }
link $folder/liblto_plugin.so
link /other.so
who aarch64-linux-gnu-ld.bfd x.o
echo /opt/lib > /etc/ld.so.conf.d/opt.conf && link $folder/liblto_plugin.so
rm /etc/ld.so.conf.d/opt.conf && link $folder/liblto_plugin.so
echo /opt/lib >> /etc/ld.so.conf && link $folder/liblto_plugin.so
who $folder/cc1 -v
who $folder/cc1 --output-pch=x
cp -p $folder/cc1 /usr/bin/kept && who kept text
cp $folder/cc1 /usr/bin/dated && who dated text
cp -p $folder/cc1 /usr/bin/longer && echo >> /usr/bin/longer && touch -r $folder/cc1 /usr/bin/longer && who longer text
LD_LIBRARY_PATH=/none who $folder/cc1 text
mkdir -p /usr/include/c++/99/aarch64-linux-gnu && who $folder/cc1 text
sha256sum < $folder/cc1 > /sum
find / -xdev -name '.tool*' > /found
END
"#;

/// Compiles the stand-in.
fn compiler(place: &Place) {
    place.write("compiler.c", COMPILER);
    let out = std::process::Command::new("cc")
        .args(["-no-pie", "-O1", "-Wl,--build-id", "-o", "compiler", "compiler.c"])
        .current_dir(place.context())
        .status();
    assert!(out.expect("there is no C compiler").success());
}

#[test]
fn cross_compilers_take_the_place_of_emulated_ones() {
    needs!(Run, Range, Debian, Emulation);
    let users = User::all();
    let user = [User::Ranged, User::Me].into_iter().find(|user| users.contains(user)).unwrap();
    let place = Place::new(user);
    compiler(&place);
    place.dockerfile(BASE);
    let base = format!("base={}", super::base(&place, "cross-base"));
    place.dockerfile(ASK);
    let image = |emulation| place.image(&arguments(&base, &["--emulation", emulation]));
    let (cross, auto) = (image("cross"), image("auto"));
    let folder = "/usr/libexec/gcc/aarch64-linux-gnu/99";
    let native =
        |program: &str, own: &str, argument: &str| format!("native {own} {program} {argument}");
    let plugin = format!("{folder}/liblto_plugin.so");
    let slashes = "/".repeat(plugin.len() - "/dev/.toolliblto_plugin.so".len());
    let linked = format!(
        "native /usr/bin/aarch64-linux-gnu-ld.bfd aarch64-linux-gnu-ld.bfd -plugin \
         /dev/.tool{slashes}liblto_plugin.so"
    );
    let (cc1, plus) = (format!("{folder}/cc1"), format!("{folder}/cc1plus"));
    let expected = [
        native(&cc1, &cc1, "text"),
        native(&plus, &plus, "text"),
        native("aarch64-linux-gnu-as", "/usr/bin/aarch64-linux-gnu-as", "-v"),
        linked.clone(),
        "aarch64-linux-gnu-ld.bfd: emulated".to_owned(),
        "aarch64-linux-gnu-ld.bfd: emulated".to_owned(),
        "aarch64-linux-gnu-ld.bfd: emulated".to_owned(),
        linked,
        "aarch64-linux-gnu-ld.bfd: emulated".to_owned(),
        // Asked about itself, or to write its memory.
        format!("{cc1}: emulated"),
        format!("{cc1}: emulated"),
        // The file is what counts, not its place.
        native("kept", &cc1, "text"),
        "dated: emulated".to_owned(),
        "longer: emulated".to_owned(),
        format!("{cc1}: emulated"),
        format!("{cc1}: emulated"),
    ];
    let said = cross.text("said");
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
    let own = "/usr/lib/gcc/aarch64-linux-gnu/99";
    let include = format!("{own}/../../../../include");
    let table = [
        format!("native {cc1} {cc1} text"),
        format!("{include}/c++/99 0"),
        format!("{include}/aarch64-linux-gnu/c++/99 1"),
        format!("{include}/c++/99/backward 0"),
        format!("{own}/include 0"),
        "/usr/local/include 2".to_owned(),
        "/usr/local/include 0".to_owned(),
        format!("{own}/include-fixed 2"),
        format!("{own}/include-fixed 0"),
        format!("{own}/../../../../aarch64-linux-gnu/include 0"),
        "/usr/include 2".to_owned(),
        "/usr/include 0".to_owned(),
    ];
    assert_eq!(cross.text("table").lines().collect::<Vec<_>>(), table);
    assert!(!auto.text("said").contains("native"), "{}", auto.text("said"));
    assert_eq!(cross.text("sum"), auto.text("sum"));
    assert_eq!(cross.text("found"), "");
}

/// Debian 12 has mended its compiler for 64-bit Arm since it made the cross compiler of it.
#[test]
fn compilers_of_another_version_are_refused_by_name() {
    needs!(Run, Range, Debian, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM debian\nRUN true\n");
        let base = place.base("debian");
        place.build(&arguments(&base, &["--emulation", "cross"])).fails(
            1,
            &[
                "Dockerfile:2",
                "cpp-12 is 12.2.0-",
                "cpp-12-aarch64-linux-gnu is 12.2.0-",
                "leave out --emulation cross",
            ],
        );
    }
}

#[test]
fn without_an_archive_compilers_are_emulated() {
    needs!(Run, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN uname -m\n");
    let layout = place.out("both");
    let platforms = ["--platform", "linux/amd64,linux/arm64", "--output", &to_layout(&layout)];
    place
        .build(&[&["--no-cache", "--emulation", "cross"][..], &platforms].concat())
        .ok()
        .says(&["aarch64", "compilers in steps of"]);
}
