//! overlayfs: one folder out of several. Files of images are seen through such mounts only.

use std::ffi::CStr;
use std::fmt::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::OnceLock;

use nix::unistd::{SysconfVar, sysconf};
use rustix::fs::{AtFlags, StatVfsMountFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags};

use super::mounts;
use crate::error::RunError;
use crate::mount::clone_of;

/// Puts all files of a mount on the same device, whichever layer they come from. Folders need no
/// such option, since they are all on one file system, but a joined mount is a file system of its
/// own. Inode numbers of its files then have a bit above the 32nd.
const XINO: (&CStr, &str) = (c"xino", "on");

/// The files below overlayfs's own folder that keep changes of a volatile mount from being mounted again.
///
/// **Source** — the kernel's documentation of overlayfs § Volatile mount.
const VOLATILE_MARKS: &[(&str, AtFlags)] = &[
    ("work/incompat/volatile/dirty", AtFlags::empty()),
    ("work/incompat/volatile", AtFlags::REMOVEDIR),
];

/// The option that adds one layer, below those before it.
const LAYER: &CStr = c"lowerdir+";

/// The place for changes.
#[derive(Debug)]
pub(crate) struct Changes {
    /// The folder that takes them.
    pub upper: OwnedFd,
    /// overlayfs's own folder, beside it.
    pub work: OwnedFd,
}

/// The layers below.
#[derive(Debug)]
pub(crate) struct Lowers {
    /// Folders, the newest first.
    pub folders: Vec<OwnedFd>,
    /// An overlay mount of the layers below them, see `helper::join`.
    pub joined: Option<OwnedFd>,
}

impl Lowers {
    /// Returns all of them, the newest first.
    fn all(&self) -> impl Iterator<Item = &OwnedFd> {
        self.folders.iter().chain(&self.joined)
    }
}

/// The way in which this kernel takes layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One call for each layer (`lowerdir+`), since Linux 6.8.
    Descriptors,
    /// One text with all of them.
    Text,
}

impl Way {
    /// Finds out, once for this process and all that it forks later, without mounting anything.
    fn of_this_kernel() -> Self {
        static WAY: OnceLock<Way> = OnceLock::new();
        *WAY.get_or_init(|| {
            let Ok(context) = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC) else {
                return Self::Text;
            };
            // A kernel that knows the option looks for the folder. Before Linux 6.5 any option is
            // taken here and refused later.
            let nowhere = c"/proc/self/fd/none";
            match rustix::mount::fsconfig_set_string(context.as_fd(), LAYER, nowhere) {
                Ok(()) | Err(Errno::INVAL | Errno::NOSYS) => Self::Text,
                Err(_) => Self::Descriptors,
            }
        })
    }
}

/// Finds out how this kernel takes layers, so that the processes that this one forks know it.
pub(crate) fn learn() {
    let _ = Way::of_this_kernel();
}

/// Mounts folders at `point`; read-only without a place for changes. It takes at least one folder,
/// and two if it is read-only. `what` names the mount in errors.
pub(crate) fn mount(
    lowers: &Lowers,
    changes: Option<&Changes>,
    point: &OwnedFd,
    what: &str,
) -> Result<(), RunError> {
    if let Some(changes) = changes {
        // The mark of an earlier mount of the same step, which may have lost what it wrote if the
        // machine crashed; then this process had ended, too.
        for (path, flags) in VOLATILE_MARKS {
            let _ = rustix::fs::unlinkat(&changes.work, *path, *flags);
        }
    }
    if Way::of_this_kernel() == Way::Text {
        return mount_by_text(lowers, changes, point, what);
    }
    match mount_by_descriptor(lowers, changes, point, what) {
        // A file system that is not the kernel's own may know the option and refuse it later. If
        // the old way fails, too, the new way has told more about it.
        Err(error @ RunError::Mount { source, .. }) if source.number() == libc::EINVAL => {
            mount_by_text(lowers, changes, point, what).map_err(|_| error)
        }
        result => result,
    }
}

/// Returns a second mount of the layers that are joined at `point`, mounted nowhere yet: only a
/// mount in a step's own namespace can be a layer there.
pub(in crate::step) fn copy(point: &Path) -> Result<OwnedFd, RunError> {
    clone_of(mounts::open_trusted(point)?, false).map_err(RunError::mount("layers (overlay)"))
}

