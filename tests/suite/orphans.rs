//! Nothing is left to the first process of a container that waits for nobody: neither a process that
//! runs nor one that has ended.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use crate::harness::{Finished, Place, User, is_root, needs, tool};

/// A first process that waits for its one child, and lets all others be zombies.
const FIRST: &str = "my $child = fork(); exec @ARGV if $child == 0; waitpid($child, 0); \
                     exit($? >> 8)";

/// Runs a command. A second after it has ended, lists every process but itself and the first one.
const LIST: &str = "\
\"$@\"
status=$?
sleep 1
for process in /proc/[1-9]*; do
    case ${process#/proc/} in 1 | $$) continue ;; esac
    read -r line < $process/stat && echo \"LEFT $line\"
done
exit $status
";

/// Runs a command, sends a signal to it or to its child once there is a process whose command line
/// matches, and ends as it does.
const SIGNAL: &str = r#"
my ($signal, $victim, $awaited) = splice(@ARGV, 0, 3);
sub find {
    for my $file (glob("/proc/[0-9]*/cmdline")) {
        open(my $line, "<", $file) or next;
        my $words = <$line> // "";
        $words =~ tr/\0/ /;
        return $1 if $words =~ $_[0] and $file =~ /(\d+)/;
    }
}
my $build = fork();
# Whoever runs the suite may ignore them.
if ($build == 0) { $SIG{HUP} = $SIG{TERM} = "DEFAULT"; exec @ARGV }
for (1..2400) { last if find($awaited); select(undef, undef, undef, 0.05) }
find($awaited) or die "there is no $awaited";
my ($helper) = grep { `cat $_/stat` =~ /\) . $build / } glob("/proc/[0-9]*");
kill $signal, $victim eq "build" ? $build : $helper =~ /(\d+)/;
waitpid($build, 0);
exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
"#;

/// Runs the command below such a first process, and fails the test if something is left.
#[track_caller]
fn nothing_is_left(place: &Place, wrapped: &[&str], build: &Command) -> Finished {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-current-user"]);
    }
    command.args(["--pid", "--fork", "--mount-proc", "--kill-child", "perl", "-e", FIRST]);
    command.args(["sh", "-c", LIST, "sh"]).args(wrapped);
    command.arg(build.get_program()).args(build.get_args()).current_dir(place.path()).env_clear();
    command.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let finished = Finished::run(command);
    let left: Vec<&str> =
        finished.stdout.lines().filter(|line| line.starts_with("LEFT ")).collect();
    assert!(left.is_empty(), "as {:?}: {left:#?}\n{}", place.user, finished.stderr);
    finished
}

fn build(place: &Place, more: &[&str]) -> Command {
    place.xbuild(place.build_args(more))
}

/// The same, with a signal to a process when another one is there.
#[track_caller]
fn nothing_is_left_after(
    signal: &str,
    victim: &str,
    awaited: &str,
    place: &Place,
    build: &Command,
) -> Finished {
    nothing_is_left(place, &["perl", "-e", SIGNAL, signal, victim, awaited], build)
}

/// Returns the address of a server that takes connections and never answers.
fn silent_server() -> (TcpListener, String) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[test]
fn builds_leave_no_process_to_the_first_one() {
    needs!(Run, Tool("perl"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN sleep 100 & true\nRUN (sleep 0.1 &) && echo > /f\n");
        nothing_is_left(&place, &[], &build(&place, &[])).ok();
        place.dockerfile("FROM busybox\nRUN sleep 100 & exit 7\n");
        nothing_is_left(&place, &[], &build(&place, &[])).fails(3, &["exit code 7"]);
        place.dockerfile(
            "FROM busybox AS slow\nRUN setsid sleep 100 & sleep 100\n\
             FROM busybox AS quick\nRUN sleep 1; exit 7\n\
             FROM busybox\nCOPY --from=slow / /\nCOPY --from=quick / /\n",
        );
        let both = build(&place, &["--jobs", "4"]);
        nothing_is_left(&place, &[], &both).fails(3, &[" CANCELED "]);
    }
}

#[test]
fn emulated_builds_leave_no_process_to_the_first_one() {
    needs!(Run, Emulation, Tool("perl"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN sleep 100 & echo > /f\n");
        let foreign = build(&place, &["--platform", "linux/arm64"]);
        nothing_is_left(&place, &[], &foreign).ok();
    }
}

#[test]
fn builds_that_a_signal_ends_leave_no_process_to_the_first_one() {
    needs!(Run, Tool("perl"));
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile("FROM busybox\nRUN setsid sleep 100 & sleep 100\n");
        let all = build(&place, &[]);
        for (signal, status) in [("TERM", 143), ("HUP", 129)] {
            let finished = nothing_is_left_after(signal, "build", "^sleep 100", &place, &all);
            finished.fails(status, &[]);
        }
        // Whoever kills the helper, or the kernel for want of memory, ends the step.
        nothing_is_left_after("KILL", "helper", "^sleep 100", &place, &all).fails(70, &[]);
    }
}

#[test]
fn what_git_starts_ends_with_the_build() {
    needs!(Run, Tool("perl"), Tool("git"));
    for user in User::all() {
        let place = Place::new(user);
        let (_server, address) = silent_server();
        place.dockerfile(&format!(
            "FROM busybox AS slow\nADD http://{address}/a.git /\n\
             FROM busybox AS quick\nRUN sleep 1; exit 7\n\
             FROM busybox\nCOPY --from=slow / /\nCOPY --from=quick / /\n"
        ));
        let remote = "^\\S*git[- ]remote-http";
        let both = build(&place, &["--jobs", "4"]);
        let signalled = nothing_is_left_after("TERM", "build", remote, &place, &both);
        signalled.fails(143, &[]);
        nothing_is_left(&place, &[], &both).fails(3, &["exit code 7"]);
    }
}

#[test]
fn agents_end_with_the_build() {
    needs!(Run, Tool("perl"), Tool("ssh-agent"), Tool("ssh-keygen"));
    for user in User::all() {
        let place = Place::new(user);
        let key = place.path().join("key").display().to_string();
        tool("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", &key]);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let key = format!("default={key}");
        place.dockerfile("FROM busybox\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK\n");
        nothing_is_left(&place, &[], &build(&place, &["--ssh", &key])).ok();
        place.dockerfile("FROM busybox\nRUN --mount=type=ssh sleep 101\n");
        let temporary = place.out("tmp");
        fs::create_dir(&temporary).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o777)).unwrap();
        let mut slow = build(&place, &["--ssh", &key]);
        slow.env("TMPDIR", &temporary);
        nothing_is_left_after("TERM", "build", "^sleep 101", &place, &slow).fails(143, &[]);
        // What a killed build left is in the store, where the next build removes it.
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "as {:?}", place.user);
        place.dockerfile("FROM busybox\nRUN true\n");
        nothing_is_left(&place, &[], &build(&place, &[])).ok();
        assert_eq!(fs::read_dir(place.store().join("tmp")).unwrap().count(), 0);
    }
}
