//! Export: results written to layouts, archives and folders, kept in the store, or pushed.

use std::collections::{BTreeSet, HashMap};
use std::io::Write;
use std::path::Path;

use xbuild_image::{
    AssembleOptions, Assembled, AssembledImage, Built, ImageParts, LayoutContent, LayoutError,
    NamedContent, assemble,
};
use xbuild_model::{BlobSource, DiffId, Digest, LayerBlob, Platform, Reference, StepFailure};
use xbuild_registry::{Push, PushError, PushEvent};

use crate::attested::Claims;
use crate::build::Build;
use crate::error::{During, ExportError};
use crate::events::{Event, Warning};
use crate::file_out::{is_stream, to_file};
use crate::files;
use crate::images::{docker_form, keep};
use crate::loader::{self, Loaded};
use crate::platform_names::{self, NamedImage};
use crate::request::{Output, PlatformTag, Split, Target};
use crate::run::Solved;
use crate::transfers::Pushes;
use crate::variant::Variant;

/// The result of an export.
#[derive(Debug)]
pub struct Outcome {
    /// The images in the main form, in the order of the request.
    pub assembled: Assembled,
    /// How many layers of each image, the first ones, are those of its base image.
    pub base_layers: Vec<usize>,
    /// The provenance of each image, a predicate of SLSA 0.2, as far as the request asks for it for a
    /// metadata file; else none.
    pub provenance: Vec<serde_json::Value>,
    /// The names of the images in all forms.
    pub names: Vec<Reference>,
    /// The names of single platforms.
    pub platform_names: Vec<PlatformTag>,
    /// Whether the images were pushed under these names.
    pub is_pushed: bool,
    /// Whether the store knows the images by these names.
    pub is_stored: bool,
}

/// Asks the registries whether the result may be pushed, and looks for the container engine that it
/// is loaded into, before anything is built for it.
///
/// **Errors** — a registry denies it, or does not know the repository; there is no engine. Whatever
/// else goes wrong is left to the push.
pub fn may_push(build: &Build) -> Result<(), ExportError> {
    let _span = build.span.enter();
    if build.request.outputs.iter().any(|output| output.target == Target::Engine) {
        loader::find(&build.machine, &build.store, &build.cancel)?;
    }
    if !build.request.is_pushed() {
        return Ok(());
    }
    let names = pushed_names(build);
    let asked = build.client.may_push(&names).map_err(StepFailure::from);
    asked.map_err(|failure| ExportError::Stage(During::new("asking for leave to push")(failure)))
}

/// Returns the names of the images in all forms.
fn names(build: &Build) -> Vec<Reference> {
    build.variants.iter().flat_map(|variant| variant.names.clone()).collect()
}

/// Returns the names that images are pushed under, and those of single platforms.
fn pushed_names(build: &Build) -> Vec<Reference> {
    let pushed = build.variants.iter().filter(|variant| variant.is_pushed);
    let of_images = pushed.flat_map(|variant| variant.names.clone());
    // The main form has the names of single platforms.
    let tags = build.request.platform_tags.iter().filter(|_| build.variants[0].is_pushed);
    of_images.chain(tags.map(|tag| tag.name.clone())).collect()
}

/// Writes each form of the result to its outputs, and pushes it if the request says so. `stdout`
/// takes the outputs to standard output.
pub fn export(
    build: &Build,
    solved: &Solved,
    stdout: &mut dyn Write,
) -> Result<Outcome, ExportError> {
    let _span = build.span.enter();
    let names = names(build);
    let claims = Claims::new(build, solved)?;
    let exporter = Exporter { build, solved, names: &names, claims: &claims };
    let assembled = exporter.write(stdout).inspect_err(|error| look_at_cached(solved, error))?;
    build.store.settle().map_err(ExportError::Store)?;
    let is_stored = build.variants.iter().all(|variant| exporter.keeps(variant));
    let names = match build.request.is_by_digest() {
        true => names.iter().map(|name| name.with_digest(&assembled.root().0.digest)).collect(),
        false => names,
    };
    let base_layers = solved.images.iter().map(|image| image.base_layers).collect();
    let provenance = claims.for_metadata(&assembled);
    Ok(Outcome {
        assembled,
        base_layers,
        provenance,
        names,
        platform_names: build.request.platform_tags.clone(),
        is_pushed: build.request.is_pushed(),
        is_stored,
    })
}

