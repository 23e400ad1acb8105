//! Where the result of a build goes: layouts, archives, folders, the store, registries.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use xbuild_files::flatten::{self, SkippedPart};
use xbuild_image::{AssembleOptions, Assembled, Built, ImageParts, LayoutContent, assemble};
use xbuild_layer::LayerWriter;
use xbuild_model::{DiffId, Digest, FailureKind, LayerBlob, Reference, StepFailure};
use xbuild_registry::{Client, Push, PushEvent};
use xbuild_snapshot::Engine;
use xbuild_solve::BuiltImage;
use xbuild_store::{ImageRecord, Store};

use crate::annotations::Annotations;
use crate::events::Events;
use crate::output::{LayerForm, Target};
use crate::problem::{Problem, printable};
use crate::variant::Variant;

/// What is needed to write a result somewhere.
#[derive(Clone, Copy)]
#[allow(missing_debug_implementations, reason = "it is used up at once")]
pub struct Exporter<'a> {
    /// Where blobs and names are kept.
    pub store: &'a Arc<Store>,
    /// What pushes.
    pub client: &'a Client,
    /// What has the layers.
    pub engine: &'a Engine,
    /// The result, an image for each platform.
    pub images: &'a [BuiltImage],
    /// Takes what was done.
    pub events: &'a dyn Events,
}

