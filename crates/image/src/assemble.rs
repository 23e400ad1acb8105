//! From built images to the bytes of manifests and index, without I/O and clock: the result depends
//! on the arguments alone, and not on their order.
//!
//! **Source** — OCI image-spec `manifest.md`, `image-index.md`.

use std::collections::{BTreeMap, HashSet};

use oci_spec::image::{MediaType, SCHEMA_VERSION, ToDockerV2S2 as _};
use serde::Serialize;
use xbuild_model::manifest::{
    Compression, DOCKER_FOREIGN, DOCKER_FOREIGN_GZIP, DOCKER_LAYER, DOCKER_LAYER_GZIP,
};
use xbuild_model::{Descriptor, Digest, ImageConfig, Index, Manifest, Platform};

use crate::attestation::{AssembledAttestation, Attestation, assemble_attestation};
use crate::error::AssembleError;

/// The parts that an image for one platform is assembled from.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageParts {
    /// The platform, as requested.
    pub platform: Platform,
    /// The configuration, with diff IDs and history filled in.
    pub config: ImageConfig,
    /// The blobs of the layers, oldest first, one for each diff ID.
    pub layers: Vec<Descriptor>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the manifest's descriptor in the index.
    pub descriptor_annotations: BTreeMap<String, String>,
}

/// Options of [`assemble()`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AssembleOptions {
    /// Annotations of the index.
    pub index_annotations: BTreeMap<String, String>,
    /// Annotations of the index's descriptor in an OCI layout.
    pub index_descriptor_annotations: BTreeMap<String, String>,
    /// Whether a single platform gets an index too.
    pub always_index: bool,
    /// Whether the media types are Docker's instead of OCI's.
    pub docker_types: bool,
    /// Whether manifests of attestations look like those of images, instead of artifacts.
    pub attestations_like_images: bool,
    /// Whether foreign layers become ordinary ones.
    pub foreign_as_ordinary: bool,
}

/// The documents of assembled images.
#[derive(Debug, Clone, PartialEq)]
pub struct Assembled {
    /// The images, in the order of the requested platforms; at least one.
    pub images: Vec<AssembledImage>,
    /// The attestations of images, in the order of those.
    pub attestations: Vec<AssembledAttestation>,
    /// The index; `None` for a single platform.
    pub index: Option<AssembledIndex>,
}

/// The documents of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct AssembledImage {
    /// The platform.
    pub platform: Platform,
    /// The descriptor of the manifest, as the index has it.
    pub descriptor: Descriptor,
    /// The bytes of the manifest.
    pub manifest: Vec<u8>,
    /// The descriptor of the configuration.
    pub config_descriptor: Descriptor,
    /// The bytes of the configuration.
    pub config: Vec<u8>,
    /// The layers, oldest first, with OCI media types unless Docker's were asked for.
    pub layers: Vec<Descriptor>,
}

/// An index.
#[derive(Debug, Clone, PartialEq)]
pub struct AssembledIndex {
    /// The descriptor of the index.
    pub descriptor: Descriptor,
    /// The bytes of the index.
    pub bytes: Vec<u8>,
}

impl Assembled {
    /// Returns the document that a tag names: the index, or else the manifest.
    pub fn root(&self) -> (&Descriptor, &[u8]) {
        match &self.index {
            Some(index) => (&index.descriptor, &index.bytes),
            None => (&self.images[0].descriptor, &self.images[0].manifest),
        }
    }

    /// Returns the layers of all images, then their configurations, then the parts of attestations;
    /// each blob once.
    pub fn blobs(&self) -> Vec<&Descriptor> {
        let layers = self.images.iter().flat_map(|image| &image.layers);
        let configs = self.images.iter().map(|image| &image.config_descriptor);
        let stated = self.attestations.iter().flat_map(|attestation| &attestation.blobs);
        let stated = stated.map(|(blob, _)| blob);
        let mut seen = HashSet::new();
        layers.chain(configs).chain(stated).filter(|blob| seen.insert(&blob.digest)).collect()
    }

    /// Returns the manifests, each once, and last the index if there is one.
    pub fn manifests(&self) -> Vec<&Descriptor> {
        let manifests = self.images.iter().map(|image| &image.descriptor);
        let attestations = self.attestations.iter().map(|attestation| &attestation.descriptor);
        let index = self.index.iter().map(|index| &index.descriptor);
        let mut seen = HashSet::new();
        let all = manifests.chain(attestations).chain(index);
        all.filter(|document| seen.insert(&document.digest)).collect()
    }

