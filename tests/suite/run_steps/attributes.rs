//! Access lists and attributes of users: a layer has those that the steps saw.

use super::roots_of;
use crate::harness::{Place, User, needs, to_layout};

/// Sets attributes, or shows them with the modes of their files.
const PROGRAM: &str = r#"
use strict;
my ($set, $get) = `uname -m` =~ /x86_64/ ? (188, 191) : (5, 8);
my $none = 0xffffffff;
my $list = pack("V", 2) . join "", map { pack("vvV", @$_) }
    ([1, 7, $none], [2, 7, 33], [4, 5, $none], [16, 7, $none], [32, 5, $none]);
my @all = (
    ["/srv/app", "system.posix_acl_access", $list],
    ["/srv/app", "system.posix_acl_default", $list],
    ["/srv/file", "system.posix_acl_access", $list],
    ["/srv/file", "user.pax.flags", "m"],
    ["/srv/pipe", "system.posix_acl_access", $list],
);
for (@all) {
    my ($path, $name, $value) = @$_;
    if ($ARGV[0] eq "set") {
        syscall($set, $path, $name, $value, length $value, 0) == 0 or die "$path $name: $!";
        next;
    }
    my $found = "\0" x 256;
    my $size = syscall($get, $path, $name, $found, 256);
    my $shown = $size < 0 ? "none" : substr($found, 0, $size) eq $value ? "kept" : "changed";
    printf "%s %o %s %s\n", $path, (stat $path)[2] & 07777, $name, $shown;
}
"#;

const EXPECTED: &str = "\
/srv/app 775 system.posix_acl_access kept
/srv/app 775 system.posix_acl_default kept
/srv/file 775 system.posix_acl_access kept
/srv/file 775 user.pax.flags kept
/srv/pipe 775 system.posix_acl_access kept
";

#[test]
fn access_lists_and_attributes_are_the_same_for_steps_and_pullers() {
    needs!(Run, Debian);
    let users = User::all().into_iter().filter(|user| *user != User::Single);
    for (user, isolation) in users.flat_map(|user| roots_of(user).into_iter().take(2)) {
        let place = Place::new(user);
        place.write("attributes.pl", PROGRAM).dockerfile(
            "
            FROM debian
            COPY attributes.pl /
            RUN mkdir /srv/app && touch /srv/file && mkfifo /srv/pipe && perl /attributes.pl set
            COPY attributes.pl /srv/
            RUN perl /attributes.pl show > /seen
            ",
        );
        let layout = place.out("layout");
        let base = place.base("debian");
        let output = to_layout(&layout);
        let args = ["--build-context", &base, "--output", &output, "--isolation", isolation];
        place.build(&args).ok();

        // Another store knows the layers only as they were written.
        let other = Place::new(user);
        other.dockerfile("FROM previous\nRUN perl /attributes.pl show > /again\n");
        let previous = format!("previous=oci-layout://{}", layout.display());
        let image = other.image(&["--build-context", &previous, "--isolation", isolation]);
        assert_eq!(image.text("seen"), EXPECTED.trim_end(), "{user:?} {isolation}");
        assert_eq!(image.text("again"), EXPECTED.trim_end(), "{user:?} {isolation}");
    }
}

/// Makes what no layer has: sockets, and attributes that mean something to file systems.
const UNKEPT: &str = r#"
use strict;
use Socket;
my $set = `uname -m` =~ /x86_64/ ? 188 : 5;
my ($folder, $file, $value) = ("/srv/folder", "/srv/file", "y");
mkdir $folder; open my $opened, ">", $file;
for my $name ("user.overlay.x", "user.fuseoverlayfs.x", "user.xbuild.x", "security.selinux", "user.kept") {
    my $copy = $name;
    # Not every kernel lets commands set all of them.
    syscall($set, $_, $copy, $value, 1, 0) for $folder, $file;
}
for my $path ("/srv/folder/socket", "/etc/motd") {
    unlink $path;
    socket(my $socket, AF_UNIX, SOCK_STREAM, 0);
    bind($socket, pack_sockaddr_un($path)) or die "$path: $!";
}
"#;

/// Shows what is left of it.
const LEFT: &str = r#"
use strict;
my $list = `uname -m` =~ /x86_64/ ? 194 : 11;
for my $path (my @paths = ("/srv/folder", "/srv/file")) {
    my $names = "\0" x 1000;
    my $size = syscall($list, $path, $names, 1000);
    print join(" ", $path, sort grep { /^(user|security)/ } split /\0/, substr($names, 0, $size)), "\n";
}
print -e $_ ? "there\n" : "gone\n" for "/srv/folder/socket", "/etc/motd";
"#;

#[test]
fn later_steps_do_not_see_what_no_layer_has() {
    needs!(Run, Debian);
    let single = User::all().into_iter().filter(|user| *user == User::Single);
    let all = roots_of(User::Me).into_iter().take(2).chain(single.map(|user| (user, "auto")));
    for (user, isolation) in all {
        let place = Place::new(user);
        place.write("make.pl", UNKEPT).write("show.pl", LEFT).dockerfile(
            "
            FROM debian
            COPY *.pl /
            RUN perl /make.pl
            RUN perl /show.pl > /seen
            ",
        );
        let base = place.base("debian");
        let image = place.image(&["--build-context", &base, "--isolation", isolation]);
        let expected = "/srv/folder user.kept\n/srv/file user.kept\ngone\ngone";
        assert_eq!(image.text("seen"), expected, "{user:?} {isolation}");
        // Another store knows the layers only as they were written.
        let args = ["--build-context", &base, "--isolation", isolation, "--no-cache"];
        let other = Place::new(user);
        other.write("make.pl", UNKEPT).write("show.pl", LEFT);
        other.dockerfile("FROM debian\nCOPY *.pl /\nRUN perl /make.pl\n");
        let layout = other.out("layout");
        let output = to_layout(&layout);
        other.build(&[&args[..], &["--output", &output]].concat()).ok();
        let puller = Place::new(user);
        puller.dockerfile("FROM previous\nRUN perl /show.pl > /seen\n");
        let previous = format!("previous=oci-layout://{}", layout.display());
        let image = puller.image(&["--build-context", &previous, "--isolation", isolation]);
        assert_eq!(image.text("seen"), expected, "{user:?} {isolation}");
    }
}

#[test]
fn an_attribute_that_no_archive_can_express_is_the_fault_of_the_step() {
    needs!(Run, Debian);
    let place = Place::new(User::Me);
    for (_, isolation) in roots_of(User::Me).into_iter().take(2) {
        place.dockerfile(
            r#"
            FROM debian
            RUN perl -e 'my ($p, $n, $v) = ("/srv", "user.a=b", "y");' \
             -e 'syscall(`uname -m` =~ /x86_64/ ? 188 : 5, $p, $n, $v, 1, 0) == 0 or die $!'
            "#,
        );
        let base = place.base("debian");
        place
            .build(&["--build-context", &base, "--isolation", isolation])
            .fails(3, &["the command made \"srv\"", "extended attribute"]);
    }
}
