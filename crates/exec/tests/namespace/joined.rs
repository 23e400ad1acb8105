//! Layers that are joined: their files, and the end of their mounts.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use xbuild_model::rootfs::{Joined, Overlay};
use xbuild_model::run::{RunRequest, Security};
use xbuild_model::seam::Namespace;

use crate::support::{Capture, Case, Fixture, shell};

pub const ALL: &[(&str, Case)] = &[
    ("joined_layers_look_the_same", joined_layers_look_the_same),
    ("joined_layers_are_as_many_as_you_like", joined_layers_are_as_many_as_you_like),
    ("joined_layers_are_not_for_all_steps", joined_layers_are_not_for_all_steps),
    ("steps_share_joined_layers", steps_share_joined_layers),
    ("joined_layers_go_with_their_folder", joined_layers_go_with_their_folder),
    ("joined_layers_must_be_there", joined_layers_must_be_there),
];

/// Prints everything about the files, changes them, and prints it again.
const LOOK_AND_CHANGE: &str = r#"
    all() { find / -xdev | grep -v -e '^/dev' -e '^/proc' -e '^/sys' -e '^/etc' -e '^/bin/' | sort; }
    tell() {
        for file in $(all); do
            stat -c '%n %F %a %u %g %h' "$file"
            test -L "$file" || test -d "$file" || cat "$file"
        done
        test "$(all | xargs stat -c %d | sort -u | wc -l)" = 1 && echo one device
        test /files/one -ef /files/twin && echo twins
        ls -i /files | while read -r number name; do
            test "$number" = "$(stat -c %i "/files/$name")" || echo "other number: $name"
        done
    }
    tell
    number=$(stat -c %i /files/kept)
    echo more >> /files/kept
    test "$number" = "$(stat -c %i /files/kept)" && echo same number
    rm /files/gone-above
    chmod 600 /files/one
    rm -r /folder
    mkdir /folder
    echo new > /folder/new
    mv /moved /elsewhere
    ln /files/twin /files/third
    tell
"#;

/// Makes a folder of a layer, the number of the fixture's.
fn layer(fixture: &Fixture, number: usize, files: &[&str]) -> PathBuf {
    let folder = fixture.folder.join(format!("deep/{number}"));
    std::fs::create_dir_all(&folder).unwrap();
    for file in files {
        let path = folder.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, format!("{file} of layer {number}\n")).unwrap();
    }
    folder
}

/// Marks a file as removed, or a folder as replaced, the way that ordinary users can.
fn mark(path: &Path, name: &str) {
    if !path.exists() {
        std::fs::write(path, "").unwrap();
    }
    rustix::fs::setxattr(path, name, b"y", rustix::fs::XattrFlags::empty()).unwrap();
}

/// Makes a stack, the newest layer first. The upper ones hide files of the others.
fn stack(fixture: &Fixture, count: usize) -> Vec<PathBuf> {
    let mut lowers = vec![fixture.folder.join("layer")];
    for number in 0..count {
        let name = format!("files/{number}");
        lowers.push(layer(fixture, number, &["files/top", &name]));
    }
    let first = layer(
        fixture,
        0,
        &["files/one", "files/kept", "files/gone", "files/gone-above", "folder/old", "moved/a/b"],
    );
    std::fs::hard_link(first.join("files/one"), first.join("files/twin")).unwrap();
    symlink("one", first.join("files/link")).unwrap();
    let middle = layer(fixture, count / 2, &["folder/middle"]);
    mark(&middle.join("folder"), "user.overlay.opaque");
    lowers.reverse();
    lowers
}

/// Mounts the last of some layers, for as long as the folder exists.
fn join(fixture: &Fixture, lowers: &[PathBuf], count: usize) -> (Joined, TempDir) {
    let folder = tempfile::tempdir_in(&fixture.folder).unwrap();
    fixture.sandbox.join(&lowers[lowers.len() - count..], folder.path()).unwrap();
    (Joined { count, point: folder.path().to_owned() }, folder)
}

/// Returns how many overlay mounts the build's namespace has.
fn mounts(fixture: &Fixture) -> usize {
    let task = fixture.sandbox.start("test.mounts", Vec::new(), Vec::new()).unwrap();
    String::from_utf8(task.wait().unwrap()).unwrap().parse().unwrap()
}

/// Returns the number of layers of a step's root file system, if the kernel lists them.
fn layers_of(fixture: &Fixture, root: &Overlay, request: &RunRequest) -> usize {
    let output = Capture::default();
    let script = "grep ' / overlay ' /proc/mounts | tr , '\\n' | grep -c '^lowerdir+=' || true";
    let request = RunRequest { argv: shell(script).argv, ..request.clone() };
    fixture.run_in(root, &request, &[], &output).unwrap();
    output.text().parse().unwrap()
}

