//! The cases about steps and tasks.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;
use std::time::{Duration, Instant};

use xbuild_exec::{Isolation, Rung};
use xbuild_model::FailureKind;
use xbuild_model::records::Owners;
use xbuild_model::rootfs::{Overlay, RootFs};
use xbuild_model::run::{Network, RunRequest, Script, Security};
use xbuild_model::seam::Namespace;

use crate::support::{Capture, Case, Fixture, HOLD, exec, in_words, sandbox, shell};

pub const ALL: &[(&str, Case)] = &[
    ("says_hello", says_hello),
    ("exit_codes_and_signals", exit_codes_and_signals),
    ("missing_programs_are_named", missing_programs_are_named),
    ("environment_is_exact", environment_is_exact),
    ("capabilities_are_dockers", capabilities_are_dockers),
    (
        "insecure_steps_have_it_all_but_the_namespaces",
        insecure_steps_have_it_all_but_the_namespaces,
    ),
    ("other_users", other_users),
    ("own_processes_only", own_processes_only),
    ("leftovers_are_killed", leftovers_are_killed),
    ("proc_and_sys_cannot_be_written", proc_and_sys_cannot_be_written),
    ("nothing_of_the_host_is_mounted", nothing_of_the_host_is_mounted),
    ("devices", devices),
    ("names_of_hosts", names_of_hosts),
    ("no_network", no_network),
    ("limits", limits),
    ("scripts_are_bound", scripts_are_bound),
    ("leaves_no_traces", leaves_no_traces),
    ("keeps_what_was_written_beside_a_mount_point", keeps_what_was_written_beside_a_mount_point),
    ("mount_points_on_links", mount_points_on_links),
    ("scratch_keeps_dev_proc_sys", scratch_keeps_dev_proc_sys),
    ("special_folders_must_be_folders", special_folders_must_be_folders),
    ("hostile_passwd", hostile_passwd),
    ("working_directory", working_directory),
    ("no_descriptors_leak", no_descriptors_leak),
    ("many_layers", many_layers),
    ("many_steps_at_once", many_steps_at_once),
    ("steps_in_a_row", steps_in_a_row),
    ("long_and_odd_output", long_and_odd_output),
    ("output_in_the_order_written", output_in_the_order_written),
    ("tasks_answer", tasks_answer),
    ("isolation_is_obeyed", isolation_is_obeyed),
    ("killing_xbuild_ends_everything", killing_xbuild_ends_everything),
    ("a_lost_helper_is_an_error", a_lost_helper_is_an_error),
];

fn error_of(fixture: &Fixture, request: &RunRequest) -> (FailureKind, String) {
    let error = fixture.run(request).expect_err("must fail");
    (error.kind(), in_words(&error))
}

fn says_hello(fixture: &Fixture) -> Result<(), String> {
    let out = fixture.run(&shell("echo hello; echo error >&2; id -u; id -G")).unwrap();
    let groups = if fixture.single_id() { "0 65534" } else { "0" };
    let expected = |groups: &str| format!("hello\nerror\n0\n{groups}");
    assert!(out == expected(groups) || out == expected("0"), "{out}");
    Ok(())
}

fn exit_codes_and_signals(fixture: &Fixture) -> Result<(), String> {
    let (kind, text) = error_of(fixture, &shell("exit 37"));
    assert_eq!((kind, &*text), (FailureKind::Step, "the command ended with exit code 37"));
    let (_, text) = error_of(fixture, &shell("kill -9 $$"));
    assert_eq!(text, "the command was killed by SIGKILL (exit code 137)");
    Ok(())
}

