//! Events of a running build: progress, warnings, pushes.

use std::fmt;
use std::io;
use std::path::PathBuf;

use xbuild_attest::sbom::Unread;
use xbuild_dockerfile::Diagnostics;
use xbuild_exec::ladder::Choice;
use xbuild_exec::twins::Usage;
use xbuild_files::copy::CopyWarning;
use xbuild_files::flatten::{Skipped, SkippedPart};
use xbuild_layer::{Encoding, ShownPath};
use xbuild_model::transfer::{Transfer, TransferState};
use xbuild_model::{Digest, Platform, Reference, ResolvedImage, StepFailure};
use xbuild_plan::{Graph, Span, VertexId};
use xbuild_registry::{CredentialsError, PushEvent, RegistryWarning};
use xbuild_source::FetchWarning;
use xbuild_store::Waiting;
use xbuild_wording::quoted;

use crate::cache::CacheWarning;
use crate::emulators::EmulatorInUse;
use crate::error::BaseError;

/// Takes the events of a build, from several threads.
pub trait Events: Send + Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);
}

/// An event of a build.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A warning for the user.
    Warning(&'a Warning),
    /// The linter has run.
    Lint {
        /// The broken rules, perhaps none.
        findings: &'a Diagnostics,
        /// The text of the Dockerfile.
        source: &'a str,
        /// The path by which a terminal can open it.
        path: &'a str,
    },
    /// The rung and the root file system of RUN steps are chosen. Only if a RUN may run; comes
    /// before all events of steps.
    Isolation(&'a Choice),
    /// RUN steps of a foreign platform get an emulator. Only if such a RUN may run; comes before all
    /// events of steps, once for each emulator.
    Emulator(&'a EmulatorInUse),
    /// Programs of a base image for another platform run natively.
    Twins {
        /// The base image.
        image: &'a str,
        /// Its platform.
        platform: &'a Platform,
        /// The number of programs.
        count: usize,
    },
    /// Cross compilers run in emulated steps of a base image.
    Compilers {
        /// The base image.
        image: &'a str,
        /// Its platform.
        platform: &'a Platform,
        /// The names of the programs that they stand for.
        names: &'a [&'a str],
    },
    /// A step ran natively and under QEMU, with equal results.
    Verified {
        /// The number of files that were compared.
        paths: usize,
    },
    /// An image was loaded into a container engine.
    Loaded {
        /// The engine.
        engine: &'a str,
        /// The names that the image has there, perhaps none.
        names: &'a [Reference],
        /// The number of layers that were sent.
        sent: usize,
        /// The number of all layers.
        layers: usize,
    },
    /// All steps are done; some were emulated, and their programs were counted.
    Emulated {
        /// The programs of all of them.
        usage: &'a Usage,
        /// The number of these steps.
        steps: usize,
    },
    /// The steps are known. Comes before all events of steps.
    Planned(&'a Graph),
    /// An event of a step.
    Step {
        /// The step.
        vertex: VertexId,
        /// The event.
        event: xbuild_solve::Event<'a>,
    },
    /// A name that the store has an image of was looked up.
    Base {
        /// The image that is used.
        image: &'a ResolvedImage,
        /// Whether it is the store's; else a registry gave it.
        is_stored: bool,
    },
    /// The cache mounts of the build are in a shared cache, or as many of them as possible.
    MountsSaved {
        /// The cache.
        cache: &'a str,
        /// The name of its scope.
        scope: &'a str,
        /// Their number.
        mounts: usize,
    },
    /// The steps of the build are in a shared cache, or as many of them as possible.
    CacheSaved {
        /// The cache.
        cache: &'a str,
        /// The name of its scope.
        scope: &'a str,
        /// The number of steps that are there.
        steps: usize,
        /// How many of them were not there before.
        new: usize,
    },
    /// The command of a container begins. From here on the terminal is the command's.
    Attached,
    /// Bytes go from or to a registry. Their time is no step's.
    Transfer(&'a Transfer, TransferState),
    /// An event of a push. [`Self::Transfer`] has its bytes, too.
    Push(PushEvent<'a>),
    /// The image exists in another form besides the main one.
    Form {
        /// How its layers are compressed.
        encoding: Encoding,
        /// The digest of its manifest or index.
        digest: &'a Digest,
    },
}

/// A warning: the build goes on.
///
/// It displays as one line. Text of Dockerfiles, images and servers is in it without any change.
#[derive(Debug)]
#[non_exhaustive]
pub enum Warning {
    /// An option has no effect.
    Plan(xbuild_plan::Warning),
    /// A check cannot read a base image, and leaves out the rules that depend on it.
    Base(BaseError),
    /// A warning of a COPY, ADD or WORKDIR.
    Copy {
        /// The warning.
        warning: CopyWarning,
        /// Where its subject is written; several instructions may name it.
        spans: Vec<Span>,
    },
    /// A warning about a remote source.
    Fetch(FetchWarning),
    /// The configuration of a base image names another processor than the index that has it.
    OtherPlatform {
        /// The image.
        name: String,
        /// The platform of the index, which counts.
        index: Platform,
        /// The platform of the configuration.
        config: Platform,
    },
    /// A warning about a registry, or the login to one.
    Registry(RegistryWarning),
    /// An archive for Docker holds one platform of an image that has several.
    OnePlatform {
        /// The image.
        name: String,
        /// The platform, which is this machine's.
        platform: Platform,
    },
    /// A place of logins cannot be read.
    LoginFile {
        /// The file.
        place: String,
        /// The reason.
        error: io::Error,
    },
    /// A file with options of registries cannot be read, or a part of it.
    HostFile {
        /// The file.
        place: String,
        /// The reason.
        reason: String,
    },
    /// A part of a place of logins cannot be read.
    Login {
        /// The file or the environment variable.
        place: String,
        /// The reason.
        fault: CredentialsError,
    },
    /// The proxies of Docker's configuration cannot be read.
    Proxies {
        /// The file.
        place: String,
    },
    /// The home folder is closed to this user, so logins and proxies in it have no effect.
    ClosedHome(PathBuf),
    /// Steps cannot see a file of an image, since a mount or a file of xbuild's is in its place.
    Hidden(ShownPath),
    /// The variable of a secret is unset.
    EmptySecret {
        /// The id of the secret.
        id: String,
        /// The variable.
        variable: String,
    },
    /// An exported folder lacks a device, or the capabilities of a file.
    Skipped(Skipped),
    /// Another process holds a lock of the store for long.
    Waiting(Waiting),
    /// Leftovers of a killed build cannot be removed.
    Leftovers(StepFailure),
    /// The image for this machine beside a base image cannot be used, so that its programs could run
    /// natively.
    NoTwins {
        /// The base image.
        image: String,
        /// The reason.
        failure: StepFailure,
    },
    /// There are no cross compilers for steps of a base image.
    NoCompilers {
        /// The base image; `None` for all.
        image: Option<String>,
        /// The reason.
        reason: &'static str,
    },
    /// A compiler took most of the time of an emulated step.
    EmulatedCompiler {
        /// The name of its program.
        compiler: String,
    },
    /// A file of the store was damaged and dropped; the build begins again without it.
    Damaged(PathBuf),
    /// The bill of materials tells of the image alone, though more is asked for.
    OnlyImage,
    /// The packages of a file are not in the bill of materials, or not all of them.
    Unread {
        /// The platform of the image.
        platform: Platform,
        /// The file.
        path: String,
        /// The reason.
        why: Unread,
    },
    /// A build argument asks for a cache within the image.
    NoInline,
    /// The result has no name and no output.
    OnlyCached,
    /// Something went wrong with a shared cache.
    Cache(CacheWarning),
    /// Times are to be rewritten, but there is no `SOURCE_DATE_EPOCH`.
    NoEpoch,
}

impl Warning {
    /// Writes a warning about something around the build, or about its result.
    fn surroundings(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hidden(path) => write!(
                f,
                "{path} of an image is hidden from RUN steps: a mount of the container, or a file \
                 of xbuild's, is in its place"
            ),
            Self::ClosedHome(home) => write!(
                f,
                "{} is closed to this user: logins and proxies in it have no effect; set HOME or \
                 DOCKER_CONFIG to another folder",
                home.display()
            ),
            Self::NoTwins { image, failure } => write!(
                f,
                "no program of {image} runs natively: the image for this machine in its index \
                 cannot be used: {failure}"
            ),
            Self::NoCompilers { image: None, reason } => {
                write!(f, "--emulation cross: compilers are emulated: {reason}")
            }
            Self::NoCompilers { image: Some(image), reason } => {
                write!(f, "--emulation cross: compilers in steps of {image} are emulated: {reason}")
            }
            Self::EmulatedCompiler { compiler } => write!(
                f,
                "most of an emulated step's time went into compiling ({compiler}): --emulation cross \
                 runs the cross compilers of Debian 13, or a stage `FROM --platform=$BUILDPLATFORM` can \
                 compile for $TARGETARCH on this machine's own processor, and COPY --from takes its \
                 result; docs/emulation.md has a sketch"
            ),
            Self::OnlyImage => f.write_str(
                "BUILDKIT_SBOM_SCAN_CONTEXT and BUILDKIT_SBOM_SCAN_STAGE have no effect: the bill \
                 of materials tells of the image alone",
            ),
            Self::NoInline => f.write_str(
                "BUILDKIT_INLINE_CACHE has no effect: an image holds no steps here; --cache-to \
                 type=registry,mode=min writes those of the image to a repository, which may be that \
                 of the image",
            ),
            Self::Unread { platform, path, why } => write!(
                f,
                "not all packages of /{path} ({platform}) are in the bill of materials: {why}"
            ),
            Self::Waiting(waiting) => fmt::Display::fmt(waiting, f),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan(warning) => warning.fmt(f),
            Self::Base(error) => error.fmt(f),
            Self::Copy { warning, spans } => copy(warning, spans, f),
            Self::Fetch(warning) => warning.fmt(f),
            Self::OtherPlatform { name, index, config } => write!(
                f,
                "{name}: the index says {index}, the configuration {config}; the index counts"
            ),
            Self::OnePlatform { name, platform } => write!(
                f,
                "{name} has several platforms, of which an archive for Docker holds one: {platform}"
            ),
            Self::Registry(warning) => warning.fmt(f),
            Self::Cache(warning) => warning.fmt(f),
            Self::LoginFile { place, error } => {
                write!(f, "cannot read {place}: {error}; its logins have no effect")
            }
            Self::HostFile { place, reason } => write!(f, "{place}: {reason}"),
            Self::Login { place, fault } => write!(f, "{place}: {fault}; that has no effect"),
            Self::Proxies { place } => {
                write!(f, "{place}: \"proxies\" is not of the expected form; it has no effect")
            }
            Self::EmptySecret { id, variable } => {
                write!(f, "the secret {} is empty: the variable {variable} is unset", quoted(id))
            }
            Self::Skipped(Skipped { path, what }) => {
                let part = match what {
                    SkippedPart::Device => "the device",
                    _ => "the capabilities of",
                };
                write!(f, "{part} {path} cannot be made by an ordinary user: left out")
            }
            Self::Leftovers(failure) => {
                write!(f, "cannot remove leftovers of a killed build: {failure}")
            }
            Self::Damaged(path) => write!(
                f,
                "{} in the store was damaged and is dropped; it is fetched or made again",
                path.display()
            ),
            Self::OnlyCached => {
                f.write_str("the result is only cached: name it with --tag, or choose an --output")
            }
            Self::NoEpoch => f.write_str(
                "rewrite-timestamp=true has no effect without SOURCE_DATE_EPOCH: set the variable, \
                 or --build-arg SOURCE_DATE_EPOCH=SECONDS",
            ),
            Self::Hidden(_)
            | Self::ClosedHome(_)
            | Self::NoCompilers { .. }
            | Self::NoTwins { .. }
            | Self::OnlyImage
            | Self::NoInline
            | Self::Unread { .. }
            | Self::Waiting(_)
            | Self::EmulatedCompiler { .. } => self.surroundings(f),
        }
    }
}

fn copy(warning: &CopyWarning, spans: &[Span], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    fmt::Display::fmt(warning, f)?;
    let places: Vec<String> = spans.iter().map(ToString::to_string).collect();
    if places.is_empty() { Ok(()) } else { write!(f, " ({})", places.join(", ")) }
}

/// Ignores all events.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Events for Silent {
    fn event(&self, _: Event<'_>) {}
}
