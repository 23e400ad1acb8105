//! Twins: programs of emulated steps that run natively. Nothing that a step can look at tells them
//! from the programs that QEMU runs.

mod apk;
mod cross;
mod elsewhere;
mod multi_call;

use std::collections::BTreeMap;

use crate::harness::{Finished, Place, User, needs, to_layout};
use crate::image::Image;

/// Says whether a program runs natively: its own memory shows it. The words of the command are not
/// those of its output.
const IS_NATIVE: &str = "grep -q /dev/.twin /proc/self/maps && echo nat''ive || echo emul''ated";

/// Questions to programs, a line each; the answers must not depend on who runs them.
const QUESTIONS: &str = r##"
uname -m
uname -a
bash -c 'uname -m; echo $HOSTTYPE $MACHTYPE $BASH'
bash -c 'exec -a other sh -c "echo \$0"; echo never'
bash -c 'exec -a other cat /proc/self/cmdline'
perl -MPOSIX -e 'print join " ", (POSIX::uname)[0, 1, 2, 4]'
perl -MConfig -e 'print "$Config{archname} $Config{byteorder} $Config{ptrsize} $^X"'
awk 'BEGIN { system("uname -m"); print 2^53 + 1, 0.1 + 0.2, 1e300 * 10, substr("abc", 2) }'
awk 'BEGIN { x = log(0); print 0/0, x - x, log(-1); printf "%x %u %d\n", -1, -5, 1e30 }'
echo '0 0 -1' | awk '{ print $1/$2; s += $3; print s, $3 / 3, $3 * 2, NF - 1; printf "%d|%5.1f\n", $3, $3 }'
echo 'BEGIN { print 0 % 0 }' > /tmp/awk; awk -f /tmp/awk; awk -v OFMT=%x 'BEGIN { print -1.5 }'
readlink /proc/self/exe
stat -c %N /proc/self/exe
cat /proc/self/comm
cat /proc/self/cmdline
sh -c 'echo $0 $1 $#' name one two
perl -e 'exec {"/bin/cat"} "kitty", "/proc/self/cmdline"'
perl -e 'exec {"/bin/sh"} "-sh", "-c", "echo \$0"'
sh -c 'exit 7'
sh -c 'kill -TERM $$'
sh -c 'kill -KILL $$'
sh -c 'trap "echo caught" USR1; kill -USR1 $$; echo after'
perl -e 'alarm 1; sleep 100'
echo text >&-
ls /proc/self/fd
sh -c 'exec 3</etc/passwd; readlink /proc/self/fd/3'
/script one 'two three'
/perl-script one 'two three'
/no-interpreter
sh /script
cp /bin/cat /tmp/other; /tmp/other /proc/self/comm; readlink -f /proc/self/exe
cp /usr/bin/readlink /tmp/moved; /tmp/moved /proc/self/exe
ln -sf /usr/bin/readlink /tmp/link; /tmp/link /proc/self/exe
LD_PRELOAD=/no/such.so cat /proc/self/comm
LANG=de_DE ls /etc/passwd
LANG=en_US.UTF-8 LC_ALL=C.UTF-8 sort /etc/passwd | head -1
printf 'b\na\n10\n9\n' | sort
printf '1e3\n20\n1e-4950\n' | sort -g
env -i /usr/bin/env
env -i /bin/sh -c 'echo $PATH; export -p'
seq 3000 | xargs echo | sha256sum
seq 200 | xargs -P 200 -n 1 sh -c 'cat /proc/self/comm' | sort | uniq -c
sha256sum /bin/dash /usr/bin/perl /bin/cat
dpkg --verify dash coreutils perl-base
apt-get --version | head -1; apt-config dump | sort
id
su app -s /bin/sh -c 'id; readlink /proc/self/exe; cat /etc/shadow'
cp /bin/dash /tmp/root-sh; chmod u+s /tmp/root-sh; su app -s /bin/sh -c '/tmp/root-sh -p -c id'
umask; ulimit -n; pwd
tar c --mtime=@1 /etc/passwd /etc/group | tar tv
tar c --sort=name /usr/share/perl5 2> /dev/null | gzip -n | sha256sum
find / -xdev -newer /mark | sort
find /dev -xdev -name 'x*'
dash -c 'echo $((1 << 40)) $((0x7fffffffffffffff + 1))'
mkdir /tmp/gone; cd /tmp/gone; rmdir /tmp/gone; pwd -P; ls
chroot /chroot /bin/cat /proc/self/comm
chroot /chroot /bin/cat /text
printf '#!/bin/sh\necho replaced\n' > /usr/bin/tac; tac
cp /bin/echo /usr/bin/tee; echo text | tee file
"##;