fn missing_programs_are_named(fixture: &Fixture) -> Result<(), String> {
    let layer = fixture.folder.join("layer");
    for (name, text, mode) in [
        ("no-exec", "", 0o644),
        ("no-interpreter", "#!/no/such\n", 0o755),
        ("nonsense", "nonsense", 0o755),
    ] {
        std::fs::write(layer.join("bin").join(name), text).unwrap();
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(layer.join("bin").join(name), permissions).unwrap();
    }
    for (program, kind, start) in [
        ("no-such-program", FailureKind::Step, "no-such-program: not found in PATH"),
        ("/no/such", FailureKind::Step, "cannot execute /no/such: No such file or directory"),
        ("no-exec", FailureKind::Step, "cannot execute /bin/no-exec: Permission denied"),
        (
            "no-interpreter",
            FailureKind::Step,
            "cannot execute /bin/no-interpreter: the interpreter",
        ),
        ("nonsense", FailureKind::Step, "cannot execute /bin/nonsense: exec format error"),
        ("/etc", FailureKind::Step, "cannot execute /etc: Permission denied"),
    ] {
        let (found, text) = error_of(fixture, &exec(&[program, "x"]));
        assert!(found == kind && text.starts_with(start), "{program}: {found:?} {text}");
    }
    Ok(())
}

fn environment_is_exact(fixture: &Fixture) -> Result<(), String> {
    let mut request = exec(&["env"]);
    request.env.push(("ONE".into(), "a b=c".into()));
    request.unkeyed_env = vec![("ONE".into(), "hidden".into()), ("http_proxy".into(), "p".into())];
    let out = fixture.run(&request).unwrap();
    assert_eq!(out, "PATH=/usr/bin:/bin\nONE=a b=c\nhttp_proxy=p\nHOME=/root");
    // Pid 1, a copy of xbuild's own process, does not show it either.
    let out =
        fixture.run(&shell("cat /proc/1/environ 2>/dev/null; readlink /proc/1/exe; true")).unwrap();
    assert_eq!(out, "");
    Ok(())
}

fn capabilities_are_dockers(fixture: &Fixture) -> Result<(), String> {
    let inherited = i32::from(rustix::thread::no_new_privs().unwrap());
    let out = fixture.sh("grep -e ^Cap -e NoNewPrivs -e Seccomp: /proc/self/status");
    assert_eq!(
        out.replace('\t', " "),
        format!(
            "CapInh: 0000000000000000\nCapPrm: 00000000a80425fb\nCapEff: 00000000a80425fb\n\
         CapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\nNoNewPrivs: {inherited}\nSeccomp: 2"
        )
    );
    own_proc(fixture)?;
    // Pid 1 has none left.
    assert_eq!(fixture.sh("grep CapEff /proc/1/status"), "CapEff:\t0000000000000000");
    Ok(())
}

fn insecure_steps_have_it_all_but_the_namespaces(fixture: &Fixture) -> Result<(), String> {
    let script = "exec 2>/dev/null; grep -e ^Cap -e Seccomp: /proc/self/status; cat /proc/sys/kernel/cap_last_cap; \
                  grep -c -e ' /proc/' -e ' /sys/firmware' /proc/self/mountinfo; \
                  busybox mount -t tmpfs none /tmp && ls /tmp; \
                  busybox unshare -m true && echo unshared; ls /proc | grep -c '^[0-9]'; \
                  readlink /proc/1/exe /proc/1/cwd /proc/1/root; cat /proc/1/environ; true";
    let insecure = |user: &str, script: &str| {
        let user = user.to_owned();
        fixture.run(&RunRequest { user, security: Security::Insecure, ..shell(script) })
    };
    if own_proc(fixture).is_err() {
        // The /proc of the container around would show other steps to it.
        let error = insecure("", "true").unwrap_err();
        assert_eq!(error.kind(), FailureKind::Environment);
        return own_proc(fixture);
    }
    let out = insecure("", script).unwrap();
    let lines: Vec<&str> = out.lines().collect();
    let last: u32 = lines[6].parse().unwrap();
    let (all, none) = (format!("{:016x}", (1_u64 << (last + 1)) - 1), "0".repeat(16));
    let capabilities =
        [("Inh", &none), ("Prm", &all), ("Eff", &all), ("Bnd", &all), ("Amb", &none)];
    let capabilities = capabilities.map(|(set, value)| format!("Cap{set}:\t{value}"));
    assert_eq!(lines[..5], capabilities);
    let inherited = std::fs::read_to_string("/proc/self/status").unwrap();
    // With a single id there is a filter that refuses nothing, for the owners of files.
    let is_own = |line: &str| match fixture.single_id() {
        true => line == "Seccomp:\t2",
        false => inherited.lines().any(|inherited| inherited == line),
    };
    assert!(is_own(lines[5]), "{}", lines[5]);
    assert_eq!(lines[7..9], ["0", "unshared"], "{out}");
    assert!(lines[9].parse::<u32>().unwrap() < 10 && lines.len() == 10, "{out}");
    if !fixture.single_id() {
        let out = insecure("app", "grep -e CapEff -e CapBnd /proc/self/status").unwrap();
        assert_eq!(out, format!("CapEff:\t{none}\nCapBnd:\t{all}"));
    }
    // The next step is a usual one.
    assert!(fixture.sh("grep CapEff /proc/self/status").ends_with("a80425fb"));
    Ok(())
}

