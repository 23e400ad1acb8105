//! A small root file system, a request with defaults, and a loop over the cases.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use xbuild_exec::{Isolation, Options, Sandbox};
use xbuild_model::records::{Owners, Records};
use xbuild_model::rootfs::{Overlay, RootFs};
use xbuild_model::run::{Network, ReadyMount, RunRequest, Security};
use xbuild_model::seam::{Namespace, Output};
use xbuild_model::{Cancel, Platform, StepFailure, TaskFailure};

const APPLETS: &str = "cat chmod cp cut df env find grep head hostname id ip ln ls mkdir printf pwd \
                       readlink rm sh sleep stat test touch tr wc yes";

/// A case. It returns the reason if it is skipped.
pub type Case = fn(&Fixture) -> Result<(), String>;

/// Runs the cases whose names contain `filter`; returns whether any failed.
pub fn run_all(cases: &[(&str, Case)], filter: &str) -> bool {
    let (mut failed, mut skipped) = (0, 0);
    for (name, case) in cases.iter().filter(|(name, _)| name.contains(filter)) {
        let run = || {
            let fixture = Fixture::new();
            case(&fixture)
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(())) => println!("test {name} ... ok"),
            Ok(Err(reason)) => {
                skipped += 1;
                println!("test {name} ... skipped: {reason}");
            }
            Err(_) => {
                failed += 1;
                println!("test {name} ... FAILED");
            }
        }
    }
    println!("{failed} failed, {skipped} skipped");
    failed > 0
}

/// The argument that makes this program run one step, of the folder and script that follow.
pub const HOLD: &str = "--hold";

/// See [`HOLD`].
pub fn hold() -> ExitCode {
    let mut args = std::env::args().skip(2);
    let (folder, script) = (PathBuf::from(args.next().unwrap()), args.next().unwrap());
    let root = Overlay {
        lowers: vec![folder.join("layer")],
        joined: None,
        upper: folder.join("held-upper"),
        work: folder.join("held-work"),
    };
    std::fs::create_dir(&root.upper).unwrap();
    std::fs::create_dir(&root.work).unwrap();
    let root = RootFs::Overlay(root);
    let result = sandbox(Isolation::AUTO).run_with(
        &root,
        &shell(&script),
        &[],
        Vec::new(),
        &Capture::default(),
    );
    if result.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The task `test.remove`: the folders of a step can only be removed inside the namespace.
pub fn remove(request: &[u8], _: Vec<OwnedFd>) -> Result<Vec<u8>, TaskFailure> {
    let path = String::from_utf8_lossy(request).into_owned();
    std::fs::remove_dir_all(&path).map_err(|error| error.to_string())?;
    Ok(Vec::new())
}

/// The task `test.echo`: answers with the request and its own user; panics at `panic`.
pub fn echo(request: &[u8], fds: Vec<OwnedFd>) -> Result<Vec<u8>, TaskFailure> {
    match request {
        b"panic" => panic!("as told"),
        b"die" => std::process::abort(),
        b"fail" => Err("as told".to_owned().into()),
        _ => {
            let uid = rustix::process::getuid().as_raw();
            Ok(format!("{} {uid} {}", String::from_utf8_lossy(request), fds.len()).into_bytes())
        }
    }
}

/// The task `test.mounts`: how many overlay mounts there are.
pub fn mounts(_: &[u8], _: Vec<OwnedFd>) -> Result<Vec<u8>, TaskFailure> {
    let text =
        std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| error.to_string())?;
    let count = text.lines().filter(|line| line.contains(" - overlay ")).count();
    Ok(count.to_string().into_bytes())
}

/// The output of a step.
#[derive(Debug, Default)]
pub struct Capture {
    lines: Mutex<Vec<String>>,
}

impl Output for Capture {
    fn line(&self, line: &[u8], _: bool) {
        self.lines.lock().unwrap().push(String::from_utf8_lossy(line).into_owned());
    }

    fn note(&self, note: &str) {
        println!("  note: {note}");
    }
}

impl Capture {
    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }
}

/// A namespace and a root file system with busybox in it.
pub struct Fixture {
    pub sandbox: Sandbox,
    pub folder: PathBuf,
    roots: AtomicU32,
}

