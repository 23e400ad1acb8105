//! A place to build in: a home of its own, a user, a store, and what is needed around it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use crate::image::{self, Image};

/// When the files of every build context were changed, so that the same files give the same
/// layers in every [`Place`]: 2020-06-01, in seconds since the epoch.
const CHANGED: u64 = 1_590_969_600;

/// Who builds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum User {
    /// Whoever runs the tests.
    Me,
    /// An ordinary user with subordinate ids.
    Ranged,
    /// An ordinary user without.
    Single,
}

impl User {
    /// The users to repeat a test as: root and two others where root runs the tests.
    pub(crate) fn all() -> Vec<Self> {
        if !is_root() {
            return vec![if has_subordinate_ids() { Self::Me } else { Self::Single }];
        }
        let mut users = vec![Self::Me, Self::Single];
        if need("users", || exists("xbuild-ranged"), "the user xbuild-ranged with subordinate ids")
        {
            users.push(Self::Ranged);
        }
        users
    }

    fn name(self) -> Option<&'static str> {
        match self {
            _ if !is_root() => None,
            Self::Me => None,
            Self::Ranged => Some("xbuild-ranged"),
            Self::Single if exists("xbuild-single") => Some("xbuild-single"),
            Self::Single => Some("nobody"),
        }
    }
}

/// Returns whether whoever runs the tests has a line in `/etc/subuid`.
fn has_subordinate_ids() -> bool {
    let list = fs::read_to_string("/etc/subuid").unwrap_or_default();
    let names = [tool("id", ["-un"]), tool("id", ["-u"])];
    list.lines().any(|line| names.iter().any(|name| line.split(':').next() == Some(name.trim())))
}

fn exists(user: &str) -> bool {
    quiet("id", [user])
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").map(|meta| std::os::unix::fs::MetadataExt::uid(&meta)).unwrap() == 0
}

/// Returns whether a command succeeds; it prints nothing.
pub(crate) fn quiet<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> bool {
    let mut command = Command::new(program);
    let status = command.args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub(crate) fn in_path(program: &str) -> bool {
    found_in_path(program).is_file()
}

/// Returns the path of a program; only its name if it is not in PATH.
pub(crate) fn found_in_path(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates = std::env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|path| path.is_file()).unwrap_or_else(|| program.into())
}

static SKIPPED: Mutex<()> = Mutex::new(());

