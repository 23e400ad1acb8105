//! The cases about mounts of a step.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use xbuild_model::FailureKind;
use xbuild_model::run::{ReadyMount, ReadySource, SecretBytes};

use crate::support::{Capture, Case, Fixture, in_words, shell};

pub const ALL: &[(&str, Case)] = &[
    ("mounts_files_of_layers", mounts_files_of_layers),
    ("mounts_throw_writes_away", mounts_throw_writes_away),
    ("mount_sources_stay_in_their_layers", mount_sources_stay_in_their_layers),
    ("mount_sources_must_exist", mount_sources_must_exist),
    ("mounts_nest_in_any_order", mounts_nest_in_any_order),
    ("mounts_of_scratch", mounts_of_scratch),
    ("mounted_folders_keep_what_is_written", mounted_folders_keep_what_is_written),
    ("mounted_memory", mounted_memory),
    ("mounted_secrets", mounted_secrets),
    ("mounted_agents", mounted_agents),
    ("mount_targets_stay_in_the_root", mount_targets_stay_in_the_root),
    ("mount_points_are_removed_where_they_were_made", mount_points_are_removed),
    ("mount_points_in_a_moving_folder", mount_points_in_a_moving_folder),
];

fn at(target: &str, source: ReadySource) -> ReadyMount {
    ReadyMount { target: target.to_owned(), source, special: Vec::new() }
}

fn tmpfs(target: &str) -> ReadyMount {
    at(target, ReadySource::Tmpfs { size: None })
}

fn folder(target: &str, path: &Path) -> ReadyMount {
    at(target, ReadySource::Folder { path: path.to_owned(), read_only: false })
}

fn secret(target: &str, mode: u32, uid: u32, gid: u32) -> ReadyMount {
    let contents = SecretBytes(b"hidden".to_vec());
    at(target, ReadySource::Secret { contents, mode, uid, gid })
}

/// Makes a layer with these files, `name=text` or `name->target`.
fn layer(fixture: &Fixture, name: &str, files: &[&str]) -> PathBuf {
    let layer = fixture.folder.join(name);
    fs::create_dir_all(&layer).unwrap();
    for file in files {
        if let Some((name, target)) = file.split_once("->") {
            symlink(target, layer.join(name)).unwrap();
        } else if let Some((name, text)) = file.split_once('=') {
            fs::create_dir_all(layer.join(name).parent().unwrap()).unwrap();
            fs::write(layer.join(name), text).unwrap();
        }
    }
    layer
}

fn layers(target: &str, lowers: &[&PathBuf], path: &str, writable: bool) -> ReadyMount {
    let lowers = lowers.iter().map(|path| path.to_path_buf()).collect();
    at(target, ReadySource::Layers { lowers, path: path.to_owned(), writable })
}

fn error_of(fixture: &Fixture, mounts: &[ReadyMount]) -> (FailureKind, String) {
    let error = fixture.mounted(mounts, "echo ran").expect_err("must fail");
    (error.kind(), in_words(&error))
}

/// The folders that each step leaves in the folder of changes, since its image lacks them.
const USUAL: [&str; 3] = ["dev", "proc", "sys"];

fn mounts_files_of_layers(fixture: &Fixture) -> Result<(), String> {
    let below = layer(fixture, "below", &["a/one=below", "a/two=below", "b->a"]);
    let above = layer(fixture, "above", &["a/two=above"]);
    let mounts = [
        layers("/all", &[&above, &below], "/", false),
        layers("/a/b/c", &[&above, &below], "/b", false),
        layers("/etc/file", &[&above, &below], "/b/two", false),
        layers("/single", &[&below], "/a", false),
    ];
    let script = "cat /all/a/one /a/b/c/two /etc/file /single/two; ls /all; \
                  for f in /all/x /a/b/c/x /single/x /etc/file; do \
                  (echo x > $f) 2> /dev/null && echo written; done; true";
    let out = fixture.mounted(&mounts, script).unwrap();
    assert_eq!(out, "belowaboveabovebelowa\nb");
    assert_eq!(fixture.changes(), USUAL);
    Ok(())
}

