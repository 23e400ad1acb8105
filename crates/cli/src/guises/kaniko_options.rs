//! The options of kaniko's executor.
//!
//! **Source** — kaniko 1.24 README § Additional Flags.

use super::line::Line;
use super::option::{Fate, Known};

use Fate::{Means, On, Refused, Same, True};

/// The reason for options that choose how changed files are found.
const SNAPSHOTS: &str = "layers have the files that the kernel says have changed";
/// The reason for options of retries.
const RETRIES: &str = "transfers that fail for a time are repeated";
/// The reason for options of the layer cache.
const CACHE: &str = "the cache keeps every step, its layers compressed, until `xbuild cache prune`";
/// The reason for options of logs.
const LOGS: &str = "`--progress` and `-D` choose what is shown";
/// What to do in place of certificates on the command line.
const CERTIFICATES: &str = "put it into `certs.d/HOST` ([registries](registries.md))";
pub(super) const OPTIONS: &[Known] = &[
    Known::value("bucket", Refused("buckets are not read; use `--context=tar://FILE`")).letter('b'),
    Known::value("build-arg", Same("build-arg")),
    Known::switch("cache", Means("`--cache-from` and `--cache-to` with `--cache-repo`, by default the repository `cache` below the first `--destination`", |line, _| {
        line.cache = true;
        Ok(())
    })),
    Known::switch("cache-copy-layers", True(CACHE)),
    Known::value("cache-dir", True("base images are kept in the store")),
    Known::value("cache-repo", Means("`--cache-from` and `--cache-to`, with `--cache`", |line, value| {
        line.cache_repo = Some(value.to_owned());
        Ok(())
    })),
    Known::switch("cache-run-layers", True(CACHE)),
    Known::value("cache-ttl", True(CACHE)),
    Known::switch("cleanup", True("nothing of the container's files is changed")),
    Known::switch("compressed-caching", True(CACHE)),
    Known::value("compression", Means("`compression=` of the outputs", |line, value| {
        line.layers.push(format!("compression={value}"));
        Ok(())
    })),
    Known::value("compression-level", Means("`compression-level=` of the outputs", |line, value| {
        if value != "-1" {
            line.layers.push(format!("compression-level={value}"));
        }
        Ok(())
    })),
    Known::value("context", Means("the build context: `dir://`, `tar://` (`tar://stdin` is `-`), `git://` and `https://`; `s3://`, `gs://` and others are refused", |line, value| {
        line.context = Some(value.to_owned());
        Ok(())
    }))
    .letter('c'),
    Known::value("context-sub-path", Means("a folder of the build context", |line, value| {
        line.sub_path = Some(value.to_owned());
        Ok(())
    })),
    Known::value("custom-platform", Same("platform")),
    Known::value("customPlatform", Refused("use `--custom-platform`")),
    Known::value("destination", Means("`--tag`, with `--push`", |line, value| {
        line.tags.push(value.to_owned());
        Ok(())
    }))
    .letter('d'),
    Known::value("digest-file", Same("iidfile")),
    Known::value("dockerfile", Means("`--file`, also relative to the context", |line, value| {
        line.file = Some(value.to_owned());
        Ok(())
    }))
    .letter('f'),
    Known::switch("force", True("steps run in a root of their own")),
    Known::switch("force-build-metadata", Refused("an instruction that changes no file makes no layer")),
    Known::value("git", Refused("write the branch into the context: `URL#BRANCH`")),
    Known::value("ignore-path", Refused("what steps write is in their layers; remove it in the step")),
    Known::switch("ignore-var-run", Refused("what steps write to `/var/run` is in their layers")),
    Known::value("image-download-retry", True(RETRIES)),
    Known::value("image-fs-extract-retry", True(RETRIES)),
    Known::value("image-name-tag-with-digest-file", Same("image-name-tag-with-digest-file")),
    Known::value("image-name-with-digest-file", Same("image-name-with-digest-file")),
    Known::switch("insecure", Means("`--registry-insecure` with the registries of `--destination`", insecure)),
    Known::switch("insecure-pull", Refused("name the registry: `--insecure-registry HOST`")),
    Known::value("insecure-registry", Same("registry-insecure")),
    Known::value("kaniko-dir", True("xbuild needs no folder of its own; `XBUILD_ROOT` is that of the store")),
    Known::value("label", Same("label")),
    Known::value("log-format", True(LOGS)),
    Known::switch("log-timestamp", True(LOGS)),
    Known::switch("no-push", Means("no `--push`", |line, _| {
        line.no_push = true;
        Ok(())
    })),
    Known::switch("no-push-cache", Means("no `--cache-to`", |line, _| {
        line.no_push_cache = true;
        Ok(())
    })),
    Known::value("oci-layout-path", Means("`--output type=oci,tar=false,dest=PATH`", |line, value| {
        line.outputs.push(format!("type=oci,tar=false,dest={value}"));
        Ok(())
    })),
    Known::switch("push-ignore-immutable-tag-errors", Refused("a push that a registry denies is an error")),
    Known::value("push-retry", True(RETRIES)),
    Known::value("registry-certificate", Refused(CERTIFICATES)),
    Known::value("registry-client-cert", Refused(CERTIFICATES)),
    Known::value("registry-map", Means("`--registry-mirror HOST=MIRROR` for each", |line, value| {
        for pair in value.split(';').filter(|pair| !pair.is_empty()) {
            line.add("registry-mirror", pair);
        }
        Ok(())
    })),
    Known::value("registry-mirror", Means("`--registry-mirror docker.io=MIRROR`", |line, value| {
        line.add("registry-mirror", &format!("docker.io={value}"));
        Ok(())
    })),
    Known::switch("reproducible", Means("`--build-arg SOURCE_DATE_EPOCH=0` and `rewrite-timestamp=true` of the outputs", |line, _| {
        line.add("build-arg", "SOURCE_DATE_EPOCH=0");
        line.layers.push("rewrite-timestamp=true".to_owned());
        Ok(())
    })),
    Known::switch("single-snapshot", Refused("each step has its layer; copy the result into a last stage instead: `FROM scratch`, `COPY --from=STAGE / /`")),
    Known::switch("skip-default-registry-fallback", Refused("a registry is asked for what its mirrors lack")),
    Known::switch("skip-push-permission-check", True("registries are asked for leave before the build, which costs one request")),
    Known::switch("skip-tls-verify", Means("`--registry-insecure` with the registries of `--destination`", insecure)),
    Known::switch("skip-tls-verify-pull", Refused("name the registry: `--skip-tls-verify-registry HOST`")),
    Known::value("skip-tls-verify-registry", Same("registry-insecure")),
    Known::switch("skip-unused-stages", On("only the stages that the target needs are built")),
    Known::value("snapshot-mode", True(SNAPSHOTS)),
    Known::value("snapshotMode", Refused("use `--snapshot-mode`")),
    Known::value("tar-path", Means("`--output type=docker,dest=PATH`", |line, value| {
        line.outputs.push(format!("type=docker,dest={value}"));
        Ok(())
    })),
    Known::value("tarPath", Refused("use `--tar-path`")),
    Known::value("target", Same("target")),
    Known::switch("use-new-run", True(SNAPSHOTS)),
    Known::value("verbosity", True(LOGS)).letter('v'),
    Known::switch("whitelist-var-run", Refused("what steps write to `/var/run` is in their layers")),
];

fn insecure(line: &mut Line, _: &str) -> Result<(), String> {
    line.is_insecure = true;
    Ok(())
}
