//! RUN `--mount`: files that one step gets for itself, and that stay out of the image and the store.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::harness::{Finished, Place, User, needs, to_layout};

/// Builds the context with these environment variables.
fn build_with(place: &Place, env: &[(&str, &str)], more: &[&str]) -> Finished {
    let mut command = place.xbuild(place.build_args(more));
    command.envs(env.iter().copied());
    Finished::run(command)
}

/// Returns the files below a folder that contain `needle`, compressed or not.
fn holders(folder: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        // Only root can read the files of other ids; root runs the whole suite in CI.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, kind) = (entry.path(), entry.file_type().unwrap());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                let bytes = fs::read(&path).unwrap_or_default();
                let mut plain = Vec::new();
                let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain);
                let holds = |text: &[u8]| text.windows(needle.len()).any(|part| part == needle);
                if holds(&bytes) || holds(&plain) {
                    found.push(path.display().to_string());
                }
            }
        }
    }
    found
}

#[test]
fn a_secret_is_in_its_step_and_nowhere_else() {
    needs!(Run);
    let (file, variable) = ("4d2f-canary-of-the-file-9b1c", "77aa-canary-of-the-variable-03de");
    for user in User::all() {
        let place = Place::new(user);
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let source = folder.path().join("token");
        fs::write(&source, file).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o644)).unwrap();
        let by_file = format!("id=token,src={}", source.display());
        let secrets = ["--secret", &by_file, "--secret", "id=key,env=KEY"];
        let layout = place.out("layout");
        let output = to_layout(&layout);
        let args = [&secrets[..], &["--output", &output]].concat();
        let mounts = "--mount=type=secret,id=token --mount=type=secret,id=key,env=KEY";
        place.dockerfile(&format!(
            r#"
            FROM busybox
            RUN {mounts} \
                test $(wc -c < /run/secrets/token) = {} && test ${{#KEY}} = {} \
             && ! test -e /run/secrets/key \
             && ! grep -q canary /proc/1/environ /proc/1/cmdline
            RUN ! test -e /run/secrets && ! test -n "$KEY" && echo some''thing kept > /f
            "#,
            file.len(),
            variable.len()
        ));
        let env = [("KEY", variable)];
        let finished = build_with(&place, &env, &args).ok();
        assert_eq!(finished.steps(), "0 cached, 2 done");
        let mut shown = vec![finished];
        // Another value does not repeat the step.
        shown.push(build_with(&place, &[("KEY", "other")], &args).ok());
        assert_eq!(shown[1].steps(), "2 cached, 0 done");
        // A step that fails does not show it either.
        place.dockerfile(&format!("FROM busybox\nRUN {mounts} exit 7\n"));
        shown.push(build_with(&place, &env, &args).fails(3, &["exit code 7"]));
        place.dockerfile(&format!("FROM busybox\nRUN {mounts} [\"/no/such/program\"]\n"));
        shown.push(build_with(&place, &env, &args).fails(3, &["/no/such/program"]));
        for canary in [file, variable] {
            shown.iter().for_each(|finished| finished.does_not_say(canary));
            assert_eq!(holders(place.path(), canary.as_bytes()), [""; 0]);
        }
        assert!(!holders(&place.store(), b"something kept").is_empty(), "the search works");
        let layers = crate::image::read(&layout).remove(0).layers;
        for layer in &layers[layers.len() - 2..] {
            let paths: Vec<&str> = layer.iter().map(|entry| entry.path.as_str()).collect();
            assert!(paths.iter().all(|path| !path.starts_with("run")), "{paths:?}");
        }
    }
}

#[test]
fn what_is_missing_is_named_with_the_way_to_give_it() {
    needs!(Run);
    let place = Place::new(User::Me);
    let run = |mount: &str| place.dockerfile(&format!("FROM busybox\nRUN {mount} true\n"));
    run("--mount=type=secret,id=token,required").build(&[]).fails(
        1,
        &[
            "the secret \"token\" is required",
            "   2 |> RUN",
            "hint: give it with --secret id=token",
        ],
    );
    run("--mount=type=ssh,id=deploy,required")
        .build(&[])
        .fails(1, &["the SSH agent \"deploy\"", "--ssh deploy="]);
    run("--mount=type=bind,source=no/such,target=/in").build(&[]).fails(1, &["no/such"]);
    run("--mount=from=busybox,source=/no/such,target=/in").build(&[]).fails(1, &["no/such"]);
    run("--mount=type=secret,id=token").build(&[]).ok();
    run("--mount=traget=/in").build(&[]).fails(1, &["\"traget\"", "did you mean target?"]);
}

#[test]
fn secrets_and_agents_that_cannot_be_given_are_refused() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM scratch\n").write("key", "no key");
    let key = format!("default={}", place.context().join("key").display());
    for (status, args, words) in [
        (2, ["--secret", "token"], "key=value"),
        (2, ["--secret", "src=token"], "id="),
        (2, ["--secret", "id=a,kind=b"], "kind="),
        (1, ["--secret", "id=a,src=/no/such/file"], "/no/such/file"),
        (2, ["--ssh", "default"], "SSH_AUTH_SOCK"),
        (2, ["--ssh", "default=/no/such/key"], "/no/such/key"),
        (2, ["--ssh", &key], "not a private key"),
    ] {
        place.build(&args).fails(status, &[words]);
    }
}

