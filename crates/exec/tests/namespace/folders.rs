//! The attacks on steps whose root is a folder, with mounts and without: there other code than that
//! of overlay mounts has to hold.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use xbuild_exec::{Isolation, Sandbox};
use xbuild_model::rootfs::{Folder, RootFs};
use xbuild_model::run::{LENT, ReadyMount, ReadySource, RunRequest, SecretBytes};
use xbuild_model::{FailureKind, StepFailure};

use crate::support::{Capture, Case, Fixture, in_words, sandbox, shell};

pub const ALL: &[(&str, Case)] = &[
    ("sources_stay_in_their_folder", sources_stay_in_their_folder),
    ("targets_through_links_of_a_cache_stay_inside", targets_through_links_stay_inside),
    ("a_cache_that_is_moved_away_comes_back", a_cache_that_is_moved_away_comes_back),
    ("cleaning_up_follows_no_link", cleaning_up_follows_no_link),
    ("special_folders_of_a_folder_are_no_links", special_folders_are_no_links),
    ("processes_of_xbuild_are_out_of_reach", processes_of_xbuild_are_out_of_reach),
    ("working_folders_stay_inside", working_folders_stay_inside),
    ("secrets_are_not_in_the_folder", secrets_are_not_in_the_folder),
];

/// A rung with a folder as root.
struct Ground {
    name: &'static str,
    sandbox: Sandbox,
}

impl Ground {
    fn all() -> impl Iterator<Item = Self> {
        let is_root = rustix::process::geteuid().is_root();
        let names = ["auto/folder", "userns-chroot/folder", "chroot/folder"];
        let usable = names.into_iter().filter(move |name| is_root || *name != "chroot/folder");
        usable.map(|name| {
            let isolation: Isolation = name.parse().unwrap();
            Self { name, sandbox: sandbox(isolation) }
        })
    }

    /// Makes a root folder of the fixture's layer.
    fn root(&self, fixture: &Fixture) -> PathBuf {
        let number = (0..).find(|n| !fixture.folder.join(format!("root-{n}")).exists()).unwrap();
        let path = fixture.folder.join(format!("root-{number}"));
        let layer = fixture.folder.join("layer");
        let copied = Command::new("cp").arg("-a").arg(layer).arg(&path).status();
        assert!(copied.unwrap().success());
        path
    }

    fn run_in(
        &self,
        path: PathBuf,
        request: &RunRequest,
        mounts: &[ReadyMount],
    ) -> Result<String, StepFailure> {
        let mut work = path.clone().into_os_string();
        work.push("-work");
        let root = RootFs::Folder(Folder { path, is_own: false, work: work.into() });
        let output = Capture::default();
        let ended = self.sandbox.run_with(&root, request, mounts, Vec::new(), &output);
        ended.map(|_| output.text())
    }

    fn run(
        &self,
        fixture: &Fixture,
        script: &str,
        mounts: &[ReadyMount],
    ) -> Result<String, StepFailure> {
        self.run_in(self.root(fixture), &shell(script), mounts)
    }
}

fn at(target: &str, source: ReadySource) -> ReadyMount {
    ReadyMount { target: target.to_owned(), source, special: Vec::new() }
}

fn tmpfs(target: &str) -> ReadyMount {
    at(target, ReadySource::Tmpfs { size: None })
}

fn make(fixture: &Fixture, name: &str) -> PathBuf {
    let path = fixture.folder.join(name);
    fs::create_dir_all(&path).unwrap();
    path
}

fn cache(target: &str, path: &Path) -> ReadyMount {
    at(target, ReadySource::Folder { path: path.to_owned(), read_only: false })
}

/// CVE-2024-1753, CVE-2024-11218.
fn sources_stay_in_their_folder(fixture: &Fixture) -> Result<(), String> {
    for ground in Ground::all() {
        for path in ["/root", "/up", "/../..", "/root/up/root"] {
            let name = format!("tree-{}-{}", ground.name, path).replace('/', "_");
            let folder = make(fixture, &name);
            fs::write(folder.join("mark"), "mark").unwrap();
            symlink("/", folder.join("root")).unwrap();
            symlink("../../../..", folder.join("up")).unwrap();
            let source = ReadySource::Tree { folder, path: path.to_owned(), writable: true };
            let script = "cat /x/mark; touch /x/BREAK";
            let out = ground.run(fixture, script, &[at("/x", source)]).unwrap();
            assert_eq!(out, "mark", "{path}, {}", ground.name);
        }
        assert!(!Path::new("/BREAK").exists());
    }
    Ok(())
}

/// CVE-2026-41568: the way to a mount point leads through files that another step has made.
fn targets_through_links_stay_inside(fixture: &Fixture) -> Result<(), String> {
    let host = make(fixture, "host");
    for ground in Ground::all() {
        let home = make(fixture, &format!("home-{}", ground.name).replace('/', "_"));
        let folder = home.join("cache");
        fs::create_dir(&folder).unwrap();
        symlink(&host, folder.join("sub")).unwrap();
        symlink("../../../../../../..", folder.join("up")).unwrap();
        let mounts = [cache("/c", &folder), tmpfs("/c/sub/made/x"), tmpfs("/c/up/there")];
        let script = format!("touch {}/made/x/in /there/in && echo ok", host.display());
        assert_eq!(ground.run(fixture, &script, &mounts).unwrap(), "ok", "{}", ground.name);
        assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "{}", ground.name);
        assert!(!Path::new("/there").exists());
        assert!(folder.join("sub").is_symlink() && !home.join(LENT).is_symlink());
    }
    Ok(())
}

