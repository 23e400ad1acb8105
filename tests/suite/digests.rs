//! The same inputs give the same digests. The user, the environment, the number of cores and the
//! order in which the files of the context were made do not matter.
//!
//! Every build here has a store of its own, so that no step comes from a cache.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::harness::{Finished, Place, User, cached, checkout, have, needs, to_layout, tool};
use crate::image;

/// Every instruction that makes a layer, and commands that look at everything that could differ.
/// They give their files a fixed time, since the clock is not an input. All files are root's, so that
/// a user with a single id gets the same digests.
const DOCKERFILE: &str = r#"
FROM --platform=$BUILDPLATFORM busybox AS made
WORKDIR /made/here
COPY . source/
RUN <<END
set -e
mv source/many moved
rm -r source/folder && mkdir -m 1777 source/folder && echo new > source/folder/file
rm source/apple source/twin-* source/large
find /made -exec touch -h -d @1600000000 {} +
END
RUN <<END
set -e
(umask; id -u; id -g; pwd; hostname; env | sort) > facts
mkdir out
for n in $(seq 200 -1 1); do mkdir out/$n; echo $n > out/$n/file; done
seq 200000 > numbers
ln numbers a-twin
ln numbers z-twin
ln -s nowhere link
mkfifo -m 640 pipe
cp /bin/busybox program
chmod 4755 program
find /made -exec touch -h -d @1600000000 {} +
END

FROM busybox AS files
WORKDIR /srv/app
COPY . .
COPY --chmod=600 twin-* /srv/private/
COPY --from=made /made /srv/made

FROM files
RUN --mount=target=/context <<END
set -e
cp -a /context /srv/copy
rm -r many /srv/copy/large
find /srv ! -name large -exec touch -h -d @1600000000 {} +
END
"#;

/// The time of the context's files, as `touch -d` takes it.
const CHANGED: &str = "@1590969600.987654321";

/// Confines the shell, and the build that replaces it, to one processor.
const ONE_CORE: &str = "\
    list=$(sed -n 's/^Cpus_allowed_list:[^0-9]*//p' /proc/self/status)
    taskset -p -c \"${list%%[-,]*}\" $$ > /dev/null";

