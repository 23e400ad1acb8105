//! The cases about images and commands that attack.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use xbuild_model::FailureKind;
use xbuild_model::run::{ReadyMount, ReadySource, RunRequest};

use crate::support::{Case, Fixture, in_words, shell};

pub const ALL: &[(&str, Case)] = &[
    ("huge_user_files_are_refused", huge_user_files_are_refused),
    ("devices_of_the_image_hide_nothing", devices_of_the_image_hide_nothing),
    ("proc_cannot_be_mounted_over", proc_cannot_be_mounted_over),
    ("pid_1_cannot_be_looked_into", pid_1_cannot_be_looked_into),
    ("descriptors_of_the_caller_stay_outside", descriptors_of_the_caller_stay_outside),
    ("mount_sources_in_a_moving_folder", mount_sources_in_a_moving_folder),
];

/// CVE-2026-47262: a file that costs nothing on disk, and all memory once it is read.
fn huge_user_files_are_refused(fixture: &Fixture) -> Result<(), String> {
    for name in ["passwd", "group"] {
        let path = fixture.folder.join("layer/etc").join(name);
        let text = fs::read(&path).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(8 << 30).unwrap();
        let start = Instant::now();
        let error = fixture.run(&RunRequest { user: "app".into(), ..shell("true") }).unwrap_err();
        assert_eq!(error.kind(), FailureKind::User);
        let words = in_words(&error);
        assert!(words.contains(name) && words.contains("too large"), "{words}");
        assert!(start.elapsed() < Duration::from_secs(5));
        fs::write(&path, text).unwrap();
    }
    Ok(())
}

/// CVE-2025-31133: what hides parts of `/proc` is not taken from the image.
fn devices_of_the_image_hide_nothing(fixture: &Fixture) -> Result<(), String> {
    let pattern = "/proc/sys/kernel/core_pattern";
    let before = fs::read(pattern).unwrap();
    let dev = fixture.folder.join("layer/dev");
    fs::create_dir(&dev).unwrap();
    for name in ["null", "zero", "full", "random", "tty", "pts", "ptmx", "shm"] {
        symlink(pattern, dev.join(name)).unwrap();
    }
    let script = "cat /proc/kcore /proc/keys /proc/timer_list 2> /dev/null | wc -c; \
                  for f in /proc/kcore /proc/timer_list /dev/null /dev/tty; do \
                  (echo '|/evil' > $f) 2> /dev/null; done; \
                  stat -c '%F' /dev/null /dev/zero; head -c 1 /dev/zero | wc -c; ls -d /dev/pts/";
    let expected = "0\ncharacter special file\ncharacter special file\n1\n/dev/pts/";
    assert_eq!(fixture.sh(script), expected);
    assert_eq!(fs::read(pattern).unwrap(), before);
    Ok(())
}

/// CVE-2025-52881: what is written to `/proc` while a step is set up goes to `/proc`.
fn proc_cannot_be_mounted_over(fixture: &Fixture) -> Result<(), String> {
    let layer = fixture.folder.join("layer");
    symlink("/proc/self/attr", layer.join("attr")).unwrap();
    symlink("../../proc/sys", layer.join("etc/sys")).unwrap();
    symlink("/proc", layer.join("p")).unwrap();
    let cache = fixture.folder.join("cache");
    fs::create_dir(&cache).unwrap();
    symlink("/proc/self", cache.join("self")).unwrap();
    let at = |target: &str, source| ReadyMount {
        target: target.to_owned(),
        source,
        special: Vec::new(),
    };
    let folder = || ReadySource::Folder { path: cache.clone(), read_only: false };
    for target in ["/proc/self/attr", "/attr", "/attr/x", "/etc/sys/kernel", "/p", "/c/self/attr"] {
        let mounts = [at("/c", folder()), at(target, ReadySource::Tmpfs { size: None })];
        let words = in_words(&fixture.mounted(&mounts, "true").unwrap_err());
        // A missing mount point cannot be made there either.
        let is_refused = words.contains("inside /proc") || target == "/attr/x";
        assert!(is_refused, "{target}: {words}");
    }
    Ok(())
}

/// CVE-2016-9962: the process that sets a step up is the command's neighbour in its namespace.
fn pid_1_cannot_be_looked_into(fixture: &Fixture) -> Result<(), String> {
    if fixture.sh("readlink /proc/self; true").len() != 1 {
        return Err("the container around hides parts of /proc".to_owned());
    }
    // From the first moment on, and for as long as the command likes.
    let script = "n=0; while [ $n -lt 20 ]; do n=$((n + 1)); for f in exe cwd root; do \
                  readlink /proc/1/$f && echo $f; done; for f in maps environ mem auxv stack; do \
                  head -c 1 /proc/1/$f | wc -c | grep -q 0 || echo $f; done; \
                  for f in /proc/1/fd/*; do readlink $f; (: < $f) && echo fd; done; \
                  ls /proc/1/root/ && echo root; \
                  (echo x > /proc/1/mem) && echo written; done 2> /dev/null; echo end";
    assert_eq!(fixture.sh(script), "end");
    Ok(())
}

/// Descriptors that the caller has open, and would pass on, are none of the step's.
fn descriptors_of_the_caller_stay_outside(_: &Fixture) -> Result<(), String> {
    let folder = File::open("/").unwrap();
    // Copies that are inherited by the programs that this one starts.
    let open: Vec<OwnedFd> = (0..100).map(|_| rustix::io::dup(&folder).unwrap()).collect();
    // A new fixture: its processes are started from now on.
    let fixture = Fixture::new();
    let script = "ls /proc/self/fd; ls -l /proc/self/fd 2>/dev/null | grep -c '/$'";
    assert_eq!(fixture.sh(&format!("{script}; true")), "0\n1\n2\n3\n0");
    drop(open);
    Ok(())
}

/// CVE-2024-11218: a folder of the source becomes a link between look and mount.
fn mount_sources_in_a_moving_folder(fixture: &Fixture) -> Result<(), String> {
    let (lower, host) = (fixture.folder.join("lower"), fixture.folder.join("host"));
    for (folder, text) in [(lower.join("real/in"), "inside"), (host.join("in"), "outside")] {
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mark"), text).unwrap();
    }
    let (sub, done) = (lower.join("sub"), AtomicBool::new(false));
    let source = || ReadySource::Layers {
        lowers: vec![lower.clone()],
        path: "/sub/in".to_owned(),
        writable: false,
    };
    let mut seen = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                fs::rename(lower.join("real"), &sub).unwrap();
                fs::rename(&sub, lower.join("real")).unwrap();
                symlink(&host, &sub).unwrap();
                fs::remove_file(&sub).unwrap();
            }
        });
        for _ in 0..100 {
            let mounts =
                [ReadyMount { target: "/x".to_owned(), source: source(), special: Vec::new() }];
            match fixture.mounted(&mounts, "cat /x/mark 2> /dev/null || true") {
                Ok(text) => {
                    assert_ne!(text, "outside");
                    seen += 1;
                }
                Err(error) => assert_eq!(error.kind(), FailureKind::User, "{}", in_words(&error)),
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("  mounted {seen} of 100 times");
    Ok(())
}