fn other_users(fixture: &Fixture) -> Result<(), String> {
    let as_user = |user: &str, script: &str| {
        fixture.run(&RunRequest { user: user.to_owned(), ..shell(script) })
    };
    let error = as_user("stranger", "true").unwrap_err();
    assert_eq!(error.kind(), FailureKind::User);
    assert!(error.to_string().contains("stranger"), "{error}");
    if fixture.single_id() {
        let script = "echo $(id -u):$(id -g):$(id -G) $HOME; echo x > /dev/stdout";
        for (user, expected) in [
            ("app", "1234:2345:2345 50 /home/app\nx"),
            ("4321", "4321:0:0 /\nx"),
            ("app:77", "1234:77:77 /home/app\nx"),
        ] {
            assert_eq!(as_user(user, script).unwrap(), expected);
        }
        return Err("one id: /proc shows no other users".to_owned());
    }
    let script = "echo $(id -u):$(id -g):$(id -G) $HOME; grep CapEff /proc/self/status; \
                  echo x > /dev/stdout";
    let out = as_user("app", script).unwrap();
    assert_eq!(out, "1234:2345:2345 50 /home/app\nCapEff:\t0000000000000000\nx");
    let out = as_user("4321", script).unwrap();
    assert_eq!(out, "4321:0:0 /\nCapEff:\t0000000000000000\nx");
    let out = as_user("app:77", "id -G; touch /tmp/mine 2>&- || echo refused").unwrap();
    assert_eq!(out, "77\nrefused");
    for (user, expected) in [("app", "50 2345"), ("4321", "0"), ("app:77", "77"), ("root", "0")] {
        let out = as_user(user, "grep Groups: /proc/self/status").unwrap();
        assert_eq!(out.trim_end(), format!("Groups:\t{expected}"), "{user}");
    }
    // Set-user-ID programs work: no_new_privs is off.
    let script = "/special/su -c true root 2>&1 | grep -q 'must be suid' || echo special";
    fixture.sh("mkdir /special; cp /bin/busybox /special/su; chmod 4755 /special/su");
    let again =
        Overlay { lowers: vec![fixture.upper(), fixture.folder.join("layer")], ..fixture.root() };
    let output = Capture::default();
    let request = RunRequest { user: "app".into(), ..shell(script) };
    fixture.run_in(&again, &request, &[], &output).unwrap();
    assert_eq!(output.text(), "special");
    Ok(())
}

/// Skips the rest where the kernel refuses a /proc of the step's own.
fn own_proc(fixture: &Fixture) -> Result<(), String> {
    let own = fixture.sh("readlink /proc/self; true").len() == 1;
    own.then_some(()).ok_or_else(|| "the container around hides parts of /proc".to_owned())
}

