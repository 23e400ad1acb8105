//! Invariant: the layer of a command's changes, put on the layers below, gives the files that the
//! command saw, whatever it did: as a tree, and as a folder of an overlay mount. Names of one file
//! stay names of one file.
//!
//! The commands run on overlay mounts of the kernel, in a user namespace of the fuzzer's own. Each
//! input is a list of commands: up to three layers, each of up to 24 operations.

#![no_main]

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use arbitrary::{Arbitrary, Unstructured};
use libfuzzer_sys::fuzz_target;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::thread::UnshareFlags;
use xbuild_files::Root;
use xbuild_files::diff::{DiffOptions, diff};
use xbuild_files::unpack::unpack;
use xbuild_layer::{ContentHash, ContentHasher, Kind, LayerIndex, LayerReader, LayerWriter, Tree};
use xbuild_model::records::Owners;

/// The folder that gets a file system of its own. It is there on every Linux.
const PLACE: &str = "/mnt";

/// The layers of an input, and the operations of a layer, at most.
const MAX_LAYERS: usize = 3;
const MAX_OPERATIONS: usize = 24;

/// A path of one to three parts, each one of three names.
#[derive(Debug, Arbitrary)]
struct Name(u8);

impl Name {
    fn at(&self, top: &Path) -> PathBuf {
        let part = |shift: u8| ["a", "b", "c"].get(usize::from(self.0 >> shift & 3)).copied();
        let deeper = [part(2), part(4)].into_iter().map_while(|part| part);
        deeper.fold(top.join(part(0).unwrap_or("a")), |path, part| path.join(part))
    }
}

#[derive(Debug, Arbitrary)]
enum Operation {
    Folder(Name, u8),
    Write(Name, u8),
    Append(Name),
    Symlink(Name, Name),
    Link(Name, Name),
    Rename(Name, Name),
    Exchange(Name, Name),
    Remove(Name),
    RemoveTree(Name),
    Mode(Name, u8),
    Time(Name, u8),
    Attribute(Name, u8),
    Pipe(Name),
    /// Removes a tree and makes an empty folder in its place.
    Anew(Name, Name),
}

impl Operation {
    /// Does it, as a command might: an error of the kernel is the command's.
    fn perform(&self, top: &Path) -> Option<()> {
        match self {
            Self::Folder(name, mode) => {
                fs::create_dir(name.at(top)).ok()?;
                set_mode(&name.at(top), *mode)
            }
            Self::Write(name, byte) => {
                let text = vec![*byte; usize::from(byte % 5)];
                no_pipe(name.at(top)).and_then(|path| fs::write(path, text).ok())
            }
            Self::Append(name) => {
                let path = no_pipe(name.at(top))?;
                File::options().append(true).open(path).ok()?.write_all(b"x").ok()
            }
            Self::Symlink(name, target) => symlink(target.at(Path::new("")), name.at(top)).ok(),
            Self::Link(name, old) => fs::hard_link(old.at(top), name.at(top)).ok(),
            Self::Rename(old, new) => fs::rename(old.at(top), new.at(top)).ok(),
            Self::Exchange(one, other) => {
                let flags = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(CWD, one.at(top), CWD, other.at(top), flags).ok()
            }
            Self::Remove(name) => fs::remove_file(name.at(top)).ok(),
            Self::RemoveTree(name) => fs::remove_dir_all(name.at(top)).ok(),
            Self::Mode(name, mode) => set_mode(&name.at(top), *mode),
            Self::Time(name, secs) => {
                let time = Timespec { tv_sec: i64::from(*secs), tv_nsec: 0 };
                let times = Timestamps { last_access: time, last_modification: time };
                rustix::fs::utimensat(CWD, name.at(top), &times, AtFlags::SYMLINK_NOFOLLOW).ok()
            }
            Self::Attribute(name, value) => {
                let path = name.at(top);
                match value {
                    0 => rustix::fs::lremovexattr(path, "user.note").ok(),
                    _ => rustix::fs::lsetxattr(path, "user.note", &[*value], XattrFlags::empty())
                        .ok(),
                }
            }
            Self::Pipe(name) => {
                let mode = Mode::from_raw_mode(0o640);
                rustix::fs::mknodat(CWD, name.at(top), FileType::Fifo, mode, 0).ok()
            }
            Self::Anew(name, child) => {
                fs::remove_dir_all(name.at(top)).ok()?;
                fs::create_dir(name.at(top)).ok()?;
                fs::write(name.at(top).join(child.at(Path::new("")).file_name()?), "anew").ok()
            }
        }
    }
}