    /// Returns the same images in an index with statements about them: a list for each image, in their
    /// order, which may be empty.
    #[must_use]
    pub fn attest(self, statements: Vec<Vec<Attestation>>, options: &AssembleOptions) -> Self {
        let about = self.images.iter().map(|image| &image.descriptor).zip(statements);
        let attestations: Vec<_> = about
            .filter(|(_, statements)| !statements.is_empty())
            .map(|(image, statements)| {
                assemble_attestation(image, statements, options.attestations_like_images)
            })
            .collect();
        let index = Some(assemble_index(&self.images, &attestations, options));
        Self { attestations, index, ..self }
    }

    /// Returns the bytes of a configuration, a statement, a manifest or the index.
    pub fn document(&self, digest: &Digest) -> Option<&[u8]> {
        let images = self.images.iter().flat_map(|image| {
            [(&image.config_descriptor, &image.config), (&image.descriptor, &image.manifest)]
        });
        let attestations = self.attestations.iter().flat_map(|attestation| {
            let blobs = attestation.blobs.iter().map(|(blob, bytes)| (blob, bytes));
            blobs.chain([(&attestation.descriptor, &attestation.manifest)])
        });
        let index = self.index.iter().map(|index| (&index.descriptor, &index.bytes));
        let mut all = images.chain(attestations).chain(index);
        all.find(|(descriptor, _)| descriptor.digest == *digest).map(|(_, bytes)| &bytes[..])
    }
}

/// Assembles the images of a build, given in any order, for the requested platforms.
///
/// One platform gives a manifest; several give an index in the order of `platforms`. Layers with
/// media types of Docker get those of OCI; their bytes stay the same.
///
/// ```
/// use xbuild_model::ImageConfig;
/// use xbuild_image::{AssembleOptions, ImageParts, assemble};
///
/// let image = |name: &str| ImageParts {
///     platform: name.parse().unwrap(),
///     config: ImageConfig { os: "linux".into(), ..ImageConfig::default() },
///     layers: Vec::new(),
///     annotations: Default::default(),
///     descriptor_annotations: Default::default(),
/// };
/// let platforms = ["linux/s390x".parse().unwrap(), "linux/arm64".parse().unwrap()];
/// let images = vec![image("linux/arm64"), image("linux/s390x")];
/// let assembled = assemble(&platforms, images, &AssembleOptions::default())?;
/// assert_eq!(assembled.images[0].platform, platforms[0]);
/// // Other libraries read the bytes.
/// let index = oci_spec::image::ImageIndex::from_reader(assembled.root().1)?;
/// let digest = assembled.images[0].descriptor.digest.to_string();
/// assert_eq!(index.manifests()[0].digest().as_ref(), digest);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn assemble(
    platforms: &[Platform],
    mut images: Vec<ImageParts>,
    options: &AssembleOptions,
) -> Result<Assembled, AssembleError> {
    let mut assembled = Vec::with_capacity(platforms.len());
    for platform in platforms {
        let found = images.iter().position(|image| image.platform == *platform);
        let found = found.ok_or_else(|| AssembleError::Missing { platform: platform.clone() })?;
        assembled.push(assemble_image(images.swap_remove(found), options)?);
    }
    if let Some(image) = images.into_iter().next() {
        return Err(AssembleError::Unexpected { platform: image.platform });
    }
    let index = match assembled.len() {
        0 => return Err(AssembleError::Empty),
        1 if !options.always_index => None,
        _ => Some(assemble_index(&assembled, &[], options)),
    };
    Ok(Assembled { images: assembled, attestations: Vec::new(), index })
}

