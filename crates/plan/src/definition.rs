//! Definition keys: digests of what steps say.
//!
//! The encoding is injective: each text and list is preceded by its length, each choice by its
//! number. A change to it, or to what goes in, changes every cache key that is made of it.

use xbuild_model::file_op::{CopyRequest, FileOp, InlineFile, MakeDir};
use xbuild_model::run::{Network, RunRequest, Script};
use xbuild_model::{Digest, ResolvedImage};

use crate::graph::{Op, Origin};

/// The version of the encoding.
const VERSION: &str = "xbuild definition 1";

/// Returns the digest of what `op` says, without its inputs.
pub(crate) fn of(op: &Op) -> Digest {
    let mut encoder = Encoder(Vec::new());
    encoder.text(VERSION);
    match op {
        Op::Scratch => encoder.number(0),
        Op::Image(image) => encoder.image(image),
        Op::Run { parent: _, request } => encoder.run(request),
        Op::Files { parent: _, op, origin, independent } => {
            encoder.number(3);
            encoder.flag(*independent);
            match op {
                FileOp::Copy(request) => encoder.copy(request),
                FileOp::MakeDir(request) => encoder.make_dir(request),
            }
            match origin {
                None => encoder.number(0),
                Some(Origin::Context(name)) => {
                    encoder.number(1);
                    encoder.text(name);
                }
                Some(Origin::Vertex(_)) => encoder.number(2),
            }
        }
    }
    Digest::of(&encoder.0)
}

/// Returns the digest of a definition and the keys of its inputs.
pub(crate) fn key(definition: &Digest, inputs: impl Iterator<Item = Digest>) -> Digest {
    let mut encoder = Encoder(Vec::new());
    encoder.text(&definition.to_string());
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

    /// Two manifests of the same layers differ in their blobs, which matters when they are pushed.
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
            hostname,
            extra_hosts,
            ulimits,
            shm_size,
            scripts,
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
    }

    fn copy(&mut self, request: &CopyRequest) {
        let CopyRequest { sources, inline, dest, chown, chmod, link, parents, exclude, unpack } =
            request;
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
    }

    fn make_dir(&mut self, request: &MakeDir) {
        let MakeDir { path, user } = request;
        self.number(1);
        self.text(path);
        self.text(user);
    }
}