/// Sets a mode that leaves the owner all rights: the fuzzer lists everything as the owner.
fn set_mode(path: &Path, mode: u8) -> Option<()> {
    let bits = u32::from(mode & 0o77) | 0o700 | u32::from(mode >> 6) << 10;
    let is_link = fs::symlink_metadata(path).ok()?.is_symlink();
    if is_link { None } else { fs::set_permissions(path, Permissions::from_mode(bits)).ok() }
}

/// Returns the path if opening it does not wait for another process.
fn no_pipe(path: PathBuf) -> Option<PathBuf> {
    use std::os::unix::fs::FileTypeExt;
    let is_pipe = fs::metadata(&path).is_ok_and(|meta| meta.file_type().is_fifo());
    (!is_pipe).then_some(path)
}

/// The facts about a file that a layer keeps.
#[derive(Debug, PartialEq)]
struct Fact {
    kind: Kind,
    mode: u32,
    secs: i64,
    content: Option<ContentHash>,
    note: Option<Vec<u8>>,
    /// The number of the file: names of one file have one number.
    file: usize,
}

/// The files below a folder, without the folder.
type Facts = BTreeMap<PathBuf, Fact>;

/// Gives numbers to things in the order in which they are first met.
fn number<K: Eq + std::hash::Hash>(known: &mut HashMap<K, usize>, key: K) -> usize {
    let next = known.len();
    *known.entry(key).or_insert(next)
}

/// Returns the files below a folder of this machine.
fn of_folder(top: &Path) -> Facts {
    let (mut facts, mut inodes) = (Facts::new(), HashMap::new());
    let mut pending = vec![top.to_owned()];
    while let Some(path) = pending.pop() {
        let meta = fs::symlink_metadata(&path).expect("the file is there");
        if meta.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path)
                .expect("the folder can be listed")
                .map(|entry| entry.expect("the folder can be listed").path())
                .collect();
            names.sort_unstable_by(|a, b| b.cmp(a));
            pending.extend(names);
        }
        let name = path.strip_prefix(top).expect("it is below").to_owned();
        if name.as_os_str().is_empty() {
            continue;
        }
        let mut content = None;
        let kind = if meta.is_dir() {
            Kind::Dir
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).expect("the link can be read");
            Kind::Symlink { target: target.into_os_string().into_encoded_bytes() }
        } else if meta.is_file() {
            let bytes = fs::read(&path).expect("the file can be read");
            let mut hasher = ContentHasher::new(bytes.len() as u64);
            hasher.update(&bytes);
            content = Some(hasher.finish().hash);
            Kind::File { size: meta.len() }
        } else {
            Kind::Fifo
        };
        let mut value = [0; 8];
        let note = rustix::fs::lgetxattr(&path, "user.note", &mut value).ok();
        let mode = if meta.is_symlink() { 0o777 } else { meta.mode() & 0o7777 };
        let file = number(&mut inodes, (meta.dev(), meta.ino()));
        let note = note.map(|length| value[..length].to_vec());
        facts.insert(name, Fact { kind, mode, secs: meta.mtime(), content, note, file });
    }
    facts
}

/// Returns the files of a tree.
fn of_tree(tree: &Tree) -> Facts {
    let (mut facts, mut inodes) = (Facts::new(), HashMap::new());
    for (path, node) in tree.walk(b"").filter(|(path, _)| !path.is_empty()) {
        let note = node.meta.xattrs.iter().find(|(name, _)| name == b"user.note");
        let implied = node.position.is_none().then(|| path.clone());
        let fact = Fact {
            kind: node.kind.clone(),
            mode: if matches!(node.kind, Kind::Symlink { .. }) { 0o777 } else { node.meta.mode },
            secs: node.meta.mtime.secs,
            content: node.content,
            note: note.map(|(_, value)| value.clone()),
            file: number(&mut inodes, (node.layer, node.position, implied)),
        };
        let path = String::from_utf8(path).expect("names are text");
        facts.insert(path.into(), fact);
    }
    facts
}

/// An overlay mount, until it is dropped.
struct Overlay(PathBuf);