fn joined_layers_look_the_same(fixture: &Fixture) -> Result<(), String> {
    let lowers = stack(fixture, 40);
    let plain = Overlay { lowers: lowers.clone(), ..fixture.root() };
    let expected = fixture.sh_in(&plain, LOOK_AND_CHANGE);
    let changes = fixture.changes();
    for text in ["one device", "twins", "folder/middle", "top of layer 39"] {
        assert!(expected.contains(text), "{text}: {expected}");
    }
    assert!(!expected.contains("folder/old") && !expected.contains("other number"), "{expected}");
    for count in [2, 30, 41] {
        let (joined, _folder) = join(fixture, &lowers, count);
        let root = Overlay { lowers: lowers.clone(), joined: Some(joined), ..fixture.root() };
        assert_eq!(fixture.sh_in(&root, LOOK_AND_CHANGE), expected, "{count} joined");
        assert_eq!(fixture.changes(), changes, "{count} joined");
    }
    Ok(())
}

fn joined_layers_are_as_many_as_you_like(fixture: &Fixture) -> Result<(), String> {
    let lowers = stack(fixture, 800);
    let (joined, _folder) = join(fixture, &lowers, 480);
    let root = Overlay { lowers, joined: Some(joined), ..fixture.root() };
    assert_eq!(
        fixture.sh_in(&root, "cat /files/top; ls /files | wc -l"),
        "files/top of layer 799\n807"
    );
    Ok(())
}

fn joined_layers_are_not_for_all_steps(fixture: &Fixture) -> Result<(), String> {
    let lowers = stack(fixture, 20);
    let root = |joined: Option<&Joined>| {
        let (lowers, joined) = (lowers.clone(), joined.cloned());
        Overlay { lowers, joined, ..fixture.root() }
    };
    let (joined, _folder) = join(fixture, &lowers, 15);
    let usual = shell("");
    if layers_of(fixture, &root(None), &usual) != 21 {
        return Err("the kernel does not tell of layers".to_owned());
    }
    assert_eq!(layers_of(fixture, &root(Some(&joined)), &usual), 7);
    let insecure = RunRequest { security: Security::Insecure, ..usual.clone() };
    assert_eq!(layers_of(fixture, &root(Some(&joined)), &insecure), 21);
    let small = RunRequest { platform: "linux/386".parse().unwrap(), ..usual };
    assert_eq!(layers_of(fixture, &root(Some(&joined)), &small), 21);
    Ok(())
}

fn steps_share_joined_layers(fixture: &Fixture) -> Result<(), String> {
    let lowers = stack(fixture, 40);
    let (joined, _folder) = join(fixture, &lowers, 32);
    let before = mounts(fixture);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let root =
                Overlay { lowers: lowers.clone(), joined: Some(joined.clone()), ..fixture.root() };
            scope.spawn(move || {
                let script =
                    format!("rm /files/kept; echo {number} > /files/top; sleep 0.2; cat /files/*");
                let out = fixture.sh_in(&root, &script);
                assert!(out.lines().any(|line| line == number.to_string()), "{out}");
            });
        }
    });
    assert_eq!(mounts(fixture), before);
    Ok(())
}

fn joined_layers_go_with_their_folder(fixture: &Fixture) -> Result<(), String> {
    let lowers = stack(fixture, 40);
    let before = mounts(fixture);
    let (joined, folder) = join(fixture, &lowers, 32);
    assert_eq!(mounts(fixture), before + 1);
    let root = Overlay { lowers, joined: Some(joined), ..fixture.root() };
    std::thread::scope(|scope| {
        let step = scope.spawn(|| fixture.sh_in(&root, "sleep 1; cat /files/kept"));
        std::thread::sleep(std::time::Duration::from_millis(500));
        // A step that uses the mount keeps it.
        folder.close().unwrap();
        assert_eq!(mounts(fixture), before);
        assert_eq!(step.join().unwrap(), "files/kept of layer 0");
    });
    Ok(())
}

fn joined_layers_must_be_there(fixture: &Fixture) -> Result<(), String> {
    let point = tempfile::tempdir_in(&fixture.folder).unwrap();
    let lowers = vec![fixture.folder.join("layer"), fixture.folder.join("nowhere")];
    let before = mounts(fixture);
    assert!(fixture.sandbox.join(&lowers, point.path()).is_err());
    assert_eq!(mounts(fixture), before);
    Ok(())
}