const DOCKERFILE: &str = r#"
FROM debian
RUN useradd -m app && mkdir -p /chroot/proc && touch /mark && \
    for f in /bin/cat $(ldd /bin/cat | grep -o '/[^ ]*'); do \
        mkdir -p /chroot$(dirname $f); cp $f /chroot$f; done; echo inside > /chroot/text
COPY --chmod=755 script perl-script no-interpreter questions ask /
RUN perl /ask
"#;

/// Writes the answer to each question into a file, with the status that it ended with.
const ASK: &str = r#"
open my $questions, '<', '/questions' or die;
mkdir '/answers';
my $number = 0;
while (my $question = <$questions>) {
    chomp $question;
    next if $question eq '';
    open my $pipe, '-|', 'sh', '-c', "( $question\n) 2>&1" or die;
    my $answer = join '', <$pipe>;
    close $pipe;
    open my $out, '>', sprintf '/answers/%03d', ++$number or die;
    print $out "$question\n$answer\n$?\n";
}
"#;

fn place(user: User) -> Place {
    let place = Place::new(user);
    place.write("script", "#!/bin/sh -e\necho $0 \"$@\"; readlink /proc/self/exe\n");
    place.write("perl-script", "#!/usr/bin/perl -w\nprint \"$0 @ARGV $^X\\n\";\n");
    place.write("no-interpreter", "#!/no/such/interpreter\n");
    place.write("questions", QUESTIONS).write("ask", ASK);
    place
}

/// Builds for 64-bit Arm.
fn arguments<'a>(base: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let all = ["--no-cache", "--platform", "linux/arm64", "--build-context", base];
    all.into_iter().chain(more.iter().copied()).collect()
}

/// Builds a base image from what the place has, for this machine and for 64-bit Arm, on Debian's; returns it
/// as a context.
fn base(place: &Place, name: &str) -> String {
    let (layout, debian) = (place.out(name), place.base("debian"));
    let platforms = ["--platform", "linux/amd64,linux/arm64", "--output", &to_layout(&layout)];
    place.build(&[&["--build-context", &debian][..], &platforms].concat()).ok();
    format!("oci-layout://{}", layout.display())
}

/// Returns the answers, by question.
fn answers(image: &Image) -> BTreeMap<String, String> {
    let names = image.files();
    let names = names.keys().filter(|name| name.starts_with("answers/"));
    let read = |name: &String| {
        let text = image.text(name);
        let (question, answer) = text.split_once('\n').unwrap();
        (question.to_owned(), answer.to_owned())
    };
    names.map(read).collect()
}

#[test]
fn nothing_tells_twins_from_emulated_programs() {
    needs!(Run, Debian, Emulation);
    for user in User::all() {
        let place = place(user);
        place.dockerfile(DOCKERFILE);
        let base = place.base("debian");
        let image = |emulation: &str, isolation: &str| {
            place.image(&arguments(&base, &["--emulation", emulation, "--isolation", isolation]))
        };
        let expected = answers(&image("qemu", "auto"));
        assert_eq!(expected.len(), QUESTIONS.lines().filter(|line| !line.is_empty()).count());
        for isolation in ["auto", "auto/folder"] {
            let found = answers(&image("auto", isolation));
            for (question, expected) in &expected {
                assert_eq!(&found[question], expected, "{question} (as {user:?}, {isolation})");
            }
        }
    }
}

