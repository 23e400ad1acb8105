//! The needs of a test beyond a plain Linux. A test without them is counted as skipped in
//! `target/skipped.log`, or fails if `XBUILD_REQUIRE` names the missing feature.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

use super::tools::{cached, checkout, in_path, quiet, tool};
use super::user::{User, is_root};

/// Ends the test, as skipped, unless this machine meets every [`Need`] in the list:
/// `needs!(Run, Emulation, Tool("skopeo"))`.
macro_rules! needs {
    ($($need:ident $(($name:literal))?),+) => {
        if !($($crate::harness::Need::$need $(($name))? .is_met())&&+) {
            return;
        }
    };
}
pub(crate) use needs;

/// Something that not every machine has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Need {
    /// RUN steps: user namespaces, and overlayfs in them.
    Run,
    /// Foreign programs: an emulator, and a kernel with binfmt_misc for each user namespace.
    Emulation,
    /// An emulator, on any kernel.
    Emulator,
    /// A user with a range of ids.
    Range,
    /// Debian's `docker-registry`.
    Registry,
    /// A base image with apt, which takes minutes to make.
    Debian,
    /// A base image with this machine's cargo and pip.
    Managers,
    /// A folder in memory, where files are listed in the order in which they were made.
    Tmpfs,
    /// A program that joins private networks of steps to the host's, and its device.
    Pasta,
    /// The checker of SPDX's documents from PyPI.
    Spdx,
    /// The classes of OpenTelemetry's protocol from PyPI.
    Otlp,
    /// More than one processor.
    Cores,
    /// podman and buildah, for root: an ordinary user also needs settings of the machine.
    Podman,
    /// Root, and a file system whose files share their blocks, on a loop device: btrfs or xfs.
    Reflinks(&'static str),
    /// A program in PATH.
    Tool(&'static str),
}

impl Need {
    /// Returns whether this machine meets the need. If not, counts a skip.
    pub(crate) fn is_met(self) -> bool {
        match self {
            Self::Run => {
                have("userns", "user namespaces", || in_namespace("true"))
                    && have("overlay", "overlayfs in a user namespace", mounts_overlays)
            }
            Self::Emulator => have("qemu", "qemu-user-static", has_emulator),
            Self::Emulation => have("qemu", "qemu-user-static and Linux 6.7", || {
                has_emulator() && in_namespace("mount -t binfmt_misc none /proc/sys/fs/binfmt_misc")
            }),
            Self::Range => have("range", "subordinate ids", || {
                User::all().iter().any(|user| *user != User::Single)
            }),
            Self::Registry => have("registry", "docker-registry", || in_path("docker-registry")),
            Self::Debian => have("debian", "fixtures/base-images debian", || {
                cached("debian").join("index.json").exists()
            }),
            Self::Managers => have("managers", "fixtures/base-images managers", || {
                cached("managers").join("index.json").exists()
            }),
            Self::Tmpfs => have("tmpfs", "a tmpfs at /dev/shm", || {
                Path::new("/dev/shm").is_dir()
                    && tool("stat", ["-f", "-c", "%T", "/dev/shm"]).trim() == "tmpfs"
            }),
            Self::Pasta => have("pasta", "pasta, and /dev/net/tun for all users", || {
                let tun = "test $(stat -c %a /dev/net/tun) = 666";
                in_path("pasta") && quiet("sh", ["-c", tun])
            }),
            Self::Spdx => have("spdx", "fixtures/base-images spdx", || {
                // The interpreter that it stands on may be for another user.
                quiet(&cached("spdx/bin/pyspdxtools").display().to_string(), ["--help"])
            }),
            Self::Otlp => have("otlp", "fixtures/base-images otlp", || {
                let python = cached("otlp/bin/python").display().to_string();
                quiet(&python, ["-c", "import opentelemetry.proto.trace.v1.trace_pb2"])
            }),
            Self::Cores => have("cores", "a second processor", || {
                std::thread::available_parallelism().is_ok_and(|cores| cores.get() > 1)
            }),
            Self::Podman => have("podman", "podman and buildah, and root", || {
                is_root() && ["podman", "buildah"].into_iter().all(in_path)
            }),
            Self::Reflinks(kind) => {
                let what = format!("mkfs.{kind}, loop devices and root");
                have("reflinks", &what, || {
                    let mount = format!(
                        "folder=$(mktemp -d) && cd $folder && truncate -s 300M disk && mkfs.{kind} -q disk \
                         && mkdir m && mount -o loop disk m && umount m; done=$?; rm -rf $folder; exit $done"
                    );
                    is_root()
                        && in_path(&format!("mkfs.{kind}"))
                        && quiet("unshare", ["--mount", "sh", "-c", &mount])
                })
            }
            Self::Tool(name) => have(name, name, || in_path(name)),
        }
    }
}

/// Returns the answer of `check`. If that is no, counts the test as skipped because `what` is
/// missing, or fails it if `XBUILD_REQUIRE` names the feature.
pub(crate) fn have(feature: &str, what: &str, check: impl FnOnce() -> bool) -> bool {
    if check() {
        return true;
    }
    let required = std::env::var("XBUILD_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name == feature), "{feature} is required: {what}");
    static LOG: Mutex<()> = Mutex::new(());
    let _guard = LOG.lock();
    let test = std::thread::current().name().unwrap_or("?").to_owned();
    let log = checkout().join("target/skipped.log");
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

fn has_emulator() -> bool {
    in_path("qemu-aarch64-static") || cached("emulators").exists()
}

fn mounts_overlays() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let options = "lowerdir=l,upperdir=u,workdir=w,userxattr";
        let mount = format!("mkdir l u w m && mount -t overlay -o {options} none m && umount m");
        // overlayfs leaves a folder that an ordinary user cannot look into.
        in_namespace(&format!("cd {} && {mount} && rm -r l u w m", folder.path().display()))
    })
}
