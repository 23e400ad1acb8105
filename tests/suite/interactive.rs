//! Commands that somebody sits in front of: `xbuild run`, and the shell in the place of a step that
//! failed.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use crate::harness::{
    Finished, Place, Registry, Typed, User, checkout, host_state, needs, to_layout,
};

/// Returns the name of the base image busybox.
fn busybox(place: &Place) -> String {
    place.base("busybox").replacen("busybox=", "", 1)
}

fn run(place: &Place, args: &[&str]) -> Finished {
    let before = host_state();
    let finished = Finished::run(place.xbuild([&["run"], args].concat()));
    assert_eq!(host_state(), before);
    finished
}

#[test]
fn a_command_has_its_own_streams_and_status() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let image = &*busybox(&place);
        let finished = run(&place, &[image, "sh", "-c", "echo out; echo err >&2; exit 7"]);
        assert_eq!((finished.status, &*finished.stdout, &*finished.stderr), (7, "out\n", "err\n"));
        assert_eq!(run(&place, &["--rm", image, "sh", "-c", "kill -9 $$"]).status, 128 + 9);
        run(&place, &[image, "no-such-program"]).fails(127, &["no-such-program", "PATH"]);
        run(&place, &[image, "/no/such/program"]).fails(127, &["/no/such/program"]);
        run(&place, &[image, "/etc/passwd"]).fails(126, &["/etc/passwd"]);
        run(&place, &["oci-layout:///none", "true"]).fails(125, &["/none"]);
        // Without -i there is nothing to read.
        assert_eq!(run(&place, &[image, "cat"]).ok().stdout, "");
        let mut command = place.xbuild(["run", "-i", image, "cat"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"typed").unwrap();
        assert_eq!(Finished::of(child.wait_with_output().unwrap()).ok().stdout, "typed");
    }
}

#[test]
fn options_change_what_the_image_says() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r#"
            FROM busybox
            ENV A=image B=image
            WORKDIR /work
            ENTRYPOINT ["/bin/echo", "entry"]
            CMD ["cmd"]
            "#,
        );
        let layout = place.out("image");
        place.build(&["--output", &to_layout(&layout)]).ok();
        let image = &*format!("oci-layout://{}", layout.display());
        let says = |args: &[&str]| run(&place, args).ok().stdout.trim().to_owned();
        assert_eq!(says(&[image]), "entry cmd");
        assert_eq!(says(&[image, "mine", "-x"]), "entry mine -x");
        assert_eq!(says(&["--entrypoint", "pwd", image]), "/work");
        let show = ["sh", "-c", "echo $A $B $C; pwd; id -u"];
        let args =
            ["--entrypoint=", "-e", "B=mine", "-e", "C=x y", "-e", "UNSET", "-w", "/tmp", image];
        assert_eq!(says(&[&args[..], &show].concat()), "image mine x y\n/tmp\n0");
        assert_eq!(
            says(&["--network", "none", "--entrypoint=", image, "ls", "/sys/class/net"]),
            "lo"
        );
        if user != User::Single {
            assert_eq!(says(&["-u", "app", "--entrypoint=", image, "id", "-u"]), "1234");
        }
        place.dockerfile("FROM scratch\nCOPY f /\n").write("f", "f");
        let empty = place.out("empty");
        place.build(&["--output", &to_layout(&empty)]).ok();
        let empty = format!("oci-layout://{}", empty.display());
        run(&place, &[&empty]).fails(125, &["no command"]);
    }
}

