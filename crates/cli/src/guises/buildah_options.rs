//! The options of `buildah build`.
//!
//! **Source** — buildah 1.43 `buildah-build(1)`.

use super::line::Line;
use super::option::{Fate, Known, Takes};

use Fate::{Means, On, Refused, Same, True};

/// The reason for settings of containers.
const CONTAINER: &str =
    "steps have a fixed sandbox; `RUN --security=insecure` with `--allow` has all capabilities";
/// The reason for settings of names and networks.
const NETWORK: &str = "steps have the names of this machine; `--add-host` adds some";
/// The reason for SBOM scanners.
const SBOM: &str = "`xbuild build --sbom` lists the packages in the index";
/// The reason for changes of the configuration.
const CONFIG: &str = "write it into the Dockerfile";
/// The reason for what labels and annotations begin with.
const LABELS: &str = "labels of the base image stay, its annotations do not";
/// What to do in place of logins on the command line.
const LOGIN: &str = "use `xbuild login`, or the variable `REGISTRY_AUTH_FILE`";

/// The reason for the files of registries.
const REGISTRIES: &str =
    "short names are those of `docker.io`; `--registry-mirror` and the configuration name mirrors";
/// The reason for settings of the store.
const STORAGE: &str = "xbuild finds out what works here; `--isolation` chooses";

/// Options of all commands of buildah, which may stand before the command.
///
/// **Source** — buildah 1.28 `buildah(1)`.
pub(super) const OPTIONS_OF_ALL: &[Known] = &[
    Known::value("cgroup-manager", True("steps have no control group of their own")),
    Known::value("log-level", True("`BUILDKIT_PROGRESS` and `--progress` choose what is shown")),
    Known::value("registries-conf", Refused(REGISTRIES)),
    Known::value("registries-conf-dir", Refused(REGISTRIES)),
    Known::value("root", Same("root")),
    Known::value("runroot", True("nothing is kept there")),
    Known::value("short-name-alias-conf", Refused(REGISTRIES)),
    Known::value("storage-driver", True(STORAGE)),
    Known::value("storage-opt", True(STORAGE)),
    Known::value("userns-gid-map", Refused(CONTAINER)),
    Known::value("userns-uid-map", Refused(CONTAINER)),
];

