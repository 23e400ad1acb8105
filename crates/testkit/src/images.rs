//! Images in memory, to be written or sent.

use std::fs::File;
use std::io::{self, Read, Seek as _, Write as _};

use xbuild_image::{AssembleOptions, Assembled, Built, ImageParts, assemble};
use xbuild_model::manifest::OCI_LAYER;
use xbuild_model::seam::Blobs;
use xbuild_model::{
    BlobSource, Descriptor, DiffId, Digest, FailureKind, ImageConfig, ImageLayer, LayerBlob,
    Platform, ResolvedImage, StepFailure,
};

/// Images for some platforms. Their layers are not archives, since these tests do not unpack them.
#[derive(Debug)]
pub struct Images {
    /// The documents.
    pub assembled: Assembled,
    /// The layers of all images, each once.
    pub layers: Vec<Vec<u8>>,
}

impl Images {
    /// Makes an image for each platform, with the layers `shared` and one of its own.
    pub fn new(platforms: &[&str], shared: &[&[u8]]) -> Self {
        let platform = |name: &&str| name.parse().expect("tests name valid platforms");
        let platforms: Vec<Platform> = platforms.iter().map(platform).collect();
        let mut layers: Vec<Vec<u8>> = shared.iter().map(|bytes| bytes.to_vec()).collect();
        let mut parts = Vec::new();
        for platform in &platforms {
            let own = format!("layer of {platform}").into_bytes();
            let all = || shared.iter().copied().chain([&own[..]]);
            let mut config = ImageConfig {
                os: platform.os().to_owned(),
                architecture: platform.architecture().to_owned(),
                variant: platform.variant().map(str::to_owned),
                ..ImageConfig::default()
            };
            config.rootfs.diff_ids = all().map(|layer| DiffId(Digest::of(layer))).collect();
            parts.push(ImageParts {
                platform: platform.clone(),
                config,
                layers: all().map(|layer| Descriptor::of(OCI_LAYER, layer)).collect(),
                annotations: Default::default(),
                descriptor_annotations: Default::default(),
            });
            layers.push(own);
        }
        let assembled = assemble(&platforms, parts, &AssembleOptions::default());
        Self { assembled: assembled.expect("there is an image for each platform"), layers }
    }

    /// Returns the images with all their layers in files.
    pub fn built(&self) -> Built<'_> {
        self.with_layers(|descriptor| LayerBlob::Stored { descriptor, base: None }, &Nowhere)
    }

    /// Returns the images on top of `base`. The layers of `base` are remote, unless they were
    /// `pulled`; all others are in files.
    pub fn on_base<'a>(
        &'a self,
        base: &ResolvedImage,
        pulled: bool,
        remote: &'a dyn Blobs,
    ) -> Built<'a> {
        let place = |descriptor: Descriptor| {
            let same = |layer: &&ImageLayer| layer.descriptor.digest == descriptor.digest;
            match base.layers.iter().find(same).cloned() {
                Some(layer) if !pulled => LayerBlob::Remote(layer),
                base => LayerBlob::Stored { descriptor, base: base.map(Box::new) },
            }
        };
        self.with_layers(place, remote)
    }

    fn with_layers<'a>(
        &'a self,
        place: impl FnMut(Descriptor) -> LayerBlob,
        remote: &'a dyn Blobs,
    ) -> Built<'a> {
        let layers = self.layers.iter().map(|bytes| Descriptor::of(OCI_LAYER, bytes)).map(place);
        let stored = |digest: &Digest| {
            let bytes = self.layers.iter().find(|bytes| Digest::of(bytes) == *digest);
            bytes.map(|bytes| file(bytes)).transpose()
        };
        Built::new(self.assembled.clone(), layers, stored, remote)
    }
}

/// Returns an unnamed file with these bytes.
pub fn file(bytes: &[u8]) -> Result<File, StepFailure> {
    let write = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(bytes)?;
        file.rewind()?;
        Ok(file)
    };
    write().map_err(|error: io::Error| StepFailure::new(FailureKind::Internal, error))
}

/// A place without blobs.
#[derive(Debug)]
pub struct Nowhere;

impl Blobs for Nowhere {
    fn open(
        &self,
        blob: &Descriptor,
        _: &BlobSource,
        _: u64,
    ) -> Result<Box<dyn Read + Send>, StepFailure> {
        let error = io::Error::other(format!("{} is nowhere", blob.digest));
        Err(StepFailure::new(FailureKind::Remote, error))
    }
}
