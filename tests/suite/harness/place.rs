//! A folder with a build context, a user, and a home and a store of that user's own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{AtFlags, CWD, linkat};

use super::finished::Finished;
use super::tools::{cached, found_in_path, program, tool};
use super::user::{User, ids_of};
use crate::image::{self, Image};

/// The time of the files in every build context, so that the same files give the same layers in
/// every [`Place`]: 2020-06-01, in seconds since the epoch.
const CHANGED: u64 = 1_590_969_600;

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
        // An ordinary user may not be allowed to read the checkout.
        link_or_copy(&program(), &place.path().join("xbuild"));
        for programs in ["emulators", "tools"].iter().filter(|name| cached(name).exists()) {
            link_folder(&cached(programs), &place.path().join(programs), 0o755);
        }
        for (name, mode) in [("home", 0o755), ("context", 0o755), ("out", 0o777)] {
            fs::create_dir(place.path().join(name)).unwrap();
            open_up(&place.path().join(name), mode);
        }
        if let Some(name) = user.name() {
            let (user, group) = ids_of(name);
            chown(place.path().join("home"), Some(user), Some(group)).unwrap();
        }
        place
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns a path below `out`, a folder that everybody may write to.
    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.path().join("out").join(name)
    }

    /// Returns the folder of the build context.
    pub(crate) fn context(&self) -> PathBuf {
        self.path().join("context")
    }

    /// Returns the folder of the store.
    pub(crate) fn store(&self) -> PathBuf {
        self.path().join("home/data/xbuild")
    }

    /// Writes a file of the build context, with a fixed time.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.context().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        self.touch(name, CHANGED)
    }

    /// Writes the Dockerfile. Its lines may be indented like the test around them: all lose the
    /// indentation of the first one.
    pub(crate) fn dockerfile(&self, text: &str) -> &Self {
        let text = text.strip_prefix('\n').unwrap_or(text);
        let indentation = text.len() - text.trim_start_matches(' ').len();
        let line = |line: &str| {
            let indentation = indentation.min(line.len() - line.trim_start_matches(' ').len());
            format!("{}\n", &line[indentation..])
        };
        self.write("Dockerfile", text.lines().map(line).collect::<String>())
    }

    /// Sets the time of a file of the build context and of the folders above it, in seconds since the
    /// epoch.
    pub(crate) fn touch(&self, name: &str, time: u64) -> &Self {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(time);
        for path in Path::new(name).ancestors() {
            let file = fs::File::open(self.context().join(path)).unwrap();
            file.set_modified(time).unwrap();
        }
        self
    }

    /// Puts a base image of `fixtures/base-images` where the user can read it, and returns it as
    /// `NAME=oci-layout://..`, as `--build-context` takes it.
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
                // Named by its path, since a test may give the command another PATH.
                let mut command = Command::new(found_in_path("setpriv"));
                command.args([
                    "--reuid",
                    name,
                    "--regid",
                    &ids_of(name).1.to_string(),
                    "--init-groups",
                ]);
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

    /// Returns the value of PATH that commands of this place have: this machine's, and the programs
    /// that were fetched for the tests.
    pub(crate) fn search_path(&self) -> OsString {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let fetched = ["emulators", "tools"].map(|name| self.path().join(name));
        std::env::join_paths(std::env::split_paths(&path).chain(fetched)).unwrap()
    }

    /// Returns the arguments that build the context on the base image busybox; `more` are further
    /// ones.
    pub(crate) fn build_args(&self, more: &[&str]) -> Vec<OsString> {
        let base = self.base("busybox");
        let args = ["build", "--progress", "plain", "--build-context", &base];
        let args = args.iter().chain(more).map(OsString::from);
        args.chain([self.context().into_os_string()]).collect()
    }

    /// Runs `xbuild ARGS`.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Finished {
        Finished::run(self.xbuild(args))
    }

    /// Builds the context on the base image busybox.
    pub(crate) fn build(&self, more: &[&str]) -> Finished {
        self.run(self.build_args(more))
    }

    /// Builds the context, which must succeed, verifies the images and returns them.
    #[track_caller]
    pub(crate) fn images(&self, more: &[&str]) -> Vec<Image> {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let layout = self.out(&format!("image-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        self.build(&[more, &["--output", &to_layout(&layout)]].concat()).ok();
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
        // xbuild removes files of subordinate ids, which the user cannot remove.
        let _ = self.xbuild(["prune", "--all"]).output();
    }
}

/// Returns the value of `--output` for an OCI layout in a new folder.
pub(crate) fn to_layout(folder: &Path) -> String {
    format!("type=oci,tar=false,dest={}", folder.display())
}

fn open_up(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Puts the files of a folder into a new one that everybody can read; the files get `mode`.
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

/// Makes a hard link, or a copy on another file system: one for all places that are there at a time.
fn link_or_copy(from: &Path, to: &Path) {
    static COPIES: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());
    if fs::hard_link(from, to).is_ok() {
        return;
    }
    let mut copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(copy) = copies.get(from) {
        let link = format!("/proc/self/fd/{}", copy.as_raw_fd());
        // It fails if the last place with the copy has gone.
        if linkat(CWD, link, CWD, to, AtFlags::SYMLINK_FOLLOW).is_ok() {
            return;
        }
    }
    // Another process copies: a file that this process has open for writing cannot be executed, and a
    // process that another thread starts meanwhile keeps it open.
    tool("cp", [from, to]);
    copies.insert(from.to_owned(), File::open(to).unwrap());
}
