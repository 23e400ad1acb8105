//! Cache mounts that travel to an empty machine.

use xbuild_testkit::registry::Registry;

use super::registry_cache;
use crate::harness::{Finished, Place, User, needs};

/// Three mounts: as apt, pip and cargo have theirs.
const MOUNTS: &str = "RUN --mount=type=cache,target=/var/cache/apt,sharing=locked \
    --mount=type=cache,id=pip,target=/pip,uid=1234,mode=700 \
    --mount=type=cache,target=/cargo,sharing=private";

fn build(place: &Place, command: &str, args: &[&str]) -> Finished {
    place.write("Dockerfile", format!("FROM busybox\n{MOUNTS} {command}\n"));
    place.build(args).ok()
}

const FILL: &str = "mkdir -p /var/cache/apt/archives /pip/http /cargo/registry && \
    echo deb > /var/cache/apt/archives/a.deb && chmod 640 /var/cache/apt/archives/a.deb && \
    echo wheel > /pip/http/w && chown 1234:2345 /pip/http/w && ln -s http /pip/link && \
    dd if=/dev/zero of=/cargo/registry/big bs=1024 count=2048 2>/dev/null && \
    ln /cargo/registry/big /cargo/registry/twin";

const LOOK: &str = "cd /var/cache/apt && [ $(cat archives/a.deb) = deb ] && \
    [ $(stat -c %a archives/a.deb) = 640 ] && cd /pip && [ $(cat link/w) = wheel ] && \
    [ $(stat -c %u:%g http/w) = 1234:2345 ] && [ $(stat -c %u:%a .) = 1234:700 ] && \
    [ $(stat -c %s /cargo/registry/big) = 2097152 ] && [ $(stat -c %h /cargo/registry/twin) = 2 ]";

#[test]
fn cache_mounts_travel_whole() {
    needs!(Run);
    for user in User::all() {
        let registry = Registry::start();
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(
            folder.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        )
        .unwrap();
        for cache in [
            registry_cache(&registry.host()),
            format!("type=local,dest={}", folder.path().join("cache").display()),
        ] {
            let filled = build(&Place::new(user), FILL, &["--cache-mounts-to", &cache]);
            filled.says(&["cache: 3 cache mounts in"]);
            let from = cache.replace("dest=", "src=");
            let place = Place::new(user);
            build(&place, LOOK, &["--cache-mounts-from", &from]).does_not_say("warning: the cache");
            // A folder that is there is this machine's own.
            build(&place, "rm /pip/http/w", &["--cache-mounts-from", &from]);
            build(&place, "[ ! -e /pip/http/w ]", &["--cache-mounts-from", &from]);
        }
    }
}

#[test]
fn large_mounts_and_missing_ones_do_no_harm() {
    needs!(Run);
    let registry = Registry::start();
    let cache = registry_cache(&registry.host());
    let to = format!("{cache},max-size=1m");
    let filled = build(&Place::new(User::Me), FILL, &["--cache-mounts-to", &to]);
    filled.says(&["more than 1048576, and is not written", "2 cache mounts in"]);
    let empty = "[ ! -e /cargo/registry ] && [ -e /var/cache/apt/archives/a.deb ]";
    build(&Place::new(User::Me), empty, &["--cache-mounts-from", &cache]);
    // One whose bytes are gone or wrong begins empty.
    for tag in registry.tags("cache") {
        let (_, bytes) = registry.manifest("cache", &tag).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let digest = manifest["layers"][0]["digest"].as_str().unwrap().parse().unwrap();
        registry.put_blob_as("cache", &digest, b"something else");
    }
    let empty = "[ ! -e /pip/http ] && [ ! -e /var/cache/apt/archives ]";
    build(&Place::new(User::Me), empty, &["--cache-mounts-from", &cache]);
    let other = "type=registry,ref=127.0.0.1:1/none";
    let args = ["--cache-mounts-from", other, "--cache-mounts-to", other];
    build(&Place::new(User::Me), FILL, &args).says(&["cannot be read", "cannot be written"]);
}