fn mounts_throw_writes_away(fixture: &Fixture) -> Result<(), String> {
    let lower = layer(fixture, "lower", &["a/one=one", "a/file=one"]);
    let mounts = [
        layers("/m", &[&lower], "/a", true),
        layers("/f", &[&lower], "/a/file", true),
        layers("/other", &[&lower], "/a", true),
    ];
    let script = "echo two > /m/one; echo x > /m/new; rm /m/file; echo two > /f; \
                  cat /m/one /f; ls /m /other";
    let out = fixture.mounted(&mounts, script).unwrap();
    assert_eq!(out, "two\ntwo\n/m:\nnew\none\n\n/other:\nfile\none");
    assert_eq!(fs::read_to_string(lower.join("a/file")).unwrap(), "one");
    assert_eq!(fs::read_dir(lower.join("a")).unwrap().count(), 2);
    assert_eq!(fixture.changes(), USUAL);
    Ok(())
}

/// CVE-2024-1753: the source was a link to `/` in an image made for that.
fn mount_sources_stay_in_their_layers(fixture: &Fixture) -> Result<(), String> {
    let lower = layer(fixture, "lower", &["mark=mark", "root->/", "up->../../../.."]);
    for path in ["/root", "/up", "/../..", "/root/up/root"] {
        let mounts = [layers("/x", &[&lower], path, true)];
        let out = fixture.mounted(&mounts, "cat /x/mark; touch /x/BREAK").unwrap();
        assert_eq!(out, "mark", "{path}");
    }
    assert!(!Path::new("/BREAK").exists() && !lower.join("BREAK").exists());
    Ok(())
}

fn mount_sources_must_exist(fixture: &Fixture) -> Result<(), String> {
    let lower = layer(fixture, "lower", &["file=", "loop->loop", "out->/etc/passwd"]);
    for path in ["/no/such/folder", "/file/x", "/loop", "/out"] {
        let (kind, text) = error_of(fixture, &[layers("/in", &[&lower], path, false)]);
        assert_eq!(kind, FailureKind::User, "{text}");
        assert!(text.contains(path) && text.contains("not found"), "{text}");
    }
    Ok(())
}

fn mounts_nest_in_any_order(fixture: &Fixture) -> Result<(), String> {
    let lower = layer(fixture, "lower", &["file=file"]);
    let mounts = [
        layers("/a/b/deep", &[&lower], "/", false),
        secret("/a/b-secret", 0o400, 0, 0),
        tmpfs("/a/b"),
        tmpfs("/a"),
        layers("/a", &[&lower], "/", false),
        tmpfs("/a"),
    ];
    let out = fixture.mounted(&mounts, "cat /a/b/deep/file; ls /a").unwrap();
    assert_eq!(out, "fileb\nb-secret");
    assert_eq!(fixture.changes(), USUAL);
    Ok(())
}

fn mounts_of_scratch(fixture: &Fixture) -> Result<(), String> {
    let mounts = [layers("/r", &[], "/", false), layers("/w", &[], "/", true)];
    let script = "ls -A /r; echo x > /w/x && ls -A /w; (echo x > /r/x) 2> /dev/null || echo no";
    assert_eq!(fixture.mounted(&mounts, script).unwrap(), "x\nno");
    Ok(())
}

fn mounted_folders_keep_what_is_written(fixture: &Fixture) -> Result<(), String> {
    let cache = layer(fixture, "cache", &["found=found"]);
    let script = "cat /c/found; echo kept > /c/kept; mkdir -p /c/deep";
    let out = fixture.mounted(&[folder("/c", &cache), tmpfs("/c/deep/er")], script).unwrap();
    assert_eq!(out, "found");
    assert_eq!(fixture.changes(), USUAL);
    let source = ReadySource::Folder { path: cache.clone(), read_only: true };
    let script = "cat /x/y/kept; (echo x > /x/y/z) 2> /dev/null || echo refused; \
                  grep /x/y /proc/self/mountinfo | grep -o 'ro,nosuid,nodev'";
    let out = fixture.mounted(&[at("/x/y", source)], script).unwrap();
    assert_eq!(out, "kept\nrefused\nro,nosuid,nodev");
    Ok(())
}

