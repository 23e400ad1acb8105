//! The seams of the pipeline: traits between `solve`, which walks the graph, and the stages that
//! do the work. The implementers never see `solve`, nor each other; `build` wires them.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::file_op::{CopyOrigin, FileOp};
use crate::owner::{IdCounts, Owner};
use crate::records::{Owners, Records};
use crate::remote::RemoteSource;
use crate::rootfs::{RootFs, RootKind};
use crate::run::{ReadyMount, ReadySource, RunRequest, SecretBytes, Sharing};
use crate::{
    BlobSource, Chain, Descriptor, DiffId, Digest, ImageLayer, Platform, StepFailure, StepRecord,
};

/// Opens blobs that are somewhere else. Implemented by `registry`.
pub trait Blobs: Send + Sync {
    /// Opens a blob that is at `source` for reading from byte `offset` to its end.
    ///
    /// The reader retries and resumes by itself. It does *not* verify the bytes: the caller compares
    /// digest and size before it publishes anything.
    fn open(
        &self,
        blob: &Descriptor,
        source: &BlobSource,
        offset: u64,
    ) -> Result<Box<dyn Read + Send>, StepFailure>;

    /// Takes note that the bytes of a blob, read to their end, were not those that its digest names.
    /// Returns whether they came from a mirror, which is not asked for this blob again: then another
    /// attempt reads the blob elsewhere.
    fn distrust(&self, _blob: &Descriptor) -> bool {
        false
    }
}

/// Remembers the results of steps. Implemented by `store`; a registry can be another cache.
///
/// A key says everything that a result depends on ([`StepRecord`] is the value), so an answer never
/// expires and it does not matter which build recorded it.
pub trait StepCache: Send + Sync {
    /// Returns the results recorded under `keys`.
    ///
    /// Keys that are known at the same time are asked for together, so that an implementation
    /// with round trips needs one for all of them. An answer moves no layer: the layers of a result
    /// may be elsewhere, as long as [`Snapshots::has_layer`] knows where. A cache of such
    /// layers makes their origins known ([`Snapshots::add_image`]) before it answers.
    ///
    /// **Shape** — as many answers as keys, in their order; `None` for a key without a result.
    ///
    /// **Errors** — only if the cache cannot tell. A record that is damaged, or that another version
    /// wrote, is a miss.
    fn find(&self, keys: &[Digest]) -> Result<Vec<Option<StepRecord>>, StepFailure>;

    /// Records the result of a step under its key. Its layers are known to [`Snapshots`].
    ///
    /// **Errors** — the result is not recorded. A cache that a build can do without reports its
    /// failures by itself and returns none.
    fn remember(&self, key: &Digest, result: &StepRecord) -> Result<(), StepFailure>;
}

/// Keeps what each step was made of when it last ran, so that a step that runs again can say why.
/// Implemented by `store`. Only messages depend on it.
pub trait LastRuns: Send + Sync {
    /// Returns the bytes that were kept for the step in the place `place`; `None` if there are none,
    /// or if they are damaged.
    fn last_run(&self, place: &Digest) -> Result<Option<Vec<u8>>, StepFailure>;

    /// Keeps bytes for the step in the place `place`, instead of those that it had. They may
    /// be lost if two builds do so at the same time.
    fn keep_run(&self, place: &Digest, step: &[u8]) -> Result<(), StepFailure>;
}

/// Makes layers. Implemented by `snapshot`.
pub trait Snapshots: Send + Sync {
    /// Makes the layers of an image known; nothing is pulled until something needs its bytes.
    fn add_image(&self, layers: &[ImageLayer]);