fn own_processes_only(fixture: &Fixture) -> Result<(), String> {
    own_proc(fixture)?;
    assert_eq!(
        fixture.sh("for p in /proc/[0-9]*; do echo $p; done; echo $$"),
        "/proc/1\n/proc/2\n2"
    );
    Ok(())
}

fn leftovers_are_killed(fixture: &Fixture) -> Result<(), String> {
    let start = Instant::now();
    fixture.sh("sleep 1000 & (sleep 2; touch /late) & echo done");
    assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    Ok(())
}

fn proc_and_sys_cannot_be_written(fixture: &Fixture) -> Result<(), String> {
    let script = "(echo 0 > /proc/sys/kernel/panic) 2>/dev/null && echo written; \
                  (echo h > /proc/sysrq-trigger) 2>/dev/null && echo written; \
                  mkdir /sys/new 2>/dev/null && echo written; \
                  mkdir /sys/fs/cgroup/new 2>/dev/null && echo written; \
                  find /sys -writable 2>/dev/null -type f | head -n 1; \
                  cat /proc/kcore /proc/timer_list /proc/keys 2>/dev/null; \
                  ls -d /sys/kernel";
    assert_eq!(fixture.sh(script), "/sys/kernel");
    Ok(())
}

fn nothing_of_the_host_is_mounted(fixture: &Fixture) -> Result<(), String> {
    let mounts = fixture.sh("cat /proc/self/mountinfo");
    let mounted: Vec<&str> = mounts.lines().filter_map(|line| line.split(' ').nth(4)).collect();
    let count = |path: &str| mounted.iter().filter(|mounted| **mounted == path).count();
    assert_eq!((count("/"), count("/proc"), count("/dev")), (1, 1, 1), "{mounts}");
    let ours = ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/resolv.conf"];
    for path in mounted.iter().filter(|path| **path != "/") {
        assert!(ours.iter().any(|own| path.starts_with(own)), "{path} in\n{mounts}");
    }
    // The names of the store's folders do not show either.
    let host = fixture.folder.display().to_string();
    assert!(!mounts.contains(&host), "{mounts}");
    Ok(())
}

fn devices(fixture: &Fixture) -> Result<(), String> {
    let script = "echo x > /dev/null; head -c 4 /dev/zero | wc -c; \
                  head -c 4 /dev/urandom | wc -c; ls /dev; df -k /dev/shm | grep -o ' 8192 .* /dev/shm' | tr -d ' 0%'; \
                  touch /dev/shm/left && ln -s /etc/passwd /dev/left; \
                  ls -l /dev/ptmx | grep -o 'ptmx -> .*'; (: < /dev/tty) 2>/dev/null || echo no tty";
    let request = RunRequest { shm_size: 8 << 20, ..shell(script) };
    let out = fixture.run(&request).unwrap();
    let list =
        "fd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero";
    assert_eq!(out, format!("4\n4\n{list}\n81928192/dev/shm\nptmx -> pts/ptmx\nno tty"));
    Ok(())
}

fn names_of_hosts(fixture: &Fixture) -> Result<(), String> {
    let request = RunRequest {
        extra_hosts: vec![("six.example".into(), "2001:db8::6".into())],
        ..shell(
            "hostname; cat /etc/hosts; mkdir -p /etc; chmod -R g=u /etc && echo y >> /etc/hosts && \
             tail -n 1 /etc/hosts; stat -c %a /etc/hosts /etc/resolv.conf",
        )
    };
    let out = fixture.run(&request).unwrap();
    assert_eq!(
        out,
        "buildhost\n127.0.0.1\tlocalhost buildhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         2001:db8::6\tsix.example\ny\n664\n664"
    );
    // The next step has its own, and the layer has neither.
    assert!(!fixture.sh("cat /etc/hosts; stat -c %a /etc/hosts").contains("y\n"));
    assert!(!fixture.changes().iter().any(|path| path.ends_with("hosts")));
    let request = RunRequest { extra_hosts: vec![("a b".into(), "::1".into())], ..shell("true") };
    assert_eq!(error_of(fixture, &request).0, FailureKind::User);
    let (_, text) = error_of(fixture, &shell("rm /etc/resolv.conf"));
    assert_eq!(text, "the command ended with exit code 1");
    Ok(())
}