fn mounted_memory(fixture: &Fixture) -> Result<(), String> {
    let layer = fixture.folder.join("layer");
    fs::create_dir(layer.join("there")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o750);
    fs::set_permissions(layer.join("there"), mode).unwrap();
    fs::write(layer.join("there/file"), "").unwrap();
    let sized = at("/new", ReadySource::Tmpfs { size: Some(1 << 20) });
    let script = "stat -c %a /new /there; ls /there; echo x > /there/x; \
                  df -k /new | grep -c ' 1024 '; \
                  head -c 2000000 /dev/zero > /new/x 2> /dev/null || echo full";
    let out = fixture.mounted(&[sized, tmpfs("/there")], script).unwrap();
    assert_eq!(out, "1777\n750\n1\nfull");
    assert_eq!(fixture.changes(), USUAL);
    Ok(())
}

fn mounted_secrets(fixture: &Fixture) -> Result<(), String> {
    let mounts = [
        secret("/run/secrets/token", 0o400, 0, 0),
        secret("/h/i/token", 0o444, 1234, 2345),
        secret("/etc/passwd", 0o440, 0, 0),
    ];
    let script = "stat -c '%F %a %u:%g %s' /run/secrets/token /h/i/token; cat /etc/passwd; \
                  (echo x >> /run/secrets/token) 2> /dev/null || echo refused; \
                  rm /h/i/token 2> /dev/null || echo busy; \
                  grep -E 'token|passwd' /proc/self/mountinfo | grep -c 'ro,nosuid,nodev,noexec'; \
                  grep -E 'token|passwd' /proc/self/mountinfo | grep -c ' - ramfs '";
    let out = fixture.mounted(&mounts, script).unwrap();
    assert_eq!(
        out,
        "regular file 400 0:0 6\nregular file 444 1234:2345 6\nhiddenrefused\nbusy\n3\n3"
    );
    assert_eq!(fixture.changes(), USUAL);
    let run = "/s > /dev/null 2>&1; echo $?";
    for (mode, status) in [(0o500, "0"), (0o400, "126")] {
        let mut program = secret("/s", mode, 0, 0);
        if let ReadySource::Secret { contents, .. } = &mut program.source {
            contents.0 = b"#!/bin/sh\n".to_vec();
        }
        assert_eq!(fixture.mounted(&[program], run).unwrap(), status, "{mode:o}");
    }
    let (kind, text) = error_of(fixture, &[secret("/s", 0o400, 0, u32::MAX)]);
    assert_eq!(kind, FailureKind::Environment);
    assert!(text.starts_with("cannot give /s to 0:4294967295"), "{text}");
    Ok(())
}

fn mounted_agents(fixture: &Fixture) -> Result<(), String> {
    let agent = fixture.folder.join("agent");
    let listener = UnixListener::bind(&agent).unwrap();
    let before = fs::metadata(&agent).unwrap();
    let socket = |target: &str, mode, uid, gid| {
        at(target, ReadySource::Socket { path: agent.clone(), mode, uid, gid })
    };
    let mounts = [socket("/run/a/agent.0", 0o600, 0, 0), socket("/tmp/b", 0o666, 1234, 2345)];
    let script = "stat -c '%F %a %u:%g' /run/a/agent.0 /tmp/b; chmod 777 /tmp/b 2> /dev/null; \
                  stat -c %a /tmp/b";
    let out = fixture.mounted(&mounts, script).unwrap();
    assert_eq!(out, "socket 600 0:0\nsocket 666 1234:2345\n666");
    assert_eq!(fixture.changes(), USUAL);
    let after = fs::metadata(&agent).unwrap();
    assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()));
    assert!(after.file_type().is_socket());
    drop(listener);
    Ok(())
}