/// Writes one result.
#[derive(Clone, Copy)]
struct Exporter<'a> {
    build: &'a Build,
    solved: &'a Solved,
    /// The names of the images in all forms.
    names: &'a [Reference],
    /// The statements that are made with the images.
    claims: &'a Claims<'a>,
}

impl Exporter<'_> {
    /// Writes all forms to all outputs and returns the images of the main one.
    fn write(&self, stdout: &mut dyn Write) -> Result<Assembled, ExportError> {
        let variants = &self.build.variants;
        let main = self.write_form(&variants[0], &self.build.request.platform_tags, stdout)?;
        for variant in &variants[1..] {
            let made = self.write_form(variant, &[], stdout)?;
            let digest = &made.root().0.digest;
            self.tell(Event::Form { encoding: variant.layers.encoding, digest });
        }
        Ok(main)
    }

    /// Makes one form, and writes, keeps and pushes it. `tags` are the names of single platforms.
    fn write_form(
        &self,
        variant: &Variant,
        tags: &[PlatformTag],
        stdout: &mut dyn Write,
    ) -> Result<Assembled, ExportError> {
        if variant.layers.clamp_times && self.solved.epoch.is_none() {
            self.tell(Event::Warning(&Warning::NoEpoch));
        }
        let (assembled, built) = self.make(variant)?;
        let images = platform_names::images(&assembled, &built, tags);
        for output in &variant.outputs {
            self.write_one((&assembled, &built, &images), output, stdout)?;
        }
        let is_named = !variant.names.is_empty() || !images.is_empty();
        if variant.is_pushed && is_named {
            self.push(&built, variant, &images)?;
        }
        if is_named && self.keeps(variant) {
            let named = images.iter().flat_map(NamedImage::names);
            let (root, _) = assembled.root();
            let whole = keep::names(variant, &root.digest);
            let named = named.chain(whole.iter().map(|name| (name, root)));
            keep::keep((self.build, variant), self.solved, (&assembled, &built), named)?;
        } else if self.has_no_output() && !is_named {
            self.tell(Event::Warning(&Warning::OnlyCached));
        }
        drop(images);
        Ok(assembled)
    }

    fn has_no_output(&self) -> bool {
        self.build.variants.iter().all(|variant| variant.outputs.is_empty())
    }

    /// Returns whether the store keeps a form under its names.
    fn keeps(&self, variant: &Variant) -> bool {
        self.has_no_output() || variant.image().is_some_and(|options| options.store)
    }

    fn tell(&self, event: Event<'_>) {
        self.build.events.event(event);
    }

    /// Makes the layers, the manifests, and the index of several platforms.
    fn make(&self, variant: &Variant) -> Result<(Assembled, Built<'_>), ExportError> {
        let (engine, form) = (&self.solved.engine, variant.layers);
        let images = &*self.solved.images(form).map_err(exporting)?;
        let annotations = self.build.request.annotations.with(&variant.manifests.annotations);
        let has_claims = !self.build.request.attestations.are_none();
        let always_index = self.build.request.always_has_index();
        let platforms: Vec<_> = images.iter().map(|image| image.platform.clone()).collect();
        let layers: BTreeSet<&DiffId> = images.iter().flat_map(|image| &image.layers.0).collect();
        let layers: Vec<DiffId> = layers.into_iter().cloned().collect();
        let stays = |place: &BlobSource| self.stays(variant, place);
        let blobs = engine.encoded(layers.clone(), form.encoding, form.force, &stays);
        let blobs = blobs.map_err(exporting)?;
        let blobs: HashMap<DiffId, LayerBlob> = layers.into_iter().zip(blobs).collect();
        let parts = images.iter().map(|image| ImageParts {
            platform: image.platform.clone(),
            config: image.config.clone(),
            layers: image.layers.0.iter().map(|layer| blobs[layer].descriptor().clone()).collect(),
            annotations: annotations.manifest(&image.platform),
            descriptor_annotations: annotations.descriptor(&image.platform),
        });
        let options = AssembleOptions {
            index_annotations: annotations.index.clone(),
            index_descriptor_annotations: annotations.index_descriptor.clone(),
            always_index,
            docker_types: variant.manifests.docker_types,
            attestations_like_images: variant.manifests.attestations_like_images,
            foreign_as_ordinary: variant.manifests.foreign_as_ordinary,
        };
        let mut assembled = assemble(&platforms, parts.collect(), &options)?;
        if has_claims {
            let statements = self.claims.attestations(&assembled, &variant.names);
            assembled = assembled.attest(statements, &options);
        }
        let stored = |digest: &Digest| Ok(self.build.store.open_sound(digest)?);
        let built = Built::new(assembled.clone(), blobs.into_values(), stored, &self.build.client);
        Ok((assembled, built))
    }

    /// Returns whether a layer that a shared cache has in this place need not be pulled: no file is
    /// written, and the registries that the image is pushed to have it.
    fn stays(&self, variant: &Variant, place: &BlobSource) -> bool {
        let is_image =
            |output: &Output| matches!(output.target, Target::Image { .. } | Target::CacheOnly);
        let BlobSource::Registry { registry, .. } = place else { return false };
        let tags = self.build.request.platform_tags.iter().map(|tag| &tag.name);
        let mut names = variant.names.iter().chain(tags);
        variant.outputs.iter().all(is_image)
            && (!variant.is_pushed || names.all(|name| name.registry() == registry))
    }

    fn write_one(
        &self,
        (assembled, built, singles): (&Assembled, &Built<'_>, &[NamedImage<'_>]),
        output: &Output,
        stdout: &mut dyn Write,
    ) -> Result<(), ExportError> {
        if let Target::OciTar(path) | Target::Docker(path) | Target::Tar(path, _) = &output.target
            && is_stream(path.as_deref())
        {
            // Bytes that have left cannot be taken back, so damage must be found before.
            for image in &*self.solved.images(output.layers).map_err(exporting)? {
                self.solved.engine.check(&image.layers).map_err(exporting)?;
            }
        }
        let names = if output.names.is_empty() { self.names } else { &output.names };
        let of = |built, names| NamedContent { built, names, tag: None };
        let single = singles.iter().map(|image| of(&image.built, &image.names));
        let images: Vec<_> = std::iter::once(of(built, names)).chain(single).collect();
        let content = LayoutContent { images: &images, is_docker: false };
        match &output.target {
            Target::OciFolder(path) => {
                content.write_folder(path).map_err(|error| exporting(error.into()))
            }
            Target::OciTar(path) => self.write_archive(content, path.as_deref(), stdout),
            Target::Docker(path) => {
                let (_, docker) = self.for_docker(assembled, built)?;
                let image = NamedContent { built: &docker, names, tag: None };
                let content = LayoutContent { is_docker: true, ..image.alone() };
                self.write_archive(content, path.as_deref(), stdout)
            }
            Target::Engine => self.load(assembled, built, names),
            Target::Tar(path, split) => {
                let form = (self.split(*split), &*output.attestation_prefix);
                files::write_tar((self.solved, self.claims), form, path.as_deref(), stdout)
            }
            Target::Local(path, split) => {
                let form = (self.split(*split), &*output.attestation_prefix);
                files::write_folders(self.build, (self.solved, self.claims), form, path)
            }
            Target::Image { .. } | Target::CacheOnly => Ok(()),
        }
    }

    /// Returns where the files of each platform go: a single platform that has an index counts as
    /// one of several.
    fn split(&self, asked: Split) -> Split {
        match asked {
            Split::Several if self.build.request.input.has_index() => Split::Always,
            asked => asked,
        }
    }

    fn write_archive(
        &self,
        content: LayoutContent<'_>,
        path: Option<&Path>,
        stdout: &mut dyn Write,
    ) -> Result<(), ExportError> {
        let mut write = || {
            to_file(path, stdout, |out| {
                content.write_tar(out).map_err(|error| exporting(error.into()))
            })
        };
        let mut is_second = false;
        loop {
            match write() {
                Err(error) if !is_stream(path) && may_help(&content, &error, &mut is_second) => {}
                done => return done,
            }
        }
    }

    /// Returns the image that an archive for Docker holds: the one of this machine's platform, else
    /// the first.
    fn for_docker<'a, 'b>(
        &'b self,
        assembled: &'a Assembled,
        built: &'b Built<'_>,
    ) -> Result<(&'a AssembledImage, Built<'b>), ExportError> {
        let accepted = Platform::host().accepted();
        let own = assembled.images.iter().find(|image| accepted.contains(&image.platform));
        let image = own.unwrap_or(&assembled.images[0]);
        if assembled.images.len() > 1 {
            let name =
                self.names.first().map_or_else(|| "the image".to_owned(), ToString::to_string);
            let platform = image.platform.clone();
            self.tell(Event::Warning(&Warning::OnePlatform { name, platform }));
        }
        let one = built.image(&image.descriptor.digest);
        let one = one.expect("an image is one of its own");
        let place = (&*self.build.store, &self.build.client);
        let other = docker_form::without_zstd(place, &one).map_err(exporting)?;
        Ok((image, other.unwrap_or(one)))
    }

    /// Loads the image of one platform into a container engine.
    fn load(
        &self,
        assembled: &Assembled,
        built: &Built<'_>,
        names: &[Reference],
    ) -> Result<(), ExportError> {
        let (image, built) = self.for_docker(assembled, built)?;
        let loader = loader::find(&self.build.machine, &self.build.store, &self.build.cancel)?;
        let loaded = Loaded {
            built: &built,
            id: &image.config_descriptor.digest,
            config: &image.config,
            names,
        };
        let sent = loader.load(&loaded)?;
        let (engine, layers) = (loader.name(), image.layers.len());
        self.tell(Event::Loaded { engine: &engine, names, sent, layers });
        Ok(())
    }

    /// Pushes the images under their names. No tag moves until everything is in all registries.
    fn push(
        &self,
        built: &Built<'_>,
        variant: &Variant,
        images: &[NamedImage<'_>],
    ) -> Result<(), ExportError> {
        let pushes = Pushes::new(&self.build.events);
        let progress = |event: PushEvent<'_>| pushes.event(event);
        let client = &self.build.client;
        let (names, by_digest) = (&variant.names, variant.is_by_digest());
        let push = Push { targets: names, by_digest, built, progress: &progress };
        let send = || images.iter().try_for_each(|image| image.send(client, names, &progress));
        let tag = || images.iter().try_for_each(|image| image.tag(client, &progress));
        let pushed = send().and_then(|()| client.push(&push)).and_then(|()| tag());
        let pushed = pushed.map_err(StepFailure::from);
        pushed.map_err(|failure| ExportError::Stage(During::new("pushing")(failure)))
    }
}

/// Reads the layers that only a shared cache has, after an export failed: if one of them is gone, its
/// step must run.
fn look_at_cached(solved: &Solved, error: &ExportError) {
    let is_about_layers = match error {
        ExportError::Stage(During { error, .. }) => {
            !matches!(error.cause().downcast_ref(), Some(PushError::Request { .. }))
        }
        _ => false,
    };
    if is_about_layers {
        for layer in solved.images.iter().flat_map(|image| &image.layers.0) {
            // The engine tells the caches of a failure.
            let _ = solved.engine.fetch(layer);
        }
    }
}

/// The activity in errors of an export.
const EXPORTING: &str = "exporting";

fn exporting(failure: StepFailure) -> ExportError {
    ExportError::Stage(During::new(EXPORTING)(failure))
}

/// Returns whether writing an archive once more may help, since a registry sent other bytes than
/// announced for a layer: a proxy may have changed some.
fn may_help(content: &LayoutContent<'_>, error: &ExportError, is_second: &mut bool) -> bool {
    let ExportError::Stage(During { error: failure, .. }) = error else { return false };
    let fault = failure.cause().downcast_ref();
    fault.is_some_and(|fault: &LayoutError| content.may_help(fault, is_second))
}
