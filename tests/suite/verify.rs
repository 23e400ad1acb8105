//! Images that are built again: by others, elsewhere and later, and compared.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::harness::{Finished, Place, User, needs, to_layout};

const EPOCH: [&str; 2] = ["--build-arg", "SOURCE_DATE_EPOCH=1600000000"];
const TWO: [&str; 2] = ["--platform", "linux/s390x,linux/amd64"];

fn source(layout: &Path) -> String {
    format!("oci-layout://{}", layout.display())
}

/// Verifies an image of a layout.
fn verify(place: &Place, layout: &Path, more: &[&str]) -> Finished {
    let base = place.base("busybox");
    let source = source(layout);
    let args = ["verify", "--progress", "plain", "--build-context", &base, &source];
    let args = args.iter().chain(more).map(OsString::from);
    place.run(args.chain([place.context().into_os_string()]))
}

fn build(place: &Place, name: &str, more: &[&str]) -> std::path::PathBuf {
    let layout = place.out(name);
    place.build(&[&EPOCH[..], more, &["-o", &to_layout(&layout)]].concat()).ok();
    layout
}

#[test]
fn the_first_difference_is_named() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY a /there/a\nCOPY b /there/b\nENV x=1\n");
    place.write("a", "some bytes\n").write("b", "other\n");
    let layout = build(&place, "image", &TWO);
    let same = verify(&place, &layout, &EPOCH).ok();
    for platform in ["linux/s390x ", "linux/amd64 "] {
        assert!(
            same.stdout
                .lines()
                .any(|l| l.starts_with(platform) && l.contains("  same     sha256:"))
        );
    }
    // One byte.
    place.write("a", "some bites\n");
    let changed = verify(&place, &layout, &EPOCH).fails(6, &[]);
    let line = "differs  layer 2 (COPY a /there/a # buildkit): \"there/a\": byte 6 is 0x79 in the image, 0x69 in the build";
    assert_eq!(changed.stdout.matches(line).count(), 2, "{}", changed.stdout);
    place.write("a", "some bytes\nand more\n");
    let longer = verify(&place, &layout, &EPOCH).fails(6, &[]);
    longer.prints(&["byte 11 is beyond the end in the image, 0x61 in the build"]);
    place.write("a", "some bytes\n");
    let mode = |mode| {
        let path = place.context().join("a");
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o750);
    let one = [&EPOCH[..], &["--platform", "linux/amd64"]].concat();
    let found = verify(&place, &layout, &one).fails(6, &[]);
    found.prints(&[
        "\"there/a\": mode 0644 in the image, 0750 in the build",
        "linux/s390x      not built",
    ]);
    mode(0o644);
    place.dockerfile("FROM busybox\nCOPY a b /there/\nENV x=1\n");
    let found = verify(&place, &layout, &one).fails(6, &[]);
    found.prints(&["configuration: history is "]);
    place.dockerfile("FROM busybox\nCOPY a /there/a\nCOPY b /there/b\nENV x=2\n");
    verify(&place, &layout, &EPOCH)
        .fails(6, &[])
        .prints(&["configuration: config.Env.1 is \"x=1\" in the image, \"x=2\" in the build"]);
    // Nothing was written, and what cannot be compared is an error.
    assert_eq!(place.run(["images", "-q"]).ok().stdout, "");
    verify(&place, &layout, &["--platform", "linux/arm64"]).fails(1, &["linux/arm64"]);
    verify(&place, &place.out("nothing"), &[]).fails(1, &["nothing"]);
    verify(&place, &layout, &["--check"]).fails(2, &["--check"]);
}

#[test]
fn a_time_is_named_if_nothing_else_differs() {
    let place = Place::new(User::Me);
    place.dockerfile("FROM busybox\nCOPY a /a\n");
    place.write("a", "x");
    let layout = build(&place, "image", &[]);
    place.touch("a", 1_700_000_000);
    let args = [&EPOCH[..], &["-o", "type=image,rewrite-timestamp=true"]].concat();
    let found = verify(&place, &layout, &EPOCH).fails(6, &["hint: only times differ"]);
    found.prints(&["\"a\": time 1590969600 in the image, 1700000000 in the build"]);
    let form = format!("{},rewrite-timestamp=true", to_layout(&place.out("clamped")));
    place.build(&[&EPOCH[..], &["-o", &form]].concat()).ok();
    place.touch("a", 1_800_000_000);
    verify(&place, &place.out("clamped"), &args).ok().prints(&["same"]);
}

/// What differs from user to user: the umask, the folder and kind of the store, the ids, and the time
/// of day. The clock of a whole machine is set by `tests/kernels/inside`.
#[test]
fn two_users_get_one_digest() {
    needs!(Run);
    let digests = User::all().into_iter().zip(["022", "077", "002"]).map(|(user, umask)| {
        let place = Place::new(user);
        place.write("file", "text\n").touch("file", 1_650_000_000);
        place.dockerfile(
            "
            FROM busybox
            COPY file /copied/
            WORKDIR /made/here
            RUN echo one > /one && mkdir -p /dir/below && ln -s one /two && rm /etc/group
            RUN --mount=type=cache,target=/cache cp /one /three && chmod 640 /three && touch /cache/x
            ADD --chown=7:8 file /owned
            ",
        );
        let layout = place.out("layout");
        let store = place.path().join(format!("home/store-{umask}"));
        let output = format!("{},rewrite-timestamp=true", to_layout(&layout));
        let args = [&EPOCH[..], &["--no-cache", "--quiet", "--root", store.to_str().unwrap(), "-o", &output]];
        let line = format!("umask {umask}; exec \"$@\"");
        let mut command = place.command("sh");
        command.arg("-euc").arg(line).arg("sh").arg(place.path().join("xbuild"));
        command.args(place.build_args(&args.concat()));
        let built = Finished::run(command).ok();
        let prune = place.run(["prune", "--all", "--root", store.to_str().unwrap()]);
        assert_eq!(prune.status, 0, "{}", prune.stderr);
        // The next one builds in another second.
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let index: serde_json::Value =
            serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
        assert_eq!(index["manifests"][0]["digest"], built.stdout.trim());
        built.stdout
    });
    let digests: Vec<String> = digests.collect();
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}