fn build(place: &Place, more: &[&str]) -> Finished {
    let base = place.base("debian");
    place.build(&arguments(&base, more)).ok()
}

#[test]
fn programs_of_the_list_run_natively() {
    needs!(Run, Debian, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(&format!(
            "FROM debian\nRUN {IS_NATIVE}\n\
             RUN cp /bin/grep /bin/grep2 && mv /bin/grep2 /bin/grep && echo moved && {IS_NATIVE}\n\
             RUN echo later && {IS_NATIVE}\n"
        ));
        let finished = build(&place, &[]);
        finished.says(&["twins: linux/arm64: "]);
        let lines: Vec<&str> = finished
            .stderr
            .lines()
            .filter_map(|line| line.rsplit(' ').next())
            .filter(|word| matches!(*word, "native" | "emulated"))
            .collect();
        // A program that was replaced is the foreign one, in that step and in all later ones.
        assert_eq!(lines, ["native", "emulated", "emulated"], "{}", finished.stderr);
        for way in ["qemu", "intercept"] {
            let finished = build(&place, &["--emulation", way]);
            finished.does_not_say("twins: ");
            finished.does_not_say(" native");
        }
    }
}

#[test]
fn a_step_says_how_its_programs_ran() {
    needs!(Run, Debian, Emulation);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            "FROM debian
            RUN for i in 1 2 3 4 5; do cat /etc/hosts; uname; done > /dev/null
            RUN timeout 1 yes > /dev/null || true
            ",
        );
        let finished = build(&place, &[]);
        finished.says(&[
            "emulation: 6 programs ran natively, 5 under QEMU",
            "most time under QEMU: yes ",
        ]);
        finished.says(&["emulation: in 2 emulated steps 7 programs ran natively, 7 under QEMU"]);
        build(&place, &["--emulation", "qemu"]).does_not_say("emulation: ");
    }
}

