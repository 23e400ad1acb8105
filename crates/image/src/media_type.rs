//! Media types of documents: those of OCI, by the names of `oci-spec`, and those of Docker, which
//! mean the same.

use oci_spec::image::{MediaType, ToDockerV2S2 as _};

/// Parses a media type. Docker's types of documents give those of OCI, since the members are the
/// same.
pub(crate) fn of(text: &str) -> MediaType {
    let documents = [MediaType::ImageIndex, MediaType::ImageManifest, MediaType::ImageConfig];
    let is_docker = |own: &MediaType| own.to_docker_v2s2().is_ok_and(|docker| docker == text);
    documents.into_iter().find(is_docker).unwrap_or_else(|| MediaType::from(text))
}

#[cfg(test)]
mod tests {
    use xbuild_model::manifest::{
        DOCKER_CONFIG, DOCKER_INDEX, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP,
        OCI_MANIFEST,
    };

    use super::*;

    #[test]
    fn both_spellings_of_a_document_are_one() {
        for (text, expected) in [
            (OCI_INDEX, MediaType::ImageIndex),
            (DOCKER_INDEX, MediaType::ImageIndex),
            (OCI_MANIFEST, MediaType::ImageManifest),
            (DOCKER_MANIFEST, MediaType::ImageManifest),
            (OCI_CONFIG, MediaType::ImageConfig),
            (DOCKER_CONFIG, MediaType::ImageConfig),
            (OCI_LAYER_GZIP, MediaType::ImageLayerGzip),
            ("application/x-thing", MediaType::Other("application/x-thing".to_owned())),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
    }
}