    /// Returns the content key of [`select`](Self::select) without selecting, if everything that the
    /// step looks at is unchanged.
    fn recall(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<Option<Digest>, StepFailure>;

    /// Returns whether [`select`](Self::select) would pull nothing: whether every layer that it
    /// would look at was indexed before.
    fn selects_without_pulling(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<bool, StepFailure>;

    /// Works out the files that a COPY, ADD or WORKDIR on top of `parent` would write. For that the
    /// origin's files are hashed, and the layers below are indexed.
    fn select(
        &self,
        parent: &Chain,
        op: &FileOp,
        origin: Option<&CopyOrigin>,
    ) -> Result<Box<dyn Selection>, StepFailure>;

    /// Makes a writable root file system on top of `parent`, and unpacks layers as needed.
    fn prepare(&self, parent: &Chain) -> Result<Box<dyn Workspace>, StepFailure>;

    /// Makes the files of `chain` ready for a mount. Layers are unpacked as needed. If a step may
    /// write there, its changes are thrown away.
    fn mount_files(
        &self,
        chain: &Chain,
        writable: bool,
    ) -> Result<Box<dyn MountFiles>, StepFailure>;

    /// Returns a cache folder, made and seeded if it is new. It is in use, shared as the request says,
    /// until the result is dropped.
    fn cache_folder(&self, request: &CacheRequest<'_>)
    -> Result<Box<dyn CacheFolder>, StepFailure>;

    /// Returns whether the layer can be used later: its blob is in the store or at a known origin. A
    /// cached result whose layer is gone does not count.
    fn has_layer(&self, layer: &DiffId) -> bool;
}

/// The files of a stack of layers, ready for a mount until this is dropped.
pub trait MountFiles: Send {
    /// Returns the source of a mount of the file or folder at `path`, an absolute path in them.
    fn source(&self, path: &str) -> ReadySource;

    /// Returns the files at and below `path` that [`ReadyMount::special`] lists.
    ///
    /// [`ReadyMount::special`]: crate::run::ReadyMount::special
    fn special(&self, _path: &str) -> Vec<(Vec<u8>, Owner)> {
        Vec::new()
    }
}

/// The cache folder that a step asks for.
#[derive(Debug, Clone)]
pub struct CacheRequest<'a> {
    /// Its name; together with owner and mode its identity.
    pub id: String,
    /// The way to share it.
    pub sharing: Sharing,
    /// The mode of a new one.
    pub mode: u32,
    /// The owner of a new one, as numbered inside the image.
    pub uid: u32,
    /// The group of a new one, as numbered inside the image.
    pub gid: u32,
    /// The first contents of a new one: layers, and an absolute path in them.
    pub seed: Option<(&'a Chain, &'a str)>,
}

/// A cache folder in use. Dropping it frees it for others.
pub trait CacheFolder: Send {
    /// Returns its path.
    fn path(&self) -> &std::path::Path;
}

/// Fetches files that are neither in an image nor on this machine. Implemented by `source`.
pub trait Sources: Send + Sync {
    /// Returns a folder with the files: for [`crate::remote::HttpSource`] the one file under its
    /// name, with mode 0600 and the time that the server gave; for a repository the files of the
    /// commit, with modes 0644 and 0755 and its time.
    ///
    /// Nobody changes the folder while this process lives. The same source is asked for once.
    fn fetch(&self, source: &RemoteSource) -> Result<PathBuf, StepFailure>;
}

/// Knows the secrets and agents of the command line. Implemented by `build`.
pub trait Secrets: Send + Sync {
    /// Returns the value of a secret, `None` if it was not given.
    fn secret(&self, id: &str) -> Result<Option<SecretBytes>, StepFailure>;

    /// Returns the socket of an SSH agent, `None` if it was not given.
    fn agent(&self, id: &str) -> Result<Option<PathBuf>, StepFailure>;
}

/// The uses of a new layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Purpose {
    /// A RUN will stand on it, so it is unpacked while it is written.
    pub folder: bool,
    /// It is a layer of an image that the build makes.
    pub result: bool,
}

/// The files that a COPY, ADD or WORKDIR is about to write.
pub trait Selection: Send {
    /// Returns the content key: a hash of the destination and of names, kinds, modes, owners, bytes
    /// and links of the files; not of modification times.
    fn key(&self) -> &Digest;

    /// Returns whether there is nothing to write. Then no layer is made.
    fn is_empty(&self) -> bool;