impl Fixture {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let layer = folder.join("layer");
        for name in ["bin", "etc", "tmp"] {
            std::fs::create_dir_all(layer.join(name)).unwrap();
        }
        std::fs::copy("/bin/busybox", layer.join("bin/busybox")).unwrap();
        for name in APPLETS.split_whitespace() {
            symlink("busybox", layer.join("bin").join(name)).unwrap();
        }
        let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1234:2345::/home/app:/bin/sh\n";
        std::fs::write(layer.join("etc/passwd"), passwd).unwrap();
        std::fs::write(layer.join("etc/group"), "staff:x:50:app\n").unwrap();
        Self { sandbox: sandbox(Isolation::AUTO), folder, roots: AtomicU32::new(0) }
    }

    /// Makes a root file system on the layer; overlayfs wants new folders each time.
    pub fn root(&self) -> Overlay {
        let number = self.roots.fetch_add(1, Ordering::Relaxed) + 1;
        let folder = |name: &str| {
            let path = self.folder.join(format!("{name}-{number}"));
            std::fs::create_dir(&path).unwrap();
            path
        };
        Overlay {
            lowers: vec![self.folder.join("layer")],
            joined: None,
            upper: folder("upper"),
            work: folder("work"),
        }
    }

    /// Returns the folder of changes of the root file system that was made last.
    pub fn upper(&self) -> PathBuf {
        self.folder.join(format!("upper-{}", self.roots.load(Ordering::Relaxed)))
    }

    /// Returns whether root is the only user that exists in the namespace.
    pub fn single_id(&self) -> bool {
        self.sandbox.owners().unwrap() == Owners::Recorded
    }

    /// Runs a request on a certain root file system.
    pub fn run_in(
        &self,
        root: &Overlay,
        request: &RunRequest,
        mounts: &[ReadyMount],
        output: &Capture,
    ) -> Result<Records, StepFailure> {
        self.sandbox.run_with(&RootFs::Overlay(root.clone()), request, mounts, Vec::new(), output)
    }

    /// Runs a request; returns its output.
    pub fn run(&self, request: &RunRequest) -> Result<String, StepFailure> {
        let output = Capture::default();
        self.run_in(&self.root(), request, &[], &output)?;
        Ok(output.text())
    }

    /// Runs a script with mounts; returns its output.
    pub fn mounted(&self, mounts: &[ReadyMount], script: &str) -> Result<String, StepFailure> {
        let output = Capture::default();
        let result = self.run_in(&self.root(), &shell(script), mounts, &output);
        result.map(|_| output.text()).inspect_err(|_| println!("{}", output.text()))
    }

    /// Runs a script that must succeed; returns its output.
    pub fn sh(&self, script: &str) -> String {
        self.sh_in(&self.root(), script)
    }

    /// The same on a certain root file system.
    pub fn sh_in(&self, root: &Overlay, script: &str) -> String {
        let output = Capture::default();
        let result = self.run_in(root, &shell(script), &[], &output);
        if let Err(error) = result {
            panic!("{script}: {}\n{}", in_words(&error), output.text());
        }
        output.text()
    }

    /// Returns the names in the last folder of changes, sorted, folders included.
    pub fn changes(&self) -> Vec<String> {
        let upper = self.upper();
        let (mut found, mut todo) = (Vec::new(), vec![upper.clone()]);
        while let Some(folder) = todo.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                let path = entry.path();
                found.push(path.strip_prefix(&upper).unwrap().display().to_string());
                if entry.file_type().unwrap().is_dir() {
                    todo.push(path);
                }
            }
        }
        found.sort();
        found
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let request = self.folder.display().to_string().into_bytes();
        let removed =
            self.sandbox.start("test.remove", request, Vec::new()).and_then(|task| task.wait());
        if let Err(error) = removed {
            println!("  left behind: {}: {error}", self.folder.display());
        }
    }
}

pub fn sandbox(isolation: Isolation) -> Sandbox {
    Sandbox::new(Options {
        isolation,
        choice: None,
        started: None,
        emulators: Vec::new(),
        intercepted: Vec::new(),
        network: Network::Host,
        search_path: OsString::from("/usr/bin:/bin"),
        cancel: Cancel::default(),
    })
}

pub fn shell(script: &str) -> RunRequest {
    exec(&["/bin/sh", "-c", script])
}

pub fn exec(argv: &[&str]) -> RunRequest {
    RunRequest {
        argv: argv.iter().map(ToString::to_string).collect(),
        env: vec![("PATH".into(), "/usr/bin:/bin".into())],
        cwd: "/".into(),
        user: String::new(),
        platform: Platform::host(),
        network: Network::Default,
        security: Security::Sandbox,
        hostname: "buildhost".into(),
        extra_hosts: Vec::new(),
        ulimits: Vec::new(),
        shm_size: 64 << 20,
        scripts: Vec::new(),
        mounts: Vec::new(),
        unkeyed_env: Vec::new(),
    }
}

pub fn in_words(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