/// QEMU makes up the file that says what the processor is.
#[test]
fn who_asks_about_the_processor_is_emulated() {
    needs!(Run, Debian, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile(
        "FROM debian
        RUN grep -q /dev/.twin /proc/self/maps && echo native >> /said
        RUN grep -q /dev/.twin /proc/self/maps /proc/cpuinfo || echo emulated >> /said
        ",
    );
    let base = place.base("debian");
    let image = place.image(&arguments(&base, &[]));
    assert_eq!(image.text("said"), "native\nemulated");
}

/// QEMU leaves the program's own file open where a descriptor is closed. Twins do as the kernel does.
#[test]
fn closed_descriptors_stay_closed() {
    needs!(Run, Debian, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile("FROM debian\nRUN cat <&- > /said 2>&1 || true\n");
    let base = place.base("debian");
    let image = place.image(&arguments(&base, &[]));
    assert!(
        image.text("said").starts_with("cat: -: Bad file descriptor"),
        "{}",
        image.text("said")
    );
}

/// The step runs as a user without rights from its first program on.
#[test]
fn steps_of_other_users_have_twins() {
    needs!(Run, Range, Debian, Emulation);
    let users = User::all();
    let user = [User::Ranged, User::Me].into_iter().find(|user| users.contains(user)).unwrap();
    let place = Place::new(user);
    place.dockerfile(&format!(
        "FROM debian
        USER www-data
        RUN id -un > /tmp/said; {{ {IS_NATIVE}; }} >> /tmp/said; \\
            cat /etc/shadow || echo refused >> /tmp/said
        "
    ));
    let base = place.base("debian");
    let image = place.image(&arguments(&base, &[]));
    assert_eq!(image.text("tmp/said"), "www-data\nnative\nrefused");
}

/// grep's package, and with it none of the programs that depend on it, has the same version.
#[test]
fn programs_of_other_versions_are_emulated() {
    needs!(Run, Debian, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile(
        "FROM debian
        ARG TARGETARCH
        RUN test $TARGETARCH != amd64 || \\
            sed -i '/^Package: grep$/,/^Version:/s/^Version: .*/Version: 99/' /var/lib/dpkg/status
        ",
    );
    let changed = format!("debian={}", base(&place, "changed"));
    let awk = "awk '/.dev..twin/ { found = 1 } END { exit !found }' /proc/self/maps";
    let awk = format!("{awk} && echo nat''ive || echo emul''ated");
    place.dockerfile(&format!("FROM debian\nRUN {IS_NATIVE}\nRUN {awk}\n"));
    let finished = place.build(&arguments(&changed, &[])).ok();
    let said = ["native", "emulated"];
    let words = finished.stderr.lines().filter_map(|line| line.rsplit(' ').next());
    let words: Vec<&str> = words.filter(|word| said.contains(word)).collect();
    assert_eq!(words, ["emulated", "native"], "{}", finished.stderr);
}

#[test]
fn images_without_a_sibling_are_emulated() {
    needs!(Run, Emulation);
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN uname -m\n");
    let finished = place.build(&["--platform", "linux/arm64"]).ok();
    finished.says(&["aarch64"]);
    finished.does_not_say("twins: ");
}

/// A sample of the package sets that `tests/twins/run` installs, in one build.
#[test]
fn package_sets_give_the_same_layers() {
    needs!(Run, Range, Debian, Emulation);
    let sets = include_str!("../twins/sets.txt");
    let set = |wanted: &str| {
        let mut lines = sets.lines().filter_map(|line| line.split_once(' '));
        let (_, set) = lines.find(|(name, _)| *name == wanted).unwrap();
        let (packages, commands) = set.split_once(" ; ").unwrap();
        format!("RUN apt-get install -y --no-install-recommends {packages} && {{ {commands}; }}\n")
    };
    let users = User::all();
    let user = [User::Ranged, User::Me].into_iter().find(|user| users.contains(user)).unwrap();
    let place = Place::new(user);
    let sets: String = ["text", "users"].map(set).concat();
    place.dockerfile(&format!("FROM debian\nRUN apt-get update\n{sets}"));
    let finished = build(&place, &["--emulation", "verify"]);
    let same = "verify: the same result natively and under QEMU, ";
    assert_eq!(finished.stderr.matches(same).count(), 3, "{}", finished.stderr);
}

/// Verifying finds a command that looks for twins, and keeps what QEMU makes.
#[test]
fn a_step_that_depends_on_its_twins_is_an_error() {
    needs!(Run, Debian, Emulation);
    let place = Place::new(User::Me);
    let base = place.base("debian");
    let build = |command: &str, emulation: &str| {
        place.dockerfile(&format!("FROM debian\nRUN {command}\n"));
        let mut command = place.xbuild(place.build_args(&arguments(&base, &[])));
        command.env("XBUILD_EMULATION", emulation);
        Finished::run(command)
    };
    let asks = "grep -q /dev/.twin /proc/self/maps";
    build(&format!("if {asks}; then echo 1 > /answer; else echo 22 > /answer; fi"), "verify")
        .fails(
            70,
            &[
                "at 1 of 1 paths",
                "\"answer\": contents 2 bytes",
                "3 bytes",
                "--emulation qemu",
                "report",
            ],
        );
    build(&format!("if {asks}; then chmod 700 /mnt; fi"), "verify").fails(70, &["\"mnt\": "]);
    build(&format!("echo seen; ! {asks}"), "verify").fails(
        70,
        &["natively \"the command ended with exit code 1\", under QEMU it succeeds", "seen"],
    );
    build(&format!("exit $({asks} && echo 3 || echo 4)"), "verify")
        .fails(70, &["code 3", "code 4"]);
    build("exit 3", "verify").fails(3, &["exit code 3"]);
    build(&format!("! {asks} && echo emul''ated"), "qemu").ok().says(&[" emulated"]);
    let finished = build("rm /bin/grep /usr/bin/stat && echo done > /said", "verify").ok();
    finished.says(&["verify: the same result natively and under QEMU, "]);
    let run = place.run(["run", "--emulation", "verify", "--platform", "linux/arm64", "debian"]);
    run.fails(125, &["a command makes none: use auto or qemu"]);
}