fn no_network(fixture: &Fixture) -> Result<(), String> {
    let script = "wc -c < /etc/resolv.conf; ip -o addr | grep -c .; ls /sys/class/net";
    let request = RunRequest { network: Network::None, ..shell(script) };
    let out = fixture.run(&request).unwrap();
    assert!(out.starts_with('0') && out.ends_with("lo"), "{out}");
    Ok(())
}

fn limits(fixture: &Fixture) -> Result<(), String> {
    let limited = |limits: &[(&str, u64, u64)], script: &str| RunRequest {
        ulimits: limits
            .iter()
            .map(|(name, soft, hard)| ((*name).to_owned(), *soft, *hard))
            .collect(),
        ..shell(script)
    };
    let script = "ulimit -S -n; ulimit -H -n; ulimit -c";
    let out = fixture.run(&limited(&[("nofile", 333, 444)], script)).unwrap();
    assert_eq!(out, "333\n444\n0");
    let out = fixture.run(&limited(&[("core", 7 << 10, 8 << 10)], "ulimit -c")).unwrap();
    assert_eq!(out, "14");
    assert!(fixture.sh("ulimit -S -n").parse::<u64>().unwrap() <= 1024);
    let (kind, text) = error_of(fixture, &limited(&[("nofile", 1, u64::MAX - 1)], "true"));
    assert_eq!(kind, FailureKind::Environment);
    assert!(text.starts_with("cannot set the resource limit nofile=1:"), "{text}");
    let (kind, text) = error_of(fixture, &limited(&[("nonsense", 1, 1)], "true"));
    assert_eq!((kind, &*text), (FailureKind::User, "invalid resource limit: \"nonsense\""));
    Ok(())
}

fn scripts_are_bound(fixture: &Fixture) -> Result<(), String> {
    let script = |path: &str, mode: u32| Script {
        path: path.to_owned(),
        contents: "#!/bin/sh\necho \"from $0\"\n".to_owned(),
        mode,
    };
    let request = RunRequest {
        scripts: vec![script("/dev/pipes/EOF", 0o755), script("/new/folder/script", 0o755)],
        ..shell("/dev/pipes/EOF; /new/folder/script; ls -l /new/folder/script | cut -c 1-10")
    };
    let out = fixture.run(&request).unwrap();
    assert_eq!(out, "from /dev/pipes/EOF\nfrom /new/folder/script\n-rwxr-xr-x");
    assert_eq!(fixture.changes(), ["dev", "proc", "sys"]);
    Ok(())
}

fn leaves_no_traces(fixture: &Fixture) -> Result<(), String> {
    for name in ["dev", "proc", "sys"] {
        std::fs::create_dir(fixture.folder.join("layer").join(name)).unwrap();
    }
    let root = fixture.root();
    let before = std::fs::metadata(&root.upper).unwrap();
    fixture.sh_in(
        &root,
        "ls /dev /proc /sys > /dev/null; cat /etc/resolv.conf /etc/hosts; touch /dev/x /tmp/x",
    );
    assert_eq!(fixture.changes(), ["tmp", "tmp/x"]);
    // Making /etc/hosts copied /etc up and set the clock of nothing but the root forward.
    let after = std::fs::metadata(&root.upper).unwrap();
    assert_eq!((before.mtime(), before.mtime_nsec()), (after.mtime(), after.mtime_nsec()));
    Ok(())
}

