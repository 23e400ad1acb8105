//! Where the result of a build goes: layouts, archives, folders, the store, registries.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use xbuild_model::{Descriptor, DiffId, Digest, FailureKind, ImageLayer, Reference, StepFailure};
use xbuild_registry::{
    AssembleOptions, Assembled, Client, LayoutContent, Push, PushEvent, PushSource, assemble,
};
use xbuild_snapshot::flatten::{self, SkippedPart};
use xbuild_snapshot::{Engine, LayerBlob, LayerWriter};
use xbuild_solve::BuiltImage;
use xbuild_store::{ImageRecord, Store};

use crate::annotations::Annotations;
use crate::output::Output;
use crate::progress::ProgressMode;
use crate::report::{Problem, note, printable};

/// What is needed to write a result somewhere.
#[derive(Clone, Copy)]
pub(crate) struct Exporter<'a> {
    pub(crate) store: &'a Arc<Store>,
    pub(crate) client: &'a Client,
    pub(crate) engine: &'a Engine,
    pub(crate) images: &'a [BuiltImage],
    /// Whether nothing is said but errors.
    pub(crate) mode: ProgressMode,
}

impl Exporter<'_> {
    /// Makes the manifests, and the index of several platforms.
    pub(crate) fn assemble(&self, annotations: &Annotations) -> Result<Assembled, Problem> {
        let platforms: Vec<_> = self.images.iter().map(|image| image.platform.clone()).collect();
        if platforms.len() == 1 && annotations.need_index() {
            return Err(Problem::command_line(
                "--annotation: a single platform makes no index that could be annotated",
            ));
        }
        let mut built = Vec::new();
        for image in self.images {
            let layers: Result<Vec<Descriptor>, Problem> =
                image.layers.0.iter().map(|layer| self.descriptor(layer)).collect();
            built.push(xbuild_registry::BuiltImage {
                platform: image.platform.clone(),
                config: image.config.clone(),
                layers: layers?,
                annotations: annotations.manifest(&image.platform),
                descriptor_annotations: annotations.descriptor(&image.platform),
            });
        }
        let options = AssembleOptions {
            index_annotations: annotations.index.clone(),
            index_descriptor_annotations: annotations.index_descriptor.clone(),
            always_index: false,
        };
        assemble(&platforms, built, &options)
            .map_err(|error| Problem::of(FailureKind::Internal, &error))
    }

    fn descriptor(&self, layer: &DiffId) -> Result<Descriptor, Problem> {
        match self.engine.blob(layer).map_err(|failure| Problem::step(&failure))? {
            LayerBlob::Stored(descriptor) => Ok(descriptor),
            LayerBlob::Remote(layer) => Ok(layer.descriptor),
        }
    }

    /// Writes the result to all outputs, then pushes it if that is asked for.
    pub(crate) fn write(
        &self,
        assembled: &Assembled,
        outputs: &[Output],
        names: &[Reference],
        push: bool,
    ) -> Result<(), Problem> {
        for output in outputs {
            self.write_one(assembled, output, names)?;
        }
        let keep = outputs.is_empty() || outputs.iter().any(|o| matches!(o, Output::Image { .. }));
        if keep && !names.is_empty() {
            self.keep(assembled, names)?;
        } else if outputs.is_empty() && self.mode != ProgressMode::None {
            note("warning: the result is only cached: name it with --tag, or choose an --output");
        }
        if push { self.push(assembled, names) } else { Ok(()) }
    }

    fn write_one(
        &self,
        assembled: &Assembled,
        output: &Output,
        names: &[Reference],
    ) -> Result<(), Problem> {
        let sources = self.sources();
        let layers = |descriptor: &Descriptor| self.source(&sources, descriptor);
        let content = LayoutContent { assembled, names, layers: &layers, blobs: self.client };
        let failed = |failure: StepFailure| Problem::step(&failure).during("exporting");
        match output {
            Output::OciFolder(path) => content.write_folder(path).map_err(|e| failed(e.into())),
            Output::OciTar(path) => to_file(path.as_deref(), |out| {
                content.write_tar(out).map_err(|error| failed(error.into()))
            }),
            Output::Tar(path) => match self.images {
                [image] => to_file(path.as_deref(), |out| self.write_tar(image, out)),
                _ => Err(Problem::command_line(
                    "--output type=tar of several platforms is not implemented yet: use type=local",
                )),
            },
            Output::Local(path) => self.write_folders(path),
            Output::Image { .. } | Output::CacheOnly => Ok(()),
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
            for skipped in skipped.iter().filter(|_| self.mode != ProgressMode::None) {
                let what = match skipped.what {
                    SkippedPart::Device => "the device",
                    _ => "the capabilities of",
                };
                let path = printable(&skipped.path.to_string());
                note(format_args!(
                    "warning: {what} {path} cannot be made by an ordinary user: left out"
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

    fn push(&self, assembled: &Assembled, names: &[Reference]) -> Result<(), Problem> {
        let sources = self.sources();
        let layers = |descriptor: &Descriptor| self.source(&sources, descriptor);
        let progress = |event: PushEvent<'_>| {
            if self.mode == ProgressMode::None {
                return;
            }
            match event {
                PushEvent::Finished { repository, blob, how } => {
                    note(format_args!("push {repository}: blob {} {how:?}", blob.digest.short()));
                }
                PushEvent::Tagged { reference, digest } => {
                    note(format_args!("push {reference}: {digest}"));
                }
                _ => {}
            }
        };
        let push = Push {
            targets: names,
            by_digest: false,
            assembled,
            layers: &layers,
            progress: &progress,
        };
        self.client
            .push(&push)
            .map_err(|error| Problem::step(&StepFailure::from(error)).during("pushing"))
    }

    /// Returns where the layers are, by digest, and the base image that each is of.
    fn sources(&self) -> HashMap<Digest, (LayerBlob, Option<ImageLayer>)> {
        let layers = self.images.iter().flat_map(|image| &image.layers.0);
        layers
            .filter_map(|layer| {
                let blob = self.engine.blob(layer).ok()?;
                let digest = match &blob {
                    LayerBlob::Stored(descriptor) => descriptor.digest.clone(),
                    LayerBlob::Remote(layer) => layer.descriptor.digest.clone(),
                };
                let base = self.engine.origin(layer);
                let base = base.filter(|base| base.descriptor.digest == digest);
                Some((digest, (blob, base)))
            })
            .collect()
    }

    fn source(
        &self,
        sources: &HashMap<Digest, (LayerBlob, Option<ImageLayer>)>,
        descriptor: &Descriptor,
    ) -> Result<PushSource, StepFailure> {
        let gone = || {
            let text = format!("the blob {} is gone from the store", descriptor.digest);
            StepFailure::new(FailureKind::Internal, io::Error::other(text))
        };
        let (blob, base) = sources.get(&descriptor.digest).ok_or_else(gone)?;
        match blob {
            LayerBlob::Remote(layer) => Ok(PushSource::Remote(layer.clone())),
            LayerBlob::Stored(stored) => {
                let file = self.store.open_blob(&stored.digest);
                let file = file.map_err(|error| StepFailure::new(FailureKind::Internal, error))?;
                let file = file.ok_or_else(gone)?;
                Ok(match base {
                    Some(base) => PushSource::Pulled(file, base.clone()),
                    None => PushSource::Local(file),
                })
            }
        }
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