/// CVE-2024-9675: a cache is nothing but its folder.
fn a_cache_that_is_moved_away_comes_back(fixture: &Fixture) -> Result<(), String> {
    let host = make(fixture, "host");
    for ground in Ground::all() {
        let home = make(fixture, &format!("home-{}", ground.name).replace('/', "_"));
        let folder = home.join("cache");
        fs::create_dir(&folder).unwrap();
        let script = format!(
            "echo kept > /c/kept; mv /c /moved 2> /dev/null && ln -s {host} /c \
             && mkdir -p {host} && echo evil > /c/evil; true",
            host = host.display()
        );
        ground.run(fixture, &script, &[cache("/c", &folder)]).unwrap();
        assert_eq!(fs::read_to_string(folder.join("kept")).unwrap(), "kept\n", "{}", ground.name);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "{}", ground.name);
        assert!(!folder.is_symlink() && !home.join(LENT).is_symlink());
        assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "{}", ground.name);
    }
    Ok(())
}

/// CVE-2024-23652.
fn cleaning_up_follows_no_link(fixture: &Fixture) -> Result<(), String> {
    let host = make(fixture, "host");
    fs::create_dir(host.join("c")).unwrap();
    fs::write(host.join("token"), "").unwrap();
    for ground in Ground::all() {
        let contents = SecretBytes(b"hidden".to_vec());
        let secret = ReadySource::Secret { contents, mode: 0o400, uid: 0, gid: 0 };
        let mounts = [tmpfs("/a/b/c"), at("/a/b/token", secret)];
        let script = format!("mv /a /moved; mkdir /a; ln -s {} /a/b", host.display());
        let root = ground.root(fixture);
        ground.run_in(root.clone(), &shell(&script), &mounts).unwrap();
        assert!(host.join("c").is_dir() && host.join("token").is_file(), "{}", ground.name);
        assert!(root.join("a/b").is_symlink(), "{}", ground.name);
    }
    Ok(())
}

/// CVE-2026-41579, CVE-2025-52881: folders of the image lead xbuild nowhere.
fn special_folders_are_no_links(fixture: &Fixture) -> Result<(), String> {
    let host = make(fixture, "host");
    for ground in Ground::all() {
        for name in ["dev", "proc", "sys"] {
            let root = ground.root(fixture);
            symlink(&host, root.join(name)).unwrap();
            let error = ground.run_in(root, &shell("true"), &[]).unwrap_err();
            assert_eq!(error.kind(), FailureKind::User, "{}", ground.name);
            let words = in_words(&error);
            assert!(words.contains("must be a folder"), "{}: {words}", ground.name);
            assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "{}", ground.name);
        }
    }
    Ok(())
}

/// CVE-2019-5736, CVE-2024-21626: neither the program nor descriptors of xbuild.
fn processes_of_xbuild_are_out_of_reach(fixture: &Fixture) -> Result<(), String> {
    let script = "for f in /proc/$PPID/exe /proc/1/exe; do \
                    (echo x >> $f) 2> /dev/null && echo written $f; \
                    cat $f > /dev/null 2>&1 && echo read $f; done; \
                  (echo x >> /proc/self/exe) 2> /dev/null && echo written; \
                  n=3; while [ $n -lt 100 ]; do \
                    [ -e /proc/self/fd/$n ] && readlink /proc/self/fd/$n; n=$((n + 1)); done; \
                  readlink /proc/self/exe";
    for ground in Ground::all() {
        let out = ground.run(fixture, script, &[]).unwrap();
        assert_eq!(out, "/bin/busybox", "{}", ground.name);
    }
    Ok(())
}

/// CVE-2024-21626: a working folder that is a descriptor of somebody else.
fn working_folders_stay_inside(fixture: &Fixture) -> Result<(), String> {
    for ground in Ground::all() {
        for cwd in ["/proc/self/fd/7", "/proc/self/fd/3", "/proc/self/cwd", "/../../.."] {
            let request = RunRequest { cwd: cwd.to_owned(), ..shell("ls ../../../../..") };
            match ground.run_in(ground.root(fixture), &request, &[]) {
                Ok(out) => assert_eq!(out, "bin\ndev\netc\nproc\nsys\ntmp", "{}", ground.name),
                Err(error) => {
                    let words = in_words(&error);
                    assert_eq!(error.kind(), FailureKind::User, "{cwd} {}: {words}", ground.name);
                }
            }
        }
    }
    Ok(())
}

fn secrets_are_not_in_the_folder(fixture: &Fixture) -> Result<(), String> {
    let text = "opensesame-4711";
    for ground in Ground::all() {
        for script in ["grep -q opensesame /s && sleep 0.1", "grep -q opensesame /s && exit 3"] {
            let contents = SecretBytes(text.into());
            let secret = ReadySource::Secret { contents, mode: 0o400, uid: 0, gid: 0 };
            let root = ground.root(fixture);
            let ended = ground.run_in(root, &shell(script), &[at("/s", secret)]);
            assert_eq!(ended.is_err(), script.ends_with("exit 3"), "{}", ground.name);
            let found = Command::new("grep").arg("-rlI").arg(text).arg(&fixture.folder).output();
            assert_eq!(found.unwrap().stdout, b"", "{}", ground.name);
        }
    }
    Ok(())
}