fn keeps_what_was_written_beside_a_mount_point(fixture: &Fixture) -> Result<(), String> {
    fixture.sh("echo x > /etc/own");
    assert_eq!(fixture.changes(), ["dev", "etc", "etc/own", "proc", "sys"]);
    Ok(())
}

fn mount_points_on_links(fixture: &Fixture) -> Result<(), String> {
    let etc = fixture.folder.join("layer/etc");
    symlink("../run/systemd/resolve/stub-resolv.conf", etc.join("resolv.conf")).unwrap();
    symlink("/../../../../hosts-elsewhere", etc.join("hosts")).unwrap();
    assert_eq!(
        fixture.sh("grep -c localhost /hosts-elsewhere; ls /run/systemd/resolve"),
        "2\nstub-resolv.conf"
    );
    assert_eq!(fixture.changes(), ["dev", "proc", "sys"]);
    assert!(!std::path::Path::new("/hosts-elsewhere").exists());
    Ok(())
}

fn scratch_keeps_dev_proc_sys(fixture: &Fixture) -> Result<(), String> {
    let root = Overlay { lowers: Vec::new(), ..fixture.root() };
    std::fs::copy("/bin/busybox", root.upper.join("busybox")).unwrap();
    let output = Capture::default();
    fixture.run_in(&root, &exec(&["/busybox", "touch", "/mark"]), &[], &output).unwrap();
    assert_eq!(fixture.changes(), ["busybox", "dev", "mark", "proc", "sys"]);
    Ok(())
}

fn special_folders_must_be_folders(fixture: &Fixture) -> Result<(), String> {
    let layer = fixture.folder.join("layer");
    symlink("/tmp", layer.join("dev")).unwrap();
    let (kind, text) = error_of(fixture, &shell("true"));
    assert_eq!(kind, FailureKind::User);
    assert_eq!(text, "cannot read /dev of the image: it must be a folder, not a link or a file");
    std::fs::remove_file(layer.join("dev")).unwrap();
    std::fs::write(layer.join("proc"), "").unwrap();
    assert!(error_of(fixture, &shell("true")).1.contains("/proc"));
    Ok(())
}

fn hostile_passwd(fixture: &Fixture) -> Result<(), String> {
    let passwd = fixture.folder.join("layer/etc/passwd");
    for target in ["/dev/zero", "passwd", "/etc", "/proc/kmsg"] {
        std::fs::remove_file(&passwd).unwrap();
        symlink(target, &passwd).unwrap();
        let start = Instant::now();
        let result = fixture.run(&RunRequest { user: "app".into(), ..shell("true") });
        assert_eq!(result.unwrap_err().kind(), FailureKind::User, "{target}");
        assert!(start.elapsed() < Duration::from_secs(1));
    }
    Ok(())
}

fn working_directory(fixture: &Fixture) -> Result<(), String> {
    let at = |cwd: &str, script: &str| RunRequest { cwd: cwd.to_owned(), ..shell(script) };
    let out = fixture.run(&at("/gone/deep", "pwd; ls -ld . | cut -c 1-10")).unwrap();
    assert_eq!(out, "/gone/deep\ndrwxr-xr-x");
    assert_eq!(fixture.changes(), ["dev", "gone", "gone/deep", "proc", "sys"]);
    let try_at = |cwd: &str| fixture.run(&at(cwd, "true"));
    for cwd in ["/etc/passwd", "/proc/self/fd/7", "/proc/self/fd/3", "relative"] {
        let error = try_at(cwd).unwrap_err();
        assert_eq!(error.kind(), FailureKind::User, "{cwd}");
    }
    Ok(())
}

fn no_descriptors_leak(fixture: &Fixture) -> Result<(), String> {
    let out = fixture
        .sh("ls /proc/self/fd; ls -l /proc/self/fd/0 | grep -o '/dev/null$'; ls / /proc/self/cwd/");
    assert!(out.starts_with("0\n1\n2\n3\n/dev/null\n"), "{out}");
    assert!(!out.contains("home") && !out.contains("usr"), "{out}");
    Ok(())
}

