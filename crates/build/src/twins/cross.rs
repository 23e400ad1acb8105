//! Cross compilers for emulated steps, from the archive of the base image's distribution.
//!
//! A command in the base image's sibling fetches them, with the package manager's own checks. They are kept
//! in the store for a day: an archive gets new versions.

use std::io::{self, Read as _};
use std::path::Path;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::FileType;
use xbuild_exec::Sandbox;
use xbuild_exec::emulator::Emulator;
use xbuild_exec::twins::cross::{self, Fetched, FetchedFiles};
use xbuild_exec::twins::{ImageFiles as _, SetFile, StepTwins, TwinSet};
use xbuild_files::Root;
use xbuild_model::run::{Network, ReadyMount, ReadySource, RunRequest, Security};
use xbuild_model::seam::{Output, Snapshots as _};
use xbuild_model::{Digest, FailureKind, ResolvedImage, StepFailure};
use xbuild_snapshot::Engine;
use xbuild_wording::hints;

use super::sibling::{ByBase, chain, sibling};
use super::tail::Tail;
use super::{contents, files};
use crate::build::Build;
use crate::events::{Event, Warning};
use crate::tools::Tools;

/// The place where the command that fetches them writes to.
const OUT: &str = "/run/xbuild-cross";
const DAY: u64 = 24 * 60 * 60;
/// The program without which there is no archive to fetch from.
const APT: &str = "usr/bin/apt-get";
/// The reason if there is no ground for twins.
const NO_GROUND: &str =
    "programs run natively on base images alone, with a binfmt_misc of the build's own";
/// The variables of a step that the command gets, whatever their case.
const PROXIES: [&str; 5] = ["http_proxy", "https_proxy", "ftp_proxy", "all_proxy", "no_proxy"];
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The most bytes of a file that is taken; compilers have a sixth of that.
const MAX_FILE: u64 = 256 << 20;
/// The most files, and folders in folders.
const MAX_FILES: usize = 1000;
const MAX_DEPTH: usize = 16;

/// The cross compilers of an image cannot be had.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("--emulation cross: the compilers of {image} cannot run natively: {source}")]
    Refused { image: String, source: cross::CrossError },
    #[error("--emulation cross: the cross compilers of {image} cannot be fetched: {source}")]
    Fetch { image: String, source: StepFailure },
}

/// The cross compilers of a build.
pub(super) struct Compilers<'a> {
    build: &'a Build,
    engine: &'a Engine,
    sandbox: &'a Sandbox,
    /// Those of base images, each fetched once.
    found: ByBase<Result<Option<StepTwins>, StepFailure>>,
    /// Done when the user was told why no step has any.
    told: OnceLock<()>,
}

impl<'a> Compilers<'a> {
    pub(super) fn new(build: &'a Build, tools: &'a Tools) -> Self {
        let Tools { engine, sandbox, .. } = tools;
        Self { build, engine, sandbox, found: ByBase::default(), told: OnceLock::new() }
    }

    /// Returns those for an emulated step with this base image and an emulator that can have twins; `None`
    /// with a warning if there are none. The first step of an image looks for them, others wait.
    pub(super) fn of_step(
        &self,
        ground: Option<(&ResolvedImage, &Emulator)>,
        request: &RunRequest,
        output: &dyn Output,
    ) -> Result<Option<StepTwins>, StepFailure> {
        let Some((base, emulator)) = ground else {
            self.told.get_or_init(|| self.warn(None, NO_GROUND));
            return Ok(None);
        };
        self.found.get(base, || self.find(base, emulator, request, output))
    }

    fn find(
        &self,
        base: &ResolvedImage,
        emulator: &Emulator,
        request: &RunRequest,
        output: &dyn Output,
    ) -> Result<Option<StepTwins>, StepFailure> {
        let (image, platform) = (&base.name, &base.platform);
        let without = |reason| {
            self.warn(Some(image), reason);
            Ok(None)
        };
        let Some(names) = cross::arguments(emulator.arch) else {
            return without("no distribution that is known here has compilers for its platform");
        };
        let Some(sibling) = sibling(self.build, base)? else {
            return without("its index has no image for this machine");
        };
        let found = files::kept(&self.build.store, &key(&sibling, emulator), |fetched| {
            self.engine.add_image(&sibling.layers);
            let tree = self.engine.tree(&chain(&sibling))?;
            if contents::Files(&tree).find(APT).is_none() {
                return Ok(None);
            }
            output.note(&format!("cross: fetching the cross compilers of {image}"));
            self.fetch(&sibling, names, fetched, request, output)?;
            make(image, emulator, fetched).map(Some)
        })?;
        let Some(StepTwins { folder, set }) = found else {
            return without("its distribution has no apt");
        };
        self.sandbox.register_twins(&folder, &set)?;
        let names: Vec<&str> =
            set.twins.iter().filter_map(|twin| twin.path.rsplit('/').next()).collect();
        self.build.events.event(Event::Compilers { image, platform, names: &names });
        Ok(Some(StepTwins { folder, set }))
    }

