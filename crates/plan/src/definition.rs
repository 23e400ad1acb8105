//! Definition keys: digests of the definitions of steps.
//!
//! The encoding is injective: each text and list is preceded by its length, each choice by its
//! number. A change of the encoding, or of its inputs, changes every cache key that is made of it.

use xbuild_model::file_op::{CopyRequest, FileOp, InlineFile, MakeDir, RemoteFiles};
use xbuild_model::remote::{GitSource, HttpSource, RemoteSource};
use xbuild_model::run::{
    Mount, MountKind, MountSource, Network, RunRequest, Script, Security, Sharing,
};
use xbuild_model::{Digest, ResolvedImage};

use crate::graph::{Op, Origin};
use crate::options::is_main_context;

/// The version of the encoding.
const VERSION: &str = "xbuild definition 1";

/// Returns the digest of the definition of `op`, without its inputs.
pub(crate) fn of(op: &Op) -> Digest {
    let mut encoder = Encoder(Vec::new());
    encoder.text(VERSION);
    match op {
        Op::Scratch => encoder.number(0),
        Op::Image(image) => encoder.image(image),
        Op::Run { parent: _, request, sources: _, arguments: _ } => encoder.run(request),
        Op::Files { parent: _, op, origin, independent } => {
            encoder.number(3);
            encoder.flag(*independent);
            match op {
                FileOp::Copy(request) => encoder.copy(request),
                FileOp::MakeDir(request) => encoder.make_dir(request),
                FileOp::Pick { path } => {
                    encoder.number(2);
                    encoder.text(path);
                }
            }
            match origin {
                None => encoder.number(0),
                Some(Origin::Context(name)) => {
                    encoder.number(1);
                    // The files that an ignore file leaves are part of the content key.
                    encoder.text(if is_main_context(name) { "" } else { name });
                }
                Some(Origin::Vertex(_)) => encoder.number(2),
            }
        }
    }
    Digest::of(&encoder.0)
}

/// Returns the digest of a definition and the keys of its inputs. The main context counts with its
/// ignore file: `op` says which it is.
pub(crate) fn key(definition: &Digest, op: &Op, inputs: impl Iterator<Item = Digest>) -> Digest {
    let mut encoder = Encoder(Vec::new());
    encoder.text(&definition.to_string());
    if let Op::Files { origin: Some(Origin::Context(name)), .. } = op
        && is_main_context(name)
        && !name.is_empty()
    {
        encoder.text(name);
    }
    for input in inputs {
        encoder.text(&input.to_string());
    }
    Digest::of(&encoder.0)
}

struct Encoder(Vec<u8>);

impl Encoder {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn flag(&mut self, flag: bool) {
        self.number(u64::from(flag));
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.extend(text.as_bytes());
    }

    fn option(&mut self, text: Option<&str>) {
        self.flag(text.is_some());
        self.text(text.unwrap_or_default());
    }

    fn list<T>(&mut self, items: &[T], encode: impl Fn(&mut Self, &T)) {
        self.number(items.len() as u64);
        items.iter().for_each(|item| encode(self, item));
    }

    /// Two manifests with the same layers differ in their blobs, which matters for a push.
    fn image(&mut self, image: &ResolvedImage) {
        self.number(1);
        self.text(&image.manifest.digest.to_string());
        self.list(&image.layers, |to, layer| to.text(&layer.diff_id.to_string()));
    }

    fn run(&mut self, request: &RunRequest) {
        let RunRequest {
            argv,
            env,
            cwd,
            user,
            platform,
            network,
            security,
            hostname,
            extra_hosts,
            ulimits,
            shm_size,
            scripts,
            mounts,
            unkeyed_env: _,
        } = request;
        let pair = |to: &mut Self, (name, value): &(String, String)| {
            to.text(name);
            to.text(value);
        };
        self.number(2);
        self.list(argv, |to, argument| to.text(argument));
        self.list(env, pair);
        self.text(cwd);
        self.text(user);
        self.text(&platform.to_string());
        self.number(match network {
            Network::Default => 0,
            Network::None => 1,
            Network::Host => 2,
            Network::Private => 3,
        });
        self.text(hostname);
        self.list(extra_hosts, pair);
        self.list(ulimits, |to, (name, soft, hard)| {
            to.text(name);
            to.number(*soft);
            to.number(*hard);
        });
        self.number(*shm_size);
        self.list(scripts, |to, script| {
            let Script { path, contents, mode } = script;
            to.text(path);
            to.text(contents);
            to.number(u64::from(*mode));
        });
        // A step without mounts has the same key as before mounts were implemented.
        if !mounts.is_empty() {
            self.list(mounts, Self::mount);
        }
        match security {
            // The same key as before this choice was implemented.
            Security::Sandbox => {}
            // No list of mounts begins like this: this number stands in the place of its length.
            Security::Insecure => self.number(u64::MAX),
        }
    }