fn many_layers(fixture: &Fixture) -> Result<(), String> {
    let mut lowers = Vec::new();
    for number in 0..300 {
        let folder = fixture.folder.join(format!("layers/a-name-that-is-rather-long-{number:064}"));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("top"), number.to_string()).unwrap();
        std::fs::write(folder.join(format!("file-{number}")), "").unwrap();
        lowers.insert(0, folder);
    }
    lowers.push(fixture.folder.join("layer"));
    let root = Overlay { lowers, ..fixture.root() };
    let output = Capture::default();
    fixture.run_in(&root, &shell("cat /top; echo; ls / | grep -c file-"), &[], &output).unwrap();
    assert_eq!(output.text(), "299\n300");
    Ok(())
}

fn many_steps_at_once(fixture: &Fixture) -> Result<(), String> {
    std::thread::scope(|scope| {
        for number in 0..8 {
            let root = fixture.root();
            scope.spawn(move || {
                let script = format!("sleep 0.2; echo {number} > /number; cat /number");
                let output = Capture::default();
                fixture.run_in(&root, &shell(&script), &[], &output).unwrap();
                assert_eq!(output.text(), number.to_string());
            });
        }
    });
    Ok(())
}

fn steps_in_a_row(fixture: &Fixture) -> Result<(), String> {
    let roots: Vec<Overlay> = (0..10).map(|_| fixture.root()).collect();
    let start = Instant::now();
    fixture.sandbox.start("test.echo", Vec::new(), Vec::new()).unwrap().wait().unwrap();
    let started = start.elapsed();
    for root in &roots {
        fixture.run_in(root, &exec(&["/bin/busybox", "true"]), &[], &Capture::default()).unwrap();
    }
    println!("  {started:?} to start, then {:?} for ten steps", start.elapsed() - started);
    Ok(())
}

fn long_and_odd_output(fixture: &Fixture) -> Result<(), String> {
    let script = "yes | head -n 200000; head -c 100000 /dev/zero; printf 'end'";
    let out = fixture.run(&shell(script)).unwrap();
    assert_eq!(out.lines().filter(|line| *line == "y").count(), 200_000);
    assert!(out.ends_with("end") && out.len() > 500_000);
    Ok(())
}

fn output_in_the_order_written(fixture: &Fixture) -> Result<(), String> {
    let script = "i=0; while [ $i -lt 2000 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done; \
                  echo x > /dev/stderr; echo y > /dev/stdout; printf 'a\\rb\\n'; \
                  [ -t 0 ] || [ -t 1 ] || [ -t 2 ] || echo no terminal";
    let out = fixture.run(&shell(script)).unwrap();
    let pairs = (0..2000).flat_map(|i| [format!("o{i}"), format!("e{i}")]);
    let rest = ["x", "y", "a", "b", "no terminal"].map(str::to_owned);
    assert_eq!(out.lines().collect::<Vec<_>>(), pairs.chain(rest).collect::<Vec<_>>());
    Ok(())
}

fn tasks_answer(fixture: &Fixture) -> Result<(), String> {
    let ask = |request: &[u8]| {
        let task = fixture.sandbox.start("test.echo", request.to_vec(), Vec::new());
        task.and_then(|task| task.wait())
    };
    assert_eq!(ask(b"hello").unwrap(), b"hello 0 0");
    assert_eq!(ask(b"fail").unwrap_err().to_string(), "as told");
    assert_eq!(ask(b"panic").unwrap_err().to_string(), "panicked");
    let died = ask(b"die").unwrap_err().to_string();
    assert!(died.contains("test.echo") && died.contains("crashed"), "{died}");
    let big = vec![b'x'; 3 << 20];
    assert_eq!(ask(&big).unwrap().len(), big.len() + 4);
    let unknown = fixture.sandbox.start("test.unknown", Vec::new(), Vec::new()).unwrap().wait();
    assert!(unknown.unwrap_err().to_string().contains("there is no task"));
    assert_eq!(ask(b"still there").unwrap(), b"still there 0 0");
    Ok(())
}