fn mount_targets_stay_in_the_root(fixture: &Fixture) -> Result<(), String> {
    let image = fixture.folder.join("layer");
    let host = fixture.folder.join("host");
    fs::create_dir(&host).unwrap();
    symlink(&host, image.join("link")).unwrap();
    symlink("/", image.join("top")).unwrap();
    symlink("/proc", image.join("kernel")).unwrap();
    symlink("/sys/none", image.join("dangling")).unwrap();
    symlink("dev", image.join("devices")).unwrap();
    let inside = host.display();
    let script = format!("echo x > /link/sub/file; ls {inside}");
    assert_eq!(fixture.mounted(&[tmpfs("/link/sub")], &script).unwrap(), "sub");
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
    assert_eq!(fixture.changes(), USUAL);
    let read_only = layer(fixture, "lower", &["file="]);
    for (mounts, reason) in [
        (vec![tmpfs("/top")], "it is the root folder"),
        (vec![tmpfs("/proc")], "it is inside /proc"),
        (vec![secret("/proc/self/status", 0o400, 0, 0)], "it is inside /proc"),
        (vec![tmpfs("/proc/none/x")], "it is inside /proc"),
        (vec![tmpfs("/kernel/none")], "it is inside /proc"),
        (vec![secret("/kernel/kcore", 0o400, 0, 0)], "it is inside /proc"),
        (vec![tmpfs("/sys/fs/cgroup")], "inside /proc or /sys"),
        (vec![tmpfs("/dangling/x")], "inside /proc or /sys"),
        (vec![secret("/dangling", 0o400, 0, 0)], "inside /proc or /sys"),
        (vec![tmpfs("/devices")], "it is /dev"),
        (vec![tmpfs("/etc/passwd")], "a folder is to be mounted"),
        (vec![secret("/etc", 0o400, 0, 0)], "a file is to be mounted"),
        (vec![tmpfs("/etc/passwd/x")], "is not a folder"),
        (vec![layers("/l", &[&read_only], "/", false), tmpfs("/l/x")], "read-only mount"),
    ] {
        let (kind, text) = error_of(fixture, &mounts);
        assert!(kind == FailureKind::User && text.contains(reason), "{kind:?} {text}");
    }
    Ok(())
}

/// CVE-2024-23652: cleaning up followed a link that the command had put in place.
fn mount_points_are_removed(fixture: &Fixture) -> Result<(), String> {
    let host = fixture.folder.join("host");
    fs::create_dir_all(host.join("c")).unwrap();
    fs::write(host.join("token"), "").unwrap();
    let mounts = [tmpfs("/a/b/c"), secret("/a/b/token", 0o400, 0, 0)];
    let script = format!("mv /a /moved; mkdir /a; ln -s {} /a/b", host.display());
    fixture.mounted(&mounts, &script).unwrap();
    assert!(host.join("c").is_dir() && host.join("token").is_file());
    assert!(fixture.changes().contains(&"a/b".to_owned()));
    Ok(())
}

/// CVE-2026-41568: while a mount point is found and made, its folder, which another step has too,
/// becomes a link.
fn mount_points_in_a_moving_folder(fixture: &Fixture) -> Result<(), String> {
    let (host, cache) = (fixture.folder.join("host"), layer(fixture, "cache", &[]));
    fs::create_dir(&host).unwrap();
    let (done, roots) = (AtomicBool::new(false), fixture.root());
    let stop = cache.join("stop");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let script = format!(
                "while [ ! -e /c/stop ]; do mkdir /c/sub; mv /c/sub /c/old; ln -s {} /c/sub; \
                 rm -rf /c/sub /c/old; done 2> /dev/null; true",
                host.display()
            );
            let mounts = [folder("/c", &cache)];
            fixture.run_in(&roots, &shell(&script), &mounts, &Capture::default()).unwrap();
            done.store(true, Ordering::Relaxed);
        });
        for _ in 0..60 {
            // It is a matter of luck which file is found or made, but it must be in the root.
            let output = Capture::default();
            let mounts = [folder("/c", &cache), tmpfs("/c/sub/made/x")];
            let _ = fixture.run_in(&fixture.root(), &shell("true"), &mounts, &output);
        }
        assert!(!done.load(Ordering::Relaxed));
        fs::write(&stop, "").unwrap();
    });
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0);
    Ok(())
}