/// Returns whether a feature is there. If not, the test is counted as skipped, or fails if
/// `XBUILD_REQUIRE` names the feature.
pub(crate) fn need(feature: &str, check: impl FnOnce() -> bool, what: &str) -> bool {
    if check() {
        return true;
    }
    let required = std::env::var("XBUILD_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == feature), "{feature} is required: {what}");
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let _guard = SKIPPED.lock();
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/skipped.log");
    if let Ok(mut file) = fs::OpenOptions::new().create(true).append(true).open(log) {
        writeln!(file, "{test}: {what}").unwrap();
    }
    eprintln!("skipped {test}: {what} is missing");
    false
}

/// Returns whether a command succeeds as root of a user and mount namespace of its own.
fn in_namespace(script: &str) -> bool {
    quiet("unshare", ["--user", "--map-root-user", "--mount", "sh", "-euc", script])
}

/// Returns whether RUN steps can run at all.
pub(crate) fn can_run() -> bool {
    static OVERLAY: OnceLock<bool> = OnceLock::new();
    let overlay = || {
        let folder = tempfile::tempdir().unwrap();
        let options = "lowerdir=l,upperdir=u,workdir=w,userxattr";
        let mount = format!("mkdir l u w m && mount -t overlay -o {options} none m && umount m");
        // overlayfs leaves a folder that an ordinary user cannot look into.
        in_namespace(&format!("cd {} && {mount} && rm -r l u w m", folder.path().display()))
    };
    need("userns", || in_namespace("true"), "user namespaces")
        && need("overlay", || *OVERLAY.get_or_init(overlay), "overlayfs in a user namespace")
}

/// Returns whether foreign programs can run: an emulator, and a kernel with binfmt_misc for
/// each user namespace.
pub(crate) fn can_emulate() -> bool {
    let emulator = || in_path("qemu-aarch64-static") || cached("emulators").exists();
    let private = || in_namespace("mount -t binfmt_misc none /proc/sys/fs/binfmt_misc");
    need("qemu", || emulator() && private(), "qemu-user-static and Linux 6.7")
}

/// Returns whether there is a tool to look at the results with.
pub(crate) fn can_use(tool: &str) -> bool {
    need(tool, || in_path(tool), tool)
}

/// Returns where `fixtures/base-images` puts what it makes.
pub(crate) fn cached(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/.cache").join(name)
}

/// A folder to build in, removed at the end.
#[derive(Debug)]
pub(crate) struct Place {
    folder: tempfile::TempDir,
    pub(crate) user: User,
}

impl Place {
    pub(crate) fn new(user: User) -> Self {
        let folder = tempfile::Builder::new().prefix("xbuild-suite-").tempdir().unwrap();
        let place = Self { folder, user };
        open_up(place.path(), 0o755);
        // The checkout may be where an ordinary user cannot read.
        link_or_copy(Path::new(env!("CARGO_BIN_EXE_xbuild")), &place.path().join("xbuild"));
        if cached("emulators").exists() {
            link_folder(&cached("emulators"), &place.path().join("emulators"), 0o755);
        }
        for (name, mode) in [("home", 0o777), ("context", 0o755), ("out", 0o777)] {
            fs::create_dir(place.path().join(name)).unwrap();
            open_up(&place.path().join(name), mode);
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a path below `out`, where the builder may write.
    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.path().join("out").join(name)
    }

    /// Returns the folder that is built.
    pub(crate) fn context(&self) -> PathBuf {
        self.path().join("context")
    }

    /// Returns the folder of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("home/data/xbuild")
    }

    /// Writes a file of the build context, last changed at a fixed time.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.context().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        self.touch(name, CHANGED)
    }

    /// Sets when a file of the build context, and the folders above it, were last changed, in
    /// seconds since the epoch.
    pub(crate) fn touch(&self, name: &str, time: u64) -> &Self {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
        for path in Path::new(name).ancestors() {
            let file = fs::File::open(self.context().join(path)).unwrap();
            file.set_modified(time).unwrap();
        }
        self
    }

    /// Returns `NAME=oci-layout://..` with a base image that `fixtures/base-images` made, put
    /// where the user can read it.
    pub(crate) fn base(&self, name: &str) -> String {
        let to = self.path().join("bases").join(name);
        if !to.exists() {
            assert!(cached(name).exists(), "fixtures/base-images {name} makes what is missing");
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            link_folder(&cached(name), &to, 0o644);
        }
        format!("{name}=oci-layout://{}", to.display())
    }

    /// Returns a command that runs as the user of this place.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let home = self.path().join("home");
        let mut command = match self.user.name() {
            None => Command::new(program),
            Some(name) => {
                // By its path: a test may give the command a PATH of its own.
                let mut command = Command::new(found_in_path("setpriv"));
                command.args(["--reuid", name, "--regid", &group_of(name), "--init-groups"]);
                command.args(["--inh-caps", "-all"]).arg(program);
                command
            }
        };
        command.env_clear().env("PATH", self.search_path());
        command.env("HOME", &home).env("XDG_DATA_HOME", home.join("data"));
        command.current_dir(self.path()).stdin(Stdio::null());
        command
    }

    /// Returns the command `xbuild ARGS`.
    pub(crate) fn xbuild<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.command(self.path().join("xbuild"));
        command.args(args);
        command
    }

    fn search_path(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let emulators = self.path().join("emulators");
        std::env::join_paths(std::env::split_paths(&path).chain([emulators])).unwrap()
    }

    /// Returns the arguments that build the context with the base image at hand, `more` among
    /// them.
    pub(crate) fn build_args(&self, more: &[&str]) -> Vec<OsString> {
        let base = self.base("busybox");
        let args = ["build", "--progress", "plain", "--build-context", &base];
        let args = args.iter().chain(more).map(OsString::from);
        args.chain([self.context().into_os_string()]).collect()
    }

    /// Builds the context with the base image at hand.
    pub(crate) fn build(&self, more: &[&str]) -> Finished {
        Finished::of(self.xbuild(self.build_args(more)).output().unwrap())
    }

    /// Builds the context, which must succeed, and returns the images that came out, verified.
    #[track_caller]
    pub(crate) fn images(&self, more: &[&str]) -> Vec<Image> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let layout = self.out(&format!("image-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let output = format!("type=oci,tar=false,dest={}", layout.display());
        self.build(&[more, &["--output", &output]].concat()).ok();
        image::read(&layout)
    }

    /// Builds the context for one platform, which must succeed, and returns the image.
    #[track_caller]
    pub(crate) fn image(&self, more: &[&str]) -> Image {
        let mut images = self.images(more);
        assert_eq!(images.len(), 1);
        images.remove(0)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Files of subordinate ids are removed by their owner's namespace.
        let _ = self.xbuild(["prune", "--all"]).output();
    }
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Finished {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            status: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub(crate) fn run(mut command: Command) -> Self {
        Self::of(command.output().unwrap())
    }

    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, 0, "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails the test unless the command ended with `status` and said all of `words`.
    #[track_caller]
    pub(crate) fn fails(self, status: i32, words: &[&str]) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is missing in:\n{}", self.stderr);
        }
        self
    }

    /// Returns how many steps came from the cache and how many were done, as plain progress says:
    /// `#N CACHED` and `#N DONE 0.1s`.
    pub(crate) fn steps(&self) -> (usize, usize) {
        let words = |line: &'_ str| line.split(' ').nth(1).map(str::to_owned);
        let count =
            |word| self.stderr.lines().filter(|l| words(l).as_deref() == Some(word)).count();
        (count("CACHED"), count("DONE"))
    }
}