fn isolation_is_obeyed(fixture: &Fixture) -> Result<(), String> {
    let none = sandbox(Isolation::None);
    let error = none
        .run_with(
            &RootFs::Overlay(fixture.root()),
            &shell("true"),
            &[],
            Vec::new(),
            &Capture::default(),
        )
        .unwrap_err();
    assert_eq!(error.kind(), FailureKind::Environment);
    assert!(error.hint().is_some());
    let single = sandbox(Isolation::rung(Rung::UsernsSingle));
    assert_eq!(single.owners().unwrap(), Owners::Recorded);
    assert!(single.map_name().unwrap().starts_with("owners-"));
    let root = fixture.root();
    let output = Capture::default();
    single
        .run_with(
            &RootFs::Overlay(root),
            &shell("id -u; cat /proc/self/uid_map"),
            &[],
            Vec::new(),
            &output,
        )
        .unwrap();
    assert!(output.text().starts_with("0\n         0 "), "{}", output.text());
    Ok(())
}

fn killing_xbuild_ends_everything(fixture: &Fixture) -> Result<(), String> {
    // A number that no other process sleeps for.
    let mark = format!("1{:06}.5", std::process::id());
    let script = format!("sleep {mark} & (sleep {mark}) & sleep {mark}; true");
    let mut xbuild = Command::new("/proc/self/exe")
        .args([HOLD, fixture.folder.to_str().unwrap(), &script])
        .spawn()
        .unwrap();
    wait_until(|| sleeping(&mark) == 3);
    xbuild.kill().unwrap();
    xbuild.wait().unwrap();
    wait_until(|| sleeping(&mark) == 0);
    Ok(())
}

fn a_lost_helper_is_an_error(fixture: &Fixture) -> Result<(), String> {
    let mark = format!("2{:06}.5", std::process::id());
    let other = sandbox(Isolation::AUTO);
    let root = RootFs::Overlay(fixture.root());
    std::thread::scope(|scope| {
        let (other, root) = (&other, &root);
        let script = format!("sleep {mark}; true");
        let step = scope.spawn(move || {
            other.run_with(root, &shell(&script), &[], Vec::new(), &Capture::default())
        });
        wait_until(|| sleeping(&mark) == 1);
        let helper = youngest_child_of(std::process::id());
        rustix::process::kill_process(helper, rustix::process::Signal::KILL).unwrap();
        let error = step.join().unwrap().unwrap_err();
        assert_eq!(error.kind(), FailureKind::Internal, "{error}");
    });
    wait_until(|| sleeping(&mark) == 0);
    // The process that waits for the next step may outlive the helper for a moment.
    let run = || {
        other.run_with(
            &RootFs::Overlay(fixture.root()),
            &shell("true"),
            &[],
            Vec::new(),
            &Capture::default(),
        )
    };
    wait_until(|| run().unwrap_err().to_string() == "the namespace helper ended unexpectedly");
    Ok(())
}

fn wait_until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < Duration::from_secs(10), "waited too long");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns how many processes sleep for `mark` seconds.
fn sleeping(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|p| std::fs::read_to_string(p.path().join("cmdline")).ok());
    lines.filter(|line| *line == format!("sleep\0{mark}\0")).count()
}

fn youngest_child_of(parent: u32) -> rustix::process::Pid {
    let children = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
        let ppid = status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim();
        (ppid == parent.to_string()).then_some(pid)
    });
    rustix::process::Pid::from_raw(children.max().unwrap()).unwrap()
}