impl Overlay {
    /// Mounts folders, newest first; the first one takes the changes if there is a folder for work.
    fn mount(place: &Path, folders: &[PathBuf], work: Option<&Path>) -> Self {
        let point = place.join("merged");
        fs::create_dir_all(&point).expect("the file system is ours");
        let (upper, lowers) = match work {
            Some(_) => (folders.first(), &folders[1..]),
            None => (None, folders),
        };
        let lowers: Vec<_> = lowers.iter().map(|path| path.to_string_lossy()).collect();
        let mut options = format!("userxattr,lowerdir={}", lowers.join(":"));
        if let (Some(upper), Some(work)) = (upper, work) {
            fs::create_dir_all(work).expect("the file system is ours");
            options += &format!(",upperdir={},workdir={}", upper.display(), work.display());
            options += ",volatile";
        }
        let options = std::ffi::CString::new(options).expect("paths have no NUL");
        rustix::mount::mount("overlay", &point, "overlay", MountFlags::empty(), &*options)
            .expect("the kernel mounts overlays in a user namespace, as xbuild needs");
        Self(point)
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, UnmountFlags::DETACH).expect("the mount is ours");
    }
}

fn set_up() {
    let (uid, gid) = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNS;
    // SAFETY: the fuzzer has no thread yet, and no file descriptor tables are unshared.
    unsafe { rustix::thread::unshare_unsafe(flags) }.expect("users may make user namespaces");
    fs::write("/proc/self/setgroups", "deny").expect("/proc is mounted");
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).expect("one's own id may be mapped");
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).expect("one's own id may be mapped");
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .expect("mounts in a namespace may be made private");
    rustix::mount::mount("tmpfs", PLACE, "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>)
        .expect("a user namespace may mount a file system in memory");
    rustix::process::umask(Mode::from_raw_mode(0o022));
}

fn layer_of(upper: &Path, lowers: &[PathBuf]) -> Vec<u8> {
    let open = |path: &PathBuf| Root::open(path).expect("the folder is there");
    let lowers: Vec<Root> = lowers.iter().map(open).collect();
    let upper = Root::open(upper).expect("the folder is there");
    let stat = upper.stat(b"").expect("the folder is there");
    let options = DiffOptions { root: (stat.mode, stat.uid, stat.gid), ..DiffOptions::default() };
    let mut writer = LayerWriter::new(Vec::new());
    diff(&upper, &lowers, &mut writer, &options).expect("the changes are a layer");
    writer.finish().expect("a list takes all bytes")
}

fn run(input: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let place = Path::new(PLACE).join("input");
    fs::create_dir(&place).expect("the file system is ours");
    let empty = place.join("empty");
    fs::create_dir(&empty).expect("the file system is ours");
    let (mut lowers, mut tree) = (vec![empty], Tree::empty());
    for number in 0..MAX_LAYERS {
        let upper = place.join(format!("{number}"));
        fs::create_dir(&upper).expect("the file system is ours");
        let folders = [&[upper.clone()], &lowers[..]].concat();
        let overlay = Overlay::mount(&place, &folders, Some(&place.join(format!("work{number}"))));
        let count = input.int_in_range(1..=MAX_OPERATIONS)?;
        for _ in 0..count {
            Operation::arbitrary(input)?.perform(&overlay.0);
        }
        drop(overlay);
        // A mount keeps the inode number of a symbolic link that it copied up, and gives new names of it
        // another one. A new mount does not.
        let folders = [&[upper.clone()], &lowers[..]].concat();
        let overlay = Overlay::mount(&place, &folders, None);
        let expected = of_folder(&overlay.0);
        drop(overlay);

        let bytes = layer_of(&upper, &lowers);
        let index = LayerIndex::of_tar(&bytes[..]).expect("our own layer reads");
        tree = tree.apply(u32::try_from(number).expect("few layers"), &index);
        assert_eq!(of_tree(&tree), expected, "the tree");

        let unpacked = place.join(format!("unpacked{number}"));
        fs::create_dir(&unpacked).expect("the file system is ours");
        let root = Root::open(&unpacked).expect("the folder is there");
        unpack(LayerReader::new(&bytes[..]), &root, Owners::Recorded).expect("the layer unpacks");
        let folders = [&[unpacked.clone()], &lowers[..]].concat();
        let overlay = Overlay::mount(&place, &folders, None);
        assert_eq!(of_folder(&overlay.0), expected, "the folder");
        drop(overlay);

        // The next command stands on the changed folder itself, or on the unpacked layer.
        lowers.insert(0, if bool::arbitrary(input)? { upper } else { unpacked });
        if input.is_empty() {
            break;
        }
    }
    Ok(())
}

fuzz_target!(init: set_up(), |input: &[u8]| {
    let _ = run(&mut Unstructured::new(input));
    fs::remove_dir_all(Path::new(PLACE).join("input")).expect("the file system is ours");
});