/// Mounts overlayfs with one call for each layer, which leaves their number to the kernel's limit.
fn mount_by_descriptor(
    lowers: &Lowers,
    changes: Option<&Changes>,
    point: &OwnedFd,
    what: &str,
) -> Result<(), RunError> {
    let context = rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(RunError::mount(what))?;
    let context = context.as_fd();
    let failed = |errno: Errno| RunError::Mount {
        what: what.to_owned(),
        detail: mounts::kernel_log(context),
        source: errno.into(),
    };
    let set = |key: &CStr, fd: &OwnedFd| {
        // By descriptor, so that the names of the store's folders are neither parsed nor shown in
        // the command's list of mounts.
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        rustix::mount::fsconfig_set_string(context, key, path)
    };
    for lower in lowers.all() {
        set(LAYER, lower).map_err(failed)?;
    }
    rustix::mount::fsconfig_set_flag(context, c"userxattr").map_err(failed)?;
    if lowers.joined.is_some() {
        rustix::mount::fsconfig_set_string(context, XINO.0, XINO.1).map_err(failed)?;
    }
    if let Some(Changes { upper, work }) = changes {
        set(c"upperdir", upper).map_err(failed)?;
        set(c"workdir", work).map_err(failed)?;
        // Changes need not survive a crash, since the layer is synced when it is stored. Older
        // kernels do without the option.
        let _ = rustix::mount::fsconfig_set_flag(context, c"volatile");
    }
    rustix::mount::fsconfig_create(context).map_err(failed)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    let mount = rustix::mount::fsmount(context, flags, MountAttrFlags::empty()).map_err(failed)?;
    if let Some(Changes { work, .. }) = changes {
        check_writable(&mount, work).map_err(failed)?;
    }
    mounts::attach(&mount, point).map_err(RunError::mount(what))
}

/// Fails if a mount is read-only that should take changes: that is what the kernel makes of it if there is
/// no room for its own folder.
fn check_writable(mount: &OwnedFd, work: &OwnedFd) -> Result<(), Errno> {
    if !rustix::fs::fstatvfs(mount)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Ok(());
    }
    let below = rustix::fs::fstatvfs(work)?;
    // Some file systems count no inodes.
    let is_full = below.f_bavail == 0 || below.f_files > 0 && below.f_favail == 0;
    Err(if is_full { Errno::NOSPC } else { Errno::ROFS })
}

/// Mounts overlayfs the old way. The kernel reads one page of text and ignores the rest, so paths
/// are numbers of descriptors, relative to the folder that lists them: that leaves room for nearly a
/// thousand layers.
fn mount_by_text(
    lowers: &Lowers,
    changes: Option<&Changes>,
    point: &OwnedFd,
    what: &str,
) -> Result<(), RunError> {
    rustix::process::chdir("/proc/self/fd").map_err(RunError::mount(what))?;
    let options = options(
        lowers.all().map(AsRawFd::as_raw_fd),
        changes.map(|changes| (changes.upper.as_raw_fd(), changes.work.as_raw_fd())),
        lowers.joined.is_some(),
    );
    let volatile = format!("{options},volatile");
    let page = page_size();
    // With the NUL at the end.
    if volatile.len() >= page {
        return Err(RunError::Mount {
            what: what.to_owned(),
            detail: Some(format!(
                "the names of {} layers are longer than the {page} bytes that this kernel reads; \
                 Linux 6.8 and newer have no such limit",
                lowers.all().count()
            )),
            source: Errno::TOOBIG.into(),
        });
    }
    let target = point.as_raw_fd().to_string();
    let mount = |options: &str| {
        let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("overlay", &*target, "overlay", MountFlags::empty(), &*options)
    };
    let mounted = match changes.map(|_| mount(&volatile)) {
        // The option is new in Linux 5.10.
        None | Some(Err(Errno::INVAL)) => mount(&options),
        Some(result) => result,
    };
    mounted.map_err(|errno| RunError::Mount {
        what: what.to_owned(),
        // This way has no other place for them.
        detail: Some("the kernel's own log may say why".to_owned()),
        source: errno.into(),
    })
}

/// Returns the bytes of a memory page; the least that there is if the system does not say.
fn page_size() -> usize {
    let size = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    size.and_then(|size| usize::try_from(size).ok()).unwrap_or(4096)
}

/// Returns the options of a mount as one text. All numbers are those of descriptors; `changes` are
/// the folder of changes and overlayfs's own folder.
fn options(
    lowers: impl Iterator<Item = RawFd>,
    changes: Option<(RawFd, RawFd)>,
    is_joined: bool,
) -> String {
    let mut options = String::from("userxattr,lowerdir=");
    for (index, lower) in lowers.enumerate() {
        let colon = if index == 0 { "" } else { ":" };
        // Writing to a text cannot fail.
        let _ = write!(options, "{colon}{lower}");
    }
    if is_joined {
        let _ = write!(options, ",{}={}", XINO.0.to_string_lossy(), XINO.1);
    }
    if let Some((upper, work)) = changes {
        let _ = write!(options, ",upperdir={upper},workdir={work}");
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_names_descriptors() {
        for (lowers, changes, is_joined, text) in [
            (&[7][..], None, false, "userxattr,lowerdir=7"),
            (&[7, 12], Some((3, 4)), false, "userxattr,lowerdir=7:12,upperdir=3,workdir=4"),
            (&[9, 8], Some((3, 4)), true, "userxattr,lowerdir=9:8,xino=on,upperdir=3,workdir=4"),
        ] {
            assert_eq!(options(lowers.iter().copied(), changes, is_joined), text);
        }
    }

    #[test]
    fn five_hundred_layers_fit_into_a_page() {
        let text = options(3..503, Some((503, 504)), true);
        assert!(text.len() + ",volatile".len() < 4096, "{}", text.len());
    }
}