/// Runs a tool that must succeed and returns its standard output.
#[track_caller]
pub(crate) fn tool<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Debian's docker-registry on a free port of the loopback interface, ended with the test.
#[derive(Debug)]
pub(crate) struct Registry {
    process: Child,
    folder: tempfile::TempDir,
    pub(crate) host: String,
}

/// What a registry with a password lets in, as in `auth` of Docker's `config.json`:
/// `suite:secret` in Base64.
pub(crate) const CREDENTIALS: &str = "c3VpdGU6c2VjcmV0";
/// The same as a line of an htpasswd file, hashed with bcrypt.
const HASHED: &str = "suite:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

impl Registry {
    /// Starts a registry; `None` where there is none, which counts as a skip.
    pub(crate) fn start() -> Option<Self> {
        Self::with(|_| serde_json::json!({}))
    }

    /// Starts a registry that lets in nobody but the user `suite` with the password `secret`.
    pub(crate) fn with_password() -> Option<Self> {
        Self::with(|folder| {
            let file = folder.join("htpasswd");
            fs::write(&file, HASHED).unwrap();
            serde_json::json!({"htpasswd": {"realm": "suite", "path": file}})
        })
    }

    fn with(auth: impl FnOnce(&Path) -> serde_json::Value) -> Option<Self> {
        if !need("registry", || in_path("docker-registry"), "docker-registry") {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let host = format!("127.0.0.1:{port}");
        let config = serde_json::json!({
            "version": 0.1, "log": {"level": "error"}, "http": {"addr": host, "secret": "suite"},
            "storage": {"filesystem": {"rootdirectory": folder.path().join("data")}},
            "auth": auth(folder.path()),
        });
        let file = folder.path().join("config.yml");
        fs::write(&file, config.to_string()).unwrap();
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file).stdout(log).stderr(Stdio::null());
        let registry = Self { process: command.spawn().unwrap(), folder, host };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !registry.answers() {
            assert!(Instant::now() < deadline, "the registry does not come up");
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(registry)
    }

    /// Pushes the busybox base image for all its platforms as `REPOSITORY:latest` and returns its
    /// reference. It must be open to everybody or let in who has `creds`.
    pub(crate) fn push_busybox(&self, repository: &str, creds: &[&str]) -> String {
        let from = format!("oci:{}:latest", cached("busybox").display());
        let name = format!("{}/{repository}:latest", self.host);
        let to = format!("docker://{name}");
        let args = ["--insecure-policy", "copy", "--all", "--dest-tls-verify=false", "--quiet"];
        tool("skopeo", args.iter().chain(creds).copied().chain([from.as_str(), &to]));
        name
    }

    /// Returns what was asked of the registry, oldest first, each as `METHOD /path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
        // A line of the access log is: ADDRESS - - [TIME] "METHOD /path HTTP/1.1" STATUS ..
        let request = |line: &str| line.split('"').nth(1).map(str::to_owned);
        let text = |request: String| request.trim_end_matches(" HTTP/1.1").to_owned();
        log.lines().filter_map(request).map(text).collect()
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.host) else { return false };
        let mut answer = String::new();
        write!(stream, "GET /v2/ HTTP/1.0\r\n\r\n").is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && (answer.contains(" 200 ") || answer.contains(" 401 "))
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn group_of(user: &str) -> String {
    tool("id", ["-g", user]).trim().to_owned()
}

fn open_up(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts the files of a folder into a new one, with `mode`, readable for everybody.
fn link_folder(from: &Path, to: &Path, mode: u32) {
    fs::create_dir(to).unwrap();
    open_up(to, 0o755);
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            link_folder(&entry.path(), &target, mode);
        } else {
            link_or_copy(&entry.path(), &target);
            open_up(&target, mode);
        }
    }
}

/// Makes a hard link, or a copy where that cannot be.
fn link_or_copy(from: &Path, to: &Path) {
    if fs::hard_link(from, to).is_err() {
        // By another process: a program that a thread of ours has open for writing while another
        // thread starts a process cannot be executed.
        tool("cp", [from, to]);
    }
}

/// Returns what the host's binfmt_misc holds, and what is mounted: both must not change.
pub(crate) fn host_state() -> String {
    let mut entries: Vec<String> = fs::read_dir("/proc/sys/fs/binfmt_misc")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| fs::read_to_string(entry.path()).unwrap_or_default())
        .collect();
    entries.sort();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    format!("{}\n{mounts}", entries.join("\n"))
}