    /// The inputs say where files come from. The contents of secrets and caches are in no key.
    fn mount(&mut self, mount: &Mount) {
        let Mount { target, kind } = mount;
        self.text(target);
        match kind {
            MountKind::Bind { source, writable } => {
                self.number(0);
                self.mount_source(Some(source));
                self.flag(*writable);
            }
            MountKind::Cache { id, sharing, seed, mode, uid, gid, read_only } => {
                self.number(1);
                self.text(id);
                self.number(match sharing {
                    Sharing::Shared => 0,
                    Sharing::Private => 1,
                    Sharing::Locked => 2,
                });
                self.mount_source(seed.as_ref());
                self.owner(*mode, *uid, *gid);
                self.flag(*read_only);
            }
            MountKind::Tmpfs { size } => {
                self.number(2);
                self.flag(size.is_some());
                self.number(size.unwrap_or_default());
            }
            MountKind::Secret { id, env, mode, uid, gid, required } => {
                self.number(3);
                self.text(id);
                self.option(env.as_deref());
                self.owner(*mode, *uid, *gid);
                self.flag(*required);
            }
            MountKind::Ssh { id, mode, uid, gid, required } => {
                self.number(4);
                self.text(id);
                self.owner(*mode, *uid, *gid);
                self.flag(*required);
            }
        }
    }

    fn mount_source(&mut self, source: Option<&MountSource>) {
        self.flag(source.is_some());
        if let Some(MountSource { input, path }) = source {
            self.number(*input as u64);
            self.text(path);
        }
    }

    fn owner(&mut self, mode: u32, uid: u32, gid: u32) {
        [mode, uid, gid].into_iter().for_each(|number| self.number(u64::from(number)));
    }

    fn copy(&mut self, request: &CopyRequest) {
        let CopyRequest {
            sources,
            remotes,
            inline,
            dest,
            chown,
            chmod,
            link,
            parents,
            exclude,
            unpack,
        } = request;
        self.number(0);
        self.list(sources, |to, source| to.text(source));
        self.list(inline, |to, file| {
            let InlineFile { name, contents } = file;
            to.text(name);
            to.text(contents);
        });
        self.text(dest);
        self.option(chown.as_deref());
        self.option(chmod.as_deref());
        self.flag(*link);
        self.flag(*parents);
        self.list(exclude, |to, pattern| to.text(pattern));
        self.flag(unpack.is_some());
        self.flag(unpack.unwrap_or_default());
        self.list(remotes, |to, remote| {
            let RemoteFiles { after, source, unpack } = remote;
            to.number(*after as u64);
            to.flag(*unpack);
            match source {
                RemoteSource::Http(http) => to.http(http),
                RemoteSource::Git(git) => to.git(git),
            }
        });
    }

    /// The user of a URL is not part of the key.
    fn http(&mut self, source: &HttpSource) {
        let HttpSource { url, user: _, name, checksum } = source;
        self.number(0);
        self.text(url);
        self.text(name);
        self.option(checksum.as_ref().map(Digest::to_string).as_deref());
    }

    fn git(&mut self, source: &GitSource) {
        let GitSource { remote, user: _, reference, subdir, checksum, keep_git_dir, submodules } =
            source;
        self.number(1);
        self.text(remote);
        self.option(reference.as_deref());
        self.option(subdir.as_deref());
        self.option(checksum.as_deref());
        self.flag(keep_git_dir.unwrap_or_default());
        self.flag(submodules.unwrap_or_default());
    }

    fn make_dir(&mut self, request: &MakeDir) {
        let MakeDir { path, user } = request;
        self.number(1);
        self.text(path);
        self.text(user);
    }
}