/// A file of the context.
enum Thing {
    File(Vec<u8>, u32),
    /// A hard link: all twins are one file.
    Twin,
    Symlink(&'static str),
}

/// Returns the files of the context, by their path.
fn things() -> Vec<(OsString, Thing)> {
    let name = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
    let mut things = Vec::new();
    for number in 0..300u32 {
        let mode = [0o644, 0o755, 0o444, 0o664][number as usize % 4];
        let content = format!("{number}\n").repeat(number as usize * 3);
        things.push((format!("many/{number}").into(), Thing::File(content.into(), mode)));
    }
    let odd: [&[u8]; 9] = [
        b"apple",
        b"Zebra",
        b"_under",
        b"-dash",
        b"folder/with space",
        b"folder/line\nbreak",
        b"folder/\xff\xfe\x80",
        "folder/\u{e9}\u{df}\u{131}I".as_bytes(),
        &[b'l'; 200],
    ];
    things.extend(odd.map(|bytes| (name(bytes), Thing::File(bytes.to_vec(), 0o4755))));
    // Large enough for several blocks of every compression; those of zstd have 8 MiB.
    let large: String = (0..1_000_000u64).map(|number| format!("{}\n", number * 7919)).collect();
    things.push(("large".into(), Thing::File(large.into_bytes(), 0o644)));
    things.extend(["twin-b", "twin-a", "folder/twin"].map(|name| (name.into(), Thing::Twin)));
    for (name, target) in [("to-file", "apple"), ("folder/up", "../many"), ("dangling", "/no/\n")] {
        things.push((name.into(), Thing::Symlink(target)));
    }
    things.push((".dockerignore".into(), Thing::File(b"many/1?7\n".to_vec(), 0o644)));
    things.push(("Dockerfile".into(), Thing::File(DOCKERFILE.into(), 0o644)));
    things
}

/// Makes these files, in their order, in a new folder below `parent`.
fn context_of(parent: &Path, things: impl Iterator<Item = (OsString, Thing)>) -> TempDir {
    let context = tempfile::Builder::new().prefix("xbuild-suite-").tempdir_in(parent).unwrap();
    let set_mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let mut twin: Option<PathBuf> = None;
    for (name, thing) in things {
        let path = context.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match thing {
            Thing::File(content, mode) => {
                fs::write(&path, content).unwrap();
                set_mode(&path, mode);
            }
            Thing::Twin => match &twin {
                Some(twin) => fs::hard_link(twin, path).unwrap(),
                None => {
                    fs::write(&path, "one of several names").unwrap();
                    set_mode(&path, 0o644);
                    twin = Some(path);
                }
            },
            Thing::Symlink(target) => symlink(target, path).unwrap(),
        }
    }
    for (folder, mode) in [("many", 0o755), ("folder", 0o775), ("", 0o755)] {
        set_mode(&context.path().join(folder), mode);
    }
    let all = ["-exec", "touch", "-h", "-d", CHANGED, "{}", "+"].map(OsStr::new);
    tool("find", [context.path().as_os_str()].into_iter().chain(all));
    context
}

/// Makes the context in the folder of temporary files.
fn context() -> TempDir {
    context_of(&std::env::temp_dir(), things().into_iter())
}

/// Builds `context` into an OCI layout, verifies it and returns the digest that xbuild printed. The
/// process runs the script `shell` before it becomes xbuild. `attributes` are further ones of the
/// output.
#[track_caller]
fn digest(user: User, shell: &str, context: &TempDir, args: &[&str], attributes: &str) -> String {
    let place = Place::new(user);
    let layout = place.out("image");
    let output = to_layout(&layout) + attributes;
    let base = place.base("busybox");
    let mut command = place.command("sh");
    command.args(["-euc", &format!("{shell}\nexec \"$0\" \"$@\"")]);
    command.arg(place.path().join("xbuild")).args(["build", "--quiet", "--no-cache"]);
    command.args(["--build-context", &base, "--output", &output]).args(args).arg(context.path());
    command.env("SOURCE_DATE_EPOCH", "1600000000");
    let printed = Finished::run(command).ok().stdout.trim_end().to_owned();
    let images = image::read(&layout);
    if let [image] = &*images {
        assert_eq!(image.digest, printed);
    }
    printed
}

#[test]
fn do_not_depend_on_who_builds_or_in_which_surroundings() {
    needs!(Run);
    let context = context();
    let expected = digest(User::Me, "", &context, &["--jobs", "4"], "");
    let narrow = format!("{ONE_CORE}\numask 077");
    let foreign = "umask 000; export LC_ALL=tr_TR.UTF-8 LANG=ja_JP.EUC-JP TZ=Asia/Kathmandu";
    for user in User::all() {
        for (shell, jobs) in [(&*narrow, "1"), (foreign, "4")] {
            let found = digest(user, shell, &context, &["--jobs", jobs], "");
            assert_eq!(found, expected, "as {user:?} with --jobs {jobs} after {shell:?}");
        }
    }
}

#[test]
fn do_not_depend_on_the_order_in_which_files_were_made() {
    needs!(Run, Tmpfs);
    // A tmpfs lists the files of a folder in the order in which they were made.
    let memory = Path::new("/dev/shm");
    let forwards = context_of(memory, things().into_iter());
    let backwards = context_of(memory, things().into_iter().rev());
    let listing = |context: &TempDir| -> Vec<OsString> {
        let many = fs::read_dir(context.path().join("many")).unwrap();
        many.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_ne!(listing(&forwards), listing(&backwards));
    let build = |context| digest(User::Me, "", context, &[], "");
    assert_eq!(build(&forwards), build(&backwards));
}

#[test]
fn do_not_depend_on_the_number_of_cores_however_layers_are_compressed() {
    needs!(Run, Cores);
    let context = context();
    let args = ["--target", "files", "--platform", "linux/s390x,linux/amd64", "--jobs"];
    for attributes in ["", ",compression=zstd", ",compression=uncompressed"] {
        let build = |shell: &str, jobs: &str| {
            digest(User::Me, shell, &context, &[&args[..], &[jobs]].concat(), attributes)
        };
        assert_eq!(build(ONE_CORE, "1"), build("", "2"), "{attributes}");
    }
}

/// The result of `make demo` is the one in `fixtures/demo/digest`. `make record-digests` writes that
/// file anew, after a change that is meant to change digests.
#[test]
fn of_the_demo_are_as_recorded() {
    needs!(Run, Emulation);
    let demo = checkout().join("fixtures/demo");
    let place = Place::new(User::Single);
    for name in ["Dockerfile", ".dockerignore", "src/greet.in"] {
        place.write(name, fs::read(demo.join(name)).unwrap());
    }
    let layout = place.out("image");
    let output = to_layout(&layout);
    let platforms = "linux/amd64,linux/arm64,linux/arm/v7,linux/s390x";
    let mut command = place.xbuild(place.build_args(&["--platform", platforms, "-o", &output]));
    command.env("SOURCE_DATE_EPOCH", "1600000000");
    Finished::run(command).ok();

    // The digest itself depends on the time at which the RUNs wrote their files.
    let timeless = "fixtures/timeless.py";
    let digests = tool("python3", [Path::new(timeless), &layout]);
    let timeless = digests.split_whitespace().nth(1).unwrap();
    let base = fs::read_to_string(cached("busybox").join("index.json")).unwrap();
    let base: serde_json::Value = serde_json::from_str(&base).unwrap();
    let base = base["manifests"][0]["digest"].as_str().unwrap();
    if std::env::var_os("XBUILD_RECORD").is_some() {
        fs::write(demo.join("digest"), format!("{base} {timeless}\n")).unwrap();
    }
    let recorded = fs::read_to_string(demo.join("digest")).unwrap();
    let (recorded_base, recorded) = recorded.trim_end().split_once(' ').unwrap();
    // Another Debian has another busybox.
    if have("base", "the base image of fixtures/demo/digest", || base == recorded_base) {
        assert_eq!(timeless, recorded);
    }
}
