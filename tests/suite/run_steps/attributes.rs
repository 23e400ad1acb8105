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