#[test]
fn only_a_change_of_what_is_mounted_repeats_a_step() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox AS tools
            COPY tool /tool
            FROM busybox
            RUN --mount=source=in,target=/in \
                --mount=from=tools,source=/tool,target=/bin/tool \
                --mount=type=cache,target=/cache \
                echo $(cat /in/a /bin/tool) > /out && cat /proc/sys/kernel/random/uuid > /cache/x
            ",
        );
        place.write("in/a", "a").write("in/b", "b").write("tool", "t").write("other", "o");
        let run = || {
            let finished = place.build(&[]).ok();
            let lines = finished.stderr.lines().filter(|line| line.contains("RUN --mount"));
            let number = |line: &str| line.split(' ').next().map(str::to_owned);
            let ids: BTreeSet<String> = lines.filter_map(number).collect();
            let id = ids.first().unwrap().clone();
            !finished.stderr.lines().any(|line| line == format!("{id} CACHED"))
        };
        assert!(run(), "nothing is known yet");
        assert!(!run(), "nothing has changed");
        place.write("other", "changed").write("new", "new").touch("in/a", 1_600_000_000);
        assert!(!run(), "nothing that is mounted has changed");
        place.write("in/b", "changed");
        assert!(run(), "a mounted file has changed");
        place.write("tool", "changed");
        assert!(run(), "the other stage has changed");
    }
}

#[test]
fn writes_to_a_bind_mount_are_thrown_away() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        place.write("in/file", "kept").dockerfile(
            r"
            FROM busybox
            RUN --mount=source=in,target=/in ! touch /in/x 2> /dev/null
            RUN --mount=source=in,target=/in,rw touch /in/x && rm /in/file && ls /in > /first
            RUN --mount=source=in,target=/in,rw ls /in > /second
            ",
        );
        let image = place.image(&[]);
        assert_eq!((image.text("first"), image.text("second")), ("x".into(), "file".into()));
        assert_eq!(fs::read_to_string(place.context().join("in/file")).unwrap(), "kept");
        assert!(!place.context().join("in/x").exists());
    }
}

#[test]
fn keys_are_served_for_as_long_as_the_build_lasts() {
    needs!(Run, Tool("ssh-agent"), Tool("ssh-keygen"));
    let place = Place::new(User::Me);
    let key = place.path().join("key");
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
    assert!(command.status().unwrap().success());
    place.dockerfile(
        r#"
        FROM busybox
        RUN --mount=type=ssh test -S "$SSH_AUTH_SOCK" && test ! -e /run/buildkit/ssh_agent.1
        RUN ! test -e /run/buildkit
        "#,
    );
    let given = format!("default={}", key.display());
    build_with(&place, &[], &["--ssh", &given]).ok();
    let temporary = place.store().join("tmp");
    assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "the agent is gone");
    let cached = build_with(&place, &[], &["--ssh", &given]).ok();
    assert_eq!(cached.steps(), "2 cached, 0 done");
}

#[test]
fn mounts_over_what_every_command_needs_are_errors_of_the_dockerfile() {
    needs!(Run);
    for user in User::all() {
        let place = Place::new(user);
        // The text alone shows these: they are found before any image is looked up.
        for target in ["/", "/dev", "/proc", "/sys", "/proc/self/x", "/sys/fs", "//a/../proc/"] {
            place.dockerfile(&format!(
                "FROM registry.invalid/none\nRUN --mount=type=tmpfs,target={target} true\n"
            ));
            let expected = format!("invalid mount target {target:?}: it is ");
            build_with(&place, &[], &[]).fails(1, &[&expected, " --> context/Dockerfile:2"]);
        }
        // These depend on links of the image.
        let links = "ln -s /proc /p; ln -s ../sys/none /s; ln -s dev /d";
        for (target, place_of_it) in
            [("/p/x", "inside /proc"), ("/p", "inside /proc"), ("/s/x", "/sys"), ("/d", "/dev")]
        {
            place.dockerfile(&format!(
                "FROM busybox\nRUN {links}\nRUN --mount=type=tmpfs,target={target} true\n"
            ));
            let expected = format!("cannot mount anything at {target}: it is");
            build_with(&place, &[], &[]).fails(1, &["Dockerfile:3", &expected, place_of_it]);
        }
        // Below /dev everything goes.
        place.dockerfile(
            r#"
            FROM busybox
            RUN --mount=type=tmpfs,target=/dev/shm,size=1m --mount=type=tmpfs,target=/dev/new/one \
                --mount=type=secret,id=s,target=/dev/token \
                df -k /dev/shm | grep -q 1024 && echo x > /dev/shm/x && echo x > /dev/new/one/x \
             && test "$(cat /dev/token)" = word && echo > /dev/null
            RUN ! test -e /dev/new && ! test -e /dev/token
            "#,
        );
        let secret = ["--secret", "id=s,env=WORD"];
        build_with(&place, &[("WORD", "word")], &secret).ok();
    }
}