#[test]
fn volumes_are_files_of_this_machine() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let image = &*busybox(&place);
        let home = place.path().join("home");
        let (folder, file) = (home.join("shared"), home.join("one"));
        let make = format!("mkdir {} && echo one > {}", folder.display(), file.display());
        assert!(place.command("sh").args(["-c", &make]).status().unwrap().success());
        let volume = |path: &Path, rest: &str| format!("{}:{rest}", path.display());
        let (both, read_only) = (volume(&folder, "/both"), volume(&folder, "/ro:ro"));
        let one = volume(&file, "/etc/one:ro");
        let script = "cat /etc/one; echo x > /both/x; ! echo y > /ro/y 2> /dev/null; cat /ro/x";
        let args = ["-v", &both, "-v", &read_only, "-v", &one, image, "sh", "-c", script];
        assert_eq!(run(&place, &args).ok().stdout, "one\nx\n");
        assert_eq!(fs::read_to_string(folder.join("x")).unwrap(), "x\n");
        for (volume, word) in [
            ("name:/x", "named volumes"),
            ("/none/such:/x", "/none/such"),
            ("/tmp:/", "absolute"),
            ("/tmp:x", "absolute"),
            ("/tmp:/x:z", "ro and rw"),
            ("/tmp", "SOURCE:TARGET"),
        ] {
            run(&place, &["-v", volume, image, "true"]).fails(125, &[word]);
        }
        let chroot = ["--isolation", "userns-chroot", "-v", &both, image, "true"];
        run(&place, &chroot).fails(125, &["-v", "mounted"]);
        assert!(folder.join("x").exists());
    }
}

/// Files of this machine get no owners and no marks: the command is told that it may not.
#[test]
fn volumes_get_no_owners_of_the_image() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let image = &*busybox(&place);
        let folder = place.path().join("home/shared");
        let make = format!("mkdir {0} && touch {0}/f && ln -s f {0}/l", folder.display());
        assert!(place.command("sh").args(["-c", &make]).status().unwrap().success());
        let mount = format!("{}:/v", folder.display());
        let script = "cd /v; try() { \"$@\" 2> /dev/null && echo yes $* || echo no $*; }; \
            try chown 5:6 f; try chown -h 5:6 l; try chown 0:0 f; try mknod null c 1 3; touch /f; \
            try chown 5:6 /f; chmod 777 .; try su app -c 'touch app'; stat -c '%u:%g' . f /f; ls";
        let args = ["--isolation", "userns-single", "-v", &mount, image, "sh", "-c", script];
        let expected = "no chown 5:6 f\nno chown -h 5:6 l\nyes chown 0:0 f\nno mknod null c 1 3\n\
            yes chown 5:6 /f\nno su app -c touch app\n0:0\n0:0\n5:6\nf\nl\n";
        assert_eq!(run(&place, &args).ok().stdout, expected, "{user:?}");
        let args = ["-v", &mount, image, "mknod", "/v/null", "c", "1", "3"];
        assert_ne!(run(&place, &args).status, 0, "{user:?}");
        for name in ["", "f", "l", "null", "app"] {
            let file = folder.join(name);
            let mut names = [0; 256];
            let count = rustix::fs::llistxattr(&file, &mut names[..]).unwrap_or(0);
            assert_eq!((&names[..count], name), (&b""[..], name), "{user:?}");
            assert_eq!(file.exists(), !matches!(name, "null" | "app"), "{name} {user:?}");
        }
    }
}

#[test]
fn an_image_of_a_registry_runs_on_every_platform() {
    needs!(Run, Emulation, Registry, Tool("skopeo"));
    let registry = Registry::start();
    let image = registry.push_busybox("run/busybox", &[]);
    for user in User::all() {
        let place = Place::new(user);
        let machine = |platform: &str| {
            let args = ["--platform", platform, &image, "uname", "-m"];
            run(&place, &args).ok().stdout.trim().to_owned()
        };
        assert_eq!(machine("linux/amd64"), "x86_64");
        assert_eq!(machine("linux/arm64"), "aarch64");
        assert_eq!(machine("linux/s390x"), "s390x");
    }
}

#[test]
fn the_image_of_the_demo_runs_on_its_platforms() {
    needs!(Run, Emulation, Range);
    let demo = checkout().join("fixtures/demo");
    let mut users = User::all().into_iter().filter(|user| *user != User::Single);
    let place = Place::new(users.next().unwrap());
    for name in ["Dockerfile", ".dockerignore", "src/greet.in"] {
        place.write(name, fs::read(demo.join(name)).unwrap());
    }
    let layout = place.out("demo");
    let platforms = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/s390x"];
    let all = platforms.join(",");
    place.build(&["--platform", &all, "--output", &to_layout(&layout)]).ok();
    let image = format!("oci-layout://{}", layout.display());
    for platform in platforms {
        run(&place, &["--platform", platform, &image]).ok().prints(&[platform]);
    }
}