    fn warn(&self, image: Option<&String>, reason: &'static str) {
        let warning = Warning::NoCompilers { image: image.cloned(), reason };
        self.build.events.event(Event::Warning(&warning));
    }

    /// Fetches the compilers into a folder.
    fn fetch(
        &self,
        sibling: &ResolvedImage,
        names: [&str; 3],
        folder: &Path,
        step: &RunRequest,
        output: &dyn Output,
    ) -> Result<(), StepFailure> {
        let workspace = self.engine.prepare(&chain(sibling))?;
        let command = ["/bin/sh", "-c", cross::SCRIPT, "fetch", OUT].into_iter().chain(names);
        let is_proxy =
            |(name, _): &&(String, String)| PROXIES.contains(&&*name.to_ascii_lowercase());
        let path = ("PATH".to_owned(), PATH.to_owned());
        let request = RunRequest {
            argv: command.map(str::to_owned).collect(),
            env: step.env.iter().filter(is_proxy).cloned().chain([path]).collect(),
            cwd: "/".to_owned(),
            user: String::new(),
            platform: sibling.platform.clone(),
            network: match step.network {
                Network::None => Network::Default,
                network => network,
            },
            security: Security::Sandbox,
            scripts: Vec::new(),
            mounts: Vec::new(),
            ..step.clone()
        };
        let source = ReadySource::Volume { path: folder.to_owned(), writable: true };
        let out = ReadyMount { target: OUT.to_owned(), source, special: Vec::new() };
        let tail = Tail::default();
        let done = self.sandbox.run_with(workspace.root(), &request, &[out], Vec::new(), &tail);
        done.map(drop).map_err(|source| {
            tail.show("cross: the last lines of the command that fetches the compilers:", output);
            let (kind, image) = (source.kind(), sibling.name.clone());
            StepFailure::new(kind, Error::Fetch { image, source })
        })
    }
}

/// Returns the key of the set in the store, which is another one every day.
fn key(sibling: &ResolvedImage, emulator: &Emulator) -> Digest {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (version, script) = (xbuild_exec::twins::version(), Digest::of(cross::SCRIPT.as_bytes()));
    let (image, emulator) = (&sibling.manifest.digest, &emulator.digest);
    Digest::of(format!("cross {version} {script} {image} {emulator} {}", now / DAY).as_bytes())
}

/// Makes the set from the files that were fetched.
fn make(
    image: &str,
    emulator: &Emulator,
    folder: &Path,
) -> Result<(TwinSet, Vec<SetFile>), StepFailure> {
    let files = Root::open(folder).and_then(|root| fetched(&root));
    let files = files.map_err(|error| StepFailure::new(FailureKind::Internal, error))?;
    let program = emulator.bytes().map_err(|e| StepFailure::new(FailureKind::Environment, e))?;
    cross::make(emulator.arch, &files, program).map_err(|source| {
        let error = Error::Refused { image: image.to_owned(), source };
        StepFailure::new(FailureKind::User, error).with_hint(hints::without_cross())
    })
}

/// Reads the files that the command wrote. It ran in a foreign image: what is no usual file is none of its
/// results, and no link is followed.
fn fetched(root: &Root) -> io::Result<FetchedFiles> {
    let mut files = FetchedFiles::new();
    let mut open = vec![String::new()];
    while let Some(folder) = open.pop() {
        for entry in root.read_dir(folder.as_bytes())? {
            let Ok(name) = String::from_utf8(entry.name) else { continue };
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            match root.stat(path.as_bytes())?.kind {
                FileType::Directory if path.matches('/').count() < MAX_DEPTH => open.push(path),
                FileType::RegularFile if files.len() < MAX_FILES => {
                    let (file, stat) = root.open_file_with_stat(path.as_bytes())?;
                    let mut contents = Vec::new();
                    file.take(MAX_FILE).read_to_end(&mut contents)?;
                    files.insert(path, Fetched { contents, modified: stat.mtime.secs });
                }
                _ => {}
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// The command may have been anybody's.
    #[test]
    fn nothing_but_usual_files_is_taken() {
        let temp = tempfile::tempdir().unwrap();
        let (root, deep) = (temp.path(), temp.path().join("d/".repeat(MAX_DEPTH + 2)));
        fs::create_dir_all(&deep).unwrap();
        fs::write(root.join("d/file"), "text").unwrap();
        fs::write(deep.join("file"), "too deep").unwrap();
        symlink("/etc/passwd", root.join("link")).unwrap();
        symlink("/etc", root.join("folder")).unwrap();
        let root = Root::open(root).unwrap();
        root.mknod(b"pipe", FileType::Fifo, 0o600, (0, 0)).unwrap();
        root.set_mtime(b"d/file", xbuild_layer::Mtime { secs: 7, nanos: 0 }).unwrap();
        let files = fetched(&root).unwrap();
        let [(path, file)] = &files.iter().collect::<Vec<_>>()[..] else { panic!("{files:?}") };
        assert_eq!((&***path, &*file.contents, file.modified), ("d/file", &b"text"[..], 7));
    }
}
