//! Images, stores and neighbours that attack. The lines of `docs/threats.md`, part A, say what must
//! hold; most of them have their tests in the crates.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::chroot::rungs;
use crate::harness::{
    CREDENTIALS, Finished, Place, Registry, User, checkout, is_root, needs, to_layout, tool,
};
use crate::image;

/// Programs that builders have been known to start.
const PROGRAMS: [&str; 9] =
    ["xz", "unxz", "gzip", "unpigz", "gunzip", "zstd", "bzip2", "tar", "git"];

/// CVE-2026-41567: neither the image's programs nor those in PATH unpack an archive.
#[test]
fn no_program_unpacks_an_archive() {
    needs!(Tool("xz"), Tool("bzip2"), Tool("zstd"));
    let place = Place::new(User::Me);
    let marker = place.out("marker");
    let trojan = format!("#!/bin/sh\necho ran >> {}\n", marker.display());
    let bin = place.context().join("bin");
    for name in PROGRAMS {
        place.write(&format!("bin/{name}"), &trojan);
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    place.write("inside", "text");
    for (option, name) in [("-J", "xz"), ("-z", "gz"), ("-j", "bz2"), ("--zstd", "zst")] {
        let to = place.context().join(format!("a.tar.{name}")).display().to_string();
        let from = place.context().display().to_string();
        tool("tar", ["-C", &from, option, "-cf", &to, "inside"]);
    }
    place.dockerfile(
        r"
        FROM busybox
        COPY bin/ /bin/
        COPY bin/ /usr/bin/
        ADD a.tar.xz /xz/
        ADD a.tar.gz /gz/
        ADD a.tar.bz2 /bz2/
        ADD a.tar.zst /zst/
        ",
    );
    let layout = place.out("layout");
    let mut command = place.xbuild(place.build_args(&["--output", &to_layout(&layout)]));
    let path = std::env::var_os("PATH").unwrap();
    let folders = [bin].into_iter().chain(std::env::split_paths(&path));
    command.env("PATH", std::env::join_paths(folders).unwrap());
    Finished::run(command).ok();
    let image = image::read(&layout).remove(0);
    for name in ["xz", "gz", "bz2"] {
        assert_eq!(image.text(&format!("{name}/inside")), "text");
    }
    assert!(!marker.exists());
}

/// CVE-2019-14271: names of users are looked up without any library, of the image or the host.
#[test]
fn users_are_looked_up_without_libraries() {
    needs!(Run, Tool("strace"));
    let place = Place::new(User::Me);
    for name in ["nsswitch.conf", "libnss_files.so.2", "ld.so.preload"] {
        place.write(name, "trap");
    }
    place.dockerfile(
        r#"
        FROM busybox
        COPY nsswitch.conf ld.so.preload /etc/
        COPY libnss_files.so.2 /lib/
        COPY --chown=app:staff Dockerfile /x
        USER root
        RUN ["/bin/true"]
        "#,
    );
    let log = place.out("strace");
    let mut command = place.command("strace");
    command.args(["-f", "-qq", "-e", "trace=open,openat,openat2,execve", "-o"]).arg(&log);
    command.arg(place.path().join("xbuild")).args(place.build_args(&[]));
    Finished::run(command).ok();
    let text = fs::read_to_string(&log).unwrap();
    let lines = own_lines(&text);
    assert!(lines.iter().any(|line| line.contains("etc/passwd")), "it is looked up");
    for word in ["libnss", "nsswitch", "gconv", "libpam"] {
        let mut found = lines.iter().filter(|line| line.contains(word));
        // The context's own file is read to be copied.
        assert!(found.all(|line| line.contains(&format!("\"{word}"))), "{word}");
    }
}

/// Returns the lines of strace without those of the host's programs that write id maps, which look
/// for the caller's name in their own way. Each line begins with the id of its process.
fn own_lines(text: &str) -> Vec<&str> {
    let mut mappers = HashSet::new();
    let is_own = |line: &&str| {
        let process = line.split(' ').next().unwrap_or_default();
        if line.contains(" execve(") {
            let is_mapper = ["newuidmap", "newgidmap"].iter().any(|name| line.contains(name));
            if is_mapper {
                mappers.insert(process.to_owned())
            } else {
                mappers.remove(process)
            };
        }
        !mappers.contains(process)
    };
    text.lines().filter(is_own).collect()
}

/// Returns a layout of the base image whose configuration has another `Env`.
fn base_with(place: &Place, env: &Value) -> String {
    let from = place.base("busybox").split_once("oci-layout://").unwrap().1.to_owned();
    let to = place.out("base");
    tool("cp", ["-r", &from, to.to_str().unwrap()]);
    let read = |path: &Path| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let blob = |descriptor: &Value| {
        to.join("blobs").join(descriptor["digest"].as_str().unwrap().replace(':', "/"))
    };
    let put = |descriptor: &mut Value, content: &Value| {
        let bytes = content.to_string();
        descriptor["digest"] = image::digest(bytes.as_bytes()).into();
        descriptor["size"] = bytes.len().into();
        fs::write(blob(descriptor), bytes).unwrap();
    };
    let mut top = read(&to.join("index.json"));
    let mut index = read(&blob(&top["manifests"][0]));
    for entry in index["manifests"].as_array_mut().unwrap() {
        let mut manifest = read(&blob(entry));
        let mut config = read(&blob(&manifest["config"]));
        config["config"]["Env"] = env.clone();
        put(&mut manifest["config"], &config);
        put(entry, &manifest);
    }
    put(&mut top["manifests"][0], &index);
    fs::write(to.join("index.json"), top.to_string()).unwrap();
    format!("hostile=oci-layout://{}", to.display())
}

/// CVE-2026-57231: a variable without a value is not filled in from the host.
#[test]
fn variables_of_an_image_are_not_taken_from_the_host() {
    needs!(Run);
    let place = Place::new(User::Me);
    let base = base_with(&place, &json!(["AWS_SECRET", "*", "=x", "", "A=b", "PATH=/bin"]));
    place
        .dockerfile("FROM hostile\nRUN env > /env\nENV COPY=$AWS_SECRET\nRUN echo $COPY > /copy\n");
    let layout = place.out("layout");
    let args = ["--build-context", &base, "--output", &to_layout(&layout)];
    let mut command = place.xbuild(place.build_args(&args));
    command.env("AWS_SECRET", "host-canary").env("A", "host-canary");
    let finished = Finished::run(command);
    finished.does_not_say("host-canary");
    if finished.status == 0 {
        let image = image::read(&layout).remove(0);
        assert!(!image.config.to_string().contains("host-canary"));
        let env = image.text("env");
        assert!(env.contains("A=b") && !env.contains("host-canary"), "{env}");
        assert_eq!(image.text("copy"), "");
    }
}

/// A store is one user's, and what a token gave to one build is no credential for the next.
#[test]
fn credentials_end_with_their_build() {
    needs!(Registry, Tool("skopeo"));
    let registry = Registry::with_password();
    let base = registry.push_busybox("base/busybox", &["--dest-creds", "suite:secret"]);
    let place = Place::new(User::Me);
    place.write("f", "text").dockerfile(&format!("FROM {base}\nCOPY f /etc/\n"));
    let config = place.path().join("home/.docker/config.json");
    fs::create_dir(config.parent().unwrap()).unwrap();
    let login = json!({"auths": {&registry.host: {"auth": CREDENTIALS}}});
    fs::write(&config, login.to_string()).unwrap();
    place.build(&[]).ok();
    fs::remove_file(&config).unwrap();
    for more in [&[][..], &["--no-cache"]] {
        place.build(more).fails(4, &[&registry.host, "denied"]);
    }
    for secret in [CREDENTIALS, "suite:secret", "Bearer"] {
        let mut grep = place.command("grep");
        grep.args(["-r", "-l", "-F", secret]).arg(place.store());
        assert_eq!(Finished::run(grep).stdout, "", "{secret}");
    }
}

/// CVE-2021-41091: set-user-ID files of images are out of reach of other users of the machine.
#[test]
fn nobody_else_gets_into_a_store() {
    needs!(Run);
    if !is_root() {
        return;
    }
    for adopted in [false, true] {
        let place = Place::new(User::Me);
        place.dockerfile(
            "FROM busybox\nRUN cp /bin/busybox /root-shell && chmod 4755 /root-shell\n",
        );
        let store = place.out("store");
        if adopted {
            fs::create_dir(&store).unwrap();
            fs::set_permissions(&store, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let mut command = place.command("sh");
        command.args(["-uc", "umask 000; exec \"$@\"", "sh"]).arg(place.path().join("xbuild"));
        command.args(place.build_args(&["--root", store.to_str().unwrap()]));
        Finished::run(command).ok();
        let path = store.to_str().unwrap();
        let all = tool("find", [path, "-name", "root-shell"]);
        assert!(!all.is_empty(), "there is something to find");
        let mut find = place.command("setpriv");
        find.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "find", path]);
        find.args(["-mindepth", "1", "-type", "f"]);
        let found = Finished::run(find).stdout;
        let names = ["/version", "/lock", "/gate", "/measured"];
        let is_harmless = |line: &str| names.iter().any(|name| line.ends_with(name));
        assert!(found.lines().all(is_harmless), "{found}");
        let open = tool("find", [path, "-maxdepth", "1", "-perm", "/022"]);
        assert_eq!(open, "");
        place.run(["prune", "--all", "--root", path]).ok();
    }
}

/// CVE-2020-27534: what this machine can run is tried out without files of known names: in a new
/// folder that nobody else can enter, and from memory.
#[test]
fn trials_make_files_in_a_new_folder_only() {
    needs!(Run, Tool("strace"));
    let place = Place::new(User::Me);
    let log = place.out("strace");
    let mut command = place.command("strace");
    let calls =
        "trace=open,openat,openat2,creat,mkdir,mkdirat,mknod,mknodat,symlink,symlinkat,link,linkat";
    command.args(["-f", "-qq", "-e", calls, "-o"]).arg(&log);
    command.arg(place.path().join("xbuild")).arg("platforms");
    command.env("TMPDIR", place.out("tmp"));
    Finished::run(command).ok();
    let text = fs::read_to_string(&log).unwrap();
    let makes = |line: &&str| {
        let is_open = line.contains(" open") && !line.contains("O_CREAT");
        !is_open && !line.contains(" = -1 ") && line.contains('(') && line.contains(" = ")
    };
    let made: Vec<&str> = text.lines().filter(makes).collect();
    let on_host = |line: &&&str| line.contains("\"/") && !line.contains("\"/proc/");
    let (folders, others): (Vec<&str>, Vec<&str>) =
        made.iter().filter(on_host).partition(|line| line.contains("/.xbuild-trial-"));
    assert_eq!(others, [""; 0], "{made:?}");
    let is_private = |line: &&str| line.contains("mkdir(") && line.contains(", 0700)");
    assert!(folders.first().is_some_and(is_private), "{folders:?}");
    // The name of the folder has a part that nobody can guess.
    let name = |line: &str| line.split("/.xbuild-trial-").nth(1).unwrap().chars().take(6).collect();
    let names: std::collections::BTreeSet<String> = folders.iter().map(|line| name(line)).collect();
    assert!(names.len() == 1 && names.iter().all(|name| !name.contains(['/', '"'])), "{names:?}");
}

/// CVE-2024-23651: a folder of a cache mount becomes a link, in another build that shares the store.
#[test]
fn a_cache_mount_that_another_build_changes_leads_nowhere() {
    needs!(Run);
    let place = Place::new(User::Me);
    let host = place.out("host");
    fs::create_dir(&host).unwrap();
    fs::set_permissions(&host, fs::Permissions::from_mode(0o777)).unwrap();
    let flip = format!(
        "FROM busybox\nRUN --mount=type=cache,id=shared,target=/c while [ ! -e /c/stop ]; do \
         mkdir -p /c/sub; rm -rf /c/sub; ln -s {} /c/sub; rm -rf /c/sub; done 2> /dev/null; true\n",
        host.display()
    );
    place.write("flip", flip);
    let file = place.context().join("flip").display().to_string();
    let args = place.build_args(&["--file", &file]);
    let mut flipping =
        place.xbuild(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // Also where the folder moves to the step instead of being mounted.
    let rungs = rungs().into_iter().filter(|(user, _)| *user == User::Me).map(|(_, rung)| rung);
    let rungs: Vec<&str> = rungs.chain(["auto"]).collect();
    for round in 0..12 {
        place.write(
            "Dockerfile",
            format!(
                "FROM busybox\nENV ROUND={round}\n\
                 RUN --mount=type=cache,id=shared,target=/c --mount=type=tmpfs,target=/c/sub/deep \
                 --mount=type=cache,id=other,target=/c/sub/cache echo x > /c/sub/cache/x; true\n"
            ),
        );
        let finished = place.build(&["--isolation", rungs[round % rungs.len()]]);
        finished.does_not_say("panicked");
    }
    let stop = "FROM busybox\nRUN --mount=type=cache,id=shared,target=/c touch /c/stop\n";
    place.write("Dockerfile", stop).build(&[]).ok();
    assert!(flipping.wait().unwrap().success());
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
}

/// CVE-2024-3094: what is built in has a checksum, and compressors in C are few and known.
#[test]
fn dependencies_are_pinned_and_decompress_xz_in_rust() {
    let path = checkout().join("Cargo.lock");
    let lock = fs::read_to_string(path).unwrap();
    let packages: Vec<&str> = lock.split("[[package]]\n").skip(1).collect();
    assert!(packages.len() > 50);
    let field = |package: &str, name: &str| -> Option<String> {
        let start = format!("{name} = \"");
        let line = package.lines().find_map(|line| line.strip_prefix(&start).map(str::to_owned));
        line.map(|text| text.trim_end_matches('"').to_owned())
    };
    for package in packages {
        let name = field(package, "name").unwrap();
        let own = name == "xbuild" || name.starts_with("xbuild-");
        let source = field(package, "source");
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert_eq!(source.as_deref(), (!own).then_some(registry), "{name}");
        assert_eq!(field(package, "checksum").is_some(), !own, "{name}");
        let refused =
            ["xz2", "lzma-sys", "liblzma", "liblzma-sys", "bzip2-sys", "openssl-sys", "curl-sys"];
        assert!(!refused.contains(&&*name), "{name} brings a library in C");
    }
    // No code of ours runs while it is compiled, but what starts the compiler once more.
    let crates = fs::read_dir(checkout().join("crates")).unwrap();
    let scripts = crates.flatten().map(|krate| krate.path().join("build.rs"));
    let scripts: Vec<_> = scripts.filter(|script| script.exists()).collect();
    let [script] = &scripts[..] else { panic!("{scripts:?}") };
    assert!(script.ends_with("exec/build.rs"));
    let script = fs::read_to_string(script).unwrap();
    let starts: Vec<&str> = script.lines().filter(|line| line.contains("Command::new")).collect();
    assert_eq!(starts, [r#"    let mut command = Command::new(variable("RUSTC"));"#]);
    assert!(!script.contains("unsafe") && !script.contains("std::net"));
}