fn assemble_image(
    image: ImageParts,
    options: &AssembleOptions,
) -> Result<AssembledImage, AssembleError> {
    let is_docker = options.docker_types;
    let platform = image.platform;
    let (layers, diff_ids) = (image.layers.len(), image.config.rootfs.diff_ids.len());
    if layers != diff_ids {
        return Err(AssembleError::LayerCount { platform, layers, diff_ids });
    }
    let config = to_json(&image.config);
    let config_type = media_type(&MediaType::ImageConfig, is_docker);
    let config_descriptor = Descriptor::of(&config_type, &config);
    let layers = image.layers.into_iter().map(|layer| typed_layer(layer, options));
    let layers = layers.collect::<Result<Vec<_>, _>>()?;
    let manifest_type = media_type(&MediaType::ImageManifest, is_docker);
    let manifest = to_json(&Manifest {
        schema_version: SCHEMA_VERSION,
        media_type: Some(manifest_type.clone()),
        config: config_descriptor.clone(),
        layers: layers.clone(),
        annotations: image.annotations,
    });
    let mut descriptor = Descriptor::of(&manifest_type, &manifest);
    descriptor.platform = Some(xbuild_model::manifest::DescriptorPlatform {
        os_version: image.config.os_version,
        os_features: image.config.os_features,
        ..platform.to_descriptor()
    });
    descriptor.annotations = image.descriptor_annotations;
    Ok(AssembledImage { platform, descriptor, manifest, config_descriptor, config, layers })
}

fn assemble_index(
    images: &[AssembledImage],
    attestations: &[AssembledAttestation],
    options: &AssembleOptions,
) -> AssembledIndex {
    let index_type = media_type(&MediaType::ImageIndex, options.docker_types);
    let manifests = images.iter().map(|image| &image.descriptor);
    let manifests = manifests.chain(attestations.iter().map(|one| &one.descriptor));
    let bytes = to_json(&Index {
        schema_version: SCHEMA_VERSION,
        media_type: Some(index_type.clone()),
        manifests: manifests.cloned().collect(),
        annotations: options.index_annotations.clone(),
        unreadable: Vec::new(),
    });
    let mut descriptor = Descriptor::of(&index_type, &bytes);
    descriptor.annotations = options.index_descriptor_annotations.clone();
    AssembledIndex { descriptor, bytes }
}

/// Returns the media type of a document, in OCI's spelling or Docker's.
fn media_type(document: &MediaType, is_docker: bool) -> String {
    match document.to_docker_v2s2() {
        Ok(docker) if is_docker => docker.to_owned(),
        _ => document.as_ref().to_owned(),
    }
}

/// Returns the descriptor of a layer as it is written: with the media type of OCI or Docker. Only a layer
/// that stays foreign has the members that name its other places.
fn typed_layer(layer: Descriptor, options: &AssembleOptions) -> Result<Descriptor, AssembleError> {
    let is_foreign = layer.is_foreign() && !options.foreign_as_ordinary;
    let Descriptor { media_type, digest, size, annotations, mut other, .. } = layer;
    let Some(compression) = Compression::of_media_type(&media_type) else {
        return Err(AssembleError::LayerType { digest, media_type });
    };
    let media_type = match (options.docker_types, compression, is_foreign) {
        (false, compression, true) => compression.foreign_media_type(),
        (false, compression, false) => compression.oci_media_type(),
        (true, Compression::Gzip, true) => DOCKER_FOREIGN_GZIP,
        (true, Compression::Gzip, false) => DOCKER_LAYER_GZIP,
        (true, Compression::None, true) => DOCKER_FOREIGN,
        (true, Compression::None, false) => DOCKER_LAYER,
        (true, Compression::Zstd, _) => return Err(AssembleError::DockerZstd { digest }),
    };
    other.retain(|name, _| is_foreign && name == "urls");
    Ok(Descriptor { annotations, other, ..Descriptor::new(media_type, digest, size) })
}