#[test]
fn a_command_has_a_terminal_of_its_own() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        let image = &*busybox(&place);
        let before = host_state();
        let mut typed = Typed::start(place.xbuild(["run", "-it", image, "sh"]));
        typed.waits_for("# ");
        typed.types("stty size; tty; echo $((6 * 7)); stty -echo; exit 5");
        typed.waits_for("42");
        let finished = typed.ends();
        assert_eq!(host_state(), before);
        finished.fails(5, &["33 99", "/dev/pts/0", "42"]);
        run(&place, &["-t", image, "true"]).fails(125, &["-t needs a terminal"]);
    }
}

#[test]
fn a_shell_opens_in_the_place_of_a_step_that_failed() {
    needs!(Run);
    for (user, isolation) in User::all().into_iter().flat_map(|user| {
        ["auto", "auto/folder", "userns-chroot"].map(|isolation| (user, isolation))
    }) {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox
            WORKDIR /work
            ENV WHO=step
            RUN --mount=type=cache,target=/cache echo kept > /cache/f && echo made > f && exit 3
            RUN echo never
            ",
        );
        let before = host_state();
        let more = ["--isolation", isolation, "--on-error", "shell"];
        let mut typed = Typed::start(place.xbuild(place.build_args(&more)));
        typed.waits_for("`exit` ends the build");
        typed.waits_for("# ");
        typed.types("echo $WHO-$(pwd)-$(cat f)-$(cat /cache/f); exit");
        let finished = typed.ends().fails(3, &["step-/work-made-kept", "exit code 3"]);
        assert_eq!(host_state(), before);
        finished.does_not_say("[4/4]");
        let left: Vec<_> = fs::read_dir(place.store().join("tmp")).unwrap().flatten().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_shell_needs_a_terminal() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nRUN false\n");
    place.build(&["--on-error", "shell"]).fails(2, &["--on-error shell", "terminal"]);
}

#[test]
fn a_login_is_asked_for_on_a_terminal() {
    needs!(Registry);
    let registry = Registry::with_password();
    let place = Place::new(User::Me);
    let log_in = |more: &[&str]| place.xbuild([&["login", &registry.host], more].concat());
    // The password is typed, mended with backspace, and never shown.
    let mut typed = Typed::start(log_in(&[]));
    typed.waits_for("user at ");
    typed.types("suite");
    typed.waits_for("password or token");
    typed.types("wrong\u{15}secrXY\u{7f}\u{7f}et");
    typed.waits_for("logged in to");
    typed.ends().ok().does_not_say("secr");
    let config = fs::read_to_string(place.path().join("home/.docker/config.json")).unwrap();
    assert!(config.contains(&registry.host), "{config}");
    // Keys are hidden before the question, so that an answer at once is neither shown nor lost.
    let mut typed = Typed::start_stopped(log_in(&["-u", "suite"]));
    typed.waits_for_hidden_keys();
    typed.resumes();
    typed.waits_for("password or token");
    typed.types("secret");
    typed.ends().ok().does_not_say("secr");
    // Ctrl-C gives it up, and leaves the terminal as it was.
    let mut typed = Typed::start(log_in(&["-u", "suite"]));
    typed.waits_for("password or token");
    typed.types("sec\u{3}");
    assert_eq!(typed.ends().status, 130);
    // Without a terminal nobody can answer.
    Finished::run(log_in(&[])).fails(2, &["no user is named", "--username"]);
    Finished::run(log_in(&["-u", "suite"])).fails(2, &["no terminal", "--password-stdin"]);
    Finished::run(log_in(&["--password-stdin"])).fails(2, &["no user is named"]);
}

#[test]
fn the_platform_of_a_command_may_come_from_the_environment() {
    needs!(Run, Emulator);
    let place = Place::new(User::Me);
    let image = &*busybox(&place);
    let machine = |args: &[&str]| {
        let mut command = place.xbuild([&["run"], args, &[image, "uname", "-m"]].concat());
        command.env("DOCKER_DEFAULT_PLATFORM", "linux/arm64");
        Finished::run(command).ok().stdout
    };
    assert_eq!(machine(&[]), "aarch64\n");
    assert_ne!(machine(&["--platform", "linux/amd64"]), "aarch64\n");
}
