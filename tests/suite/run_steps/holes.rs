//! Files that are nearly all hole, such as the `lastlog` of a user of a directory service.

use super::roots_of;
use crate::harness::{Place, User, is_root, needs, to_layout, tool};

#[test]
fn holes_stay_holes() {
    needs!(Run);
    for (user, isolation) in User::all().into_iter().flat_map(roots_of) {
        let place = Place::new(user);
        place.dockerfile(
            r"
            FROM busybox AS first
            RUN printf x | dd of=/lastlog bs=1 seek=584000000000 2>/dev/null \
             && truncate -s 100G /hundred && truncate -s 20G /twenty
            RUN printf y | dd of=/lastlog bs=1 seek=7 conv=notrunc 2>/dev/null \
             && chmod 600 /hundred

            FROM busybox
            COPY --from=first /lastlog /hundred /copied/
            COPY --from=first /twenty /
            ",
        );
        let made = place.out("made");
        place.build(&["--output", &to_layout(&made), "--isolation", isolation]).ok();
        // The layers come out of the image here; before, they were in the store.
        let again = Place::new(user);
        again.dockerfile(
            r"
            FROM made AS all
            RUN stat -c 'size %s %b' /copied/* /twenty \
             && tail -c 1 /copied/lastlog | grep x && head -c 8 /copied/lastlog | grep y \
             && test $(du -k /copied /twenty | awk '{ sum += $1 } END { print sum }') -lt 10000
            FROM busybox
            COPY --from=made /copied /twenty /copied/
            ",
        );
        let context = format!("made=oci-layout://{}", made.display());
        let copied = again.out("copied");
        let output = to_layout(&copied);
        let args = ["--build-context", &context, "--output", &output, "--target", "all"];
        let args = [&args[..], &["--isolation", isolation]].concat();
        again.build(&args).ok().says(&["size 584000000001 ", "size 107374182400 "]);
        let output = to_layout(&again.out("b"));
        let args = ["--build-context", &context, "--output", &output, "--isolation", isolation];
        again.build(&args).ok();
    }
}

#[test]
fn other_tools_read_holes() {
    needs!(Run, Tool("skopeo"), Tool("umoci"));
    let place = Place::new(User::Me);
    // umoci writes the zeros to the disk.
    place.dockerfile(
        r"
        FROM busybox
        RUN printf x | dd of=/file bs=1 seek=1200000000 2>/dev/null \
         && printf y | dd of=/file bs=1 seek=600000000 conv=notrunc 2>/dev/null
        ",
    );
    let made = place.out("made");
    place.build(&["--output", &to_layout(&made)]).ok();
    let blobs = std::fs::read_dir(made.join("blobs/sha256")).unwrap();
    let sizes = blobs.map(|blob| blob.unwrap().metadata().unwrap().len());
    assert!(sizes.sum::<u64>() < 10 << 20);
    let bundle = place.out("bundle");
    let copy = format!("oci:{}:made", place.out("copy").display());
    let from = format!("oci:{}", made.display());
    tool("skopeo", ["--insecure-policy", "copy", "--quiet", &from, &copy]);
    let rootless = if is_root() { vec![] } else { vec!["--rootless"] };
    let unpack = ["unpack", "--image", copy.trim_start_matches("oci:")].into_iter().chain(rootless);
    tool("umoci", unpack.map(Into::into).chain([bundle.clone().into_os_string()]));
    let file = std::fs::File::open(bundle.join("rootfs/file")).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 1_200_000_001);
    for (at, expected) in [(0, 0), (600_000_000, b'y'), (600_000_001, 0), (1_200_000_000, b'x')] {
        let mut byte = [9];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, at).unwrap();
        assert_eq!(byte, [expected], "{at}");
    }
}