impl Exporter<'_> {
    /// Writes the result in all its forms to all outputs, then pushes it if that is asked for.
    /// Returns the images of the first form.
    pub fn write(
        &self,
        variants: &[Variant],
        annotations: &Annotations,
        push: bool,
    ) -> Result<Assembled, Problem> {
        let all_names: Vec<Reference> =
            variants.iter().flat_map(|variant| variant.names.clone()).collect();
        let mut main = None;
        for variant in variants {
            let built = self.make(variant.layers, annotations)?;
            for target in &variant.targets {
                self.write_one(&built, target, &all_names)?;
            }
            let no_output = variants.iter().all(|variant| variant.targets.is_empty());
            let is_image = |target: &Target| matches!(target, Target::Image { .. });
            let keep = no_output || variant.targets.iter().any(is_image);
            if keep && !variant.names.is_empty() {
                self.keep(&built.assembled, &variant.names)?;
            } else if no_output {
                self.events.warning(
                    "the result is only cached: name it with --tag, or choose an --output",
                );
            }
            if push && !variant.names.is_empty() {
                self.push(&built, &variant.names)?;
            }
            if main.is_some() {
                let digest = &built.assembled.root().0.digest;
                self.events.note(&format!("{:<16} {digest}", variant.layers.encoding));
            }
            main.get_or_insert(built.assembled);
        }
        main.ok_or_else(|| {
            Problem::failure(FailureKind::Internal, "an image is made in one form at least")
        })
    }

    /// Makes the layers, the manifests, and the index of several platforms.
    fn make(&self, form: LayerForm, annotations: &Annotations) -> Result<Built<'_>, Problem> {
        let platforms: Vec<_> = self.images.iter().map(|image| image.platform.clone()).collect();
        if platforms.len() == 1 && annotations.need_index() {
            return Err(Problem::command_line(
                "--annotation: a single platform makes no index that could be annotated",
            ));
        }
        let layers: BTreeSet<&DiffId> =
            self.images.iter().flat_map(|image| &image.layers.0).collect();
        let layers: Vec<DiffId> = layers.into_iter().cloned().collect();
        let blobs = self.engine.encoded(layers.clone(), form.encoding, form.force);
        let blobs = blobs.map_err(|failure| Problem::step(&failure).during("exporting"))?;
        let blobs: HashMap<DiffId, LayerBlob> = layers.into_iter().zip(blobs).collect();
        let parts = self.images.iter().map(|image| ImageParts {
            platform: image.platform.clone(),
            config: image.config.clone(),
            layers: image.layers.0.iter().map(|layer| blobs[layer].descriptor().clone()).collect(),
            annotations: annotations.manifest(&image.platform),
            descriptor_annotations: annotations.descriptor(&image.platform),
        });
        let options = AssembleOptions {
            index_annotations: annotations.index.clone(),
            index_descriptor_annotations: annotations.index_descriptor.clone(),
            always_index: false,
        };
        let assembled = assemble(&platforms, parts.collect(), &options)
            .map_err(|error| Problem::of(FailureKind::Internal, &error))?;
        let stored = |digest: &Digest| {
            let file = self.store.open_blob(digest);
            file.map_err(|error| StepFailure::new(FailureKind::Internal, error))
        };
        Ok(Built::new(assembled, blobs.into_values(), stored, self.client))
    }

    fn write_one(
        &self,
        built: &Built<'_>,
        output: &Target,
        names: &[Reference],
    ) -> Result<(), Problem> {
        let content = LayoutContent { built, names };
        let failed = |failure: StepFailure| Problem::step(&failure).during("exporting");
        match output {
            Target::OciFolder(path) => content.write_folder(path).map_err(|e| failed(e.into())),
            Target::OciTar(path) => to_file(path.as_deref(), |out| {
                content.write_tar(out).map_err(|error| failed(error.into()))
            }),
            Target::Tar(path) => match self.images {
                [image] => to_file(path.as_deref(), |out| self.write_tar(image, out)),
                _ => Err(Problem::command_line(
                    "--output type=tar of several platforms is not implemented yet: use type=local",
                )),
            },
            Target::Local(path) => self.write_folders(path),
            Target::Image { .. } | Target::CacheOnly => Ok(()),
        }
    }

    fn write_tar(&self, image: &BuiltImage, out: &mut dyn Write) -> Result<(), Problem> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            Problem::of(FailureKind::Internal, error).during("exporting")
        };
        let tree = self.engine.tree(&image.layers).map_err(|failure| Problem::step(&failure))?;
        let mut writer = LayerWriter::new(out);
        flatten::to_tar(&tree, self.engine.layer_source(&image.layers), &mut writer)
            .map_err(|error| failed(&error))?;
        writer.finish().map(drop).map_err(|error| failed(&error))
    }

    /// Writes the files of one image into `path`, of several into a folder for each below it.
    fn write_folders(&self, path: &Path) -> Result<(), Problem> {
        for image in self.images {
            let folder = match self.images.len() {
                1 => path.to_owned(),
                _ => path.join(image.platform.folder_name()),
            };
            let tree =
                self.engine.tree(&image.layers).map_err(|failure| Problem::step(&failure))?;
            let source = self.engine.layer_source(&image.layers);
            let skipped = flatten::to_folder(&tree, source, &folder)
                .map_err(|error| Problem::of(FailureKind::User, &error).during("exporting"))?;
            for skipped in skipped {
                let what = match skipped.what {
                    SkippedPart::Device => "the device",
                    _ => "the capabilities of",
                };
                let path = printable(&skipped.path.to_string());
                self.events.warning(&format!(
                    "{what} {path} cannot be made by an ordinary user: left out"
                ));
            }
        }
        Ok(())
    }

    /// Keeps the result in the store under its names. Layers of base images that nothing needed
    /// stay where they are.
    fn keep(&self, assembled: &Assembled, names: &[Reference]) -> Result<(), Problem> {
        let failed = |error: xbuild_store::StoreError| Problem::of(FailureKind::Internal, &error);
        for image in &assembled.images {
            self.store.put_blob(&image.config).map_err(failed)?;
            self.store.put_blob(&image.manifest).map_err(failed)?;
        }
        let (root, bytes) = assembled.root();
        self.store.put_blob(bytes).map_err(failed)?;
        for name in names {
            let record = ImageRecord { name: name.to_string(), target: root.clone() };
            self.store.put_image(&record).map_err(failed)?;
        }
        Ok(())
    }

    fn push(&self, built: &Built<'_>, names: &[Reference]) -> Result<(), Problem> {
        let progress = |event: PushEvent<'_>| match event {
            PushEvent::Finished { repository, blob, how } => {
                let blob = blob.digest.short();
                self.events.note(&format!("push {repository}: blob {blob} {how}"));
            }
            PushEvent::Tagged { reference, digest } => {
                self.events.note(&format!("push {reference}: {digest}"));
            }
            _ => {}
        };
        let push = Push { targets: names, by_digest: false, built, progress: &progress };
        self.client
            .push(&push)
            .map_err(|error| Problem::step(&StepFailure::from(error)).during("pushing"))
    }
}

/// Writes a file, published under its name when it is whole, or standard output.
fn to_file(
    path: Option<&Path>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let Some(path) = path else {
        let mut out = BufWriter::new(io::stdout().lock());
        write(&mut out)?;
        return out.flush().map_err(|error| {
            Problem::failure(FailureKind::Internal, format!("cannot write output: {error}"))
        });
    };
    let failed = |error: io::Error| Problem::file("write", path, &error);
    let special = std::fs::metadata(path).is_ok_and(|meta| !meta.is_file());
    if special {
        // A pipe or device is written as it is.
        let mut out = BufWriter::new(File::options().write(true).open(path).map_err(failed)?);
        write(&mut out)?;
        return out.flush().map_err(failed);
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.partial", std::process::id()));
    let partial = Path::new(&name);
    let mut out = BufWriter::new(File::create(partial).map_err(failed)?);
    let written = write(&mut out).and_then(|()| out.flush().map_err(failed));
    let published = written.and_then(|()| std::fs::rename(partial, path).map_err(failed));
    published.inspect_err(|_| {
        // The error that led here is the one to tell.
        let _ = std::fs::remove_file(partial);
    })
}