pub(super) const OPTIONS: &[Known] = &[
    Known::value("add-host", Same("add-host")),
    Known::switch("all-platforms", Refused("name the platforms: `--platform`")),
    Known::value("annotation", Same("annotation")),
    Known::value("arch", Means("`--platform`", |line, value| part(line, 1, value))),
    Known::value("authfile", Refused(LOGIN)),
    Known::value("build-arg", Same("build-arg")),
    Known::value("build-arg-file", Same("build-arg-file")),
    Known::value("build-context", Same("build-context")),
    Known::value("cache-from", Means("`--cache-from type=registry,ref=VALUE`", |line, value| {
        line.add("cache-from", &format!("type=registry,ref={value}"));
        Ok(())
    })),
    Known::value("cache-to", Means("`--cache-to type=registry,ref=VALUE,mode=max`", |line, value| {
        line.add("cache-to", &format!("type=registry,ref={value},mode=max"));
        Ok(())
    })),
    Known::value("cache-ttl", Refused("`xbuild prune` removes old results")),
    Known::value("cap-add", Refused(CONTAINER)),
    Known::value("cap-drop", Refused(CONTAINER)),
    Known::value("cert-dir", Refused("put the files into `certs.d/HOST` ([registries](registries.md))")),
    Known::value("cgroup-parent", Same("cgroup-parent")),
    Known::value("cgroupns", Refused(CONTAINER)),
    Known::switch("compat-volumes", Refused("changes below a VOLUME stay")),
    Known::switch("compress", True("it has no effect in buildah either")),
    Known::value("cpp-flag", Refused("Dockerfiles are not preprocessed; run `cpp` before")),
    Known::value("cpu-period", Same("cpu-period")),
    Known::value("cpu-quota", Same("cpu-quota")),
    Known::value("cpu-shares", Same("cpu-shares")).letter('c'),
    Known::value("cpuset-cpus", Same("cpuset-cpus")),
    Known::value("cpuset-mems", Same("cpuset-mems")),
    Known::switch("created-annotation", True("the time is in the configuration; `--annotation` adds it")),
    Known::value("creds", Refused(LOGIN)),
    Known::value("cw", Refused("confidential workloads are not made")),
    Known::value("decryption-key", Refused("encrypted images are not read")),
    Known::value("device", Refused("devices of the host are not given to steps")),
    Known::switch("disable-compression", Means("`--output type=image,compression=uncompressed`", |line, _| {
        line.layers.push("compression=uncompressed".to_owned());
        Ok(())
    }))
    .letter('D'),
    Known::switch("disable-content-trust", True("it has no effect in buildah either")),
    Known::value("dns", Refused(NETWORK)),
    Known::value("dns-option", Refused(NETWORK)),
    Known::value("dns-search", Refused(NETWORK)),
    Known::value("env", Refused(CONFIG)),
    Known::value("file", Same("file")).letter('f'),
    Known::switch("force-rm", True("steps leave no containers behind")),
    Known::value("format", Means("`docker` is `--output type=image,oci-mediatypes=false`, `oci` the default", |line, value| {
        match value {
            "oci" => {}
            "docker" => line.layers.push("oci-mediatypes=false".to_owned()),
            _ => return Err("expected oci or docker".to_owned()),
        }
        Ok(())
    })),
    Known::value("from", Refused("give the first FROM's name another image: `--build-context NAME=docker-image://OTHER`")),
    Known::value("group-add", Refused(CONTAINER)),
    Known::value("hooks-dir", Refused("no hooks of OCI run")),
    Known::switch("http-proxy", On("steps see the proxies of this machine as build arguments only")),
    Known::switch("identity-label", True("no label of the builder is set")),
    Known::value("ignorefile", Refused("name it `DOCKERFILE.dockerignore`, beside the Dockerfile")),
    Known::value("iidfile", Same("iidfile")),
    Known::switch("inherit-annotations", True(LABELS)),
    Known::switch("inherit-labels", On(LABELS)),
    Known::value("ipc", Refused(CONTAINER)),
    Known::value("isolation", Means("`chroot` is `--isolation chroot`, `oci` and `rootless` the default", |line, value| {
        match value {
            "oci" | "rootless" => {}
            "chroot" => line.add("isolation", "chroot"),
            _ => return Err("expected oci, rootless or chroot".to_owned()),
        }
        Ok(())
    })),
    Known::value("jobs", Means("`--jobs`; 0 is the default", |line, value| {
        if value != "0" {
            line.add("jobs", value);
        }
        Ok(())
    })),
    Known::value("label", Same("label")),
    Known::value("layer-label", Refused("results of steps have no labels")),
    Known::switch("layers", True("results of steps are always kept")),
    Known::value("logfile", Same("log-file")),
    Known::switch("logsplit", Refused("the log of all platforms is one file")),
    Known::value("manifest", Means("`--tag`: several platforms make an index", |line, value| {
        line.tags.push(value.to_owned());
        Ok(())
    })),
    Known::value("memory", Same("memory")).letter('m'),
    Known::value("memory-swap", Same("memory-swap")),
    Known::value("network", Means("`host`, `none` and `private` are the same", |line, value| {
        match value {
            "host" | "none" | "private" => line.add("network", value),
            _ => return Err("expected host, none or private".to_owned()),
        }
        Ok(())
    })),
    Known::switch("no-cache", Same("no-cache")),
    Known::switch("no-hostname", Refused(NETWORK)),
    Known::switch("no-hosts", Refused(NETWORK)),
    Known::switch("omit-history", Refused("the history is part of the configuration")),
    Known::value("os", Means("`--platform`", |line, value| part(line, 0, value))),
    Known::value("os-feature", Refused("images have no such field but from their base")),
    Known::value("os-version", Refused("images have no such field but from their base")),
    Known::value("output", Same("output")).letter('o'),
    Known::value("pid", Refused(CONTAINER)),
    Known::value("platform", Same("platform")),
    Known {
        name: "pull",
        short: None,
        takes: Takes::Optional,
        fate: Means("`always`, `missing` (or `false`) and `never` are those of `--pull`; `true` and `newer` are the default", |line, value| {
            match value {
                "" | "true" | "newer" | "ifnewer" => {}
                "always" => line.add("pull", "always"),
                "false" | "missing" | "ifmissing" => line.add("pull", "missing"),
                "never" => line.add("pull", "never"),
                _ => return Err("expected true, false, always, missing, never or newer".to_owned()),
            }
            Ok(())
        }),
    },
    Known::switch("pull-always", Means("`--pull=always`", |line, _| {
        line.add("pull", "always");
        Ok(())
    })),
    Known::switch("pull-never", Means("`--pull=never`", |line, _| {
        line.add("pull", "never");
        Ok(())
    })),
    Known::switch("quiet", Same("quiet")).letter('q'),
    Known::value("retry", True("transfers that fail for a time are repeated")),
    Known::value("retry-delay", True("transfers that fail for a time are repeated")),
    Known::switch("rewrite-timestamp", Means("`rewrite-timestamp=true` of the output", |line, _| {
        line.layers.push("rewrite-timestamp=true".to_owned());
        Ok(())
    })),
    Known::switch("rm", True("steps leave no containers behind")),
    Known::value("runtime", Refused("no runtime of OCI is used")),
    Known::value("runtime-flag", Refused("no runtime of OCI is used")),
    Known::value("sbom", Refused(SBOM)),
    Known::value("sbom-image-output", Refused(SBOM)),
    Known::value("sbom-image-purl-output", Refused(SBOM)),
    Known::value("sbom-merge-strategy", Refused(SBOM)),
    Known::value("sbom-output", Refused(SBOM)),
    Known::value("sbom-purl-output", Refused(SBOM)),
    Known::value("sbom-scanner-command", Refused(SBOM)),
    Known::value("sbom-scanner-image", Refused(SBOM)),
    Known::value("secret", Same("secret")),
    Known::value("security-opt", Same("security-opt")),
    Known::value("shm-size", Same("shm-size")),
    Known::value("sign-by", Refused("images are not signed with GPG")),
    Known::switch("skip-unused-stages", On("only the stages that the target needs are built")),
    Known::value("source-date-epoch", Means("`--build-arg SOURCE_DATE_EPOCH=VALUE`", |line, value| {
        line.add("build-arg", &format!("SOURCE_DATE_EPOCH={value}"));
        Ok(())
    })),
    Known::switch("squash", Same("squash")),
    Known::value("ssh", Same("ssh")),
    Known::switch("stdin", Refused("steps read nothing from the terminal")),
    Known::value("tag", Means("`--tag`", |line, value| {
        line.tags.push(value.to_owned());
        Ok(())
    }))
    .letter('t'),
    Known::value("target", Same("target")),
    Known::value("timestamp", Refused("use `--source-date-epoch N --rewrite-timestamp`: times that are later become N")),
    Known::switch("tls-verify", On("name the registry that needs no certificate: `xbuild build --registry-insecure HOST`")),
    Known::value("ulimit", Same("ulimit")),
    Known::value("unsetannotation", Refused(CONFIG)),
    Known::value("unsetenv", Refused(CONFIG)),
    Known::value("unsetlabel", Refused(CONFIG)),
    Known::value("userns", Refused(CONTAINER)),
    Known::value("userns-gid-map", Refused(CONTAINER)),
    Known::value("userns-gid-map-group", Refused(CONTAINER)),
    Known::value("userns-uid-map", Refused(CONTAINER)),
    Known::value("userns-uid-map-user", Refused(CONTAINER)),
    Known::value("uts", Refused(CONTAINER)),
    Known::value("variant", Means("`--platform`", |line, value| part(line, 2, value))),
    Known::value("volume", Refused("give the folder as a context: `--build-context NAME=DIR` and `RUN --mount=type=bind,from=NAME`")).letter('v'),
];

/// Sets a part of the platform.
fn part(line: &mut Line, at: usize, value: &str) -> Result<(), String> {
    line.platform[at] = Some(value.to_owned());
    Ok(())
}