/// Returns compact JSON, members in the order of the types' fields.
fn to_json(document: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents have string keys only and no failing serializer")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use xbuild_model::DiffId;
    use xbuild_model::manifest::{
        DOCKER_CONFIG, DOCKER_INDEX, DOCKER_MANIFEST, OCI_CONFIG, OCI_FOREIGN_GZIP, OCI_LAYER_GZIP,
        OCI_LAYER_ZSTD,
    };

    use super::*;

    fn image(platform: &str, layers: &[&str]) -> ImageParts {
        let platform: Platform = platform.parse().unwrap();
        let mut config = ImageConfig {
            os: platform.os().to_owned(),
            architecture: platform.architecture().to_owned(),
            ..ImageConfig::default()
        };
        let ids = layers.iter().map(|layer| DiffId(Digest::of(layer.as_bytes())));
        config.rootfs.diff_ids = ids.collect();
        let blob = |layer: &&str| Descriptor::of(DOCKER_LAYER_GZIP, layer.as_bytes());
        ImageParts {
            platform,
            config,
            layers: layers.iter().map(blob).collect(),
            annotations: BTreeMap::new(),
            descriptor_annotations: BTreeMap::new(),
        }
    }

    fn platforms(names: &[&str]) -> Vec<Platform> {
        names.iter().map(|name| name.parse().unwrap()).collect()
    }

    #[test]
    fn one_platform_is_a_plain_manifest() {
        let options = AssembleOptions::default();
        let images = vec![image("linux/arm64", &["a"])];
        let assembled = assemble(&platforms(&["linux/arm64"]), images, &options).unwrap();
        assert!(assembled.index.is_none());
        let (root, bytes) = assembled.root();
        assert_eq!(root.digest, Digest::of(bytes));
        let manifest: Manifest = serde_json::from_slice(bytes).unwrap();
        assert_eq!(manifest.layers[0].media_type, OCI_LAYER_GZIP);
        assert_eq!(manifest.layers[0].digest, Digest::of(b"a"));
        assert_eq!(manifest.config.media_type, OCI_CONFIG);
    }

    #[test]
    fn documents_have_the_types_of_docker_if_asked_for() {
        let options = AssembleOptions { docker_types: true, ..AssembleOptions::default() };
        let names = ["linux/arm64", "linux/amd64"];
        let images = || names.iter().map(|name| image(name, &["a"])).collect::<Vec<_>>();
        let assembled = assemble(&platforms(&names), images(), &options).unwrap();
        let index: Index = serde_json::from_slice(assembled.root().1).unwrap();
        assert_eq!(index.media_type.as_deref(), Some(DOCKER_INDEX));
        assert_eq!(assembled.root().0.media_type, DOCKER_INDEX);
        assert!(index.manifests.iter().all(|entry| entry.media_type == DOCKER_MANIFEST));
        let manifest: Manifest = serde_json::from_slice(&assembled.images[0].manifest).unwrap();
        assert_eq!(manifest.media_type.as_deref(), Some(DOCKER_MANIFEST));
        assert_eq!(manifest.config.media_type, DOCKER_CONFIG);
        assert_eq!(manifest.layers[0].media_type, DOCKER_LAYER_GZIP);
        let mut zstd = images();
        zstd[0].layers[0].media_type = OCI_LAYER_ZSTD.to_owned();
        let refused = assemble(&platforms(&names), zstd, &options).unwrap_err();
        assert!(matches!(refused, AssembleError::DockerZstd { .. }), "{refused}");
    }

    #[test]
    fn an_index_keeps_the_order_asked_for() {
        let names = ["linux/s390x", "linux/amd64", "linux/arm/v7", "linux/386"];
        let images = names.iter().rev().map(|name| image(name, &[])).collect();
        let options = AssembleOptions {
            index_annotations: [("a".to_owned(), "b".to_owned())].into(),
            ..AssembleOptions::default()
        };
        let assembled = assemble(&platforms(&names), images, &options).unwrap();
        let index: Index = serde_json::from_slice(assembled.root().1).unwrap();
        let order: Vec<_> = index
            .manifests
            .iter()
            .map(|m| Platform::of_descriptor(m.platform.as_ref().unwrap()).to_string())
            .collect();
        assert_eq!(order, names);
        assert_eq!(index.annotations["a"], "b");
    }

    #[test]
    fn statements_follow_their_images_in_the_index() {
        let names = ["linux/arm64", "linux/amd64"];
        for (like_images, config) in
            [(false, "application/vnd.oci.empty.v1+json"), (true, OCI_CONFIG)]
        {
            let options = AssembleOptions {
                attestations_like_images: like_images,
                ..AssembleOptions::default()
            };
            let images = names.iter().map(|name| image(name, &["a"])).collect();
            let assembled = assemble(&platforms(&names), images, &options).unwrap();
            let statement = Attestation { predicate_type: "t".to_owned(), bytes: b"{1}".to_vec() };
            let attested = assembled.clone().attest(vec![vec![statement], vec![]], &options);
            assert_eq!(attested.images, assembled.images);
            let index: Index = serde_json::from_slice(attested.root().1).unwrap();
            let [arm, _, attestation] = &index.manifests[..] else { panic!("{index:?}") };
            let platform = attestation.platform.as_ref().unwrap();
            assert_eq!((&*platform.os, &*platform.architecture), ("unknown", "unknown"));
            let annotation = |name: &str| attestation.annotations[name].clone();
            assert_eq!(annotation("vnd.docker.reference.type"), "attestation-manifest");
            assert_eq!(annotation("vnd.docker.reference.digest"), arm.digest.to_string());
            let bytes = attested.document(&attestation.digest).unwrap();
            let text = String::from_utf8(bytes.to_vec()).unwrap();
            assert_eq!(text.contains("\"subject\""), !like_images, "{text}");
            let manifest: Manifest = serde_json::from_slice(bytes).unwrap();
            assert_eq!(manifest.config.media_type, config);
            assert_eq!(manifest.layers[0].annotations["in-toto.io/predicate-type"], "t");
            for blob in manifest.layers.iter().chain([&manifest.config]) {
                let bytes = attested.document(&blob.digest).unwrap();
                assert_eq!(Digest::of(bytes), blob.digest);
                assert!(attested.blobs().contains(&blob));
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let options = AssembleOptions::default();
        let two = platforms(&["linux/amd64", "linux/arm64"]);
        let check = |platforms: &[Platform], images| assemble(platforms, images, &options).is_err();
        assert!(check(&[], vec![]));
        assert!(check(&two, vec![image("linux/amd64", &[])]));
        assert!(check(&two[..1], vec![image("linux/amd64", &[]), image("linux/arm64", &[])]));
        assert!(check(&two[..1], vec![image("linux/amd64", &[]), image("linux/amd64", &[])]));
        let mut uneven = image("linux/amd64", &["a"]);
        uneven.layers.clear();
        assert!(check(&two[..1], vec![uneven]));
        let mut artifact = image("linux/amd64", &["a"]);
        artifact.layers[0].media_type = "application/x-thing".to_owned();
        assert!(check(&two[..1], vec![artifact]));
    }

    #[test]
    fn foreign_layers_stay_where_they_are_unless_they_are_to_be_ordinary() {
        let mut foreign = image("windows/amd64", &["a", "b"]);
        let urls = serde_json::json!(["https://x.example/a"]);
        foreign.layers[0].media_type = DOCKER_FOREIGN_GZIP.to_owned();
        foreign.layers[0].other.insert("urls".to_owned(), urls.clone());
        // Without a place to fetch it from it is an ordinary layer, whatever its type says.
        foreign.layers[1].media_type = DOCKER_FOREIGN_GZIP.to_owned();
        foreign.layers[1].other.insert("urls".to_owned(), serde_json::json!(["ftp://x.example"]));
        let layers = |options: &AssembleOptions| {
            let asked = platforms(&["windows/amd64"]);
            assemble(&asked, vec![foreign.clone()], options).unwrap().images.remove(0).layers
        };
        let mut expected = Descriptor::of(OCI_FOREIGN_GZIP, b"a");
        expected.other.insert("urls".to_owned(), urls);
        let ordinary = [b"a", b"b"].map(|bytes| Descriptor::of(OCI_LAYER_GZIP, bytes));
        let mut options = AssembleOptions::default();
        assert_eq!(layers(&options), [expected.clone(), ordinary[1].clone()]);
        options.docker_types = true;
        assert_eq!(layers(&options)[0].media_type, DOCKER_FOREIGN_GZIP);
        options = AssembleOptions { foreign_as_ordinary: true, ..AssembleOptions::default() };
        assert_eq!(layers(&options), ordinary);
    }

    proptest! {
        #[test]
        fn does_not_depend_on_completion_order(
            order in Just(vec![0usize, 1, 2, 3, 4]).prop_shuffle(),
        ) {
            let names = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/s390x"];
            let options = AssembleOptions::default();
            let images = |order: &[usize]| {
                order.iter().map(|i| image(names[*i], &["base", names[*i]])).collect()
            };
            let asked = platforms(&names);
            let expected = assemble(&asked, images(&[0, 1, 2, 3, 4]), &options).unwrap();
            prop_assert_eq!(assemble(&asked, images(&order), &options).unwrap(), expected);
        }
    }
}