    /// Calls `visit` for each file but folders, so that a later build can tell which files changed:
    /// with a name and the first 8 bytes of a hash of kind, mode, contents, attributes and link
    /// target; not of owner and times.
    ///
    /// **Shape** — files from a build context are named by their path there. So is an archive that is
    /// unpacked, which is visited once for each of its files. All other files are named by their path
    /// in the image, with a leading slash. In no order.
    fn files(&self, visit: &mut dyn FnMut(&[u8], u64));

    /// Writes the layer and returns its diff ID.
    fn commit(self: Box<Self>, purpose: Purpose) -> Result<DiffId, StepFailure>;
}

/// A writable root file system. Dropping it throws its changes away.
pub trait Workspace: Send {
    /// Returns its folders.
    fn root(&self) -> &RootFs;

    /// Makes a layer of the changed files, with the records of the command that changed them. A
    /// command on top of it finds its files unpacked in any case.
    fn commit(self: Box<Self>, records: Records, purpose: Purpose) -> Result<DiffId, StepFailure>;
}

/// Runs commands. Implemented by `exec`.
pub trait Runner: Send + Sync {
    /// Runs a command on the root file system, with `mounts` in place of those that the request
    /// names, and waits for it. Outer targets are mounted before inner ones, in whatever order they
    /// are given. Each line of output, without its line end, goes to `output` at once; lines of
    /// standard output and standard error come in the order in which they were written. Returns the
    /// records that the step's layer needs. `below` are the layers that the root stands on.
    ///
    /// **Errors** — kind `Step` if the command failed, `Environment` if it could not be started.
    fn run(
        &self,
        root: &RootFs,
        request: &RunRequest,
        mounts: &[ReadyMount],
        below: &Chain,
        output: &dyn Output,
    ) -> Result<Records, StepFailure>;

    /// Returns whether programs of the platform need an emulator here, which makes steps slow.
    fn is_emulated(&self, platform: &Platform) -> bool;
}

/// Takes the output of a command.
pub trait Output: Sync {
    /// Takes one line, which may hold any bytes. If it `redraws`, a carriage return ended the line
    /// before, whose place it would take on a terminal.
    fn line(&self, line: &[u8], redraws: bool);

    /// Takes a remark of the runner about the step. It is shown like a line unless this is
    /// implemented.
    fn note(&self, note: &str) {
        self.line(note.as_bytes(), false);
    }

    /// Takes the numbers of programs that the step started natively, and under an emulator.
    fn programs(&self, _natively: u64, _emulated: u64) {}
}

/// Does tasks inside the build's user namespace, where files of other owners can be made and read.
/// Implemented by `exec`, used by `snapshot`. Started on the first call.
pub trait Namespace: Send + Sync {
    /// Runs the task `name` in a process of its own inside the namespace.
    ///
    /// `request` and the answer are JSON; `fds` are handed over. Returns at once: the caller
    /// feeds the pipes and then waits.
    fn start(
        &self,
        name: &'static str,
        request: Vec<u8>,
        fds: Vec<OwnedFd>,
    ) -> Result<Box<dyn PendingTask>, StepFailure>;

    /// Returns the name of the id map in use, a safe folder name: unpacked layers of one map
    /// cannot be used under another.
    fn map_name(&self) -> Result<String, StepFailure>;

    /// Returns where the owners of files are kept.
    fn owners(&self) -> Result<Owners, StepFailure>;

    /// Returns how many users and groups exist.
    fn id_counts(&self) -> Result<IdCounts, StepFailure> {
        Ok(IdCounts { users: u32::MAX, groups: u32::MAX })
    }

    /// Returns the kind of root file system that the runner of this build can enter.
    fn root_kind(&self) -> Result<RootKind, StepFailure>;

    /// Mounts unpacked layers, the *newest* first and at least two, read-only at `point`, an empty
    /// folder of this process. Only the namespace sees the mount. It ends when this process removes
    /// the folder.
    ///
    /// **Errors** — also if the kernel refuses the mount as a layer of another mount. The caller then
    /// removes the folder.
    fn join(&self, lowers: &[PathBuf], point: &Path) -> Result<(), StepFailure>;
}

/// A task that was started.
pub trait PendingTask: Send {
    /// Waits for the answer.
    fn wait(self: Box<Self>) -> Result<Vec<u8>, StepFailure>;
}
